/** The cameras this person may see, as the server last said, with the states the socket told since. */

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useMemo } from "react";
import * as api from "../api/calls.ts";
import type { Camera } from "../api/model.ts";
import type { CameraNews } from "../api/socket.ts";
import { useDesk, useSocketNews } from "./context.tsx";

export function useCameras() {
  const { world } = useDesk();
  const queries = useQueryClient();
  useEffect(
    () =>
      world.socket.subscribe({
        onCameras: (changed, gone) => {
          // Switched on or off, added or taken away: rights and streams may be others too.
          const known = queries.getQueryData<Camera[]>(["cameras"]);
          const stale = (news: CameraNews) => {
            const before = known?.find((camera) => camera.id === news.id);
            return before === undefined || (before.state === "off") !== (news.state === "off");
          };
          if (known && (changed.some(stale) || known.some((camera) => gone.includes(camera.id))))
            void queries.invalidateQueries({ queryKey: ["cameras"] });
        },
      }),
    [world, queries],
  );
  return useQuery({ queryKey: ["cameras"], queryFn: api.cameras, staleTime: 60_000 });
}

/** The same, each with its state as of now. */
export function useCamerasNow(): Camera[] {
  const { world } = useDesk();
  useSocketNews("onCameras");
  const { data } = useCameras();
  return (data ?? []).map((camera) => withNews(camera, world.socket.cameras.get(camera.id)));
}

export function withNews(camera: Camera, news: CameraNews | undefined): Camera {
  if (news === undefined) return camera;
  return {
    ...camera,
    state: news.state as Camera["state"],
    state_since: news.since,
    state_reason: news.reason,
    retry_at: news.retry_at,
  };
}

/** By id, for tiles. */
export function useCameraMap(): ReadonlyMap<string, Camera> {
  const { data } = useCameras();
  return useMemo(() => new Map((data ?? []).map((camera) => [camera.id, camera])), [data]);
}
