"""What is let be for a while after it failed, so that it is in nobody's way.

Owns who waits until when, in memory: after a restart everything is tried again at once.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

from vms.clock import Clock

K = TypeVar("K", bound=Hashable)


class SetAside(Generic[K]):
    """Things that wait `seconds` for their next try. `in`: still waiting."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._wait_ns = round(seconds * 1e9)
        self._until: dict[K, int] = {}  # monotonic ns

    def __len__(self) -> int:
        return len(self._until)

    def __contains__(self, item: K) -> bool:
        until_ns = self._until.get(item)
        if until_ns is not None and self._clock.mono_ns() >= until_ns:
            del self._until[item]
            until_ns = None
        return until_ns is not None

    def add(self, item: K) -> None:
        self._until[item] = self._clock.mono_ns() + self._wait_ns

    def discard(self, item: K) -> None:
        """It waits no longer."""
        self._until.pop(item, None)
