"""R-01: `kill -9` at random moments, and what it cost, camera by camera, by the simulator's own account.

Usage: python -m tests.support.kill_run --kills 200 --cameras 20 [--workers 1] [--seed N] [--json FILE]
       python -m tests.support.kill_run --merge FILE…

Each worker is killed on its own, so that kills of different workers overlap; one in seven comes before the recorder has
recovered from the one before. `--up` kills every process of `vms up` at once instead, and starts it again. A run can be
split: seeds differ, results merge.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.support.outages import Account
from tests.support.recorder_site import TOLERANCE_NS, AccountedSite, recorder_site
from tests.support.stored import Stored, leftovers
from vms.simulate import prepare_small

MOST_LOST_NS = 1_000_000_000
MOST_SILENT_NS = 3_000_000_000  # and a group of pictures, until recording again
EARLY = 1 / 7
DECODED_OF_A_LONG_RUN = 7  # every so manyth segment


@dataclass(frozen=True, slots=True)
class Kill:
    """One worker's death. `settled`: all its cameras were being recorded."""

    worker: int
    at_ns: int
    settled: bool


@dataclass(slots=True)
class Figures:
    """What comes out. Times in milliseconds; `tails` and `silences` are one per camera and settled kill."""

    seeds: list[int] = field(default_factory=list)
    kills: int = 0
    cameras: int = 0
    pictures: int = 0
    segments: int = 0
    decoded: int = 0
    undecodable: int = 0
    outages: int = 0
    tails: dict[str, int] = field(default_factory=dict)  # hundreds of milliseconds lost → how often
    worst_tail_ms: int = 0
    silences: dict[str, int] = field(default_factory=dict)
    worst_silence_ms: int = 0
    worst_gap_error_ms: int = 0
    worst_capture_error_ms: int = 0
    simulator_late_ms: int = 0
    problems: list[str] = field(default_factory=list)


def merge(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Several runs' results as one: worst of the worst, sums of the rest."""
    whole = asdict(Figures())
    for part in parts:
        for name, value in part.items():
            if isinstance(value, dict):
                for key, count in value.items():
                    whole[name][key] = whole[name].get(key, 0) + count
            elif name.startswith("worst") or name in ("cameras", "simulator_late_ms"):
                whole[name] = max(whole[name], value)
            else:
                whole[name] += value
    return whole


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


def judge(
    figures: Figures, accounts: Mapping[int, Account], kills: Sequence[Kill], *, workers: int, gop_ns: int
) -> None:
    """Hold every outage against the kills in it, and the bounds of R-01. Pure but for `figures`."""
    for number, account in accounts.items():
        mine = [k for k in kills if k.worker == number % workers]
        figures.pictures += account.stored
        figures.outages += len(account.outages)
        figures.worst_gap_error_ms = max(figures.worst_gap_error_ms, account.worst_gap_error_ns // 1_000_000)
        figures.worst_capture_error_ms = max(
            figures.worst_capture_error_ms, account.worst_capture_error_ns // 1_000_000
        )
        figures.problems += [f"camera {number}: {problem}" for problem in account.problems]
        blamed = 0
        for outage in account.outages:
            slack = MOST_LOST_NS * 2
            inside = [k for k in mine if outage.range.start_ns - slack <= k.at_ns < outage.range.end_ns]
            inside = [k for k in inside if k.at_ns >= outage.range.start_ns - account.frame_ns]
            blamed += len(inside)
            if not inside:
                figures.problems.append(
                    f"camera {number}: {outage.pictures} pictures are missing and nobody was killed"
                )
                continue
            tail = outage.before(inside[0].at_ns) * account.frame_ns
            silence = outage.range.end_ns - inside[-1].at_ns
            _count(figures.tails, tail)
            _count(figures.silences, silence)
            figures.worst_tail_ms = max(figures.worst_tail_ms, tail // 1_000_000)
            figures.worst_silence_ms = max(figures.worst_silence_ms, silence // 1_000_000)
            if tail > MOST_LOST_NS:
                figures.problems.append(f"camera {number}: {tail // 1_000_000} ms before a kill are lost")
            if silence > MOST_SILENT_NS + gop_ns:
                figures.problems.append(f"camera {number}: recording again only {silence // 1_000_000} ms after a kill")
        if blamed != len(mine):
            figures.problems.append(f"camera {number}: {len(mine)} kills, {blamed} of them within an outage")


def _count(histogram: dict[str, int], ns: int) -> None:
    key = str(ns // 100_000_000 * 100)
    histogram[key] = histogram.get(key, 0) + 1


def note_stored(figures: Figures, stored: Stored, left: Sequence[str]) -> None:
    figures.segments += stored.segments
    figures.decoded += stored.decoded
    figures.undecodable += len(stored.undecodable)
    figures.problems += [f"not sound: {what}" for what in stored.undecodable[:20]]
    if left:
        figures.problems.append(f"part files are left: {', '.join(left[:5])}")


def run_workers(
    kills: int, cameras: int, workers: int, seed: int, *, calm: float = 4.0, tolerance_ns: int = TOLERANCE_NS
) -> Figures:
    """Kill workers, stop in order, account."""
    figures = Figures(seeds=[seed], cameras=cameras)
    footage = prepare_small()[:2]  # an H.264 and an H.265 camera in turn, a key picture every second
    with recorder_site(footage, cameras, workers=workers) as site:
        done = asyncio.run(kill_workers(site, kills, seed, calm=calm))
        site.stop("host")
        figures.kills = len(done)
        figures.simulator_late_ms = site.simulator.call(lambda s: s.state()).late_ns // 1_000_000
        step = 1 if kills <= 40 else DECODED_OF_A_LONG_RUN
        accounts, stored = site.accounts(range(cameras), tolerance_ns=tolerance_ns, decode=lambda n: n % step == 0)
        judge(figures, accounts, done, workers=workers, gop_ns=1_000_000_000)
        note_stored(figures, stored, leftovers(site.site))
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.support.kill_run", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--cameras", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    parser.add_argument("--up", action="store_true", help="kill every process of `vms up`")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--merge", type=Path, nargs="+")
    arguments = parser.parse_args()
    if arguments.merge:
        found = merge(json.loads(path.read_text()) for path in arguments.merge)
    else:
        print(f"seed {arguments.seed}", flush=True)
        if arguments.up:
            from tests.support.kill_up import run_up

            found = asdict(asyncio.run(run_up(arguments.kills, arguments.cameras, arguments.seed)))
        else:
            found = asdict(run_workers(arguments.kills, arguments.cameras, arguments.workers, arguments.seed))
    text = json.dumps(found, indent=1)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")
    return 1 if found["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
