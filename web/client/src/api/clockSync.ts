/**
 * The server's clock as seen from here. Owns the choice among samples: the one with the shortest way there and back
 * bounds the error best. Pure; the socket sends and times.
 */

const KEPT = 8;

export interface ClockSample {
  /** Server time less local time, ms. */
  readonly offsetMs: number;
  readonly roundTripMs: number;
}

export class ClockSync {
  private samples: ClockSample[] = [];

  /** Times of this machine are of one monotonic clock; `serverMs` is UTC. */
  add(sentMs: number, receivedMs: number, serverMs: number): void {
    const roundTripMs = receivedMs - sentMs;
    if (roundTripMs < 0) return;
    this.samples.push({ offsetMs: serverMs - (sentMs + receivedMs) / 2, roundTripMs });
    if (this.samples.length > KEPT) this.samples.shift();
  }

  get best(): ClockSample | null {
    return this.samples.reduce<ClockSample | null>(
      (best, sample) => (best === null || sample.roundTripMs < best.roundTripMs ? sample : best),
      null,
    );
  }

  get full(): boolean {
    return this.samples.length >= KEPT;
  }

  /** The connection or the machine's clock is another: what was measured no longer holds. */
  forget(): void {
    this.samples = [];
  }
}

/** Ms of a decimal string of ns, without losing the ms to floating point. */
export function nsToMs(ns: string): number {
  return Number(BigInt(ns) / 1000n) / 1000;
}
