/** Banners for those that the server does not hear from. While the server itself is not heard, nobody knows. */

import { useTranslation } from "react-i18next";
import { useDesk, useSocketNews } from "../../app/context.tsx";

const NEEDED = ["recorder", "gateway", "catalogue"] as const;

export function Away() {
  const { t } = useTranslation();
  const { world } = useDesk();
  useSocketNews("onConsole");
  const { blind, console } = world.socket;
  return NEEDED.filter((who) => !blind && console[who] === false).map((who) => (
    <p key={who} role="alert" className="banner banner--blind" data-banner={who}>
      <span>
        <span aria-hidden="true">▲ </span>
        {t(`banner.${who}`)}
      </span>
    </p>
  ));
}
