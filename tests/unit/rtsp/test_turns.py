"""Reading in turns: nothing lost or doubled, the loop takes over while somebody watches, endings are noticed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable

import pytest

from tests.support.waiting import until
from vms.errors import SpoolError
from vms.model import GapReason
from vms.observe import RedactingFilter, log_context
from vms.rtsp.transport import RtspWire
from vms.rtsp.turns import BUFFER_BYTES, READS, ReadTurns


class Owner:
    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.error: BaseException | None = None

    def on_message(self, message: object) -> None: ...

    def on_wire_end(self, error: BaseException | None) -> None:
        self.error = error
        self.ended.set()


class Camera:
    """A TCP server that sends interleaved frames of its own numbering on channel 0."""

    def __init__(self) -> None:
        self.writer: asyncio.StreamWriter | None = None
        self.connected = asyncio.Event()
        self.sent: list[bytes] = []

    async def serve(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        writer.transport.set_write_buffer_limits(0)  # what was sent is in the kernel, not on its way there
        self.connected.set()

    async def send(self, frames: int, size: int) -> None:
        assert self.writer is not None
        for _ in range(frames):
            payload = b"\x80" + len(self.sent).to_bytes(4, "big") * (size // 4)
            self.sent.append(payload)
            self.writer.write(b"$\0" + len(payload).to_bytes(2, "big") + payload)
        await self.writer.drain()


@contextlib.asynccontextmanager
async def connected(
    hurried: Callable[[], bool], turns: ReadTurns | None = None
) -> AsyncIterator[tuple[Camera, RtspWire, Owner, list[bytes]]]:
    camera, owner, received = Camera(), Owner(), []
    server = await asyncio.start_server(camera.serve, "127.0.0.1", 0)
    wire = RtspWire(owner)
    wire.channels[0] = lambda buf, start, end, _now: received.append(bytes(buf[start:end]))
    port = server.sockets[0].getsockname()[1]
    await asyncio.get_running_loop().create_connection(lambda: wire, "127.0.0.1", port)
    await camera.connected.wait()
    (turns or ReadTurns(0.01, settle_s=0.0)).join(wire, hurried)
    try:
        yield camera, wire, owner, received
    finally:
        wire.abort()
        if camera.writer is not None:
            camera.writer.close()
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize("size", [40, 1400, 65_000])
async def test_every_frame_once_and_in_order(size: int) -> None:
    async with connected(lambda: False) as (camera, _, _, received):
        for _ in range(20):
            await camera.send(30, size)
        await until(lambda: len(received) >= len(camera.sent))
        assert received == camera.sent


async def test_what_is_logged_in_a_turn_is_about_the_stream_whose_turn_it_is() -> None:
    turns, seen = ReadTurns(0.01, settle_s=0.0), set[tuple[int, int]]()
    async with contextlib.AsyncExitStack() as opened:
        cameras = []
        for number in (1, 2):
            with log_context(camera=number):
                camera, wire, _, _ = await opened.enter_async_context(connected(lambda: False, turns))

            def note(*_: object, number: int = number) -> None:
                record = logging.makeLogRecord({"msg": "x"})
                RedactingFilter().filter(record)
                seen.add((number, vars(record)["context"]["camera"]))

            wire.channels[0] = note
            cameras.append(camera)
        for camera in cameras:
            await camera.send(30, 400)
        await until(lambda: len(seen) >= 2)
    assert seen == {(1, 1), (2, 2)}


async def test_changing_over_to_the_loop_and_back_loses_nothing() -> None:
    watched = False
    async with connected(lambda: watched) as (camera, wire, _, received):
        for turn in range(30):
            watched = turn % 3 == 1
            await camera.send(10, 1400)
            await asyncio.sleep(0.012)
        await until(lambda: len(received) >= len(camera.sent))
        assert received == camera.sent
        assert wire.garbage_bytes == 0


async def test_who_floods_takes_no_more_than_its_turn() -> None:
    """However fast it sends: the rest waits in the socket, and the sender with it."""
    turns = ReadTurns(600.0, settle_s=0.0)
    async with connected(lambda: False, turns) as (camera, wire, _, received):
        turns._begin()
        turns._begin()
        sending = asyncio.create_task(camera.send(200, 60_000))  # 12 MB
        while not sending.done():
            before = wire.bytes_received
            turns._begin()
            assert wire.bytes_received - before <= READS * BUFFER_BYTES
            await asyncio.sleep(0)
        await until(lambda: turns._begin() is None and len(received) == 200)
        assert received == camera.sent


async def test_what_came_before_an_orderly_end_is_read() -> None:
    turns = ReadTurns(600.0, settle_s=0.0)
    async with connected(lambda: False, turns) as (camera, wire, _, received):
        turns._begin()
        turns._begin()
        await camera.send(20, 1400)
        assert received == []
        turns.catch_up(wire)
        assert received == camera.sent
        wire.abort()
        turns.catch_up(wire)


async def test_who_brought_much_is_read_again_at_half_time() -> None:
    turns = ReadTurns(600.0, settle_s=0.0)
    async with connected(lambda: False, turns) as (camera, wire, _, received):
        assert wire.transport is not None
        (member,) = turns._members
        turns._begin()  # half time: the first turn is never late
        member.full_bytes = 25_000
        for frames, again in ((10, False), (30, True), (10, False)):  # less than the first window of a connection
            await camera.send(frames, 1400)
            turns._begin()
            assert received == camera.sent
            await camera.send(1, 1400)
            turns._begin()  # half time
            assert (received == camera.sent) is again
            turns._begin()
            turns._begin()
            assert received == camera.sent


async def test_the_end_of_a_turn_is_told_and_its_failure_ends_the_connection() -> None:
    async with connected(lambda: False) as (camera, wire, owner, received):
        seen: list[int] = []
        wire.turn_ended = lambda: seen.append(len(received))
        await camera.send(30, 1400)
        await until(lambda: bool(seen) and seen[-1] == 30)

        def fail() -> None:
            raise SpoolError(GapReason.SPOOL_FULL, "the spool's disk is full")

        wire.turn_ended = fail
        async with asyncio.timeout(5):
            await owner.ended.wait()
        assert isinstance(owner.error, SpoolError)


@pytest.mark.parametrize("watched", [False, True])
async def test_an_end_is_noticed(watched: bool) -> None:
    async with connected(lambda: watched) as (camera, wire, owner, received):
        await camera.send(3, 100)
        await until(lambda: len(received) == 3)
        assert camera.writer is not None
        camera.writer.close()
        async with asyncio.timeout(5):
            await owner.ended.wait()
        assert wire.ended


async def test_a_reset_is_noticed() -> None:
    async with connected(lambda: False) as (camera, _, owner, received):
        await camera.send(3, 100)
        await until(lambda: len(received) == 3)
        assert camera.writer is not None
        camera.writer.transport.abort()
        async with asyncio.timeout(5):
            await owner.ended.wait()


async def test_one_that_fails_in_its_turn_keeps_nobody_waiting() -> None:
    turns = ReadTurns(0.01, settle_s=0.0)
    failures: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failures.append(context))

    class Transport:
        def is_closing(self) -> bool:
            return False

        def get_extra_info(self, name: str) -> object:
            return None if name == "sslcontext" else self

        def setsockopt(self, *_: object) -> None: ...

        def getsockopt(self, *_: object) -> int:
            return 1 << 20

        def fileno(self) -> int:
            return -1

        def pause_reading(self) -> None: ...

    class Wire:
        ended = False
        bytes_received = 0

        def __init__(self, broken: bool) -> None:
            self.transport = Transport()
            self.turns = 0
            self.broken = broken

        def read_now(self, _descriptor: int, _view: memoryview) -> None:
            self.turns += 1
            if self.broken:
                raise RuntimeError("a bug")

    wires = [Wire(number % 2 == 0) for number in range(9)]
    for wire in wires:
        turns.join(wire, lambda: False)  # type: ignore[arg-type]
    await until(lambda: all(wire.turns >= 3 for wire in wires if not wire.broken))
    assert all(wire.turns == 1 for wire in wires if wire.broken)
    assert len(failures) == 5
    for wire in wires:
        wire.ended = True
