import { act, screen } from "@testing-library/react";
import { expect, it, vi } from "vitest";
import { type Desk, DeskContext } from "../../app/context.tsx";
import type { LiveListener } from "../../api/socket.ts";
import { SiteZone } from "../../time/site.ts";
import { LANGUAGES, NOW_MS, onStage, SITE, useStage } from "../../ui/onStage.tsx";
import { Banners } from "./Banners.tsx";

useStage();

it.each(LANGUAGES)("what is wrong is announced once, and its figures are there to be read (%s)", (language) => {
  let errorMs = 0;
  let tell = () => undefined as unknown;
  let [lowered, level] = [0, 0];
  let decoding = { tiles: 9, lowered, overload: { level } };
  let count = () => undefined as unknown;
  const world = {
    zone: new SiteZone(Intl.DateTimeFormat().resolvedOptions().timeZone),
    nowMs: () => NOW_MS,
    subscribe: (listener: () => void) => ((count = listener), vi.fn<() => void>()),
    get decoding() {
      return decoding;
    },
    socket: {
      blind: false,
      console: {},
      stationErrorMs: () => errorMs,
      subscribe: ({ onLink }: LiveListener) => ((tell = () => onLink?.()), vi.fn<() => void>()),
    },
  };
  const { container } = onStage(
    <DeskContext value={{ site: SITE, world } as unknown as Desk}>
      <Banners />
    </DeskContext>,
    language,
  );
  const polish = language === "pl";
  const live = container.querySelector("[aria-live=assertive]");
  const shown = (kind: string) => container.querySelector(`[data-banner=${kind}]`)?.textContent ?? "";
  expect(live?.textContent).toBe("");

  const heard = [];
  for (const ms of [3400, 3500]) {
    errorMs = ms;
    [lowered, level] = [lowered + 1, 1];
    decoding = { tiles: 9, lowered, overload: { level } };
    act(() => void [tell(), count()]);
    heard.push([...(live?.children ?? [])]);
    expect(shown("clock")).toContain(polish ? `o ${ms / 1000} s`.replace(".", ",") : `${ms / 1000} s ahead`);
    expect(shown("overload")).toContain(polish ? `${lowered} z 9` : `${lowered} of 9`);
    expect(live?.contains(container.querySelector("[data-banner]"))).toBe(false);
    expect(live?.textContent).toBe(
      polish
        ? "Stanowisko przeciążone.Zegar tego stanowiska jest niedokładny. Czasy na ekranie pochodzą z serwera."
        : "Station overloaded.This station's clock is off. Times on screen are the server's.",
    );
  }
  expect(heard[1]).toEqual(heard[0]);
  expect(screen.queryAllByRole("alert")).toEqual([]);
});
