import { fireEvent, screen, waitFor } from "@testing-library/react";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { Desk } from "../../app/context.tsx";
import { onPage, useStage } from "../../ui/onStage.tsx";
import { CameraImport } from "./CameraImport.tsx";

const DESK = { session: { acts: ["manage_cameras"] } } as unknown as Partial<Desk>;
const REPORT = { rows: [], counts: { new: 2 }, written: null };

function choose(file: File): HTMLInputElement {
  const picker = screen.getByLabelText<HTMLInputElement>("Plik CSV");
  fireEvent.change(picker, { target: { files: [file] } });
  return picker;
}

describe("a table of cameras", () => {
  useStage();
  afterEach(() => vi.unstubAllGlobals());

  it("leaves nothing chosen in the browser's eyes, so that the same file can be chosen again", async () => {
    vi.stubGlobal("fetch", async () => Response.json(REPORT));
    await onPage(<CameraImport />, "pl", DESK);
    const picker = screen.getByLabelText<HTMLInputElement>("Plik CSV");
    const valued = vi.fn<(value: string) => void>();
    Object.defineProperty(picker, "value", { set: valued });
    choose(new File(["numer\n1\n"], "kamery.csv"));
    expect(valued).toHaveBeenCalledWith("");
    await waitFor(() => expect(screen.getByRole("button", { name: "Zapisz 2 dobre wiersze" })).toBeTruthy());
    expect(screen.getByText("kamery.csv")).toBeTruthy();
  });

  it("that cannot be read is told of", async () => {
    const asked = vi.fn<typeof fetch>();
    vi.stubGlobal("fetch", asked);
    await onPage(<CameraImport />, "pl", DESK);
    const file = new File([], "kamery.csv");
    file.arrayBuffer = () => Promise.reject(new DOMException("", "NotReadableError"));
    choose(file);
    await waitFor(() => expect(screen.getByRole("alert").textContent).toContain("Pliku nie można odczytać."));
    expect(asked).not.toHaveBeenCalled();
  });
});
