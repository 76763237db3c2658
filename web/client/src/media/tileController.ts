/**
 * One camera in one tile: session, retries, watch over its frames, and the verdict that the screen draws.
 *
 * Owns a video element, at most one WHEP session and one retry loop. Plain TypeScript: the screen reads `verdict` and
 * mounts `video`. Invariants: the caption's time comes from a frame that was shown, never from a running clock; a
 * session that is replaced is closed; after `dispose` nothing runs.
 */

import type { Clocks } from "../api/socket.ts";
import { pauseMs } from "./backoff.ts";
import { type CaptureSource, captureMs, isNewPicture } from "./captureClock.ts";
import { FrameWatchdog, type ShownFrame } from "./frameWatchdog.ts";
import { type CameraDown, type Cause, judge, type TileFacts, type TileVerdict } from "./tileState.ts";
import { type FrameCounts, type StreamKind, WhepRefused, WhepSession } from "./whep.ts";

export const TICK_MS = 250;
const OPENING_MS = 12_000; // longer than all that a session waits for until it is answered
const FIRST_PICTURE_MS = 4000; // an answered attempt that shows nothing by then has failed
const SWITCH_AGAIN_MS = 4000; // as long as a server may take to find out that a stream is away
const TOLD_OTHERWISE_MS = 30_000; // until a camera that recorder and gateway call away is asked for unless told it is back
const COUNT_EVERY_TICKS = 4;
const BURST_COUNTS = 2; // counts of pictures that a stream's first burst may still be in
const TIME_SHOWN_EVERY_MS = 95;
const ASK_EVERY_MS = 70; // when a picture was captured: the page stands until the media thread has answered
const LAST_PICTURE_WIDTH = 960;

/** What a tile must know of the world around it. */
export interface TileWorld {
  serverNowMs(): number | null;
  consoleBlind(): boolean;
  csrf(): string;
  /** The server does not take this window for signed in. */
  doubtSession(): void;
}

/** What is written under a picture. */
export interface CameraLabel {
  readonly number: number;
  readonly name: string;
}

export interface TileSource {
  readonly camera: string;
  /** Null: not known, or not to be known. */
  readonly label: CameraLabel | null;
  readonly assigned: Exclude<TileFacts["assigned"], "none">;
  readonly purpose: string | null;
}

/** The last picture of a tile that was lost, kept to be shown as what it is: archival. */
export interface LastPicture {
  readonly canvas: HTMLCanvasElement;
  readonly capturedMs: number | null;
}

export interface TileFigures {
  readonly width: number;
  readonly height: number;
  /** Null until it was measured: a session begins with a burst of what was kept for it. */
  readonly fps: number | null;
  readonly delayMs: number | null;
  readonly stream: StreamKind | null;
  readonly transcoded: boolean;
  /** Why it is not the stream that was asked for, in the server's word. */
  readonly why: string | null;
}

const NO_FIGURES: TileFigures = {
  width: 0,
  height: 0,
  fps: null,
  delayMs: null,
  stream: null,
  transcoded: false,
  why: null,
};

let made = 0;

export class TileController {
  /** Another for every controller: screens keep a picture's place by it. */
  readonly id = ++made;
  readonly video: HTMLVideoElement;
  verdict: TileVerdict;
  /** Server time at which the last picture shown was captured. */
  lastCaptureMs: number | null = null;
  /** Server time at which the last picture was shown; what a lost tile names when it knows no capture time. */
  lastShownServerMs: number | null = null;
  figures: TileFigures = NO_FIGURES;
  refusal: string | null = null;
  lastPicture: LastPicture | null = null;
  counts: FrameCounts | null = null;
  readonly source: TileSource;
  private readonly world: TileWorld;
  private readonly watchdog: FrameWatchdog;
  private readonly startedAtMs = performance.now();
  private readonly listeners = new Set<() => void>();
  private readonly frameListeners = new Set<(captureMs: number | null) => void>();
  private wanted: StreamKind;
  private session: WhepSession | null = null;
  private down: CameraDown | null = null;
  private clocks: Clocks = {};
  private captureAgeMs: number | null = null;
  /** The running session's sender names capture times. */
  private tellsCapture = false;
  /** What was said of the last new picture. */
  private asked: CaptureSource | undefined;
  private failure: Cause = null;
  private failures = 0;
  private attempting = false;
  /** When the attempt that is running has failed, if it shows nothing. */
  private showsByMs = 0;
  private retryAtMs: number | null = null;
  /** When the other stream is asked for again, which could not be shown. */
  private switchAtMs: number | null = null;
  private visibleSinceMs = 0;
  private paused = false;
  /** Counts since the running stream began to be decoded. */
  private counted = 0;
  private disposed = false;
  private ticks = 0;
  private timeShownAtMs = 0;
  private readonly timer: ReturnType<typeof setInterval>;

  constructor(source: TileSource, stream: StreamKind, world: TileWorld) {
    this.source = source;
    this.wanted = stream;
    this.world = world;
    this.video = document.createElement("video");
    this.video.muted = true;
    this.video.autoplay = true;
    this.video.playsInline = true;
    this.video.disablePictureInPicture = true;
    this.video.setAttribute("aria-hidden", "true");
    this.watchdog = new FrameWatchdog(
      this.video,
      (frame) => this.onFrame(frame),
      () => this.afterFrame(),
    );
    this.verdict = judge(this.facts());
    this.timer = setInterval(() => this.tick(), TICK_MS);
    document.addEventListener("visibilitychange", this.onVisibility);
    window.addEventListener("pagehide", this.onPageHide);
    if (source.assigned === "camera") void this.attempt();
  }

  /** Called after every change of the verdict or the figures. */
  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Called for shown frames, at most ten times a second, with the frame's capture time. */
  onTime(listener: (captureMs: number | null) => void): () => void {
    this.frameListeners.add(listener);
    listener(this.lastCaptureMs);
    return () => this.frameListeners.delete(listener);
  }

  get hasShown(): boolean {
    return this.watchdog.firstShownAtMs !== null;
  }

  /** Ms from `startedMs` to the first picture; only once there was one. */
  firstShownAfter(startedMs: number): number {
    return (this.watchdog.firstShownAtMs ?? startedMs) - startedMs;
  }

  get camera(): string {
    return this.source.camera;
  }

  /** The server's name for the running session. */
  get sessionId(): string | null {
    return this.session?.id ?? null;
  }

  get downSinceMs(): number | null {
    return this.down?.sinceUtcMs ?? null;
  }

  /** Whose time the caption shows: the camera's own, or the server's by when pictures arrived. Null: not told. */
  get timeFrom(): "camera" | "server" | null {
    return (this.figures.stream && this.clocks[this.figures.stream]) ?? null;
  }

  get stream(): StreamKind {
    return this.wanted;
  }

  /** Main or sub; switched within the session where the server can, else by another session. */
  setStream(stream: StreamKind): void {
    if (stream === this.wanted || this.disposed) return;
    this.wanted = stream;
    const session = this.session;
    if (session === null || session.id === null) return; // the answer, when it comes, is held against this wish
    void this.switch(session);
  }

  /** Shows what is wanted within this session, or by another. What cannot be shown costs no picture that can. */
  private async switch(session: WhepSession): Promise<void> {
    const stream = this.wanted;
    this.switchAtMs = null;
    const switched = await session.switchTo(stream);
    if (session !== this.session || stream !== this.wanted) return;
    if (switched === "broken") void this.attempt();
    else if (switched === "later") this.switchAtMs = performance.now() + SWITCH_AGAIN_MS;
    else if (switched === "done") {
      this.counted = 0;
      this.figures = { ...this.figures, stream, why: null, fps: null };
      this.tell();
    }
  }

  /** What the recorder says of its streams' clocks. */
  setClocks(clocks: Clocks): void {
    const before = this.timeFrom;
    this.clocks = clocks;
    if (this.timeFrom !== before) this.tell();
  }

  /** What the recorder says; null: it receives the camera. */
  setDown(down: Omit<CameraDown, "toldAtMs"> | null): void {
    if (down === null) {
      if (this.down === null) return;
      this.down = null;
      this.failures = 0;
      if (this.session === null || (this.failure !== null && !this.attempting)) this.retryAtMs = performance.now();
    } else {
      this.down = { ...down, toldAtMs: this.down?.toldAtMs ?? performance.now() };
    }
    this.evaluate();
  }

  /** A paused tile holds no session: nobody sees it, or the station is overloaded. */
  setPaused(paused: boolean): void {
    if (paused === this.paused || this.disposed) return;
    this.paused = paused;
    if (paused) {
      this.closeSession();
      this.retryAtMs = null;
    } else if (this.source.assigned === "camera") {
      this.retryAtMs = performance.now();
    }
    this.evaluate();
  }

  /** The server ended this camera's sessions; the reason is asked for by trying once more. */
  revoked(): void {
    this.failure = "server";
    this.closeSession();
    this.retryAtMs = performance.now();
    this.evaluate();
  }

  retryNow(): void {
    if (this.source.assigned === "camera" && !this.attempting && !this.paused) void this.attempt();
  }

  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    clearInterval(this.timer);
    document.removeEventListener("visibilitychange", this.onVisibility);
    window.removeEventListener("pagehide", this.onPageHide);
    this.watchdog.stop();
    this.closeSession();
    this.video.srcObject = null;
    this.listeners.clear();
    this.frameListeners.clear();
  }

  private async attempt(): Promise<void> {
    this.closeSession();
    this.attempting = true;
    this.showsByMs = performance.now() + OPENING_MS;
    this.retryAtMs = null;
    const asked = this.wanted;
    const session = new WhepSession({
      camera: this.source.camera,
      stream: asked,
      purpose: this.source.purpose,
      csrf: () => this.world.csrf(),
      onTrack: (stream) => {
        this.video.srcObject = stream;
        void this.video.play().catch(() => undefined); // muted video may always play; a detached one says so by raising
      },
      onState: (state) => {
        if (session === this.session && (state === "failed" || state === "closed")) this.failed("network", null);
      },
    });
    this.session = session;
    this.evaluate();
    try {
      const answer = await session.open();
      if (session !== this.session) return;
      this.refusal = null;
      this.showsByMs = performance.now() + FIRST_PICTURE_MS; // a slow server is not asked twice
      const stream = answer.stream ?? asked;
      this.figures = { ...this.figures, stream, transcoded: answer.transcoded, why: answer.why, fps: null };
      this.tell();
      if (this.wanted !== asked) await this.switch(session);
      else if (stream !== asked) this.switchAtMs = performance.now() + SWITCH_AGAIN_MS;
    } catch (error) {
      if (session !== this.session) return;
      if (!(error instanceof WhepRefused)) throw error;
      this.refusal = error.code;
      if (error.code === "not_signed_in" || error.code === "csrf") this.world.doubtSession();
      this.failed(causeOf(error.code), error.retryAfterMs);
    }
  }

  private failed(cause: Cause, retryAfterMs: number | null): void {
    this.closeSession();
    this.attempting = false;
    this.failure = cause;
    const known = cause === "camera" && this.down !== null && !this.world.consoleBlind();
    const pause = Math.max(pauseMs(this.failures), Math.min(retryAfterMs ?? 0, 5000));
    this.retryAtMs = performance.now() + (known ? TOLD_OTHERWISE_MS : pause);
    this.failures += 1;
    this.evaluate();
  }

  private closeSession(): void {
    this.session?.close();
    this.session = null;
    this.attempting = false;
    this.switchAtMs = null;
    this.tellsCapture = false;
    this.asked = undefined;
    this.counts = null;
    this.counted = 0;
  }

  /** Takes a frame's facts; false: it was shown before, or is not asked about, and proves nothing. */
  private onFrame(frame: ShownFrame): boolean {
    if (this.asked !== undefined && frame.atMs - (this.watchdog.lastShownAtMs ?? 0) < ASK_EVERY_MS) {
      const captured = captureMs(this.asked, frame.rtpTimestamp);
      if (isNewPicture(captured, this.lastCaptureMs, null)) this.lastCaptureMs = captured ?? this.lastCaptureMs;
      return false; // shown all the same: should it be sent again, it is no new one then
    }
    const server = this.world.serverNowMs();
    const source = this.session?.captureSource();
    if (source === undefined) return false; // a new stream begins with a black frame that nobody sent
    const captured = captureMs(source, frame.rtpTimestamp);
    if (captured === null && this.tellsCapture) return false;
    this.tellsCapture = captured !== null;
    const ageMs = captured === null || server === null ? null : server - captured;
    if (!isNewPicture(captured, this.lastCaptureMs, ageMs)) return false;
    this.asked = source;
    this.lastCaptureMs = captured ?? this.lastCaptureMs;
    this.captureAgeMs = ageMs;
    this.lastShownServerMs = server ?? this.lastShownServerMs;
    this.attempting = false;
    this.failure = null;
    this.failures = 0;
    this.retryAtMs = null;
    if (frame.width !== this.figures.width || frame.height !== this.figures.height) {
      this.figures = { ...this.figures, width: frame.width, height: frame.height };
      this.tell();
    }
    if (frame.atMs - this.timeShownAtMs >= TIME_SHOWN_EVERY_MS) {
      this.timeShownAtMs = frame.atMs;
      for (const listener of this.frameListeners) listener(captured);
    }
    return true;
  }

  private afterFrame(): void {
    if (this.verdict.word !== "live" || this.verdict.retryInMs !== null) this.evaluate();
  }

  private tick(): void {
    this.ticks += 1;
    const now = performance.now();
    if (this.ticks % COUNT_EVERY_TICKS === 0) void this.count();
    if (!this.paused && this.source.assigned === "camera") this.drive(now);
    this.evaluate();
  }

  /** Starts what is due: a retry, or the end of an attempt or a connection that shows nothing. */
  private drive(now: number): void {
    if (this.retryAtMs !== null) {
      if (now >= this.retryAtMs) void this.attempt();
      return;
    }
    if (this.attempting) {
      const decodes =
        now - (this.watchdog.lastDecodedAtMs ?? 0) < FIRST_PICTURE_MS && this.watchdog.lastDecodedAtMs !== null;
      if (now > this.showsByMs && !document.hidden && !decodes) this.failed("network", null);
      return;
    }
    if (this.switchAtMs !== null && now >= this.switchAtMs && this.session !== null) void this.switch(this.session);
    // Connected, and silent for as long as makes a loss. While the recorder itself has nothing, another session would
    // have nothing either, and this one goes on by itself.
    if (this.verdict.word === "lost" && this.down === null && !document.hidden)
      this.failed(this.failure ?? "network", null);
  }

  private async count(): Promise<void> {
    const session = this.session;
    const counts = await session?.counts();
    if (!counts || session !== this.session) return;
    const before = this.counts;
    this.counts = counts;
    this.watchdog.countDecoded(counts.decoded, performance.now());
    if (counts.decoded > 0) this.counted += 1;
    const { figures } = this;
    const overMs = before === null ? 0 : counts.atMs - before.atMs;
    const fps =
      before === null || overMs <= 0 || this.counted <= BURST_COUNTS
        ? figures.fps
        : Math.round(((counts.decoded - before.decoded) * 1000) / overMs);
    const delayMs = this.captureAgeMs;
    if (fps !== figures.fps || delayMs !== figures.delayMs) {
      this.figures = { ...this.figures, fps, delayMs };
      this.tell();
    }
  }

  private evaluate(): void {
    if (this.disposed) return;
    const before = this.verdict;
    this.verdict = judge(this.facts());
    if (this.verdict.word === "no_right") this.lastPicture = null;
    else if (before.picture && !this.verdict.picture) this.keepLastPicture();
    if (!same(before, this.verdict)) this.tell();
  }

  /** Before another session replaces it: a small copy of what the video element still shows. */
  private keepLastPicture(): void {
    const { videoWidth, videoHeight } = this.video;
    if (videoWidth === 0) return;
    const canvas = document.createElement("canvas");
    canvas.width = Math.min(videoWidth, LAST_PICTURE_WIDTH);
    canvas.height = Math.round((canvas.width * videoHeight) / videoWidth);
    canvas.getContext("2d")?.drawImage(this.video, 0, 0, canvas.width, canvas.height);
    this.lastPicture = { canvas, capturedMs: this.lastCaptureMs };
  }

  private tell(): void {
    for (const listener of this.listeners) listener();
  }

  private facts(): TileFacts {
    return {
      nowMs: performance.now(),
      assigned: this.source.assigned,
      startedAtMs: this.startedAtMs,
      lastShownAtMs: this.watchdog.lastShownAtMs,
      firstShownAtMs: this.watchdog.firstShownAtMs,
      lastDecodedAtMs: this.watchdog.lastDecodedAtMs,
      frameIntervalMs: this.watchdog.interval.ms,
      captureAgeMs: this.captureAgeMs,
      tellsCapture: this.tellsCapture,
      hidden: document.hidden,
      visibleSinceMs: this.visibleSinceMs,
      consoleBlind: this.world.consoleBlind(),
      down: this.down,
      attempting: this.attempting,
      retryAtMs: this.retryAtMs,
      failure: this.failure,
      wasDelayed: this.verdict?.word === "delayed",
    };
  }

  private readonly onVisibility = () => {
    // A tile that was lost stays lost; one whose frames were only not drawn is asked to prove itself anew.
    if (!document.hidden && this.verdict.picture) this.visibleSinceMs = performance.now();
    this.evaluate();
  };

  private readonly onPageHide = () => this.closeSession();
}

/** Where the fault is when the server answered with this code. */
function causeOf(code: string): Cause {
  if (code === "source_not_live") return "camera";
  if (code === "codec_unsupported") return "codec";
  if (code === "not_found" || code === "forbidden") return "right";
  if (code === "too_many_sessions" || code === "too_many_views") return "full";
  if (code === "too_many_connecting") return "busy";
  if (code === "answer_malformed" || code === "offer_malformed") return "station";
  return "server";
}

/** Equal as far as a screen can tell: counters count in whole seconds there, the delay in tenths. */
function same(a: TileVerdict, b: TileVerdict): boolean {
  return (
    a.word === b.word &&
    a.picture === b.picture &&
    a.dimmed === b.dimmed &&
    a.cause === b.cause &&
    a.reason === b.reason &&
    seconds(a.retryInMs) === seconds(b.retryInMs) &&
    (a.picture || seconds(a.silentMs) === seconds(b.silentMs)) &&
    (a.word !== "delayed" || Math.round((a.delayMs ?? 0) / 100) === Math.round((b.delayMs ?? 0) / 100))
  );
}

function seconds(ms: number | null): number | null {
  return ms === null ? null : Math.ceil(ms / 1000);
}
