"""Plain MP4 (ISO/IEC 14496-12) from access units: `ftyp free mdat moov`, sample data bit for bit, nothing decoded.

The wanted range is exact to the frame: groups of pictures are written whole and an edit list shows only the wanted part.
Owns neither the file (it must be seekable and stays open) nor the choice of units. Tables are kept in memory until
`finish`, about 40 bytes a unit; media data go to the file as they come.

Invariants: what was added is in the file in the order it was added; decoding times are the sorted presentation times,
moved back just as far as reordering needs, so that every composition offset is ≥ 0.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from typing import BinaryIO

from vms.media.boxes import HEADER, box
from vms.media.sample_entry import sample_entry
from vms.media.track_boxes import file_type, movie_header, sample_description, seconds_since_1904, table, track
from vms.model import AccessUnit, CodecConfig
from vms.timeline import SECOND_NS

_CHUNK_BYTES = 1 << 20
_LIMIT_32 = 1 << 32
_MAX_CONFIGS = 1000


@dataclass(frozen=True, slots=True)
class Shown:
    """The part of a track that is shown: [start_pts, end_pts) in its ticks, beginning `delay_ns` after the movie does."""

    start_pts: int
    end_pts: int
    delay_ns: int = 0


class RemuxWriter:
    """Writes one movie. `add` units of up to two tracks in decoding order per track, then `finish`."""

    def __init__(self, file: BinaryIO, video: CodecConfig | None, audio: CodecConfig | None = None) -> None:
        """Begins the file at its present position, which must be its start. At least one track."""
        configs = [config for config in (video, audio) if config is not None]
        if not configs:
            raise ValueError("a movie needs a track")
        self._file = file
        self._tracks = {config.codec.is_video: _Track(config) for config in configs}
        self._timescale = configs[0].clock_hz  # of the movie; an edit of the first track is exact to the tick
        start = file_type(b"isom", b"isom", b"iso2", b"mp41")
        # `free` makes room for the 64-bit size that `mdat` gets if it needs one.
        file.write(start + box(b"free") + HEADER.pack(8, b"mdat"))
        self._mdat = len(start) + 8
        self._end = self._mdat + 8
        self._last: _Track | None = None

    @property
    def units(self) -> int:
        """How many units were added."""
        return sum(len(t.pts) for t in self._tracks.values())

    def add(self, unit: AccessUnit) -> None:
        """Append a unit to its track. Another configuration gets a sample entry of its own.

        Raises ValueError when the movie has no such track, or codec or clock differ from the track's.
        """
        into = self._tracks.get(unit.config.codec.is_video)
        if into is None:
            raise ValueError(f"the movie has no track for {unit.config.codec}")
        into.add(unit, self._end, continues=into is self._last)
        self._file.write(unit.data)
        self._end += len(unit.data)
        self._last = into

    def finish(self, shown: Sequence[Shown], created_ns: int) -> int:
        """Write `moov`, set the size of `mdat`, and give the file's size in bytes.

        `shown` has one entry per track, video first; `created_ns` is the capture time of the first picture shown.
        Raises ValueError for a track without units.
        """
        size = self._end - self._mdat
        created = seconds_since_1904(created_ns)
        tracks = []
        longest = 0
        for number, (item, part) in enumerate(zip(self._tracks.values(), shown, strict=True), start=1):
            edits, duration = self._edits(item, part)
            tracks.append(item.boxes(number, edits, created, duration, part.end_pts))
            longest = max(longest, duration)
        movie = box(b"moov", movie_header(self._timescale, longest, created, len(tracks) + 1), *tracks)
        self._file.write(movie)
        self._file.seek(self._mdat)
        if size < _LIMIT_32:
            self._file.write(HEADER.pack(size, b"mdat"))
        else:
            self._file.seek(self._mdat - 8)
            self._file.write(struct.pack(">I4sQ", 1, b"mdat", size + 8))
        self._file.seek(0, 2)
        return self._end + len(movie)

    def _edits(self, item: _Track, part: Shown) -> tuple[bytes, int]:
        """`edts` (§8.6.5) and the track's duration, in the movie's time scale, halves upward."""
        delay = _rescale(part.delay_ns, self._timescale, SECOND_NS)
        length = _rescale(part.end_pts - part.start_pts, self._timescale, item.config.clock_hz)
        rows = [(delay, -1)] if delay else []
        rows.append((length, part.start_pts - item.decode_start()))
        if part.start_pts < min(item.pts) or length <= 0 or delay < 0:
            raise ValueError(f"nothing of {part} is in the track")
        packed = b"".join(struct.pack(">QqI", duration, start, 1 << 16) for duration, start in rows)
        return box(b"edts", table(b"elst", len(rows), packed, version=1)), delay + length


class _Track:
    """The tables of one track as they grow."""

    def __init__(self, config: CodecConfig) -> None:
        self.config = config
        self.pts = array("q")
        self._sizes = array("L")
        self._keys = array("L")  # numbers of sync samples, from 1
        self._all_keys = True
        self._configs: list[CodecConfig] = []
        self._chunks: list[tuple[int, int]] = []  # (offset, number of its sample entry)
        self._chunk_units = array("L")
        self._chunk_bytes = 0

    def add(self, unit: AccessUnit, offset: int, *, continues: bool) -> None:
        entry = self._chunks[-1][1] if self._chunks else 0
        if not entry or unit.config is not self._configs[entry - 1]:
            entry = self._entry_of(unit.config)
        if continues and self._chunk_bytes < _CHUNK_BYTES and self._chunks[-1][1] == entry:
            self._chunk_units[-1] += 1
        else:
            self._chunks.append((offset, entry))
            self._chunk_units.append(1)
            self._chunk_bytes = 0
        self._chunk_bytes += len(unit.data)
        self.pts.append(unit.pts)
        self._sizes.append(len(unit.data))
        if unit.key or not self.config.codec.is_video:
            self._keys.append(len(self.pts))
        else:
            self._all_keys = False

    def _entry_of(self, config: CodecConfig) -> int:
        if (config.codec, config.clock_hz) != (self.config.codec, self.config.clock_hz):
            raise ValueError(f"{config.codec} at {config.clock_hz} Hz in a track of {self.config.codec}")
        if config not in self._configs:
            if len(self._configs) == _MAX_CONFIGS:
                raise ValueError(f"over {_MAX_CONFIGS} configurations in one track")
            self._configs.append(config)
        return self._configs.index(config) + 1

    def decode_start(self) -> int:
        """Decoding time of the first unit: 0 of the track's own timeline."""
        if not self.pts:
            raise ValueError("a track has no units")
        ordered = sorted(self.pts)
        return ordered[0] - max(decode - pts for decode, pts in zip(ordered, self.pts, strict=True))

    def boxes(self, number: int, edits: bytes, created_s: int, movie_duration: int, end_pts: int) -> bytes:
        """`trak`. The last unit lasts to `end_pts` where that is later, else as long as the one before it."""
        ordered = sorted(self.pts)
        start = self.decode_start()
        back = ordered[0] - start
        steps = [b - a for a, b in pairwise(ordered)]
        steps.append(end_pts - ordered[-1] if end_pts > ordered[-1] else (steps or [1])[-1])
        offsets = [pts - decode + back for decode, pts in zip(ordered, self.pts, strict=True)]
        width = max(config.width for config in self._configs)
        height = max(config.height for config in self._configs)
        tables = [
            sample_description([sample_entry(config) for config in self._configs]),
            _runs(b"stts", steps),
            *([_runs(b"ctts", offsets)] if any(offsets) else []),
            *([] if self._all_keys else [table(b"stss", len(self._keys), _u32(self._keys))]),
            self._chunk_map(),
            _sizes(self._sizes),
            _offsets([offset for offset, _ in self._chunks]),
        ]
        return track(
            number,
            replace(self.config, width=width, height=height),
            tables=tables,
            edits=edits,
            created_s=created_s,
            movie_duration=movie_duration,
            media_duration=sum(steps),
        )

    def _chunk_map(self) -> bytes:
        """`stsc` (§8.7.4): only where the number of units or the sample entry changes."""
        rows: list[bytes] = []
        before: tuple[int, int] | None = None
        for number, ((_, entry), units) in enumerate(zip(self._chunks, self._chunk_units, strict=True), start=1):
            if (units, entry) != before:
                rows.append(struct.pack(">III", number, units, entry))
                before = (units, entry)
        return table(b"stsc", len(rows), b"".join(rows))


def remux(file: BinaryIO, units: Iterable[AccessUnit], config: CodecConfig, shown: Shown, created_ns: int) -> int:
    """A movie of one track from `units` in decoding order; gives the file's size in bytes."""
    writer = RemuxWriter(file, config if config.codec.is_video else None, None if config.codec.is_video else config)
    for unit in units:
        writer.add(unit)
    return writer.finish([shown], created_ns)


def _rescale(value: int, numerator: int, denominator: int) -> int:
    return (2 * value * numerator + denominator) // (2 * denominator)


def _run_lengths(values: Sequence[int]) -> Iterator[tuple[int, int]]:
    for value, group in groupby(values):
        yield sum(1 for _ in group), value


def _runs(kind: bytes, values: Sequence[int]) -> bytes:
    """A table of (count, value), as `stts` and `ctts` are."""
    try:
        rows = [struct.pack(">II", count, value) for count, value in _run_lengths(values)]
    except struct.error as error:
        raise ValueError(f"a time in {kind!r} is out of range") from error
    return table(kind, len(rows), b"".join(rows))


def _u32(values: Sequence[int]) -> bytes:
    return struct.pack(f">{len(values)}I", *values)


def _sizes(sizes: Sequence[int]) -> bytes:
    """`stsz` (§8.7.3); equal sizes, as in G.711, are said once."""
    if len(set(sizes)) == 1:
        return box(b"stsz", struct.pack(">III", 0, sizes[0], len(sizes)))
    return box(b"stsz", struct.pack(">III", 0, 0, len(sizes)), _u32(sizes))


def _offsets(offsets: Sequence[int]) -> bytes:
    """`stco`, or `co64` once an offset needs it (§8.7.5)."""
    if offsets and offsets[-1] >= _LIMIT_32:
        return table(b"co64", len(offsets), struct.pack(f">{len(offsets)}Q", *offsets))
    return table(b"stco", len(offsets), _u32(offsets))
