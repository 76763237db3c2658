/** Giving a role: which, over which cameras, for how long. The same fields for a person new and known. */

import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type ReactNode, useState } from "react";
import { useTranslation } from "react-i18next";
import * as api from "../../api/calls.ts";
import type { Grant, NewGrant, Role, User } from "../../api/model.ts";
import { useCameraMap } from "../../app/cameras.ts";
import { useDesk } from "../../app/context.tsx";
import { Button, ChoiceField, Dialog, daysOf, TextField } from "../../ui/controls.tsx";
import { Refused } from "../../ui/states.tsx";
import { byName } from "../../wall/search.ts";

const ROLES: readonly Role[] = [
  "operator",
  "shift_lead",
  "evidence_officer",
  "data_protection_officer",
  "auditor",
  "technician",
  "vehicle_crew",
  "recipient",
  "administrator",
];

interface GrantFields {
  readonly fields: ReactNode;
  /** Whether all that a grant needs is chosen. */
  readonly ready: boolean;
  /** What is chosen; null while something is missing. */
  readonly grant: () => NewGrant | null;
}

const MOST_DAYS = 3650;
const DAY_MS = 86_400_000;

/** The fields of a grant. `initial` null: no role is chosen for whoever fills them in. */
export function useGrant(initial: Role | null): GrantFields {
  const { t } = useTranslation();
  const { world } = useDesk();
  const cameras = [...useCameraMap().values()];
  const groups = [...new Set(cameras.map((camera) => camera.group).filter(Boolean))].sort(byName);
  const [role, setRole] = useState<Role | "">(initial ?? "");
  const [scope, setScope] = useState<Grant["scope"]>("all");
  const [group, setGroup] = useState(groups[0] ?? "");
  const [camera, setCamera] = useState(cameras[0]?.id ?? "");
  const [days, setDays] = useState("");
  const length = daysOf(days, MOST_DAYS);
  const daysWrong = days.trim() !== "" && length === null;
  const placed = scope === "all" || (scope === "group" ? group : camera) !== "";
  const grant = (): NewGrant | null => {
    if (role === "" || !placed || daysWrong) return null;
    const until = length === null ? null : new Date(world.nowMs() + length * DAY_MS).toISOString();
    const body: NewGrant = { role, scope, expires_at: until };
    if (scope === "group") body.group = group;
    if (scope === "camera") body.camera_id = camera;
    return body;
  };
  const fields = (
    <>
      <ChoiceField
        label={t("grant.role")}
        value={role}
        choices={ROLES.map((value) => ({ value, label: t(`role.${value}`) }))}
        description={t(role === "" ? "grant.none_why" : `role_why.${role}`)}
        placeholder={t("grant.choose")}
        onChange={setRole}
      />
      <ChoiceField
        label={t("grant.scope")}
        value={scope}
        choices={(["all", "group", "camera"] as const).map((value) => ({ value, label: t(`grant.scope_${value}`) }))}
        onChange={setScope}
      />
      {scope === "group" && (
        <ChoiceField
          label={t("cameras.group")}
          value={group}
          choices={groups.map((name) => ({ value: name, label: name }))}
          onChange={setGroup}
        />
      )}
      {scope === "camera" && (
        <ChoiceField
          label={t("grant.camera")}
          value={camera}
          choices={cameras.map((one) => ({ value: one.id, label: `${one.number} ${one.name}` }))}
          onChange={setCamera}
          searchable
        />
      )}
      <TextField
        label={t("grant.days")}
        description={t("grant.days_why")}
        value={days}
        onChange={setDays}
        error={daysWrong ? t("grant.days_wrong") : null}
        inputMode="numeric"
        autoComplete="off"
      />
    </>
  );
  return { fields, ready: role !== "" && placed && !daysWrong, grant };
}

export function AddGrant({ user, onClose }: { user: User; onClose: () => void }) {
  const { t } = useTranslation();
  const queries = useQueryClient();
  const { fields, ready, grant } = useGrant("operator");
  const add = useMutation({
    mutationFn: (body: NewGrant) => api.addGrant(user.id, body),
    onSuccess: async () => {
      await queries.invalidateQueries({ queryKey: ["grants", user.id] });
      await queries.invalidateQueries({ queryKey: ["sees", user.id] });
      await queries.invalidateQueries({ queryKey: ["users"] });
      onClose();
    },
  });
  return (
    <Dialog title={t("grant.title", { name: user.name })} onClose={onClose}>
      <form
        className="form"
        onSubmit={(event) => {
          event.preventDefault();
          const body = grant();
          if (body !== null) add.mutate(body);
        }}
      >
        {fields}
        <Refused by={add} />
        <div className="acts">
          <Button kind="primary" type="submit" disabled={add.isPending || !ready}>
            {t("grant.give")}
          </Button>
          <Button onClick={onClose}>{t("act.cancel")}</Button>
        </div>
      </form>
    </Dialog>
  );
}
