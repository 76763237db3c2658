"""One published stream: read from the feed once, given to everybody who watches it.

Owns the cached group of pictures, media time that runs on across reconnects, and what one viewer is sent. Does not own
RTSP, who may watch, or the log of views (`recorder.publish`). Everything but the reading of the feed is synchronous: a
viewer is never waited for, so the feed is always read as fast as it comes and costs the recorder one subscriber.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from recorder.gop import MemoryGop
from vms.feed import Dropped, FeedEvent, StreamState
from vms.model import CodecConfig, StreamKind, TimedUnit
from vms.rtsp.outlet import Outlet, Wire
from vms.rtsp.provider import Start
from vms.supervise import Backoff, keep_running

log = logging.getLogger(__name__)

SECOND_NS = 1_000_000_000
AGAIN = Backoff(first=0.3, longest=5.0, after_bug=15.0)
FRESH_SECONDS = 5.0  # older pictures are not what "live" begins with
JUMP_DIVISOR = 2  # media and capture time that part by more than 1/2 s are another connection
OVERLAP_NS = 60 * SECOND_NS  # what a new subscription may repeat
MOST_WAITING = 1024  # units kept for a viewer whose view is not in the log yet
PACE_PACKETS = 8  # to one UDP client in one go: 38 Mbit/s
PACE_SECONDS = 0.002


@dataclass(frozen=True, slots=True)
class PublishedStream:
    """What a path leads to."""

    stream_id: UUID
    camera_id: UUID
    camera_number: int
    camera_name: str
    kind: StreamKind


class ReadsUnits(Protocol):
    """The part of `vms.feed.FeedClient` used here."""

    def units(self, stream_id: UUID) -> AsyncGenerator[FeedEvent, None]: ...


class MediaTime:
    """Puts units of one connection after another on one line of media time that passes as capture time does. Pure."""

    def __init__(self) -> None:
        self._shift = 0
        self._last: tuple[int, int] | None = None  # media time given out, capture time

    def place(self, timed: TimedUnit) -> TimedUnit:
        """The unit with its time on the line. Never steps back but for pictures out of output order."""
        unit, clock_hz = timed.unit, timed.unit.config.clock_hz
        pts = unit.pts + self._shift
        if self._last is not None:
            last_pts, last_ns = self._last
            expected = last_pts + (timed.capture_ns - last_ns) * clock_hz // SECOND_NS
            repeats = pts <= last_pts and not unit.config.reorder_depth  # a connection that began again at once
            if repeats or abs(pts - expected) > clock_hz // JUMP_DIVISOR:
                pts = max(expected, last_pts + clock_hz // 25)
                self._shift = pts - unit.pts
        self._last = pts, timed.capture_ns
        return timed if pts == unit.pts else TimedUnit(unit._replace(pts=pts), timed.capture_ns)


class Channel:
    """The one reader of a stream's feed, and its viewers. `run` until cancelled; it never gives up by itself."""

    def __init__(self, stream: PublishedStream, feed: ReadsUnits) -> None:
        self.stream = stream
        self.config: CodecConfig | None = None  # as told last; stays while the camera is away
        self.viewers: set[Watching] = set()
        self.used_mono = time.monotonic()
        self.dropped_units = 0  # left out by the recorder because we were slow
        self.state = ""  # as the recorder says
        self._feed = feed
        self._known = asyncio.Event()
        self._gop = MemoryGop()
        self._line = MediaTime()
        self._newest_ns: int | None = None
        self._seeking = True
        self._came_mono = 0.0

    async def run(self) -> None:
        name = f"publishing of camera {self.stream.camera_number} {self.stream.kind.value}"
        await keep_running(name, self._attempt, backoff=AGAIN)

    async def _attempt(self) -> None:
        self._seeking = True
        async with aclosing(self._feed.units(self.stream.stream_id)) as events:
            async for event in events:
                self.take(event)

    async def known(self) -> CodecConfig:
        """The codec configuration, once there is one; cancel it when patience ends."""
        self.used_mono = time.monotonic()
        await self._known.wait()
        assert self.config is not None
        return self.config

    def take(self, event: FeedEvent) -> None:
        """One event of the feed."""
        if isinstance(event, TimedUnit):
            self._take_unit(event)
        elif isinstance(event, Dropped):
            self.dropped_units += event.units
        elif isinstance(event, StreamState):
            self.state = event.state

    def gop(self) -> tuple[TimedUnit, ...]:
        """The group of pictures under way; empty when the stream is not live."""
        return self._gop.units() if time.monotonic() - self._came_mono < FRESH_SECONDS else ()

    def _take_unit(self, timed: TimedUnit) -> None:
        if self._seeking:
            if not timed.unit.key or self._is_old(timed.capture_ns):
                return
            self._seeking = False
        self._came_mono = time.monotonic()
        self._newest_ns = timed.capture_ns
        config = timed.unit.config
        if config is not self.config:
            self._change(config)
        timed = self._line.place(timed)
        self._gop.add(timed)
        for viewer in tuple(self.viewers):
            viewer.take(timed)

    def _is_old(self, capture_ns: int) -> bool:
        """Whether a new subscription repeats what was already given out."""
        newest = self._newest_ns
        return newest is not None and newest - OVERLAP_NS < capture_ns <= newest

    def _change(self, config: CodecConfig) -> None:
        before, self.config = self.config, config
        self._known.set()
        if before is None or described_alike(before, config):
            return
        log.info("camera %d now sends %s: its viewers must ask anew", self.stream.camera_number, config.codec.value)
        self._line = MediaTime()
        self._gop.clear()
        self.end_all()

    def end_all(self) -> None:
        """Say goodbye to every viewer."""
        for viewer in tuple(self.viewers):
            viewer.end()


def described_alike(a: CodecConfig, b: CodecConfig) -> bool:
    """Whether a viewer that was told `a` can go on with `b`: sizes and parameter sets come in band, codecs do not."""
    return (a.codec, a.clock_hz, a.channels, a.extradata) == (b.codec, b.clock_hz, b.channels, b.extradata)


class Watching:
    """One session's playback (`vms.rtsp.provider.Playback`): from the cached group of pictures on, or from the next.

    `admit` is awaited before the first byte goes out (the view must be in the log); when it says no, the session ends.
    `on_stop(first_ns)` hears once of the end; `first_ns` is the capture time of the first unit sent, None if none was.
    """

    def __init__(
        self,
        channel: Channel,
        outlet: Outlet,
        *,
        admit: Callable[[], asyncio.Future[bool]],
        on_stop: Callable[[int | None], None],
        end_session: Callable[[], None],
    ) -> None:
        self._channel, self._outlet = channel, outlet
        self._admit, self._on_stop, self._end_session = admit, on_stop, end_session
        resumed = outlet.sent.units > 0  # after PAUSE: nothing a second time, so the next key
        start = () if resumed else channel.gop()
        self._start = Start(outlet.next_sequence, _timestamp(outlet, start[0]) if start else None)
        self._waiting: deque[TimedUnit] | None = deque(start)
        self._until_key = not start
        self._first_ns: int | None = None
        self._admitted: asyncio.Future[bool] | None = None

    def starts(self) -> Mapping[int, Start]:
        return {0: self._start}

    def begin(self) -> None:
        self._channel.viewers.add(self)
        self._admitted = self._admit()
        self._admitted.add_done_callback(self._on_admitted)

    def stop(self) -> None:
        self._channel.viewers.discard(self)
        self._channel.used_mono = time.monotonic()
        if self._admitted is not None:
            self._admitted.remove_done_callback(self._on_admitted)
        self._waiting = None
        self._on_stop(self._first_ns)

    def end(self) -> None:
        """From our side: goodbye, and the session ends."""
        self._outlet.send_bye()
        self._end_session()

    def take(self, timed: TimedUnit) -> None:
        """A unit came; send it, or keep it until the view is in the log."""
        if self._until_key:
            if not timed.unit.key:
                return
            self._until_key = False
        if self._waiting is None:
            self._send(timed)
            return
        self._waiting.append(timed)
        if len(self._waiting) > MOST_WAITING:
            self._waiting.clear()
            self._until_key = True

    def _on_admitted(self, admitted: asyncio.Future[bool]) -> None:
        if admitted.cancelled() or admitted.exception() is not None or not admitted.result():
            self.end()
            return
        waiting, self._waiting = self._waiting, None
        for timed in waiting or ():
            self._send(timed)

    def _send(self, timed: TimedUnit) -> None:
        if self._outlet.send_unit(timed.unit, timed.capture_ns) and self._first_ns is None:
            self._first_ns = timed.capture_ns


def _timestamp(outlet: Outlet, timed: TimedUnit) -> int:
    return timed.unit.pts + outlet.timestamp_offset & 0xFFFFFFFF


class PacedWire:
    """A UDP wire whose bursts are spread: a whole group of pictures at once would not fit a client's socket buffer."""

    interleaved = False
    takes_blobs = False

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._queue: deque[bytes] = deque()
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def backlog_bytes(self) -> int:
        return self._bytes + self._wire.backlog_bytes

    def write(self, data: bytes) -> None:
        self._wire.write(data)

    def send(self, packets: Sequence[bytes]) -> None:
        self._queue.extend(packets)
        self._bytes += sum(map(len, packets))
        if self._timer is None:
            self._pump()

    def send_rtcp(self, packet: bytes) -> None:
        self._wire.send_rtcp(packet)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._queue.clear()
        self._bytes = 0
        self._wire.close()

    def _pump(self) -> None:
        self._timer = None
        if not self._queue:
            return
        burst = [self._queue.popleft() for _ in range(min(PACE_PACKETS, len(self._queue)))]
        self._bytes -= sum(map(len, burst))
        self._wire.send(burst)
        self._timer = asyncio.get_running_loop().call_later(PACE_SECONDS, self._pump)
