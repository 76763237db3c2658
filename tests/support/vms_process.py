"""The real `vms` command as processes: started, asked, watched without sleeping for readiness, and always ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import waiting

POLL_S = 0.2
STOP_S = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "vms.cli", *map(str, arguments)]


def environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """Ours without settings of a site, metrics on any free port, and no web but where a test is about it."""
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith(("VMS_", "DEMO_")) or k in ("VMS_CACHE", "VMS_MINIO")
    }
    return kept | {"VMS_METRICS_LISTEN": "127.0.0.1:0", "VMS_WEB_ENABLED": "false"} | dict(changes or {})


async def vms(*arguments: object, env: Mapping[str, str] | None = None) -> Answer:
    """Run a command to its end."""
    process = await asyncio.create_subprocess_exec(
        *command(*arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(env),
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode is not None
    return Answer(process.returncode, out.decode(), err.decode())


class Running:
    """A command that goes on. Its output is in `out` and `err`, files in `folder`."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path) -> None:
        self.process = process
        self._folder = folder

    @property
    def out(self) -> str:
        return (self._folder / "out").read_text()

    @property
    def err(self) -> str:
        return (self._folder / "err").read_text()

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """(exit code, seconds it took)."""
        began = time.monotonic()
        self.process.send_signal(number)
        code = await asyncio.wait_for(self.process.wait(), STOP_S)
        return code, time.monotonic() - began


@asynccontextmanager
async def vms_running(
    folder: Path, *arguments: object, env: Mapping[str, str] | None = None, through: Sequence[str] = ()
) -> AsyncIterator[Running]:
    """A started command, killed at the end if it still runs; `folder` takes its output.

    `through`: a command that becomes this one, such as a shell that changes something first and calls `exec "$@"`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        process = await asyncio.create_subprocess_exec(
            *through, *command(*arguments), stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=err,
            env=environment(env),
        )  # fmt: skip
    try:
        yield Running(process, folder)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), STOP_S)
            except TimeoutError:
                process.kill()
                await process.wait()


async def until(what: str, test: Callable[[], Any], seconds: float = 30.0) -> Any:
    """The first true answer of `test` (a function or a coroutine function), which asks other processes."""
    return await waiting.until(test, seconds, what, pause_s=POLL_S)


def processes_of(data: Path) -> dict[int, str]:
    """Processes whose command line names the data folder."""
    found = {}
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if folder.name.isdigit() and str(data) in line and int(folder.name) != os.getpid():
                found[int(folder.name)] = line
    return found


def descendants(root: int) -> dict[int, str]:
    """`root` and what it started, and those started by them, as far as they live: command lines by process id."""
    children: dict[int, list[int]] = {}
    lines: dict[int, str] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                lines[int(folder.name)] = line
                children.setdefault(parent, []).append(int(folder.name))
    found: dict[int, str] = {}
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        if lines.get(pid):  # none: it has ended, and nobody has asked how
            found[pid] = lines[pid]
        waiting += children.get(pid, [])
    return found
