import { fireEvent, screen, waitFor } from "@testing-library/react";
import { afterEach, describe, expect, it, vi } from "vitest";
import { Problem } from "../../api/problems.ts";
import type { Desk } from "../../app/context.tsx";
import { onStage, useStage } from "../../ui/onStage.tsx";
import { Account } from "./Account.tsx";

const SESSION = {
  id: "s1",
  user: { id: "u1", name: "anna.nowak", display_name: "" },
  roles: [],
  acts: [],
  login_notice: { last_at: null, last_ip: null, failed_since: 0 },
} as unknown as Desk["session"];

describe("one's own account", () => {
  useStage();
  afterEach(() => vi.unstubAllGlobals());

  it("says that signing out did not succeed", async () => {
    vi.stubGlobal("fetch", async () => Response.json({ items: [] }));
    const signOut = () => Promise.reject(new Problem(0, {}));
    onStage(<Account />, "pl", { session: SESSION, signOut });
    fireEvent.click(screen.getByRole("button", { name: "Wyloguj" }));
    await waitFor(() => expect(screen.getByRole("alert").textContent).toBe("serwer nie odpowiada"));
  });
});
