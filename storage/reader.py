"""Recorded footage back as access units, wherever its bytes are: an open segment, the spool, or any copy.

Owns finding the bytes of a segment (the spool's own disk first, then copies as the catalogue names them) and the order
in which they are tried; the choice between overlapping runs is `coverage.choose`, the format is `segment_reader`.
Segments that are sealed but not registered yet, and those still being written, are found in the spool, so that the
newest footage and that of a night without a catalogue can be read too. Blocking reads run in threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import tempfile
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from storage.catalogue import Catalogue
from storage.catalogue.coverage import Chosen, choose
from storage.catalogue.values import CopyState, RecordedSegment, StreamTimeline
from storage.objects.base import ObjectStore
from storage.spool import PartFile, SealedSegment, Spool
from vms.errors import CatalogueUnavailable, DigestMismatch, MalformedError, ObjectMissing, StoreError
from vms.media.boxes import ByteSource, FileSource
from vms.media.segment_reader import SegmentReader, scan_open
from vms.model import Origin, SegmentFacts, TimedUnit
from vms.timeline import TimeRange

READ_BLOCK_BYTES = 1 << 20  # one ranged get; a fragment of 0.5 s at 4 Mbit/s is a quarter of it
CACHED_BLOCKS = 8
BATCH_UNITS = 64
GET_SECONDS = 60.0
WRITING_NS = 3_000_000_000  # an open segment that ended longer ago than this is not being written
JOIN_NS = 2_000_000  # neighbours meet at a tick; a clock mapping rounds by less than this


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
        found: list[RecordedSegment] = []
        if self._catalogue is not None:
            with contextlib.suppress(CatalogueUnavailable):
                found = await self._catalogue.segments([stream_id], within)
        known = {segment.ref for segment in found}
        local = await asyncio.to_thread(self._local_segments, stream_id, within)
        found += [segment for segment in local if segment.ref not in known]
        return sorted(found, key=lambda segment: (segment.start_ns, segment.number))

    async def timeline(self, stream_id: UUID, within: TimeRange, now_ns: int) -> StreamTimeline:
        """Coverage of the range, what the catalogue does not know yet included. Raises CatalogueUnavailable."""
        if self._catalogue is None:
            raise CatalogueUnavailable("a timeline needs the catalogue: it knows what was expected")
        local = await asyncio.to_thread(self._local_segments, stream_id, within)
        # What is being written reaches the file half a second at a time: its newest moment is not missing yet.
        newest = max((segment.end_ns for segment in local if segment.location == "open"), default=0)
        if 0 < now_ns - newest < WRITING_NS:
            now_ns = newest
        timelines = await self._catalogue.timelines(
            [stream_id],
            within,
            now_ns=now_ns,
            still_open={stream_id: [segment.range for segment in local]},
            tolerance_ns=JOIN_NS,
        )
        return timelines[stream_id]

    async def units(
        self, stream_id: UUID, within: TimeRange, *, decodable: bool = True
    ) -> AsyncIterator[tuple[RecordedSegment, TimedUnit]]:
        """Access units of the range in decoding order, one segment per instant, each with the segment it is from.

        With `decodable` every stretch begins at the random-access picture before it and ends with what its last
        pictures refer to; units outside the range are for the decoder only. Without it, exactly those of the range.
        Raises StoreError when a copy cannot be read and no other can.
        """
        for chosen in choose(await self.segments(stream_id, within)):
            part = chosen.range.intersect(within)
            if part is None:
                continue
            async for timed in self.segment_units(Chosen(part, chosen.segment), decodable=decodable):
                yield chosen.segment, timed

    async def segment_units(self, chosen: Chosen, *, decodable: bool = True) -> AsyncIterator[TimedUnit]:
        """The units of one segment over a part of its range."""
        async with self.source(chosen.segment) as source:
            batches = await asyncio.to_thread(_open_units, source, chosen.range, decodable)
            while batch := await asyncio.to_thread(lambda: list(islice(batches, BATCH_UNITS))):
                for timed in batch:
                    yield timed

    @contextlib.asynccontextmanager
    async def source(self, segment: RecordedSegment) -> AsyncIterator[ByteSource]:
        """The segment's bytes, to be read from a thread. Raises ObjectMissing when no copy can be read."""
        local = self._open_local(segment)
        if local is not None:
            with local as file:
                yield FileSource(file.fileno())
            return
        store, key = await self._remote(segment)
        yield _ObjectSource(store, key, segment.size_bytes, asyncio.get_running_loop())

    @contextlib.asynccontextmanager
    async def verified(self, segment: RecordedSegment, folder: Path) -> AsyncIterator[ByteSource]:
        """The segment's bytes as a local file whose SHA-256 was compared with the catalogue's (I6).

        An open segment has no digest yet and is given as far as it is whole. Raises DigestMismatch.
        """
        local = self._open_local(segment)
        if local is not None:
            with local as file:
                if segment.digest:
                    _compare(segment, await asyncio.to_thread(_hash_file, file.fileno()), "the copy in the spool")
                yield FileSource(file.fileno())
            return
        store, key = await self._remote(segment)
        with tempfile.TemporaryFile(dir=folder) as copy:
            digest = hashlib.sha256()
            async with contextlib.aclosing(_aiter(store, key)) as blocks:
                async for block in blocks:
                    digest.update(block)
                    copy.write(block)
            copy.flush()
            _compare(segment, digest.digest(), f"{store.name}: {key}")
            yield FileSource(copy.fileno())

    def _open_local(self, segment: RecordedSegment) -> BinaryIO | None:
        """The spool's file, sealed or open; sealing renames it, so the sealed name is tried before and after."""
        sealed = f"{segment.stream_id}_{segment.start_ns}-{segment.run_id}-{segment.number}.mp4"
        part = f"{segment.stream_id}-{segment.run_id}-{segment.number}.part"
        for path in (self._spool.sealed_path / sealed, self._spool.open_path / part, self._spool.sealed_path / sealed):
            with contextlib.suppress(FileNotFoundError):
                return path.open("rb")
        return None

    async def _remote(self, segment: RecordedSegment) -> tuple[ObjectStore, str]:
        """A copy in an object store; asks the catalogue anew, for a spool copy may have been archived meanwhile."""
        now = segment
        if self._catalogue is not None:
            now = await self._catalogue.segment(segment.ref) or segment
        failure: StoreError = ObjectMissing(f"segment {segment.number} of run {segment.run_id}: no copy can be reached")
        for copy in now.copies:
            store = self._stores.get(copy.store)
            if store is None or copy.state is not CopyState.PRESENT:
                continue
            try:
                await store.head(copy.key)
            except StoreError as error:
                failure = error
                continue
            return store, copy.key
        raise failure

    def _local_segments(self, stream_id: UUID, within: TimeRange) -> list[RecordedSegment]:
        """Sealed and open segments of the spool that overlap the range."""
        found = []
        for sealed in self._spool.sealed(stream_id):
            facts = sealed.facts or _facts_of(sealed)
            if facts is not None and facts.start_ns < within.end_ns and facts.end_ns > within.start_ns:
                found.append(_recorded(facts, "spool"))
        for part in self._spool.parts(stream_id):
            segment = _open_segment(part)
            if segment is not None and segment.range.overlaps(within):
                found.append(segment)
        return found


class _ObjectSource:
    """An object as a `ByteSource` for a thread, fetched a block at a time through the event loop."""

    def __init__(self, store: ObjectStore, key: str, size_bytes: int, loop: asyncio.AbstractEventLoop) -> None:
        self._store = store
        self._key = key
        self._loop = loop
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self.size = size_bytes

    def read(self, offset: int, length: int) -> bytes:
        end = min(offset + length, self.size)
        parts = []
        while offset < end:
            number, skip = divmod(offset, READ_BLOCK_BYTES)
            part = self._block(number)[skip : skip + end - offset]
            if not part:
                break
            parts.append(part)
            offset += len(part)
        return b"".join(parts)

    def _block(self, number: int) -> bytes:
        block = self._blocks.get(number)
        if block is None:
            reading = self._store.read(self._key, number * READ_BLOCK_BYTES, READ_BLOCK_BYTES)
            block = asyncio.run_coroutine_threadsafe(reading, self._loop).result(GET_SECONDS)
            self._blocks[number] = block
            if len(self._blocks) > CACHED_BLOCKS:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(number)
        return block


@dataclass(frozen=True, slots=True)
class SegmentPart:
    """What of a segment a range needs: [start_pts, end_pts) in media time of the run."""

    reader: SegmentReader
    start_pts: int
    end_pts: int


def part_of(source: ByteSource, within: TimeRange) -> SegmentPart:
    """Open a segment for a range. Raises MalformedError."""
    reader = SegmentReader(source)
    mapping = reader.head.mapping
    return SegmentPart(reader, mapping.ticks_at(within.start_ns), mapping.ticks_at(within.end_ns))


def _open_units(source: ByteSource, within: TimeRange, decodable: bool) -> Iterator[TimedUnit]:
    part = part_of(source, within)
    capture_ns = part.reader.head.mapping.capture_ns
    for unit in part.reader.units(part.start_pts, part.end_pts):
        if decodable or part.start_pts <= unit.pts < part.end_pts:
            yield TimedUnit(unit, capture_ns(unit.pts))


async def _aiter(store: ObjectStore, key: str) -> AsyncGenerator[bytes]:
    async for block in store.get(key):
        yield block


def _compare(segment: RecordedSegment, found: bytes, where: str) -> None:
    if segment.digest and found != segment.digest:
        raise DigestMismatch(
            f"{where} has SHA-256 {found.hex()}, but {segment.digest.hex()} was sealed: these are not the bytes that "
            "were recorded; do not use this copy"
        )


def _hash_file(descriptor: int) -> bytes:
    digest = hashlib.sha256()
    offset = 0
    while block := os.pread(descriptor, READ_BLOCK_BYTES, offset):
        digest.update(block)
        offset += len(block)
    return digest.digest()


def _facts_of(sealed: SealedSegment) -> SegmentFacts | None:
    try:
        with sealed.path.open("rb") as file:
            return SegmentReader(FileSource(file.fileno())).facts(_hash_file(file.fileno()))
    except (FileNotFoundError, MalformedError):
        return None  # archived meanwhile, or damaged: the archiver reports that


def _recorded(facts: SegmentFacts, location: str) -> RecordedSegment:
    """A segment of the spool in the catalogue's form; arrival 0, for it has none yet."""
    return RecordedSegment(
        arrival=0,
        stream_id=facts.stream_id,
        run_id=facts.run_id,
        number=facts.number,
        start_ns=facts.start_ns,
        end_ns=facts.end_ns,
        duration_ticks=facts.duration_ticks,
        clock_hz=facts.clock_hz,
        size_bytes=facts.size_bytes,
        digest=facts.digest,
        seal=facts.seal,
        independent=facts.independent,
        damaged=facts.damaged_units > 0,
        codec=facts.codec,
        width=facts.width,
        height=facts.height,
        origin=Origin.LIVE,
        copies=(),
        location=location,
    )


def _open_segment(part: PartFile) -> RecordedSegment | None:
    """What is whole of a file being written; None before its first fragment."""
    try:
        with part.path.open("rb") as file:
            scan = scan_open(FileSource(file.fileno()))
    except (FileNotFoundError, MalformedError):
        return None  # sealed meanwhile, or not even its head is there
    if not scan.fragments:
        return None
    head, config = scan.start.head, scan.start.config
    start_ns = head.mapping.capture_ns(head.start_ticks)
    end_ticks = max(fragment.end_pts for fragment in scan.fragments)
    facts = SegmentFacts(
        stream_id=head.stream_id,
        run_id=head.run_id,
        number=head.number,
        start_ns=start_ns,
        end_ns=max(start_ns + 1, head.mapping.capture_ns(end_ticks)),
        clock_hz=config.clock_hz,
        duration_ticks=end_ticks - head.start_ticks,
        size_bytes=scan.whole_bytes,
        digest=b"",
        seal=b"",
        units=sum(fragment.units for fragment in scan.fragments),
        key_units=sum(fragment.key for fragment in scan.fragments),
        damaged_units=0,
        independent=head.independent,
        codec=config.codec,
        width=config.width,
        height=config.height,
    )
    return _recorded(facts, "open")
