/**
 * When pictures were really shown. Owns the subscription to `requestVideoFrameCallback` of one video element and the
 * decoder's count as a second opinion; judges nothing.
 */

import { FrameInterval } from "./captureClock.ts";

export interface ShownFrame {
  readonly atMs: number;
  readonly rtpTimestamp: number | undefined;
  readonly width: number;
  readonly height: number;
}

export class FrameWatchdog {
  lastShownAtMs: number | null = null;
  firstShownAtMs: number | null = null;
  lastDecodedAtMs: number | null = null;
  framesShown = 0;
  readonly interval = new FrameInterval();
  private readonly video: HTMLVideoElement;
  private readonly onShown: (frame: ShownFrame) => void;
  private handle = 0;
  private decoded = 0;

  constructor(video: HTMLVideoElement, onShown: (frame: ShownFrame) => void) {
    this.video = video;
    this.onShown = onShown;
    this.next();
  }

  /** The decoder's count as of now. */
  countDecoded(frames: number, nowMs: number): void {
    if (frames > this.decoded) this.lastDecodedAtMs = nowMs;
    this.decoded = frames;
  }

  /** Another source is to be watched: what was shown before says nothing about it. */
  forget(): void {
    this.lastShownAtMs = null;
    this.firstShownAtMs = null;
    this.lastDecodedAtMs = null;
    this.decoded = 0;
    this.interval.reset();
  }

  stop(): void {
    this.video.cancelVideoFrameCallback(this.handle);
  }

  private next(): void {
    this.handle = this.video.requestVideoFrameCallback((now, metadata) => {
      this.next();
      this.lastShownAtMs = now;
      this.firstShownAtMs ??= now;
      this.framesShown += 1;
      this.interval.shown(now);
      this.onShown({
        atMs: now,
        rtpTimestamp: metadata.rtpTimestamp,
        width: metadata.width,
        height: metadata.height,
      });
    });
  }
}
