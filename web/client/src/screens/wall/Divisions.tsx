/** The divisions of the wall to choose from, each as a picture of itself. */

import { useTranslation } from "react-i18next";
import type { Grid } from "../../api/model.ts";
import { Button } from "../../ui/controls.tsx";
import { DIVISIONS, GRIDS } from "../../wall/grids.ts";
import { useWall } from "../../wall/store.ts";

export function Divisions() {
  const { t } = useTranslation();
  const wall = useWall();
  return (
    <fieldset className="seg" style={{ margin: 0, padding: 0 }}>
      <legend className="sr">{t("wall.division")}</legend>
      {GRIDS.map((grid) => (
        <Button
          key={grid}
          className="gridpick"
          aria-pressed={wall.grid === grid}
          aria-label={t("wall.grid", { grid })}
          title={grid}
          onClick={() => wall.setGrid(grid)}
        >
          <GridPicture grid={grid} />
        </Button>
      ))}
    </fieldset>
  );
}

function GridPicture({ grid }: { grid: Grid }) {
  const { side, cells } = DIVISIONS[grid];
  const unit = 16 / side;
  return (
    <svg width="34" height="18" viewBox="-9 -1 34 18" aria-hidden="true">
      {cells.map((cell) => (
        <rect
          key={`${cell.column} ${cell.row}`}
          x={(cell.column - 1) * unit}
          y={(cell.row - 1) * unit}
          width={cell.span * unit}
          height={cell.span * unit}
          fill="none"
          stroke="currentColor"
        />
      ))}
    </svg>
  );
}
