/** Our controls: thin wrappers, so that screens know no component kit. */

import { Checkbox, Modal, PasswordInput, Select, TextInput } from "@mantine/core";
import type { ButtonHTMLAttributes, ReactNode } from "react";
import { useTranslation } from "react-i18next";

type Kind = "plain" | "primary" | "quiet" | "danger";

export function Button({
  kind = "plain",
  type = "button",
  className = "",
  ...rest
}: ButtonHTMLAttributes<HTMLButtonElement> & { kind?: Kind }) {
  const look = kind === "plain" ? "b" : `b b--${kind}`;
  return <button {...rest} type={type === "submit" ? "submit" : "button"} className={`${look} ${className}`} />;
}

interface FieldProps {
  readonly label: string;
  readonly value: string;
  readonly onChange: (value: string) => void;
  readonly description?: string | undefined;
  readonly error?: string | null | undefined;
  readonly required?: boolean;
  readonly disabled?: boolean;
  readonly autoFocus?: boolean;
  readonly autoComplete?: string;
  readonly placeholder?: string | undefined;
  readonly inputMode?: "numeric" | "decimal" | "text";
  readonly className?: string;
  readonly maxLength?: number;
  readonly name?: string;
}

export function TextField({ onChange, autoFocus, ...rest }: FieldProps) {
  return (
    <TextInput
      {...rest}
      data-autofocus={autoFocus || undefined}
      autoFocus={autoFocus}
      onChange={(e) => onChange(e.currentTarget.value)}
    />
  );
}

export function PasswordField({ onChange, autoFocus, ...rest }: FieldProps) {
  const { t } = useTranslation();
  return (
    <PasswordInput
      {...rest}
      data-autofocus={autoFocus || undefined}
      autoFocus={autoFocus}
      visibilityToggleButtonProps={{ "aria-label": t("act.show_password"), tabIndex: 0 }}
      onChange={(e) => onChange(e.currentTarget.value)}
    />
  );
}

/** How many days were typed; null unless it is a whole number from 1 to `most`. */
export function daysOf(text: string, most: number): number | null {
  const days = Number(text);
  return text.trim() !== "" && Number.isInteger(days) && days >= 1 && days <= most ? days : null;
}

export interface Choice<T extends string> {
  readonly value: T;
  readonly label: string;
}

export function ChoiceField<T extends string>({
  label,
  value,
  choices,
  onChange,
  description,
  disabled,
  searchable,
  className,
  placeholder,
}: {
  label: string;
  /** Of a choice, or none of them: nothing is chosen yet. */
  value: T | "";
  choices: readonly Choice<T>[];
  onChange: (value: T) => void;
  description?: string;
  disabled?: boolean;
  searchable?: boolean;
  className?: string;
  placeholder?: string;
}) {
  return (
    <Select
      label={label}
      description={description}
      value={value}
      data={choices.map(({ value, label }) => ({ value, label }))}
      allowDeselect={false}
      disabled={disabled ?? false}
      searchable={searchable ?? false}
      placeholder={placeholder}
      className={className ?? ""}
      comboboxProps={{ transitionProps: { duration: 0 } }}
      onChange={(chosen) => chosen !== null && onChange(chosen as T)}
    />
  );
}

export function CheckField({
  label,
  checked,
  onChange,
  description,
}: {
  label: string;
  checked: boolean;
  onChange: (checked: boolean) => void;
  description?: string;
}) {
  return (
    <Checkbox
      size="xs"
      label={label}
      description={description}
      checked={checked}
      onChange={(e) => onChange(e.currentTarget.checked)}
    />
  );
}

export function Dialog({
  title,
  onClose,
  children,
  size = "md",
}: {
  title: string;
  onClose: () => void;
  children: ReactNode;
  size?: string;
}) {
  const { t } = useTranslation();
  return (
    <Modal opened onClose={onClose} title={title} size={size} closeButtonProps={{ "aria-label": t("act.close") }}>
      {children}
    </Modal>
  );
}
