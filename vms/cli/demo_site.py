"""The demo's run: simulator, store server and a throw-away site, composed from the same parts as a real one.

Owns the demo's folder, which is emptied at every start and only if a demo made it, and the order of things: store server,
simulator, site, clips, and the same backwards. Ends with exit code 0 unless the clips could not be exported.
"""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from storage.catalogue import Catalogue
from storage.objects.embedded import EmbeddedServer, start_minio, start_seaweedfs
from vms.cli.demo import DemoStore
from vms.cli.demo_clips import Clips
from vms.cli.demo_footage import DEMO_CAMERAS
from vms.cli.demo_view import View, summary_line
from vms.cli.registry import changing
from vms.cli.running import RunningSite, stop_on_signals, supervised
from vms.durable import write_atomically
from vms.errors import UserError
from vms.model import Camera, Stream, StreamKind
from vms.observe import configure_logging
from vms.simulate import Footage, Simulator, SimulatorOptions, running
from vms.site import Site
from vms.status.site_status import Level, gather_status, read_report
from vms.timeline import TimeRange

if TYPE_CHECKING:
    from storage.objects.s3_wire import S3Location

MARK = "# Written by `vms demo`, which throws this whole folder away at its next start."
SEGMENT_SECONDS = 10  # so that the store sees something within seconds
LOOK_SECONDS = 1.0
DRAIN_SECONDS = 12.0
PATIENCE_SECONDS = 60.0  # for the first picture


class Demo:
    """One run of the demo."""

    def __init__(
        self, folder: Path, store: DemoStore, seconds: float | None, footage: Sequence[Footage], *, interactive: bool
    ) -> None:
        self._folder = folder
        self._store = store
        self._seconds = seconds
        self._footage = tuple(footage)
        self._view = View(interactive=interactive)
        self._log_file = folder / "demo.log"

    async def run(self) -> bool:
        """Until Ctrl-C or the time is over. False when a clip could not be exported."""
        stop = stop_on_signals()
        say = self._view.say
        async with AsyncExitStack() as undo:
            empty_folder(self._folder)
            say(f"data folder {self._folder}, emptied at every start")
            location = await self._start_store(undo)
            options = SimulatorOptions(
                self._footage,
                cameras=len(DEMO_CAMERAS),
                port=0,
                scripts={f"cam{i}": camera.script for i, camera in enumerate(DEMO_CAMERAS)},
            )
            simulator = await undo.enter_async_context(running(options))
            site = self._create_site(location)
            # The file is the process's log until it ends.
            log_stream = undo.enter_context(self._log_file.open("a", encoding="utf-8"))
            configure_logging(site.settings.log, site.zone, log_stream)
            undo.callback(logging.getLogger().handlers.clear)
            await register_cameras(site, simulator, self._footage)
            people = await add_people(site)
            site_runs = await undo.enter_async_context(supervised(site, tell=say, log_file=self._log_file))
            say(
                f"{len(DEMO_CAMERAS)} cameras at {simulator.url('cam0')} to {simulator.url(f'cam{len(DEMO_CAMERAS) - 1}')}"
            )
            for line in way_in(site_runs.address, people):
                say(line)
            if site_runs.metrics is not None:
                say(f"metrics http://{site_runs.metrics}/metrics, log {self._log_file}; Ctrl-C ends")
            clips = Clips(site, self._folder / "clips", say, self._seconds)
            began_ns = time.time_ns()
            with self._view:
                await self._look(site, site_runs, clips, stop)
            await clips.finish(asked_to_end=stop.is_set())
            say("ending: what is being recorded is sealed, then archived")
            within = TimeRange(began_ns, time.time_ns())
            await site_runs.end("recorder")
            await self._drain(site, site_runs, stop)
            await site_runs.end("archiver")
            await self._sum_up(site, within)
        clips.tell()
        program = sys.argv[0] if Path(sys.argv[0]).name == "vms" else "vms"
        look = f"{program} --data {self._folder} timeline {len(DEMO_CAMERAS)} --day today"
        say(f"{self._folder} stays until the next demo; look: {look}")
        return clips.complete

    async def _start_store(self, undo: AsyncExitStack) -> S3Location | None:
        if self._store is DemoStore.FOLDER:
            return None
        self._view.say(f"starting {self._store.value}")
        start = start_seaweedfs if self._store is DemoStore.SEAWEEDFS else start_minio
        server: EmbeddedServer = await asyncio.to_thread(start, self._folder / "store")
        undo.push_async_callback(asyncio.to_thread, server.stop)
        return server.location

    def _create_site(self, location: S3Location | None) -> Site:
        lines = [
            MARK,
            "[site]",
            'name = "Demo"',
            "[metrics]",
            'listen = "127.0.0.1:0"',
            "[web]",
            'listen = "127.0.0.1:0"',
            "[recorder]",
            f"segment_seconds = {SEGMENT_SECONDS}",
            "[spool]",
            f"reserve_bytes = {64 << 20}",
        ]
        if location is not None:
            lines += [
                "[store]",
                'kind = "s3"',
                f"endpoint = {json.dumps(location.netloc)}",
                f"bucket = {json.dumps(location.bucket)}",
                "tls = false",
                f"access_key = {json.dumps(location.access_key)}",
                f"secret_key = {json.dumps(location.secret_key)}",
            ]
        write_atomically(self._folder / "site.toml", ("\n".join(lines) + "\n").encode())
        return Site.create(self._folder)

    async def _look(self, site: Site, site_runs: RunningSite, clips: Clips, stop: asyncio.Event) -> None:
        """Show the status each second until told to stop or the time, counted from the first picture, is over."""
        loop = asyncio.get_running_loop()
        began, first = loop.time(), None
        while not stop.is_set():
            looked = loop.time()
            if self._seconds is not None and looked >= self._seconds + (
                began + PATIENCE_SECONDS if first is None else first
            ):
                return
            status = await gather_status(site)
            if first is None and any(s.level is Level.GOOD for s in status.recorded):
                first = looked
            self._view.show(status, looked - began)
            clips.consider(status)
            await site_runs.wait(stop, max(0.1, LOOK_SECONDS - (loop.time() - looked)))

    async def _drain(self, site: Site, site_runs: RunningSite, stop: asyncio.Event) -> None:
        """Wait until the store has everything, at most `DRAIN_SECONDS`; another Ctrl-C skips it."""
        stop.clear()
        loop = asyncio.get_running_loop()
        from_ns, deadline = time.time_ns(), loop.time() + DRAIN_SECONDS
        while loop.time() < deadline and not stop.is_set():
            report = read_report(site.run / "archiver.json")
            if (
                report is not None
                and report.at_ns > from_ns
                and not report.backlog_segments + report.spool_sealed_bytes
            ):
                return
            await site_runs.wait(stop, 0.2)

    async def _sum_up(self, site: Site, within: TimeRange) -> None:
        async with Catalogue(site.catalogue_url, site.sealer) as catalogue:
            streams = [s.id for c in await catalogue.cameras() for s in c.streams if s.record]
            segments = await catalogue.segments(streams, within)
            gaps = await catalogue.gaps(streams, within.start_ns, within.end_ns)
            found = await catalogue.timelines(streams, within, now_ns=within.end_ns)
        missing = [one for timeline in found.values() for one in timeline.missing]
        self._view.say(summary_line(segments, gaps, missing, len(streams)))


async def register_cameras(site: Site, simulator: Simulator, footage: Sequence[Footage]) -> None:
    """Put the demo's cameras into the catalogue, under the site's default legal profile."""
    async with changing(site) as registry:
        _, profile = await registry.profiles()
        for index, demo_camera in enumerate(DEMO_CAMERAS):
            camera_id = uuid4()
            streams = [Stream(uuid4(), camera_id, StreamKind.MAIN, simulator.url(f"cam{index}"), record=True)]
            if footage[index].sub is not None:
                url = simulator.url(f"cam{index}", sub=True)
                streams.append(Stream(uuid4(), camera_id, StreamKind.SUB, url, record=False))
            await registry.add(
                Camera(camera_id, index + 1, demo_camera.name, profile.id, tuple(streams), street=demo_camera.street)
            )


async def add_people(site: Site) -> list[tuple[str, str, str]]:
    """An operator and an administrator: login name, role, one-time password."""
    from vms.cli.identity import people_of, whoever_runs_this
    from web.identity.access import Role
    from web.identity.passwords import Passwords
    from web.identity.people import create_user

    made = []
    async with people_of(site) as catalogue:
        for name, role in (("operator", Role.OPERATOR), ("admin", Role.ADMINISTRATOR)):
            _, password = await create_user(
                catalogue, Passwords(), whoever_runs_this(), time.time_ns(), name=name, role=role
            )
            made.append((name, role.value, password))
    return made


def way_in(address: str | None, people: Sequence[tuple[str, str, str]]) -> list[str]:
    """Where a newcomer goes and who may come in, as `add_people` made them; or why there is nothing to be opened."""
    from vms.cli.web import missing_pages

    if address is None:
        return ["no pages and no live pictures: web.enabled is false"]
    missing = missing_pages()
    first = f"the interface alone is at {address}/api/v1" if missing else f"open {address} and sign in"
    return [
        *missing,
        f"{first}; each password is for once, and you choose your own then:",
        *(f"  {name} ({role})  password {password}" for name, role, password in people),
    ]


def check_folder(folder: Path) -> None:
    """UserError unless the folder may be emptied: a demo made it and no demo uses it, or there is nothing in it."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UserError(f"{folder} is no folder; name another --dir")
    if not folder.exists() or not any(folder.iterdir()):
        return
    try:
        with (folder / "site.toml").open(encoding="utf-8") as file:
            marked = file.readline().rstrip("\n") == MARK
    except (OSError, UnicodeDecodeError):
        marked = False
    if not marked:
        raise UserError(f"{folder} was not made by a demo and is left alone; name another --dir")
    try:
        process = Site.open(folder).running_process()
    except UserError:
        return  # a demo that ended before its site was whole
    if process is not None:
        raise UserError(f"a demo runs in {folder} already (process {process}); end that one, or name another --dir")


def empty_folder(folder: Path) -> None:
    """Make it anew. Raises UserError where `check_folder` does."""
    check_folder(folder)
    try:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(mode=0o700, parents=True)
        write_atomically(folder / "site.toml", f"{MARK}\n".encode())  # whatever happens next, it is ours to empty
    except OSError as error:
        raise UserError(f"{folder} cannot be emptied: {error.strerror}; name another --dir") from error
