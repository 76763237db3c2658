"""The object store in a folder of a local or mounted file system: the default of a single machine.

Owns the files below its root: `<root>/<key>` for objects and `<root>/.incoming/` for puts under way. Does not encrypt,
version or replicate.

Invariants: a name below the root, `.incoming` aside, always shows a whole object: bytes go to a temporary file, are
hashed on their way and flushed, and then *linked* to the key, which fails when the key is taken; folders are flushed
after. A crash leaves at most a stale temporary file, which `check` removes after an hour. A root without `.incoming` is
no store but, as a rule, the mount point of one: nothing is written there, and nothing called missing.

The digest: an extended attribute (`user.sha256`) set before the link, so that it appears together with the object.
It is a memory of what the bytes say, never more: where it is absent, because a copy dropped it or the file system has
none, `head` reckons it from the bytes and puts it back. So it survives any way of copying the folder, and unlike a
side file it cannot be parted from its object or given to another.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import secrets
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import islice
from pathlib import Path

from storage.objects.base import (
    BLOCK_BYTES,
    ObjectInfo,
    check_key,
    check_prefix,
    check_put,
    check_range,
    probe,
)
from vms.durable import sync_directory
from vms.errors import DigestMismatch, ObjectExists, ObjectMissing, StoreDenied, StoreError, StoreFull, StoreUnavailable

INCOMING = ".incoming"
STALE_S = 3600.0  # a put takes seconds; what is older was left by a crash
LIST_PAGE = 1000
_DIGEST_ATTRIBUTE = "user.sha256"
_COPY_BLOCK_BYTES = 1 << 20  # hashlib and the kernel both like a megabyte
_DENIED = {errno.EACCES, errno.EPERM}
_FULL = {errno.ENOSPC, errno.EDQUOT}


class FolderStore:
    """An `ObjectStore` below `root`. File work runs in the event loop's default thread pool."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._incoming = root / INCOMING

    @property
    def name(self) -> str:
        return str(self._root)

    def __repr__(self) -> str:
        return f"FolderStore({self.name!r})"

    async def put(self, key: str, source: Path | bytes, *, digest: bytes, size_bytes: int) -> ObjectInfo:
        check_key(key)
        check_put(digest, size_bytes)
        return await asyncio.to_thread(self._put, key, source, digest, size_bytes)

    async def head(self, key: str) -> ObjectInfo:
        return await asyncio.to_thread(self._head, check_key(key))

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        check_range(offset, length)
        fd = await asyncio.to_thread(self._open, check_key(key))
        try:
            left = length
            while left is None or left > 0:
                want = BLOCK_BYTES if left is None else min(left, BLOCK_BYTES)
                block = await asyncio.to_thread(self._read_block, fd, want, offset)
                if not block:
                    return
                offset += len(block)
                left = None if left is None else left - len(block)
                yield block
        finally:
            os.close(fd)

    async def read(self, key: str, offset: int, length: int) -> bytes:
        check_range(offset, length)
        return await asyncio.to_thread(self._read, check_key(key), offset, length)

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        found = self._walk("", check_prefix(prefix))
        while page := await asyncio.to_thread(lambda: list(islice(found, LIST_PAGE))):
            for info in page:
                yield info

    async def delete(self, key: str) -> None:
        await asyncio.to_thread(self._delete, check_key(key))

    async def check(self, *, make: bool = True) -> None:
        await asyncio.to_thread(self._prepare, make)
        await probe(self)

    async def close(self) -> None:
        """Nothing is kept open between calls."""

    # -- in a thread ----------------------------------------------------------------------------------------------

    def _put(self, key: str, source: Path | bytes, digest: bytes, size_bytes: int) -> ObjectInfo:
        path = self._root / key
        if path.exists():  # spares the copy; the link below is what decides
            raise ObjectExists(f"{self.name}: {key} is taken")
        reading = os.open(source, os.O_RDONLY | os.O_CLOEXEC) if isinstance(source, Path) else -1
        temporary = self._incoming / secrets.token_hex(16)
        try:
            blocks = [source] if isinstance(source, bytes) else _file_blocks(reading)
            self._write_temporary(temporary, blocks, ObjectInfo(key, size_bytes, digest))
            self._link(temporary, path, key)
        except _SourceUnreadable as error:
            raise error.cause from error
        except OSError as error:
            raise self._translated(error, key) from error
        finally:
            if reading >= 0:
                os.close(reading)
            with contextlib.suppress(OSError):  # what cannot be removed now is stale, and goes at a later `check`
                temporary.unlink(missing_ok=True)
        return ObjectInfo(key, size_bytes, digest)

    def _write_temporary(self, temporary: Path, blocks: Iterable[bytes], wanted: ObjectInfo) -> None:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        try:
            hasher, written = hashlib.sha256(), 0
            for block in blocks:
                hasher.update(block)
                written += _write_all(fd, block)
                if written > wanted.size_bytes:
                    break
            if written != wanted.size_bytes or hasher.digest() != wanted.digest:
                raise DigestMismatch(f"{wanted.key}: the bytes given do not have the size and SHA-256 given with them")
            _remember_digest(fd, hasher.digest())
            os.fsync(fd)
        finally:
            os.close(fd)

    def _link(self, temporary: Path, path: Path, key: str) -> None:
        for attempts_left in (2, 1, 0):  # `delete` may remove a folder just made here, as empty
            try:
                self._make_folders(path.parent)
                os.link(temporary, path)
                break
            except FileExistsError as error:
                raise ObjectExists(f"{self.name}: {key} is taken") from error
            except FileNotFoundError:
                if not attempts_left:
                    raise
        sync_directory(path.parent)

    def _make_folders(self, folder: Path) -> None:
        """Create `folder` down from the root, each new one flushed into its parent."""
        if folder.is_dir():
            return
        if folder != self._root:
            self._make_folders(folder.parent)
            folder.mkdir(mode=0o750, exist_ok=True)
            sync_directory(folder.parent)
        else:
            folder.mkdir(mode=0o750, parents=True, exist_ok=True)

    def _open(self, key: str) -> int:
        try:
            return os.open(self._root / key, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise self._translated(error, key) from error

    def _head(self, key: str) -> ObjectInfo:
        fd = self._open(key)
        try:
            return ObjectInfo(key, os.fstat(fd).st_size, _recall_digest(fd))
        except OSError as error:
            raise self._translated(error, key) from error
        finally:
            os.close(fd)

    def _read(self, key: str, offset: int, length: int) -> bytes:
        fd = self._open(key)
        try:
            return self._read_block(fd, min(length, max(0, os.fstat(fd).st_size - offset)), offset)
        finally:
            os.close(fd)

    def _read_block(self, fd: int, length: int, offset: int) -> bytes:
        try:
            return os.pread(fd, length, offset)
        except OSError as error:
            raise self._translated(error, "a read") from error

    def _walk(self, folder: str, prefix: str) -> Iterator[ObjectInfo]:
        """Objects below `folder` ("" or ending in a slash) in byte order of their keys; memory: one folder a level."""
        if not folder and not self._incoming.is_dir():
            raise self._away()
        try:
            with os.scandir(self._root / folder) as entries:
                names = sorted(e.name + "/" if e.is_dir(follow_symlinks=False) else e.name for e in entries)
        except FileNotFoundError:
            return  # emptied and removed since its parent was read
        except OSError as error:
            raise self._translated(error, folder or "the root") from error
        for name in names:
            path = folder + name
            if name.startswith(".") or not (path.startswith(prefix) or prefix.startswith(path)):
                continue
            if name.endswith("/"):
                yield from self._walk(path, prefix)
            elif path.startswith(prefix):
                try:
                    yield ObjectInfo(path, (self._root / path).stat().st_size)
                except FileNotFoundError:
                    continue  # deleted since the folder was read

    def _delete(self, key: str) -> None:
        path = self._root / key
        try:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            if not self._incoming.is_dir():
                raise self._away()
            if path.parent.is_dir():
                sync_directory(path.parent)
            for folder in path.parents:
                if folder == self._root:
                    break
                folder.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise self._translated(error, key) from error

    def _prepare(self, make: bool) -> None:
        try:
            if make:
                self._make_folders(self._incoming)
            elif not self._incoming.is_dir():
                raise self._away()
            for entry in os.scandir(self._incoming):
                if time.time() - entry.stat().st_mtime > STALE_S:
                    os.unlink(entry.path)
        except OSError as error:
            raise self._translated(error, "the folder itself") from error

    def _away(self) -> StoreUnavailable:
        return StoreUnavailable(f"{self.name} is not there, or its disk is not mounted")

    def _translated(self, error: OSError, what: str) -> StoreError:
        """The one place where the operating system's errors become the house's."""
        if error.errno == errno.ENOENT and not self._incoming.is_dir():
            return self._away()
        if error.errno == errno.ENOENT:
            return ObjectMissing(f"{self.name}: no object {what}")
        if error.errno == errno.EROFS:
            return StoreDenied(
                f"{self.name} is on a disk that is mounted read-only ({what}), as a rule after an I/O error; look at dmesg "
                "and SMART, then remount it for writing"
            )
        if error.errno in _DENIED:
            return StoreDenied(
                f"{self.name} refuses access ({what}: {error.strerror}); give the user running vms the right to "
                "write there, or name another folder"
            )
        if error.errno in _FULL:
            return StoreFull(f"{self.name} is full ({what}: {error.strerror}); free space on its disk or give it more")
        if error.errno in (errno.EOPNOTSUPP, errno.EMLINK, errno.ENOTDIR, errno.EEXIST):
            return StoreDenied(
                f"{self.name} cannot hold objects ({error.strerror}); use a folder on ext4, XFS, Btrfs or ZFS"
            )
        return StoreUnavailable(f"{self.name}: {what}: {error.strerror or error}")


class _SourceUnreadable(Exception):
    """The file to be stored could not be read; `cause` is what the caller gets."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(str(cause))
        self.cause = cause


def _file_blocks(fd: int) -> Iterator[bytes]:
    while True:
        try:
            block = os.read(fd, _COPY_BLOCK_BYTES)
        except OSError as error:
            raise _SourceUnreadable(error) from error
        if not block:
            return
        yield block


def _write_all(fd: int, block: bytes) -> int:
    view = memoryview(block)
    while view:
        view = view[os.write(fd, view) :]
    return len(block)


def _remember_digest(fd: int, digest: bytes) -> None:
    try:
        os.setxattr(fd, _DIGEST_ATTRIBUTE, digest.hex().encode())
    except OSError:
        return  # no attributes here: `head` will reckon


def _recall_digest(fd: int) -> bytes:
    try:
        digest = bytes.fromhex(os.getxattr(fd, _DIGEST_ATTRIBUTE).decode())
        if len(digest) == 32:
            return digest
    except (OSError, ValueError):
        pass  # absent, unsupported or garbled: the bytes are the truth
    hasher = hashlib.sha256()
    while block := os.read(fd, _COPY_BLOCK_BYTES):
        hasher.update(block)
    _remember_digest(fd, hasher.digest())
    return hasher.digest()
