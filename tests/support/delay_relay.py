"""A TCP relay that makes a network slow: each piece waits base ± jitter, each way, in order; it can stall, and cut.

For machines whose kernel cannot delay packets. Runs on the event loop it is started on.
"""

from __future__ import annotations

import asyncio
import contextlib
import random

PIECE_BYTES = 16 << 10
MOST_WAITING = 4096  # pieces of one direction; then its sender is not read from


class DelayRelay:
    """Forwards to `host:port`. `jitter_s` is at most `base_s`; what a piece waits is drawn from `seed`."""

    def __init__(self, host: str, port: int, *, base_s: float, jitter_s: float, seed: int) -> None:
        self._target = (host, port)
        self._base_s, self._jitter_s = base_s, jitter_s
        self._random = random.Random(seed)
        self._held_until = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.pieces = 0
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def stall(self, seconds: float) -> None:
        """Nothing arrives for so long; what was sent meanwhile comes at once afterwards."""
        self._held_until = asyncio.get_running_loop().time() + seconds

    def cut(self) -> None:
        """Break every connection. New ones are taken."""
        for writer in self._writers:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            with contextlib.suppress(OSError):
                there, out = await asyncio.open_connection(*self._target)
                self._writers.add(out)
                try:
                    async with asyncio.TaskGroup() as ways:
                        ways.create_task(self._forward(reader, out))
                        ways.create_task(self._forward(there, writer))
                except* OSError:
                    pass
                finally:
                    out.transport.abort()
                    self._writers.discard(out)
        finally:
            writer.transport.abort()
            self._writers.discard(writer)
            self._tasks.discard(task)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(MOST_WAITING)
        loop = asyncio.get_running_loop()

        async def take() -> None:
            while True:
                piece = await reader.read(PIECE_BYTES)
                due = loop.time() + self._base_s + self._random.uniform(-self._jitter_s, self._jitter_s)
                await waiting.put((due, piece))
                if not piece:
                    return

        async def give() -> None:
            while True:
                due, piece = await waiting.get()
                while (left := max(due, self._held_until) - loop.time()) > 0:
                    await asyncio.sleep(left)
                if not piece:
                    writer.transport.abort()
                    return
                writer.write(piece)
                self.pieces += 1
                await writer.drain()

        async with asyncio.TaskGroup() as both:
            both.create_task(take())
            both.create_task(give())
