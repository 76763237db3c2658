"""Crash points: every call by which this process changes something that outlives it, named, counted, and one of them deadly.

Installed in a forked child, at the borders alone: calls to the operating system that make, fill, flush, name or remove
files; requests by which an object store changes; commits of the catalogue; and, around those, the calls that the
numbered steps of ARCHITECTURE.md ("Procedures") consist of. The product knows nothing of it (docs/decisions/0025). A
point is a name and how often it was reached by then; at the chosen one the process kills itself by SIGKILL.
"""

from __future__ import annotations

import functools
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import urllib3

from storage.catalogue import Catalogue
from storage.objects.s3_wire import Wire

Point = tuple[str, int]
StepOf = Callable[[str, tuple[Any, ...]], str]

_FILE_CALLS = (
    "write", "writev", "fsync", "link", "rename", "replace", "unlink", "mkdir", "rmdir", "setxattr", "ftruncate",
)  # fmt: skip
_CHANGING = ("PUT", "POST", "DELETE")


class CrashPoints:
    """The points of one process. `target` None: nothing happens, all are noted in `seen`."""

    def __init__(self, target: Point | None = None, step: str = "start") -> None:
        self.seen: list[Point] = []
        self._target = target
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._step = step
        self._writing = 0

    def reached(self, what: str, last_words: Callable[[], object] = lambda: None) -> None:
        """Pass a point, or end here, after `last_words`."""
        with self._lock:
            name = f"{self._step}: {what}"
            self._counts[name] += 1
            point = (name, self._counts[name])
            self.seen.append(point)
            if point == self._target:
                last_words()
                os.kill(os.getpid(), signal.SIGKILL)
                threading.Event().wait()  # the signal takes effect before this ends

    def install(self) -> None:
        """Watch the system calls and requests of this process from now on, for good."""
        for name in _FILE_CALLS:
            setattr(os, name, self._before(name, getattr(os, name)))
        self._watch_open()
        self._watch_sendfile()
        Wire.exchange = self._request(Wire.exchange, lambda _call, request: request.method)  # type: ignore[method-assign]
        pool: Any = urllib3.PoolManager
        pool.urlopen = self._request(pool.urlopen, lambda method, *_: method)

    def _before(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(real)
        def call(*args: Any, **kwargs: Any) -> Any:
            self.reached(name)
            return real(*args, **kwargs)

        return call

    def _watch_open(self) -> None:
        real = os.open

        def call(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
            if flags & os.O_CREAT:
                self.reached("create")
            return real(path, flags, *args, **kwargs)

        os.open = call

    def _watch_sendfile(self) -> None:
        """A body of which half was sent."""
        real = os.sendfile

        def call(out: int, source: int, offset: int, count: int) -> int:
            def half() -> None:
                real(out, source, offset, max(1, os.fstat(source).st_size // 2))

            self.reached("half sent", half)
            return real(out, source, offset, count)

        os.sendfile = call  # type: ignore[assignment]

    def _request(self, real: Callable[..., Any], method_of: Callable[..., str]) -> Any:
        points = self

        @functools.wraps(real)
        def call(owner: Any, *args: Any, **kwargs: Any) -> Any:
            method = method_of(*args)
            if method not in _CHANGING:
                return real(owner, *args, **kwargs)
            points.reached(method)
            answer = real(owner, *args, **kwargs)
            points.reached(f"{method} answered")
            return answer

        return call

    def watch_commits(self, catalogue: Catalogue) -> None:
        """Before and after each commit of something written."""
        database: Any = catalogue._db
        dialect, real_write = database.sync_engine.dialect, database.write
        real_commit = dialect.do_commit

        async def write(*args: Any, **kwargs: Any) -> Any:
            self._writing += 1
            try:
                return await real_write(*args, **kwargs)
            finally:
                self._writing -= 1

        def commit(connection: Any) -> None:
            if not self._writing:
                real_commit(connection)
                return
            self.reached("commit")
            real_commit(connection)
            self.reached("committed")

        database.write, dialect.do_commit = write, commit

    def around(self, real: Any, steps: Mapping[str, str | StepOf]) -> Any:
        """`real`, with points before and after the calls named; `steps` tells which numbered step a call belongs to."""
        return _Around(real, self, steps)

    def begin(self, step: str, call: str) -> None:
        """A call of a numbered step begins; what is reached from now on belongs to it."""
        self._step = f"{step}, {call}"
        self.reached("before")


class _Around:
    def __init__(self, real: Any, points: CrashPoints, steps: Mapping[str, str | StepOf]) -> None:
        self._real, self._points, self._steps = real, points, steps

    def __getattr__(self, name: str) -> Any:
        real, step = getattr(self._real, name), self._steps.get(name)
        if step is None:
            return real

        def begin(args: tuple[Any, ...]) -> None:
            self._points.begin(step if isinstance(step, str) else step(name, args), name)

        if name == "forget":  # blocks, in a thread

            def blocking(*args: Any) -> Any:
                begin(args)
                found = real(*args)
                self._points.reached("after")
                return found

            return blocking

        async def call(*args: Any, **kwargs: Any) -> Any:
            begin(args)
            found = await real(*args, **kwargs)
            self._points.reached("after")
            return found

        return call
