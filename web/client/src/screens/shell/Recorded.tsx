/** How many cameras are recorded of those that should be, in the foot of every screen. Nobody's word is "don't know". */

import { useTranslation } from "react-i18next";
import { useDesk, useSocketNews } from "../../app/context.tsx";

export function Recorded() {
  const { t } = useTranslation();
  const { world } = useDesk();
  useSocketNews("onConsole");
  useSocketNews("onLink");
  const { blind } = world.socket;
  const { recorder, recording, recorded: expected } = world.socket.console;
  const counted = !blind && recorder === true && recording !== undefined && expected !== undefined;
  const silent = !blind && recorder === false;
  return (
    <span className={silent || (counted && recording < expected) ? "loud" : ""}>
      {t("foot.records")}{" "}
      <b>{counted ? t("foot.of", { n: recording, m: expected }) : t(silent ? "foot.recorder_silent" : "unknown")}</b>
    </span>
  );
}
