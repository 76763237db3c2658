from __future__ import annotations

from bench.live import Outcome, judge, rows_of


def outcome(engine: str, viewers: int, streams: int, cpu: float) -> Outcome:
    return Outcome(
        engine=engine, viewers=viewers, streams=streams, seconds=10.0, cpu_seconds=cpu, packets=100_000, came=110_000,
        sent=110_000, failures=0, decrypted=10_000, pss_bytes=50_000_000,
    )  # fmt: skip


def test_each_figure_stands_beside_stock_aiortcs_of_the_same_shape() -> None:
    rows = rows_of([outcome("ours", 24, 1, 0.5), outcome("aiortc", 24, 1, 2.5), outcome("ours", 24, 24, 1.0)])
    assert [row["us_per_packet"] for row in rows] == [5.0, 25.0, 10.0]
    assert [row["ratio_to_aiortc"] for row in rows] == [0.2, 1.0, None]
    assert rows[0]["viewers_per_core"] == 480.0
    (said,) = judge(rows)
    assert "0.200" in said
    assert said.endswith("met")


def test_a_missed_goal_is_said() -> None:
    rows = rows_of([outcome("ours", 24, 1, 1.0), outcome("aiortc", 24, 1, 2.5)])
    assert judge(rows)[0].endswith("MISSED")
