"""Publishing: live streams over RTSP for VLC and other systems. A process of its own, off until asked for.

Owns which paths exist, who may watch, and the log of views. It reads the recorder's feed like any other reader, once per
watched stream, and makes RTP of its own; nothing a viewer does reaches the recorder. Paths: `camera/7`, `camera/7/sub`,
`camera/7/audio`, and `stream/UUID` for each.

Invariants: beyond loopback nobody gets in without a consumer's credential; not a picture goes out before the view is in
the access log; what is disabled, not allowed or unknown gets one and the same answer, 404.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from recorder.publish_channel import Channel, PacedWire, PublishedStream, Watching, described_alike
from vms.assignment import Assignment, read_assignment
from vms.errors import MalformedError, UserError, VmsError
from vms.feed import FeedClient
from vms.metrics import Metrics, MetricsServer
from vms.model import StreamKind
from vms.processes import run_process, site_of
from vms.rtsp.auth import ServerAuth
from vms.rtsp.outlet import Outlet
from vms.rtsp.provider import PROPER, Manners, Offer, Viewer
from vms.rtsp.server import RtspServer, ServerEvent
from vms.settings import Listen, PublishingSection, local_host_name
from vms.site import AccessEntry, Site
from vms.timeline import TimeRange

log = logging.getLogger(__name__)

DESCRIBE_SECONDS = 8.0  # for the first picture of a stream nobody watched; then 503
LINGER_SECONDS = 10.0  # a stream nobody watches any more is read for so long
LOOK_SECONDS = 1.0  # between two looks at the assignment
NOBODY = "unnamed"  # a viewer on this machine, where no consumer is set up


def published_streams(assignment: Assignment) -> dict[str, PublishedStream]:
    """What there is to watch, by path. Pure. A disabled camera and sound that may not be recorded are not there."""
    found: dict[str, PublishedStream] = {}
    for camera in assignment.cameras:
        if not camera.enabled:
            continue
        for stream in camera.streams:
            if stream.kind is StreamKind.AUDIO and not camera.audio:
                continue
            published = PublishedStream(stream.id, camera.camera_id, camera.number, camera.name, stream.kind)
            tail = "" if stream.kind is StreamKind.MAIN else f"/{stream.kind.value}"
            found[f"camera/{camera.number}{tail}"] = published
            found[f"stream/{stream.id}"] = published
    return found


class ViewLog:
    """Writes views to the site's access log, in order and off the event loop."""

    def __init__(self, write: Callable[[AccessEntry], None]) -> None:
        self._write = write
        self._thread = ThreadPoolExecutor(1, "access-log")

    def put(self, entry: AccessEntry) -> asyncio.Future[bool]:
        """Whether the entry is on disk, once that is known."""
        return asyncio.get_running_loop().run_in_executor(self._thread, self._put, entry)

    def _put(self, entry: AccessEntry) -> bool:
        try:
            self._write(entry)
        except VmsError as error:
            log.error("a view of camera %d could not be written to the access log: %s", entry.camera_number, error)
            return False
        return True

    def close(self) -> None:
        """Wait until everything is written."""
        self._thread.shutdown(wait=True)


class Publisher:
    """What the RTSP server serves (`vms.rtsp.provider.StreamProvider`). `run` keeps it up to date and reads the feed."""

    def __init__(self, site: Site, section: PublishingSection, metrics: Metrics, views: ViewLog) -> None:
        self.paths: dict[str, PublishedStream] = {}
        self.channels: dict[object, tuple[Channel, asyncio.Task[None]]] = {}
        self.server: RtspServer | None = None
        self._site, self._metrics, self._views = site, metrics, views
        self._feed = FeedClient(site.settings.feed.socket)
        passwords = {c.name: c.password for c in section.consumers}
        self._gate: ServerAuth | None = None
        if passwords:
            self._gate = ServerAuth("stroz", lambda user: p.reveal() if (p := passwords.get(user)) else None)
        self._tasks: asyncio.TaskGroup | None = None
        self._seen: tuple[int, int] | None = None

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            try:
                while True:
                    await asyncio.sleep(LOOK_SECONDS)
                    await self.look()
            finally:
                self._tasks = None
                for _, task in self.channels.values():
                    task.cancel()

    async def look(self) -> None:
        """Read the assignment if it changed; end what is gone, and what nobody watches any more."""
        file = self._site.assignment_file
        with contextlib.suppress(OSError):
            facts = await asyncio.to_thread(file.stat)
            version = facts.st_mtime_ns, facts.st_ino
            if version != self._seen:
                try:
                    assignment = await asyncio.to_thread(read_assignment, file, self._site.sealer)
                except MalformedError as error:
                    log.error("the assignment cannot be read, going on with the last one: %s", error)
                else:
                    self.paths = published_streams(assignment)
                self._seen = version
        self._tidy()

    def _tidy(self) -> None:
        there = {stream.stream_id for stream in self.paths.values()}
        for stream_id, (channel, task) in list(self.channels.items()):
            if stream_id not in there:
                channel.end_all()
            if not channel.viewers and (
                stream_id not in there or time.monotonic() - channel.used_mono > LINGER_SECONDS
            ):
                task.cancel()
                del self.channels[stream_id]

    # StreamProvider

    async def describe(self, path: str) -> Offer | None:
        stream = self.paths.get(path.lower())
        if stream is None:
            return None
        channel = self._channel(stream)
        if channel is None:
            return None
        async with asyncio.timeout(DESCRIBE_SECONDS):  # its TimeoutError is answered 503
            config = await channel.known()
        return Offer((config,), name=f"{stream.camera_number} {stream.camera_name}")

    def play(self, path: str, outlets: Mapping[int, Outlet], viewer: Viewer) -> Watching | None:
        stream = self.paths.get(path.lower())
        outlet = outlets.get(0)
        channel = None if stream is None else self._channel(stream)
        if stream is None or outlet is None or channel is None:
            return None
        if channel.config is None or not described_alike(channel.config, outlet.config):
            return None
        if not outlet.wire.interleaved and not isinstance(outlet.wire, PacedWire):
            outlet.wire = PacedWire(outlet.wire)
        consumer, began_ns = viewer.user or NOBODY, time.time_ns()
        sessions = self._metrics.published_sessions.labels(consumer)

        def entry(what: str, start_ns: int, end_ns: int) -> AccessEntry:
            return AccessEntry(
                at_ns=time.time_ns(),
                what=what,
                camera_id=str(stream.camera_id),
                camera_number=stream.camera_number,
                camera_name=stream.camera_name,
                range=TimeRange(start_ns, max(end_ns, start_ns + 1)),
                reason=f"RTSP session {viewer.session} of the {stream.kind.value} stream, from {viewer.peer}",
                who=consumer,
            )

        def admit() -> asyncio.Future[bool]:
            sessions.inc()
            return self._views.put(entry("view_begun", began_ns, began_ns))

        def on_stop(first_ns: int | None) -> None:
            sessions.dec()
            start_ns = began_ns if first_ns is None else min(began_ns, first_ns)
            self._views.put(entry("view", start_ns, time.time_ns()))

        return Watching(
            channel, outlet, admit=admit, on_stop=on_stop, end_session=lambda: self._end_session(viewer.session)
        )

    def manners(self, _path: str) -> Manners:
        return PROPER

    def gate(self, _path: str) -> ServerAuth | None:
        return self._gate

    def _end_session(self, session: str) -> None:
        if self.server is not None:
            self.server.end(session)

    def _channel(self, stream: PublishedStream) -> Channel | None:
        """The stream's reader, started if need be; None while we are ending."""
        found = self.channels.get(stream.stream_id)
        if found is not None:
            return found[0]
        if self._tasks is None:
            return None
        channel = Channel(stream, self._feed)
        task = self._tasks.create_task(channel.run(), name=f"publish {stream.stream_id}")
        self.channels[stream.stream_id] = channel, task
        return channel


def on_event(event: ServerEvent) -> None:
    """Into the log: who came and went, and who was turned away."""
    who = event.viewer.user or NOBODY
    if event.kind == "refused":
        log.warning("wrong RTSP credentials for %r from %s", who, event.viewer.peer)
    else:
        log.info("RTSP %s by %s from %s: %s", event.kind, who, event.viewer.peer, event.path)


def check_section(section: PublishingSection) -> None:
    """UserError when this would be open to the network without credentials."""
    if not section.listen.is_loopback and not section.consumers:
        raise UserError(
            f"{section.listen} is open to the network, so somebody must be named who may watch: "
            "add --consumer NAME --password-file FILE, or [[publishing.consumers]] to the settings"
        )


def addresses(paths: Mapping[str, PublishedStream], listen: Listen) -> list[tuple[str, PublishedStream]]:
    """The URL of each published stream, in order of cameras; without credentials."""
    host = listen.host if listen.host not in ("0.0.0.0", "::") else local_host_name()  # noqa: S104 - compared only
    base = Listen(host, listen.port)
    kinds = list(StreamKind)
    named = [(p, s) for p, s in paths.items() if p.startswith("camera/")]
    named.sort(key=lambda item: (item[1].camera_number, kinds.index(item[1].kind)))
    return [(f"rtsp://{base}/{path}", stream) for path, stream in named]


async def run_publish(
    site: Site,
    section: PublishingSection | None = None,
    on_start: Callable[[Publisher, Listen], None] | None = None,
) -> None:
    """Build, run until cancelled, undo in reverse. `section` overrides the settings. UserError when it cannot start."""
    section = section or site.settings.publishing
    check_section(section)
    metrics = Metrics.create()
    with contextlib.ExitStack() as undo:
        try_to_take = undo.enter_context(site.hold("publish"))
        if not try_to_take():
            raise UserError(f"streams of {site.path} are published already; stop that process first")
        undo.enter_context(MetricsServer.start(metrics.page, site.run / "publish.metrics"))
        views = ViewLog(site.access_log)
        undo.callback(views.close)
        publisher = Publisher(site, section, metrics, views)
        await publisher.look()
        server = publisher.server = RtspServer(publisher, on_event=on_event)
        try:
            await server.start(section.listen.host, section.listen.port)
        except OSError as error:
            raise UserError(
                f"cannot listen on {section.listen}: {error.strerror or error}; set publishing.listen"
            ) from error
        try:
            listen = replace(section.listen, port=server.port)
            log.info("publishing %d streams on %s", len(addresses(publisher.paths, listen)), listen)
            if on_start is not None:
                on_start(publisher, listen)
            await publisher.run()
        finally:
            await server.close()


def main() -> None:
    """`python -m recorder.publish --data DIR`; the recorder host starts it when `publishing.enabled`."""
    site, _ = site_of(argparse.ArgumentParser(prog="recorder.publish"))
    run_process(lambda: run_publish(site))


if __name__ == "__main__":
    main()
