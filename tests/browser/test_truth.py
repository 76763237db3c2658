"""A picture that is not live never looks live: ux.md's checks 1 to 6, against the real chain."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.conftest import OPERATOR
from tests.support.alone import limit
from tests.support.browser_site import BrowserSite, await_words, desk, word
from tests.support.slow_feed import slow_feed

pytestmark = [pytest.mark.network, pytest.mark.slow, pytest.mark.timeout(180), pytest.mark.xdist_group("browser")]

EVERY = dict.fromkeys(range(1, 7), "live")
GONE = ("lost", "reconnecting")
LOST_S = limit(3.0, beside=4.0)  # from the camera's last picture


@pytest.fixture
def wall(page: Page) -> Page:
    await_words(page, EVERY, 20)
    return page


def picture_left(page: Page, number: int) -> list[float]:
    """How much is left of a picture: the shares of pixels, left and right in the tile, that are none of its hatch."""
    png = page.locator(f'.tile[data-camera="{number}"]').last.screenshot()
    return page.evaluate(
        """async (bytes) => {
            const image = await createImageBitmap(new Blob([new Uint8Array(bytes)], {type: 'image/png'}));
            const canvas = new OffscreenCanvas(image.width, image.height);
            const paint = canvas.getContext('2d', {willReadFrequently: true});
            paint.drawImage(image, 0, 0);
            const style = getComputedStyle(document.documentElement);
            const rgb = (name) => style.getPropertyValue(name).trim().match(/[0-9a-f]{2}/g).map((c) => parseInt(c, 16));
            const [light, dark] = [rgb('--hatch-a'), rgb('--hatch-b')];
            const shares = [];
            // Two bands beside the text, where a picture would be and words are not.
            for (const [x, y, w, h] of [[0.03, 0.3, 0.07, 0.4], [0.9, 0.3, 0.07, 0.4]]) {
                const data = paint.getImageData(x * image.width, y * image.height, w * image.width, h * image.height).data;
                let other = 0;
                for (let i = 0; i < data.length; i += 4) {
                    const hatched = [0, 1, 2].every((c) => data[i + c] >= dark[c] - 3 && data[i + c] <= light[c] + 3);
                    if (!hatched) other += 1;
                }
                shares.push(other / (data.length / 4));
            }
            return shares;
        }""",
        list(png),
    )  # type: ignore[no-any-return]


def says_since_when(site: BrowserSite, page: Page, number: int) -> None:
    """The tile's panel names the last picture that the camera sent, to the second, with the zone, and for how long."""
    panel = page.locator(f'.tile[data-camera="{number}"]').last.locator(".tile__panel").inner_text()
    assert re.search(r"BRAK SYGNAŁU", panel)
    assert re.search(r"od \d\d:\d\d:\d\d CES?T, \d+ s", panel), panel
    sent = [r for r in list(site.simulator.journal) if r["camera"] == f"cam{number - 1}" and "event" not in r]
    last = datetime.fromtimestamp(max(r["utc_ns"] for r in sent if not r["lost"]) / 1e9, ZoneInfo("Europe/Warsaw"))
    near = [last + timedelta(seconds=s) for s in (-1, 0, 1)]
    assert any(f"od {time:%H:%M:%S %Z}, " in panel for time in near), (panel, last)


def test_an_unplugged_camera_is_lost_within_three_seconds_and_leaves_no_picture(site: BrowserSite, wall: Page) -> None:
    assert max(picture_left(wall, 2)) > 0.5, "the measure must see a picture where there is one"
    site.unplug(1)
    try:
        took = await_words(wall, {2: GONE}, LOST_S)
        print(f"unplugged: lost after {took:.2f} s")
        tile = wall.locator('.tile[data-camera="2"]').last
        says_since_when(site, wall, 2)
        assert max(picture_left(wall, 2)) < 0.05
        assert tile.locator(".tile__time").count() == 0
        tile.get_by_role("button", name="Pokaż ostatni obraz").click()
        assert "OBRAZ ARCHIWALNY" in tile.inner_text()
        tile.get_by_role("button", name="Ukryj ostatni obraz").last.click()
        await_words(wall, dict.fromkeys((1, 3, 4, 5, 6), "live"), 0.1)
    finally:
        site.plug(1)
    await_words(wall, {2: "live"}, 20)


def test_a_camera_that_sends_nothing_over_a_standing_connection_is_lost_the_same(site: BrowserSite, wall: Page) -> None:
    """The silent freeze: nothing in WebRTC tells of it."""
    site.stall(2, 9.0)
    took = await_words(wall, {3: GONE}, LOST_S)
    print(f"silent: lost after {took:.2f} s")
    assert took > 2.0, "the picture was there until the camera fell silent"
    says_since_when(site, wall, 3)
    for _ in range(3):  # tries to connect again go on meanwhile, and show nothing either
        assert max(picture_left(wall, 3)) < 0.05
        assert word(wall, 3) in GONE
        wall.wait_for_timeout(250)
    await_words(wall, {3: "live"}, 20)


def test_the_time_in_the_caption_stands_still_with_the_picture(site: BrowserSite, wall: Page) -> None:
    times = wall.evaluate_handle(
        """() => {
            const seen = [];
            const tile = document.querySelector('.tile[data-camera="4"]');
            const look = () => {
                seen.push([performance.now(), tile.dataset.word, tile.querySelector('.tile__time')?.textContent ?? null]);
                setTimeout(look, 50);
            };
            look();
            return seen;
        }"""
    )
    wall.wait_for_timeout(1500)
    site.stall(3, 6.0)
    await_words(wall, {4: GONE}, 5)
    seen = times.json_value()
    shown = [(at, said) for at, _, said in seen if said]
    last = shown[-1][1]
    stood = [at for at, said in shown if said == last]
    assert len({said for _, said in shown}) > 4, "it ran while pictures came"
    assert stood[-1] - stood[0] > 1000, "it was on the screen, standing, while the tile was in doubt"
    assert [said for at, said in shown if at > stood[0]] == [last] * (len(stood) - 1)
    await_words(wall, {4: "live"}, 20)


def test_a_killed_gateway_takes_every_picture_away_and_all_come_back_without_a_reload(
    site: BrowserSite, wall: Page
) -> None:
    wall.evaluate("window.sameDocument = true")
    banner = wall.locator("[data-banner=gateway]")
    assert banner.count() == 0
    site.kill("live")
    banner.wait_for(timeout=3000)
    assert "Obrazu na żywo nie ma: bramka nie odpowiada" in banner.inner_text()
    await_words(wall, dict.fromkeys(EVERY, (*GONE, "checking")), 1)
    await_words(wall, dict.fromkeys(EVERY, GONE), 4)
    site.start_live()
    await_words(wall, EVERY, 10)
    banner.wait_for(state="detached", timeout=3000)
    assert wall.evaluate("window.sameDocument") is True


def test_a_killed_recorder_is_told_by_a_banner_and_the_foot_gives_no_numbers(site: BrowserSite, wall: Page) -> None:
    foot, banner = wall.locator(".shell__foot"), wall.locator("[data-banner=recorder]")
    assert "Nagrywa 6 z 6" in foot.inner_text()
    site.kill("recorder")
    banner.wait_for(timeout=3000)
    assert "Dzwoń do dyżurnego IT" in banner.inner_text()
    assert "Nagrywa nie wiem, rejestrator nie odpowiada" in foot.inner_text()
    await_words(wall, dict.fromkeys(EVERY, GONE), 5)
    site.start("recorder", "recorder.host")
    banner.wait_for(state="detached", timeout=20_000)
    await_words(wall, EVERY, 30)


def test_a_silent_server_makes_the_console_say_that_it_is_blind(site: BrowserSite, wall: Page) -> None:
    site.freeze("web")
    try:
        wall.locator("[data-banner=blind]").wait_for(timeout=4500)
        assert "Konsola nie słyszy serwera" in wall.locator("[data-banner=blind]").inner_text()
        await_words(wall, dict.fromkeys(EVERY, "checking"), 1)
    finally:
        site.thaw("web")
    wall.locator("[data-banner=blind]").wait_for(state="detached", timeout=10_000)
    await_words(wall, EVERY, 5)


def test_a_killed_web_process_costs_no_picture_and_the_console_recovers(site: BrowserSite, wall: Page) -> None:
    wall.evaluate("window.sameDocument = true")
    site.kill("web")
    wall.locator("[data-banner=blind]").wait_for(timeout=4500)
    await_words(wall, dict.fromkeys(EVERY, "checking"), 1)
    site.start_web()
    wall.locator("[data-banner=blind]").wait_for(state="detached", timeout=10_000)
    await_words(wall, EVERY, 10)
    assert wall.evaluate("window.sameDocument") is True


def test_a_camera_that_returns_is_live_again_soon(site: BrowserSite, wall: Page) -> None:
    site.unplug(4)
    await_words(wall, {5: GONE}, 4)
    site.plug(4)
    await_words(wall, {5: "live"}, 15)
    assert word(wall, 5) == "live"


def test_a_picture_that_comes_four_seconds_late_is_never_called_live(site: BrowserSite, wall: Page) -> None:
    """Delayed on the way from recorder to gateway; the badge says by how much."""
    at = site.site.run / "slow.sock"
    with slow_feed(site.site.settings.feed.socket, at) as slow:
        site.kill("live")
        site.start_live(at)
        await_words(wall, dict.fromkeys(EVERY, GONE), 8)
        await_words(wall, EVERY, 20)
        said = wall.evaluate_handle(WORDS)
        slow.delay_s = 4.0
        await_words(wall, dict.fromkeys(EVERY, "delayed"), 25)
        wall.wait_for_timeout(2000)
        badges = wall.locator(".tile__badge--delayed").all_inner_texts()
        seconds = [float(re.findall(r"(\d+,\d) s", badge)[0].replace(",", ".")) for badge in badges]
        assert seconds
        assert all(3.7 <= late <= 4.3 for late in seconds), seconds
        for words in said.json_value():
            assert "live" not in words[words.index("checking") :], words
        site.kill("live")
    site.start_live()
    await_words(wall, EVERY, 20)


def test_a_browser_that_reads_no_capture_times_calls_nothing_live(browser: Browser, site: BrowserSite) -> None:
    """As Firefox: the extension is not asked for, so no picture has an age."""
    with desk(browser, site) as found:
        found.context.add_init_script("delete RTCRtpTransceiver.prototype.setHeaderExtensionsToNegotiate")
        page = found.sign_in(OPERATOR)
        said = page.evaluate_handle(WORDS)
        await_words(page, dict.fromkeys(EVERY, "unaged"), 20)
        assert page.locator(".tile__badge--unaged").first.inner_text() == "? obraz, wiek nieznany"
        assert "live" not in {one for words in said.json_value() for one in words}


WORDS = """() => {
    const lists = new Map(), all = [];
    const look = () => {
        for (const tile of document.querySelectorAll('.tile[data-camera]')) {
            if (!lists.has(tile)) all.push((lists.set(tile, []), lists.get(tile)));
            const list = lists.get(tile);
            if (list.at(-1) !== tile.dataset.word) list.push(tile.dataset.word);
        }
        setTimeout(look, 20);
    };
    look();
    return all;
}"""
