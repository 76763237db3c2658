/** What a camera sends, as measured from the recorder's network, each finding with the next step. */

import { useTranslation } from "react-i18next";
import type { StreamReport } from "../../api/model.ts";
import { signedTenths, tenths } from "../../i18n/numbers.ts";
import { saidText } from "../../ui/states.tsx";
import { codecName } from "./codecs.ts";

export function TestReport({ streams }: { streams: readonly StreamReport[] }) {
  const { t } = useTranslation();
  return (
    <section aria-label={t("test.title")}>
      {streams.map((stream) => (
        <div
          key={stream.stream}
          className={`note ${!isRecorded(stream) ? "note--loud" : stream.advice?.length ? "note--warn" : ""}`}
          style={{ marginBottom: 8 }}
        >
          <h2>
            {t(`test.${stream.stream}`)}:{" "}
            {stream.ok
              ? t(isRecorded(stream) ? "test.receives" : "test.not_recorded")
              : t([`reason.${stream.reason}`, "test.failed"])}
          </h2>
          <p className="mono dim">{stream.url}</p>
          {stream.ok ? (
            <dl className="facts">
              <dt>{t("test.picture")}</dt>
              <dd>
                {codecName(stream.codec)} {stream.profile} {stream.width}×{stream.height},{" "}
                {tenths(stream.fps_measured ?? 0)}/s, {tenths((stream.bitrate_bps ?? 0) / 1e6)} Mbit/s
              </dd>
              <dt>{t("test.keyframes")}</dt>
              <dd>{stream.gop_seconds ? t("test.every", { seconds: tenths(stream.gop_seconds) }) : t("unknown")}</dd>
              <dt>{t("test.browser")}</dt>
              <dd>{t(`browser.${stream.browser ?? "unknown"}`)}</dd>
              <dt>{t("test.clock")}</dt>
              <dd>
                {stream.clock_offset_seconds == null ? t("unknown") : `${signedTenths(stream.clock_offset_seconds)} s`}
              </dd>
              <dt>{t("test.lost")}</dt>
              <dd>{t("test.packets", { count: stream.packets_lost ?? 0 })}</dd>
            </dl>
          ) : (
            stream.said && (
              <>
                <p>{saidText(t, stream.said)}</p>
                {/* What camera or system said in its own words, for whoever mends it. */}
                {stream.said.note && (
                  <p className="mono dim" lang="en">
                    {stream.said.note}
                  </p>
                )}
              </>
            )
          )}
          {(stream.advice?.length ?? 0) > 0 && (
            <ul>
              {stream.advice?.map((advice) => (
                <li key={advice.code}>
                  <span aria-hidden="true">→ </span>
                  {saidText(t, advice)}
                </li>
              ))}
            </ul>
          )}
        </div>
      ))}
    </section>
  );
}

/** Whether anything of it would be recorded: a codec that is not ours, or one without key pictures, is received in vain. */
function isRecorded(stream: StreamReport): boolean {
  return stream.ok && stream.keyframes !== 0;
}
