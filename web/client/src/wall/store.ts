/**
 * What stands on the wall of this window, and what is selected in any window of this browser.
 *
 * Owns the tiles and the selection, and keeps them over a reload and for who comes next at this desk, as far as that person
 * may see them. Layouts that have a name live on the server (`WallScreen`). The selection travels by BroadcastChannel, so that a second window's spot tile follows it.
 */

import { create } from "zustand";
import type { Camera, Grid, Layout, TileContent } from "../api/model.ts";
import { DIVISIONS } from "./grids.ts";
import { byName } from "./search.ts";

export interface WallFacts {
  /** Whose it is; null: nobody's yet. */
  readonly user: string | null;
  /** Of the stored layout these tiles came from; null: of no name. */
  readonly id: string | null;
  readonly version: number | null;
  readonly name: string;
  readonly shared: boolean;
  readonly mine: boolean;
  readonly grid: Grid;
  readonly spot: number | null;
  readonly tiles: readonly TileContent[];
  readonly changed: boolean;
}

/** What is dragged: a camera of the list, or what the tile `from` shows. */
export interface Dragged {
  readonly camera?: string | undefined;
  readonly from?: number;
}

interface Wall extends WallFacts {
  readonly selected: number;
  /** What the spot tile shows: the last selection of any window. */
  readonly spotCamera: string | null;
  /** A tile over the whole wall, or null. */
  readonly alone: number | null;
  readonly toursPausedUntilMs: number;
  setGrid(grid: Grid): void;
  setSpot(index: number | null): void;
  put(index: number, content: TileContent): void;
  /** Lets it go over a tile; what came from another tile changes places with what was here, unless it is a copy. */
  drop(index: number, dragged: Dragged, copy: boolean): void;
  select(index: number, camera: string | null): void;
  toSpot(camera: string): void;
  toSelected(camera: string): void;
  toNextFree(camera: string): void;
  showAlone(index: number | null): void;
  pauseTours(untilMs: number): void;
  open(layout: Layout): void;
  fill(grid: Grid, tiles: readonly TileContent[]): void;
  /** This person is at the wall and may watch these cameras: of another's wall only they stay, and no stored layout. */
  enter(user: string, cameras: ReadonlySet<string>): void;
}

const KEY = "stroz.wall";
/** Tiles of no stored layout. */
const UNNAMED = { id: null, version: null, name: "", shared: false, mine: true, changed: false } as const;
const EMPTY: WallFacts = { user: null, ...UNNAMED, grid: "2x2", spot: null, tiles: [] };

function stored(): WallFacts {
  try {
    const found = JSON.parse(sessionStorage.getItem(KEY) ?? localStorage.getItem(KEY) ?? "null") as WallFacts | null;
    return found && found.grid in DIVISIONS && Array.isArray(found.tiles) ? { ...EMPTY, ...found } : EMPTY;
  } catch {
    return EMPTY;
  }
}

const channel = typeof BroadcastChannel === "undefined" ? null : new BroadcastChannel("stroz.selection");

export const useWall = create<Wall>((set, get) => {
  const announce = (camera: string) => channel?.postMessage({ camera });
  const change = (part: Partial<WallFacts>) => {
    set({ ...part, changed: true });
    keep();
  };
  const keep = () => {
    const { user, id, version, name, shared, mine, grid, spot, tiles, changed } = get();
    const facts: WallFacts = { user, id, version, name, shared, mine, grid, spot, tiles, changed };
    const text = JSON.stringify(facts);
    sessionStorage.setItem(KEY, text); // this window's own
    localStorage.setItem(KEY, text); // what a new window begins with
  };
  const fitted = (tiles: readonly TileContent[], grid: Grid) =>
    Array.from({ length: DIVISIONS[grid].cells.length }, (_, i) => tiles[i] ?? null);
  const first = stored();

  return {
    ...first,
    tiles: fitted(first.tiles, first.grid),
    selected: first.spot ?? 0,
    spotCamera: null,
    alone: null,
    toursPausedUntilMs: 0,

    setGrid(grid) {
      const { tiles, spot: before, grid: old } = get();
      const { spot } = DIVISIONS[grid];
      // A spot tile holds no camera of its own: what stood around it keeps its order.
      const cameras = tiles.filter((_, i) => i !== before).filter((content) => content !== null);
      const fresh: TileContent[] = [];
      for (let i = 0; i < DIVISIONS[grid].cells.length; i++) fresh.push(i === spot ? null : (cameras.shift() ?? null));
      if (grid === old) return;
      set({ selected: spot ?? 0, alone: null });
      change({ grid, spot, tiles: fresh });
    },
    setSpot(spot) {
      change({ spot });
      if (spot !== null) set({ selected: spot });
    },
    put(index, content) {
      const tiles = [...get().tiles];
      tiles[index] = content;
      change({ tiles, ...(get().spot === index && content !== null && { spot: null }) });
    },
    drop(index, { camera, from }, copy) {
      if (index === get().spot) {
        if (camera !== undefined) get().toSpot(camera); // it holds none, so where the camera came from keeps it
      } else if (from === undefined) {
        if (camera !== undefined) get().put(index, camera);
      } else if (from !== index) {
        const tiles = [...get().tiles];
        const held = tiles[from] ?? null;
        if (!copy) tiles[from] = tiles[index] ?? null;
        tiles[index] = held;
        change({ tiles });
      }
    },
    select(index, camera) {
      set({ selected: index });
      if (camera !== null) {
        set({ spotCamera: camera });
        announce(camera);
      }
    },
    toSpot(camera) {
      const { spot } = get();
      if (spot === null) {
        get().toSelected(camera);
        return;
      }
      set({ spotCamera: camera });
      announce(camera);
    },
    toSelected(camera) {
      const { selected, spot } = get();
      if (selected !== spot) get().put(selected, camera);
      set({ spotCamera: camera });
      announce(camera);
    },
    toNextFree(camera) {
      const { tiles, spot, selected } = get();
      const free = tiles.findIndex((content, i) => content === null && i !== spot);
      get().put(free === -1 ? selected : free, camera);
    },
    showAlone(alone) {
      set({ alone });
    },
    pauseTours(toursPausedUntilMs) {
      set({ toursPausedUntilMs });
    },
    open(layout) {
      const shown = layout.spot === null ? null : layout.tiles[layout.spot];
      set({
        ...layout,
        ...(typeof shown === "string" && { spotCamera: shown }),
        tiles: fitted(layout.tiles, layout.grid),
        selected: layout.spot ?? 0,
        alone: null,
        changed: false,
      });
      keep();
    },
    fill(grid, tiles) {
      const { spot } = DIVISIONS[grid];
      set({ ...UNNAMED, grid, spot, tiles: fitted(tiles, grid), selected: spot ?? 0, alone: null });
    },
    enter(user, cameras) {
      const { user: before, tiles, spotCamera } = get();
      if (user === before) return;
      set({ user });
      if (before !== null) {
        set({
          ...UNNAMED,
          tiles: tiles.map((content) => within(content, cameras)),
          spotCamera: spotCamera !== null && cameras.has(spotCamera) ? spotCamera : null,
        });
      }
      keep();
    },
  };
});

if (channel) {
  channel.addEventListener("message", (event: MessageEvent<{ camera?: unknown }>) => {
    if (typeof event.data.camera === "string") useWall.setState({ spotCamera: event.data.camera });
  });
}

/** What is left of a tile's content for who may watch these cameras alone. */
function within(content: TileContent, cameras: ReadonlySet<string>): TileContent {
  if (content === null) return null;
  if (typeof content === "string") return cameras.has(content) ? content : null;
  const tour = content.tour.filter((camera) => cameras.has(camera));
  return tour.length > 0 ? { ...content, tour } : null;
}

/** A camera that was found goes to the spot, or to a tile that is free. */
export function showFound({ id }: Pick<Camera, "id">, toFree: boolean): void {
  const wall = useWall.getState();
  if (toFree) wall.toNextFree(id);
  else wall.toSpot(id);
}

/** The tiles as a layout keeps them: with the camera that the spot tile shows. */
export function toStore({ tiles, spot, spotCamera }: Pick<Wall, "tiles" | "spot" | "spotCamera">): TileContent[] {
  return tiles.map((content, i) => (i === spot && spotCamera !== null ? spotCamera : content));
}

/** The division that holds this many cameras, their places in it by street, and the first of them. */
export function firstWall(cameras: readonly Pick<Camera, "id" | "number" | "name" | "street">[]): {
  grid: Grid;
  tiles: TileContent[];
  first: string | null;
} {
  const n = cameras.length;
  const grid: Grid = n <= 1 ? "1" : n <= 4 ? "2x2" : n <= 5 ? "1+5" : n <= 7 ? "1+7" : "1+12";
  const { cells, spot } = DIVISIONS[grid];
  const left = [...cameras].sort(byPlace).map((camera) => camera.id);
  const first = left[0] ?? null;
  return { grid, tiles: cells.map((_, i) => (i === spot ? null : (left.shift() ?? null))), first };
}

/** Neighbours in the street are neighbours on the wall: people find a picture by where the place is. */
function byPlace(a: Pick<Camera, "number" | "name" | "street">, b: Pick<Camera, "number" | "name" | "street">): number {
  return byName(a.street || a.name, b.street || b.name) || byName(a.name, b.name) || a.number - b.number;
}
