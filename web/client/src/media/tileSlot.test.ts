import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { TileController, TileSource } from "./tileController.ts";
import { GRACE_MS, keyOf, TileSlot } from "./tileSlot.ts";

const at = (camera: string, name = camera, assigned: TileSource["assigned"] = "camera"): TileSource => ({
  camera,
  label: { number: 1, name },
  assigned,
  purpose: null,
});

describe("a place on the wall", () => {
  const there = new Set<TileController>();
  let slot: TileSlot;

  beforeEach(() => {
    vi.useFakeTimers();
    HTMLVideoElement.prototype.requestVideoFrameCallback = () => 1;
    HTMLVideoElement.prototype.cancelVideoFrameCallback = () => undefined;
    vi.stubGlobal(
      "RTCPeerConnection",
      class {
        createOffer = () => new Promise(() => undefined);
        addTransceiver = () => ({ receiver: { track: null } });
        addEventListener = () => undefined;
        close = () => undefined;
      },
    );
    vi.stubGlobal("RTCRtpReceiver", { getCapabilities: () => null });
    vi.stubGlobal("MediaStream", Object);
    vi.stubGlobal("fetch", () => new Promise(() => undefined));
    slot = new TileSlot({
      enter: (controller) => there.add(controller),
      leave: (controller) => there.delete(controller),
      serverNowMs: () => 0,
      consoleBlind: () => false,
      csrf: () => "",
      doubtSession: () => undefined,
    });
  });
  afterEach(() => {
    slot.dispose();
    expect(there.size).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });

  const shows = () => slot.active && keyOf(slot.active.source);
  const pretendLive = () => {
    const { active } = slot;
    if (active) active.verdict = { ...active.verdict, word: "live", picture: true };
  };

  it("keeps a picture under its own name until the one under another name is there, but not for long", () => {
    slot.show(at("a", "Rynek"), "sub");
    pretendLive();
    const before = slot.active;
    slot.show(at("a", "Dworzec"), "sub");
    expect([slot.active, slot.next?.source.label?.name]).toEqual([before, "Dworzec"]);
    vi.advanceTimersByTime(GRACE_MS);
    expect([slot.active?.source.label?.name, slot.next, there.size]).toEqual(["Dworzec", null, 1]);
  });

  it.each(["no_right", "off", "masked", "purpose"] as const)("keeps no picture of a camera that is %s", (assigned) => {
    slot.show(at("a"), "sub");
    pretendLive();
    slot.show(at("a", "a", assigned), "sub");
    expect(slot.active?.source.assigned).toBe(assigned);
  });

  it("keeps the picture that is there when it goes back to it before the other one came", () => {
    slot.show(at("a"), "sub");
    pretendLive();
    const before = slot.active;
    slot.show(at("b"), "sub");
    slot.show(at("a"), "main");
    expect([slot.active, slot.next, there.size]).toEqual([before, null, 1]);
    expect(slot.active?.stream).toBe("main");
    vi.advanceTimersByTime(GRACE_MS);
    expect(slot.active).toBe(before);
  });

  it("ends what it prepared when nothing is to come, but not what is awaited", () => {
    slot.show(at("a"), "sub");
    pretendLive();
    slot.prepare(at("b"), "sub");
    expect(there.size).toBe(2);
    slot.unprepare();
    expect([slot.next, there.size]).toEqual([null, 1]);
    slot.show(at("c"), "sub");
    slot.unprepare();
    vi.advanceTimersByTime(GRACE_MS);
    expect(shows()).toBe(keyOf(at("c")));
  });

  it("prepares nothing in the place of what is awaited", () => {
    slot.show(at("a"), "sub");
    pretendLive();
    slot.show(at("b"), "sub");
    slot.prepare(at("c"), "sub");
    vi.advanceTimersByTime(GRACE_MS);
    expect(shows()).toBe(keyOf(at("b")));
    expect(there.has(slot.active as TileController)).toBe(true);
  });
});
