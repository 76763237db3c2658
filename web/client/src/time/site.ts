/**
 * The site's time, for people. Owns its spelling: 24 h, seconds, the zone's short name near a change of clocks.
 *
 * The zone of this machine is never used. Times are ms since 1970 in UTC; the zone's offsets come from Temporal and are
 * kept a quarter of an hour at a time, because captions ask ten times a second.
 */

import type { Temporal as TemporalType } from "temporal-polyfill";
import { tenths } from "../i18n/numbers.ts";

// Browsers that have Temporal need no other; the polyfill is fetched by those that do not.
const Temporal =
  (globalThis as { Temporal?: typeof TemporalType }).Temporal ?? (await import("temporal-polyfill")).Temporal;

const QUARTER_MS = 900_000;
const NEAR_MS = 3 * 3_600_000;

export class SiteZone {
  readonly id: string;
  private readonly offsets = new Map<number, number>();
  private readonly names = new Map<number, string>();
  private readonly naming: Intl.DateTimeFormat;
  private readonly longDays = new Map<string, Intl.DateTimeFormat>();

  constructor(id: string) {
    this.id = id;
    // British English knows the European short names (CET, CEST); Polish does not.
    this.naming = new Intl.DateTimeFormat("en-GB", { timeZone: id, timeZoneName: "short" });
  }

  offsetMs(atMs: number): number {
    const quarter = Math.floor(atMs / QUARTER_MS);
    let offset = this.offsets.get(quarter);
    if (offset === undefined) {
      if (this.offsets.size > 4096) this.offsets.clear();
      const zoned = Temporal.Instant.fromEpochMilliseconds(quarter * QUARTER_MS).toZonedDateTimeISO(this.id);
      offset = zoned.offsetNanoseconds / 1e6;
      this.offsets.set(quarter, offset);
    }
    return offset;
  }

  /** `CET`, `CEST`, `GMT+3`. */
  shortName(atMs: number): string {
    const offset = this.offsetMs(atMs);
    let name = this.names.get(offset);
    if (name === undefined) {
      name = this.naming.formatToParts(atMs).find((part) => part.type === "timeZoneName")?.value ?? "UTC";
      this.names.set(offset, name);
    }
    return name;
  }

  /** Whether a change of clocks is so near that a bare time could be taken for another. */
  nearChange(atMs: number): boolean {
    return this.offsetMs(atMs - NEAR_MS) !== this.offsetMs(atMs + NEAR_MS);
  }

  /** `02:31:07`; with `tenths` `02:31:07,4`, or with the point of English; with the zone's name where it is needed, or asked for. */
  clock(atMs: number, options: { tenths?: boolean; zone?: boolean } = {}): string {
    const local = new Date(atMs + this.offsetMs(atMs));
    const two = (n: number) => String(n).padStart(2, "0");
    const hms = `${two(local.getUTCHours())}:${two(local.getUTCMinutes())}:${two(local.getUTCSeconds())}`;
    const part = options.tenths ? tenths(Math.floor(local.getUTCMilliseconds() / 100) / 10).slice(1) : "";
    const zone = options.zone || this.nearChange(atMs) ? ` ${this.shortName(atMs)}` : "";
    return hms + part + zone;
  }

  /** `2026-11-21`. */
  day(atMs: number): string {
    return new Date(atMs + this.offsetMs(atMs)).toISOString().slice(0, 10);
  }

  /** `2026-11-21 02:31:07`. */
  stamp(atMs: number): string {
    return `${this.day(atMs)} ${this.clock(atMs)}`;
  }

  /** For `since …`: the clock where it is of the same day as `nowMs`, the stamp otherwise. */
  clockOrStamp(atMs: number, nowMs: number): string {
    return this.day(atMs) === this.day(nowMs) ? this.clock(atMs) : this.stamp(atMs);
  }

  /** A stamp of an RFC 3339 instant; `otherwise` where there is none. */
  stampOf(text: string | null | undefined, otherwise: string): string {
    const atMs = parseUtc(text);
    return atMs === null ? otherwise : this.stamp(atMs);
  }

  /** `sobota, 21 listopada 2026`. */
  longDay(atMs: number, language: string): string {
    let spelling = this.longDays.get(language);
    if (spelling === undefined) {
      spelling = new Intl.DateTimeFormat(language === "en" ? "en-GB" : "pl-PL", {
        timeZone: this.id,
        weekday: "long",
        day: "numeric",
        month: "long",
        year: "numeric",
      });
      this.longDays.set(language, spelling);
    }
    return spelling.format(atMs);
  }
}

/** Whether this machine's own zone shows another time than the site's, now or after the next change of clocks. */
export function differs(site: SiteZone, station: string, nowMs: number): boolean {
  if (station === site.id) return false;
  let other: SiteZone;
  try {
    other = new SiteZone(station);
    other.offsetMs(nowMs);
  } catch {
    return true;
  }
  const halfYear = 183 * 86_400_000;
  return [nowMs, nowMs + halfYear].some((at) => other.offsetMs(at) !== site.offsetMs(at));
}

/** `5 min 57 s`, `2 h 4 min`, `3 d 7 h`: the two largest units. */
export function duration(ms: number): string {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3600)} h`;
}

/** Ms of an RFC 3339 instant; null for null and for what is none. */
export function parseUtc(text: string | null | undefined): number | null {
  if (!text) return null;
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? null : ms;
}
