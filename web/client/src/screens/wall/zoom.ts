/** Digital zoom: where the picture stands in its tile. Pure. Fractions of the tile; scale 1 is the whole picture. */

export interface Zoom {
  readonly scale: number;
  /** Left and top of the picture, in tile widths and heights; never such that a border shows. */
  readonly x: number;
  readonly y: number;
}

export const WHOLE: Zoom = { scale: 1, x: 0, y: 0 };
const MOST = 8;

/** Larger or smaller about a point that stays where it is. */
export function zoomAt(zoom: Zoom, factor: number, px: number, py: number): Zoom {
  const scale = Math.min(MOST, Math.max(1, zoom.scale * factor));
  const real = scale / zoom.scale;
  return clamped({ scale, x: px - (px - zoom.x) * real, y: py - (py - zoom.y) * real });
}

export function panned(zoom: Zoom, dx: number, dy: number): Zoom {
  return clamped({ ...zoom, x: zoom.x + dx, y: zoom.y + dy });
}

/** What of the picture is seen, as CSS percentages for the little map. */
export function seen(zoom: Zoom) {
  const percent = (value: number) => `${(value * 100).toFixed(2)}%`;
  return {
    left: percent(-zoom.x / zoom.scale),
    top: percent(-zoom.y / zoom.scale),
    width: percent(1 / zoom.scale),
    height: percent(1 / zoom.scale),
  };
}

function clamped({ scale, x, y }: Zoom): Zoom {
  const least = 1 - scale;
  return { scale, x: Math.min(0, Math.max(least, x)), y: Math.min(0, Math.max(least, y)) };
}
