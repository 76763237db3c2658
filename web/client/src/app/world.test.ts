import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { LiveSocket } from "../api/socket.ts";
import { PURPOSE_HOLDS_MS, World } from "./world.ts";

describe("the stated purpose", () => {
  let world: World;
  beforeEach(() => {
    vi.useFakeTimers();
    const socket = { subscribe: () => () => undefined, serverNowMs: () => null, close: () => undefined };
    world = new World("Europe/Warsaw", socket as unknown as LiveSocket);
  });
  afterEach(() => {
    world.close();
    vi.useRealTimers();
  });

  it("holds for a shift and no longer, and tiles are told", () => {
    const told = vi.fn();
    world.setPurpose("RSD 12/26");
    world.subscribe(told);
    vi.advanceTimersByTime(PURPOSE_HOLDS_MS - 1000);
    expect([world.purpose, told.mock.calls.length]).toEqual(["RSD 12/26", 0]);
    vi.advanceTimersByTime(2000);
    expect([world.purpose, told.mock.calls.length]).toEqual([null, 1]);
  });

  it("that is stated anew holds from then on", () => {
    world.setPurpose("RSD 12/26");
    vi.advanceTimersByTime(PURPOSE_HOLDS_MS - 1000);
    world.setPurpose("RSD 13/26");
    vi.advanceTimersByTime(PURPOSE_HOLDS_MS - 1000);
    expect(world.purpose).toBe("RSD 13/26");
  });
});
