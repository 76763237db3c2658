"""The archiver: what lies sealed in the spool becomes known to the catalogue, then safe in the object store, then goes.

Owns the order of those steps, the bounded uploads and what is set aside. Does not own the spool's layout, the
catalogue's rows, the store's protocol, nor deleting what has expired.

Steps; each may be repeated at any crash point, and a restart simply begins again with what the spool holds:

1. *Facts*: rows for runs and gaps, open ones too. 2. *Register*: rows for the segment and its spool copy. Footage is on
the timeline from here on, also while the store is away. 3. *Put* create-only, with the digest the recorder sealed.
4. *Read back*: HEAD must state that size and digest. 5. *Copy row* for the store. 6. *Drop* the spool copy's row, then
7. *forget* the file. 8. *Journal* of the hour once it has settled; a closed run or gap leaves the spool only when both
catalogue and journal state it.

Invariants: a spool file is removed only after 4 and 5 (I3); a copy row names bytes that were read back (I1); a file
that cannot be archived is set aside, said aloud and tried again later, and never removed or in its neighbours' way.

Oldest first: every segment has one copy until it is archived, so the longest exposed goes first, the spool empties in
the order in which it filled, and a backlog leaves no tail behind that only ever grows older. Nobody waits for the
newest to arrive in the store: it is played from the spool.

A store or catalogue that is away is one state of the whole archiver with one back-off, not one for each file. A store
that is full is such a state too; before the next try `make_room` lets go of what has lawfully expired.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from uuid import UUID

from storage.catalogue.values import Copy, CopyState, Registered, Registration, SegmentRef, StoreInfo
from storage.fact_ledger import FactLedger
from storage.facts import RunFact
from storage.journal import HOUR_NS, JournalCatalogue, JournalWriter, hour_of
from storage.objects.base import ObjectInfo, ObjectStore, put_once, segment_key
from storage.sealed_file import read_facts, read_run
from storage.set_aside import SetAside
from storage.spool import SealedSegment
from storage.spool_watch import SpoolChanges, SpoolWatch, WatchedSpool
from vms.clock import Clock, SystemClock
from vms.errors import (
    CatalogueError,
    CatalogueUnavailable,
    MalformedError,
    ObjectMissing,
    SpoolError,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreUnavailable,
    VmsError,
)
from vms.localtime import format_utc
from vms.metrics import Metrics
from vms.model import Gap, RunInfo, SegmentFacts
from vms.supervise import Backoff, keep_running

log = logging.getLogger(__name__)

UPLOADS = 4  # at once; two already fill a disk, more hide the store's latency
SET_ASIDE_S = 600.0
REGISTER_BATCH = 200
JOURNALS_PER_PASS = 50  # so that a restart after long absence does not crowd out uploads
LOOK_BACK_NS = 35 * 24 * HOUR_NS  # after a start, for hours without a journal: longer than most footage is kept
LATE_HOURS = 6  # journals looked at again after a start: a crash may have come between a late segment and its journal
REGISTER_PACE = Backoff(first=1.0, longest=15.0)
UPLOAD_PACE = Backoff(first=1.0, longest=15.0)
JOURNAL_PACE = Backoff(first=15.0, longest=300.0)
NICENESS = 10


class SpoolView(WatchedSpool, Protocol):
    """What the archiver asks of the spool. All of it blocks and is called in threads."""

    def forget(self, path: Path) -> None: ...


class CatalogueView(JournalCatalogue, Protocol):
    """What the archiver asks of the catalogue. Every call may be repeated."""

    async def put_store(self, store: StoreInfo) -> None: ...

    async def has_copies(self, store: str) -> bool: ...

    async def put_runs(self, items: Sequence[RunInfo]) -> None: ...

    async def put_gaps(self, items: Sequence[Gap]) -> list[bool]: ...

    async def register_many(self, items: Sequence[Registration]) -> list[Registered]: ...

    async def record_copy(self, ref: SegmentRef, copy: Copy) -> bool: ...

    async def drop_copy(self, ref: SegmentRef, store: str) -> bool: ...

    async def hours_without_journal(self, host: str, since_ns: int) -> list[tuple[UUID, int]]: ...

    async def deletion_hours(self, since_ns: int) -> list[tuple[UUID, int]]: ...

    async def last_journal_ns(self, host: str) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the archiver is. `last_error` is None while everything answers."""

    backlog_segments: int
    backlog_bytes: int
    oldest_start_ns: int | None
    uploaded_segments: int
    uploaded_bytes: int
    last_upload_s: float | None
    lost_segments: int  # gone from the spool before they were archived
    set_aside: int
    journals_waiting: int
    journals_set_aside: int
    catalogue_error: str | None
    store_error: str | None


class Archiver:
    """Archives one spool. `run` until cancelled; `progress` at any time on the same loop."""

    def __init__(
        self,
        spool: SpoolView,
        catalogue: CatalogueView,
        store: ObjectStore,
        *,
        host: str,
        spool_store: StoreInfo,
        object_store: StoreInfo,
        clock: Clock | None = None,
        uploads: int = UPLOADS,
        metrics: Metrics | None = None,
        make_room: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._make_room = make_room
        self._spool, self._catalogue, self._store = spool, catalogue, store
        self._spool_store, self._object_store = spool_store, object_store
        self._host = host
        self._clock = clock or SystemClock()
        self._uploads = uploads
        self._metrics = metrics
        self._journals = JournalWriter(catalogue, store, host)
        self._introduced = False  # the stores are known, and one pass of registration is over
        self._checked = False  # the store was probed
        self._watch = SpoolWatch(spool)
        self._unregistered: dict[Path, SealedSegment] = {}
        self._pending: dict[Path, SegmentFacts] = {}  # registered, not yet archived
        self._unsure: set[Path] = (
            set()
        )  # may be in the store already: left by an earlier process, or a put without answer
        self._uploading: set[str] = set()  # keys
        self._aside: SetAside[Path] = SetAside(self._clock, SET_ASIDE_S)
        self._hours_aside: SetAside[tuple[int, UUID]] = SetAside(self._clock, SET_ASIDE_S)
        self._looked_back = False  # hours an earlier process left without journal are due
        self._facts = FactLedger(self._journals.touch)
        self._uploaded_segments = self._uploaded_bytes = self._lost_segments = 0
        self._last_upload_s: float | None = None
        self._errors: dict[str, VmsError | OSError] = {}  # step → what it failed with last

    async def run(self) -> None:
        """Archive for ever. Cancelling leaves every step repeatable."""
        async with asyncio.TaskGroup() as group:
            for name, attempt, pace in (
                ("registration", self.register_sealed, REGISTER_PACE),
                ("upload", self.upload_pending, UPLOAD_PACE),
                ("journals", self.write_journals, JOURNAL_PACE),
            ):
                group.create_task(
                    keep_running(name, self._noting(name, attempt), backoff=pace, clock=self._clock), name=name
                )

    def progress(self) -> Progress:
        known, stored = self._errors.get("registration"), self._errors.get("upload")
        if isinstance(stored, CatalogueError):  # which uploading needs too; the store is not to blame
            known, stored = known or stored, None
        return Progress(
            backlog_segments=len(self._pending),
            backlog_bytes=sum(facts.size_bytes for facts in self._pending.values()),
            oldest_start_ns=min((facts.start_ns for facts in self._pending.values()), default=None),
            uploaded_segments=self._uploaded_segments,
            uploaded_bytes=self._uploaded_bytes,
            last_upload_s=self._last_upload_s,
            lost_segments=self._lost_segments,
            set_aside=len(self._aside),
            journals_waiting=self._journals.waiting,
            journals_set_aside=len(self._hours_aside),
            catalogue_error=None if known is None else str(known),
            store_error=None if stored is None else str(stored),
        )

    # -- steps 1 and 2 --------------------------------------------------------------------------------------------

    async def register_sealed(self) -> None:
        """One pass over the spool: facts, then every sealed segment not yet registered. Needs no object store."""
        first = not self._introduced
        if first:
            await self._catalogue.put_store(self._spool_store)
            await self._catalogue.put_store(self._object_store)
        self._take_in(await asyncio.to_thread(self._watch.look))
        await self._register_facts()
        fresh = [sealed for path, sealed in self._unregistered.items() if path not in self._aside]
        for start in range(0, len(fresh), REGISTER_BATCH):
            await self._register(fresh[start : start + REGISTER_BATCH])
        if first:
            self._unsure |= self._pending.keys()
            self._introduced = True
        self._show_backlog()

    def _take_in(self, changes: SpoolChanges) -> None:
        self._unregistered |= {sealed.path: sealed for sealed in changes.sealed}
        for path in changes.sealed_gone | changes.facts_gone:
            self._unregistered.pop(path, None)
            self._aside.discard(path)  # one that is still pending is lost, which `_archive` finds out
        self._facts.update(changes.facts, changes.facts_gone)

    async def _register_facts(self) -> None:
        untold = [item for item in self._facts.untold() if item[0] not in self._aside]
        for start in range(0, len(untold), REGISTER_BATCH):
            await self._tell(untold[start : start + REGISTER_BATCH])

    async def _tell(self, batch: Sequence[tuple[Path, RunFact | Gap]]) -> None:
        try:
            await self._catalogue.put_runs([fact.run for _, fact in batch if isinstance(fact, RunFact)])
            await self._catalogue.put_gaps([fact for _, fact in batch if isinstance(fact, Gap)])
        except CatalogueUnavailable:
            raise
        except CatalogueError as error:
            if len(batch) == 1:
                self._set_aside(batch[0][0], error)
                return
            for item in batch:  # one of them is at fault; the others must not wait for it
                await self._tell([item])
            return
        for path, fact in batch:
            self._facts.tell(path, fact)

    async def _register(self, batch: Sequence[SealedSegment]) -> None:
        items: list[tuple[Path, Registration]] = []
        for sealed in batch:
            try:
                items.append((sealed.path, await self._registration(sealed)))
            except (MalformedError, OSError) as error:
                self._set_aside(sealed.path, error)
        await self._register_many(items)

    async def _register_many(self, items: Sequence[tuple[Path, Registration]]) -> None:
        try:
            found = await self._catalogue.register_many([item for _, item in items])
        except CatalogueUnavailable:
            raise
        except CatalogueError as error:
            if len(items) == 1:
                self._set_aside(items[0][0], error)
                return
            for one in items:  # one of them is at fault; the others must not wait for it
                await self._register_many([one])
            return
        for (path, item), result in zip(items, found, strict=True):
            self._registered(path, item.facts, result)

    def _registered(self, path: Path, facts: SegmentFacts, result: Registered) -> None:
        self._unregistered.pop(path, None)
        if result is Registered.DELETED:
            log.info("%s was deleted before it was archived; its file goes with the condemned", path.name)
            return
        self._pending[path] = facts
        self._journals.touch(facts.stream_id, facts.start_ns)

    async def _registration(self, sealed: SealedSegment) -> Registration:
        facts = sealed.facts
        if facts is None or len(facts.digest) != 32:
            facts = await asyncio.to_thread(read_facts, sealed.path)
        known = self._facts.knows_run(facts.run_id)
        run = None if known else await asyncio.to_thread(read_run, sealed.path)
        return Registration(facts, self._spool_copy(sealed.path, facts), run)

    def _spool_copy(self, path: Path, facts: SegmentFacts, state: CopyState = CopyState.PRESENT) -> Copy:
        """In a spool the key of a copy is its file's name: whoever deletes or reads it needs no more."""
        return Copy(self._spool_store.name, path.name, facts.size_bytes, facts.digest, state=state)

    # -- steps 3 to 7 ---------------------------------------------------------------------------------------------

    async def upload_pending(self) -> None:
        """One pass over everything registered, oldest first. Raises the first trouble that concerns all of it."""
        if not self._checked:
            await self._store.check(make=not await self._catalogue.has_copies(self._object_store.name))
            self._checked = True
        queue = deque(sorted(self._pending.items(), key=lambda item: (item[1].start_ns, item[0])))
        failures: list[VmsError] = []

        async def work() -> None:
            while queue and not failures:
                path, facts = queue.popleft()
                if path in self._aside:
                    continue
                try:
                    await self._archive(path, facts)
                except (StoreUnavailable, StoreDenied, CatalogueUnavailable) as error:
                    self._unsure.add(path)
                    failures.append(error)
                except (StoreError, CatalogueError, SpoolError, OSError) as error:
                    self._set_aside(path, error)

        async with asyncio.TaskGroup() as group:
            for number in range(min(self._uploads, len(queue))):
                group.create_task(work(), name=f"upload {number}")
        self._show_backlog()
        if any(isinstance(failure, StoreFull) for failure in failures) and self._make_room is not None:
            try:
                await self._make_room()
            except VmsError as error:
                log.error("no room could be made in the store: %s", error)
        if failures:
            raise failures[0]

    def is_uploading(self, key: str) -> bool:
        """Whether an object of this key may appear any moment, or is there and not yet noted."""
        return key in self._uploading

    async def _archive(self, path: Path, facts: SegmentFacts) -> None:
        self._uploading.add(_key(facts))
        try:
            await self._bring_away(path, facts)
        finally:
            self._uploading.discard(_key(facts))

    async def _bring_away(self, path: Path, facts: SegmentFacts) -> None:
        began_ns = self._clock.mono_ns()
        try:
            info = await self._put(path, facts)
        except FileNotFoundError as error:
            found = await self._stored(facts)  # by another archiver of this spool, say
            if found is None:
                await self._lose(path, facts, error)
                return
            info = found
        copy = Copy(self._object_store.name, info.key, info.size_bytes, facts.digest, info.version)
        ref = SegmentRef.of(facts)
        if not await self._catalogue.record_copy(ref, copy):
            # An earlier attempt may have dropped the row of the spool's copy and not come to removing its file.
            await self._catalogue.record_copy(ref, self._spool_copy(path, facts))
            log.info("%s was deleted while it was archived; both copies go with the condemned", path.name)
            self._done_with(path)
            return
        await self._catalogue.drop_copy(ref, self._spool_store.name)
        await asyncio.to_thread(self._spool.forget, path)
        self._done_with(path)
        self._count_upload(facts.size_bytes, (self._clock.mono_ns() - began_ns) / 1e9)

    async def _put(self, path: Path, facts: SegmentFacts) -> ObjectInfo:
        """The object, read back. Where it may be there already, look first rather than send it all in vain."""
        if path in self._unsure and (info := await self._stored(facts)) is not None:
            return info
        return await put_once(self._store, _key(facts), path, digest=facts.digest, size_bytes=facts.size_bytes)

    async def _stored(self, facts: SegmentFacts) -> ObjectInfo | None:
        """The object, if it is in the store with the size and digest of the segment."""
        try:
            info = await self._store.head(_key(facts))
        except ObjectMissing:
            return None
        return info if (info.size_bytes, info.digest) == (facts.size_bytes, facts.digest) else None

    async def _lose(self, path: Path, facts: SegmentFacts, error: OSError) -> None:
        """The file is gone and in no store: its copy is missing, unless the segment was condemned (I1)."""
        copy = self._spool_copy(path, facts, CopyState.MISSING)
        if await self._catalogue.record_copy(SegmentRef.of(facts), copy):
            self._lost_segments += 1
            self._count_failure(error)
            log.error("%s has gone from the spool before it was archived: its footage is lost", path.name)
        self._done_with(path)

    def _done_with(self, path: Path) -> None:
        self._pending.pop(path, None)
        self._unsure.discard(path)

    # -- step 8 ---------------------------------------------------------------------------------------------------

    async def write_journals(self) -> None:
        """Journals of hours that have settled, oldest first, then the closed facts they state leave the spool."""
        if not (self._introduced and self._checked):
            return  # nothing is registered yet, or nowhere to write
        if not self._looked_back:
            await self._look_back()
            self._looked_back = True
        due = [hour for hour in self._journals.due(self._clock.wall_ns()) if hour not in self._hours_aside]
        for hour_ns, stream_id in due[:JOURNALS_PER_PASS]:
            try:
                await self._write_journal(hour_ns, stream_id)
            except (StoreUnavailable, StoreDenied, CatalogueUnavailable):
                raise
            except (VmsError, OSError) as error:
                self._count_failure(error)
                self._hours_aside.add((hour_ns, stream_id))
                log.error(
                    "the journal of stream %s for the hour from %s cannot be written, next try in %.0f s: %s",
                    stream_id, format_utc(hour_ns), SET_ASIDE_S, error,
                )  # fmt: skip

    async def _write_journal(self, hour_ns: int, stream_id: UUID) -> None:
        facts = self._facts.of_stream(stream_id)
        runs = [fact for fact in facts.values() if isinstance(fact, RunFact)]
        gaps = [fact for fact in facts.values() if isinstance(fact, Gap)]
        await self._journals.write(hour_ns, stream_id, runs, gaps, self._clock.wall_ns())
        try:
            for path in self._facts.state(hour_ns, facts):
                await asyncio.to_thread(self._spool.forget, path)
        except SpoolError:
            self._journals.touch(stream_id, hour_ns)  # all is stated, and the files are still to go
            raise

    async def _look_back(self) -> None:
        """What an earlier process did not come to: hours without a journal, and late segments of the last ones."""
        now_ns = self._clock.wall_ns()
        for stream_id, hour_ns in await self._catalogue.hours_without_journal(self._host, now_ns - LOOK_BACK_NS):
            self._journals.touch(stream_id, hour_ns)
        for stream_id in self._facts.stream_ids():
            for back in range(LATE_HOURS + 1):
                self._journals.touch(stream_id, hour_of(now_ns) - back * HOUR_NS)
        last_ns = await self._catalogue.last_journal_ns(self._host) or now_ns
        await self.state_deletions(min(now_ns - LATE_HOURS * HOUR_NS, last_ns - 2 * HOUR_NS))

    async def state_deletions(self, since_ns: int) -> None:
        """Have the journals state what was deleted from `since_ns` on. Raises CatalogueError."""
        for stream_id, hour_ns in await self._catalogue.deletion_hours(since_ns):
            self._journals.touch(stream_id, hour_ns)

    # -- what is set aside, and figures ---------------------------------------------------------------------------

    def _set_aside(self, path: Path, error: Exception) -> None:
        self._count_failure(error)
        self._aside.add(path)
        log.error("%s cannot be archived and stays in the spool, next try in %.0f s: %s", path.name, SET_ASIDE_S, error)

    def _noting(self, name: str, attempt: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        async def once() -> None:
            try:
                await attempt()
            except (VmsError, OSError) as error:
                self._errors[name] = error
                self._count_failure(error)
                raise
            self._errors.pop(name, None)

        return once

    def _show_backlog(self) -> None:
        if self._metrics is not None:
            self._metrics.store_backlog_segments.set(len(self._pending))
            self._metrics.store_backlog_bytes.set(sum(facts.size_bytes for facts in self._pending.values()))

    def _count_upload(self, size_bytes: int, seconds: float) -> None:
        self._uploaded_segments += 1
        self._uploaded_bytes += size_bytes
        self._last_upload_s = seconds
        if self._metrics is not None:
            self._metrics.upload_seconds.observe(seconds)
            self._metrics.uploaded_bytes.inc(size_bytes)

    def _count_failure(self, error: Exception) -> None:
        if self._metrics is not None:
            counter = (
                self._metrics.catalogue_failures if isinstance(error, CatalogueError) else self._metrics.upload_failures
            )
            counter.labels(type(error).__name__).inc()


def _key(facts: SegmentFacts) -> str:
    return segment_key(facts.stream_id, facts.run_id, facts.number, facts.start_ns)


def make_way_for_the_recorder() -> None:
    """Lower this process's claim on processors; called once where the archiver is a process of its own."""
    os.nice(NICENESS)
