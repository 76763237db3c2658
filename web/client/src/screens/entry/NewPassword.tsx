/** A one-time password was used: nothing else is shown before it is replaced. */

import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import * as api from "../../api/calls.ts";
import type { Site } from "../../api/model.ts";
import { Button, PasswordField } from "../../ui/controls.tsx";
import { Refused } from "../../ui/states.tsx";
import { EntryFrame } from "./EntryFrame.tsx";

export function NewPassword({ site, name, done }: { site: Site; name: string; done: () => Promise<void> }) {
  const { t } = useTranslation();
  return (
    <EntryFrame site={site} title={t("entry.new_password")}>
      <p className="dim">{t("entry.new_password_why", { name })}</p>
      <PasswordForm name={name} done={() => void done()} />
      <p className="entry__notice">{t("entry.password_rule")}</p>
    </EntryFrame>
  );
}

/** Old password, new one, and the new one again. */
export function PasswordForm({ name, done }: { name: string; done: () => void }) {
  const { t } = useTranslation();
  const [old, setOld] = useState("");
  const [fresh, setFresh] = useState("");
  const [again, setAgain] = useState("");
  const change = useMutation({ mutationFn: () => api.changePassword(old, fresh), onSuccess: done });
  const differs = again !== "" && fresh !== again;
  return (
    <form
      className="form"
      onSubmit={(event) => {
        event.preventDefault();
        if (!differs && !change.isPending) change.mutate();
      }}
    >
      <input type="hidden" name="username" autoComplete="username" value={name} readOnly />
      <PasswordField
        label={t("entry.old_password")}
        value={old}
        onChange={setOld}
        autoComplete="current-password"
        required
        autoFocus
      />
      <PasswordField
        label={t("entry.fresh_password")}
        value={fresh}
        onChange={setFresh}
        autoComplete="new-password"
        required
      />
      <PasswordField
        label={t("entry.again_password")}
        value={again}
        onChange={setAgain}
        autoComplete="new-password"
        error={differs ? t("entry.passwords_differ") : null}
        required
      />
      <Refused by={change} />
      <Button
        kind="primary"
        type="submit"
        disabled={change.isPending || old === "" || fresh === "" || again === "" || differs}
      >
        {t("entry.set_password")}
      </Button>
    </form>
  );
}
