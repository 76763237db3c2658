/** Screen 13: who did what. Reading needs a reason, and is itself an entry, which the page says before it reads. */

import { useInfiniteQuery, useMutation, useQueryClient } from "@tanstack/react-query";
import { Fragment, useState } from "react";
import { useTranslation } from "react-i18next";
import * as api from "../../api/calls.ts";
import type { AuditItem } from "../../api/model.ts";
import { useCameraMap } from "../../app/cameras.ts";
import { useDesk, useMay } from "../../app/context.tsx";
import { Button, ChoiceField, TextField } from "../../ui/controls.tsx";
import { Empty, NoRight, Refused } from "../../ui/states.tsx";
import { type Column, Listed, Table } from "../../ui/Table.tsx";
import { CHAIN, Chain } from "./Chain.tsx";
import { actChoices, actText, type Fact, factsOf, objectText } from "./entry.ts";

interface Asked {
  readonly reason: string;
  readonly user: string;
  readonly act: string;
  readonly camera: string;
}

export function Audit() {
  const { t, i18n } = useTranslation();
  const { world } = useDesk();
  const may = useMay("read_audit");
  const cameras = useCameraMap();
  const reader = { t, zone: world.zone, cameras };
  const [form, setForm] = useState<Asked>({ reason: "", user: "", act: "", camera: "" });
  const [asked, setAsked] = useState<Asked | null>(null);
  const query = useInfiniteQuery({
    queryKey: ["audit", asked],
    enabled: may && asked !== null,
    initialPageParam: "",
    queryFn: ({ pageParam }) => api.audit({ ...(asked as Asked), camera: asked?.camera || null, after: pageParam }),
    getNextPageParam: (page) => page.next,
    staleTime: Number.POSITIVE_INFINITY, // each reading is an entry: none happens by itself
    refetchOnWindowFocus: false,
    retry: false,
  });
  const queries = useQueryClient();
  const head = useMutation({
    mutationFn: api.checkpoint,
    onSuccess: () => queries.invalidateQueries({ queryKey: CHAIN }),
  });
  if (!may) return <NoRight />;
  const items = query.data?.pages.flatMap((page) => page.items) ?? [];
  const ready = form.reason.trim().length >= 3;
  const columns: Column<AuditItem>[] = [
    { head: t("audit.number"), render: (item) => item.number },
    { head: t("audit.at"), render: (item) => world.zone.stampOf(item.at, item.at), look: "tight" },
    {
      head: t("audit.who"),
      look: "tight",
      render: (item) => (
        <>
          {item.user || "–"} <span className="dim tight">{item.ip}</span>
        </>
      ),
    },
    { head: t("audit.what"), render: (item) => actText(t, item.act), look: "tight" },
    { head: t("audit.object"), render: (item) => objectText(t, item) },
    { head: t("audit.purpose"), render: (item) => item.purpose || <span className="dim">–</span> },
    { head: t("audit.detail"), render: (item) => <Facts facts={factsOf(reader, item)} /> },
  ];
  return (
    <div className="page">
      <div className="page__head">
        <h1>{t("audit.title")}</h1>
        <div className="acts">
          {items.length > 0 && <Button onClick={() => saveCsv(items)}>{t("audit.csv")}</Button>}
          <Button onClick={() => head.mutate()} disabled={head.isPending}>
            {t("audit.sign")}
          </Button>
        </div>
      </div>
      <form
        className="tools"
        onSubmit={(event) => {
          event.preventDefault();
          if (!ready) return;
          setAsked({ ...form, reason: form.reason.trim() });
          if (asked !== null && JSON.stringify(asked) === JSON.stringify({ ...form, reason: form.reason.trim() })) {
            void query.refetch();
          }
        }}
      >
        <TextField
          label={t("audit.reason")}
          value={form.reason}
          onChange={(reason) => setForm({ ...form, reason })}
          required
          maxLength={300}
          autoComplete="off"
        />
        <TextField
          label={t("audit.user")}
          value={form.user}
          onChange={(user) => setForm({ ...form, user })}
          autoComplete="off"
        />
        <ChoiceField
          label={t("audit.act")}
          value={form.act}
          choices={[{ value: "", label: t("audit.any_act") }, ...actChoices(t, i18n.language)]}
          onChange={(act) => setForm({ ...form, act })}
          searchable
        />
        {cameras.size > 0 && (
          <ChoiceField
            label={t("audit.camera")}
            value={form.camera}
            choices={[
              { value: "", label: t("audit.any_camera") },
              ...[...cameras.values()].map((camera) => ({
                value: camera.id,
                label: `${camera.number} ${camera.name}`,
              })),
            ]}
            onChange={(camera) => setForm({ ...form, camera })}
            searchable
          />
        )}
        <Button kind="primary" type="submit" disabled={!ready || query.isFetching}>
          {t("audit.read")}
        </Button>
      </form>
      <div className="page__body">
        <Chain />
        <Refused by={head} />
        {head.isSuccess && (
          <div className="note" role="status">
            <b>{t("audit.head", { count: head.data.size })}</b>
            <pre className="mono" style={{ whiteSpace: "pre-wrap", margin: 0 }}>
              {head.data.note}
            </pre>
          </div>
        )}
        {asked === null ? (
          <Empty what={t("audit.first")} hint={t("audit.first_hint")} />
        ) : (
          <Listed query={query} items={items} empty={<Empty what={t("audit.none")} />}>
            <Table
              columns={columns}
              items={items}
              keyOf={(item) => item.number}
              caption={t("audit.count", { count: items.length })}
              title={(item) => item.leaf}
            />
            {query.hasNextPage && (
              <p style={{ padding: "12px 0" }}>
                <Button onClick={() => void query.fetchNextPage()} disabled={query.isFetchingNextPage}>
                  {t("audit.more")}
                </Button>
              </p>
            )}
          </Listed>
        )}
      </div>
    </div>
  );
}

function Facts({ facts }: { facts: readonly Fact[] }) {
  return facts.map(({ label, text }, at) => (
    <Fragment key={label}>
      {at > 0 && <span className="dim"> · </span>}
      <span className="dim">{label}</span> {text}
    </Fragment>
  ));
}

/** As the log keeps it, for the table that programs read. */
function detail(item: AuditItem): string {
  return Object.entries(item.detail)
    .map(([name, value]) => `${name}=${typeof value === "object" ? JSON.stringify(value) : String(value)}`)
    .join(" ");
}

/** What is on the page, as a table for Excel; times in UTC, as the log keeps them. */
function saveCsv(items: readonly AuditItem[]): void {
  // A cell that begins like a formula is text: spreadsheets would run it.
  const cell = (value: unknown) => {
    const text = String(value ?? "");
    return `"${(/^[=+\-@\t\r]/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;
  };
  const rows = items.map((item) =>
    [item.number, item.at, item.user, item.ip, item.act, item.object, item.purpose, detail(item), item.leaf]
      .map(cell)
      .join(";"),
  );
  const text = `\uFEFFnumber;at;user;ip;act;object;purpose;detail;leaf\r\n${rows.join("\r\n")}\r\n`;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = "audit.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
