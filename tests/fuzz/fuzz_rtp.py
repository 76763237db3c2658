"""Fuzz target: RTP packets into every depacketiser. First byte: which one; then packets, each after its length (1 byte).

A packet of fewer than 12 bytes gets a good header put before it, so that payload parsers are reached at once.
"""

from __future__ import annotations

from tests.fuzz.checking import Checking
from vms.media.depacketise import ReorderBuffer, make_depacketiser
from vms.media.rtp import build_rtp, split_nals
from vms.media.sdp import MediaDescription
from vms.model import AccessUnit

_ENCODINGS = ("H264", "H265", "MPEG4-GENERIC", "PCMU")


class _Checking(Checking):
    def on_unit(self, unit: AccessUnit) -> None:
        super().on_unit(unit)
        if unit.config.codec.is_video:
            assert sum(4 + len(nal) for nal in split_nals(unit.data)) == len(unit.data)


def fuzz(data: bytes) -> None:
    if not data:
        return
    encoding = _ENCODINGS[data[0] & 3]
    kind = "video" if encoding.startswith("H26") else "audio"
    depacketiser = make_depacketiser(MediaDescription(kind, 0, "RTP/AVP", 96, encoding, 90_000, 1), _Checking())
    target = ReorderBuffer(depacketiser, max_packets=8) if data[0] & 4 else depacketiser
    at, sequence, timestamp = 1, 0, 0
    while at < len(data):
        packet = data[at + 1 : at + 1 + data[at]]
        if data[at] & 0x80 or len(packet) < 12:
            timestamp += 3600 if data[at] & 0x40 else 0
            packet = build_rtp(96, sequence, timestamp, 1, packet, marker=bool(data[at] & 1))
            sequence += 1
        at += 1 + data[at]
        target.push(bytearray(packet), 0, len(packet), at * 1_000_000)
    target.flush()
