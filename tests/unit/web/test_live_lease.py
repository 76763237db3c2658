"""Nobody watches for long whose right nobody compares: sessions end when the web process has not asked for them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest_asyncio

from tests.support.web_site import until
from vms.clock import SimulatedClock
from vms.metrics import Metrics
from vms.timeline import SECOND_NS
from web.live.ice import policy_of
from web.live.session import Tools
from web.live.source import Sources
from web.live.srtp import Scratch
from web.live.viewing import LEASE_SECONDS, LOOK_SECONDS, Viewing

RESTART_SECONDS = 5  # that the web process takes to come back, and more


class Watching:
    """A session as `Viewing` knows it, without media."""

    def __init__(self) -> None:
        self.id, self.key, self.state, self.why_ended = uuid4(), object(), "live", ""

    async def run(self) -> None:
        await asyncio.Event().wait()

    def end(self, why: str) -> None:
        self.why_ended = self.why_ended or why


class Site:
    """A gateway's sessions under a clock that is told how late it is."""

    def __init__(self, viewing: Viewing, clock: SimulatedClock) -> None:
        self.viewing, self.clock = viewing, clock

    def begin(self) -> Watching:
        session: Any = Watching()
        self.viewing._begin(session, UUID(int=1))
        return session  # type: ignore[no-any-return]

    async def pass_seconds(self, seconds: float) -> None:
        for _ in range(round(seconds / LOOK_SECONDS)):
            self.clock.advance(int(LOOK_SECONDS * SECOND_NS))
            for _ in range(10):
                await asyncio.sleep(0)

    def there(self) -> int:
        return len(self.viewing.sessions())


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    clock, metrics, feed = SimulatedClock(), Metrics.create(), object()
    certificate: Any = None
    tools = Tools(policy_of((), None, loopback_only=True), certificate, clock, Scratch(), False, metrics)
    async with asyncio.TaskGroup() as tasks:
        viewing = Viewing(feed, Sources(tasks, metrics), tools, 10)  # type: ignore[arg-type]
        viewing._sources.release = lambda _key: None  # type: ignore[method-assign]
        lease = tasks.create_task(viewing.watch_lease())
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0)
        yield Site(viewing, clock)
        await viewing.close()
        lease.cancel()


async def test_sessions_go_on_while_the_web_process_asks_and_over_its_restart(site: Site) -> None:
    site.begin()
    for _ in range(20):
        site.viewing.renew_lease()
        await site.pass_seconds(RESTART_SECONDS)
    assert site.there() == 1


async def test_all_sessions_end_once_it_has_not_asked_for_the_lease(site: Site) -> None:
    first, second = site.begin(), site.begin()
    await site.pass_seconds(10)
    site.viewing.renew_lease()
    await site.pass_seconds(LEASE_SECONDS)
    assert site.there() == 2
    site.clock.advance(int(LOOK_SECONDS * SECOND_NS))
    await until(lambda: site.there() == 0)
    assert [first.why_ended, second.why_ended] == ["lease_over"] * 2


async def test_a_session_that_comes_after_a_long_silence_has_a_lease_of_its_own(site: Site) -> None:
    await site.pass_seconds(3 * LEASE_SECONDS)
    site.begin()
    await site.pass_seconds(LEASE_SECONDS)
    assert site.there() == 1
    site.clock.advance(int(LOOK_SECONDS * SECOND_NS))
    await until(lambda: site.there() == 0)
