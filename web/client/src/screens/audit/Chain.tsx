/** How long the log is, what of it was signed last, and the command that says whether it was changed: a page cannot. */

import { useQuery } from "@tanstack/react-query";
import { useTranslation } from "react-i18next";
import * as api from "../../api/calls.ts";
import { useDesk } from "../../app/context.tsx";
import { Refused } from "../../ui/states.tsx";

export const CHAIN = ["audit-head"];

export function Chain() {
  const { t } = useTranslation();
  const { world } = useDesk();
  const query = useQuery({ queryKey: CHAIN, queryFn: api.auditHead });
  if (!query.isSuccess) return <Refused by={query} />;
  const { size, root, signed } = query.data;
  const foreign = signed !== null && signed.key_id === null;
  return (
    <div className={foreign ? "note note--warn" : "note"}>
      <dl className="facts">
        <dt>{t("audit.chain")}</dt>
        <dd>
          {t("audit.chain_size", { count: size })} <span className="mono dim">{root.slice(0, 16)}</span>
        </dd>
        <dt>{t("audit.chain_signed")}</dt>
        <dd>
          {signed === null
            ? t("audit.chain_never")
            : `${world.zone.stampOf(signed.at, signed.at)}, ${t("audit.chain_size", { count: signed.size })}, ${
                foreign ? t("audit.chain_foreign") : t("audit.chain_key", { key: signed.key_id })
              }`}
        </dd>
        <dt>{t("audit.chain_verify")}</dt>
        <dd>
          <span className="mono">vms audit verify</span>
        </dd>
      </dl>
    </div>
  );
}
