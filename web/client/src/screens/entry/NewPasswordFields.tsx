/** A password to be, typed twice: what every form has that sets one. */

import { useTranslation } from "react-i18next";
import { PasswordField } from "../../ui/controls.tsx";

export interface Twice {
  readonly once: string;
  readonly again: string;
}

export const NOT_TYPED: Twice = { once: "", again: "" };

/** It was typed, and the same both times. */
export function agrees({ once, again }: Twice): boolean {
  return once !== "" && once === again;
}

export function NewPasswordFields({
  label,
  value,
  onChange,
}: {
  label: string;
  value: Twice;
  onChange: (value: Twice) => void;
}) {
  const { t } = useTranslation();
  return (
    <>
      <PasswordField
        label={label}
        description={t("entry.password_rule")}
        value={value.once}
        onChange={(once) => onChange({ ...value, once })}
        autoComplete="new-password"
        required
      />
      <PasswordField
        label={t("entry.again_password")}
        value={value.again}
        onChange={(again) => onChange({ ...value, again })}
        autoComplete="new-password"
        error={value.again !== "" && !agrees(value) ? t("entry.passwords_differ") : null}
        required
      />
    </>
  );
}
