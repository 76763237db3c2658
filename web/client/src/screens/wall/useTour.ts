/** The camera of a tile whose content is a tour, how long it stays, and which comes next. */

import { useEffect, useState } from "react";
import type { Tour } from "../../api/model.ts";
import { useWall } from "../../wall/store.ts";

export const TOUR_PAUSE_MS = 60_000;

export interface TourNow {
  readonly camera: string | null;
  readonly next: string | null;
  readonly at: number;
  readonly of: number;
  readonly leftS: number;
  readonly paused: boolean;
}

/** Counts whole seconds; a paused tour keeps what is left of its dwell. */
export function useTour(tour: Tour | null): TourNow {
  const [state, setState] = useState({ at: 0, leftS: tour?.dwell_s ?? 0 });
  const pausedUntil = useWall((wall) => wall.toursPausedUntilMs);
  const [paused, setPaused] = useState(false);
  const key = tour === null ? "" : JSON.stringify(tour);
  useEffect(() => {
    if (key === "") return;
    const { tour: cameras, dwell_s } = JSON.parse(key) as Tour;
    setState({ at: 0, leftS: dwell_s });
    const timer = setInterval(() => {
      const halted = useWall.getState().toursPausedUntilMs > Date.now();
      setPaused(halted);
      if (halted) return;
      setState(({ at, leftS }) =>
        leftS > 1 ? { at, leftS: leftS - 1 } : { at: (at + 1) % cameras.length, leftS: dwell_s },
      );
    }, 1000);
    return () => clearInterval(timer);
  }, [key]);
  useEffect(() => setPaused(pausedUntil > Date.now()), [pausedUntil]);
  if (tour === null) return { camera: null, next: null, at: 0, of: 0, leftS: 0, paused: false };
  const at = state.at % tour.tour.length;
  return {
    camera: tour.tour[at] ?? null,
    next: tour.tour.length > 1 ? (tour.tour[(at + 1) % tour.tour.length] ?? null) : null,
    at,
    of: tour.tour.length,
    leftS: state.leftS,
    paused,
  };
}
