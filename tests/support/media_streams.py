"""Elementary streams for media tests: small made-up NALs, real encoded pictures, and sinks that remember."""

from __future__ import annotations

import fractions
import re
from dataclasses import dataclass, field

import av

from vms.media.rtp import build_rtp, packetise
from vms.model import AccessUnit, Codec, SenderReport


@dataclass
class Remembered:
    """A UnitSink that keeps everything."""

    units: list[AccessUnit] = field(default_factory=list)
    losses: list[int] = field(default_factory=list)
    reports: list[SenderReport] = field(default_factory=list)

    def on_unit(self, unit: AccessUnit) -> None:
        self.units.append(unit)

    def on_loss(self, packets: int) -> None:
        self.losses.append(packets)

    def on_sender_report(self, report: SenderReport) -> None:
        self.reports.append(report)


def prefixed(*nals: bytes) -> bytes:
    """NALs with their 4-byte lengths."""
    return b"".join(len(nal).to_bytes(4, "big") + nal for nal in nals)


def split_annex_b(stream: bytes) -> list[bytes]:
    return [nal for nal in re.split(rb"\x00\x00+\x01", b"\0" + stream) if nal not in (b"", b"\0")]


@dataclass(frozen=True)
class Encoded:
    """`pictures`: NALs of each access unit in decoding order, and its presentation time in 90 kHz ticks."""

    codec: Codec
    pictures: list[tuple[list[bytes], int]]


def encode(
    codec: Codec, frames: int = 30, size: tuple[int, int] = (192, 112), options: dict[str, str] | None = None
) -> Encoded:
    """Synthetic pictures through libx264 or libx265, parameter sets in band."""
    name = "libx264" if codec is Codec.H264 else "libx265"
    context = av.CodecContext.create(name, "w")
    context.width, context.height = size
    context.pix_fmt = "yuv420p"
    context.time_base = fractions.Fraction(1, 90_000)
    context.framerate = fractions.Fraction(25)
    context.thread_count = 1
    context.options = {"preset": "ultrafast", "g": "10", **(options or {})}
    if codec is Codec.H265:
        context.options = {
            "preset": "ultrafast",
            "x265-params": "log-level=none:pools=1:frame-threads=1:" + (options or {}).get("x265-params", "keyint=10"),
        }
    pictures: list[tuple[list[bytes], int]] = []

    def take(packets: list[av.Packet]) -> None:
        for packet in packets:
            pictures.append((split_annex_b(bytes(packet)), int(packet.pts or 0)))

    for index in range(frames):
        frame = av.VideoFrame(*size, "yuv420p")
        luma, *chroma = frame.planes
        rows = [bytes((x * 3 + y * 2 + index * 7) & 0xFF for x in range(luma.line_size)) for y in range(luma.height)]
        luma.update(b"".join(rows))
        for plane in chroma:
            plane.update(b"\x80" * plane.buffer_size)
        frame.pts = index * 3600
        frame.time_base = context.time_base
        take(context.encode(frame))
    take(context.encode(None))
    return Encoded(codec, pictures)


def rtp_packets(
    codec: Codec,
    units: list[tuple[bytes, int]],
    *,
    payload_type: int = 96,
    ssrc: int = 0x1234,
    sequence: int = 65_530,
    max_payload: int = 1400,
) -> list[bytes]:
    """Packets of (unit data, timestamp) pairs, marker on the last of each."""
    packets = []
    for data, timestamp in units:
        payloads = packetise(codec, data, max_payload)
        for index, payload in enumerate(payloads):
            last = index == len(payloads) - 1
            packets.append(build_rtp(payload_type, sequence, timestamp, ssrc, payload, marker=last))
            sequence += 1
    return packets
