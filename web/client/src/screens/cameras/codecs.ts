const NAMES: Readonly<Record<string, string>> = { h264: "H.264", hevc: "H.265" };

/** A codec as people write it; `?` where it is not known. */
export function codecName(codec: string | null | undefined): string {
  return NAMES[codec ?? ""] ?? codec ?? "?";
}
