"""Footage of a range as plain MP4 files, bit for bit, exact to the frame, with a side file that states what is there.

Owns what an export consists of: one file per stretch of one run and one codec configuration without a gap of a second
or more, cut by an edit list, never re-encoded; and the order of its steps. Writing files stands in `storage.export_file`, the side file in
`storage.side_file`. Every segment's digest is compared before its bytes are used (I6). Nothing appears under its final
name until everything is whole; when it fails or is cancelled, nothing is left behind.
"""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

from storage.catalogue.coverage import MEET_NS, Chosen, choose
from storage.catalogue.values import Missing, RecordedSegment
from storage.export_file import (
    ExportedFile,
    ExportWriting,
    Sound,
    SourceSegment,
    file_names,
    refuse_existing,
    side_file,
)
from storage.reader import FAR_PTS, Reader, SegmentPart, bounds, goes_on
from storage.segment_bytes import in_thread
from storage.side_file import side_document
from vms.errors import MalformedError, StoreDenied, StoreError, StoreUnavailable, UserError, VmsError
from vms.media.boxes import ByteSource
from vms.media.segment_reader import SegmentReader
from vms.model import AccessUnit
from vms.timeline import TimeRange

# A shorter gap stays within its file, where the picture before it stands longer, and is stated in the side file: a link
# that loses one packet in a thousand would otherwise make hundreds of files of an hour.
SPLIT_NS = 1_000_000_000
SOUND_BEFORE_NS = 300_000_000  # of sound is read before the first picture, to warm its decoder up

SoundUnit = tuple[int, AccessUnit, SourceSegment]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Parts of consecutive segments of one run that go into one file."""

    parts: tuple[Chosen, ...]

    @property
    def range(self) -> TimeRange:
        return TimeRange(self.parts[0].range.start_ns, self.parts[-1].range.end_ns)


@dataclass(frozen=True, slots=True)
class Export:
    """An export whose files are whole. `missing` are the gaps within the range, clipped."""

    stream_id: UUID
    within: TimeRange
    whole_gops: bool
    files: tuple[ExportedFile, ...]
    missing: tuple[Missing, ...]
    side_file: Path


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be exported. `sound_id`: the stream of the camera's sound, to be joined where it is in one piece."""

    stream_id: UUID
    within: TimeRange
    whole_gops: bool = False
    sound_id: UUID | None = None


class Unexportable(StoreError):
    """Footage of the range whose bytes cannot be had, or are not those that were sealed; the message is about the segment.

    `bad`: from where to where nothing can be exported of it. `before_ns`, `after_ns`: the range up to the one and from the
    other is not known to be bad; None: there is none. `sound`: it is the sound that was to be joined.
    """

    def __init__(
        self, said: str, bad: TimeRange, before_ns: int | None, after_ns: int | None, *, sound: bool = False
    ) -> None:
        super().__init__(said)
        self.bad, self.before_ns, self.after_ns, self.sound = bad, before_ns, after_ns, sound


async def export(
    reader: Reader,
    wish: Wish,
    output: Path,
    *,
    now_ns: int,
    about: dict[str, Any],
    admit: Callable[[Export], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Export:
    """Write the range to `output`, or to `<stem>-1.mp4`, `<stem>-2.mp4` … where it takes several files, and `<stem>.json`.

    `about` opens the side file. `admit` is called with everything under its final name once all is on disk and before
    anything appears there: the place for the access log; what it raises ends the export. `progress(done_ns, total_ns)`
    is called after every segment. Raises UserError when a file is in the way, nothing was recorded or the folder refuses
    a write; Unexportable when a segment cannot be read or is not what was sealed (DigestMismatch is then its cause),
    StoreError when the store does not answer. Then, and when it is cancelled, no file is left behind.
    """
    timeline = await reader.timeline(wish.stream_id, wish.within, now_ns)
    missing = [m.range for m in timeline.missing if m.range.duration_ns >= SPLIT_NS]
    # What is known to be nowhere any more is a gap `lost` of the timeline, and stated as every gap is.
    segments = [s for s in await reader.segments(wish.stream_id, wish.within) if s.location != "nowhere"]
    stretches = plan(segments, wish.within, missing)
    if not stretches:
        reasons = ", ".join(sorted({m.reason.value for m in timeline.missing})) or "no recording was expected then"
        raise UserError(f"nothing was recorded in this range ({reasons}); `vms timeline` shows what there is")
    writing = ExportWriting(output)
    try:
        work = _Work(reader, wish, writing, folder=output.parent, now_ns=now_ns, progress=progress)
        await work.write(stretches, missing)
        temporary = await in_thread(writing.finish)
        names = file_names(output, len(temporary))
        files = tuple(replace(one, path=name) for one, name in zip(temporary, names, strict=True))
        done = Export(wish.stream_id, wish.within, wish.whole_gops, files, timeline.missing, side_file(output))
        for name in (*names, done.side_file):
            refuse_existing(name)
        side = writing.temporary()
        await in_thread(partial(_write, side, side_document(done, about)))
        if admit is not None:
            admit(done)
        pairs = [(one.path, name) for one, name in zip(temporary, names, strict=True)]
        await in_thread(partial(writing.publish, [*pairs, (side, done.side_file)]))
    except OSError as error:
        raise UserError(
            f"the export cannot be written to {output.parent}: {error.strerror or error}; choose another -o"
        ) from error
    finally:
        writing.undo()
    return done


class _Work:
    """One export under way: reads segments one after the other and hands them to the writing."""

    def __init__(
        self,
        reader: Reader,
        wish: Wish,
        writing: ExportWriting,
        *,
        folder: Path,
        now_ns: int,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self._reader, self._wish, self._folder, self._writing = reader, wish, folder, writing
        self._now_ns = now_ns
        self._progress = progress

    async def write(self, stretches: Sequence[Stretch], missing: Sequence[TimeRange]) -> None:
        # A gap's end is the capture time of the picture after it, up to rounding: that picture belongs behind it.
        ends = frozenset(gap.end_ns for gap in missing)
        total = sum(part.range.duration_ns for stretch in stretches for part in stretch.parts)
        done = 0
        for stretch in stretches:
            sound, left_out = await self._plan_sound(stretch.range)
            joined = Sound() if sound else None
            await self._in_thread(partial(self._writing.begin_stretch, joined, left_out))
            before: Chosen | None = None
            for part in stretch.parts:
                moved = Chosen(_moved(part.range, ends), part.segment)
                if joined is not None:
                    early = SOUND_BEFORE_NS if before is None else 0
                    around = TimeRange(part.range.start_ns - early, part.range.end_ns)
                    joined.units.extend(await self._read_sound(sound, around))
                try:
                    await self._write_part(moved, before)
                except (StoreError, MalformedError) as error:
                    after = [p for s in stretches for p in s.parts if p.range.start_ns >= part.range.end_ns]
                    raise await self._unexportable(error, part, after, first=not done) from error
                before = part
                done += part.range.duration_ns
                if self._progress:
                    self._progress(done, total)
            await self._in_thread(self._writing.end_file)

    async def _write_part(self, part: Chosen, before: Chosen | None) -> None:
        """A part, after what decoding it must begin with; with `whole_gops` widened where the range was cut."""
        on = before is not None and goes_on(before, part)
        within = self._wish.within
        widen_start = self._wish.whole_gops and part.range.start_ns == within.start_ns
        widen_end = self._wish.whole_gops and part.range.end_ns == within.end_ns
        lead_in = [] if on else await self._reader.lead_in(part)
        for segment in lead_in:
            async with self._reader.verified(segment, self._folder) as source:
                await self._in_thread(partial(self._add_lead_in, segment, source, shown=widen_start))

        def add(source: ByteSource) -> None:
            opened = _opened(part.segment, source)
            start, end = bounds(opened, part, goes_on=on)
            keys = [pts for pts, _ in opened.index]
            if widen_start:
                start = -FAR_PTS if lead_in else max((pts for pts in keys if pts <= start), default=-FAR_PTS)
            if widen_end:
                end = min((pts for pts in keys if pts >= end), default=FAR_PTS)
            self._add(SegmentPart(part.segment, opened, start, end))

        async with self._reader.verified(part.segment, self._folder) as source:
            await self._in_thread(partial(add, source))

    async def _unexportable(self, error: VmsError, part: Chosen, after: Sequence[Chosen], *, first: bool) -> VmsError:
        """Which time cannot be exported: the part's and that of those after it which cannot be had either.

        A store that gives nothing at all has no bad part: then the error itself.
        """
        away = isinstance(error, StoreUnavailable | StoreDenied)
        bad, next_ns = part.range, None
        for later in after:
            if await self._can_be_had(later.segment):
                next_ns = later.range.start_ns
                break
            if away:
                return error
            bad = TimeRange(bad.start_ns, later.range.end_ns)
        if away and next_ns is None:
            return error
        return Unexportable(str(error), bad, None if first else bad.start_ns, next_ns)

    async def _can_be_had(self, segment: RecordedSegment) -> bool:
        try:
            async with self._reader.source(segment):
                return True
        except StoreError:
            return False

    def _add_lead_in(self, segment: RecordedSegment, source: ByteSource, *, shown: bool) -> None:
        opened = _opened(segment, source)
        start = opened.index[-1][0] if shown and opened.index else -FAR_PTS if shown else FAR_PTS
        self._add(SegmentPart(segment, opened, start, FAR_PTS))

    def _add(self, part: SegmentPart) -> None:
        try:
            self._writing.add(part)
        except MalformedError as error:
            raise StoreError(f"segment {part.segment.number} of run {part.segment.run_id}: {error}") from error

    async def _in_thread(self, work: Callable[[], None]) -> None:
        await in_thread(work, self._stop)

    def _stop(self) -> None:
        self._writing.stopped = True

    async def _plan_sound(self, within: TimeRange) -> tuple[list[Chosen], str]:
        """The parts of the sound's segments to join to a stretch, or why there is none to join although some was."""
        sound_id = self._wish.sound_id
        if sound_id is None:
            return [], ""
        timeline = await self._reader.timeline(sound_id, within, self._now_ns)
        around = TimeRange(within.start_ns - SOUND_BEFORE_NS, within.end_ns)
        pieces = plan(await self._reader.segments(sound_id, around), around, [m.range for m in timeline.missing])
        pieces = [piece for piece in pieces if piece.range.overlaps(within)]
        if not pieces:
            return [], ""
        if len(pieces) > 1:
            return [], f"the sound is in {len(pieces)} pieces; export it alone with --stream audio"
        parts = list(pieces[0].parts)
        if len({(part.segment.codec, part.segment.clock_hz) for part in parts}) > 1:
            return [], "the sound changes its format; export it alone with --stream audio"
        return parts, ""

    async def _read_sound(self, parts: Sequence[Chosen], within: TimeRange) -> deque[SoundUnit]:
        """The sound whose capture time lies within, from whole segments of which a copy was compared."""
        found: deque[SoundUnit] = deque()

        def read(part: Chosen, source: ByteSource) -> None:
            opened = _opened(part.segment, source)
            of = SourceSegment(part.segment, opened.head, opened.trailer)
            start, end = bounds(opened, part)
            capture_ns = opened.head.mapping.capture_ns
            try:
                for unit in opened.units(start, end):
                    if start <= unit.pts < end and within.contains(at_ns := capture_ns(unit.pts)):
                        found.append((at_ns, unit, of))
            except MalformedError as error:
                raise StoreError(f"segment {part.segment.number} of run {part.segment.run_id}: {error}") from error

        for whole in parts:
            clipped = whole.range.intersect(within)
            if clipped is not None:
                part = Chosen(clipped, whole.segment)
                try:
                    async with self._reader.verified(part.segment, self._folder) as source:
                        await in_thread(partial(read, part, source))
                except (StoreUnavailable, StoreDenied):
                    raise
                except StoreError as error:
                    raise Unexportable(str(error), whole.range, None, None, sound=True) from error
        return found


def plan(segments: Sequence[RecordedSegment], within: TimeRange, missing: Sequence[TimeRange]) -> list[Stretch]:
    """The stretches of a range: one segment per instant, joined where a run goes on without a gap. Pure.

    Stretches end where a gap begins and where it ends. A gap that joins several losses close to each other may have
    pictures within it; they are a stretch of their own, for nothing that was recorded is ever left out.
    """
    borders = sorted({edge for gap in missing for edge in (gap.start_ns, gap.end_ns)})
    parts: list[Chosen] = []
    for chosen in choose(segments):
        clipped = chosen.range.intersect(within)
        if clipped is not None:
            parts += [Chosen(piece, chosen.segment) for piece in _cut_at(clipped, borders)]
    stretches: list[list[Chosen]] = []
    for part in parts:
        before = stretches[-1][-1] if stretches else None
        unbroken = before is not None and not _any_between(borders, before.range.end_ns, part.range.start_ns)
        if before is not None and unbroken and goes_on(before, part):
            stretches[-1].append(part)
        else:
            stretches.append([part])
    return [Stretch(tuple(parts)) for parts in stretches]


def _cut_at(whole: TimeRange, borders: Sequence[int]) -> list[TimeRange]:
    """The range in pieces, cut at the borders within it."""
    first, last = bisect_right(borders, whole.start_ns), bisect_left(borders, whole.end_ns)
    edges = [whole.start_ns, *borders[first:last], whole.end_ns]
    return [TimeRange(start, end) for start, end in pairwise(edges)]


def _any_between(borders: Sequence[int], least_ns: int, most_ns: int) -> bool:
    at = bisect_left(borders, least_ns)
    return at < len(borders) and borders[at] <= most_ns


def _moved(part: TimeRange, ends: frozenset[int]) -> TimeRange:
    """The range with borders at a gap's end moved before that end by what rounding may amount to."""
    start_ns = part.start_ns - MEET_NS if part.start_ns in ends else part.start_ns
    end_ns = part.end_ns - MEET_NS if part.end_ns in ends else part.end_ns
    return TimeRange(start_ns, max(end_ns, start_ns + 1))


def _opened(segment: RecordedSegment, source: ByteSource) -> SegmentReader:
    try:
        return SegmentReader(source)
    except MalformedError as error:
        raise StoreError(f"segment {segment.number} of run {segment.run_id}: {error}") from error


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
