"""The serving side of the feed over a real socket, with tracks made up here: slow readers, ends, what is told when."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest

import recorder.feed_server as module
from recorder.feed_server import FeedServer, serve
from recorder.gop import GopStart
from recorder.relay import MAX_UNITS, Relay
from tests.support.encoded import video
from vms.errors import MalformedError, SourceError, StoreUnavailable, UserError
from vms.feed import Dropped, End, FeedClient, FrameDecoder, StreamState, encode_config, encode_state, encode_unit
from vms.metrics import Metrics
from vms.model import AccessUnit, Codec, GapReason, TimedUnit

pytestmark = pytest.mark.network
CONFIG = video(Codec.H264)[0].config
OTHER = video(Codec.H265)[0].config
STREAM = uuid4()


def unit(n: int, *, key: bool = False, size: int = 50, config=CONFIG, damaged: bool = False) -> TimedUnit:
    return TimedUnit(AccessUnit(3600 * n, bytes(size), key, config, 0, damaged=damaged), 40_000_000 * n)


class Unreadable:
    """A file that does not parse, or a group beyond all bounds."""

    def read(self) -> list[TimedUnit]:
        return []

    def close(self) -> None:
        pass


class MadeUpTrack:
    """What the server needs of a track: a group under way, a relay, the open gap."""

    def __init__(self):
        self.relay = Relay()
        self.gop: tuple[TimedUnit, ...] = ()
        self.gaps = SimpleNamespace(current=None)
        self.unreadable = False

    def join(self):
        start = Unreadable() if self.unreadable else GopStart(self.gop)
        return start, self.relay.subscribe(joined=bool(self.gop) or self.unreadable)


class MadeUpReader:
    def __init__(self):
        self.given: list[TimedUnit | Exception] = []

    async def units(self, stream_id: UUID, within) -> AsyncIterator[tuple[None, TimedUnit]]:
        for item in self.given:
            if isinstance(item, Exception):
                raise item
            yield None, item


class Served:
    def __init__(self):
        self.track, self.reader, self.metrics = MadeUpTrack(), MadeUpReader(), Metrics.create()
        self.recording = SimpleNamespace(state="recording")
        self.reloads = 0
        self.server = FeedServer(
            track=lambda s: (self.recording, self.track) if s == STREAM else None,  # type: ignore[arg-type,return-value]
            states=lambda: [{"stream_id": str(STREAM)}],
            reload=self._reload,
            reader=self.reader,  # type: ignore[arg-type]
            metrics=self.metrics,
        )

    def _reload(self):
        self.reloads += 1

    async def watched(self, subscribers: int = 1):
        """Wait until so many subscribe."""
        async with asyncio.timeout(5):
            while len(self.track.relay.subscriptions) != subscribers:
                await asyncio.sleep(0.001)

    @property
    def subscribers(self) -> float:
        return self.metrics.feed_subscribers._value.get()


@pytest.fixture
async def served():
    made = Served()
    with tempfile.TemporaryDirectory(prefix="stroz-feed-") as folder:
        made.socket = Path(folder) / "f.sock"
        made.socket.touch()  # of a process that was killed
        async with serve(made.server.application(), str(made.socket)):
            made.client = FeedClient(made.socket)
            yield made


async def test_group_under_way_then_live_then_the_end(served):
    served.track.gop = (unit(1, key=True), unit(2))
    got = []
    with pytest.raises(SourceError, match="closed the feed"):
        async with aclosing(served.client.units(STREAM)) as events:
            async for event in events:
                got.append(event)
                if len(got) == 3:
                    served.track.relay.publish(unit(3, config=OTHER, damaged=True))
                if len(got) == 4:
                    served.track.relay.close()
    assert got[0] == StreamState("recording", None)
    assert got[1:] == [unit(1, key=True), unit(2), unit(3, config=OTHER, damaged=True)]
    async with asyncio.timeout(5):
        while served.subscribers:
            await asyncio.sleep(0.001)


async def test_a_group_that_cannot_be_read_means_from_the_next_key_on(served):
    served.track.unreadable = True
    async with asyncio.timeout(10), aclosing(served.client.units(STREAM)) as events:
        assert isinstance(await anext(events), StreamState)
        await served.watched()
        for n in range(3):
            served.track.relay.publish(unit(n))
        served.track.relay.publish(unit(3, key=True))
        assert await anext(events) == unit(3, key=True)


async def test_the_state_is_told_every_second_so_that_silence_means_a_dead_feed(served, monkeypatch):
    monkeypatch.setattr(module, "STATE_SECONDS", 0.05)
    async with asyncio.timeout(10), aclosing(served.client.units(STREAM)) as events:
        assert await anext(events) == StreamState("recording", None)
        served.recording.state = "waiting"
        served.track.gaps.current = SimpleNamespace(reason=GapReason.UNREACHABLE)
        while await anext(events) != StreamState("waiting", GapReason.UNREACHABLE):
            pass


async def test_a_slow_reader_is_dropped_to_a_key_and_told_and_publishing_never_waits(served):
    """The relay's `publish` is a plain function: it cannot wait. What the reader misses is exactly what it is told."""
    reader, writer = await asyncio.open_unix_connection(str(served.socket), limit=1 << 16)
    try:
        writer.transport.pause_reading()
        writer.write(f"GET /v1/streams/{STREAM}/units HTTP/1.1\r\nHost: r\r\n\r\n".encode())
        await served.watched()
        count = 4 * MAX_UNITS
        for n in range(count):
            served.track.relay.publish(unit(n, key=n % 50 == 0, size=20_000))
            await asyncio.sleep(0)
        writer.transport.resume_reading()
        got, last = [], unit(count, key=True)
        served.track.relay.publish(last)
        async with asyncio.timeout(20):
            await reader.readuntil(b"\r\n\r\n")
            decoder = FrameDecoder()
            while last not in got:
                size = int((await reader.readline()).strip(), 16)
                got += decoder.feed(await reader.readexactly(size))
                await reader.readline()
    finally:
        writer.transport.abort()
    told = [e.units for e in got if isinstance(e, Dropped)]
    assert told
    assert sum(told) + sum(isinstance(e, TimedUnit) for e in got) == count + 1
    assert all(got[i + 1].unit.key for i, e in enumerate(got) if isinstance(e, Dropped))
    assert served.metrics.feed_dropped_units._value.get() == sum(told)


async def test_a_reader_that_takes_nothing_for_long_is_gone(served, monkeypatch):
    monkeypatch.setattr(module, "SEND_SECONDS", 0.1)
    _, writer = await asyncio.open_unix_connection(str(served.socket), limit=1 << 10)
    try:
        writer.transport.pause_reading()
        writer.write(f"GET /v1/streams/{STREAM}/units HTTP/1.1\r\nHost: r\r\n\r\n".encode())
        await served.watched()
        for n in range(100):
            served.track.relay.publish(unit(n, key=True, size=100_000))
        await served.watched(0)
        async with asyncio.timeout(5):
            while served.subscribers:
                await asyncio.sleep(0.001)
    finally:
        writer.transport.abort()


async def test_a_range_ends_with_its_end_or_breaks_off(served):
    served.reader.given = [unit(1, key=True), unit(2)]
    got = [event async for event in until_end(served.client)]
    assert got == [unit(1, key=True), unit(2), End()]
    for error in (StoreUnavailable("weg"), MalformedError("segment", "cut")):
        served.reader.given = [unit(1, key=True), error]
        with pytest.raises(SourceError):  # never an End after something was left out
            async for _ in until_end(served.client):
                pass


async def until_end(client: FeedClient):
    async with aclosing(client.spool_range(STREAM, 0, 10)) as events:
        async for event in events:
            yield event
            if isinstance(event, End):
                return


async def test_states_reload_and_what_is_not_there(served):
    assert await served.client.states() == [{"stream_id": str(STREAM)}]
    await served.client.reload()
    assert served.reloads == 1
    for stream in (uuid4(), "rubbish"):
        with pytest.raises(UserError):
            await anext(served.client.units(stream))


async def test_nobody_there_is_worth_another_try(tmp_path):
    with pytest.raises(SourceError, match="no recorder answers"):
        await FeedClient(tmp_path / "none").states()


@pytest.mark.parametrize(
    "frames",
    [
        b"X\0\0\0\0",
        b"U\xff\xff\xff\xff",
        encode_unit(unit(1)),
        encode_config(CONFIG) + b"U\0\0\0\x01x",
        b"C\0\0\0\x02{}",
        b"C\0\0\0\x04null",
        b"S\0\0\0\x02[]",
        b"D\0\0\0\x01\0",
        encode_state("recording", None).replace(b"null", b'"x" '),
    ],
)
def test_frames_that_are_none(frames):
    with pytest.raises(MalformedError):
        list(FrameDecoder().feed(frames))


def test_frames_may_come_in_any_pieces():
    whole = encode_state("recording", GapReason.STALLED) + encode_config(OTHER) + encode_unit(unit(7, config=OTHER))
    decoder = FrameDecoder()
    got = [event for byte in whole for event in decoder.feed(bytes([byte]))]
    assert got == [StreamState("recording", GapReason.STALLED), unit(7, config=OTHER)]
