"""Three pieces of real work on a disk that refuses one call: recording, archiving and deleting, exporting.

Each prepares a fresh site, lets `Trial` refuse, goes on until the house has recovered by itself, and says in words what
is not as it must be: a bug instead of an expected error, a picture neither stored nor told as missing, a half-written
file, a check that finds anything. Recorder and archiver run on a simulated clock; the disk's threads are real.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import itertools
import logging
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from recorder.leavings import salvage_stream
from recorder.segmenter import SegmentPolicy
from storage.archive_process import RETENTION_PACE, Report, _keep_reporting
from storage.archiver import Archiver
from storage.catalogue import Catalogue, migrate, sqlite_url
from storage.check import check_site
from storage.check_findings import Depth, Kind
from storage.check_looks import Places
from storage.deleter import Deleter
from storage.export import Export, Wish, export
from storage.journal import HOUR_NS, SETTLE_NS
from storage.objects import FolderStore
from storage.objects.folder import INCOMING
from storage.reader import Reader
from storage.retention import DAY_NS
from storage.spool import Spool
from storage.stores import SpoolCopies
from tests.support.failing_disk import Call
from tests.support.footage_rows import PlainSealer, camera
from tests.support.sealed import HOST, OBJECT_STORE, SPOOL_STORE, WALL_NS
from tests.support.sealed import Site as SealedSite
from tests.support.stage import MS, STREAM, S, Stage, play, read
from vms.clock import SimulatedClock
from vms.errors import StoreError, UserError
from vms.media.boxes import FileSource
from vms.media.segment_reader import verify
from vms.metrics import Metrics
from vms.model import GapReason, Stream, StreamKind
from vms.site import AccessEntry, Site
from vms.status.site_status import read_report
from vms.supervise import keep_running
from vms.timeline import TimeRange

FRAME_SLACK_NS = 60 * MS
RECOVERY_STEPS = 1000  # five hours of simulated time; threads are slow when the machine is busy
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Fault:
    """What is refused: nothing, where `call` is None."""

    call: Call | None = None
    place: str = ""
    error: int = 0


@dataclass
class Trial:
    """One try. `begin` lets the disk refuse, `end` says that it will not any more."""

    folder: Path
    fault: Fault
    begin: Callable[[], None]
    end: Callable[[], None]
    problems: list[str] = field(default_factory=list)

    def expect(self, holds: object, problem: str) -> None:
        if not holds:
            self.problems.append(problem)


class _Bugs(logging.Handler):
    """What was logged with a traceback: an error that nobody expected."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            self.found.append(f"{record.getMessage()}: {record.exc_info[1]!r}")


@asynccontextmanager
async def _no_bugs(trial: Trial) -> AsyncIterator[None]:
    bugs = _Bugs()
    logging.getLogger().addHandler(bugs)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(bugs)
        trial.problems += [f"a bug: {bug}" for bug in bugs.found]


_template: list[bytes] = []


async def _site(folder: Path) -> tuple[Site, Catalogue]:
    """A site whose catalogue knows camera 1 with the stage's stream."""
    path = folder / "d"
    path.mkdir(parents=True, mode=0o700)
    site = Site.create(path, {"VMS_STORE_PATH": str(folder / "d" / "store"), "VMS_SITE_HOST": HOST})
    file = path / "catalogue.db"
    if not _template:
        await migrate(sqlite_url(file))
        async with Catalogue(sqlite_url(file), PlainSealer()) as made:
            profile = await made.default_profile()
            plain = camera(1, profile.id)
            stream = Stream(STREAM, plain.id, StreamKind.MAIN, "rtsp://10.0.0.1/main", True)
            await made.add_camera(type(plain)(plain.id, 1, "Rynek", profile.id, (stream,)), at_ns=0)
        _template.append(file.read_bytes())
    file.write_bytes(_template[0])
    return site, Catalogue(sqlite_url(file), PlainSealer())


async def _pump(clock: SimulatedClock, done: Callable[[], Awaitable[bool]]) -> bool:
    """Let simulated time pass, and threads work, until `done`; False when it never is."""
    for step in range(RECOVERY_STEPS):
        clock.advance((2 if step < 40 else 20) * S)
        await asyncio.sleep(0.001)
        if await done():
            return True
    return False


async def _check_clean(trial: Trial, catalogue: Catalogue, spool: Spool, store: FolderStore) -> None:
    places = Places(
        catalogue, spool, store, spool_name=SPOOL_STORE.name, store_name=OBJECT_STORE.name, host=HOST
    )  # fmt: skip
    report = await check_site(places, Depth.DIGEST, settle_seconds=0)
    fault = trial.fault
    for finding in report.findings:
        # An object that could not be removed is told of as what it is.
        if not (finding.kind is Kind.PROBE_LEFT and fault.call is Call.UNLINK and fault.place == "/probes"):
            trial.problems.append(f"check: {finding.kind} {finding.key}: {finding.detail}")
    trial.expect(not any(s.error for s in report.stores), f"check could not look: {report.stores}")
    incoming = Path(store.name) / INCOMING
    if fault.call is Call.UNLINK and fault.place == "/.incoming":
        for path in incoming.iterdir():
            os.utime(path, (0, 0))
        await store.check()  # what could not be removed goes at the next start
    left = [p.name for p in incoming.iterdir()] if incoming.is_dir() else []
    trial.expect(not left, f"half-written objects are left: {left}")


def _archiver(site: SealedSite, store: FolderStore, clock: SimulatedClock) -> Archiver:
    return Archiver(
        site.spool, site.catalogue, store, host=HOST, spool_store=SPOOL_STORE, object_store=OBJECT_STORE, clock=clock
    )  # fmt: skip


async def _go(stage: Stage, done: Callable[[], bool]) -> None:
    """Let simulated time pass until `done`, for a minute at most, and the disk's threads keep up with it."""
    for turn in range(120):
        await stage.go(0.5)
        await asyncio.sleep(0.003 if turn < 30 else 0.1)
        if done():
            return


async def recording(trial: Trial) -> None:
    """A camera at 25 pictures a second, segments of two seconds."""
    site, catalogue = await _site(trial.folder)
    clock = SimulatedClock(WALL_NS)
    scripts = [play(150, first_pts=1000 + attempt * 100_000_000, gop=25) for attempt in range(8)]
    stage = Stage(site.spool, clock, *scripts, policy=SegmentPolicy(target_ns=2 * S))
    sent: dict[int, int] = {}
    give = stage.source._play

    def note(sink, what) -> None:  # type: ignore[no-untyped-def]
        sent[what.pts] = clock.wall_ns()
        give(sink, what)

    stage.source._play = note  # type: ignore[method-assign]
    async with _no_bugs(trial), stage:
        flush = asyncio.create_task(keep_running("spool flush", stage.spool.run, clock=clock))
        trial.begin()
        await _go(stage, lambda: clock.wall_ns() >= WALL_NS + 9 * S and stage.source.attempts > 0)
        trial.end()
        await _go(stage, lambda: stage.track.recording)
        await _go(stage, lambda: len(stage.spool.sealed_names()) > 1)
        trial.expect(stage.task is not None and not stage.task.done(), "the recording has ended")
        trial.expect(stage.track.recording, f"not recording again: {stage.recording.state}")
        flush.cancel()
    trial.expect(not stage.recording.bugs, f"{stage.recording.bugs} bugs")
    spool = Spool(site.spool, clock)
    salvage_stream(spool, STREAM)  # as the next start does
    trial.expect(not spool.parts(), f"part files are left: {[p.path.name for p in spool.parts()]}")
    _account(trial, stage, sent)
    trial.expect(all(f.run.end_ns is not None for f in stage.runs()), "a run was never ended")
    store = FolderStore(site.settings.store.path)
    archiver = _archiver(SealedSite(spool, catalogue, STREAM), store, clock)
    await archiver.register_sealed()
    await archiver.upload_pending()
    clock.advance(HOUR_NS + SETTLE_NS + S)
    await archiver.write_journals()
    await _check_clean(trial, catalogue, spool, store)
    await spool.close()
    await catalogue.close()


def _account(trial: Trial, stage: Stage, sent: dict[int, int]) -> None:
    """Every picture is stored once, or lies in a gap that says why."""
    expected = GapReason.SPOOL_FULL if trial.fault.error in NO_SPACE else GapReason.DISK_ERROR
    segments = stage.spool.sealed(STREAM)
    for segment in segments:
        with segment.path.open("rb") as file:
            found = verify(FileSource(file.fileno()))
        trial.expect(found.sound, f"{segment.path.name} is not sound: {found.problems}")
        kept = segment.facts in (None, found.facts)  # None: the disk had no room for the attribute
        trial.expect(kept, f"{segment.path.name} is kept with facts of other bytes")
    stored = [unit.pts for segment in segments for unit in read(segment)]
    trial.expect(len(stored) == len(set(stored)), "pictures are stored twice")
    trial.expect(stored, "nothing is stored")
    gaps = stage.gaps()
    known = {GapReason.RECORDER_RESTART, expected}
    trial.expect(
        {g.reason for g in gaps} <= known, f"gaps with other reasons: {sorted({g.reason for g in gaps} - known)}"
    )
    missing = [at for pts, at in sent.items() if pts not in set(stored)]
    untold = [
        at
        for at in missing
        if not any(g.start_ns - FRAME_SLACK_NS <= at < (g.end_ns or 2**62) + FRAME_SLACK_NS for g in gaps)
    ]
    trial.expect(not untold, f"{len(untold)} of {len(sent)} pictures are neither stored nor told as missing")
    attempts = stage.source.attempts
    trial.expect(attempts == 1 or expected in {g.reason for g in gaps}, f"{attempts} attempts and no gap {expected}")


async def archiving(trial: Trial) -> None:
    """Three segments and a gap on their way to the store, one expired long ago, the status file and the journals."""
    site, catalogue = await _site(trial.folder)
    clock = SimulatedClock(WALL_NS + 3 * HOUR_NS - 120 * S)  # so that the hour's journal is due soon
    spool = Spool(site.spool, clock)
    spool.prepare()
    sealed = SealedSite(spool, catalogue, STREAM)
    run = sealed.run(end_ns=WALL_NS + 180 * S, end_reason=GapReason.UNREACHABLE)
    old = sealed.run(
        start_ns=WALL_NS - 40 * DAY_NS, end_ns=WALL_NS - 40 * DAY_NS + 60 * S, end_reason=GapReason.STALLED
    )
    made = await sealed.seal(run, range(3), frames=100, size=4000)
    await sealed.seal(old, range(1))
    store = FolderStore(site.settings.store.path)
    archiver = _archiver(sealed, store, clock)
    deleter = Deleter(catalogue, {SPOOL_STORE.name: SpoolCopies(spool), OBJECT_STORE.name: store}, clock=clock)
    report = Report(site, archiver, Metrics.create())
    long_ago = TimeRange(old.start_ns, old.start_ns + DAY_NS)

    async def delete() -> None:
        report.deletion = await deleter.run_once()

    async def done() -> bool:
        p = archiver.progress()
        waiting = p.backlog_segments or p.set_aside or p.journals_waiting or p.journals_set_aside
        seen = read_report(site.run / "archiver.json")
        troubled = p.catalogue_error or p.store_error or seen is None or seen.store_error or seen.catalogue_error
        if waiting or troubled or spool.sealed_names() or await catalogue.segments([STREAM], long_ago):
            return False
        return len([info async for info in store.list("segments/")]) == 3

    trial.begin()
    async with _no_bugs(trial):
        tasks = [
            asyncio.create_task(archiver.run()),
            asyncio.create_task(_keep_reporting(report, spool, clock)),  # type: ignore[arg-type]
            asyncio.create_task(keep_running("retention", delete, backoff=RETENTION_PACE, clock=clock)),
        ]
        recovered = await _pump(clock, done)
        trial.end()
        ended = [t for t in tasks if t.done()]
        trial.expect(not ended, f"a task ended: {[t.exception() for t in ended if not t.cancelled()]}")
        trial.expect(recovered, f"never recovered: {archiver.progress()}")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for facts in made:
        found = await catalogue.segments([STREAM], TimeRange(facts.start_ns, facts.start_ns + 1))
        copies = [copy for segment in found for copy in segment.copies]
        trial.expect([c.store for c in copies] == [OBJECT_STORE.name], f"segment {facts.number} has copies {copies}")
        for copy in copies:
            digest = hashlib.sha256(await store.read(copy.key, 0, facts.size_bytes + 1)).digest()
            trial.expect(digest == facts.digest, f"segment {facts.number} holds other bytes")
    keys = [info.key async for info in store.list("segments/")]
    trial.expect(len(keys) == 3, f"{len(keys)} objects instead of 3")
    await _check_clean(trial, catalogue, spool, store)
    await spool.close()
    await catalogue.close()


async def exporting(trial: Trial) -> None:
    """Two minutes out of the store, with a line in the access log."""
    site, catalogue = await _site(trial.folder)
    clock = SimulatedClock(WALL_NS + 2 * HOUR_NS)
    spool = Spool(site.spool, clock)
    spool.prepare()
    sealed = SealedSite(spool, catalogue, STREAM)
    run = sealed.run(end_ns=WALL_NS + 180 * S, end_reason=GapReason.UNREACHABLE)
    await sealed.seal(run, range(3), frames=100, size=4000)
    store = FolderStore(site.settings.store.path)
    archiver = _archiver(sealed, store, clock)
    await archiver.register_sealed()
    await archiver.upload_pending()
    reader = Reader(catalogue, spool, {OBJECT_STORE.name: store})
    output = trial.folder / "out" / "klip.mp4"
    output.parent.mkdir()
    logged = 0

    def admit(done: Export) -> None:
        nonlocal logged
        site.access_log(AccessEntry(0, "export", str(STREAM), 1, "Rynek", done.within, "próba"))
        logged += 1

    async def once() -> Export:
        wish = Wish(STREAM, TimeRange(WALL_NS + 20 * S, WALL_NS + 140 * S))
        return await export(reader, wish, output, now_ns=clock.wall_ns(), about={}, admit=admit)

    trial.begin()
    async with _no_bugs(trial):
        try:
            first = await once()
        except (UserError, StoreError) as error:
            trial.expect(trial.fault.call is not None and str(error), f"refused: {error}")
            first = None
        trial.end()
    left = sorted(p.name for p in output.parent.iterdir())
    if first is None:
        trial.expect(not left, f"a refused export leaves {left}")
        for path in output.parent.iterdir():
            path.unlink()
        first = await once()
        left = sorted(p.name for p in output.parent.iterdir())
    trial.expect(left == ["klip.json", "klip.mp4"], f"an export leaves {left}")
    for file in first.files:
        whole = hashlib.sha256(file.path.read_bytes()).digest() == file.sha256
        trial.expect(whole, f"{file.path.name} is not what the side file says")
    lines = site.access_log_file.read_text().splitlines()
    trial.expect(len(lines) >= logged, f"{len(lines)} lines in the access log for {logged} exports")
    trial.expect(all(line.startswith("{") and line.endswith("}") for line in lines), f"torn lines: {lines}")
    await spool.close()
    await catalogue.close()


SCENARIOS = {"recording": recording, "archiving": archiving, "exporting": exporting}
_numbers = itertools.count()


async def run_trial(name: str, base: Path, fault: Fault, begin: Callable[[], None], end: Callable[[], None]) -> Trial:
    """One try of a scenario in a folder of its own, which is gone afterwards."""
    trial = Trial(base / str(next(_numbers)), fault, begin, end)
    try:
        async with asyncio.timeout(60):
            await SCENARIOS[name](trial)
    except Exception as problem:
        trial.problems.append(f"{type(problem).__name__}: {problem}")
    finally:
        end()
        with contextlib.suppress(OSError):
            shutil.rmtree(trial.folder)
    return trial
