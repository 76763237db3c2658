/** The house around every screen: rail, bar with the find box and the site's clock, foot, banners, keys for everywhere. */

import "./shell.css";
import { Link, Outlet, useNavigate, useRouterState } from "@tanstack/react-router";
import { createContext, type ReactNode, Suspense, useCallback, useContext, useEffect, useRef, useState } from "react";
import { createPortal } from "react-dom";
import { useTranslation } from "react-i18next";
import type { Act, Camera } from "../../api/model.ts";
import { useCameras } from "../../app/cameras.ts";
import { useDecoding, useDesk, useNow, useSocketNews } from "../../app/context.tsx";
import { useStation } from "../../app/station.ts";
import { signedDuration } from "../../i18n/numbers.ts";
import { Icon, type IconName } from "../../ui/Icon.tsx";
import { Loading } from "../../ui/states.tsx";
import { isTyping, KeySequence } from "../../wall/keys.ts";
import { showFound, useWall } from "../../wall/store.ts";
import { Banners, STATION_CLOCK_OFF_MS } from "./Banners.tsx";
import { Recorded } from "./Recorded.tsx";
import { ConfirmPassword } from "./ConfirmPassword.tsx";
import { FIND_BOX, Find } from "./Find.tsx";
import { Help } from "./Help.tsx";

interface Place {
  readonly to: "/" | "/cameras" | "/health" | "/people" | "/audit" | "/account" | "/about";
  readonly icon: IconName;
  readonly word: string;
  readonly needs: readonly Act[];
}

const PLACES: readonly Place[] = [
  { to: "/", icon: "live", word: "live", needs: [] },
  { to: "/cameras", icon: "camera", word: "cameras", needs: [] },
  { to: "/health", icon: "health", word: "health", needs: ["read_health"] },
  { to: "/people", icon: "people", word: "people", needs: ["manage_users"] },
  { to: "/audit", icon: "audit", word: "audit", needs: ["read_audit"] },
  { to: "/account", icon: "account", word: "account", needs: [] },
  { to: "/about", icon: "about", word: "about", needs: [] },
];
const GO = { L: "/", K: "/cameras", H: "/health" } as const;

const BarSlot = createContext<HTMLElement | null>(null);

/** What a screen puts on the left of the bar. */
export function InBar({ children }: { children: ReactNode }) {
  const slot = useContext(BarSlot);
  return slot && createPortal(children, slot);
}

/** The browser's own name of this page: the screen first, for tabs are narrow. */
function useTitle(path: string): void {
  const { t } = useTranslation();
  const place = PLACES.find(({ to }) => (to === "/" ? path === to : path === to || path.startsWith(`${to}/`)));
  const title = `${t(place ? `nav.${place.word}` : "shell.no_such_page")} – Stróż`;
  useEffect(() => {
    document.title = title;
    return () => {
      document.title = "Stróż";
    };
  }, [title]);
}

export function Shell() {
  const { t } = useTranslation();
  const { session } = useDesk();
  const [slot, setSlot] = useState<HTMLElement | null>(null);
  const path = useRouterState({ select: (state) => state.location.pathname });
  useTitle(path);
  const [help, setHelp] = useState(false);
  const closeHelp = useCallback(() => setHelp(false), []);
  const typed = useGlobalKeys(() => setHelp((open) => !open));
  const navigate = useNavigate();
  const choose = (camera: Camera, toFree: boolean) => {
    showFound(camera, toFree);
    void navigate({ to: "/" });
  };
  return (
    <BarSlot value={slot}>
      <div className="shell">
        <nav className="shell__rail" aria-label={t("nav.label")}>
          <span className="shell__brand">
            <Icon name="eye" size={26} />
            <span className="sr">Stróż</span>
          </span>
          <ul>
            {PLACES.filter((place) => place.needs.every((act) => session.acts.includes(act))).map((place) => (
              <li key={place.to}>
                <Link to={place.to} activeOptions={{ exact: place.to === "/" }}>
                  <Icon name={place.icon} />
                  {t(`nav.${place.word}`)}
                </Link>
              </li>
            ))}
          </ul>
        </nav>
        <header className="shell__bar">
          <div className="shell__slot" ref={setSlot} />
          <Find choose={choose} />
          <SiteClock />
        </header>
        <div className="shell__main">
          <Banners />
          <main className="shell__screen" id="screen">
            <Suspense fallback={<Loading />}>
              <Outlet />
            </Suspense>
          </main>
        </div>
        <Foot help={() => setHelp(true)} />
        {typed && (
          <output className="typed" aria-live="off">
            {typed}
          </output>
        )}
        <ConfirmPassword />
        {help && <Help live={path === "/"} onClose={closeHelp} />}
      </div>
    </BarSlot>
  );
}

function SiteClock() {
  const { i18n, t } = useTranslation();
  const { world } = useDesk();
  const now = useNow(250);
  const known = world.serverNowMs() !== null;
  return (
    <div className="shell__clock">
      <b>{known ? world.zone.clock(now).slice(0, 8) : "––:––:––"}</b>
      <span>
        {known ? `${world.zone.longDay(now, i18n.language)}, ${world.zone.shortName(now)}` : t("shell.clock_unknown")}
      </span>
    </div>
  );
}

function Foot({ help }: { help: () => void }) {
  const { t } = useTranslation();
  const { world, session } = useDesk();
  const decoding = useDecoding();
  useSocketNews("onLink");
  useNow(2000);
  const way = world.socket.measured();
  const error = world.socket.stationErrorMs();
  return (
    <footer className="shell__foot">
      <Recorded />
      <span className={world.socket.blind ? "loud" : ""}>
        {t("foot.server")}{" "}
        <b>{world.socket.blind || way === null ? t("unknown") : `${Math.max(1, Math.round(way.roundTripMs))} ms`}</b>
      </span>
      <span className={error !== null && Math.abs(error) > STATION_CLOCK_OFF_MS ? "warn" : ""}>
        {t("foot.clock")} <b>{error === null ? t("unknown") : signedDuration(error)}</b>
      </span>
      <span>
        {t("foot.decoding")}{" "}
        <b className={decoding.overload.level > 0 ? "warn" : ""}>
          {decoding.tiles === 0
            ? t(decoding.uncounted ? "unknown" : "foot.idle")
            : t(decoding.overload.level > 0 ? "foot.overloaded" : "foot.free")}
        </b>
        {decoding.tiles > 0 && `, ${t("foot.dropped", { count: decoding.dropped })}`}
      </span>
      <span>{session.user.display_name || session.user.name}</span>
      <button type="button" onClick={help}>
        <kbd aria-hidden="true">?</kbd> {t("foot.keys")}
      </button>
    </footer>
  );
}

/** Keys that work on every screen, and in a `wall`'s own window. Returns what is begun and not ended. */
export function useGlobalKeys(toggleHelp: () => void, wall: "/" | "/window" = "/"): string {
  const navigate = useNavigate();
  const cameras = useCameras();
  const [typed, setTyped] = useState("");
  const sequence = useRef(new KeySequence());
  const singleKeys = useStation((station) => station.singleKeys);
  const latest = useRef({ toggleHelp, cameras: cameras.data });
  useEffect(() => {
    latest.current = { toggleHelp, cameras: cameras.data };
  });
  useEffect(() => {
    let forget: ReturnType<typeof setTimeout> | undefined;
    const onKey = (event: KeyboardEvent) => {
      if (event.altKey || event.metaKey || (event.ctrlKey && event.code !== "KeyK")) return;
      if (event.ctrlKey && event.code === "KeyK") {
        event.preventDefault();
        document.getElementById(FIND_BOX)?.focus();
        return;
      }
      if (isTyping(event.target) || !singleKeys) return;
      if (event.key === "/") {
        event.preventDefault();
        document.getElementById(FIND_BOX)?.focus();
        return;
      }
      if (event.key === "?") {
        latest.current.toggleHelp();
        return;
      }
      if (event.shiftKey) return;
      const before = sequence.current.shown;
      const stroke = sequence.current.press(event.code, performance.now());
      setTyped(sequence.current.shown);
      clearTimeout(forget);
      forget = setTimeout(() => setTyped(""), 2500);
      if (before !== "" || stroke.kind !== "none") event.stopImmediatePropagation();
      if (stroke.kind === "number") {
        event.preventDefault();
        const camera = latest.current.cameras?.find((candidate) => candidate.number === stroke.number);
        if (camera) {
          useWall.getState().toSelected(camera.id);
          void navigate({ to: wall });
        } else setTyped(`${stroke.number} ?`);
      } else if (stroke.kind === "window") {
        window.dispatchEvent(new CustomEvent("stroz:layout", { detail: stroke.number }));
      } else if (stroke.kind === "go" && stroke.letter in GO && wall === "/") {
        void navigate({ to: GO[stroke.letter as keyof typeof GO] });
      }
    };
    window.addEventListener("keydown", onKey, true);
    return () => {
      window.removeEventListener("keydown", onKey, true);
      clearTimeout(forget);
    };
  }, [navigate, singleKeys, wall]);
  return typed;
}
