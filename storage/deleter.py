"""The procedure Delete: condemn what has expired, remove its bytes everywhere, write it into the day's report.

1. Brake: what would go today is compared with the last days (`storage.retention.brake`). Engaged, nothing is condemned.
2. Condemn, a page at a time, under the camera's lock with its holds read again (`Catalogue.condemn_expired`).
3. Remove every version of every condemned object from the stores within reach, spools included, then strike it off.
4. Move segments of which nothing is left into the deletion report.

Every step may be repeated and begins from what the catalogue says, so a crash anywhere is made good by the next run.
Steps 3 and 4 also run while the brake is engaged: what is condemned must go. Owns no decision and no rows.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from storage import retention
from storage.catalogue import BrakeState, Catalogue, CondemnedObject
from storage.retention import BrakeRule, SteadyTime
from vms.clock import Clock, SystemClock
from vms.errors import StoreError

log = logging.getLogger(__name__)

PARALLEL = 8  # deletions under way at once
DELETE_SECONDS = 30.0  # of one object


class Deletable(Protocol):
    """The one thing the deleter asks of a store: `ObjectStore`s have it, and so has a spool's adapter."""

    async def delete(self, key: str) -> None:
        """Remove the object with all its versions. A missing object is no error. Raises StoreError."""


@dataclass(frozen=True, slots=True)
class DeletionRun:
    """What one run did. `failed`: objects still there because their store refused or did not answer."""

    condemned_segments: int
    condemned_bytes: int
    removed_objects: int
    failed_objects: int
    reported_segments: int
    brake: BrakeState | None  # engaged and not confirmed: a person must look at it
    at_ns: int = 0


class Deleter:
    """Carries retention out. One at a time per site; two would only do each other's work again."""

    def __init__(
        self,
        catalogue: Catalogue,
        stores: Mapping[str, Deletable],
        *,
        clock: Clock | None = None,
        rule: BrakeRule | None = None,
    ) -> None:
        """`stores`: those within reach, by the catalogue's name for them. Others' objects wait for their own host."""
        self._catalogue = catalogue
        self._stores = dict(stores)
        self._clock = clock or SystemClock()
        self._rule = rule or BrakeRule()
        self._time = SteadyTime(self._clock.wall_ns(), self._clock.mono_ns())

    async def run_once(self) -> DeletionRun:
        """One pass over all four steps. Raises CatalogueError; what a store refuses is counted and tried next time."""
        now_ns = self._time.now_ns(self._clock.wall_ns(), self._clock.mono_ns())
        stopped, streams = await self._plan(now_ns)
        segments = size_bytes = 0
        if stopped is None:
            for stream_id in streams:
                more_segments, more_bytes = await self._condemn(stream_id, now_ns)
                segments, size_bytes = segments + more_segments, size_bytes + more_bytes
        removed, failed = await self._remove_objects()
        reported = 0
        while moved := await self._catalogue.report_deleted(at_ns=now_ns):
            reported += moved
        return DeletionRun(segments, size_bytes, removed, failed, reported, stopped, now_ns)

    async def confirm_brake(self, by: str) -> BrakeState:
        """A person allows what the brake stopped: what was shown and an ordinary day's limit on top, for a day.

        Raises UserError if the brake is not engaged or nobody is named.
        """
        now_ns = self._time.now_ns(self._clock.wall_ns(), self._clock.mono_ns())
        return await self._catalogue.confirm_brake(at_ns=now_ns, by=by)

    async def _plan(self, now_ns: int) -> tuple[BrakeState | None, list[UUID]]:
        """The brake if it stops this run, and the streams with something to condemn."""
        plan = {item.stream_id: item.footage_ns for item in await self._catalogue.expired(now_ns)}
        today = retention.utc_day(now_ns)
        by_day = await self._catalogue.condemned_by_day(today - self._rule.days, today)
        state = await self._catalogue.brake_state()
        allowed = 0
        confirmed_ns = state.confirmed_ns if state is not None else None
        if state is not None and confirmed_ns is not None and 0 <= now_ns - confirmed_ns < retention.DAY_NS:
            allowed = state.footage_ns + state.limit_ns
        ordinary = retention.brake(self._rule, plan, by_day, today)
        if ordinary.engaged and retention.brake(self._rule, plan, by_day, today, confirmed_ns=allowed).engaged:
            if state is None or state.confirmed_ns is not None or state.footage_ns != ordinary.planned_ns:
                await self._catalogue.engage_brake(
                    at_ns=now_ns, footage_ns=ordinary.planned_ns, limit_ns=ordinary.limit_ns
                )
                log.warning(
                    "deletion stopped: %.0f h of footage would go today, the last days allow %.0f h; check the clock "
                    "and the legal profiles, then confirm",
                    ordinary.planned_ns / retention.HOUR_NS,
                    ordinary.limit_ns / retention.HOUR_NS,
                )
            return await self._catalogue.brake_state(), []
        if state is not None and not ordinary.engaged and ordinary.planned_ns <= ordinary.limit_ns:
            await self._catalogue.release_brake()
        return None, list(plan)

    async def _condemn(self, stream_id: UUID, now_ns: int) -> tuple[int, int]:
        segments = size_bytes = 0
        after = (0, 0)
        while True:
            page = await self._catalogue.condemn_expired(stream_id, now_ns, at_ns=now_ns, after=after)
            segments, size_bytes, after = segments + page.segments, size_bytes + page.size_bytes, page.resume
            if not page.more:
                return segments, size_bytes

    async def _remove_objects(self) -> tuple[int, int]:
        """(removed, failed). A store that fails once is left alone for the rest of the run."""
        removed = failed = last = 0
        away: set[str] = set()
        while True:
            page = await self._catalogue.condemned_objects(self._stores.keys() - away, after=last)
            if not page:
                return removed, failed
            last = page[-1].id
            for start in range(0, len(page), PARALLEL):
                batch = [item for item in page[start : start + PARALLEL] if item.store not in away]
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(self._remove(item), name=f"delete {item.key}") for item in batch]
                gone = [item.id for item, task in zip(batch, tasks, strict=True) if task.result()]
                away |= {item.store for item, task in zip(batch, tasks, strict=True) if not task.result()}
                await self._catalogue.objects_gone(gone)
                removed, failed = removed + len(gone), failed + len(batch) - len(gone)

    async def _remove(self, item: CondemnedObject) -> bool:
        try:
            async with asyncio.timeout(DELETE_SECONDS):
                await self._stores[item.store].delete(item.key)
        except (StoreError, TimeoutError) as error:
            log.warning("%s on %s cannot be deleted now: %s", item.key, item.store, error or "timed out")
            return False
        return True
