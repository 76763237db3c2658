/** Divisions, stored layouts and the tour through them. Layouts live on the server, with a version and an author. */

import { Menu } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import * as api from "../../api/calls.ts";
import type { Layout } from "../../api/model.ts";
import { Problem } from "../../api/problems.ts";
import { useMay } from "../../app/context.tsx";
import { Button, CheckField, Dialog, TextField } from "../../ui/controls.tsx";
import { problemText } from "../../ui/states.tsx";
import { toStore, useWall } from "../../wall/store.ts";
import { Divisions } from "./Divisions.tsx";

const NAMED = 3;
const WALL_DWELL_S = 15;

export function LayoutBar({ say }: { say: (text: string) => void }) {
  const { t } = useTranslation();
  const may = useMay("manage_layouts");
  const wall = useWall();
  const layouts = useQuery({ queryKey: ["layouts"], queryFn: api.layouts, enabled: may });
  const list = layouts.data ?? [];
  const [saving, setSaving] = useState<"as" | "over" | null>(null);
  const [touring, setTouring] = useState(false);
  const leftS = useWallTour(list, touring);
  useEffect(() => {
    const onLayout = (event: Event) => {
      const wanted = list[(event as CustomEvent<number>).detail - 1];
      if (wanted) useWall.getState().open(wanted);
    };
    window.addEventListener("stroz:layout", onLayout);
    return () => window.removeEventListener("stroz:layout", onLayout);
  });
  const at = list.findIndex((layout) => layout.id === wall.id);
  return (
    <>
      <Divisions />
      <div className="seg">
        {list.slice(0, NAMED).map((layout, i) => (
          <Button
            key={layout.id}
            aria-pressed={wall.id === layout.id}
            title={`W ${i + 1}`}
            onClick={() => wall.open(layout)}
          >
            <span className="wallbar__name">{layout.name}</span>
          </Button>
        ))}
        {touring && list.length > 1 && (
          <Button aria-pressed="true" onClick={() => setTouring(false)}>
            {t("wall.touring", { at: at + 1, of: list.length, seconds: leftS })}
          </Button>
        )}
        <Menu position="bottom-start" transitionProps={{ duration: 0 }} shadow="none">
          <Menu.Target>
            <Button>
              {t("wall.layouts")}
              {wall.changed && wall.id !== null && (
                <span title={t("wall.changed")}>
                  <span aria-hidden="true">*</span>
                  <span className="sr">{t("wall.changed")}</span>
                </span>
              )}{" "}
              <span aria-hidden="true">▾</span>
            </Button>
          </Menu.Target>
          <Menu.Dropdown>
            {!may && <p className="menu__note">{t("wall.no_layout_right")}</p>}
            {layouts.isError && <p className="menu__note">{problemText(t, layouts.error)}</p>}
            {may && list.length === 0 && !layouts.isError && <p className="menu__note">{t("wall.no_layouts")}</p>}
            {list.map((layout, i) => (
              <Menu.Item key={layout.id} onClick={() => wall.open(layout)}>
                {i < 9 && <kbd>W {i + 1}</kbd>} {layout.name}{" "}
                <span className="dim">
                  {layout.shared ? t("wall.shared_by", { author: layout.author }) : t("wall.own")}
                </span>
              </Menu.Item>
            ))}
            {may && (
              <>
                <Menu.Divider />
                {wall.id !== null && wall.mine && (
                  <Menu.Item onClick={() => setSaving("over")} disabled={!wall.changed}>
                    {t("wall.save", { name: wall.name })}
                  </Menu.Item>
                )}
                <Menu.Item onClick={() => setSaving("as")}>{t("wall.save_as")}</Menu.Item>
                {list.length > 1 && (
                  <Menu.Item onClick={() => setTouring((on) => !on)}>
                    {t(touring ? "wall.stop_tour" : "wall.start_tour", { seconds: WALL_DWELL_S })}
                  </Menu.Item>
                )}
                {wall.id !== null && wall.mine && <RemoveLayout id={wall.id} name={wall.name} say={say} />}
              </>
            )}
          </Menu.Dropdown>
        </Menu>
      </div>
      {saving && <SaveLayout over={saving === "over"} say={say} onClose={() => setSaving(null)} />}
    </>
  );
}

/** Goes through the stored layouts; returns the seconds left of this one. A click on the wall halts it for a minute. */
function useWallTour(layouts: readonly Layout[], on: boolean): number {
  const [leftS, setLeftS] = useState(WALL_DWELL_S);
  const latest = useRef(layouts);
  latest.current = layouts;
  useEffect(() => {
    if (!on) return;
    let left = WALL_DWELL_S;
    setLeftS(left);
    const timer = setInterval(() => {
      const wall = useWall.getState();
      if (wall.toursPausedUntilMs > Date.now()) return;
      left -= 1;
      if (left <= 0) {
        left = WALL_DWELL_S;
        const at = latest.current.findIndex((layout) => layout.id === wall.id);
        const next = latest.current[(at + 1) % latest.current.length];
        if (next) wall.open(next);
      }
      setLeftS(left);
    }, 1000);
    return () => clearInterval(timer);
  }, [on]);
  return leftS;
}

function SaveLayout({ over, say, onClose }: { over: boolean; say: (text: string) => void; onClose: () => void }) {
  const { t } = useTranslation();
  const queries = useQueryClient();
  const wall = useWall();
  const [name, setName] = useState(wall.name);
  const [shared, setShared] = useState(wall.shared);
  const save = useMutation({
    mutationFn: () => {
      const body = { name: name.trim(), shared, grid: wall.grid, spot: wall.spot, tiles: toStore(wall) };
      return over && wall.id !== null ? api.changeLayout(wall.id, body, wall.version ?? 1) : api.addLayout(body);
    },
    onSuccess: (saved) => {
      useWall.getState().open(saved);
      void queries.invalidateQueries({ queryKey: ["layouts"] });
      say(t("wall.saved", { name: saved.name }));
      onClose();
    },
  });
  const stale = save.error instanceof Problem && save.error.code === "stale";
  return (
    <Dialog title={t(over ? "wall.save_title" : "wall.save_new_title")} onClose={onClose}>
      <form
        className="form"
        onSubmit={(event) => {
          event.preventDefault();
          save.mutate();
        }}
      >
        <TextField label={t("wall.name")} value={name} onChange={setName} required autoFocus maxLength={120} />
        <CheckField label={t("wall.share")} description={t("wall.share_why")} checked={shared} onChange={setShared} />
        {save.isError && (
          <p className="note note--loud" role="alert">
            {stale ? t("wall.stale") : problemText(t, save.error)}
          </p>
        )}
        <div className="acts">
          <Button kind="primary" type="submit" disabled={save.isPending || name.trim() === ""}>
            {t("act.save")}
          </Button>
          <Button onClick={onClose}>{t("act.cancel")}</Button>
        </div>
      </form>
    </Dialog>
  );
}

function RemoveLayout({ id, name, say }: { id: string; name: string; say: (text: string) => void }) {
  const { t } = useTranslation();
  const queries = useQueryClient();
  const [sure, setSure] = useState(false);
  const remove = useMutation({
    mutationFn: () => api.removeLayout(id),
    onSuccess: () => {
      useWall.setState({ id: null, version: null, changed: true });
      void queries.invalidateQueries({ queryKey: ["layouts"] });
      say(t("wall.removed", { name }));
    },
    // Its menu is closed by then.
    onError: (error) => say(t("wall.not_removed", { name, why: problemText(t, error) })),
  });
  return (
    <Menu.Item closeMenuOnClick={sure} onClick={() => (sure ? remove.mutate() : setSure(true))}>
      <span className="loud">{t(sure ? "wall.remove_sure" : "wall.remove", { name })}</span>
    </Menu.Item>
  );
}
