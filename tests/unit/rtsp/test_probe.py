"""The probe: what is measured, what is advised, against a scripted camera and from plain numbers."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from tests.support.rtsp_watch import QUICK
from tests.support.scripted_rtsp import AUDIO, SDP, SSRC, Scripted, frame, picture, pictures, status
from vms.errors import SourceError
from vms.media.rtcp import SenderReportPacket, build_sender_report
from vms.model import GapReason
from vms.rtsp.probe import CameraReport, advise, probe

PATIENT = replace(QUICK, stall_timeout=5.0)


async def test_a_camera_as_it_should_be() -> None:
    report = build_sender_report(SenderReportPacket(SSRC, time.time_ns() + 3_600_000_000_000, 93_600), "kamera")
    media = [*pictures(3), frame(1, report), *pictures(60, start=3)]
    async with Scripted(sdp=SDP + AUDIO, media=media) as camera:
        url = camera.url.replace("//", "//admin:tajne@")
        found = await probe(url, seconds=0.3, options=PATIENT)
        assert camera.asked("TEARDOWN")
    assert "tajne" not in repr(found)
    assert found.url == camera.url
    assert (found.server, found.transport, found.codec) == ("Scripted", "tcp", "h264")
    assert (found.profile, found.width, found.height) == ("Constrained Baseline", 640, 360)
    assert found.fps_measured == found.fps_announced == 25.0
    assert found.gop_units == 25
    assert found.gop_seconds == 1.0
    assert found.keyframes == 3
    assert found.bitrate_bps == 48 * 8 * 25  # 4 bytes of length, 4 of head, 40 of slice
    assert not found.b_frames
    assert found.audio == ("PCMA",)
    assert found.packets_lost == 0
    assert found.clock_offset_ns is not None
    assert 3_590e9 < found.clock_offset_ns < 3_610e9
    [advice] = found.advice
    assert "ahead of ours: set an NTP server" in advice


async def test_one_keyframe_only_takes_twice_as_long_and_is_said() -> None:
    media = [frame(0, picture(n, key=n == 0)) for n in range(50)]
    async with Scripted(media=media) as camera:
        began = time.monotonic()
        found = await probe(camera.url, seconds=0.2, options=PATIENT)
        assert 0.35 < time.monotonic() - began < 3
    assert found.keyframes == 1
    assert found.gop_units == 0
    assert "smart codec" in found.advice[0]


async def test_a_codec_that_is_not_ours_is_a_report() -> None:
    sdp = SDP.split(b"m=video")[0] + b"m=video 0 RTP/AVP 26\r\na=control:1\r\n"
    async with Scripted(sdp=sdp) as camera:
        found = await probe(camera.url, options=QUICK)
        assert not camera.asked("SETUP")
    assert found.codec == "JPEG"
    assert "switch the camera to H.264 or H.265, or set source libav" in found.advice[0]


async def test_a_camera_that_cannot_be_probed() -> None:
    async with Scripted() as camera:
        with pytest.raises(SourceError) as caught:
            await probe(camera.url, options=QUICK)
    assert caught.value.reason is GapReason.STALLED
    async with Scripted(sdp=SDP.split(b"m=video")[0] + AUDIO) as camera:
        with pytest.raises(SourceError, match="no video"):
            await probe(camera.url, options=QUICK)
    async with Scripted({"DESCRIBE": [status(404)]}) as camera:
        with pytest.raises(SourceError, match="404"):
            await probe(camera.url, options=QUICK)


GOOD = CameraReport(
    url="rtsp://c/",
    server="x",
    transport="tcp",
    codec="h264",
    fps_measured=25.0,
    fps_announced=25.0,
    gop_units=50,
    gop_seconds=2.0,
    keyframes=3,
    clock_offset_ns=-900_000_000,
    seconds=6.0,
)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"gop_seconds": 4.0}, "every 4.0 s: set the I-frame interval to 2 s"),
        ({"gop_seconds": 60.0}, "switch off the smart codec"),
        ({"keyframes": 0, "gop_units": 0}, "no keyframe within 6 s"),
        ({"keyframes": 1, "gop_units": 0}, "no second keyframe"),
        ({"b_frames": True}, "B-frames"),
        ({"clock_offset_ns": -7_200_000_000_000}, "7200.0 s behind ours: set an NTP server"),
        ({"codec": "hevc"}, "add a sub-stream in H.264"),
        ({"fps_measured": 21.0}, "25 frames a second announced, 21 delivered"),
        ({"codec": "JPEG"}, "source libav"),
    ],
)
def test_advice(change: dict[str, object], words: str) -> None:
    assert advise(GOOD) == ()
    [advice] = advise(replace(GOOD, **change))  # type: ignore[arg-type]
    assert words in advice


def test_advice_that_depends_on_more_than_the_report() -> None:
    assert "transport tcp" in advise(replace(GOOD, transport="udp", packets_lost=9), lossy=True)[0]
    assert "network" in advise(replace(GOOD, packets_lost=9), lossy=True)[0]
