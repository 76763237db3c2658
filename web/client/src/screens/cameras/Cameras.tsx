/** Screen 14: all cameras with their state and what browsers can show of them. */

import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import * as api from "../../api/calls.ts";
import type { Camera } from "../../api/model.ts";
import { useCameras, useCamerasNow } from "../../app/cameras.ts";
import { useMay } from "../../app/context.tsx";
import { CameraState } from "../../ui/CameraState.tsx";
import { ChoiceField, TextField } from "../../ui/controls.tsx";
import { Empty } from "../../ui/states.tsx";
import { type Column, Listed, Table } from "../../ui/Table.tsx";
import { cameraNumber } from "../../ui/words.ts";
import { byName, find } from "../../wall/search.ts";
import { codecName } from "./codecs.ts";

type Shown = "all" | "lost" | "off" | "advice";

export function Cameras() {
  const { t } = useTranslation();
  const manage = useMay("manage_cameras");
  const query = useCameras();
  const cameras = useCamerasNow();
  const [text, setText] = useState("");
  const [group, setGroup] = useState("");
  const [shown, setShown] = useState<Shown>("all");
  const groups = [...new Set(cameras.map((camera) => camera.group).filter(Boolean))].sort(byName);
  const inGroup = cameras.filter((camera) => (group === "" || camera.group === group) && fits(camera, shown));
  const found = text.trim() === "" ? inGroup : find(inGroup, text, 1000);
  const columns: Column<Camera>[] = [
    { head: t("cameras.number"), render: (camera) => <b>{cameraNumber(camera.number)}</b> },
    {
      head: t("cameras.name"),
      render: (camera) => (
        <>
          {manage ? (
            <Link to="/cameras/$id" params={{ id: camera.id }}>
              {camera.name}
            </Link>
          ) : (
            camera.name
          )}
          {camera.street && <span className="dim">, {camera.street}</span>}
        </>
      ),
    },
    { head: t("cameras.group"), render: (camera) => camera.group || <span className="dim">–</span> },
    { head: t("cameras.state"), render: (camera) => <CameraState camera={camera} long /> },
    { head: t("cameras.main"), render: (camera) => streamText(camera, "main"), look: "tight" },
    { head: t("cameras.sub"), render: (camera) => streamText(camera, "sub"), look: "tight" },
    { head: t("cameras.browser"), render: (camera) => <BrowserVerdict camera={camera} /> },
  ];
  return (
    <div className="page">
      <div className="page__head">
        <h1>{t("cameras.title")}</h1>
        {manage && (
          <div className="acts">
            <Link to="/cameras/new" className="b b--primary">
              {t("cameras.add")}
            </Link>
            <Link to="/cameras/import" className="b">
              {t("cameras.import")}
            </Link>
            <a className="b" href={api.EXPORT_CAMERAS} download>
              {t("cameras.export")}
            </a>
          </div>
        )}
      </div>
      <div className="tools">
        <TextField label={t("find.label")} value={text} onChange={setText} autoComplete="off" />
        <ChoiceField
          label={t("cameras.group")}
          value={group}
          choices={[
            { value: "", label: t("cameras.all_groups") },
            ...groups.map((name) => ({ value: name, label: name })),
          ]}
          onChange={setGroup}
        />
        <ChoiceField
          label={t("cameras.shown")}
          value={shown}
          choices={(["all", "lost", "off", "advice"] as const).map((value) => ({
            value,
            label: t(`cameras.shown_${value}`),
          }))}
          onChange={setShown}
        />
      </div>
      <div className="page__body">
        <Listed
          query={query}
          items={found}
          empty={
            cameras.length === 0 ? (
              <Empty what={t("cameras.none")} hint={t(manage ? "cameras.none_hint" : "cameras.none_for_you")} />
            ) : (
              <Empty what={t("cameras.none_found")} hint={t("cameras.none_found_hint")} />
            )
          }
        >
          <Table
            columns={columns}
            items={found}
            keyOf={(camera) => camera.id}
            caption={t("cameras.count", { count: found.length })}
          />
        </Listed>
      </div>
    </div>
  );
}

function fits(camera: Camera, shown: Shown): boolean {
  if (shown === "lost") return camera.state === "lost";
  if (shown === "off") return camera.state === "off";
  if (shown === "advice")
    return camera.streams.some((stream) => stream.browser === "h265" || stream.browser === "b_frames");
  return true;
}

export function streamText(camera: Camera, kind: "main" | "sub"): string {
  const stream = camera.streams.find((candidate) => candidate.kind === kind);
  if (!stream) return "–";
  const codec = codecName(stream.codec);
  if (!stream.width) return codec;
  return `${codec} ${stream.width}×${stream.height}${stream.fps ? ` ${Math.round(stream.fps)}/s` : ""}`;
}

/** What an operator will see of it: everything, the sub-stream only, or nothing. */
export function BrowserVerdict({ camera }: { camera: Camera }) {
  const { t } = useTranslation();
  const main = camera.streams.find((stream) => stream.kind === "main")?.browser;
  const sub = camera.streams.find((stream) => stream.kind === "sub")?.browser;
  const bad = (verdict: string | undefined) => verdict === "h265" || verdict === "b_frames";
  if (!bad(main)) {
    return (
      <span className={main === "plays" ? "" : "dim"}>{t(main === "plays" ? "browser.plays" : "browser.unknown")}</span>
    );
  }
  return (
    <span className={sub === "plays" ? "warn" : "loud"}>
      {t(`browser.${main}`)}; {t(sub === "plays" ? "browser.sub_helps" : "browser.add_sub")}
    </span>
  );
}
