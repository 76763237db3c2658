/** Numbers as the page's language writes them. Without groups of thousands: `3,600.0` is read for another number by half of us. */

import i18next from "i18next";

const LOCALES: Readonly<Record<string, string>> = { pl: "pl-PL", en: "en-GB" };
const MOST_DECIMALS = 10;
const formats = new Map<string, Intl.NumberFormat>();

function written(value: number, least: number, most = least): string {
  const locale = LOCALES[i18next.language] ?? "pl-PL";
  const key = `${locale} ${least} ${most}`;
  let format = formats.get(key);
  if (format === undefined) {
    const [minimumFractionDigits, maximumFractionDigits] = [least, most];
    format = new Intl.NumberFormat(locale, { minimumFractionDigits, maximumFractionDigits, useGrouping: false });
    formats.set(key, format);
  }
  return format.format(value);
}

/** `4,2` or `4.2`: one decimal. */
export function tenths(value: number): string {
  return written(value, 1);
}

/** With the decimals it has, none if it has none. */
export function plain(value: number): string {
  return written(value, 0, MOST_DECIMALS);
}

/** As `tenths`, with its sign, which zero has not. */
export function signedTenths(value: number): string {
  return signed(value, 1);
}

/** `+12`, `−3`, `0`. */
export function signedWhole(value: number): string {
  return signed(value, 0);
}

/** A difference of clocks: `−40 ms`, `+4,2 s`, `+12 s`. */
export function signedDuration(ms: number): string {
  if (Math.abs(Math.round(ms)) < 1000) return `${signedWhole(ms)} ms`;
  return `${Math.abs(ms) < 10_000 ? signedTenths(ms / 1000) : signedWhole(ms / 1000)} s`;
}

function signed(value: number, decimals: number): string {
  const size = written(Math.abs(value), decimals);
  if (size === written(0, decimals)) return size;
  return (value < 0 ? "−" : "+") + size;
}
