import { fireEvent, screen, waitFor, within } from "@testing-library/react";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { Desk } from "../../app/context.tsx";
import { onStage, useStage } from "../../ui/onStage.tsx";
import { People } from "./People.tsx";

const DESK = { session: { acts: ["manage_users"], user: { id: "u0" } } } as unknown as Partial<Desk>;
const ANNA = { id: "u1", name: "anna.nowak", display_name: "", roles: [], disabled: false, last_sign_in_at: null };

describe("people", () => {
  useStage();
  afterEach(() => vi.unstubAllGlobals());

  it("one of whom could not be removed: why stands in the dialog that asks", async () => {
    vi.stubGlobal("fetch", async (request: Request) => {
      if (request.method === "DELETE") return Response.json({ code: "catalogue_away" }, { status: 503 });
      if (request.url.endsWith("/sees")) return Response.json({ cameras: [], site_acts: [] });
      return Response.json({ items: /\/users\?/.test(request.url) ? [ANNA] : [], next: null });
    });
    onStage(<People />, "pl", DESK);
    fireEvent.click(await screen.findByRole("button", { name: "anna.nowak" }));
    fireEvent.click(screen.getByRole("button", { name: "Usuń" }));
    const dialog = await screen.findByRole("dialog");
    fireEvent.click(within(dialog).getByRole("button", { name: "Usuń" }));
    await waitFor(() => expect(within(dialog).getByRole("alert").textContent).toBe("baza danych nie odpowiada"));
  });
});
