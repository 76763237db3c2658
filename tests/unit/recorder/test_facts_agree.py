"""Whatever fails: what gaps and runs state agrees with the segments on the disk, and nothing is without a reason."""

from __future__ import annotations

import asyncio
import errno
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from recorder.segmenter import SegmentPolicy
from recorder.sources.scripted import Lost, Step
from recorder.track import Track
from recorder.untold import SILENT_HOLE_NS
from storage.catalogue import Expectation
from storage.catalogue.coverage import MEET_NS, holes, missing
from storage.spool_files import OpenSegment, disk_error
from tests.support.stage import MS, STREAM, S, Stage, check, play, read_timed
from vms.clock import SimulatedClock
from vms.errors import SourceError
from vms.model import GapReason
from vms.timeline import TimeRange, cover, merge, subtract

SECONDS = 36
QUICK = (Phase.explicit, Phase.generate)  # an example takes long enough without shrinking it
FRAME_NS = 40 * MS
ABOUT = 3 * FRAME_NS // 2  # what is no hole yet
REFUSES = {"all": b"", "trailers": b"mfra", "fragments": b"moof", "heads": b"ftyp"}


@dataclass(frozen=True, slots=True)
class Failure:
    """From `at_s` for `lasts_s` the disk refuses writes that hold `what`."""

    at_s: float
    lasts_s: float
    what: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """One connection: pictures with holes (first, count, whether packets were lost); then an error, or silence."""

    seconds: int
    first_pts: int
    gop: int
    cuts: tuple[tuple[int, int, bool], ...]
    end: GapReason | None

    def script(self) -> list[Step]:
        skip = tuple(n for first, count, _ in self.cuts for n in range(first, first + count))
        steps = play(self.seconds, first_pts=self.first_pts, gop=self.gop, skip=skip)
        steps += [Step(first * FRAME_NS - MS, Lost(7)) for first, _, lost in self.cuts if lost]
        if self.end is not None:
            steps.append(Step(self.seconds * S, SourceError(self.end, "koniec")))
        return sorted(steps, key=lambda step: step.at_ns)


attempts = st.builds(
    Attempt,
    st.integers(2, 25),
    st.sampled_from([0, 1000, 5_000_000]),
    st.sampled_from([10, 25, 50]),
    st.lists(st.tuples(st.integers(5, 625), st.integers(1, 80), st.booleans()), max_size=3).map(tuple),
    st.sampled_from([None, GapReason.UNREACHABLE, GapReason.STALLED]),
)
failures = st.lists(
    st.builds(Failure, st.floats(0, SECONDS), st.sampled_from([0.1, 0.6, 2.0, 6.0]), st.sampled_from(sorted(REFUSES))),
    max_size=3,
)


@settings(
    max_examples=25,
    deadline=None,
    phases=QUICK,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(scripts=st.lists(attempts, min_size=1, max_size=6), refusals=failures)
def test_recorded_and_missing_time_is_all_there_is(scripts: list[Attempt], refusals: list[Failure]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_play(Path(folder), scripts, refusals))


async def _play(path: Path, scripts: list[Attempt], refusals: list[Failure]) -> None:
    clock = SimulatedClock()
    began = clock.wall_ns()
    real, on_loss = OpenSegment.write, Track.on_loss

    def write(self, buffers):
        now = (clock.wall_ns() - began) / S
        for failure in refusals:
            if failure.at_s <= now < failure.at_s + failure.lasts_s and REFUSES[failure.what] in b"".join(buffers):
                raise disk_error(OSError(errno.ENOSPC, "full"), "a test")
        return real(self, buffers)

    async def at_once(work, *args):
        return work(*args)

    with patch.object(OpenSegment, "write", write), patch("recorder.recording.asyncio.to_thread", at_once):
        policy = SegmentPolicy(target_ns=5 * S)
        lost_at: list[int] = []
        async with Stage(path, clock, *(one.script() for one in scripts), policy=policy) as stage:
            with patch.object(Track, "on_loss", lambda track, n: (lost_at.append(clock.wall_ns()), on_loss(track, n))):
                await stage.go(SECONDS, step_ms=40)
        refusals = []
        async with Stage(path, clock) as stage:  # nobody answers; what was left open is salvaged
            await stage.go(2, step_ms=40)
    assert stage.spool.parts() == []
    assert stage.recording.bugs == 0
    agree(stage, TimeRange(began, clock.wall_ns()), lost_at)


def agree(stage: Stage, expected: TimeRange, lost_at: list[int]) -> None:
    sealed = check(stage, holes=True)
    segments = [s.facts for s in sealed if s.facts is not None]
    ranges = [TimeRange(f.start_ns, f.end_ns) for f in segments]
    gaps = stage.gaps()
    cut = holes(gaps, ranges)
    for gap in gaps:
        end_ns = expected.end_ns if gap.end_ns is None else gap.end_ns
        span = TimeRange(gap.start_ns, max(end_ns, gap.start_ns + 1))
        if span in cut:
            continue
        beside = sum(r.duration_ns for r in cover(span, ranges))
        assert beside <= ABOUT, f"{gap} covers {beside / S} s of what is recorded"
        assert not [r for r in ranges if span.start_ns <= r.start_ns and r.end_ns <= span.end_ns]
    pictures = sorted(u.capture_ns for s in sealed for u in read_timed(s))
    for stretch in merge(subtract(ranges, cut), join_ns=MEET_NS):
        inside = [p for p in pictures if stretch.start_ns <= p < stretch.end_ns]
        for a, b in pairwise([stretch.start_ns, *inside, stretch.end_ns]):
            pace = b - a < SILENT_HOLE_NS + FRAME_NS and not any(a - ABOUT <= at <= b + ABOUT for at in lost_at)
            assert b - a <= ABOUT or pace, f"{(b - a) / S} s without a picture are shown as recorded"
    wanted = [Expectation(STREAM, expected.start_ns, None, None)]
    lacking = missing(expected, wanted, subtract(ranges, cut), gaps, until_ns=expected.end_ns, tolerance_ns=ABOUT)
    paces = [  # pictures that the camera itself left out just where a segment ends
        (a.end_ns, b.start_ns)
        for a, b in pairwise(segments)
        if a.run_id == b.run_id and b.start_ns - a.end_ns < SILENT_HOLE_NS
    ]
    unexplained = [m for m in lacking if m.reason is GapReason.UNKNOWN]
    assert not [m for m in unexplained if (m.range.start_ns, m.range.end_ns) not in paces], lacking
    for fact in stage.runs():
        run = fact.run
        assert run.end_ns is not None
        own = [f for f in segments if f.run_id == run.id]
        last = max((f.end_ns for f in own), default=run.start_ns)
        assert abs(run.end_ns - last) <= ABOUT
        assert run.start_ns == min((f.start_ns for f in own), default=run.start_ns)
