"""The live wall as operators use it: ux.md's checks 10, 12, 13 and 26, layouts, a second window, and being put out."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import ADMINISTRATOR, OPERATOR
from tests.support.browser_site import PASSWORD, BrowserSite, Desk, await_words, desk, lay, page_call
from tests.support.live_site import eventually_sync

pytestmark = [pytest.mark.network, pytest.mark.slow, pytest.mark.timeout(180), pytest.mark.xdist_group("browser")]

EVERY = dict.fromkeys(range(1, 7), "live")


@pytest.fixture(scope="module")
def window(browser: Browser, site: BrowserSite) -> Iterator[tuple[Desk, Page]]:
    with desk(browser, site) as found:
        yield found, found.sign_in(OPERATOR)
        assert found.foreign == []
        assert found.complaints == []


@pytest.fixture
def wall(window: tuple[Desk, Page]) -> Page:
    page = window[1]
    page.keyboard.press("Escape")
    await_words(page, EVERY, 20)
    return page


def spot(page: Page) -> str | None:
    return page.locator('.tile[data-spot="true"]').get_attribute("data-camera")


def test_a_camera_is_found_in_six_keystrokes_with_polish_letters_and_without(wall: Page) -> None:
    for keys in (["/", "l", "o", "d", "z", "Enter"], ["/", "ł", "ó", "d", "z", "Enter"]):
        wall.keyboard.press("3")
        wall.keyboard.press("Enter")
        expect(wall.locator('.tile[data-spot="true"]')).to_have_attribute("data-camera", "3")
        began = time.monotonic()
        for key in keys:
            wall.keyboard.press(key) if key in ("/", "Enter") else wall.keyboard.insert_text(key)
        expect(wall.locator('.tile[data-spot="true"]')).to_have_attribute("data-camera", "4", timeout=2000)
        assert time.monotonic() - began < 2.0
    for word, number in (("lodz 12", "4"), ("plyta", "1")):
        wall.keyboard.press("/")
        wall.keyboard.insert_text(word)
        wall.keyboard.press("Enter")
        expect(wall.locator('.tile[data-spot="true"]')).to_have_attribute("data-camera", number, timeout=2000)


def test_a_camera_is_found_with_the_mouse(wall: Page) -> None:
    wall.get_by_role("combobox", name="Znajdź kamerę").click()
    wall.keyboard.insert_text("szkola")
    wall.get_by_role("option", name="Szkoła nr 6").click()
    expect(wall.locator('.tile[data-spot="true"]')).to_have_attribute("data-camera", "6", timeout=2000)


def test_the_spot_tile_never_shows_one_picture_under_anothers_name(wall: Page) -> None:
    seen = wall.evaluate_handle(
        """() => {
            const seen = [], start = performance.now();
            const look = () => {
                const face = document.querySelector('.tile[data-spot="true"] .tile__face--shown');
                const video = face?.querySelector('video');
                seen.push([performance.now() - start, face?.querySelector('.tile__caption b')?.textContent,
                           video !== null && video?.videoWidth > 0, face?.querySelectorAll('video').length]);
                requestAnimationFrame(look);
            };
            look();
            return seen;
        }"""
    )
    before = spot(wall)
    other = "5" if before != "5" else "6"
    wall.keyboard.press(other)
    wall.keyboard.press("Enter")
    expect(wall.locator('.tile[data-spot="true"]')).to_have_attribute("data-camera", other, timeout=2000)
    wall.wait_for_timeout(500)
    frames = seen.json_value()
    names = [name for _, name, _, _ in frames]
    assert set(names) == {f"00{before}", f"00{other}"}
    change = names.index(f"00{other}")
    assert names[change:] == [f"00{other}"] * len(names[change:]), "one change, not back and forth"
    assert all(videos == 1 for _, _, _, videos in frames), "a face shows its own video alone"
    assert all(picture for _, _, picture, _ in frames), "the name changed with a picture, not before it"


def test_a_tour_shows_a_camera_that_is_away_as_lost(site: BrowserSite, wall: Page) -> None:
    one, away = site.cameras[0], site.cameras[1]
    site.unplug(1)
    try:
        lay(wall, "1", None, [{"tour": [str(one.id), str(away.id)], "dwell_s": 3}])
        await_words(wall, {1: "live"}, 15)
        assert re.search(r"obchód 1/2 · \d s", wall.locator(".tile__badge").inner_text())
        await_words(wall, {2: ("lost", "reconnecting")}, 8)
        await_words(wall, {1: "live"}, 8)
        wall.keyboard.press("t")
        expect(wall.locator(".tile__badge")).to_contain_text("wstrzymany", timeout=3000)
    finally:
        site.plug(1)
        wall.evaluate("sessionStorage.clear(); localStorage.removeItem('stroz.wall')")
        wall.reload()


def test_a_layout_is_stored_on_the_server_and_opened_by_its_key(wall: Page) -> None:
    wall.get_by_role("button", name="Podział 3x3").click()
    wall.get_by_role("button", name="Układy").click()
    wall.get_by_role("menuitem", name="Zapisz jako nowy układ").click()
    wall.get_by_label("Nazwa").fill("Śródmieście")
    wall.get_by_role("button", name="Zapisz", exact=True).click()
    expect(wall.get_by_role("button", name="Śródmieście")).to_have_attribute("aria-pressed", "true")
    wall.get_by_role("button", name="Podział 2x2").click()
    expect(wall.locator(".tile")).to_have_count(4)
    wall.evaluate("sessionStorage.clear(); localStorage.removeItem('stroz.wall')")
    wall.reload()
    expect(wall.locator(".tile")).to_have_count(8)
    deadline = time.monotonic() + 15
    while wall.locator(".tile").count() != 9 and time.monotonic() < deadline:  # the list of layouts may still come
        wall.keyboard.press("w")
        wall.keyboard.press("1")
        wall.wait_for_timeout(300)
    expect(wall.locator(".tile")).to_have_count(9)
    wall.evaluate("sessionStorage.clear(); localStorage.removeItem('stroz.wall')")
    wall.reload()


def test_zoom_snapshot_and_the_key_sheet(wall: Page) -> None:
    wall.keyboard.press("=")
    wall.keyboard.press("=")
    expect(wall.locator(".tile__zoomnote")).to_contain_text("zoom cyfrowy")
    wall.keyboard.press("z")
    expect(wall.locator(".tile__zoomnote")).to_have_count(0)
    with wall.expect_download() as download:
        wall.keyboard.press("s")
    assert re.fullmatch(r"00\d_\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\+0[12]00\.png", download.value.suggested_filename)
    said = wall.locator(".sayings p", has_text=re.compile(r"^Zapisano migawkę kamery \d\.$"))
    expect(said).to_be_in_viewport()
    expect(said).to_have_count(0, timeout=10_000)
    wall.keyboard.press("?")
    expect(wall.get_by_role("dialog", name="Klawisze")).to_be_visible()
    wall.keyboard.press("Escape")
    expect(wall.get_by_role("dialog")).to_have_count(0)


def test_a_tile_is_filled_by_drag_and_without(wall: Page) -> None:
    target = wall.locator(".tile").nth(7)
    wall.locator(".side__list button", has_text="Park Miejski").drag_to(target)
    expect(target).to_have_attribute("data-camera", "5")
    wall.locator(".tile").nth(7).locator(".tile__select").click()
    wall.keyboard.press("6")
    wall.keyboard.press("Enter")
    expect(target).to_have_attribute("data-camera", "6")
    wall.keyboard.press("Delete")
    expect(target).to_have_attribute("data-word", "empty")


def test_a_tile_dragged_to_the_spot_is_shown_there_and_keeps_its_camera(wall: Page) -> None:
    to, number = wall.locator('.tile[data-spot="true"]'), "2" if spot(wall) != "2" else "3"
    tile = wall.locator(f'.tile[data-camera="{number}"][data-spot="false"]')
    tile.locator(".tile__select").drag_to(to)
    expect(to).to_have_attribute("data-camera", number, timeout=2000)
    expect(tile).to_have_count(1)


def test_the_second_window_follows_the_selection(window: tuple[Desk, Page], wall: Page) -> None:
    second = window[0].page()
    second.goto(wall.url.rstrip("/") + "/window")
    await_words(second, EVERY, 20)
    for number in ("2", "5"):
        wall.keyboard.press("Escape")
        wall.keyboard.press(number)
        wall.keyboard.press("Enter")
        expect(second.locator('.tile[data-spot="true"]')).to_have_attribute("data-camera", number, timeout=2500)
    second.close()


def test_the_second_window_has_the_keys_the_find_box_and_the_stored_layouts(
    window: tuple[Desk, Page], wall: Page, site: BrowserSite
) -> None:
    body = {"name": "Patrol", "shared": False, "grid": "2x2", "spot": None}
    made = page_call(wall, "POST", "/layouts", body | {"tiles": [str(camera.id) for camera in site.cameras[2:6]]})
    second = window[0].page()
    second.goto(wall.url.rstrip("/") + "/window")
    await_words(second, EVERY, 20)
    place = [one["id"] for one in page_call(second, "GET", "/layouts")["items"]].index(made["id"]) + 1
    spot_tile = second.locator('.tile[data-spot="true"]')
    for number, found in (("2", "krotka"), ("6", "szkola")):
        second.keyboard.press("4")
        expect(second.locator(".typed")).to_have_text("4")
        second.keyboard.press("Enter")
        expect(spot_tile).to_have_attribute("data-camera", "4", timeout=2500)
        second.keyboard.press("/")
        second.keyboard.insert_text(found)
        second.keyboard.press("Enter")
        expect(spot_tile).to_have_attribute("data-camera", number, timeout=2500)
    second.keyboard.press("w")
    second.keyboard.press(str(place))
    await_words(second, dict.fromkeys(range(3, 7), "live"), 20)
    assert second.locator(".tile").count() == 4
    second.hover(".secondwindow")
    expect(second.get_by_role("button", name="Patrol")).to_have_attribute("aria-pressed", "true")
    second.keyboard.press("f")
    second.wait_for_function("document.fullscreenElement === document.documentElement")
    second.keyboard.press("g")
    second.keyboard.press("k")
    second.keyboard.press("?")
    expect(second.get_by_role("dialog", name="Klawisze")).to_be_visible()
    expect(second.get_by_role("dialog", name="Klawisze").get_by_text("G L")).to_have_count(0)
    assert second.url.endswith("/window")
    second.close()
    page_call(wall, "DELETE", f"/layouts/{made['id']}")


def test_a_workstation_in_another_zone_sees_the_citys_time_and_is_told(browser: Browser, site: BrowserSite) -> None:
    with desk(browser, site, zone="America/New_York") as found:
        page = found.sign_in(OPERATOR, "/about")
        page.locator("[data-banner=zone]").wait_for()
        assert "America/New_York" in page.locator("[data-banner=zone]").inner_text()
        expect(page.locator(".shell__clock b")).to_have_text(re.compile(r"\d\d:\d\d:\d\d"))
        shown = page.locator(".shell__clock").inner_text()
        wanted = page.evaluate(
            "new Date().toLocaleTimeString('pl-PL', {timeZone: 'Europe/Warsaw', hour: '2-digit', minute: '2-digit'})"
        )
        assert shown.startswith(wanted) or shown[6:8] in ("59", "00"), (shown, wanted)
        assert found.complaints == []


def test_whoever_is_put_out_sees_nothing_more_and_is_told(browser: Browser, site: BrowserSite, wall: Page) -> None:
    """Revoked in mid-view: the administrator ends the operator's session."""
    with desk(browser, site) as found:
        admin = found.sign_in(ADMINISTRATOR, "/account")
        rows = admin.locator("tr", has_text=OPERATOR).get_by_role("button", name="Zakończ")
        confirm = admin.get_by_role("dialog", name="Potwierdź hasłem")
        rows.first.wait_for()
        while (left := rows.count()) > 0:  # of every browser this person ever signed in with
            rows.first.click()
            eventually_sync(
                lambda before=left: confirm.is_visible() or rows.count() < before, 10, "a question or a session less"
            )
            if confirm.is_visible():
                confirm.locator("input[type=password]").fill(PASSWORD)
                admin.keyboard.press("Enter")
            expect(rows).to_have_count(left - 1)
        wall.locator(".entry").wait_for(timeout=6000)
    assert wall.locator("video").count() == 0
    expect(wall.locator(".note--warn")).to_contain_text("Sesja wygasła albo została zakończona")
