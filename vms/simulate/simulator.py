"""The simulator: N cameras on one RTSP server (or one each), fed from footage, with faults by script or on command.

Owns the cameras' state and implements the server's `StreamProvider`. Prints nothing; `state()` tells what happened.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from vms.errors import UserError
from vms.rtsp.auth import ServerAuth
from vms.rtsp.outlet import Outlet
from vms.rtsp.provider import Manners, Offer, Playback, Viewer
from vms.rtsp.server import Limits, RtspServer, ServerEvent
from vms.simulate import footage as files
from vms.simulate import materials
from vms.simulate.camera import CameraScript, Counters, Listener, Stream
from vms.simulate.footage import Clip, Recoding
from vms.simulate.journal import Journal
from vms.simulate.options import SCHEMES, SimulatorOptions, scripts_of
from vms.simulate.packets import Reel
from vms.simulate.quirks import KNOWN
from vms.simulate.sdp_edits import edit
from vms.simulate.wheel import Wheel

STALE_NONCE_SECONDS = 1.0
_GOLDEN = Fraction(618_034, 1_000_000)  # successive phases that stay far apart for any number of cameras


@dataclass(frozen=True, slots=True)
class StreamState:
    """One stream for people: sessions now, and counters since the start."""

    path: str
    sessions: int
    counters: Counters


@dataclass(frozen=True, slots=True)
class SimulatorState:
    """`late_ns` is the worst delay of the simulator's own timer: footage left late by so much."""

    streams: tuple[StreamState, ...]
    late_ns: int


@dataclass(slots=True)
class _Camera:
    script: CameraScript
    streams: dict[str, Stream]
    gate: ServerAuth | None
    manners: Manners
    server: RtspServer
    port: int = 0
    down: str = ""  # "", "refuse" or "missing"
    timers: list[asyncio.TimerHandle] = field(default_factory=list)


class Simulator:
    """Start, use, close. All methods belong to the event loop it was started on."""

    def __init__(
        self,
        options: SimulatorOptions,
        *,
        tls: ssl.SSLContext | None = None,
        on_record: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self._options = options
        self._scripts = scripts_of(options)
        self._tls = tls
        self._on_record = on_record
        self._cameras: dict[str, _Camera] = {}
        self._servers: list[RtspServer] = []
        self._wheel = Wheel()
        self._journal = Journal()
        self._flush: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Read (and for some quirks recode) the footage, then listen. Raises `UserError`; nothing is left running."""
        options = self._options
        clips = await asyncio.to_thread(self._clips)
        self._journal = Journal(options.log, self._on_record)
        try:
            await self._build(clips)
        except OSError as error:
            await self.close()
            raise UserError(
                f"Port {options.port} on {options.host} cannot be used ({error.strerror or error}); choose another."
            ) from error
        self._flush = asyncio.get_running_loop().call_later(1.0, self._flush_journal)
        for name in self._cameras:
            self._arm_faults(name)

    async def close(self) -> None:
        """End every session and stop listening."""
        self._wheel.close()
        for camera in self._cameras.values():
            for timer in camera.timers:
                timer.cancel()
        for server in self._servers:
            await server.close()
        if self._flush:
            self._flush.cancel()
        self._journal.close()

    def url(self, camera: str, *, sub: bool = False, credentials: bool = False) -> str:
        """`rtsp://host:port/cam0` or `…/cam0/sub`; `rtsps` with TLS."""
        found = self._camera(camera)
        user = f"{found.script.auth}@" if credentials and found.script.auth else ""
        scheme = "rtsps" if self._tls else "rtsp"
        return f"{scheme}://{user}{self._options.host}:{found.port}/{camera}{'/sub' if sub else ''}"

    def state(self) -> SimulatorState:
        streams = []
        for name, camera in self._cameras.items():
            for kind, stream in camera.streams.items():
                path = _path(name, kind)
                sessions = sum(s.path == path and s.playback is not None for s in camera.server.sessions.values())
                streams.append(StreamState(path, sessions, dataclasses.replace(stream.counters)))
        return SimulatorState(tuple(streams), self._wheel.late_ns)

    def disconnect(self, camera: str) -> int:
        """Cut every connection of the camera, as a power cut does; it answers again at once. How many were cut."""
        self._event("disconnect", camera)
        return self._camera(camera).server.drop(camera)

    def stall(self, camera: str, seconds: float) -> None:
        """Let the camera send nothing for so long, with its connections open."""
        for stream in self._camera(camera).streams.values():
            stream.stall(seconds)
        self._event("stall", camera, seconds=seconds)

    def lose(self, camera: str, share: float, seconds: float) -> None:
        """Let this share of the camera's packets be lost for so long."""
        for stream in self._camera(camera).streams.values():
            stream.lose(share, seconds)
        self._event("lose", camera, share=share, seconds=seconds)

    async def stop_camera(self, camera: str, *, missing: bool = False) -> None:
        """Cut it and keep it away: refusing, or (`missing`) answering 404, until `start_camera`."""
        found = self._camera(camera)
        found.down = "missing" if missing else "refuse"
        if self._options.own_ports and not missing:
            await found.server.stop_listening()
        found.server.drop(camera)
        self._event("stop", camera, missing=missing)

    async def start_camera(self, camera: str) -> None:
        """Answer again after `stop_camera`."""
        found = self._camera(camera)
        if found.down == "refuse" and self._options.own_ports:
            await found.server.start(self._options.host, found.port, self._tls)
        found.down = ""
        self._event("start", camera)

    # StreamProvider

    async def describe(self, path: str) -> Offer | None:
        name, stream = self._find(path)
        if stream is None or self._cameras[name].down:
            return None
        quirks = stream.script.quirks
        config = stream.reel.clip.config
        return Offer((config,), name, (stream.reel.ssrc,), lambda body: edit(body, config.codec, quirks))

    def play(self, path: str, outlets: Mapping[int, Outlet], viewer: Viewer) -> Playback | None:
        name, stream = self._find(path)
        if stream is None or self._cameras[name].down or 0 not in outlets:
            return None
        return Listener(stream, outlets[0], viewer, self._journal)

    def manners(self, path: str) -> Manners:
        name, _ = self._find(path)
        camera = self._cameras.get(name)
        if camera is None:
            return Manners()
        if camera.down == "refuse":
            return Manners(hang_up=True)
        if path.endswith("/here"):
            return dataclasses.replace(camera.manners, redirect="")
        return camera.manners

    def gate(self, path: str) -> ServerAuth | None:
        name, _ = self._find(path)
        camera = self._cameras.get(name)
        return camera.gate if camera else None

    # Building

    def _clips(self) -> dict[str, tuple[Clip, Clip | None]]:
        """Main and sub clip of every camera; each file read and recoded once. Runs in a thread."""
        read: dict[tuple[Path, frozenset[str]], Clip] = {}
        cache = self._options.cache_dir or materials.default_cache()
        clips: dict[str, tuple[Clip, Clip | None]] = {}
        for number, (name, script) in enumerate(self._scripts.items()):
            shown = self._options.footage[number % len(self._options.footage)]
            recoding = frozenset(q for q in script.quirks if KNOWN[q].recode)
            for path, quirks in ((shown.main, recoding), (shown.sub, frozenset[str]())):
                if path is not None and (path, quirks) not in read:
                    read[path, quirks] = recoded_clip(path, quirks, cache)
            sub = read[shown.sub, frozenset()] if shown.sub else None
            clips[name] = (read[shown.main, recoding], sub)
        return clips

    async def _build(self, clips: dict[str, tuple[Clip, Clip | None]]) -> None:
        options = self._options
        reels: dict[tuple[int, frozenset[str]], Reel] = {}
        limits = Limits(options.session_timeout_s, options.write_buffer_bytes, 4096, 4096)
        for number, (name, script) in enumerate(self._scripts.items()):
            if options.own_ports or not self._servers:
                server = RtspServer(self, limits=limits, on_event=self._server_event)
                self._servers.append(server)
                port = options.port + number if options.port and options.own_ports else options.port
                await server.start(options.host, port, self._tls)
            shapes = frozenset(q for q in script.quirks if KNOWN[q].shapes)
            streams = {}
            for kind, clip in zip(("main", "sub"), clips[name], strict=True):
                if clip is None:
                    continue
                reel = reels.get((id(clip), shapes))
                if reel is None:
                    reel = reels[id(clip), shapes] = Reel(clip, shapes, str(options.seed))
                phase = number * _GOLDEN % 1
                streams[kind] = Stream(name, kind, reel, script, seed=str(options.seed), phase=phase, wheel=self._wheel)
            server = self._servers[-1]
            self._cameras[name] = _Camera(
                script, streams, _gate(script), self._manners_of(name, script, server.port), server, server.port
            )

    def _manners_of(self, name: str, script: CameraScript, port: int) -> Manners:
        fields: dict[str, Any] = {}
        for quirk in sorted(script.quirks):
            fields |= KNOWN[quirk].manners
        if "redirect" in script.quirks:
            fields["redirect"] = f"{'rtsps' if self._tls else 'rtsp'}://{self._options.host}:{port}/{name}/here"
        if script.transport != "both":
            fields["transports"] = (script.transport,)
        return Manners(**fields)

    # Faults by the clock

    def _arm_faults(self, name: str) -> None:
        """First stall and disconnect at a moment of the first period that the seed decides, then every period."""
        script = self._cameras[name].script
        rng = random.Random(f"{self._options.seed}:{name}:faults")  # noqa: S311 - wanted: the same every time
        for every, act in ((script.stall_every, self._stall_now), (script.disconnect_every, self._disconnect_now)):
            first = every * (0.5 + rng.random() / 2)
            if every > 0:
                self._later(name, first, lambda act=act, every=every: self._again(name, every, act))  # type: ignore[misc]

    def _again(self, name: str, every: float, act: Callable[[str], None]) -> None:
        self._later(name, every, lambda: self._again(name, every, act))
        act(name)

    def _stall_now(self, name: str) -> None:
        self.stall(name, self._cameras[name].script.stall_seconds)

    def _disconnect_now(self, name: str) -> None:
        camera = self._cameras[name]
        if camera.down:
            return
        self.disconnect(name)
        camera.down = "refuse"
        self._later(name, camera.script.disconnect_seconds, lambda: self._back(name))

    def _back(self, name: str) -> None:
        self._cameras[name].down = ""
        self._event("back", name)

    def _later(self, name: str, seconds: float, act: Callable[[], None]) -> None:
        camera = self._cameras[name]
        now = asyncio.get_running_loop().time()
        camera.timers = [t for t in camera.timers if not t.cancelled() and t.when() > now]
        camera.timers.append(asyncio.get_running_loop().call_later(seconds, act))

    # Small things

    def _camera(self, name: str) -> _Camera:
        try:
            return self._cameras[name]
        except KeyError:
            raise UserError(f"There is no camera {name}.") from None

    def _find(self, path: str) -> tuple[str, Stream | None]:
        name, _, rest = path.partition("/")
        camera = self._cameras.get(name)
        kind = {"": "main", "here": "main", "sub": "sub"}.get(rest, "")
        return name, camera.streams.get(kind) if camera else None

    def _server_event(self, event: ServerEvent) -> None:
        name, _ = self._find(event.path)
        if event.kind == "play" and name in self._cameras and "drops_after_play" in self._scripts[name].quirks:
            asyncio.get_running_loop().call_soon(self.disconnect, name)
        self._event(event.kind, event.path.partition("/")[0], path=event.path, session=event.viewer.session)

    def _event(self, kind: str, camera: str, **facts: Any) -> None:
        if self._journal.enabled:
            self._journal.write({"event": kind, "camera": camera, "utc_ns": time.time_ns(), **facts})

    def _flush_journal(self) -> None:
        self._journal.flush()
        self._flush = asyncio.get_running_loop().call_later(1.0, self._flush_journal)


def recoded_clip(path: Path, quirks: frozenset[str], cache: Path) -> Clip:
    """The clip that a camera with these footage quirks shows. Blocks while it is encoded the first time."""
    merged: dict[str, Any] = {}
    for name in sorted(quirks):
        change = KNOWN[name].recode
        if change is not None and not KNOWN[name].turns:
            default = Recoding("")
            fields = [f.name for f in dataclasses.fields(Recoding)]
            merged |= {f: getattr(change, f) for f in fields if getattr(change, f) != getattr(default, f)}
            merged["name"] = "-".join(sorted(n for n in quirks if not KNOWN[n].turns))
    if merged:
        path = files.recoded(path, cache, Recoding(**merged))
    clip = files.read_clip(path)
    for name in sorted(quirks):
        change, turns = KNOWN[name].recode, KNOWN[name].turns
        if change is None or not turns:
            continue
        gop = files.probe(path).gop
        gops = len(clip.units) // gop
        original = files.read_clip(files.recoded(path, cache, Recoding("as-it-is")))
        other = files.read_clip(files.recoded(path, cache, change))
        clip = files.in_turn(original, other, gop if turns == "gop" else max(1, gops // 2) * gop)
    return clip


def _gate(script: CameraScript) -> ServerAuth | None:
    if not script.auth:
        return None
    user, _, password = script.auth.partition(":")
    lifetime = STALE_NONCE_SECONDS if "stale_nonce" in script.quirks else 300.0
    return ServerAuth(
        "camera",
        lambda given: password if given == user else None,
        schemes=SCHEMES[script.auth_scheme],
        nonce_seconds=lifetime,
    )


def _path(name: str, kind: str) -> str:
    return name if kind == "main" else f"{name}/sub"


@contextlib.asynccontextmanager
async def running(
    options: SimulatorOptions,
    *,
    tls: ssl.SSLContext | None = None,
    on_record: Callable[[dict[str, Any]], None] | None = None,
) -> AsyncIterator[Simulator]:
    """A started simulator that is closed at the end of the block."""
    simulator = Simulator(options, tls=tls, on_record=on_record)
    await simulator.start()
    try:
        yield simulator
    finally:
        await simulator.close()


async def simulate(options: SimulatorOptions, on_start: Callable[[Simulator], None] | None = None) -> None:
    """Run until cancelled. `on_start` gets the simulator once it listens: ask it for `state()` and `url()`."""
    async with running(options) as simulator:
        if on_start:
            on_start(simulator)
        await asyncio.Event().wait()
