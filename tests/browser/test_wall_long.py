"""The short form of `make wall-soak`: WALL_MINUTES (0.5; ten in `.ci/run`) of sixteen tiles, whose memory is judged from ten on."""

from __future__ import annotations

import os

import pytest
from playwright.sync_api import Browser

from tests.support.growth import Sample
from tests.support.wall_run import Clocks, Figures, PageSample, facts, judge, run_wall
from vms.simulate import Footage

MINUTES = float(os.environ.get("WALL_MINUTES", "0.5"))


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.timeout(MINUTES * 60 + 180)
@pytest.mark.xdist_group("browser")  # two sites with a Chromium each are too much for two processors
def test_sixteen_tiles_for_a_while(browser: Browser, small_footage: list[Footage]) -> None:
    found = run_wall(browser, small_footage, MINUTES)
    print(facts(found))
    assert found.problems == []
    assert found.looks >= MINUTES * 60 / 5 / 2
    assert found.pictures > 16 * MINUTES * 60 * 12.5 * 0.5


def test_a_tile_whose_clock_stands_is_seen() -> None:
    clocks = Clocks()
    assert clocks.look([("live", "12:00:00,0"), ("live", "12:00:00,0")], 100.0) == [0, 0]
    assert clocks.look([("live", "12:00:05,0"), ("live", "12:00:00,0")], 105.0) == [0, 5]
    assert clocks.look([("live", "12:00:10,0"), ("lost", "")], 110.0) == [0, 10]
    assert clocks.look([("live", "12:00:10,0"), ("live", "12:00:15,0")], 115.0) == [5, 0]


def test_growth_is_judged() -> None:
    """Ten minutes: a heap that grows by a seventh after its first quarter, and a gateway by 6 MB an hour."""

    def figures(grows: float) -> Figures:
        pages = [PageSample(t, round(20e6 * (1 + grows * t / 600)), 5000, 300) for t in range(0, 600, 5)]
        gateway = [Sample(t, round(60_000 + grows * 5000 * t / 600), 30) for t in range(0, 600, 5)]
        found = Figures(10.0, pictures=1000)
        judge(found, pages, gateway)
        return found

    assert figures(0.0).problems == []
    assert [problem.split(" by")[0] for problem in figures(0.2).problems] == [
        "the page's heap_bytes grow",
        "the gateway grows",
    ]
