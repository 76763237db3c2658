"""Packets of one stream with a camera's quirks of numbering and framing. Pure and deterministic: everything follows from
the unit's number, the seed and the stream's first unit."""

from __future__ import annotations

import random
from dataclasses import dataclass
from fractions import Fraction

from vms.simulate.packets import PAYLOAD_TYPE, Reel

RESET_UNITS = 100
BACKWARD_EVERY = 40
BACKWARD_TICKS = 45_000
WRAP_PACKETS = 40
WRAP_TICKS = 180_000
SLOW = Fraction(25, 21)
_EXTENSION = b"\xab\xac\x00\x03" + bytes(12)  # ONVIF Streaming Specification §6.3: NTP time, flags, CSeq


@dataclass(frozen=True, slots=True)
class Numbering:
    """How the units from some index on are numbered: `offset` is added to their (stretched) pts."""

    sequence: int
    offset: int
    ssrc: int


class Bender:
    """One stream's way of numbering. `first` is the unit with which its epochs begin."""

    def __init__(self, reel: Reel, quirks: frozenset[str], key: str, first: int) -> None:
        self._reel = reel
        self._quirks = quirks
        self._key = key
        self._first = first

    def numbering(self, index: int) -> Numbering:
        """Sequence of the unit's first packet, timestamp offset and SSRC."""
        reel, quirks = self._reel, self._quirks
        sequence, offset, ssrc = reel.sequence(index), reel.base_timestamp, reel.ssrc
        if "near_wrap" in quirks:
            sequence += 65_536 - WRAP_PACKETS - reel.sequence(self._first)
            offset = (1 << 32) - WRAP_TICKS - self.stretch(reel.pts(self._first))
        if quirks & {"ssrc_change", "sequence_reset"}:
            epoch = (index - self._first) // RESET_UNITS
            if epoch:
                rng = random.Random(f"{self._key}:epoch:{epoch}")  # noqa: S311 - wanted: the same every time
                begin = self._first + epoch * RESET_UNITS
                sequence = rng.getrandbits(16) + reel.sequence(index) - reel.sequence(begin)
                if "ssrc_change" in quirks:
                    ssrc, offset = rng.getrandbits(32), rng.getrandbits(32)
        return Numbering(sequence, offset, ssrc)

    def stretch(self, ticks: int) -> int:
        """Media time on the wire of media time in the file."""
        return int(ticks * SLOW) if "slow_delivery" in self._quirks else ticks

    def timestamp(self, index: int) -> int:
        """The RTP timestamp of the unit's picture."""
        numbering = self.numbering(index)
        if "constant_timestamps" in self._quirks:
            return self._reel.base_timestamp
        early = BACKWARD_TICKS if self._backward(index) else 0
        return numbering.offset + self.stretch(self._reel.pts(index)) - early & 0xFFFFFFFF

    def packets(self, index: int) -> list[bytes]:
        """The unit's own packets, before anything foreign is mixed in."""
        numbering = self.numbering(index)
        packets = self._reel.stamped(index, numbering.sequence, self.timestamp(index), numbering.ssrc)
        if "garbage_payloads" in self._quirks:
            noise = random.Random(index)  # noqa: S311 - noise
            packets = [p[:12] + noise.randbytes(len(p) - 12) for p in packets]
        if "rtp_extension" in self._quirks:
            packets = [bytes((p[0] | 0x10,)) + p[1:12] + _EXTENSION + p[12:] for p in packets]
        if "rtp_padding" in self._quirks:
            packets = [bytes((p[0] | 0x20,)) + p[1:] + b"\0\0\0\4" for p in packets]
        return packets

    def mixed(self, index: int, packets: list[bytes], *, udp: bool) -> list[bytes]:
        """What goes out for a unit whose `packets` were not lost: reordered, and followed by a stranger's."""
        if udp and "udp_reorder" in self._quirks:
            packets = [packets[i ^ 1] if i ^ 1 < len(packets) else packets[i] for i in range(len(packets))]
        if "foreign_packets" in self._quirks:
            packets = [*packets, self._foreign(index)]
        return packets

    def _foreign(self, index: int) -> bytes:
        """A slice of somebody else's picture."""
        ssrc = (self._reel.ssrc ^ 0x5A5A5A5A).to_bytes(4, "big")
        stamp = (index * 3600 & 0xFFFFFFFF).to_bytes(4, "big")
        head = bytes((0x80, 0x80 | PAYLOAD_TYPE)) + (index & 0xFFFF).to_bytes(2, "big") + stamp + ssrc
        slice_header = b"\x41" if self._reel.clip.config.codec.value == "h264" else b"\x02\x01"
        return head + slice_header + random.Random(index).randbytes(60)  # noqa: S311 - noise

    def _backward(self, index: int) -> bool:
        return "backward_timestamps" in self._quirks and index % BACKWARD_EVERY == BACKWARD_EVERY // 2
