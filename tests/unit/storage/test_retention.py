"""The pure decision: never early, never held, groups whole, and a brake."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.retention import (
    DAY_NS,
    HOUR_NS,
    BrakeRule,
    Candidate,
    SteadyTime,
    brake,
    cutoff_ns,
    expired_groups,
    utc_day,
)
from vms.timeline import TimeRange


@st.composite
def _runs(draw: st.DrawFn) -> list[Candidate]:
    made = []
    for run_key in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, 50))
        for number in range(draw(st.integers(0, 10))):
            end = start + draw(st.integers(1, 9))
            if draw(st.integers(0, 9)):  # one in ten was lost
                made.append(Candidate(run_key, number, start, end, draw(st.booleans()) or number == 0))
            start = end
    return draw(st.permutations(made))


_holds = st.lists(
    st.tuples(st.integers(0, 100), st.integers(1, 20)).map(lambda t: TimeRange(t[0], t[0] + t[1])), max_size=3
)


@given(_runs(), _holds, st.integers(0, 150))
def test_only_expired_unheld_whole_groups_go(candidates: list[Candidate], holds: list[TimeRange], cutoff: int) -> None:
    groups = expired_groups(candidates, holds, cutoff)
    gone = [member for group in groups for member in group]
    assert len(gone) == len(set(gone))
    assert set(gone) <= set(candidates)
    for member in gone:
        assert member.end_ns <= cutoff
        assert not any(h.overlaps(TimeRange(member.start_ns, member.end_ns)) for h in holds)
    by_name = {(c.run_key, c.number): c for c in candidates}
    for c in candidates:
        head = by_name.get((c.run_key, c.number - 1))
        if head is not None and not c.independent:
            assert (c in gone) == (head in gone)
    assert [g[0].start_ns for g in groups] == sorted(g[0].start_ns for g in groups)
    free = {c for c in candidates if c.end_ns <= cutoff}
    if not holds and free == set(candidates):
        assert set(gone) == free


@given(st.integers(0, 2**62), st.integers(1, 400))
def test_the_cutoff_is_days_of_24_hours(now: int, days: int) -> None:
    assert now - cutoff_ns(now, days) == days * 24 * HOUR_NS


def test_a_retention_of_no_days_is_a_bug() -> None:
    with pytest.raises(ValueError, match="retention of 0 days"):
        cutoff_ns(0, 0)


@given(
    st.dictionaries(st.uuids(), st.integers(0, 10**16), max_size=5),
    st.dictionaries(st.integers(90, 100), st.integers(0, 10**16)),
    st.integers(0, 10**17),
)
def test_what_the_brake_lets_through(plan: dict[UUID, int], by_day: dict[int, int], confirmed: int) -> None:
    rule = BrakeRule()
    decision = brake(rule, plan, by_day, 100, confirmed_ns=confirmed)
    assert decision.planned_ns == sum(plan.values()) + by_day.get(100, 0)
    largest = max((amount for day, amount in by_day.items() if 93 <= day < 100), default=0)
    streams = sum(1 for amount in plan.values() if amount)
    assert decision.limit_ns == max(3 * largest, 36 * HOUR_NS * streams, 48 * HOUR_NS, confirmed)
    assert decision.engaged == (sum(plan.values()) > 0 and decision.planned_ns > decision.limit_ns)


def test_a_clock_a_year_ahead_is_stopped_and_an_ordinary_day_is_not() -> None:
    cameras = [uuid4() for _ in range(190)]
    ordinary = dict.fromkeys(cameras, DAY_NS)
    history = dict.fromkeys(range(93, 100), 190 * DAY_NS)
    assert not brake(BrakeRule(), ordinary, history, 100).engaged
    assert not brake(BrakeRule(), ordinary, {}, 100).engaged  # the first day a new site deletes anything
    everything = dict.fromkeys(cameras, 30 * DAY_NS)
    assert brake(BrakeRule(), everything, history, 100).engaged
    assert brake(BrakeRule(), everything, history, 465).engaged


def test_deleting_in_small_steps_does_not_get_around_the_brake() -> None:
    camera = uuid4()
    by_day: dict[int, int] = {}
    for _ in range(1000):
        decision = brake(BrakeRule(), {camera: HOUR_NS}, by_day, 100)
        if decision.engaged:
            break
        by_day[100] = by_day.get(100, 0) + HOUR_NS
    assert by_day[100] == 48 * HOUR_NS


@given(st.lists(st.tuples(st.integers(0, 10**12), st.integers(-(10**15), 10**15)), max_size=20))
def test_steady_time_is_never_ahead(steps: list[tuple[int, int]]) -> None:
    """`steps`: real time that passes, and by how much the wall clock is set meanwhile."""
    true = wall = 10**18
    mono = 5
    steady = SteadyTime(wall, mono)
    for passes, step in steps:
        true, mono, wall = true + passes, mono + passes, wall + passes + step
        assert steady.now_ns(wall, mono) <= min(true, wall)


def test_utc_day() -> None:
    assert [utc_day(0), utc_day(DAY_NS - 1), utc_day(DAY_NS)] == [0, 0, 1]
