"""Which stretches of a range become files."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

from storage.catalogue import RecordedSegment
from storage.export import plan
from tests.support.footage_rows import MINUTE, SECOND, T0, facts, run
from vms.model import Origin
from vms.timeline import TimeRange

RUN = run(uuid4())


def segment(number: int, start_s: int, length_ns: int = MINUTE, **fields: object) -> RecordedSegment:
    of = facts(RUN, number, T0 + start_s * SECOND, length_ns)
    plain = RecordedSegment(
        0, of.stream_id, of.run_id, of.number, of.start_ns, of.end_ns, of.duration_ticks, of.clock_hz, of.size_bytes,
        of.digest, of.seal, of.independent, False, of.codec, of.width, of.height, Origin.LIVE, (), "store",
    )  # fmt: skip
    return replace(plain, **fields)  # type: ignore[arg-type]


def seconds(start: float, end: float) -> TimeRange:
    return TimeRange(T0 + round(start * SECOND), T0 + round(end * SECOND))


def planned(segments: list[RecordedSegment], within: TimeRange, missing: list[TimeRange]) -> list[tuple[float, float]]:
    return [((s.range.start_ns - T0) / SECOND, (s.range.end_ns - T0) / SECOND) for s in plan(segments, within, missing)]


def test_segments_of_a_run_are_one_stretch():
    assert planned([segment(0, 0), segment(1, 60), segment(2, 120)], seconds(30, 130), []) == [(30, 130)]


def test_a_hole_within_a_segment_ends_a_stretch_and_nothing_in_it_is_left_out():
    found = planned([segment(0, 0), segment(1, 60)], seconds(0, 100), [seconds(20, 25), seconds(58, 61)])
    assert found == [(0, 20), (20, 25), (25, 58), (58, 61), (61, 100)]


def test_a_hole_between_two_segments_of_a_run_and_one_at_their_border():
    assert planned([segment(0, 0), segment(1, 70)], seconds(0, 200), [seconds(60, 70)]) == [(0, 60), (70, 130)]
    found = planned([segment(0, 0), segment(1, 60)], seconds(0, 200), [seconds(59.5, 60)])
    assert found == [(0, 59.5), (59.5, 60), (60, 120)]


def test_another_run_is_another_stretch():
    assert planned([segment(0, 0), segment(0, 60, run_id=uuid4())], seconds(0, 200), []) == [(0, 60), (60, 120)]
