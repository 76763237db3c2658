"""Look at a camera for a few seconds and say what it sends and what to change on it.

Owns the measuring and the advice. Does not own receiving (`client`) nor printing. `measure` and `advise` are pure.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from itertools import pairwise

from vms.camera_url import CameraUrl
from vms.errors import SourceError
from vms.media.sdp import MediaDescription, SessionDescription, codec_of, initial_config
from vms.model import AccessUnit, Codec, CodecConfig, GapReason, SenderReport, SourceKind
from vms.rtsp.client import RtspOptions, RtspSession
from vms.rtsp.message import printable
from vms.sentences import Sentence, say

GOP_SECONDS = 2.0  # what we ask cameras for: playback starts, exports cut and live view opens at a keyframe
GOP_TOLERANCE = 1.1
CLOCK_LIMIT_NS = 1_000_000_000
FPS_TOLERANCE = 0.9  # delivered over announced
LOSS_LIMIT = 0.001
ADD_H264_SUB = say("add_h264_sub")
MAX_UNITS = 100_000  # kept as numbers only


@dataclass(frozen=True, slots=True)
class CameraReport:
    """What a camera sends. Numbers are 0 where nothing could be measured; `advice` is for people, worst first."""

    url: str  # without credentials
    server: str  # the Server header
    transport: str  # "tcp" or "udp"
    codec: str  # FFmpeg's spelling; the SDP's name when it is none of ours
    profile: str = ""
    width: int = 0
    height: int = 0
    fps_measured: float = 0.0
    fps_announced: float = 0.0
    bitrate_bps: int = 0
    gop_units: int = 0  # of the longest whole GOP seen; 0: no whole one
    gop_seconds: float = 0.0
    keyframes: int = 0
    b_frames: bool = False
    clock_offset_ns: int | None = None  # camera's less ours; None: no sender report with a wall time
    audio: tuple[str, ...] = ()  # encodings of the sound offered
    packets_lost: int = 0
    seconds: float = 0.0  # of media time measured
    advice: tuple[Sentence, ...] = ()


@dataclass(slots=True)
class Measured:
    """A sink that keeps sizes and times of units, not their bytes."""

    pts: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)  # indices into `pts`
    config: CodecConfig | None = None
    clock_offset_ns: int | None = None

    def on_unit(self, unit: AccessUnit) -> None:
        if len(self.pts) < MAX_UNITS:
            if unit.key:
                self.keys.append(len(self.pts))
            self.pts.append(unit.pts)
            self.sizes.append(len(unit.data))
            self.config = unit.config

    def on_loss(self, packets: int) -> None:
        """The depacketiser counts."""

    def on_sender_report(self, report: SenderReport) -> None:
        ours_ns = time.time_ns() - (time.monotonic_ns() - report.arrival_mono_ns)
        self.clock_offset_ns = report.ntp_ns - ours_ns


async def probe(
    url: str,
    *,
    username: str = "",
    password: str = "",
    transport: str = "tcp",
    pin: str = "",
    seconds: float = 6.0,
    options: RtspOptions | None = None,
) -> CameraReport:
    """Receive the first video of `url` for `seconds`, up to twice that when no second keyframe came, and report.

    SourceError when it cannot be received at all; a codec that is not ours is a report with advice.
    """
    session = RtspSession.open(
        url, username=username, password=password, transport=transport, pin=pin, options=options or RtspOptions()
    )
    shown = str(replace(CameraUrl.parse(url, SourceKind.RTSP), username="", password=""))
    async with session:
        media = _video_of(session.description)
        audio = tuple(printable(m.encoding or "?", 40) for m in session.description.media if m.kind == "audio")
        if media is None:
            raise SourceError(GapReason.UNSUPPORTED_CODEC, say("no_video", camera=session.camera))
        if codec_of(media) is None:
            report = CameraReport(
                shown, session.server, session.transport, printable(media.encoding or "unknown", 40), audio=audio
            )
            return replace(report, advice=advise(report))
        measured = Measured()
        track = await session.setup(media, measured)
        await session.play()
        await _receive(session, measured, seconds)
        report = measure(measured, media)
        report = replace(
            report,
            url=shown,
            server=session.server,
            transport=session.transport,
            audio=audio,
            packets_lost=track.facts.lost,
        )
        lossy = track.facts.lost > LOSS_LIMIT * (track.facts.packets + track.facts.lost)
        return replace(report, advice=advise(report, lossy=lossy))


def _video_of(description: SessionDescription) -> MediaDescription | None:
    """The first video we can receive, else the first video. Back channels are not the camera's picture."""
    videos = [m for m in description.media if m.kind == "video" and m.direction != "recvonly"]
    return next((m for m in videos if codec_of(m) is not None), videos[0] if videos else None)


async def _receive(session: RtspSession, measured: Measured, seconds: float) -> None:
    """Run the session until enough was measured; SourceError when it ends before."""
    runner = asyncio.create_task(session.run(), name=f"probe {session.camera}")
    began = time.monotonic()
    try:
        while (passed := time.monotonic() - began) < 2 * seconds:
            if passed >= seconds and len(measured.keys) >= 2:
                return
            done, _ = await asyncio.wait({runner}, timeout=min(0.1, seconds / 4))
            if done:
                runner.result()
    finally:
        runner.cancel()
        await asyncio.gather(runner, return_exceptions=True)


def measure(measured: Measured, media: MediaDescription) -> CameraReport:
    """Reckon a report from what was received; addresses and names are left empty. Pure."""
    config = measured.config or initial_config(media)
    assert config is not None
    pts, keys = measured.pts, measured.keys
    ticks = max(pts) - min(pts) if len(pts) > 1 else 0
    seconds = ticks / config.clock_hz
    # n units span n - 1 intervals; the last unit's bytes belong to the interval that is not there.
    fps = (len(pts) - 1) / seconds if seconds else 0.0
    gops = [(b - a, pts[b] - pts[a]) for a, b in pairwise(keys)]
    gop_units, gop_ticks = max(gops, default=(0, 0))
    return CameraReport(
        url="",
        server="",
        transport="",
        codec=config.codec.value,
        profile=config.profile,
        width=config.width,
        height=config.height,
        fps_measured=round(fps, 2),
        fps_announced=round(config.nominal_fps, 2),
        bitrate_bps=round(sum(measured.sizes[:-1]) * 8 / seconds) if seconds else 0,
        gop_units=gop_units,
        gop_seconds=round(gop_ticks / config.clock_hz, 3),
        keyframes=len(keys),
        b_frames=any(later < earlier for earlier, later in pairwise(pts)),
        clock_offset_ns=measured.clock_offset_ns,
        seconds=round(seconds, 3),
    )


def advise(report: CameraReport, *, lossy: bool = False) -> tuple[Sentence, ...]:
    """What to change on the camera, worst first. Pure."""
    if report.codec not in (Codec.H264, Codec.H265):
        return (say("codec_not_recorded", codec=report.codec),)
    advice: list[Sentence] = []
    if report.keyframes == 0:
        advice.append(say("no_keyframe", seconds=report.seconds))
    elif report.gop_units == 0:
        advice.append(say("one_keyframe", seconds=report.seconds))
    elif report.gop_seconds > GOP_SECONDS * GOP_TOLERANCE:
        code = "smart_codec" if report.gop_seconds > 5 * GOP_SECONDS else "rare_keyframes"
        advice.append(say(code, seconds=report.gop_seconds))
    if lossy:
        advice.append(say("loss_udp" if report.transport == "udp" else "loss_tcp", packets=report.packets_lost))
    if report.b_frames:
        advice.append(say("b_frames"))
    if report.clock_offset_ns is not None and abs(report.clock_offset_ns) > CLOCK_LIMIT_NS:
        code = "clock_ahead" if report.clock_offset_ns > 0 else "clock_behind"
        advice.append(say(code, seconds=abs(report.clock_offset_ns) / 1e9))
    if report.codec == Codec.H265:
        advice.append(ADD_H264_SUB)
    if report.fps_announced and report.fps_measured < report.fps_announced * FPS_TOLERANCE and report.seconds > 1:
        advice.append(say("few_frames", announced=report.fps_announced, delivered=report.fps_measured))
    return tuple(advice)
