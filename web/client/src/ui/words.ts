/** How things are called wherever they are shown. */

/** At least three digits, as operators say and type them. */
export function cameraNumber(n: number): string {
  return String(n).padStart(3, "0");
}
