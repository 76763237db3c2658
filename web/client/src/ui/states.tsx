/** What a list shows when it has nothing to show, and why. */

import { useTranslation } from "react-i18next";
import type { Said } from "../api/model.ts";
import { codeOf, isPassing, Problem } from "../api/problems.ts";
import { tenths } from "../time/site.ts";

export function Loading() {
  const { t } = useTranslation();
  return (
    <p className="state" role="status">
      {t("state.loading")}
    </p>
  );
}

export function Empty({ what, hint }: { what: string; hint?: string | undefined }) {
  return (
    <div className="state">
      <b>{what}</b>
      {hint}
    </div>
  );
}

export function NoRight() {
  const { t } = useTranslation();
  return (
    <div className="state" role="alert">
      <b>{t("state.no_right")}</b>
      {t("state.no_right_hint")}
    </div>
  );
}

/** Why an act was refused, beside what asked for it; nothing while it was not. A long form is scrolled to it. */
export function Refused({
  by,
  className = "",
}: {
  by: { readonly isError: boolean; readonly error: unknown };
  className?: string;
}) {
  const { t } = useTranslation();
  return by.isError ? (
    <p className={`note note--loud ${className}`} role="alert" ref={intoView}>
      {problemText(t, by.error)}
    </p>
  ) : null;
}

function intoView(element: HTMLElement | null): void {
  element?.scrollIntoView({ block: "nearest" });
}

export function Failed({ error, retry }: { error: unknown; retry?: (() => void) | undefined }) {
  const { t } = useTranslation();
  if (error instanceof Problem && error.code === "forbidden") return <NoRight />;
  return (
    <div className="state" role="alert">
      <b>{problemText(t, error)}</b>
      {t(isPassing(error) ? "state.passing_hint" : "state.failed_hint")}
      {retry && (
        <div>
          <button type="button" className="b" onClick={retry}>
            {t("act.retry")}
          </button>
        </div>
      )}
    </div>
  );
}

/** A problem in the reader's language; the server's own words only where the fault lies in what was typed. */
export function problemText(
  t: (key: string | string[], facts?: Record<string, unknown>) => string,
  error: unknown,
): string {
  const code = codeOf(error);
  const problem = error instanceof Problem ? error : null;
  // Where a code has words of its own for a field, such as a wrong set-up code, they are said.
  const text = t([`problem.${code}_${problem?.field}`, `problem.${code}`, "problem.internal"], {
    seconds: Math.ceil(problem?.retryAfterS ?? 5),
  });
  const said = problem?.said ?? problem?.errors[0]?.said;
  const detail = problem && ["invalid", "conflict"].includes(code) ? (said ? saidText(t, said) : problem.detail) : "";
  return detail ? `${text} ${detail}` : text;
}

/** A sentence of the server in the reader's language; its own English where this page is older than the code. */
export function saidText(t: (key: string, facts?: Record<string, unknown>) => string, said: Said): string {
  const facts: Record<string, unknown> = {};
  for (const [name, fact] of Object.entries(said.facts)) {
    const key = `said_${name}.${String(fact).replaceAll(" ", "_")}`;
    if (["field", "stream", "media"].includes(name)) facts[name] = t(key, { defaultValue: fact });
    else facts[name] = typeof fact === "number" && !Number.isInteger(fact) ? tenths(fact) : fact;
  }
  return t(`said.${said.code}`, { ...facts, defaultValue: said.text });
}

/** The complaint about one field, for the text under it. */
export function fieldError(
  t: (key: string, facts?: Record<string, unknown>) => string,
  error: unknown,
  field: string,
): string | null {
  if (!(error instanceof Problem)) return null;
  const found = error.errors.find((entry) => entry.field === field || entry.field.endsWith(`.${field}`));
  if (found) return found.said ? saidText(t, found.said) : found.detail;
  return error.field === field ? error.detail : null;
}
