import { describe, expect, it } from "vitest";
import { judge, patience, type TileFacts } from "./tileState.ts";

const T = 100_000;

/** A tile that has played for a minute and showed a fresh frame 40 ms ago. */
function playing(changes: Partial<TileFacts> = {}): TileFacts {
  return {
    nowMs: T,
    assigned: "camera",
    startedAtMs: T - 60_000,
    lastShownAtMs: T - 40,
    firstShownAtMs: T - 59_000,
    lastDecodedAtMs: T - 500,
    frameIntervalMs: 40,
    captureAgeMs: 150,
    tellsCapture: true,
    hidden: false,
    visibleSinceMs: 0,
    consoleBlind: false,
    down: null,
    attempting: false,
    retryAtMs: null,
    failure: null,
    wasDelayed: false,
    ...changes,
  };
}

const waiting = (changes: Partial<TileFacts> = {}) =>
  playing({
    lastShownAtMs: null,
    firstShownAtMs: null,
    lastDecodedAtMs: null,
    captureAgeMs: null,
    startedAtMs: T - 200,
    attempting: true,
    ...changes,
  });

const DOWN = { reason: "camera_unreachable", sinceUtcMs: 1, retryAtMs: T + 7000, toldAtMs: T - 30 };

describe("live", () => {
  it("takes a fresh frame and a small age", () => {
    expect(judge(playing())).toMatchObject({ word: "live", picture: true, dimmed: false });
  });

  it("is never said of a picture whose age nobody tells, which is doubted for a grace and then called by its own word", () => {
    const untold = { captureAgeMs: null, tellsCapture: false };
    expect(judge(playing(untold))).toMatchObject({ word: "unaged", picture: true, dimmed: false, delayMs: null });
    expect(judge(playing({ ...untold, lastShownAtMs: T - 1000 }))).toMatchObject({ word: "checking" });
    expect(judge(playing({ ...untold, firstShownAtMs: T - 100 }))).toMatchObject({ word: "checking" });
  });

  it("is not said of a picture whose age the server's clock could tell and does not", () => {
    expect(judge(playing({ captureAgeMs: null }))).toMatchObject({ word: "checking", picture: true, dimmed: true });
    expect(judge(playing({ captureAgeMs: -1041 }))).toMatchObject({ word: "checking" });
    expect(judge(playing({ captureAgeMs: -999 }))).toMatchObject({ word: "live" });
  });

  it("lasts to just under a second without a frame", () => {
    expect(judge(playing({ lastShownAtMs: T - 999 })).word).toBe("live");
  });
});

describe("delayed", () => {
  it("begins at two seconds of age and says how much", () => {
    const now = { lastShownAtMs: T };
    expect(judge(playing({ ...now, captureAgeMs: 1999 })).word).toBe("live");
    expect(judge(playing({ ...now, captureAgeMs: 2000 }))).toMatchObject({
      word: "delayed",
      picture: true,
      delayMs: 2000,
    });
  });

  it("is what a slow camera's picture grows to be while it stands", () => {
    const slow = { frameIntervalMs: 5000, captureAgeMs: 200 };
    expect(judge(playing({ ...slow, lastShownAtMs: T - 1700 })).word).toBe("live");
    expect(judge(playing({ ...slow, lastShownAtMs: T - 4000 }))).toMatchObject({ word: "delayed", delayMs: 4200 });
  });

  it("does not flicker at the border", () => {
    const was = { lastShownAtMs: T, wasDelayed: true };
    expect(judge(playing({ ...was, captureAgeMs: 1950 })).word).toBe("delayed");
    expect(judge(playing({ ...was, captureAgeMs: 1899 })).word).toBe("live");
  });

  it("gives way to doubt when frames stop", () => {
    expect(judge(playing({ captureAgeMs: 4000, lastShownAtMs: T - 1500 })).word).toBe("checking");
  });
});

describe("checking", () => {
  it("dims the picture from one to three seconds without a frame", () => {
    for (const silent of [1000, 2000, 2499]) {
      expect(judge(playing({ lastShownAtMs: T - silent }))).toMatchObject({
        word: "checking",
        picture: true,
        dimmed: true,
      });
    }
  });

  it("waits for three intervals of a slow camera", () => {
    expect(judge(playing({ frameIntervalMs: 500, lastShownAtMs: T - 1400 })).word).toBe("live");
    expect(judge(playing({ frameIntervalMs: 500, lastShownAtMs: T - 1500 })).word).toBe("checking");
    expect(patience(1000)).toEqual({ checkMs: 3000, lostMs: 4000 });
    expect(patience(40)).toEqual({ checkMs: 1000, lostMs: 2500 });
  });

  it("takes every tile when the console is blind, fresh frames or not", () => {
    expect(judge(playing({ consoleBlind: true }))).toMatchObject({ word: "checking", dimmed: true, cause: "server" });
  });

  it("has no picture before the first frame", () => {
    expect(judge(waiting())).toMatchObject({ word: "checking", picture: false });
  });

  it("is the way back of a page that was not drawn, until a frame is shown", () => {
    const back = { visibleSinceMs: T - 100, lastShownAtMs: T - 20_000, lastDecodedAtMs: T - 600 };
    expect(judge(playing(back)).word).toBe("checking");
    expect(judge(playing({ ...back, lastShownAtMs: T - 20 })).word).toBe("live");
    expect(judge(playing({ ...back, visibleSinceMs: T - 2500 })).word).toBe("lost");
  });
});

describe("lost", () => {
  it("removes the picture after two and a half seconds without a frame, whatever else is well", () => {
    expect(judge(playing({ lastShownAtMs: T - 2500 }))).toMatchObject({
      word: "lost",
      picture: false,
      silentMs: 2500,
      cause: "network",
    });
  });

  it("comes at once when the recorder has lost the camera", () => {
    expect(judge(playing({ down: DOWN }))).toMatchObject({
      word: "lost",
      picture: false,
      cause: "camera",
      reason: "camera_unreachable",
    });
  });

  it("tells when the recorder tries again, not when this page does", () => {
    expect(judge(playing({ down: DOWN, retryAtMs: T + 30_000 })).retryInMs).toBe(7000);
    for (const retryAtMs of [null, T, T - 1]) {
      expect(judge(playing({ down: { ...DOWN, retryAtMs }, retryAtMs: T + 30_000 })).retryInMs).toBeNull();
    }
  });

  it("believes frames that go on a second after the recorder lost the camera", () => {
    expect(judge(playing({ down: { ...DOWN, toldAtMs: T - 1040 }, lastShownAtMs: T - 40 })).word).toBe("live");
  });

  it("is told at once when the first answer was a refusal, with its cause", () => {
    expect(judge(waiting({ attempting: false, failure: "codec", retryAtMs: T + 4500 }))).toMatchObject({
      word: "lost",
      cause: "codec",
      retryInMs: 4500,
    });
  });

  it("leaves nothing of a picture whose right was taken away, whatever else is known", () => {
    for (const facts of [
      playing({ failure: "right" }),
      waiting({ failure: "right", attempting: true, retryAtMs: T + 500 }),
    ]) {
      expect(judge(facts)).toMatchObject({ word: "no_right", picture: false, retryInMs: null });
    }
  });

  it("is told after two and a half seconds of waiting for the first picture", () => {
    expect(judge(waiting({ startedAtMs: T - 2499 })).word).toBe("checking");
    expect(judge(waiting({ startedAtMs: T - 2500 })).word).toBe("reconnecting");
    expect(judge(waiting({ startedAtMs: T - 2500, attempting: false })).word).toBe("lost");
  });

  it("comes before blindness: a frozen picture stays away", () => {
    expect(judge(playing({ consoleBlind: true, lastShownAtMs: T - 5000 })).word).toBe("lost");
  });

  it("ends with the first frame", () => {
    expect(judge(playing({ lastShownAtMs: T - 10, failure: null })).word).toBe("live");
  });
});

describe("reconnecting", () => {
  it("is lost with an attempt running, and shows no picture either", () => {
    expect(judge(playing({ lastShownAtMs: T - 4000, attempting: true }))).toMatchObject({
      word: "reconnecting",
      picture: false,
    });
    expect(judge(playing({ down: DOWN, attempting: true })).word).toBe("reconnecting");
  });

  it("does not take the picture away before", () => {
    expect(judge(playing({ lastShownAtMs: T - 2000, attempting: true })).word).toBe("checking");
  });
});

describe("a page that is not drawn", () => {
  it("raises no alarm while the decoder counts on", () => {
    expect(judge(playing({ hidden: true, lastShownAtMs: T - 60_000, lastDecodedAtMs: T - 900 })).word).toBe("live");
  });

  it("is lost when the decoder stopped too", () => {
    expect(judge(playing({ hidden: true, lastShownAtMs: T - 60_000, lastDecodedAtMs: T - 2600 })).word).toBe("lost");
  });
});

describe("no camera", () => {
  it.each(["off", "masked", "no_right", "purpose"] as const)("%s is said, without a picture", (assigned) => {
    expect(judge(playing({ assigned }))).toMatchObject({ word: assigned, picture: false });
  });

  it("an empty tile says nothing", () => {
    expect(judge(playing({ assigned: "none" })).word).toBe("empty");
  });
});

describe("every combination", () => {
  it("never calls live or delayed what was not shown within the last second, of unknown age, or while blind or down", () => {
    for (const silent of [0, 500, 999, 1000, 2499, 2500, 60_000])
      for (const age of [null, -60_000, 0, 1999, 2000, 60_000])
        for (const consoleBlind of [false, true])
          for (const down of [null, DOWN])
            for (const attempting of [false, true])
              for (const tellsCapture of [false, true]) {
                const verdict = judge(
                  playing({
                    lastShownAtMs: T - silent,
                    captureAgeMs: age,
                    tellsCapture,
                    consoleBlind,
                    down,
                    attempting,
                  }),
                );
                const seen = silent < 1000 && !consoleBlind && down === null;
                const proved = seen && age !== null && age >= 0;
                expect(["live", "delayed"].includes(verdict.word)).toBe(proved);
                expect(verdict.word === "unaged").toBe(seen && age === null && !tellsCapture);
                if (verdict.word === "live") expect(age).toBeLessThan(2000);
                if (silent >= 2500 || down !== null) expect(verdict.picture).toBe(false);
              }
  });
});
