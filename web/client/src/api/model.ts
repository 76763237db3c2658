/** The interface's shapes under the client's names. */

export type Act =
  | "view_live" | "view_recorded" | "export" | "place_hold" | "release_hold"
  | "manage_cameras" | "manage_users" | "read_audit" | "read_health" | "manage_layouts";
export type Role =
  | "operator" | "shift_lead" | "evidence_officer" | "data_protection_officer" | "auditor"
  | "technician" | "vehicle_crew" | "recipient" | "administrator";
export type Language = "pl" | "en";

export interface Site { name: string; time_zone: string; version: string; setup_needed: boolean; languages: string[] }
export interface Session {
  id: string;
  user: { id: string; name: string; display_name: string; language: Language; must_change_password: boolean };
  roles: Role[]; acts: Act[]; csrf: string; expires_at: string; confirmed_until: string | null;
  login_notice: { last_at: string | null; last_ip: string | null; failed_since: number };
}
export type Browser = "plays" | "h265" | "b_frames" | "unknown";
export interface CameraStream {
  id: string; kind: "main" | "sub"; codec: string | null; width: number | null; height: number | null;
  fps: number | null; reorder: boolean | null; record: boolean; browser: Browser;
}
export interface CameraAdmin {
  main_url: string | null; sub_url: string | null; username: string; has_password: boolean; profile_id: string;
  transport: "tcp" | "udp"; source: string; certificate_pin: string; trust_clock: boolean; record_audio: boolean;
}
export interface Camera {
  id: string; number: number; name: string; street: string; lat: number | null; lon: number | null;
  azimuth_deg: number | null; angle_deg: number | null; group: string; enabled: boolean; retired: string | null;
  state: "live" | "connecting" | "lost" | "off" | "unknown"; state_since: string | null; state_reason: string | null;
  retry_at?: string | null; acts: Act[]; purpose_required: boolean; streams: CameraStream[]; admin: CameraAdmin | null;
}
export interface CameraFields {
  number?: number | null; name?: string | null; street?: string | null; group?: string | null; lat?: number | null;
  lon?: number | null; azimuth_deg?: number | null; angle_deg?: number | null; enabled?: boolean | null;
  main_url?: string | null; sub_url?: string | null; username?: string | null; password?: string | null;
  profile_id?: string | null; transport?: "tcp" | "udp" | null; record?: boolean | null; record_sub?: boolean | null;
}
export interface StreamReport {
  stream: "main" | "sub"; url: string; ok: boolean; reason?: string | null; message?: string | null;
  codec?: string | null; profile?: string | null; width?: number | null; height?: number | null;
  fps_measured?: number | null; bitrate_bps?: number | null; gop_seconds?: number | null; b_frames?: boolean | null;
  clock_offset_seconds?: number | null; packets_lost?: number | null; advice?: string[]; browser?: Browser;
}
export interface ImportRow {
  line: number; number: string; name: string; verdict: string; column: string | null; detail: string | null;
  warning: string | null;
}
export interface ImportReport { rows: ImportRow[]; counts: Record<string, number>; written: number | null }
export interface Group { name: string; cameras: number }
export interface Profile { id: string; name: string; basis: string; days: number; audio: boolean; default: boolean }
export interface Tour { tour: string[]; dwell_s: number }
export type Grid = "1" | "2x2" | "3x3" | "4x4" | "1+5" | "1+7" | "1+12" | "2+8";
export type TileContent = string | Tour | null;
export interface LayoutFields { name: string; shared: boolean; grid: Grid; spot: number | null; tiles: TileContent[] }
export interface Layout extends LayoutFields {
  id: string; version: number; author: string; mine: boolean; updated_at: string;
}
export interface User {
  id: string; name: string; display_name: string; language: Language; disabled: boolean; must_change_password: boolean;
  created_at: string; last_sign_in_at: string | null; roles: Role[]; version: number;
}
export interface RoleInfo { role: Role; acts: Act[]; purpose_required: Act[]; footage: boolean }
export interface Grant {
  id: string; user_id: string; role: Role; scope: "all" | "group" | "camera"; group: string | null;
  camera_id: string | null; expires_at: string | null; back_hours: number | null; created_at: string; created_by: string;
}
export interface NewGrant {
  role: Role; scope: "all" | "group" | "camera"; group?: string | null; camera_id?: string | null;
  expires_at?: string | null; back_hours?: number | null;
}
export interface SeenCamera {
  id: string; number: number; name: string; group: string; acts: Act[]; renditions: string[];
  back_hours: number | null; purpose_required: Act[];
}
export interface Sees { site_acts: Act[]; cameras: SeenCamera[] }
export interface OpenSession {
  id: string; user: string; user_id: string; ip: string; agent: string; created_at: string; seen_at: string;
  expires_at: string; mine: boolean; live: number;
}
export interface Token {
  id: string; name: string; user: string; acts: Act[]; created_at: string; expires_at: string; used_at: string | null;
  revoked: boolean;
}
export interface AuditItem {
  number: number; at: string; user: string; user_id: string | null; ip: string; act: string; object: string;
  camera_id: string | null; detail: Record<string, unknown>; purpose: string; leaf: string;
}
export interface Checkpoint { size: number; root: string; at: string; note: string; public_key: string }
export interface Page<T> { items: T[]; next: string | null }
/** What `vms status --json` says; see the reference of the command line. */
export interface Health {
  at: string; site: string;
  recorder: { answers: boolean }; archiver: { answers: boolean; at: string | null; catalogue_error: string | null };
  spool: { disk_free_bytes: number | null; open_bytes?: number; sealed_bytes?: number; room_bytes?: number; hours?: number | null; bytes_per_second?: number | null };
  given_up: { camera: number; stream: string; since: string | null; why: string }[];
  store: { where: string; waiting_segments?: number; waiting_bytes?: number; oldest?: string | null; lost?: number; set_aside?: number; error?: string | null };
  clock: { synchronised: boolean | null; offset_seconds: number | null; max_error_seconds: number | null; stepped_seconds: number | null };
  retention: { braked: boolean; off: boolean } | null;
  streams: HealthStream[];
}
export interface HealthStream {
  camera: { number: number; name: string }; stream: string; stream_id: string; level: "good" | "starting" | "bad" | "off"; state: string;
  reason: string | null; [fact: string]: unknown;
}
