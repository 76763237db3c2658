"""Child processes under supervision, and the few lines every process of ours begins with.

A child must be alive *and* beat: it writes a byte to an inherited pipe from its event loop. One that stops beating is
asked for its stacks (SIGUSR1, which `faulthandler` answers even when Python is stuck), killed and replaced. The pipe
works both ways: a child whose parent is gone sees it break and ends in order. Stopping is SIGTERM, a deadline, SIGKILL.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import faulthandler
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from vms.errors import UserError, VmsError
from vms.observe import configure_logging
from vms.secrecy import keep_memory_private
from vms.site import Site

log = logging.getLogger(__name__)

HEARTBEAT_ENV = "VMS_HEARTBEAT_FD"
BEAT_SECONDS = 0.5
DUMP_SECONDS = 0.5  # faulthandler writes a hundred stacks in a few milliseconds
RESTART_FIRST_SECONDS = 0.2
RESTART_LONGEST_SECONDS = 5.0
GARBAGE_SECONDS = 60.0
LIVED_SECONDS = 3.0  # a child that lived this long did its work: it is restarted at once, whatever happened before


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """How to run one child. Seconds: until the first beat, between beats before it counts as hung, to stop in order.

    `log_file`: its standard error is appended there; else it goes where ours goes. `fds`: descriptors that it inherits
    under the same numbers, however often it is replaced.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    start_seconds: float = 30.0
    hang_seconds: float = 5.0
    stop_seconds: float = 10.0
    log_file: Path | None = None
    fds: tuple[int, ...] = ()


@dataclass(slots=True)
class ChildState:
    """What the supervisor knows of a child right now."""

    pid: int | None = None
    starts: int = 0
    last_exit: str = ""


async def keep_child(
    spec: ChildSpec, state: ChildState | None = None, on_exit: Callable[[str], None] | None = None
) -> None:
    """Run the child for ever: start, watch, replace. `on_exit(how)` hears of every death. Cancel to stop it in order."""
    state = state if state is not None else ChildState()
    quick_deaths = 0
    while True:
        loop = asyncio.get_running_loop()
        began = loop.time()
        state.last_exit = await _run_child(spec, state)
        state.pid = None
        log.error("%s ended: %s", spec.name, state.last_exit)
        if on_exit:
            on_exit(state.last_exit)
        quick_deaths = 0 if loop.time() - began > LIVED_SECONDS else quick_deaths + 1
        await asyncio.sleep(min(RESTART_LONGEST_SECONDS, RESTART_FIRST_SECONDS * 2 ** min(quick_deaths, 10)))


async def _run_child(spec: ChildSpec, state: ChildState) -> str:
    """One life of the child; says how it ended. Stops it when cancelled."""
    with contextlib.ExitStack() as ours:
        reader, writer = os.pipe()
        ours.callback(os.close, reader)
        try:
            with contextlib.ExitStack() as handed_down:  # closed here once the child has them, or never will
                handed_down.callback(os.close, writer)
                log_file = None if spec.log_file is None else handed_down.enter_context(spec.log_file.open("ab"))
                process = await asyncio.create_subprocess_exec(
                    *spec.argv,
                    env={**os.environ, **spec.env, HEARTBEAT_ENV: str(writer)},
                    pass_fds=(writer, *spec.fds),
                    stderr=log_file,
                    start_new_session=True,  # the terminal's Ctrl-C is for us; we pass it on as SIGTERM
                )
        except OSError as error:
            return f"could not be started: {error}"
        state.pid, state.starts = process.pid, state.starts + 1
        try:
            if await _beats_until_death(spec, process, reader):
                return _describe(await process.wait())
            log.error(
                "%s hangs: no heartbeat for %.1f s; dumping its stacks and replacing it", spec.name, spec.hang_seconds
            )
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)  # one that was stopped can tell nothing
                process.send_signal(signal.SIGUSR1)
                await asyncio.sleep(DUMP_SECONDS)
                process.kill()
            await process.wait()
            return "hung, killed"
        except asyncio.CancelledError:
            await _stop(spec, process)
            raise


async def _beats_until_death(spec: ChildSpec, process: asyncio.subprocess.Process, reader: int) -> bool:
    """True when the child died by itself, False when it hangs."""
    loop = asyncio.get_running_loop()
    beat = asyncio.Event()
    os.set_blocking(reader, False)

    def on_readable() -> None:
        with contextlib.suppress(BlockingIOError):
            if not os.read(reader, 4096):
                loop.remove_reader(reader)
        beat.set()

    loop.add_reader(reader, on_readable)
    death = asyncio.ensure_future(process.wait())
    patience = spec.start_seconds
    try:
        while True:
            waiter = asyncio.ensure_future(beat.wait())
            try:
                done, _ = await asyncio.wait({waiter, death}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiter.cancel()
            if death in done:
                return True
            if not done:
                return False
            beat.clear()
            patience = spec.hang_seconds
    finally:
        death.cancel()
        loop.remove_reader(reader)


async def _stop(spec: ChildSpec, process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), spec.stop_seconds)
    except TimeoutError:
        log.error("%s did not stop within %.0f s; killing it", spec.name, spec.stop_seconds)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _describe(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def python_module(module: str, *arguments: str) -> tuple[str, ...]:
    """The argv that runs one of our modules with this very interpreter."""
    return (sys.executable, "-m", module, *arguments)


def site_of(parser: argparse.ArgumentParser) -> tuple[Site, argparse.Namespace]:
    """What each of our processes begins with: memory that is its own, arguments, `--data` among them, its site, and its log."""
    keep_memory_private()
    parser.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()
    site = Site.open(arguments.data)
    configure_logging(site.settings.log, site.zone)
    return site, arguments


def run_process(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a process's composition function on uvloop until it ends or SIGTERM/SIGINT cancels it.

    Beats to the supervisor that started us, if one did. What is expected to go wrong is told in words; whoever
    started us sees it by the exit code: 2 where somebody must change something first, else 1.
    """
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    try:
        uvloop.run(_until_signalled(main))
    except VmsError as error:
        log.error("this process ends: %s", error)
        sys.exit(2 if isinstance(error, UserError) else 1)


async def _until_signalled(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(main())
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    besides = [asyncio.ensure_future(collect_garbage())]
    if HEARTBEAT_ENV in os.environ:
        besides.append(asyncio.ensure_future(_beat(task)))
    try:
        await task
    except asyncio.CancelledError:
        pass
    finally:
        for one in besides:
            one.cancel()


async def collect_garbage() -> None:
    """What ended connections and errors leave in cycles, once a minute, for ever.

    They are too few objects for the collector to look through the old ones by itself, and what it has not looked through
    for hours shows as memory that grows.
    """
    while True:
        await asyncio.sleep(GARBAGE_SECONDS)
        gc.collect()


async def _beat(task: asyncio.Task[None]) -> None:
    descriptor = int(os.environ.pop(HEARTBEAT_ENV))
    os.set_inheritable(descriptor, False)
    os.set_blocking(descriptor, False)
    while True:
        try:
            os.write(descriptor, b".")
        except BlockingIOError:
            pass  # the parent is slow to read; it has beats enough
        except BrokenPipeError:
            log.warning("the supervisor is gone; stopping")
            task.cancel()
            return
        await asyncio.sleep(BEAT_SECONDS)
