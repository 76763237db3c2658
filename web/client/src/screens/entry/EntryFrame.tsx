/** What the screens before the shell have in common: the site's name, a sheet, language and theme, and the law. */

import "./entry.css";
import { type ReactNode, useState } from "react";
import { useTranslation } from "react-i18next";
import type { Site } from "../../api/model.ts";
import { useStation } from "../../app/station.ts";
import { Button, Dialog } from "../../ui/controls.tsx";
import { Icon } from "../../ui/Icon.tsx";
import { Declaration } from "../about/Declaration.tsx";

export function EntryFrame({ site, title, children }: { site: Site; title: string; children: ReactNode }) {
  const { t } = useTranslation();
  const { theme, language, change } = useStation();
  const [declaration, setDeclaration] = useState(false);
  const foot = (
    <>
      <span>Stróż {site.version}</span>
      <Button
        kind="quiet"
        onClick={() => change({ language: language === "pl" ? "en" : "pl" })}
        lang={language === "pl" ? "en" : "pl"}
      >
        {language === "pl" ? "English" : "Polski"}
      </Button>
      <Button kind="quiet" onClick={() => change({ theme: theme === "noc" ? "dzien" : "noc" })}>
        {t(theme === "noc" ? "theme.to_dzien" : "theme.to_noc")}
      </Button>
      <Button kind="quiet" onClick={() => setDeclaration(true)}>
        {t("about.declaration")}
      </Button>
    </>
  );
  return (
    <Sheet foot={foot}>
      <div className="entry__brand">
        <Icon name="eye" size={30} />
        <div>
          <h1>{title}</h1>
          <p>
            {site.name}, {site.time_zone}
          </p>
        </div>
      </div>
      {children}
      {declaration && (
        <Dialog title={t("about.declaration")} size="lg" onClose={() => setDeclaration(false)}>
          <Declaration site={site} />
        </Dialog>
      )}
    </Sheet>
  );
}

/** One sheet in the middle of an empty page. */
export function Sheet({ foot, children }: { foot?: ReactNode; children: ReactNode }) {
  return (
    <div className="entry">
      <main className="entry__sheet">{children}</main>
      <footer className="entry__foot">{foot}</footer>
    </div>
  );
}
