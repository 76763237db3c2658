/**
 * A place on the wall: the camera it shows and, while one replaces another, the one that comes.
 *
 * Owns the change: name and picture belong to one controller and change together, in one frame. The old picture stays
 * under its own name until the new one is there, but not longer than `GRACE_MS`.
 */

import { TileController, type TileSource, type TileWorld } from "./tileController.ts";
import type { StreamKind } from "./whep.ts";

export const GRACE_MS = 700;

export interface SlotWorld extends TileWorld {
  enter(controller: TileController): void;
  leave(controller: TileController): void;
}

export class TileSlot {
  active: TileController | null = null;
  next: TileController | null = null;
  /** What is to be shown, also while its picture is awaited. */
  wanted: string | null = null;
  private readonly world: SlotWorld;
  private readonly listeners = new Set<() => void>();
  private deadline: ReturnType<typeof setTimeout> | null = null;
  private unsubscribe: (() => void) | null = null;
  private revision = 0;

  constructor(world: SlotWorld) {
    this.world = world;
  }

  subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  /** A number that changes whenever `active` or `next` does. */
  snapshot = (): number => this.revision;

  show(source: TileSource | null, stream: StreamKind): void {
    const key = source === null ? null : keyOf(source);
    if (key === this.wanted) {
      const coming = this.next !== null && keyOf(this.next.source) === key ? this.next : null;
      (coming ?? this.active)?.setStream(stream);
      return;
    }
    this.wanted = key;
    // Back before the other picture was there: the one on the screen stays.
    const back = this.active !== null && keyOf(this.active.source) === key ? this.active : null;
    if (source === null || back !== null) {
      this.drop(this.next);
      this.next = null;
      this.swap(back);
      back?.setStream(stream);
      return;
    }
    if (this.next === null || keyOf(this.next.source) !== key) this.begin(source, stream);
    const next = this.next as TileController | null;
    if (next === null) return;
    if (!this.active?.verdict.picture || next.hasShown || source.assigned !== "camera") this.swap(next);
    else this.await(next);
  }

  /** Connects what comes next, so that the change shows no wait. */
  prepare(source: TileSource, stream: StreamKind): void {
    const key = keyOf(source);
    if (this.deadline !== null) return; // what is awaited now has the place beside the picture
    if (key === this.wanted || (this.next !== null && keyOf(this.next.source) === key)) return;
    this.begin(source, stream);
  }

  /** Nothing is to come after all. What is awaited comes. */
  unprepare(): void {
    if (this.deadline !== null || this.next === null) return;
    this.drop(this.next);
    this.next = null;
    this.tell();
  }

  setStream(stream: StreamKind): void {
    this.active?.setStream(stream);
    this.next?.setStream(stream);
  }

  dispose(): void {
    this.clearDeadline();
    this.drop(this.active);
    this.drop(this.next);
    this.active = null;
    this.next = null;
    this.wanted = null;
  }

  private begin(source: TileSource, stream: StreamKind): void {
    this.drop(this.next);
    this.next = new TileController(source, stream, this.world);
    this.world.enter(this.next);
    this.tell();
  }

  private await(next: TileController): void {
    this.clearDeadline();
    if (next.hasShown) {
      this.swap(next);
      return;
    }
    this.unsubscribe = next.subscribe(() => {
      if (next.hasShown) this.swap(next);
    });
    this.deadline = setTimeout(() => this.swap(next), GRACE_MS);
  }

  private swap(next: TileController | null): void {
    this.clearDeadline();
    const old = this.active;
    this.active = next;
    if (this.next === next) this.next = null;
    this.tell();
    if (old !== next) this.drop(old);
  }

  private clearDeadline(): void {
    if (this.deadline !== null) clearTimeout(this.deadline);
    this.deadline = null;
    this.unsubscribe?.();
    this.unsubscribe = null;
  }

  private drop(controller: TileController | null): void {
    if (controller === null) return;
    this.world.leave(controller);
    controller.dispose();
  }

  private tell(): void {
    this.revision += 1;
    for (const listener of this.listeners) listener();
  }
}

/** Another name is another source: what it belonged to may be another camera now, so picture and name are had anew. */
export function keyOf({ camera, label, assigned, purpose }: TileSource): string {
  return JSON.stringify([camera, label?.number, label?.name, assigned, purpose]);
}
