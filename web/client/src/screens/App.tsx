/** Who sees what first: set-up, sign-in, a new password, or the shell. The address stays, so that links survive sign-in. */

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import * as api from "../api/calls.ts";
import type { Session, Site } from "../api/model.ts";
import { followCameras } from "../app/cameras.ts";
import { type Desk, DeskContext } from "../app/context.tsx";
import { dress, useStation } from "../app/station.ts";
import { World } from "../app/world.ts";
import { speak } from "../i18n/i18n.ts";
import { Kit } from "../ui/Kit.tsx";
import { Failed, Loading } from "../ui/states.tsx";
import { Sheet } from "./entry/EntryFrame.tsx";
import { FirstRun } from "./entry/FirstRun.tsx";
import { NewPassword } from "./entry/NewPassword.tsx";
import { SignIn } from "./entry/SignIn.tsx";
import { Screens } from "./Screens.tsx";

export function App() {
  const { theme, language, dim } = useStation();
  useEffect(() => dress({ theme, language, dim }), [theme, language, dim]);
  useEffect(() => speak(language), [language]);
  return (
    <Kit dark={theme === "noc"}>
      <Door />
    </Kit>
  );
}

function Door() {
  const queries = useQueryClient();
  const site = useQuery({ queryKey: ["site"], queryFn: api.site, staleTime: Number.POSITIVE_INFINITY });
  const session = useQuery({ queryKey: ["session"], queryFn: api.session, staleTime: Number.POSITIVE_INFINITY });
  const [notice, setNotice] = useState<"signed_out" | null>(null);

  const failed = [site, session].find((query) => query.isLoadingError);
  if (failed) {
    return (
      <Sheet>
        <Failed error={failed.error} retry={() => void failed.refetch()} />
      </Sheet>
    );
  }
  if (site.data === undefined || session.data === undefined) return <Loading />;
  const refresh = async () => {
    await queries.invalidateQueries({ queryKey: ["site"] });
    await queries.invalidateQueries({ queryKey: ["session"] });
  };
  if (site.data.setup_needed) return <FirstRun site={site.data} done={refresh} />;
  const entered = (fresh: Session) => {
    setNotice(null);
    // What the one before was shown is not for the next.
    queries.removeQueries({ predicate: ({ queryKey }) => queryKey[0] !== "site" && queryKey[0] !== "session" });
    queries.setQueryData(["session"], fresh);
  };
  const left = (why: "signed_out" | null) => {
    setNotice(why);
    queries.setQueryData(["session"], null);
  };
  if (session.data === null) return <SignIn site={site.data} notice={notice} entered={entered} />;
  if (session.data.user.must_change_password) {
    return <NewPassword site={site.data} name={session.data.user.name} done={refresh} />;
  }
  return (
    <AtTheDesk
      key={session.data.user.id}
      site={site.data}
      session={session.data}
      refresh={refresh}
      found={(now) => {
        if (now === null) left("signed_out");
        else if (now.user.id !== session.data?.user.id) entered(now);
        else queries.setQueryData(["session"], now);
      }}
      left={left}
    />
  );
}

function AtTheDesk({
  site,
  session,
  refresh,
  found,
  left,
}: {
  site: Site;
  session: Session;
  refresh: () => Promise<void>;
  /** The session as the server has it now; null: none. */
  found: (session: Session | null) => void;
  left: (why: "signed_out" | null) => void;
}) {
  const [world, setWorld] = useState<World | null>(null);
  useEffect(() => {
    const made = new World(site.time_zone);
    setWorld(made);
    return () => made.close();
  }, [site.time_zone]);
  const queries = useQueryClient();
  useEffect(() => (world ? followCameras(world.socket, queries) : undefined), [world, queries]);
  const latest = useRef({ found, left });
  latest.current = { found, left };
  useEffect(() => {
    if (world === null) return;
    let over = false;
    let asking = false;
    const stop = world.socket.subscribe({
      onSignedOut: () => latest.current.left("signed_out"),
      onDoubt: () => {
        if (asking) return;
        asking = true;
        void api
          .session()
          .then((now) => over || latest.current.found(now))
          .catch(() => undefined) // the server is away, which the console says by itself; the next doubt asks again
          .finally(() => {
            asking = false;
          });
      },
    });
    return () => {
      over = true;
      stop();
    };
  }, [world]);
  if (world === null) return <Loading />;
  const desk: Desk = {
    site,
    session,
    world,
    refresh,
    signOut: async () => {
      await api.signOut();
      left(null);
    },
  };
  return (
    <DeskContext value={desk}>
      <Screens />
    </DeskContext>
  );
}
