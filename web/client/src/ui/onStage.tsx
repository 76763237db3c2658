/** For component tests: a piece drawn as the page draws it, in one language, with the queries and the world it asks for. */

import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { createMemoryHistory, createRootRoute, createRouter, RouterProvider } from "@tanstack/react-router";
import { cleanup, render } from "@testing-library/react";
import type { ReactNode } from "react";
import { afterEach, beforeAll } from "vitest";
import type { Language } from "../api/model.ts";
import { type Desk, DeskContext } from "../app/context.tsx";
import { speak, startLanguages } from "../i18n/i18n.ts";
import { SiteZone } from "../time/site.ts";
import { Kit } from "./Kit.tsx";

export const LANGUAGES: readonly Language[] = ["pl", "en"];
export const NOW_MS = Date.parse("2026-11-21T20:37:04.200Z"); // 21:37:04 in Warsaw

export const SITE = {
  name: "Straż Miejska",
  time_zone: "Europe/Warsaw",
  version: "0.1.0",
  setup_needed: false,
} as Desk["site"];

export function useStage(): void {
  beforeAll(() => startLanguages("pl"));
  afterEach(cleanup);
}

/** What of a desk a piece asks for besides the site, and which further facts of the world. */
export type More = Partial<Omit<Desk, "world">> & { readonly world?: object };

export function onStage(piece: ReactNode, language: Language = "pl", more: More = {}) {
  speak(language);
  const clocks = { zone: new SiteZone("Europe/Warsaw"), nowMs: () => NOW_MS, serverNowMs: () => NOW_MS };
  const desk = { site: SITE, ...more, world: { ...clocks, ...more.world } } as unknown as Desk;
  const queries = new QueryClient({ defaultOptions: { queries: { retry: false } } });
  const drawn = render(
    <Kit dark>
      <QueryClientProvider client={queries}>
        <DeskContext value={desk}>{piece}</DeskContext>
      </QueryClientProvider>
    </Kit>,
  );
  return { ...drawn, queries };
}

/** The same for a piece with links in it: the router shows it at every address. */
export async function onPage(piece: ReactNode, language: Language = "pl", more: More = {}) {
  const routeTree = createRootRoute({ component: () => piece });
  const router = createRouter({ routeTree, history: createMemoryHistory() });
  await router.load();
  return onStage(<RouterProvider router={router as never} />, language, more);
}
