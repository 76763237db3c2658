"""A TCP proxy on loopback that misbehaves on command, between a client and a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Self


class UnreliableProxy:
    """Forwards to `host:port`. `away`: connections are closed at once and running ones broken. `loses_answer`: asked once
    for each connection; True lets the request through and breaks the connection instead of passing the answer on.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.loses_answer: Callable[[], bool] = lambda: False
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
        lossy = self.loses_answer()
        server_reader, server_writer = await asyncio.open_connection(*self._target)
        pair = {writer, server_writer}
        self._writers |= pair

        async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter, *, lose: bool) -> None:
            while data := await source.read(65536):
                if lose:
                    return
                target.write(data)
                await target.drain()

        try:
            pumps = [
                asyncio.create_task(pump(reader, server_writer, lose=False)),
                asyncio.create_task(pump(server_reader, writer, lose=lossy)),
            ]
            _, pending = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
        finally:
            self._writers -= pair
            for one in pair:
                one.transport.abort()
