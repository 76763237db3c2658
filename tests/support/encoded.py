"""Small real streams for media tests: synthetic pictures encoded by PyAV, as access units; and made-up units."""

from __future__ import annotations

import functools
import math
import struct
from fractions import Fraction
from uuid import UUID

import av

from vms.media import h264, h265
from vms.media.audio import aac_config
from vms.model import AccessUnit, ClockMapping, Codec, CodecConfig, Origin, RunClock, RunInfo

WALL_NS = 1_790_000_000_000_000_000
RUN = RunInfo(
    id=UUID("00000000-0000-4000-8000-0000000000b1"),
    stream_id=UUID("00000000-0000-4000-8000-0000000000a1"),
    origin=Origin.LIVE,
    host="rejestrator-1",
    epoch=3,
    clock=RunClock.ARRIVAL,
    start_ns=WALL_NS,
)


def mapping_at(pts: int, clock_hz: int = 90_000) -> ClockMapping:
    """One straight line for every segment: media time 0 is WALL_NS."""
    return ClockMapping(pts, WALL_NS + pts * 1_000_000_000 // clock_hz, clock_hz)


def split_annex_b(data: bytes) -> list[bytes]:
    """NAL units of an Annex B byte stream."""
    return [nal.rstrip(b"\0") for nal in data.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")[1:]]


@functools.cache
def video(
    codec: Codec, count: int = 75, b_frames: int = 0, gop: int = 25, options: tuple[tuple[str, str], ...] = ()
) -> tuple[AccessUnit, ...]:
    """`count` pictures at 25 fps, 160 by 96, in decoding order; PTS from 900 000 on."""
    encoder = av.CodecContext.create("libx264" if codec is Codec.H264 else "libx265", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 160, 96, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, 25), Fraction(25)
    keys = f"keyint={gop}:min-keyint={gop}:scenecut=0:bframes={b_frames}:b-adapt=0"
    library = "x264-params" if codec is Codec.H264 else "x265-params"
    extra = "".join(f":{name}={value}" for name, value in options)
    encoder.options = {"preset": "ultrafast", library: keys + ":repeat-headers=1:log-level=none" + extra}
    packets = []
    for n in range(count):
        frame = av.VideoFrame(160, 96, "yuv420p")
        ramp = bytes(range(256)) * 3
        for number, plane in enumerate(frame.planes):
            rows = (ramp[(5 * n + y) % 256 :][: plane.line_size] for y in range(plane.height))
            plane.update(b"".join(rows) if number == 0 else bytes([128]) * plane.buffer_size)
        frame.pts = n
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    return tuple(_units(codec, [(int(p.pts or 0), bytes(p), p.is_keyframe) for p in packets]))


def _units(codec: Codec, packets: list[tuple[int, bytes, bool]]) -> list[AccessUnit]:
    config: CodecConfig | None = None
    units = []
    for pts, data, is_keyframe in packets:
        nals = split_annex_b(data)
        if codec is Codec.H264:
            sets = [n for n in nals if n[0] & 31 in (7, 8)]
            kept = [n for n in nals if n[0] & 31 not in (7, 8, 9)]
        else:
            sets = [n for n in nals if n[0] >> 1 & 63 in (32, 33, 34)]
            kept = [n for n in nals if n[0] >> 1 & 63 not in (32, 33, 34, 35)]
        if config is None:
            config = (h264 if codec is Codec.H264 else h265).make_config(sets)
        irap = codec is Codec.H265 and any(16 <= n[0] >> 1 & 63 <= 23 for n in kept)
        key = is_keyframe or irap
        body = b"".join(len(n).to_bytes(4, "big") + n for n in kept)
        units.append(AccessUnit(900_000 + pts * 3600, body, key, config, 0))
    return units


@functools.cache
def aac(count: int = 150) -> tuple[AccessUnit, ...]:
    """AAC frames of a 440 Hz tone at 16 kHz; PTS from 0 on."""
    encoder = av.CodecContext.create("aac", "w")
    encoder.sample_rate, encoder.layout, encoder.format = 16_000, "mono", "fltp"
    encoder.open()
    packets = []
    for n in range(count):
        frame = av.AudioFrame("fltp", "mono", 1024)
        tone = (math.sin(2 * math.pi * 440 / 16_000 * t) for t in range(1024 * n, 1024 * (n + 1)))
        frame.planes[0].update(struct.pack("1024f", *tone))
        frame.sample_rate, frame.pts = 16_000, 1024 * n
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    config = aac_config(bytes(encoder.extradata or b""), 16_000, 1)
    return tuple(AccessUnit(1024 * n, bytes(p), True, config, 0) for n, p in enumerate(packets))


@functools.cache
def small_config() -> CodecConfig:
    """A real configuration for units whose data nobody decodes."""
    return video(Codec.H264, 2)[0].config


def made_up(pts: int, *, key: bool, config: CodecConfig, size: int = 40, damaged: bool = False) -> AccessUnit:
    """A unit of one slice NAL with the PTS in it, so that no two are alike."""
    h265_type = 19 if key else 1
    header = bytes((0x65 if key else 0x41,)) if config.codec is Codec.H264 else bytes((h265_type << 1, 1))
    nal = header + pts.to_bytes(9, "big", signed=True) + bytes(max(0, size - 14))
    return AccessUnit(pts, len(nal).to_bytes(4, "big") + nal, key, config, 0, damaged)
