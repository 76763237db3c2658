/** Screen 19: who may do what: people, their roles over cameras, and what one of them really sees. */

import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import * as api from "../../api/calls.ts";
import type { Act, Grant, Sees, User } from "../../api/model.ts";
import { useCameraMap } from "../../app/cameras.ts";
import { useDesk, useMay } from "../../app/context.tsx";
import { parseUtc } from "../../time/site.ts";
import { Button, Dialog, TextField } from "../../ui/controls.tsx";
import { Empty, Failed, Loading, NoRight, Refused } from "../../ui/states.tsx";
import { type Column, Listed, Table } from "../../ui/Table.tsx";
import { cameraNumber } from "../../ui/words.ts";
import { fold } from "../../wall/search.ts";
import { AddPerson, OneTime } from "./AddPerson.tsx";
import { AddGrant } from "./GrantForm.tsx";

export function People() {
  const { t } = useTranslation();
  const { world } = useDesk();
  const may = useMay("manage_users");
  const query = useQuery({ queryKey: ["users"], queryFn: api.users, enabled: may });
  const [chosen, setChosen] = useState<string | null>(null);
  const [adding, setAdding] = useState(false);
  const [matrix, setMatrix] = useState(false);
  const [text, setText] = useState("");
  if (!may) return <NoRight />;
  const found = (query.data ?? []).filter((user) => fold(`${user.name} ${user.display_name}`).includes(fold(text)));
  const user = query.data?.find((candidate) => candidate.id === chosen);
  const columns: Column<User>[] = [
    {
      head: t("people.name"),
      render: (one) => (
        <button
          type="button"
          className="rowlink"
          aria-expanded={one.id === chosen}
          onClick={() => setChosen(one.id === chosen ? null : one.id)}
        >
          {one.name}
        </button>
      ),
    },
    { head: t("people.display_name"), render: (one) => one.display_name },
    {
      head: t("people.roles"),
      render: (one) =>
        one.roles.map((role) => t(`role.${role}`)).join(", ") || <span className="dim">{t("people.no_role")}</span>,
    },
    {
      head: t("people.last"),
      look: "tight",
      render: (one) => world.zone.stampOf(one.last_sign_in_at, t("people.never")),
    },
    {
      head: t("people.state"),
      render: (one) =>
        one.disabled ? (
          <span className="warn">{t("people.disabled")}</span>
        ) : (
          t(one.must_change_password ? "people.one_time" : "people.active")
        ),
    },
  ];
  return (
    <div className={user ? "cols" : "page"}>
      <div className="page">
        <div className="page__head">
          <h1>{t("people.title")}</h1>
          <div className="acts">
            <Button kind="primary" onClick={() => setAdding(true)}>
              {t("people.add")}
            </Button>
            <Button onClick={() => setMatrix(true)}>{t("people.roles")}</Button>
          </div>
        </div>
        <div className="tools">
          <TextField label={t("people.find")} value={text} onChange={setText} autoComplete="off" />
        </div>
        <div className="page__body">
          <Listed query={query} items={found} empty={<Empty what={t("people.none")} />}>
            <Table
              columns={columns}
              items={found}
              keyOf={(one) => one.id}
              caption={t("people.count", { count: found.length })}
              chosen={(one) => one.id === chosen}
            />
          </Listed>
        </div>
      </div>
      {user && <Person key={user.id} user={user} close={() => setChosen(null)} />}
      {adding && <AddPerson onClose={() => setAdding(false)} chosen={setChosen} />}
      {matrix && <RoleMatrix onClose={() => setMatrix(false)} />}
    </div>
  );
}

function Person({ user, close }: { user: User; close: () => void }) {
  const { t } = useTranslation();
  const { session } = useDesk();
  const queries = useQueryClient();
  const [secret, setSecret] = useState<string | null>(null);
  const [granting, setGranting] = useState(false);
  const [removing, setRemoving] = useState(false);
  const again = () => queries.invalidateQueries({ queryKey: ["users"] });
  const change = useMutation({
    mutationFn: (disabled: boolean) => api.changeUser(user, { disabled }),
    onSuccess: again,
  });
  const password = useMutation({
    mutationFn: () => api.newPassword(user.id),
    onSuccess: ({ password }) => {
      setSecret(password);
      void again();
    },
  });
  const failed = change.error ?? password.error;
  const self = user.id === session.user.id;
  return (
    <section className="page" aria-label={user.name}>
      <div className="page__head">
        <h2 style={{ marginRight: "auto", fontSize: 15, color: "var(--strong)" }}>{user.display_name || user.name}</h2>
        <Button kind="quiet" onClick={close}>
          {t("act.close")}
        </Button>
      </div>
      <div className="page__body" style={{ display: "grid", gap: 20 }}>
        <div className="acts">
          <Button onClick={() => password.mutate()} disabled={self || password.isPending}>
            {t("people.new_password")}
          </Button>
          <Button onClick={() => change.mutate(!user.disabled)} disabled={self || change.isPending}>
            {t(user.disabled ? "people.enable" : "people.disable")}
          </Button>
          <Button kind="danger" onClick={() => setRemoving(true)} disabled={self}>
            {t("people.remove")}
          </Button>
        </div>
        {self && <p className="dim">{t("people.self")}</p>}
        <Refused by={{ isError: failed !== null, error: failed }} />
        <Grants user={user} grant={() => setGranting(true)} />
        <WhatSees user={user} />
      </div>
      {granting && <AddGrant user={user} onClose={() => setGranting(false)} />}
      {secret && <OneTime name={user.name} password={secret} onClose={() => setSecret(null)} />}
      {removing && <RemovePerson user={user} onClose={() => setRemoving(false)} removed={close} />}
    </section>
  );
}

function RemovePerson({ user, onClose, removed }: { user: User; onClose: () => void; removed: () => void }) {
  const { t } = useTranslation();
  const queries = useQueryClient();
  const remove = useMutation({
    mutationFn: () => api.removeUser(user.id),
    onSuccess: () => {
      removed();
      return queries.invalidateQueries({ queryKey: ["users"] });
    },
  });
  return (
    <Dialog title={t("people.remove_title", { name: user.name })} onClose={onClose}>
      <p>{t("people.remove_why")}</p>
      <Refused by={remove} />
      <div className="acts" style={{ marginTop: 16 }}>
        <Button kind="danger" onClick={() => remove.mutate()} disabled={remove.isPending}>
          {t("people.remove")}
        </Button>
        <Button onClick={onClose}>{t("act.cancel")}</Button>
      </div>
    </Dialog>
  );
}

function Grants({ user, grant }: { user: User; grant: () => void }) {
  const { t } = useTranslation();
  const { world } = useDesk();
  const queries = useQueryClient();
  const cameras = useCameraMap();
  const query = useQuery({ queryKey: ["grants", user.id], queryFn: () => api.grants(user.id) });
  const remove = useMutation({
    mutationFn: (id: string) => api.removeGrant(id),
    onSuccess: async () => {
      await queries.invalidateQueries({ queryKey: ["grants", user.id] });
      await queries.invalidateQueries({ queryKey: ["sees", user.id] });
      await queries.invalidateQueries({ queryKey: ["users"] });
    },
  });
  const where = (one: Grant) => {
    if (one.scope === "all") return t("grant.all");
    if (one.scope === "group") return t("grant.group_of", { group: one.group });
    const camera = one.camera_id ? cameras.get(one.camera_id) : undefined;
    return camera ? `${camera.number} ${camera.name}` : t("grant.camera");
  };
  const columns: Column<Grant>[] = [
    {
      head: t("grant.role"),
      bare: true,
      render: (one) => {
        const until = parseUtc(one.expires_at);
        return (
          <>
            <b>{t(`role.${one.role}`)}</b>
            <div>
              {where(one)}
              {one.back_hours !== null && `, ${t("grant.back", { count: one.back_hours })}`}
              {until !== null && `, ${t("grant.until", { time: world.zone.stamp(until) })}`}
            </div>
          </>
        );
      },
    },
    {
      head: t("grant.take"),
      bare: true,
      look: "end",
      render: (one) => (
        <Button onClick={() => remove.mutate(one.id)} disabled={remove.isPending}>
          {t("grant.take")}
        </Button>
      ),
    },
  ];
  return (
    <section>
      <h2>{t("people.grants")}</h2>
      <Listed query={query} items={query.data ?? []} empty={<p className="dim">{t("people.no_grants")}</p>}>
        <Table columns={columns} items={query.data ?? []} keyOf={(one) => one.id} />
      </Listed>
      <Refused by={remove} />
      <div className="acts" style={{ marginTop: 8 }}>
        <Button onClick={grant}>{t("grant.add")}</Button>
      </div>
    </section>
  );
}

function WhatSees({ user }: { user: User }) {
  const { t } = useTranslation();
  const query = useQuery({ queryKey: ["sees", user.id], queryFn: () => api.sees(user.id) });
  const columns: Column<Sees["cameras"][number]>[] = [
    {
      head: t("grant.camera"),
      bare: true,
      render: (camera) => (
        <>
          <b>{cameraNumber(camera.number)}</b> {camera.name}
        </>
      ),
    },
  ];
  const rightsOf = ({ acts, purpose_required }: Sees["cameras"][number]) =>
    acts
      .map((act) => t(`acts.${act}`) + (purpose_required.includes(act) ? ` (${t("people.with_purpose")})` : ""))
      .join(", ");
  const alike = new Map<string, Sees["cameras"]>();
  for (const camera of query.data?.cameras ?? []) {
    const rights = rightsOf(camera);
    alike.set(rights, [...(alike.get(rights) ?? []), camera]);
  }
  return (
    <section>
      <h2>{t("people.sees", { name: user.name })}</h2>
      {query.isPending ? (
        <Loading />
      ) : query.isLoadingError ? (
        <Failed error={query.error} retry={() => void query.refetch()} />
      ) : (
        <>
          <p style={{ margin: "4px 0 8px" }}>
            {query.data.site_acts.length > 0
              ? query.data.site_acts.map((act) => t(`acts.${act}`)).join(", ")
              : t("people.no_site_acts")}
          </p>
          {query.data.cameras.length === 0 ? (
            <p className="dim">{t("people.sees_nothing")}</p>
          ) : (
            [...alike].map(([rights, cameras]) => (
              <Table
                key={rights}
                columns={columns}
                items={cameras}
                keyOf={(camera) => camera.id}
                caption={`${t("people.sees_count", { count: cameras.length })}: ${rights}`}
              />
            ))
          )}
        </>
      )}
    </section>
  );
}

function RoleMatrix({ onClose }: { onClose: () => void }) {
  const { t } = useTranslation();
  const query = useQuery({ queryKey: ["roles"], queryFn: api.roles });
  return (
    <Dialog title={t("people.roles_title")} size="90%" onClose={onClose}>
      {query.isPending ? (
        <Loading />
      ) : query.isLoadingError ? (
        <Failed error={query.error} retry={() => void query.refetch()} />
      ) : (
        <div style={{ overflowX: "auto" }}>
          <table className="list">
            <caption>{t("people.roles_why")}</caption>
            <thead>
              <tr>
                <th scope="col">{t("grant.role")}</th>
                {acts(query.data).map((act) => (
                  <th key={act} scope="col" style={{ whiteSpace: "normal", height: "auto" }}>
                    {t(`acts.${act}`)}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {query.data.map((one) => (
                <tr key={one.role}>
                  <th scope="row">{t(`role.${one.role}`)}</th>
                  {acts(query.data).map((act) => (
                    <td key={act}>
                      {one.acts.includes(act) ? (
                        t(one.purpose_required.includes(act) ? "people.with_purpose" : "yes")
                      ) : (
                        <span className="dim">–</span>
                      )}
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Dialog>
  );
}

function acts(roles: readonly { acts: readonly Act[] }[]): Act[] {
  return [...new Set(roles.flatMap((role) => role.acts))].sort();
}
