"""One segment as bytes: fragmented MP4, one track, append-only (docs/reference/segment.md). No I/O, no clock.

`ftyp moov uuid(head) (moof mdat)* mfra uuid(trailer)` after ISO/IEC 14496-12 and -15. What comes out are buffers for one
`writev` each; units' data are passed on as they are, never joined or copied. Decoding times, cuts and ends are the
caller's decisions (`recorder.segmenter`).

Invariants: the file consists of the buffers in the order they were given out; every byte is hashed once for the file and
every unit once for its group; nothing is given out after `finish`.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from functools import lru_cache

from vms.media import digest
from vms.media.boxes import box, full_box, uuid_box
from vms.media.sample_entry import sample_entry
from vms.media.segment_head import (
    HEAD_UUID,
    TRAILER_UUID,
    ClockState,
    SegmentHead,
    SegmentTrailer,
    encode_head,
    encode_trailer,
)
from vms.media.track_boxes import file_type, movie_header, sample_description, seconds_since_1904, table, track
from vms.model import AccessUnit, Codec, CodecConfig, SegmentFacts

# Sample flags (ISO/IEC 14496-12 §8.8.3.1). The degradation priority, which is ours to define, says the rest.
SYNC = 0x0200_0000  # depends on no other sample
NON_SYNC = 0x0101_0000
DAMAGED = 1  # something since the last random-access picture was lost
OPEN = 2  # a random-access picture that is no IDR: CRA, BLA or recovery point

MAX_FRAGMENT_BYTES = 1 << 30
MAX_FRAGMENT_SAMPLES = 1000  # one writev takes 1024 buffers

TRACK_ID = 1

Sample = tuple[AccessUnit, int, int]  # the unit, its decoding time in media time, its duration; all ticks


class SegmentWriter:
    """Builds one segment. `begin`, then `fragment` any number of times, then `finish`.

    `in_band`: avc3 or hev1 with parameter sets before each random-access picture and wherever they change.
    """

    def __init__(self, head: SegmentHead, config: CodecConfig, *, digests: bool = True, in_band: bool = False) -> None:
        self._head = head
        self._config = config
        self._in_band = in_band and config.codec.is_video
        self._video = config.codec.is_video
        self._groups = digest.GroupDigests(config.clock_hz, self._video) if digests else None
        self._file = hashlib.sha256() if digests else None
        self._head_json = encode_head(head, config)
        self._sets_sent: tuple[bytes, ...] | None = None
        self._index: list[tuple[int, int]] = []  # (composition time, offset of the moof) of random access
        self._damaged: list[tuple[int, int]] = []
        self._damage_open = False
        self._sequence = 0
        self.size_bytes = 0  # of everything given out so far
        self.units = 0
        self.key_units = 0
        self.damaged_units = 0

    def begin(self) -> list[bytes]:
        """`ftyp moov uuid(head)`."""
        created = seconds_since_1904(self._head.mapping.capture_ns(self._head.start_ticks))
        entry = sample_entry(self._config, in_band=self._in_band)
        tables = [
            sample_description([entry]),
            table(b"stts", 0, b""),
            table(b"stsc", 0, b""),
            full_box(b"stsz", 0, 0, bytes(8)),
            table(b"stco", 0, b""),
        ]
        movie = box(
            b"moov",
            movie_header(self._config.clock_hz, 0, created, TRACK_ID + 1),
            track(TRACK_ID, self._config, tables=tables, created_s=created),
            box(b"mvex", full_box(b"trex", 0, 0, struct.pack(">IIIII", TRACK_ID, 1, 0, 0, 0))),
        )
        start = file_type(b"iso6", b"iso6", b"isom", b"mp41") + movie + uuid_box(HEAD_UUID, self._head_json)
        return self._give([start])

    def fragment(self, samples: Sequence[Sample]) -> list[bytes]:
        """`moof mdat`: the first buffer is everything before the data.

        `samples` in decoding order, 1 to 1000, each one's duration reaching to the next one's decoding time. A
        random-access picture may stand anywhere, but only fragments that begin with one are in the index. Raises
        ValueError for times or sizes that no fragment can state.
        """
        fields: list[int] = []
        buffers: list[bytes] = [b""]
        total = 0
        for sample in samples:
            unit, decoded, duration = sample
            data = unit.data
            size = len(data)
            if unit.key or not self._video:
                self.key_units += 1
                flags = SYNC if not self._video or is_closed(unit) else SYNC | OPEN
            else:
                flags = NON_SYNC
            if unit.damaged:
                flags |= DAMAGED
                self._note_damage(unit.pts, duration)
            else:
                self._damage_open = False
            if self._in_band and (unit.key or unit.config.parameter_sets != self._sets_sent):
                sets = self._sets_before(unit)
                buffers.append(sets)
                size += len(sets)
            fields += (duration, size, flags, unit.pts - decoded)
            buffers.append(data)
            total += size
        if not samples or len(samples) > MAX_FRAGMENT_SAMPLES or total > MAX_FRAGMENT_BYTES:
            raise ValueError(f"a fragment of {len(samples)} units and {total} bytes")
        self._sequence += 1
        self.units += len(samples)
        first, decoded, _ = samples[0]
        if first.key or not self._video:
            self._index.append((first.pts - self._head.base_ticks, self.size_bytes))
        buffers[0] = moof(self._sequence, decoded - self._head.base_ticks, fields, total)
        if self._groups is not None:
            for unit, _, _ in samples:
                self._groups.add(unit.pts, unit.data, unit.key)
        return self._give(buffers)

    def finish(self, end_ticks: int, clock_state: ClockState) -> tuple[list[bytes], SegmentFacts]:
        """`mfra uuid(trailer)` and what was written. `end_ticks` is the media time at which the last unit ends."""
        head, groups = self._head, self._groups
        if groups is not None:
            groups.close()
        capture_ns = head.mapping.capture_ns
        trailer = SegmentTrailer(
            start_ticks=head.start_ticks,
            end_ticks=end_ticks,
            start_ns=capture_ns(head.start_ticks),
            end_ns=capture_ns(end_ticks),
            units=self.units,
            key_units=self.key_units,
            damaged_units=self.damaged_units,
            damaged_ns=tuple((capture_ns(start), capture_ns(end)) for start, end in self._damaged),
            group_sizes=tuple(groups.sizes) if groups else (),
            group_digests=tuple(groups.digests) if groups else (),
            previous_seal=head.previous_seal,
            clock_state=clock_state,
        )
        document = encode_trailer(trailer)
        seal = digest.seal(head.previous_seal, self._head_json, document, trailer.group_digests)
        length = (8 + 16 + len(document) + len(seal) + 4).to_bytes(4, "big")
        buffers = self._give([_index_box(self._index) + uuid_box(TRAILER_UUID, document, seal, length)])
        return buffers, SegmentFacts(
            stream_id=head.stream_id,
            run_id=head.run_id,
            number=head.number,
            start_ns=trailer.start_ns,
            end_ns=trailer.end_ns,
            clock_hz=self._config.clock_hz,
            duration_ticks=end_ticks - head.start_ticks,
            size_bytes=self.size_bytes,
            digest=self._file.digest() if self._file else b"",
            seal=seal,
            units=self.units,
            key_units=self.key_units,
            damaged_units=self.damaged_units,
            independent=head.independent,
            codec=self._config.codec,
            width=self._config.width,
            height=self._config.height,
        )

    def _give(self, buffers: list[bytes]) -> list[bytes]:
        self.size_bytes += sum(map(len, buffers))
        if self._file is not None:
            for buffer in buffers:
                self._file.update(buffer)
        return buffers

    def _note_damage(self, pts: int, duration: int) -> None:
        self.damaged_units += 1
        end = pts + max(1, duration)
        if self._damage_open:
            start, before = self._damaged[-1]
            self._damaged[-1] = (min(start, pts), max(before, end))
        else:
            self._damaged.append((pts, end))
            self._damage_open = True

    def _sets_before(self, unit: AccessUnit) -> bytes:
        self._sets_sent = unit.config.parameter_sets
        return b"".join(len(nal).to_bytes(4, "big") + nal for nal in self._sets_sent)


def is_closed(unit: AccessUnit) -> bool:
    """Whether a random-access picture is an IDR picture (H.264 nal_unit_type 5; H.265 19 and 20), by its first slice."""
    data = unit.data
    at, end = 0, len(data) - 4
    h264 = unit.config.codec is Codec.H264
    while at < end:
        header = data[at + 4]
        kind = header & 0x1F if h264 else header >> 1 & 0x3F
        if h264 and 1 <= kind <= 5:
            return kind == 5
        if not h264 and kind < 32:
            return kind in (19, 20)
        at += 4 + int.from_bytes(data[at : at + 4], "big")
    return False


def moof(sequence: int, decode_time: int, fields: Sequence[int], data_bytes: int) -> bytes:
    """`moof` (§8.8.4) and the header of the `mdat` behind it.

    `fields` are four numbers per sample: duration, size, flags, composition offset; `data_bytes` the sum of the sizes.
    """
    count = len(fields) >> 2
    size = 88 + 16 * count
    try:
        return layout(count).pack(
            *(size, b"moof", 16, b"mfhd", 0, sequence),
            *(size - 24, b"traf", 16, b"tfhd", 0x020000, TRACK_ID),  # default-base-is-moof
            *(20, b"tfdt", 1 << 24, decode_time),
            *(20 + 16 * count, b"trun", 1 << 24 | 0xF01, count, size + 8),
            *fields,
            *(data_bytes + 8, b"mdat"),
        )
    except struct.error as error:
        raise ValueError(f"times or sizes out of range in a fragment of {count} units: {error}") from error


@lru_cache(maxsize=MAX_FRAGMENT_SAMPLES)
def layout(count: int) -> struct.Struct:
    """Of the `moof` of `count` samples and the header of its `mdat`."""
    return struct.Struct(">I4sI4sII I4sI4sII I4sIQ I4sIIi" + "IIIi" * count + "I4s")


def _index_box(index: Sequence[tuple[int, int]]) -> bytes:
    """`mfra` (§8.8.9) with 64-bit times and offsets; traf, trun and sample numbers of one byte are always 1."""
    rows = b"".join(struct.pack(">QQ3B", max(0, time), offset, 1, 1, 1) for time, offset in index)
    tfra = full_box(b"tfra", 1, 0, struct.pack(">III", TRACK_ID, 0, len(index)), rows)
    size = 8 + len(tfra) + 16
    return box(b"mfra", tfra, full_box(b"mfro", 0, 0, struct.pack(">I", size)))
