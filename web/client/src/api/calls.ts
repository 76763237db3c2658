/**
 * Every call to the interface, one function each. Owns the CSRF token, the class of failures (`Problem`) and the time a
 * call may take. Screens never call `fetch`.
 */

import type * as M from "./model.ts";
import { Problem, type ProblemBody } from "./problems.ts";

const TIMEOUT_MS = 15_000;
const SLOW_TIMEOUT_MS = 120_000; // camera tests, imports

let csrfToken = "";
export const csrf = (): string => csrfToken;

interface Options {
  readonly query?: Record<string, string | number | boolean | null | undefined>;
  readonly body?: unknown;
  readonly text?: string;
  readonly etag?: string | null;
  readonly timeoutMs?: number;
}

interface Answer<T> {
  readonly data: T;
  readonly etag: string | null;
  readonly response: Response;
}

async function ask<T>(method: string, path: string, options: Options = {}): Promise<Answer<T>> {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(options.query ?? {})) {
    if (value !== null && value !== undefined && value !== "") query.set(name, String(value));
  }
  const headers: Record<string, string> = { Accept: "application/json" };
  if (method !== "GET") headers["X-CSRF-Token"] = csrfToken;
  if (options.body !== undefined) headers["Content-Type"] = "application/json";
  if (options.text !== undefined) headers["Content-Type"] = "text/csv";
  if (options.etag) headers["If-Match"] = options.etag;
  let response: Response;
  try {
    response = await fetch(`${path}${query.size > 0 ? `?${query}` : ""}`, {
      method,
      headers,
      body: options.text ?? (options.body === undefined ? null : JSON.stringify(options.body)),
      signal: AbortSignal.timeout(options.timeoutMs ?? TIMEOUT_MS),
    });
  } catch {
    throw new Problem(0, {});
  }
  if (!response.ok) {
    throw new Problem(response.status, (await response.json().catch(() => ({}))) as ProblemBody);
  }
  const isJson = response.headers.get("Content-Type")?.includes("json") ?? false;
  const data = (isJson ? await response.json() : undefined) as T;
  return { data, etag: response.headers.get("ETag"), response };
}

async function get<T>(path: string, query?: Options["query"]): Promise<T> {
  return (await ask<T>("GET", path, { query })).data;
}
async function post<T>(path: string, body?: unknown, more: Options = {}): Promise<T> {
  return (await ask<T>("POST", path, { ...more, ...(body !== undefined && { body }) })).data;
}

const V1 = "/api/v1";

export const site = () => get<M.Site>(`${V1}/site`);
export const setUp = (body: { setup_code: string; name: string; password: string; language: M.Language }) =>
  post<unknown>(`${V1}/setup`, body);

export async function session(): Promise<M.Session | null> {
  try {
    return keep(await get<M.Session>(`${V1}/session`));
  } catch (error) {
    if (error instanceof Problem && error.status === 401) return null;
    throw error;
  }
}
export const signIn = async (name: string, password: string) =>
  keep(await post<M.Session>(`${V1}/session`, { name, password }));
export const signOut = async () => {
  await ask("DELETE", `${V1}/session`);
};
export const confirmPassword = async (password: string) => {
  await post(`${V1}/session/confirm`, { password });
};
export const changePassword = async (old: string, fresh: string) => {
  await ask("PUT", `${V1}/session/password`, { body: { old, new: fresh } });
};
function keep(found: M.Session): M.Session {
  csrfToken = found.csrf;
  return found;
}

/** All cameras the session may see, page by page. */
export async function cameras(): Promise<M.Camera[]> {
  const all: M.Camera[] = [];
  let after: string | null = null;
  do {
    const page: M.Page<M.Camera> = await get(`${V1}/cameras`, { after, limit: 200 });
    all.push(...page.items);
    after = page.next;
  } while (after !== null);
  return all;
}
export const camera = (id: string) => ask<M.Camera>("GET", `${V1}/cameras/${id}`);
export const addCamera = (body: M.CameraFields) =>
  post<{ camera: M.Camera; warning: string | null }>(`${V1}/cameras`, body);
export const changeCamera = async (id: string, body: M.CameraFields, etag: string | null) =>
  (await ask<{ camera: M.Camera; warning: string | null }>("PATCH", `${V1}/cameras/${id}`, { body, etag })).data;
export const retireCamera = async (id: string, etag: string | null) => {
  await ask("DELETE", `${V1}/cameras/${id}`, { etag });
};
export const testCamera = (body: M.CameraFields & { camera_id?: string }) =>
  post<{ streams: M.StreamReport[] }>(`${V1}/cameras/test`, body, { timeoutMs: SLOW_TIMEOUT_MS });
export const importCameras = (csv: string, dryRun: boolean) =>
  post<M.ImportReport>(`${V1}/cameras/import`, undefined, {
    text: csv,
    query: { dry_run: dryRun },
    timeoutMs: SLOW_TIMEOUT_MS,
  });
export const EXPORT_CAMERAS = `${V1}/cameras/export`;
export const groups = async () => (await get<{ items: M.Group[] }>(`${V1}/groups`)).items;
export const profiles = async () => (await get<{ items: M.Profile[] }>(`${V1}/profiles`)).items;

export const health = () => get<M.Health>(`${V1}/health`);

export const layouts = async () => (await get<{ items: M.Layout[] }>(`${V1}/layouts`)).items;
export const saveLayout = async (id: string, body: M.LayoutFields, version: number | null) =>
  (
    await ask<M.Layout>("PUT", `${V1}/layouts/${id}`, {
      body,
      etag: version === null ? null : `"${version}"`,
    })
  ).data;
export const removeLayout = async (id: string) => {
  await ask("DELETE", `${V1}/layouts/${id}`);
};

export async function users(): Promise<M.User[]> {
  const all: M.User[] = [];
  let after: string | null = null;
  do {
    const page: M.Page<M.User> = await get(`${V1}/users`, { after, limit: 200 });
    all.push(...page.items);
    after = page.next;
  } while (after !== null);
  return all;
}
export const addUser = (body: { name: string; display_name: string; language: M.Language }) =>
  post<{ user: M.User; password: string }>(`${V1}/users`, body);
export const changeUser = async (
  user: M.User,
  body: { display_name?: string; language?: M.Language; disabled?: boolean },
) => (await ask<M.User>("PATCH", `${V1}/users/${user.id}`, { body, etag: `"${user.version}"` })).data;
export const removeUser = async (user: M.User) => {
  await ask("DELETE", `${V1}/users/${user.id}`, { etag: `"${user.version}"` });
};
export const newPassword = (id: string) => post<{ password: string }>(`${V1}/users/${id}/password`);
export const roles = async () => (await get<{ items: M.RoleInfo[] }>(`${V1}/roles`)).items;
export const grants = async (user: string) => (await get<{ items: M.Grant[] }>(`${V1}/users/${user}/grants`)).items;
export const addGrant = (user: string, body: M.NewGrant) => post<M.Grant>(`${V1}/users/${user}/grants`, body);
export const removeGrant = async (id: string) => {
  await ask("DELETE", `${V1}/grants/${id}`);
};
export const sees = (user: string) => get<M.Sees>(`${V1}/users/${user}/sees`);

export const openSessions = async () => (await get<{ items: M.OpenSession[] }>(`${V1}/sessions`)).items;
export const endSession = async (id: string) => {
  await ask("DELETE", `${V1}/sessions/${id}`);
};
export const tokens = async () => (await get<{ items: M.Token[] }>(`${V1}/tokens`)).items;
export const addToken = (body: { name: string; acts: M.Act[]; days: number }) =>
  post<{ token: M.Token; secret: string }>(`${V1}/tokens`, body);
export const endToken = async (id: string) => {
  await ask("DELETE", `${V1}/tokens/${id}`);
};

export interface AuditQuery {
  readonly reason: string;
  readonly user?: string;
  readonly act?: string;
  readonly camera?: string;
  readonly after?: string | null;
}
export const audit = (query: AuditQuery) => get<M.Page<M.AuditItem>>(`${V1}/audit`, { ...query, limit: 100 });
export const checkpoint = () => get<M.Checkpoint>(`${V1}/audit/checkpoint`);
