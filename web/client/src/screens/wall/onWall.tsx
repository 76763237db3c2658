/** For component tests: a piece of the wall at one person's desk, in a world that hears no server but is answered by one. */

import type { ReactNode } from "react";
import { vi } from "vitest";
import type { Camera, Language, Layout } from "../../api/model.ts";
import { type Desk, DeskContext } from "../../app/context.tsx";
import type { TileController } from "../../media/tileController.ts";
import { SiteZone } from "../../time/site.ts";
import { NOW_MS, onStage, SITE } from "../../ui/onStage.tsx";

export function camera(id: string, number: number, name: string, acts: readonly string[] = ["view_live"]): Camera {
  const facts = { id, number, name, acts, street: "", group: "", enabled: true, purpose_required: false };
  return facts as unknown as Camera;
}

export const LAYOUT: Layout = {
  id: "1",
  version: 3,
  name: "Noc",
  shared: false,
  mine: true,
  author: "anna",
  updated_at: "",
  grid: "2x2",
  spot: null,
  tiles: ["a", "b", null, null],
};

/** What the server answers: for each `GET /cameras` or the like its body, or a response. */
export type Answers = Readonly<Record<string, () => unknown>>;

/** The piece as drawn, with the tiles' controllers in the order of their making. */
export function onWall(piece: ReactNode, answers: Answers, user = "anna", language: Language = "pl") {
  const controllers = new Set<TileController>();
  vi.stubGlobal("ResizeObserver", Sized);
  vi.stubGlobal("RTCPeerConnection", Silent);
  vi.stubGlobal("RTCRtpReceiver", { getCapabilities: () => null });
  vi.stubGlobal("MediaStream", Object);
  HTMLVideoElement.prototype.requestVideoFrameCallback = () => 1;
  HTMLVideoElement.prototype.cancelVideoFrameCallback = () => undefined;
  vi.stubGlobal("fetch", async (asked: Request | string, { method = "GET" }: RequestInit = {}) => {
    const request = typeof asked === "string" ? { method, url: asked } : asked;
    const path = new URL(request.url, location.href).pathname.replace("/api/v1", "");
    const answer = answers[`${request.method} ${path}`]?.() ?? { items: [], next: null };
    if (answer instanceof Response) return answer;
    return new Response(JSON.stringify(answer), { headers: { "Content-Type": "application/json" } });
  });
  const world = {
    zone: new SiteZone("Europe/Warsaw"),
    purpose: null,
    setPurpose: () => undefined,
    decoding: { tiles: 0, uncounted: false, lowered: 0, dropped: 0, overload: { level: 0 } },
    socket: {
      blind: false,
      console: {},
      cameras: new Map(),
      subscribe: () => () => undefined,
      stationErrorMs: () => 0,
    },
    subscribe: () => () => undefined,
    nowMs: () => NOW_MS,
    serverNowMs: () => NOW_MS,
    consoleBlind: () => false,
    csrf: () => "",
    doubtSession: () => undefined,
    lower: () => undefined,
    enter: (controller: TileController) => controllers.add(controller),
    leave: (controller: TileController) => controllers.delete(controller),
  };
  const session = { user: { id: user }, acts: ["manage_layouts"] };
  const desk = { site: SITE, session, world } as unknown as Desk;
  const drawn = onStage(<DeskContext value={desk}>{piece}</DeskContext>, language);
  return { ...drawn, controllers };
}

class Silent {
  createOffer = () => new Promise(() => undefined);
  addTransceiver = () => ({ receiver: { track: null, getStats: () => Promise.resolve(new Map()) } });
  addEventListener = () => undefined;
  close = () => undefined;
}

class Sized {
  private readonly told: ResizeObserverCallback;
  constructor(told: ResizeObserverCallback) {
    this.told = told;
  }
  observe(): void {
    this.told([{ contentRect: { width: 400 } } as ResizeObserverEntry], this as unknown as ResizeObserver);
  }
  unobserve = () => undefined;
  disconnect = () => undefined;
}
