/** What an entry of the audit log says, in the reader's language. Pure. Values are shown raw only where they are data. */

import type { TFunction } from "i18next";
import type { AuditItem, Camera, Said } from "../../api/model.ts";
import en from "../../i18n/en.json" with { type: "json" };
import { tenths } from "../../i18n/numbers.ts";
import type { SiteZone } from "../../time/site.ts";
import { saidText } from "../../ui/states.tsx";

export interface Reader {
  readonly t: TFunction;
  readonly zone: SiteZone;
  readonly cameras: ReadonlyMap<string, Camera>;
}

export interface Fact {
  readonly label: string;
  readonly text: string;
}

/** Catalogues that have a word for each value of these facts. */
const WORDS: Readonly<Record<string, string>> = {
  acts: "acts.",
  depth: "audit_depth.",
  language: "audit_language.",
  role: "role.",
  scope: "grant.scope_",
  stream: "said_stream.",
  why: "audit_why.",
};
const TIMES: ReadonlySet<string> = new Set(["begins", "captured_at", "ends", "expires_at"]);
const SECONDS: ReadonlySet<string> = new Set(["seconds", "stepped_seconds"]);
const CAMERAS: ReadonlySet<string> = new Set(["camera", "camera_id"]);
const VIEW_CHARS = 8; // of a view's id: enough to find its other entries

export function factsOf(reader: Reader, item: AuditItem): Fact[] {
  return Object.entries(item.detail).flatMap(([name, value]) => {
    if (name === "asked")
      return Object.entries(value as Record<string, string>).map(([about, text]) => ({
        label: reader.t(`audit_asked.${about}`, { defaultValue: about }),
        text: about === "act" ? actText(reader.t, text) : textOf(reader, about, text),
      }));
    return [{ label: reader.t(`audit_detail.${name}`, { defaultValue: name }), text: textOf(reader, name, value) }];
  });
}

/** Every act that can be on record, in the order of its words. */
export function actChoices(t: TFunction, language: string): { value: string; label: string }[] {
  return Object.keys(en.audit_act)
    .map((value) => ({ value, label: actText(t, value) }))
    .sort((one, other) => one.label.localeCompare(other.label, language));
}

export function actText(t: TFunction, act: string): string {
  return t(`audit_act.${act}`, { defaultValue: act });
}

/** What an act was done to: the log names its kind in English, and then by name. */
export function objectText(t: TFunction, item: AuditItem): string {
  const whole = t(`audit_object.${item.object.replaceAll(" ", "_")}`, { name: "", defaultValue: "" });
  if (whole) return whole;
  if (item.act === "test_camera") return t("audit_object.camera", { name: item.object });
  const found = /^(user|layout|token|camera) (.+)$/.exec(item.object);
  return found ? t(`audit_object.${found[1]}`, { name: found[2] ?? "" }) : item.object;
}

function textOf(reader: Reader, name: string, value: unknown): string {
  const { t, zone, cameras } = reader;
  if (Array.isArray(value)) {
    const texts = value.map((one) => textOf(reader, name, one));
    return name === "changes" ? texts.join("; ") : texts.join(", ");
  }
  if (typeof value === "boolean") return t(value ? "yes" : "no");
  if (name === "changes" && typeof value === "object") return saidText(t, value as Said);
  const text = typeof value === "number" && !Number.isInteger(value) ? tenths(value) : String(value);
  if (name === "view") return text.slice(0, VIEW_CHARS);
  if (SECONDS.has(name)) return `${text} s`;
  if (TIMES.has(name)) return zone.stampOf(text, text);
  if (CAMERAS.has(name)) {
    const camera = cameras.get(text);
    return camera ? `${camera.number} ${camera.name}` : text;
  }
  return name in WORDS ? t(`${WORDS[name]}${text}`, { defaultValue: text }) : text;
}
