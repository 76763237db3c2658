"""A small file system of one's own, to run full: a tmpfs, where root is at hand."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """`folder` with so much room while this lasts; skips the test where a tmpfs cannot be mounted."""
    folder.mkdir(parents=True, exist_ok=True)
    mounted = _libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, b"size=%dm" % megabytes)
    if mounted != 0:
        pytest.skip(f"no tmpfs can be mounted here: {os.strerror(ctypes.get_errno())} (needs root)")
    try:
        yield folder
    finally:
        _libc.umount2(os.fsencode(folder), 2)  # MNT_DETACH: whoever still has a file open keeps it


def fill(file: Path, leave_bytes: int = 0) -> None:
    """Write `file` until its disk has `leave_bytes` left."""
    with file.open("ab", buffering=0) as opened:
        while True:
            disk = os.statvfs(file.parent)
            more = disk.f_bavail * disk.f_frsize - leave_bytes
            if more <= 0:
                return
            try:
                opened.write(bytes(min(more, 1 << 20)))
            except OSError:
                return
