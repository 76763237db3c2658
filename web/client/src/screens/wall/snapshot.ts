/** A still of what a tile shows, named after camera and capture time with its offset from UTC. Stays on this machine. */

import type { SiteZone } from "../../time/site.ts";
import { cameraNumber } from "../../ui/words.ts";

/** False: nothing is shown that could be kept. The frame is of this instant; it is handed out once `onRecord` is done, and
 * not at all if that fails. `noTime` stands in its name where the capture time is not known. */
export async function saveSnapshot(
  video: HTMLVideoElement,
  facts: { number: number; captureMs: number | null; zone: SiteZone; noTime: string },
  onRecord: () => Promise<unknown>,
): Promise<boolean> {
  if (video.videoWidth === 0) return false;
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d")?.drawImage(video, 0, 0);
  await onRecord();
  const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, "image/png"));
  if (blob === null) return false;
  const { captureMs, zone, number, noTime } = facts;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${cameraNumber(number)}_${captureMs === null ? noTime : fileTime(captureMs, zone)}.png`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  return true;
}

/** `2026-10-25T02-30-00+0100`: the offset always, because a file leaves its context. */
export function fileTime(ms: number, zone: SiteZone): string {
  const offset = Math.round(zone.offsetMs(ms) / 60_000);
  const two = (n: number) => String(n).padStart(2, "0");
  const sign = offset < 0 ? "-" : "+";
  const clock = zone.clock(ms).slice(0, 8).replaceAll(":", "-");
  return `${zone.day(ms)}T${clock}${sign}${two(Math.floor(Math.abs(offset) / 60))}${two(Math.abs(offset) % 60)}`;
}
