import { act, fireEvent, screen, waitFor } from "@testing-library/react";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { Language } from "../../api/model.ts";
import { useStation } from "../../app/station.ts";
import { LANGUAGES, onStage, SITE, useStage } from "../../ui/onStage.tsx";
import { FirstRun } from "./FirstRun.tsx";
import { PasswordForm } from "./NewPassword.tsx";
import { SignIn } from "./SignIn.tsx";

/** The server refuses whatever is asked. */
function refusing(status: number, problem: object): void {
  const answer = () =>
    new Response(JSON.stringify(problem), { status, headers: { "Content-Type": "application/json" } });
  vi.stubGlobal(
    "fetch",
    vi.fn<typeof fetch>(() => Promise.resolve(answer())),
  );
}

function type(fields: Record<string, string>, container: HTMLElement): void {
  const inputs = [...container.querySelectorAll<HTMLInputElement>("input:not([type=hidden])")];
  for (const [at, text] of Object.entries(fields))
    fireEvent.change(inputs[Number(at)] as Element, { target: { value: text } });
}

const submit = (container: HTMLElement) => container.querySelector<HTMLButtonElement>("button[type=submit]");

describe("forms before the shell", () => {
  useStage();
  afterEach(() => vi.unstubAllGlobals());

  const WORDS = {
    pl: {
      code: "Kod instalacyjny jest niepoprawny.",
      weak: "zbyt łatwo odgadnąć",
      old: "Hasło jest niepoprawne.",
      wait: "za 8 s",
      line: "czeka na swoją kolej",
    },
    en: {
      code: "The set-up code is wrong.",
      weak: "too easy to guess",
      old: "The password is wrong.",
      wait: "in 8 s",
      line: "wait for their turn",
    },
  };

  it.each(LANGUAGES)("the first run names a wrong set-up code, not a wrong name (%s)", async (language) => {
    refusing(401, { code: "wrong_credentials", field: "setup_code", detail: "this is not the set-up code" });
    const { container } = onStage(<FirstRun site={SITE} done={() => Promise.resolve()} />, language);
    expect(submit(container)?.disabled).toBe(true);
    type({ 0: "AAAA", 1: "adam.wilk", 2: "czerwony-rower", 3: "czerwony-rower" }, container);
    fireEvent.click(submit(container) as Element);
    await waitFor(() => expect(screen.getByRole("alert").textContent).toContain(WORDS[language].code));
    expect(screen.getByRole("alert").textContent).not.toContain("this is not");
  });

  it("two passwords that differ are told under the second, and cannot be sent", () => {
    const { container } = onStage(<FirstRun site={SITE} done={() => Promise.resolve()} />);
    type({ 0: "AAAA", 1: "adam.wilk", 2: "czerwony-rower", 3: "czerwony-rowerek" }, container);
    expect(screen.getByText("Hasła są różne.")).toBeTruthy();
    expect(submit(container)?.disabled).toBe(true);
  });

  it.each(LANGUAGES)("a new password that is weak, and an old one that is wrong (%s)", async (language) => {
    for (const [problem, words] of [
      [{ code: "weak_password", detail: "too short" }, WORDS[language].weak],
      [{ code: "wrong_credentials", field: "password", detail: "the password is wrong" }, WORDS[language].old],
    ] as const) {
      refusing(422, problem);
      const { container, unmount } = onStage(<PasswordForm name="anna.nowak" done={() => undefined} />, language);
      type({ 0: "stare", 1: "nowe", 2: "nowe" }, container);
      fireEvent.click(submit(container) as Element);
      await waitFor(() => expect(screen.getByRole("alert").textContent).toContain(words));
      unmount();
    }
  });

  it("who signs in is spoken to in their own language, unless the desk chose one", async () => {
    const signIn = async (language: Language) => {
      vi.stubGlobal("fetch", async () => Response.json({ csrf: "x", user: { language } }));
      const entered = vi.fn<() => void>();
      const { container, unmount } = onStage(<SignIn site={SITE} notice={null} entered={entered} />);
      type({ 0: "anna.nowak", 1: "hasło" }, container);
      fireEvent.click(submit(container) as Element);
      await waitFor(() => expect(entered).toHaveBeenCalledOnce());
      unmount();
      const kept = JSON.parse(localStorage.getItem("stroz.station") ?? "{}") as { language?: Language };
      expect(kept.language).toBe(useStation.getState().language);
      return kept.language;
    };
    useStation.getState().change({ theme: "dzien" }); // says nothing of a language
    expect([await signIn("en"), await signIn("pl"), await signIn("en")]).toEqual(["en", "pl", "en"]);
    useStation.getState().change({ language: "pl" });
    expect(await signIn("en")).toBe("pl");
  });

  it.each(LANGUAGES)(
    "too many attempts name the seconds, and the password is to be typed anew (%s)",
    async (language) => {
      refusing(429, { code: "slow_down", retry_after: 7.2, detail: "slow down" });
      const { container } = onStage(<SignIn site={SITE} notice={null} entered={() => undefined} />, language);
      type({ 0: "anna.nowak", 1: "hasło" }, container);
      fireEvent.click(submit(container) as Element);
      await waitFor(() => expect(screen.getByRole("alert").textContent).toContain(WORDS[language].wait));
      expect(submit(container)?.disabled).toBe(true);
    },
  );

  it.each(LANGUAGES)("an answer that stands in line says so (%s)", async (language) => {
    vi.useFakeTimers();
    vi.stubGlobal("fetch", () => new Promise(() => undefined));
    try {
      const { container } = onStage(<SignIn site={SITE} notice={null} entered={() => undefined} />, language);
      type({ 0: "anna.nowak", 1: "hasło" }, container);
      fireEvent.click(submit(container) as Element);
      await act(() => vi.advanceTimersByTimeAsync(2000));
      expect(screen.queryByRole("status")).toBeNull();
      await act(() => vi.advanceTimersByTimeAsync(2000));
      expect(screen.getByRole("status").textContent).toContain(WORDS[language].line);
    } finally {
      vi.useRealTimers();
    }
  });
});
