import { fireEvent, screen } from "@testing-library/react";
import { describe, expect, it, vi } from "vitest";
import { LANGUAGES, onStage, useStage } from "../../ui/onStage.tsx";
import { StatedPurpose } from "./dialogs.tsx";

describe("the stated purpose", () => {
  useStage();
  const stated = (purpose: string | null, language: "pl" | "en" = "pl") => {
    const setPurpose = vi.fn();
    const world = { purpose, setPurpose, subscribe: () => () => undefined };
    return { setPurpose, ...onStage(<StatedPurpose />, language, { world }) };
  };

  it.each(LANGUAGES)("stands on the wall with the way to change it (%s)", (language) => {
    const { container, setPurpose } = stated("RSD 12/26", language);
    expect(container.textContent).toContain(language === "pl" ? "Cel: RSD 12/26" : "Purpose: RSD 12/26");
    fireEvent.click(screen.getByRole("button", { name: language === "pl" ? "zmień" : "change" }));
    fireEvent.change(screen.getByRole("textbox"), { target: { value: "RSD 13/26" } });
    fireEvent.click(screen.getByRole("button", { name: language === "pl" ? "Oglądaj" : "Watch" }));
    expect(setPurpose.mock.calls).toEqual([["RSD 13/26"]]);
  });

  it("is not spoken of where none is stated", () => {
    expect(stated(null).container.textContent).toBe("");
  });

  it("is forgotten when the wall is left", () => {
    const { setPurpose, unmount } = stated("RSD 12/26");
    expect(setPurpose).not.toHaveBeenCalled();
    unmount();
    expect(setPurpose.mock.calls).toEqual([[null]]);
  });
});
