/** The interface's shapes under the client's names. Generated from its description. */

import type { components } from "./schema.d.ts";

type S = components["schemas"];

export type Act = S["Act"];
export type Role = S["Role"];
export type Language = S["Session"]["user"]["language"];
export type Site = S["Site"];
export type Session = S["Session"];
export type Camera = S["Camera"];
export type CameraFields = Partial<S["CameraChange"]>;
export type NewCamera = S["NewCamera"];
export type CameraTest = S["CameraTest"];
export type StreamReport = S["StreamReport"];
export type Said = S["Said"];
export type ImportReport = S["ImportReport"];
export type Layout = S["Layout"];
export type LayoutFields = S["LayoutFields"];
export type Grid = Layout["grid"];
export type Tour = S["Tour"];
export type TileContent = string | Tour | null;
export type User = S["User"];
export type Grant = S["Grant"];
export type NewGrant = S["NewGrant"];
export type NewUser = S["NewUser"];
export type Sees = S["Sees"];
export type OpenSession = S["OpenSession"];
export type Token = S["Token"];
export type AuditItem = S["AuditItem"];

export type TroubleCode = S["TroubleCode"];
export type SiteTrouble = Readonly<S["HealthTrouble"]>;

/** What the pages read of the site's health; the interface says more. */
export interface Health {
  readonly at: string;
  readonly site: string;
  readonly recorder: { readonly answers: boolean };
  readonly archiver: {
    readonly answers: boolean;
    readonly at: string | null;
    readonly catalogue_error: string | null;
  };
  readonly live?: { readonly answers: boolean | null };
  readonly spool: {
    readonly disk_free_bytes: number | null;
    readonly room_bytes?: number | null;
    readonly hours?: number | null;
  };
  readonly store: {
    readonly where: string;
    readonly waiting_segments?: number | null;
    readonly oldest?: string | null;
    readonly lost?: number | null;
    readonly set_aside?: number | null;
    readonly error?: string | null;
  };
  readonly clock: { readonly synchronised: boolean | null; readonly offset_seconds: number | null };
  readonly retention: { readonly braked: boolean; readonly off: boolean } | null;
  readonly troubles: readonly SiteTrouble[];
  readonly streams: readonly HealthStream[];
}

export interface HealthStream {
  readonly camera: { readonly number: number; readonly name: string };
  readonly stream: string;
  readonly stream_id: string;
  readonly level: "good" | "starting" | "bad" | "off";
  readonly state: string;
  readonly reason: string | null;
  readonly since?: string | null;
  readonly bits_per_second?: number;
  readonly gap_today_seconds?: number | null;
  readonly clock_offset_seconds?: number | null;
}
