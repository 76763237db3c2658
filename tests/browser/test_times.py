"""The times that the wall names and promises, by a number burned into every picture: ux.md's checks 4, 7 and 10."""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from bench.browser import BADGES, MOST_BADGE_MS, MOST_SPOT_MS
from bench.burned_in import SCRIPT, Sendings, loops_of, numbered
from tests.browser.conftest import NAMES, OPERATOR
from tests.support.alone import limit
from tests.support.browser_site import BrowserSite, await_words, browser_site, desk
from tests.support.live_site import ROOT, eventually_sync
from tests.support.slow_feed import slow_feed
from vms.simulate import Footage
from web.identity.access import Role

pytestmark = [pytest.mark.network, pytest.mark.slow, pytest.mark.timeout(240), pytest.mark.xdist_group("browser")]

EVERY = dict.fromkeys(range(1, 7), "live")
GONE = ("lost", "reconnecting")
SPOT = '.tile[data-spot="true"]'
LOOKS = limit(BADGES, beside=6)  # at the badge, one a second


@pytest.fixture(scope="module")
def footage(small_footage: list[Footage]) -> Footage:
    return numbered(small_footage[0], small_footage[0].main.parent)


@pytest.fixture(scope="module")
def site(footage: Footage) -> Iterator[BrowserSite]:
    with browser_site([footage], NAMES, {OPERATOR: Role.OPERATOR}) as found:
        yield found
        for name in ("web", "live", "recorder"):
            print(f"--- {name}\n{found.log(name)[-4000:]}")


@pytest.fixture(scope="module")
def page(browser: Browser, site: BrowserSite) -> Iterator[Page]:
    with desk(browser, site) as found:
        found.context.add_init_script(SCRIPT)
        yield found.sign_in(OPERATOR)
        assert found.foreign == []
        assert found.complaints == []


@pytest.fixture
def wall(page: Page) -> Page:
    await_words(page, EVERY, 20)
    return page


def delays(site: BrowserSite, wall: Page, footage: Footage) -> tuple[list[float], list[float]]:
    """What the spot tile said of its delay at so many looks, and what it really was at those instants, ms."""
    camera = wall.locator(SPOT).get_attribute("data-camera")
    assert camera is not None
    seconds = 1.4 * LOOKS + 2  # not every number can be read off the screen
    found = wall.evaluate("([tile, s]) => burnedIn.watch(tile, s)", [SPOT, seconds])
    sent = Sendings(list(site.simulator.journal), loops_of(footage))
    ages = sent.ages_ms(f"cam{int(camera) - 1}", "main", found["pictures"])
    pairs = [(badge, age) for badge, i in found["badges"] if i >= 0 and (age := ages[i]) is not None]
    assert len(pairs) >= LOOKS
    said, true = [badge for badge, _ in pairs[:LOOKS]], [age for _, age in pairs[:LOOKS]]
    return said, true


def is_true(said: list[float], true: list[float]) -> None:
    off = [abs(a - b) for a, b in zip(said, true, strict=True)]
    print(f"the badge is {statistics.median(off):.0f} ms off the truth, median of {len(off)}, at most {max(off):.0f}")
    assert statistics.median(off) <= MOST_BADGE_MS, (said, true)


def test_the_delay_a_tile_names_is_the_age_of_its_pictures(site: BrowserSite, wall: Page, footage: Footage) -> None:
    is_true(*delays(site, wall, footage))


def test_so_it_is_when_pictures_come_late(site: BrowserSite, wall: Page, footage: Footage) -> None:
    at = site.site.run / "slow.sock"
    with slow_feed(site.site.settings.feed.socket, at) as slow:
        site.kill("live")
        site.start_live(at)
        await_words(wall, dict.fromkeys(EVERY, GONE), 8)
        await_words(wall, EVERY, 20)
        slow.delay_s = 1.2
        expect(wall.locator(SPOT).locator(".tile__figures")).to_contain_text(
            re.compile(r"1[2-9]\d\d ms"), timeout=20_000
        )
        said, true = delays(site, wall, footage)
        site.kill("live")
    site.start_live()
    await_words(wall, EVERY, 20)
    assert min(true) >= 1200
    is_true(said, true)


def test_a_camera_that_returns_is_live_within_five_seconds_of_its_first_key_picture(
    site: BrowserSite, wall: Page
) -> None:
    site.unplug(4)
    await_words(wall, {5: GONE}, 4)
    wall.wait_for_timeout(3000)
    plugged_ns = time.time_ns()
    site.plug(4)
    await_words(wall, {5: "live"}, 30)
    live_ns = time.time_ns()
    journal = [r for r in list(site.simulator.journal) if r["camera"] == "cam4" and "event" not in r]
    first_key_ns = min(r["utc_ns"] for r in journal if r["key"] and r["utc_ns"] > plugged_ns)
    assert (live_ns - first_key_ns) / 1e9 <= 5.0

    site.start("archiver", "storage.archive_process")  # it takes the recorder's word of outages into the catalogue
    main = [r["utc_ns"] for r in journal if r["stream"] == "main"]
    last_ns, back_ns = max(t for t in main if t < plugged_ns), min(t for t in main if t > plugged_ns)
    told: list[dict[str, Any]] = []

    def accounted() -> bool:
        told[:] = [g for g in gaps(site, 5) if ns(g["start"]) < back_ns and ns(g["end"]) > last_ns]
        return bool(told) and told[0]["reason"] != "unknown"

    eventually_sync(accounted, 30, "the outage in the catalogue")
    assert len(told) == 1, told
    (gap,) = told
    assert gap["reason"] == "camera_unreachable"
    assert abs((ns(gap["end"]) - ns(gap["start"])) - (back_ns - last_ns)) / 1e9 <= 0.5, (gap, last_ns, back_ns)


def gaps(site: BrowserSite, number: int) -> list[dict[str, Any]]:
    """What was not recorded of a camera over the last minutes, as the site accounts for it."""
    argv = [sys.executable, "-m", "vms.cli", "--data", str(site.site.path)]
    done = subprocess.run(
        [*argv, "timeline", str(number), "--from", "-3m", "--to", "now", "--json"],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    found: list[dict[str, Any]] = json.loads(done.stdout)["gaps"]
    return found


def ns(said: str) -> int:
    return round(datetime.fromisoformat(said).timestamp() * 1e6) * 1000


def test_the_spot_tile_shows_the_main_stream_of_what_is_selected(wall: Page) -> None:
    """That name and picture change in one frame, `test_wall` sees; how soon beside twelve others, `bench.browser` too."""
    took = []
    for number in ("1", "6", "2", "5"):
        wall.keyboard.press("Escape")
        wall.evaluate("name => { window.asked = burnedIn.spot(name, 320, 10); }", f"00{number}")
        wall.keyboard.press(number)
        wall.keyboard.press("Enter")
        found = wall.evaluate("() => window.asked")
        assert found["picture"] is not None, found
        took.append(found["picture"])
    print(f"from selection to main stream: {[round(ms) for ms in took]} ms")
    assert max(took) <= limit(MOST_SPOT_MS, beside=10_000)
