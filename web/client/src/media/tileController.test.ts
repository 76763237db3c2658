import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { TileController } from "./tileController.ts";

/** What a tile says of pictures as these peers send them: without capture times, and so of no known age. */
const MOVES = "unaged";

/** The server's answers to `PUT …/stream`, one after another, and what was asked of it. */
let answers: (() => Promise<Response>)[];
/** Refusals of what is posted, before it is taken. */
let posts: (() => Promise<Response>)[];
let asked: string[];
/** Of the last question to switch: whether it was given up. */
let switching: AbortSignal | null | undefined;
let peers: { closed: boolean }[];
let stream: "main" | "sub";
/** Why it is that one, where it was not asked for. */
let why: string | null;

/** Whether frames come from a peer that was answered. */
let showing: boolean;
/** When the picture on the screen was captured, if its sender says so; its RTP time goes with it. */
let capturedMs: number | undefined;
let questions: number;
let offer: () => Promise<object>;
let blind: boolean;
/** What browsers count of the running session; null: nothing. */
let decoded: number | null;

const stats = (frames: number) => ({
  type: "inbound-rtp",
  kind: "video",
  timestamp: performance.now(),
  framesDecoded: frames,
});

const refused = (status: number, code: string, retry_after?: number) => () =>
  Promise.resolve(new Response(JSON.stringify({ code, retry_after }), { status }));

const rtpTime = () => 90 * (capturedMs ?? 0);

class Peer {
  closed = false;
  answered = false;
  connectionState = "new";
  localDescription = { sdp: "v=0" };
  constructor() {
    peers.push(this);
  }
  setConfiguration = () => undefined;
  addTransceiver = () => ({
    receiver: {
      track: null,
      getStats: () => Promise.resolve(new Map(decoded === null ? [] : [["video", stats(decoded)]])),
      getSynchronizationSources: () => {
        questions += 1;
        return this.answered && showing ? [{ rtpTimestamp: rtpTime(), captureTimestamp: capturedMs }] : [];
      },
    },
    setCodecPreferences: () => undefined,
  });
  addEventListener = () => undefined;
  createOffer = () => offer();
  setLocalDescription = () => Promise.resolve();
  setRemoteDescription = () => {
    this.answered = true;
    return Promise.resolve();
  };
  close = () => {
    this.closed = true;
  };
}

const codecs = (...names: string[]) => ({
  getCapabilities: () => ({ codecs: names.map((n) => ({ mimeType: `video/${n}` })) }),
});

const accepted = () =>
  new Response("v=0", {
    status: 201,
    headers: {
      Location: `/api/v1/whep/sessions/${asked.length}`,
      "Stroz-Stream": stream,
      ...(why !== null && { "Stroz-Why": why }),
    },
  });

describe("a tile that is to show the other stream", () => {
  let tile: TileController;
  const doubtSession = vi.fn();

  beforeEach(async () => {
    vi.useFakeTimers();
    [answers, posts, asked, peers, stream, showing, blind] = [[], [], [], [], "sub", true, false];
    [capturedMs, questions, decoded, why] = [undefined, 0, null, null];
    offer = () => Promise.resolve({});
    // Every stream shows a picture each 40 ms.
    HTMLVideoElement.prototype.requestVideoFrameCallback = (shown) =>
      setTimeout(
        () =>
          shown(performance.now(), {
            width: 640,
            height: 360,
            rtpTimestamp: rtpTime(),
          } as VideoFrameCallbackMetadata),
        40,
      ) as never;
    HTMLVideoElement.prototype.cancelVideoFrameCallback = (handle) => clearTimeout(handle);
    HTMLVideoElement.prototype.play = () => Promise.resolve();
    vi.stubGlobal("RTCPeerConnection", Peer);
    vi.stubGlobal("RTCRtpReceiver", codecs("H264"));
    vi.stubGlobal("fetch", (_: string, { method = "GET", signal }: RequestInit) => {
      asked.push(method);
      if (method === "PUT") switching = signal;
      if (method === "PUT") return (answers.shift() ?? (() => Promise.resolve(new Response(null, { status: 204 }))))();
      const post = method === "POST" && posts.shift();
      if (post) return post();
      return Promise.resolve(method === "POST" ? accepted() : new Response("", { status: 200 }));
    });
    const source = { camera: "a", label: null, assigned: "camera", purpose: null } as const;
    tile = new TileController(source, "sub", {
      serverNowMs: () => 0,
      consoleBlind: () => blind,
      csrf: () => "",
      doubtSession,
    });
    await vi.advanceTimersByTimeAsync(1000);
    expect(tile.verdict.word).toBe(MOVES);
    asked = asked.filter((method) => method !== "OPTIONS");
  });
  afterEach(() => {
    tile.dispose();
    expect(vi.getTimerCount()).toBe(0);
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });

  const wish = async () => {
    tile.setStream("main");
    await vi.advanceTimersByTimeAsync(1);
  };

  it("says which it is once the server has switched", async () => {
    await wish();
    expect([tile.figures.stream, asked, peers.length]).toEqual(["main", ["POST", "PUT"], 1]);
  });

  it("asks no more of a session that is over", async () => {
    answers = [() => new Promise(() => undefined)];
    await wish();
    expect(switching?.aborted).toBe(false);
    tile.setPaused(true);
    expect([switching?.aborted, asked.at(-1)]).toEqual([true, "DELETE"]);
  });

  it("knows why it was given another than it asked for, until it shows what it wanted", async () => {
    expect(tile.figures.why).toBeNull();
    [stream, why] = ["main", "source_not_live"];
    tile.retryNow();
    await vi.advanceTimersByTimeAsync(1000);
    expect([tile.figures.stream, tile.figures.why]).toEqual(["main", "source_not_live"]);
    await vi.advanceTimersByTimeAsync(4000);
    expect([tile.figures.stream, tile.figures.why, asked.at(-1)]).toEqual(["sub", null, "PUT"]);
  });

  it("names the clock of the stream that it shows", async () => {
    expect(tile.timeFrom).toBeNull();
    const told = vi.fn();
    tile.subscribe(told);
    tile.setClocks({ main: "camera", sub: "server" });
    expect([tile.timeFrom, told.mock.calls.length]).toEqual(["server", 1]);
    await wish();
    expect(tile.timeFrom).toBe("camera");
    tile.setClocks({});
    expect(tile.timeFrom).toBeNull();
  });

  it("tells how many frames a second come once a stream's first burst is over, and anew after a switch", async () => {
    const rates: (number | null)[] = [];
    const seconds = async (...counts: number[]) => {
      for (const count of counts) {
        decoded = count;
        await vi.advanceTimersByTimeAsync(1000);
        rates.push(tile.figures.fps);
      }
    };
    await seconds(40, 65, 77);
    await wish();
    await seconds(110, 135, 160);
    expect(rates).toEqual([null, null, 12, null, null, 25]);
  });

  it("keeps its picture where the other cannot be shown in this browser", async () => {
    answers = [refused(406, "codec_unsupported")];
    await wish();
    expect([tile.figures.stream, asked, peers.map((peer) => peer.closed)]).toEqual(["sub", ["POST", "PUT"], [false]]);
  });

  it("asks by another session where that may be answered with H.265", async () => {
    vi.stubGlobal("RTCRtpReceiver", codecs("H264", "H265"));
    answers = [refused(406, "codec_unsupported")];
    await wish();
    expect(peers.map((peer) => peer.closed)).toEqual([true, false]);
  });

  it("keeps the picture of another session that was answered with the same stream", async () => {
    vi.stubGlobal("RTCRtpReceiver", codecs("H264", "H265"));
    answers = [refused(406, "codec_unsupported"), refused(406, "codec_unsupported")];
    await wish();
    await vi.advanceTimersByTimeAsync(60_000);
    expect([tile.figures.stream, tile.verdict.word]).toEqual(["sub", MOVES]);
    expect([asked, peers.length]).toEqual([["POST", "PUT", "DELETE", "POST", "PUT"], 2]);
  });

  it("goes back to the stream it was opened for once that is there again, in the same session", async () => {
    answers = [refused(404, "not_found"), refused(409, "source_not_live", 2)];
    await wish(); // another session is opened for main, and answered with sub
    expect([tile.figures.stream, asked]).toEqual(["sub", ["POST", "PUT", "DELETE", "POST"]]);
    await vi.advanceTimersByTimeAsync(4500);
    expect([tile.figures.stream, tile.verdict.word, asked.at(-1)]).toEqual(["sub", MOVES, "PUT"]);
    await vi.advanceTimersByTimeAsync(4500);
    expect([tile.figures.stream, tile.verdict.word]).toEqual(["main", MOVES]);
    expect(peers.map((peer) => peer.closed)).toEqual([true, false]);
    await vi.advanceTimersByTimeAsync(20_000);
    expect(asked.filter((method) => method === "PUT").length).toBe(3);
  });

  it("carries out a wish that comes between the answer and the first picture", async () => {
    showing = false;
    tile.retryNow();
    await vi.advanceTimersByTimeAsync(50); // answered by now
    asked = [];
    await wish();
    expect([tile.figures.stream, asked]).toEqual(["main", ["PUT"]]);
  });

  it("asks once for a stream that the camera does not have", async () => {
    answers = [refused(422, "no_such_stream")];
    await wish();
    await vi.advanceTimersByTimeAsync(60_000);
    expect([tile.figures.stream, tile.verdict.word, asked]).toEqual(["sub", MOVES, ["POST", "PUT"]]);
  });

  it.each([
    ["the camera sends it not now", refused(409, "source_not_live", 2)],
    ["the gateway is away", refused(503, "gateway_away")],
    ["nobody answers", () => Promise.reject(new TypeError("away"))],
  ])("keeps its picture where %s, and asks again", async (_, answer) => {
    answers = [answer];
    await wish();
    expect([tile.figures.stream, peers.map((peer) => peer.closed)]).toEqual(["sub", [false]]);
    await vi.advanceTimersByTimeAsync(4500);
    expect([tile.figures.stream, asked, peers.length]).toEqual(["main", ["POST", "PUT", "PUT"], 1]);
  });

  it("asks no more for a camera that recorder and gateway call away, until it is told back", async () => {
    const away = refused(409, "source_not_live", 2);
    tile.setDown({ reason: "unreachable", sinceUtcMs: 0, retryAtMs: null });
    posts = [away, away, away];
    showing = false;
    tile.retryNow();
    await vi.advanceTimersByTimeAsync(29_000);
    expect([tile.verdict.word, asked.filter((method) => method === "POST").length]).toEqual(["lost", 2]);
    await vi.advanceTimersByTimeAsync(2000); // news may have been missed
    expect(asked.filter((method) => method === "POST").length).toBe(3);
    [posts, showing] = [[], true];
    tile.setDown(null);
    await vi.advanceTimersByTimeAsync(1000);
    expect(tile.verdict.word).toBe(MOVES);
  });

  it("goes on asking while the console is blind, or where the gateway refuses for another reason", async () => {
    tile.setDown({ reason: "unreachable", sinceUtcMs: 0, retryAtMs: null });
    posts = [refused(503, "gateway_away")];
    tile.retryNow();
    await vi.advanceTimersByTimeAsync(1500);
    expect(asked.filter((method) => method === "POST").length).toBe(3);
    blind = true;
    posts = [refused(409, "source_not_live")];
    tile.retryNow();
    await vi.advanceTimersByTimeAsync(1500);
    expect(asked.filter((method) => method === "POST").length).toBe(5);
  });

  it("has the session asked for where another window signed in, and then goes on", async () => {
    answers = [refused(404, "not_found")];
    posts = [refused(403, "csrf")];
    await wish();
    expect([tile.refusal, doubtSession.mock.calls.length]).toEqual(["csrf", 1]);
    await vi.advanceTimersByTimeAsync(2000);
    expect([tile.refusal, tile.verdict.word, doubtSession.mock.calls.length]).toEqual([null, MOVES, 1]);
  });

  it("opens another session where the server has none", async () => {
    answers = [refused(404, "not_found")];
    await wish();
    expect(asked).toEqual(["POST", "PUT", "DELETE", "POST"]);
    expect(peers.map((peer) => peer.closed)).toEqual([true, false]);
  });

  it("waits for a slow server, which is asked once, and then for the picture", async () => {
    answers = [refused(404, "not_found")];
    posts = [() => new Promise((resolve) => setTimeout(() => resolve(accepted()), 7900))];
    showing = false;
    await wish();
    await vi.advanceTimersByTimeAsync(7900 + 3900);
    expect([asked, peers.map((peer) => peer.closed)]).toEqual([
      ["POST", "PUT", "DELETE", "POST"],
      [true, false],
    ]);
    showing = true;
    await vi.advanceTimersByTimeAsync(1000);
    expect([tile.verdict.word, peers.length]).toEqual([MOVES, 2]);
  });

  it("takes an answer without a picture for a failure after four seconds", async () => {
    answers = [refused(404, "not_found")];
    showing = false;
    await wish();
    await vi.advanceTimersByTimeAsync(3900);
    expect(peers.map((peer) => peer.closed)).toEqual([true, false]);
    await vi.advanceTimersByTimeAsync(400);
    expect([peers.map((peer) => peer.closed), asked.at(-1)]).toEqual([[true, true], "DELETE"]);
  });

  it("begins anew where an answer breaks off, and ends what it was about", async () => {
    answers = [refused(404, "not_found")];
    posts = [() => Promise.resolve(Object.assign(accepted(), { text: () => Promise.reject(new TypeError("cut")) }))];
    await wish();
    expect([tile.refusal, asked]).toEqual(["server_away", ["POST", "PUT", "DELETE", "POST", "DELETE"]]);
    await vi.advanceTimersByTimeAsync(1000);
    expect([tile.refusal, tile.verdict.word]).toEqual([null, MOVES]);
  });

  it("begins anew where the browser itself never makes an offer", async () => {
    answers = [refused(404, "not_found")];
    offer = () => new Promise(() => undefined);
    await wish();
    await vi.advanceTimersByTimeAsync(11_900);
    expect(peers.length).toBe(2);
    offer = () => Promise.resolve({});
    await vi.advanceTimersByTimeAsync(2000);
    expect([tile.verdict.word, peers.length]).toEqual([MOVES, 3]);
  });

  it("asks when a picture was captured once in 70 ms, and takes none for new that it has shown", async () => {
    const begin = questions;
    for (let n = 1; n <= 10; n++) {
      capturedMs = 40 * n;
      await vi.advanceTimersByTimeAsync(40);
    }
    expect([questions - begin, tile.lastCaptureMs, tile.verdict.word]).toEqual([5, 400, "live"]);
    await vi.advanceTimersByTimeAsync(1500); // the same one again and again
    expect([tile.lastCaptureMs, tile.verdict.word]).toEqual([400, "checking"]);
  });
});
