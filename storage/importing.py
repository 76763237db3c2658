"""Footage of another spool brought into this one: every file looked at byte by byte, nothing that is sound left behind.

Owns the verdict on each file and the way in: the run's fact first, then the file, copied aside, compared, renamed into
`sealed/`. From there on the archiver treats it like any other. A run comes in as origin `import`, under this host, which
will state it in journals; the file's own head goes on saying who recorded it. Decides nothing about which of several
segments is shown (`storage.catalogue.coverage`).

Invariants: the other spool is only read; a file comes in whole and with the digest that was reckoned over all of it, or not
at all; bringing the same in again changes nothing. Everything but `Importing.run` blocks and runs in threads.
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
from storage.catalogue.values import SegmentRef
from storage.facts import RunFact
from storage.rebuild_registry import bare_stream
from storage.salvage import salvage
from storage.sealed_file import run_of
from storage.segment_bytes import in_thread
from storage.spool import Spool
from vms.clock import Clock, SystemClock
from vms.errors import MalformedError, SpoolError
from vms.media.boxes import FileSource
from vms.media.segment_reader import SegmentReader, verify
from vms.model import GapReason, LegalProfile, Origin, RunInfo, SegmentFacts

COPY_BYTES = 1 << 20


class Verdict(StrEnum):
    """What is to be done with a file, or was."""

    NEW = "new"
    KNOWN = "known"  # the same bytes are registered, or wait in the spool
    DELETED = "deleted"  # retention had deleted it: it does not come back
    CONFLICT = "conflict"  # other bytes are known under its run and number
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
    problem: str


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
        host: str,
        profile: LegalProfile,
        reserve_bytes: int,
        clock: Clock | None = None,
    ) -> None:
        """`profile`: for streams nobody knows. `reserve_bytes` stay free on the spool's disk."""
        self._catalogue, self._spool, self._host = catalogue, spool, host
        self._profile, self._reserve_bytes = profile, reserve_bytes
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
            if commit and self._report.brought_in:
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
        try:
            looked = await in_thread(lambda: self._look(path))
        except (MalformedError, OSError) as error:
            return FileVerdict(path, Verdict.UNSOUND, str(error))
        if looked is None:
            return FileVerdict(path, Verdict.UNSOUND, "not one picture of it is whole")
        facts = looked.facts
        if looked.problem:
            return FileVerdict(path, Verdict.UNSOUND, looked.problem, facts)
        known = await self._judge(path, facts)
        if known is not None:
            return known
        detail = await self._notes(path, facts)
        if commit:
            try:
                await self._bring_in(path, looked, stated.get(facts.run_id))
            except MalformedError as error:
                return FileVerdict(path, Verdict.UNSOUND, str(error), facts)
            if self._report.stopped:
                detail = self._report.stopped
        return FileVerdict(path, Verdict.NEW, detail, facts)

    def _look(self, path: Path) -> _Looked | None:
        """Everything reckoned again. Of an unfinished file: what is whole of it, sealed in a copy that is set aside."""
        if path.suffix != ".part":
            return _opened(path)
        copy = self._aside.open_path / path.name
        try:
            shutil.copyfile(path, copy)
            part = next((p for p in self._aside.parts() if p.path == copy), None)
            facts = salvage(self._aside, part) if part is not None else None
        finally:
            copy.unlink(missing_ok=True)
        return None if facts is None else _opened(self._sealed_aside(facts))

    def _sealed_aside(self, facts: SegmentFacts) -> Path:
        return self._aside.sealed_path / _name(facts)

    async def _judge(self, path: Path, facts: SegmentFacts) -> FileVerdict | None:
        """The verdict on a sound file that need not, or must not, come in."""
        ref = SegmentRef.of(facts)
        fate = (await self._catalogue.fates([ref]))[ref]
        if fate.gone:
            return FileVerdict(path, Verdict.DELETED, "deleted here when its time had come", facts)
        known = None if fate.segment is None else fate.segment.digest
        waiting = self._spool.sealed_path / _name(facts)
        if known is None and await asyncio.to_thread(waiting.exists):
            found = await asyncio.to_thread(_opened, waiting)
            known = found.facts.digest
        if known is None:
            return None
        if path.suffix == ".part" or known == facts.digest:
            return FileVerdict(path, Verdict.KNOWN, "", facts)
        return FileVerdict(path, Verdict.CONFLICT, "other bytes are known under its run and number", facts)

    async def _notes(self, path: Path, facts: SegmentFacts) -> str:
        notes = []
        if path.suffix == ".part":
            notes.append("was never finished: its whole fragments are sealed")
        if not await self._catalogue.known_streams([facts.stream_id]):
            notes.append("of a stream nobody knows: it comes under a retired camera")
        return "; ".join(notes)

    async def _bring_in(self, path: Path, looked: _Looked, stated: RunFact | None) -> None:
        facts = looked.facts
        free = (await asyncio.to_thread(self._spool.disk)).free_bytes - self._reserve_bytes
        if free < 2 * facts.size_bytes:
            self._report.stopped = "the spool has no room; run it again when the archiver has emptied it"
            return
        if not await self._catalogue.known_streams([facts.stream_id]):
            now_ns = self._clock.wall_ns()
            await self._catalogue.bring_back([bare_stream(facts.stream_id, self._profile, now_ns)], at_ns=now_ns)
            self._report.new_streams.append(facts.stream_id)
        await self._state(looked, stated)
        await in_thread(lambda: self._copy(path, facts))
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
            host=self._host,
            end_ns=max(run.end_ns or 0, looked.facts.end_ns),  # registering a later segment moves it
            end_reason=run.end_reason or GapReason.UNKNOWN,
        )
        self._spool.put_run(RunFact(closed, anchors))
        await self._spool.drained()
        self._stated.add(run_id)

    def _copy(self, path: Path, facts: SegmentFacts) -> None:
        """Raises SpoolError, and MalformedError where the file changed since it was looked at."""
        aside = self._sealed_aside(facts)
        if path.suffix != ".part":
            hasher = hashlib.sha256()
            try:
                with path.open("rb") as source, aside.open("wb") as target:
                    for block in iter(lambda: source.read(COPY_BYTES), b""):
                        hasher.update(block)
                        target.write(block)
            except OSError as error:
                aside.unlink(missing_ok=True)
                raise SpoolError(GapReason.DISK_ERROR, f"{path.name} cannot be copied: {error.strerror}") from error
            if hasher.digest() != facts.digest:
                aside.unlink(missing_ok=True)
                raise MalformedError(path.name, "changed while it was read")
        self._spool.adopt(aside, facts)

    async def _gaps(self, source: Spool) -> None:
        """Why nothing was recorded there. Holes within its recording stay its own: they would be cut out of ours."""
        stated = [gap for _, gap in await asyncio.to_thread(lambda: list(source.gaps()))]
        known = await self._catalogue.known_streams({gap.stream_id for gap in stated})
        for gap in stated:
            if gap.end_ns is not None and gap.reason not in WITHIN_RECORDING and gap.stream_id in known:
                self._spool.put_gap(gap)
                self._report.gaps += 1
        await self._spool.drained()


def _opened(path: Path) -> _Looked:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        source = FileSource(fd)
        found = verify(source)
        reader = SegmentReader(source)
        # A recorder told to reckon no group digests states none: nothing to compare, nothing wrong.
        bare = reader.trailer is not None and not reader.trailer.group_digests and len(found.problems) == 1
        return _Looked(found.facts, run_of(reader.head), "" if found.sound or bare else "; ".join(found.problems))
    finally:
        os.close(fd)


def _name(facts: SegmentFacts) -> str:
    return f"{facts.stream_id}_{facts.start_ns}-{facts.run_id}-{facts.number}.mp4"


def problems(report: ImportReport) -> Iterator[FileVerdict]:
    """Files that a person must look at."""
    return (file for file in report.files if file.verdict in (Verdict.UNSOUND, Verdict.CONFLICT))
