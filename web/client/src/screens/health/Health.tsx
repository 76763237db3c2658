/** Screen 17: one look. Numbers with their promise, then what needs a person, each with what to do. Unproved is "don't know". */

import "./health.css";
import { useQuery } from "@tanstack/react-query";
import { useTranslation } from "react-i18next";
import * as api from "../../api/calls.ts";
import type { Health as Facts } from "../../api/model.ts";
import type { LiveSocket } from "../../api/socket.ts";
import { useDesk, useMay, useNow } from "../../app/context.tsx";
import { signedWhole, tenths } from "../../i18n/numbers.ts";
import { duration, parseUtc } from "../../time/site.ts";
import { Failed, Loading, NoRight } from "../../ui/states.tsx";
import { cameraNumber } from "../../ui/words.ts";
import { counts, OF_THE_SITE, PROVED_MS, type Trouble, troubles } from "./judge.ts";

const MOST_SAID = 5;

export function Health() {
  const { t } = useTranslation();
  const { world } = useDesk();
  const may = useMay("read_health");
  const query = useQuery({
    queryKey: ["health"],
    queryFn: api.health,
    enabled: may,
    refetchInterval: 5000,
    staleTime: 0,
  });
  const now = useNow(2000);
  if (!may) return <NoRight />;
  if (query.isPending) return <Loading />;
  if (query.isError && !query.data) return <Failed error={query.error} retry={() => void query.refetch()} />;
  const health = query.data;
  const at = parseUtc(health.at);
  const proved = at !== null && now - at < PROVED_MS;
  const rows = troubles(health);
  const judged =
    rows.length > 0
      ? t("health.attention", { count: rows.length })
      : t(proved ? "health.nothing" : "health.nothing_known");
  return (
    <div className="page">
      <div className="page__head">
        <h1>{t("health.title")}</h1>
        <span className={proved ? "dim" : "loud"}>
          {at === null
            ? t("unknown")
            : t(proved ? "health.as_of" : "health.stale", { time: world.zone.clock(at), age: duration(now - at) })}
        </span>
      </div>
      {/* Said aloud only when the judgement changes: ages and figures change all the time. */}
      <p className="sr" role="status">
        {proved
          ? [judged, ...rows.slice(0, MOST_SAID).map((row) => whatText(t, row))].join(", ")
          : t("health.nothing_known")}
      </p>
      <Figures health={health} proved={proved} />
      <div className="page__body">
        <table className="list">
          <caption>{judged}</caption>
          {rows.length > 0 && (
            <>
              <thead>
                <tr>
                  <th scope="col" className="key-cell">
                    <span className="sr">{t("health.grade")}</span>
                  </th>
                  <th scope="col">{t("cameras.number")}</th>
                  <th scope="col">{t("health.what")}</th>
                  <th scope="col">{t("health.why_since")}</th>
                  <th scope="col">{t("health.cause")}</th>
                  <th scope="col">{t("health.todo")}</th>
                </tr>
              </thead>
              <tbody>
                {rows.map((row) => {
                  const since = parseUtc(row.sinceUtc);
                  const note = "code" in row.why ? row.why.facts.why : undefined;
                  return (
                    <tr key={JSON.stringify([row.camera, row.side, "code" in row.why ? row.why.code : ""])}>
                      <td className={`key-cell ${row.grade === "bad" ? "loud" : "warn"}`}>
                        <span aria-hidden="true">{row.grade === "bad" ? "✕" : "◔"}</span>
                        <span className="sr">{t(`health.grade_${row.grade}`)}</span>
                      </td>
                      <td>{row.camera === null ? "—" : cameraNumber(row.camera.number)}</td>
                      <td>
                        {whatText(t, row)}
                        {row.side && <span className="dim">, {t("tile.sub")}</span>}
                      </td>
                      <td>
                        {whyText(t, row.why)}
                        {since !== null && ` ${t("since", { time: world.zone.clockOrStamp(since, now) })}`}
                        {note !== undefined && (
                          <span className="mono dim" lang="en">
                            {" "}
                            {note}
                          </span>
                        )}
                      </td>
                      <td>{t(`health.cause_${row.cause}`)}</td>
                      <td>
                        {"code" in row.why
                          ? t([`health.todo_${row.why.code}`, "todo.unknown"])
                          : t([`todo.${row.why.reason}`, "todo.unknown"])}
                      </td>
                    </tr>
                  );
                })}
              </tbody>
            </>
          )}
        </table>
      </div>
    </div>
  );
}

// A page may be older than the server, and not know a code: it then says that it does not.
type Words = (key: string | string[], facts?: Record<string, unknown>) => string;

function whatText(t: Words, { camera, why }: Trouble): string {
  if (camera !== null) return camera.name;
  return t([`health.what_${"code" in why && OF_THE_SITE[why.code]?.[0]}`, "unknown"]);
}

function whyText(t: Words, why: Trouble["why"]): string {
  if ("reason" in why) return t([`reason.${why.reason}`, "reason.unknown"]);
  const { seconds } = why.facts;
  const length = typeof seconds !== "number" ? "" : seconds < 60 ? `${tenths(seconds)} s` : duration(seconds * 1000);
  return t([`health.why_${why.code}`, "reason.unknown"], { ...why.facts, length });
}

function Figures({ health, proved }: { health: Facts; proved: boolean }) {
  const { t } = useTranslation();
  const { world } = useDesk();
  const { recording, expected } = counts(health.streams);
  const gapS = health.streams
    .filter((stream) => stream.stream === "main")
    .reduce((sum, stream) => sum + (typeof stream.gap_today_seconds === "number" ? stream.gap_today_seconds : 0), 0);
  const gapped = health.streams.filter(
    (stream) => stream.stream === "main" && Number(stream.gap_today_seconds ?? 0) > 0,
  ).length;
  const bits = health.streams.reduce((sum, stream) => sum + Number(stream.bits_per_second ?? 0), 0);
  const oldest = parseUtc(health.store.oldest);
  const offset = health.clock.offset_seconds;
  const { recorder, archiver } = health;
  const figure = (
    key: string,
    text: string | null,
    grade: "" | "warn" | "loud" = "",
    facts: Record<string, string | number> = {},
  ) => (
    <div key={key}>
      <dt>{t(`figure.${key}`, facts)}</dt>
      <dd className={text === null || !proved ? "unknown" : grade}>{text === null || !proved ? t("unknown") : text}</dd>
    </div>
  );
  return (
    <dl className="figures">
      {figure(
        "recording",
        recorder.answers ? t("foot.of", { n: recording, m: expected }) : null,
        recording < expected ? "loud" : "",
      )}
      {figure("gaps", recorder.answers ? duration(gapS * 1000) : null, gapS > 0 ? "warn" : "", { count: gapped })}
      {figure("ingest", recorder.answers ? `${tenths(bits / 1e6)} Mbit/s` : null)}
      {figure(
        "waiting",
        archiver.answers && health.store.waiting_segments != null
          ? oldest === null
            ? t("figure.nothing_waits")
            : duration(world.nowMs() - oldest)
          : null,
        health.store.error ? "loud" : "",
        { count: health.store.waiting_segments ?? 0 },
      )}
      {figure("spool", archiver.answers && health.spool.hours != null ? hours(health.spool.hours) : null)}
      {figure("disk", health.spool.disk_free_bytes == null ? null : bytes(health.spool.disk_free_bytes))}
      {figure(
        "clock",
        offset == null ? null : `${signedWhole(offset * 1000)} ms`,
        health.clock.synchronised === false ? "warn" : "",
      )}
      {figure("pictures", liveText(world.socket))}
    </dl>
  );
}

/** Null while nobody can know: the server is not heard, or does not hear the recorder. */
export function liveText({ blind, console }: Pick<LiveSocket, "blind" | "console">): string | null {
  return !blind && console.recorder === true && typeof console.live === "number" ? String(console.live) : null;
}

function hours(value: number): string {
  return value >= 48 ? `${Math.floor(value / 24)} d ${Math.floor(value % 24)} h` : `${tenths(value)} h`;
}

export function bytes(value: number): string {
  if (value >= 1e12) return `${tenths(value / 1e12)} TB`;
  if (value >= 1e9) return `${tenths(value / 1e9)} GB`;
  return `${tenths(value / 1e6)} MB`;
}
