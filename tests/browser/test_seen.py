"""What eyes of all kinds see of the wall: every state by its glyph and word, whatever colours are left, and nothing flashes."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import av
import pytest
from playwright.sync_api import Browser, CDPSession, Page

from tests.browser.conftest import ADMINISTRATOR, OPERATOR
from tests.support.browser_site import BrowserSite, await_words, desk, lay, page_call, say
from tests.support.slow_feed import slow_feed

pytestmark = [pytest.mark.network, pytest.mark.slow, pytest.mark.timeout(240), pytest.mark.xdist_group("browser")]

AWAY, LATE, OFF = 2, 3, 5  # numbers of cameras
MOST_PER_SECOND = 3  # WCAG 2.3.1
LEGIBLE = 4.5  # WCAG 1.4.3
SIGHTS = ("none", "deuteranopia", "protanopia", "achromatopsia")
STATES = {"live": 1, "lost": AWAY, "delayed": LATE, "off": OFF}


@pytest.fixture(scope="module")
def troubled(browser: Browser, site: BrowserSite) -> Iterator[BrowserSite]:
    """One camera is away, one is late, one is switched off."""
    with desk(browser, site) as at:
        page = at.sign_in(ADMINISTRATOR, "/about")
        page_call(page, "PATCH", f"/cameras/{site.cameras[OFF - 1].id}", {"enabled": False})
    feed = site.site.run / "slow.sock"
    with slow_feed(site.site.settings.feed.socket, feed) as slow:
        slow.delay_s, slow.only = 4.2, frozenset(str(stream.id) for stream in site.cameras[LATE - 1].streams)
        site.kill("live")
        site.start_live(feed)
        site.unplug(AWAY - 1)
        yield site
        site.kill("live")


def wall_of_states(page: Page, site: BrowserSite) -> None:
    ids = [str(camera.id) for camera in site.cameras]
    tour = {"tour": [ids[3], ids[5]], "dwell_s": 60}
    lay(page, "3x3", None, [ids[0], ids[AWAY - 1], ids[LATE - 1], ids[OFF - 1], str(uuid4()), tour, None, None, None])
    await_words(page, {1: "live", AWAY: ("lost", "reconnecting"), LATE: "delayed", OFF: "off"}, 60)


def picture(session: CDPSession, tile: dict[str, float]) -> tuple[int, int, bytes]:
    """Width, height and RGB of what the screen shows there, through the eyes that are emulated."""
    shot = session.send("Page.captureScreenshot", {"format": "png", "clip": {**tile, "scale": 1}})
    with av.open(io.BytesIO(base64.b64decode(shot["data"])), format="png_pipe") as file:
        frame = next(file.decode(video=0)).reformat(format="rgb24")
    assert isinstance(frame, av.VideoFrame)
    plane = frame.planes[0]
    rows = bytes(plane)
    step = plane.line_size
    return frame.width, frame.height, b"".join(rows[y * step : y * step + 3 * frame.width] for y in range(frame.height))


def luminances(rgb: bytes) -> list[float]:
    def linear(value: int) -> float:
        c = value / 255
        return c / 12.92 if c <= 0.04045 else float(((c + 0.055) / 1.055) ** 2.4)

    table = [linear(value) for value in range(256)]
    return [
        0.2126 * table[rgb[i]] + 0.7152 * table[rgb[i + 1]] + 0.0722 * table[rgb[i + 2]] for i in range(0, len(rgb), 3)
    ]


@pytest.mark.parametrize("language", ["pl", "en"])
@pytest.mark.parametrize("sight", SIGHTS)
def test_every_state_is_told_apart_by_glyph_and_word(
    browser: Browser, troubled: BrowserSite, language: str, sight: str
) -> None:
    """UX check 37: the words differ, and can be read with the colours that are left."""
    with desk(browser, troubled, language=language) as at:
        page = at.sign_in(OPERATOR)
        wall_of_states(page, troubled)
        session = at.context.new_cdp_session(page)
        session.send("Emulation.setEmulatedVisionDeficiency", {"type": sight})
        said = {}
        for number in (*STATES.values(), None):
            where = f'.tile[data-camera="{number}"]' if number else '.tile[data-word="no_right"]'
            sign = page.locator(f"{where} .tile__face--shown").locator(".tile__badge, .tile__panel strong").first
            said[number] = sign.inner_text().strip()
            box: Any = sign.bounding_box()
            _, _, rgb = picture(session, box)
            light = luminances(rgb)
            assert (max(light) + 0.05) / (min(light) + 0.05) >= LEGIBLE, (sight, said[number])
            if sight == "achromatopsia":
                assert max(abs(rgb[i] - rgb[i + 1]) + abs(rgb[i] - rgb[i + 2]) for i in range(0, len(rgb), 3)) < 12
        assert said[1].startswith("● " + say(language, "tile.live"))
        assert said[AWAY] == "✕ " + say(language, "tile.lost")
        assert said[LATE].startswith("◔ " + say(language, "tile.delayed").split(" ")[0])
        assert said[OFF] == say(language, "tile.off")
        assert said[None] == say(language, "tile.no_right")
        assert len(set(said.values())) == len(said)
        assert at.complaints == []


def test_nothing_changes_more_than_three_times_a_second(browser: Browser, troubled: BrowserSite) -> None:
    """No animation of ours is faster, and a tile that is tried again and again does not flicker."""
    with desk(browser, troubled) as at:
        page = at.sign_in(OPERATOR)
        wall_of_states(page, troubled)
        seen = page.evaluate_handle(
            r"""() => {
                const seen = { changes: [], animations: {} };
                new MutationObserver((records) => {
                    for (const r of records) seen.changes.push([performance.now(), r.target.dataset.camera ?? "", r.attributeName]);
                }).observe(document.querySelector(".wall"), {
                    subtree: true, attributes: true, attributeFilter: ["data-word", "class"],
                });
                const look = () => {
                    for (const a of document.getAnimations({ subtree: true })) {
                        const steps = /steps\((\d+)/.exec(getComputedStyle(a.effect.target).animationTimingFunction);
                        const { duration } = a.effect.getComputedTiming();
                        seen.animations[a.animationName ?? a.transitionProperty] = [duration, steps ? Number(steps[1]) : 2];
                    }
                    requestAnimationFrame(look);
                };
                look();
                return seen;
            }"""
        )
        troubled.stall(0, 6.0)  # another one falls silent and comes back meanwhile
        await_words(page, {1: ("lost", "reconnecting")}, 10)
        await_words(page, {1: "live"}, 30)
        found = seen.json_value()
        assert found["animations"], "the measure must see the one of a tile that is tried again"
        for name, (duration_ms, each_turn) in found["animations"].items():
            assert each_turn / (duration_ms / 1000) <= MOST_PER_SECOND, name
        words = [(at, camera) for at, camera, what in found["changes"] if what == "data-word" and camera]
        assert words, "the measure must see changes"
        for began, camera in words:
            within = [at for at, other in words if other == camera and began <= at < began + 1000]
            assert len(within) <= MOST_PER_SECOND, (camera, within)
        assert at.complaints == []
