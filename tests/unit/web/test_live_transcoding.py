"""A transcoded stream leaves nothing behind, wherever it is when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator

import pytest

from vms.errors import SourceError
from vms.feed import FeedEvent, StreamState
from web.live.transcoding import transcoded

SILENT = (sys.executable, "-c", "import sys; sys.stdin.buffer.read()")
DEAD = (sys.executable, "-c", "")
LIVE = StreamState("recording", None)


async def one_state() -> AsyncGenerator[FeedEvent, None]:
    yield LIVE
    await asyncio.Event().wait()


async def test_whoever_reads_and_is_cancelled_leaves_no_task() -> None:
    before = asyncio.all_tasks()
    seen: asyncio.Queue[FeedEvent] = asyncio.Queue()

    async def read() -> None:
        async with contextlib.aclosing(transcoded(one_state, SILENT)()) as events:
            async for event in events:
                seen.put_nowait(event)

    reading = asyncio.create_task(read())
    async with asyncio.timeout(20):
        assert await seen.get() == LIVE
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    assert asyncio.all_tasks() == before


async def test_a_child_that_died_ends_the_attempt_and_leaves_no_task() -> None:
    before = asyncio.all_tasks()
    async with contextlib.aclosing(transcoded(one_state, DEAD)()) as events, asyncio.timeout(20):
        with pytest.raises(SourceError, match="transcoder ended"):
            async for event in events:
                assert event == LIVE
    assert asyncio.all_tasks() == before
