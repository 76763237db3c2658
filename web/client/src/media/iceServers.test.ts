import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { GOOD_FOR_MS, IceServers } from "./iceServers.ts";

const link = (name: string) => `<turn:relay>; rel="ice-server"; username="${name}"; credential="c"`;
const relay = (name: string) => [{ urls: "turn:relay", username: name, credential: "c" }];

describe("the site's relays", () => {
  let asked: string[];
  let answer: () => Promise<Response>;
  let servers: IceServers;

  beforeEach(() => {
    vi.useFakeTimers();
    asked = [];
    answer = () => Promise.resolve(new Response(null, { status: 204, headers: { Link: link(`${asked.length}`) } }));
    vi.stubGlobal("fetch", (url: string, { method }: RequestInit) => {
      asked.push(`${method} ${url}`);
      return answer();
    });
    servers = new IceServers();
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });

  it("are asked for before the first offer, once for all tiles that begin together", async () => {
    const all = await Promise.all(["a", "b", "c"].map((camera) => servers.forOffer(camera)));
    expect(all).toEqual([relay("1"), relay("1"), relay("1")]);
    expect(asked).toEqual(["OPTIONS /api/v1/whep/a"]);
  });

  it("are those of the latest answer, and asked for anew before their credentials run out", async () => {
    await servers.forOffer("a");
    vi.setSystemTime(Date.now() + GOOD_FOR_MS - 1000);
    servers.learn(link("answered"));
    vi.setSystemTime(Date.now() + GOOD_FOR_MS);
    expect([await servers.forOffer("a"), asked.length]).toEqual([relay("answered"), 1]);
    vi.setSystemTime(Date.now() + 1);
    expect([await servers.forOffer("a"), asked.length]).toEqual([relay("2"), 2]);
  });

  it("of a site that has none are known too", async () => {
    answer = () => Promise.resolve(new Response(null, { status: 204 }));
    await servers.forOffer("a");
    expect([await servers.forOffer("a"), asked.length]).toEqual([[], 1]);
  });

  it.each([
    ["nobody answers", () => Promise.reject(new TypeError("away"))],
    ["the answer is a refusal", () => Promise.resolve(new Response("{}", { status: 503 }))],
  ])("are asked for again with the next offer where %s", async (_, refusal) => {
    const fine = answer;
    answer = refusal;
    expect(await servers.forOffer("a")).toEqual([]);
    answer = fine;
    expect(await servers.forOffer("a")).toEqual(relay("2"));
  });
});
