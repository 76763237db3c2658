"""What the web process may count on at the gateway's inner interface, of the real gateway and of the one that tests use.

The real one has no recorder here: what needs no picture is asked of both.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from tests.support.inner_gateway import OFFER, InnerGateway, serving
from vms.site import Site
from web.api.live_gateway import GatewayClient
from web.identity.refusals import Code, Refusal
from web.live.sender import Counts
from web.live.source import Sources
from web.live.viewing import Given, Viewing, Wanted

REAL = "web.live.process"


class Watching:
    """A session of the real gateway without media."""

    running: ClassVar[int] = 0

    def __init__(self, session_id: UUID) -> None:
        self.id, self.key, self.state, self.why_ended = session_id, object(), "live", ""
        self.since_ns, self.keys_ns, self.first_ns, self.counts = 1, None, None, Counts()

    async def run(self) -> None:
        Watching.running += 1
        try:
            await asyncio.Event().wait()
        finally:
            Watching.running -= 1

    def end(self, why: str) -> None:
        self.why_ended = why


@pytest_asyncio.fixture(params=["in tests", "real"])
async def gateway(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[GatewayClient]:
    site = Site.create(tmp_path / "d", {})
    socket = site.run / "live.sock"
    async with contextlib.AsyncExitStack() as undo:
        if request.param == "real":
            if find_spec("web.live") is None or find_spec(REAL) is None:
                pytest.skip("this tree has no live gateway")
            ready = asyncio.Event()
            live = importlib.import_module(REAL)
            task = asyncio.create_task(live.run_live(site, lambda _policy: ready.set()))
            await asyncio.wait(
                {task, asyncio.ensure_future(ready.wait())}, timeout=20, return_when=asyncio.FIRST_COMPLETED
            )
            undo.push_async_callback(asyncio.gather, task, return_exceptions=True)
            undo.callback(task.cancel)
        else:
            await undo.enter_async_context(serving(InnerGateway().application(), socket))
        yield await undo.enter_async_context(GatewayClient(socket))


async def refusal(attempt: object) -> Refusal:
    with pytest.raises(Refusal) as refused:
        await attempt  # type: ignore[misc]
    return refused.value


async def test_nothing_is_open_at_first_and_ending_what_is_not_there_is_no_error(gateway: GatewayClient) -> None:
    assert await gateway.sessions() == {}
    await gateway.close(uuid4())
    await gateway.close(uuid4())


async def test_what_is_no_offer_is_refused_as_such(gateway: GatewayClient) -> None:
    for offer in ("", "hello", "v=0\r\n"):
        assert (await refusal(gateway.open(uuid4(), uuid4(), offer))).code is Code.OFFER_MALFORMED
    assert await gateway.sessions() == {}


async def test_switching_what_is_not_there_is_refused(gateway: GatewayClient) -> None:
    assert (await refusal(gateway.switch(uuid4(), uuid4()))).code in (Code.NOT_FOUND, Code.SOURCE_NOT_LIVE)


async def test_a_gateway_that_is_away_is_said_to_be(tmp_path: Path) -> None:
    async with GatewayClient(tmp_path / "none.sock") as away:
        for attempt in (away.sessions(), away.close(uuid4()), away.open(uuid4(), uuid4(), OFFER)):
            found = await refusal(attempt)
            assert (found.code, found.facts) == (Code.GATEWAY_AWAY, {"retry_after": 1})


async def test_whether_it_answers_can_be_asked_at_the_door_itself(gateway: GatewayClient) -> None:
    assert await gateway._json("GET", "/health/live") == {"ok": True}


async def test_sessions_end_when_nobody_asks_which_there_are(
    gateway: GatewayClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """The web process renews the lease by asking; whoever only asks whether the gateway answers does not."""
    if "real" not in request.node.name:
        pytest.skip("the one of the tests has no lease")
    monkeypatch.setattr("web.live.viewing.LEASE_SECONDS", 1.5)

    async def create(viewing: Viewing, wanted: Wanted) -> Given:
        viewing._begin(Watching(wanted.id), wanted.stream)  # type: ignore[arg-type]
        return Given("v=0", wanted.stream, "h264", False, "")

    monkeypatch.setattr(Viewing, "_create", create)
    monkeypatch.setattr(Sources, "release", lambda *_: None)
    session = uuid4()
    await gateway.open(session, uuid4(), OFFER)
    for _ in range(30):  # three seconds
        assert session in await gateway.sessions()
        await asyncio.sleep(0.1)
    async with asyncio.timeout(20):
        while Watching.running:
            await gateway._json("GET", "/health/live")
            await asyncio.sleep(0.1)
    assert await gateway.sessions() == {}
