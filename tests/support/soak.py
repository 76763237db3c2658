"""A soak: a site under all faults at random for long, and what is left to say about it afterwards.

Usage: python -m tests.support.soak --minutes 60 --cameras 40 [--workers 3] [--seed N] [--json FILE]
       python -m tests.support.soak --merge FILE…

`vms up` records simulated cameras of 1 Mbit/s into SeaweedFS. Cameras, workers, archiver, catalogue, store and spool fail
by a plan that follows from the seed (`tests.support.soak_plan`). Afterwards every picture that the simulator sent is
stored once, or missing within a fault and told of with its reason; `vms check --depth digest` finds nothing; memory and
open files of every process have not grown. Runs merge.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import os
import pickle
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID

from storage.objects import S3Store
from tests.support.growth import Lives, look, slope
from tests.support.kill_up import vms
from tests.support.outages import StoredUnit
from tests.support.soak_account import CameraAccount, account_of
from tests.support.soak_faults import Faults
from tests.support.soak_plan import concerning, plan
from tests.support.soak_site import SoakSite, role_of, soak_site
from tests.support.split_run import conclude, merged, options
from tests.support.stored import gap_facts, leftovers
from tests.support.vms_process import processes_of
from vms.media.boxes import BytesSource
from vms.media.segment_reader import SegmentReader, verify
from vms.simulate import Footage, prepare
from vms.simulate.recipes import Material, small

SLACK_NS = 1_000_000_000  # what a busy machine makes of the moment of something
SAMPLE_S = 5.0
WARM_UP_S = 600.0
SECONDS_OF_SPOOL = 80  # that the budget is enough for
MOST_KIB_PER_HOUR = 4096.0  # of a slope, less two of its errors
MOST_DESCRIPTORS_PER_HOUR = 2.0
JUDGED_S = 1800.0  # a slope of less time says nothing
CHECK_SECONDS = 1200.0
VERIFIED = 7  # every so manyth segment, seals and all


@dataclass(slots=True)
class Figures:
    """What a run found. Merged: worst of the worst, lists joined, sums of the rest."""

    seeds: list[int] = field(default_factory=list)
    cameras: int = 0
    minutes: float = 0.0
    faults: dict[str, int] = field(default_factory=dict)
    worst_recovery_s: dict[str, float] = field(default_factory=dict)
    stood_still_s: float = 0.0  # the machine stopped everything: figures of times are worthless then
    mishaps: dict[str, int] = field(default_factory=dict)  # of requests to the store
    pictures_sent: int = 0
    pictures_stored: int = 0
    pictures_missing: int = 0  # of the time between a camera's first and last stored one, sent or not
    sent_and_not_stored: dict[str, int] = field(default_factory=dict)  # by the fault that explains it
    damaged: int = 0
    outages: int = 0
    gap_seconds: dict[str, float] = field(default_factory=dict)
    worst_border_error_ms: int = 0
    borders_within_100_ms: int = 0
    borders: int = 0
    objects: int = 0
    segments_in_spool: int = 0
    read_mb: float = 0.0
    verified: int = 0
    check: list[str] = field(default_factory=list)
    growth: list[dict[str, Any]] = field(default_factory=list)
    worst_simulator_late_ms: int = 0
    problems: list[str] = field(default_factory=list)


def merge(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Several runs' results as one."""
    return merged(Figures(), parts, {"cameras"})


def footage_of_a_megabit() -> list[Footage]:
    """640x360, 25 pictures and 1 Mbit a second, a key picture every second; H.264 and H.265."""
    pairs = small(Material.BIKES)[:2]
    mains = [
        replace(p.main, name=f"bikes-360p-{p.main.codec}", width=640, height=360, bit_rate=1_000_000, seconds=10)
        for p in pairs
    ]
    return prepare(pairs=[replace(p, main=m, sub=None) for p, m in zip(pairs, mains, strict=True)])


async def sample(site: SoakSite, lives: dict[str, Lives]) -> None:
    """Note memory and descriptors of every process of the site, until cancelled."""
    while True:
        lines = await asyncio.to_thread(processes_of, site.site.path)
        roles = {pid: role for pid, line in lines.items() if (role := role_of(line))}
        for pid, found in (await asyncio.to_thread(look, roles)).items():
            lives.setdefault(roles[pid], {}).setdefault(pid, []).append(found)
        await asyncio.sleep(SAMPLE_S)


def judge_growth(figures: Figures, lives: Mapping[str, Lives], seconds: float) -> None:
    """Slopes of every role; those of a long run must be flat."""
    warm_up_s = min(WARM_UP_S, seconds / 4)
    for role, those in sorted(lives.items()):
        last = [samples[-1] for samples in those.values()]
        facts: dict[str, Any] = {"role": role, "lives": len(those), "mib": round(last[-1].own_kib / 1024, 1)}
        for what, name, most in (
            ("own_kib", "memory_kib", MOST_KIB_PER_HOUR),
            ("descriptors", "descriptors", MOST_DESCRIPTORS_PER_HOUR),
        ):
            found = slope(those, what, warm_up_s=warm_up_s)
            known = found.error < float("inf")
            facts[f"{name}_per_hour"] = round(found.per_hour, 2) if known else None
            facts[f"{name}_error"] = round(found.error, 2) if known else None
            facts["points"] = found.points
            if seconds >= JUDGED_S and known and found.per_hour - 2 * found.error > most:
                figures.problems.append(f"{role}: {name} grows by {found.per_hour:.1f} ± {found.error:.1f} an hour")
        facts["descriptors"] = [min(s.descriptors for s in last), max(s.descriptors for s in last)]
        figures.growth.append(facts)


async def account(site: SoakSite, faults: Faults, figures: Figures, keep: Path | None) -> None:
    """Read everything that is stored, camera by camera, and hold it against what was sent."""
    store = S3Store(site.server.location)  # straight, not by the proxy
    indices = range(site.count)
    gaps = await gap_facts(site.site, [site.stream_of(i) for i in indices])
    lost: Counter[str] = Counter()
    seconds: Counter[str] = Counter()
    for i in indices:
        stream = site.stream_of(i)
        units = await _stored(site, store, stream, figures)
        sent = site.log_of_sent.camera(f"cam{i}")
        events = concerning(faults.events, i)
        if keep is not None:
            (keep / f"cam{i}.pickle").write_bytes(pickle.dumps((sent, units, gaps[stream], events)))
        recorded = site.recorded(i)
        found = await asyncio.to_thread(
            account_of, sent, units, gaps[stream], events, recorded=recorded, slack_ns=SLACK_NS
        )
        _add(figures, i, found)
        lost += found.lost_sent
        seconds += found.gap_ns
    figures.sent_and_not_stored = dict(lost)
    figures.gap_seconds = {str(reason): round(ns / 1e9, 1) for reason, ns in seconds.items()}
    await store.close()


def _add(figures: Figures, camera: int, found: CameraAccount) -> None:
    figures.pictures_sent += found.sent
    figures.pictures_stored += found.stored
    figures.pictures_missing += found.missing
    figures.damaged += found.damaged
    figures.outages += found.outages
    figures.borders += len(found.border_errors_ms)
    figures.borders_within_100_ms += sum(e <= 100 for e in found.border_errors_ms)
    figures.worst_border_error_ms = max([figures.worst_border_error_ms, *found.border_errors_ms])
    figures.problems += [f"camera {camera}: {problem}" for problem in found.problems]


async def _stored(site: SoakSite, store: S3Store, stream: UUID, figures: Figures) -> list[StoredUnit]:
    """Every unit of every segment of a stream: objects, and what the spool still has."""
    units: list[StoredUnit] = []
    seen = set()
    async for item in store.list(f"segments/{stream}/"):
        seen.add(item.key.rpartition("/")[2])
        data = b"".join([block async for block in store.get(item.key)])
        figures.objects += 1
        units += await asyncio.to_thread(_units, item.key, data, figures)
    for path in sorted(site.site.spool.glob(f"sealed/{stream}_*.mp4")):
        if path.name.partition("_")[2] not in seen:
            figures.segments_in_spool += 1
            units += await asyncio.to_thread(_units, path.name, path.read_bytes(), figures)
    return units


def _units(name: str, data: bytes, figures: Figures) -> list[StoredUnit]:
    figures.read_mb += len(data) / 1e6
    source = BytesSource(data)
    if (figures.objects + figures.segments_in_spool) % VERIFIED == 0:
        figures.verified += 1
        if not (checked := verify(source)).sound:
            figures.problems.append(f"{name}: {', '.join(checked.problems)}")
    reader = SegmentReader(source)
    capture_ns = reader.head.mapping.capture_ns
    return [StoredUnit(u.pts, hashlib.sha256(u.data).hexdigest(), capture_ns(u.pts), u.damaged) for u in reader.units()]


async def soak(
    seconds: float,
    cameras: int,
    workers: int,
    seed: int,
    *,
    footage: Sequence[Footage] | None = None,
    segment_seconds: int = 15,
    keep: Path | None = None,
) -> Figures:
    """A whole run."""
    figures = Figures([seed], cameras, round(seconds / 60, 2))
    footage = footage or await asyncio.to_thread(footage_of_a_megabit)
    budget = max(64 << 20, cameras * 125_000 * SECONDS_OF_SPOOL)
    lives: dict[str, Lives] = {}
    async with soak_site(footage, cameras, workers, segment_seconds=segment_seconds, budget_bytes=budget) as site:
        await site.recording(range(cameras), 120.0)
        faults = Faults(site, budget)
        sampler = asyncio.create_task(sample(site, lives))
        await faults.run(plan(seed, seconds))
        await site.recording(range(cameras), 120.0)
        await asyncio.sleep(2.0)  # so that something is stored after the last fault
        sampler.cancel()
        await asyncio.to_thread(site.stop, "up")
        print("ended; accounting", flush=True)
        state = site.simulator.call(lambda s: s.state())
        figures.worst_simulator_late_ms = state.late_ns // 1_000_000
        figures.faults = dict(Counter(str(e.kind) for e in faults.events))
        figures.worst_recovery_s = {str(kind): worst for kind, worst in faults.recovery_s.items()}
        figures.stood_still_s = round(faults.stood_still_s, 1)
        figures.mishaps = {str(kind): count for kind, count in site.proxy.befell.items()}
        figures.problems += faults.problems
        judge_growth(figures, lives, seconds)
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            shutil.copy(site.log("up"), keep / "up.log")
            (keep / "samples.pickle").write_bytes(pickle.dumps(lives))
        await account(site, faults, figures, keep)
        if left := leftovers(site.site):
            figures.problems.append(f"part files are left: {', '.join(left[:5])}")
        try:
            check = functools.partial(vms, site.site.path, "check", "--depth", "digest", seconds=CHECK_SECONDS)
            figures.check.append((await asyncio.to_thread(check)).strip().splitlines()[-1])
        except AssertionError as error:
            figures.problems.append(f"the check finds something broken: {error}")
    figures.read_mb = round(figures.read_mb, 1)
    return figures


def main() -> int:
    parser = options("soak", __doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--cameras", type=int, default=40)
    parser.add_argument("--workers", type=int, default=3, help="the last one is never killed")
    parser.add_argument("--keep", type=Path, help="a folder for the log, and for what the account was made of")
    arguments = parser.parse_args()

    def run() -> dict[str, Any]:
        began = time.monotonic()
        found = soak(arguments.minutes * 60, arguments.cameras, arguments.workers, arguments.seed, keep=arguments.keep)
        figures = asdict(asyncio.run(found))
        print(f"took {time.monotonic() - began:.0f} s, niceness {os.nice(0)}")
        return figures

    return conclude(arguments, merge, run)


if __name__ == "__main__":
    sys.exit(main())
