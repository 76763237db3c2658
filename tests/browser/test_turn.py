"""Chromium in a network without UDP: pictures come through coturn over TCP, by credentials that the site made and that end."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from aioice import stun, turn
from playwright.sync_api import Browser, Page, Route

from tests.browser.conftest import OPERATOR
from tests.support import tile_watch
from tests.support.browser_site import BrowserSite, apart, await_words, browser_site, chromium, desk, lay
from tests.support.turn_server import TurnServer, turn_server
from vms.simulate import Footage
from web.api.ice import CREDENTIAL_SECONDS, IceServers
from web.identity.access import Role

pytestmark = [pytest.mark.network, pytest.mark.slow, pytest.mark.timeout(180), pytest.mark.xdist_group("browser")]

SECRET = "wspólny-sekret-2026"
NO_UDP = [  # as an office's policy sets it; Chromium's name for it, and that of its headless shell
    "--webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
]
HOUR_NS = CREDENTIAL_SECONDS * 1_000_000_000
PAIRS = """async () => {
    const found = [];
    for (const peer of window.peers.filter((p) => p.connectionState === 'connected')) {
        const stats = await peer.getStats(), all = [...stats.values()];
        const transport = all.find((s) => s.type === 'transport');
        const pair = stats.get(transport?.selectedCandidatePairId);
        const local = stats.get(pair?.localCandidateId), remote = stats.get(pair?.remoteCandidateId);
        found.push([local?.candidateType, local?.relayProtocol, local?.port, remote?.candidateType]);
    }
    return found;
}"""


@pytest.fixture(scope="module")
def coturn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TurnServer]:
    with turn_server(tmp_path_factory.mktemp("turn"), SECRET) as found:
        yield found
        print(found.log[-4000:])


@pytest.fixture(scope="module")
def relayed(coturn: TurnServer, small_footage: list[Footage]) -> Iterator[BrowserSite]:
    settings = f"[live]\nturn_url = '{coturn.url}'\nturn_secret = '{SECRET}'\n"
    people: dict[str, Role | None] = {OPERATOR: Role.OPERATOR}
    with browser_site(small_footage, ["Rynek", "Most"], people, settings=settings) as found:
        yield found
        print(found.log("live")[-4000:])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One that may not send UDP."""
    with chromium(*NO_UDP) as found:
        yield found


def wall(page: Page, site: BrowserSite) -> None:
    lay(page, "2x2", None, [str(camera.id) for camera in site.cameras])


def test_without_udp_pictures_come_through_the_relay(
    browser: Browser, relayed: BrowserSite, coturn: TurnServer
) -> None:
    with desk(browser, relayed) as at:
        tile_watch.keep_peers(at.context)
        page = at.sign_in(OPERATOR)
        wall(page, relayed)
        took = await_words(page, {1: "live", 2: "live"}, 20)
        pairs = page.evaluate(PAIRS)
        print(f"live through the relay after {took:.1f} s: {pairs}")
        assert len(pairs) == 2
        assert tile_watch.peers_made(page) == 2, "in the first attempt"
        for kind, protocol, port, _ in pairs:
            assert (kind, protocol) == ("relay", "tcp")
            assert f"{port}" in coturn.log
        before = {c["id"]: c["framesDecoded"] for c in tile_watch.counts(page)}
        page.wait_for_timeout(2000)
        after = tile_watch.counts(page)
        assert all(c["framesDecoded"] > before[c["id"]] + 20 for c in after)
        assert at.foreign == []
        assert at.complaints == []


def test_without_udp_and_without_a_relay_there_is_no_picture_and_the_tile_says_so(
    browser: Browser, relayed: BrowserSite
) -> None:
    """What the test before this one rests on: the direct way is closed."""

    def without_links(route: Route) -> None:
        answer = route.fetch()
        headers = {name: value for name, value in answer.headers.items() if name.lower() != "link"}
        route.fulfill(response=answer, headers=headers)

    with desk(browser, relayed) as at:
        at.context.route(re.compile(r"/api/v1/whep/[^/]+(\?|$)"), without_links)
        page = at.sign_in(OPERATOR)
        wall(page, relayed)
        page.locator(".tile video").first.wait_for(state="attached")
        tile_watch.watch(page)
        await_words(page, {1: ("lost", "reconnecting"), 2: ("lost", "reconnecting")}, 15)
        page.wait_for_timeout(3000)
        said = {word for look in tile_watch.looks(page) for word in look.words}
        assert said <= {"checking", "lost", "reconnecting"}


@pytest.mark.parametrize(
    ("secret", "since_ns", "taken"), [(SECRET, 0, True), (SECRET, 2 * HOUR_NS, False), ("inny-sekret", 0, False)]
)
def test_credentials_end_after_an_hour_and_need_the_secret(
    coturn: TurnServer, secret: str, since_ns: int, taken: bool
) -> None:
    (link,) = IceServers(turn_url=coturn.url, turn_secret=secret).links(time.time_ns() - since_ns)
    name, credential = (re.search(rf'{what}="([^"]+)"', link) for what in ("username", "credential"))
    assert name is not None
    assert credential is not None

    async def allocate() -> bool:
        made: Any = turn.create_turn_endpoint(
            asyncio.DatagramProtocol, server_addr=("127.0.0.1", coturn.port), username=name[1], password=credential[1],
            transport="tcp",
        )  # fmt: skip
        try:
            transport, _ = await asyncio.wait_for(made, 10)
        except stun.TransactionFailed as error:
            assert error.response.attributes["ERROR-CODE"][0] == 401
            return False
        transport.close()
        return True

    assert apart(allocate()) is taken
