/** A one-time password was used: nothing else is shown before it is replaced. */

import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import * as api from "../../api/calls.ts";
import type { Site } from "../../api/model.ts";
import { Button, PasswordField } from "../../ui/controls.tsx";
import { Refused } from "../../ui/states.tsx";
import { EntryFrame } from "./EntryFrame.tsx";
import { agrees, NewPasswordFields, NOT_TYPED } from "./NewPasswordFields.tsx";

export function NewPassword({ site, name, done }: { site: Site; name: string; done: () => Promise<void> }) {
  const { t } = useTranslation();
  return (
    <EntryFrame site={site} title={t("entry.new_password")}>
      <p className="dim">{t("entry.new_password_why", { name })}</p>
      <PasswordForm name={name} done={() => void done()} />
    </EntryFrame>
  );
}

/** Old password, new one, and the new one again. */
export function PasswordForm({ name, done }: { name: string; done: () => void }) {
  const { t } = useTranslation();
  const [old, setOld] = useState("");
  const [fresh, setFresh] = useState(NOT_TYPED);
  const change = useMutation({ mutationFn: () => api.changePassword(old, fresh.once), onSuccess: done });
  const ready = old !== "" && agrees(fresh);
  return (
    <form
      className="form"
      onSubmit={(event) => {
        event.preventDefault();
        if (ready && !change.isPending) change.mutate();
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
      <NewPasswordFields label={t("entry.fresh_password")} value={fresh} onChange={setFresh} />
      <Refused by={change} />
      <Button kind="primary" type="submit" disabled={change.isPending || !ready}>
        {t("entry.set_password")}
      </Button>
    </form>
  );
}
