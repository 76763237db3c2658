import { expect, it } from "vitest";
import { cameraNumber } from "./words.ts";

it("a camera's number has three digits at least", () => {
  expect([7, 42, 183, 1234].map(cameraNumber)).toEqual(["007", "042", "183", "1234"]);
});
