import { describe, expect, it } from "vitest";
import { ClockSync, MOST_ERROR_MS, nsToMs, OLD_AFTER_MS } from "./clockSync.ts";

describe("the server's clock", () => {
  it("is taken from the sample with the shortest way", () => {
    const sync = new ClockSync();
    sync.add(1000, 1100, 51_090); // 90 ms there, 10 back: 40 ms wrong
    sync.add(2000, 2004, 52_002);
    sync.add(3000, 3060, 53_010);
    expect(sync.at(3060)).toEqual({ offsetMs: 50_000, roundTripMs: 4, atMs: 2004 });
  });

  it("keeps the last eight only", () => {
    const sync = new ClockSync();
    sync.add(0, 1, 5);
    for (let i = 1; i <= 8; i++) sync.add(i * 100, i * 100 + 10, i * 100 + 9);
    expect(sync.at(900)?.roundTripMs).toBe(10);
  });

  it("is unknown at first, and again after being forgotten", () => {
    const sync = new ClockSync();
    sync.add(5, 4, 0); // a reply before the question is none
    sync.add(0, 5, Number.NaN);
    expect(sync.at(5)).toBeNull();
    sync.add(0, 2, 7);
    expect(sync.at(5)).not.toBeNull();
    sync.forget();
    expect(sync.at(5)).toBeNull();
  });

  it("is unknown once it was not measured for a minute, or only by ways that are too long", () => {
    const sync = new ClockSync();
    sync.add(0, 2, 7);
    expect([sync.at(2 + OLD_AFTER_MS)?.roundTripMs, sync.at(3 + OLD_AFTER_MS)]).toEqual([2, null]);
    sync.forget();
    sync.add(0, 2 * MOST_ERROR_MS, 7);
    expect(sync.at(2 * MOST_ERROR_MS)).toBeNull();
  });

  it.each([-5000, 5000])(
    "that was set by %i ms holds from the next sample on, however short the ways before",
    (step) => {
      const sync = new ClockSync();
      for (let i = 0; i < 8; i++) sync.add(i * 10_000, i * 10_000 + 1, i * 10_000 + 0.5);
      sync.add(80_000, 80_040, 80_020 + step);
      expect(sync.at(80_040)?.offsetMs).toBe(step);
    },
  );

  it("ahead of what was measured is unknown until it is measured anew", () => {
    const sync = new ClockSync();
    sync.add(0, 4, 1002);
    expect([sync.hear(1000, 1995), sync.at(1000)?.offsetMs]).toEqual([false, 1000]);
    expect([sync.hear(2000, 8000), sync.at(2000)]).toEqual([true, null]);
  });

  it("is asked for anew where the server's word comes late, which may be the way or a clock that was set back", () => {
    const sync = new ClockSync();
    sync.add(0, 4, 1002);
    expect([sync.hear(2000, 2500), sync.at(2000)?.offsetMs]).toEqual([true, 1000]);
  });

  it("keeps the millisecond of nanoseconds, and believes nothing else", () => {
    expect(nsToMs("1780000000123456789")).toBeCloseTo(1_780_000_000_123.456, 2);
    expect(nsToMs("undefined")).toBeNaN();
  });
});
