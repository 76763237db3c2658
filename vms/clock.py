"""Time as the house sees it: the system's clock and a simulated one under the same protocol.

Wall time may step; monotonic time never does. Nothing here formats or parses times for people (see `vms.localtime`).
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

ABSENT_NS = 1_000_000_000  # a timer that late: this process did not run, so that others were silent proves nothing


class Clock(Protocol):
    """Both clocks, and a way to wait that a simulation can take over."""

    def wall_ns(self) -> int:
        """UTC now in ns since 1970."""

    def mono_ns(self) -> int:
        """Monotonic now in ns since an arbitrary start."""

    async def sleep(self, seconds: float) -> None:
        """Wait on this clock."""


class SystemClock:
    """The operating system's clocks."""

    wall_ns = staticmethod(time.time_ns)
    mono_ns = staticmethod(time.monotonic_ns)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class SimulatedClock:
    """A clock that moves only when told. `sleep` returns once the time has been advanced past its end."""

    def __init__(self, wall_ns: int = 1_700_000_000_000_000_000, mono_ns: int = 1_000_000_000) -> None:
        self._wall_ns = wall_ns
        self._mono_ns = mono_ns
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    def wall_ns(self) -> int:
        return self._wall_ns

    def mono_ns(self) -> int:
        return self._mono_ns

    def advance(self, ns: int) -> None:
        """Let `ns` pass on both clocks and wake whoever's wait is over."""
        self._wall_ns += ns
        self._mono_ns += ns
        due = [w for w in self._waiting if w[0] <= self._mono_ns]
        self._waiting = [w for w in self._waiting if w[0] > self._mono_ns]
        for _, future in due:
            if not future.done():
                future.set_result(None)

    def step_wall(self, ns: int) -> None:
        """Step the wall clock, as an administrator or a bad NTP server would."""
        self._wall_ns += ns

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((self._mono_ns + round(seconds * 1e9), future))
        await future
