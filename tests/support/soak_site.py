"""The site of a soak: `vms up` over simulated cameras and a SeaweedFS behind a proxy that misbehaves on command.

Cameras are registered as people do, from a table. Beside them stand harmful neighbours, which are away until called.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from storage.camera_registry import refresh_assignment
from storage.catalogue import Catalogue
from storage.objects import embedded
from tests.support.kill_up import register_cameras
from tests.support.live_site import SimulatorThread
from tests.support.recorder_site import AccountedSite
from tests.support.sent import SentLog
from tests.support.unreliable_proxy import UnreliableProxy
from tests.support.vms_process import command, environment
from vms.assignment import CameraAssignment, read_assignment
from vms.model import SourceKind
from vms.simulate import Footage, SimulatorOptions
from vms.site import Site

NEIGHBOURS = ("flood", "garbage_payloads", "garbage_stream", "size_every_gop", "drops_after_play")
ROLES = {
    "vms up": "vms.cli",
    "recorder host": "recorder.host",
    "archiver": "storage.archive_process",
    "alarm watch": "vms.cli.alarm_watch",
}


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A camera that harms, as a process of its own: what it costs itself is not the other cameras' affair."""

    quirk: str
    port: int
    film: Path

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/cam0"

    @contextlib.contextmanager
    def there(self) -> Iterator[None]:
        """It answers, soon, until it dies at the end."""
        arguments = command("simulate", self.film, "--no-sub", "--port", self.port, "--quirk", self.quirk)
        with subprocess.Popen(
            arguments, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            try:
                yield
            finally:
                process.kill()


class SoakSite(AccountedSite):
    """Camera i is `cam<i>`; those from `count` on are the `neighbours`."""

    count: int
    neighbours: Sequence[Neighbour]
    proxy: UnreliableProxy
    server: embedded.EmbeddedServer

    def worker_of(self, index: int) -> int:
        return self.cameras[index].camera_id.int % self.workers

    def names(self) -> list[str]:
        return [f"cam{i}" for i in range(self.count)]


def role_of(line: str) -> str:
    """Of a process, by its command line; empty for another one."""
    if "recorder.worker" in line:
        return f"worker {line.partition('--index ')[2].split()[0]}"
    return next((role for role, module in ROLES.items() if f"-m {module} " in line), "")


@asynccontextmanager
async def soak_site(
    footage: Sequence[Footage], cameras: int, workers: int, *, segment_seconds: int, budget_bytes: int
) -> AsyncIterator[SoakSite]:
    """Started; `recording` says when it records. Gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="stroz-s-"))
    async with contextlib.AsyncExitStack() as undo:
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        server = await asyncio.to_thread(embedded.start_seaweedfs, folder / "weed")
        undo.push_async_callback(asyncio.to_thread, server.stop)
        host, _, port = server.location.netloc.rpartition(":")
        proxy = await undo.enter_async_context(UnreliableProxy(host, int(port)))
        data = folder / "d"
        data.mkdir(mode=0o700)
        (data / "site.toml").write_text(
            _settings(server, proxy.port, cameras, workers, segment_seconds=segment_seconds, budget_bytes=budget_bytes)
        )
        site = Site.create(data, {})
        thread = SimulatorThread(SimulatorOptions(tuple(footage), cameras=cameras, port=0))
        sent = SentLog()
        thread.journal = sent  # type: ignore[assignment]
        await asyncio.to_thread(thread.__enter__)
        undo.push_async_callback(asyncio.to_thread, thread.__exit__)
        neighbours = [
            Neighbour(quirk, port, footage[0].main)
            for quirk, port in zip(NEIGHBOURS, embedded.free_ports(len(NEIGHBOURS)), strict=True)
        ]
        urls = [thread.simulator.url(f"cam{i}") for i in range(cameras)] + [n.url for n in neighbours]
        await asyncio.to_thread(register_cameras, site, urls, folder / "kamery.csv")
        live = SoakSite(site, await _ours_alone(site), thread)
        live.log_of_sent, live.workers, live.count = sent, workers, cameras
        live.proxy, live.server, live.neighbours = proxy, server, neighbours
        live.start("up", "vms.cli", "up")
        try:
            yield live
        finally:
            if "up" in live.processes:
                await asyncio.to_thread(live.stop, "up")


async def _ours_alone(site: Site) -> list[CameraAssignment]:
    """Never PyAV: it gives pictures times of its own, by which they cannot be found again among those sent."""
    async with Catalogue(site.catalogue_url, site.sealer) as catalogue:
        for camera in await catalogue.cameras():
            await catalogue.update_camera(replace(camera, source=SourceKind.RTSP), at_ns=time.time_ns())
        await refresh_assignment(site, catalogue)
    return sorted(read_assignment(site.assignment_file, site.sealer).cameras, key=lambda camera: camera.number)


def _settings(
    server: embedded.EmbeddedServer, port: int, cameras: int, workers: int, *, segment_seconds: int, budget_bytes: int
) -> str:
    location = server.location
    return (
        f'[site]\nhost = "rejestrator"\n[metrics]\nlisten = "127.0.0.1:0"\n[web]\nenabled = false\n[publishing]\nenabled = false\n'
        f"[recorder]\nworkers = {workers}\nsegment_seconds = {segment_seconds}\nstall_timeout_seconds = 5\n"
        f"[spool]\nreserve_bytes = 67108864\nbudget_bytes = {budget_bytes}\n"
        f'shed_first = "{cameras * 3 // 4 + 1}-{cameras + len(NEIGHBOURS)}"\n'
        f'[store]\nkind = "s3"\nendpoint = "127.0.0.1:{port}"\ntls = false\nbucket = "{location.bucket}"\n'
        f'access_key = "{location.access_key}"\nsecret_key = "{location.secret_key}"\n'
    )
