from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web.live.estimate import LOWEST_LIMIT, Allowance, RateLimit

STREAM = 500_000.0  # bytes a second: 4 Mbit/s
SECOND_NS = 1_000_000_000


def tell(limit: RateLimit, lost: int, expected: int = 430, seconds: float = 1.0) -> None:
    limit.report(expected=expected, lost=lost, packet_bytes=1160, seconds=seconds, wanted_bytes_per_s=STREAM)


@pytest.mark.parametrize("packets", [12, 25, 430])
def test_random_loss_limits_nobody(packets: int) -> None:
    rng, limit = random.Random(packets), RateLimit()
    for _ in range(20_000):  # five hours
        lost = sum(rng.random() < 0.05 for _ in range(packets)) if packets < 100 else round(rng.gauss(21, 4.5))
        tell(limit, lost, packets)
        assert limit.bytes_per_s is None


def test_reports_that_come_with_every_nack_are_judged_together() -> None:
    limit = RateLimit()
    for n in range(200):  # four seconds of a viewer to whom a third comes through
        tell(limit, 2 if n % 3 else 0, 2, 0.02)
    assert limit.bytes_per_s is not None
    assert 20_000 < limit.bytes_per_s < 60_000


def test_one_bad_report_is_chance_two_are_too_little_room() -> None:
    limit = RateLimit()
    tell(limit, 396)
    assert limit.bytes_per_s is None
    tell(limit, 396)  # 300 kbit/s get through
    assert limit.bytes_per_s is not None
    assert 25_000 < limit.bytes_per_s < 40_000


def test_room_is_tried_again_until_the_whole_stream_goes() -> None:
    limit = RateLimit()
    for _ in range(2):
        tell(limit, 215)
    assert limit.bytes_per_s is not None
    steps = 0
    while limit.bytes_per_s is not None:
        tell(limit, 0, int(limit.bytes_per_s / 1160))
        steps += 1
    assert 5 < steps < 30


def test_who_is_sent_almost_nothing_is_judged_all_the_same() -> None:
    limit = RateLimit()
    for _ in range(2):
        tell(limit, 426)
    low = limit.bytes_per_s
    assert low == LOWEST_LIMIT
    for _ in range(60):
        tell(limit, 0, 6)
    assert limit.bytes_per_s is None or limit.bytes_per_s > 2 * low


@given(st.lists(st.tuples(st.integers(-100, 10**5), st.integers(0, 10**4), st.floats(0.0, 10.0)), max_size=50))
def test_a_limit_never_starves_a_viewer_for_good(reports: list[tuple[int, int, float]]) -> None:
    limit = RateLimit()
    for lost, packets, seconds in reports:
        tell(limit, lost, packets, seconds)
        assert limit.bytes_per_s is None or limit.bytes_per_s >= LOWEST_LIMIT


def test_after_however_large_a_picture_there_is_room_again_soon() -> None:
    allowance = Allowance()
    allowance.has_room(30_000.0, 0)
    allowance.take(10**9)
    assert not allowance.has_room(30_000.0, 3 * SECOND_NS)
    assert allowance.has_room(30_000.0, 8 * SECOND_NS)


def test_an_allowance_keeps_to_its_limit_over_time() -> None:
    allowance, sent = Allowance(), 0
    allowance.has_room(None, 0)
    for n in range(1, 1001):  # ten seconds
        if allowance.has_room(30_000.0, n * SECOND_NS // 100):
            allowance.take(20_000)  # a key picture each time
            sent += 20_000
    assert 280_000 <= sent <= 320_000
