"""R-02: power loss at every call of a real recorder's run, and what is found when it starts again.

Usage: python -m tests.support.power_run [--seconds 20] [--every 1] [--sample 200] [--seed N] [--json FILE]
       python -m tests.support.power_run --merge FILE…

A recorder of three cameras records in real time; its calls are noted (`tests.support.power_trace`). After each of them
the power goes twice, with nothing and with all of what was not flushed; after a sample of them with what chance leaves.
Each time the recorder's salvage starts over what is left, under a catalogue that knew all that was visible before, and the
check of the whole site must find I1 and I6 upheld.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

from recorder.leavings import settle_orphans
from recorder.recording import Recording
from recorder.segmenter import SegmentPolicy
from recorder.sources.scripted import ScriptedSource
from recorder.track import Host, Track
from storage.archiver import Archiver
from storage.catalogue import Catalogue, migrate, sqlite_url
from storage.check import check_site
from storage.check_findings import Depth
from storage.check_looks import Places
from storage.objects import FolderStore
from storage.spool import Spool
from tests.support.footage_rows import PlainSealer, add_camera
from tests.support.power_trace import Op, State, Trace, after_power_loss
from tests.support.sealed import HOST, OBJECT_STORE, SPOOL_STORE
from tests.support.split_run import conclude, merged, options
from tests.support.stage import FRAME, S, play
from vms.clock import SimulatedClock, SystemClock
from vms.media.boxes import FileSource
from vms.media.segment_reader import SegmentReader, verify

CAMERAS = 3
MOST_LOST_NS = 2 * S
BEGUN_NS = 4 * S  # by then every stream is being recorded
MS = 1_000_000


@dataclass(slots=True)
class Figures:
    """What comes out; `lost` counts hundreds of milliseconds before the cut, one for each camera and cut."""

    seeds: list[int] = field(default_factory=list)
    calls: int = 0
    flushes: int = 0
    cuts: int = 0
    salvaged: int = 0
    segments: int = 0
    broken: dict[str, int] = field(default_factory=dict)  # findings of the check, by kind
    lost: dict[str, int] = field(default_factory=dict)
    worst_lost_ms: int = 0
    problems: list[str] = field(default_factory=list)


def merge(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Several runs' results as one."""
    return merged(Figures(), parts)


class Registry:
    """A migrated database with the cameras in it, copied for each cut."""

    def __init__(self, database: bytes, streams: list[UUID]) -> None:
        self.database, self.streams = database, streams

    @classmethod
    async def made(cls, folder: Path) -> Registry:
        path = folder / "registry.db"
        await migrate(sqlite_url(path))
        async with Catalogue(sqlite_url(path), PlainSealer()) as catalogue:
            cameras = [await add_camera(catalogue, n + 1, at_ns=S) for n in range(CAMERAS)]
        return cls(path.read_bytes(), [camera.streams[0].id for camera in cameras])


async def record(folder: Path, streams: Sequence[UUID], seconds: float) -> Trace:
    """A recorder's run, in real time, and every call it made below its spool."""
    spool_path = folder / "recorded"
    spool_path.mkdir()
    clock, trace = SystemClock(), Trace(spool_path)
    with trace.recording():
        spool = Spool(spool_path, clock)
        spool.prepare()
        host = Host(HOST, "boot", policy=SegmentPolicy(target_ns=3 * S))
        tasks = [asyncio.create_task(spool.run())]
        for n, stream in enumerate(streams):
            source = ScriptedSource(clock, [play(seconds + 5, first_pts=n * FRAME, gop=25, start_ns=n * 13 * MS)])
            recording = Recording(f"kamera {n}", source, spool, clock, video=Track(stream, host, spool, clock))
            tasks.append(asyncio.create_task(recording.run()))
        await asyncio.sleep(seconds)
        trace.ops = list(trace.ops)
        kept = list(trace.ops)  # the power goes; what the orderly end adds is another story
        for task in tasks[1:]:
            task.cancel()
        await asyncio.gather(*tasks[1:], return_exceptions=True)
        tasks[0].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await spool.close()
    trace.ops = kept
    return trace


async def cut_power(folder: Path, registry: Registry, ops: Sequence[Op], state: State, figures: Figures) -> None:
    """Start again over `state`, in a fresh folder, with a catalogue that was told of all that was visible."""
    with contextlib.closing(_Site(folder, registry)) as site:
        after_power_loss(ops, None, keep=True).put(site.spool_path)
        await site.register()
        site.clear()
        state.put(site.spool_path)
        cut_ns = ops[-1].at_ns
        await site.salvage(cut_ns + 10 * S, figures)
        await site.register()
        await site.check(figures, f"cut after call {len(ops)}")
        site.compare(cut_ns, ops[0].at_ns, figures, f"cut after call {len(ops)}")
    figures.cuts += 1


class _Site:
    """One catalogue, one spool, once."""

    def __init__(self, folder: Path, registry: Registry) -> None:
        self._registry = registry
        self._undo = contextlib.ExitStack()
        self.path = Path(self._undo.enter_context(tempfile.TemporaryDirectory(dir=folder)))
        self.spool_path = self.path / "spool"
        (self.path / "catalogue.db").write_bytes(registry.database)
        self.store = FolderStore(self.path / "store")

    def close(self) -> None:
        self._undo.close()

    def clear(self) -> None:
        """What the disk said before the power went is forgotten."""
        self.spool_path.rename(self.path / "before")

    @contextlib.asynccontextmanager
    async def _opened(self) -> Any:
        spool = Spool(self.spool_path)
        spool.prepare()
        async with Catalogue(sqlite_url(self.path / "catalogue.db"), PlainSealer()) as catalogue:
            yield spool, catalogue
            await spool.close()

    async def register(self) -> None:
        async with self._opened() as (spool, catalogue):
            await Archiver(
                spool, catalogue, self.store, host=HOST, spool_store=SPOOL_STORE, object_store=OBJECT_STORE
            ).register_sealed()

    async def salvage(self, now_ns: int, figures: Figures) -> None:
        async with self._opened() as (spool, _):
            left = len(spool.parts())
            await settle_orphans(spool, lambda _: True, now_ns)
            figures.salvaged += left - len(spool.parts())

    async def check(self, figures: Figures, where: str) -> None:
        async with self._opened() as (spool, catalogue):
            places = Places(
                catalogue, spool, self.store, spool_name=SPOOL_STORE.name, store_name=OBJECT_STORE.name, host=HOST
            )
            report = await check_site(places, Depth.DIGEST, settle_seconds=0, clock=SimulatedClock())
        for finding in report.findings:
            figures.broken[finding.kind.value] = figures.broken.get(finding.kind.value, 0) + 1
            if finding.invariant in ("I1", "I6"):
                figures.problems.append(f"{where}: {finding.invariant} {finding.detail}")

    def compare(self, cut_ns: int, began_ns: int, figures: Figures, where: str) -> None:
        """Every picture up to two seconds before the cut is there, once, in segments that are sound."""
        spool = Spool(self.spool_path)
        for stream in self._registry.streams:
            end_ns, times = 0, []
            for sealed in spool.sealed(stream):
                fd = os.open(sealed.path, os.O_RDONLY)
                try:
                    found, reader = verify(FileSource(fd)), SegmentReader(FileSource(fd))
                    times += [unit.pts for unit in reader.units()]
                finally:
                    os.close(fd)
                figures.segments += 1
                end_ns = max(end_ns, found.facts.end_ns)
                if not found.sound:
                    figures.problems.append(f"{where}: {sealed.path.name}: {', '.join(found.problems)}")
            if any(b - a != FRAME for a, b in pairwise(sorted(times))):
                figures.problems.append(f"{where}: pictures of stream {stream} are missing or twice")
            if cut_ns - began_ns < BEGUN_NS:
                continue
            lost = max(0, cut_ns - end_ns)
            key = str(lost // (100 * MS) * 100)
            figures.lost[key] = figures.lost.get(key, 0) + 1
            figures.worst_lost_ms = max(figures.worst_lost_ms, min(lost, 10**12) // MS)
            if lost > MOST_LOST_NS:
                figures.problems.append(f"{where}: {lost // MS} ms of stream {stream} are lost")


async def run_power(seconds: float, every: int, sample: int, seed: int) -> Figures:
    """Record once, cut after every `every`-th call with nothing and all, and `sample` times by chance."""
    figures, rng = Figures(seeds=[seed]), random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="stroz-p-") as name:
        folder = Path(name)
        registry = await Registry.made(folder)
        ops = (await record(folder, registry.streams, seconds)).ops
        figures.calls = len(ops)
        figures.flushes = sum(op.what.startswith("flush") for op in ops)
        for count in range(1, len(ops) + 1, every):
            for keep in (False, True):
                part = ops[:count]
                await cut_power(folder, registry, part, after_power_loss(part, None, keep=keep), figures)
        for _ in range(sample):
            part = ops[: rng.randrange(1, len(ops) + 1)]
            await cut_power(folder, registry, part, after_power_loss(part, rng), figures)
    return figures


def main() -> int:
    parser = options("power_run", __doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="how long is recorded")
    parser.add_argument("--every", type=int, default=1, help="cut after every so manyth call")
    parser.add_argument("--sample", type=int, default=200, help="cuts with what chance leaves")
    arguments = parser.parse_args()

    def run() -> dict[str, Any]:
        return asdict(asyncio.run(run_power(arguments.seconds, arguments.every, arguments.sample, arguments.seed)))

    return conclude(arguments, merge, run)


if __name__ == "__main__":
    sys.exit(main())
