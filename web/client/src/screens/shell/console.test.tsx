import { describe, expect, it } from "vitest";
import type { ConsoleNews } from "../../api/socket.ts";
import { LANGUAGES, onStage, useStage } from "../../ui/onStage.tsx";
import { Away } from "./Away.tsx";
import { Recorded } from "./Recorded.tsx";

const WELL: ConsoleNews = { recorder: true, catalogue: true, gateway: true, recording: 6, recorded: 6 };
const SILENT: ConsoleNews = { ...WELL, recorder: false, recording: 0, recorded: 0 };

function drawn(piece: React.ReactNode, console: ConsoleNews, blind = false, language: "pl" | "en" = "pl"): HTMLElement {
  const socket = { blind, console, subscribe: () => () => undefined };
  return onStage(piece, language, { world: { socket } }).container;
}

describe("the foot", () => {
  useStage();

  it("counts what is recorded, loudly where that is not all", () => {
    expect(drawn(<Recorded />, WELL).textContent).toBe("Nagrywa 6 z 6");
    expect(drawn(<Recorded />, WELL).querySelector(".loud")).toBeNull();
    expect(drawn(<Recorded />, { ...WELL, recording: 5 }).querySelector(".loud")?.textContent).toBe("Nagrywa 5 z 6");
  });

  it.each(LANGUAGES)("gives no numbers of a recorder that does not answer, and says so loudly (%s)", (language) => {
    const said = drawn(<Recorded />, SILENT, false, language).querySelector(".loud")?.textContent ?? "";
    expect(said).toContain(language === "pl" ? "nie wiem, rejestrator nie odpowiada" : "the recorder does not answer");
    expect(said).not.toMatch(/\d/);
  });

  it("knows nothing while blind, or before anybody asked the recorder", () => {
    for (const found of [drawn(<Recorded />, WELL, true), drawn(<Recorded />, { ...WELL, recorder: null })])
      expect(found.textContent).toBe("Nagrywa nie wiem");
  });
});

describe("banners of those who are away", () => {
  useStage();
  const banners = (console: ConsoleNews, blind = false) =>
    [...drawn(<Away />, console, blind).querySelectorAll<HTMLElement>("[data-banner]")].map(
      (one) => one.dataset.banner,
    );

  it("stand exactly while somebody is known not to answer", () => {
    expect(banners(WELL)).toEqual([]);
    expect(banners({})).toEqual([]);
    expect(banners({ ...WELL, recorder: null })).toEqual([]);
    expect(banners(SILENT)).toEqual(["recorder"]);
    expect(banners({ ...WELL, gateway: false })).toEqual(["gateway"]);
    expect(banners({ ...SILENT, catalogue: false, gateway: false })).toEqual(["recorder", "gateway", "catalogue"]);
    expect(banners(SILENT, true)).toEqual([]);
  });

  it.each(LANGUAGES)("say what to do (%s)", (language) => {
    const said = drawn(<Away />, { ...WELL, recorder: false, gateway: false }, false, language).textContent;
    expect(said).toContain(language === "pl" ? "Dzwoń do dyżurnego IT" : "Call IT now");
    expect(said).toContain(language === "pl" ? "Obrazu na żywo nie ma: bramka nie odpowiada" : "the gateway does not");
  });
});
