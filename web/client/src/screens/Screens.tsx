/** The addresses of the shell's screens. The wall stays mounted nowhere else: leaving it ends its sessions. */

import {
  createRootRoute,
  createRoute,
  createRouter,
  Outlet,
  type RouteComponent,
  RouterProvider,
  useParams,
} from "@tanstack/react-router";
import { lazy } from "react";
import { Lost } from "./shell/Lost.tsx";
import { Shell } from "./shell/Shell.tsx";
import { SecondWindow } from "./wall/SecondWindow.tsx";
import { WallScreen } from "./wall/WallScreen.tsx";

// What is not the wall comes when it is asked for.
const About = lazy(() => import("./about/About.tsx").then(({ About }) => ({ default: About })));
const Account = lazy(() => import("./account/Account.tsx").then(({ Account }) => ({ default: Account })));
const Audit = lazy(() => import("./audit/Audit.tsx").then(({ Audit }) => ({ default: Audit })));
const CameraEdit = lazy(() => import("./cameras/CameraEdit.tsx").then(({ CameraEdit }) => ({ default: CameraEdit })));
const CameraImport = lazy(() =>
  import("./cameras/CameraImport.tsx").then(({ CameraImport }) => ({ default: CameraImport })),
);
const Cameras = lazy(() => import("./cameras/Cameras.tsx").then(({ Cameras }) => ({ default: Cameras })));
const Health = lazy(() => import("./health/Health.tsx").then(({ Health }) => ({ default: Health })));
const People = lazy(() => import("./people/People.tsx").then(({ People }) => ({ default: People })));

const root = createRootRoute({ component: Outlet });
const shell = createRoute({ getParentRoute: () => root, id: "shell", component: Shell });
const under = <P extends string>(path: P, component: RouteComponent) =>
  createRoute({ getParentRoute: () => shell, path, component });

const tree = root.addChildren([
  createRoute({ getParentRoute: () => root, path: "/window", component: SecondWindow }),
  shell.addChildren([
    under("/", WallScreen),
    under("/cameras", Cameras),
    under("/cameras/new", () => <CameraEdit id={null} />),
    under("/cameras/import", CameraImport),
    createRoute({
      getParentRoute: () => shell,
      path: "/cameras/$id",
      component: function OneCamera() {
        const { id = "" } = useParams({ strict: false });
        return <CameraEdit key={id} id={id} />;
      },
    }),
    under("/health", Health),
    under("/people", People),
    under("/audit", Audit),
    under("/account", Account),
    under("/about", About),
    under("/$", Lost),
  ]),
]);
const router = createRouter({ routeTree: tree, defaultPreload: false });

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}

export function Screens() {
  return <RouterProvider router={router} />;
}
