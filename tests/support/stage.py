"""One recording under test: a scripted camera on a simulated clock into a real spool folder."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Self
from uuid import UUID

from recorder.leavings import Leavings
from recorder.recording import Recording
from recorder.segmenter import SegmentPolicy
from recorder.sources.scripted import ScriptedSource, Step
from recorder.track import Host, Track
from storage.spool import Spool
from tests.support.encoded import made_up, small_config
from vms.clock import SimulatedClock
from vms.media.boxes import FileSource
from vms.media.segment_reader import SegmentReader, verify
from vms.model import AccessUnit, GapReason, TimedUnit
from vms.ntp import HostClock

S = 1_000_000_000
MS = 1_000_000
FRAME = 3600
STREAM = UUID("6d1ac47c-4b4f-4a52-a4a2-b1a8b9a80f11")
SOUND = UUID("6d1ac47c-4b4f-4a52-a4a2-b1a8b9a80f12")


def play(
    seconds: float, *, first_pts: int = 1000, gop: int = 50, start_ns: int = 0, skip: tuple[int, ...] = ()
) -> list[Step]:
    """A steady 25 fps, each unit arriving when it was taken."""
    config = small_config()
    return [
        Step(start_ns + n * 40 * MS, made_up(first_pts + n * FRAME, key=n % gop == 0, config=config))
        for n in range(round(seconds * 25))
        if n not in skip
    ]


class Stage:
    """One recording under test."""

    def __init__(
        self,
        path,
        clock: SimulatedClock,
        *scripts: list[Step],
        record: bool = True,
        audio: bool = False,
        host_clock: HostClock | None = None,
        since_ns: int = 0,
        left: dict[UUID, Leavings] | None = None,
        policy: SegmentPolicy | None = None,
    ) -> None:
        self.clock = clock
        self.spool = Spool(path, clock)
        self.spool.prepare()
        host = Host("rejestrator-1", "boot", policy=policy or SegmentPolicy())
        known = host_clock or HostClock()
        self.track = Track(STREAM, host, self.spool, clock, record=record, host_clock=lambda: known, since_ns=since_ns)
        self.sound = Track(SOUND, host, self.spool, clock) if audio else None
        self.source = ScriptedSource(clock, scripts)
        self.recording = Recording(
            "kamera 1",
            self.source,
            self.spool,
            clock,
            video=self.track,
            audio=self.sound,
            rng=random.Random(7),
            left=left,
        )
        self.task: asyncio.Task | None = None

    async def __aenter__(self) -> Self:
        self.task = asyncio.create_task(self.recording.run())
        await spin()
        return self

    async def __aexit__(self, *_) -> None:
        await self.stop()

    async def stop(self, reason: GapReason = GapReason.RECORDER_RESTART) -> None:
        if self.task is not None:
            task, self.task = self.task, None
            self.recording.stop_reason = reason
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await self.spool.close()

    async def go(self, seconds: float, *, step_ms: int = 20) -> None:
        for _ in range(round(seconds * 1000 / step_ms)):
            self.clock.advance(step_ms * MS)
            await spin()

    def gaps(self):
        return sorted((g for _, g in self.spool.gaps()), key=lambda g: (g.start_ns, g.end_ns or 2**63))

    def runs(self):
        return sorted((f for _, f in self.spool.runs()), key=lambda f: f.run.start_ns)


async def spin() -> None:
    for _ in range(6):
        await asyncio.sleep(0)


def read(sealed) -> list[AccessUnit]:
    fd = os.open(sealed.path, os.O_RDONLY)
    try:
        return list(SegmentReader(FileSource(fd)).units())
    finally:
        os.close(fd)


def read_timed(sealed) -> list[TimedUnit]:
    """The units with the capture times that the segment's own mapping gives them."""
    fd = os.open(sealed.path, os.O_RDONLY)
    try:
        reader = SegmentReader(FileSource(fd))
        return [TimedUnit(unit, reader.head.mapping.capture_ns(unit.pts)) for unit in reader.units()]
    finally:
        os.close(fd)


def check(stage: Stage, *, holes: bool = False) -> list:
    """Every sealed segment is sound and segments of a run meet, or with `holes` do not overlap. Returns them."""
    segments = stage.spool.sealed(STREAM)
    for segment in segments:
        fd = os.open(segment.path, os.O_RDONLY)
        try:
            found = verify(FileSource(fd))
        finally:
            os.close(fd)
        assert found.sound, found
        assert found.facts == segment.facts
    for a, b in pairwise(segments):
        if a.run_id == b.run_id:
            assert a.facts.end_ns <= b.facts.start_ns if holes else a.facts.end_ns == b.facts.start_ns
            assert b.number == a.number + 1
    return segments


def same(units) -> list:
    return [(u.pts, u.data, u.key) for u in units]


async def crash(stage: Stage, path: Path, *, archived: bool = False) -> Path:
    """What a process that dies now leaves on the disk, as a copy at `path`. `archived`: sealed segments are gone by then."""
    await stage.track.sealed()
    await stage.spool.drained()
    for name in ("open", "sealed", "facts"):
        (path / name).mkdir(parents=True)
        for file in [] if archived and name == "sealed" else (stage.spool.path / name).iterdir():
            shutil.copy2(file, path / name / file.name)  # with the facts kept beside its bytes
    return path
