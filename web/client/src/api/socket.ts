/**
 * The one WebSocket: states of cameras and of the console, the heartbeat, the server's clock.
 *
 * Owns reconnecting, the clock's measurement and the verdict that this console is blind. Screens subscribe; tiles ask
 * `serverNowMs` and `blind`. Invariant: after `BLIND_AFTER_MS` without a message, `blind` is true, whatever the socket
 * itself believes.
 */

import { pauseMs } from "../media/backoff.ts";
import { ClockSync, nsToMs } from "./clockSync.ts";

export const BLIND_AFTER_MS = 3000;
const TICK_MS = 250;
const SAMPLE_EVERY_MS = 120;
const RESAMPLE_EVERY_MS = 30_000;
const REOPEN_AFTER_MS = 4000;
const CLOSED_SIGNED_OUT = 4401;

export interface CameraNews {
  readonly id: string;
  readonly state: string;
  readonly since: string | null;
  readonly reason: string | null;
  readonly retry_at: string | null;
}

export interface ConsoleNews {
  readonly [fact: string]: unknown;
}

export interface LiveListener {
  /** `gone`: ids of those that may no longer be seen. */
  onCameras?(changed: readonly CameraNews[], gone: readonly string[]): void;
  onConsole?(news: ConsoleNews): void;
  onRevoked?(sessions: readonly string[], code: string): void;
  onSignedOut?(): void;
  /** Blindness, clock or connection changed. */
  onLink?(): void;
}

export class LiveSocket {
  readonly cameras = new Map<string, CameraNews>();
  console: ConsoleNews = {};
  blind = false;
  readonly clock = new ClockSync();
  private readonly url: string;
  private readonly listeners = new Set<LiveListener>();
  private socket: WebSocket | null = null;
  private heardAtMs = performance.now();
  private openedAtMs = 0;
  private reopenAtMs = 0;
  private failures = 0;
  private pingedAtMs = 0;
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

  /** UTC ms by the server's clock, or null while it was never measured. */
  serverNowMs(): number | null {
    const best = this.clock.best;
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
    socket.addEventListener("message", (event) => {
      if (socket === this.socket) this.receive(String(event.data));
    });
    socket.addEventListener("close", (event) => {
      if (socket !== this.socket) return;
      this.lost();
      if (event.code === CLOSED_SIGNED_OUT) this.each((listener) => listener.onSignedOut?.());
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
    if (this.blind) {
      this.blind = false;
      this.clock.forget();
      this.each((listener) => listener.onLink?.());
    }
    switch (message.t) {
      case "pong": {
        const first = this.clock.best === null;
        this.clock.add(Number(message.client_ms), now, nsToMs(String(message.server_ns)));
        if (first) this.each((listener) => listener.onLink?.());
        if (!this.clock.full) setTimeout(() => this.ping(), SAMPLE_EVERY_MS);
        break;
      }
      case "hello":
        this.ping();
        break;
      case "cameras": {
        const items = (message.items ?? []) as CameraNews[];
        for (const item of items) this.cameras.set(item.id, item);
        const gone = (message.gone ?? []) as string[];
        for (const id of gone) this.cameras.delete(id);
        this.each((listener) => listener.onCameras?.(items, gone));
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
      default: // "beat": being heard is all it says
    }
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
    } else if (now - this.pingedAtMs > RESAMPLE_EVERY_MS) {
      this.ping();
    }
  }

  private ping(): void {
    this.pingedAtMs = performance.now();
    this.send({ t: "ping", client_ms: this.pingedAtMs });
  }

  private each(tell: (listener: LiveListener) => void): void {
    for (const listener of this.listeners) tell(listener);
  }
}

function socketUrl(): string {
  return `${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}/api/v1/ws`;
}
