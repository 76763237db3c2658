"""Segments read back: head, trailer, index, access units of a range; whole files and files still being written.

Reads only what `segment_writer` writes (docs/reference/segment.md) over any `ByteSource`; writes nothing. Invariants:
any bytes either parse or raise MalformedError; no more is read at once than one fragment, and never more than the file
has; every loop advances by at least one box.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from vms.errors import MalformedError
from vms.media import digest
from vms.media.boxes import Box, ByteSource, BytesSource, Fields, box_at, children, only_child, read_exactly
from vms.media.sample_entry import parse_sample_entry, take_sets
from vms.media.segment_head import (
    HEAD_UUID,
    MAX_HEAD_BYTES,
    MAX_TRAILER_BYTES,
    TRAILER_UUID,
    SegmentHead,
    SegmentTrailer,
    decode_head,
    decode_trailer,
)
from vms.media.segment_writer import DAMAGED, MAX_FRAGMENT_SAMPLES, TRACK_ID, Sample
from vms.model import AccessUnit, CodecConfig, SegmentFacts

MAX_FILE_TICKS = 1 << 40  # of a segment's own timeline; a segment lasts minutes
_MAX_MOOV_BYTES = 16 << 20
_MAX_INDEX_BYTES = 16 << 20
_FIXED = struct.Struct(">I4sI4sII I4sI4sII I4sIQ I4sIIi")
_NON_SYNC_BIT = 0x0001_0000
_FIRST_READ_BYTES = 8192
_HASH_BYTES = 1 << 20
UNDIGESTED = "no group digests were reckoned when it was recorded"


@dataclass(frozen=True, slots=True)
class SegmentStart:
    """Everything before the first fragment."""

    head: SegmentHead
    config: CodecConfig
    in_band: bool  # samples may carry parameter sets
    head_json: bytes
    size_bytes: int


@dataclass(frozen=True, slots=True)
class FragmentSpan:
    """Where a whole fragment stands and what it covers, in media time of the run."""

    offset: int
    end: int
    units: int
    key: bool  # begins with a random-access picture
    first_pts: int
    start_pts: int  # the least
    end_pts: int  # the greatest, with its duration


@dataclass(frozen=True, slots=True)
class OpenScan:
    """The whole fragments of a file that is growing or was cut off; `whole_bytes` is where the last of them ends."""

    start: SegmentStart
    fragments: tuple[FragmentSpan, ...]
    whole_bytes: int


@dataclass(frozen=True, slots=True)
class Verification:
    """What recomputing everything found. `facts.digest` is that of the bytes read. No problems: the segment is sound."""

    facts: SegmentFacts
    problems: tuple[str, ...]
    bad_groups: tuple[int, ...]  # numbers of the groups whose digests differ

    @property
    def sound(self) -> bool:
        return not self.problems

    @property
    def flaw(self) -> str | None:
        """All problems; None: there are none, or only that a recorder told to reckon no group digests stated none."""
        return None if self.problems in {(), (UNDIGESTED,)} else "; ".join(self.problems)


@dataclass(frozen=True, slots=True)
class _Fragment:
    """A parsed moof with the place of its data. `rows`: duration, size, flags, composition offset of each sample."""

    offset: int
    data: int
    end: int
    decode_time: int
    rows: tuple[tuple[int, int, int, int], ...]


def read_head(prefix: bytes) -> SegmentStart:
    """The start of a segment from the first bytes of its file. Raises MalformedError, also when they are too few."""
    return read_start(BytesSource(prefix))


def read_start(source: ByteSource) -> SegmentStart:
    """`ftyp moov uuid(head)`. Raises MalformedError."""
    limit = source.size
    ftyp = _expect(source, 0, limit, b"ftyp", 4096)
    moov = _expect(source, ftyp.end, limit, b"moov", _MAX_MOOV_BYTES)
    head = _expect(source, moov.end, limit, b"uuid", MAX_HEAD_BYTES)
    data = read_exactly(source, 0, head.end)
    document = data[head.body + 16 : head.end]
    if data[head.body : head.body + 16] != HEAD_UUID:
        raise MalformedError("segment", "no head follows the movie box", head.start)
    at = moov
    for kind in (b"trak", b"mdia", b"minf", b"stbl", b"stsd"):
        at = only_child(data, at, kind)
    entries = list(children(data, at.body + 8, at.end))
    if len(entries) != 1:
        raise MalformedError("stsd", f"has {len(entries)} sample entries", at.start)
    entry = parse_sample_entry(data, entries[0])
    facts, config = decode_head(document, entry)
    return SegmentStart(facts, config, entry.in_band, document, head.end)


def scan_open(source: ByteSource, before: OpenScan | None = None) -> OpenScan:
    """All whole fragments up to the last complete `moof mdat`, going on from an earlier scan of the same file.

    Raises MalformedError only when the start of the file is not whole. What follows the last whole fragment, be it half
    a fragment, garbage or an index, is not looked at.
    """
    start = before.start if before else read_start(source)
    fragments = list(before.fragments) if before else []
    at = before.whole_bytes if before else start.size_bytes
    limit = source.size
    while at < limit:
        try:
            fragment = _fragment_at(source, at, limit)
        except MalformedError:
            break
        fragments.append(_span(start, fragment))
        at = fragment.end
    return OpenScan(start, tuple(fragments), at)


class SegmentReader:
    """Reads one segment. A file without a trailer is read as far as its fragments were whole when it was opened here."""

    def __init__(self, source: ByteSource) -> None:
        """Reads head, and trailer and index if they are there. Raises MalformedError."""
        self._source = source
        self.start = read_start(source)
        self.trailer: SegmentTrailer | None = None
        self.trailer_json = b""
        self.seal = b""
        self.size_bytes = source.size
        self.index: tuple[tuple[int, int], ...]  # (media time, offset) of fragments one can begin with
        tail = self._find_trailer()
        if tail is None:
            scan = scan_open(source)
            self._end = scan.whole_bytes
            self.index = tuple((f.first_pts, f.offset) for f in scan.fragments if f.key)
        else:
            self.trailer_json = read_exactly(source, tail.body + 16, tail.end - 36)
            self.seal = read_exactly(source, tail.end - 36, tail.end - 4)
            self.trailer = decode_trailer(self.trailer_json)
            self._end, self.index = self._read_index(tail.start)

    @property
    def head(self) -> SegmentHead:
        return self.start.head

    @property
    def config(self) -> CodecConfig:
        return self.start.config

    def units(self, start_pts: int | None = None, end_pts: int | None = None) -> Iterator[AccessUnit]:
        """Access units in decoding order, media time of the run, reading only the fragments needed.

        They begin at the last random-access picture at or before `start_pts` (else at the first unit) and end when no
        unit before `end_pts` can follow; who wants exactly a range drops what lies outside. `arrival_mono_ns` is 0.
        Raises MalformedError.
        """
        config = self.config
        for fragment in self._fragments(self._seek(start_pts)):
            if end_pts is not None and fragment.decode_time + self.head.base_ticks >= end_pts:
                return
            for pts, row, data in self._samples(fragment):
                if self.start.in_band:
                    data, config = take_sets(data, config)  # noqa: PLW2901
                yield AccessUnit(pts, data, not row[2] & _NON_SYNC_BIT, config, 0, bool(row[2] & DAMAGED))

    def fragments(self) -> Iterator[list[Sample]]:
        """Every whole fragment as `SegmentWriter.fragment` took it: units with decoding times and durations in ticks."""
        config = self.config
        for fragment in self._fragments(self.start.size_bytes):
            decode_time = fragment.decode_time + self.head.base_ticks
            samples: list[Sample] = []
            for pts, row, data in self._samples(fragment):
                if self.start.in_band:
                    data, config = take_sets(data, config)  # noqa: PLW2901
                unit = AccessUnit(pts, data, not row[2] & _NON_SYNC_BIT, config, 0, bool(row[2] & DAMAGED))
                samples.append((unit, decode_time, row[0]))
                decode_time += row[0]
            yield samples

    def byte_range(self, start_pts: int, end_pts: int) -> tuple[int, int]:
        """Bytes [from, to) that `units` of the same range reads at most, for those who would rather fetch them at once."""
        later = [offset for time, offset in self.index if time >= end_pts]
        start = self._seek(start_pts)
        # A leading picture of an open group may precede the picture it follows: one group more.
        ends = [offset for offset in later if offset > start]
        return start, ends[1] if len(ends) > 1 else self._end

    def facts(self, file_digest: bytes = b"") -> SegmentFacts:
        """What head and trailer state, nothing recomputed. Raises MalformedError for a file without a trailer."""
        head, trailer, config = self.head, self.trailer, self.config
        if trailer is None:
            raise MalformedError("segment", "has no trailer: it was not finished", self.size_bytes)
        return SegmentFacts(
            stream_id=head.stream_id,
            run_id=head.run_id,
            number=head.number,
            start_ns=trailer.start_ns,
            end_ns=trailer.end_ns,
            clock_hz=config.clock_hz,
            duration_ticks=trailer.end_ticks - trailer.start_ticks,
            size_bytes=self.size_bytes,
            digest=file_digest,
            seal=self.seal,
            units=trailer.units,
            key_units=trailer.key_units,
            damaged_units=trailer.damaged_units,
            independent=head.independent,
            codec=config.codec,
            width=config.width,
            height=config.height,
        )

    def _find_trailer(self) -> Box | None:
        """The trailer's box; None when the file does not end with one."""
        if self.size_bytes < self.start.size_bytes + 64:
            return None
        length = int.from_bytes(read_exactly(self._source, self.size_bytes - 4, self.size_bytes), "big")
        start = self.size_bytes - length
        if not 64 <= length <= MAX_TRAILER_BYTES or start < self.start.size_bytes:
            return None
        if read_exactly(self._source, start, start + 24) != length.to_bytes(4, "big") + b"uuid" + TRAILER_UUID:
            return None
        return Box(b"uuid", start, start + 8, self.size_bytes)

    def _read_index(self, end: int) -> tuple[int, tuple[tuple[int, int], ...]]:
        """`mfra`, which ends at `end`: where it begins, and its entries."""
        begin = self.start.size_bytes
        size = int.from_bytes(read_exactly(self._source, max(begin, end - 4), end), "big")
        if not 48 <= size <= min(_MAX_INDEX_BYTES, end - begin):
            raise MalformedError("mfro", f"says that the index has {size} bytes", end - 4)
        data = read_exactly(self._source, end - size, end)
        mfra = next(children(data, 0, size))
        if mfra.type != b"mfra" or mfra.end != size:
            raise MalformedError("mfra", "is not where mfro says", end - size)
        tfra = only_child(data, mfra, b"tfra")
        fields = Fields(data, tfra.body, tfra.end, "tfra")
        header = (fields.uint(4), fields.uint(4), fields.uint(4))
        count = fields.uint(4)
        if header != (1 << 24, TRACK_ID, 0) or fields.left != 19 * count:
            raise MalformedError("tfra", "is not laid out as ours", end - size)
        entries = list(struct.iter_unpack(">QQ3x", fields.take(19 * count)))
        if any(not begin <= offset < end - size or time > 2 * MAX_FILE_TICKS for time, offset in entries):
            raise MalformedError("tfra", "points outside the fragments", end - size)
        return end - size, tuple((time + self.head.base_ticks, offset) for time, offset in entries)

    def _seek(self, pts: int | None) -> int:
        """The offset of the fragment to begin with in order to decode `pts`."""
        if pts is None:
            return self.start.size_bytes
        return max((offset for time, offset in self.index if time <= pts), default=self.start.size_bytes)

    def _fragments(self, at: int) -> Iterator[_Fragment]:
        while at < self._end:
            fragment = _fragment_at(self._source, at, self._end)
            yield fragment
            at = fragment.end

    def _samples(self, fragment: _Fragment) -> Iterator[tuple[int, tuple[int, int, int, int], bytes]]:
        """PTS in media time of the run, row and bytes of each sample."""
        data = read_exactly(self._source, fragment.data, fragment.end)
        decode_time = fragment.decode_time + self.head.base_ticks
        at = 0
        for row in fragment.rows:
            yield decode_time + row[3], row, data[at : at + row[1]]
            at += row[1]
            decode_time += row[0]


def facts(source: ByteSource, file_digest: bytes = b"") -> SegmentFacts:
    """What a finished segment states of itself, nothing recomputed. Raises MalformedError."""
    return SegmentReader(source).facts(file_digest)


def verify(source: ByteSource) -> Verification:
    """Recompute the file digest, every group digest and the seal. Raises MalformedError where it does not parse."""
    reader = SegmentReader(source)
    stated = reader.facts()
    trailer = reader.trailer
    assert trailer is not None
    groups = digest.GroupDigests(stated.clock_hz, stated.codec.is_video)
    units = keys = damaged = 0
    for unit in reader.units():
        groups.add(unit.pts, unit.data, unit.key)
        units += 1
        keys += unit.key
        damaged += unit.damaged
    groups.close()
    problems = []
    if (units, keys, damaged) != (trailer.units, trailer.key_units, trailer.damaged_units):
        problems.append("the numbers of units differ from those stated")
    if not trailer.group_digests and units:
        problems.append(UNDIGESTED)
    elif tuple(groups.sizes) != trailer.group_sizes:
        problems.append("the groups differ from those stated")
    pairs = zip(groups.digests, trailer.group_digests, strict=False)
    bad = tuple(n for n, (ours, theirs) in enumerate(pairs) if ours != theirs)
    if bad:
        problems.append(f"{len(bad)} group digests differ from those stated")
    problems += _check_statements(reader, trailer)
    whole = hashlib.sha256()
    for at in range(0, reader.size_bytes, _HASH_BYTES):
        whole.update(read_exactly(source, at, min(at + _HASH_BYTES, reader.size_bytes)))
    return Verification(reader.facts(whole.digest()), tuple(problems), bad)


def _check_statements(reader: SegmentReader, trailer: SegmentTrailer) -> list[str]:
    """Whether seal, links and times follow from what stands in the file."""
    problems = []
    head = reader.head
    seal = digest.seal(head.previous_seal, reader.start.head_json, reader.trailer_json, trailer.group_digests)
    if seal != reader.seal:
        problems.append("the seal does not fit")
    first = digest.first_seal(head.stream_id, head.host, head.epoch, head.origin, head.run_id)
    if trailer.previous_seal != head.previous_seal or (head.number == 0 and head.previous_seal != first):
        problems.append("the previous seal is not the right one")
    capture_ns = head.mapping.capture_ns
    if (trailer.start_ns, trailer.end_ns) != (capture_ns(trailer.start_ticks), capture_ns(trailer.end_ticks)):
        problems.append("start or end do not follow from the clock mapping")
    return problems


def _expect(source: ByteSource, offset: int, limit: int, kind: bytes, longest: int) -> Box:
    found = box_at(source, offset, limit)
    if found.type != kind or found.end - found.start > longest:
        raise MalformedError("segment", f"no {kind!r} of at most {longest} bytes where one belongs", offset)
    return found


def _fragment_at(source: ByteSource, offset: int, limit: int) -> _Fragment:
    """The `moof mdat` at `offset`, both whole before `limit`. Raises MalformedError for any other layout than ours."""
    data = source.read(offset, min(_FIRST_READ_BYTES, limit - offset))
    if len(data) < 96:
        raise MalformedError("moof", "is cut off", offset)
    fixed = _FIXED.unpack_from(data)
    size, sequence, decode_time, count = fixed[0], fixed[5], fixed[15], fixed[19]
    ours = (
        *(size, b"moof", 16, b"mfhd", 0, sequence, size - 24, b"traf", 16, b"tfhd", 0x020000, TRACK_ID),
        *(20, b"tfdt", 1 << 24, decode_time, size - 68, b"trun", 1 << 24 | 0xF01, count, size + 8),
    )
    if fixed != ours or size != 88 + 16 * count or not 0 < count <= MAX_FRAGMENT_SAMPLES:
        raise MalformedError("moof", "is not laid out as ours", offset)
    if decode_time > MAX_FILE_TICKS:
        raise MalformedError("moof", "is out of all bounds", offset)
    if offset + size + 8 > limit:
        raise MalformedError("moof", "is cut off", offset)
    if len(data) < size + 8:
        data = read_exactly(source, offset, offset + size + 8)
    rows = tuple(struct.iter_unpack(">IIIi", data[88:size]))
    mdat = int.from_bytes(data[size : size + 4], "big")
    if data[size + 4 : size + 8] != b"mdat" or mdat != 8 + sum(row[1] for row in rows):
        raise MalformedError("mdat", "does not follow its moof or has another size", offset + size)
    if offset + size + mdat > limit:
        raise MalformedError("mdat", "is cut off", offset + size)
    return _Fragment(offset, offset + size + 8, offset + size + mdat, decode_time, rows)


def _span(start: SegmentStart, fragment: _Fragment) -> FragmentSpan:
    decode_time = fragment.decode_time + start.head.base_ticks
    first = decode_time + fragment.rows[0][3]
    low, high = first, first
    for duration, _, _, offset in fragment.rows:
        low = min(low, decode_time + offset)
        high = max(high, decode_time + offset + duration)
        decode_time += duration
    key = not fragment.rows[0][2] & _NON_SYNC_BIT
    return FragmentSpan(fragment.offset, fragment.end, len(fragment.rows), key, first, low, high)
