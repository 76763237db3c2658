"""A viewer with 300 kbit/s of a stream of 4 Mbit/s: its tile says what is so, and no other viewer notices."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.conftest import OPERATOR
from tests.support import tile_watch
from tests.support.browser_site import PASSWORD, BrowserSite, Desk, apart, await_words, browser_site, desk, lay
from tests.support.live_packets import PacketViewer
from tests.support.live_viewers import Door
from tests.support.noise import noisy
from tests.support.udp_relay import bad_network
from tests.support.web_site import Client
from vms.model import Camera
from vms.simulate import Footage
from web.identity.access import Role

pytestmark = [pytest.mark.network, pytest.mark.slow, pytest.mark.timeout(180), pytest.mark.xdist_group("browser")]

NARROW_BYTES_PER_S = 300_000 // 8
OTHERS = 2
FIRST = 30  # pictures: what was under way when a viewer came is older
SECONDS = 6.0
PATIENCE_S = 40.0
SO_RCVBUFFORCE = 33  # of Linux: beyond what a process may ask for, as root
NTP_EPOCH_S = 2_208_988_800
NO_LATER_S = 0.1  # the median of the others' delay, where other tests run beside this one
CHECK_MS, DELAYED_MS = 1000, 2000  # the client's thresholds
LOOK_MS = 400  # its look every quarter of a second, and ours


@dataclass
class Timed(PacketViewer):
    """Knows how old each picture was when its last packet came."""

    ages_s: list[float] = field(default_factory=list)

    def _keep(self, data: bytes) -> None:
        super()._keep(data)
        if self.packets and self.packets[-1] is data and data[1] & 0x80:
            self.ages_s.append(time.time() - int.from_bytes(data[17:25], "big") / 2**32 + NTP_EPOCH_S)

    async def open(self, stream: UUID, **options: Any) -> dict[str, Any]:
        for protocol in self._gatherer._connection._protocols:
            roomy(protocol.transport.get_extra_info("socket"))
        return await super().open(stream, **options)

    async def pictures(self, count: int) -> None:
        await self.until(lambda: len(self.ages_s) >= count, PATIENCE_S)


def roomy(sock: socket.socket) -> None:
    """What comes while this process waits for its turn is not to be lost here, where losses are counted."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)


class WebDoor:
    """What `PacketViewer` asks for a session, by the way that browsers take."""

    def __init__(self, client: Client, camera: Camera) -> None:
        self._client, self._camera = client, camera
        self.sessions: list[UUID] = []

    async def offer(self, _stream: UUID, sdp: str, **_: Any) -> tuple[int, dict[str, Any]]:
        answer = await self._client.watch(self._camera, "?stream=main", sdp)
        if answer.status == 201:
            self.sessions.append(UUID(answer.headers["Location"].rpartition("/")[2]))
        return answer.status, {"answer": answer.text}


async def watch_beside(site: BrowserSite) -> list[float]:
    """Viewers at packet level for some seconds: no packet and no picture is missing at any; how old pictures were."""
    client = Client(site.url)
    try:
        assert (await client.sign_in(OPERATOR, PASSWORD)).status == 200
        door = WebDoor(client, site.cameras[0])
        async with contextlib.AsyncExitStack() as undo:
            viewers = [await undo.enter_async_context(Timed(door)) for _ in range(OTHERS)]  # type: ignore[arg-type]
            await asyncio.gather(*(v.open(UUID(int=0)) for v in viewers))
            await asyncio.gather(*(v.pictures(FIRST + int(25 * SECONDS)) for v in viewers))
            for v in viewers:
                numbers = [int.from_bytes(p[2:4], "big") for p in v.media_packets()]
                assert all((b - a) & 0xFFFF == 1 for a, b in itertools.pairwise(numbers))
                assert v.failures.count == 0
            async with Door(site.site.run / "live.sock") as inner:
                found = await inner.sessions()
            assert [found[session]["drops"] for session in door.sessions] == [0] * OTHERS
            return [age for v in viewers for age in v.ages_s[FIRST:]]
    finally:
        await client.session.close()


def watched_meanwhile(page: Page, site: BrowserSite) -> list[float]:
    """While the pages go on."""
    with ThreadPoolExecutor(1) as pool:
        ages = pool.submit(asyncio.run, watch_beside(site))
        while not ages.done():
            page.wait_for_timeout(100)
        return ages.result()


@pytest.fixture(scope="module")
def busy(small_footage: list[Footage], tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserSite]:
    """One camera of 4 Mbit/s."""
    wide = noisy(tmp_path_factory.getbasetemp().parent / "footage-cache")
    people: dict[str, Role | None] = {OPERATOR: Role.OPERATOR}
    with browser_site([Footage(wide.main, small_footage[0].sub)], ["Rynek"], people) as found:
        yield found
        print(found.log("live")[-6000:])


def test_a_viewer_at_300_kbit_s_harms_no_other_and_its_tile_tells_the_truth(
    browser: Browser, busy: BrowserSite
) -> None:
    with desk(browser, busy) as quick, desk(browser, busy) as slow:
        page = opened(quick)
        await_words(page, {1: "live"}, 20)
        tile_watch.watch(page)
        alone = watched_meanwhile(page, busy)
        before = tile_watch.counts(page)
        with bad_network(slow.context, bytes_per_s=NARROW_BYTES_PER_S) as network:
            narrow = opened(slow)
            beside = watched_meanwhile(narrow, busy)
            lost, passed = sum(r.lost for r in network.relays), sum(r.passed for r in network.relays)
            until = time.monotonic() + PATIENCE_S
            while max(dropped := apart(drops(busy))) == 0:  # a session that has just begun has lost nothing yet
                assert time.monotonic() < until, "the slow one was never let go on at a later key picture"
                narrow.wait_for_timeout(200)
            (after,), told, words = tile_watch.counts(page), tile_watch.truth(narrow), tile_watch.looks(page)
            narrow.close()
    print(f"{lost} packets lost on the narrow way, {passed} passed, in {len(network.relays)} sessions")
    print("the slow tile said", {word: sum(w == word for _, w, _, _ in told) for word in {w for _, w, _, _ in told}})
    print(f"others' delay: median {median_ms(alone)} ms alone, {median_ms(beside)} ms beside it")

    assert lost > passed / 2, "the way was too narrow"
    assert min(dropped) == 0, "of the quick one"
    for _, word, silent_ms, age_ms in told:
        if word in ("live", "delayed"):
            assert silent_ms is not None
            assert silent_ms < CHECK_MS + LOOK_MS
        if word == "live" and age_ms is not None:
            assert age_ms < DELAYED_MS + LOOK_MS
    assert {word for _, word, _, _ in told} - {"live"}, "it was never in doubt"

    assert not {word for look in words for word in look.words} & {"lost", "reconnecting"}, "beside it"
    assert len(before) == 1
    assert (after["ssrc"], after["packetsLost"], after["pliCount"]) == (before[0]["ssrc"], 0, 0)
    assert statistics.median(beside) <= statistics.median(alone) + NO_LATER_S


async def drops(site: BrowserSite) -> list[int]:
    """Pictures left out, of each session."""
    async with Door(site.site.run / "live.sock") as door:
        return [facts["drops"] for facts in (await door.sessions()).values()]


def opened(at: Desk) -> Page:
    """The camera, alone on the wall, with what it says on record."""
    tile_watch.keep_peers(at.context)
    page = at.sign_in(OPERATOR)
    lay(page, "1", None, [str(camera.id) for camera in at.site.cameras])
    page.locator(".tile video").first.wait_for(state="attached")
    tile_watch.watch_truth(page)
    return page


def median_ms(seconds: list[float]) -> int:
    return round(statistics.median(seconds) * 1000)
