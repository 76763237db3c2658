/** The cameras this person may see, as the server last said, with the states the socket told since. */

import { type QueryClient, useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import * as api from "../api/calls.ts";
import type { Camera } from "../api/model.ts";
import type { CameraNews, LiveSocket } from "../api/socket.ts";
import { useDesk, useSocketNews } from "./context.tsx";

const KEY = ["cameras"];

export function useCameras() {
  return useQuery({ queryKey: KEY, queryFn: api.cameras, staleTime: 60_000 });
}

/** Keeps the list what the server would say now: what went is out at once, what is called otherwise is asked for. */
export function followCameras(socket: Pick<LiveSocket, "subscribe">, queries: QueryClient): () => void {
  const askAgain = () => {
    // An answer on its way may have been given before the change.
    void queries.cancelQueries({ queryKey: KEY }).then(() => queries.invalidateQueries({ queryKey: KEY }));
  };
  return socket.subscribe({
    onCameras: (_, gone) => {
      if (gone.length === 0) return;
      queries.setQueryData<Camera[]>(KEY, (known) => known?.filter((camera) => !gone.includes(camera.id)));
    },
    onRegistry: askAgain,
    onConsole: () => {
      const found = queries.getQueryState(KEY);
      const missed = found !== undefined && (found.isInvalidated || found.status === "error");
      if (missed && found.fetchStatus === "idle") askAgain(); // the server could not be asked when it mattered
    },
  });
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
