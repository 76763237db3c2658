"""A station too weak for its pictures: the browser's page processes run only a share of the time, decoders and all.

Chromium's own throttling slows the main thread of a page; pictures are decoded by others, and go on as before.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

PERIOD_S = 0.08


@contextlib.contextmanager
def slowed(times: float) -> Iterator[None]:
    """All page processes of this process' browsers, `times` slower. They run freely afterwards."""
    pages, stop = _pages(), threading.Event()
    assert pages, "no browser of ours shows a page"

    def hold() -> None:
        while not stop.is_set():
            _signal(pages, signal.SIGSTOP)
            time.sleep(PERIOD_S * (1 - 1 / times))
            _signal(pages, signal.SIGCONT)
            time.sleep(PERIOD_S / times)

    holding = threading.Thread(target=hold, name="slow station")
    holding.start()
    try:
        yield
    finally:
        stop.set()
        holding.join()
        _signal(pages, signal.SIGCONT)


def _signal(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _pages() -> list[int]:
    parents, pages = {}, []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            pid = int(folder.name)
            parents[pid] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if b"--type=renderer" in (folder / "cmdline").read_bytes():
                pages.append(pid)
    return [pid for pid in pages if _descends(pid, parents)]


def _descends(pid: int, parents: dict[int, int]) -> bool:
    while pid in parents and pid != os.getpid():
        pid = parents[pid]
    return pid == os.getpid()
