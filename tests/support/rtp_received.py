"""What a receiver makes of RTP packets: pictures as lists of NAL units, by RFC 6184 §5 and RFC 7798 §4.4 alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from vms.media.rtp import parse_rtp
from vms.model import Codec


@dataclass
class Picture:
    timestamp: int
    nals: list[bytes] = field(default_factory=list)


def pictures_of(codec: Codec, packets: Iterable[bytes]) -> list[Picture]:
    """Pictures end at the marker. Fails where fragments do not fit or sequence numbers do not follow on."""
    found: list[Picture] = []
    fragment: bytearray | None = None
    open_picture: Picture | None = None
    last: int | None = None
    for data in packets:
        packet = parse_rtp(data)
        assert last is None or packet.sequence == (last + 1) & 0xFFFF, f"{packet.sequence} after {last}"
        last = packet.sequence
        payload = data[packet.payload_start : packet.payload_end]
        if open_picture is None:
            open_picture = Picture(packet.timestamp)
            found.append(open_picture)
        assert packet.timestamp == open_picture.timestamp
        kind, head = _kind(codec, payload)
        if kind == (24 if codec is Codec.H264 else 48):
            at = head
            while at < len(payload):
                size = int.from_bytes(payload[at : at + 2], "big")
                assert 0 < size <= len(payload) - at - 2
                open_picture.nals.append(payload[at + 2 : at + 2 + size])
                at += 2 + size
        elif kind == (28 if codec is Codec.H264 else 49):
            flags = payload[head]
            if flags & 0x80:
                assert fragment is None
                fragment = bytearray(_restored(codec, payload))
            assert fragment is not None
            fragment += payload[head + 1 :]
            if flags & 0x40:
                open_picture.nals.append(bytes(fragment))
                fragment = None
        else:
            open_picture.nals.append(payload)
        if packet.marker:
            assert fragment is None
            open_picture = None
    assert open_picture is None, "the last picture has no marker"
    return found


def _kind(codec: Codec, payload: bytes) -> tuple[int, int]:
    return (payload[0] & 31, 1) if codec is Codec.H264 else (payload[0] >> 1 & 63, 2)


def _restored(codec: Codec, payload: bytes) -> bytes:
    """The NAL header a fragment's header stands for."""
    if codec is Codec.H264:
        return bytes((payload[0] & 0xE0 | payload[1] & 31,))
    return bytes((payload[0] & 0x81 | (payload[2] & 63) << 1, payload[1]))
