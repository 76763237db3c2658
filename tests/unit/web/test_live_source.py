"""A source fed by hand: who gets what, and when."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from uuid import uuid4

import pytest

from tests.support.encoded import made_up, small_config
from vms.errors import SourceError, UserError
from vms.feed import Dropped, FeedEvent, StreamState
from vms.metrics import Metrics
from vms.model import GapReason, TimedUnit
from web.live import source as source_module
from web.live.packets import LiveUnit
from web.live.refusals import Refusal
from web.live.source import MOST_GROUP_UNITS, Source, Sources

CAPTURE_NS = 1_790_000_000_000_000_000
LIVE = StreamState("recording", None)


class Hand:
    """A feed that gives what the test puts in; an exception ends the attempt."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[FeedEvent | Exception] = asyncio.Queue()
        self.opened = 0

    async def units(self) -> AsyncGenerator[FeedEvent, None]:
        self.opened += 1
        while True:
            event = await self.events.get()
            if isinstance(event, Exception):
                raise event
            yield event

    def put(self, *events: FeedEvent | Exception) -> None:
        for event in events:
            self.events.put_nowait(event)


class Watching:
    """What a viewer was given, as words: `[K P P]` begun with, then each pushed, `drop`."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def begin(self, units: list[LiveUnit]) -> None:
        self.words.append("[" + " ".join(f"{'K' if u.key else 'P'}{u.timed.unit.pts}" for u in units) + "]")

    def push(self, unit: LiveUnit) -> None:
        self.words.append(f"{'K' if unit.key else 'P'}{unit.timed.unit.pts}")

    def drop_to_key(self) -> None:
        self.words.append("drop")

    def give_up(self) -> None:
        self.words.append("given up")

    async def has(self, *words: str) -> None:
        async with asyncio.timeout(5):
            while self.words != list(words):
                await asyncio.sleep(0.001)


def unit(number: int, *, key: bool = False) -> TimedUnit:
    return TimedUnit(made_up(number, key=key, config=small_config()), CAPTURE_NS + number * 40_000_000)


@contextlib.asynccontextmanager
async def running(hand: Hand) -> AsyncIterator[Source]:
    source = Source(uuid4(), hand.units)
    task = asyncio.create_task(source.run())
    try:
        yield source
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_viewers_begin_with_the_group_under_way_and_go_on_together() -> None:
    hand, one, other = Hand(), Watching(), Watching()
    async with running(hand) as source:
        source.join(one)
        hand.put(LIVE, unit(1, key=True), unit(2), unit(3))
        await one.has("[K1 P2 P3]")
        hand.put(unit(4))
        await one.has("[K1 P2 P3]", "P4")
        source.join(other)
        hand.put(unit(5), unit(6, key=True), unit(7))
        await other.has("[K1 P2 P3 P4]", "P5", "K6", "P7")
        assert one.words == ["[K1 P2 P3]", "P4", "P5", "K6", "P7"]
        source.leave(one)
        source.leave(one)
        hand.put(unit(8))
        await other.has("[K1 P2 P3 P4]", "P5", "K6", "P7", "P8")
        assert one.words[-1] == "P7"
        assert source.begin(one)
        assert one.words[-1] == "[K6 P7 P8]"


async def test_an_interruption_ends_the_group_and_everybody_begins_anew() -> None:
    hand, one = Hand(), Watching()
    async with running(hand) as source:
        source.join(one)
        hand.put(LIVE, unit(1, key=True), unit(2))
        await one.has("[K1 P2]")
        hand.put(SourceError(GapReason.UNREACHABLE, "the recorder is gone"))
        async with asyncio.timeout(5):
            while source.config is not None:
                await asyncio.sleep(0.001)
        late = Watching()
        source.join(late)  # nothing old is shown as live
        assert not source.begin(late)
        hand.put(LIVE, unit(10, key=True), unit(11))
        await one.has("[K1 P2]", "[K10 P11]")
        assert late.words == ["[K10 P11]"]
        assert hand.opened == 2


class Broken(Watching):
    """A viewer that can be served nothing."""

    def begin(self, units: list[LiveUnit]) -> None:
        raise ZeroDivisionError

    def push(self, unit: LiveUnit) -> None:
        raise ZeroDivisionError


@pytest.mark.parametrize("joins", ["first", "later", "without a group"])
async def test_a_viewer_that_meets_a_bug_is_given_up_and_costs_no_other_a_unit(joins: str) -> None:
    hand, one, broken = Hand(), Watching(), Broken()
    async with running(hand) as source:
        source.join(one)
        if joins == "first":
            source.join(broken)
        hand.put(LIVE, unit(1, key=True), unit(2))
        await one.has("[K1 P2]")
        if joins == "without a group":
            hand.put(Dropped(1))
            await one.has("[K1 P2]", "drop")
        if joins != "first":
            source.join(broken)
        hand.put(unit(3, key=True), unit(4))
        words = ["[K1 P2]", *(["drop"] if joins == "without a group" else []), "K3", "P4"]
        await one.has(*words)
        assert broken.words == ["given up"]
        assert hand.opened == 1


async def test_units_missing_in_the_feed_are_told() -> None:
    hand, one = Hand(), Watching()
    async with running(hand) as source:
        source.join(one)
        hand.put(LIVE, unit(1, key=True))
        await one.has("[K1]")
        hand.put(Dropped(7), unit(9, key=True))
        await one.has("[K1]", "drop", "K9")


async def test_a_group_without_end_is_not_kept_but_goes_on() -> None:
    hand, one = Hand(), Watching()
    async with running(hand) as source:
        source.join(one)
        hand.put(LIVE, unit(0, key=True))
        await one.has("[K0]")
        hand.put(*(unit(n) for n in range(1, MOST_GROUP_UNITS + 10)))
        async with asyncio.timeout(10):
            while len(one.words) < MOST_GROUP_UNITS + 10:
                await asyncio.sleep(0.001)
        assert one.words[-1] == f"P{MOST_GROUP_UNITS + 9}"
        late = Watching()
        source.join(late)
        assert late.words == []


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (UserError("no such stream"), "unknown_stream"),
        (SourceError(GapReason.UNREACHABLE, "nobody answers"), "source_not_live"),
        (StreamState("retrying", GapReason.UNREACHABLE), "source_not_live"),
    ],
)
async def test_what_keeps_a_stream_from_being_live_is_told_at_once(event: FeedEvent | Exception, code: str) -> None:
    hand = Hand()
    async with running(hand) as source:
        hand.put(event)
        async with asyncio.timeout(1):
            with pytest.raises(Refusal) as caught:
                await source.ready()
        assert caught.value.code == code
        assert (caught.value.retry_after is None) == (code == "unknown_stream")


async def test_a_live_stream_without_a_picture_is_waited_for_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "PICTURE_SECONDS", 0.05)
    hand = Hand()
    async with running(hand) as source:
        hand.put(LIVE)
        with pytest.raises(Refusal, match="no picture"):
            await source.ready()
        hand.put(unit(1, key=True))
        assert await source.ready() is small_config()
        assert source.begins_with_idr


async def test_recovery_points_are_nothing_to_begin_with_for_browsers() -> None:
    hand = Hand()
    point = unit(1, key=True)
    data = point.unit.data[:4] + b"\x41" + point.unit.data[5:]  # a slice that is no IDR
    async with running(hand) as source:
        hand.put(LIVE, TimedUnit(point.unit._replace(data=data), point.capture_ns))
        await source.ready()
        assert not source.begins_with_idr


async def test_sources_are_shared_linger_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "LINGER_SECONDS", 0.05)
    hand, key, metrics = Hand(), uuid4(), Metrics.create()
    async with asyncio.TaskGroup() as tasks:
        sources = Sources(tasks, metrics)
        one = sources.hold(key, lambda: Source(key, hand.units))
        assert sources.hold(key, lambda: Source(key, hand.units)) is one
        sources.release(key)
        sources.release(key)
        assert sources.hold(key, lambda: Source(key, hand.units)) is one  # within the time it lingers
        sources.release(key)
        async with asyncio.timeout(5):
            while sources.has(key):
                await asyncio.sleep(0.005)
        assert metrics.live_sources._value.get() == 0
        unknown = uuid4()
        source = sources.hold(unknown, lambda: Source(unknown, hand.units))
        hand.put(UserError("no such stream"))
        with pytest.raises(Refusal):
            await source.ready()
        sources.release(unknown)
        assert not sources.has(unknown)  # at once
        sources.close()
