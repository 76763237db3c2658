"""Whether the site's processes for people answer: each is asked through the very door that others use."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp

from vms.settings import Listen

if TYPE_CHECKING:
    from vms.site import Site

PATIENCE = aiohttp.ClientTimeout(total=3.0)
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what is compared with, nothing listens here
WEB_METRICS = "web.metrics"


async def web_answers(site: Site) -> bool | None:
    """Whether pages and interface are served; None where they are not to be, by `web.enabled`.

    Where any free port was to be taken nobody else knows which: then the process is asked for its metrics instead.
    """
    section = site.settings.web
    if not section.enabled:
        return None
    listen = section.listen
    if listen.port == 0:
        return await _gets("http://web/metrics", aiohttp.UnixConnector(path=str(site.run / WEB_METRICS)))
    tls = not listen.is_loopback or section.certificate is not None
    address = Listen(ANY_ADDRESS.get(listen.host, listen.host), listen.port)
    # Nobody is told anything and nothing is believed but that something answers: the name on the certificate is for browsers.
    return await _gets(f"{'https' if tls else 'http'}://{address}/health/live", aiohttp.TCPConnector(ssl=False))


async def live_answers(site: Site) -> bool | None:
    """Whether the live gateway answers; None where it is not to run."""
    if not site.settings.web.enabled:
        return None
    return await _gets("http://live/health/live", aiohttp.UnixConnector(path=str(site.live_socket)))


async def _gets(url: str, connector: aiohttp.BaseConnector) -> bool:
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=PATIENCE) as session,
            session.get(url, allow_redirects=False) as answer,
        ):
            return answer.status == 200
    except (aiohttp.ClientError, OSError, TimeoutError, asyncio.IncompleteReadError):
        return False
