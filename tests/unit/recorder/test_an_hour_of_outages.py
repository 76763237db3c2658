"""E-05: fifty outages of all kinds in one hour of simulated camera time, and the gap table tells of these, to the frame."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import pytest

from recorder.segmenter import SegmentPolicy
from storage.catalogue import Expectation
from storage.catalogue.coverage import holes, missing
from storage.spool_files import OpenSegment, disk_error
from tests.support.injected import BY_HAND, REASONS, FailingCamera, Injected, Kind, let_pass, plan
from tests.support.stage import STREAM, S, Stage, check, crash, read
from vms.clock import SimulatedClock
from vms.model import Gap, GapReason
from vms.timeline import TimeRange, merge, subtract

OUTAGES, SECONDS = 50, 3600
TAIL_NS = S  # what a crash, or a disk that refuses, may cost of what came before it
BACK_NS = 35 * S  # an attempt after fifteen seconds, a bug's pause, and a group of pictures


class Site:
    """A recorder that dies, stops and starts again over one camera."""

    def __init__(self, path: Path, camera: FailingCamera, clock: SimulatedClock) -> None:
        self.path, self.camera, self.clock = path, camera, clock
        self.deaths = 0
        self.stage = self._staged()

    def _staged(self) -> Stage:
        stage = Stage(self.path, self.clock, policy=SegmentPolicy(target_ns=20 * S))
        stage.recording.source = self.camera
        return stage

    async def begin(self) -> None:
        self.stage = self._staged()
        await self.stage.__aenter__()

    async def happen(self, outage: Injected) -> None:
        """What befalls the recorder: begins now, is over when this returns."""
        if outage.kind is Kind.DISK_FULL:
            with refusing():
                await self.pass_to(outage.end_ns)
        elif outage.kind is Kind.GIVEN_UP:
            self.stage.recording.give_up("the spool is full")
            await self.pass_to(outage.end_ns)
            self.stage.recording.take_up()
        else:
            if outage.kind is Kind.DIES:
                self.deaths += 1
                left = await crash(self.stage, self.path.with_name(f"after {self.deaths} deaths"))
                await self.stage.stop()
                self.path = left
            else:
                await self.stage.stop(REASONS[outage.kind])
            await self.pass_to(outage.end_ns)
            await self.begin()

    async def pass_to(self, at_ns: int) -> None:
        await let_pass(self.clock, at_ns, self.camera.frame_ns)


@contextmanager
def refusing() -> Iterator[None]:
    def write(_self: OpenSegment, _buffers: object) -> int:
        raise disk_error(OSError(errno.ENOSPC, "full"), "a test")

    with patch.object(OpenSegment, "write", write):
        yield


async def an_hour(path: Path, outages: list[Injected], camera: FailingCamera, clock: SimulatedClock) -> Stage:
    async def at_once(work, *args):
        return work(*args)

    with patch("recorder.recording.asyncio.to_thread", at_once):
        site = Site(path, camera, clock)
        await site.begin()
        for outage in outages:
            await site.pass_to(outage.start_ns)
            if outage.kind in BY_HAND:
                await site.happen(outage)
        await site.pass_to(camera.began_ns + SECONDS * S)
        await site.stage.stop()
        await site.begin()
        await site.stage.stop()
    return site.stage


@pytest.mark.parametrize(("seed", "frame", "gop"), [(1, 3600, 25), (2, 7200, 25)])
async def test_the_gap_table_is_what_was_injected(tmp_path: Path, seed: int, frame: int, gop: int) -> None:
    clock = SimulatedClock()
    began_ns = clock.wall_ns()
    frame_ns = frame * S // 90_000
    outages = plan(seed, OUTAGES, began_ns, SECONDS, frame_ns)
    assert {outage.kind for outage in outages} == set(Kind)
    camera = FailingCamera(clock, outages, frame=frame, gop=gop)
    stage = await an_hour(tmp_path / "spool", outages, camera, clock)
    segments = check(stage, holes=True)
    stored = sorted(unit.pts // frame for segment in segments for unit in read(segment))
    assert len(set(stored)) == len(stored)
    assert camera.delivered.issuperset(stored)
    lost = [
        TimeRange(camera.taken_ns(a + 1), camera.taken_ns(b)) for a, b in pairwise(stored) if b - a > 1
    ]  # by the pictures themselves
    table = [gap for gap in stage.gaps() if gap.end_ns is not None and gap.end_ns > gap.start_ns]
    told = merge([TimeRange(gap.start_ns, gap.end_ns or 0) for gap in table])
    whole = TimeRange(camera.taken_ns(stored[0]), camera.taken_ns(stored[-1] + 1))
    told = [gap for gap in told if whole.start_ns < gap.start_ns and gap.end_ns < whole.end_ns]
    assert len(lost) == len(told) == len(outages) == OUTAGES
    for one, outage, gap in zip(lost, outages, told, strict=True):
        assert abs(gap.start_ns - one.start_ns) <= frame_ns, outage
        assert abs(gap.end_ns - one.end_ns) <= frame_ns, outage
        _is_told_as_injected(outage, gap, table, frame_ns, gop)
    recorded = len(stored) * frame_ns
    assert abs(recorded + sum(gap.duration_ns for gap in told) - whole.duration_ns) <= frame_ns
    _timeline_agrees(segments, stage.gaps(), whole, recorded, frame_ns)


def _is_told_as_injected(outage: Injected, gap: TimeRange, table: list[Gap], frame_ns: int, gop: int) -> None:
    reasons = [g.reason for g in table if gap.start_ns <= g.start_ns < gap.end_ns]
    assert REASONS[outage.kind] in reasons, (outage, reasons)
    assert (GapReason.NO_KEYFRAME in reasons) == (outage.kind is Kind.NO_KEYS), (outage, reasons)
    if outage.kind in (Kind.DIES, Kind.DISK_FULL):
        assert -frame_ns <= outage.start_ns - gap.start_ns <= TAIL_NS, outage
    else:
        assert abs(gap.start_ns - outage.start_ns) <= frame_ns, outage
    if outage.kind in (Kind.LOSES, Kind.PAUSES):
        assert abs(gap.end_ns - outage.end_ns) <= frame_ns, outage
    else:
        assert -frame_ns <= gap.end_ns - outage.end_ns <= BACK_NS, outage


def _timeline_agrees(segments: list, gaps: list[Gap], whole: TimeRange, recorded: int, frame_ns: int) -> None:
    """What the catalogue makes of the same facts."""
    ranges = [TimeRange(s.facts.start_ns, s.facts.end_ns) for s in segments]
    covered = subtract(ranges, holes(gaps, ranges))
    assert abs(sum(span.duration_ns for span in covered) - recorded) <= frame_ns
    expected = [Expectation(STREAM, whole.start_ns, None, None)]
    lacking = missing(whole, expected, covered, gaps, until_ns=whole.end_ns, tolerance_ns=frame_ns // 2)
    assert not [m for m in lacking if m.reason is GapReason.UNKNOWN]
    assert abs(sum(m.range.duration_ns for m in lacking) + recorded - whole.duration_ns) <= frame_ns


def test_a_plan_leaves_time_between_outages() -> None:
    outages = plan(5, OUTAGES, 0, SECONDS, 40_000_000)
    assert all(b.start_ns - a.end_ns >= 25 * S for a, b in pairwise(outages))
