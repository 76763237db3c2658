"""The clock mapping against simulated histories in which the truth is known."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.clockmap import SETTLE_AT_MOST_NS, ClockMap
from vms.model import ClockMapping, RunClock, SenderReport

S = 1_000_000_000
MS = 1_000_000
HZ = 90_000
WALL = 1_750_000_000 * S


@dataclass
class History:
    """A camera and its network: when each picture was taken and when it arrived, on the recorder's monotonic clock."""

    fps: float = 25.0
    seconds: int = 300
    drift_ppm: int = 0
    media_rate: float = 1.0
    jitter_ms: list[int] = field(default_factory=lambda: [0])
    stalls: list[tuple[int, int]] = field(default_factory=list)  # (second, length)
    first_pts: int = 12345
    jumps: dict[int, int] = field(default_factory=dict)  # second → ticks added from then on
    cached_gop_s: float = 0.0

    def units(self):
        """(true mono, pts, arrival mono) in order of arrival."""
        last = 0
        added = 0
        start = 1000 * S
        jumps = dict(self.jumps)
        for i in range(round((self.seconds + self.cached_gop_s) * self.fps)):
            true = start + round((i / self.fps - self.cached_gop_s) * S)
            second = (true - start) // S
            for at in [at for at in jumps if second >= at]:
                added += jumps.pop(at)
            ticks = (true - start) * HZ // S
            pts = self.first_pts + added + round(ticks * self.media_rate * (1 + self.drift_ppm / 1e6))
            arrival = max(true, start) + self.jitter_ms[i % len(self.jitter_ms)] * MS
            for at, length in self.stalls:
                if start + at * S <= arrival < start + (at + length) * S:
                    arrival = start + (at + length) * S + i % 7 * MS // 10
            last = max(last, arrival)
            yield true, pts, last


@dataclass
class Placed:
    run: int
    mapping: ClockMapping
    start_ns: int
    pts: int
    capture_ns: int
    true_wall_ns: int


def record(
    history: History, *, gop: int = 50, cut_s: int = 60, steps: dict[int, int] | None = None, trust: bool = False
):
    """What `recording.py` does with a clock map, over a whole history."""
    steps = dict(steps or {})
    wall = WALL
    clock = ClockMap(HZ, wall + 1000 * S, 1000 * S, trust_camera=trust)
    placed: list[Placed] = []
    held: list[tuple[int, int, bool]] = []
    run, mapping, start_ns = -1, None, 0
    next_wall = 0
    for i, (true, pts, arrival) in enumerate(history.units()):
        for at in [at for at in steps if arrival >= (1000 + at) * S]:
            wall += steps.pop(at)
        if arrival >= next_wall:
            clock.set_wall(wall + arrival, arrival)
            next_wall = arrival + S
        shift = clock.observe(pts, arrival)
        key = i % gop == 0
        if mapping is not None and key and clock.misfit:
            mapping = None
            clock.mapping = None
        if mapping is None:
            held.append((true, pts, key))
            while held and not held[0][2]:
                held.pop(0)
            if not held or not clock.settled(arrival):
                continue
            clock.start_run()
            run += 1
            todo, shift = held, 0
            held = []
        else:
            todo = [(true, pts, key)]
        for t, raw, k in todo:
            p = raw + shift
            if mapping is None or (k and p - mapping.ticks >= cut_s * HZ):
                mapping = clock.begin_segment(p)
                start_ns = mapping.ns
            placed.append(Placed(run, mapping, start_ns, p, mapping.capture_ns(p), t + wall))
    return placed, clock


def worst_error(placed: list[Placed]) -> int:
    return max(abs(p.capture_ns - p.true_wall_ns) for p in placed)


def check_order(placed: list[Placed]) -> None:
    """Within a run captures rise strictly and segments meet exactly."""
    for a, b in pairwise(placed):
        if a.run == b.run:
            assert b.capture_ns > a.capture_ns
            if a.mapping is not b.mapping:
                assert a.mapping.capture_ns(b.mapping.ticks) == b.mapping.ns


@settings(max_examples=30, deadline=None)
@given(
    drift=st.integers(-100, 100),
    fps=st.sampled_from([10.0, 12.5, 25.0, 30.0]),
    jitter=st.lists(st.integers(0, 200), min_size=20, max_size=97),
    stalls=st.lists(st.tuples(st.integers(5, 120), st.integers(1, 4)), max_size=4),
    first=st.integers(0, 2**40),
    cached=st.sampled_from([0.0, 0.5, 2.0, 9.0]),
)
def test_capture_time_stays_close_to_the_truth(*, drift, fps, jitter, stalls, first, cached):
    jitter[len(jitter) // 2] = 5  # somewhere in a second or two the network does its best
    history = History(fps, 130, drift, 1.0, jitter, stalls, first, {}, cached)
    placed, _ = record(history)
    check_order(placed)
    # Jitter may hide the truth for the first seconds, but once it was seen a new run keeps to it.
    assert len({p.run for p in placed}) <= 4
    # Pictures arrive in order, so late ones hold up those behind them: what the network never did nobody can know.
    best = min(arrival - true for true, _, arrival in history.units())
    assert worst_error([p for p in placed if p.true_wall_ns > WALL + 1040 * S]) < 100 * MS + best
    assert worst_error(placed) < 210 * MS


@pytest.mark.parametrize("ppm", [-100, 100])
def test_drift_is_followed_for_hours(ppm):
    placed, _ = record(History(fps=5, seconds=4 * 3600, drift_ppm=ppm), gop=10)
    check_order(placed)
    assert {p.run for p in placed} == {0}
    assert worst_error(placed) < 20 * MS


def test_a_backlog_is_not_taken_for_the_present():
    placed, _ = record(History(stalls=[(100, 4)]))
    assert {p.run for p in placed} == {0}
    assert worst_error(placed) < 2 * MS


def test_a_burst_of_a_cached_gop_is_dated_back():
    placed, _ = record(History(cached_gop_s=2.0, seconds=30))
    assert worst_error(placed) < 2 * MS
    assert placed[0].true_wall_ns == WALL + 998 * S


def test_a_first_estimate_that_was_too_late_ends_the_run():
    # Everything of the first three seconds comes 400 ms late.
    history = list(History(seconds=60).units())

    class Late(History):
        def units(self):
            for true, pts, arrival in history:
                yield true, pts, max(arrival + (400 * MS if true < 1003 * S else 0), 0)

    placed, _ = record(Late())
    assert {p.run for p in placed} == {0, 1}
    assert worst_error([p for p in placed if p.run == 1]) < 2 * MS
    assert min(i for i, p in enumerate(placed) if p.run == 1) <= 6 * 25


@pytest.mark.parametrize("step_s", [3600, -3600, 2, -2])
def test_a_wall_clock_step_ends_the_run_at_the_next_key(step_s):
    placed, _ = record(History(), steps={100: step_s * S})
    check_order(placed)
    assert {p.run for p in placed} == {0, 1}
    assert worst_error([p for p in placed if p.run == 1]) < 100 * MS
    assert len(placed) == 300 * 25
    stepped = next(i for i, p in enumerate(placed) if p.run == 1)
    assert 100 * 25 <= stepped <= 104 * 25
    for p in placed[:stepped]:  # until then the old run goes on in the old time
        assert min(abs(p.capture_ns - p.true_wall_ns), abs(p.capture_ns - p.true_wall_ns + step_s * S)) < 2 * MS


def test_a_small_wall_clock_step_is_smoothed_within_the_run():
    placed, _ = record(History(seconds=600), steps={100: 60 * MS})
    check_order(placed)
    assert {p.run for p in placed} == {0}
    assert worst_error(placed[400 * 25 :]) < 10 * MS


@pytest.mark.parametrize("jump_s", [3600, -3600, 5, -5, 1.5])
def test_a_jump_of_media_time_loses_nothing_and_ends_the_run(jump_s):
    history = History(jumps={101: round(jump_s * HZ)}, first_pts=2**33)
    placed, clock = record(history)
    check_order(placed)
    assert {p.run for p in placed} == {0, 1}
    assert worst_error(placed) < 100 * MS
    assert len(placed) == 300 * 25
    assert clock.misfit == ""


def test_jump_there_and_back():
    placed, _ = record(History(jumps={101: 3600 * HZ, 103: -3600 * HZ}, seconds=120))
    check_order(placed)
    assert worst_error(placed) < 100 * MS


@pytest.mark.parametrize("rate", [0.84, 1.19, 25 / 24])
def test_false_media_rate_is_measured_and_followed(rate):
    placed, clock = record(History(media_rate=rate, seconds=600, jitter_ms=[3, 17, 0, 8, 40, 2, 11]))
    check_order(placed)
    last = max(p.run for p in placed)
    assert last <= 6  # it takes nine seconds to be sure, and until then runs end
    late = [p for p in placed if p.true_wall_ns > WALL + 1060 * S]
    assert worst_error(late) < 100 * MS
    assert abs(clock.mapping.rate_ppb - (1 / rate - 1) * 1e9) < 3_000_000


def test_one_picture_every_ten_seconds():
    placed, _ = record(History(fps=0.1, seconds=3600), gop=1)
    assert {p.run for p in placed} == {0}
    assert worst_error(placed) < 10 * MS


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-(2**40), 2**40), st.integers(0, 10 * S)), min_size=1, max_size=200),
    st.integers(1, 40),
)
def test_any_history_leaves_continuous_rising_mappings(steps, gop):
    """Whatever comes, mappings within a run meet and rise."""
    clock = ClockMap(HZ, WALL, 0)
    mono, before = 0, None
    for i, (pts, wait) in enumerate(steps):
        mono += wait
        clock.set_wall(WALL + mono, mono)
        shift = clock.observe(pts, mono)
        if clock.mapping is None or (i % gop == 0 and clock.misfit):
            clock.start_run()
            before, shift = None, 0
        if i % gop == 0 or before is None:
            mapping = clock.begin_segment(pts + shift)
            if before is not None:
                assert before.capture_ns(pts + shift) == mapping.ns
            assert mapping.capture_ns(mapping.ticks + 1) > mapping.ns
            before = mapping


def reports(clock: ClockMap, offset_ns: int, count: int = 3) -> None:
    for i in range(count):
        mono = 1000 * S + i * 5 * S
        clock.observe(i * 5 * HZ, mono)
        clock.on_report(SenderReport(i * 5 * HZ, WALL + mono + offset_ns + i * MS, mono))


def test_camera_offset_is_measured_and_not_believed():
    clock = ClockMap(HZ, WALL + 1000 * S, 1000 * S)
    assert clock.camera_offset is None
    reports(clock, 7200 * S)
    offset = clock.camera_offset
    assert offset.reports == 3
    assert abs(offset.offset_ns - 7200 * S - MS) <= MS
    assert offset.uncertainty_ns >= MS
    assert clock.start_run() is RunClock.ARRIVAL
    assert abs(clock.estimate_ns(10 * HZ) - (WALL + 1010 * S)) < MS
    anchor = clock.anchor("boot")
    assert anchor.arrival_ns == WALL + anchor.mono_ns
    assert abs(anchor.source_ns - anchor.arrival_ns - 7200 * S - MS) <= MS


def test_a_trusted_camera_gives_the_time():
    clock = ClockMap(HZ, WALL + 1000 * S, 1000 * S, trust_camera=True)
    reports(clock, -3 * S)
    assert clock.start_run() is RunClock.CAMERA
    assert abs(clock.begin_segment(10 * HZ).ns - (WALL + 1007 * S)) < 3 * MS
    # Its clock is set: the run ends once the median agrees.
    for i in range(3, 12):
        clock.observe(i * 5 * HZ, (1000 + i * 5) * S)
        clock.on_report(SenderReport(i * 5 * HZ, WALL + (1000 + i * 5) * S, (1000 + i * 5) * S))
    assert clock.misfit


def test_a_trusted_camera_without_reports_starts_on_arrival_and_changes_later():
    clock = ClockMap(HZ, WALL + 1000 * S, 1000 * S, trust_camera=True)
    clock.observe(0, 1000 * S)
    assert clock.settled(1000 * S + SETTLE_AT_MOST_NS)
    assert clock.start_run() is RunClock.ARRIVAL
    clock.begin_segment(0)
    reports(clock, 2 * S, 1)
    assert clock.misfit
    assert clock.start_run() is RunClock.CAMERA


def test_a_trusted_camera_without_a_clock_is_not_followed_to_1970():
    clock = ClockMap(HZ, WALL + 1000 * S, 1000 * S, trust_camera=True)
    clock.observe(0, 1000 * S)
    clock.on_report(SenderReport(0, 5 * S, 1000 * S))
    assert clock.start_run() is RunClock.ARRIVAL
    assert abs(clock.begin_segment(0).ns - (WALL + 1000 * S)) < MS


def test_jumps_that_let_no_run_begin_make_arrival_the_clock() -> None:
    clock = ClockMap(90_000, 10**18, 0)
    pts, gave_up, last = 0, None, -1
    for n in range(25 * 20):
        mono = n * 40_000_000
        pts += 3600 if n % 20 else 900_000
        shift = clock.observe(pts, mono)
        if clock.by_arrival:
            gave_up = mono if gave_up is None else gave_up
            assert clock.settled(mono)
            assert pts + shift > last
            last = pts + shift
            if mono == gave_up:
                clock.start_run()
                mapping = clock.begin_segment(last)
            assert abs(mapping.capture_ns(last) - (10**18 + mono)) < 20_000
            clock.on_report(SenderReport(pts, 10**18, mono))
            assert clock.camera_offset is None
    assert gave_up is not None
    assert 5 * 10**9 <= gave_up < 6 * 10**9
    clock.end_run()
    assert clock.shift == last - pts  # the next run goes on by arrival too


def test_a_few_jumps_do_not_make_media_time_unusable() -> None:
    clock = ClockMap(90_000, 10**18, 0)
    for n in range(20):
        clock.observe(n * 900_000 if n < 3 else 10**9 + n * 90_000, n * 10**9)
        clock.observe(n * 900_000 + 3600 if n < 3 else 10**9 + n * 90_000 + 3600, n * 10**9 + 40_000_000)
    assert not clock.by_arrival
    assert clock.note == ""
