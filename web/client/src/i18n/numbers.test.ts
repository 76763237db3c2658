import i18next from "i18next";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { SiteZone } from "../time/site.ts";
import { speak, startLanguages } from "./i18n.ts";
import { plain, signedDuration, signedTenths, signedWhole, tenths } from "./numbers.ts";

const warsaw = new SiteZone("Europe/Warsaw");
const written = () => [
  tenths(4.15),
  tenths(3600),
  warsaw.clock(Date.parse("2026-07-01T10:00:00.999Z"), { tenths: true }),
  signedWhole(-1234.4),
];

describe("numbers", () => {
  beforeAll(() => startLanguages("pl"));
  afterEach(() => i18next.changeLanguage("pl"));

  it("are written as the page's language writes them", () => {
    expect(written()).toEqual(["4,2", "3600,0", "12:00:00,9", "−1234"]);
    speak("en");
    expect(written()).toEqual(["4.2", "3600.0", "12:00:00.9", "−1234"]);
  });

  it("have the decimals that they have", () => {
    expect([50.03754, 12.5, 25, -7.25].map(plain)).toEqual(["50,03754", "12,5", "25", "-7,25"]);
  });

  it("say how far clocks are apart in the unit that fits", () => {
    expect([0.4, -40, 999.7, -4230, 12_400].map(signedDuration)).toEqual([
      "0 ms",
      "−40 ms",
      "+1,0 s",
      "−4,2 s",
      "+12 s",
    ]);
  });

  it("give zero no sign", () => {
    expect([0.04, -0.04, 0.05, -4.2].map(signedTenths)).toEqual(["0,0", "0,0", "+0,1", "−4,2"]);
    expect([0.4, -0.4, -0.5, 12].map(signedWhole)).toEqual(["0", "0", "−1", "+12"]);
  });
});
