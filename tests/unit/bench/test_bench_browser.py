from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import pytest

from bench.browser import age_of, judge, percentile, spread
from bench.burned_in import BITS, ROW_SHARE, Loop, Sendings, loops_of, numbered
from bench.measure import met
from bench.processes import BenchError
from vms.simulate import prepare_small


def sent(stream: str, index: int, at_ms: float, *, lost: bool = False) -> dict[str, Any]:
    return {"camera": "cam0", "stream": stream, "index": index, "utc_ns": round(at_ms * 1e6), "lost": lost}


LOOPS = {"main": Loop(100, 3600), "sub": Loop(50, 7200)}
SENT = [sent("main", i, 1000.0 + 40 * i) for i in range(250)] + [
    {"event": "stall", "camera": "cam0", "utc_ns": 0},
    sent("main", 250, 11_000.0, lost=True),
]


def test_the_age_of_a_number_is_counted_from_its_last_sending() -> None:
    sendings = Sendings(SENT, LOOPS)
    assert sendings.age_ms("cam0", "main", 3, 1200.0) == 80.0
    assert sendings.age_ms("cam0", "main", 3, 5200.0) == 80.0, "the second loop's"
    assert sendings.age_ms("cam0", "main", 3, 1100.0) is None, "not yet"
    assert sendings.age_ms("cam1", "main", 3, 5000.0) is None
    assert sendings.age_ms("cam0", "main", 50, 11_010.0) == 11_010.0 - 7000.0, (
        "what was lost on the way out was not sent"
    )


def test_a_badge_stands_beside_the_picture_it_was_made_from() -> None:
    sendings = Sendings(SENT, LOOPS)
    pictures = [[n, 0, 1000.0 + 40 * n + 70, 1000.0 + 40 * n + 20, 5000 + 3600 * n] for n in range(20)]
    pictures[12][0] = 13  # the canvas was given the next picture
    found = age_of(
        {"pictures": pictures, "badges": [[9, -1], [90, 4], [60, 9]], "dropped": 0, "width": 1920},
        sendings,
        "cam0",
        "main",
    )
    assert found["age"]["p50"] == found["age"]["max"] == 70.0
    assert found["age"]["count"] == 19
    assert found["arrival"]["p50"] == 20.0
    assert found["badge"]["raw"] == [20.0, 10.0]


def test_a_screen_that_cannot_be_read_is_no_measurement() -> None:
    blind = {"pictures": [[None, 0, 0, 0, 0]] * 9 + [[1, 0, 1100.0, 1080.0, 0]], "badges": [], "dropped": 0, "width": 0}
    with pytest.raises(BenchError, match="only 1 of 10"):
        age_of(blind, Sendings(SENT, LOOPS), "cam0", "main")
    with pytest.raises(BenchError):
        spread([])


def test_percentiles_are_values_that_occurred() -> None:
    assert [percentile(range(1, 21), share) for share in (0.5, 0.95, 1.0)] == [10, 19, 20]
    assert percentile([7.0], 0.95) == 7.0


def test_each_goal_is_said_met_or_missed() -> None:
    age = {"tiles": 1, "age": spread([300.0]), "badge": spread([120.0] * 50)}
    opening = {"tiles": 16, "server": spread([299.0]), "picture": spread([1001.0]), "last": spread([1500.0])}
    lines = judge([age, {**age, "tiles": 16, "badge": None}], [opening], {"picture": spread([650.0])})
    assert [line.rsplit(" ", 1)[1] for line in lines] == ["met", "met", "MISSED", "met", "MISSED", "met", "met"]
    assert not met(lines)
    assert met([line for line in lines if line.endswith("met")])


def test_a_badge_is_judged_by_fifty_looks() -> None:
    few = {"tiles": 1, "age": spread([300.0]), "badge": spread([20.0] * 49)}
    _, badge, *_ = judge([few], [], {"picture": spread([650.0])})
    assert badge == "badge beside the truth, median of 49, which are not 50: MISSED"


def test_every_picture_carries_its_number(tmp_path: Path) -> None:
    footage = numbered(prepare_small(tmp_path, pattern=True)[0], tmp_path)
    assert loops_of(footage) == LOOPS
    assert footage == numbered(prepare_small(tmp_path, pattern=True)[0], tmp_path), "encoded once"
    assert footage.sub is not None
    with av.open(str(footage.sub)) as container:
        read = [_number(frame) for frame in container.decode(video=0)]
    assert read == list(range(50))


def _number(frame: av.VideoFrame) -> int | None:
    plane, row = frame.planes[0], frame.height // ROW_SHARE
    data, number = memoryview(plane), 0
    for i in range(BITS):
        bit, opposite = (
            data[(row // 2 + row * r) * plane.line_size + frame.width * (2 * i + 1) // (2 * BITS)] > 128 for r in (0, 1)
        )
        if bit is opposite:
            return None
        number = 2 * number + bit
    return number
