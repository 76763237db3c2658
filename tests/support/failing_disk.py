"""A disk that refuses what it is told to: `failing_disk.c` preloaded into real processes, and how it is commanded.

Every call of a process by which a file below one folder is made, written, flushed, renamed, linked, cut, given an
attribute or removed can be made to fail, whoever makes it: Python, SQLite, the C library.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import mmap
import os
import shutil
import subprocess
import tempfile
from enum import IntEnum
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")
LOG_BYTES = 1 << 20


class Call(IntEnum):
    """Kinds of calls; their numbers are the C source's."""

    OPEN = 0  # for writing
    WRITE = 1
    SYNC = 2  # of a file, a folder or the whole file system
    RENAME = 3  # or link
    TRUNCATE = 4
    ATTRIBUTE = 5
    UNLINK = 6
    MKDIR = 7


ALL_CALLS = frozenset(Call)


class _Control(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_longlong) for name in ("times", "skip", "error", "kinds", "torn", "failed", "logging", "logged")),
        ("needle", ctypes.c_char * 128),
        ("last", ctypes.c_char * 512),
        ("log", ctypes.c_char * LOG_BYTES),
    )  # fmt: skip


def missing() -> str | None:
    """Why there can be no failing disk here; None: it can be built."""
    return None if shutil.which("cc") else "there is no C compiler here to build the failing disk with (cc)"


@functools.cache
def _library() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="stroz-disk-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    library = folder / "failing_disk.so"
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True, capture_output=True)
    return library


class FailingDisk:
    """The disk below `root`, for processes started with `environment`. `control`: the file it is commanded through."""

    def __init__(self, root: Path, control: Path) -> None:
        self._root, self._file = root.resolve(), control
        with control.open("a+b") as file:
            file.truncate(ctypes.sizeof(_Control))
            self._map = mmap.mmap(file.fileno(), ctypes.sizeof(_Control))
        self._control = _Control.from_buffer(self._map)

    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to have this disk."""
        return {
            "LD_PRELOAD": str(_library()),
            "FAILING_DISK_ROOT": str(self._root),
            "FAILING_DISK_CONTROL": str(self._file),
        }

    def arm(
        self,
        error: int,
        kinds: frozenset[Call] = ALL_CALLS,
        *,
        needle: str = "",
        skip: int = 0,
        times: int = 1,
        torn: int = 0,
    ) -> None:
        """Refuse the next `times` calls of these kinds on paths that hold `needle` (`…$`: that end so), after `skip` of them."""
        control = self._control
        control.times = 0
        control.failed, control.error, control.kinds = 0, error, sum(1 << kind for kind in kinds)
        control.needle, control.skip, control.torn = os.fsencode(needle), skip, torn
        control.times = times

    def disarm(self) -> int:
        """Refuse nothing more; how many calls were refused."""
        self._control.times = 0
        return int(self._control.failed)

    @property
    def failed(self) -> int:
        """How many calls have been refused since it was armed."""
        return int(self._control.failed)

    def log(self, *, on: bool) -> list[tuple[Call, str]]:
        """Begin to write calls down, or end it; what was written so far, as (kind, path below the root)."""
        found = bytes(self._map[_Control.log.offset :][: min(self._control.logged, LOG_BYTES)])
        self._control.logging, self._control.logged = int(on), 0
        lines = (line.split(" ", 1) for line in os.fsdecode(found).splitlines())
        return [(Call(int(kind)), path) for kind, path in lines]
