"""What the web process knows of the site from second to second: cameras and what they do.

Owns one reading for all: a task asks the recorder's feed and the catalogue's registry once a second, and everybody, routes
and WebSockets alike, looks at the result. Who may see which part of it is asked where it is shown. What a stream does is
judged by the same function as in `vms status`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from uuid import UUID

from storage.catalogue import Catalogue
from vms.clock import Clock
from vms.errors import CatalogueError, SourceError, UserError
from vms.feed import FeedClient
from vms.localtime import LATEST_NS
from vms.model import Camera, RunClock, Stream, StreamKind
from vms.status.site_status import Level, StreamLine, judge
from web.identity.refusals import Code, Refusal

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
FEED_SECONDS = 3.0
UNREAD_RETRY_SECONDS = 2


@dataclass(frozen=True, slots=True)
class StreamNow:
    """What is received of a stream. None: nothing was yet."""

    codec: str | None = None
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    reorder: bool | None = None

    @property
    def browser(self) -> Literal["plays", "h265", "b_frames", "unknown"]:
        """Whether a browser shows it as it is: H.264 without B-frames, which WebRTC has no place for."""
        if self.codec == "hevc":
            return "h265"
        if self.codec != "h264" or self.reorder is None:
            return "unknown"
        return "b_frames" if self.reorder else "plays"


@dataclass(frozen=True, slots=True)
class CameraNow:
    """What a camera does: `live` while a picture of any of its video streams comes in."""

    state: str = "unknown"
    since_ns: int | None = None
    reason: str | None = None
    retry_ns: int | None = None
    recording: bool | None = None  # whether all that should be recorded is; None: nothing should, or nobody knows
    streams: Mapping[UUID, StreamNow] = field(default_factory=dict)
    clocks: Mapping[str, Literal["camera", "server"]] = field(
        default_factory=dict
    )  # whose time a stream's pictures bear


class Watch:
    """`cameras` without secrets and the `version` of the registry they are of, `now` by camera."""

    def __init__(self, catalogue: Catalogue, feed: FeedClient, clock: Clock) -> None:
        self._catalogue, self._feed, self._clock = catalogue, feed, clock
        self.cameras: dict[UUID, Camera] = {}
        self.now: dict[UUID, CameraNow] = {}
        self.recorder_answers: bool | None = None  # None: not asked yet
        self.catalogue_answers: bool | None = None
        self.version: tuple[int, int] | None = None
        self._reading = asyncio.Lock()

    def registered(self) -> Mapping[UUID, Camera]:
        """All cameras, for answers that tell that one is not there. Refusal CATALOGUE_AWAY while none was read yet."""
        if self.version is None:
            raise Refusal(Code.CATALOGUE_AWAY, "the cameras have not been read yet", retry_after=UNREAD_RETRY_SECONDS)
        return self.cameras

    async def run(self) -> None:
        """Look once a second, for ever."""
        while True:
            await self.look()
            await self._clock.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """One reading of both; the cameras first, for the feed's states are theirs."""
        await self.read_cameras()
        await self.read_states()

    async def read_cameras(self) -> None:
        """The registry, if it changed since the last time. One at a time: an older answer never replaces a newer one."""
        async with self._reading:
            try:
                version = await self._catalogue.registry_version()
                if version != self.version:
                    found = await self._catalogue.cameras(include_retired=True)
                    self.cameras = {c.id: replace(c, username="", password="") for c in found}
                    self.version = version
            except CatalogueError as error:
                if self.catalogue_answers:
                    log.warning("the cameras cannot be read: %s", error)
                self.catalogue_answers = False
            else:
                self.catalogue_answers = True

    async def read_states(self) -> None:
        """What the recorder says of every stream."""
        try:
            async with asyncio.timeout(FEED_SECONDS):
                states: Sequence[Mapping[str, Any]] | None = await self._feed.states()
        except (SourceError, UserError, TimeoutError):
            states = None
        self.recorder_answers = states is not None
        self.now = states_of(self.cameras.values(), states, self.now, self._clock.wall_ns())


def states_of(
    cameras: Any, states: Sequence[Mapping[str, Any]] | None, before: Mapping[UUID, CameraNow], now_ns: int
) -> dict[UUID, CameraNow]:
    """What every camera in service does, from the feed's answer (None: it gave none) and what it did before. Pure."""
    told = {str(s.get("stream_id")): s for s in states or () if isinstance(s, Mapping)}
    found = {}
    for camera in cameras:
        if camera.retired_ns is not None:
            continue
        was = before.get(camera.id)
        now = _camera_now(camera, told, now_ns, answers=states is not None, was=was)
        same = was is not None and (was.state, was.reason) == (now.state, now.reason)
        since = was.since_ns if same and was is not None else now.since_ns or now_ns
        found[camera.id] = replace(now, since_ns=since)
    return found


def _camera_now(
    camera: Camera, told: Mapping[str, Mapping[str, Any]], now_ns: int, *, answers: bool, was: CameraNow | None
) -> CameraNow:
    video = [s for s in camera.streams if s.kind is not StreamKind.AUDIO]
    known = dict(was.streams) if was is not None else {}
    streams = {s.id: _stream_now(told[str(s.id)]) if str(s.id) in told else known.get(s.id, StreamNow()) for s in video}
    if not camera.enabled or not video:
        return CameraNow("off", reason="disabled_by_operator" if video else None, streams=streams)
    if not answers:
        return CameraNow("unknown", reason="recorder_down", recording=None, streams=streams)
    lines = [_line(camera, s, told.get(str(s.id)), now_ns) for s in video]
    recorded = [line for line in lines if line.record]
    recording = all(line.level is Level.GOOD for line in recorded) if recorded else None
    best = min(lines, key=lambda line: (Level.GOOD, Level.STARTING, Level.BAD, Level.OFF).index(line.level))
    state = {Level.GOOD: "live", Level.STARTING: "connecting", Level.BAD: "lost", Level.OFF: "off"}[best.level]
    reason = None if state == "live" else best.reason or best.word.replace(" ", "_")
    retries = [told[str(s.id)].get("retry_wall_ns") for s in video if str(s.id) in told] if state == "lost" else []
    retry_ns = min((ns for ns in retries if isinstance(ns, int) and 0 < ns < LATEST_NS), default=None)
    clocks = {s.kind.value: clock for s in video if (clock := _clock_of(told.get(str(s.id), {}))) is not None}
    return CameraNow(state, best.since_ns if state == "lost" else None, reason, retry_ns, recording, streams, clocks)


def _clock_of(facts: Mapping[str, Any]) -> Literal["camera", "server"] | None:
    """None: nothing is received, or the recorder does not say."""
    clock = facts.get("run_clock")
    return None if not isinstance(clock, str) else "camera" if clock == RunClock.CAMERA.value else "server"


def _line(camera: Camera, stream: Stream, facts: Mapping[str, Any] | None, now_ns: int) -> StreamLine:
    who = StreamLine(
        camera.number, camera.name, stream.kind.value, str(stream.id), Level.BAD, "no answer", record=stream.record
    )
    return who if facts is None else judge(who, facts, now_ns)


def _stream_now(facts: Mapping[str, Any]) -> StreamNow:
    """What the recorder says of a stream; believes no shape."""
    codec, depth, fps = facts.get("codec"), facts.get("reorder_depth"), facts.get("fps")
    if not isinstance(codec, str):
        return StreamNow()
    sizes = [v if isinstance(v, int) and v > 0 else None for v in (facts.get("width"), facts.get("height"))]
    return StreamNow(
        codec, sizes[0], sizes[1],
        round(float(fps), 2) if isinstance(fps, int | float) and 0 < fps < 1000 else None,
        depth > 0 if isinstance(depth, int) else None,
    )  # fmt: skip
