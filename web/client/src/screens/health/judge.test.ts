import { describe, expect, it } from "vitest";
import type { Health, HealthStream } from "../../api/model.ts";
import { liveText } from "./Health.tsx";
import { counts, troubles } from "./judge.ts";

function stream(number: number, changes: Partial<HealthStream> = {}): HealthStream {
  return {
    camera: { number, name: `Camera ${number}` },
    stream: "main",
    stream_id: `s${number}`,
    level: "good",
    state: "recording",
    reason: null,
    ...changes,
  };
}

function site(changes: Partial<Health> = {}): Health {
  return {
    at: "2026-11-30T08:00:00Z",
    site: "X",
    recorder: { answers: true },
    archiver: { answers: true, at: null, catalogue_error: null },
    spool: { disk_free_bytes: 1e12, hours: 100, room_bytes: 1e11 },
    store: { where: "store", waiting_segments: 3, lost: 0, set_aside: 0, error: null },
    clock: { synchronised: true, offset_seconds: 0.004 },
    retention: { braked: false, off: false },
    streams: [stream(1)],
    ...changes,
  };
}

describe("health", () => {
  it("has nothing to say of a site that is well", () => {
    expect(troubles(site())).toEqual([]);
  });

  it("counts cameras, not streams, and none that is off or only relayed", () => {
    const streams = [
      stream(1),
      stream(1, { stream: "sub", state: "relaying" }),
      stream(2, { level: "bad", state: "camera_unreachable" }),
      stream(3, { level: "off", state: "switched off" }),
    ];
    expect(counts(streams)).toEqual({ recording: 1, expected: 2 });
  });

  it("says of a camera that is not recorded why, since when and what to do, before mere warnings", () => {
    const found = troubles(
      site({
        streams: [
          stream(1, { clock_offset_seconds: 137.2 }),
          stream(7, { level: "bad", state: "x", reason: "unauthorised", since: "2026-11-30T07:00:00Z" }),
        ],
      }),
    );
    expect(found.map((row) => [row.number, row.grade, row.why, row.cause, row.sinceUtc])).toEqual([
      [7, "bad", "unauthorised", "camera", "2026-11-30T07:00:00Z"],
      [1, "warning", "camera_clock", "camera", null],
    ]);
  });

  it("has one row for a camera that is away, and one for its other stream where that alone is", () => {
    const bad = { level: "bad", state: "no picture", reason: null } as const;
    const streams = [
      stream(1, bad),
      stream(1, { ...bad, stream: "sub" }),
      stream(2),
      stream(2, { ...bad, stream: "sub" }),
    ];
    expect(troubles(site({ streams })).map((row) => [row.number, row.side, row.why, row.cause])).toEqual([
      [1, false, "no_picture", "camera"],
      [2, true, "no_picture", "camera"],
    ]);
    expect(counts(streams)).toEqual({ recording: 1, expected: 2 });
  });

  it("names what of the site itself is wrong", () => {
    const found = troubles(
      site({
        recorder: { answers: false },
        archiver: { answers: false, at: null, catalogue_error: "locked" },
        live: { answers: false },
        store: { where: "s", error: "refused", waiting_segments: 9, lost: 2, set_aside: 1 },
        spool: { disk_free_bytes: 0, hours: 0.5, room_bytes: 0 },
        clock: { synchronised: false, offset_seconds: -3 },
        retention: { braked: true, off: true },
      }),
    );
    expect(found.map((row) => row.why).sort()).toEqual(
      [
        "recorder_down",
        "archiver_down",
        "live_down",
        "catalogue_error",
        "store_error",
        "store_lost",
        "set_aside",
        "spool_tight",
        "clock_free",
        "clock_off",
        "retention_braked",
        "retention_off",
      ].sort(),
    );
  });
});

describe("the number of live pictures", () => {
  const console = { recorder: true, live: 6 };

  it("is not known while the server is not heard, or the recorder does not answer it", () => {
    expect(liveText({ blind: false, console })).toBe("6");
    expect(liveText({ blind: true, console })).toBeNull();
    for (const recorder of [false, null]) expect(liveText({ blind: false, console: { recorder, live: 0 } })).toBeNull();
    expect(liveText({ blind: false, console: {} })).toBeNull();
  });
});
