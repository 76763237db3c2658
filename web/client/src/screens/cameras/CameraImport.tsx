/** Screen 15: many cameras from a table. First a run that changes nothing and judges every row, then the writing. */

import { useMutation, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import * as api from "../../api/calls.ts";
import type { ImportReport } from "../../api/model.ts";
import { Problem } from "../../api/problems.ts";
import { useMay } from "../../app/context.tsx";
import { Button, CheckField } from "../../ui/controls.tsx";
import { NoRight, Refused, saidText } from "../../ui/states.tsx";
import { type Column, Table } from "../../ui/Table.tsx";

export function CameraImport() {
  const { t } = useTranslation();
  const may = useMay("manage_cameras");
  const queries = useQueryClient();
  const picker = useRef<HTMLInputElement>(null);
  const [onlyBad, setOnlyBad] = useState(false);
  const judge = useMutation({
    mutationFn: async (chosen: File) => {
      const bytes = await bytesOf(chosen);
      return { bytes, report: await api.importCameras(bytes, true) };
    },
  });
  const write = useMutation({
    mutationFn: (bytes: Blob) => api.importCameras(bytes, false, true),
    onSuccess: () => queries.invalidateQueries({ queryKey: ["cameras"] }),
  });
  if (!may) return <NoRight />;
  const report: ImportReport | undefined = write.data ?? judge.data?.report;
  const { new: fresh = 0, changed = 0, unchanged = 0, error: bad = 0 } = report?.counts ?? {};
  const toWrite = fresh + changed;
  const file = judge.variables;
  const take = (picked: HTMLInputElement) => {
    const chosen = picked.files?.[0];
    picked.value = ""; // or choosing the same file again, mended meanwhile, would be no change
    if (!chosen) return;
    write.reset();
    judge.mutate(chosen);
  };
  const columns: Column<ImportReport["rows"][number]>[] = [
    { head: t("import.line"), render: (row) => row.line },
    { head: t("cameras.number"), render: (row) => row.number },
    { head: t("cameras.name"), render: (row) => row.name, look: "name" },
    {
      head: t("import.verdict"),
      look: "tight",
      render: (row) => (
        <span className={isBad(row.verdict) ? "loud" : ""}>
          <span aria-hidden="true">{isBad(row.verdict) ? "✕ " : ""}</span>
          {t(`verdict.${row.verdict}`, { defaultValue: row.verdict })}
        </span>
      ),
    },
    { head: t("import.column"), render: (row) => row.column },
    {
      head: t("import.detail"),
      render: (row) => (
        <>
          {row.said.map((one) => saidText(t, one)).join("; ")}
          {row.warnings.length > 0 && (
            <span className="warn"> {row.warnings.map((one) => saidText(t, one)).join("; ")}</span>
          )}
        </>
      ),
    },
  ];
  return (
    <div className="page">
      <div className="page__head">
        <Link to="/cameras" activeOptions={{ exact: true }} className="b b--quiet">
          ‹ {t("cameras.title")}
        </Link>
        <h1>{t("import.title")}</h1>
      </div>
      <div className="page__body">
        <p className="dim" style={{ maxWidth: 760 }}>
          {t("import.why")} {t("import.template_why")}
        </p>
        <div className="acts" style={{ margin: "12px 0" }}>
          <input
            ref={picker}
            type="file"
            accept=".csv,text/csv"
            className="sr"
            tabIndex={-1}
            aria-label={t("import.file")}
            onChange={(event) => take(event.target)}
          />
          <Button kind={report ? "plain" : "primary"} onClick={() => picker.current?.click()}>
            {t(file ? "import.other_file" : "import.choose")}
          </Button>
          <a className="b" href={api.TABLE_TEMPLATE} download>
            {t("import.template")}
          </a>
          {file && <span>{file.name}</span>}
          {judge.isSuccess && !write.isSuccess && toWrite > 0 && (
            <Button kind="primary" disabled={write.isPending} onClick={() => write.mutate(judge.data.bytes)}>
              {t("import.write", { count: toWrite })}
            </Button>
          )}
        </div>
        <div aria-live="polite">
          {judge.isPending && <p className="note">{t("import.judging")}</p>}
          <Refused by={judge} />
          <Refused by={write} />
          {write.isSuccess && (
            <p className="note">
              {write.data.written === null
                ? t("import.nothing_written")
                : t("import.written", { count: write.data.written })}
            </p>
          )}
          {report && !write.isSuccess && (
            <p className={bad > 0 ? "note note--warn" : "note"}>
              {t("import.judged", { count: report.rows.length })}{" "}
              {bad > 0 ? t("import.bad", { count: bad }) : t("import.all_good")}
              {unchanged > 0 && ` ${t("import.unchanged", { count: unchanged })}`}
              {toWrite === 0 && ` ${t("import.nothing_to_write")}`}
            </p>
          )}
        </div>
        {report && (
          <>
            <div style={{ margin: "12px 0 4px" }}>
              <CheckField label={t("import.only_bad")} checked={onlyBad} onChange={setOnlyBad} />
            </div>
            <Table
              columns={columns}
              items={report.rows.filter((row) => !onlyBad || isBad(row.verdict))}
              keyOf={(row) => row.line}
              caption={<span className="sr">{t("import.rows")}</span>}
            />
          </>
        )}
      </div>
    </div>
  );
}

/** What is in it now: a file that is changed meanwhile could not be sent again. */
async function bytesOf(file: File): Promise<Blob> {
  try {
    return new Blob([await file.arrayBuffer()]);
  } catch {
    throw new Problem(0, { code: "file_unread" });
  }
}

function isBad(verdict: string): boolean {
  return verdict === "error";
}
