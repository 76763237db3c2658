/** What of the site's health needs a person: rows with cause and next step, from what the server measured. Pure. */

import type { Health, HealthStream } from "../../api/model.ts";

export type Grade = "good" | "warning" | "bad" | "unknown";

/** One number of the page's head. `text` null: nobody can tell now. */
export interface Figure {
  readonly key: string;
  readonly text: string | null;
  readonly facts: Readonly<Record<string, string | number>>;
  readonly grade: Grade;
}

export interface Trouble {
  readonly grade: "warning" | "bad";
  readonly number: number | null;
  readonly what: string;
  /** It is about the camera's other stream alone. */
  readonly side?: boolean;
  /** Key of the sentence under `health.why`, with its facts, or a gap reason. */
  readonly why: string;
  readonly facts: Readonly<Record<string, string | number>>;
  readonly sinceUtc: string | null;
  readonly cause: "camera" | "network" | "recorder" | "store" | "disk" | "clock" | "settings" | "unknown";
  readonly todo: string;
}

const CLOCK_OFF_S = 1;
const TIGHT_HOURS = 1;
const CAMERA_CLOCK_OFF_S = 2;
const CAUSES: Readonly<Record<string, Trouble["cause"]>> = {
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

export function troubles(health: Health): Trouble[] {
  const found: Trouble[] = [];
  const site = (why: string, cause: Trouble["cause"], grade: Trouble["grade"] = "bad", facts: Trouble["facts"] = {}) =>
    found.push({ grade, number: null, what: why, why, facts, sinceUtc: null, cause, todo: why });
  if (!health.recorder.answers) site("recorder_down", "recorder");
  if (!health.archiver.answers) site("archiver_down", "recorder");
  if (health.live?.answers === false) site("live_down", "recorder");
  if (health.archiver.catalogue_error) site("catalogue_error", "store");
  if (health.store.error) site("store_error", "store", "bad", { segments: health.store.waiting_segments ?? 0 });
  if ((health.store.lost ?? 0) > 0) site("store_lost", "store", "bad", { segments: health.store.lost ?? 0 });
  if ((health.store.set_aside ?? 0) > 0)
    site("set_aside", "store", "warning", { segments: health.store.set_aside ?? 0 });
  if (
    health.spool.hours != null &&
    health.spool.hours < TIGHT_HOURS &&
    (health.store.error || health.spool.room_bytes === 0)
  ) {
    site("spool_tight", "disk", "bad", { minutes: Math.round(health.spool.hours * 60) });
  }
  if (health.clock.synchronised === false) site("clock_free", "clock", "warning");
  if (Math.abs(health.clock.offset_seconds ?? 0) > CLOCK_OFF_S) {
    site("clock_off", "clock", "warning", { seconds: Math.round(health.clock.offset_seconds ?? 0) });
  }
  if (health.retention?.braked) site("retention_braked", "settings", "warning");
  if (health.retention?.off) site("retention_off", "settings", "warning");
  const lostCameras = new Set(
    health.streams.filter((one) => one.stream === "main" && one.level === "bad").map((one) => one.camera.number),
  );
  for (const stream of health.streams) {
    const { number, name: what } = stream.camera;
    const side = stream.stream !== "main";
    if (side && lostCameras.has(number)) continue; // one cause, one row
    if (stream.level === "bad") {
      const reason = stream.reason ?? stream.state.replaceAll(" ", "_");
      found.push({
        grade: "bad",
        number,
        what,
        side,
        why: reason,
        facts: {},
        sinceUtc: typeof stream.since === "string" ? stream.since : null,
        cause: CAUSES[reason] ?? "unknown",
        todo: reason,
      });
    }
    const offset = stream.clock_offset_seconds;
    if (
      stream.level === "good" &&
      stream.stream === "main" &&
      typeof offset === "number" &&
      Math.abs(offset) > CAMERA_CLOCK_OFF_S
    ) {
      found.push({
        grade: "warning",
        number,
        what,
        why: "camera_clock",
        facts: { seconds: Math.round(offset) },
        sinceUtc: null,
        cause: "camera",
        todo: "camera_clock",
      });
    }
  }
  return found.sort((a, b) => Number(a.grade === "warning") - Number(b.grade === "warning"));
}

/** Ms since it was measured; beyond `PROVED_MS` nothing of it is shown as proved. */
export const PROVED_MS = 60_000;
