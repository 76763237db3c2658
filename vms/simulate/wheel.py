"""One timer for all cameras: a heap of what is due, looked at every few milliseconds instead of a task per camera."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from typing import Protocol

QUANTUM_NS = 4_000_000


class Due(Protocol):
    """Something that has work at certain times."""

    def run(self, now_ns: int) -> int | None:
        """Do what is due at `now_ns` (monotonic); when to come again, or None for never."""


class Wheel:
    """Runs `Due` objects on the running loop. `late_ns` is the worst delay beyond the quantum so far."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Due]] = []
        self._order = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = 0
        self._closed = False
        self.late_ns = 0

    def add(self, due_ns: int, item: Due) -> None:
        """`item.run` at or soon after `due_ns` (monotonic)."""
        heapq.heappush(self._heap, (due_ns, next(self._order), item))
        if self._timer is None or due_ns < self._timer_ns:
            self._arm()

    def close(self) -> None:
        self._closed = True
        self._heap.clear()
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._heap and not self._closed:
            now = time.monotonic_ns()
            wanted = max(self._heap[0][0], now + 1)
            self._timer_ns = -(-wanted // QUANTUM_NS) * QUANTUM_NS
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later((self._timer_ns - now) / 1e9, self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = time.monotonic_ns()
        heap = self._heap
        if heap:
            self.late_ns = max(self.late_ns, now - heap[0][0] - QUANTUM_NS)
        while heap and heap[0][0] <= now:
            item = heapq.heappop(heap)[2]
            again = item.run(now)
            if again is not None and not self._closed:
                heapq.heappush(heap, (again, next(self._order), item))
        self._arm()
