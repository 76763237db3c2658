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
    const known = queries.getQueryState(KEY);
    // An answer on its way may have been given before the change. The first is let come all the same: a list that may be
    // old is better than none, and at the first message of every page it is on its way.
    const isFirst = known?.data === undefined && known?.fetchStatus === "fetching";
    const over = isFirst
      ? queries.refetchQueries({ queryKey: KEY }, { cancelRefetch: false }) // joins what is running
      : queries.cancelQueries({ queryKey: KEY });
    void over.then(() => queries.invalidateQueries({ queryKey: KEY }, { cancelRefetch: false }));
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

/** The same, each with its state as of now; of no camera is it known while the console hears nothing. */
export function useCamerasNow(): Camera[] {
  const { world } = useDesk();
  useSocketNews("onCameras");
  useSocketNews("onLink");
  const { data } = useCameras();
  const { blind, cameras } = world.socket;
  return (data ?? []).map((camera) => withNews(camera, blind ? UNHEARD : cameras.get(camera.id)));
}

const UNHEARD = { state: "unknown", since: null, reason: null, retry_at: null };

export function withNews(camera: Camera, news: Omit<CameraNews, "id"> | undefined): Camera {
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
