import i18next from "i18next";
import { beforeAll, describe, expect, it } from "vitest";
import type { AuditItem, Camera } from "../../api/model.ts";
import en from "../../i18n/en.json";
import { speak, startLanguages } from "../../i18n/i18n.ts";
import { SiteZone } from "../../time/site.ts";
import { LANGUAGES } from "../../ui/onStage.tsx";
import { actChoices, factsOf, objectText } from "./entry.ts";

const CAMERA = "7c7a1d5e-6b0c-4c5e-9b7e-0f1a2b3c4d5e";
const ITEM: AuditItem = {
  number: 1,
  at: "2026-11-30T07:15:00.000Z",
  user: "anna.nowak",
  user_id: null,
  ip: "",
  act: "view_live",
  object: "camera 12",
  camera_id: null,
  detail: {},
  purpose: "",
  leaf: "",
};

const entry = (detail: Record<string, unknown>, act = "view_live", object = "camera 12"): AuditItem => ({
  ...ITEM,
  detail,
  act,
  object,
});

function told(item: AuditItem): string {
  const cameras = new Map([[CAMERA, { id: CAMERA, number: 12, name: "Rynek" } as Camera]]);
  const reader = { t: i18next.t, zone: new SiteZone("Europe/Warsaw"), cameras };
  return factsOf(reader, item)
    .map(({ label, text }) => `${label}: ${text}`)
    .join(" · ");
}

describe("an entry of the audit log", () => {
  beforeAll(() => startLanguages("pl"));

  it.each(LANGUAGES)("says its facts with labels and words of the reader's language (%s)", (language) => {
    speak(language);
    const polish = language === "pl";
    for (const [detail, pl, english] of [
      [
        { view: "0d9bfc0e-3f0e-4d0e-8c56-9a6f0c2a7b11", stream: "sub", transcoded: false },
        "podgląd: 0d9bfc0e · obraz: strumień pomocniczy · przekodowany: nie",
        "view: 0d9bfc0e · picture: sub-stream · transcoded: no",
      ],
      [
        { why: "revoked", seconds: 12 },
        "przyczyna: odebrane prawo lub zakończona sesja · trwał: 12 s",
        "cause: right taken away or session ended · lasted: 12 s",
      ],
      [
        { role: "operator", scope: "camera", camera_id: CAMERA, expires_at: "2026-11-30T07:15:00.000Z" },
        "rola: operator · zakres: jedna kamera · kamera: 12 Rynek · ważne do: 2026-11-30 08:15:00",
        "role: operator · scope: one camera · camera: 12 Rynek · valid until: 2026-11-30 08:15:00",
      ],
      [
        { acts: ["view_live", "read_health"], days: 30, by_token: "zabbix" },
        "prawa: oglądanie na żywo, zdrowie systemu · ważny dni: 30 · tokenem: zabbix",
        "rights: watch live, health · valid for days: 30 · by token: zabbix",
      ],
      [
        {
          name: "Rynek",
          changes: [
            {
              code: "changed",
              facts: { field: "street", before: "", after: "Rynek 1" },
              text: "street changed",
              note: "",
            },
            { code: "changed_password", facts: {}, text: "password", note: "" },
          ],
        },
        "nazwa: Rynek · zmiany: ulica: „” → „Rynek 1”; hasło",
        'name: Rynek · changes: street: "" → "Rynek 1"; password',
      ],
      [
        { asked: { act: "view_live", camera: CAMERA, user: "anna.nowak" } },
        "czynność: podgląd na żywo · kamera: 12 Rynek · osoba: anna.nowak",
        "act: watched live · camera: 12 Rynek · person: anna.nowak",
      ],
      [
        { hours: 2.5, depth: "decode" },
        "godzin nagrań: 2,5 · sprawdzono: czy da się odtworzyć",
        "hours of footage: 2.5 · checked: that it can be played",
      ],
    ] as const)
      expect(told(entry(detail))).toBe(polish ? pl : english);
  });

  it.each(LANGUAGES)("keeps no fact's bare name where it has a label (%s)", (language) => {
    speak(language);
    for (const name of Object.keys(en.audit_detail).filter((name) => name !== "asked" && name.includes("_")))
      expect(told(entry({ [name]: name === "changes" ? [] : "x" }))).not.toContain(name);
  });

  it("shows a fact of a newer server as it is", () => {
    expect(told(entry({ weather: "rain" }))).toBe("weather: rain");
  });

  it.each(LANGUAGES)("is found by what was done, chosen by its words (%s)", (language) => {
    speak(language);
    const choices = actChoices(i18next.t, language);
    expect(choices.length).toBe(Object.keys(en.audit_act).length);
    expect(choices.find((choice) => choice.value === "view_live")?.label).toBe(
      { pl: "podgląd na żywo", en: "watched live" }[language],
    );
    const labels = choices.map((choice) => choice.label);
    expect(labels).toEqual([...labels].sort(new Intl.Collator(language).compare));
    expect(labels.filter((label) => label.includes("_"))).toEqual([]);
  });

  it.each(LANGUAGES)("says what was done to what, whatever a camera is called (%s)", (language) => {
    speak(language);
    const polish = language === "pl";
    for (const [act, object, pl, english] of [
      ["view_live", "camera 12", "kamera 12", "camera 12"],
      ["create_user", "user anna", "osoba anna", "person anna"],
      ["test_camera", "user anna", "kamera user anna", "camera user anna"],
      ["test_camera", "a camera", "adres spoza listy kamer", "an address that is no camera's"],
      ["believe_clock", "clock", "zegar serwera", "the server's clock"],
      ["read_audit", "audit log", "rejestr działań", "log of actions"],
    ] as const)
      expect(objectText(i18next.t, entry({}, act, object))).toBe(polish ? pl : english);
  });
});
