/** What of the site's health needs a person, as rows with cause and next step. The server judged; here it is ordered. Pure. */

import type { Health, HealthStream, SiteTrouble, TroubleCode } from "../../api/model.ts";

export type Cause = "camera" | "network" | "recorder" | "store" | "disk" | "clock" | "settings" | "unknown";

export interface Trouble {
  readonly grade: "warning" | "bad";
  readonly camera: { readonly number: number; readonly name: string } | null;
  /** It is about the camera's other stream alone. */
  readonly side: boolean;
  /** A code of the site's judgement, whose words are under `health`, or why a stream is not recorded (`reason`, `todo`). */
  readonly why: { readonly code: TroubleCode; readonly facts: SiteTrouble["facts"] } | { readonly reason: string };
  readonly sinceUtc: string | null;
  readonly cause: Cause;
}

/** What of the site it is about (`health.what_…`; null: a camera), and the cause. */
export const OF_THE_SITE: Readonly<Record<TroubleCode, readonly [string | null, Cause]>> = {
  cameras_unreadable: ["recorder", "recorder"],
  recorder_down: ["recorder", "recorder"],
  archiver_waits: ["archiver", "recorder"],
  archiver_down: ["archiver", "recorder"],
  web_down: ["web", "recorder"],
  live_down: ["live", "recorder"],
  catalogue_error: ["catalogue", "store"],
  store_error: ["store", "store"],
  store_lost: ["store", "store"],
  set_aside: ["store", "store"],
  journals_set_aside: ["store", "store"],
  spool_too_small: ["disk", "disk"],
  spool_given_up: ["disk", "disk"],
  spool_full: ["disk", "disk"],
  spool_tight: ["disk", "disk"],
  clock_set_forward: ["clock", "clock"],
  clock_set_back: ["clock", "clock"],
  clock_free: ["clock", "clock"],
  clock_behind: ["clock", "clock"],
  clock_ahead: ["clock", "clock"],
  retention_braked: ["retention", "settings"],
  retention_off: ["retention", "settings"],
  camera_clock_ahead: [null, "camera"],
  camera_clock_behind: [null, "camera"],
};

const CAUSES: Readonly<Record<string, Cause>> = {
  camera_unreachable: "network",
  refused: "camera",
  unauthorised: "camera",
  no_keyframe: "camera",
  stalled: "camera",
  packet_loss: "network",
  unsupported_codec: "camera",
  no_picture: "camera",
  stale: "recorder",
  no_answer: "recorder",
  recorder_down: "recorder",
  recorder_restart: "recorder",
  internal_error: "recorder",
  spool_full: "disk",
  disk_error: "disk",
};

export function counts(streams: readonly HealthStream[]): { recording: number; expected: number } {
  const cameras = new Map<number, boolean>();
  for (const stream of streams) {
    if (stream.stream !== "main" || stream.level === "off" || stream.state === "relaying") continue;
    cameras.set(stream.camera.number, stream.level === "good");
  }
  return { recording: [...cameras.values()].filter(Boolean).length, expected: cameras.size };
}

/** The site's own first, then streams that are not recorded; warnings last. */
export function troubles(health: Health): Trouble[] {
  const found: Trouble[] = health.troubles.map(({ code, facts, grade, camera }) => ({
    grade,
    camera,
    side: false,
    why: { code, facts },
    sinceUtc: null,
    cause: OF_THE_SITE[code]?.[1] ?? "unknown",
  }));
  const lostCameras = new Set(
    health.streams.filter((one) => one.stream === "main" && one.level === "bad").map((one) => one.camera.number),
  );
  for (const { camera, stream, level, reason, state, since } of health.streams) {
    const side = stream !== "main";
    if (level !== "bad" || (side && lostCameras.has(camera.number))) continue; // one cause, one row
    const why = reason ?? state.replaceAll(" ", "_");
    const cause = CAUSES[why] ?? "unknown";
    found.push({ grade: "bad", camera, side, why: { reason: why }, sinceUtc: since ?? null, cause });
  }
  return found.sort((a, b) => Number(a.grade === "warning") - Number(b.grade === "warning"));
}

/** Ms since it was measured; beyond `PROVED_MS` nothing of it is shown as proved. */
export const PROVED_MS = 60_000;
