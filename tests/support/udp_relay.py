"""A bad network between a viewer and a media port: loses datagrams at random, or lets only so many bytes a second through.

Like a NAT: the viewer sends to the relay's port, the gateway sees a port of the relay. Only what goes to the viewer is
lost or held up; a held-up datagram waits in a queue of `QUEUE_SECONDS`, and what finds no room in it is lost.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from typing import Any, Self

QUEUE_SECONDS = 1.7  # what a router of 64 KB holds of 300 kbit/s
TICK_SECONDS = 0.005


class UdpRelay:
    """`port` is where the viewer is to send. `lost` and `passed` count datagrams to the viewer."""

    def __init__(self, target: tuple[str, int], *, lose: float = 0.0, bytes_per_s: int | None = None) -> None:
        self.lose, self.bytes_per_s = lose, bytes_per_s
        self.lost = self.passed = 0
        self._target = target
        self._rng = random.Random(5)
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._credit = 0.0
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
        if self._rng.random() < self.lose or not room:
            self.lost += 1
        elif self.bytes_per_s is None:
            self._give(data)
        else:
            self._queue.append(data)
            self._queued += len(data)

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


class _Side(asyncio.DatagramProtocol):
    def __init__(self, take: Any) -> None:
        self._take = take

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._take(data, addr[:2])
