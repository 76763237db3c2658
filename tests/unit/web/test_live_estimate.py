from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from web.live.estimate import LOWEST_LIMIT, Allowance, RateLimit

STREAM = 500_000.0  # bytes a second: 4 Mbit/s
SECOND_NS = 1_000_000_000


def test_random_loss_limits_nobody() -> None:
    limit = RateLimit()
    for _ in range(100):
        limit.report(13, 500_000, 1.0, STREAM)  # 5 %
    assert limit.bytes_per_s is None


def test_one_bad_report_is_chance_two_are_too_little_room() -> None:
    limit = RateLimit()
    limit.report(236, 500_000, 1.0, STREAM)
    assert limit.bytes_per_s is None
    limit.report(236, 500_000, 1.0, STREAM)  # 300 kbit/s get through
    assert limit.bytes_per_s is not None
    assert 25_000 < limit.bytes_per_s < 40_000


def test_room_is_tried_again_until_the_whole_stream_goes() -> None:
    limit = RateLimit()
    for _ in range(2):
        limit.report(128, 500_000, 1.0, STREAM)
    assert limit.bytes_per_s is not None
    steps = 0
    while limit.bytes_per_s is not None:
        limit.report(0, int(limit.bytes_per_s), 1.0, STREAM)
        steps += 1
    assert 5 < steps < 30


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(0, 10**7), st.floats(0.0, 10.0)), max_size=50))
def test_a_limit_never_starves_a_viewer_for_good(reports: list[tuple[int, int, float]]) -> None:
    limit = RateLimit()
    for lost, sent, seconds in reports:
        limit.report(lost, sent, seconds, STREAM)
        assert limit.bytes_per_s is None or limit.bytes_per_s >= LOWEST_LIMIT


def test_an_allowance_keeps_to_its_limit_over_time() -> None:
    allowance, sent = Allowance(), 0
    allowance.has_room(None, 0)
    for n in range(1, 1001):  # ten seconds
        if allowance.has_room(30_000.0, n * SECOND_NS // 100):
            allowance.take(20_000)  # a key picture each time
            sent += 20_000
    assert 280_000 <= sent <= 320_000
