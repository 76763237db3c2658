import { describe, expect, it } from "vitest";
import { ClockSync, nsToMs } from "./clockSync.ts";

describe("the server's clock", () => {
  it("is taken from the sample with the shortest way", () => {
    const sync = new ClockSync();
    sync.add(1000, 1100, 51_090); // 90 ms there, 10 back: 40 ms wrong
    sync.add(2000, 2004, 52_002);
    sync.add(3000, 3060, 53_010);
    expect(sync.best).toEqual({ offsetMs: 50_000, roundTripMs: 4 });
  });

  it("keeps the last eight only", () => {
    const sync = new ClockSync();
    sync.add(0, 1, 5);
    for (let i = 1; i <= 8; i++) sync.add(i * 100, i * 100 + 10, i * 100 + 5);
    expect([sync.full, sync.best?.roundTripMs]).toEqual([true, 10]);
  });

  it("is unknown at first, and again after being forgotten", () => {
    const sync = new ClockSync();
    sync.add(5, 4, 0); // a reply before the question is none
    expect(sync.best).toBeNull();
    sync.add(0, 2, 7);
    sync.forget();
    expect(sync.best).toBeNull();
  });

  it("keeps the millisecond of nanoseconds", () => {
    expect(nsToMs("1780000000123456789")).toBeCloseTo(1_780_000_000_123.456, 2);
  });
});
