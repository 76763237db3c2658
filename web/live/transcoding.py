"""A stream that browsers cannot take, as H.264 they can: the last resort, one at a time, in a process of its own.

`transcoded` wraps the units of a stream: what the feed says of its state passes by, its pictures go through the child
process. Nothing waits for the child: when it is behind, pictures up to the next key picture are left out. It ends with
whoever reads, and a child that died ends the attempt, which the source tries again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Sequence

from vms.errors import SourceError
from vms.feed import FeedEvent, FrameDecoder, encode_config, encode_unit
from vms.model import CodecConfig, GapReason, TimedUnit
from web.live.source import OpenUnits

MOST_TRANSCODES = 1
MOST_WAITING_BYTES = 8 << 20  # for the child; then pictures are left out
MOST_EVENTS = 500
READ_BYTES = 1 << 16
_COMMAND = (sys.executable, "-m", "web.live.transcoding_child")
_PASSED_ON = ("PATH", "PYTHONPATH", "LANG", "HOME")  # and no setting of a site: they may hold secrets


def transcoded(open_units: OpenUnits, command: Sequence[str] = _COMMAND) -> OpenUnits:
    """The same stream as H.264 without B-frames."""

    async def units() -> AsyncGenerator[FeedEvent, None]:
        child = await _start(command)
        events: asyncio.Queue[FeedEvent] = asyncio.Queue(MOST_EVENTS)
        tasks = {
            asyncio.create_task(_fill(open_units, child, events), name="to the transcoder"),
            asyncio.create_task(_drain(child, events), name="from the transcoder"),
        }
        waiting = _next(events)
        try:
            while True:
                done, _ = await asyncio.wait({waiting, *tasks}, return_when=asyncio.FIRST_COMPLETED)
                if waiting in done:
                    yield waiting.result()
                    waiting = _next(events)
                else:
                    for task in done:
                        task.result()  # neither ends but by an error
        finally:
            for task in (waiting, *tasks):
                task.cancel()
            await asyncio.gather(waiting, *tasks, return_exceptions=True)
            await _stop(child)

    return units


def _next(events: asyncio.Queue[FeedEvent]) -> asyncio.Task[FeedEvent]:
    return asyncio.create_task(events.get(), name="next of the transcoder")


async def _start(command: Sequence[str]) -> Process:
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    try:
        return await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, env=environment)
    except OSError as error:
        raise SourceError(GapReason.INTERNAL_ERROR, f"the transcoder cannot be started: {error.strerror}") from error


async def _stop(child: Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        child.kill()
    await child.wait()


async def _fill(open_units: OpenUnits, child: Process, events: asyncio.Queue[FeedEvent]) -> None:
    """From the feed into the child; what is no picture passes by."""
    assert child.stdin is not None
    sent: CodecConfig | None = None
    awaits_key = True
    async with contextlib.aclosing(open_units()) as units:
        async for event in units:
            if not isinstance(event, TimedUnit):
                await events.put(event)
                continue
            if child.stdin.transport.get_write_buffer_size() > MOST_WAITING_BYTES:
                awaits_key = True
            if awaits_key and not event.unit.key:
                continue
            awaits_key = False
            if event.unit.config != sent:
                sent = event.unit.config
                child.stdin.write(encode_config(sent))
            child.stdin.write(encode_unit(event))


async def _drain(child: Process, events: asyncio.Queue[FeedEvent]) -> None:
    """From the child to whoever reads."""
    assert child.stdout is not None
    decoder = FrameDecoder()
    while data := await child.stdout.read(READ_BYTES):
        for event in decoder.feed(data):
            await events.put(event)
    raise SourceError(GapReason.INTERNAL_ERROR, f"the transcoder ended ({await child.wait()})")
