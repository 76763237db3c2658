/**
 * Every call to the interface, one function each, typed by its description. Owns the CSRF token, the class of failures
 * (`Problem`), how long a call may take, and the password that sensitive acts ask for again. Screens never call `fetch`.
 */

import createClient from "openapi-fetch";
import type * as M from "./model.ts";
import { Problem, type ProblemBody } from "./problems.ts";
import type { paths } from "./schema.d.ts";

const TIMEOUT_MS = 15_000;
const SLOW_TIMEOUT_MS = 120_000; // camera tests, imports
const SIGN_IN_TIMEOUT_MS = 270_000; // where somebody guesses at the account, its answers stand in line for four minutes

let csrfToken = "";
export const csrf = (): string => csrfToken;

let askPassword: () => Promise<boolean> = () => Promise.resolve(false);
/** Who asks for the password when an act needs it confirmed; resolves to whether it was. */
export function onConfirmation(ask: () => Promise<boolean>): void {
  askPassword = ask;
}

const client = createClient<paths>({
  baseUrl: location.origin,
  fetch: (request: Request) => {
    return fetch(request, { signal: AbortSignal.timeout(timeoutOf(request)) });
  },
});
function timeoutOf(request: Request): number {
  const path = new URL(request.url).pathname;
  if (request.method === "POST" && /\/(session|setup)$/.test(path)) return SIGN_IN_TIMEOUT_MS;
  return /\/cameras\/(test|import)$/.test(path) ? SLOW_TIMEOUT_MS : TIMEOUT_MS;
}
client.use({
  onRequest({ request }) {
    if (request.method !== "GET") request.headers.set("X-CSRF-Token", csrfToken);
    return request;
  },
});

interface Outcome<T> {
  readonly data?: T;
  readonly error?: unknown;
  readonly response: Response;
}

async function answer<T>(call: () => Promise<Outcome<T>>): Promise<{ data: T; response: Response }> {
  for (let confirmed = false; ; confirmed = true) {
    let outcome: Outcome<T>;
    try {
      outcome = await call();
    } catch {
      throw new Problem(0, {});
    }
    if (outcome.response.ok) return { data: outcome.data as T, response: outcome.response };
    const problem = new Problem(outcome.response.status, bodyOf(outcome.error));
    if (problem.code !== "confirm_password" || confirmed || !(await askPassword())) throw problem;
  }
}

async function take<T>(call: () => Promise<Outcome<T>>): Promise<T> {
  return (await answer(call)).data;
}

function bodyOf(error: unknown): ProblemBody {
  return typeof error === "object" && error !== null ? (error as ProblemBody) : {};
}

const withEtag = (etag: string | null) => ({ header: { "If-Match": etag } });

export const site = () => take(() => client.GET("/api/v1/site"));
export const setUp = (body: { setup_code: string; name: string; password: string; language: M.Language }) =>
  take(() => client.POST("/api/v1/setup", { body: { display_name: "", ...body } }));

export async function session(): Promise<M.Session | null> {
  try {
    return keep(await take(() => client.GET("/api/v1/session")));
  } catch (error) {
    if (error instanceof Problem && error.status === 401) return null;
    throw error;
  }
}
export const signIn = async (name: string, password: string) =>
  keep(await take(() => client.POST("/api/v1/session", { body: { name, password } })));
export const signOut = () => take(() => client.DELETE("/api/v1/session"));
export const confirmPassword = async (password: string) =>
  keep(await take(() => client.POST("/api/v1/session/confirm", { body: { password } })));
export const changePassword = (old: string, fresh: string) =>
  take(() => client.PUT("/api/v1/session/password", { body: { old, new: fresh } }));
function keep(found: M.Session): M.Session {
  csrfToken = found.csrf;
  return found;
}

/** Everything, page by page. */
async function all<T>(page: (after: string) => Promise<{ items: T[]; next: string | null }>): Promise<T[]> {
  const found: T[] = [];
  for (let after: string | null = ""; after !== null; ) {
    const { items, next }: { items: T[]; next: string | null } = await page(after);
    found.push(...items);
    after = next ?? null; // whatever else may answer in a server's place must not be asked for ever
  }
  return found;
}

export const cameras = () =>
  all((after) => take(() => client.GET("/api/v1/cameras", { params: { query: { after, limit: 200 } } })));
export async function camera(id: string): Promise<{ camera: M.Camera; etag: string | null }> {
  const { data, response } = await answer(() =>
    client.GET("/api/v1/cameras/{camera_id}", { params: { path: { camera_id: id } } }),
  );
  return { camera: data, etag: response.headers.get("ETag") };
}
export const addCamera = (body: M.NewCamera) => take(() => client.POST("/api/v1/cameras", { body }));
export const changeCamera = (id: string, body: M.CameraFields, etag: string | null) =>
  take(() =>
    client.PATCH("/api/v1/cameras/{camera_id}", {
      params: { path: { camera_id: id }, ...withEtag(etag) },
      body: { replaced: false, ...body },
    }),
  );
export const retireCamera = (id: string, etag: string | null) =>
  take(() => client.DELETE("/api/v1/cameras/{camera_id}", { params: { path: { camera_id: id }, ...withEtag(etag) } }));
export const testCamera = (body: M.CameraTest) => take(() => client.POST("/api/v1/cameras/test", { body }));
/** `csv`: the file's own bytes, whatever their encoding: the server knows those that spreadsheets write. */
export const importCameras = (csv: Blob, dryRun: boolean, skipBad = false) =>
  take(() =>
    client.POST("/api/v1/cameras/import", {
      params: { query: { dry_run: dryRun, skip_bad: skipBad } },
      body: "",
      bodySerializer: () => csv,
      headers: { "Content-Type": "text/csv" },
    }),
  );
export const EXPORT_CAMERAS = "/api/v1/cameras/export";
export const TABLE_TEMPLATE = "/api/v1/cameras/import/template";
export const profiles = async () => (await take(() => client.GET("/api/v1/profiles"))).items;

export const health = (): Promise<M.Health> => take(() => client.GET("/api/v1/health"));

/** Puts on record that a still of this view is kept. Raises Problem where it may not be. */
export const noteSnapshot = (session: string, capturedMs: number | null) =>
  take(() =>
    client.POST("/api/v1/whep/sessions/{session_id}/snapshot", {
      params: { path: { session_id: session } },
      body: { captured_at: capturedMs === null ? null : new Date(capturedMs).toISOString() },
    }),
  );

export const layouts = async () => (await take(() => client.GET("/api/v1/layouts"))).items;
export const addLayout = (body: M.LayoutFields) => take(() => client.POST("/api/v1/layouts", { body }));
export const changeLayout = (id: string, body: M.LayoutFields, version: number) =>
  take(() =>
    client.PUT("/api/v1/layouts/{layout_id}", {
      params: { path: { layout_id: id }, ...withEtag(`"${version}"`) },
      body,
    }),
  );
export const removeLayout = (id: string) =>
  take(() => client.DELETE("/api/v1/layouts/{layout_id}", { params: { path: { layout_id: id } } }));

export const users = () =>
  all((after) => take(() => client.GET("/api/v1/users", { params: { query: { after, limit: 200 } } })));
export const addUser = (body: M.NewUser) => take(() => client.POST("/api/v1/users", { body }));
export const changeUser = (user: M.User, body: { display_name?: string; language?: M.Language; disabled?: boolean }) =>
  take(() =>
    client.PATCH("/api/v1/users/{user_id}", {
      params: { path: { user_id: user.id }, ...withEtag(`"${user.version}"`) },
      body,
    }),
  );
const ofUser = (id: string) => ({ params: { path: { user_id: id } } });
export const removeUser = (id: string) => take(() => client.DELETE("/api/v1/users/{user_id}", ofUser(id)));
export const newPassword = (id: string) => take(() => client.POST("/api/v1/users/{user_id}/password", ofUser(id)));
export const roles = async () => (await take(() => client.GET("/api/v1/roles"))).items;
export const grants = async (id: string) =>
  (await take(() => client.GET("/api/v1/users/{user_id}/grants", ofUser(id)))).items;
export const addGrant = (id: string, body: M.NewGrant) =>
  take(() => client.POST("/api/v1/users/{user_id}/grants", { ...ofUser(id), body }));
export const removeGrant = (id: string) =>
  take(() => client.DELETE("/api/v1/grants/{grant_id}", { params: { path: { grant_id: id } } }));
export const sees = (id: string) => take(() => client.GET("/api/v1/users/{user_id}/sees", ofUser(id)));

export const openSessions = () =>
  all((after) => take(() => client.GET("/api/v1/sessions", { params: { query: { after, limit: 200 } } })));
export const endSession = (id: string) =>
  take(() => client.DELETE("/api/v1/sessions/{session_id}", { params: { path: { session_id: id } } }));
export const tokens = () =>
  all((after) => take(() => client.GET("/api/v1/tokens", { params: { query: { after, limit: 200 } } })));
export const addToken = (body: { name: string; acts: M.Act[]; days: number }) =>
  take(() => client.POST("/api/v1/tokens", { body }));
export const endToken = (id: string) =>
  take(() => client.DELETE("/api/v1/tokens/{token_id}", { params: { path: { token_id: id } } }));

export interface AuditQuery {
  readonly reason: string;
  readonly user: string;
  readonly act: string;
  readonly camera: string | null;
  readonly after: string;
}
export const audit = (query: AuditQuery) =>
  take(() => client.GET("/api/v1/audit", { params: { query: { ...query, limit: 100 } } }));
export const auditHead = () => take(() => client.GET("/api/v1/audit/head"));
export const checkpoint = () => take(() => client.GET("/api/v1/audit/checkpoint"));
