"""The recorder's feed, late: a relay between two Unix sockets that hands on what comes after a fixed delay, in order."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PIECE_BYTES = 64 << 10
MOST_WAITING = 8192  # pieces of one direction; then its sender is not read from


class SlowFeed:
    """What the feed sends waits `delay_s`; what is asked of it does not. Both fields may be changed while it runs.

    `only`: ids of the streams that are late; empty for all.
    """

    def __init__(self, feed: Path) -> None:
        self._feed = feed
        self.delay_s = 0.0
        self.only: frozenset[str] = frozenset()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, asks = await asyncio.open_unix_connection(str(self._feed))
        try:
            request = await reader.read(PIECE_BYTES)
            asks.write(request)
            late = not self.only or any(stream.encode() in request for stream in self.only)
            async with asyncio.TaskGroup() as ways:
                ways.create_task(self._pass(reader, asks, late=False))
                ways.create_task(self._pass(answers, writer, late=late))
        except* OSError:
            pass  # one end hung up
        finally:
            asks.close()
            writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, late: bool) -> None:
        clock = asyncio.get_running_loop().time
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(MOST_WAITING)

        async def take() -> None:
            while piece := await reader.read(PIECE_BYTES):
                await waiting.put((clock() + (self.delay_s if late else 0.0), piece))
            await waiting.put((clock(), b""))

        async def give() -> None:
            while True:
                due, piece = await waiting.get()
                await asyncio.sleep(max(0.0, due - clock()))
                if not piece:
                    writer.write_eof()
                    return
                writer.write(piece)
                await writer.drain()

        async with asyncio.TaskGroup() as both:
            both.create_task(take())
            both.create_task(give())


@contextmanager
def slow_feed(feed: Path, at: Path) -> Iterator[SlowFeed]:
    """Serves at the socket `at`, on a loop of its own."""
    slow, ready, loop = SlowFeed(feed), threading.Event(), asyncio.new_event_loop()
    stop = asyncio.Event()

    async def main() -> None:
        server = await asyncio.start_unix_server(slow.accept, str(at))
        ready.set()
        await stop.wait()
        server.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()), name="slow feed")
    thread.start()
    assert ready.wait(10)
    try:
        yield slow
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()
