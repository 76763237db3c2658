"""The live gateway over a real recorder and simulated cameras, watched by stock aiortc."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.live_site import LiveSite, eventually_sync, live_site
from tests.support.live_viewers import Door, viewer
from vms.simulate import prepare_small

pytestmark = [pytest.mark.network, pytest.mark.slow]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSite]:
    """Two cameras with main and sub-stream that are being recorded and relayed, and the gateway."""
    folder = tmp_path_factory.getbasetemp().parent / "footage-cache"
    folder.mkdir(exist_ok=True)
    with live_site(prepare_small(folder, pattern=True)[:2], ["Rynek", "Aleja"]) as live:
        live.start("live", "web.live.process")
        asyncio.run(live.live())
        eventually_sync((live.site.run / "live.sock").exists, 15, "the gateway's door")
        yield live
        print(live.log("live").read_text()[-8000:])


@pytest.fixture
async def door(live: LiveSite) -> AsyncIterator[Door]:
    async with Door(live.site.run / "live.sock") as door:
        yield door


async def test_a_stock_viewer_sees_the_camera(live: LiveSite, door: Door) -> None:
    stream = live.stream(0)
    async with viewer(door, stream) as seeing:
        assert (seeing.answer["stream"], seeing.answer["codec"], seeing.answer["transcoded"], seeing.answer["why"]) == (
            str(stream), "h264", False, "",
        )  # fmt: skip
        pictures = await seeing.pictures(30)
        assert {(p.width, p.height) for p in pictures} == {(320, 180)}
        (facts,) = (await door.sessions()).values()
        assert (facts["id"], facts["stream"], facts["state"]) == (str(seeing.id), str(stream), "live")
        assert facts["packets"] > 30
