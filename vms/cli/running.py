"""A site that runs: its processes under supervision, prepared before and ended in order after.

Owns the composition behind `vms up` and `vms demo`: the order of starting and ending, and who may run on a data folder at
once. Does not own how store and catalogue are prepared (`vms.cli.prepare`) or how a child is watched (`vms.processes`).

Recording depends on nothing else: whatever catalogue or store say, away, damaged, newer than ours or refusing us, is told,
and a site whose sealed assignment names a camera records while the archiver waits. A site with nothing to record yet is
refused what waiting cannot cure, so that whoever sets it up sees it. A port that is taken is always refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

from vms.assignment import read_assignment
from vms.errors import MalformedError, UserError
from vms.metrics import MetricsServer, gather
from vms.processes import ChildSpec, ChildState, collect_garbage, keep_child, python_module
from vms.settings import MOST_SOCKET_BYTES, Listen
from vms.site import Site
from vms.status.spool_disk import ask_disk
from vms.supervise import Backoff, keep_running

log = logging.getLogger(__name__)

CATALOGUE_PACE = Backoff(first=2.0, longest=15.0)
RECORDER_STOP_SECONDS = 18.0  # its workers have 15 to seal what is open
ARCHIVER_STOP_SECONDS = 10.0
LAST_PORT = 65_535
LONGEST_SOCKET = "recorder-host.metrics"  # of those in the data folder
ALARMS_STOP_SECONDS = 1.5  # what it knows is on disk already
ROLES = ("alarms", "web", "live", "recorder", "archiver")  # in the order of ending: an end in order alarms nobody
PEOPLE_STOP_SECONDS = 6.0  # open answers get a moment

Tell = Callable[[str], None]


class RunningSite:
    """The processes of a site that `supervised` started."""

    def __init__(self, site: Site, metrics: Listen | None, door: socket.socket | None, tell: Tell) -> None:
        self.site = site
        self.metrics = metrics  # where the page of all processes is, with its real port
        self.door = door  # where browsers come in; None where the web is off
        self.states = {role: ChildState() for role in ROLES}
        self._tell = tell
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def wait(self, stop: asyncio.Event, seconds: float | None = None) -> None:
        """Until `stop` is set or `seconds` are over; raises what ended a supervising task, which is a bug."""
        stopped = asyncio.create_task(stop.wait(), name="asked to stop")
        try:
            done, _ = await asyncio.wait(
                {stopped, *self._tasks.values()}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done - {stopped}:
                task.result()
        finally:
            stopped.cancel()

    async def end(self, role: str) -> None:
        """Stop one of the processes in order and wait until it is gone. May be repeated."""
        task = self._tasks.pop(role, None)
        if task is None:
            return
        self._tell(f"ending the {role}")
        task.cancel()
        await asyncio.wait({task})
        if role == "archiver":
            forget_report(self.site)
            _say_why(self.site, "")

    def start_recorder(self, log_file: Path | None) -> None:
        spec = _child("recorder", "recorder.host", self.site, RECORDER_STOP_SECONDS, log_file)
        self._tasks["recorder"] = asyncio.create_task(keep_child(spec, self.states["recorder"]), name="recorder")

    def start_alarms(self, log_file: Path | None) -> None:
        spec = _child("alarms", "vms.cli.alarm_watch", self.site, ALARMS_STOP_SECONDS, log_file)
        self._tasks["alarms"] = asyncio.create_task(keep_child(spec, self.states["alarms"]), name="alarms")

    def start_web(self, log_file: Path | None) -> None:
        """Pages, interface and live pictures. The door stays open while the process behind it is replaced."""
        if self.door is None:
            return
        fd = self.door.fileno()
        for role, module, more, fds in (
            ("live", "web.live.process", (), ()),
            ("web", "web.api.process", ("--socket", str(fd)), (fd,)),
        ):
            spec = _child(role, module, self.site, PEOPLE_STOP_SECONDS, log_file)
            spec = replace(spec, argv=(*spec.argv, *more), fds=fds)
            self._tasks[role] = asyncio.create_task(keep_child(spec, self.states[role]), name=role)

    @property
    def address(self) -> str | None:
        """Where a browser goes."""
        if self.door is None:
            return None
        from web.api.door import address_of

        section = self.site.settings.web
        return address_of(self.door, tls=not section.listen.is_loopback or section.certificate is not None)

    def start_archiver(self, log_file: Path | None, preparing: asyncio.Task[None], *, prepared: bool) -> None:
        """Start it once the catalogue is as it must be, however long that takes. `preparing`: the first try at that."""
        from vms.cli import prepare

        spec = _child("archiver", "storage.archive_process", self.site, ARCHIVER_STOP_SECONDS, log_file)
        done, told = prepared, ""
        _say_why(self.site, "")

        async def attempt() -> None:
            nonlocal done
            if not done:
                await (prepare.prepare_catalogue(self.site) if preparing.done() else preparing)
                done = True
                _say_why(self.site, "")
                log.info("the catalogue can be used again")
            await keep_child(spec, self.states["archiver"])

        def on_error(error: Exception, _wait_seconds: float) -> None:
            nonlocal told
            if str(error) != told:
                told = str(error)
                log.error("archiving waits: %s", told)
                if not done:
                    _say_why(self.site, told)

        self._tasks["archiver"] = asyncio.create_task(
            keep_running("archiver", attempt, backoff=CATALOGUE_PACE, on_error=on_error), name="archiver"
        )


@asynccontextmanager
async def supervised(site: Site, *, tell: Tell, log_file: Path | None = None) -> AsyncIterator[RunningSite]:
    """Prepare and start everything; on leaving, end alarms first, then the recorder, and the archiver after it.

    `tell` hears short sentences for the person at the terminal; `log_file` takes the children's standard error. Raises
    UserError when the site cannot run like this; then nothing was started. Neither store nor catalogue is a reason for
    that once a camera is assigned: the recorder starts before they are asked.
    """
    from web.api.door import open_socket

    with contextlib.ExitStack() as held:
        held.enter_context(site.lock())
        for role in ROLES:
            held.enter_context(alone(site, role))
        metrics = held.enter_context(metrics_page(site))  # a port that is taken: refused before anything starts
        door = held.enter_context(open_socket(site.settings.web.listen)) if site.settings.web.enabled else None
        running = RunningSite(site, metrics, door, tell)
        preparing: asyncio.Task[None] | None = None
        garbage = asyncio.create_task(collect_garbage(), name="garbage")
        try:
            tell_of_small_disk(site, tell)
            assigned = has_something_to_record(site)
            if assigned:
                running.start_recorder(log_file)
            prepare = await asyncio.to_thread(importlib.import_module, "vms.cli.prepare")
            store = await prepare.store_trouble(site, assigned=assigned)
            preparing = asyncio.create_task(prepare.prepare_catalogue(site), name="catalogue")
            catalogue = await prepare.catalogue_trouble(preparing, assigned=assigned)
            for trouble in (store, catalogue):
                if trouble:
                    tell(trouble)
            if not assigned:
                running.start_recorder(log_file)
            running.start_archiver(log_file, preparing, prepared=catalogue is None)
            running.start_alarms(log_file)
            running.start_web(log_file)
            yield running
        finally:
            garbage.cancel()
            for role in ROLES:
                await running.end(role)
            if preparing is not None:
                preparing.cancel()
                await asyncio.gather(preparing, return_exceptions=True)


@contextmanager
def alone(site: Site, role: str) -> Iterator[None]:
    """Hold the right to be the site's only process of this role (`ROLES`); UserError when another process has it."""
    with site.hold(role) as try_to_take:
        if not try_to_take():
            raise UserError(f"the {role} of {site.path} runs already; stop that one first, or name another --data")
        yield


def forget_report(site: Site) -> None:
    """Take the archiver's last report away once it has ended, so that nobody is told that it answers."""
    from storage.archive_process import STATUS_FILE

    (site.run / STATUS_FILE).unlink(missing_ok=True)


def _say_why(site: Site, text: str) -> None:
    """Keep for `vms status` and alarms why the archiver waits; nothing where it does not. A full disk keeps nothing."""
    with contextlib.suppress(OSError):
        if text:
            site.waiting_file.write_text(text, encoding="utf-8")
        else:
            site.waiting_file.unlink(missing_ok=True)


def tell_of_small_disk(site: Site, tell: Tell) -> None:
    """Say so at the start where nothing can be recorded for want of a larger disk."""
    disk = ask_disk(site)
    if disk is not None and disk.too_small:
        tell(f"nothing can be recorded: {site.spool}: {disk.too_small}")


def has_something_to_record(site: Site) -> bool:
    """Whether the sealed assignment names a camera. One that cannot be read may: the recorder waits for a better one."""
    try:
        return bool(read_assignment(site.assignment_file, site.sealer).cameras)
    except (MalformedError, OSError):
        return True


def stop_on_signals() -> asyncio.Event:
    """An event that SIGINT, SIGTERM and SIGHUP set; a second one changes nothing, ending goes on in order."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    return stop


@contextmanager
def metrics_page(site: Site, names: tuple[str, ...] = ("",), *, next_port: bool = False) -> Iterator[Listen | None]:
    """Serve the metrics of the processes whose names begin so as one page; gives where, None where metrics are off.

    `next_port`: at the port after that of `metrics.listen`, for a recorder beside an archiver. UserError when it is taken,
    and when the data folder's path leaves no room for the sockets on which the processes themselves serve.
    """
    if len(os.fsencode(site.run / LONGEST_SOCKET)) > MOST_SOCKET_BYTES:
        raise UserError(
            f"{site.run} is too long a path: with the name of a Unix socket it may have {MOST_SOCKET_BYTES} bytes. "
            "Nothing was started; name a data folder with a shorter path"
        )
    section = site.settings.metrics
    if not section.enabled:
        yield None
        return

    def sockets() -> dict[str, Path]:
        return {file.stem: file for file in sorted(site.run.glob("*.metrics")) if file.name.startswith(names)}

    for left in sockets().values():
        if _nobody_answers(left):
            left.unlink(missing_ok=True)  # of a process that was killed
    listen = section.listen
    if next_port and listen.port:
        if listen.port == LAST_PORT:
            raise UserError(f"metrics.listen {listen}: the recorder alone takes the port after it, and there is none")
        listen = Listen(listen.host, listen.port + 1)
    with MetricsServer.start(lambda: gather(sockets()), listen, section.token) as server:
        yield server.listen


def _nobody_answers(file: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(file))
        except (ConnectionRefusedError, FileNotFoundError):
            return True
        except OSError:  # whoever holds it is busy
            return False
    return False


def _child(name: str, module: str, site: Site, stop_seconds: float, log_file: Path | None) -> ChildSpec:
    return ChildSpec(
        name=name,
        argv=python_module(module, "--data", str(site.path)),
        stop_seconds=stop_seconds,
        log_file=log_file,
    )
