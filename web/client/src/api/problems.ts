/** What the server refused. Owns the one exception that calls raise; its text for people is `problem.<code>`. */

import type { Said } from "./model.ts";

interface FieldFault {
  readonly field: string;
  readonly detail: string;
  readonly said?: Said | null;
}

export interface ProblemBody {
  readonly code?: string;
  readonly detail?: string;
  readonly status?: number;
  readonly retry_after?: number | null;
  readonly field?: string | null;
  readonly errors?: readonly FieldFault[] | null;
  readonly said?: Said | null;
}

export class Problem extends Error {
  readonly code: string;
  readonly status: number;
  readonly detail: string;
  readonly field: string | null;
  readonly retryAfterS: number | null;
  readonly errors: readonly FieldFault[];
  readonly said: Said | null;

  constructor(status: number, body: ProblemBody) {
    const code = body.code ?? (status === 0 ? "server_away" : "internal");
    super(code);
    this.code = code;
    this.status = status;
    this.detail = body.detail ?? "";
    this.field = body.field ?? null;
    this.retryAfterS = body.retry_after ?? null;
    this.errors = body.errors ?? [];
    this.said = body.said ?? null;
  }
}

export function codeOf(error: unknown): string {
  return error instanceof Problem ? error.code : "internal";
}

/** Asking again may help: the server or a part of it is away just now. */
export function isPassing(error: unknown): boolean {
  return error instanceof Problem && (error.status === 0 || error.status === 503);
}
