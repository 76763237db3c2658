/** When a tile tries again. Owns the pauses and their jitter; the caller owns the clock. */

const PAUSES_MS = [500, 1000, 2000, 4000, 5000] as const;
const JITTER = 0.2;

/** The pause before attempt number `failures` + 1, spread by ±10 % so that sixteen tiles do not knock at once. */
export function pauseMs(failures: number, random: () => number = Math.random): number {
  const base = PAUSES_MS[Math.min(failures, PAUSES_MS.length - 1)] ?? 5000;
  return Math.round(base * (1 - JITTER / 2 + JITTER * random()));
}
