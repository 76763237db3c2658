"""Reading a segment's bytes in a thread while the event loop goes on: an object of a store as a `ByteSource`.

Owns the meeting of blocking readers and asynchronous stores, and how such a reading is broken off. Knows neither the
format nor where copies are. Invariants: at most `CACHED_BLOCKS` blocks of an object are held; when `in_thread` is
cancelled it returns only once its thread has let go of what it was given.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

from storage.objects.base import ObjectStore
from vms.errors import StoreUnavailable

READ_BLOCK_BYTES = 1 << 20  # one ranged get; a fragment of 0.5 s at 4 Mbit/s is a quarter of it
CACHED_BLOCKS = 8
GET_SECONDS = 60.0

_T = TypeVar("_T")


async def in_thread(work: Callable[[], _T], stop: Callable[[], object] | None = None) -> _T:
    """`work()` in a thread. When cancelled: call `stop`, wait until the thread is done, then be cancelled.

    Files that `work` reads can therefore be closed as soon as this is over.
    """
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if stop is not None:
            stop()
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # seen: nobody wants it any more
        raise


class ObjectSource:
    """An object of `size` bytes, fetched a block at a time through the event loop; read from any other thread.

    Raises what the store raises, and StoreUnavailable when a block takes longer than `GET_SECONDS` or after `stop`.
    """

    def __init__(self, store: ObjectStore, key: str, size: int, loop: asyncio.AbstractEventLoop) -> None:
        self.size = size
        self._store = store
        self._key = key
        self._loop = loop
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._lock = threading.Lock()
        self._stopped = False
        self._reading: concurrent.futures.Future[bytes] | None = None

    def read(self, offset: int, length: int) -> bytes:
        end = min(offset + length, self.size)
        parts = []
        while offset < end:
            number, skip = divmod(offset, READ_BLOCK_BYTES)
            part = self._block(number)[skip : skip + end - offset]
            if not part:
                break
            parts.append(part)
            offset += len(part)
        return b"".join(parts)

    def stop(self) -> None:
        """Break off the read that is under way and refuse every later one."""
        with self._lock:
            self._stopped = True
            if self._reading is not None:
                self._reading.cancel()

    def _block(self, number: int) -> bytes:
        block = self._blocks.get(number)
        if block is None:
            block = self._fetch(number * READ_BLOCK_BYTES)
            self._blocks[number] = block
            if len(self._blocks) > CACHED_BLOCKS:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(number)
        return block

    def _fetch(self, offset: int) -> bytes:
        with self._lock:
            if self._stopped:
                raise StoreUnavailable(f"{self._store.name}: reading {self._key} was stopped")
            reading = asyncio.run_coroutine_threadsafe(
                self._store.read(self._key, offset, min(READ_BLOCK_BYTES, self.size - offset)), self._loop
            )
            self._reading = reading
        try:
            return reading.result(GET_SECONDS)
        except (TimeoutError, concurrent.futures.CancelledError) as error:
            reading.cancel()
            raise StoreUnavailable(
                f"{self._store.name}: {self._key} was not read in time, or no longer wanted"
            ) from error
        finally:
            self._reading = None


def hash_file(descriptor: int) -> bytes:
    """SHA-256 of an open file, wherever its position is."""
    digest = hashlib.sha256()
    offset = 0
    while block := os.pread(descriptor, READ_BLOCK_BYTES, offset):
        digest.update(block)
        offset += len(block)
    return digest.digest()
