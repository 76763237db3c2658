/**
 * The truth contract of a tile: a picture that is not live must not look live.
 *
 * One pure function from facts to what the tile says. It owns every threshold; it reads no clock and touches no
 * document. Facts are times in ms of one monotonic clock (`performance.now()`), but for what the server names in UTC.
 */

export const CHECK_AFTER_MS = 1000;
/** Said within three seconds of the last picture sent: its way here and the wait for the next look come on top. */
export const LOST_AFTER_MS = 2500;
export const DELAYED_FROM_MS = 2000;
const DELAYED_UNTIL_MS = 1900; // so that a value at the border does not flicker
const SLOW_INTERVALS = 3; // a slow camera is doubted only after so many of its own intervals
const FRESH_AFTER_DOWN_MS = 1000; // pictures already on the way when the camera's fall was told
const CAPTURE_GRACE_MS = 700;
const AHEAD_MS = 1000; // a picture from the future: two clocks disagree, and its age is anything

export type TileWord =
  | "empty"
  | "live"
  | "delayed"
  | "unaged"
  | "checking"
  | "lost"
  | "reconnecting"
  | "playback"
  | "off"
  | "masked"
  | "no_right"
  | "purpose";

/** Where the fault is, as far as can be told from here. */
export type Cause = "camera" | "network" | "server" | "station" | "codec" | "full" | "busy" | "right" | null;

/** What the server's recorder says of a camera that it has no picture from. */
export interface CameraDown {
  readonly reason: string;
  readonly sinceUtcMs: number | null;
  /** When the recorder tries again, of the clock of `nowMs`. Null: it is trying, or does not say. */
  readonly retryAtMs: number | null;
  /** When we were told. */
  readonly toldAtMs: number;
}

export interface TileFacts {
  readonly nowMs: number;
  readonly assigned: "none" | "camera" | "off" | "masked" | "no_right" | "purpose";
  /** When waiting for the first picture began. */
  readonly startedAtMs: number;
  readonly lastShownAtMs: number | null;
  readonly firstShownAtMs: number | null;
  /** The decoder's count went up: a second opinion for pages that are not drawn. */
  readonly lastDecodedAtMs: number | null;
  readonly frameIntervalMs: number;
  /** Age of the picture when it was shown: server time less capture time. Null: not known. */
  readonly captureAgeMs: number | null;
  /** Its sender names capture times: only the server's clock can be missing for an age. */
  readonly tellsCapture: boolean;
  readonly hidden: boolean;
  /** When the page was last shown again; 0: never hidden. */
  readonly visibleSinceMs: number;
  readonly consoleBlind: boolean;
  readonly down: CameraDown | null;
  /** A new attempt to connect is running. */
  readonly attempting: boolean;
  readonly retryAtMs: number | null;
  /** Class of the last failure of the attempt or of the connection. */
  readonly failure: Cause;
  readonly wasDelayed: boolean;
}

export interface TileVerdict {
  readonly word: TileWord;
  /** A picture may be drawn. False: nothing of it may be left on the screen. */
  readonly picture: boolean;
  readonly dimmed: boolean;
  readonly cause: Cause;
  /** The recorder's reason, where the cause is the camera. */
  readonly reason: string | null;
  readonly delayMs: number | null;
  /** For how long no picture was shown. */
  readonly silentMs: number;
  readonly retryInMs: number | null;
}

const NOTHING: TileVerdict = {
  word: "empty",
  picture: false,
  dimmed: false,
  cause: null,
  reason: null,
  delayMs: null,
  silentMs: 0,
  retryInMs: null,
};

/** After how long without a picture a tile is doubted, and after how long it counts as lost. */
export function patience(frameIntervalMs: number): { readonly checkMs: number; readonly lostMs: number } {
  const checkMs = Math.max(CHECK_AFTER_MS, SLOW_INTERVALS * frameIntervalMs);
  return { checkMs, lostMs: Math.max(LOST_AFTER_MS, checkMs + frameIntervalMs) };
}

export function judge(facts: TileFacts): TileVerdict {
  if (facts.assigned === "none") return NOTHING;
  if (facts.assigned !== "camera") return { ...NOTHING, word: facts.assigned };

  if (facts.failure === "right") return { ...NOTHING, word: "no_right" }; // taken away while it was watched

  const { checkMs, lostMs } = patience(facts.frameIntervalMs);
  const shown = facts.lastShownAtMs;
  const silentMs = facts.nowMs - (shown ?? facts.startedAtMs);
  const common = { ...NOTHING, silentMs, retryInMs: leftMs(facts.retryAtMs, facts.nowMs) };

  const down = facts.down;
  const stillDown = down !== null && (shown === null || shown < down.toldAtMs + FRESH_AFTER_DOWN_MS);
  if (stillDown) {
    const retryInMs = leftMs(down.retryAtMs, facts.nowMs) || null; // the recorder's try; when ours is due tells nobody much
    return { ...common, ...lost(facts), cause: "camera", reason: down.reason, retryInMs };
  }

  // A page that is not drawn shows no frames; the decoder's count stands in for them, and the way back is CHECKING.
  const lastSign = facts.hidden ? Math.max(shown ?? 0, facts.lastDecodedAtMs ?? 0) : (shown ?? 0);
  const quietSince = Math.max(lastSign, facts.startedAtMs, facts.visibleSinceMs);
  const quietMs = facts.nowMs - quietSince;
  const hasPicture = shown !== null;
  if (quietMs >= lostMs) return { ...common, ...lost(facts), cause: facts.failure ?? "network" };
  if (facts.attempting && !hasPicture) return { ...common, word: "checking" };
  if (!hasPicture) {
    // Nothing was ever shown: an answer that failed is told at once, waiting for the first picture is not yet a loss.
    return facts.failure === null
      ? { ...common, word: "checking" }
      : { ...common, ...lost(facts), cause: facts.failure };
  }
  const sinceShownMs = facts.nowMs - shown;
  const awaitsReturn = !facts.hidden && shown < facts.visibleSinceMs;
  const doubtful = facts.hidden ? quietMs >= checkMs : sinceShownMs >= checkMs || awaitsReturn;
  // A picture grows old while it stands, as those of a slow camera do.
  const age = facts.captureAgeMs === null ? null : facts.captureAgeMs + (facts.hidden ? 0 : sinceShownMs);
  const ageAwaited =
    age === null
      ? facts.tellsCapture || facts.nowMs - (facts.firstShownAtMs ?? facts.nowMs) < CAPTURE_GRACE_MS
      : age < -AHEAD_MS;
  if (doubtful || facts.consoleBlind || ageAwaited) {
    return { ...common, word: "checking", picture: true, dimmed: true, cause: facts.consoleBlind ? "server" : null };
  }
  if (age === null) return { ...common, word: "unaged", picture: true }; // it moves, and may be of any time
  if (age >= (facts.wasDelayed ? DELAYED_UNTIL_MS : DELAYED_FROM_MS)) {
    return { ...common, word: "delayed", picture: true, delayMs: age };
  }
  return { ...common, word: "live", picture: true, delayMs: age };
}

function lost(facts: TileFacts): Pick<TileVerdict, "word" | "picture" | "dimmed"> {
  return { word: facts.attempting ? "reconnecting" : "lost", picture: false, dimmed: false };
}

/** Whether there is no picture because none comes, be a retry running or not. */
export function isLost(word: string): boolean {
  return word === "lost" || word === "reconnecting";
}

function leftMs(at: number | null, now: number): number | null {
  return at === null ? null : Math.max(0, at - now);
}
