"""One client's RTSP connection at the server: bytes to requests and interleaved frames, one request at a time.

Owns the input bound: at most MAX_WAITING requests wait while one is answered, and a frame is skipped without being kept
unless it is short enough for RTCP. What does not parse ends the connection.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol, cast

from vms.errors import MalformedError
from vms.rtsp.message import MessageParser, Request, Response

MAX_WAITING = 32
MAX_RTCP_BYTES = 2048
ANSWER_TIMEOUT_S = 10.0
_DOLLAR = 0x24


class RequestSink(Protocol):
    """The server, as a connection sees it."""

    async def answer(self, connection: ServerConnection, request: Request) -> None:
        """Carry out one request and write the response."""

    def rtcp(self, connection: ServerConnection, channel: int, data: bytes) -> None:
        """An interleaved frame came from the client."""

    def opened(self, connection: ServerConnection) -> bool:
        """A client came; False refuses it."""

    def closed(self, connection: ServerConnection) -> None:
        """The connection is gone."""


class ServerConnection(asyncio.Protocol):
    """Protocol of one accepted connection."""

    transport: asyncio.Transport

    def __init__(self, sink: RequestSink) -> None:
        self._sink = sink
        self._parser = MessageParser()
        self._frame = bytearray()  # a frame under way: its header and what of its payload is kept
        self._frame_left = 0
        self._waiting: asyncio.Queue[Request] = asyncio.Queue(MAX_WAITING)
        self._task: asyncio.Task[None] | None = None
        self.peer = ""
        self.local = ("", 0)
        self.seen_mono = time.monotonic()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass
        peer, local = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        if not peer or not local or not self._sink.opened(self):
            self.transport.abort()
            return
        self.peer, self.local = str(peer[0]), (str(local[0]), int(local[1]))
        self._task = asyncio.create_task(self._answer_all(), name=f"rtsp-connection-{self.peer}")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        if self._task:
            self._task.cancel()
        self._sink.closed(self)

    def data_received(self, data: bytes) -> None:
        self.seen_mono = time.monotonic()
        try:
            self._take(data)
        except (MalformedError, asyncio.QueueFull):
            self.refuse()

    def refuse(self) -> None:
        """Answer 400 and close: where the next message begins is not known."""
        if not self.transport.is_closing():
            self.transport.write(Response(400, "Bad Request").encode())
            self.transport.close()

    def respond(self, response: Response) -> None:
        """Write a response; to a client that has gone, nothing."""
        if not self.transport.is_closing():
            self.transport.write(response.encode())

    def _take(self, data: bytes) -> None:
        at, end = 0, len(data)
        while at < end and not self.transport.is_closing():
            if self._frame:
                at = self._take_frame(data, at)
                continue
            at = self._parser.feed(data, at)
            message = self._parser.take()
            if isinstance(message, Request):
                self._waiting.put_nowait(message)
            elif message is None and at < end and self._parser.idle and data[at] == _DOLLAR:
                at = self._take_frame(data, at)

    def _take_frame(self, data: bytes, at: int) -> int:
        """Take bytes of the interleaved frame under way; the position after them."""
        if len(self._frame) < 4:
            wanted = 4 - len(self._frame)
            self._frame += data[at : at + wanted]
            at = min(len(data), at + wanted)
            if len(self._frame) < 4:
                return at
            self._frame_left = self._frame[2] << 8 | self._frame[3]
        taken = min(self._frame_left, len(data) - at)
        room = 4 + MAX_RTCP_BYTES - len(self._frame)
        self._frame += data[at : at + min(taken, max(0, room))]
        self._frame_left -= taken
        if not self._frame_left:
            if len(self._frame) < 4 + MAX_RTCP_BYTES:
                self._sink.rtcp(self, self._frame[1], bytes(self._frame[4:]))
            self._frame.clear()
        return at + taken

    async def _answer_all(self) -> None:
        while not self.transport.is_closing():
            request = await self._waiting.get()
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    await self._sink.answer(self, request)
            except TimeoutError:
                self.respond(Response.to(request, 503))
