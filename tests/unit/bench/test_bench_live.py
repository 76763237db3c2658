from __future__ import annotations

from dataclasses import replace

import pytest

from bench.live import Outcome, _sound, judge, rows_of
from bench.measure import met
from bench.processes import run


def outcome(engine: str, viewers: int, streams: int, cpu: float) -> Outcome:
    return Outcome(
        engine=engine, viewers=viewers, streams=streams, seconds=10.0, cpu_seconds=cpu, packets=100_000, sent=110_000,
        came=110_200, lost=0, failures=0, pss_bytes=50_000_000,
    )  # fmt: skip


def test_each_figure_stands_beside_stock_aiortcs_of_the_same_shape() -> None:
    rows = rows_of([outcome("ours", 24, 1, 0.5), outcome("aiortc", 24, 1, 2.5), outcome("ours", 24, 24, 1.0)])
    assert [row["us_per_packet"] for row in rows] == [5.0, 25.0, 10.0]
    assert [row["ratio_to_aiortc"] for row in rows] == [0.2, 1.0, None]
    assert rows[0]["viewers_per_core"] == 480.0
    share, cost = judge(rows)
    assert "0.200" in share
    assert "5.0 µs a packet; at most 7 where stock aiortc takes 34, which is 5.1 here" in cost
    assert share.endswith("met")
    assert met([share, cost])


def test_a_missed_goal_is_said_and_ends_the_benchmark_with_1() -> None:
    rows = rows_of([outcome("ours", 24, 1, 0.53), outcome("aiortc", 24, 1, 2.5)])
    assert [line.rsplit(" ", 1)[1] for line in judge(rows)] == ["met", "MISSED"], "0.212 is more than 7 of 34"
    assert not met(judge(rows))
    rows = rows_of([outcome("ours", 24, 1, 1.0), outcome("aiortc", 24, 1, 2.5)])
    assert [line.rsplit(" ", 1)[1] for line in judge(rows)] == ["MISSED", "MISSED"]
    assert run(lambda: met(judge(rows))) == 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"failures": 1}, "1 of 110200 packets could not be decrypted"),
        ({"came": 109_999}, "of 110000 packets 109999 came and 0 are missing between them"),
        ({"came": 108_800, "lost": 1_200}, "1200 of 110000 packets were lost; at most 1%"),
        ({"packets": 0}, "nothing was sent"),
    ],
)
def test_what_does_not_come_or_cannot_be_decrypted_is_said(
    wrong: dict[str, int], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _sound(outcome("ours", 24, 1, 0.5))
    assert _sound(replace(outcome("ours", 24, 1, 0.5), came=109_000, lost=1_000)), "lost at the viewers' sockets"
    assert not _sound(replace(outcome("ours", 24, 1, 0.5), **wrong))
    assert said in " ".join(capsys.readouterr().out.split())
