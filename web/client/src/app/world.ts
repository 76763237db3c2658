/**
 * What all tiles of this window share: the socket, the clock, which tiles there are, how loaded the station is.
 *
 * Made at sign-in, closed at sign-out. Hands news of a camera to its tiles, measures once a second, and reports what
 * operators saw (`tiles`) to the server every ten.
 */

import { csrf } from "../api/calls.ts";
import { parseUtc, SiteZone } from "../time/site.ts";
import { type CameraNews, LiveSocket } from "../api/socket.ts";
import { afterSecond, CALM, type Overload, type TileLoad } from "../media/overload.ts";
import type { TileController } from "../media/tileController.ts";
import { isLost } from "../media/tileState.ts";
import type { SlotWorld } from "../media/tileSlot.ts";
import type { FrameCounts } from "../media/whep.ts";

const REPORT_EVERY_S = 10;
export const PURPOSE_HOLDS_MS = 8 * 3_600_000; // one shift: the next person has a purpose of their own

export interface Decoding {
  readonly tiles: number;
  /** Pictures are shown of which nothing has been counted yet. */
  readonly uncounted: boolean;
  /** How many of them show less than they deserve. */
  readonly lowered: number;
  readonly dropped: number;
  readonly overload: Overload;
}

export class World implements SlotWorld {
  readonly zone: SiteZone;
  readonly socket: LiveSocket;
  purpose: string | null = null;
  private purposeUntilMs = 0;
  decoding: Decoding = { tiles: 0, uncounted: false, lowered: 0, dropped: 0, overload: CALM };
  private readonly controllers = new Set<TileController>();
  private readonly lowered = new Set<TileController>();
  private readonly earlier = new Map<TileController, FrameCounts>();
  private readonly enteredAtMs = new Map<TileController, number>();
  private firstFrameMs: number[] = [];
  private freezes = 0;
  private droppedSinceReport = 0;
  private readonly listeners = new Set<() => void>();
  private readonly stop: () => void;
  private readonly timer: ReturnType<typeof setInterval>;
  private seconds = 0;

  constructor(zone: string, socket: LiveSocket = new LiveSocket()) {
    this.zone = new SiteZone(zone);
    this.socket = socket;
    this.stop = socket.subscribe({
      onCameras: (changed) => {
        for (const news of changed) this.pass(news);
      },
      onRevoked: (sessions) => {
        for (const controller of this.controllers) {
          if (controller.sessionId !== null && sessions.includes(controller.sessionId)) controller.revoked();
        }
      },
    });
    this.timer = setInterval(() => this.second(), 1000);
  }

  subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  serverNowMs(): number | null {
    return this.socket.serverNowMs();
  }

  /** For what may be a little off: this machine's time until the server's is known. */
  nowMs(): number {
    return this.serverNowMs() ?? Date.now();
  }

  consoleBlind(): boolean {
    return this.socket.blind;
  }

  csrf(): string {
    return csrf();
  }

  doubtSession(): void {
    this.socket.doubt();
  }

  enter(controller: TileController): void {
    this.controllers.add(controller);
    this.enteredAtMs.set(controller, performance.now());
    const news = this.socket.cameras.get(controller.camera);
    if (news) this.pass(news);
  }

  leave(controller: TileController): void {
    this.controllers.delete(controller);
    this.earlier.delete(controller);
    this.enteredAtMs.delete(controller);
    this.lower(controller, false);
  }

  /** This tile deserves the main stream and does without, because the station is overloaded; or no longer. */
  lower(controller: TileController, lowered: boolean): void {
    if (lowered === this.lowered.has(controller)) return;
    if (lowered) this.lowered.add(controller);
    else this.lowered.delete(controller);
    this.decoding = { ...this.decoding, lowered: this.lowered.size };
    this.tell();
  }

  /** Why is watched what needs a purpose, until the wall is left (null), and a shift at most. */
  setPurpose(purpose: string | null): void {
    if (purpose === null && this.purpose === null) return;
    this.purpose = purpose;
    this.purposeUntilMs = this.nowMs() + PURPOSE_HOLDS_MS;
    this.tell();
  }

  close(): void {
    clearInterval(this.timer);
    this.stop();
    this.socket.close();
    this.listeners.clear();
  }

  private pass(news: CameraNews): void {
    for (const controller of this.controllers) {
      if (controller.camera !== news.id) continue;
      controller.setClocks(news.clocks ?? {});
      controller.setDown(
        news.state === "lost" || news.state === "off"
          ? {
              reason: news.reason ?? (news.state === "off" ? "disabled_by_operator" : "unknown"),
              sinceUtcMs: parseUtc(news.since),
              retryAtMs: this.hereMs(parseUtc(news.retry_at)),
            }
          : null,
      );
    }
  }

  /** An instant of the server's by this page's own clock. */
  private hereMs(utcMs: number | null): number | null {
    const server = this.serverNowMs();
    return utcMs === null || server === null ? null : performance.now() + utcMs - server;
  }

  private second(): void {
    if (this.nowMs() >= this.purposeUntilMs) this.setPurpose(null);
    const loads: TileLoad[] = [];
    let tiles = 0;
    let dropped = 0;
    let uncounted = false;
    const words = { live: 0, delayed: 0, lost: 0 };
    for (const controller of this.controllers) {
      const { word, picture } = controller.verdict;
      if (word === "live" || word === "delayed") words[word] += 1;
      else if (isLost(word)) words.lost += 1;
      const entered = this.enteredAtMs.get(controller);
      if (controller.hasShown && entered !== undefined) {
        this.enteredAtMs.delete(controller);
        if (this.firstFrameMs.length < 64) this.firstFrameMs.push(Math.round(controller.firstShownAfter(entered)));
      }
      const now = controller.counts;
      if (now === null) {
        uncounted ||= picture;
        this.earlier.delete(controller);
        continue;
      }
      tiles += 1;
      const before = this.earlier.get(controller);
      this.earlier.set(controller, now);
      if (before === undefined || before === now || now.decoded < before.decoded) continue;
      const lost = Math.max(0, now.dropped - before.dropped);
      dropped += lost;
      this.freezes += Math.max(0, now.freezes - before.freezes);
      loads.push({
        received: now.received - before.received,
        decoded: now.decoded - before.decoded,
        dropped: lost,
        decodeMs: (now.decodeSeconds - before.decodeSeconds) * 1000,
        overMs: now.atMs - before.atMs,
      });
    }
    // A station that cannot keep up is late with its counts too: no news of tiles there are is no good news.
    const unheard = loads.length === 0 && tiles > 0;
    const before = this.decoding.overload;
    const overload = document.hidden || unheard ? before : afterSecond(before, loads);
    const changed =
      overload.level !== before.level ||
      dropped > 0 ||
      this.decoding.dropped > 0 ||
      tiles !== this.decoding.tiles ||
      uncounted !== this.decoding.uncounted;
    this.decoding = { tiles, uncounted, lowered: this.lowered.size, dropped, overload };
    this.droppedSinceReport += dropped;
    this.seconds += 1;
    if (this.seconds % REPORT_EVERY_S === 0 && this.controllers.size > 0) {
      this.socket.send({
        t: "tiles",
        ...words,
        frozen: this.freezes,
        dropped: this.droppedSinceReport,
        first_frame_ms: this.firstFrameMs,
      });
      this.freezes = 0;
      this.droppedSinceReport = 0;
      this.firstFrameMs = [];
    }
    if (changed) this.tell();
  }

  private tell(): void {
    for (const listener of this.listeners) listener();
  }
}
