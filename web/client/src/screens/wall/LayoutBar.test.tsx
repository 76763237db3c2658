import { act, fireEvent, screen } from "@testing-library/react";
import { afterEach, describe, expect, it, vi } from "vitest";
import { useWall } from "../../wall/store.ts";
import { useStage } from "../../ui/onStage.tsx";
import { LayoutBar } from "./LayoutBar.tsx";
import { LAYOUT, onWall } from "./onWall.tsx";

describe("a stored layout", () => {
  useStage();
  afterEach(() => vi.unstubAllGlobals());

  const show = (answers = {}) => {
    const say = vi.fn<(text: string) => void>();
    useWall.getState().open(LAYOUT);
    onWall(<LayoutBar say={say} />, answers);
    return say;
  };

  it("that was changed says so to screen readers too", () => {
    show();
    expect(screen.getByRole("button", { name: "Układy" })).toBeTruthy();
    act(() => useWall.getState().put(1, "b"));
    expect(screen.getByRole("button", { name: "Układy są niezapisane zmiany" })).toBeTruthy();
  });

  it("that cannot be removed stays, and why is said", async () => {
    const refused = new Response('{"code":"forbidden"}', { status: 403 });
    const say = show({ "DELETE /layouts/1": () => refused });
    fireEvent.click(screen.getByRole("button", { name: "Układy" }));
    // Hidden: without a layout of its own, this page has no place for the menu.
    fireEvent.click(await screen.findByRole("menuitem", { name: "Usuń układ „Noc”", hidden: true }));
    fireEvent.click(screen.getByRole("menuitem", { name: "Na pewno usunąć „Noc”?", hidden: true }));
    await vi.waitFor(() => expect(say).toHaveBeenCalledTimes(1));
    expect(say).toHaveBeenCalledWith("Nie usunięto układu Noc. Nie masz do tego prawa.");
    expect(useWall.getState().id).toBe("1");
  });
});
