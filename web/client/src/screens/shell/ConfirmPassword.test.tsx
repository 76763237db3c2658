import { fireEvent, screen, waitFor } from "@testing-library/react";
import { afterEach, describe, expect, it, vi } from "vitest";
import * as api from "../../api/calls.ts";
import { onStage, useStage } from "../../ui/onStage.tsx";
import { ConfirmPassword } from "./ConfirmPassword.tsx";

/** The server wants the password first; `done` are the acts that then went through. */
function server(): { done: string[] } {
  const done: string[] = [];
  let confirmed = false;
  vi.stubGlobal("fetch", async (request: Request) => {
    const path = new URL(request.url).pathname.replace("/api/v1", "");
    if (path === "/session/confirm") confirmed = true;
    else if (!confirmed) return Response.json({ code: "confirm_password" }, { status: 403 });
    else done.push(path);
    return Response.json({ csrf: "x" });
  });
  return { done };
}

describe("a password that acts ask for again", () => {
  useStage();
  afterEach(() => vi.unstubAllGlobals());

  it("is asked for once, and all that waited for it go on", async () => {
    const { done } = server();
    onStage(<ConfirmPassword />);
    const both = Promise.all([api.endSession("a"), api.endToken("b")]);
    const dialog = await screen.findByRole("dialog");
    fireEvent.change(screen.getByLabelText(/^Hasło/), { target: { value: "czerwony-rower" } });
    fireEvent.submit(dialog.querySelector("form") as HTMLFormElement);
    await both;
    expect(done.sort()).toEqual(["/sessions/a", "/tokens/b"]);
    await waitFor(() => expect(screen.queryByRole("dialog")).toBeNull());
  });

  it("is not asked for any more once the shell is left", async () => {
    server();
    const { unmount } = onStage(<ConfirmPassword />);
    const refused = Promise.allSettled([api.endSession("a"), api.endToken("b")]);
    await screen.findByRole("dialog");
    unmount();
    const reasons = (await refused).map((one) => one.status === "rejected" && (one.reason as { code: string }).code);
    expect(reasons).toEqual(["confirm_password", "confirm_password"]);
  });
});
