"""Recorded footage back as access units, wherever its bytes are: an open segment, the spool, or any copy.

Owns finding the bytes of a segment (the spool's own disk first, then copies as the catalogue names them), the order in
which they are tried, and where decoding must begin; the choice between overlapping runs is `coverage.choose`, the format
is `segment_reader`. Segments that are sealed but not registered yet, and those still being written, are found in the
spool, so that the newest footage and that of a night without a catalogue can be read too. Blocking reads run in threads.

Invariants: a range is streamed, at most one batch of units, one fragment and a few blocks of an object are held; whoever
stops reading early (`contextlib.aclosing`) leaves no file and no connection open.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from uuid import UUID

from storage.catalogue.coverage import MEET_NS, Chosen, Part, choose
from storage.catalogue.values import Copy, CopyState, RecordedSegment, SegmentRef, StreamTimeline
from storage.local_segments import local_segments
from storage.objects.base import ObjectStore
from storage.segment_bytes import ObjectSource, hash_file, in_thread
from storage.spool import Spool
from vms.errors import CatalogueUnavailable, DigestMismatch, MalformedError, ObjectMissing, StoreError
from vms.media.boxes import ByteSource, FileSource
from vms.media.segment_reader import SegmentReader
from vms.model import AccessUnit, Origin, TimedUnit
from vms.timeline import TimeRange

if TYPE_CHECKING:
    from storage.catalogue import Catalogue

BATCH_UNITS = 64
WRITING_NS = 3_000_000_000  # an open segment that ended longer ago than this is not being written
LEADING_NS = 5_000_000_000  # pictures shown before a segment's first random-access picture follow its start closely
LONGEST_LEAD_IN = 24  # segments; two hours without a random-access picture
FAR_PTS = 1 << 62


class Reader:
    """Reads one site's footage. `stores` maps the catalogue's store names to open object stores."""

    def __init__(self, catalogue: Catalogue | None, spool: Spool, stores: dict[str, ObjectStore]) -> None:
        self._catalogue = catalogue
        self._spool = spool
        self._stores = stores

    async def segments(self, stream_id: UUID, within: TimeRange) -> list[RecordedSegment]:
        """Every segment that overlaps the range, unclipped, by start: registered, sealed and open ones.

        Without a catalogue, or while it is away, those of the spool.
        """
        # The spool first: what leaves it meanwhile is in the catalogue by then.
        found = {s.ref: s for s in await in_thread(lambda: local_segments(self._spool, stream_id, within))}
        if self._catalogue is not None:
            with contextlib.suppress(CatalogueUnavailable):
                found |= {s.ref: s for s in await self._catalogue.segments([stream_id], within)}
        return sorted(found.values(), key=lambda segment: (segment.start_ns, segment.number))

    async def timeline(self, stream_id: UUID, within: TimeRange, now_ns: int) -> StreamTimeline:
        """Coverage of the range, what the catalogue does not know yet included. Raises CatalogueUnavailable."""
        if self._catalogue is None:
            raise CatalogueUnavailable("a timeline needs the catalogue: it knows what was expected")
        local = await in_thread(lambda: local_segments(self._spool, stream_id, within))
        # What is being written reaches the file half a second at a time: its newest moment is not missing yet.
        newest = max((segment.end_ns for segment in local if segment.location == "open"), default=0)
        if 0 < now_ns - newest < WRITING_NS:
            now_ns = newest
        timelines = await self._catalogue.timelines(
            [stream_id],
            within,
            now_ns=now_ns,
            still_open={stream_id: [Part(s.range, s.run_id, s.origin is Origin.LIVE) for s in local]},
            tolerance_ns=MEET_NS,
        )
        return timelines[stream_id]

    async def units(
        self, stream_id: UUID, within: TimeRange, *, decodable: bool = True
    ) -> AsyncGenerator[tuple[RecordedSegment, TimedUnit]]:
        """Access units of the range in decoding order, one segment per instant, each with the segment it is from.

        With `decodable` every stretch begins at the random-access picture before it, be it in a segment before, and ends
        with what its last pictures refer to; units outside the range are for the decoder only. Without it, exactly those
        of the range. Raises StoreError when a copy cannot be read and no other can.
        """
        before: Chosen | None = None
        for chosen in choose(await self.segments(stream_id, within)):
            clipped = chosen.range.intersect(within)
            if clipped is None:
                continue
            part = Chosen(clipped, chosen.segment)
            on = before is not None and goes_on(before, part)
            async with contextlib.aclosing(self._part(part, decodable=decodable, goes_on=on)) as units:
                async for found in units:
                    yield found
            before = part

    async def segment_units(self, chosen: Chosen, *, decodable: bool = True) -> AsyncGenerator[TimedUnit]:
        """The units of one segment over a part of its range, as `units`; lead-in from segments before included."""
        async with contextlib.aclosing(self._part(chosen, decodable=decodable, goes_on=False)) as units:
            async for _, timed in units:
                yield timed

    async def lead_in(self, chosen: Chosen) -> list[RecordedSegment]:
        """The segments before it that decoding must begin in, in order: from the last random-access picture of the first.

        Empty where the segment has one itself, and where none can be found any more.
        """
        segment = chosen.segment
        near = chosen.range.start_ns - segment.start_ns < LEADING_NS
        if segment.number == 0 or (segment.independent and not near):
            return []
        async with self.source(segment) as source:
            stop = source.stop if isinstance(source, ObjectSource) else None
            if await in_thread(partial(_has_entry, source, chosen), stop):
                return []
        found: list[RecordedSegment] = []
        while segment.number > 0 and len(found) < LONGEST_LEAD_IN:
            before = await self._segment(segment.stream_id, SegmentRef(segment.run_id, segment.number - 1), segment)
            if before is None:
                return []
            found.insert(0, before)
            segment = before
            if before.independent:
                return found
            async with self.source(before) as source:
                stop = source.stop if isinstance(source, ObjectSource) else None
                if (await in_thread(partial(SegmentReader, source), stop)).index:
                    return found
        return []

    @contextlib.asynccontextmanager
    async def source(self, segment: RecordedSegment) -> AsyncIterator[ByteSource]:
        """The segment's bytes, to be read from a thread. Raises ObjectMissing when no copy can be read."""
        async with contextlib.aclosing(self._sources(segment)) as sources:
            async for source in sources:
                yield source
                return

    @contextlib.asynccontextmanager
    async def verified(self, segment: RecordedSegment, folder: Path) -> AsyncIterator[ByteSource]:
        """The segment's bytes as a local file whose SHA-256 was compared with the catalogue's (I6).

        An open segment has no digest yet and is given as far as it is whole. A copy in a store is fetched into a nameless
        file in `folder`. Raises DigestMismatch, also where another copy would fit: whoever asks for proof is to hear of
        it; OSError when `folder` cannot be written.
        """
        local = self._open_local(segment)
        if local is not None:
            with local as file:
                if segment.digest:
                    _compare(segment.digest, await in_thread(lambda: hash_file(file.fileno())), "the copy in the spool")
                yield FileSource(file.fileno())
            return
        failure: StoreError | None = None
        with contextlib.ExitStack() as undo:
            async with contextlib.aclosing(self._copies(segment, strict=True)) as copies:
                async for store, copy in copies:
                    target = undo.enter_context(tempfile.TemporaryFile(dir=folder))
                    try:
                        found = await _fetch(store, copy.key, target)
                    except StoreError as error:
                        failure = error
                        continue
                    _compare(segment.digest or copy.digest, found, f"{store.name}: {copy.key}")
                    failure = None
                    break
            if failure is not None:
                raise failure
            yield FileSource(target.fileno())

    async def _part(
        self, part: Chosen, *, decodable: bool, goes_on: bool
    ) -> AsyncGenerator[tuple[RecordedSegment, TimedUnit]]:
        """The units of a part of a segment, after its lead-in unless the part goes on from what was read before."""
        if decodable and not goes_on:
            for before in await self.lead_in(part):
                async with contextlib.aclosing(self._read(before, lambda opened: opened.units(FAR_PTS))) as units:
                    async for timed in units:
                        yield before, timed

        def pick(opened: SegmentReader) -> Iterator[AccessUnit]:
            start, end = bounds(opened, part, goes_on=goes_on)
            return (u for u in opened.units(start, end) if decodable or start <= u.pts < end)

        async with contextlib.aclosing(self._read(part.segment, pick)) as units:
            async for timed in units:
                yield part.segment, timed

    async def _read(
        self, segment: RecordedSegment, pick: Callable[[SegmentReader], Iterator[AccessUnit]]
    ) -> AsyncGenerator[TimedUnit]:
        """What `pick` chooses of a segment. A copy that fails midway is gone on from in the next."""
        given = 0
        failure: StoreError | MalformedError | None = None
        async with contextlib.aclosing(self._sources(segment, failure_before=lambda: failure)) as sources:
            async for source in sources:
                batches = _batches(source, pick, given)
                stop = source.stop if isinstance(source, ObjectSource) else None
                try:
                    while batch := await in_thread(partial(_next, batches), stop):
                        for timed in batch:
                            given += 1
                            yield timed
                except (StoreError, MalformedError) as error:
                    failure = error
                    continue
                return

    async def _sources(
        self, segment: RecordedSegment, failure_before: Callable[[], Exception | None] = lambda: None
    ) -> AsyncGenerator[ByteSource]:
        """Every place the segment can be read from, best first; each is closed when the next is asked for.

        Raises StoreError after the last.
        """
        local = self._open_local(segment)
        if local is not None:
            with local as file:
                yield FileSource(file.fileno())
        try:
            async with contextlib.aclosing(self._copies(segment)) as copies:
                async for store, copy in copies:
                    source = ObjectSource(store, copy.key, copy.size_bytes, asyncio.get_running_loop())
                    try:
                        yield source
                    finally:
                        source.stop()
        except ObjectMissing as error:
            before = failure_before()
            if before is not None:
                raise StoreError(f"segment {segment.number} of run {segment.run_id}: {before}") from error
            raise
        raise StoreError(f"segment {segment.number} of run {segment.run_id}: {failure_before()}") from failure_before()

    async def _copies(
        self, segment: RecordedSegment, *, strict: bool = False
    ) -> AsyncGenerator[tuple[ObjectStore, Copy]]:
        """Copies in object stores that answer and state the right size and digest; raises when there is none at all.

        Asks the catalogue anew, for what was in the spool may have been archived meanwhile. `strict`: a copy that states
        other bytes raises DigestMismatch instead of being passed over.
        """
        now = segment
        if self._catalogue is not None:
            with contextlib.suppress(CatalogueUnavailable):
                now = await self._catalogue.segment(segment.ref) or segment
        failure: StoreError = ObjectMissing(f"segment {segment.number} of run {segment.run_id}: no copy can be reached")
        good = 0
        for copy in now.copies:
            store = self._stores.get(copy.store)
            if store is None or copy.state is not CopyState.PRESENT:
                continue
            try:
                info = await store.head(copy.key)
                if info.size_bytes != copy.size_bytes:
                    raise DigestMismatch(f"{store.name}: {copy.key} has {info.size_bytes} bytes, not {copy.size_bytes}")
                if info.digest is not None:
                    _compare(now.digest, info.digest, f"{store.name}: {copy.key}")
            except StoreError as error:
                if strict and isinstance(error, DigestMismatch):
                    raise
                failure = error
                continue
            good += 1
            yield store, copy
        if not good:
            raise failure

    async def _segment(self, stream_id: UUID, ref: SegmentRef, after: RecordedSegment) -> RecordedSegment | None:
        """One segment that ends before `after` begins, from the spool or the catalogue."""
        # A segment lasts minutes; anything longer than an hour is refused everywhere.
        within = TimeRange(after.start_ns - 3_600_000_000_000, after.start_ns + 1)
        return next((s for s in await self.segments(stream_id, within) if s.ref == ref), None)

    def _open_local(self, segment: RecordedSegment) -> BinaryIO | None:
        """The spool's file, sealed or open; sealing renames it, so the sealed name is tried before and after."""
        sealed = self._spool.sealed_file(segment)
        part = self._spool.open_path / f"{segment.stream_id}-{segment.run_id}-{segment.number}.part"
        for path in (sealed, part, sealed):
            with contextlib.suppress(FileNotFoundError):
                return path.open("rb")
        return None


def goes_on(before: Chosen, after: Chosen) -> bool:
    """Whether one part follows the other without anything between them in one run."""
    return (
        before.segment.run_id == after.segment.run_id
        and after.segment.number - before.segment.number in (0, 1)
        and after.range.start_ns - before.range.end_ns <= MEET_NS
        and (before.segment.number == after.segment.number or before.range.end_ns >= before.segment.end_ns)
    )


def bounds(opened: SegmentReader, part: Chosen, *, goes_on: bool = False) -> tuple[int, int]:
    """[start, end) of a part in media time of the run; beyond all media time where it reaches the segment's border.

    `goes_on`: the part before it ended at this segment's start, whatever rounding makes of that.
    """
    mapping, segment = opened.head.mapping, part.segment
    start, end = mapping.ticks_at(part.range.start_ns), mapping.ticks_at(part.range.end_ns)
    slack = MEET_NS if goes_on else 0
    if part.range.start_ns <= segment.start_ns + slack:
        start = -FAR_PTS
    if part.range.end_ns >= segment.end_ns and segment.location != "open":
        end = FAR_PTS  # an open one may have grown since it was listed
    return start, end


@dataclass(frozen=True, slots=True)
class SegmentPart:
    """A part of a segment whose bytes are at hand: [start_pts, end_pts) in media time of the run is wanted of it."""

    segment: RecordedSegment
    reader: SegmentReader
    start_pts: int
    end_pts: int


def _has_entry(source: ByteSource, chosen: Chosen) -> bool:
    """Whether the segment has a random-access picture at or before the part's start."""
    opened = SegmentReader(source)
    start = max(bounds(opened, chosen)[0], opened.head.start_ticks)
    return any(pts <= start for pts, _ in opened.index)


def _batches(
    source: ByteSource, pick: Callable[[SegmentReader], Iterator[AccessUnit]], skip: int
) -> Iterator[list[TimedUnit]]:
    opened = SegmentReader(source)
    capture_ns = opened.head.mapping.capture_ns
    units = islice(pick(opened), skip, None)
    while batch := [TimedUnit(unit, capture_ns(unit.pts)) for unit in islice(units, BATCH_UNITS)]:
        yield batch


def _next(batches: Iterator[list[TimedUnit]]) -> list[TimedUnit]:
    return next(batches, [])


async def _fetch(store: ObjectStore, key: str, target: BinaryIO) -> bytes:
    """Write an object to an open file; its SHA-256."""
    digest = hashlib.sha256()

    def take(block: bytes) -> None:
        digest.update(block)
        target.write(block)

    async with contextlib.aclosing(_blocks(store, key)) as blocks:
        async for block in blocks:
            await in_thread(partial(take, block))
    await in_thread(target.flush)
    return digest.digest()


async def _blocks(store: ObjectStore, key: str) -> AsyncGenerator[bytes]:
    stream = store.get(key)
    try:
        async for block in stream:
            yield block
    finally:
        close = getattr(stream, "aclose", None)
        if close is not None:
            await close()


def _compare(sealed: bytes, found: bytes, where: str) -> None:
    if sealed and found != sealed:
        raise DigestMismatch(
            f"{where} has SHA-256 {found.hex()}, but {sealed.hex()} was sealed: these are not the bytes that were recorded; "
            "do not use this copy"
        )
