"""Clips cut into RTP payloads once, and shared ready-made bytes per access unit: what makes 190 cameras cheap.

A `Reel` belongs to every camera that shows the same clip in the same shape: they share its SSRC, sequence numbers and
timestamps, which go on without a break over the loop. Memory: the payloads, and ready bytes of at most two loops.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, replace
from functools import cache

from vms.media.rtp import MAX_PAYLOAD_BYTES, packetise
from vms.model import Codec
from vms.simulate.footage import Clip, ClipUnit
from vms.simulate.nals import is_slice

PAYLOAD_TYPE = 96
_FRAMED_HEADER = struct.Struct(">BBHBBHII")
_HEADER = struct.Struct(">BBHII")
_AUD = {Codec.H264: b"\x09\xf0", Codec.H265: b"\x46\x01\x50"}
_START_CODE = b"\0\0\0\1"
PICTURELESS_TICKS = 90
NAL_TICKS = 15
_FILLER = {Codec.H264: b"\x0c", Codec.H265: b"\x4c\x01"}
FLOOD_BYTES = 500_000  # a picture; 100 Mbit/s at 25 pictures a second


@dataclass(frozen=True, slots=True)
class Piece:
    """One RTP payload; its timestamp is the unit's plus `ticks`."""

    payload: bytes
    marker: bool
    ticks: int = 0


def shape(codec: Codec, unit: ClipUnit, quirks: frozenset[str]) -> tuple[Piece, ...]:
    """The RTP payloads of a unit as a camera with these quirks sends them."""
    nals = list(unit.nals)
    if unit.key and "sets_only_in_sdp" not in quirks:
        nals = [*unit.sets, *nals]
    if "aud" in quirks:
        nals.insert(0, _AUD[codec])
    groups = _groups(codec, nals, quirks)
    pieces: list[Piece] = []
    for group, ticks, marked in groups:
        data = b"".join(len(nal).to_bytes(4, "big") + nal for nal in group)
        limit = MAX_PAYLOAD_BYTES
        if "annexb_in_fu" in quirks and len(nals) > 1:
            limit = max(16, min(limit, len(data) // 2))  # so that even a small unit is fragmented
        payloads = packetise(codec, data, limit)
        pieces += [Piece(p, marked and i == len(payloads), ticks) for i, p in enumerate(payloads, 1)]
    if "flood" in quirks:
        pieces[-1:] = [replace(pieces[-1], marker=False), *_filler(codec)]
    return tuple(pieces)


@cache
def _filler(codec: Codec) -> tuple[Piece, ...]:
    """Filler data (H.264 §7.3.2.7, H.265 §7.3.2.8), the same for all pictures; it ends a unit."""
    nal = _FILLER[codec] + b"\xff" * FLOOD_BYTES + b"\x80"
    payloads = packetise(codec, len(nal).to_bytes(4, "big") + nal, MAX_PAYLOAD_BYTES)
    return tuple(Piece(p, i == len(payloads)) for i, p in enumerate(payloads, 1))


def _groups(codec: Codec, nals: list[bytes], quirks: frozenset[str]) -> list[tuple[list[bytes], int, bool]]:
    """NAL units that are packetised together, their timestamp's difference, and whether their last packet is marked."""
    marked = "marker_never" not in quirks
    if "annexb_in_fu" in quirks:
        return [([_START_CODE.join(nals)], 0, marked)]
    first = next((i for i, nal in enumerate(nals) if is_slice(codec, nal)), len(nals))
    if "timestamp_per_nal" in quirks:
        return [([nal], (i - first) * NAL_TICKS, marked and i == len(nals) - 1) for i, nal in enumerate(nals)]
    if "marker_everywhere" in quirks:
        return [([nal], 0, True) for nal in nals]
    before, pictures = nals[:first], nals[first:]
    if "pictureless_units" in quirks and before:
        return [(before, -PICTURELESS_TICKS, marked), (pictures, 0, marked)]
    if "marker_on_sets" in quirks:
        return [*(([nal], 0, True) for nal in before), (pictures, 0, marked)]
    return [(nals, 0, marked)]


@dataclass(frozen=True, slots=True)
class Cut:
    """A unit and its payloads. `first_packet` counts packets from the clip's start."""

    unit: ClipUnit
    pieces: tuple[Piece, ...]
    first_packet: int
    octets: int


class Reel:
    """A clip in one shape. Units are numbered through all loops: unit `index` is unit `index % len` of its loop."""

    def __init__(self, clip: Clip, quirks: frozenset[str], seed: str) -> None:
        rng = random.Random(f"{seed}:{clip.name}:{sorted(quirks)}")  # noqa: S311 - wanted: the same every time
        self.clip = clip
        self.ssrc = rng.getrandbits(32)
        self.base_sequence = rng.getrandbits(16)
        self.base_timestamp = rng.getrandbits(32)
        cuts: list[Cut] = []
        packets = 0
        for unit in clip.units:
            pieces = shape(clip.config.codec, unit, quirks)
            cuts.append(Cut(unit, pieces, packets, sum(len(p.payload) for p in pieces)))
            packets += len(pieces)
        self.cuts = tuple(cuts)
        self.packets_per_loop = packets
        self.delay_ticks = max(u.pts - u.dts for u in clip.units)
        self._framed: dict[int, bytes] = {}

    def cut(self, index: int) -> Cut:
        return self.cuts[index % len(self.cuts)]

    def dts(self, index: int) -> int:
        """Unwrapped ticks from the first loop's start at which unit `index` is sent."""
        loop, i = divmod(index, len(self.cuts))
        return loop * self.clip.duration + self.cuts[i].unit.dts

    def pts(self, index: int) -> int:
        loop, i = divmod(index, len(self.cuts))
        return loop * self.clip.duration + self.cuts[i].unit.pts

    def sequence(self, index: int) -> int:
        """Number of the unit's first packet, unwrapped."""
        loop, i = divmod(index, len(self.cuts))
        return self.base_sequence + loop * self.packets_per_loop + self.cuts[i].first_packet

    def index_at(self, ticks: int) -> int:
        """The first unit sent at or after `ticks`."""
        loop, rest = divmod(ticks, self.clip.duration)
        low, high = 0, len(self.cuts)
        while low < high:
            middle = (low + high) // 2
            if self.cuts[middle].unit.dts < rest:
                low = middle + 1
            else:
                high = middle
        return loop * len(self.cuts) + low

    def key_at_or_after(self, index: int) -> int:
        while not self.cut(index).unit.key:
            index += 1
        return index

    def framed(self, index: int) -> bytes:
        """The unit as interleaved frames of channel 0; the same object for every camera that asks."""
        ready = self._framed.get(index)
        if ready is not None:
            return ready
        cut = self.cut(index)
        sequence, timestamp = self.sequence(index), self.base_timestamp + self.pts(index)
        parts: list[bytes] = []
        pack, ssrc = _FRAMED_HEADER.pack, self.ssrc
        for number, piece in enumerate(cut.pieces, sequence):
            second = PAYLOAD_TYPE | (0x80 if piece.marker else 0)
            size = 12 + len(piece.payload)
            stamp = timestamp + piece.ticks & 0xFFFFFFFF
            parts += (pack(0x24, 0, size, 0x80, second, number & 0xFFFF, stamp, ssrc), piece.payload)
        if len(self._framed) >= 2 * len(self.cuts):  # nobody is more than a loop behind anybody
            self._framed = {i: blob for i, blob in self._framed.items() if abs(i - index) < len(self.cuts)}
        ready = self._framed[index] = b"".join(parts)
        return ready

    def packets(self, index: int) -> list[bytes]:
        """The unit as RTP packets."""
        return self.stamped(index, self.sequence(index), self.base_timestamp + self.pts(index), self.ssrc)

    def stamped(self, index: int, sequence: int, timestamp: int, ssrc: int) -> list[bytes]:
        """The unit as RTP packets with other numbers than the reel's own."""
        pack = _HEADER.pack
        return [
            pack(
                0x80,
                PAYLOAD_TYPE | (0x80 if piece.marker else 0),
                number & 0xFFFF,
                timestamp + piece.ticks & 0xFFFFFFFF,
                ssrc,
            )
            + piece.payload
            for number, piece in enumerate(self.cut(index).pieces, sequence)
        ]
