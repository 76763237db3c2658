"""A recorder of real processes and simulated cameras whose every unit is accounted for: for kills and bad neighbours."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from tests.support.live_site import LiveSite, SimulatorThread, camera
from tests.support.outages import Account, account
from tests.support.sent import SentLog
from tests.support.stored import Stored, gap_facts, read_segments
from tests.support.vms_process import processes_of
from vms.simulate import CameraScript, Footage, SimulatorOptions
from vms.site import Site
from vms.timeline import TimeRange

TOLERANCE_NS = 100_000_000  # of a gap's borders: a frame, and what a busy machine makes of the moment of arrival


class AccountedSite(LiveSite):
    """A `LiveSite` that knows what was sent; camera i is `cam<i>` of the simulator and worker `i mod workers`'s."""

    log_of_sent: SentLog
    workers: int

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._recorded_since_ns: dict[int, int] = {}
        self._stopped_ns = 0

    def stop(self, name: str) -> int:
        if name in ("host", "up"):
            self._stopped_ns = time.time_ns()
        return super().stop(name)

    def recorded(self, index: int) -> TimeRange:
        """Of a camera that was waited for: from when it was first seen recording until the recorder was stopped."""
        return TimeRange(self._recorded_since_ns[index], self._stopped_ns)

    def stream_of(self, index: int) -> UUID:
        return self.cameras[index].streams[0].id

    def worker_pid(self, worker: int) -> int | None:
        """Of the worker's process now; None while it is being replaced."""
        return self.pid_of("recorder.worker", f"--index {worker} ")

    def pid_of(self, *words: str) -> int | None:
        found = [pid for pid, line in processes_of(self.site.path).items() if all(w in line for w in words)]
        return found[0] if len(found) == 1 else None

    async def recording(self, indices: Sequence[int], seconds: float = 30.0) -> float:
        """Wait until all of these cameras are being recorded; how long that took."""
        wanted = {self.stream_of(i) for i in indices}
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            states = await self.states()
            if all(states.get(s, {}).get("state") == "recording" for s in wanted):
                for i in indices:
                    self._recorded_since_ns.setdefault(i, time.time_ns())
                return loop.time() - began
            assert loop.time() - began < seconds, f"not recording within {seconds} s: {self.tail()}"
            await asyncio.sleep(0.05)

    def tail(self) -> str:
        return "\n".join(self.log("host").read_text(errors="replace").splitlines()[-15:])

    def accounts(
        self,
        indices: Sequence[int],
        *,
        tolerance_ns: int = TOLERANCE_NS,
        decode: Callable[[int], bool] = lambda _n: True,
    ) -> tuple[dict[int, Account], Stored]:
        """Everything stored of these cameras against everything sent. Wait for them all, and stop the recorder, first."""
        streams = [self.stream_of(i) for i in indices]
        stored = read_segments(self.site, streams, decode)
        gaps = asyncio.run(gap_facts(self.site, streams))
        found = {}
        for i in indices:
            sent = self.log_of_sent.camera(f"cam{i}")
            units, facts = stored.units.get(self.stream_of(i), []), gaps[self.stream_of(i)]
            found[i] = account(sent, units, facts, recorded=self.recorded(i), tolerance_ns=tolerance_ns)
        return found, stored


def accounted_data(data: Path, workers: int, segment_seconds: int = 4, settings: str = "") -> Site:
    """A data folder for short segments; `settings`: further sections."""
    (data / "site.toml").write_text(
        f"[recorder]\nworkers = {workers}\nsegment_seconds = {segment_seconds}\nstall_timeout_seconds = 5\n"
        "[spool]\nreserve_bytes = 67108864\n[publishing]\nenabled = false\n" + settings
    )
    return Site.create(data, {})


@contextmanager
def recorder_site(
    footage: Sequence[Footage],
    cameras: int,
    *,
    workers: int = 1,
    scripts: Mapping[int, CameraScript] | None = None,
    fields: Mapping[int, Mapping[str, Any]] | None = None,
    environment: Mapping[str, str] | None = None,
    segment_seconds: int = 4,
    log: SentLog | None = None,
    simulator: Mapping[str, Any] | None = None,
    settings: str = "",
    through: Callable[[SimulatorThread, str], str] = lambda _thread, url: url,
) -> Iterator[AccountedSite]:
    """`recorder.host` over so many cameras; `scripts` and `fields` (of the assignment) say which are special.

    `simulator`: further options of it; `settings`: further sections of the site's; `through`: the address by which
    the recorder reaches a camera's. The spool is on a disk, as in a site.
    """
    folder = Path(tempfile.mkdtemp(prefix="stroz-k-"))
    with contextlib.ExitStack() as undo:
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        data = folder / "d"
        data.mkdir(mode=0o700)
        site = accounted_data(data, workers, segment_seconds, settings)
        wanted = {f"cam{i}": script for i, script in (scripts or {}).items()}
        options = SimulatorOptions(tuple(footage), cameras=cameras, port=0, scripts=wanted, **(simulator or {}))
        thread = SimulatorThread(options)
        journal = log or SentLog()
        thread.journal = journal  # type: ignore[assignment]
        undo.enter_context(thread)
        urls = thread.call(lambda sim: [sim.url(f"cam{i}") for i in range(cameras)])
        assigned = [
            replace(camera(i + 1, f"Rynek {i + 1}", url), camera_id=id_for(i, workers), **(fields or {}).get(i, {}))
            for i, url in enumerate(through(thread, url) for url in urls)
        ]
        live = AccountedSite(site, assigned, thread)
        live.log_of_sent, live.workers = journal, workers
        live.assign()
        before = {name: os.environ.get(name) for name in environment or {}}
        os.environ.update(environment or {})
        try:
            live.start("host", "recorder.host")
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
        try:
            yield live
        finally:
            for name in list(live.processes)[::-1]:
                live.stop(name)


def id_for(index: int, workers: int) -> UUID:
    """A camera's id that makes it worker `index mod workers`'s."""
    while True:
        found = uuid4()
        if found.int % workers == index % workers:
            return found
