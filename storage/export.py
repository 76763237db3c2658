"""Footage of a range as plain MP4 files, bit for bit, exact to the frame, with a side file that states what is there.

Owns what an export consists of: one file per gap-free stretch of one run and one codec configuration, cut by an edit
list, never re-encoded; and the side file (docs/reference/export.md) with gaps, times, clock offsets and digests. Every
segment's digest is compared before its bytes are used (I6). Nothing appears under its final name until it is whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

from storage.catalogue.coverage import Chosen, choose
from storage.catalogue.values import Missing, RecordedSegment
from storage.reader import JOIN_NS, Reader, SegmentPart, part_of
from vms.errors import UserError
from vms.localtime import format_utc
from vms.media.remux import RemuxWriter, Shown
from vms.media.segment_head import SegmentHead, SegmentTrailer
from vms.model import AccessUnit, CodecConfig
from vms.timeline import TimeRange

SIDE_FILE_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Stretch:
    """Parts of consecutive segments of one run that go into one file."""

    parts: tuple[Chosen, ...]

    @property
    def range(self) -> TimeRange:
        return TimeRange(self.parts[0].range.start_ns, self.parts[-1].range.end_ns)


@dataclass(frozen=True, slots=True)
class SourceSegment:
    """What the side file says of a segment that a file was made from."""

    segment: RecordedSegment
    head: SegmentHead
    trailer: SegmentTrailer | None


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """One file: the capture time of its first shown picture and the end of its last, and what it is made of."""

    path: Path
    start_ns: int
    end_ns: int
    pictures: int  # shown
    units: int  # in the file; those before and after the cut are there for the decoder
    size_bytes: int
    sha256: bytes
    config: CodecConfig
    sources: tuple[SourceSegment, ...]


@dataclass(frozen=True, slots=True)
class Export:
    """A finished export. `missing` are the gaps within the range, clipped."""

    stream_id: UUID
    within: TimeRange
    whole_gops: bool
    files: tuple[ExportedFile, ...]
    missing: tuple[Missing, ...]


async def export(
    reader: Reader,
    stream_id: UUID,
    within: TimeRange,
    output: Path,
    *,
    now_ns: int,
    whole_gops: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Export:
    """Write the range to `output`, or to `<stem>-1.mp4`, `<stem>-2.mp4` … where it takes several files.

    `progress(done_ns, total_ns)` is called after every segment. Raises UserError when a file is in the way or nothing
    was recorded, StoreError when a copy cannot be read, DigestMismatch when it is not what was sealed; then no file is
    left behind.
    """
    timeline = await reader.timeline(stream_id, within, now_ns)
    stretches = plan(await reader.segments(stream_id, within), within, [m.range for m in timeline.missing])
    if not stretches:
        reasons = ", ".join(sorted({m.reason.value for m in timeline.missing})) or "no recording was expected then"
        raise UserError(f"nothing was recorded in this range ({reasons}); `vms timeline` shows what there is")
    # A change of configuration shows only in the segments themselves, so there may be more files than stretches.
    with contextlib.ExitStack() as undo:
        writing = _Writing(output, undo)
        total = sum(part.range.duration_ns for stretch in stretches for part in stretch.parts)
        done = 0
        for stretch in stretches:
            for part in stretch.parts:
                async with reader.verified(part.segment, output.parent) as source:
                    opened = await asyncio.to_thread(part_of, source, part.range)
                    await asyncio.to_thread(writing.add, part, opened, whole_gops)
                done += part.range.duration_ns
                if progress:
                    progress(done, total)
            await asyncio.to_thread(writing.end_file)
        files = await asyncio.to_thread(writing.publish)
        undo.pop_all()
    return Export(stream_id, within, whole_gops, files, timeline.missing)


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
        goes_on = (
            before is not None
            and before.segment.run_id == part.segment.run_id
            and part.segment.number - before.segment.number in (0, 1)
            and part.range.start_ns - before.range.end_ns <= JOIN_NS
            and not _any_between(borders, before.range.end_ns, part.range.start_ns)
        )
        if goes_on:
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


@dataclass
class _File:
    """A file being written."""

    temporary: Path
    file: BinaryIO
    writer: RemuxWriter
    config: CodecConfig
    shown: list[int] = field(default_factory=list)  # media times of shown pictures
    after: int | None = None  # least media time of a unit behind the cut
    end_ticks: int = 0
    limit_ticks: int = 0
    sources: list[SourceSegment] = field(default_factory=list)


class _Writing:
    """The files of one export, from temporary names to final ones. Blocking; used from one thread at a time."""

    def __init__(self, output: Path, undo: contextlib.ExitStack) -> None:
        self._output = output
        self._undo = undo
        self._open: _File | None = None
        self._finished: list[ExportedFile] = []
        _refuse_existing(output)
        _refuse_existing(side_file(output))

    def add(self, part: Chosen, opened: SegmentPart, whole_gops: bool) -> None:
        """Append the units of one segment's part, from the picture decoding must begin with on."""
        reader = opened.reader
        start, end = opened.start_pts, opened.end_pts
        if whole_gops:
            keys = [pts for pts, _ in reader.index]
            start = max((pts for pts in keys if pts <= start), default=start)
            end = min((pts for pts in keys if pts >= end), default=1 << 62)
        source = SourceSegment(part.segment, reader.head, reader.trailer)
        first = True
        for unit in reader.units(start, end):
            if self._open is None or not _same(unit.config, self._open.config):
                self.end_file()
                self._begin(unit)
            now = self._open
            assert now is not None
            if first or now.sources[-1:] != [source]:
                now.sources.append(source)
                first = False
            now.writer.add(unit)
            if start <= unit.pts < end:
                now.shown.append(unit.pts)
            elif unit.pts >= end:
                now.after = unit.pts if now.after is None else min(now.after, unit.pts)
        if self._open is not None:
            self._open.limit_ticks = end
            if reader.trailer is not None:
                self._open.end_ticks = reader.trailer.end_ticks

    def end_file(self) -> None:
        """Finish the file being written, if any; one in which nothing would be shown is thrown away."""
        now, self._open = self._open, None
        if now is None:
            return
        if not now.shown:
            now.file.close()
            now.temporary.unlink()
            return
        shown = sorted(now.shown)
        last_ticks = shown[-1] - shown[-2] if len(shown) > 1 else now.config.clock_hz // 25
        ends = [t for t in (now.after, now.end_ticks) if t is not None and t > shown[-1]]
        end = min([*ends, shown[-1] + max(1, 2 * last_ticks)]) if ends else shown[-1] + max(1, last_ticks)
        mapping = now.sources[0].head.mapping
        start_ns = mapping.capture_ns(shown[0])
        size = now.writer.finish([Shown(shown[0], end)], start_ns)
        now.file.flush()
        os.fsync(now.file.fileno())
        now.file.close()
        self._finished.append(
            ExportedFile(
                path=now.temporary,
                start_ns=start_ns,
                end_ns=now.sources[-1].head.mapping.capture_ns(end),
                pictures=len(shown),
                units=now.writer.units,
                size_bytes=size,
                sha256=_sha256(now.temporary),
                config=now.config,
                sources=tuple(now.sources),
            )
        )

    def publish(self) -> tuple[ExportedFile, ...]:
        """Give every file its final name, all or none being in the way of something."""
        self.end_file()
        if not self._finished:
            raise UserError("no picture of this range can be shown; `vms timeline` shows what there is")
        names = file_names(self._output, len(self._finished))
        for name in names:
            _refuse_existing(name)
        for one, name in zip(self._finished, names, strict=True):
            os.rename(one.path, name)
        return tuple(_renamed(one, name) for one, name in zip(self._finished, names, strict=True))

    def _begin(self, unit: AccessUnit) -> None:
        temporary = self._output.with_name(f".{self._output.name}.{os.getpid()}.{len(self._finished)}.partial")
        try:
            file = temporary.open("wb+")
        except OSError as error:
            raise UserError(f"{self._output.parent} cannot be written: {error.strerror}; choose another -o") from error
        self._undo.callback(temporary.unlink, missing_ok=True)
        self._undo.callback(file.close)
        self._open = _File(temporary, file, RemuxWriter(file, unit.config), unit.config)


def file_names(output: Path, count: int) -> list[Path]:
    """The output itself for one file, numbered names beside it for several."""
    if count == 1:
        return [output]
    return [output.with_name(f"{output.stem}-{number}{output.suffix}") for number in range(1, count + 1)]


def side_file(output: Path) -> Path:
    """Where the facts of an export stand: the output's name with `.json`."""
    return output.with_suffix(".json")


def write_side_file(output: Path, done: Export, about: dict[str, Any]) -> Path:
    """The side file of a finished export; `about` (camera, who, why, software) goes first."""
    facts = {
        "format": SIDE_FILE_FORMAT,
        **about,
        "stream": str(done.stream_id),
        "requested": {"start": format_utc(done.within.start_ns), "end": format_utc(done.within.end_ns)},
        "whole_gops": done.whole_gops,
        "files": [_file_facts(one) for one in done.files],
        "gaps": [
            {"start": format_utc(m.range.start_ns), "end": format_utc(m.range.end_ns), "reason": m.reason.value}
            for m in done.missing
        ],
    }
    path = side_file(output)
    path.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    return path


def _file_facts(one: ExportedFile) -> dict[str, Any]:
    return {
        "file": one.path.name,
        "start": format_utc(one.start_ns),
        "end": format_utc(one.end_ns),
        "pictures": one.pictures,
        "units": one.units,
        "bytes": one.size_bytes,
        "sha256": one.sha256.hex(),
        "codec": one.config.codec.value,
        "profile": one.config.profile,
        "width": one.config.width,
        "height": one.config.height,
        "run": str(one.sources[0].head.run_id),
        "clock": one.sources[0].head.clock.value,
        "segments": [_source_facts(source) for source in one.sources],
    }


def _source_facts(source: SourceSegment) -> dict[str, Any]:
    """Enough to find the segment and to reckon each picture's capture time from its media time."""
    head, trailer, segment = source.head, source.trailer, source.segment
    state = trailer.clock_state if trailer else None
    return {
        "number": head.number,
        "start": format_utc(segment.start_ns),
        "end": format_utc(segment.end_ns),
        "sha256": segment.digest.hex() or None,
        "seal": segment.seal.hex() or None,
        "clock_mapping": {
            "ticks": head.mapping.ticks,
            "ns": head.mapping.ns,
            "hz": head.mapping.clock_hz,
            "rate_ppb": head.mapping.rate_ppb,
        },
        "camera_clock_offset_ns": state.camera_offset_ns if state else None,
        "ntp_synchronised": state.ntp_synchronised if state else None,
        "uncertainty_ns": state.uncertainty_ns if state else None,
        "damaged": [
            {"start": format_utc(start), "end": format_utc(end)}
            for start, end in (trailer.damaged_ns if trailer else ())
        ],
    }


def _same(one: CodecConfig, other: CodecConfig) -> bool:
    return one is other or one == other


def _renamed(one: ExportedFile, path: Path) -> ExportedFile:
    return replace(one, path=path)


def _refuse_existing(path: Path) -> None:
    if path.exists():
        raise UserError(f"{path} is there already and is not overwritten; choose another -o")


def _sha256(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
