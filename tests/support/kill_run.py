"""R-01: `kill -9` at random moments, and what it cost, camera by camera, by the simulator's own account.

Usage: python -m tests.support.kill_run --kills 200 --cameras 20 [--workers 1] [--seed N] [--json FILE]
       python -m tests.support.kill_run --merge FILE…

Each worker is killed on its own, so that kills of different workers overlap; one in seven comes before the recorder has
recovered from the one before. `--up` kills every process of `vms up` at once instead, and starts it again. A run can be
split: seeds differ, results merge.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
import time
from dataclasses import asdict
from typing import Any

from tests.support.kill_figures import MOST_SILENT_NS, Figures, Kill, judge, merge, note_stored
from tests.support.kill_up import run_up
from tests.support.recorder_site import AccountedSite, recorder_site
from tests.support.split_run import conclude, options
from tests.support.stored import leftovers
from vms.simulate import prepare_small

EARLY = 1 / 7
DECODED_OF_A_LONG_RUN = 7  # every so manyth segment
GOP_NS = 1_000_000_000  # of the small footage


async def kill_workers(site: AccountedSite, kills: int, seed: int, *, calm: float) -> list[Kill]:
    """`kills` deaths, spread over the workers; `calm` is the longest wait in seconds after recording is whole again."""
    cameras = range(len(site.cameras))
    await site.recording(cameras, 60.0)
    done: list[Kill] = []

    async def one(worker: int) -> None:
        rng = random.Random(f"{seed}:{worker}")
        mine = [i for i in cameras if i % site.workers == worker]
        settled = True
        for _ in range(kills // site.workers + (worker < kills % site.workers)):
            if settled:
                await site.recording(mine, 60.0)
                await asyncio.sleep(rng.uniform(0.2, calm))
            else:
                await asyncio.sleep(rng.uniform(0.1, 1.5))
            while (pid := site.worker_pid(worker)) is None:
                await asyncio.sleep(0.02)
            with contextlib.suppress(ProcessLookupError):
                at_ns = time.time_ns()
                os.kill(pid, signal.SIGKILL)
                done.append(Kill(worker, at_ns, settled))
            settled = rng.random() > EARLY
        await site.recording(mine, 60.0)

    async with asyncio.TaskGroup() as tasks:
        for worker in range(site.workers):
            tasks.create_task(one(worker))
    await asyncio.sleep(1.0)  # so that something is stored after the last one
    return sorted(done, key=lambda kill: kill.at_ns)


def run_workers(
    kills: int, cameras: int, workers: int, seed: int, *, calm: float = 4.0, most_silent_ns: int = MOST_SILENT_NS
) -> Figures:
    """Kill workers, stop in order, account. `most_silent_ns`: from a kill until recording again, less a GOP."""
    figures = Figures(seeds=[seed], cameras=cameras)
    footage = prepare_small()[:2]  # an H.264 and an H.265 camera in turn, a key picture every second
    with recorder_site(footage, cameras, workers=workers) as site:
        done = asyncio.run(kill_workers(site, kills, seed, calm=calm))
        site.stop("host")
        figures.kills = len(done)
        figures.simulator_late_ms = site.simulator.call(lambda s: s.state()).late_ns // 1_000_000
        step = 1 if kills <= 40 else DECODED_OF_A_LONG_RUN
        accounts, stored = site.accounts(range(cameras), decode=lambda n: n % step == 0)
        judge(figures, accounts, done, workers=workers, gop_ns=GOP_NS, most_silent_ns=most_silent_ns)
        note_stored(figures, stored, leftovers(site.site))
    return figures


def main() -> int:
    parser = options("kill_run", __doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--cameras", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--up", action="store_true", help="kill every process of `vms up`")
    arguments = parser.parse_args()
    kills, cameras, workers, seed = arguments.kills, arguments.cameras, arguments.workers, arguments.seed

    def run() -> dict[str, Any]:
        return asdict(run_up(kills, cameras, seed) if arguments.up else run_workers(kills, cameras, workers, seed))

    return conclude(arguments, merge, run)


if __name__ == "__main__":
    sys.exit(main())
