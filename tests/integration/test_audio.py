"""Sound: a stream of its own where the legal profile allows it, and not a byte of it anywhere where it does not (L-06)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.foreign_servers import film, gstreamer
from tests.support.stack import SECOND, Recorded, Stack, running_stack
from tests.support.waiting import until
from vms.model import Codec, GapReason, LegalProfile, StreamKind

pytestmark = [pytest.mark.network, pytest.mark.timeout(120)]


@dataclass(frozen=True)
class Sound:
    """What one kind of sound must look like when it is recorded."""

    kind: str
    codec: Codec
    clock_hz: int
    frame_ticks: int


SOUNDS = (Sound("h264+pcma", Codec.PCMA, 8000, 160), Sound("h264+aac", Codec.AAC, 16_000, 1024))


def everything_written(stack: Stack) -> list[Path]:
    """Every file of the site's spool and store."""
    return [
        path
        for root in (stack.site.spool, stack.site.settings.store.path)
        for path in root.rglob("*")
        if path.is_file()
    ]


def check_sound(units: list[Recorded], sound: Sound) -> None:
    assert {u.config.codec for u in units} == {sound.codec}
    assert {u.config.clock_hz for u in units} == {sound.clock_hz}
    assert not any(u.damaged for u in units)
    spans = [b.capture_ns - a.capture_ns for a, b in pairwise(units)]
    usual = sound.frame_ticks * SECOND // sound.clock_hz
    assert sum(spans) / len(spans) == pytest.approx(usual, rel=0.05)


@pytest.mark.parametrize("sound", SOUNDS, ids=lambda s: s.codec.value)
async def test_two_cameras_with_and_without_leave_to_record_sound(sound: Sound) -> None:
    """The same source twice: both cameras have a sound stream, but only one legal profile allows it."""
    async with gstreamer(film(Codec.H264), sound.kind) as url, running_stack(audio=False) as stack:
        allowing = await stack.catalogue.put_profile(LegalProfile(uuid4(), "izba przyjęć", "art. 6", 7, audio=True))
        await stack.add("with", url, audio=True, profile=allowing)
        await stack.add("without", url, audio=True)
        await stack.start()
        await stack.recording(seconds=25)

        async def heard() -> bool:
            found = (await stack.timeline("with", kind=StreamKind.AUDIO)).spans
            return sum(span.range.duration_ns for span in found) > 3 * SECOND

        await until(heard, 25, "three seconds of sound")

        async def seen() -> bool:
            shown = [(await stack.timeline(name)).spans for name in ("with", "without")]
            return min(sum(span.range.duration_ns for span in spans) for spans in shown) > 4 * SECOND

        await until(seen, 25, "four seconds of both cameras' pictures")  # one of them may have been refused at first
        assert await stack.state("without", StreamKind.AUDIO) == {}
        await stack.stop()

        check_sound(await stack.units("with", StreamKind.AUDIO), sound)
        for name in ("with", "without"):
            video = await stack.units(name)
            assert len(video) > 3 * 25
            assert {u.config.codec for u in video} == {Codec.H264}
            # GStreamer may refuse one of two clients that come in the same moment; what counts is from the first picture on.
            since = [gap for gap in await stack.gaps(name) if gap.start_ns >= video[0].capture_ns]
            assert {gap.reason for gap in since} == {GapReason.RECORDER_RESTART}
        assert await stack.units("without", StreamKind.AUDIO) == []
        allowed, silent = (str(stack.stream(name, StreamKind.AUDIO)) for name in ("with", "without"))
        written = everything_written(stack)
        assert any(allowed in str(path) for path in written)
        assert not any(silent in str(path) for path in written)
        for path in written:
            if str(stack.stream("without")) in str(path) and path.suffix == ".mp4":
                data = path.read_bytes()
                assert b"soun" not in data
                assert b"alaw" not in data
                assert b"mp4a" not in data
