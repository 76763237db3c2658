"""The little the simulator must know of NAL units: splitting samples and telling kinds apart. Pure.

Deliberately not `vms.media`: what the product parses must not be checked against its own parser.
"""

from __future__ import annotations

from vms.errors import MalformedError
from vms.model import Codec


def nal_type(codec: Codec, nal: bytes) -> int:
    """`nal_unit_type` (H.264 §7.3.1, H.265 §7.3.1.2)."""
    return nal[0] & 0x1F if codec is Codec.H264 else nal[0] >> 1 & 0x3F


def is_slice(codec: Codec, nal: bytes) -> bool:
    """A VCL NAL unit: part of a picture."""
    kind = nal_type(codec, nal)
    return 1 <= kind <= 5 if codec is Codec.H264 else kind < 32


def is_sei(codec: Codec, nal: bytes) -> bool:
    return nal_type(codec, nal) in ((6,) if codec is Codec.H264 else (39, 40))


def is_kept(codec: Codec, nal: bytes) -> bool:
    """What `AccessUnit.data` holds: VCL and SEI."""
    return is_slice(codec, nal) or is_sei(codec, nal)


def is_recovery_point(codec: Codec, nal: bytes) -> bool:
    """An SEI whose first message is a recovery point (payload type 6, H.264 §D.1.8, H.265 §D.2.8)."""
    header = 1 if codec is Codec.H264 else 2
    prefix = 6 if codec is Codec.H264 else 39
    return nal_type(codec, nal) == prefix and len(nal) > header and nal[header] == 6


def split(sample: bytes, length_size: int) -> list[bytes]:
    """NAL units of a length-prefixed sample (ISO/IEC 14496-15 §5.3.3)."""
    nals, at = [], 0
    while at < len(sample):
        size = int.from_bytes(sample[at : at + length_size], "big")
        at += length_size
        if size == 0 or at + size > len(sample):
            raise MalformedError("sample", "a NAL unit is longer than its sample", at)
        nals.append(sample[at : at + size])
        at += size
    return nals


def parameter_sets(codec: Codec, record: bytes) -> tuple[int, tuple[bytes, ...]]:
    """Length size and parameter sets of an avcC or hvcC record (ISO/IEC 14496-15 §5.3.3, §8.3.3)."""
    try:
        return _avcc(record) if codec is Codec.H264 else _hvcc(record)
    except IndexError as error:
        raise MalformedError("decoder configuration", "it is cut off") from error


def _take(record: bytes, at: int) -> tuple[bytes, int]:
    size = record[at] << 8 | record[at + 1]
    end = at + 2 + size
    if end > len(record) or size == 0:
        raise MalformedError("decoder configuration", "a parameter set is cut off", at)
    return record[at + 2 : end], end


def _avcc(record: bytes) -> tuple[int, tuple[bytes, ...]]:
    sets: list[bytes] = []
    at = 5
    for mask in (0x1F, 0xFF):
        count = record[at] & mask
        at += 1
        for _ in range(count):
            nal, at = _take(record, at)
            sets.append(nal)
    return (record[4] & 3) + 1, tuple(sets)


def _hvcc(record: bytes) -> tuple[int, tuple[bytes, ...]]:
    sets: list[bytes] = []
    at = 23
    for _ in range(record[22]):
        count = record[at + 1] << 8 | record[at + 2]
        at += 3
        for _ in range(count):
            nal, at = _take(record, at)
            if nal_type(Codec.H265, nal) in (32, 33, 34):
                sets.append(nal)
    return (record[21] & 3) + 1, tuple(sets)
