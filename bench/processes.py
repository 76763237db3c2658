"""Child processes, temporary folders and the quiet of the machine: what every benchmark stands on.

Invariants: whatever is started here is stopped when its block is left, by failure, Ctrl-C and SIGTERM alike, its
process group with it; a temporary folder is gone afterwards. Children run in sessions of their own, so that Ctrl-C in
a terminal reaches the benchmark alone, which then stops them in reverse order.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from rich.console import Console

ROOT = Path(__file__).resolve().parent.parent
STOP_SECONDS = 20.0
MOST_LOAD = 0.5
MOST_BUSY = 0.15  # of all cores: above this it is work, not memory of work, that keeps the load average up
QUIET_SECONDS = 240.0
POLL_SECONDS = 0.2

console = Console()


class BenchError(Exception):
    """The benchmark cannot go on; the message says why."""


@dataclass(frozen=True, slots=True)
class Child:
    """A running child; `log` is its standard error."""

    name: str
    process: subprocess.Popen[str]
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def check(self) -> None:
        """BenchError when it has ended, with the last lines of its log."""
        code = self.process.poll()
        if code is not None:
            last = "\n".join(self.log.read_text(errors="replace").splitlines()[-10:])
            raise BenchError(f"{self.name} ended with {code}:\n{last}")

    def first_line(self) -> str:
        """The first line of its standard output: it is ready."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        if not line:
            self.process.wait(STOP_SECONDS)
            self.check()
        return line

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """SIGTERM, `seconds`, SIGKILL to its whole group. May be repeated."""
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def child(name: str, argv: Sequence[str], folder: Path, *, core: int | None = None) -> Iterator[Child]:
    """A child that lives as long as the block. `core`: the one processor that it and its children may use."""
    log = folder / f"{name.replace(' ', '-')}.log"
    if core is not None:
        argv = ("taskset", "-c", str(core), *argv)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("VMS_")} | {"PYTHONPATH": str(ROOT)}
    with log.open("ab") as errors:
        process = subprocess.Popen(
            argv,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
    started = Child(name, process, log)
    try:
        yield started
    finally:
        started.stop()
        if process.stdout is not None:
            process.stdout.close()


def python(module: str, *arguments: str) -> tuple[str, ...]:
    """The argv of one of our modules."""
    return (sys.executable, "-m", module, *arguments)


def wait_until(condition: Callable[[], bool], seconds: float, what: str, *children: Child) -> None:
    """Poll; BenchError when `seconds` are over or one of the children has ended."""
    deadline = time.monotonic() + seconds
    while not condition():
        for one in children:
            one.check()
        if time.monotonic() > deadline:
            raise BenchError(f"{what} did not happen within {seconds:.0f} s")
        time.sleep(POLL_SECONDS)


def pause(seconds: float, what: str, *children: Child) -> None:
    """Let time pass, say so, and see to it that the children are alive."""
    end = time.monotonic() + seconds
    with console.status(what) as status:
        while (left := end - time.monotonic()) > 0:
            for one in children:
                one.check()
            status.update(f"{what}: {left:.0f} s left")
            time.sleep(min(1.0, left))


@contextlib.contextmanager
def scratch(parent: Path | None = None) -> Iterator[Path]:
    """A folder with a short name (Unix sockets lie in it) that is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="vmsbench-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def require_quiet(*, force: bool) -> None:
    """BenchError where others work on this machine: their cache misses and disk writes would be measured as ours.

    A load average that is only the memory of work now ended (the benchmark before, say) is waited for.
    """
    deadline = time.monotonic() + QUIET_SECONDS
    while not force and os.getloadavg()[0] > MOST_LOAD:
        busy = busy_share(2.0)
        if busy > MOST_BUSY or time.monotonic() > deadline:
            raise BenchError(
                f"the load average is {os.getloadavg()[0]:.2f} and processors are {busy:.0%} busy with other work, so "
                f"figures would be worthless; wait until it is below {MOST_LOAD}, or add --force to try the benchmark out"
            )
        console.print(f"waiting for the load average ({os.getloadavg()[0]:.2f}) to fall below {MOST_LOAD} …")
        time.sleep(8.0)


def busy_share(seconds: float) -> float:
    """The share of all processors' time that was not idle, over the next `seconds`."""
    before = _processor_times()
    time.sleep(seconds)
    spent = [b - a for a, b in zip(before, _processor_times(), strict=True)]
    return 1 - (spent[3] + spent[4]) / max(1, sum(spent[:8]))  # idle, iowait


def _processor_times() -> list[int]:
    return [int(x) for x in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]


@contextlib.contextmanager
def ending_in_order() -> Iterator[None]:
    """SIGTERM ends the benchmark as Ctrl-C does: through every `finally`."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def run(benchmark: Callable[[], bool]) -> int:
    """Run a benchmark to its exit code: 0 done, 1 it found something wrong, missed a goal or could not run, 130 interrupted."""
    with ending_in_order():
        try:
            return 0 if benchmark() else 1
        except BenchError as error:
            console.print(f"[red]{error}")
            return 1
        except KeyboardInterrupt:
            console.print("interrupted; everything was stopped")
            return 130
