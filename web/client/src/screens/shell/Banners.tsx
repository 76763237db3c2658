/** What the whole console must know before anything on it is believed. */

import { useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { useDecoding, useDesk, useNow, useSocketNews } from "../../app/context.tsx";
import { tenths } from "../../i18n/numbers.ts";
import { differs } from "../../time/site.ts";
import { Button } from "../../ui/controls.tsx";
import { Away } from "./Away.tsx";

/** So far off, this machine's clock is complained of. */
export const STATION_CLOCK_OFF_MS = 2000;

export function Banners() {
  const { t } = useTranslation();
  const { world, site } = useDesk();
  const decoding = useDecoding();
  useSocketNews("onLink");
  const now = useNow(5000);
  const [zoneSeen, setZoneSeen] = useState(false);
  const station = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const error = world.socket.stationErrorMs();
  const overloaded = decoding.overload.level > 0;
  const { blind } = world.socket;
  const clockOff = error !== null && Math.abs(error) > STATION_CLOCK_OFF_MS;
  const zone =
    !zoneSeen && differs(world.zone, station, now) ? t("banner.zone", { station, site: site.time_zone }) : null;
  return (
    <div>
      {/* Said once each: figures change all the time, and are there to be read. */}
      <div className="sr" aria-live="assertive">
        {blind && <p>{t("banner.blind")}</p>}
        {overloaded && <p>{t("banner.say_overload")}</p>}
        {clockOff && <p>{t("banner.say_clock")}</p>}
        {zone !== null && <p>{zone}</p>}
      </div>
      {blind && <Blind />}
      <Away />
      {overloaded && (
        <p className="banner" data-banner="overload">
          {decoding.lowered > 0
            ? t("banner.overload", { lowered: decoding.lowered, count: decoding.tiles })
            : t("banner.overload_late")}
        </p>
      )}
      {clockOff && (
        <p className="banner" data-banner="clock">
          {t(error > 0 ? "banner.clock_ahead" : "banner.clock_behind", { seconds: tenths(Math.abs(error) / 1000) })}
        </p>
      )}
      {zone !== null && (
        <p className="banner banner--quiet" data-banner="zone">
          {zone}
          <Button onClick={() => setZoneSeen(true)}>{t("act.understood")}</Button>
        </p>
      )}
    </div>
  );
}

function Blind() {
  const { t } = useTranslation();
  const [sinceMs] = useState(() => performance.now());
  const [seconds, setSeconds] = useState(3);
  useEffect(() => {
    const timer = setInterval(() => setSeconds(3 + Math.floor((performance.now() - sinceMs) / 1000)), 1000);
    return () => clearInterval(timer);
  }, [sinceMs]);
  return (
    <p className="banner banner--blind" data-banner="blind">
      <span>
        <span aria-hidden="true">▲ </span>
        {t("banner.blind")}
      </span>
      <span>{t("banner.blind_for", { seconds })}</span>
    </p>
  );
}
