import { screen, waitFor } from "@testing-library/react";
import { afterEach, describe, expect, it, vi } from "vitest";
import { onStage, useStage } from "../../ui/onStage.tsx";
import { Chain } from "./Chain.tsx";

const SIGNED = { size: 4712, at: "2026-11-21T20:30:00.000Z", key_id: "1f8a03c2" };

function answering(signed: object | null): void {
  const head = { size: 4715, root: "6d0f".repeat(16), signed };
  const answer = () => new Response(JSON.stringify(head), { headers: { "Content-Type": "application/json" } });
  vi.stubGlobal("fetch", () => Promise.resolve(answer()));
}

describe("how the log stands", () => {
  useStage();
  afterEach(() => vi.unstubAllGlobals());

  it.each([
    ["pl", SIGNED, ["4715 wpisów", "21:30:00", "4712 wpisów", "klucz 1f8a03c2"]],
    ["en", SIGNED, ["4715 entries", "21:30:00", "4712 entries", "key 1f8a03c2"]],
    ["pl", null, ["jeszcze nie było"]],
    ["en", null, ["not yet"]],
    ["pl", { ...SIGNED, key_id: null }, ["innym kluczem"]],
    ["en", { ...SIGNED, key_id: null }, ["by another key"]],
  ] as const)("in %s, and by which command it is verified (%#)", async (language, signed, words) => {
    answering(signed);
    const { container } = onStage(<Chain />, language);
    await waitFor(() => expect(screen.getByText("vms audit verify")).toBeTruthy());
    const text = (container.textContent ?? "").replaceAll("\u00a0", " ");
    for (const one of words) expect(text.replace(/(\d) (\d)/g, "$1$2")).toContain(one);
  });
});
