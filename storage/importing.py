"""Footage of another spool brought into this one: every file looked at byte by byte, nothing that is sound left behind.

Owns the verdict on each file and the way in: the run's fact first, then the file, copied aside, compared, renamed into
`sealed/`. From there on the archiver treats it like any other. A run comes in as origin `import`, under this host, which
will state it in journals; the file's own head goes on saying who recorded it. Decides nothing about which of several
segments is shown (`storage.catalogue.coverage`).

Invariants: the other spool is only read, and what somebody writes there is left alone; a file comes in whole and with the
digest that was reckoned over all of it, or not at all; no stream is given up for what comes in; one bad file stops nobody;
bringing the same in again changes nothing, and brings what an import that was broken off did not come to.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from uuid import UUID

from storage.catalogue import Catalogue
from storage.catalogue.coverage import WITHIN_RECORDING
from storage.catalogue.values import CopyState, RecordedSegment, SegmentRef, StoreInfo
from storage.facts import RunFact
from storage.rebuild_registry import bare_stream
from storage.salvage import salvage
from storage.sealed_file import run_of
from storage.segment_bytes import in_thread
from storage.shedding import Rank, rank_of, room_of, spare_of
from storage.spool import Spool
from storage.spool_files import disk_error, is_being_written
from vms.clock import Clock, SystemClock
from vms.durable import write_all
from vms.errors import MalformedError
from vms.media.boxes import FileSource
from vms.media.segment_reader import SegmentReader, verify
from vms.model import GapReason, LegalProfile, Origin, RunInfo, SegmentFacts, hole_run_mark
from vms.settings import SpoolSection

COPY_BYTES = 1 << 20
NO_ROOM = (
    "the spool has no more room than recording may need: let the archiver empty it, or give it more (spool.budget_bytes, "
    "or a larger disk), then run the same command again, which goes on where this one stopped"
)


class Verdict(StrEnum):
    """What is to be done with a file, or was."""

    NEW = "new"
    KNOWN = "known"  # the same bytes are registered and held, or wait in the spool
    DELETED = "deleted"  # retention had deleted it: it does not come back
    CONFLICT = "conflict"  # other bytes are known under its run and number, or damaged ones of ours stand in its place
    OPEN = "open"  # somebody writes it just now
    GONE = "gone"  # it went before it could be looked at: sealed, or archived by its own site
    UNSOUND = "unsound"  # its bytes are not what was sealed, or no segment at all


@dataclass(frozen=True, slots=True)
class FileVerdict:
    """One file. `facts` None: it is none that can be read. `detail`: what a person should know."""

    path: Path
    verdict: Verdict
    detail: str = ""
    facts: SegmentFacts | None = None


@dataclass(slots=True)
class ImportReport:
    """All files in order of their names. `stopped`: why not all of them were looked at."""

    files: list[FileVerdict] = field(default_factory=list)
    brought_in: int = 0
    brought_bytes: int = 0
    gaps: int = 0
    new_streams: list[UUID] = field(default_factory=list)
    stopped: str = ""

    @property
    def counts(self) -> Counter[str]:
        return Counter(file.verdict.value for file in self.files)


@dataclass(frozen=True, slots=True)
class _Looked:
    facts: SegmentFacts
    run: RunInfo
    flaw: str | None


def segment_files(folder: Path) -> list[Path]:
    """Sealed and unfinished segments of a spool; of any other folder every `.mp4` below it."""
    if (folder / "sealed").is_dir():
        return sorted((*(folder / "sealed").glob("*.mp4"), *(folder / "open").glob("*.part")))
    return sorted(folder.rglob("*.mp4"))


class Importing:
    """One import, used once."""

    def __init__(
        self,
        catalogue: Catalogue,
        spool: Spool,
        *,
        spool_store: StoreInfo,
        section: SpoolSection,
        profile: LegalProfile,
        clock: Clock | None = None,
    ) -> None:
        """`spool_store`: what the catalogue calls our spool. `profile`: for streams nobody knows."""
        self._catalogue, self._spool, self._spool_store = catalogue, spool, spool_store
        self._section, self._profile = section, profile
        self._clock = clock or SystemClock()
        self._aside = Spool(spool.path / "incoming")  # on the same file system, so that a rename brings a file in
        self._stated: set[UUID] = set()
        self._report = ImportReport()

    async def run(
        self, folder: Path, *, commit: bool, on_progress: Callable[[int, int], None] | None = None
    ) -> ImportReport:
        """Look at everything in `folder`, and bring in what is new if `commit`. Raises CatalogueError and SpoolError."""
        files = await asyncio.to_thread(segment_files, folder)
        source = Spool(folder)
        facts = {fact.run.id: fact for _, fact in await asyncio.to_thread(lambda: list(source.runs()))}
        await asyncio.to_thread(self._clear)
        try:
            for number, path in enumerate(files, 1):
                self._report.files.append(await self._take(path, facts, commit=commit))
                if on_progress is not None:
                    on_progress(number, len(files))
                if self._report.stopped:
                    break
            if commit:
                await self._gaps(source)
        finally:
            await self._aside.close()
            await asyncio.to_thread(shutil.rmtree, self._aside.path, ignore_errors=True)
        return self._report

    def _clear(self) -> None:
        """What an import that was broken off left aside is copied again."""
        shutil.rmtree(self._aside.path, ignore_errors=True)
        self._aside.prepare()

    async def _take(self, path: Path, stated: dict[UUID, RunFact], *, commit: bool) -> FileVerdict:
        looked = None
        try:
            if path.suffix == ".part":
                if await asyncio.to_thread(is_being_written, path):
                    return FileVerdict(path, Verdict.OPEN, "a recorder is writing it: it is left until it is sealed")
                if not await self._has_room((await asyncio.to_thread(path.stat)).st_size):
                    return FileVerdict(path, Verdict.NEW, self._report.stopped)
            looked = await in_thread(lambda: self._look(path))
            if looked is None:
                return FileVerdict(path, Verdict.UNSOUND, "not one picture of it is whole")
            if looked.flaw is not None:
                return FileVerdict(path, Verdict.UNSOUND, looked.flaw, looked.facts)
            judged = await self._judge(path, looked.facts)
            if judged.verdict is not Verdict.NEW:
                return judged
            if commit and await self._has_room(looked.facts.size_bytes):
                await self._bring_in(path, looked, stated.get(looked.facts.run_id))
        except FileNotFoundError:
            return FileVerdict(path, Verdict.GONE, "it went while it was looked at", looked.facts if looked else None)
        except (MalformedError, OSError) as error:
            return FileVerdict(path, Verdict.UNSOUND, str(error), looked.facts if looked else None)
        finally:
            if looked is not None:
                await asyncio.to_thread(self._sealed_aside(looked.facts).unlink, missing_ok=True)
        return replace(judged, detail=self._report.stopped) if self._report.stopped else judged

    def _look(self, path: Path) -> _Looked | None:
        """Everything reckoned again. Of an unfinished file: what is whole of it, sealed in a copy that is set aside."""
        if path.suffix != ".part":
            return _opened(path)
        copy = self._aside.open_path / path.name
        try:
            _copied(path, copy)
            part = next((p for p in self._aside.parts() if p.path == copy), None)
            facts = salvage(self._aside, part) if part is not None else None
        finally:
            copy.unlink(missing_ok=True)
        return None if facts is None else _opened(self._sealed_aside(facts))

    def _sealed_aside(self, facts: SegmentFacts) -> Path:
        return self._aside.sealed_file(facts)

    async def _judge(self, path: Path, facts: SegmentFacts) -> FileVerdict:
        """The verdict on a sound file."""
        ref, waiting = SegmentRef.of(facts), self._spool.sealed_file(facts)
        there = await asyncio.to_thread(waiting.exists)  # before the rows: it leaves only once they name another copy
        fate = (await self._catalogue.fates([ref]))[ref]
        if fate.gone:
            return FileVerdict(path, Verdict.DELETED, "deleted here when its time had come", facts)
        digest = None if fate.segment is None else fate.segment.digest
        held = fate.segment is not None and self._is_held(fate.segment, there=there)
        if there and not held:
            try:
                ours = await in_thread(lambda: _opened(waiting))
            except FileNotFoundError:
                return await self._judge(path, facts)  # archived just now, and the rows say so
            except (MalformedError, OSError) as error:
                return _in_the_way(path, facts, str(error))
            if ours.flaw is not None:
                return _in_the_way(path, facts, ours.flaw)
            digest, held = digest or ours.facts.digest, True
        if digest is None:
            return FileVerdict(path, Verdict.NEW, await self._notes(path, facts), facts)
        if digest == facts.digest and not held:
            return FileVerdict(path, Verdict.NEW, "known, but no sound copy of it is left here", facts)
        if digest == facts.digest or (held and path.suffix == ".part"):
            return FileVerdict(path, Verdict.KNOWN, "", facts)
        return FileVerdict(path, Verdict.CONFLICT, "other bytes are known under its run and number", facts)

    def _is_held(self, segment: RecordedSegment, *, there: bool) -> bool:
        """Whether any copy is said to be sound. `there`: our spool has a file of its name."""
        present = {copy.store for copy in segment.copies if copy.state is CopyState.PRESENT}
        return bool(present - {self._spool_store.name} or (there and present))

    async def _notes(self, path: Path, facts: SegmentFacts) -> str:
        notes = []
        if path.suffix == ".part":
            notes.append("was never finished: its whole fragments are sealed")
        if not await self._catalogue.known_streams([facts.stream_id]):
            notes.append("of a stream nobody knows: it comes under a retired camera")
        return "; ".join(notes)

    async def _has_room(self, size_bytes: int) -> bool:
        """Whether so much may come without a stream being given up for it; if not, the import stops here."""
        measure = self._spool.usage if self._section.budget_bytes else self._spool.disk
        room = room_of(self._section, await asyncio.to_thread(measure))
        if size_bytes > spare_of(await self._ranks(), room):
            self._report.stopped = NO_ROOM
        return not self._report.stopped

    async def _ranks(self) -> set[Rank]:
        """Those among which the recorder chooses."""
        cameras = await self._catalogue.cameras()
        return {rank_of(s.kind, c.number, self._section) for c in cameras for s in c.streams if s.record}

    async def _bring_in(self, path: Path, looked: _Looked, stated: RunFact | None) -> None:
        facts = looked.facts
        if path.suffix != ".part":
            await in_thread(lambda: self._copy(path, facts))
        if not await self._catalogue.known_streams([facts.stream_id]):
            now_ns = self._clock.wall_ns()
            await self._catalogue.bring_back([bare_stream(facts.stream_id, self._profile, now_ns)], at_ns=now_ns)
            self._report.new_streams.append(facts.stream_id)
        await self._state(looked, stated)
        await in_thread(lambda: self._spool.adopt(self._sealed_aside(facts), facts))
        self._report.brought_in += 1
        self._report.brought_bytes += facts.size_bytes

    async def _state(self, looked: _Looked, stated: RunFact | None) -> None:
        """The run's fact, before any of its segments can be seen; not for a run that is known, whatever its origin."""
        run_id = looked.run.id
        if run_id in self._stated or run_id in await self._catalogue.run_hosts([run_id]):
            self._stated.add(run_id)
            return
        run = stated.run if stated is not None else looked.run
        anchors = stated.anchors if stated is not None else ()
        closed = replace(
            run,
            origin=Origin.IMPORT,
            host=self._spool_store.host,
            end_ns=max(run.end_ns or 0, looked.facts.end_ns),  # registering a later segment moves it
            end_reason=run.end_reason or GapReason.UNKNOWN,
        )
        self._spool.put_run(RunFact(closed, anchors))
        await self._spool.drained()
        self._stated.add(run_id)

    def _copy(self, path: Path, facts: SegmentFacts) -> None:
        """Set a copy aside. Raises SpoolError, OSError for the other spool, and MalformedError where the file changed."""
        if _copied(path, self._sealed_aside(facts)) != facts.digest:
            raise MalformedError(path.name, "changed while it was read")

    async def _gaps(self, source: Spool) -> None:
        """Why nothing was recorded there. Holes that do not say of which run they are stay its own: they would be ours."""
        stated = [gap for _, gap in await asyncio.to_thread(lambda: list(source.gaps()))]
        known = await self._catalogue.known_streams({gap.stream_id for gap in stated})
        told = {gap.id for _, gap in await asyncio.to_thread(lambda: list(self._spool.gaps()))}
        for gap in stated:
            anyones = gap.reason in WITHIN_RECORDING and hole_run_mark(gap.id) is None
            if gap.end_ns is None or anyones or gap.stream_id not in known or gap.id in told:
                continue
            ours = await self._catalogue.gaps([gap.stream_id], gap.start_ns - 1, gap.end_ns)
            if all(one.id != gap.id or one.end_ns is None for one in ours):
                self._spool.put_gap(gap)
                self._report.gaps += 1
        await self._spool.drained()


def _opened(path: Path) -> _Looked:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        source = FileSource(fd)
        found = verify(source)
        return _Looked(found.facts, run_of(SegmentReader(source).head), found.flaw)
    finally:
        os.close(fd)


def _copied(path: Path, target: Path) -> bytes:
    """SHA-256 of what was copied. Raises OSError where `path` cannot be read, SpoolError where our disk refuses."""
    hasher = hashlib.sha256()
    with path.open("rb") as source:
        try:
            fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise disk_error(error, f"copying {path.name}") from error
        try:
            for block in iter(lambda: source.read(COPY_BYTES), b""):
                hasher.update(block)
                try:
                    write_all(fd, block)
                except OSError as error:
                    raise disk_error(error, f"copying {path.name}") from error
        finally:
            os.close(fd)
    return hasher.digest()


def _in_the_way(path: Path, facts: SegmentFacts, flaw: str) -> FileVerdict:
    detail = f"a damaged file of ours stands in its place in the spool ({flaw}): see `vms check --depth digest`"
    return FileVerdict(path, Verdict.CONFLICT, detail, facts)


def problems(report: ImportReport) -> Iterator[FileVerdict]:
    """Files that a person must look at."""
    return (file for file in report.files if file.verdict in (Verdict.UNSOUND, Verdict.CONFLICT))
