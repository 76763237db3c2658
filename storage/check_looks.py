"""Looking at one copy of a segment: is it there, is its size right, are its bytes those that were sealed, do they decode.

Owns the reading; judges nothing (`storage.check_findings`). A store that does not answer is *away* from then on, and
its copies are unknown, never missing. Memory: one block, or one object on disk where it must be parsed.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar, cast

from storage.catalogue import Catalogue
from storage.catalogue.values import Copy, RecordedSegment
from storage.check_findings import Depth, Look, Seen
from storage.journal import MAX_JOURNAL_BYTES, parse_journal
from storage.objects import FolderStore, ObjectInfo, ObjectStore
from storage.segment_bytes import hash_file, in_thread
from storage.spool import Spool
from vms.errors import MalformedError, ObjectMissing, StoreDenied, StoreUnavailable
from vms.media.boxes import ByteSource, FileSource
from vms.media.segment_reader import verify
from vms.model import SegmentFacts

T = TypeVar("T")

HEAD_SECONDS = 30.0
READ_SECONDS = 600.0  # of one object of at most 256 MB


class Decoder(Protocol):
    """What tries whether pictures can be seen."""

    async def problem(self, path: Path) -> str | None:
        """Why this file cannot be decoded from its beginning to its end; None: it can, or nobody can say."""


class Places:
    """Where one host's site keeps footage: catalogue, spool, and the object store that its settings name."""

    def __init__(
        self,
        catalogue: Catalogue,
        spool: Spool,
        store: ObjectStore,
        *,
        spool_name: str,
        store_name: str,
        host: str,
        decoder: Decoder | None = None,
    ) -> None:
        """`spool_name`, `store_name`: what the catalogue calls them. Without a decoder pictures are parsed only."""
        self.catalogue, self.spool, self.store = catalogue, spool, store
        self.spool_name, self.store_name, self.host = spool_name, store_name, host
        self.errors: dict[str, str] = {}  # store → why it is away
        self.unused = False  # the store's folder was never made, and need not be there
        self.read_bytes = 0
        self._decoder = decoder

    def is_away(self, store: str) -> bool:
        """Whether nothing can be said of copies there."""
        return store in self.errors or store not in (self.spool_name, self.store_name)

    async def probe(self, *, known: bool) -> None:
        """Find out who is away before anything is missed. `known`: the catalogue knows of copies there."""
        if not await asyncio.to_thread(self.spool.sealed_path.is_dir):
            self.errors[self.spool_name] = f"{self.spool.path} is not there, or its disk is not mounted"
        try:
            async for _ in timed(self.store.list("probes/")):
                break
        except (StoreUnavailable, StoreDenied) as error:
            self.unused = isinstance(self.store, FolderStore) and not known
            if not self.unused:
                self.errors[self.store_name] = str(error)

    async def head(self, key: str) -> ObjectInfo | None:
        """What the object store says of an object; None: it has none. Raises StoreUnavailable and StoreDenied."""
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                return await self.store.head(key)
        except ObjectMissing:
            return None
        except MalformedError:
            return None  # a key that the store cannot have
        except TimeoutError as error:
            raise StoreUnavailable(f"{self.store.name} does not answer") from error

    async def look(self, segment: RecordedSegment, copy: Copy, depth: Depth) -> Look:
        """One copy as closely as asked. Never raises for a store that is away: that is an answer."""
        if self.is_away(copy.store):
            return Look(Seen.UNKNOWN)
        try:
            if copy.store == self.spool_name:
                return await self._look_at_file(segment, self.spool.sealed_path / copy.key, copy, depth)
            return await self._look_at_object(segment, copy, depth)
        except (StoreUnavailable, StoreDenied) as error:
            self.errors[copy.store] = str(error)
            return Look(Seen.UNKNOWN)

    async def _look_at_object(self, segment: RecordedSegment, copy: Copy, depth: Depth) -> Look:
        info = await self.head(copy.key)
        if info is None:
            return Look(Seen.MISSING, "there is no such object")
        if depth is Depth.PRESENCE:
            return Look(Seen.SOUND)
        if info.size_bytes != copy.size_bytes:
            return Look(Seen.WRONG_SIZE, f"{info.size_bytes} bytes, not {copy.size_bytes}")
        if info.digest is not None and info.digest != copy.digest:
            return _wrong(info.digest, copy.digest)
        if depth is Depth.SIZE:
            return Look(Seen.SOUND)
        try:
            if depth is Depth.DIGEST:
                return _compared(await self.digest_of(copy.key), copy)
            with tempfile.NamedTemporaryFile(prefix="vms-check-") as file:
                digest = await self.digest_of(copy.key, cast("BinaryIO", file))
                await in_thread(file.flush)
                return await self._decoded(segment, Path(file.name), copy, digest)
        except ObjectMissing:
            return Look(Seen.MISSING, "it went while it was read")

    async def look_at_orphan(self, key: str, facts: SegmentFacts, depth: Depth) -> tuple[Look, bytes]:
        """An object that no row names, every byte of it, and its SHA-256. What was sealed only its own trailer says.

        Raises StoreError.
        """
        info = await self.store.head(key)
        with tempfile.NamedTemporaryFile(prefix="vms-check-") as file:
            digest = await self.digest_of(key, cast("BinaryIO", file))
            await in_thread(file.flush)
            path = Path(file.name)
            if info.digest not in (None, digest):
                return Look(Seen.WRONG_BYTES, "its bytes are not those that the store was given"), digest
            problem = await in_thread(lambda: parsing_problem(path))
            if problem is not None:
                return Look(Seen.WRONG_BYTES, f"its bytes are not those that were sealed ({problem})"), digest
            if depth >= Depth.DECODE:
                problem = await self._picture_problem(
                    path, independent=facts.independent, damaged=facts.damaged_units > 0
                )
            return Look(Seen.SOUND) if problem is None else Look(Seen.UNDECODABLE, problem), digest

    async def _picture_problem(self, path: Path, *, independent: bool, damaged: bool) -> str | None:
        """What a decoder says. A continuation has no picture to begin with, and it may stumble over what was lost."""
        if self._decoder is None or damaged or not independent:
            return None
        return await self._decoder.problem(path)

    async def digest_of(self, key: str, target: BinaryIO | None = None) -> bytes:
        """SHA-256 of an object's bytes, which go to `target` on the way. Raises StoreError."""
        hasher = hashlib.sha256()

        def take(block: bytes) -> None:
            hasher.update(block)
            if target is not None:
                target.write(block)

        try:
            async with asyncio.timeout(READ_SECONDS):
                async for block in timed(self.store.get(key)):
                    await asyncio.to_thread(take, block)
                    self.read_bytes += len(block)
        except TimeoutError as error:
            raise StoreUnavailable(f"{self.store.name}: {key} was not read in time") from error
        return hasher.digest()

    async def journal_problem(self, key: str, digest: bytes | None) -> str | None:
        """What is wrong with a journal's bytes; None: nothing. `digest`: what the catalogue has of it, if anything."""
        try:
            async with asyncio.timeout(READ_SECONDS):
                data = await self.store.read(key, 0, MAX_JOURNAL_BYTES + 1)
            self.read_bytes += len(data)
            await asyncio.to_thread(parse_journal, data)
        except ObjectMissing:
            return None  # it went; a row that still names it is found by that
        except MalformedError as error:
            return str(error)
        except TimeoutError as error:
            raise StoreUnavailable(f"{self.store.name}: {key} was not read in time") from error
        found = hashlib.sha256(data).digest()
        return None if digest in (None, found) else f"SHA-256 {found.hex()}, not {digest.hex() if digest else ''}"

    async def _look_at_file(self, segment: RecordedSegment, path: Path, copy: Copy, depth: Depth) -> Look:
        try:
            size = (await asyncio.to_thread(path.stat)).st_size
            if depth is Depth.PRESENCE:
                return Look(Seen.SOUND)
            if size != copy.size_bytes:
                return Look(Seen.WRONG_SIZE, f"{size} bytes, not {copy.size_bytes}")
            if depth is Depth.SIZE:
                return Look(Seen.SOUND)
            digest = await in_thread(lambda: hash_path(path))
            self.read_bytes += size
            if depth is Depth.DIGEST:
                return _compared(digest, copy)
            return await self._decoded(segment, path, copy, digest)
        except FileNotFoundError:
            return Look(Seen.MISSING, "there is no such file in the spool")
        except OSError as error:
            return Look(Seen.WRONG_BYTES, f"the file cannot be read: {error.strerror or error}")

    async def _decoded(self, segment: RecordedSegment, path: Path, copy: Copy, digest: bytes) -> Look:
        if digest != copy.digest:
            return _wrong(digest, copy.digest)
        problem = await in_thread(lambda: parsing_problem(path))
        if problem is None:
            problem = await self._picture_problem(path, independent=segment.independent, damaged=segment.damaged)
        return Look(Seen.SOUND) if problem is None else Look(Seen.UNDECODABLE, problem)


async def timed(pages: AsyncIterator[T], seconds: float = HEAD_SECONDS) -> AsyncGenerator[T]:
    """`pages`, and StoreUnavailable where the next one takes longer than `seconds`."""
    while True:
        try:
            async with asyncio.timeout(seconds):
                item = await anext(pages)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise StoreUnavailable("the store does not answer") from error
        yield item


def hash_path(path: Path) -> bytes:
    """SHA-256 of a file. Blocks; raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return hash_file(fd)
    finally:
        os.close(fd)


def parsing_problem(path: Path) -> str | None:
    """`sealing_problem` of a segment's file. Blocks; raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return sealing_problem(FileSource(fd))
    finally:
        os.close(fd)


def sealing_problem(source: ByteSource) -> str | None:
    """What is wrong inside a segment, groups and seal reckoned anew; None: nothing. Raises what the source raises."""
    try:
        return verify(source).flaw
    except MalformedError as error:
        return str(error)


def _compared(digest: bytes, copy: Copy) -> Look:
    return Look(Seen.SOUND) if digest == copy.digest else _wrong(digest, copy.digest)


def _wrong(found: bytes, sealed: bytes) -> Look:
    return Look(Seen.WRONG_BYTES, f"SHA-256 {found.hex()}, but {sealed.hex()} was sealed")
