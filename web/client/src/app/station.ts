/** What this desk remembers by itself: theme, language, single keys on or off. In local storage; never anything secret. */

import { create } from "zustand";
import type { Language } from "../api/model.ts";

export type Theme = "noc" | "dzien";

interface Station {
  readonly theme: Theme;
  readonly language: Language;
  /** The language was chosen at this desk: nobody's own goes before it. */
  readonly languageChosen: boolean;
  readonly singleKeys: boolean;
  /** 100: as drawn. Lower: everything of ours, but no picture, is darker. */
  readonly dim: number;
  readonly sideList: boolean;
  change(part: Partial<Pick<Station, "theme" | "language" | "singleKeys" | "dim" | "sideList">>): void;
  /** Somebody signed in whose language this is. */
  greet(language: Language): void;
}

const KEY = "stroz.station";

function stored(): Partial<Station> {
  try {
    return JSON.parse(localStorage.getItem(KEY) ?? "{}") as Partial<Station>;
  } catch {
    return {};
  }
}

export const useStation = create<Station>((set, get) => {
  const before = stored();
  const known = before.language === "en" || before.language === "pl" ? before.language : null;
  const keep = (part: Partial<Station>) => {
    set(part);
    const { theme, language, languageChosen, singleKeys, dim, sideList } = get();
    localStorage.setItem(KEY, JSON.stringify({ theme, language, languageChosen, singleKeys, dim, sideList }));
  };
  return {
    theme: before.theme === "dzien" ? "dzien" : "noc",
    language: known ?? browserLanguage(),
    languageChosen: known !== null && before.languageChosen !== false,
    singleKeys: before.singleKeys !== false,
    dim: typeof before.dim === "number" ? Math.min(100, Math.max(40, before.dim)) : 100,
    sideList: before.sideList !== false,
    change: (part) => keep(part.language === undefined ? part : { ...part, languageChosen: true }),
    greet(language) {
      if (!get().languageChosen) keep({ language });
    },
  };
});

function browserLanguage(): Language {
  return navigator.language.toLowerCase().startsWith("en") ? "en" : "pl";
}

/** Writes theme and language where style sheets, Mantine and screen readers look for them. */
export function dress({ theme, language, dim }: Pick<Station, "theme" | "language" | "dim">): void {
  const root = document.documentElement;
  root.dataset.theme = theme;
  root.dataset.mantineColorScheme = theme === "noc" ? "dark" : "light";
  root.lang = language;
  root.style.setProperty("--ui-brightness", `${dim}%`);
}
