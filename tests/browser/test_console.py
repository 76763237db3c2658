"""A console that stays open: names, removals, the clock and the end of its session reach it without a reload."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import OPERATOR
from tests.support.browser_site import PASSWORD, BrowserSite, await_words, desk
from tests.support.live_site import ROOT
from tests.support.slow_feed import slow_feed

pytestmark = [pytest.mark.network, pytest.mark.slow, pytest.mark.timeout(180), pytest.mark.xdist_group("browser")]

EVERY = dict.fromkeys(range(1, 7), "live")
SOON_MS = 4000


@pytest.fixture
def wall(page: Page) -> Page:
    await_words(page, EVERY, 20)
    page.evaluate("window.sameDocument = true")
    return page


def vms(site: BrowserSite, *words: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "vms.cli", "--data", str(site.site.path), *words], cwd=ROOT, check=True, timeout=60
    )


def test_the_relays_are_asked_for_before_the_first_offer(browser: Browser, site: BrowserSite) -> None:
    with desk(browser, site) as found:
        asked: list[str] = []
        found.context.on("request", lambda request: "/whep/" in request.url and asked.append(request.method))
        await_words(found.sign_in(OPERATOR), EVERY, 20)
        assert asked[0] == "OPTIONS"
        assert asked.count("OPTIONS") == 1, "once for all tiles"


def test_a_name_that_was_changed_elsewhere_changes_on_the_wall_with_its_picture(site: BrowserSite, wall: Page) -> None:
    tile = wall.locator('.tile[data-camera="1"]').last
    before = tile.locator(".tile__face--shown video").element_handle()
    for name in ("Dworzec, zegar", "Rynek, płyta"):
        vms(site, "camera", "edit", "1", "--name", name)
        expect(tile.locator(".tile__face--shown .tile__name")).to_have_text(name, timeout=SOON_MS)
        expect(wall.get_by_role("complementary").get_by_text(name)).to_be_visible()
        assert before.evaluate("video => video.isConnected") is False, "the picture under the other name went with it"
        await_words(wall, EVERY, 10)
        before = tile.locator(".tile__face--shown video").element_handle()
    assert wall.evaluate("window.sameDocument") is True


def test_a_camera_out_of_service_leaves_the_wall_and_the_list(site: BrowserSite, wall: Page) -> None:
    row = wall.get_by_role("complementary").get_by_text("Szkoła nr 6")
    expect(row).to_be_visible()
    vms(site, "camera", "remove", "6", "--yes")
    expect(row).to_have_count(0, timeout=SOON_MS)
    expect(wall.locator('.tile[data-camera="6"]')).to_have_count(0, timeout=SOON_MS)
    assert wall.locator(".tile[data-word=no_right] video").evaluate_all("all => all.every(v => !v.srcObject)")
    EVERY.pop(6)


def test_after_blindness_a_picture_that_comes_late_is_still_not_called_live(site: BrowserSite, wall: Page) -> None:
    at = site.site.run / "slow.sock"
    with slow_feed(site.site.settings.feed.socket, at) as slow:
        site.kill("live")
        site.start_live(at)
        await_words(wall, dict.fromkeys(EVERY, ("lost", "reconnecting")), 8)
        await_words(wall, EVERY, 20)
        slow.delay_s = 4.0
        await_words(wall, dict.fromkeys(EVERY, "delayed"), 25)
        words = wall.evaluate_handle(
            """() => {
                const said = new Set();
                const look = () => {
                    for (const tile of document.querySelectorAll('.tile[data-camera]')) said.add(tile.dataset.word);
                    setTimeout(look, 10);
                };
                look();
                return said;
            }"""
        )
        site.freeze("web")
        try:
            wall.locator("[data-banner=blind]").wait_for(timeout=4500)
            states = wall.get_by_role("complementary").locator("li").all_inner_texts()
            assert states
            assert all("nie wiem" in state for state in states), states
            expect(wall.locator(".shell__foot")).to_contain_text("Nagrywa nie wiem")
        finally:
            site.thaw("web")
        wall.locator("[data-banner=blind]").wait_for(state="detached", timeout=10_000)
        await_words(wall, dict.fromkeys(EVERY, "delayed"), 10)
        assert "live" not in words.evaluate("said => [...said]")
        site.kill("live")
    site.start_live()
    await_words(wall, EVERY, 20)


def test_a_session_that_ended_while_the_server_was_away_leads_to_the_door_and_back_to_the_same_wall(
    site: BrowserSite, wall: Page
) -> None:
    wall.get_by_role("button", name=re.compile("3x3")).click()
    shown = wall.locator(".tile").evaluate_all("all => all.map(tile => tile.dataset.camera ?? '')")
    site.kill("web")
    wall.locator("[data-banner=blind]").wait_for(timeout=4500)
    vms(site, "user", "disable", OPERATOR)
    vms(site, "user", "enable", OPERATOR)
    site.start_web()
    wall.locator("input[name=username]").wait_for(timeout=10_000)
    assert wall.locator("video").count() == 0
    wall.locator("input[name=username]").fill(OPERATOR)
    wall.locator("input[name=password]").fill(PASSWORD)
    wall.keyboard.press("Enter")
    wall.locator(".shell__rail").wait_for()
    await_words(wall, EVERY, 20)
    assert wall.locator(".tile").evaluate_all("all => all.map(tile => tile.dataset.camera ?? '')") == shown
    assert wall.evaluate("window.sameDocument") is True
