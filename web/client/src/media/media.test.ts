import { describe, expect, it } from "vitest";
import { pauseMs } from "./backoff.ts";
import { captureMs, FrameInterval, isNewPicture } from "./captureClock.ts";
import { afterSecond, CALM, type Overload, streamFor, tooMuch } from "./overload.ts";
import { iceServersOf, withoutLocalNames } from "./sdp.ts";

describe("pauses", () => {
  it("are 0.5, 1, 2, 4, 5, 5 … seconds", () => {
    expect([0, 1, 2, 3, 4, 5, 60].map((n) => pauseMs(n, () => 0.5))).toEqual([500, 1000, 2000, 4000, 5000, 5000, 5000]);
  });

  it("are spread by a tenth either way", () => {
    expect([pauseMs(1, () => 0), pauseMs(1, () => 1)]).toEqual([900, 1100]);
  });
});

describe("an offer", () => {
  const line = (address: string) => `a=candidate:1 1 udp 2122260223 ${address} 54321 typ host generation 0\r\n`;

  it("loses candidates named .local and nothing else", () => {
    const head = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\n";
    const rest = "a=ice-options:trickle\r\na=note:x.local y\r\n";
    const offer = head + line("0a1b-2c.local") + line("192.168.1.7") + rest;
    expect(withoutLocalNames(offer)).toBe(head + line("192.168.1.7") + rest);
  });

  it("takes relays from Link", () => {
    const link =
      '<stun:a:3478>; rel="ice-server", <turn:a:3478?transport=tcp>; rel="ice-server"; username="17:u"; credential="c,d"; credential-type="password", </x>; rel="next"';
    expect(iceServersOf(link)).toEqual([
      { urls: "stun:a:3478" },
      { urls: "turn:a:3478?transport=tcp", username: "17:u", credential: "c,d" },
    ]);
    expect(iceServersOf(null)).toEqual([]);
  });
});

describe("capture time", () => {
  const unix = Date.UTC(2026, 10, 21);

  it("counts from 1900 or from 1970", () => {
    expect(captureMs({ rtpTimestamp: 9, captureTimestamp: unix + 2_208_988_800_000 }, 9)).toBe(unix);
    expect(captureMs({ rtpTimestamp: 9, captureTimestamp: unix }, undefined)).toBe(unix);
  });

  it("is that of the frame shown, also across the wrap of RTP time", () => {
    expect(captureMs({ rtpTimestamp: 900, captureTimestamp: unix }, 4_294_967_296 - 900)).toBe(unix - 20);
    expect(captureMs({ rtpTimestamp: 4_294_967_296 - 900, captureTimestamp: unix }, 900)).toBe(unix + 20);
  });

  it("is unknown where the sender says nothing", () => {
    expect(captureMs(undefined, 1)).toBeNull();
    expect(captureMs({ rtpTimestamp: 1 }, 1)).toBeNull();
  });

  it("shown before makes no picture new, unless the clock was set back", () => {
    expect(isNewPicture(unix + 40, unix, 100)).toBe(true);
    expect([isNewPicture(unix, unix, 1000), isNewPicture(unix - 900, unix, 1900)]).toEqual([false, false]);
    expect([isNewPicture(unix + 0.02, unix, 1000), isNewPicture(unix + 8, unix, 1000)]).toEqual([false, true]);
    expect(isNewPicture(unix - 60_000, unix, 60_500)).toBe(false);
    expect(isNewPicture(unix - 60_000, unix, 150)).toBe(true);
    expect([isNewPicture(null, unix, null), isNewPicture(unix, null, 9e9)]).toEqual([true, true]);
  });

  it("of a freeze does not look like a slow camera", () => {
    const interval = new FrameInterval();
    expect(interval.ms).toBe(0);
    for (let i = 0; i < 10; i++) interval.shown(i * 40);
    interval.shown(9 * 40 + 60_000);
    expect(interval.ms).toBe(40);
  });
});

describe("an overloaded station", () => {
  const easy = { received: 25, decoded: 25, dropped: 0, decodeMs: 100, overMs: 1000 };
  const fine = [easy];
  const drops = [{ ...easy, decoded: 22, dropped: 3 }];
  const slow = [easy, { ...easy, decodeMs: 800 }];
  const run = (start: Overload, seconds: number, tiles: typeof fine) =>
    Array.from({ length: seconds }).reduce<Overload>((state) => afterSecond(state, tiles), start);

  it("steps down after five bad seconds, one step each time", () => {
    expect(run(CALM, 4, drops).level).toBe(0);
    expect(run(CALM, 5, drops).level).toBe(1);
    expect(run(CALM, 10, slow).level).toBe(2);
    expect(run(CALM, 60, slow).level).toBe(3);
  });

  it("hears of pictures that wait and of none that is dropped", () => {
    expect(tooMuch([{ ...easy, decoded: 10, decodeMs: 650 }])).toBe(true);
    expect(tooMuch([{ ...easy, decoded: 23 }])).toBe(true);
  });

  it("takes a decoder by the time it has for a picture, whatever was counted over", () => {
    expect(tooMuch([{ ...easy, received: 50, decoded: 50, decodeMs: 800, overMs: 2000 }])).toBe(false);
    expect(tooMuch([{ ...easy, received: 10, decoded: 10, decodeMs: 800 }])).toBe(true);
    expect(tooMuch([{ ...easy, received: 25, decoded: 25, decodeMs: 690 }])).toBe(false);
  });

  it("lets a picture more or less pass that was under way when it was counted", () => {
    expect(tooMuch([{ ...easy, decoded: 24 }])).toBe(false);
    expect(
      tooMuch([
        { ...easy, received: 13, decoded: 12 },
        { ...easy, received: 12, decoded: 13 },
      ]),
    ).toBe(false);
    expect(tooMuch([])).toBe(false);
  });

  it("forgives single seconds", () => {
    expect(run(run(run(CALM, 4, drops), 1, fine), 4, drops).level).toBe(0);
  });

  it("steps back after thirty good ones", () => {
    const lowered = run(CALM, 5, drops);
    expect([run(lowered, 29, fine).level, run(lowered, 30, fine).level]).toEqual([1, 0]);
  });

  it("waits twice as long after a step back that did not hold, and eight minutes at most", () => {
    let state = run(run(CALM, 5, drops), 30, fine);
    expect(state.level).toBe(0);
    state = run(state, 5, drops);
    expect([run(state, 59, fine).level, run(state, 60, fine).level]).toEqual([1, 0]);
    for (let i = 0; i < 9; i++) state = run(run(state, state.patienceSeconds, fine), 5, drops);
    expect([run(state, 479, fine).level, run(state, 480, fine).level]).toEqual([1, 0]);
  });

  it("is as patient as at first once a step back has held", () => {
    let state = run(run(run(run(CALM, 5, drops), 30, fine), 5, drops), 60, fine);
    expect([state.level, run(state, 60, fine)]).toEqual([0, CALM]);
    state = run(run(state, 60, fine), 5, drops);
    expect([run(state, 29, fine).level, run(state, 30, fine).level]).toEqual([1, 0]);
  });

  it("keeps the spot tile's main stream to the last", () => {
    expect([0, 1, 2, 3].map((level) => streamFor(1200, true, level as Overload["level"]))).toEqual([
      "main",
      "main",
      "main",
      "sub",
    ]);
    expect([streamFor(641, false, 0), streamFor(641, false, 1), streamFor(640, false, 0)]).toEqual([
      "main",
      "sub",
      "sub",
    ]);
  });
});
