"""An HTTP proxy on loopback that misbehaves on command, between a client and a real server.

It forwards whole requests byte for byte, so signatures hold. What it does with each of them is asked of `mishap`.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Self

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked", re.IGNORECASE)
_CONTINUE = re.compile(rb"\r\nexpect:[ \t]*100-continue", re.IGNORECASE)
_ERROR = b"<Error><Code>InternalError</Code></Error>"


class Mishap(StrEnum):
    """What befalls a request."""

    NONE = "none"
    ERROR = "error"  # answered 500, and never passed on
    LATE_ERROR = "late_error"  # passed on and carried out, and answered 500
    SILENCE = "silence"  # never answered, and never passed on
    DELAY = "delay"  # passed on after `delay_s`
    CUT_REQUEST = "cut_request"  # half of it reaches the server, then the connections break
    CUT_ANSWER = "cut_answer"  # half of the answer reaches the client, then the connections break
    LOSE_ANSWER = "lose_answer"  # carried out; the connection breaks instead of an answer
    DUPLICATE = "duplicate"  # carried out twice; the client gets the second answer


class UnreliableProxy:
    """Forwards to `host:port`. `away`: connections are closed at once and running ones broken. `mishap(method)` is asked
    once for each request; `befell` counts.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.mishap: Callable[[str], Mishap] = lambda _method: Mishap.NONE
        self.delay_s: Callable[[], float] = lambda: 1.0
        self.befell: Counter[Mishap] = Counter()
        self.connections = 0
        self._away = False

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._server.close()
        self._break()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def misbehave(self, chances: Mapping[Mishap, float], rng: random.Random) -> None:
        """Let each request suffer by chance; with no chances, be away."""

        def mishap(_method: str) -> Mishap:
            roll = rng.random()
            for what, chance in chances.items():
                if roll < chance:
                    return what
                roll -= chance
            return Mishap.NONE

        self.delay_s = lambda: rng.uniform(0.2, 2.0)
        self.mishap, self.away = mishap, not chances

    def behave(self) -> None:
        """Be a good proxy again."""
        self.mishap, self.away = (lambda _method: Mishap.NONE), False

    @property
    def away(self) -> bool:
        return self._away

    @away.setter
    def away(self, value: bool) -> None:
        self._away = value
        if value:
            self._break()

    def _break(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self._away:
            writer.transport.abort()
            return
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            with contextlib.suppress(OSError, EOFError):
                while await self._one(reader, writer):
                    pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; False: the connection must break now."""
        head = await reader.readuntil(b"\r\n\r\n")
        if _CONTINUE.search(head):
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            head = _CONTINUE.sub(b"", head)
        request = head + await _body(reader, head)
        method = head.split(b" ", 1)[0].decode()
        what = self.mishap(method)
        self.befell[what] += 1
        if what is Mishap.ERROR:
            return await self._answer_error(writer, method)
        if what is Mishap.SILENCE:
            await reader.read()  # until the client gives up
            return False
        if what is Mishap.DELAY:
            await asyncio.sleep(self.delay_s())
        if what is Mishap.CUT_REQUEST:
            await self._ask(request[: len(head) + (len(request) - len(head)) // 2], method, whole=False)
            return False
        if what is Mishap.DUPLICATE:
            await self._ask(request, method)
        answer = await self._ask(request, method)
        if what is Mishap.LOSE_ANSWER:
            return False
        if what is Mishap.LATE_ERROR:
            return await self._answer_error(writer, method)
        writer.write(answer[: len(answer) // 2] if what is Mishap.CUT_ANSWER else answer)
        await writer.drain()
        return what is not Mishap.CUT_ANSWER

    async def _answer_error(self, writer: asyncio.StreamWriter, method: str) -> bool:
        body = b"" if method == "HEAD" else _ERROR
        writer.write(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: %d\r\n\r\n" % len(_ERROR) + body)
        await writer.drain()
        return True

    async def _ask(self, request: bytes, method: str, *, whole: bool = True) -> bytes:
        """The server's answer, on a connection of its own. Part of a request has none."""
        reader, writer = await asyncio.open_connection(*self._target)
        self._writers.add(writer)
        try:
            writer.write(request)
            await writer.drain()
            if not whole:
                return b""
            head = await reader.readuntil(b"\r\n\r\n")
            while head.split(b" ", 2)[1].startswith(b"1"):
                head = await reader.readuntil(b"\r\n\r\n")
            empty = method == "HEAD" or head.split(b" ", 2)[1] in (b"204", b"304")
            return head if empty else head + await _body(reader, head, answer=True)
        finally:
            self._writers.discard(writer)
            writer.transport.abort()


async def _body(reader: asyncio.StreamReader, head: bytes, *, answer: bool = False) -> bytes:
    """The bytes after a head, as they are on the wire."""
    if _CHUNKED.search(head):
        whole = b""
        while True:
            line = await reader.readuntil(b"\r\n")
            chunk = await reader.readexactly(int(line.split(b";")[0], 16) + 2)
            whole += line + chunk
            if chunk == b"\r\n":
                return whole
    length = _LENGTH.search(head)
    if length is not None:
        return await reader.readexactly(int(length[1]))
    return await reader.read() if answer else b""
