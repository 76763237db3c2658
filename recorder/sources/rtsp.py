"""A source through our own RTSP client: chooses the tracks of a session and lets it run."""

from __future__ import annotations

from dataclasses import replace

from recorder.sources import LIVE_PATIENCE_S, SourceTarget, TrackSinks
from vms.camera_url import CameraUrl
from vms.errors import SourceError
from vms.media.sdp import MediaDescription, SessionDescription, codec_of
from vms.model import GapReason, SourceKind
from vms.rtsp.client import RtspOptions, RtspSession

_NAMES = {"JPEG": "MJPEG", "MP2T": "MPEG-TS", "MPV": "MPEG video", "MP4V-ES": "MPEG-4 Part 2"}


class RtspSource:
    """Receives `target` over RTSP. The session itself ends the attempt when media stop for `patience_s`."""

    kind: SourceKind = SourceKind.RTSP
    why: str = ""

    def __init__(
        self, target: SourceTarget, options: RtspOptions | None = None, patience_s: float = LIVE_PATIENCE_S
    ) -> None:
        self.patience_s = patience_s
        self._target = target
        self._options = options or RtspOptions()

    async def run(self, sinks: TrackSinks) -> None:
        target = self._target
        session = RtspSession.open(
            target.url,
            username=target.username,
            password=target.password,
            transport=target.transport,
            pin=target.certificate_pin,
            options=replace(self._options, stall_timeout=self.patience_s),
        )
        async with session:
            camera = CameraUrl.parse(target.url, SourceKind.RTSP).host
            video, audio = choose_media(session.description, camera)
            if sinks.video is not None:
                await session.setup(video, sinks.video)
            if sinks.audio is not None and audio is not None:
                await session.setup(audio, sinks.audio)
            await session.play()
            await session.run()


def choose_media(description: SessionDescription, camera: str) -> tuple[MediaDescription, MediaDescription | None]:
    """The first video that can be recorded, and the first audio that can. SourceError names what is there instead."""
    videos = [m for m in description.media if m.kind == "video" and m.direction != "inactive"]
    video = next((m for m in videos if (codec := codec_of(m)) is not None and codec.is_video), None)
    if video is None:
        names = ", ".join(sorted({_NAMES.get(m.encoding, m.encoding) or "an unknown codec" for m in videos}))
        what = (
            f"sends video as {names}, which is not recorded: set it to H.264 or H.265" if names else "offers no video"
        )
        raise SourceError(GapReason.UNSUPPORTED_CODEC, f"{camera} {what}")
    audio = next(
        (
            m
            for m in description.media
            if m.kind == "audio" and m.direction != "inactive" and (c := codec_of(m)) is not None and not c.is_video
        ),
        None,
    )
    return video, audio
