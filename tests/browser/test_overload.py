"""A station that cannot keep up lowers pictures, says how many, and takes it back: ux.md's check 11."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import OPERATOR
from tests.support.alone import alone
from tests.support.browser_site import BrowserSite, await_words, browser_site, desk, lay
from tests.support.slow_station import slowed
from vms.simulate import Footage
from vms.simulate.footage import prepare
from vms.simulate.recipes import CAMERAS, Material, Pair
from web.identity.access import Role

# What a station cannot bear depends on who else uses it: by itself alone (`make browser`).
beside_others = pytest.mark.skipif(not alone(), reason="judges the machine: make browser runs it")
pytestmark = [
    beside_others,
    pytest.mark.network,
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.xdist_group("browser"),
]

TILES = 4
SLOWER = 10  # at 4 the decoders still kept up with these pictures
LIVE = dict.fromkeys(range(1, TILES + 1), ("live", "delayed"))


@pytest.fixture(scope="module")
def site(small_footage: list[Footage]) -> Iterator[BrowserSite]:
    """Pictures that cost something: 1080p25, and the sub-stream that belongs to it."""
    assert CAMERAS[0].sub is not None
    main, sub = (
        replace(recipe, name=f"{recipe.name}-pattern", material=Material.PATTERN, seconds=4)
        for recipe in (CAMERAS[0].main, CAMERAS[0].sub)
    )
    footage = prepare(small_footage[0].main.parent, pairs=[Pair(main, sub)])
    with browser_site(footage, [f"Kamera {i + 1}" for i in range(TILES)], {OPERATOR: Role.OPERATOR}) as found:
        yield found


def await_widths(page: Page, width: int, seconds: float) -> None:
    """Until every tile's picture is that wide."""
    page.wait_for_function(
        """([tiles, width]) => {
            const shown = [...document.querySelectorAll(".tile__face--shown video")].map((video) => video.videoWidth);
            return shown.length === tiles && shown.every((w) => w === width);
        }""",
        arg=[TILES, width],
        timeout=seconds * 1000,
    )


def test_an_overloaded_station_lowers_pictures_says_how_many_and_takes_it_back(
    browser: Browser, site: BrowserSite
) -> None:
    with desk(browser, site, size=(1920, 1080)) as found:
        page = found.sign_in(OPERATOR)
        lay(page, "2x2", None, [str(camera.id) for camera in site.cameras])
        await_words(page, LIVE, 30)
        await_widths(page, 1920, 10)  # large tiles have the main stream
        banner = page.locator("[data-banner=overload]")

        with slowed(SLOWER):
            expect(banner).to_contain_text(
                re.compile(rf"Stanowisko przeciążone: {TILES} z {TILES} obrazów w niższej jakości"), timeout=60_000
            )
        await_words(page, dict.fromkeys(LIVE, "live"), 20)
        await_widths(page, 640, 20)

        expect(banner).to_have_count(0, timeout=120_000)
        await_words(page, LIVE, 20)
        await_widths(page, 1920, 20)
        assert found.complaints == []
