/** Filling a tile without dragging: a camera, a tour; and the purpose of watching where the role demands one. */

import { useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import type { Camera } from "../../api/model.ts";
import { useDesk, usePurpose } from "../../app/context.tsx";
import { Button, CheckField, Dialog, TextField } from "../../ui/controls.tsx";
import { cameraNumber } from "../../ui/words.ts";
import { find } from "../../wall/search.ts";
import { useWall } from "../../wall/store.ts";

export function PickCamera({
  index,
  cameras,
  onClose,
}: {
  index: number;
  cameras: readonly Camera[];
  onClose: () => void;
}) {
  const { t } = useTranslation();
  const [text, setText] = useState("");
  const found = find(cameras, text, 200);
  const take = (camera: Camera) => {
    const wall = useWall.getState();
    if (wall.spot === index) wall.toSpot(camera.id);
    else wall.put(index, camera.id);
    onClose();
  };
  return (
    <Dialog title={t("wall.pick_title", { n: index + 1 })} onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (found[0]) take(found[0]);
        }}
      >
        <TextField label={t("find.label")} value={text} onChange={setText} autoFocus autoComplete="off" />
      </form>
      <ul className="picklist" style={{ marginTop: 8 }}>
        {found.map((camera) => (
          <li key={camera.id}>
            <button type="button" className="rowlink" onClick={() => take(camera)}>
              <b>{cameraNumber(camera.number)}</b> {camera.name}
            </button>
          </li>
        ))}
      </ul>
      {found.length === 0 && <p className="state">{t("find.none", { text })}</p>}
    </Dialog>
  );
}

export function EditTour({
  index,
  cameras,
  onClose,
}: {
  index: number;
  cameras: readonly Camera[];
  onClose: () => void;
}) {
  const { t } = useTranslation();
  const before = useWall((wall) => wall.tiles[index]);
  const old = typeof before === "object" && before !== null ? before : null;
  const [chosen, setChosen] = useState<readonly string[]>(old?.tour ?? (typeof before === "string" ? [before] : []));
  const [dwell, setDwell] = useState(String(old?.dwell_s ?? 10));
  const seconds = Number(dwell);
  const dwellOk = Number.isInteger(seconds) && seconds >= 3 && seconds <= 300;
  return (
    <Dialog title={t("wall.tour_title", { n: index + 1 })} onClose={onClose}>
      <form
        className="form"
        onSubmit={(event) => {
          event.preventDefault();
          if (!dwellOk || chosen.length === 0) return;
          useWall.getState().put(index, { tour: [...chosen], dwell_s: seconds });
          onClose();
        }}
      >
        <TextField
          label={t("wall.dwell")}
          value={dwell}
          onChange={setDwell}
          inputMode="numeric"
          error={dwellOk ? null : t("wall.dwell_rule")}
        />
        <p className="dim">{t("wall.tour_order", { count: chosen.length })}</p>
        <ul className="picklist">
          {cameras.map((camera) => (
            <li key={camera.id}>
              <CheckField
                label={`${cameraNumber(camera.number)} ${camera.name}${chosen.includes(camera.id) ? ` (${chosen.indexOf(camera.id) + 1}.)` : ""}`}
                checked={chosen.includes(camera.id)}
                onChange={(on) => setChosen(on ? [...chosen, camera.id] : chosen.filter((id) => id !== camera.id))}
              />
            </li>
          ))}
        </ul>
        <div className="acts">
          <Button kind="primary" type="submit" disabled={!dwellOk || chosen.length === 0}>
            {t("wall.tour_set")}
          </Button>
          <Button onClick={onClose}>{t("act.cancel")}</Button>
        </div>
      </form>
    </Dialog>
  );
}

export function AskPurpose({ onClose }: { onClose: () => void }) {
  const { t } = useTranslation();
  const { world } = useDesk();
  const [text, setText] = useState("");
  return (
    <Dialog title={t("wall.purpose_title")} onClose={onClose}>
      <form
        className="form"
        onSubmit={(event) => {
          event.preventDefault();
          if (text.trim().length < 3) return;
          world.setPurpose(text.trim());
          onClose();
        }}
      >
        <p className="dim">{t("wall.purpose_why")}</p>
        <TextField label={t("wall.purpose")} value={text} onChange={setText} required autoFocus maxLength={200} />
        <div className="acts">
          <Button kind="primary" type="submit" disabled={text.trim().length < 3}>
            {t("wall.purpose_set")}
          </Button>
          <Button onClick={onClose}>{t("act.cancel")}</Button>
        </div>
      </form>
    </Dialog>
  );
}

/** The purpose under which this wall is watched, to be seen and changed. It goes with the wall: who leaves has done. */
export function StatedPurpose() {
  const { t } = useTranslation();
  const { world } = useDesk();
  const purpose = usePurpose();
  const [asking, setAsking] = useState(false);
  useEffect(() => () => world.setPurpose(null), [world]);
  if (purpose === null) return null;
  return (
    <div className="seg">
      <span className="wallbar__name" title={purpose}>
        {t("wall.purpose_now", { purpose })}
      </span>
      <Button onClick={() => setAsking(true)}>{t("wall.purpose_change")}</Button>
      {asking && <AskPurpose onClose={() => setAsking(false)} />}
    </div>
  );
}
