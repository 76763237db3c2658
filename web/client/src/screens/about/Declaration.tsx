/** The accessibility statement of the Polish act of 4 April 2019, with what this installation must fill in itself. */

import { useTranslation } from "react-i18next";
import type { Site } from "../../api/model.ts";

export function Declaration({ site }: { site: Site }) {
  const { t } = useTranslation();
  return (
    <article className="declaration">
      {(["intro", "status", "not", "keys", "contact", "procedure"] as const).map((part) => (
        <section key={part}>
          <h3>{t(`declaration.${part}_title`)}</h3>
          <p>{t(`declaration.${part}`, { site: site.name, version: site.version })}</p>
        </section>
      ))}
    </article>
  );
}
