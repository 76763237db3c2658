/** Screens 14 and 15: one camera, new or known: fields, test, saving, taking away. Passwords go in and never come out. */

import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import * as api from "../../api/calls.ts";
import type { Camera, CameraFields } from "../../api/model.ts";
import { useMay } from "../../app/context.tsx";
import { plain } from "../../i18n/numbers.ts";
import { Button, CheckField, ChoiceField, Dialog, PasswordField, TextField } from "../../ui/controls.tsx";
import { Failed, fieldError, Loading, NoRight, Refused, saidText } from "../../ui/states.tsx";
import { cameraNumber } from "../../ui/words.ts";
import { BrowserVerdict, streamText } from "./Cameras.tsx";
import { TestReport } from "./TestReport.tsx";

type Written = Awaited<ReturnType<typeof api.addCamera>>;

/** Where what was said of a new camera waits for the camera's own page. */
const WRITTEN = "camera written";

export function CameraEdit({ id }: { id: string | null }) {
  const may = useMay("manage_cameras");
  const queries = useQueryClient();
  // Above the form, which begins anew with what was saved.
  const [written, setWritten] = useState<Written | null>(() => queries.getQueryData([WRITTEN, id]) ?? null);
  useEffect(() => queries.removeQueries({ queryKey: [WRITTEN] }), [queries]);
  const query = useQuery({
    queryKey: ["camera", id],
    queryFn: () => api.camera(id ?? ""),
    enabled: may && id !== null,
    staleTime: 0,
    refetchOnWindowFocus: false,
  });
  if (!may) return <NoRight />;
  const outcome = { written, setWritten };
  if (id === null) return <CameraForm camera={null} etag={null} {...outcome} />;
  if (query.isPending) return <Loading />;
  if (query.isLoadingError) return <Failed error={query.error} retry={() => void query.refetch()} />;
  return <CameraForm key={query.data.etag} camera={query.data.camera} etag={query.data.etag} {...outcome} />;
}

type Typed = Record<
  | "number"
  | "name"
  | "street"
  | "group"
  | "lat"
  | "lon"
  | "azimuth_deg"
  | "angle_deg"
  | "main_url"
  | "sub_url"
  | "username"
  | "password"
  | "certificate_pin",
  string
>;

function typedOf(camera: Camera | null): Typed {
  const text = (value: number | null | undefined) => (value == null ? "" : plain(value));
  return {
    number: text(camera?.number),
    name: camera?.name ?? "",
    street: camera?.street ?? "",
    group: camera?.group ?? "",
    lat: text(camera?.lat),
    lon: text(camera?.lon),
    azimuth_deg: text(camera?.azimuth_deg),
    angle_deg: text(camera?.angle_deg),
    main_url: camera?.admin?.main_url ?? "",
    sub_url: camera?.admin?.sub_url ?? "",
    username: camera?.admin?.username ?? "",
    password: "",
    certificate_pin: camera?.admin?.certificate_pin ?? "",
  };
}

function CameraForm({
  camera,
  etag,
  written,
  setWritten,
}: {
  camera: Camera | null;
  etag: string | null;
  /** What came of the last saving; null: nothing was saved, or saving is under way. */
  written: Written | null;
  setWritten: (written: Written | null) => void;
}) {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const queries = useQueryClient();
  const profiles = useQuery({ queryKey: ["profiles"], queryFn: api.profiles });
  const before = typedOf(camera);
  const [typed, setTyped] = useState<Typed>(before);
  const [enabled, setEnabled] = useState(camera?.enabled ?? true);
  const [transport, setTransport] = useState<"tcp" | "udp">(camera?.admin?.transport ?? "tcp");
  const [profile, setProfile] = useState(camera?.admin?.profile_id ?? "");
  const main = camera?.streams.find((stream) => stream.kind === "main");
  const [record, setRecord] = useState(main?.record ?? true);
  const [retiring, setRetiring] = useState(false);
  const encrypted =
    [typed.main_url, typed.sub_url].some((url) => url.trim().startsWith("rtsps:")) || typed.certificate_pin;
  const set = (field: keyof Typed) => (value: string) => setTyped((now) => ({ ...now, [field]: value }));

  const fields = (): CameraFields => {
    const changed: Record<string, unknown> = {};
    for (const field of Object.keys(typed) as (keyof Typed)[]) {
      if (typed[field] === before[field]) continue;
      const numeric = ["number", "lat", "lon", "azimuth_deg", "angle_deg"].includes(field);
      changed[field] = numeric ? numberOf(typed[field]) : typed[field];
    }
    if (enabled !== (camera?.enabled ?? true)) changed.enabled = enabled;
    if (transport !== (camera?.admin?.transport ?? "tcp")) changed.transport = transport;
    if (profile !== (camera?.admin?.profile_id ?? "")) changed.profile_id = profile;
    if (record !== (main?.record ?? true)) changed.record = record;
    return changed as CameraFields;
  };
  const test = useMutation({
    mutationFn: () =>
      api.testCamera({
        ...(camera && { camera_id: camera.id }),
        main_url: typed.main_url,
        ...(typed.sub_url && { sub_url: typed.sub_url }),
        username: typed.username,
        ...(typed.password && { password: typed.password }),
        transport,
        certificate_pin: typed.certificate_pin,
      }),
  });
  const save = useMutation({
    mutationFn: () =>
      camera
        ? api.changeCamera(camera.id, fields(), etag)
        : api.addCamera({ ...fields(), name: typed.name, main_url: typed.main_url }),
    onMutate: () => setWritten(null),
    onSuccess: async (now) => {
      await queries.invalidateQueries({ queryKey: ["cameras"] });
      if (camera) {
        await queries.invalidateQueries({ queryKey: ["camera", camera.id] });
        setWritten(now);
      } else {
        queries.setQueryData([WRITTEN, now.camera.id], now);
        await navigate({ to: "/cameras/$id", params: { id: now.camera.id } });
      }
    },
  });
  const field = (
    name: keyof Typed,
    more: { numeric?: boolean; required?: boolean; hint?: string; quarter?: boolean } = {},
  ) => (
    <TextField
      label={t(`camera.${name}`)}
      value={typed[name]}
      onChange={set(name)}
      required={more.required ?? false}
      description={more.hint}
      className={more.quarter ? "quarter" : ""}
      inputMode={more.numeric ? "decimal" : "text"}
      error={fieldError(t, save.error, name) ?? fieldError(t, test.error, name)}
      autoComplete="off"
    />
  );
  return (
    <div className="page">
      <div className="page__head">
        <Link to="/cameras" activeOptions={{ exact: true }} className="b b--quiet">
          ‹ {t("cameras.title")}
        </Link>
        <h1>{camera ? `${cameraNumber(camera.number)} ${camera.name}` : t("camera.new")}</h1>
      </div>
      <div className="page__body" style={{ display: "flex", gap: 32, flexWrap: "wrap", alignItems: "flex-start" }}>
        <form
          className="form form--two"
          style={{ flex: "1 1 560px" }}
          onSubmit={(event) => {
            event.preventDefault();
            save.mutate();
          }}
        >
          {field("name", { required: true })}
          {field("number", { numeric: true, hint: t("camera.number_hint") })}
          {field("street")}
          {field("group", { hint: t("camera.group_hint") })}
          <div className="wide">{field("main_url", { required: true, hint: t("camera.main_url_hint") })}</div>
          <div className="wide">{field("sub_url", { hint: t("camera.sub_url_hint") })}</div>
          {field("username")}
          <PasswordField
            label={t("camera.password")}
            value={typed.password}
            onChange={set("password")}
            autoComplete="new-password"
            placeholder={camera?.admin?.has_password ? t("camera.password_kept") : undefined}
            error={fieldError(t, save.error, "password")}
          />
          <ChoiceField
            label={t("camera.transport")}
            value={transport}
            choices={[
              { value: "tcp", label: "TCP" },
              { value: "udp", label: "UDP" },
            ]}
            onChange={setTransport}
          />
          <ChoiceField
            label={t("camera.profile")}
            value={profile}
            choices={[
              ...(profile === "" ? [{ value: "", label: t("camera.profile_default") }] : []),
              ...(profiles.data ?? []).map((entry) => ({
                value: entry.id,
                label: `${entry.name}, ${t("camera.days", { count: entry.days })}`,
              })),
            ]}
            onChange={setProfile}
          />
          {encrypted && (
            <div className="wide">{field("certificate_pin", { hint: t("camera.certificate_pin_hint") })}</div>
          )}
          {field("lat", { numeric: true, quarter: true })}
          {field("lon", { numeric: true, quarter: true })}
          {field("azimuth_deg", { numeric: true, quarter: true })}
          {field("angle_deg", { numeric: true, quarter: true })}
          <CheckField label={t("camera.enabled")} checked={enabled} onChange={setEnabled} />
          <CheckField label={t("camera.record")} checked={record} onChange={setRecord} />
          <Refused by={save} className="wide" />
          {written && (
            <p className={written.warnings.length > 0 ? "note note--warn wide" : "note wide"} role="status">
              {t("camera.saved")} {written.warnings.map((one) => saidText(t, one)).join("; ")}
            </p>
          )}
          <div className="acts wide">
            <Button
              kind="primary"
              type="submit"
              disabled={save.isPending || !typed.name.trim() || !typed.main_url.trim()}
            >
              {t(camera ? "act.save" : "camera.add")}
            </Button>
            <Button onClick={() => test.mutate()} disabled={test.isPending || !typed.main_url.trim()}>
              {t(test.isPending ? "test.running" : "test.run")}
            </Button>
            {camera && (
              <Button kind="danger" onClick={() => setRetiring(true)}>
                {t("camera.retire")}
              </Button>
            )}
          </div>
        </form>
        <aside style={{ flex: "1 1 340px", maxWidth: 560 }} aria-live="polite">
          {camera && (
            <dl className="facts" style={{ marginBottom: 16 }}>
              <dt>{t("cameras.main")}</dt>
              <dd>{streamText(camera, "main")}</dd>
              <dt>{t("cameras.sub")}</dt>
              <dd>{streamText(camera, "sub")}</dd>
              <dt>{t("cameras.browser")}</dt>
              <dd>
                <BrowserVerdict camera={camera} />
              </dd>
            </dl>
          )}
          {test.isPending && <p className="note">{t("test.running_why")}</p>}
          <Refused by={test} />
          {test.isSuccess && <TestReport streams={test.data.streams} />}
        </aside>
      </div>
      {retiring && camera && <Retire camera={camera} etag={etag} onClose={() => setRetiring(false)} />}
    </div>
  );
}

/** What is no number goes to the server as it is, which says so. */
function numberOf(text: string): number | string | null {
  const trimmed = text.trim().replace(",", ".");
  if (trimmed === "") return null;
  return Number.isFinite(Number(trimmed)) ? Number(trimmed) : text;
}

function Retire({ camera, etag, onClose }: { camera: Camera; etag: string | null; onClose: () => void }) {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const queries = useQueryClient();
  const retire = useMutation({
    mutationFn: () => api.retireCamera(camera.id, etag),
    onSuccess: async () => {
      await queries.invalidateQueries({ queryKey: ["cameras"] });
      await navigate({ to: "/cameras" });
    },
  });
  return (
    <Dialog title={t("camera.retire_title", { number: camera.number })} onClose={onClose}>
      <p>{t("camera.retire_why", { name: camera.name })}</p>
      <Refused by={retire} />
      <div className="acts" style={{ marginTop: 16 }}>
        <Button kind="danger" onClick={() => retire.mutate()} disabled={retire.isPending}>
          {t("camera.retire")}
        </Button>
        <Button onClick={onClose}>{t("act.cancel")}</Button>
      </div>
    </Dialog>
  );
}
