"""What a program asked of a file system, and what of it a power cut may leave: the recording seam and the model. Pure but for that.

Kept: appends, truncations, attributes, names made, renamed and removed, and flushes. The model is that of POSIX with a
journal: a flush of a file keeps its bytes and attributes, a flush of a folder the names in it, a flush of the file system
both, as of the moment it began. Of the rest any file keeps any first part of its bytes, torn anywhere, and any first part
of its changes of name, each file by itself; a rename happens or does not. Bytes that were never written do not appear.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

SURVIVES = 0.7  # chance of a change that was not flushed
DISK_SECONDS = 0.02  # what a flush takes of the recorded run; meanwhile others write on


@dataclass(frozen=True, slots=True)
class Op:
    """One call. `file`: a number for each file ever made; `began`: how many calls a flush covers."""

    what: str  # "make", "append", "cut", "attribute", "rename", "remove", "flush file", "flush folder", "flush all"
    at_ns: int
    file: int = -1
    name: str = ""  # relative to the root; of a rename the old one; of a flush the folder
    to: str = ""
    data: bytes = b""
    size: int = 0
    began: int = 0


@dataclass(slots=True)
class State:
    """A file system's content: names to files, and what is in these."""

    names: dict[str, int] = field(default_factory=dict)
    data: dict[int, bytearray] = field(default_factory=dict)
    attributes: dict[int, dict[str, bytes]] = field(default_factory=dict)

    def put(self, root: Path) -> None:
        """Make it real."""
        for name, file in self.names.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.data.get(file, b""))
            for attribute, value in self.attributes.get(file, {}).items():
                os.setxattr(path, attribute, value)


class Trace:
    """Calls below `root` while `recording` lasts. Flushes are noted and not carried out: this is not about this disk."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ops: list[Op] = []
        self._fds: dict[int, tuple[str, int]] = {}  # → folder or "", file
        self._names: dict[str, int] = {}
        self._files = 0
        self._lock = threading.RLock()

    @contextmanager
    def recording(self) -> Iterator[None]:
        real = {name: getattr(os, name) for name in ("open", "close", "write", "writev", "rename", "unlink")}
        real |= {name: getattr(os, name) for name in ("ftruncate", "setxattr")}

        def opened(path: Any, flags: int, *rest: Any, **more: Any) -> int:
            with self._lock:
                name = self._name(path)
                new = name is not None and not os.path.lexists(path)
                fd: int = real["open"](path, flags, *rest, **more)
                if name is None:
                    self._fds.pop(fd, None)
                elif flags & os.O_DIRECTORY:
                    self._fds[fd] = (name, -1)
                else:
                    if new:
                        self._names[name] = self._files
                        self._files += 1
                        self._note("make", self._names[name], name=name)
                    elif flags & os.O_TRUNC and name in self._names:
                        self._note("cut", self._names[name])
                    self._fds[fd] = ("", self._names.get(name, -1))
                return fd

        def closed(fd: int) -> None:
            with self._lock:
                self._fds.pop(fd, None)
                real["close"](fd)

        def appended(call: str) -> Any:
            def work(fd: int, data: Any) -> int:
                with self._lock:
                    written: int = real[call](fd, data)
                    if self._fds.get(fd, ("", -1))[1] >= 0:
                        whole = bytes(data) if call == "write" else b"".join(data)
                        self._note("append", self._fds[fd][1], data=whole[:written])
                    return written

            return work

        def truncated(fd: int, size: int) -> None:
            with self._lock:
                real["ftruncate"](fd, size)
                if fd in self._fds:
                    self._note("cut", self._fds[fd][1], size=size)

        def attributed(file: Any, name: str, value: bytes, *rest: Any) -> None:
            with self._lock:
                real["setxattr"](file, name, value, *rest)
                if file in self._fds:
                    self._note("attribute", self._fds[file][1], name=name, data=bytes(value))

        def renamed(old: Any, new: Any) -> None:
            with self._lock:
                real["rename"](old, new)
                before, after = self._name(old), self._name(new)
                if before is not None and after is not None:
                    self._names[after] = self._names.pop(before)
                    self._note("rename", self._names[after], name=before, to=after)

        def removed(path: Any, **more: Any) -> None:
            with self._lock:
                real["unlink"](path, **more)
                name = self._name(path)
                if name in self._names:
                    self._note("remove", self._names.pop(name), name=name)

        def flushed(fd: int) -> None:
            with self._lock:
                folder, file = self._fds.get(fd, ("", -1))
                began = len(self.ops)
            time.sleep(DISK_SECONDS)
            with self._lock:
                what = "flush file" if file >= 0 else "flush folder"
                self._note(what, file, name=folder, began=began)

        def flushed_all(_fd: int) -> None:
            began = len(self.ops)
            time.sleep(DISK_SECONDS)
            with self._lock:
                self._note("flush all", began=began)

        changed = {
            "open": opened, "close": closed, "write": appended("write"), "writev": appended("writev"), "fsync": flushed,
            "ftruncate": truncated, "setxattr": attributed, "rename": renamed, "unlink": removed,
        }  # fmt: skip
        with ExitStack() as undo:
            for name, function in changed.items():
                undo.enter_context(patch.object(os, name, function))
            undo.enter_context(patch("storage.spool.sync_file_system", flushed_all))
            yield

    def _name(self, path: Any) -> str | None:
        try:
            found = Path(path)
        except TypeError:
            return None
        return str(found.relative_to(self.root)) if found.is_relative_to(self.root) else None

    def _note(self, what: str, file: int = -1, **rest: Any) -> None:
        self.ops.append(Op(what, time.time_ns(), file, **rest))


def after_power_loss(ops: Sequence[Op], choose: random.Random | None, *, keep: bool = False) -> State:
    """What is on the disk when the power goes after `ops`.

    `choose` None: of what was not flushed nothing is there, or with `keep` all of it; otherwise what chance leaves.
    """
    names, bytes_of = _flushed(ops)
    state = State()
    ended: set[int] = set()  # files whose further changes of name are not on the disk
    cut: set[int] = set()  # the same of bytes
    for i, op in enumerate(ops):
        if op.what in ("make", "rename", "remove"):
            if i not in names and not _survives(op.file, ended, choose, keep=keep):
                continue
            if op.what != "make" and state.names.get(op.name) == op.file:
                del state.names[op.name]
            if op.what != "remove":
                state.names[op.to or op.name] = op.file
        elif op.what in ("append", "cut", "attribute"):
            first = op.file not in cut
            kept = i in bytes_of or _survives(op.file, cut, choose, keep=keep)
            data = state.data.setdefault(op.file, bytearray())
            if op.what == "append":
                torn = choose.randrange(len(op.data)) if choose is not None and first else 0
                data += op.data if kept else op.data[:torn]
            elif kept and op.what == "cut":
                del data[op.size :]
            elif kept:
                state.attributes.setdefault(op.file, {})[op.name] = op.data
    return state


def _survives(file: int, ended: set[int], choose: random.Random | None, *, keep: bool) -> bool:
    """Whether a change that no flush covers is on the disk: none is after one of the same file that is not."""
    if file in ended:
        return False
    survives = keep if choose is None else choose.random() < SURVIVES
    if not survives:
        ended.add(file)
    return survives


def _flushed(ops: Sequence[Op]) -> tuple[set[int], set[int]]:
    """Which changes of names, and which of bytes and attributes, some flush has covered."""
    names: set[int] = set()
    bytes_of: set[int] = set()
    for flush in ops:
        if not flush.what.startswith("flush"):
            continue
        for i, op in enumerate(ops[: flush.began]):
            if op.what in ("make", "rename", "remove"):
                folders = {str(Path(name).parent) for name in (op.name, op.to) if name}
                if flush.what == "flush all" or (flush.what == "flush folder" and flush.name in folders):
                    names.add(i)
            elif flush.what == "flush all" or (flush.what == "flush file" and flush.file == op.file):
                bytes_of.add(i)
    return names, bytes_of
