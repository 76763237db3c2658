/**
 * When new pictures were really shown. Owns the subscription to `requestVideoFrameCallback` of one video element and the
 * decoder's count as a second opinion; judges nothing. A picture whose capture was shown before is no new one: senders
 * repeat what they have when a decoder asks for a key picture and the camera is silent.
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
  readonly interval = new FrameInterval();
  private readonly video: HTMLVideoElement;
  private readonly onShown: (frame: ShownFrame) => boolean;
  private readonly afterShown: () => void;
  private handle = 0;
  private decoded = 0;

  /** `onShown` answers whether the frame is a new picture; `afterShown` follows once it was counted. */
  constructor(video: HTMLVideoElement, onShown: (frame: ShownFrame) => boolean, afterShown: () => void) {
    this.video = video;
    this.onShown = onShown;
    this.afterShown = afterShown;
    this.next();
  }

  /** The decoder's count as of now. */
  countDecoded(frames: number, nowMs: number): void {
    if (frames > this.decoded) this.lastDecodedAtMs = nowMs;
    this.decoded = frames;
  }

  stop(): void {
    this.video.cancelVideoFrameCallback(this.handle);
  }

  private next(): void {
    this.handle = this.video.requestVideoFrameCallback((now, metadata) => {
      this.next();
      const isNew = this.onShown({
        atMs: now,
        rtpTimestamp: metadata.rtpTimestamp,
        width: metadata.width,
        height: metadata.height,
      });
      if (!isNew) return;
      this.lastShownAtMs = now;
      this.firstShownAtMs ??= now;
      this.interval.shown(now);
      this.afterShown();
    });
  }
}
