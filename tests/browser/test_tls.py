"""A site as a city serves it: beyond loopback, over TLS, with a certificate of the site's own authority.

Chromium is told to overlook that nobody installed that authority; a client that trusts it alone asks beside it.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import aiohttp
import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import NAMES, OPERATOR
from tests.support.browser_site import BrowserSite, apart, await_words, browser_site, desk
from vms.simulate import Footage
from web.identity.access import Role

pytestmark = [pytest.mark.network, pytest.mark.slow, pytest.mark.timeout(180), pytest.mark.xdist_group("browser")]

SESSION, DEVICE = "__Host-stroz", "__Host-stroz-device"


@pytest.fixture(scope="module")
def site(small_footage: list[Footage]) -> Iterator[BrowserSite]:
    settings = "[live]\naddresses = '127.0.0.1'\n"  # the machine may have no other
    with browser_site(small_footage, NAMES[:2], {OPERATOR: Role.OPERATOR}, settings=settings, tls=True) as found:
        yield found


def test_an_operator_signs_in_and_watches_over_tls_alone(browser: Browser, site: BrowserSite) -> None:
    with desk(browser, site) as found:
        posts: list[str] = []
        sockets: list[str] = []
        found.context.on("request", lambda request: request.method == "POST" and posts.append(request.url))
        found.context.on("page", lambda page: page.on("websocket", lambda opened: sockets.append(opened.url)))
        page = found.sign_in(OPERATOR)
        await_words(page, {1: "live", 2: "live"}, 30)
        assert page.evaluate("isSecureContext")

        assert {camera.id for camera in site.cameras if any(f"/whep/{camera.id}" in url for url in posts)} == {
            camera.id for camera in site.cameras
        }
        assert all(url.startswith(site.url + "/api/v1/") for url in posts), posts
        assert sockets == [site.url.replace("https:", "wss:") + "/api/v1/ws"]
        assert found.foreign == []
        assert found.complaints == []

        cookies = {cookie["name"]: cookie for cookie in found.context.cookies()}
        assert cookies.keys() == {SESSION, DEVICE}
        for cookie in cookies.values():
            kept = [cookie[key] for key in ("secure", "httpOnly", "sameSite", "path", "domain")]
            assert kept == [True, True, "Strict", "/", "127.0.0.1"]
        assert page.evaluate("document.cookie") == ""

        session = {"Cookie": f"{SESSION}={cookies[SESSION]['value']}"}
        assert apart(hears(site, session | {"Origin": site.url})), "whoever has the cookie and comes from our page"
        for origin in ("https://zly.example", site.url.replace("https:", "http:"), "null"):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                apart(hears(site, session | {"Origin": origin}))
            assert refused.value.status == 403, origin


async def hears(site: BrowserSite, headers: dict[str, str]) -> bool:
    """Whether the site's WebSocket tells a client with these headers something."""
    trust = site.trust()
    assert trust is not None
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(site.url + "/api/v1/ws", ssl=trust, headers=headers) as ws,
    ):
        return (await ws.receive(10)).type is aiohttp.WSMsgType.TEXT


def test_who_asks_without_tls_gets_no_answer(site: BrowserSite) -> None:
    at = urlsplit(site.url)
    with socket.create_connection((str(at.hostname), at.port), timeout=20) as plain:
        plain.sendall(b"GET /api/v1/site HTTP/1.1\r\nHost: stroz\r\n\r\n")
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while more := plain.recv(4096):
                answer += more
    assert b"HTTP/" not in answer
