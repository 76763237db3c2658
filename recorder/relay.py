"""Live units to subscribers: nothing here ever waits for one.

A subscriber has a bounded queue. When it is full, everything queued is dropped and the subscriber goes on at the next
random-access picture; what it missed is counted and told. Knows neither sockets nor framing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Self

from vms.model import TimedUnit

MAX_UNITS = 256
MAX_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Batch:
    """What a subscriber gets at once. `dropped` units are missing before the first one, which is then a key unit."""

    dropped: int
    units: tuple[TimedUnit, ...]


class Subscription:
    """One reader of a relay. Close it (or leave its context) when done."""

    def __init__(
        self, relay: Relay, start: tuple[TimedUnit, ...], *, joined: bool, max_units: int, max_bytes: int
    ) -> None:
        self.dropped_total = 0
        self._relay = relay
        self._max_units, self._max_bytes = max_units, max_bytes
        self._queue: deque[TimedUnit] = deque(start)
        self._bytes = sum(len(t.unit.data) for t in start)
        self._dropped = 0
        self._until_key = not joined
        self._woken = asyncio.Event()
        self._closed = False
        if start:
            self._woken.set()

    def put(self, timed: TimedUnit) -> None:
        """Queue a unit or drop to the next key; called by the relay."""
        if self._until_key:
            if not timed.unit.key:
                self._dropped += self._dropped > 0  # before the first key nothing was promised
                return
            self._until_key = False
        size = len(timed.unit.data)
        if len(self._queue) >= self._max_units or self._bytes + size > self._max_bytes:
            self._dropped += len(self._queue)
            self._queue.clear()
            self._bytes = 0
            if not timed.unit.key:
                self._dropped += 1
                self._until_key = True
                return
        self._bytes += size
        self._queue.append(timed)
        self._woken.set()

    async def next(self) -> Batch | None:
        """Everything queued, waiting for at least one unit; None once the relay or the subscription is closed."""
        while not self._queue:
            if self._closed:
                return None
            self._woken.clear()
            await self._woken.wait()
        batch = Batch(self._dropped, tuple(self._queue))
        self.dropped_total += self._dropped
        self._queue.clear()
        self._bytes = self._dropped = 0
        return batch

    def await_key(self) -> None:
        """The group under way could not be had: begin with the next key unit after all."""
        self._until_key = True
        while self._queue and self._until_key:
            if self._queue[0].unit.key:
                self._until_key = False
            else:
                self._bytes -= len(self._queue.popleft().unit.data)

    def close(self) -> None:
        """Stop receiving. May be repeated."""
        self._closed = True
        self._relay.leave(self)
        self._woken.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Relay:
    """The subscribers of one stream."""

    def __init__(self) -> None:
        self.subscriptions: list[Subscription] = []  # looked at by the recorder's hot path: empty means no work

    def subscribe(
        self,
        start: tuple[TimedUnit, ...] = (),
        *,
        joined: bool = False,
        max_units: int = MAX_UNITS,
        max_bytes: int = MAX_BYTES,
    ) -> Subscription:
        """A new subscription: `start`, then what comes. Unless `joined` to a group of pictures that the caller has from
        elsewhere, it begins with the next key unit."""
        subscription = Subscription(
            self, start, joined=joined or bool(start), max_units=max_units + len(start), max_bytes=max_bytes
        )
        self.subscriptions.append(subscription)
        return subscription

    def publish(self, timed: TimedUnit) -> None:
        for subscription in self.subscriptions:
            subscription.put(timed)

    def leave(self, subscription: Subscription) -> None:
        if subscription in self.subscriptions:
            self.subscriptions.remove(subscription)

    def close(self) -> None:
        """End every subscription."""
        for subscription in list(self.subscriptions):
            subscription.close()
