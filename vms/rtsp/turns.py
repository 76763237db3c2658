"""Reading many connections in turns instead of each whenever bytes come. Owns when a connection is read.

A process that wakes a thousand times a second for one picture each spends more on waking than on pictures: caches,
branch predictor and, in a virtual machine, the processor itself are cold every time. So the event loop leaves these
connections alone, and four times a second they are read one after the other, past the loop, what has gathered at once;
what a connection brought is written before the next one is read, while it is still in the processor's cache. What is
being watched is not delayed: while `hurried`, and in a connection's first seconds, from which its clock is told, the
loop reads it as it comes.

The period fits no picture interval of cameras, of 30 pictures a second or of one, so that within 15 s some picture is
read at most 20 ms after it came, most often 5: the lower envelope of arrival, which gives capture time, is that late at
most. So turns begin on a grid, whatever they take. TLS needs the loop.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

PERIOD_S = 0.245  # at 4 Mbit/s 122 kB gather; 251 ms would take a minute to meet one, two or four pictures a second
SETTLE_S = 2.0  # the recorder learns a stream's clock in its first second
SLICE = 8  # connections read in a row before the event loop has its turn: a few milliseconds
BUFFER_BYTES = 256 * 1024  # one read at most; a wire's own buffer is as long as the one lent to it in its turn
READS = 4  # in a turn: 8 MB a second at most, eight times what any camera sends; who floods waits for its next turn
RECEIVE_BUFFER_BYTES = 1024 * 1024  # asked for; the kernel gives what net.core.rmem_max allows


class Wire(Protocol):
    """The part of `RtspWire` used here."""

    transport: asyncio.Transport | None
    ended: bool
    bytes_received: int

    def read_now(self, descriptor: int, view: memoryview) -> None: ...


class ReadTurns:
    """The turns of one event loop's connections. Its timer runs only while there are any.

    Who brought a quarter of what its socket holds is read again at half time, before it is full.
    """

    def __init__(self, period_s: float = PERIOD_S, settle_s: float = SETTLE_S) -> None:
        self._half_s = period_s / 2
        self._settle_s = settle_s
        self._members: deque[_Member] = deque()
        self._left = 0  # members whose turn is still to come in the turns under way
        self._half_time = False
        self._running = False
        self._due_s = 0.0  # loop time of the half time under way
        self._view = memoryview(bytearray(BUFFER_BYTES))  # one for all: it stays in the processor's cache

    def join(self, wire: Wire, hurried: Callable[[], bool]) -> None:
        """Read `wire` in turns from now on, until it ends. A connection over TLS is left to the event loop."""
        transport = wire.transport
        if transport is None or transport.get_extra_info("sslcontext") is not None:
            return
        kernel_socket: socket.socket | None = transport.get_extra_info("socket")
        if kernel_socket is None:
            return
        kernel_socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        granted = kernel_socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2  # Linux states the double
        from_s = time.monotonic() + self._settle_s
        member = _Member(
            wire, transport, kernel_socket.fileno(), hurried, from_s, granted // 4, contextvars.copy_context()
        )
        self._members.append(member)
        if not self._running:
            self._running = True
            self._again()

    def catch_up(self, wire: Wire) -> None:
        """Read what has come meanwhile: `wire` is about to be closed in order, and no turn of it will follow."""
        for member in self._members:
            if member.wire is wire and member.in_turns and not wire.ended:
                wire.read_now(member.descriptor, self._view)

    def _again(self) -> None:
        loop = asyncio.get_running_loop()
        late_s = loop.time() - self._due_s
        self._due_s += self._half_s * max(1, math.ceil(late_s / self._half_s))
        loop.call_at(self._due_s, self._begin)

    def _begin(self) -> None:
        self._half_time = not self._half_time
        self._left = len(self._members)
        self._read_slice()

    def _read_slice(self) -> None:
        loop, members, reads = asyncio.get_running_loop(), self._members, SLICE
        try:
            while self._left and reads:
                self._left -= 1
                member = members.popleft()  # so that one whose turn raises is out, and keeps nobody waiting
                if self._half_time and not member.full:
                    members.append(member)
                    continue
                reads -= 1
                if member.context.run(member.take_turn, self._view):  # else logs would name whoever joined first
                    members.append(member)
        finally:
            self._running = bool(members)
            if self._left:
                loop.call_soon(loop.call_soon, self._read_slice)  # behind whom a timer wakes now
            elif self._running:
                self._again()


@dataclass(slots=True)
class _Member:
    wire: Wire
    transport: asyncio.Transport
    descriptor: int
    hurried: Callable[[], bool]
    from_s: float  # monotonic time of the first turn
    full_bytes: int
    context: contextvars.Context  # of whoever joined: what is logged in a turn is about its stream
    in_turns: bool = False
    full: bool = True  # brought so much in its last turn that it does not wait a whole period

    def take_turn(self, view: memoryview) -> bool:
        """Read, or leave it to the loop while somebody watches. False: the connection is no more."""
        wire = self.wire
        if wire.ended or self.transport.is_closing():
            return False
        if self.hurried() or time.monotonic() < self.from_s:
            if self.in_turns:
                self.in_turns = False
                self.transport.resume_reading()
            return True
        if not self.in_turns:
            self.in_turns = True
            self.transport.pause_reading()
        before = wire.bytes_received
        wire.read_now(self.descriptor, view)
        self.full = wire.bytes_received - before >= self.full_bytes
        return True
