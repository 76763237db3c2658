import { screen } from "@testing-library/react";
import i18next from "i18next";
import { describe, expect, it } from "vitest";
import type { Said } from "../api/model.ts";
import { Problem } from "../api/problems.ts";
import { speak } from "../i18n/i18n.ts";
import { LANGUAGES, onStage, useStage } from "./onStage.tsx";
import { fieldError, problemText, Refused } from "./states.tsx";

const said = (code: string, facts: Said["facts"] = {}, note = ""): Said => ({ code, facts, text: "in English", note });
const DETAIL = "the server's own English";

describe("what a page says of a problem", () => {
  useStage();

  it.each(LANGUAGES)("is in the reader's language, never the server's English (%s)", (language) => {
    speak(language);
    const polish = language === "pl";
    for (const [body, pl, en] of [
      [
        { code: "conflict", field: "number", said: said("number_taken", { number: 7 }) },
        "Nie można tego zrobić: numer 7 jest zajęty; wybierz inny",
        "This cannot be done: number 7 is taken; choose another one",
      ],
      [
        { code: "conflict", said: said("last_holder", { role: "administrator" }) },
        "Nie można tego zrobić: nikt nie miałby już roli „administrator”; najpierw nadaj ją komuś innemu",
        "This cannot be done: nobody would be administrator any more; give somebody else that role first",
      ],
      [
        { code: "invalid", said: said("table_empty", { table: "the table" }) },
        "Nie można tego przyjąć: tabela: plik jest pusty; pierwszy wiersz musi zawierać nazwy kolumn",
        "This cannot be taken: the table is empty; its first line must name the columns",
      ],
      [
        { code: "invalid", errors: [{ field: "days", detail: DETAIL, said: said("number_large", { most: 366 }) }] },
        "Któreś pole jest niepoprawne; zobacz uwagi przy polach. może wynosić najwyżej 366",
        "A field is wrong; see the remarks beside the fields. must be 366 or less",
      ],
      [
        { code: "weak_password", field: "new" },
        "Nowe hasło musi być inne niż dotychczasowe.",
        "The new password must be another one than the present.",
      ],
      [
        { code: "conflict" },
        "Coś takiego już istnieje albo stoi na przeszkodzie.",
        "Something that exists stands in the way.",
      ],
    ] as const)
      expect(problemText(i18next.t, new Problem(422, { detail: DETAIL, ...body }))).toBe(polish ? pl : en);
  });

  it.each(LANGUAGES)("stands under the field that it is about (%s)", (language) => {
    speak(language);
    const polish = language === "pl";
    const name = new Problem(422, {
      code: "invalid",
      errors: [
        { field: "name", detail: DETAIL, said: said("login_name") },
        { field: "tiles.0.tour.dwell_s", detail: DETAIL, said: said("number_small", { least: 3 }) },
      ],
    });
    expect(fieldError(i18next.t, name, "name")).toContain(polish ? "od 2 do 64 liter" : "2 to 64 letters");
    expect(fieldError(i18next.t, name, "dwell_s")).toBe(polish ? "musi wynosić co najmniej 3" : "must be 3 or more");
    expect(fieldError(i18next.t, name, "language")).toBeNull();
    const taken = new Problem(409, {
      code: "conflict",
      field: "name",
      detail: DETAIL,
      said: said("user_exists", { name: "a" }),
    });
    expect(fieldError(i18next.t, taken, "name")).toContain(polish ? "wybierz inną nazwę" : "choose another name");
    const password = new Problem(422, { code: "password_needed", field: "password", detail: DETAIL });
    expect(fieldError(i18next.t, password, "password")).toContain(
      polish ? "podaj hasło kamery" : "give the camera's password",
    );
  });

  it("marks as English what the server has no words for in the reader's language", () => {
    const error = new Problem(422, { code: "invalid", said: said("not_done", {}, "disk is odd") });
    const { container } = onStage(<Refused by={{ isError: true, error }} />);
    expect(screen.getByRole("alert").textContent).toContain("Nie można tego przyjąć: nie udało się tego zrobić");
    expect(container.querySelector('[lang="en"]')?.textContent?.trim()).toBe("disk is odd");
  });
});
