"""The procedure Delete: condemn what has expired, remove its bytes everywhere, write it into the day's report.

1. Brake: what would go today is compared with the last days (`storage.retention.brake`). Engaged, nothing is condemned.
2. Condemn, a page at a time, under the camera's lock with its holds read again (`Catalogue.condemn_expired`). What has a
   copy in a spool is condemned in the store it goes to as well: an upload may have got there without being noted.
3. Remove every version of every condemned object from the stores within reach, spools included, then strike it off.
4. Move segments of which nothing is left into the deletion report.

A store that does not answer is left alone for the rest of the run; an object it refuses concerns that object only. Both
are tried again by the next runs.

Every step may be repeated and begins from what the catalogue says, so a crash anywhere is made good by the next run.
Steps 3 and 4 also run while the brake is engaged: what is condemned must go. But nothing at all is done from the moment
a rebuild of the catalogue begins until a person has confirmed what came back: holds might be missing. Owns no decision
and no rows.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from storage import retention
from storage.catalogue import BrakeState, Catalogue, CondemnedObject, RebuildState
from storage.retention import BrakeRule, SteadyTime
from vms.clock import Clock, SystemClock
from vms.errors import StoreError, StoreUnavailable

log = logging.getLogger(__name__)

PARALLEL = 8  # deletions under way at once
DELETE_SECONDS = 30.0  # of one object
REFUSALS = 500  # in one run of one store; with wrong credentials there is one for every object


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
    rebuild: RebuildState | None = None  # it keeps deletion off: nothing was done


class Deleter:
    """Carries retention out. One at a time per site; two would only do each other's work again."""

    def __init__(
        self,
        catalogue: Catalogue,
        stores: Mapping[str, Deletable],
        *,
        clock: Clock | None = None,
        rule: BrakeRule | None = None,
        uploads: Mapping[str, str] | None = None,
        believed: Callable[[], SteadyTime] | None = None,
    ) -> None:
        """`stores`: those within reach, by the catalogue's name for them. Others' objects wait for their own host.

        `uploads`: spool → store that its files go to, for what an archiver brought there and did not come to note.
        `believed`: since when the clock is believed; without it that is now.
        """
        self._catalogue = catalogue
        self._stores = dict(stores)
        self._clock = clock or SystemClock()
        self._rule = rule or BrakeRule()
        self._uploads = dict(uploads or {})
        now = SteadyTime(self._clock.wall_ns(), self._clock.mono_ns())
        self._believed = believed or (lambda: now)
        self._resume: dict[str, int] = {}  # store → the last object tried in a run that did not come to the end

    async def run_once(self) -> DeletionRun:
        """One pass over all four steps. Raises CatalogueError; what a store refuses is counted and tried next time."""
        now_ns = self._believed().now_ns(self._clock.wall_ns(), self._clock.mono_ns())
        rebuilt = await self._catalogue.rebuild_state()
        if rebuilt is not None and rebuilt.keeps_deletion_off:
            return DeletionRun(0, 0, 0, 0, 0, None, now_ns, rebuilt)
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
        now_ns = self._believed().now_ns(self._clock.wall_ns(), self._clock.mono_ns())
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
            page = await self._catalogue.condemn_expired(
                stream_id, now_ns, at_ns=now_ns, after=after, uploads=self._uploads
            )
            segments, size_bytes, after = segments + page.segments, size_bytes + page.size_bytes, page.resume
            if not page.more:
                return segments, size_bytes

    async def _remove_objects(self) -> tuple[int, int]:
        """(removed, failed) over all stores. What one of them refuses is nothing to the others."""
        removed = failed = 0
        for store in self._stores:
            gone, kept = await self._remove_from(store)
            removed, failed = removed + gone, failed + kept
        return removed, failed

    async def _remove_from(self, store: str) -> tuple[int, int]:
        """(removed, failed) of one store, from where its last run had to stop, then from the beginning up to there.

        So an object that never goes, or at which the store fails every time, keeps none of the others.
        """
        tally = _Tally()
        begin = self._resume.pop(store, 0)
        for after, until in ((begin, None), (0, begin)):
            last = after
            while tally.goes_on and (until is None or last < until):
                found = await self._catalogue.condemned_objects([store], after=last)
                page = found if until is None else [item for item in found if item.id <= until]
                if not page:
                    break
                last = await self._remove_page(page, tally)
            if not tally.goes_on:
                self._resume[store] = last
                break
        if tally.failed:
            log.warning("%d objects on %s cannot be deleted now; the first: %s", tally.failed, store, tally.first)
        return tally.removed, tally.failed

    async def _remove_page(self, page: Sequence[CondemnedObject], tally: _Tally) -> int:
        """Remove a page, a few at a time, while the store goes on. Returns the id of the last that was tried."""
        last = page[0].id
        for start in range(0, len(page), PARALLEL):
            if not tally.goes_on:
                break
            batch = page[start : start + PARALLEL]
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._remove(item, tally), name=f"delete {item.key}") for item in batch]
            gone = [item.id for item, task in zip(batch, tasks, strict=True) if task.result()]
            await self._catalogue.objects_gone(gone)
            tally.removed += len(gone)
            last = batch[-1].id
        return last

    async def _remove(self, item: CondemnedObject, tally: _Tally) -> bool:
        try:
            async with asyncio.timeout(DELETE_SECONDS):
                await self._stores[item.store].delete(item.key)
        except (StoreError, TimeoutError) as error:
            tally.failed += 1
            tally.away |= isinstance(error, (StoreUnavailable, TimeoutError))
            tally.first = tally.first or f"{item.key}: {error or 'timed out'}"
            return False
        return True


@dataclass(slots=True)
class _Tally:
    """How one run fares on one store."""

    removed: int = 0
    failed: int = 0
    away: bool = False  # it did not answer: left alone for the rest of the run
    first: str = ""  # what failed first

    @property
    def goes_on(self) -> bool:
        return not self.away and self.failed < REFUSALS
