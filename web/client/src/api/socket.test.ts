import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type LiveListener, LiveSocket } from "./socket.ts";

const SERVER_MS = 1_790_000_000_000;

/** A server with its own clock, at the other end of the browser's WebSocket. */
class Server {
  static opened: Server[] = [];
  static readonly OPEN = 1;
  static aheadMs = 0;
  static answers = true;
  readyState = 1;
  readonly pings: number[] = [];
  private readonly heard: Record<string, (event: unknown) => void> = {};

  constructor() {
    Server.opened.push(this);
  }

  static get last(): Server {
    return Server.opened.at(-1) as Server;
  }

  addEventListener(name: string, listener: (event: unknown) => void): void {
    this.heard[name] = listener;
  }

  send(text: string): void {
    const { client_ms } = JSON.parse(text) as { client_ms: number };
    this.pings.push(client_ms);
    if (Server.answers) setTimeout(() => this.answer(client_ms), 2);
  }

  close(): void {
    this.readyState = 3;
  }

  private answer(client_ms: number): void {
    const pong = { t: "pong", client_ms, server_ns: now() };
    setTimeout(() => this.say(pong), 2);
  }

  say(message: object): void {
    this.heard.message?.({ data: JSON.stringify(message) });
  }

  end(code: number): void {
    this.readyState = 3;
    this.heard.close?.({ code });
  }
}

const now = () => `${BigInt(Math.round(SERVER_MS + Server.aheadMs + performance.now())) * 1_000_000n}`;
const beat = () => Server.last.say({ t: "beat", server_ns: now() });

/** Seconds of a server that beats. */
async function pass(seconds: number): Promise<void> {
  for (let i = 0; i < seconds; i++) {
    await vi.advanceTimersByTimeAsync(1000);
    beat();
  }
}

let socket: LiveSocket;
const wrongBy = () => {
  const known = socket.serverNowMs();
  return known === null ? null : Math.round(known - (SERVER_MS + Server.aheadMs + performance.now()));
};

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setInterval", "setTimeout", "clearInterval", "clearTimeout", "performance", "Date"] });
  vi.stubGlobal("WebSocket", Server);
  Object.assign(Server, { opened: [], aheadMs: 0, answers: true });
  socket = new LiveSocket("ws://server");
});
afterEach(() => {
  socket.close();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe("the server's clock", () => {
  beforeEach(async () => {
    Server.last.say({ t: "hello", server_ns: now() });
    await pass(2);
  });

  it("is known soon after the first word, from more than one sample", () => {
    expect([wrongBy(), Server.last.pings.length]).toEqual([0, 8]);
  });

  it("is asked for at once after blindness over a standing connection, and unknown until the answer", async () => {
    await vi.advanceTimersByTimeAsync(3500);
    expect(socket.blind).toBe(true);
    const before = Server.last.pings.length;
    beat();
    expect([socket.blind, wrongBy(), Server.last.pings.length]).toEqual([false, null, before + 1]);
    await vi.advanceTimersByTimeAsync(4);
    expect(wrongBy()).toBe(0);
  });

  it("is asked for once by a new connection that ends blindness, and unknown to those who hear of that", async () => {
    Server.last.end(1006);
    await vi.advanceTimersByTimeAsync(3500);
    const heard: unknown[] = [];
    socket.subscribe({ onLink: () => heard.push([socket.blind, wrongBy()]) });
    expect([Server.opened.length, socket.blind]).toEqual([2, true]);
    Server.last.say({ t: "hello", server_ns: now() });
    expect([heard, Server.last.pings.length]).toEqual([[[false, null]], 1]);
    await pass(2);
    expect([wrongBy(), Server.last.pings.length]).toEqual([0, 8]);
  });

  it("is another after every new connection, blind or not", async () => {
    Server.last.end(1006);
    Server.answers = false;
    await vi.advanceTimersByTimeAsync(1000);
    expect([Server.opened.length, socket.blind]).toEqual([2, false]);
    Server.last.say({ t: "hello", server_ns: now() });
    expect(wrongBy()).toBeNull();
  });

  it.each([-5000, 5000])("that was set by %i ms is noticed with the next beat", async (step) => {
    await pass(5);
    Server.aheadMs = step;
    beat();
    if (step > 0) expect(wrongBy()).toBeNull();
    await vi.advanceTimersByTimeAsync(5);
    expect(wrongBy()).toBe(0);
  });

  it("is unknown when answers stay away for a minute", async () => {
    Server.answers = false;
    await pass(55);
    expect(wrongBy()).toBe(0);
    await pass(10);
    expect([socket.blind, wrongBy()]).toEqual([false, null]);
  });
});

describe("what listeners hear", () => {
  it("of cameras: what changed, what went, and that the list is another", () => {
    const told: unknown[] = [];
    socket.subscribe({
      onCameras: (changed, gone) => told.push([changed.length, gone]),
      onRegistry: () => told.push("registry"),
    });
    const item = { id: "a", state: "live", since: null, reason: null, retry_at: null };
    Server.last.say({ t: "cameras", items: [item], gone: [], registry: "1" });
    Server.last.say({ t: "cameras", items: [], gone: ["a"], registry: "2" });
    Server.last.say({ t: "cameras", items: [], gone: [], registry: "2" });
    expect(told).toEqual([[1, []], "registry", [0, ["a"]], "registry", [0, []]]);
    expect(socket.cameras.size).toBe(0);
  });

  it("of the session: that it ended, or that a connection was refused and it may have", async () => {
    const told: string[] = [];
    const listener: LiveListener = { onSignedOut: () => told.push("out"), onDoubt: () => told.push("ask") };
    socket.subscribe(listener);
    Server.last.end(1006);
    await vi.advanceTimersByTimeAsync(1000);
    Server.last.say({ t: "hello", server_ns: now() });
    Server.last.end(1006);
    await vi.advanceTimersByTimeAsync(2000);
    Server.last.end(4401);
    expect(told).toEqual(["ask", "out"]);
  });
});
