import { act, fireEvent, screen, within } from "@testing-library/react";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { TileController } from "../../media/tileController.ts";
import { useWall } from "../../wall/store.ts";
import { LANGUAGES, NOW_MS, useStage } from "../../ui/onStage.tsx";
import { camera, LAYOUT, onWall } from "./onWall.tsx";
import { SecondWindow } from "./SecondWindow.tsx";

const ALL = [camera("a", 1, "Rynek"), camera("b", 2, "Dworzec"), camera("c", 3, "Park")];
describe("a window of the wall", () => {
  useStage();
  beforeEach(() => {
    useWall.setState({ user: null, toursPausedUntilMs: 0 });
    useWall.getState().fill("2x2", ["a", "b", null, null]);
    document.title = "Stróż";
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });

  const show = async (answers = {}, cameras = ALL, language: "pl" | "en" = "pl") => {
    const list = { "GET /cameras": () => ({ items: cameras, next: null }) };
    const drawn = onWall(<SecondWindow />, { ...list, ...answers }, "anna", language);
    await screen.findAllByRole("article");
    return drawn;
  };
  const watched = (controllers: ReadonlySet<TileController>) => [...controllers].map(({ camera }) => camera).sort();

  it.each(LANGUAGES)("has a name of its own, and divisions that are named too (%s)", async (language) => {
    const { unmount } = await show({}, ALL, language);
    const polish = language === "pl";
    expect(document.title).toBe(polish ? "Podział 2x2 · Okno ściany · Stróż" : "Division 2x2 · Wall window · Stróż");
    const divisions = screen.getByRole("group", { name: polish ? "Podział ściany" : "Division of the wall" });
    const three = within(divisions).getByRole("button", { name: polish ? "Podział 3x3" : "Division 3x3" });
    fireEvent.click(three);
    expect(three.getAttribute("aria-pressed")).toBe("true");
    expect(document.title).toContain("3x3");
    act(() => useWall.getState().open(LAYOUT));
    expect(document.title).toContain("Noc · ");
    unmount();
    expect(document.title).toBe("Stróż");
  });

  it("tells an empty spot tile from a camera that is not available", async () => {
    useWall.setState({ spot: 2, tiles: ["a", "zzz", null, null], spotCamera: null });
    await show();
    const names = screen.getAllByRole("article").map((tile) => tile.getAttribute("aria-label"));
    expect(names[0]).toContain("1 Rynek");
    expect(names.slice(1)).toEqual(["kamera niedostępna", "wybierz kamerę, pokaże się tutaj", "Pusty kafelek 4"]);
  });

  it("leaves nothing of a wall that another person made but the cameras this one may watch", async () => {
    useWall.setState({ user: "adam" });
    act(() => useWall.getState().open(LAYOUT));
    const { controllers } = await show({}, [camera("b", 2, "Dworzec"), camera("a", 1, "Rynek", [])]);
    expect(document.body.innerHTML).not.toContain("Noc");
    expect(document.title).not.toContain("Noc");
    expect(useWall.getState()).toMatchObject({ user: "anna", id: null, tiles: [null, "b", null, null] });
    expect(watched(controllers)).toEqual(["b"]);
  });

  it("watches the camera that comes next in a tour no longer than the tour has one", async () => {
    useWall.getState().fill("1", [{ tour: ["a", "b"], dwell_s: 3 }]);
    const { controllers } = await show();
    vi.useFakeTimers();
    act(() => useWall.getState().put(0, { tour: ["a", "c"], dwell_s: 3 }));
    await act(() => vi.advanceTimersByTimeAsync(1000));
    expect(watched(controllers)).toEqual(["a", "c"]);
    act(() => useWall.getState().put(0, "a"));
    expect(watched(controllers)).toEqual(["a"]);
  });

  it("speaks of a loss in the tile, until another camera is there, and shows no line for what eyes see", async () => {
    useWall.getState().fill("1", ["a"]);
    const { controllers, container } = await show();
    const spoken = () => screen.getByRole("article").querySelector("[role=status]")?.textContent;
    expect(spoken()).toBe("");
    act(() => [...controllers][0]?.setDown({ reason: "unauthorised", sinceUtcMs: NOW_MS, retryAtMs: null }));
    expect(spoken()).toBe("Kamera 1 Rynek: brak sygnału");
    act(() => useWall.getState().put(0, "b"));
    expect(spoken()).toBe("");
    expect(container.querySelector(".sayings")?.textContent).toBe("");
  });

  it("shows to eyes too that a snapshot was refused, and why", async () => {
    useWall.getState().fill("1", ["a"]);
    const refused = new Response('{"code":"slow_down","retry_after":7}', { status: 429 });
    const { controllers } = await show({ "POST /whep/sessions/s1/snapshot": () => refused });
    const [tile] = controllers as unknown as [TileController];
    Object.defineProperty(tile, "sessionId", { value: "s1" });
    Object.defineProperty(tile.video, "videoWidth", { value: 640 });
    tile.verdict = { ...tile.verdict, word: "live", picture: true };
    fireEvent.keyDown(window, { code: "KeyS", key: "s" });
    const line = await screen.findByText("Nie zapisano migawki kamery 1. Za dużo prób. Spróbuj za 7 s.");
    expect(line.closest(".sr")).toBeNull();
  });
});
