"""Reading many connections in turns instead of each whenever bytes come. Owns when a connection is read.

A process that wakes a thousand times a second for one picture each spends more on waking than on pictures: caches,
branch predictor and, in a virtual machine, the processor itself are cold every time. So the event loop leaves these
connections alone, and ten times a second a group of them is read one after the other, past the loop, what has gathered
at once. What is being watched is not delayed: while `hurried`, and in a connection's first seconds, from which its
clock is told, the loop reads it as it comes.

The period shares no factor with the picture intervals of cameras, so that within seconds some picture is read as it
comes: the lower envelope of arrival, which gives capture time, is a few milliseconds late at most. TLS needs the loop.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

PERIOD_S = 0.101  # at 4 Mbit/s 50 kB gather, less than a socket's buffer; 101 and 40 or 33.3 ms have no common phase
SETTLE_S = 2.0  # the recorder learns a stream's clock in its first second
GROUPS = 3  # so that 190 cameras' turns are a few milliseconds each on the event loop
BUFFER_BYTES = 256 * 1024  # one read at most; a wire's own buffer is as long as the one lent to it in its turn
RECEIVE_BUFFER_BYTES = 512 * 1024  # asked for; the kernel gives what it allows


class Wire(Protocol):
    """The part of `RtspWire` used here."""

    transport: asyncio.Transport | None
    ended: bool

    def read_now(self, descriptor: int, view: memoryview) -> None: ...


class ReadTurns:
    """The turns of one event loop's connections."""

    def __init__(self, period_s: float = PERIOD_S, settle_s: float = SETTLE_S) -> None:
        self._settle_s = settle_s
        self._groups = itertools.cycle([_Group(period_s) for _ in range(GROUPS)])

    def join(self, wire: Wire, hurried: Callable[[], bool]) -> None:
        """Read `wire` in turns from now on, until it ends. A connection over TLS is left to the event loop."""
        transport = wire.transport
        if transport is None or transport.get_extra_info("sslcontext") is not None:
            return
        kernel_socket: socket.socket | None = transport.get_extra_info("socket")
        if kernel_socket is not None:
            kernel_socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            next(self._groups).add(
                _Member(wire, transport, kernel_socket.fileno(), hurried, time.monotonic() + self._settle_s)
            )


@dataclass(slots=True)
class _Member:
    wire: Wire
    transport: asyncio.Transport
    descriptor: int
    hurried: Callable[[], bool]
    from_s: float  # monotonic time of the first turn
    in_turns: bool = False

    def take_turn(self, view: memoryview) -> bool:
        """Read, or leave it to the loop while somebody watches. False: the connection is no more."""
        if self.wire.ended or self.transport.is_closing():
            return False
        if self.hurried() or time.monotonic() < self.from_s:
            if self.in_turns:
                self.in_turns = False
                self.transport.resume_reading()
        else:
            if not self.in_turns:
                self.in_turns = True
                self.transport.pause_reading()
            self.wire.read_now(self.descriptor, view)
        return True


class _Group:
    """Connections that are read together. Its timer runs only while there are any."""

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._members: deque[_Member] = deque()
        self._running = False
        self._view = memoryview(bytearray(BUFFER_BYTES))  # one for all: it stays in the processor's cache

    def add(self, member: _Member) -> None:
        self._members.append(member)
        if not self._running:
            self._running = True
            self._again()

    def _again(self) -> None:
        asyncio.get_running_loop().call_later(self._period_s, self._turn)

    def _turn(self) -> None:
        try:
            for _ in range(len(self._members)):
                member = self._members.popleft()  # so that one whose turn raises is out, and keeps nobody waiting
                if member.take_turn(self._view):
                    self._members.append(member)
        finally:
            self._running = bool(self._members)
            if self._running:
                self._again()
