/** What screens may ask for anywhere: the session, the site, the window's world, whether an act is allowed. */

import { createContext, useContext, useEffect, useReducer, useSyncExternalStore } from "react";
import type { Act, Session, Site } from "../api/model.ts";
import type { LiveListener } from "../api/socket.ts";
import type { World } from "./world.ts";

export interface Desk {
  readonly site: Site;
  readonly session: Session;
  readonly world: World;
  signOut(): Promise<void>;
  /** The session or the password changed: ask again. */
  refresh(): Promise<void>;
}

export const DeskContext = createContext<Desk | null>(null);

export function useDesk(): Desk {
  const desk = useContext(DeskContext);
  if (desk === null) throw new Error("no desk outside the shell");
  return desk;
}

export function useMay(act: Act): boolean {
  return useDesk().session.acts.includes(act);
}

/** Draws again with every news of that kind. */
export function useSocketNews(kind: "onCameras" | "onConsole" | "onLink"): void {
  const { world } = useDesk();
  const [, draw] = useReducer((n: number) => n + 1, 0);
  useEffect(() => {
    const listener: LiveListener = { [kind]: () => draw() };
    return world.socket.subscribe(listener);
  }, [world, kind]);
}

export function useDecoding() {
  const { world } = useDesk();
  return useSyncExternalStore(world.subscribe, () => world.decoding);
}

/** The purpose of watching that was stated in this window, or null. */
export function usePurpose(): string | null {
  const { world } = useDesk();
  return useSyncExternalStore(world.subscribe, () => world.purpose);
}

/** The time, drawn again every `everyMs`. */
export function useNow(everyMs = 1000): number {
  const { world } = useDesk();
  const [, draw] = useReducer((n: number) => n + 1, 0);
  useEffect(() => {
    const timer = setInterval(draw, everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return world.nowMs();
}
