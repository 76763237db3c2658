import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";

/** An address that is none of ours. */
export function Lost() {
  const { t } = useTranslation();
  return (
    <div className="state" role="alert">
      <b>{t("shell.no_such_page")}</b>
      <Link to="/" className="b">
        {t("nav.live")}
      </Link>
    </div>
  );
}
