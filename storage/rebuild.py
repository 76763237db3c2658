"""`vms rebuild`: the catalogue again, from the store's journals and trailers and from the spool alone.

Owns the walk and its order: 1 count what there is, and find each stream's newest journals; 2 registry; 3 journals: runs,
gaps, deletion reports; 4 the spool, as the archiver takes it in; 5 segments a stream and day at a time, by both ends of
each object; 6 what journals state and nobody holds; 7 runs that nobody can close; 8 since when footage was expected,
where nobody states it: from the first that is found on. What comes back of the registry is
decided in `storage.rebuild_registry`, how an object is read in `storage.object_ends`.

Invariants: deletion is off from the first write until a person confirms; nothing is ever removed; an object that cannot
be read is listed and passed over; every step may be repeated, and what is known already is not read again, so a rebuild
that was broken off goes on where it was; memory holds one stream's day, whatever the bucket holds.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import date
from typing import TypeVar
from uuid import UUID

from storage.archiver import Archiver
from storage.catalogue import Catalogue
from storage.catalogue.rebuilding import OlderRegistry
from storage.catalogue.values import (
    Copy,
    CopyState,
    JournalEntry,
    Registration,
    SegmentRef,
    StoreInfo,
)
from storage.check_looks import timed
from storage.journal import HOUR_NS, MAX_JOURNAL_BYTES, Journal, SealLine, parse_journal
from storage.object_ends import read_ends
from storage.objects.base import KeyParts, ObjectInfo, ObjectStore, parse_key, segment_key
from storage.rebuild_doubles import choose_object
from storage.rebuild_registry import last_statement, restore_registry
from storage.rebuild_report import LostSegment, RebuildReport
from storage.retention import DAY_NS, cutoff_ns
from storage.sealed_file import run_of
from storage.spool import Spool
from vms.assignment import Assignment
from vms.clock import Clock, SystemClock
from vms.errors import (
    CatalogueError,
    CatalogueUnavailable,
    MalformedError,
    ObjectMissing,
    StoreDenied,
    StoreUnavailable,
    UserError,
    VmsError,
)
from vms.model import LegalProfile

T = TypeVar("T")
R = TypeVar("R")

PARALLEL = 16  # objects read at once
PAGE = 256  # objects of one transaction
JOURNAL_PAGE = 64
NEWEST_JOURNALS = 24  # of a stream, among which its registry is looked for: a part that only adds late facts has none
READ_SECONDS = 120.0  # of one object's ends
MOST_KEYS = 100_000  # of one stream's day that are looked at together


@dataclass(frozen=True, slots=True)
class RebuildSources:
    """Where a catalogue comes back from, and into which. `assignment`: the host's own, where its data folder is left."""

    catalogue: Catalogue
    store: ObjectStore
    store_info: StoreInfo
    spool: Spool
    spool_info: StoreInfo
    host: str
    profile: LegalProfile  # for cameras of which nobody states one
    assignment: Assignment = field(default_factory=Assignment)


async def rebuild(
    sources: RebuildSources,
    *,
    on_progress: Callable[[int, int], None] | None = None,
    clock: Clock | None = None,
) -> RebuildReport:
    """Fill an empty catalogue. `on_progress` hears (objects done, objects in all).

    Raises UserError for a catalogue that knows footage and was never rebuilt; StoreError and CatalogueError when store
    or catalogue go away: run it again then.
    """
    state = await sources.catalogue.rebuild_state()
    if state is None and await sources.catalogue.has_footage():
        raise UserError(
            "this catalogue knows footage: it is not lost. `vms check` compares it with the store, and mends it with --repair"
        )
    return await _Rebuild(sources, on_progress, clock or SystemClock()).run()


class _Rebuild:
    """One rebuild, used once."""

    def __init__(self, sources: RebuildSources, on_progress: Callable[[int, int], None] | None, clock: Clock) -> None:
        self._from, self._catalogue, self._store = sources, sources.catalogue, sources.store
        self._on_progress, self._clock = on_progress, clock
        self._report = RebuildReport(sources.store_info.name, clock.wall_ns())
        self._total = 0
        self._newest: dict[UUID, deque[str]] = {}
        self._streams: set[UUID] = set()  # with segments
        self._days: set[tuple[UUID, str]] = set()  # of which the journals were compared
        self._retention_ns: dict[UUID, int] = {}

    async def run(self) -> RebuildReport:
        began_ns = self._clock.mono_ns()
        report, catalogue = self._report, self._catalogue
        before = await catalogue.rebuild_state()
        state = await catalogue.begin_rebuild(report.store, at_ns=report.started_ns)
        report.resumed = before is not None and before.finished_ns is None
        report.started_ns = state.started_ns
        await catalogue.put_store(self._from.spool_info)
        await catalogue.put_store(self._from.store_info)
        await self._count()
        await self._registry(state.older)
        await self._journals()
        await self._spool()
        await self._segments()
        await self._days_without_objects()
        running = {fact.run.id for _, fact in await asyncio.to_thread(lambda: list(self._from.spool.runs()))}
        report.runs_ended = await catalogue.end_lost_runs(self._from.host, running)
        await catalogue.expect_what_was_found(report.started_ns)
        await catalogue.finish_rebuild(at_ns=self._clock.wall_ns())
        report.seconds = (self._clock.mono_ns() - began_ns) / 1e9
        return report

    # -- 1 and 2 --------------------------------------------------------------------------------------------------

    async def _count(self) -> None:
        """One listing: how much there is to do, which streams there are, and the newest journals of each."""
        async for info in self._listed(""):
            parts = parse_key(info.key)
            if parts is None:
                if not info.key.startswith("probes/"):
                    self._report.cannot_read(info.key, "not a key of this program")
                continue
            self._total += 1
            if parts.run_id is None:
                self._newest.setdefault(parts.stream_id, deque(maxlen=NEWEST_JOURNALS)).append(info.key)
            else:
                self._streams.add(parts.stream_id)

    async def _registry(self, before: Sequence[OlderRegistry]) -> None:
        """`before`: streams that an earlier call had to bring back out of older journals."""
        stated: list[Journal] = []
        older: dict[UUID, OlderRegistry] = {}
        for stream_id, keys in self._newest.items():
            believed, unreadable = await last_statement(keys, self._journal)
            if believed is not None:
                stated.append(believed)
            if unreadable:
                written_ns = None if believed is None else believed.written_ns or believed.hour_ns + HOUR_NS
                older[stream_id] = OlderRegistry(stream_id, unreadable, written_ns)
        # A stream that came back from its newest journal is as it should be, whatever became of that journal since.
        doubted = {one.stream_id: one for one in before}
        settled = await self._catalogue.known_streams(older.keys()) - doubted.keys()
        older = {stream_id: one for stream_id, one in older.items() if stream_id not in settled}
        anew = (doubted.keys() - older.keys()) & {journal.stream_id for journal in stated}
        await self._catalogue.note_older((doubted | older).values())
        in_spool = await asyncio.to_thread(_streams_in, self._from.spool)
        streams = self._streams | self._newest.keys() | in_spool
        stated.sort(key=lambda journal: journal.written_ns)
        abouts = [journal.about for journal in stated if journal.about is not None]
        await restore_registry(
            self._catalogue, self._report, abouts, streams, assignment=self._from.assignment,
            profile=self._from.profile, anew=anew,
        )  # fmt: skip
        left = {stream_id: one for stream_id, one in (doubted | older).items() if stream_id not in anew}
        await self._catalogue.note_older(left.values())
        self._report.older = tuple(left.values())
        days = {profile.id: profile.days for profile in await self._catalogue.profiles()}
        cameras = {c.id: days[c.profile_id] for c in await self._catalogue.cameras(include_retired=True)}
        now_ns = self._clock.wall_ns()
        self._retention_ns = {
            of.stream_id: cutoff_ns(now_ns, cameras[of.camera_id]) for of in await self._catalogue.camera_streams()
        }

    # -- 3 --------------------------------------------------------------------------------------------------------

    async def _journals(self) -> None:
        page: list[str] = []
        async for info in self._listed("journals/"):
            if parse_key(info.key) is None:
                continue
            page.append(info.key)
            if len(page) == JOURNAL_PAGE:
                await self._journal_page(page)
                page = []
        await self._journal_page(page)

    async def _journal_page(self, keys: Sequence[str]) -> None:
        known = await self._catalogue.known_journals(keys) if keys else set()
        fresh = [key for key in keys if key not in known]
        read = zip(fresh, await _each(fresh, self._journal), strict=True)
        found = [(key, *one) for key, one in read if one is not None]
        try:
            await self._take_in(found)
        except CatalogueUnavailable:
            raise
        except CatalogueError:
            for one in found:  # one of them is at fault; the others must not wait for it
                try:
                    await self._take_in([one])
                except CatalogueUnavailable:
                    raise
                except CatalogueError as error:
                    self._report.cannot_read(one[0], str(error))
        self._report.journals += len(found)
        self._advance(len(keys))

    async def _take_in(self, found: Sequence[tuple[str, Journal, bytes]]) -> None:
        """All facts of these journals, and last of all that they were read."""
        journals = [journal for _, journal, _ in found]
        await self._catalogue.put_runs([fact.run for journal in journals for fact in journal.runs])
        await self._catalogue.put_gaps([gap for journal in journals for gap in journal.gaps])
        lines = [line for journal in journals for line in journal.deletions]
        self._report.deletions += await self._catalogue.restore_deletions(lines)
        await self._catalogue.record_journals(
            [
                JournalEntry(
                    journal.stream_id, journal.hour_ns, journal.host, key, digest,
                    journal.written_ns or journal.hour_ns + HOUR_NS,
                )
                for key, journal, digest in found
            ]
        )  # fmt: skip

    async def _journal(self, key: str) -> tuple[Journal, bytes] | None:
        """A journal and its digest; None, and listed, where it cannot be read."""
        data = await self._reading(key, lambda: self._store.read(key, 0, MAX_JOURNAL_BYTES + 1))
        if data is None:
            return None
        try:
            journal = parse_journal(data)
        except MalformedError as error:
            self._report.cannot_read(key, str(error))
            return None
        if not key.startswith(f"journals/{journal.stream_id}/"):
            self._report.cannot_read(key, "is the journal of another stream")
            return None
        return journal, hashlib.sha256(data).digest()

    # -- 4 --------------------------------------------------------------------------------------------------------

    async def _spool(self) -> None:
        """Facts and sealed segments that wait in this host's spool, by the archiver's own step."""
        archiver = Archiver(
            self._from.spool, self._catalogue, self._store, host=self._from.host, spool_store=self._from.spool_info,
            object_store=self._from.store_info, clock=self._clock,
        )  # fmt: skip
        await archiver.register_sealed()
        self._report.spool_set_aside = archiver.progress().set_aside

    # -- 5 --------------------------------------------------------------------------------------------------------

    async def _segments(self) -> None:
        day: tuple[UUID, str] | None = None
        objects: list[ObjectInfo] = []
        lines: dict[SegmentRef, SealLine] = {}
        async for info in self._listed("segments/"):
            parts = parse_key(info.key)
            if parts is None:
                continue
            here = (parts.stream_id, parts.day)
            if here != day:
                if day is not None:
                    await self._end_day(day, objects, lines)
                day, objects, lines = here, [], await self._lines_of_day(*here)
            elif len(objects) >= MOST_KEYS:
                await self._objects_of_day(day[0], objects, lines)
                objects = []
            objects.append(info)
        if day is not None:
            await self._end_day(day, objects, lines)

    async def _end_day(
        self, day: tuple[UUID, str], objects: Sequence[ObjectInfo], lines: dict[SegmentRef, SealLine]
    ) -> None:
        await self._objects_of_day(day[0], objects, lines)
        await self._account(lines.values())
        self._days.add(day)

    async def _objects_of_day(
        self, stream_id: UUID, objects: Sequence[ObjectInfo], lines: dict[SegmentRef, SealLine]
    ) -> None:
        """Some objects of a stream's day, or all; `lines` keeps those of which none was listed yet."""
        named: dict[SegmentRef, list[ObjectInfo]] = {}
        for info in objects:
            named.setdefault(_ref(parse_key(info.key)), []).append(info)
        known = await self._catalogue.known_copies(self._from.store_info.name, list(named))
        for ref, start_ns in known.items():
            self._told_apart(named[ref], segment_key(stream_id, ref.run_id, ref.number, start_ns))
        self._report.segments["known"] += len(known)
        self._advance(sum(len(named[ref]) for ref in known))
        fresh = [(ref, found) for ref, found in named.items() if ref not in known]
        for start in range(0, len(fresh), PAGE):
            page = fresh[start : start + PAGE]
            read = await _each(page, lambda one: self._segment(one[1], lines.get(one[0])))
            await self._register([item for item in read if item is not None])
            self._advance(sum(len(found) for _, found in page))
        for ref in named:
            lines.pop(ref, None)

    def _told_apart(self, objects: Sequence[ObjectInfo], chosen: str) -> None:
        """Objects of one run and number, of which the catalogue has `chosen`."""
        for info in objects:
            if info.key != chosen:
                self._report.is_double(info.key, chosen)

    async def _segment(self, objects: Sequence[ObjectInfo], line: SealLine | None) -> Registration | None:
        """A segment as its object states itself, beside what a journal says was sealed; None, and listed, where it cannot."""
        if len(objects) == 1:
            found = await self._stated(objects[0], line)
        else:  # another's digest in a journal says nothing of these bytes
            readable = [item for info in objects if (item := await self._stated(info, None)) is not None]
            found = choose_object(readable, line.digest if line is not None else None) if readable else None
            if found is not None:
                self._told_apart(objects, found.copy.key)
        if found is None or line is None or found.copy.digest == line.digest:
            return found
        self._report.cannot_read(found.copy.key, "its bytes are not those that its journal says were sealed")
        return replace(
            found, facts=replace(found.facts, digest=line.digest), copy=replace(found.copy, state=CopyState.CORRUPT)
        )

    async def _stated(self, info: ObjectInfo, line: SealLine | None) -> Registration | None:
        """What one object states; None, and listed, where it cannot be read or is not that of its key."""
        found = await self._reading(info.key, lambda: self._read_segment(info, line))
        if found is None:
            return None
        usual = segment_key(found.facts.stream_id, found.facts.run_id, found.facts.number, found.facts.start_ns)
        if usual != info.key:
            self._report.cannot_read(info.key, "is the segment of another key")
            return None
        return found

    async def _read_segment(self, info: ObjectInfo, line: SealLine | None) -> Registration:
        head = await self._store.head(info.key)
        reader = await read_ends(self._store, info.key, head.size_bytes)
        digest = head.digest or (line.digest if line is not None else await self._digest_of(info.key))
        copy = Copy(self._from.store_info.name, info.key, head.size_bytes, digest, head.version)
        return Registration(reader.facts(digest), copy, run_of(reader.head))

    async def _digest_of(self, key: str) -> bytes:
        """Of every byte: where neither the store nor a journal tells it."""
        hasher = hashlib.sha256()
        async with aclosing(timed(self._store.get(key))) as blocks:
            async for block in blocks:
                hasher.update(block)
        return hasher.digest()

    async def _register(self, items: Sequence[Registration]) -> None:
        try:
            found = await self._catalogue.register_many(items)
        except CatalogueUnavailable:
            raise
        except CatalogueError as error:
            if len(items) == 1:
                self._report.cannot_read(items[0].copy.key, str(error))
                return
            for item in items:
                await self._register([item])
            return
        self._report.segments.update(result.value for result in found)

    # -- 6 --------------------------------------------------------------------------------------------------------

    async def _days_without_objects(self) -> None:
        for stream_id in await self._catalogue.all_streams():
            for number in await self._catalogue.journal_days(stream_id):
                day = date.fromordinal(date(1970, 1, 1).toordinal() + number).strftime("%Y/%m/%d")
                if (stream_id, day) not in self._days:
                    await self._account((await self._lines_of_day(stream_id, day)).values())

    async def _lines_of_day(self, stream_id: UUID, day: str) -> dict[SegmentRef, SealLine]:
        start_ns = (date.fromisoformat(day.replace("/", "-")).toordinal() - date(1970, 1, 1).toordinal()) * DAY_NS
        entries = await self._catalogue.journals(stream_id, start_ns, start_ns + DAY_NS)
        found = [one[0] for one in await _each([e.key for e in entries], self._journal) if one is not None]
        return {SegmentRef(line.run_id, line.number): line for journal in found for line in journal.segments}

    async def _account(self, lines: Iterable[SealLine]) -> None:
        """Lines without an object: deleted, still in the spool, or lost."""
        wanted = {SegmentRef(line.run_id, line.number): line for line in lines}
        if not wanted:
            return
        fates = await self._catalogue.fates(list(wanted))
        streams: dict[UUID, UUID | None] = {}
        for ref, line in wanted.items():
            if fates[ref].gone or fates[ref].segment is not None:
                continue
            if ref.run_id not in streams:
                streams[ref.run_id] = await self._catalogue.run_stream(ref.run_id)
            stream_id = streams[ref.run_id]
            expired = stream_id is not None and line.end_ns <= self._retention_ns.get(stream_id, 0)
            self._report.is_lost(LostSegment(stream_id, line.run_id, line.number, line.start_ns, line.end_ns, expired))

    # -- all the way ----------------------------------------------------------------------------------------------

    def _listed(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        return timed(self._store.list(prefix))

    def _advance(self, count: int) -> None:
        self._report.objects += count
        if self._on_progress is not None:
            self._on_progress(self._report.objects, max(self._total, self._report.objects))

    async def _reading(self, key: str, attempt: Callable[[], Awaitable[T]]) -> T | None:
        """What one object says; None, and listed, where it cannot be read although its store answers.

        Raises StoreUnavailable and StoreDenied when the store has gone.
        """
        failure: Exception | None = None
        for _ in range(2):
            try:
                async with asyncio.timeout(READ_SECONDS):
                    return await attempt()
            except (MalformedError, ObjectMissing) as error:
                self._report.cannot_read(key, str(error))
                return None
            except (StoreUnavailable, StoreDenied) as error:
                failure = error
            except TimeoutError:
                failure = StoreUnavailable(f"{self._store.name}: {key} was not read within {READ_SECONDS:.0f} s")
            async for _ in self._listed("probes/"):  # raises where the store is away altogether
                break
        self._report.cannot_read(key, str(failure))
        return None


def _streams_in(spool: Spool) -> set[UUID]:
    sealed = (spool.sealed_named(name) for name in spool.sealed_names())
    return {s.stream_id for s in sealed if s is not None} | {fact.run.stream_id for _, fact in spool.runs()}


def _ref(parts: KeyParts | None) -> SegmentRef:
    assert parts is not None
    assert parts.run_id is not None
    assert parts.number is not None
    return SegmentRef(parts.run_id, parts.number)


async def _each(items: Sequence[T], work: Callable[[T], Awaitable[R]]) -> list[R]:
    """`work` of every item, `PARALLEL` at once, in the order of the items. Raises the first trouble; the rest is let be."""
    results: dict[int, R] = {}
    waiting = iter(enumerate(items))
    failures: list[VmsError] = []

    async def go_on() -> None:
        for number, item in waiting:
            try:
                results[number] = await work(item)
            except VmsError as error:
                failures.append(error)
            if failures:
                return

    async with asyncio.TaskGroup() as group:
        for number in range(min(PARALLEL, len(items))):
            group.create_task(go_on(), name=f"rebuild {number}")
    if failures:
        raise failures[0]
    return [results[number] for number in range(len(items))]
