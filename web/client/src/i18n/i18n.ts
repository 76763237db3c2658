/** Two languages, both in the bundle: there is no server to ask when the server is away. */

import i18next from "i18next";
import { initReactI18next } from "react-i18next";
import type { Language } from "../api/model.ts";
import en from "./en.json" with { type: "json" };
import pl from "./pl.json" with { type: "json" };

export async function startLanguages(language: Language): Promise<void> {
  await i18next.use(initReactI18next).init({
    lng: language,
    fallbackLng: false,
    resources: { pl: { translation: pl }, en: { translation: en } },
    interpolation: { escapeValue: false }, // React escapes
    returnNull: false,
  });
}

export function speak(language: Language): void {
  void i18next.changeLanguage(language);
}
