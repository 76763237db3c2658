from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from web.live.timeline import LARGEST_LEAP, LEAST_STEP, TICKS_PER_MS, MediaTimeline, ticks_of

MS = 1_000_000
CAPTURE_NS = 1_790_000_000_000_000_000


def test_capture_time_is_the_timestamp() -> None:
    timeline = MediaTimeline(1000)
    ticks = [timeline.next([CAPTURE_NS + n * 40 * MS], n * 40 * MS)[0] for n in range(100)]
    assert ticks[0] & 0xFFFFFFFF == 1000
    assert [b - a for a, b in itertools.pairwise(ticks)] == [3600] * 99
    assert timeline.at(CAPTURE_NS + 99 * 40 * MS) == ticks[-1]


def test_a_group_under_way_ends_where_it_is_now() -> None:
    timeline = MediaTimeline(7)
    group = [CAPTURE_NS + n * 40 * MS for n in range(25)]
    ticks = timeline.next(group, 0)
    assert ticks[0] & 0xFFFFFFFF == 7
    assert [b - a for a, b in itertools.pairwise(ticks)] == [LEAST_STEP] * 24
    (after,) = timeline.next([group[-1] + 40 * MS], 40 * MS)
    assert after - ticks[-1] == 3600


@given(
    st.integers(0, 2**32 - 1),
    st.lists(
        st.tuples(st.integers(-(10**13), 10**13) | st.integers(0, 100 * MS), st.integers(0, 10**10), st.integers(1, 50)),
        min_size=1, max_size=30,
    ),
)  # fmt: skip
def test_timestamps_never_stand_still_and_never_leap(first: int, steps: list[tuple[int, int, int]]) -> None:
    timeline, capture, mono, last = MediaTimeline(first), CAPTURE_NS, 0, None
    for step, passed, count in steps:
        capture, mono = capture + step, mono + passed
        ticks = timeline.next([capture - (count - 1 - n) * 40 * MS for n in range(count)], mono)
        assert len(ticks) == count
        assert all(b > a for a, b in itertools.pairwise(ticks))
        if last is not None:
            assert last < ticks[0]
            assert ticks[-1] - last <= ticks_of(passed) + count * LEAST_STEP + LARGEST_LEAP
        assert timeline.at(capture) == ticks[-1]
        last = ticks[-1]


def test_an_hour_without_a_picture_is_an_hour() -> None:
    timeline = MediaTimeline(0)
    (first,) = timeline.next([CAPTURE_NS], 0)
    hour_ns = 3_600_000 * MS
    (second,) = timeline.next([CAPTURE_NS + hour_ns], hour_ns)
    assert second - first == 3_600_000 * TICKS_PER_MS
