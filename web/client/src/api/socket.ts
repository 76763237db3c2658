/**
 * The one WebSocket: states of cameras and of the console, the heartbeat, the server's clock.
 *
 * Owns reconnecting, the clock's measurement and the verdict that this console is blind. Screens subscribe; tiles ask
 * `serverNowMs` and `blind`. Invariants: after `BLIND_AFTER_MS` without a message, `blind` is true, whatever the socket
 * itself believes; what was measured of the clock outlives neither a connection nor blindness.
 */

import { pauseMs } from "../media/backoff.ts";
import { type ClockSample, ClockSync, nsToMs } from "./clockSync.ts";

export const BLIND_AFTER_MS = 2600; // so that it stands on the page within three seconds
const TICK_MS = 250;
const BURST = 8; // samples of a clock that is not known
const SAMPLE_EVERY_MS = 120;
const RESAMPLE_EVERY_MS = 10_000;
const DOUBTED_EVERY_MS = 1000;
const REOPEN_AFTER_MS = 4000;
const CLOSED_SIGNED_OUT = 4401;

/** Whose time the pictures of a stream bear, as far as it is received. */
export type Clocks = Readonly<Partial<Record<"main" | "sub", "camera" | "server">>>;

export interface CameraNews {
  readonly id: string;
  readonly state: string;
  readonly since: string | null;
  readonly reason: string | null;
  readonly retry_at: string | null;
  readonly clocks?: Clocks;
}

export interface ConsoleNews {
  /** Whether they answer the server; null: it has not asked yet. */
  readonly recorder?: boolean | null;
  readonly catalogue?: boolean | null;
  readonly gateway?: boolean | null;
  readonly recording?: number;
  readonly recorded?: number;
  readonly [fact: string]: unknown;
}

export interface LiveListener {
  /** `gone`: ids of cameras that may no longer be seen. */
  onCameras?(changed: readonly CameraNews[], gone: readonly string[]): void;
  /** Which cameras there are, what they are called or what may be done with them is not what it was. */
  onRegistry?(): void;
  onConsole?(news: ConsoleNews): void;
  onRevoked?(sessions: readonly string[], code: string): void;
  onSignedOut?(): void;
  /** The session may have ended or be another's: ask. All that browsers tell of a refused connection is that it ended. */
  onDoubt?(): void;
  /** Blindness, clock or connection changed. */
  onLink?(): void;
}

export class LiveSocket {
  readonly cameras = new Map<string, CameraNews>();
  console: ConsoleNews = {};
  blind = false;
  private readonly clock = new ClockSync();
  private readonly url: string;
  private readonly listeners = new Set<LiveListener>();
  private socket: WebSocket | null = null;
  private heardAtMs = performance.now();
  private openedAtMs = 0;
  private greeted = false;
  private registry: string | null = null;
  private reopenAtMs = 0;
  private failures = 0;
  private pingedAtMs = 0;
  private pingsLeft = 0;
  private stopped = false;
  private readonly timer: ReturnType<typeof setInterval>;

  constructor(url: string = socketUrl()) {
    this.url = url;
    this.open();
    this.timer = setInterval(() => this.tick(), TICK_MS);
  }

  subscribe(listener: LiveListener): () => void {
    this.listeners.add(listener);
    if (this.cameras.size > 0) listener.onCameras?.([...this.cameras.values()], []);
    return () => this.listeners.delete(listener);
  }

  /** What is known of the server's clock now; null: nothing that holds. */
  measured(): ClockSample | null {
    return this.clock.at(performance.now());
  }

  /** UTC ms by the server's clock, or null while it is not known. */
  serverNowMs(): number | null {
    const best = this.measured();
    return best === null ? null : performance.now() + best.offsetMs;
  }

  /** This machine's wall clock less the server's. */
  stationErrorMs(): number | null {
    const server = this.serverNowMs();
    return server === null ? null : Date.now() - server;
  }

  send(message: unknown): void {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  /** Somebody's request was refused as not signed in. */
  doubt(): void {
    this.each((listener) => listener.onDoubt?.());
  }

  close(): void {
    this.stopped = true;
    clearInterval(this.timer);
    this.socket?.close();
    this.listeners.clear();
  }

  private open(): void {
    const socket = new WebSocket(this.url);
    this.socket = socket;
    this.openedAtMs = performance.now();
    this.greeted = false;
    socket.addEventListener("message", (event) => {
      if (socket === this.socket) this.receive(String(event.data));
    });
    socket.addEventListener("close", (event) => {
      if (socket !== this.socket) return;
      this.lost();
      if (event.code === CLOSED_SIGNED_OUT) this.each((listener) => listener.onSignedOut?.());
      else if (!this.greeted) this.doubt();
    });
  }

  private lost(): void {
    this.socket = null;
    this.reopenAtMs = performance.now() + pauseMs(this.failures);
    this.failures += 1;
  }

  private receive(text: string): void {
    const now = performance.now();
    let message: Record<string, unknown>;
    try {
      message = JSON.parse(text) as Record<string, unknown>;
    } catch {
      return;
    }
    this.heardAtMs = now;
    this.failures = 0;
    this.greeted = true;
    const wasBlind = this.blind;
    this.blind = false;
    if (wasBlind || message.t === "hello") this.measure();
    if (wasBlind) this.each((listener) => listener.onLink?.());
    switch (message.t) {
      case "pong": {
        const first = this.clock.at(now) === null;
        this.clock.add(Number(message.client_ms), now, nsToMs(String(message.server_ns)));
        if (first) this.each((listener) => listener.onLink?.());
        if (this.pingsLeft > 0) setTimeout(() => this.ping(), SAMPLE_EVERY_MS);
        break;
      }
      case "beat":
        this.keepTime(now, nsToMs(String(message.server_ns)));
        break;
      case "cameras": {
        const items = (message.items ?? []) as CameraNews[];
        const gone = (message.gone ?? []) as string[];
        for (const item of items) this.cameras.set(item.id, item);
        for (const id of gone) this.cameras.delete(id);
        this.each((listener) => listener.onCameras?.(items, gone));
        if (typeof message.registry === "string" && message.registry !== this.registry) {
          this.registry = message.registry;
          this.each((listener) => listener.onRegistry?.());
        }
        break;
      }
      case "console":
        this.console = { ...this.console, ...message };
        this.each((listener) => listener.onConsole?.(this.console));
        break;
      case "revoked":
        this.each((listener) => listener.onRevoked?.((message.sessions ?? []) as string[], String(message.code ?? "")));
        break;
      case "signed_out":
        this.each((listener) => listener.onSignedOut?.());
        break;
      default: // `hello`, and what a newer server says
    }
  }

  /** Nothing of the clock is known any more. */
  private measure(): void {
    this.clock.forget();
    this.pingsLeft = BURST;
    this.ping();
  }

  /** With every beat, which comes in pages that are not drawn too: their timers hardly run. */
  private keepTime(now: number, serverMs: number): void {
    const doubted = this.clock.hear(now, serverMs);
    if (now - this.pingedAtMs < (doubted ? DOUBTED_EVERY_MS : RESAMPLE_EVERY_MS)) return;
    if (doubted) this.pingsLeft = BURST;
    this.ping();
  }

  private tick(): void {
    const now = performance.now();
    if (!this.blind && now - this.heardAtMs > BLIND_AFTER_MS) {
      this.blind = true;
      this.each((listener) => listener.onLink?.());
    }
    if (this.stopped) return;
    if (this.socket === null) {
      if (now >= this.reopenAtMs) this.open();
    } else if (now - Math.max(this.heardAtMs, this.openedAtMs) > REOPEN_AFTER_MS) {
      const silent = this.socket;
      this.lost(); // a socket of a dead server closes only after minutes
      silent.close();
    }
  }

  private ping(): void {
    this.pingedAtMs = performance.now();
    this.pingsLeft -= 1;
    this.send({ t: "ping", client_ms: this.pingedAtMs });
  }

  private each(tell: (listener: LiveListener) => void): void {
    for (const listener of this.listeners) tell(listener);
  }
}

function socketUrl(): string {
  return `${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}/api/v1/ws`;
}
