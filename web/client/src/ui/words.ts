/** How things are called wherever they are shown. */

/** `007`, as it stands on the wall. */
export function cameraNumber(n: number): string {
  return String(n).padStart(3, "0");
}
