"""`vms camera test`: what a camera's streams send, and what to change on the camera."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass, replace
from typing import Any

from vms.camera_url import CameraUrl
from vms.errors import SourceError
from vms.model import Camera, Codec, GapReason, Stream, StreamKind
from vms.rtsp.probe import ADD_H264_SUB, CameraReport, probe
from vms.sentences import Sentence, say, sentence_of

_ADVICE = {
    GapReason.UNAUTHORISED: "give those of the camera's own account with --user and --password-file",
    GapReason.REFUSED: "check address, port and path",
    GapReason.UNREACHABLE: "check address and port, and whether the camera is on",
    GapReason.STALLED: "see on the camera's own page whether this stream is switched on",
    GapReason.NO_KEYFRAME: "set the I-frame interval to 2 s on the camera",
}
_SAYS_WHAT_TO_DO = ("certificate_unknown", "certificate_changed")


@dataclass(frozen=True, slots=True)
class StreamTest:
    """One stream: its report, or why nothing was received."""

    kind: StreamKind
    url: str
    report: CameraReport | None
    error: SourceError | None = None


async def measure_camera(camera: Camera, seconds: float) -> list[StreamTest]:
    """Receive main and sub-stream at once, as recording and watching do; main first. A stream that fails is an answer too.

    Takes twice `seconds` at most, and the time that connecting may take.
    """
    wanted = [s for kind in (StreamKind.MAIN, StreamKind.SUB) for s in camera.streams if s.kind is kind]
    tests = await asyncio.gather(*(_measure(camera, stream, seconds) for stream in wanted))
    has_h264_sub = any(t.kind is StreamKind.SUB and t.report and t.report.codec == Codec.H264 for t in tests)
    return [_watchable(t) if has_h264_sub or t.kind is StreamKind.SUB else t for t in tests]


async def _measure(camera: Camera, stream: Stream, seconds: float) -> StreamTest:
    try:
        report = await probe(
            stream.url,
            username=camera.username,
            password=camera.password,
            transport=camera.transport,
            pin=camera.certificate_pin,
            seconds=seconds,
        )
    except SourceError as error:
        return StreamTest(stream.kind, stream.url, None, error)
    return StreamTest(stream.kind, stream.url, report)


def _watchable(test: StreamTest) -> StreamTest:
    """Without the advice to add a sub-stream that browsers play: there is one, or this is it."""
    if test.report is None:
        return test
    advice = tuple(text for text in test.report.advice if text != ADD_H264_SUB)
    return replace(test, report=replace(test.report, advice=advice))


def is_rtsp(url: str) -> bool:
    """Whether our own client can receive the address."""
    return CameraUrl.parse(url).scheme in ("rtsp", "rtsps")


def said_of(error: SourceError) -> Sentence:
    """Why a camera's test received nothing, by code whatever it was."""
    return sentence_of(error) or say("test_failed").noted(str(error))


def failure_of(test: StreamTest) -> str | None:
    """Why this stream would not be recorded, and what to do; None when it would be."""
    if test.error is not None:
        advice = _ADVICE.get(test.error.reason, "")
        told = not advice or said_of(test.error).code in _SAYS_WHAT_TO_DO
        return str(test.error) if told else f"{test.error}; {advice}"
    report = test.report
    assert report is not None
    if report.codec not in list(Codec) or not report.keyframes:
        return report.advice[0] if report.advice else "no picture came"
    return None


def stream_test_json(test: StreamTest) -> dict[str, Any]:
    if test.error is not None:
        return {
            "stream": test.kind.value,
            "url": test.url,
            "ok": False,
            "reason": test.error.reason.value,
            "message": str(test.error),
            "said": said_of(test.error).as_json(),
        }
    assert test.report is not None
    facts = asdict(test.report)
    offset_ns = facts.pop("clock_offset_ns")
    facts |= {
        "clock_offset_seconds": None if offset_ns is None else round(offset_ns / 1e9, 3),
        "audio": list(test.report.audio),
        "advice": [str(text) for text in test.report.advice],
    }
    return {"stream": test.kind.value, "url": test.url, "ok": True, **facts}


def stream_test_facts(test: StreamTest) -> list[tuple[str, object]]:
    """The same for people."""
    if test.error is not None:
        return [("address", test.url), ("not received", f"{test.error} ({test.error.reason})")]
    r = test.report
    assert r is not None
    announced = f" ({r.fps_announced:g} announced)" if r.fps_announced else ""
    return [
        ("address", r.url),
        ("server", r.server or None),
        ("transport", r.transport),
        ("codec", f"{r.codec} {r.profile}".strip()),
        ("size", f"{r.width} x {r.height}" if r.width else None),
        ("frames a second", f"{r.fps_measured:g}{announced}" if r.fps_measured else None),
        ("bitrate", f"{r.bitrate_bps / 1e6:.2f} Mbit/s" if r.bitrate_bps else None),
        ("keyframe every", f"{r.gop_seconds:g} s ({r.gop_units} frames)" if r.gop_units else "unknown"),
        ("B-frames", "yes" if r.b_frames else "no"),
        ("clock", "unknown" if r.clock_offset_ns is None else f"{r.clock_offset_ns / 1e9:+.3f} s from ours"),
        ("sound", ", ".join(r.audio) or "none"),
        ("packets lost", r.packets_lost),
        *(("advice", text) for text in r.advice),
    ]
