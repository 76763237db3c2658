"""Files of the spool one by one: appending to an open segment, facts kept with a sealed one, flushing.

Owns the system calls and what their errors are called in the house. Does not own names, folders or when to do what
(`storage.spool`).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from storage.facts import encode_segment, parse_segment
from vms.errors import MalformedError, SpoolError
from vms.model import GapReason, SegmentFacts

FACTS_ATTRIBUTE = "user.stroz.facts"
IOV_MAX = min(1024, os.sysconf("SC_IOV_MAX"))
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def disk_error(error: OSError, doing: str) -> SpoolError:
    """What the operating system said about the spool's disk, in the house's words."""
    if error.errno in NO_SPACE:
        return SpoolError(GapReason.SPOOL_FULL, f"the spool's disk is full ({doing})")
    return SpoolError(GapReason.DISK_ERROR, f"the spool's disk fails: {error.strerror or error} ({doing})")


class OpenSegment:
    """A `.part` file being written. `size_bytes` counts whole writes only, so a reader may trust what is below it.

    Its writer holds a lock on it, so that a recorder that starts while its predecessor still seals leaves it alone:
    opening a leftover that somebody writes, or has just sealed, raises BlockingIOError.
    """

    __slots__ = ("fd", "number", "path", "run_id", "size_bytes", "stream_id")

    def __init__(self, path: Path, stream_id: UUID, run_id: UUID, number: int, *, create: bool = True) -> None:
        self.path, self.stream_id, self.run_id, self.number = path, stream_id, run_id, number
        self.size_bytes = 0
        flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if create else 0)
        try:
            self.fd = os.open(path, flags, 0o640)
        except OSError as error:
            raise disk_error(error, "opening a segment") from error
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not create:
                facts = os.fstat(self.fd)
                if not path.exists() or path.stat().st_ino != facts.st_ino:
                    raise BlockingIOError(errno.EAGAIN, "sealed while it was opened")
                self.size_bytes = facts.st_size
        except BlockingIOError:
            os.close(self.fd)
            raise
        except OSError as error:
            os.close(self.fd)
            raise disk_error(error, "opening a segment") from error

    def write(self, buffers: Sequence[bytes | bytearray | memoryview]) -> int:
        """Append `buffers` in one call to the system. Returns the size of the file. Raises `SpoolError`."""
        wanted = sum(map(len, buffers))
        try:
            written = os.writev(self.fd, buffers if len(buffers) <= IOV_MAX else buffers[:IOV_MAX])
            if written != wanted:
                self._write_rest(b"".join(buffers), written)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self.fd, self.size_bytes)
            raise disk_error(error, "writing a segment") from error
        self.size_bytes += wanted
        return self.size_bytes

    def _write_rest(self, data: bytes, done: int) -> None:
        view = memoryview(data)
        while done < len(view):
            written = os.write(self.fd, view[done:])
            if written <= 0:
                raise OSError(errno.EIO, "the disk took nothing")
            done += written

    def close(self) -> None:
        """Let go of the file without sealing it; it stays under `open/` for salvage. May be repeated."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            with contextlib.suppress(OSError):
                os.close(fd)


def is_being_written(path: Path) -> bool:
    """Whether some process writes this part file now, as its lock says. Only reads, and disturbs nobody.

    An empty file is not asked: its writer may be about to lock it. Raises OSError where the file cannot be opened.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if os.fstat(fd).st_size:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def set_facts(file: int | Path, facts: SegmentFacts) -> None:
    """Keep `facts` with a file. Where the file system cannot, nothing is kept and nobody is the worse for it."""
    try:
        os.setxattr(file, FACTS_ATTRIBUTE, encode_segment(facts))
    except OSError as error:
        if error.errno not in (errno.ENOTSUP, errno.EPERM, errno.E2BIG, errno.ENOSPC, errno.ERANGE):
            raise


def get_facts(file: str | Path) -> SegmentFacts | None:
    """The facts kept with a file, if any."""
    try:
        return parse_segment(os.getxattr(file, FACTS_ATTRIBUTE))
    except (OSError, MalformedError):
        return None


_libc = ctypes.CDLL(None, use_errno=True)


def sync_file_system(fd: int) -> None:
    """syncfs(2): Python has none. It reports write errors since Linux 5.8; elsewhere sync(2) is the nearest."""
    if not hasattr(_libc, "syncfs"):
        os.sync()
    elif _libc.syncfs(fd) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
