"""Connections at the web process's door: none is kept for who does not say what is wanted, and no address has them all.

Owns the deadlines of a TLS handshake and of a request's parts, which uvicorn has not, and how many connections come from
one place. Both hold before anybody has signed in. Where a place has as many as it may, one of its own that is idle gives
way to a new one, so that whoever opens them and asks nothing keeps no neighbour out. What is asked for is not looked at here.
"""

from __future__ import annotations

import asyncio
import itertools
from functools import lru_cache
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from vms.metrics import Metrics
from web.identity.throttling import network_of

HANDSHAKE_SECONDS = 10.0  # of TLS, from the connection on; nothing of ours sees it before it is done
HEADER_SECONDS = 10.0  # from the first byte of a request, or from the connection, to the end of its headers
BODY_SECONDS = 30.0  # from there to the end of its body
MOST_CONNECTIONS = 2000
MOST_FROM_ONE_PLACE = 256  # a control room behind one address: some thirty browsers

_order = itertools.count()
_place = lru_cache(maxsize=4096)(network_of)


class Connection(H11Protocol):
    """One connection, closed when what it waits for does not come in time."""

    def __init__(self, *args: Any, metrics: Metrics, **named: Any) -> None:
        super().__init__(*args, **named)
        self._metrics = metrics
        self._seconds: float | None = None  # how long is waited for the part that is to come now
        self._deadline: asyncio.TimerHandle | None = None
        self._is_websocket = False
        self._idle_since = next(_order)  # a place in line, no time

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        place = _place_of(self)
        there = [other for other in self.connections if _place_of(other) == place and not other.transport.is_closing()]
        if len(there) > MOST_FROM_ONE_PLACE:
            self._metrics.web_connections_refused.inc()
            idle = (other for other in there if isinstance(other, Connection) and other.is_idle and other is not self)
            min(idle, key=Connection.age, default=self).transport.abort()
        self._wait_for_what_is_to_come()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._wait_for_what_is_to_come()

    @property
    def is_idle(self) -> bool:
        """Whether no request is on its way or being answered: one that has begun and not got its headers is none yet."""
        answered = self.cycle is None or self.cycle.response_complete
        return answered and self.conn.their_state is h11.IDLE

    def age(self) -> tuple[bool, int]:
        """Least for who has asked nothing yet, of them for the oldest; then for who rests the longest."""
        return self.cycle is not None, self._idle_since

    def on_response_complete(self) -> None:
        self._idle_since = next(_order)
        super().on_response_complete()
        self._wait_for_what_is_to_come()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait(None)
        super().connection_lost(exc)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._is_websocket = True  # the connection is another protocol's from now on
        super().handle_websocket_upgrade(event)

    def _wait_for_what_is_to_come(self) -> None:
        coming = self.conn.their_state
        begun = self.cycle is None or self.conn.trailing_data[0]  # else it rests, for as long as uvicorn has it
        if self._is_websocket or self.transport.is_closing():
            self._wait(None)
        elif coming is h11.SEND_BODY:
            self._wait(BODY_SECONDS)
        else:
            self._wait(HEADER_SECONDS if coming is h11.IDLE and begun else None)

    def _wait(self, seconds: float | None) -> None:
        """The deadline of a part is set when the part begins, and no byte of it moves it."""
        if seconds == self._seconds:
            return
        self._seconds = seconds
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self.transport.close)


def _place_of(connection: Any) -> str:
    client = connection.client
    return _place(client[0]) if client else ""
