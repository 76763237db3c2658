"""Fuzz target: compound RTCP packets, parsed, built again, and as a track of a session takes them."""

from __future__ import annotations

from dataclasses import replace

from tests.fuzz.checking import Checking
from vms.errors import MalformedError
from vms.media.rtcp import (
    Bye,
    ReceiverReportPacket,
    SenderReportPacket,
    build_bye,
    build_receiver_report,
    build_sender_report,
    parse_rtcp,
    utc_ns_to_ntp,
)
from vms.media.rtp import build_rtp
from vms.media.sdp import MediaDescription
from vms.rtsp.track import Track

_MEDIA = MediaDescription("video", 0, "RTP/AVP", 96, "H264", 90_000, 0)
_SLICES = [build_rtp(96, n, 3600 * n, 7, b"\x65\x88\x80", marker=True) for n in range(4)]


def fuzz(data: bytes) -> None:
    _as_a_track_takes_them(data)
    try:
        packets = parse_rtcp(data)
    except MalformedError:
        return
    assert len(packets) <= 64 * 32
    for packet in packets:
        if isinstance(packet, SenderReportPacket):
            if not utc_ns_to_ntp(packet.ntp_ns):
                continue  # the last half a nanosecond of an era
            again = parse_rtcp(build_sender_report(packet, "x"))[0]
            assert isinstance(again, SenderReportPacket)
            assert (again.ntp_middle - packet.ntp_middle + 1) & 0xFFFFFFFF <= 2  # UTC in ns is not as fine
            assert replace(again, ntp_middle=packet.ntp_middle) == packet
        elif isinstance(packet, ReceiverReportPacket):
            assert parse_rtcp(build_receiver_report(packet.ssrc, packet.blocks, "x"))[0] == packet
        elif isinstance(packet, Bye) and packet.ssrcs:
            assert parse_rtcp(build_bye(packet.ssrcs[0], "x", "ą" + packet.reason))[-1]


def _as_a_track_takes_them(data: bytes) -> None:
    """Before any media, in the middle of it, and after."""
    track = Track(_MEDIA, Checking(), None, lambda reason: reason.encode())
    track._push_rtcp(data, 0, len(data), 1)
    for number, packet in enumerate(_SLICES):
        track.depacketiser.push(bytearray(packet), 0, len(packet), number * 40_000_000)
        track._push_rtcp(bytearray(data), 0, len(data), number * 40_000_000)
    track.depacketiser.report_block(10**9)
    track.flush()


def seeds() -> list[bytes]:
    report = SenderReportPacket(7, 1_790_000_000_000_000_000, 3600, 4, 5)
    return [build_sender_report(report, "kamera"), build_receiver_report(8, (), "x"), build_bye(7, "x", "koniec")]
