/** Asks for the password again when an act needs it; the act then goes on by itself. */

import { useMutation } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import * as api from "../../api/calls.ts";
import { Button, Dialog, PasswordField } from "../../ui/controls.tsx";
import { Refused } from "../../ui/states.tsx";

export function ConfirmPassword() {
  const { t } = useTranslation();
  const [waiting, setWaiting] = useState<((confirmed: boolean) => void) | null>(null);
  const [password, setPassword] = useState("");
  useEffect(() => {
    api.onConfirmation(() => new Promise<boolean>((resolve) => setWaiting(() => resolve)));
    return () => api.onConfirmation(() => Promise.resolve(false));
  }, []);
  const end = (confirmed: boolean) => {
    waiting?.(confirmed);
    setWaiting(null);
    setPassword("");
    confirm.reset();
  };
  const confirm = useMutation({ mutationFn: () => api.confirmPassword(password), onSuccess: () => end(true) });
  if (waiting === null) return null;
  return (
    <Dialog title={t("confirm.title")} onClose={() => end(false)}>
      <form
        className="form"
        onSubmit={(event) => {
          event.preventDefault();
          confirm.mutate();
        }}
      >
        <p className="dim">{t("confirm.why")}</p>
        <PasswordField
          label={t("entry.password")}
          value={password}
          onChange={setPassword}
          autoComplete="current-password"
          required
          autoFocus
        />
        <Refused by={confirm} />
        <div className="acts">
          <Button kind="primary" type="submit" disabled={confirm.isPending || password === ""}>
            {t("confirm.act")}
          </Button>
          <Button onClick={() => end(false)}>{t("act.cancel")}</Button>
        </div>
      </form>
    </Dialog>
  );
}
