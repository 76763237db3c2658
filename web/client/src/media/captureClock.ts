/**
 * When the picture on the screen was taken, in the server's time.
 *
 * Owns the reading of `abs-capture-time` and the estimate of the frame interval. Knows no wall clock of this machine:
 * the caller gives the server's time. Nothing here ticks: capture time moves only when a frame is shown.
 */

const NTP_EPOCH_MS = 2_208_988_800_000; // 1900 to 1970
const RTP_TICKS_PER_MS = 90;
const HISTORY = 16;
const LONGEST_INTERVAL_MS = 5000;

/** A synchronisation source as browsers give it; the capture timestamp is not in TypeScript's own list yet. */
export interface CaptureSource {
  readonly rtpTimestamp: number;
  readonly captureTimestamp?: number;
}

/** Unix ms at which the frame with `rtpTimestamp` was captured, or null when the sender does not say. */
export function captureMs(source: CaptureSource | undefined, rtpTimestamp: number | undefined): number | null {
  const stamp = source?.captureTimestamp;
  if (source === undefined || stamp === undefined || !Number.isFinite(stamp)) return null;
  const unix = stamp > NTP_EPOCH_MS ? stamp - NTP_EPOCH_MS : stamp;
  if (rtpTimestamp === undefined) return unix;
  const ticks = ((rtpTimestamp - source.rtpTimestamp) << 0) / RTP_TICKS_PER_MS; // wraps as RTP does
  return Math.abs(ticks) < 10_000 ? unix + ticks : unix;
}

const SAME_MS = 2; // RTP time counts in ticks: the same picture told twice may differ by one
const STEP_MS = 10_000;
const FRESH_MS = 2000;

/**
 * Whether a picture captured at `capturedMs` says anything new after one of `newestMs`. An older one does only when it is
 * fresh by the server's clock and far from the one before: then the clock was set back. Unknown times count as new.
 */
export function isNewPicture(capturedMs: number | null, newestMs: number | null, ageMs: number | null): boolean {
  if (capturedMs === null || newestMs === null || capturedMs > newestMs + SAME_MS) return true;
  return newestMs - capturedMs > STEP_MS && ageMs !== null && Math.abs(ageMs) < FRESH_MS;
}

/** The usual distance of frames: the median of the last ones, so that one freeze does not look like a slow camera. */
export class FrameInterval {
  private readonly gaps: number[] = [];
  private last: number | null = null;

  shown(atMs: number): void {
    if (this.last !== null && atMs > this.last) {
      this.gaps.push(Math.min(atMs - this.last, LONGEST_INTERVAL_MS));
      if (this.gaps.length > HISTORY) this.gaps.shift();
    }
    this.last = atMs;
  }

  /** 0 until enough frames were seen. */
  get ms(): number {
    if (this.gaps.length < 4) return 0;
    const sorted = [...this.gaps].sort((a, b) => a - b);
    return sorted[sorted.length >> 1] ?? 0;
  }

  reset(): void {
    this.gaps.length = 0;
    this.last = null;
  }
}
