"""A recorder worker: many streams on one event loop, started and stopped as the assignment says.

Owns which recordings run in this process. The composition is `run_worker`: it reads in order and is undone in reverse.
Workers share the spool's folder and nothing else; camera c belongs to worker `c.id mod workers`, so that a camera keeps
its worker whatever happens to others. It needs the sealed assignment and the spool: no catalogue, no store.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from prometheus_client import Counter

from recorder.feed_server import FeedServer, serve, state_of
from recorder.giving_up import GivingUp
from recorder.leavings import Leavings, read_leavings, settle_orphans
from recorder.recording import Recording, StreamStatus
from recorder.segmenter import SegmentPolicy
from recorder.sessions import SessionFolder
from recorder.sources import PacketSource, SourceTarget
from recorder.sources.auto import DeferredSource, source_for
from recorder.track import Host, Track
from storage.reader import Reader
from storage.shedding import Shedding
from storage.spool import Spool
from vms.assignment import Assignment, CameraAssignment, read_assignment
from vms.clock import SystemClock
from vms.errors import MalformedError
from vms.localtime import day_range
from vms.metrics import UNKNOWN, Metrics, MetricsServer
from vms.model import GapReason, Stream, StreamKind
from vms.ntp import HostClock, HostClockWatch, boot_id
from vms.observe import log_context
from vms.processes import run_process, site_of
from vms.rtsp.client import RtspOptions
from vms.rtsp.turns import ReadTurns
from vms.settings import local_host_name
from vms.site import Site
from vms.supervise import Backoff, keep_running

log = logging.getLogger(__name__)

ASSIGNMENT_POLL_SECONDS = 0.5
METRICS_SECONDS = 1.0
LAG_SECONDS = 0.1
SWITCH_SECONDS = 0.0005
PRIORITY = -10  # a niceness
STALL_MARGIN_S = 0.7  # so that a stall is noticed, and its gap opened, within the time that was set
SIDE_TASKS = Backoff(after_bug=1.0)
RECONNECT_SPREAD_S = 0.02  # between the first connections of a start: 190 cameras take four seconds


@dataclass(frozen=True, slots=True)
class Job:
    """One session to hold: a camera's main stream with its audio, or its sub-stream. Equal jobs need no restart."""

    camera: CameraAssignment
    stream: Stream
    audio: Stream | None

    @property
    def target(self) -> SourceTarget:
        camera = self.camera
        return SourceTarget(self.stream.url, camera.username, camera.password, camera.transport, camera.certificate_pin)


def jobs_of(assignment: Assignment, index: int, workers: int) -> dict[UUID, Job]:
    """The sessions that worker `index` of `workers` must hold, by stream id of their video. Pure."""
    jobs = {}
    for camera in assignment.cameras:
        if not camera.enabled or camera.camera_id.int % workers != index:
            continue
        audio = next((s for s in camera.streams if s.kind is StreamKind.AUDIO), None) if camera.audio else None
        for stream in camera.streams:
            if stream.kind is not StreamKind.AUDIO:
                jobs[stream.id] = Job(camera, stream, audio if stream.kind is StreamKind.MAIN else None)
    return jobs


def recorded_streams(assignment: Assignment) -> set[UUID]:
    """Streams that some worker of this host records, sound included. Pure."""
    jobs = jobs_of(assignment, 0, 1).values()
    return {stream.id for job in jobs for stream in (job.stream, job.audio) if stream is not None and stream.record}


class Recordings:
    """The running recordings of this worker."""

    def __init__(self, site: Site, spool: Spool, clock: SystemClock, tasks: asyncio.TaskGroup) -> None:
        recorder = site.settings.recorder
        self._site, self._spool, self._clock, self._tasks = site, spool, clock, tasks
        self._host = Host(
            name=site.settings.site.host or local_host_name(),
            boot_id=boot_id(),
            policy=SegmentPolicy(target_ns=recorder.segment_seconds * 1_000_000_000),
            digests=recorder.digests,
        )
        self._patience_s = recorder.stall_timeout_seconds - STALL_MARGIN_S
        self.host_clock = HostClockWatch(clock)
        self._sessions = site.run / "sessions"
        self._turns = ReadTurns()
        self._settling: asyncio.Task[None] | None = None
        self._running: dict[UUID, tuple[Job, Recording, asyncio.Task[None]]] = {}

    async def follow(self, wanted: dict[UUID, Job]) -> None:
        """Start what is new, stop what is gone, restart what is different."""
        ending = []
        for stream_id, (job, recording, task) in list(self._running.items()):
            new = wanted.get(stream_id)
            if new == job:
                continue
            if new is None:
                recording.stop_reason, recording.stop_detail = GapReason.DISABLED, "switched off or removed"
            else:
                recording.stop_detail = "the camera's settings changed"
            task.cancel()
            ending.append(task)
            del self._running[stream_id]
        if ending:
            await asyncio.wait(ending)
        missing = [job for stream_id, job in wanted.items() if stream_id not in self._running]
        left = await self._leavings() if missing else None
        for job in missing:
            self._start(job, left)
            await asyncio.sleep(RECONNECT_SPREAD_S)

    async def _leavings(self) -> Mapping[UUID, Leavings] | None:
        """What is in the spool, read once for all streams that start now."""
        try:
            return await asyncio.to_thread(read_leavings, self._spool)
        except OSError as error:
            log.error("the spool cannot be read, every stream tries for itself: %s", error.strerror)
            return None

    def settle_orphans(self, assignment: Assignment, index: int, workers: int) -> None:
        """Once per process: salvage what is left of streams that nobody records any more.

        Stream s is worker `s mod workers`'s, for its camera may not be known any more.
        """
        if self._settling is not None:
            return
        recorded = recorded_streams(assignment)

        def mine(stream_id: UUID) -> bool:
            return stream_id not in recorded and stream_id.int % workers == index

        async def settle() -> None:
            await settle_orphans(self._spool, mine, self._clock.wall_ns())
            await asyncio.Event().wait()  # it went well, and is not to be done again

        self._settling = self._tasks.create_task(keep_running("leftovers", settle), name="leftovers")

    def _start(self, job: Job, left: Mapping[UUID, Leavings] | None) -> None:
        camera, stream = job.camera, job.stream
        name = f"camera {camera.number} {stream.kind.value}"
        recording = Recording(
            name,
            self._source(job),
            self._spool,
            self._clock,
            video=self._track(stream, camera),
            audio=None if job.audio is None else self._track(job.audio, camera),
            left=left,
        )
        with log_context(camera=camera.number, stream=stream.kind.value, stream_id=str(stream.id)):
            task = self._tasks.create_task(recording.run(), name=name)
        self._running[stream.id] = job, recording, task

    def _track(self, stream: Stream, camera: CameraAssignment) -> Track:
        return Track(
            stream.id,
            self._host,
            self._spool,
            self._clock,
            record=stream.record,
            trust_clock=camera.trust_clock,
            host_clock=self.host_clock,
            since_ns=camera.since_ns.get(stream.id, 0),
        )

    def _source(self, job: Job) -> PacketSource:
        kind, owner = job.camera.source, str(job.stream.id)

        def build() -> PacketSource:
            options = RtspOptions(
                session_store=SessionFolder(self._sessions, owner),
                turns=self._turns,
                hurried=lambda: self._is_hurried(job.stream.id),
                turn_ended=lambda: self._end_turn(job.stream.id),
            )
            return source_for(job.target, kind, self._clock, options, self._patience_s)

        return DeferredSource(build, kind, self._patience_s)

    def _is_hurried(self, stream_id: UUID) -> bool:
        """Whether somebody watches, or arrival must be known to the picture."""
        running = self._running.get(stream_id)
        if running is None:
            return False
        mono_ns = self._clock.mono_ns()
        return any(
            track.relay.subscriptions or (track.clock_map is not None and track.clock_map.hurried(mono_ns))
            for track in running[1].tracks
        )

    def _end_turn(self, stream_id: UUID) -> None:
        running = self._running.get(stream_id)
        if running is not None:
            for track in running[1].tracks:
                track.end_turn()

    def track(self, stream_id: UUID) -> tuple[Recording, Track] | None:
        """The recording and track of a stream that runs here."""
        for _, recording, _ in self._running.values():
            for track in recording.tracks:
                if track.stream_id == stream_id:
                    return recording, track
        return None

    def states(self) -> list[dict[str, Any]]:
        """`GET /v1/streams` of this worker."""
        today = self._today_ns()
        return [
            state_of(
                status,
                camera=str(job.camera.camera_id),
                number=job.camera.number,
                name=job.camera.name,
                kind=(job.stream.kind if status.stream_id == job.stream.id else StreamKind.AUDIO).value,
            )
            for job, recording, _ in self._running.values()
            for status in recording.status(today)
        ]

    def running(self) -> Iterator[tuple[Job, Recording]]:
        for job, recording, _ in self._running.values():
            yield job, recording

    def _today_ns(self) -> int:
        return day_range(datetime.now(self._site.zone).date(), self._site.zone).start_ns


async def run_worker(site: Site, index: int, workers: int) -> None:
    """Build, run until cancelled, undo in reverse."""
    clock = SystemClock()
    metrics = Metrics.create()
    spool = Spool(site.spool, clock, on_flush=metrics.flush_seconds.observe)
    spool.prepare()
    name = f"recorder-{index}"
    reload = asyncio.Event()
    with MetricsServer.start(metrics.page, site.run / f"{name}.metrics"):
        try:
            async with asyncio.TaskGroup() as recordings_group, asyncio.TaskGroup() as tasks:
                recordings = Recordings(site, spool, clock, recordings_group)
                section = site.settings.spool
                giving_up = GivingUp(Shedding(spool, section, clock), section, clock, recordings.running)
                server = FeedServer(
                    track=recordings.track,
                    states=recordings.states,
                    reload=reload.set,
                    reader=Reader(None, spool, {}),
                    metrics=metrics,
                )
                async with serve(server.application(), str(site.run / f"{name}.sock")):
                    sides: dict[str, Callable[[], Awaitable[None]]] = {
                        "spool flush": spool.run,
                        "metrics": CarryOver(metrics, recordings).run,
                        "room": giving_up.run,
                        "loop lag": lambda: _measure_lag(metrics),
                    }
                    for what, work in sides.items():  # a bug in one of them must not end recordings
                        tasks.create_task(keep_running(what, work, backoff=SIDE_TASKS), name=what)
                    await _follow_assignment(site, recordings, giving_up, reload, index=index, workers=workers)
        finally:
            await spool.close()


async def _follow_assignment(
    site: Site, recordings: Recordings, giving_up: GivingUp, reload: asyncio.Event, *, index: int, workers: int
) -> None:
    """Look at the assignment twice a second, and at once when asked to.

    One that cannot be read is tried again each time. So is one that is gone after it was there: whoever switches cameras
    off writes another one, and a file that got lost is no reason to stop recording.
    """
    followed: tuple[int, int] | None = (-1, -1)
    told = ""
    while True:
        now = _version(site.assignment_file)
        if now != followed or reload.is_set():
            reload.clear()
            try:
                if now is None and followed not in ((-1, -1), None):
                    raise MalformedError("assignment", f"{site.assignment_file} is gone")
                assignment = read_assignment(site.assignment_file, site.sealer)
            except (MalformedError, OSError) as error:
                if str(error) != told:
                    told = str(error)
                    log.error("the assignment cannot be read, going on with the last one: %s", error)
            else:
                giving_up.follow(assignment)
                await recordings.follow(jobs_of(assignment, index, workers))
                recordings.settle_orphans(assignment, index, workers)
                followed, told = now, ""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(reload.wait(), ASSIGNMENT_POLL_SECONDS)


def _version(file: Path) -> tuple[int, int] | None:
    try:
        facts = file.stat()
    except OSError:
        return None
    return facts.st_mtime_ns, facts.st_ino


async def _measure_lag(metrics: Metrics) -> None:
    """How late a timer runs is how late everything on this loop runs."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LAG_SECONDS
        await asyncio.sleep(LAG_SECONDS)
        metrics.loop_lag.observe(max(0.0, loop.time() - due))


class CarryOver:
    """Carries the recordings' counters over to the metrics, once a second, outside their hot path."""

    def __init__(self, metrics: Metrics, recordings: Recordings) -> None:
        self._metrics, self._recordings = metrics, recordings
        self._seen: dict[tuple[UUID, str], float] = {}
        self._shown: set[tuple[str, str]] = set()

    async def run(self) -> None:
        while True:
            await asyncio.sleep(METRICS_SECONDS)
            self.once()

    def once(self) -> None:
        metrics, recordings = self._metrics, self._recordings
        show_host_clock(metrics, recordings.host_clock())
        before, self._shown = self._shown, set()
        given_up = 0
        for job, recording in recordings.running():
            for status in recording.status(None):
                given_up += status.reason is GapReason.SPOOL_FULL
                kind = job.stream.kind if status.stream_id == job.stream.id else StreamKind.AUDIO
                labels = str(job.camera.number), kind.value
                self._shown.add(labels)
                self._show(status, labels)
        metrics.spool_given_up_streams.set(given_up)
        for labels in before - self._shown:
            forget_state(metrics, *labels)

    def _show(self, status: StreamStatus, labels: tuple[str, str]) -> None:
        metrics, grow = self._metrics, partial(self._grow, status.stream_id)
        grow("units", status.units, metrics.access_units, *labels)
        grow("bytes", status.bytes, metrics.received_bytes, *labels)
        grow("damaged", status.damaged_units, metrics.damaged_units, *labels)
        grow("lost", status.lost_packets, metrics.lost_packets, *labels)
        grow("segments", status.segments, metrics.segments_sealed, *labels)
        grow("bugs", status.bugs, metrics.stream_bugs, *labels)
        for result, count in status.results.items():
            grow(f"result {result}", count, metrics.connections, *labels, result)
        for reason, ns in status.gap_ns_by_reason.items():
            grow(f"ns {reason.value}", ns / 1e9, metrics.gap_seconds, *labels, reason.value)
        for reason, count in status.gaps_by_reason.items():
            grow(f"gap {reason.value}", count, metrics.gaps, *labels, reason.value)
        metrics.recording.labels(*labels).set(status.state == "recording")
        if status.last_unit_wall_ns is not None:
            metrics.last_unit_timestamp.labels(*labels).set(status.last_unit_wall_ns / 1e9)
        if status.camera_offset_ns is not None:
            metrics.clock_offset.labels(*labels).set(status.camera_offset_ns / 1e9)

    def _grow(self, stream_id: UUID, what: str, value: float, counter: Counter, *labels: str) -> None:
        before = self._seen.get((stream_id, what))
        if value != before:
            counter.labels(*labels).inc(max(0.0, value - (before or 0.0)))
            self._seen[stream_id, what] = value


def show_host_clock(metrics: Metrics, clock: HostClock) -> None:
    """Set the gauges of the machine's clock; what is not known is on no page."""
    metrics.host_clock_synchronised.set(UNKNOWN if clock.synchronised is None else clock.synchronised)
    metrics.host_clock_offset.set(UNKNOWN if clock.offset_ns is None else clock.offset_ns / 1e9)
    metrics.host_clock_max_error.set(UNKNOWN if clock.max_error_ns is None else clock.max_error_ns / 1e9)


def forget_state(metrics: Metrics, camera: str, stream: str) -> None:
    """A stream that is switched off has no state any more, not the last one for ever. Its counters stay."""
    for gauge in (metrics.recording, metrics.last_unit_timestamp, metrics.clock_offset):
        with contextlib.suppress(KeyError):
            gauge.remove(camera, stream)


def _keep_freed_memory() -> None:
    """Have glibc keep what pictures leave free instead of giving it back and faulting it in again for the next one.

    Elsewhere nothing changes. The figures bound what is kept: a few pictures of each of hundreds of cameras.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        for option, bytes_ in (
            (-1, 256 << 20),
            (-2, 16 << 20),
            (-3, 64 << 20),
        ):  # trim threshold, top pad, mmap threshold
            libc.mallopt(option, bytes_)


def _go_first() -> None:
    """Ask for the processor before others on this machine, a store at work above all: cameras do not wait.

    Without the right to it (`LimitNICE=` in the systemd units) all stays as it is.
    """
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
    # Threads that seal would else keep the loop from going on for 5 ms after each of its calls to the system.
    sys.setswitchinterval(SWITCH_SECONDS)


def main() -> None:
    """`python -m recorder.worker --data DIR --index I --workers N`; started by `recorder.host`."""
    parser = argparse.ArgumentParser(prog="recorder.worker")
    parser.add_argument("--index", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    site, arguments = site_of(parser)
    # What was imported lives for ever: looking through it again and again cost 10 % of the hot path. Media make no
    # cycles, so the rest may wait longer too.
    _keep_freed_memory()
    _go_first()
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
    log.info("recorder worker %d of %d starts", arguments.index + 1, arguments.workers)
    run_process(lambda: run_worker(site, arguments.index, arguments.workers))


if __name__ == "__main__":
    main()
