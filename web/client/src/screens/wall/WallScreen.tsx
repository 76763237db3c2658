/** Screen 2: the live wall, its side list and its keys. */

import "./wall.css";
import { draggable } from "@atlaskit/pragmatic-drag-and-drop/element/adapter";
import { useEffect, useLayoutEffect, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import type { Camera } from "../../api/model.ts";
import { useCameraMap, useCameras, useCamerasNow } from "../../app/cameras.ts";
import { useDesk } from "../../app/context.tsx";
import { useStation } from "../../app/station.ts";
import { CameraState } from "../../ui/CameraState.tsx";
import { Button } from "../../ui/controls.tsx";
import { Empty, Failed, Loading } from "../../ui/states.tsx";
import { cameraNumber } from "../../ui/words.ts";
import { DIVISIONS, neighbour } from "../../wall/grids.ts";
import { isTyping } from "../../wall/keys.ts";
import { firstWall, useWall } from "../../wall/store.ts";
import { InBar } from "../shell/Shell.tsx";
import { AskPurpose, EditTour, PickCamera, StatedPurpose } from "./dialogs.tsx";
import { LayoutBar } from "./LayoutBar.tsx";
import { Sayings, useSayings } from "./Sayings.tsx";
import { Tile, TILE_EVENT, type TileActs } from "./Tile.tsx";
import { TOUR_PAUSE_MS } from "./useTour.ts";

export function WallScreen() {
  const { t } = useTranslation();
  const cameras = useCameras();
  const { sideList, change } = useStation();
  const { said, say } = useSayings();
  useFirstWall(cameras.data);
  // A list that could not be had again takes no picture away.
  if (cameras.isPending) return <Loading />;
  if (cameras.isLoadingError) return <Failed error={cameras.error} retry={() => void cameras.refetch()} />;
  const seen = cameras.data.filter((camera) => camera.acts.includes("view_live"));
  return (
    <>
      <InBar>
        <LayoutBar say={say} />
        <StatedPurpose />
        <Button aria-pressed={sideList} onClick={() => change({ sideList: !sideList })}>
          {t("wall.list")}
        </Button>
      </InBar>
      {seen.length === 0 ? (
        <Empty what={t("wall.nothing")} hint={t("wall.nothing_hint")} />
      ) : (
        <div className="wallscreen">
          <h1 className="sr">{t("nav.live")}</h1>
          <Wall cameras={seen} say={say} />
          {sideList && <SideList />}
        </div>
      )}
      <Sayings said={said} />
    </>
  );
}

/** Nobody begins with what is another's; the first time, the wall shows what there is, in the order of streets. */
export function useFirstWall(cameras: readonly Camera[] | undefined): void {
  const { session } = useDesk();
  const user = session.user.id;
  useLayoutEffect(() => {
    if (!cameras) return;
    const seen = cameras.filter((camera) => camera.acts.includes("view_live"));
    useWall.getState().enter(user, new Set(seen.map((camera) => camera.id)));
    const wall = useWall.getState();
    if (wall.id !== null || wall.tiles.some((content) => content !== null)) return;
    const { grid, tiles, first } = firstWall(seen.filter((camera) => camera.enabled));
    wall.fill(grid, tiles);
    if (first !== null && wall.spotCamera === null) useWall.setState({ spotCamera: first });
  }, [cameras, user]);
}

export function Wall({
  cameras,
  say,
  bare = false,
}: {
  cameras: readonly Camera[];
  say: (text: string) => void;
  bare?: boolean;
}) {
  const { t } = useTranslation();
  const wall = useWall();
  const map = useCameraMap();
  const [picking, setPicking] = useState<number | null>(null);
  const [touring, setTouring] = useState<number | null>(null);
  const [asking, setAsking] = useState(false);
  const { side, cells } = DIVISIONS[wall.grid];
  const acts: TileActs = {
    askPurpose: () => setAsking(true),
    pickCamera: setPicking,
    editTour: setTouring,
    say,
  };
  useWallKeys(setPicking, bare);
  return (
    <section
      className="wall"
      aria-label={wall.name || t("nav.live")}
      style={{
        gridTemplateColumns: `repeat(${side}, minmax(0, 1fr))`,
        gridTemplateRows: `repeat(${side}, minmax(0, 1fr))`,
      }}
    >
      {cells.map((cell, index) => (
        <Tile
          key={`${wall.grid} ${cell.column} ${cell.row}`}
          index={index}
          cell={cell}
          content={wall.tiles[index] ?? null}
          cameras={map}
          selected={wall.selected === index}
          spot={wall.spot === index}
          alone={wall.alone === index}
          bare={bare}
          acts={acts}
        />
      ))}
      {picking !== null && <PickCamera index={picking} cameras={cameras} onClose={() => setPicking(null)} />}
      {touring !== null && <EditTour index={touring} cameras={cameras} onClose={() => setTouring(null)} />}
      {asking && <AskPurpose onClose={() => setAsking(false)} />}
    </section>
  );
}

const WAYS = { ArrowLeft: "left", ArrowRight: "right", ArrowUp: "up", ArrowDown: "down" } as const;
const TILE_KEYS: Record<string, string> = {
  KeyS: "snapshot",
  KeyZ: "zoom_reset",
  Equal: "zoom_in",
  NumpadAdd: "zoom_in",
  Minus: "zoom_out",
  NumpadSubtract: "zoom_out",
};

function useWallKeys(pick: (index: number) => void, bare: boolean): void {
  const singleKeys = useStation((station) => station.singleKeys);
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (isTyping(event.target) || event.ctrlKey || event.altKey || event.metaKey) return;
      const wall = useWall.getState();
      const way = WAYS[event.code as keyof typeof WAYS];
      if (way !== undefined) {
        const to = neighbour(wall.grid, wall.selected, way);
        const content = wall.tiles[to] ?? null;
        wall.select(to, to === wall.spot || typeof content !== "string" ? null : content);
        event.preventDefault();
        return;
      }
      if (event.code === "Escape") {
        if (wall.alone !== null) wall.showAlone(null);
        else if (document.fullscreenElement) void document.exitFullscreen();
        else wall.select(wall.spot ?? 0, null);
        return;
      }
      if (
        event.code === "Enter" &&
        !(event.target instanceof HTMLButtonElement && !event.target.matches(".tile__select"))
      ) {
        wall.showAlone(wall.alone === null ? wall.selected : null);
        event.preventDefault();
        return;
      }
      const plus = event.key === "+"; // most keyboards have it above the equals sign
      if (!singleKeys || (event.shiftKey && !plus)) return;
      const tile = plus ? "zoom_in" : TILE_KEYS[event.code];
      if (tile) window.dispatchEvent(new CustomEvent(TILE_EVENT, { detail: tile }));
      else if (event.code === "KeyF") {
        if (bare) {
          // All of the page: find box, keys and clock stand beside the wall.
          void (document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen());
        } else wall.showAlone(wall.alone === null ? wall.selected : null);
      } else if (event.code === "KeyT") {
        wall.pauseTours(wall.toursPausedUntilMs > Date.now() ? 0 : Date.now() + TOUR_PAUSE_MS);
      } else if (event.code === "KeyM") pick(wall.selected);
      else if (event.code === "Delete") wall.put(wall.selected, null);
      else return;
      event.preventDefault();
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, [pick, bare, singleKeys]);
}

function SideList() {
  const { t } = useTranslation();
  const cameras = useCamerasNow();
  const spotCamera = useWall((wall) => wall.spotCamera);
  return (
    <aside className="shell__side" aria-label={t("wall.list_label")}>
      <h2>
        {t("wall.cameras", { count: cameras.length })}
        <span>{t("wall.lost_count", { count: cameras.filter((camera) => camera.state === "lost").length })}</span>
      </h2>
      <ul className="side__list">
        {cameras.map((camera) => (
          <li key={camera.id}>
            <SideRow camera={camera} current={camera.id === spotCamera} />
          </li>
        ))}
      </ul>
    </aside>
  );
}

function SideRow({ camera, current }: { camera: Camera; current: boolean }) {
  const row = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    const node = row.current;
    return node ? draggable({ element: node, getInitialData: () => ({ camera: camera.id }) }) : undefined;
  }, [camera.id]);
  return (
    <button
      ref={row}
      type="button"
      aria-pressed={current}
      onClick={(event) => {
        const wall = useWall.getState();
        if (event.shiftKey) wall.toNextFree(camera.id);
        else wall.toSelected(camera.id);
      }}
    >
      <span>{cameraNumber(camera.number)}</span>
      <span>{camera.name}</span>
      <CameraState camera={camera} />
    </button>
  );
}
