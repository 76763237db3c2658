"""A site of real processes for tests: simulated cameras, `recorder.host` with its worker, `recorder.publish` if wanted.

The simulator runs on a loop of its own in a thread, so that tests can command it; everything else is a process as in
production. Nothing sleeps for a fixed time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self
from uuid import UUID, uuid4

from vms.assignment import Assignment, CameraAssignment, write_assignment
from vms.errors import VmsError
from vms.feed import FeedClient
from vms.model import SourceKind, Stream, StreamKind
from vms.simulate import Footage, Simulator, SimulatorOptions, running
from vms.site import Site

ROOT = Path(__file__).parents[2]


class SimulatorThread:
    """A simulator on its own event loop; `call` runs a coroutine function or a plain one there."""

    def __init__(self, options: SimulatorOptions) -> None:
        self._options = options
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), name="simulator")
        self.journal: list[dict[str, Any]] = []
        self.simulator: Simulator

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with running(self._options, on_record=self.journal.append) as self.simulator:
            self._ready.set()
            await self._stop.wait()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(30), "the simulator did not start"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def call(self, what: Callable[[Simulator], Any], seconds: float = 10.0) -> Any:
        async def run() -> Any:
            result = what(self.simulator)
            return await result if isinstance(result, Awaitable) else result

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(seconds)


@dataclass
class LiveSite:
    """A data folder and its processes."""

    site: Site
    cameras: list[CameraAssignment]
    simulator: SimulatorThread
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def client(self) -> FeedClient:
        return FeedClient(self.site.settings.feed.socket)

    def stream(self, index: int, kind: StreamKind = StreamKind.MAIN) -> UUID:
        return next(s.id for s in self.cameras[index].streams if s.kind is kind)

    def assign(self) -> None:
        write_assignment(self.site.assignment_file, Assignment(tuple(self.cameras)), self.site.sealer)

    def change(self, index: int, **fields: Any) -> None:
        """Change a camera's assignment, as the registry does."""
        self.cameras[index] = replace(self.cameras[index], **fields)
        self.assign()

    def start(self, name: str, *argv: str, stdout: int | None = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        with self.log(name).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *argv, "--data", str(self.site.path)],
                cwd=ROOT,
                stdout=stdout,
                stderr=log,
                start_new_session=True,
            )
        self.processes[name] = process
        return process

    def log(self, name: str) -> Path:
        return self.site.path / f"{name}.log"

    def stop(self, name: str) -> int:
        process = self.processes.pop(name)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            return process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            if process.stdout is not None:
                process.stdout.close()

    async def states(self) -> dict[UUID, dict[str, Any]]:
        try:
            return {UUID(s["stream_id"]): s for s in await self.client.states()}
        except VmsError:
            return {}

    async def live(self, seconds: float = 25.0) -> None:
        """Wait until every stream records or is relayed."""
        wanted = {s.id for c in self.cameras for s in c.streams}

        async def all_live() -> bool:
            states = await self.states()
            return all(states.get(i, {}).get("state") in ("recording", "relaying") for i in wanted)

        await eventually(all_live, seconds, "every stream live")


async def eventually(condition: Callable[[], Awaitable[object]], seconds: float, what: str) -> None:
    """Poll with a deadline."""
    end = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        await asyncio.sleep(0.05)


def eventually_sync(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Poll with a deadline, without a loop."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.05)


def camera(number: int, name: str, main: str, sub: str = "") -> CameraAssignment:
    """A camera with a recorded main stream and, perhaps, a relayed sub-stream."""
    camera_id = uuid4()
    streams = [Stream(uuid4(), camera_id, StreamKind.MAIN, main, True)]
    if sub:
        streams.append(Stream(uuid4(), camera_id, StreamKind.SUB, sub, False))
    return CameraAssignment(
        camera_id=camera_id, number=number, name=name, enabled=True, source=SourceKind.RTSP, transport="tcp",
        certificate_pin="", trust_clock=False, audio=False, streams=tuple(streams),
    )  # fmt: skip


@contextmanager
def live_site(
    footage: Sequence[Footage], names: Sequence[str], *, settings: str = "", sub: bool = True, **options: Any
) -> Iterator[LiveSite]:
    """A recorder that records one simulated camera per name; `live()` says when."""
    folder = Path(tempfile.mkdtemp(prefix="stroz-live-"))
    with contextlib.ExitStack() as undo:
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        data = folder / "d"
        data.mkdir(mode=0o700)
        (data / "site.toml").write_text(
            f"[recorder]\nworkers = 1\nsegment_seconds = 4\n[spool]\nreserve_bytes = 67108864\n{settings}"
        )
        site = Site.create(data, {})
        thread = undo.enter_context(
            SimulatorThread(SimulatorOptions(tuple(footage), cameras=len(names), port=0, **options))
        )
        urls = thread.call(
            lambda sim: [(sim.url(f"cam{i}"), sim.url(f"cam{i}", sub=True) if sub else "") for i in range(len(names))]
        )
        cameras = [camera(i + 1, name, *url) for i, (name, url) in enumerate(zip(names, urls, strict=True))]
        live = LiveSite(site, cameras, thread)
        live.assign()
        live.start("host", "recorder.host")
        try:
            yield live
        finally:
            for name in list(live.processes)[::-1]:
                live.stop(name)
