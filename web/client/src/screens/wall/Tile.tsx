/** A place on the wall: its slot, selection, drag and drop, zoom, menu. */

import { draggable, dropTargetForElements } from "@atlaskit/pragmatic-drag-and-drop/element/adapter";
import { Menu } from "@mantine/core";
import { useEffect, useRef, useState, useSyncExternalStore } from "react";
import { useTranslation } from "react-i18next";
import { noteSnapshot } from "../../api/calls.ts";
import type { Camera, TileContent } from "../../api/model.ts";
import { useDecoding, useDesk, usePurpose } from "../../app/context.tsx";
import { streamFor } from "../../media/overload.ts";
import type { CameraLabel, TileController, TileSource } from "../../media/tileController.ts";
import { keyOf, TileSlot } from "../../media/tileSlot.ts";
import { isLost } from "../../media/tileState.ts";
import { problemText } from "../../ui/states.tsx";
import type { Cell } from "../../wall/grids.ts";
import { type Dragged, useWall } from "../../wall/store.ts";
import { saveSnapshot } from "./snapshot.ts";
import { TileFace, useVerdict, whyText } from "./TileFace.tsx";
import { useTour } from "./useTour.ts";
import { panned, WHOLE, type Zoom, zoomAt } from "./zoom.ts";

const PREPARE_S = 2;

export interface TileActs {
  readonly askPurpose: () => void;
  readonly pickCamera: (index: number) => void;
  readonly editTour: (index: number) => void;
  readonly say: (text: string) => void;
}

/** Keys reach the selected tile by this event; `detail` is what to do. */
export const TILE_EVENT = "stroz:tile";

export function Tile({
  index,
  cell,
  content,
  cameras,
  selected,
  spot,
  alone,
  bare = false,
  acts,
}: {
  index: number;
  cell: Cell | null;
  content: TileContent;
  cameras: ReadonlyMap<string, Camera>;
  selected: boolean;
  spot: boolean;
  alone: boolean;
  bare?: boolean;
  acts: TileActs;
}) {
  const { t } = useTranslation();
  const { world } = useDesk();
  const purpose = usePurpose();
  const { overload } = useDecoding();
  const element = useRef<HTMLElement>(null);
  const handle = useRef<HTMLButtonElement>(null);
  const [slot, setSlot] = useState<TileSlot | null>(null);
  const [width, setWidth] = useState(0);
  const [zoom, setZoom] = useState<Zoom>(WHOLE);
  const [over, setOver] = useState(false);
  const tour = useTour(content !== null && typeof content === "object" ? content : null);
  const spotCamera = useWall((wall) => wall.spotCamera);
  const wanted = spot ? (spotCamera ?? firstOf(content)) : typeof content === "string" ? content : tour.camera;

  useEffect(() => {
    const made = new TileSlot(world);
    setSlot(made);
    return () => made.dispose();
  }, [world]);
  useEffect(() => {
    const node = element.current;
    if (!node) return;
    const observer = new ResizeObserver(([entry]) => setWidth(Math.round(entry?.contentRect.width ?? 0)));
    observer.observe(node);
    return () => observer.disconnect();
  }, []);

  const large = spot || alone || zoom.scale > 1.5;
  const stream = streamFor(width * Math.min(devicePixelRatio, 2), large, overload.level);
  const deserved = streamFor(width * Math.min(devicePixelRatio, 2), large, 0);
  const source = sourceOf(wanted, cameras, purpose);
  const key = source && keyOf(source);
  const latest = useRef({ source, stream });
  latest.current = { source, stream };
  const measured = width > 0;
  useEffect(() => {
    if (slot === null || !measured) return;
    slot.show(latest.current.source, latest.current.stream);
    setZoom(WHOLE);
  }, [slot, key, measured]);
  useEffect(() => {
    if (slot === null || width === 0) return;
    const timer = setTimeout(() => slot.setStream(stream), 300); // a window being resized passes many sizes
    return () => clearTimeout(timer);
  }, [slot, stream, width]);

  const nextSource = sourceOf(spot ? null : tour.next, cameras, purpose);
  const due = tour.leftS <= PREPARE_S && !tour.paused ? nextSource : null;
  const dueKey = due && keyOf(due);
  const dueRef = useRef(due);
  dueRef.current = due;
  useEffect(() => {
    if (dueRef.current) slot?.prepare(dueRef.current, latest.current.stream);
    else slot?.unprepare();
  }, [dueKey, slot]);

  const nothing = useRef(() => () => undefined);
  useSyncExternalStore(slot?.subscribe ?? nothing.current, slot?.snapshot ?? zero);
  const active = slot?.active ?? null;
  const next = slot?.next ?? null;
  useVerdict(active);
  useEffect(() => {
    if (active) world.lower(active, stream !== deserved);
  }, [world, active, stream, deserved]);

  // Nobody sees it: the station is overloaded and another tile covers the wall, or the page is hidden.
  const covered = useWall((wall) => wall.alone !== null && !alone);
  const hidden = useSyncExternalStore(subscribeVisibility, pageHidden);
  useEffect(
    () => active?.setPaused(overload.level >= 2 && (covered || hidden)),
    [active, overload.level, covered, hidden],
  );

  const camera = active?.source.label ?? undefined;
  const word = active?.verdict.word ?? "empty";

  useEffect(() => {
    const node = element.current;
    if (!node || bare) return;
    return dropTargetForElements({
      element: node,
      getData: () => ({ index }),
      onDragEnter: () => setOver(true),
      onDragLeave: () => setOver(false),
      onDrop: ({ source, location }) => {
        setOver(false);
        useWall.getState().drop(index, source.data as Dragged, location.current.input.ctrlKey);
      },
    });
  }, [index, bare]);
  useEffect(() => {
    const node = handle.current;
    if (!node || bare || spot || content === null || zoom.scale > 1) return;
    const dragged = () => ({ from: index, camera: latest.current.source?.camera }) satisfies Dragged;
    return draggable({ element: node, getInitialData: dragged });
  }, [index, spot, content, bare, zoom.scale]);

  const select = () => {
    const wall = useWall.getState();
    wall.select(index, spot ? null : wanted);
    if (typeof content === "object" && content !== null) wall.pauseTours(Date.now() + 60_000);
  };
  const snapshot = () => {
    const session = active?.sessionId ?? null;
    if (!active?.verdict.picture || !camera) return;
    if (session === null) {
      acts.say(t("tile.snapshot_not_live", { number: camera.number }));
      return;
    }
    const captureMs = active.lastCaptureMs;
    const facts = { number: camera.number, captureMs, zone: world.zone, noTime: t("tile.file_no_time") };
    saveSnapshot(active.video, facts, () => noteSnapshot(session, captureMs)).then(
      (saved) => saved && acts.say(t("tile.snapshot_saved", { number: camera.number })),
      (error: unknown) => acts.say(t("tile.snapshot_refused", { number: camera.number, why: problemText(t, error) })),
    );
  };
  const run = useRef<(what: string) => void>(() => undefined);
  run.current = (what) => {
    if (what === "snapshot") snapshot();
    else if (what === "zoom_in") setZoom((z) => zoomAt(z, 1.25, 0.5, 0.5));
    else if (what === "zoom_out") setZoom((z) => zoomAt(z, 0.8, 0.5, 0.5));
    else if (what === "zoom_reset") setZoom(WHOLE);
    else if (what === "focus") handle.current?.focus();
  };
  useEffect(() => {
    if (!selected) return;
    const onEvent = (event: Event) => run.current((event as CustomEvent<string>).detail);
    window.addEventListener(TILE_EVENT, onEvent);
    return () => window.removeEventListener(TILE_EVENT, onEvent);
  }, [selected]);
  useZoomGestures(handle, setZoom, zoom.scale > 1);

  const tourText =
    tour.of > 0 && !spot
      ? t(tour.paused ? "tile.tour_paused" : "tile.tour", { at: tour.at + 1, of: tour.of, seconds: tour.leftS })
      : null;
  const style = alone
    ? { gridColumn: "1 / -1", gridRow: "1 / -1", zIndex: 6 }
    : cell
      ? { gridColumn: `${cell.column} / span ${cell.span}`, gridRow: `${cell.row} / span ${cell.span}` }
      : {};
  const label = camera
    ? `${camera.number} ${camera.name}, ${t(`word.${word}`)}`
    : wanted === null
      ? t(spot ? "tile.spot_empty" : "tile.empty_label", { n: index + 1 })
      : t("tile.unknown_camera");
  return (
    <article
      ref={element}
      className="tile"
      style={style}
      data-word={word}
      data-camera={camera?.number}
      data-selected={selected}
      data-over={over}
      data-spot={spot}
      aria-label={label}
    >
      {/* Keyed by controller: what comes keeps its element, and its picture, when it takes the place. */}
      {[next, active].map(
        (controller, i) =>
          controller !== null &&
          !(i === 0 && controller === active) && (
            <TileFace
              key={controller.id}
              controller={controller}
              camera={controller.source.label ?? undefined}
              pending={controller !== active}
              spot={spot || alone}
              zoom={controller === active ? zoom : WHOLE}
              tour={controller === active ? tourText : null}
              askPurpose={acts.askPurpose}
            />
          ),
      )}
      {active === null && (
        <div className="tile__panel tile__panel--plain">
          <span className="dim">{t(spot ? "tile.spot_empty" : "tile.empty")}</span>
        </div>
      )}
      <Spoken word={word} camera={camera} />
      <div className="tile__frame" />
      {selected && <div className="tile__pick" />}
      <button
        ref={handle}
        type="button"
        className="tile__select"
        aria-label={label}
        aria-pressed={selected}
        title={active?.verdict.picture ? detailOf(active, t) : undefined}
        onClick={select}
        onDoubleClick={() => useWall.getState().showAlone(alone ? null : index)}
      />
      {!bare && (
        <Menu position="bottom-end" transitionProps={{ duration: 0 }} shadow="none">
          <Menu.Target>
            <button type="button" className="tile__menu" aria-label={t("tile.menu", { n: index + 1 })}>
              ⋯
            </button>
          </Menu.Target>
          <Menu.Dropdown>
            <Menu.Item onClick={() => useWall.getState().showAlone(alone ? null : index)}>
              {t(alone ? "tile.leave_alone" : "tile.alone")} <kbd>F</kbd>
            </Menu.Item>
            <Menu.Item onClick={snapshot} disabled={!active?.verdict.picture}>
              {t("tile.snapshot")} <kbd>S</kbd>
            </Menu.Item>
            <Menu.Item onClick={() => acts.pickCamera(index)}>{t("tile.pick")}</Menu.Item>
            {!spot && <Menu.Item onClick={() => acts.editTour(index)}>{t("tile.edit_tour")}</Menu.Item>}
            <Menu.Item onClick={() => useWall.getState().setSpot(spot ? null : index)}>
              {t(spot ? "tile.unset_spot" : "tile.set_spot")}
            </Menu.Item>
            {active && isLost(word) && <Menu.Item onClick={() => active.retryNow()}>{t("tile.retry_now")}</Menu.Item>}
            <Menu.Item onClick={() => useWall.getState().put(index, null)} disabled={content === null}>
              {t("tile.clear")} <kbd>Del</kbd>
            </Menu.Item>
          </Menu.Dropdown>
        </Menu>
      )}
    </article>
  );
}

/** What a pointer that rests on a picture is told: whose time it shows, and why it is another stream than was asked for. */
function detailOf({ timeFrom, figures }: TileController, t: (key: string) => string): string | undefined {
  const parts = [timeFrom && t(`tile.time_${timeFrom}`), figures.why && whyText(t, figures.why)];
  return parts.filter(Boolean).join("; ") || undefined;
}

function firstOf(content: TileContent): string | null {
  return typeof content === "string" ? content : null;
}

const zero = () => 0;
const pageHidden = () => document.hidden;
function subscribeVisibility(listener: () => void): () => void {
  document.addEventListener("visibilitychange", listener);
  return () => document.removeEventListener("visibilitychange", listener);
}

/** What a tile asks the server for, or why it does not ask. */
function sourceOf(id: string | null, cameras: ReadonlyMap<string, Camera>, purpose: string | null): TileSource | null {
  if (id === null || cameras.size === 0) return null;
  const camera = cameras.get(id);
  if (camera === undefined || !camera.acts.includes("view_live")) {
    return { camera: id, label: camera ? labelOf(camera) : null, assigned: "no_right", purpose: null };
  }
  const label = labelOf(camera);
  if (!camera.enabled) return { camera: id, label, assigned: "off", purpose: null };
  if (camera.purpose_required && purpose === null) return { camera: id, label, assigned: "purpose", purpose: null };
  return { camera: id, label, assigned: "camera", purpose: camera.purpose_required ? purpose : null };
}

function labelOf({ number, name }: Camera): CameraLabel {
  return { number, name };
}

type Speech = "tile.say_lost" | "tile.say_back" | "tile.say_unaged";

/** For screen readers: a loss, spoken once, and the return of the same camera. Eyes see it in the tile. */
function Spoken({ word, camera }: { word: string; camera: CameraLabel | undefined }) {
  const { t } = useTranslation();
  const number = camera?.number;
  const [spoken, setSpoken] = useState<Speech | null>(null);
  const before = useRef({ word, number });
  useEffect(() => {
    const was = before.current;
    before.current = { word, number };
    const wasLost = was.number === number && isLost(was.word);
    if (isLost(word)) setSpoken("tile.say_lost");
    else if (word !== was.word || number !== was.number) setSpoken(wasLost ? returned(word) : null);
  }, [word, number]);
  return (
    <p className="sr" role="status">
      {camera && spoken && t(spoken, { number: camera.number, name: camera.name })}
    </p>
  );
}

function returned(word: string): Speech | null {
  if (word === "live") return "tile.say_back";
  return word === "unaged" ? "tile.say_unaged" : null;
}

/** Wheel to zoom about the pointer, drag to move what is zoomed. */
function useZoomGestures(
  handle: React.RefObject<HTMLButtonElement | null>,
  setZoom: React.Dispatch<React.SetStateAction<Zoom>>,
  zoomed: boolean,
): void {
  useEffect(() => {
    const node = handle.current;
    if (!node) return;
    const onWheel = (event: WheelEvent) => {
      event.preventDefault();
      const box = node.getBoundingClientRect();
      const x = (event.clientX - box.left) / box.width;
      const y = (event.clientY - box.top) / box.height;
      setZoom((zoom) => zoomAt(zoom, event.deltaY < 0 ? 1.2 : 1 / 1.2, x, y));
    };
    node.addEventListener("wheel", onWheel, { passive: false });
    return () => node.removeEventListener("wheel", onWheel);
  }, [handle, setZoom]);
  useEffect(() => {
    const node = handle.current;
    if (!node || !zoomed) return;
    let last: { x: number; y: number } | null = null;
    const down = (event: PointerEvent) => {
      last = { x: event.clientX, y: event.clientY };
      node.setPointerCapture(event.pointerId);
    };
    const move = (event: PointerEvent) => {
      if (last === null) return;
      const box = node.getBoundingClientRect();
      const dx = (event.clientX - last.x) / box.width;
      const dy = (event.clientY - last.y) / box.height;
      last = { x: event.clientX, y: event.clientY };
      setZoom((zoom) => panned(zoom, dx, dy));
    };
    const up = () => {
      last = null;
    };
    node.addEventListener("pointerdown", down);
    node.addEventListener("pointermove", move);
    node.addEventListener("pointerup", up);
    node.addEventListener("pointercancel", up);
    return () => {
      node.removeEventListener("pointerdown", down);
      node.removeEventListener("pointermove", move);
      node.removeEventListener("pointerup", up);
      node.removeEventListener("pointercancel", up);
    };
  }, [handle, setZoom, zoomed]);
}
