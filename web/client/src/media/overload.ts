/**
 * What a station that cannot keep up gives up, step by step, and never silently. Pure.
 *
 * Level 1: large tiles take the sub-stream, the spot tile excepted. Level 2: tiles nobody sees hold no session. Level 3:
 * the spot tile takes the sub-stream too. One step after five bad seconds, one step back after thirty good ones; after
 * each step back that did not hold, the next waits twice as long, so that a weak station's pictures do not swing.
 */

export const DROPPED_SHARE = 0.05;
export const DECODE_SHARE = 0.7;
const BAD_SECONDS = 5;
const GOOD_SECONDS = 30;
const MOST_GOOD_SECONDS = 480;
const TOP = 3;

/** One tile over the last second or so. */
export interface TileLoad {
  /** Whole frames that came. */
  readonly received: number;
  readonly decoded: number;
  readonly dropped: number;
  readonly decodeMs: number;
  readonly overMs: number;
}

export interface Overload {
  readonly level: 0 | 1 | 2 | 3;
  readonly badSeconds: number;
  readonly goodSeconds: number;
  /** So many good seconds make a step back, and show that the last one has held. */
  readonly patienceSeconds: number;
  /** The last step was one back, and has not held yet. */
  readonly onTrial: boolean;
}

export const CALM: Overload = {
  level: 0,
  badSeconds: 0,
  goodSeconds: 0,
  patienceSeconds: GOOD_SECONDS,
  onTrial: false,
};

/**
 * Whether a second in which tiles did this was too much: frames came and were not decoded, or decoding one took most of the
 * time to the next. Browsers drop nothing where the decoder alone is late: frames wait, and pictures grow old.
 */
export function tooMuch(tiles: readonly TileLoad[]): boolean {
  let received = 0;
  let decoded = 0;
  let dropped = 0;
  let slow = false;
  for (const tile of tiles) {
    received += tile.received;
    decoded += tile.decoded;
    dropped += tile.dropped;
    if (tile.decoded > 0 && tile.received > 0) {
      slow ||= tile.decodeMs / tile.decoded > (DECODE_SHARE * tile.overMs) / tile.received;
    }
  }
  return Math.max(dropped, received - decoded) > DROPPED_SHARE * received || slow;
}

export function afterSecond(state: Overload, tiles: readonly TileLoad[]): Overload {
  const bad = tooMuch(tiles);
  const badSeconds = bad ? state.badSeconds + 1 : 0;
  const goodSeconds = bad ? 0 : state.goodSeconds + 1;
  if (badSeconds >= BAD_SECONDS && state.level < TOP) {
    const level = (state.level + 1) as Overload["level"];
    const patienceSeconds = Math.min(state.patienceSeconds * (state.onTrial ? 2 : 1), MOST_GOOD_SECONDS);
    return { level, badSeconds: 0, goodSeconds: 0, patienceSeconds, onTrial: false };
  }
  if (goodSeconds >= state.patienceSeconds) {
    if (state.level === 0) return CALM;
    return { ...state, level: (state.level - 1) as Overload["level"], badSeconds: 0, goodSeconds: 0, onTrial: true };
  }
  return { ...state, badSeconds, goodSeconds };
}

/** The stream a tile gets: what its width deserves, less what the station cannot bear. */
export function streamFor(widthPx: number, spot: boolean, level: Overload["level"]): "main" | "sub" {
  const deserved = spot || widthPx > 640 ? "main" : "sub";
  if (deserved === "sub" || level === 0) return deserved;
  return spot && level < TOP ? "main" : "sub";
}
