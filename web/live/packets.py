"""RTP packets of one access unit, laid out once in one piece of memory for all viewers that want them alike.

An *arena* holds every packet of a unit, each with room for its SRTP tag behind it, so that a viewer's copy is protected
in place. Fragments of a NAL are cut to equal size: only the last may be shorter, which is what lets the kernel cut one
buffer into datagrams (UDP GSO). Header extensions are in place; sequence number, timestamp and SSRC are each viewer's
own and written into its copy. Pure: no socket, no clock, no cryptography.

RFC 3550 §5.1 (header), RFC 8285 §4.2 (one-byte extensions), RFC 6184 §5.7 and §5.8, RFC 7798 §4.4.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache

from vms.errors import MalformedError
from vms.media.rtp import aggregate, split_nals
from vms.model import Codec, TimedUnit

LARGEST_PACKET_BYTES = 1200  # of a protected packet; what WebRTC keeps to, and fits through VPNs and TURN
ALIGNMENT = 4  # libsrtp works on whole words
PLAYOUT_DELAY_MIN_MS, PLAYOUT_DELAY_MAX_MS = 0, 200
NTP_EPOCH_S = 2_208_988_800  # 1970 in NTP time
SECOND_NS = 1_000_000_000

_FIXED = struct.Struct("!BBHII")
_EXTENSION = struct.Struct("!HH")
_NTP = struct.Struct("!Q")
_ONE_BYTE_PROFILE = 0xBEDE


@dataclass(frozen=True, slots=True)
class Layout:
    """How packets look for one kind of viewer. An extension id of 0: not negotiated."""

    codec: Codec
    payload_type: int
    tag_bytes: int  # of SRTP's authentication tag
    mid: str = ""
    mid_id: int = 0
    capture_time_id: int = 0
    playout_delay_id: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """Packets that lie one behind another: packet i begins at `start` + i·`stride`. All but the last are
    `stride` - tag bytes long, the last one `last_bytes`."""

    start: int
    count: int
    stride: int
    last_bytes: int


@lru_cache(maxsize=256)
def shared(layout: Layout) -> Layout:
    """The one object that all viewers with an equal layout use: looking up by identity costs each packet less."""
    return layout


class Arena:
    """The packets of one unit for one layout. `octets`: of payload, as a sender report counts them."""

    __slots__ = ("data", "octets", "packets", "runs", "view")

    def __init__(self, data: bytearray, runs: tuple[Run, ...], octets: int) -> None:
        self.data = data
        self.view = memoryview(data)
        self.runs = runs
        self.packets = sum(run.count for run in runs)
        self.octets = octets


class LiveUnit:
    """An access unit that is on its way to viewers, with what was laid out of it so far."""

    __slots__ = ("_arenas", "timed")

    def __init__(self, timed: TimedUnit) -> None:
        self.timed = timed
        self._arenas: list[tuple[Layout, Arena]] = []

    @property
    def key(self) -> bool:
        return self.timed.unit.key

    @property
    def capture_ns(self) -> int:
        return self.timed.capture_ns

    @property
    def size_bytes(self) -> int:
        return len(self.timed.unit.data)

    def arena(self, layout: Layout) -> Arena:
        """Laid out now, or earlier for another viewer with this very layout (`shared`). MalformedError for data that is no
        NAL units."""
        for known, arena in self._arenas:
            if known is layout:
                return arena
        arena = lay_out(self.timed, layout)
        self._arenas.append((layout, arena))
        return arena

    def put_away(self) -> None:
        """Everybody has been served: keep the unit for those who come later, not what was laid out."""
        self._arenas.clear()


def ntp_of(utc_ns: int) -> int:
    """UTC as 64-bit NTP time: seconds since 1900, then the fraction (RFC 5905 §6)."""
    seconds, rest = divmod(utc_ns, SECOND_NS)
    return ((seconds + NTP_EPOCH_S) << 32 | (rest << 32) // SECOND_NS) & 0xFFFF_FFFF_FFFF_FFFF


@lru_cache(maxsize=64)
def _extensions(layout: Layout) -> tuple[bytes, int]:
    """The extension block of a layout, and where in it the capture time stands (0: nowhere)."""
    elements, capture_at = b"", 0
    if layout.capture_time_id:
        capture_at = _EXTENSION.size + 1
        elements += bytes([layout.capture_time_id << 4 | 7]) + bytes(8)
    if layout.playout_delay_id:
        delay = PLAYOUT_DELAY_MIN_MS // 10 << 12 | PLAYOUT_DELAY_MAX_MS // 10
        elements += bytes([layout.playout_delay_id << 4 | 2]) + delay.to_bytes(3, "big")
    if layout.mid_id and layout.mid:
        mid = layout.mid.encode()[:16]
        elements += bytes([layout.mid_id << 4 | len(mid) - 1]) + mid
    if not elements:
        return b"", 0
    elements += bytes(-len(elements) % 4)
    return _EXTENSION.pack(_ONE_BYTE_PROFILE, len(elements) // 4) + elements, capture_at


def head_of(layout: Layout, capture_ns: int) -> bytes:
    """The header of every packet of a unit: sequence number, timestamp, SSRC and marker still 0."""
    block, capture_at = _extensions(layout)
    fixed = _FIXED.pack(0x90 if block else 0x80, layout.payload_type, 0, 0, 0)
    if not capture_at:
        return fixed + block
    return fixed + block[:capture_at] + _NTP.pack(ntp_of(capture_ns)) + block[capture_at + 8 :]


def lay_out(timed: TimedUnit, layout: Layout) -> Arena:
    """The packets of a unit; parameter sets go before a random-access picture. MalformedError for data that is no NALs."""
    unit = timed.unit
    writer = _Writer(head_of(layout, timed.capture_ns), layout)
    if unit.key:
        for parameter_set in unit.config.parameter_sets:
            writer.put(memoryview(parameter_set))
    for nal in split_nals(unit.data):
        writer.put(nal)
    return writer.finish()


class _Writer:
    """Gathers the pieces of all packets and joins them once."""

    def __init__(self, head: bytes, layout: Layout) -> None:
        self._head, self._tag = head, bytes(layout.tag_bytes)
        self._nal_header = 1 if layout.codec is Codec.H264 else 2
        self._room = (LARGEST_PACKET_BYTES - LARGEST_PACKET_BYTES % ALIGNMENT) - len(head) - layout.tag_bytes
        self._pieces: list[bytes | memoryview] = []
        self._at = 0
        self._runs: list[Run] = []
        self._octets = 0
        self._waiting: list[memoryview] = []  # small NALs that may share a packet
        self._waiting_bytes = 0

    def put(self, nal: memoryview) -> None:
        if len(nal) < self._nal_header:
            raise MalformedError("access unit", f"NAL of {len(nal)} byte")
        if len(nal) > self._room:
            self._flush()
            self._fragment(nal)
            return
        if self._waiting_bytes + 2 + len(nal) > self._room - self._nal_header:
            self._flush()
        self._waiting.append(nal)
        self._waiting_bytes += 2 + len(nal)

    def _flush(self) -> None:
        if self._waiting:
            payload = aggregate(self._waiting, self._nal_header)
            self._pieces += (self._head, payload, self._tag)
            size = len(self._head) + len(payload)
            self._runs.append(Run(self._at, 1, size + len(self._tag), size))
            self._at += size + len(self._tag)
            self._octets += len(payload)
            self._waiting, self._waiting_bytes = [], 0

    def _fragment(self, nal: memoryview) -> None:
        """FU-A or FU: every fragment as long as the first, but for the last."""
        if self._nal_header == 1:
            before, kind = bytes((nal[0] & 0xE0 | 28,)), nal[0] & 0x1F
        else:
            before, kind = bytes((nal[0] & 0x81 | 49 << 1, nal[1])), nal[0] >> 1 & 0x3F
        body = nal[self._nal_header :]
        head = self._head + before
        around = len(head) + 1 + len(self._tag)
        most = self._room - len(before) - 1
        chunk = -(-len(body) // -(-len(body) // most))
        chunk += -(around + chunk) % ALIGNMENT  # at most `most`: with `most` itself the packet is aligned
        count = -(-len(body) // chunk)
        last = len(body) - (count - 1) * chunk
        usual = head + bytes((kind,))
        tail = self._tag + usual
        pieces = self._pieces
        pieces += (head, bytes((kind | (0x80 if count > 1 else 0xC0),)), body[:chunk])
        for at in range(chunk, (count - 1) * chunk, chunk):
            pieces += (tail, body[at : at + chunk])
        if count > 1:
            pieces += (self._tag, head, bytes((kind | 0x40,)), body[(count - 1) * chunk :])
        pieces.append(self._tag)
        size = len(usual) + last
        self._runs.append(Run(self._at, count, around + chunk, size))
        self._at += (count - 1) * (around + chunk) + size + len(self._tag)
        self._octets += len(body) + count * (len(before) + 1)

    def finish(self) -> Arena:
        self._flush()
        data = bytearray().join(self._pieces)
        if self._runs:
            last = self._runs[-1]
            data[last.start + (last.count - 1) * last.stride + 1] |= 0x80
        return Arena(data, tuple(self._runs), self._octets)
