import { fireEvent, screen, waitFor } from "@testing-library/react";
import { afterEach, describe, expect, it, vi } from "vitest";
import { onStage, useStage } from "../../ui/onStage.tsx";
import { AddPerson } from "./AddPerson.tsx";

const MADE = { user: { id: "u1", name: "anna.nowak" }, password: "raz-dwa-trzy" };

describe("a new person", () => {
  useStage();
  afterEach(() => vi.unstubAllGlobals());

  it("is made with a role that somebody chose, and not without", async () => {
    const sent: unknown[] = [];
    vi.stubGlobal("fetch", async (request: Request) => {
      if (request.method === "POST") sent.push(await request.json());
      const answer = request.method === "POST" ? MADE : { items: [], next: null };
      return new Response(JSON.stringify(answer), { headers: { "Content-Type": "application/json" } });
    });
    const chosen = vi.fn<(id: string) => void>();
    onStage(<AddPerson onClose={() => undefined} chosen={chosen} />);
    const name = screen.getByLabelText(/^Nazwa użytkownika/);
    fireEvent.change(name, { target: { value: "anna.nowak" } });
    const add = screen.getByRole<HTMLButtonElement>("button", { name: "Dodaj osobę" });
    expect(add.disabled).toBe(true);
    expect(screen.getByText("Kto nie ma roli, po zalogowaniu nic nie zobaczy.")).toBeTruthy();
    fireEvent.submit(name.closest("form") as HTMLFormElement);
    expect(sent).toEqual([]);

    fireEvent.click(screen.getByRole("combobox", { name: "Rola" }));
    fireEvent.click(await screen.findByRole("option", { name: "kierownik zmiany" }));
    expect(add.disabled).toBe(false);
    const days = screen.getByLabelText(/^Na ile dni/);
    for (const [typed, wrong] of [
      ["1,5", true],
      ["1.5", true],
      ["3651", true],
      ["7", false],
      ["", false],
    ] as const) {
      fireEvent.change(days, { target: { value: typed } });
      expect(add.disabled, typed).toBe(wrong);
    }
    fireEvent.click(add);
    await waitFor(() => expect(screen.getByText("raz-dwa-trzy")).toBeTruthy());
    const grant = { role: "shift_lead", scope: "all", expires_at: null };
    expect(sent).toEqual([{ name: "anna.nowak", display_name: "", language: "pl", grant }]);
    expect(chosen).toHaveBeenCalledWith("u1");
  });
});
