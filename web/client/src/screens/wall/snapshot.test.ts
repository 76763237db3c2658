import { expect, it, vi } from "vitest";
import { SiteZone } from "../../time/site.ts";
import { NOW_MS } from "../../ui/onStage.tsx";
import { saveSnapshot } from "./snapshot.ts";

const picture = { videoWidth: 640, videoHeight: 360 } as HTMLVideoElement;
const facts = { number: 7, captureMs: NOW_MS, zone: new SiteZone("Europe/Warsaw"), noTime: "time-unknown" };

/** The names of the files that were handed out. */
async function handedOut(acts: () => Promise<unknown>): Promise<string[]> {
  const names: string[] = [];
  const click = vi.spyOn(HTMLAnchorElement.prototype, "click").mockImplementation(function (this: HTMLAnchorElement) {
    names.push(this.download);
  });
  await acts();
  click.mockRestore();
  return names;
}

it("a snapshot is named after camera and time, and says in the reader's words where that is not known", async () => {
  const names = await handedOut(async () => {
    await saveSnapshot(picture, facts, () => Promise.resolve());
    await saveSnapshot(picture, { ...facts, captureMs: null }, () => Promise.resolve());
  });
  expect(names).toEqual(["007_2026-11-21T21-37-04+0100.png", "007_time-unknown.png"]);
});

it("nothing is handed out that could not be put on record", async () => {
  const refusal = new Error("refused");
  const names = await handedOut(() =>
    expect(saveSnapshot(picture, facts, () => Promise.reject(refusal))).rejects.toBe(refusal),
  );
  expect(names).toEqual([]);
});
