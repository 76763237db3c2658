"""RTP (RFC 3550): header, sequence and timestamp arithmetic, and packetisers that turn access units into payloads.

Owns no socket and no state of a session but the two small counters-with-memory below. Receiving payloads is
`vms.media.depacketise`. Nothing here raises anything but `MalformedError` for bytes from outside.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from vms.errors import MalformedError
from vms.model import Codec

MAX_PAYLOAD_BYTES = 1400  # leaves room for IP, UDP, SRTP and a tunnel within 1500
SEQUENCE_MODULUS = 1 << 16
TIMESTAMP_MODULUS = 1 << 32
MAX_DROPOUT = 3000  # RFC 3550 appendix A.1: further ahead than this is a jump, not a loss
MAX_MISORDER = 100  # and this far behind is a late or repeated packet

_HEADER = struct.Struct("!BBHII")
_U16 = struct.Struct("!H")
_U32 = struct.Struct("!I")


@dataclass(frozen=True, slots=True)
class RtpPacket:
    """A parsed packet. The payload is buf[payload_start:payload_end], padding already taken off."""

    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    payload_start: int
    payload_end: int


def parse_rtp(buf: bytes | bytearray | memoryview, start: int = 0, end: int | None = None) -> RtpPacket:
    """Header of the packet in buf[start:end] (RFC 3550 §5.1; CSRCs and header extension skipped)."""
    end = len(buf) if end is None else end
    if end - start < 12:
        raise MalformedError("RTP header", f"packet of {end - start} bytes", start)
    first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(buf, start)
    begin, stop = payload_bounds(buf, start, end, first)
    return RtpPacket(second & 0x7F, second >= 0x80, sequence, timestamp, ssrc, begin, stop)


def payload_bounds(buf: bytes | bytearray | memoryview, start: int, end: int, first: int) -> tuple[int, int]:
    """Where the payload lies in a packet of at least 12 bytes whose first byte is `first`."""
    if first >> 6 != 2:
        raise MalformedError("RTP header", f"version {first >> 6}", start)
    begin = start + 12 + 4 * (first & 0x0F)
    if first & 0x10:
        if begin + 4 > end:
            raise MalformedError("RTP header", "extension cut off", begin)
        begin += 4 + 4 * int(_U16.unpack_from(buf, begin + 2)[0])
    if first & 0x20:
        padding = buf[end - 1]
        if padding == 0:
            raise MalformedError("RTP header", "padding of 0 bytes", end - 1)
        end -= padding
    if begin > end:
        raise MalformedError("RTP header", "header and padding exceed the packet", start)
    return begin, end


def build_rtp(
    payload_type: int, sequence: int, timestamp: int, ssrc: int, payload: bytes, *, marker: bool = False
) -> bytes:
    """One packet without CSRCs, extension or padding. Sequence and timestamp are taken modulo their size."""
    second = payload_type | (0x80 if marker else 0)
    return _HEADER.pack(0x80, second, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc) + payload


def sequence_delta(later: int, earlier: int) -> int:
    """`later` - `earlier` on the 16-bit circle, in [-32768, 32768)."""
    return ((later - earlier + 0x8000) & 0xFFFF) - 0x8000


def timestamp_delta(later: int, earlier: int) -> int:
    """`later` - `earlier` on the 32-bit circle, in [-2³¹, 2³¹)."""
    return ((later - earlier + 0x80000000) & 0xFFFFFFFF) - 0x80000000


class Unwrapper:
    """Unwraps 32-bit timestamps: each is taken to lie within 2³¹ of the one before. Starts at the first one itself."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: int | None = None

    def unwrap(self, timestamp: int) -> int:
        """The unwrapped value, remembered as the newest."""
        self._last = self.peek(timestamp)
        return self._last

    def peek(self, timestamp: int) -> int:
        """The unwrapped value without remembering it (sender reports)."""
        if self._last is None:
            return timestamp
        return self._last + timestamp_delta(timestamp, self._last & 0xFFFFFFFF)


def with_parameter_sets(unit_data: bytes, parameter_sets: Iterable[bytes]) -> bytes:
    """`unit_data` (4-byte length-prefixed NALs) with whole parameter-set NALs put before it, for random-access units."""
    return b"".join(_U32.pack(len(nal)) + nal for nal in parameter_sets) + unit_data


def split_nals(unit_data: bytes | memoryview) -> Iterator[memoryview]:
    """The NALs of 4-byte length-prefixed data, in place. Raises MalformedError where lengths do not fit."""
    view = memoryview(unit_data)
    at, end = 0, len(view)
    while at < end:
        if at + 4 > end:
            raise MalformedError("access unit", "length cut off", at)
        size = int.from_bytes(view[at : at + 4], "big")
        at += 4
        if size == 0 or at + size > end:
            raise MalformedError("access unit", f"NAL of {size} bytes", at)
        yield view[at : at + size]
        at += size


def packetise(codec: Codec, unit_data: bytes, max_payload: int = MAX_PAYLOAD_BYTES) -> list[bytes]:
    """RTP payloads of one access unit, in order; the last one gets the marker.

    Video: length-prefixed NALs → single NAL, FU-A and STAP-A (RFC 6184 §5.6 to §5.8) or single, FU and AP (RFC 7798 §4.4).
    AAC: AAC-hbr (RFC 3640 §3.3.6), a frame over `max_payload` in fragments. G.711: split at `max_payload`; the
    timestamp of each further payload is then later by the bytes before it. Opus: one payload (RFC 7587 §4.2).
    """
    if max_payload < 16:
        raise ValueError("max_payload must be at least 16 bytes")
    if codec is Codec.H264:
        return _packetise_video(unit_data, max_payload, header_bytes=1)
    if codec is Codec.H265:
        return _packetise_video(unit_data, max_payload, header_bytes=2)
    if codec is Codec.AAC:
        return _packetise_aac(unit_data, max_payload)
    if codec is Codec.OPUS:
        return [unit_data]
    return [unit_data[at : at + max_payload] for at in range(0, len(unit_data), max_payload)]


def _packetise_video(unit_data: bytes, max_payload: int, header_bytes: int) -> list[bytes]:
    payloads: list[bytes] = []
    waiting: list[memoryview] = []  # small NALs that may share one aggregation packet
    waiting_bytes = header_bytes
    fragment = _fragment_h264 if header_bytes == 1 else _fragment_h265
    for nal in split_nals(unit_data):
        if len(nal) < header_bytes:
            raise MalformedError("access unit", f"NAL of {len(nal)} byte")
        size = len(nal)
        if waiting and waiting_bytes + 2 + size > max_payload:
            payloads.append(aggregate(waiting, header_bytes))
            waiting, waiting_bytes = [], header_bytes
        if header_bytes + 2 + size <= max_payload:
            waiting.append(nal)
            waiting_bytes += 2 + size
        elif size <= max_payload:
            payloads.append(bytes(nal))
        else:
            payloads.extend(fragment(nal, max_payload))
    if waiting:
        payloads.append(aggregate(waiting, header_bytes))
    return payloads


def aggregate(nals: Sequence[memoryview], header_bytes: int) -> bytes:
    """STAP-A (RFC 6184 §5.7.1) or AP (RFC 7798 §4.4.2), by `header_bytes` 1 or 2; a NAL alone goes as it is."""
    if len(nals) == 1:
        return bytes(nals[0])
    if header_bytes == 1:
        # F is the or of all F bits, NRI the highest of all.
        header = bytes([max(nal[0] & 0x60 for nal in nals) | 24 | (0x80 if any(nal[0] & 0x80 for nal in nals) else 0)])
    else:
        # Type 48; LayerId and TID are the lowest of all.
        layer = min((nal[0] & 1) << 5 | nal[1] >> 3 for nal in nals)
        tid = min(nal[1] & 7 for nal in nals)
        forbidden = 0x80 if any(nal[0] & 0x80 for nal in nals) else 0
        header = bytes([forbidden | 48 << 1 | layer >> 5, (layer & 0x1F) << 3 | tid])
    return header + b"".join(_U16.pack(len(nal)) + nal for nal in nals)


def _fragment_h264(nal: memoryview, max_payload: int) -> Iterator[bytes]:
    """FU-A (RFC 6184 §5.8)."""
    indicator, kind = nal[0] & 0xE0 | 28, nal[0] & 0x1F
    for start, chunk, last in _chunks(nal[1:], max_payload - 2):
        yield bytes((indicator, kind | (0x80 if start else 0) | (0x40 if last else 0))) + chunk


def _fragment_h265(nal: memoryview, max_payload: int) -> Iterator[bytes]:
    """FU without DONL (RFC 7798 §4.4.3)."""
    first, second, kind = nal[0] & 0x81 | 49 << 1, nal[1], nal[0] >> 1 & 0x3F
    for start, chunk, last in _chunks(nal[2:], max_payload - 3):
        yield bytes((first, second, kind | (0x80 if start else 0) | (0x40 if last else 0))) + chunk


def _chunks(body: memoryview, size: int) -> Iterator[tuple[bool, bytes, bool]]:
    """(is the first, bytes, is the last), cut to nearly equal size."""
    count = -(-len(body) // size)
    for i in range(count):
        begin, end = i * len(body) // count, (i + 1) * len(body) // count
        yield i == 0, bytes(body[begin:end]), i == count - 1


def _packetise_aac(frame: bytes, max_payload: int) -> list[bytes]:
    """AAC-hbr: one AU header of 13 bits size, 3 bits index; fragments all state the whole frame's size (§3.2.3.1)."""
    if len(frame) >= 1 << 13:
        raise MalformedError("AAC frame", f"{len(frame)} bytes do not fit AAC-hbr")
    header = _U16.pack(16) + _U16.pack(len(frame) << 3)
    room = max_payload - len(header)
    return [header + frame[at : at + room] for at in range(0, len(frame), room)]
