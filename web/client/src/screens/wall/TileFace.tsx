/** What one camera looks like in a tile: picture or panel, badge, caption. Draws the verdict, decides nothing. */

import { useEffect, useReducer, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { useDesk } from "../../app/context.tsx";
import { tenths } from "../../i18n/numbers.ts";
import type { CameraLabel, TileController } from "../../media/tileController.ts";
import { type Cause, isLost, type TileWord } from "../../media/tileState.ts";
import { duration } from "../../time/site.ts";
import { Button } from "../../ui/controls.tsx";
import { cameraNumber } from "../../ui/words.ts";
import { seen, type Zoom } from "./zoom.ts";

export function useVerdict(controller: TileController | null): void {
  const [, draw] = useReducer((n: number) => n + 1, 0);
  useEffect(() => {
    draw(); // what changed between drawing and listening
    return controller?.subscribe(draw);
  }, [controller]);
}

export function TileFace({
  controller,
  camera,
  pending,
  spot,
  zoom,
  tour,
  askPurpose,
}: {
  controller: TileController;
  camera: CameraLabel | undefined;
  pending: boolean;
  spot: boolean;
  zoom: Zoom;
  tour: string | null;
  askPurpose: () => void;
}) {
  useVerdict(controller);
  const { t } = useTranslation();
  const { verdict, figures } = controller;
  const stage = useRef<HTMLDivElement>(null);
  useEffect(() => {
    stage.current?.prepend(controller.video);
    void controller.video.play().catch(() => undefined);
  }, [controller]);
  useEffect(() => {
    const { scale, x, y } = zoom;
    controller.video.style.transform = scale === 1 ? "" : `translate(${x * 100}%, ${y * 100}%) scale(${scale})`;
  }, [controller, zoom]);
  const look = verdict.picture
    ? verdict.dimmed
      ? "tile__stage tile__stage--dim"
      : "tile__stage"
    : "tile__stage tile__stage--gone";
  return (
    <div className={pending ? "tile__face tile__face--pending" : "tile__face tile__face--shown"} aria-hidden={pending}>
      <div className={look} ref={stage} />
      {!pending && (
        <>
          {!verdict.picture && <Panel controller={controller} askPurpose={askPurpose} />}
          {verdict.picture && <Badge controller={controller} tour={tour} />}
          {!verdict.picture && tour && <p className="tile__badge">{tour}</p>}
          {spot && verdict.picture && figures.width > 0 && (
            <p className="tile__figures">
              {figures.width}×{figures.height}
              {figures.fps !== null && ` · ${t("tile.fps", { n: figures.fps })}`}
              {figures.delayMs !== null && ` · ${age(figures.delayMs)}`}
              {figures.stream === "sub" && ` · ${t("tile.sub")}`}
              {figures.why && <span className="tile__why">{whyText(t, figures.why)}</span>}
            </p>
          )}
          {zoom.scale > 1 && verdict.picture && (
            <>
              <p className="tile__zoomnote">
                {t("tile.zoom")} {tenths(zoom.scale)}×
              </p>
              <div className="tile__minimap">
                <i style={seen(zoom)} />
              </div>
            </>
          )}
          <p className="tile__caption">
            <b>{camera ? cameraNumber(camera.number) : "–––"}</b>
            <span className="tile__name">{camera?.name ?? t("tile.unknown_camera")}</span>
            {verdict.picture && <CaptureTime controller={controller} />}
            {spot && verdict.picture && controller.timeFrom && (
              <span className="tile__from">{t(`tile.time_${controller.timeFrom}`)}</span>
            )}
          </p>
        </>
      )}
    </div>
  );
}

/** Why another stream is shown than the one that was asked for. */
export function whyText(t: (key: string, facts?: Record<string, unknown>) => string, why: string): string {
  return t(`tile.why_${why}`, { defaultValue: t("tile.why_unshown") });
}

/** A picture's age to the millisecond, from ten seconds on to the tenth of a second. */
function age(ms: number): string {
  return ms < 10_000 ? `${Math.max(0, Math.round(ms))} ms` : `${tenths(ms / 1000)} s`;
}

/** Written by shown frames alone: when they stop, it stops. */
function CaptureTime({ controller }: { controller: TileController }) {
  const { t } = useTranslation();
  const { world } = useDesk();
  const text = useRef<HTMLSpanElement>(null);
  useEffect(
    () =>
      controller.onTime((captureMs) => {
        if (text.current) {
          text.current.textContent =
            captureMs === null ? t("tile.no_time") : world.zone.clock(captureMs, { tenths: true });
        }
      }),
    [controller, world, t],
  );
  return <span className="tile__time" ref={text} />;
}

const GLYPHS: Partial<Record<TileWord, string>> = {
  live: "●",
  delayed: "◔",
  unaged: "?",
  checking: "◌",
  playback: "⟲",
};

function Badge({ controller, tour }: { controller: TileController; tour: string | null }) {
  const { t } = useTranslation();
  const { word, delayMs } = controller.verdict;
  const after =
    (controller.figures.transcoded ? ` · ${t("tile.transcoded")}` : "") + (tour === null ? "" : ` · ${tour}`);
  // What no glyph was given has none of the live one's either.
  const glyph = GLYPHS[word];
  return (
    <p className={word === "live" ? "tile__badge" : `tile__badge tile__badge--${word}`}>
      {glyph && <span aria-hidden="true">{glyph} </span>}
      {t(`tile.${word}`, { seconds: tenths((delayMs ?? 0) / 1000) })}
      {after}
    </p>
  );
}

function Panel({ controller, askPurpose }: { controller: TileController; askPurpose: () => void }) {
  const { t } = useTranslation();
  const { word } = controller.verdict;
  if (word === "checking") {
    return (
      <div className="tile__panel tile__panel--plain">
        <span className="dim">{t("tile.connecting")}</span>
      </div>
    );
  }
  if (isLost(word)) return <Lost controller={controller} />;
  return (
    <div className="tile__panel tile__panel--plain">
      <strong>{t(`tile.${word}`)}</strong>
      <span>{t(`tile.${word}_why`)}</span>
      {word === "purpose" && <Button onClick={askPurpose}>{t("tile.state_purpose")}</Button>}
    </div>
  );
}

/** Causes that are no lost signal. */
const HEADS: Partial<Record<NonNullable<Cause>, string>> = { codec: "unshowable", full: "full", busy: "busy" };

function Lost({ controller }: { controller: TileController }) {
  const { t } = useTranslation();
  const { world } = useDesk();
  const { verdict, lastPicture } = controller;
  const [archive, setArchive] = useState(false);
  const since = controller.lastCaptureMs ?? controller.lastShownServerMs ?? controller.downSinceMs;
  const head = (verdict.cause && HEADS[verdict.cause]) ?? "lost";
  const why = verdict.reason
    ? t(`reason.${verdict.reason}`, { defaultValue: t("reason.unknown") })
    : controller.refusal && verdict.cause !== "network" && verdict.cause !== "camera"
      ? t(`problem.${controller.refusal}`, { seconds: 5, defaultValue: t(`cause.${verdict.cause}`) })
      : t(`cause.${verdict.cause ?? "network"}`);
  return (
    <>
      <div className="tile__panel tile__panel--hatch">
        <strong>
          <span aria-hidden="true">✕ </span>
          {t(`tile.${head}`)}
        </strong>
        {since !== null && (
          <span>
            {t("tile.since", {
              time: world.zone.clock(since, { zone: true }),
              age: duration(Math.max(0, (world.serverNowMs() ?? since + verdict.silentMs) - since)),
            })}
          </span>
        )}
        <span>
          <span className="tile__part">{why};</span>{" "}
          <span className="tile__part">
            {verdict.word === "reconnecting" ? (
              <>
                {t("tile.reconnecting")}{" "}
                <span className="spin" aria-hidden="true">
                  ◌
                </span>
              </>
            ) : verdict.retryInMs !== null ? (
              t("tile.retry", { seconds: Math.ceil(verdict.retryInMs / 1000) })
            ) : (
              t("tile.waiting")
            )}
          </span>
        </span>
        {lastPicture && (
          <Button onClick={() => setArchive((shown) => !shown)} aria-pressed={archive}>
            {t(archive ? "tile.hide_last" : "tile.show_last")}
          </Button>
        )}
      </div>
      {archive && lastPicture && <Archive controller={controller} hide={() => setArchive(false)} />}
    </>
  );
}

/** The last picture, and nothing about it that looks live: grey, framed, stamped. */
function Archive({ controller, hide }: { controller: TileController; hide: () => void }) {
  const { t } = useTranslation();
  const { world } = useDesk();
  const place = useRef<HTMLDivElement>(null);
  const picture = controller.lastPicture;
  useEffect(() => {
    if (picture) place.current?.prepend(picture.canvas);
    return () => picture?.canvas.remove();
  }, [picture]);
  return (
    <div className="tile__archive">
      <div className="tile__stage" ref={place} />
      <p>
        {t("tile.archival")}
        {picture?.capturedMs != null && ` ${world.zone.clock(picture.capturedMs, { zone: true })}`}
      </p>
      <div className="tile__panel tile__panel--archive">
        <Button onClick={hide}>{t("tile.hide_last")}</Button>
      </div>
    </div>
  );
}
