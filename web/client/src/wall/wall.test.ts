import { beforeEach, describe, expect, it } from "vitest";
import { DIVISIONS, GRIDS, neighbour } from "./grids.ts";
import { KeySequence } from "./keys.ts";
import { find, fold } from "./search.ts";
import { firstWall, toStore, useWall } from "./store.ts";

describe("divisions", () => {
  it("have as many tiles as they say, none over another, none missing", () => {
    const counts = GRIDS.map((grid) => DIVISIONS[grid].cells.length);
    expect(counts).toEqual([1, 4, 9, 16, 6, 8, 13, 10]);
    for (const grid of GRIDS) {
      const { side, cells } = DIVISIONS[grid];
      const taken = new Set<string>();
      for (const cell of cells)
        for (let x = 0; x < cell.span; x++)
          for (let y = 0; y < cell.span; y++) taken.add(`${cell.column + x},${cell.row + y}`);
      expect(taken.size).toBe(side * side);
      expect(cells.reduce((sum, cell) => sum + cell.span ** 2, 0)).toBe(side * side);
    }
  });

  it("are walked by arrows", () => {
    expect([neighbour("2x2", 0, "right"), neighbour("2x2", 0, "down"), neighbour("2x2", 0, "left")]).toEqual([1, 2, 0]);
    expect(neighbour("1+5", 5, "up")).toBe(2);
    for (const grid of GRIDS)
      DIVISIONS[grid].cells.forEach((_, index) => {
        const reached = (["left", "right", "up", "down"] as const).map((way) => neighbour(grid, index, way));
        if (grid !== "1") expect(reached.some((to) => to !== index)).toBe(true);
      });
  });
});

describe("the first wall", () => {
  const named = (...names: string[]) =>
    names.map((name, i) => ({ id: name, number: names.length - i, name, street: "" }));

  it("stands in the order of streets, so that neighbours are neighbours", () => {
    const placed = ["Mostowa 4|Kamera 1", "Lipowa 10|Kamera 2", "Lipowa 9|Kamera 3", "Mostowa 4|Brama", "|Mleczna"];
    const { tiles } = firstWall(
      placed.map((text, number) => {
        const [street = "", name = ""] = text.split("|");
        return { id: name, number, name, street };
      }),
    );
    expect(tiles.filter(Boolean)).toEqual(["Kamera 3", "Kamera 2", "Mleczna", "Brama", "Kamera 1"]);
  });

  it("without streets, in the order of names: numbers by their size, Polish letters in their places", () => {
    const { grid, tiles, first } = firstWall(named("Kamera 10", "Kamera 2", "Łąkowa", "Lipowa", "Mostowa", "Kamera 1"));
    expect([grid, first]).toEqual(["1+7", "Kamera 1"]);
    expect(tiles.filter(Boolean)).toEqual(["Kamera 1", "Kamera 2", "Kamera 10", "Lipowa", "Łąkowa", "Mostowa"]);
    expect(tiles[DIVISIONS[grid].spot ?? -1]).toBeNull();
  });

  it("puts what is called the same by number, and is empty without cameras", () => {
    const twice = [
      { id: "b", number: 12, name: "Rynek", street: "" },
      { id: "a", number: 3, name: "Rynek", street: "" },
    ];
    expect(firstWall(twice).tiles).toEqual(["a", "b", null, null]);
    expect(firstWall([])).toEqual({ grid: "1", tiles: [null], first: null });
  });
});

describe("a stored layout", () => {
  it("comes back with what its spot tile showed", () => {
    const { fill, toSpot, open } = useWall.getState();
    fill("1+5", [null, "a", "b", null, null, null]);
    toSpot("c");
    const { grid, spot } = useWall.getState();
    const tiles = toStore(useWall.getState());
    expect(tiles).toEqual(["c", "a", "b", null, null, null]);
    toSpot("a");
    open({
      id: "1",
      version: 1,
      name: "Noc",
      shared: false,
      mine: true,
      author: "anna",
      updated_at: "",
      grid,
      spot,
      tiles,
    });
    expect([useWall.getState().spotCamera, useWall.getState().spot]).toEqual(["c", 0]);
  });
});

describe("what is let go over a tile", () => {
  const tiles = () => useWall.getState().tiles;
  beforeEach(() => {
    useWall.getState().fill("1+5", [null, "a", "b", null, null, null]);
    useWall.setState({ spotCamera: "b" });
  });

  it("goes to the spot without leaving its own place", () => {
    useWall.getState().drop(0, { from: 1, camera: "a" }, false);
    expect([useWall.getState().spotCamera, tiles()]).toEqual(["a", [null, "a", "b", null, null, null]]);
    expect(toStore(useWall.getState())).toEqual(["a", "a", "b", null, null, null]);
    useWall.getState().drop(0, { camera: "c" }, false);
    expect([useWall.getState().spotCamera, tiles()[0]]).toEqual(["c", null]);
  });

  it("changes places with what was there, unless it is a copy or of the list", () => {
    useWall.getState().drop(2, { from: 1, camera: "a" }, false);
    expect(tiles()).toEqual([null, "b", "a", null, null, null]);
    useWall.getState().drop(3, { from: 1, camera: "b" }, true);
    useWall.getState().drop(1, { camera: "c" }, false);
    expect(tiles()).toEqual([null, "c", "a", "b", null, null]);
  });
});

describe("the wall of another", () => {
  const stored = { id: "1", version: 3, name: "Noc", shared: true, mine: false, author: "anna", updated_at: "" };
  const left = () => {
    const { id, version, name, shared, mine, changed, tiles, spotCamera } = useWall.getState();
    return { id, version, name, shared, mine, changed, tiles, spotCamera };
  };

  beforeEach(() => {
    useWall.setState({ user: null });
    useWall.getState().enter("anna", new Set());
    const tiles = ["a", { tour: ["b", "a"], dwell_s: 5 }, "b", { tour: ["b"], dwell_s: 5 }];
    useWall.getState().open({ ...stored, grid: "2x2", spot: null, tiles });
    useWall.setState({ spotCamera: "b" });
  });

  it("leaves the next person what that one may see, under no name, also after a reload", () => {
    useWall.getState().enter("adam", new Set(["a"]));
    const tiles = ["a", { tour: ["a"], dwell_s: 5 }, null, null];
    const unnamed = { id: null, version: null, name: "", shared: false, mine: true, changed: false };
    expect(left()).toEqual({ ...unnamed, tiles, spotCamera: null });
    const kept = JSON.parse(sessionStorage.getItem("stroz.wall") ?? "");
    expect(kept).toEqual({ ...unnamed, tiles, user: "adam", grid: "2x2", spot: null });
  });

  it("is found again as it was left by who left it", () => {
    const before = left();
    useWall.getState().enter("anna", new Set(["a"]));
    expect(left()).toEqual(before);
  });

  it("is still known as another's after it was filled anew", () => {
    useWall.getState().fill("2x2", ["a", "b", null, null]);
    useWall.getState().enter("adam", new Set(["a"]));
    expect(left().tiles).toEqual(["a", null, null, null]);
  });
});

describe("finding a camera", () => {
  const camera = (number: number, name: string, street = "", group = "") => ({ number, name, street, group });
  const all = [
    camera(12, "Łódzka / Żółkiewskiego", "ul. Łódzka"),
    camera(120, "Rynek, płyta"),
    camera(3, "Dworzec 12", "Plac Kościuszki", "Śródmieście"),
    camera(4, "Park Miejski"),
  ];
  const numbers = (query: string) => find(all, query).map((found) => found.number);

  it("needs no Polish letters and takes them", () => {
    expect(fold("ŁÓDŹ Żółć ąęśćńź")).toBe("lodz zolc aescnz");
    expect(numbers("lodz")).toEqual([12]);
    expect(numbers("łódz")).toEqual([12]);
    expect(numbers("zolkiew")).toEqual([12]);
  });

  it("puts the number that was typed first", () => {
    expect(numbers("12")).toEqual([12, 3, 120]);
    expect(numbers("012")[0]).toBe(12);
    expect(numbers("lodz 12")).toEqual([12]);
  });

  it("wants every word, forgives one slip, and knows streets and groups", () => {
    expect(numbers("rynek park")).toEqual([]);
    expect(numbers("rynke")).toEqual([120]);
    expect(numbers("kosciuszki")).toEqual([3]);
    expect(numbers("srodm")).toEqual([3]);
    expect(numbers("xyz")).toEqual([]);
  });
});

describe("keys one after another", () => {
  const type = (codes: string[], gap = 100) => {
    const keys = new KeySequence();
    return codes.map((code, i) => keys.press(code, i * gap)).at(-1);
  };

  it("digits and Enter are a camera, also on the numeric pad", () => {
    expect(type(["Digit1", "Numpad2", "NumpadEnter"])).toEqual({ kind: "number", number: 12 });
    expect(type(["Digit1", "Digit3", "Backspace", "Digit2", "Enter"])).toEqual({ kind: "number", number: 12 });
  });

  it("W and a digit are a layout, G and a letter a screen", () => {
    expect(type(["KeyW", "Digit3"])).toEqual({ kind: "window", number: 3 });
    expect(type(["KeyG", "KeyH"])).toEqual({ kind: "go", letter: "H" });
    expect(type(["KeyG", "Digit1"])).toEqual({ kind: "none" });
  });

  it("are forgotten after a while and by any other key", () => {
    expect(type(["Digit1", "Enter"], 2600)).toEqual({ kind: "none" });
    expect(type(["Digit1", "KeyZ", "Enter"])).toEqual({ kind: "none" });
    expect(type(["KeyW", "Digit3"], 2600)).toEqual({ kind: "pending", shown: "3" });
  });
});
