/** Screen 21: the first administrator, by the code that the server printed once. Nothing can be used before. */

import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import * as api from "../../api/calls.ts";
import type { Site } from "../../api/model.ts";
import { useStation } from "../../app/station.ts";
import { Button, TextField } from "../../ui/controls.tsx";
import { Refused } from "../../ui/states.tsx";
import { EntryFrame } from "./EntryFrame.tsx";
import { agrees, NewPasswordFields, NOT_TYPED } from "./NewPasswordFields.tsx";

export function FirstRun({ site, done }: { site: Site; done: () => Promise<void> }) {
  const { t } = useTranslation();
  const { language } = useStation();
  const [code, setCode] = useState("");
  const [name, setName] = useState("");
  const [password, setPassword] = useState(NOT_TYPED);
  const ready = code.trim() !== "" && name.trim() !== "" && agrees(password);
  const setUp = useMutation({
    mutationFn: () => api.setUp({ setup_code: code.trim(), name: name.trim(), password: password.once, language }),
    onSuccess: done,
  });
  return (
    <EntryFrame site={site} title={t("entry.first_run")}>
      <p className="dim">{t("entry.first_run_why")}</p>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (ready && !setUp.isPending) setUp.mutate();
        }}
      >
        <TextField
          label={t("entry.setup_code")}
          description={t("entry.setup_code_where")}
          value={code}
          onChange={setCode}
          autoComplete="off"
          required
          autoFocus
        />
        <TextField
          label={t("entry.administrator_name")}
          description={t("entry.name_rule")}
          value={name}
          onChange={setName}
          autoComplete="username"
          maxLength={64}
          required
        />
        <NewPasswordFields label={t("entry.password")} value={password} onChange={setPassword} />
        <Refused by={setUp} />
        <Button kind="primary" type="submit" disabled={setUp.isPending || !ready}>
          {t("entry.create_administrator")}
        </Button>
      </form>
      <p className="entry__notice">{t("entry.first_run_next")}</p>
    </EntryFrame>
  );
}
