import i18next from "i18next";
import { beforeAll, describe, expect, it } from "vitest";
import { Problem } from "../api/problems.ts";
import { startLanguages } from "../i18n/i18n.ts";
import { fieldError, problemText } from "./states.tsx";

describe("what is said of one field", () => {
  beforeAll(() => startLanguages("pl"));

  it("is said in the reader's language, not in the server's", () => {
    const polish = i18next.getFixedT("pl");
    const taken = new Problem(409, { code: "conflict", field: "number", detail: "number 5 is taken" });
    expect(fieldError(polish, taken, "number")).toBe("Ten numer jest zajęty; wybierz inny albo zostaw puste pole.");
    expect(problemText(polish, taken)).toBe(fieldError(polish, taken, "number"));
    const elsewhere = new Problem(403, { code: "forbidden", field: "sub_url", detail: "another host" });
    expect(fieldError(polish, elsewhere, "sub_url")).toContain("zarządza wszystkimi kamerami");
    expect(fieldError(polish, elsewhere, "main_url")).toBeNull();
  });
});
