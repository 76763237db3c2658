/** The divisions of the wall: how many tiles, where each stands. Pure. */

import type { Grid } from "../api/model.ts";

export const GRIDS: readonly Grid[] = ["1", "2x2", "3x3", "4x4", "1+5", "1+7", "1+12", "2+8"];

/** One-based, as CSS counts: column, row, columns and rows taken. */
export interface Cell {
  readonly column: number;
  readonly row: number;
  readonly span: number;
}

export interface Division {
  readonly side: number;
  readonly cells: readonly Cell[];
  /** Where the spot tile stands where nobody said otherwise. */
  readonly spot: number | null;
}

function divide(side: number, big: readonly Cell[]): Division {
  const cells = [...big];
  for (let row = 1; row <= side; row++) {
    for (let column = 1; column <= side; column++) {
      const covered = big.some(
        (cell) =>
          column >= cell.column && column < cell.column + cell.span && row >= cell.row && row < cell.row + cell.span,
      );
      if (!covered) cells.push({ column, row, span: 1 });
    }
  }
  return { side, cells, spot: big.length > 0 ? 0 : null };
}

export const DIVISIONS: Readonly<Record<Grid, Division>> = {
  "1": divide(1, []),
  "2x2": divide(2, []),
  "3x3": divide(3, []),
  "4x4": divide(4, []),
  "1+5": divide(3, [{ column: 1, row: 1, span: 2 }]),
  "1+7": divide(4, [{ column: 1, row: 1, span: 3 }]),
  "1+12": divide(4, [{ column: 1, row: 1, span: 2 }]),
  "2+8": divide(4, [
    { column: 1, row: 1, span: 2 },
    { column: 3, row: 1, span: 2 },
  ]),
};

/** The tile one reaches from `from` by an arrow: the nearest whose middle lies that way, or `from` itself. */
export function neighbour(grid: Grid, from: number, way: "left" | "right" | "up" | "down"): number {
  const { cells } = DIVISIONS[grid];
  const middle = (cell: Cell) => ({ x: cell.column + cell.span / 2, y: cell.row + cell.span / 2 });
  const start = cells[from];
  if (!start) return 0;
  const at = middle(start);
  let best = from;
  let bestCost = Number.POSITIVE_INFINITY;
  cells.forEach((cell, index) => {
    const to = middle(cell);
    const along = { left: at.x - to.x, right: to.x - at.x, up: at.y - to.y, down: to.y - at.y }[way];
    const across = Math.abs(way === "left" || way === "right" ? to.y - at.y : to.x - at.x);
    if (along < 0.5) return;
    const cost = along + 2 * across;
    if (cost < bestCost) {
      bestCost = cost;
      best = index;
    }
  });
  return best;
}
