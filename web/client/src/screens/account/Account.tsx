/** One's own account and this desk: language, theme, password, open sessions, tokens. */

import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import * as api from "../../api/calls.ts";
import type { Act, OpenSession, Token } from "../../api/model.ts";
import { useDesk } from "../../app/context.tsx";
import { useStation } from "../../app/station.ts";
import { parseUtc } from "../../time/site.ts";
import { Button, CheckField, ChoiceField, Dialog, daysOf, TextField } from "../../ui/controls.tsx";
import { Empty, Refused } from "../../ui/states.tsx";
import { type Column, Listed, Table } from "../../ui/Table.tsx";
import { PasswordForm } from "../entry/NewPassword.tsx";

const MOST_TOKEN_DAYS = 366;

export function Account() {
  const { t } = useTranslation();
  const { session, signOut, world } = useDesk();
  const station = useStation();
  const [changing, setChanging] = useState(false);
  const [changed, setChanged] = useState(false);
  const leave = useMutation({ mutationFn: signOut });
  const notice = session.login_notice;
  const last = parseUtc(notice.last_at);
  return (
    <div className="page">
      <div className="page__head">
        <h1>{session.user.display_name || session.user.name}</h1>
        <div className="acts">
          <Button onClick={() => window.open("/window", "_blank", "popup,width=1280,height=720")}>
            {t("account.second_window")}
          </Button>
          <Button onClick={() => setChanging(true)}>{t("account.change_password")}</Button>
          <Button onClick={() => leave.mutate()} disabled={leave.isPending}>
            {t("account.sign_out")}
          </Button>
        </div>
      </div>
      <div className="page__body" style={{ display: "grid", gap: 24, maxWidth: 980 }}>
        <Refused by={leave} />
        {changed && (
          <p className="note" role="status">
            {t("account.password_changed")}
          </p>
        )}
        <dl className="facts">
          <dt>{t("people.name")}</dt>
          <dd>{session.user.name}</dd>
          <dt>{t("people.roles")}</dt>
          <dd>{session.roles.map((role) => t(`role.${role}`)).join(", ") || t("people.no_role")}</dd>
          <dt>{t("account.may")}</dt>
          <dd>{session.acts.map((act) => t(`acts.${act}`)).join(", ")}</dd>
          <dt>{t("account.last")}</dt>
          <dd>
            {last === null ? t("people.never") : `${world.zone.stamp(last)}, ${notice.last_ip ?? ""}`}
            {notice.failed_since > 0 && (
              <span className="warn"> {t("account.failed", { count: notice.failed_since })}</span>
            )}
          </dd>
        </dl>
        <section>
          <h2>{t("account.desk")}</h2>
          <div className="form form--two" style={{ marginTop: 8 }}>
            <ChoiceField
              label={t("people.language")}
              value={station.language}
              choices={[
                { value: "pl", label: "Polski" },
                { value: "en", label: "English" },
              ]}
              onChange={(language) => station.change({ language })}
            />
            <ChoiceField
              label={t("account.theme")}
              value={station.theme}
              choices={[
                { value: "noc", label: t("theme.noc") },
                { value: "dzien", label: t("theme.dzien") },
              ]}
              onChange={(theme) => station.change({ theme })}
            />
            <label className="dim">
              {t("account.dim")}
              <input
                type="range"
                min={40}
                max={100}
                step={5}
                value={station.dim}
                style={{ display: "block", width: "100%", accentColor: "var(--sel)" }}
                onChange={(event) => station.change({ dim: Number(event.target.value) })}
              />
            </label>
            <CheckField
              label={t("keys.single")}
              description={t("keys.single_why")}
              checked={station.singleKeys}
              onChange={(singleKeys) => station.change({ singleKeys })}
            />
          </div>
        </section>
        <OpenSessions />
        <Tokens />
      </div>
      {changing && (
        <Dialog title={t("account.change_password")} onClose={() => setChanging(false)}>
          <PasswordForm
            name={session.user.name}
            done={() => {
              setChanging(false);
              setChanged(true);
            }}
          />
        </Dialog>
      )}
    </div>
  );
}

function OpenSessions() {
  const { t } = useTranslation();
  const { world, session } = useDesk();
  const queries = useQueryClient();
  const query = useQuery({ queryKey: ["sessions"], queryFn: api.openSessions });
  const end = useMutation({
    mutationFn: api.endSession,
    onSuccess: () => queries.invalidateQueries({ queryKey: ["sessions"] }),
  });
  const columns: Column<OpenSession>[] = [
    {
      head: t("audit.who"),
      render: (one) => (
        <>
          {one.user}
          {one.id === session.id && <span className="dim"> {t("account.current")}</span>}
        </>
      ),
    },
    { head: t("account.from"), render: (one) => one.ip },
    { head: t("account.seen"), render: (one) => world.zone.stampOf(one.seen_at, "–"), look: "tight" },
    { head: t("account.pictures"), render: (one) => one.live },
    {
      head: t("account.end"),
      bare: true,
      look: "end",
      render: (one) =>
        one.id !== session.id && (
          <Button onClick={() => end.mutate(one.id)} disabled={end.isPending}>
            {t("account.end")}
          </Button>
        ),
    },
  ];
  return (
    <section>
      <h2>{t("account.sessions")}</h2>
      <Listed query={query} items={query.data ?? []} empty={null}>
        <Table columns={columns} items={query.data ?? []} keyOf={(one) => one.id} />
      </Listed>
      <Refused by={end} />
    </section>
  );
}

function Tokens() {
  const { t } = useTranslation();
  const { world, session } = useDesk();
  const queries = useQueryClient();
  const query = useQuery({ queryKey: ["tokens"], queryFn: api.tokens });
  const [adding, setAdding] = useState(false);
  const again = () => queries.invalidateQueries({ queryKey: ["tokens"] });
  const end = useMutation({ mutationFn: api.endToken, onSuccess: again });
  const columns: Column<Token>[] = [
    {
      head: t("token.name"),
      render: (token) => (
        <>
          {token.name}
          {token.user !== session.user.name && <span className="dim"> {token.user}</span>}
        </>
      ),
    },
    { head: t("account.may"), render: (token) => token.acts.map((act) => t(`acts.${act}`)).join(", ") },
    {
      head: t("token.until"),
      look: "tight",
      render: (token) => {
        const until = parseUtc(token.expires_at);
        return until === null ? "–" : world.zone.day(until);
      },
    },
    { head: t("token.used"), render: (token) => world.zone.stampOf(token.used_at, t("people.never")), look: "tight" },
    {
      head: t("token.end"),
      bare: true,
      look: "end",
      render: (token) =>
        token.revoked ? (
          t("token.ended")
        ) : (
          <Button onClick={() => end.mutate(token.id)} disabled={end.isPending}>
            {t("token.end")}
          </Button>
        ),
    },
  ];
  return (
    <section>
      <h2>{t("token.title")}</h2>
      <p className="dim">{t("token.why")}</p>
      <Listed query={query} items={query.data ?? []} empty={<Empty what={t("token.none")} />}>
        <Table columns={columns} items={query.data ?? []} keyOf={(token) => token.id} />
      </Listed>
      <Refused by={end} />
      <div className="acts" style={{ marginTop: 8 }}>
        <Button onClick={() => setAdding(true)}>{t("token.add")}</Button>
      </div>
      {adding && <AddToken onClose={() => setAdding(false)} added={() => void again()} />}
    </section>
  );
}

function AddToken({ onClose, added }: { onClose: () => void; added: () => void }) {
  const { t } = useTranslation();
  const { session } = useDesk();
  const [name, setName] = useState("");
  const [acts, setActs] = useState<readonly Act[]>([]);
  const [days, setDays] = useState("90");
  const valid = daysOf(days, MOST_TOKEN_DAYS);
  const add = useMutation({
    mutationFn: () => api.addToken({ name: name.trim(), acts: [...acts], days: valid ?? 0 }),
    onSuccess: added,
  });
  if (add.isSuccess) {
    return (
      <Dialog title={t("token.made", { name: add.data.token.name })} onClose={onClose}>
        <p className="secret">{add.data.secret}</p>
        <p className="dim">{t("token.once")}</p>
        <div className="acts" style={{ marginTop: 16 }}>
          <Button kind="primary" onClick={onClose}>
            {t("people.one_time_done")}
          </Button>
        </div>
      </Dialog>
    );
  }
  return (
    <Dialog title={t("token.add")} onClose={onClose}>
      <form
        className="form"
        onSubmit={(event) => {
          event.preventDefault();
          add.mutate();
        }}
      >
        <TextField
          label={t("token.name")}
          value={name}
          onChange={setName}
          required
          autoFocus
          maxLength={120}
          autoComplete="off"
        />
        <fieldset className="form" style={{ border: 0, margin: 0, padding: 0 }}>
          <legend className="dim">{t("account.may")}</legend>
          {session.acts.map((act) => (
            <CheckField
              key={act}
              label={t(`acts.${act}`)}
              checked={acts.includes(act)}
              onChange={(on) => setActs(on ? [...acts, act] : acts.filter((other) => other !== act))}
            />
          ))}
        </fieldset>
        <TextField
          label={t("token.days")}
          value={days}
          onChange={setDays}
          error={valid === null ? t("token.days_wrong", { most: MOST_TOKEN_DAYS }) : null}
          inputMode="numeric"
          autoComplete="off"
        />
        <Refused by={add} />
        <div className="acts">
          <Button
            kind="primary"
            type="submit"
            disabled={add.isPending || !name.trim() || acts.length === 0 || valid === null}
          >
            {t("token.add")}
          </Button>
          <Button onClick={onClose}>{t("act.cancel")}</Button>
        </div>
      </form>
    </Dialog>
  );
}
