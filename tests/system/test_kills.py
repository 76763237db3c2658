"""R-01, the short form of `make kills`: processes killed at random moments, and every picture accounted for.

How soon recording is whole again is held loosely here, where other tests run beside it; `make kills` holds it to R-01.
"""

from __future__ import annotations

import pytest

from tests.support.kill_figures import merge
from tests.support.kill_run import run_workers
from tests.support.kill_up import run_up

pytestmark = [pytest.mark.network, pytest.mark.slow, pytest.mark.timeout(240), pytest.mark.xdist_group("kills")]

BUSY_NS = 15_000_000_000


def test_a_worker_killed_twenty_times_loses_a_second_at_most_and_tells_what() -> None:
    found = run_workers(20, 20, 4, 20261127, calm=1.5, most_silent_ns=BUSY_NS)
    assert found.problems == []
    assert (found.kills, found.undecodable) == (20, 0)
    assert found.outages >= 20 * 20 / 4 / 2  # each kill hits five cameras; early ones share an outage
    assert found.decoded == found.segments > 0


def test_a_whole_site_killed_at_once_comes_back_in_agreement() -> None:
    found = run_up(2, 6, 20261127, calm=2.0, most_silent_ns=BUSY_NS)
    assert found.problems == []
    assert (found.kills, found.outages, found.undecodable) == (2, 12, 0)


def test_results_of_a_split_run_merge() -> None:
    one = {"seeds": [1], "kills": 3, "cameras": 20, "tails": {"100": 2}, "worst_tail_ms": 150, "problems": ["a"]}
    other = {"seeds": [2], "kills": 4, "cameras": 20, "tails": {"100": 1}, "worst_tail_ms": 90, "problems": []}
    whole = merge([one, other])
    assert (whole["seeds"], whole["kills"], whole["cameras"]) == ([1, 2], 7, 20)
    assert (whole["tails"], whole["worst_tail_ms"], whole["problems"]) == ({"100": 3}, 150, ["a"])
