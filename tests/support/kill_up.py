"""R-01 for the whole of `vms up`: every process of it killed at once and started again, with archiver, catalogue and store.

When all is over, `vms check` must find catalogue, store and spool in agreement, down to every digest.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.kill_figures import MOST_SILENT_NS, Figures, Kill, judge, note_stored
from tests.support.live_site import SimulatorThread, eventually_sync
from tests.support.recorder_site import AccountedSite, accounted_data
from tests.support.sent import SentLog
from tests.support.stored import leftovers
from tests.support.vms_process import command, environment, processes_of
from vms.assignment import CameraAssignment, read_assignment
from vms.simulate import SimulatorOptions, prepare_small
from vms.site import Site

CALM_S = 6.0
COMMAND_SECONDS = 120.0
GOP_NS = 1_000_000_000


@contextmanager
def up_site(cameras: int) -> Iterator[AccountedSite]:
    """`vms up` over so many cameras, registered as people do: from a table."""
    folder = Path(tempfile.mkdtemp(prefix="stroz-u-"))
    with contextlib.ExitStack() as undo:
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        data = folder / "d"
        data.mkdir(mode=0o700)
        site = accounted_data(data, 1)
        with (data / "site.toml").open("a") as file:
            file.write('[metrics]\nlisten = "127.0.0.1:0"\n[web]\nenabled = false\n')
        thread = SimulatorThread(SimulatorOptions(tuple(prepare_small()[:2]), cameras=cameras, port=0))
        sent = SentLog()
        thread.journal = sent  # type: ignore[assignment]
        undo.enter_context(thread)
        urls = thread.call(lambda sim: [sim.url(f"cam{i}") for i in range(cameras)])
        live = AccountedSite(site, register_cameras(site, urls, folder / "kamery.csv"), thread)
        live.log_of_sent, live.workers = sent, 1
        live.start("up", "vms.cli", "up")
        try:
            yield live
        finally:
            if "up" in live.processes:
                live.stop("up")


def register_cameras(site: Site, urls: Sequence[str], table: Path) -> list[CameraAssignment]:
    """As people do: from a table. In the order of the addresses."""
    rows = [f"{i + 1},Rynek {i + 1},{url}" for i, url in enumerate(urls)]
    table.write_text("\n".join(["numer,nazwa,adres", *rows]) + "\n")
    vms(site.path, "camera", "import", str(table), "--commit")
    found = read_assignment(site.assignment_file, site.sealer).cameras
    return sorted(found, key=lambda camera: camera.number)


def vms(data: Path, *arguments: str, seconds: float = COMMAND_SECONDS) -> str:
    """What a command says. Raises when it fails."""
    done = subprocess.run(
        [*command("--data", data), *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, f"vms {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def kill_all(site: AccountedSite) -> int:
    """SIGKILL to every process of the site, and wait until none is left. When that was."""
    at_ns = time.time_ns()
    for pid in sorted(processes_of(site.site.path)):  # the oldest first: who would start others again
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    site.processes.pop("up").wait(10)
    eventually_sync(lambda: not processes_of(site.site.path), 10, "the end of every process")
    return at_ns


def run_up(
    kills: int, cameras: int, seed: int, *, calm: float = CALM_S, most_silent_ns: int = MOST_SILENT_NS
) -> Figures:
    """Kill everything at once, again and again; stop in order, account, check."""
    figures = Figures(seeds=[seed], cameras=cameras)
    rng = random.Random(f"{seed}:up")
    done: list[Kill] = []
    with up_site(cameras) as site:
        for _ in range(kills):
            asyncio.run(site.recording(range(cameras), 60.0))
            time.sleep(rng.uniform(0.2, calm))
            done.append(Kill(0, kill_all(site), settled=True))
            site.start("up", "vms.cli", "up")
        asyncio.run(site.recording(range(cameras), 60.0))
        time.sleep(1.0)  # so that something is stored after the last one
        site.stop("up")
        figures.kills = len(done)
        figures.simulator_late_ms = site.simulator.call(lambda s: s.state()).late_ns // 1_000_000
        accounts, stored = site.accounts(range(cameras))
        judge(figures, accounts, done, workers=1, gop_ns=GOP_NS, most_silent_ns=most_silent_ns)
        note_stored(figures, stored, leftovers(site.site))
        try:
            vms(site.site.path, "check", "--depth", "digest")
        except AssertionError as error:
            figures.problems.append(f"the check finds something broken: {error}")
    return figures
