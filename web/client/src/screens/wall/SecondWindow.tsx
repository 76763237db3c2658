/**
 * Screen 3: tiles only, large labels, the site's clock. Its spot tile follows the selection of the other windows. What the
 * wall has over it, layouts and the find box, comes when the mouse moves or the keys ask for it.
 */

import "./wall.css";
import "../shell/shell.css";
import { useCallback, useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { useCameras } from "../../app/cameras.ts";
import { useDesk, useNow } from "../../app/context.tsx";
import { Button } from "../../ui/controls.tsx";
import { Empty, Failed, Loading } from "../../ui/states.tsx";
import { showFound, useWall } from "../../wall/store.ts";
import { Banners } from "../shell/Banners.tsx";
import { Find } from "../shell/Find.tsx";
import { Help } from "../shell/Help.tsx";
import { useGlobalKeys } from "../shell/Shell.tsx";
import { StatedPurpose } from "./dialogs.tsx";
import { LayoutBar } from "./LayoutBar.tsx";
import { Sayings, useSayings } from "./Sayings.tsx";
import { useFirstWall, Wall } from "./WallScreen.tsx";

export function SecondWindow() {
  const { t } = useTranslation();
  const { world } = useDesk();
  const cameras = useCameras();
  const wall = useWall();
  const now = useNow(250);
  const { said, say } = useSayings();
  useTitle(`${wall.name || t("wall.grid", { grid: wall.grid })} · ${t("wall.second")} · Stróż`);
  const [help, setHelp] = useState(false);
  const closeHelp = useCallback(() => setHelp(false), []);
  const typed = useGlobalKeys(() => setHelp((open) => !open), "/window");
  useStayAwake();
  useFirstWall(cameras.data);
  if (cameras.isPending) return <Loading />;
  if (cameras.isLoadingError) return <Failed error={cameras.error} retry={() => void cameras.refetch()} />;
  const seen = cameras.data.filter((camera) => camera.acts.includes("view_live"));
  return (
    <main className="secondwindow">
      <h1 className="sr">{t("wall.second")}</h1>
      <Banners />
      {seen.length === 0 ? (
        <Empty what={t("wall.nothing")} hint={t("wall.nothing_hint")} />
      ) : (
        <Wall cameras={seen} say={say} bare />
      )}
      <p className="secondwindow__clock">{world.serverNowMs() === null ? "––:––:––" : world.zone.clock(now)}</p>
      <div className="secondwindow__bar">
        <Find choose={showFound} />
        <LayoutBar say={say} />
        <StatedPurpose />
        <Button onClick={() => wall.setSpot(wall.spot === null ? 0 : null)} aria-pressed={wall.spot !== null}>
          {t("wall.follow")}
        </Button>
        <Button onClick={() => void document.documentElement.requestFullscreen()}>{t("wall.fullscreen")}</Button>
      </div>
      <Sayings said={said} />
      {typed && (
        <output className="typed" aria-live="off">
          {typed}
        </output>
      )}
      {help && <Help live goes={false} onClose={closeHelp} />}
    </main>
  );
}

/** Of several windows of the wall, each is found by its own name. */
function useTitle(title: string): void {
  useEffect(() => {
    const before = document.title;
    document.title = title;
    return () => {
      document.title = before;
    };
  }, [title]);
}

/** The screen must not go dark by itself; where the browser refuses, the desk's own settings decide. */
function useStayAwake(): void {
  useEffect(() => {
    let lock: WakeLockSentinel | null = null;
    let left = false;
    const take = async () => {
      if (document.hidden || !("wakeLock" in navigator)) return;
      try {
        lock = await navigator.wakeLock.request("screen");
        if (left) void lock.release();
      } catch {
        lock = null;
      }
    };
    void take();
    document.addEventListener("visibilitychange", take);
    return () => {
      left = true;
      document.removeEventListener("visibilitychange", take);
      void lock?.release();
    };
  }, []);
}
