"""One subscription to the feed for each watched stream, shared by all its viewers.

Owns the group of pictures under way, from which every viewer begins, and whether the stream is live at all. Units come
in turn to every viewer and nobody is waited for. A subscription that breaks is tried again; what it begins with is the
group of pictures under way anew, which viewers are given at one stroke. It ends a little after the last viewer left.

Invariants: a viewer's first unit is a key unit; what was cached before an interruption is never shown as live.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable
from typing import Protocol
from uuid import UUID

from vms.errors import MalformedError, UserError, VmsError
from vms.feed import Dropped, FeedEvent, StreamState
from vms.media.rtp import split_nals
from vms.metrics import Metrics
from vms.model import Codec, CodecConfig, TimedUnit
from vms.supervise import Backoff, contained, keep_running
from web.live.packets import LiveUnit
from web.live.refusals import Refusal

log = logging.getLogger(__name__)

LINGER_SECONDS = 5.0  # a stream nobody watches any more is read for so long
PICTURE_SECONDS = 4.0  # for the first picture of a stream that is live
STATE_SECONDS = 2.0  # for the recorder to say anything at all
CAUGHT_UP_SECONDS = 0.02  # without a unit: what the subscription began with is complete
MOST_GROUP_BYTES = 16 << 20
MOST_GROUP_UNITS = 3000
LIVE_STATES = ("recording", "relaying")
IDR = 5  # of nal_unit_type
RETRY = Backoff(first=0.2, longest=1.0, after_bug=5.0, reset_after=5.0)
RETRY_AFTER_SECONDS = 2  # what viewers are told

OpenUnits = Callable[[], AsyncGenerator[FeedEvent, None]]


class Viewer(Protocol):
    """What a source serves."""

    def begin(self, units: list[LiveUnit]) -> None:
        """A group of pictures under way, from its key unit on; instead of all that came before."""

    def push(self, unit: LiveUnit) -> None:
        """The next unit."""

    def drop_to_key(self) -> None:
        """Units are missing; the next one is a key unit."""

    def give_up(self) -> None:
        """Serving it met a bug: it ends, and nobody else is the worse for it."""


class Source:
    """The units of one stream. `run` until nobody wants it any more."""

    def __init__(self, stream_id: UUID, open_units: OpenUnits) -> None:
        self.stream_id = stream_id
        self.config: CodecConfig | None = None
        self.begins_with_idr = True  # what browsers can begin with; cameras with recovery points alone are seen through
        self.state: StreamState | None = None
        self.holders = 0  # who may still want it, viewers or not yet
        self._open = open_units
        self._viewers: list[Viewer] = []
        self._group: list[LiveUnit] = []
        self._group_bytes = 0
        self._refused: UserError | None = None
        self._error: VmsError | None = None
        self._changed = asyncio.Event()
        self._catching_up: asyncio.TimerHandle | None = None

    @property
    def unknown(self) -> bool:
        """The recorder has no such stream."""
        return self._refused is not None

    @property
    def live(self) -> bool:
        """The recorder says so, and there was a picture."""
        return self.config is not None and self.state is not None and self.state.state in LIVE_STATES

    async def run(self) -> None:
        """For ever."""
        await keep_running(f"live stream {self.stream_id}", self._attempt, backoff=RETRY, on_error=self._note)

    async def _attempt(self) -> None:
        try:
            async with contextlib.aclosing(self._open()) as events:
                async for event in events:
                    self._take(event)
        finally:
            self._interrupted()

    def _note(self, error: Exception, _wait: float) -> None:
        self._refused = error if isinstance(error, UserError) else None
        self._error = error if isinstance(error, VmsError) else VmsError("the gateway met a bug; see its log")
        self._tell()

    def _take(self, event: FeedEvent) -> None:
        self._refused = self._error = None
        if isinstance(event, TimedUnit):
            self._take_unit(LiveUnit(event))
        elif isinstance(event, Dropped):
            self._forget_group()
            for viewer in list(self._viewers):
                if not contained("a viewer", lambda v: v.drop_to_key(), viewer):
                    self._lose(viewer)
        elif isinstance(event, StreamState) and event != self.state:
            self.state = event
            self._tell()

    def _take_unit(self, unit: LiveUnit) -> None:
        first = self.config is None
        self.config = unit.timed.unit.config
        if unit.key:
            self._forget_group()
            self.begins_with_idr = has_idr(unit)
        if unit.key or self._group:
            self._group.append(unit)
            self._group_bytes += unit.size_bytes
        if self._group_bytes > MOST_GROUP_BYTES or len(self._group) > MOST_GROUP_UNITS:
            self._caught_up()
            self._forget_group()
        if first:
            self._expect_more()
            self._tell()
        elif self._catching_up is not None:
            self._expect_more()
        else:
            for viewer in list(self._viewers):
                if not contained("a viewer", viewer.push, unit):
                    self._lose(viewer)
            unit.put_away()

    def _expect_more(self) -> None:
        if self._catching_up is not None:
            self._catching_up.cancel()
        self._catching_up = asyncio.get_running_loop().call_later(CAUGHT_UP_SECONDS, self._caught_up)

    def _caught_up(self) -> None:
        """What the subscription began with is here: all viewers begin with it at one stroke."""
        if self._catching_up is None:
            return
        self._catching_up.cancel()
        self._catching_up = None
        for viewer in list(self._viewers):
            self.begin(viewer)

    def _interrupted(self) -> None:
        """What comes next begins with a key unit; what was cached is not live any more."""
        if self._catching_up is not None:
            self._catching_up.cancel()
            self._catching_up = None
        self._forget_group()
        self.config = self.state = None

    def _forget_group(self) -> None:
        self._group, self._group_bytes = [], 0

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    # Viewers

    async def ready(self) -> CodecConfig:
        """Wait until the stream is known to be live. Refusal `unknown_stream` or `source_not_live`."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            if self._refused is not None:
                raise Refusal("unknown_stream", "no such stream is recorded or relayed here")
            if self._error is not None:
                raise Refusal("source_not_live", str(self._error), RETRY_AFTER_SECONDS)
            if self.state is not None and self.state.state not in LIVE_STATES:
                why = self.state.reason.value if self.state.reason else self.state.state
                raise Refusal("source_not_live", f"the camera is not received now: {why}", RETRY_AFTER_SECONDS)
            if self.live:
                assert self.config is not None
                return self.config
            patience = STATE_SECONDS if self.state is None else PICTURE_SECONDS
            left = began + patience - loop.time()
            if left <= 0:
                raise Refusal("source_not_live", "no picture came from the camera", RETRY_AFTER_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._changed.wait()

    def join(self, viewer: Viewer) -> None:
        """Serve this viewer from now on, from the group of pictures under way if there is one."""
        if viewer not in self._viewers:
            self._viewers.append(viewer)
            if self._catching_up is None:
                self.begin(viewer)

    def begin(self, viewer: Viewer) -> bool:
        """Give a viewer the group of pictures under way; False when there is none and it has to wait for the next."""
        if not self._group:
            return False
        if not contained("a viewer", viewer.begin, self._group):
            self._lose(viewer)
        for unit in self._group:
            unit.put_away()
        return True

    def _lose(self, viewer: Viewer) -> None:
        log.error("a viewer of stream %s is given up", self.stream_id)
        self.leave(viewer)
        viewer.give_up()

    def leave(self, viewer: Viewer) -> None:
        if viewer in self._viewers:
            self._viewers.remove(viewer)


def has_idr(unit: LiveUnit) -> bool:
    """Whether a key unit is one that every decoder can begin with, in H.264 an IDR picture (ITU-T H.264 §7.4.1.2.4)."""
    if unit.timed.unit.config.codec is not Codec.H264:
        return True
    try:
        return any(nal[0] & 31 == IDR for nal in split_nals(unit.timed.unit.data))
    except MalformedError:
        return False


class Sources:
    """The sources there are. `hold` makes one, or finds it; it ends `LINGER_SECONDS` after the last `release`."""

    def __init__(self, tasks: asyncio.TaskGroup, metrics: Metrics) -> None:
        self._tasks, self._metrics = tasks, metrics
        self._sources: dict[object, tuple[Source, asyncio.Task[None]]] = {}
        self._lingering: dict[object, asyncio.TimerHandle] = {}
        metrics.live_sources.set(0)

    def hold(self, key: object, make: Callable[[], Source]) -> Source:
        """The source under `key`: a stream's id, or what stands for something made of one."""
        if key in self._lingering:
            self._lingering.pop(key).cancel()
        found = self._sources.get(key)
        if found is None:
            source = make()
            task = self._tasks.create_task(source.run(), name=f"live source {key}")
            found = self._sources[key] = source, task
            self._metrics.live_sources.set(len(self._sources))
        found[0].holders += 1
        return found[0]

    def release(self, key: object) -> None:
        found = self._sources.get(key)
        if found is None:
            return
        source = found[0]
        source.holders -= 1
        if source.holders == 0 and source.unknown:
            self._end(key)
        elif source.holders == 0:
            self._lingering[key] = asyncio.get_running_loop().call_later(LINGER_SECONDS, self._end, key)

    def has(self, key: object) -> bool:
        return key in self._sources

    def count_held(self, kind: type) -> int:
        """How many there are under keys of this type that somebody wants; the others end now."""
        for key in [k for k in self._lingering if isinstance(k, kind)]:
            self._lingering[key].cancel()
            self._end(key)
        return sum(isinstance(key, kind) for key in self._sources)

    def _end(self, key: object) -> None:
        self._lingering.pop(key, None)
        found = self._sources.pop(key, None)
        if found is not None:
            found[1].cancel()
        self._metrics.live_sources.set(len(self._sources))

    def close(self) -> None:
        """End all of them."""
        for handle in self._lingering.values():
            handle.cancel()
        for key in list(self._sources):
            self._end(key)
