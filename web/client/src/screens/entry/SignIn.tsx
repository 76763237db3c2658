/** Screen 1. Says that acts are recorded before anybody acts; a wrong password and an unknown name read the same. */

import { useMutation } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import * as api from "../../api/calls.ts";
import type { Session, Site } from "../../api/model.ts";
import { useStation } from "../../app/station.ts";
import { Button, PasswordField, TextField } from "../../ui/controls.tsx";
import { Refused } from "../../ui/states.tsx";
import { EntryFrame } from "./EntryFrame.tsx";

const IN_LINE_AFTER_MS = 3000;

export function SignIn({
  site,
  notice,
  entered,
}: {
  site: Site;
  notice: "signed_out" | null;
  entered: (session: Session) => void;
}) {
  const { t } = useTranslation();
  const greet = useStation((station) => station.greet);
  const [name, setName] = useState("");
  const [password, setPassword] = useState("");
  const entry = useMutation({
    mutationFn: () => api.signIn(name.trim(), password),
    onSuccess: (session) => {
      greet(session.user.language);
      entered(session);
    },
    onError: () => setPassword(""),
  });
  const inLine = useLasting(entry.isPending, IN_LINE_AFTER_MS);
  return (
    <EntryFrame site={site} title={t("entry.sign_in")}>
      {notice !== null && !entry.isError && (
        <p className="note note--warn" role="status">
          {t("entry.signed_out")}
        </p>
      )}
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (!entry.isPending) entry.mutate();
        }}
      >
        <TextField
          label={t("entry.name")}
          value={name}
          onChange={setName}
          autoComplete="username"
          name="username"
          required
          autoFocus
        />
        <PasswordField
          label={t("entry.password")}
          value={password}
          onChange={setPassword}
          autoComplete="current-password"
          name="password"
          required
        />
        {inLine && (
          <p className="note" role="status">
            {t("entry.in_line")}
          </p>
        )}
        <Refused by={entry} />
        <Button kind="primary" type="submit" disabled={entry.isPending || name.trim() === "" || password === ""}>
          {t(entry.isPending ? "entry.signing_in" : "entry.sign_in_act")}
        </Button>
      </form>
      <p className="entry__notice">{t("entry.notice")}</p>
    </EntryFrame>
  );
}

/** Whether it has been so for a while. */
function useLasting(so: boolean, ms: number): boolean {
  const [lasts, setLasts] = useState(false);
  useEffect(() => {
    if (!so) return;
    const timer = setTimeout(() => setLasts(true), ms);
    return () => {
      clearTimeout(timer);
      setLasts(false);
    };
  }, [so, ms]);
  return lasts;
}
