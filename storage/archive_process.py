"""The archiver's process: archiving, journals, retention, and what people are told about them.

Composition only: `run_archiver` builds, runs until cancelled and undoes in reverse. Retention runs here because there is
one archiver per spool and it is never in the recorder's way.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from storage.archiver import Archiver, make_way_for_the_recorder
from storage.believed_clock import FILE, believed
from storage.catalogue import Catalogue, check
from storage.deleter import Deletable, Deleter, DeletionRun
from storage.objects import open_store
from storage.retention import SteadyTime
from storage.shedding import room_of
from storage.spool import Spool, SpoolUsage
from storage.spool_files import NO_SPACE
from storage.stores import SpoolCopies, StoreCopies, object_store_info, spool_info
from vms.clock import SystemClock
from vms.errors import CatalogueUnavailable, SpoolError, VmsError
from vms.metrics import UNKNOWN, Metrics, MetricsServer
from vms.processes import run_process, site_of
from vms.settings import local_host_name
from vms.site import Site
from vms.supervise import Backoff, keep_running
from vms.timeline import SECOND_NS

log = logging.getLogger(__name__)

REPORT_SECONDS = 2.0
RATE_WINDOW_REPORTS = 60
RATE_KNOWN_NS = 60_000_000_000  # a rate measured over less says more about the start than about the cameras
REPORTS_PER_STRAY_SEARCH = 30  # strays come by a person's hand, and every name is looked at
RETENTION_PACE = Backoff(first=60.0, longest=600.0, jitter=0.0)
STATUS_FILE = "archiver.json"
LAST_DELETION = (
    "at_ns",
    "condemned_segments",
    "condemned_bytes",
    "removed_objects",
    "failed_objects",
    "reported_segments",
)  # fmt: skip - what the status file has of a `DeletionRun`


class Report:
    """What `vms status` and the metrics say of spool, store and retention."""

    def __init__(
        self, site: Site, archiver: Archiver, metrics: Metrics, believed: Callable[[], SteadyTime] | None = None
    ) -> None:
        self._file = site.run / STATUS_FILE
        self._section = site.settings.spool
        self._archiver, self._metrics, self._believed = archiver, metrics, believed
        self._catalogue = site.catalogue_file
        self._opened = _file_id(self._catalogue)
        self._began_mono_ns: int | None = None
        self._taken: deque[tuple[int, int]] = deque(maxlen=RATE_WINDOW_REPORTS)  # (mono, bytes ever recorded)
        self.deletion: DeletionRun | None = None

    def write(self, usage: SpoolUsage, strays: int, mono_ns: int, wall_ns: int) -> None:
        """Replace the status file and set the gauges. `strays`: files in the spool whose names are none of ours."""
        progress = self._archiver.progress()
        if self._began_mono_ns is None:
            self._began_mono_ns = mono_ns
        room = room_of(self._section, usage).room_bytes
        self._taken.append((mono_ns, progress.uploaded_bytes + usage.sealed_bytes + usage.open_bytes))
        rate = bytes_per_second(self._taken)
        metrics = self._metrics
        metrics.spool_bytes.labels("open").set(usage.open_bytes)
        metrics.spool_bytes.labels("sealed").set(usage.sealed_bytes)
        metrics.spool_free_bytes.set(room)
        metrics.spool_hours.set(room / rate / 3600 if rate else UNKNOWN)
        brake = self.deletion.brake if self.deletion else None
        metrics.retention_braked.set(brake is not None)
        waits = self.deletion is not None and self.deletion.rebuild is not None
        metrics.retention_off.set(waits)
        facts: dict[str, Any] = {
            "at_ns": wall_ns,
            "running_ns": mono_ns - self._began_mono_ns,
            **asdict(progress),
            "catalogue_error": self._catalogue_gone() or progress.catalogue_error,
            "spool_open_bytes": usage.open_bytes,
            "spool_sealed_bytes": usage.sealed_bytes,
            "spool_room_bytes": room,
            "spool_strays": strays,
            "spool_hours": round(room / rate / 3600, 2) if rate else None,
            "spool_bytes_per_second": rate,
            "retention_braked": brake is not None,
            "clock_stepped_ns": self._believed().stepped_ns(wall_ns, mono_ns) if self._believed else None,
            "retention_off": waits,
            "deletion": self.deletion and {name: getattr(self.deletion, name) for name in LAST_DELETION},
        }
        replace_report(self._file, json.dumps(facts).encode())

    def _catalogue_gone(self) -> str | None:
        """Whether the SQLite file that is open is no longer the one at its path: what is written then is lost."""
        now = _file_id(self._catalogue)
        if self._opened is None or now == self._opened:
            return None
        what = "is gone" if now is None else "was replaced while it was open"
        do = "" if now is None else "; is the new one the right one, just restart the service"
        return (
            f"{self._catalogue} {what}: what is written since is lost with it. Stop the service, restore the catalogue "
            f"from your backup, or without one run: vms rebuild{do}"
        )


def _file_id(file: Path | None) -> tuple[int, int] | None:
    """What tells a file from another one at its path; None where there is none, or none can be asked for."""
    try:
        found = file.stat() if file is not None else None
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if found is not None else None


def bytes_per_second(taken: Sequence[tuple[int, int]]) -> int | None:
    """How fast the spool is being filled, from (monotonic ns, bytes ever recorded) in order. None: not known yet. Pure.

    The faster of the whole time and its later half: while cameras are still connecting, the start would flatter.
    """
    last_ns, last = taken[-1]
    if last_ns - taken[0][0] < RATE_KNOWN_NS:
        return None
    spans = [(last_ns - ns, last - count) for ns, count in (taken[0], taken[len(taken) // 2])]
    return max(0, *(count * SECOND_NS // ns for ns, count in spans if ns))


def replace_report(file: Path, content: bytes) -> None:
    """Replace a status file; where the disk has no room for a second one, overwrite the one that is there.

    Then whoever reads it at that very moment may find it torn, and reads it again. Raises OSError.
    """
    new = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        new.write_bytes(content)
        new.replace(file)
    except OSError as error:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
        if error.errno not in NO_SPACE or not file.exists():
            raise
        fd = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.pwrite(fd, content.ljust(os.fstat(fd).st_size), 0)  # in its own blocks
        finally:
            os.close(fd)


async def run_archiver(site: Site) -> None:
    """Build, run until cancelled, undo in reverse. Raises UserError when the catalogue's schema is not ours."""
    log.info("archiver starts")
    clock = SystemClock()
    await _checked(site.catalogue_url, clock)
    host = site.settings.site.host or local_host_name()
    spool = Spool(site.spool, clock)
    spool.prepare()
    metrics = Metrics.create()
    store = open_store(site.settings.store)
    here, there = spool_info(host), object_store_info(site.settings.store)
    try:
        async with Catalogue(site.catalogue_url) as catalogue:
            deleting = asyncio.Lock()

            async def delete_expired() -> None:
                async with deleting:
                    report.deletion = done = await deleter.run_once()
                    metrics.deleted_segments.inc(done.condemned_segments)
                    metrics.deleted_bytes.inc(done.condemned_bytes)
                    if done.reported_segments:
                        await archiver.state_deletions(done.at_ns)

            archiver = Archiver(
                spool, catalogue, store, host=host, spool_store=here, object_store=there, clock=clock, metrics=metrics,
                make_room=delete_expired,
            )  # fmt: skip
            copies: dict[str, Deletable] = {
                here.name: SpoolCopies(spool),
                there.name: StoreCopies(store, archiver.is_uploading),
            }
            clock_believed = partial(believed, site.run / FILE, clock)
            deleter = Deleter(catalogue, copies, clock=clock, uploads={here.name: there.name}, believed=clock_believed)
            report = Report(site, archiver, metrics, clock_believed)
            with MetricsServer.start(metrics.page, site.run / "archiver.metrics"):
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(archiver.run(), name="archiver")
                    tasks.create_task(_keep_reporting(report, spool, clock), name="report")
                    tasks.create_task(
                        keep_running("retention", delete_expired, backoff=RETENTION_PACE, clock=clock), name="retention"
                    )
    finally:
        await store.close()
        await spool.close()


async def _checked(url: str, clock: SystemClock) -> None:
    """Wait until the catalogue can be asked whether its schema is ours: its disk may be full now. Raises as `check`."""
    answers: asyncio.Queue[VmsError | None] = asyncio.Queue()

    async def ask() -> None:
        try:
            await check(url)
        except CatalogueUnavailable:
            raise
        except VmsError as error:
            answers.put_nowait(error)
        else:
            answers.put_nowait(None)
        await asyncio.Event().wait()  # until whoever waits for the answer has heard it

    asking = asyncio.create_task(keep_running("asking the catalogue", ask, clock=clock), name="catalogue")
    try:
        refused = await answers.get()
    finally:
        asking.cancel()
        await asyncio.wait({asking})
    if refused is not None:
        raise refused


async def _keep_reporting(report: Report, spool: Spool, clock: SystemClock) -> None:
    strays = 0
    for number in count():
        try:
            usage = await asyncio.to_thread(spool.usage)
            if number % REPORTS_PER_STRAY_SEARCH == 0:
                strays = len(await asyncio.to_thread(spool.strays))
            report.write(usage, strays, clock.mono_ns(), clock.wall_ns())
        except (SpoolError, OSError) as error:
            log.error("the state of spool and store cannot be reported: %s", error)
        await clock.sleep(REPORT_SECONDS)


def main() -> None:
    """`python -m storage.archive_process --data DIR`; `vms archiver` and `vms up` start it."""
    site, _ = site_of(argparse.ArgumentParser(prog="storage.archive_process"))
    make_way_for_the_recorder()
    run_process(lambda: run_archiver(site))


if __name__ == "__main__":
    main()
