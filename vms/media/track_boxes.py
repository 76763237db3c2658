"""Movie and track boxes (ISO/IEC 14496-12 §8) that a segment and a plain MP4 have in common. Builds only.

Times of creation are seconds since 1904 (§8.2.2); durations in the time scale each function names.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from vms.media.boxes import box, full_box
from vms.model import CodecConfig
from vms.timeline import SECOND_NS

EPOCH_1904_S = 2_082_844_800
_MATRIX = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_LANGUAGE_UND = 0x55C4


def seconds_since_1904(utc_ns: int) -> int:
    """A creation time; 0, "unknown", for what lies before 1904."""
    return max(0, utc_ns // SECOND_NS + EPOCH_1904_S)


def file_type(major: bytes, *compatible: bytes) -> bytes:
    """`ftyp` (§4.3)."""
    return box(b"ftyp", major, bytes(4), *compatible)


def movie_header(timescale: int, duration: int, created_s: int, next_track: int) -> bytes:
    """`mvhd` (§8.2.2); duration in `timescale`."""
    version, times = _times(created_s, timescale, duration)
    tail = struct.pack(">IH10x", 0x10000, 0x100) + _MATRIX + struct.pack(">24xI", next_track)
    return full_box(b"mvhd", version, 0, times, tail)


def track(
    track_id: int,
    config: CodecConfig,
    *,
    tables: Sequence[bytes],
    edits: bytes = b"",
    created_s: int,
    movie_duration: int = 0,
    media_duration: int = 0,
) -> bytes:
    """`trak` (§8.3): `tables` are the children of `stbl`, `edits` is a whole `edts` box or nothing.

    `movie_duration` is in the movie's time scale, `media_duration` in the track's, which is `config.clock_hz`.
    """
    video = config.codec.is_video
    version = 1 if max(created_s, movie_duration) >= 1 << 32 else 0
    fields = (">QQIIQ", ">IIIII")[version == 0]
    header = full_box(
        b"tkhd",
        version,
        3,  # enabled, in the movie
        struct.pack(fields, created_s, created_s, track_id, 0, movie_duration),
        struct.pack(">8xhhh2x", 0, 0 if video else 1, 0 if video else 0x100),
        _MATRIX,
        struct.pack(">II", config.width << 16, config.height << 16),
    )
    version, times = _times(created_s, config.clock_hz, media_duration)
    handler = b"vide" if video else b"soun"
    media = box(
        b"mdia",
        full_box(b"mdhd", version, 0, times, struct.pack(">HH", _LANGUAGE_UND, 0)),
        full_box(b"hdlr", 0, 0, bytes(4), handler, bytes(12), b"video\0" if video else b"audio\0"),
        box(
            b"minf",
            full_box(b"vmhd", 0, 1, bytes(8)) if video else full_box(b"smhd", 0, 0, bytes(4)),
            box(b"dinf", full_box(b"dref", 0, 0, struct.pack(">I", 1), full_box(b"url ", 0, 1))),
            box(b"stbl", *tables),
        ),
    )
    return box(b"trak", header, edits, media)


def sample_description(entries: Sequence[bytes]) -> bytes:
    """`stsd` (§8.5.2)."""
    return full_box(b"stsd", 0, 0, struct.pack(">I", len(entries)), *entries)


def table(kind: bytes, count: int, rows: bytes, version: int = 0) -> bytes:
    """A full box of `count` equal rows."""
    return full_box(kind, version, 0, struct.pack(">I", count), rows)


def _times(created_s: int, timescale: int, duration: int) -> tuple[int, bytes]:
    """Version and fields of creation time, modification time, time scale and duration."""
    if max(created_s, duration) >= 1 << 32:
        return 1, struct.pack(">QQIQ", created_s, created_s, timescale, duration)
    return 0, struct.pack(">IIII", created_s, created_s, timescale, duration)
