import { screen, waitFor } from "@testing-library/react";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { Desk } from "../../app/context.tsx";
import { SiteZone } from "../../time/site.ts";
import { LANGUAGES, NOW_MS, onStage, useStage } from "../../ui/onStage.tsx";
import { Health } from "./Health.tsx";

const DESK = {
  session: { acts: ["read_health"] },
  world: { zone: new SiteZone("Europe/Warsaw"), nowMs: () => NOW_MS, socket: { console: {} } },
} as unknown as Partial<Desk>;

function answer(atMs: number, troubles: object[]): object {
  return {
    at: new Date(atMs).toISOString(),
    recorder: { answers: true },
    archiver: { answers: true },
    spool: { disk_free_bytes: 1e12 },
    store: { where: "store" },
    clock: { synchronised: true, offset_seconds: null },
    retention: null,
    streams: [],
    troubles,
  };
}

const trouble = (code: string, facts: object, grade = "bad") => ({ code, grade, facts, camera: null, camera_id: null });

describe("the page of health", () => {
  useStage();
  afterEach(() => vi.unstubAllGlobals());

  it.each(LANGUAGES)("words what the server found, with the system's own reason as it is (%s)", async (language) => {
    const found = [
      trouble("archiver_waits", { why: "the lock is held" }),
      trouble("spool_tight", { minutes: 12 }),
      trouble("clock_set_forward", { seconds: 3600 }, "warning"),
      trouble("clock_behind", { seconds: 2.3 }, "warning"),
      trouble("of_a_newer_server", {}, "warning"),
    ];
    vi.stubGlobal("fetch", async () => Response.json(answer(NOW_MS, found)));
    onStage(<Health />, language, DESK);
    await waitFor(() => expect(screen.getAllByRole("row")).toHaveLength(6));
    const words = {
      pl: ["czeka z uruchomieniem", "zostało na 12 min", "w przód o 1 h 0 min", "spóźnia się o 2,3 s", "nie wiem"],
      en: ["waits to be started", "room for 12 min", "forward by 1 h 0 min", "2.3 s behind", "don't know"],
    }[language];
    const rows = screen.getAllByRole("row").slice(1);
    for (const [at, text] of words.entries()) expect(rows[at]?.textContent).toContain(text);
    expect(rows[0]?.querySelector('[lang="en"]')?.textContent?.trim()).toBe("the lock is held");
  });

  it("says aloud what changed in the judgement, and not how old it is", async () => {
    const answers = [
      answer(NOW_MS - 1000, []),
      answer(NOW_MS, []),
      answer(NOW_MS, [trouble("store_error", { segments: 3 })]),
      answer(NOW_MS, [trouble("catalogue_error", {})]),
      answer(NOW_MS - 90_000, []),
    ];
    const said: string[] = [];
    vi.stubGlobal("fetch", async () => Response.json(answers.shift()));
    const { queries } = onStage(<Health />, "pl", DESK);
    const heard = () => screen.getByRole("status").textContent ?? "";
    await waitFor(() => expect(heard()).toBe("Nic nie wymaga uwagi."));
    const saying = new MutationObserver(() => said.push(heard()));
    saying.observe(screen.getByRole("status"), { childList: true, characterData: true, subtree: true });
    for (const words of [
      "Nic nie wymaga uwagi.",
      "Wymaga uwagi: 1, Magazyn",
      "Wymaga uwagi: 1, Katalog",
      "Nie wiem, czy coś wymaga uwagi.",
    ]) {
      await queries.refetchQueries();
      await waitFor(() => expect(heard()).toBe(words));
    }
    await waitFor(() => expect(said).toHaveLength(3));
  });
});
