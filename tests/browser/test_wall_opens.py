"""How soon a wall of sixteen cameras shows them, from the click that leads to it: ux.md's check 8.

By the number burned into every picture, as `bench.browser` measures it with large pictures.
"""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser

from bench.browser import MOST_LAST_MS, MOST_PICTURE_MS, WALL, Station
from bench.burned_in import SCRIPT, loops_of, numbered
from tests.browser.conftest import OPERATOR
from tests.support.alone import limit
from tests.support.browser_site import browser_site, desk
from vms.simulate import Footage
from web.identity.access import Role

pytestmark = [pytest.mark.network, pytest.mark.slow, pytest.mark.timeout(240), pytest.mark.xdist_group("browser")]

OPENINGS = limit(5, beside=1)


def test_a_wall_of_sixteen_opens(browser: Browser, small_footage: list[Footage]) -> None:
    """With nothing of it being watched before."""
    footage = numbered(small_footage[0], small_footage[0].main.parent)
    names = [f"Kamera {n + 1}" for n in range(WALL)]
    with browser_site([footage], names, {OPERATOR: Role.OPERATOR}) as site, desk(browser, site) as found:
        found.context.add_init_script(SCRIPT)
        station = Station(site, found.sign_in(OPERATOR, "/about"), loops_of(footage))
        openings = station.openings(WALL, OPENINGS)
        assert found.foreign == []
        assert found.complaints == []
    picture, last = openings["picture"], openings["last"]
    print(f"a wall of {WALL}: pictures after {picture['p50']} ms, 95 % {picture['p95']}, the last tiles {last['raw']}")
    assert picture["count"] == WALL * OPENINGS
    assert picture["p95"] <= limit(MOST_PICTURE_MS, beside=10_000)
    assert last["max"] <= limit(MOST_LAST_MS, beside=15_000)
