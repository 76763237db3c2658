/** The key sheet of the screen one is on. */

import { useTranslation } from "react-i18next";
import { useStation } from "../../app/station.ts";
import { CheckField, Dialog } from "../../ui/controls.tsx";

const GLOBAL = [
  ["/, Ctrl+K", "find"],
  ["?", "help"],
  ["1 2 Enter", "number"],
  ["W 1…9", "layout"],
  ["G L", "go_live"],
  ["G H", "go_health"],
  ["G K", "go_cameras"],
  ["F", "full"],
  ["Esc", "leave"],
] as const;
const LIVE = [
  ["← ↑ → ↓", "move"],
  ["Enter", "alone"],
  ["S", "snapshot"],
  ["T", "tours"],
  ["Z", "zoom"],
  ["+ −", "zoom_keys"],
  ["Del", "clear"],
  ["M", "pick"],
] as const;

/** `goes`: whether keys lead to other screens here. */
export function Help({ live, goes = true, onClose }: { live: boolean; goes?: boolean; onClose: () => void }) {
  const { t } = useTranslation();
  const { singleKeys, change } = useStation();
  const block = (title: string, rows: readonly (readonly [string, string])[]) => (
    <section>
      <h3>{title}</h3>
      <dl>
        {rows.map(([key, what]) => (
          <div key={what} style={{ display: "contents" }}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{t(`keys.${what}`)}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
  return (
    <Dialog title={t("keys.title")} size="xl" onClose={onClose}>
      <div className="sheet">
        {block(
          t("keys.everywhere"),
          GLOBAL.filter(([, what]) => goes || !what.startsWith("go_")),
        )}
        {live && block(t("keys.on_wall"), LIVE)}
      </div>
      <p style={{ marginTop: 16 }}>
        <CheckField
          label={t("keys.single")}
          description={t("keys.single_why")}
          checked={singleKeys}
          onChange={(on) => change({ singleKeys: on })}
        />
      </p>
    </Dialog>
  );
}
