"""The spool: segments being written, sealed segments, and fact files of runs and gaps, on one local file system.

Owns the layout, names, durability and the translation of disk errors to `SpoolError`. Does not own what the bytes mean
(`vms.media`), when to cut, or where sealed segments go next (`storage.archiver`).

Invariants:
- A name under `sealed/` names a whole, trailed segment whose bytes are on disk and never change again.
- A write that fails leaves the file at its last whole fragment.
- A fact file is replaced atomically: old or new, never half.
- The event loop never waits for the disk to flush; it only copies into the page cache.

The digest of a sealed file, known to whoever wrote it, is kept with the rest of its facts in the extended attribute
`user.stroz.facts`: it travels with the inode, is on disk after the same fsync, and needs no second file to keep in step.
Where a file system has none, or after salvage, the reader reckons the facts from the file itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol
from uuid import UUID

from storage.facts import RunFact, encode_gap, encode_run, parse_gap, parse_run
from storage.spool_files import OpenSegment, disk_error, get_facts, set_facts, sync_file_system
from vms.clock import Clock, SystemClock
from vms.durable import sync_directory
from vms.errors import MalformedError, SpoolError
from vms.model import Gap, SegmentFacts

log = logging.getLogger(__name__)

FLUSH_SECONDS = 1.0
CLOSE_SECONDS = 10.0
STALE_TEMPORARY_SECONDS = 3600

FactStamp = tuple[int, int, int]  # time (ns), inode and size: by which a replaced fact file is told from the one before

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_OPEN_NAME = re.compile(rf"({_UUID})-({_UUID})-(0|[1-9][0-9]{{0,8}})\.part", re.ASCII)
_SEALED_NAME = re.compile(rf"({_UUID})_(0|-?[1-9][0-9]{{0,18}})-({_UUID})-(0|[1-9][0-9]{{0,8}})\.mp4", re.ASCII)
_FACT_NAME = re.compile(rf"(run|gap)-({_UUID})\.json", re.ASCII)


@dataclass(frozen=True, slots=True)
class SealedSegment:
    """A file under `sealed/`. `facts` None: they must be read from the file (`vms.media.segment_reader`)."""

    path: Path
    stream_id: UUID
    start_ns: int
    run_id: UUID
    number: int
    size_bytes: int
    facts: SegmentFacts | None


@dataclass(frozen=True, slots=True)
class PartFile:
    """A file under `open/`: being written by someone, or left over from a crash."""

    path: Path
    stream_id: UUID
    run_id: UUID
    number: int


@dataclass(frozen=True, slots=True)
class SpoolUsage:
    """Bytes in the spool, and what its file system has left and has in all."""

    open_bytes: int
    sealed_bytes: int
    free_bytes: int
    disk_bytes: int = 0


class NamedSegment(Protocol):
    """What a segment's names are made of."""

    @property
    def stream_id(self) -> UUID: ...

    @property
    def start_ns(self) -> int: ...

    @property
    def run_id(self) -> UUID: ...

    @property
    def number(self) -> int: ...


def sealed_name(stream_id: UUID | str, name: str) -> str:
    """The sealed file of a segment whose object, in the folder of its stream and day, is called `name`."""
    return f"{stream_id}_{name}"


class Spool:
    """One spool folder as one process sees it. Streams are disjoint between processes; the folder is shared."""

    def __init__(
        self, path: Path, clock: Clock | None = None, on_flush: Callable[[float], object] | None = None
    ) -> None:
        """`on_flush` hears how many seconds each group flush took."""
        self.path = path
        self.open_path, self.sealed_path, self.facts_path = path / "open", path / "sealed", path / "facts"
        self._clock = clock or SystemClock()
        self._on_flush = on_flush
        self._open: dict[Path, OpenSegment] = {}
        self._sizes: dict[str, int] = {}  # of sealed files, by name
        self._pending: dict[str, bytes] = {}
        self._writing: asyncio.Future[None] | None = None
        self._refused = False  # the last facts: it is said once, and tried every second
        self._unread: dict[str, str] = {}  # fact file → why, as it was said
        self._dirty = False
        self._disk = ThreadPoolExecutor(max_workers=2, thread_name_prefix="spool")

    def prepare(self) -> None:
        """Create the folders. Raises `SpoolError`."""
        try:
            for folder in (self.open_path, self.sealed_path, self.facts_path):
                folder.mkdir(mode=0o750, parents=True, exist_ok=True)
            with os.scandir(self.facts_path) as entries:
                for entry in entries:
                    if entry.name.startswith(".") and entry.name.endswith(".tmp"):
                        with contextlib.suppress(FileNotFoundError):  # renamed just now by whoever writes it
                            if time.time() - entry.stat().st_mtime > STALE_TEMPORARY_SECONDS:
                                os.unlink(entry.path)
        except OSError as error:
            raise disk_error(error, f"preparing {self.path}") from error

    # Segments

    def open_segment(self, stream_id: UUID, run_id: UUID, number: int) -> OpenSegment:
        """A new, empty `.part` file. Raises `SpoolError`."""
        segment = OpenSegment(self.open_path / f"{stream_id}-{run_id}-{number}.part", stream_id, run_id, number)
        self._open[segment.path] = segment
        self._dirty = True
        return segment

    def write(self, segment: OpenSegment, buffers: Sequence[bytes | bytearray | memoryview]) -> int:
        """Append one fragment; flushed within about a second. Raises `SpoolError`."""
        self._dirty = True
        return segment.write(buffers)

    async def seal(self, segment: OpenSegment, facts: SegmentFacts) -> Path:
        """Make a trailed segment final: fsync, rename, fsync of the folder. Returns its path. Raises `SpoolError`."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._disk, self.seal_now, segment, facts)
        finally:
            self._open.pop(segment.path, None)

    def seal_now(self, segment: OpenSegment, facts: SegmentFacts) -> Path:
        """`seal`, blocking."""
        try:
            return self._make_sealed(segment.path, segment.fd, facts)
        except OSError as error:
            raise disk_error(error, "sealing a segment") from error
        finally:
            segment.close()  # here and not on the loop: whoever waits may be cancelled while the disk works

    def adopt(self, file: Path, facts: SegmentFacts) -> Path:
        """Make a whole segment in a file of this file system one of the sealed: fsync, rename, fsync of the folder. Blocks.

        Returns its path. Raises `SpoolError`.
        """
        try:
            fd = os.open(file, os.O_RDWR | os.O_CLOEXEC)
            try:
                return self._make_sealed(file, fd, facts)
            finally:
                os.close(fd)
        except OSError as error:
            raise disk_error(error, "taking a segment in") from error

    def _make_sealed(self, file: Path, fd: int, facts: SegmentFacts) -> Path:
        path = self.sealed_file(facts)
        set_facts(fd, facts)
        os.fsync(fd)
        if path.exists():
            raise FileExistsError(errno.EEXIST, f"{path.name} is sealed already")
        os.rename(file, path)
        sync_directory(self.sealed_path)
        return path

    def sealed_file(self, segment: NamedSegment) -> Path:
        """Where the sealed file of a segment is, was, or will be."""
        return self.sealed_path / sealed_name(
            segment.stream_id, f"{segment.start_ns}-{segment.run_id}-{segment.number}.mp4"
        )

    def abandon(self, segment: OpenSegment) -> None:
        """Close a segment as it is. It stays for salvage, unless nothing could be written to it."""
        self._open.pop(segment.path, None)
        if segment.fd >= 0 and segment.size_bytes == 0:
            segment.path.unlink(missing_ok=True)
        segment.close()

    def parts(self, stream_id: UUID | None = None) -> list[PartFile]:
        """Every file under `open/`, those being written included."""
        found = []
        for entry in _files(self.open_path):
            match = _OPEN_NAME.fullmatch(entry.name)
            if match and (stream_id is None or match[1] == str(stream_id)):
                found.append(PartFile(Path(entry.path), UUID(match[1]), UUID(match[2]), int(match[3])))
        return sorted(found, key=lambda p: (str(p.stream_id), str(p.run_id), p.number))

    def leftovers(self, stream_id: UUID | None = None) -> list[PartFile]:
        """Files under `open/` that this process does not write. Ask only for streams that are this process's own."""
        ours = set(self._open)  # before looking: what is sealed meanwhile is no leftover
        return [part for part in self.parts(stream_id) if part.path not in ours]

    def sealed(self, stream_id: UUID | None = None) -> list[SealedSegment]:
        """Every sealed segment by stream and start. Touches each file once; call it in a thread where there are many."""
        names = (n for n in self.sealed_names() if stream_id is None or n.startswith(f"{stream_id}_"))
        found = (self.sealed_named(name) for name in names)
        return sorted((s for s in found if s is not None), key=lambda s: (str(s.stream_id), s.start_ns, s.number))

    def sealed_names(self) -> set[str]:
        """Every name under `sealed/`, strays included. Touches no file."""
        return {entry.name for entry in _files(self.sealed_path)}

    def sealed_named(self, name: str) -> SealedSegment | None:
        """The sealed segment of this name; None for a stray, or one that was archived and forgotten just now."""
        match = _SEALED_NAME.fullmatch(name)
        if match is None:
            return None
        path = self.sealed_path / name
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            return None
        facts = get_facts(path)
        if facts is not None and (
            facts.size_bytes != size or (str(facts.run_id), facts.number) != (match[3], int(match[4]))
        ):
            facts = None
        return SealedSegment(path, UUID(match[1]), int(match[2]), UUID(match[3]), int(match[4]), size, facts)

    def strays(self) -> list[Path]:
        """Files whose names are none of ours. Reported, never touched."""
        kinds = ((self.open_path, _OPEN_NAME), (self.sealed_path, _SEALED_NAME), (self.facts_path, _FACT_NAME))
        return [
            Path(entry.path)
            for folder, name in kinds
            for entry in _files(folder)
            if not name.fullmatch(entry.name) and not (folder == self.facts_path and entry.name.startswith("."))
        ]

    def forget(self, path: Path) -> None:
        """Remove a sealed segment or a fact that is kept elsewhere by now. Repeating it is no error."""
        if path.parent not in (self.sealed_path, self.facts_path):
            raise ValueError(f"{path} is neither a sealed segment nor a fact of this spool")
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise disk_error(error, "removing an archived file") from error

    def usage(self) -> SpoolUsage:
        """Measures each sealed file once; one caller at a time, in a thread. Raises `SpoolError`."""
        try:
            sizes = {}
            for entry in _files(self.sealed_path):
                try:
                    known = self._sizes.get(entry.name)
                    sizes[entry.name] = entry.stat().st_size if known is None else known
                except FileNotFoundError:
                    continue
            self._sizes = sizes
            opened = 0
            for entry in _files(self.open_path):
                with contextlib.suppress(FileNotFoundError):
                    opened += entry.stat().st_size
        except OSError as error:
            raise disk_error(error, "measuring the spool") from error
        return replace(self.disk(), open_bytes=opened, sealed_bytes=sum(sizes.values()))

    def disk(self) -> SpoolUsage:
        """`usage` without the spool's own files, which costs next to nothing. Raises `SpoolError`."""
        try:
            disk = os.statvfs(self.path)
        except OSError as error:
            raise disk_error(error, "measuring the spool") from error
        return SpoolUsage(0, 0, disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize)

    # Facts

    def put_run(self, fact: RunFact) -> None:
        """Write or replace the fact file of a run, soon; `drained` waits for it."""
        self._put(f"run-{fact.run.id}.json", encode_run(fact))

    def put_gap(self, gap: Gap) -> None:
        """Write or replace the fact file of a gap, soon; `drained` waits for it."""
        self._put(f"gap-{gap.id}.json", encode_gap(gap))

    def _put(self, name: str, data: bytes) -> None:
        self._pending[name] = data
        self._start_writing()

    def _start_writing(self) -> None:
        if self._pending and (self._writing is None or self._writing.done()):
            batch, self._pending = self._pending, {}
            self._writing = asyncio.get_running_loop().run_in_executor(self._disk, self._write_facts, batch)
            self._writing.add_done_callback(lambda future: self._wrote(future, batch))

    def _wrote(self, future: asyncio.Future[None], batch: dict[str, bytes]) -> None:
        error = None if future.cancelled() else future.exception()
        if error is not None or future.cancelled():
            if not self._refused:
                log.error("facts could not be written, will try again: %s", error)
            self._refused = True
            self._pending = batch | self._pending  # a newer version of the same fact wins
        else:
            self._refused = False
            self._start_writing()

    def _write_facts(self, batch: dict[str, bytes]) -> None:
        try:
            for name, data in batch.items():
                temporary = self.facts_path / f".{name}.{os.getpid()}.tmp"
                fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
                try:
                    if os.write(fd, data) != len(data):
                        raise OSError(errno.ENOSPC, "short write")
                    os.fsync(fd)
                finally:
                    os.close(fd)
                os.rename(temporary, self.facts_path / name)
            sync_directory(self.facts_path)
        except OSError as error:
            raise disk_error(error, "writing facts") from error

    async def drained(self) -> None:
        """Wait until every fact put so far is on disk. Raises `SpoolError` when one attempt fails."""
        while self._pending or (self._writing is not None and not self._writing.done()):
            self._start_writing()
            if self._writing is not None:
                await asyncio.shield(self._writing)
                await asyncio.sleep(0)  # let the callback start the next batch

    def runs(self) -> Iterator[tuple[Path, RunFact]]:
        """Every run fact that parses; one that does not is logged and left where it is."""
        return ((path, fact) for path, fact in self._facts("run-") if isinstance(fact, RunFact))

    def gaps(self) -> Iterator[tuple[Path, Gap]]:
        """Every gap fact that parses; one that does not is logged and left where it is."""
        return ((path, fact) for path, fact in self._facts("gap-") if isinstance(fact, Gap))

    def _facts(self, kind: str) -> Iterator[tuple[Path, RunFact | Gap | None]]:
        names = (entry.name for entry in _files(self.facts_path) if entry.name.startswith(kind))
        return ((self.facts_path / name, self.fact_named(name)) for name in names)

    def fact_stamps(self) -> dict[str, FactStamp]:
        """Every file under `facts/` but those being written, by name, strays included. Opens none."""
        stamps = {}
        for entry in _files(self.facts_path):
            if entry.name.startswith("."):
                continue
            try:
                stat = entry.stat()
            except FileNotFoundError:
                continue
            stamps[entry.name] = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
        return stamps

    def fact_named(self, name: str) -> RunFact | Gap | None:
        """The fact in this file; None for a stray, one that has gone, and one that cannot be read, which is logged once.

        One fact that the disk does not give back keeps nobody from the others.
        """
        match = _FACT_NAME.fullmatch(name)
        if match is None:
            return None
        try:
            data = (self.facts_path / name).read_bytes()
            return parse_run(data) if match[1] == "run" else parse_gap(data)
        except FileNotFoundError:
            return None
        except (MalformedError, OSError) as error:
            if self._unread.get(name) != str(error):
                self._unread[name] = str(error)
                log.error("fact file %s cannot be read: %s", name, error)
            return None

    # Durability

    async def run(self) -> None:
        """Once a second flush what was written, all files together, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._clock.sleep(FLUSH_SECONDS)
            self._start_writing()  # facts that failed before
            if self._dirty:
                self._dirty = False
                began_ns = self._clock.mono_ns()
                try:
                    await loop.run_in_executor(self._disk, self.flush)
                except SpoolError as error:
                    self._dirty = True
                    log.error("flush failed: %s", error)
                if self._on_flush is not None:
                    self._on_flush((self._clock.mono_ns() - began_ns) / 1e9)

    def flush(self) -> None:
        """Flush the spool's whole file system, names included. Blocks; raises `SpoolError`."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                sync_file_system(fd)
            finally:
                os.close(fd)
        except OSError as error:
            raise disk_error(error, "flushing") from error

    async def close(self) -> None:
        """Put the last facts on disk and let the disk work end. Segments still open stay for salvage. Raises `SpoolError`."""
        try:
            await self.drained()
        finally:
            ended = asyncio.get_running_loop().run_in_executor(None, self._disk.shutdown)
            await asyncio.wait({ended}, timeout=CLOSE_SECONDS)  # a hung disk is not waited for
            for segment in list(self._open.values()):
                self.abandon(segment)


def _files(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except FileNotFoundError:
        return
