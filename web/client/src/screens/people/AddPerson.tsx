/** A new person: who it is, the first role, and the one-time password, which is shown once. */

import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import * as api from "../../api/calls.ts";
import type { Language, NewGrant } from "../../api/model.ts";
import { Button, ChoiceField, Dialog, TextField } from "../../ui/controls.tsx";
import { fieldError, Refused } from "../../ui/states.tsx";
import { useGrant } from "./GrantForm.tsx";

export function AddPerson({ onClose, chosen }: { onClose: () => void; chosen: (id: string) => void }) {
  const { t } = useTranslation();
  const queries = useQueryClient();
  const [name, setName] = useState("");
  const [display, setDisplay] = useState("");
  const [language, setLanguage] = useState<Language>("pl");
  const first = useGrant(null);
  const add = useMutation({
    mutationFn: (grant: NewGrant) => api.addUser({ name: name.trim(), display_name: display.trim(), language, grant }),
    onSuccess: async ({ user }) => {
      await queries.invalidateQueries({ queryKey: ["users"] });
      chosen(user.id);
    },
  });
  if (add.isSuccess) return <OneTime name={add.data.user.name} password={add.data.password} onClose={onClose} />;
  return (
    <Dialog title={t("people.add")} onClose={onClose}>
      <form
        className="form"
        onSubmit={(event) => {
          event.preventDefault();
          const grant = first.grant();
          if (grant !== null) add.mutate(grant);
        }}
      >
        <TextField
          label={t("people.name")}
          description={t("entry.name_rule")}
          value={name}
          onChange={setName}
          error={fieldError(t, add.error, "name")}
          autoComplete="off"
          maxLength={64}
          required
          autoFocus
        />
        <TextField
          label={t("people.display_name")}
          value={display}
          onChange={setDisplay}
          autoComplete="off"
          maxLength={120}
        />
        <ChoiceField
          label={t("people.language")}
          value={language}
          choices={[
            { value: "pl", label: "Polski" },
            { value: "en", label: "English" },
          ]}
          onChange={setLanguage}
        />
        {first.fields}
        <Refused by={add} />
        <div className="acts">
          <Button kind="primary" type="submit" disabled={add.isPending || name.trim() === "" || !first.ready}>
            {t("people.add")}
          </Button>
          <Button onClick={onClose}>{t("act.cancel")}</Button>
        </div>
      </form>
    </Dialog>
  );
}

export function OneTime({ name, password, onClose }: { name: string; password: string; onClose: () => void }) {
  const { t } = useTranslation();
  return (
    <Dialog title={t("people.one_time_title", { name })} onClose={onClose}>
      <p className="secret">{password}</p>
      <p className="dim">{t("people.one_time_why")}</p>
      <div className="acts" style={{ marginTop: 16 }}>
        <Button kind="primary" onClick={onClose}>
          {t("people.one_time_done")}
        </Button>
      </div>
    </Dialog>
  );
}
