/** What a list shows when it has nothing to show, and why. */

import { useTranslation } from "react-i18next";
import type { Said } from "../api/model.ts";
import { codeOf, isPassing, Problem } from "../api/problems.ts";
import { tenths } from "../i18n/numbers.ts";

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
  return by.isError ? (
    <p className={`note note--loud ${className}`} role="alert" ref={intoView}>
      <Why error={by.error} />
    </p>
  ) : null;
}

/** What went wrong; beside it what the server could not put into the reader's language. */
function Why({ error }: { error: unknown }) {
  const { t } = useTranslation();
  const note = error instanceof Problem ? saidOf(error)?.note : "";
  return (
    <>
      {problemText(t, error)}
      {note && (
        <span className="mono dim" lang="en">
          {" "}
          {note}
        </span>
      )}
    </>
  );
}

function intoView(element: HTMLElement | null): void {
  element?.scrollIntoView({ block: "nearest" });
}

export function Failed({ error, retry }: { error: unknown; retry?: (() => void) | undefined }) {
  const { t } = useTranslation();
  if (error instanceof Problem && error.code === "forbidden") return <NoRight />;
  return (
    <div className="state" role="alert">
      <b>
        <Why error={error} />
      </b>
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

/** A problem in the reader's language. The server's own English is never in it. */
export function problemText(
  t: (key: string | string[], facts?: Record<string, unknown>) => string,
  error: unknown,
): string {
  const code = codeOf(error);
  const problem = error instanceof Problem ? error : null;
  // Where a code has words of its own for a field, such as a wrong set-up code, they are said; and others where more
  // follows.
  const known = [`problem.${code}_${problem?.field}`, `problem.${code}`, "problem.internal"];
  const text = t(problem?.said ? [`problem.${code}_said`, ...known] : known, {
    seconds: Math.ceil(problem?.retryAfterS ?? 5),
  });
  const said = problem && saidOf(problem);
  return said ? `${text} ${saidText(t, said)}` : text;
}

function saidOf(problem: Problem): Said | null {
  return problem.said ?? problem.errors[0]?.said ?? null;
}

/** Facts that are names of ours, and where their words are. */
const NAMES: Readonly<Record<string, string>> = {
  field: "said_field.",
  media: "said_media.",
  role: "role.",
  stream: "said_stream.",
  table: "said_table.",
};

/** A sentence of the server in the reader's language; its own English where this page is older than the code. */
export function saidText(t: (key: string, facts?: Record<string, unknown>) => string, said: Said): string {
  const facts: Record<string, unknown> = {};
  for (const [name, fact] of Object.entries(said.facts)) {
    if (name in NAMES) facts[name] = t(`${NAMES[name]}${String(fact).replaceAll(" ", "_")}`, { defaultValue: fact });
    else facts[name] = typeof fact === "number" && !Number.isInteger(fact) ? tenths(fact) : fact;
  }
  return t(`said.${said.code}`, { ...facts, defaultValue: said.text });
}

/** The complaint about one field, for the text under it. */
export function fieldError(
  t: (key: string | string[], facts?: Record<string, unknown>) => string,
  error: unknown,
  field: string,
): string | null {
  if (!(error instanceof Problem)) return null;
  const found = error.errors.find((entry) => entry.field === field || entry.field.endsWith(`.${field}`));
  if (found) return found.said ? saidText(t, found.said) : t("problem.invalid");
  if (error.field !== field) return null;
  return error.said ? saidText(t, error.said) : problemText(t, error);
}
