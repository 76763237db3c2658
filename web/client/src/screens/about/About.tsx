/** Screen 22: what this is, which version, whose work is in it, and the accessibility statement. */

import { useTranslation } from "react-i18next";
import { useDesk } from "../../app/context.tsx";
import { Declaration } from "./Declaration.tsx";

const PARTS = [
  ["React", "MIT"],
  ["Mantine", "MIT"],
  ["TanStack Query, TanStack Router", "MIT"],
  ["i18next, react-i18next", "MIT"],
  ["zustand", "MIT"],
  ["openapi-fetch", "MIT"],
  ["pragmatic-drag-and-drop", "Apache-2.0"],
  ["temporal-polyfill", "MIT"],
  ["Inter", "OFL-1.1"],
] as const;

export function About() {
  const { t } = useTranslation();
  const { site } = useDesk();
  return (
    // Nothing in it takes the focus, so the region itself does: it must scroll by keys.
    <section className="page" tabIndex={0} aria-label={t("about.title")}>
      <div className="page__head">
        <h1>{t("about.title")}</h1>
      </div>
      <div className="page__body" style={{ display: "grid", gap: 24, maxWidth: 820 }}>
        <dl className="facts">
          <dt>{t("about.version")}</dt>
          <dd>Stróż {site.version}</dd>
          <dt>{t("about.site")}</dt>
          <dd>{site.name}</dd>
          <dt>{t("about.zone")}</dt>
          <dd>{site.time_zone}</dd>
          <dt>{t("about.licence")}</dt>
          <dd>Apache-2.0</dd>
          <dt>{t("about.browser")}</dt>
          <dd>{t(takesH265() ? "about.h265_yes" : "about.h265_no")}</dd>
        </dl>
        <section>
          <h2>{t("about.declaration")}</h2>
          <Declaration site={site} />
        </section>
        <section>
          <h2>{t("about.parts")}</h2>
          <ul className="list">
            {PARTS.map(([name, licence]) => (
              <li key={name}>
                {name} <span className="dim">{licence}</span>
              </li>
            ))}
          </ul>
        </section>
      </div>
    </section>
  );
}

function takesH265(): boolean {
  const codecs = RTCRtpReceiver.getCapabilities("video")?.codecs ?? [];
  return codecs.some((codec) => /h265/i.test(codec.mimeType));
}
