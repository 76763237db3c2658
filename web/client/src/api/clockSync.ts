/**
 * The server's clock as seen from here. Owns the choice among samples, and that none is believed longer than it holds:
 * a sample bounds the clock by half its way there and back, the bound widens with age, and what contradicts a newer word
 * of the server is dropped. Pure; the socket sends and times.
 */

const KEPT = 8;
/** Nothing measured for so long: the clock is not known. */
export const OLD_AFTER_MS = 60_000;
/** A clock that may be off by more says nothing about a picture's age. */
export const MOST_ERROR_MS = 500;
const DRIFT = 0.0005; // ms per ms, both clocks being slewed together
/** A server whose word comes so much later than expected may have been set back. */
const DOUBT_MS = 300;

export interface ClockSample {
  /** Server time less local time, ms. */
  readonly offsetMs: number;
  readonly roundTripMs: number;
  /** Local time of the answer. */
  readonly atMs: number;
}

export class ClockSync {
  private samples: readonly ClockSample[] = [];

  /** Times of this machine are of one monotonic clock; `serverMs` is UTC. */
  add(sentMs: number, receivedMs: number, serverMs: number): void {
    const roundTripMs = receivedMs - sentMs;
    if (!(roundTripMs >= 0) || !Number.isFinite(serverMs)) return;
    const fresh = { offsetMs: serverMs - (sentMs + receivedMs) / 2, roundTripMs, atMs: receivedMs };
    const agrees = (old: ClockSample) =>
      Math.abs(old.offsetMs - fresh.offsetMs) <= errorMs(old, receivedMs) + errorMs(fresh, receivedMs);
    this.samples = [...this.samples.filter(agrees), fresh].slice(-KEPT);
  }

  /**
   * What the server's clock said when it sent what was received at `receivedMs`. A clock ahead of what was measured was
   * set forward, and what was measured is dropped. True: measure anew.
   */
  hear(receivedMs: number, serverMs: number): boolean {
    const best = this.at(receivedMs);
    if (best === null) return true;
    const aheadMs = serverMs - receivedMs - best.offsetMs;
    if (aheadMs > errorMs(best, receivedMs)) {
      this.forget();
      return true;
    }
    return aheadMs < -DOUBT_MS;
  }

  /** The sample that bounds the server's clock best at `nowMs`, or null where none holds any more. */
  at(nowMs: number): ClockSample | null {
    let best: ClockSample | null = null;
    for (const sample of this.samples) {
      if (nowMs - sample.atMs > OLD_AFTER_MS || errorMs(sample, nowMs) > MOST_ERROR_MS) continue;
      if (best === null || errorMs(sample, nowMs) < errorMs(best, nowMs)) best = sample;
    }
    return best;
  }

  /** The connection is another: what was measured no longer holds. */
  forget(): void {
    this.samples = [];
  }
}

function errorMs(sample: ClockSample, nowMs: number): number {
  return sample.roundTripMs / 2 + DRIFT * (nowMs - sample.atMs) + 1;
}

/** Ms of a decimal string of ns, without losing the ms to floating point. */
export function nsToMs(ns: string): number {
  return /^\d+$/.test(ns) ? Number(BigInt(ns) / 1000n) / 1000 : Number.NaN;
}
