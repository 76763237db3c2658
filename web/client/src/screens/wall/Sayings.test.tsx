import { act, render, screen } from "@testing-library/react";
import { useEffect } from "react";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { useStage } from "../../ui/onStage.tsx";
import { Sayings, STAYS_MS, useSayings } from "./Sayings.tsx";

const desk: { say: (text: string) => void } = { say: () => undefined };
const say = (text: string) => desk.say(text);

function Piece() {
  const { said, say: to } = useSayings();
  useEffect(() => {
    desk.say = to;
  }, [to]);
  return <Sayings said={said} />;
}

const lines = () => [...screen.getByRole("status").children].map((line) => line.textContent);
const pass = (ms: number) => act(() => vi.advanceTimersByTime(ms));

useStage();
beforeEach(() => {
  vi.useFakeTimers();
  render(<Piece />);
});
afterEach(() => {
  vi.useRealTimers();
});

it("what is said stands there for eyes too, and goes by itself", () => {
  act(() => say("Zapisano."));
  expect(screen.getByRole("status").classList.contains("sr")).toBe(false);
  pass(STAYS_MS - 1);
  expect(lines()).toEqual(["Zapisano."]);
  pass(1);
  expect(lines()).toEqual([]);
});

it("the same words again are a new line, which screen readers announce", () => {
  act(() => say("Zapisano."));
  const first = screen.getByRole("status").children[0];
  act(() => say("Zapisano."));
  expect(lines()).toEqual(["Zapisano.", "Zapisano."]);
  pass(STAYS_MS);
  expect(screen.getByRole("status").contains(first ?? null)).toBe(false);
});

it("no line drives out one that was just said, but a fourth does", () => {
  for (const text of ["1", "2", "3", "4"]) act(() => say(text));
  expect(lines()).toEqual(["2", "3", "4"]);
  for (const left of [["3", "4"], ["4"], []]) {
    pass(STAYS_MS);
    expect(lines()).toEqual(left);
  }
});
