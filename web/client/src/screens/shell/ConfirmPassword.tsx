/** Asks for the password again when an act needs it; what waited for it then goes on by itself. */

import { useMutation } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import * as api from "../../api/calls.ts";
import { Button, Dialog, PasswordField } from "../../ui/controls.tsx";
import { Refused } from "../../ui/states.tsx";

/** One question, however many acts wait for its answer. */
interface Asking {
  readonly answer: Promise<boolean>;
  readonly resolve: (confirmed: boolean) => void;
}

function ask(): Asking {
  let resolve: Asking["resolve"] = () => undefined;
  const answer = new Promise<boolean>((settle) => {
    resolve = settle;
  });
  return { answer, resolve };
}

export function ConfirmPassword() {
  const { t } = useTranslation();
  const asking = useRef<Asking | null>(null);
  const [open, setOpen] = useState(false);
  const [password, setPassword] = useState("");
  const answer = (confirmed: boolean) => {
    asking.current?.resolve(confirmed);
    asking.current = null;
  };
  useEffect(() => {
    api.onConfirmation(() => {
      asking.current ??= ask();
      setOpen(true);
      return asking.current.answer;
    });
    return () => {
      api.onConfirmation(() => Promise.resolve(false));
      answer(false);
    };
  }, []);
  const end = (confirmed: boolean) => {
    answer(confirmed);
    setOpen(false);
    setPassword("");
    confirm.reset();
  };
  const confirm = useMutation({ mutationFn: () => api.confirmPassword(password), onSuccess: () => end(true) });
  if (!open) return null;
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
