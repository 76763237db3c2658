import { QueryClient, QueryObserver } from "@tanstack/react-query";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Camera } from "../api/model.ts";
import type { LiveListener } from "../api/socket.ts";
import { followCameras } from "./cameras.ts";

const named = (...names: string[]) => names.map((name) => ({ id: name[0], name }) as Camera);

describe("the list of cameras", () => {
  let listener: LiveListener;
  let queries: QueryClient;
  let answer: () => Promise<Camera[]>;
  let stop: () => void;
  const list = () => queries.getQueryData<Camera[]>(["cameras"])?.map((camera) => camera.name);

  beforeEach(() => {
    queries = new QueryClient({ defaultOptions: { queries: { retry: false } } });
    answer = () => Promise.resolve(named("a Rynek", "b Park"));
    const observer = new QueryObserver(queries, { queryKey: ["cameras"], queryFn: () => answer() });
    const leave = observer.subscribe(() => undefined);
    const unfollow = followCameras({ subscribe: (given) => ((listener = given), () => undefined) }, queries);
    stop = () => {
      unfollow();
      leave();
      queries.clear();
    };
  });
  afterEach(() => stop());

  it("is asked for when it is told to be another", async () => {
    await vi.waitFor(() => expect(list()).toEqual(["a Rynek", "b Park"]));
    answer = () => Promise.resolve(named("a Dworzec", "b Park"));
    listener.onRegistry?.();
    await vi.waitFor(() => expect(list()).toEqual(["a Dworzec", "b Park"]));
  });

  it("comes with the first answer, and then with one given after it became another", async () => {
    let giveOld: (found: Camera[]) => void = () => undefined;
    stop();
    queries = new QueryClient();
    let asked = 0;
    const queryFn = () => (asked++, answer());
    const observer = new QueryObserver(queries, { queryKey: ["cameras"], queryFn });
    answer = () => new Promise((resolve) => (giveOld = resolve));
    const leave = observer.subscribe(() => undefined);
    const unfollow = followCameras({ subscribe: (given) => ((listener = given), () => undefined) }, queries);
    stop = () => (unfollow(), leave());
    let giveNew = giveOld;
    answer = () => new Promise((resolve) => (giveNew = resolve));
    listener.onRegistry?.();
    listener.onRegistry?.();
    giveOld(named("a Rynek"));
    await vi.waitFor(() => expect([list(), asked]).toEqual([["a Rynek"], 2]));
    giveNew(named("a Dworzec"));
    await vi.waitFor(() => expect(list()).toEqual(["a Dworzec"]));
    expect(asked).toBe(2);
  });

  it("is not one that was on its way when it became another", async () => {
    await vi.waitFor(() => expect(list()).toHaveLength(2));
    let giveOld: (found: Camera[]) => void = () => undefined;
    answer = () => new Promise((resolve) => (giveOld = resolve));
    listener.onRegistry?.();
    await vi.waitFor(() => expect(queries.isFetching()).toBe(1));
    answer = () => new Promise(() => undefined);
    listener.onRegistry?.();
    giveOld(named("a Rynek"));
    await Promise.resolve();
    expect(list()).toEqual(["a Rynek", "b Park"]);
    answer = () => Promise.resolve(named("a Dworzec"));
    listener.onRegistry?.();
    await vi.waitFor(() => expect(list()).toEqual(["a Dworzec"]));
  });

  it("loses at once what may no longer be seen", async () => {
    await vi.waitFor(() => expect(list()).toHaveLength(2));
    answer = () => new Promise(() => undefined); // the server takes its time
    listener.onCameras?.([], ["a"]);
    listener.onRegistry?.();
    expect(list()).toEqual(["b Park"]);
  });

  it("is asked for again when the server was away", async () => {
    await vi.waitFor(() => expect(list()).toHaveLength(2));
    answer = () => Promise.reject(new Error("away"));
    listener.onRegistry?.();
    await vi.waitFor(() => expect(queries.getQueryState(["cameras"])?.status).toBe("error"));
    expect(list()).toEqual(["a Rynek", "b Park"]);
    answer = () => Promise.resolve(named("a Dworzec"));
    listener.onConsole?.({});
    await vi.waitFor(() => expect(list()).toEqual(["a Dworzec"]));
  });
});
