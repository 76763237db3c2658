import { describe, expect, it } from "vitest";
import type { Health, HealthStream, SiteTrouble } from "../../api/model.ts";
import en from "../../i18n/en.json";
import pl from "../../i18n/pl.json";
import { liveText } from "./Health.tsx";
import { counts, OF_THE_SITE, troubles } from "./judge.ts";

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

function health(streams: readonly HealthStream[], judged: readonly SiteTrouble[] = []): Health {
  return { streams, troubles: judged } as Partial<Health> as Health;
}

describe("health", () => {
  it("has nothing to say of a site that is well", () => {
    expect(troubles(health([stream(1)]))).toEqual([]);
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

  it("says of a camera that is not recorded why and since when, after the site's own, before mere warnings", () => {
    const since = "2026-11-30T07:00:00Z";
    const own = { camera: null, camera_id: null };
    const clock = { code: "camera_clock_ahead", grade: "warning", facts: { seconds: 137.2 } } as const;
    const found = troubles(
      health(
        [stream(1), stream(7, { level: "bad", state: "x", reason: "unauthorised", since })],
        [
          { ...clock, camera: { number: 1, name: "Camera 1" }, camera_id: "c1" },
          { code: "clock_free", grade: "warning", facts: {}, ...own },
          { code: "spool_tight", grade: "bad", facts: { minutes: 12 }, ...own },
        ],
      ),
    );
    expect(found.map((row) => [row.camera?.number, row.grade, row.why, row.cause, row.sinceUtc])).toEqual([
      [undefined, "bad", { code: "spool_tight", facts: { minutes: 12 } }, "disk", null],
      [7, "bad", { reason: "unauthorised" }, "camera", since],
      [1, "warning", { code: "camera_clock_ahead", facts: { seconds: 137.2 } }, "camera", null],
      [undefined, "warning", { code: "clock_free", facts: {} }, "clock", null],
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
    expect(troubles(health(streams)).map((row) => [row.camera?.number, row.side, row.why, row.cause])).toEqual([
      [1, false, { reason: "no_picture" }, "camera"],
      [2, true, { reason: "no_picture" }, "camera"],
    ]);
    expect(counts(streams)).toEqual({ recording: 1, expected: 2 });
  });

  it("has words for whatever the server may find wrong with a site", () => {
    for (const texts of [pl.health, en.health] as Record<string, string>[]) {
      for (const [code, [what, cause]] of Object.entries(OF_THE_SITE)) {
        for (const key of [`why_${code}`, `todo_${code}`, `cause_${cause}`, ...(what ? [`what_${what}`] : [])])
          expect(texts[key], key).toBeTruthy();
      }
    }
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
