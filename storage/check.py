"""`vms check`: do catalogue, object store and spool agree, and does every invariant hold (ARCHITECTURE.md)?

Owns the walk: a stream and day at a time, objects beside rows, then journals, the spool, holds. What is wrong with what
was seen is said by `storage.check_findings`, how one copy is looked at by `storage.check_looks`, what is mended by
`storage.check_repair`.

Invariants: nothing is written without `repair`; memory holds one stream's day and the spool's names, however much there
is; a store that does not answer makes its copies unknown, never missing; work in progress is no finding. For that every
suspicion is examined by itself, in an order that cannot mistake a segment on its way (its row first, then its bytes,
then its row again), and once more after a moment: only what was found both times is told.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing
from datetime import date
from pathlib import Path
from uuid import UUID

from storage.catalogue.values import RecordedSegment, SegmentRef
from storage.check_findings import CheckReport, Depth, Finding, Kind, Seen, StoreSeen, judge, overlaps
from storage.check_looks import Places, timed
from storage.check_repair import Repairs, inspect_orphan
from storage.check_spool import SpoolCheck
from storage.objects.base import segment_key
from storage.retention import DAY_NS
from storage.spool import sealed_name
from vms.clock import Clock, SystemClock
from vms.errors import ObjectMissing, StoreDenied, StoreUnavailable
from vms.timeline import TimeRange

SETTLE_SECONDS = 2.0
HOLD_MARGIN_NS = 60_000_000_000  # longer than any transaction of the catalogue
PARALLEL = 4  # copies read at once
MOST_HELD = 1000
MOST_KEYS = 100_000  # of one stream's day looked at together: one segment a second

_ID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_SEGMENT_NAME = rf"-?\d{{1,19}}-{_ID}-\d{{1,9}}\.mp4"
_JOURNAL_NAME = r"\d\d-[a-z0-9-]{1,64}(?:\.\d{1,4})?\.json"
_DAY_KEY = re.compile(
    rf"(?=segments/.*/{_SEGMENT_NAME}$|journals/.*/{_JOURNAL_NAME}$)(\w+)/({_ID})/(\d{{4}}/\d\d/\d\d)/[^/]+", re.ASCII
)
_SEGMENT = re.compile(rf"-({_ID})-(\d{{1,9}})\.mp4$", re.ASCII)
SEGMENTS, JOURNALS = "segments", "journals"

Suspect = SegmentRef | str | Path
Objects = dict[str, int]  # key → bytes


async def check_site(
    places: Places,
    depth: Depth = Depth.SIZE,
    *,
    repair: bool = False,
    settle_seconds: float = SETTLE_SECONDS,
    on_progress: Callable[[int, int], None] | None = None,
    on_finding: Callable[[Finding], None] | None = None,
    clock: Clock | None = None,
) -> CheckReport:
    """Check everything within reach, and mend what is safe if asked to. Safe beside a running recorder and archiver.

    `on_progress` hears (segments seen, segments in the catalogue). Raises CatalogueError: without rows there is nothing
    to compare with.
    """
    walk = _Walk(places, depth, repair=repair, settle_seconds=settle_seconds, clock=clock or SystemClock())
    walk.on_progress, walk.on_finding = on_progress, on_finding
    return await walk.run()


class _Walk:
    """One check, used once."""

    def __init__(self, places: Places, depth: Depth, *, repair: bool, settle_seconds: float, clock: Clock) -> None:
        self.report = CheckReport(depth)
        self.on_progress: Callable[[int, int], None] | None = None
        self.on_finding: Callable[[Finding], None] | None = None
        self._places, self._depth = places, depth
        self._catalogue = places.catalogue
        self._repairs = Repairs(places) if repair else None
        self._settle_seconds, self._clock = settle_seconds, clock
        self._spool = SpoolCheck(places, depth, clock)
        self._spools: frozenset[str] = frozenset()
        self._streams: list[UUID] = []
        self._known: frozenset[UUID] = frozenset()
        self._total = 0

    async def run(self) -> CheckReport:
        stores = await self._catalogue.stores()
        self._spools = frozenset(store.name for store in stores if store.kind.value == "spool")
        await self._places.probe(known=await self._catalogue.has_copies(self._places.store_name))
        self._streams = await self._catalogue.all_streams()
        self._known = frozenset(self._streams)
        self._total = await self._catalogue.count_segments()
        await self._tour()
        await self._compare_spans()
        await self._confirm(await self._spool.suspects(self._known))
        self.report.waiting = self._spool.waiting
        for held in await self._catalogue.condemned_under_hold(HOLD_MARGIN_NS, MOST_HELD):
            detail = f"condemned although the hold {held.hold_id} covers it"
            about = (held.stream_id, held.ref, held.start_ns, held.end_ns)
            await self._tell(Finding(Kind.HELD_CONDEMNED, detail, "", "", *about))
        for finding in await self._spool.never_closed(stores):
            await self._tell(finding)
        self.report.read_bytes = self._places.read_bytes
        for store in stores:
            near = store.name in (self._places.store_name, self._places.spool_name)
            error = self._places.errors.get(store.name) if near else "not one that the settings of this host name"
            unknown = self.report.unknown[store.name]
            self.report.stores.append(StoreSeen(store.name, store.kind.value, near, error, unknown))
        self.report.unknown += Counter()  # without the zeros that asking left
        error = self._places.errors.get(self._places.store_name)
        if error is not None and all(store.name != self._places.store_name for store in stores):
            self.report.stores.append(StoreSeen(self._places.store_name, "", error=error))
        return self.report

    # -- the walk -------------------------------------------------------------------------------------------------

    async def _tour(self) -> None:
        """Visit every stream and day of which there are objects or rows, each once where the store lists in order."""
        current: tuple[str, UUID] | None = None
        seen: set[int] = set()
        done: set[tuple[str, UUID]] = set()
        if not (self._places.unused or self._places.is_away(self._places.store_name)):
            try:
                async for kind, stream_id, day, objects in self._days():
                    if (kind, stream_id) != current:
                        if current is not None:
                            await self._rest(*current, seen)
                        current, seen = (kind, stream_id), set()
                        done.add(current)
                    await self._visit(kind, stream_id, day, objects)
                    seen.add(day)
            except (StoreUnavailable, StoreDenied) as error:
                self._places.errors[self._places.store_name] = str(error)
        if current is not None:
            await self._rest(*current, seen)
        for kind in (SEGMENTS, JOURNALS):
            for stream_id in self._streams:
                if (kind, stream_id) not in done:
                    await self._rest(kind, stream_id, set())

    async def _rest(self, kind: str, stream_id: UUID, seen: set[int]) -> None:
        """Days with rows of which no object was listed."""
        days_of = self._catalogue.segment_days if kind == SEGMENTS else self._catalogue.journal_days
        for day in await days_of(stream_id):
            if day not in seen:
                away = self._places.is_away(self._places.store_name)
                await self._visit(kind, stream_id, day, None if away else {})

    async def _visit(self, kind: str, stream_id: UUID, day: int, objects: Objects | None) -> None:
        """A stream's day with its objects of one kind; None: the store is away."""
        if kind == SEGMENTS:
            await self._segments_of_day(stream_id, day, objects)
        elif objects is not None:
            await self._journals_of_day(stream_id, day, objects)

    async def _days(self) -> AsyncIterator[tuple[str, UUID, int, Objects]]:
        """(kind, stream, day, objects): what is listed one after another below one day's folder. The rest is told."""
        store = self._places.store_name
        folder: tuple[str, UUID, int] | None = None
        objects: Objects = {}
        async with aclosing(timed(self._places.store.list(""))) as listed:
            async for info in listed:
                self.report.objects += 1
                match = _DAY_KEY.fullmatch(info.key)
                day = _day_number(match[3]) if match else None
                if info.key.startswith("probes/"):
                    detail = "left by a start-up probe that was broken off"
                    await self._tell(Finding(Kind.PROBE_LEFT, detail, store, info.key))
                elif match is None or day is None:
                    detail = "not a key of this program"
                    await self._tell(Finding(Kind.ORPHAN_GARBAGE, detail, store, info.key))
                else:
                    here = (match[1], UUID(match[2]), day)
                    if folder is not None and (here != folder or len(objects) >= MOST_KEYS):
                        yield *folder, objects
                        objects = {}
                    folder = here
                    objects[info.key] = info.size_bytes
        if folder is not None:
            yield *folder, objects

    async def _segments_of_day(self, stream_id: UUID, day: int, objects: Objects | None) -> None:
        within = TimeRange(day * DAY_NS, (day + 1) * DAY_NS)
        found = await self._catalogue.segments([stream_id], within) if stream_id in self._known else []
        of_day = [segment for segment in found if within.contains(segment.start_ns)]
        for finding in overlaps(found):
            if finding.start_ns is not None and within.contains(finding.start_ns):  # else the day before has told it
                await self._tell(finding)
        await self._compare_runs(stream_id, within, of_day)
        suspects: dict[Suspect, None] = {}
        named: set[str] = set()
        for start in range(0, len(of_day), PARALLEL):
            page = of_day[start : start + PARALLEL]
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._is_suspect(s, objects), name=f"check {s.number}") for s in page]
            suspects |= {s.ref: None for s, task in zip(page, tasks, strict=True) if task.result()}
            named |= {copy.key for s in page for copy in s.copies if copy.store == self._places.store_name}
            self.report.segments += len(page)
            copies = [copy.store for s in page for copy in s.copies]
            unknown = [store for store in copies if self._places.is_away(store)]
            self.report.copies += len(copies) - len(unknown)
            self.report.unknown.update(unknown)
            if self.on_progress is not None:
                self.on_progress(self.report.segments, max(self._total, self.report.segments))
        suspects |= {key: None for key in objects or () if key not in named}
        await self._confirm(suspects)

    async def _is_suspect(self, segment: RecordedSegment, objects: Objects | None) -> bool:
        """Whether any copy must be examined. The listing spares a request for each object that is as it should be."""
        if not segment.copies:
            return True
        for copy in segment.copies:
            listed = (objects or {}).get(copy.key) if copy.store == self._places.store_name else None
            if listed is not None and self._depth <= Depth.SIZE:
                sound = self._depth is Depth.PRESENCE or listed == copy.size_bytes
                seen = Seen.SOUND if sound else Seen.WRONG_SIZE
            else:
                seen = (await self._places.look(segment, copy, self._depth)).seen
            if seen is Seen.UNKNOWN:
                continue
            if (seen is Seen.SOUND) != (copy.state.value == "present"):
                return True
        return all(copy.state.value != "present" for copy in segment.copies)

    async def _compare_runs(self, stream_id: UUID, within: TimeRange, of_day: list[RecordedSegment]) -> None:
        if not of_day:
            return
        ends = {r.id: r.end_ns for r in await self._catalogue.runs(stream_id, within.start_ns, within.end_ns)}
        for segment in of_day:
            end_ns = ends.get(segment.run_id, 0)
            if end_ns is not None and end_ns < segment.end_ns:
                detail = "its run is stated to have ended before it"
                about = (segment.stream_id, segment.ref, segment.start_ns, segment.end_ns)
                await self._tell(Finding(Kind.RUN_TOO_SHORT, detail, "", "", *about))

    async def _compare_spans(self) -> None:
        """The timeline's merged spans against the segments that they stand for."""
        for stream_id in self._streams:
            for day in await self._catalogue.span_days(stream_id):
                differing = await self._catalogue.differing_spans(stream_id, day)
                if differing:
                    seconds = sum(part.duration_ns for part in differing) / 1e9
                    detail = f"what the timeline shows of this day differs from its segments by {seconds:.3f} s"
                    begins_ns = day * DAY_NS
                    await self._tell(
                        Finding(
                            Kind.SPANS_DIFFER, detail,
                            stream_id=stream_id, start_ns=begins_ns, end_ns=begins_ns + DAY_NS,
                        )
                    )  # fmt: skip

    async def _journals_of_day(self, stream_id: UUID, day: int, objects: Objects) -> None:
        """A journal needs no row, for its key says what it is; a row needs its journal."""
        rows = []
        if stream_id in self._known:
            rows = await self._catalogue.journals(stream_id, day * DAY_NS, (day + 1) * DAY_NS)
        for row in rows:
            if row.key not in objects and await self._places.head(row.key) is None:
                detail = "the catalogue names this journal, and there is none"
                about = (self._places.store_name, row.key, stream_id)
                await self._tell(Finding(Kind.JOURNAL_MISSING, detail, *about, start_ns=row.hour_ns))
        digests = {row.key: row.digest for row in rows}
        for key in objects:
            detail = ""
            if self._depth >= Depth.DIGEST:
                detail = await self._places.journal_problem(key, digests.get(key)) or ""
            if detail:
                await self._tell(Finding(Kind.WRONG_BYTES, detail, self._places.store_name, key, stream_id))

    # -- suspicions -----------------------------------------------------------------------------------------------

    async def _confirm(self, suspects: Iterable[Suspect]) -> None:
        """Tell what two looks at a suspect, a moment apart, find alike."""
        first = [(suspect, found) for suspect in suspects if (found := await self._examine(suspect))]
        if not first:
            return
        if self._settle_seconds > 0:
            await self._clock.sleep(self._settle_seconds)
        for suspect, before in first:
            same = {finding.same for finding in before}
            for finding in await self._examine(suspect):
                if finding.same in same:
                    await self._tell(finding)

    async def _tell(self, finding: Finding) -> None:
        if self._repairs is not None:
            finding = await self._repairs.mend(finding)
        self.report.add(finding)
        if self.on_finding is not None:
            self.on_finding(finding)

    async def _examine(self, suspect: Suspect) -> list[Finding]:
        try:
            if isinstance(suspect, SegmentRef):
                return await self._examine_segment(suspect)
            if isinstance(suspect, Path):
                return await self._spool.examine(suspect, self._known)
            return await self._examine_object(suspect)
        except (StoreUnavailable, StoreDenied) as error:
            self._places.errors[self._places.store_name] = str(error)
            return []

    async def _examine_segment(self, ref: SegmentRef) -> list[Finding]:
        """Row, bytes, row again: a copy row that stands before and after its bytes were missed is wrong.

        For a row leaves before its bytes do, and comes after them.
        """
        before = await self._catalogue.segment(ref)
        if before is None:
            return []
        looks = {copy.store: await self._places.look(before, copy, self._depth) for copy in before.copies}
        after = await self._catalogue.segment(ref)
        if after is None or after.copies != before.copies:
            return []  # on its way; whatever is wrong then, the next check finds it
        return judge(after, looks, self._spools)

    async def _examine_object(self, key: str) -> list[Finding]:
        """An object that no row of its day named."""
        if await self._places.head(key) is None:
            return []
        store = self._places.store_name
        match = _SEGMENT.search(key)
        assert match is not None  # only keys of this form are looked at here
        ref = SegmentRef(UUID(match[1]), int(match[2]))
        fate = (await self._catalogue.fates([ref]))[ref]
        named = fate.segment is not None and any((c.store, c.key) == (store, key) for c in fate.segment.copies)
        if named or (store, key) in fate.condemned or await self._is_uploading(key, fate.segment):
            return []
        if fate.gone:
            detail = "an object of a segment that was condemned or deleted, and nothing says that it must go"
            return [Finding(Kind.DELETED_LEFT_OVER, detail, store, key, ref=ref)]
        try:
            return await inspect_orphan(self._places, key, self._known, self._depth)
        except ObjectMissing:
            return []

    async def _is_uploading(self, key: str, segment: RecordedSegment | None) -> bool:
        """Whether a spool still has the segment: then its object came first and the row will follow, now or later."""
        if segment is not None:
            if any(copy.store in self._spools and copy.state.value == "present" for copy in segment.copies):
                return segment_key(segment.stream_id, segment.run_id, segment.number, segment.start_ns) == key
            return False
        _, stream_id, *_, name = key.split("/")
        return await asyncio.to_thread((self._places.spool.sealed_path / sealed_name(stream_id, name)).exists)


def _day_number(text: str) -> int | None:
    """ "2026/11/20" as whole days since 1970; None where there is no such day."""
    try:
        return date.fromisoformat(text.replace("/", "-")).toordinal() - date(1970, 1, 1).toordinal()
    except ValueError:
        return None
