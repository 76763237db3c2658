"""Names and small files that survive a power cut. Raises OSError as it comes; what it means is the caller's to say.

Does not own the spool's flushing (`storage.spool`), which is of many files at once.
"""

from __future__ import annotations

import os
from pathlib import Path


def write_atomically(file: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a whole file so that a crash leaves either the old one or the new one."""
    draft = file.with_name(f".{file.name}.{os.getpid()}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        write_all(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    draft.replace(file)
    sync_directory(file.parent)


def sync_directory(path: Path) -> None:
    """Make names created, renamed or removed in `path` durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, content: bytes) -> None:
    """write(2) until all of it is written."""
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
