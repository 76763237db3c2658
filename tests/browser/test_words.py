"""What the pages say when something is wrong: what happened and what to do, in the reader's language, never a bare code."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import ADMINISTRATOR, OPERATOR, is_clean, says
from tests.support.browser_site import PASSWORD, BrowserSite, Desk, await_words, browser_site, desk, lay, page_call, say
from tests.support.live_site import ROOT, eventually_sync
from vms.simulate import Footage, prepare_small
from web.identity.access import Role
from web.identity.refusals import Code

pytestmark = [pytest.mark.network, pytest.mark.slow, pytest.mark.timeout(240), pytest.mark.xdist_group("browser")]


def sign_in_as(page: Page, url: str, name: str, password: str) -> None:
    page.goto(url)
    page.locator("input[name=username]").fill(name)
    page.locator("input[name=password]").fill(password)
    page.keyboard.press("Enter")


def test_every_code_has_words_in_both_languages() -> None:
    for each in ("pl", "en"):
        words = json.loads((ROOT / f"web/client/src/i18n/{each}.json").read_text())["problem"]
        assert [code.value for code in Code if not words.get(code.value)] == []


def test_a_wrong_password_and_then_a_line(at: Desk, language: str) -> None:
    page = at.page()
    nobody = f"nikt.{language}"
    sign_in_as(page, at.site.url, nobody, "nie-to-haslo-nie-to")
    says(page, language, "problem.wrong_credentials")
    for _ in range(7):  # the last ones wait one, two and four seconds
        page.locator("input[name=password]").fill("nie-to-haslo-nie-to")
        with page.expect_response("**/api/v1/session"):
            page.keyboard.press("Enter")
    page.locator("input[name=password]").fill("nie-to-haslo-nie-to")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text(say(language, "entry.in_line"), timeout=7000)
    expect(page.get_by_role("alert")).to_have_text(say(language, "problem.wrong_credentials"), timeout=20000)
    assert page.get_by_text(say(language, "entry.in_line")).count() == 0
    is_clean(page, language)


def test_a_session_that_was_ended_elsewhere(browser: Browser, site: BrowserSite, at: Desk, language: str) -> None:
    page = at.sign_in(OPERATOR)
    await_words(page, {1: "live"}, 20)
    page_call(page, "DELETE", f"/sessions/{page_call(page, 'GET', '/session')['id']}")
    told = page.get_by_role("status").filter(has_text=say(language, "entry.signed_out"))
    expect(told).to_be_visible(timeout=6000)
    assert page.locator("video").count() == 0
    is_clean(page, language)


def test_a_right_that_was_taken_away_in_mid_view(browser: Browser, site: BrowserSite, at: Desk, language: str) -> None:
    with desk(browser, site) as office:
        admin = office.sign_in(ADMINISTRATOR, "/about")
        name = f"jan.{language}"
        made = page_call(admin, "POST", "/users", {"name": name, "display_name": "", "language": language})
        role = {"role": "operator", "scope": "all"}
        grant = page_call(admin, "POST", f"/users/{made['user']['id']}/grants", role)
        page = at.page()
        sign_in_as(page, site.url, name, made["password"])
        fields = page.locator("input[type=password]")
        expect(fields).to_have_count(3)
        for index, text in enumerate((made["password"], PASSWORD, PASSWORD)):
            fields.nth(index).fill(text)
        page.keyboard.press("Enter")
        page.locator(".shell__rail").wait_for()
        await_words(page, {1: "live"}, 20)
        page_call(admin, "DELETE", f"/grants/{grant['id']}")
        expect(page.locator('.tile[data-word="live"]')).to_have_count(0, timeout=4000)
        expect(
            page.get_by_text(say(language, "wall.nothing")).or_(page.locator('.tile[data-word="no_right"]')).first
        ).to_be_visible()
        expect(page.get_by_role("button", name=say(language, "tile.show_last"))).to_have_count(0)
        expect(page.get_by_text(say(language, "tile.lost"))).to_have_count(0)
        is_clean(page, language)


def test_two_who_change_the_same_camera(browser: Browser, site: BrowserSite, at: Desk, language: str) -> None:
    page = at.sign_in(ADMINISTRATOR, f"/cameras/{site.cameras[5].id}")
    page.locator("form").wait_for()
    page_call(page, "PATCH", f"/cameras/{site.cameras[5].id}", {"street": f"Szkolna {language}"})
    page.get_by_label(say(language, "camera.group"), exact=False).first.fill("Szkoły")
    page.locator("form").get_by_role("button", name=say(language, "act.save")).click()
    says(page, language, "problem.stale")


def test_a_camera_nobody_may_see_and_one_that_is_none(at: Desk, language: str) -> None:
    page = at.sign_in(ADMINISTRATOR, "/cameras/00000000-0000-4000-8000-000000000000")
    says(page, language, "problem.not_found")


def test_a_server_that_is_away(browser: Browser, site: BrowserSite, at: Desk, language: str) -> None:
    page = at.page()
    page.goto(site.url)
    page.locator("input[name=username]").fill(OPERATOR)
    page.locator("input[name=password]").fill(PASSWORD)
    site.kill("web")
    try:
        page.keyboard.press("Enter")
        says(page, language, "problem.server_away")
    finally:
        site.start_web()
    page.locator("input[name=password]").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.locator(".shell__rail").wait_for()


def test_a_live_gateway_that_is_away(site: BrowserSite, at: Desk, language: str) -> None:
    page = at.sign_in(OPERATOR)
    await_words(page, {1: "live"}, 20)
    site.kill("live")
    try:
        tile = page.locator('.tile[data-camera="1"]').first
        expect(tile).to_contain_text(say(language, "problem.gateway_away"), timeout=15_000)
        expect(tile).to_contain_text(say(language, "tile.lost"))
        is_clean(page, language)
    finally:
        site.start_live()
    await_words(page, {1: "live"}, 20)


def test_more_pictures_than_the_server_may_show(site: BrowserSite, at: Desk, language: str) -> None:
    site.kill("live")
    (site.site.run / "live.sock").unlink(missing_ok=True)
    site.start("live", "web.live.process", VMS_LIVE_MAX_SESSIONS="1")
    try:
        eventually_sync((site.site.run / "live.sock").exists, 20, "the gateway's door")
        page = at.sign_in(OPERATOR)
        lay(page, "2x2", None, [str(camera.id) for camera in site.cameras[:4]])
        full = page.locator(".tile", has_text=say(language, "tile.full"))
        expect(full).to_have_count(3, timeout=20_000)
        expect(full.first).to_contain_text(say(language, "problem.too_many_sessions"))
        expect(page.locator('.tile[data-word="live"]')).to_have_count(1, timeout=20_000)
        is_clean(page, language)
    finally:
        site.kill("live")
        site.start_live()


@pytest.mark.parametrize(("hours", "key"), [(1, "clock_ahead"), (-1, "clock_behind")])
def test_a_workstation_whose_clock_is_wrong(at: Desk, language: str, hours: int, key: str) -> None:
    at.context.add_init_script(f"(() => {{ const now = Date.now; Date.now = () => now() + {hours * 3_600_000}; }})()")
    page = at.sign_in(OPERATOR)
    before, after = say(language, f"banner.{key}").split("{{seconds}}")
    banner, mark = page.locator("[data-banner=clock]"), "," if language == "pl" else r"\."
    expect(banner).to_have_text(re.compile(rf"^{re.escape(before)}3\d{{3}}{mark}\d{re.escape(after)}$"))
    shown = page.locator(".shell__clock b")
    wanted = page.evaluate(
        "new Date(new Date().getTime()).toLocaleTimeString('pl-PL', {timeZone: 'Europe/Warsaw', hour: '2-digit'})"
    )
    expect(shown).to_have_text(re.compile(rf"^{wanted[:2]}:"))  # the server's hour, which is the true one


def test_a_camera_that_no_browser_shows(browser: Browser, small_footage: list[Footage]) -> None:
    """H.265 without a sub-stream: one is transcoded and says so, the next says that it cannot be shown and is recorded."""
    hevc = prepare_small(small_footage[0].main.parent, pattern=True)[1]
    people: dict[str, Role | None] = {OPERATOR: Role.OPERATOR, ADMINISTRATOR: Role.ADMINISTRATOR}
    with browser_site([Footage(hevc.main, small_footage[0].sub)], ("Most", "Targ"), people) as site:
        with desk(browser, site) as office:
            admin = office.sign_in(ADMINISTRATOR, "/about")
            for camera in site.cameras:
                page_call(admin, "PATCH", f"/cameras/{camera.id}", {"sub_url": ""})
        for language in ("pl", "en"):
            with desk(browser, site, language=language) as at:
                page = at.sign_in(OPERATOR)
                lay(page, "2x2", None, [str(camera.id) for camera in site.cameras])
                none = page.locator(".tile", has_text=say(language, "tile.unshowable"))
                expect(none).to_have_count(1, timeout=30_000)
                expect(none).to_contain_text(say(language, "problem.codec_unsupported"))
                shown = page.locator('.tile[data-word="live"]')
                expect(shown).to_contain_text(say(language, "tile.transcoded"), timeout=30_000)
                is_clean(page, language)
                assert at.complaints == []
