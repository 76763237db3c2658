import { expect, it } from "vitest";
import { cameraNumber } from "./words.ts";

it("a camera's number has three digits, or as many as it needs", () => {
  expect([cameraNumber(7), cameraNumber(42), cameraNumber(190), cameraNumber(1204)]).toEqual([
    "007",
    "042",
    "190",
    "1204",
  ]);
});
