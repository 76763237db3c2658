"""A bad network between a viewer and a media port: loses datagrams at random, one by one or in bursts as Wi-Fi does, or lets
only so many bytes a second through.

`Networks` puts one in front of every media port that an answer names. Like a NAT: the viewer sends to the relay's port, the gateway sees a port of the relay. Only what goes to the viewer is
lost or held up; a held-up datagram waits in a queue of `QUEUE_SECONDS`, and what finds no room in it is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any, Self

from playwright.sync_api import BrowserContext, Route

QUEUE_SECONDS = 1.7  # what a router of 64 KB holds of 300 kbit/s
TICK_SECONDS = 0.005


class UdpRelay:
    """`port` is where the viewer is to send. `lost` and `passed` count datagrams to the viewer."""

    def __init__(
        self, target: tuple[str, int], *, lose: float = 0.0, burst: float = 1.0, bytes_per_s: int | None = None
    ) -> None:
        """`lose`: the share of datagrams; `burst`: how many of them in a row, on average (Gilbert's model)."""
        self.lose, self.burst, self.bytes_per_s = lose, burst, bytes_per_s
        self.lost = self.passed = 0
        self._target = target
        self._rng = random.Random(5)
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._credit = 0.0
        self._losing = False
        self._viewer: tuple[str, int] | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._front, _ = await loop.create_datagram_endpoint(lambda: _Side(self._up), local_addr=("127.0.0.1", 0))
        self._back, _ = await loop.create_datagram_endpoint(lambda: _Side(self._down), local_addr=("127.0.0.1", 0))
        self.port = int(self._front.get_extra_info("sockname")[1])
        self._pump = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._pump.cancel()
        await asyncio.gather(self._pump, return_exceptions=True)
        self._front.close()
        self._back.close()

    def _up(self, data: bytes, addr: tuple[str, int]) -> None:
        self._viewer = addr
        self._back.sendto(data, self._target)

    def _down(self, data: bytes, _addr: tuple[str, int]) -> None:
        room = self.bytes_per_s is None or self._queued + len(data) <= self.bytes_per_s * QUEUE_SECONDS
        if self._loses() or not room:
            self.lost += 1
        elif self.bytes_per_s is None:
            self._give(data)
        else:
            self._queue.append(data)
            self._queued += len(data)

    def _loses(self) -> bool:
        ends = 1 / self.burst
        begins = ends * self.lose / (1 - self.lose) if self.burst > 1 else self.lose
        self._losing = self._rng.random() < (1 - ends if self._losing and self.burst > 1 else begins)
        return self._losing

    def _give(self, data: bytes) -> None:
        self.passed += 1
        if self._viewer is not None:
            self._front.sendto(data, self._viewer)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            if self.bytes_per_s is None:
                continue
            self._credit = min(3000.0, self._credit + self.bytes_per_s * TICK_SECONDS)
            while self._queue and self._credit > 0:
                data = self._queue.popleft()
                self._queued -= len(data)
                self._credit -= len(data)
                self._give(data)


class Networks:
    """A relay for each answer, in order of asking: what it does to the viewer's packets; the last manner is all others'."""

    def __init__(self, *manners: dict[str, Any]) -> None:
        self._manners = list(manners)
        self._undo = contextlib.AsyncExitStack()
        self.relays: list[UdpRelay] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._undo.aclose()

    async def through(self, answer: str) -> str:
        match = re.search(r"a=candidate:\S+ 1 udp \d+ (\S+) (\d+) typ host", answer)
        assert match is not None
        manner = self._manners.pop(0) if len(self._manners) > 1 else self._manners[0]
        relay = UdpRelay((match[1], int(match[2])), **manner)
        self.relays.append(await self._undo.enter_async_context(relay))
        return answer.replace(f" {match[2]} typ host", f" {relay.port} typ host")


@contextlib.contextmanager
def bad_network(context: BrowserContext, **manner: Any) -> Iterator[Networks]:
    """Every session that pages of this context begin comes through a relay; these live on a loop of their own.

    Sessions begin only while the test's thread waits in Playwright.
    """
    networks, loop = Networks(manner), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="bad network")
    thread.start()

    def begin(route: Route) -> None:
        answer = route.fetch()
        if answer.status == 201:
            body = asyncio.run_coroutine_threadsafe(networks.through(answer.text()), loop).result(10)
            route.fulfill(response=answer, body=body)
        else:
            route.fulfill(response=answer)

    context.route(re.compile(r"/api/v1/whep/[^/]+\?"), begin)
    try:
        yield networks
    finally:
        asyncio.run_coroutine_threadsafe(networks.__aexit__(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


class _Side(asyncio.DatagramProtocol):
    def __init__(self, take: Any) -> None:
        self._take = take

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._take(data, addr[:2])
