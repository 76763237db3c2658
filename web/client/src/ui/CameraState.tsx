/** A camera's state in a list: quiet when normal, a glyph and a word when not. */

import { useTranslation } from "react-i18next";
import type { Camera } from "../api/model.ts";
import { useDesk, useNow } from "../app/context.tsx";
import { duration, parseUtc } from "../time/site.ts";

const GLYPHS = { live: "●", connecting: "◌", lost: "✕", off: "–", unknown: "?" } as const;

export function CameraState({ camera, long = false }: { camera: Camera; long?: boolean }) {
  const { t } = useTranslation();
  const { world } = useDesk();
  // Its age counts the seconds beside the tile that counts them too.
  const now = useNow(camera.state === "lost" && !long ? 1000 : 10_000);
  const since = parseUtc(camera.state_since);
  const word = t(`camera_state.${camera.state}`);
  const quiet = camera.state === "live" || camera.state === "off";
  if (!long) {
    const age = since !== null && camera.state === "lost" ? duration(Math.max(0, now - since)) : word;
    return (
      <span className={camera.state === "lost" ? "tight" : "dim tight"}>
        <span aria-hidden="true">{GLYPHS[camera.state]}</span> {quiet ? <span className="sr">{word}</span> : age}
        {camera.state === "lost" && <span className="sr"> {word}</span>}
      </span>
    );
  }
  const why = camera.state_reason ? t(`reason.${camera.state_reason}`, { defaultValue: camera.state_reason }) : "";
  return (
    <span className={camera.state === "lost" ? "loud" : ""}>
      <span aria-hidden="true">{GLYPHS[camera.state]}</span> {why && camera.state === "lost" ? why : word}
      {since !== null && camera.state === "lost" && (
        <span className="dim"> {t("since", { time: world.zone.clockOrStamp(since, now) })}</span>
      )}
    </span>
  );
}
