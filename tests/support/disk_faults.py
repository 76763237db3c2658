"""Every call to the disk refused once, by ENOSPC and by EIO: recording, archiving with deleting, exporting (R-05).

A first try without a fault writes down which calls there are: kind and place. Then each of them, or a sample of each, is
refused once in a fresh site (`tests.support.disk_scenarios`), and writes are also torn. Run it for all of them:

    python -m tests.support.disk_faults --most 1000 --seed 7 --json disk.json
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import json
import logging
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.support.disk_scenarios import SCENARIOS, Fault, run_trial
from tests.support.failing_disk import Call, FailingDisk

ROOT = Path(__file__).parents[2]
ERRORS = (errno.ENOSPC, errno.EIO)
ALWAYS = {(Call.UNLINK, "/sealed")}  # few calls, and each is another step of the archiver's
TORN = ("/open", "/facts", "/.incoming")  # places where half a write is tried too
# A call's place, as far as calls are alike there: the first of these that its path holds.
PLACES = (
    "catalogue.db-wal", "catalogue.db-journal", "catalogue.db", "access.log", "/open", "/sealed", "/facts", "/.incoming",
    "/segments", "/journals", "/probes", "/store", "archiver.json", "/spool", "/out", "/d$",
)  # fmt: skip


@dataclass
class Result:
    """What one run of the module found; results of several runs merge by adding."""

    seeds: list[int] = field(default_factory=list)
    refused: dict[str, int] = field(default_factory=dict)  # scenario, call, place and error → how often
    not_met: int = 0  # the call did not come in that try
    problems: list[str] = field(default_factory=list)


def _place(path: str) -> str | None:
    return next((p for p in PLACES if (path.endswith(p[:-1]) if p[-1] == "$" else p in path)), None)


async def _run(name: str, disk: FailingDisk, base: Path, seed: int, most: int) -> Result:
    """Refuse, of every kind of call in every place, `most` calls."""
    result = Result([seed])
    rng = random.Random(f"{seed}:{name}")
    calls: list[tuple[Call, str]] = []
    quiet = await run_trial(name, base, Fault(), lambda: _begin_log(disk), lambda: calls.extend(disk.log(on=False)))
    result.problems += [f"{name} without a fault: {problem}" for problem in quiet.problems]
    counts = Counter((kind, place) for kind, path in calls if (place := _place(path)) is not None)
    strange = {path for _, path in calls if _place(path) is None}
    result.problems += [f"{name}: {path} is written, and no place is known for it" for path in sorted(strange)]
    for (kind, place), count in sorted(counts.items()):
        torn = [1] if kind is Call.WRITE and place in TORN else []
        for error, tear in [(e, t) for e in ERRORS for t in (0, *torn)]:
            what = f"{name}: {kind.name.lower()} {place}, {errno.errorcode[error]}{' after a half' if tear else ''}"
            for chosen in _sample(rng, count, count if (kind, place) in ALWAYS else most):
                refused, skip = False, chosen
                while not refused and skip >= 0:  # where calls follow time, there may be fewer of them than before

                    def arm(kind=kind, place=place, error=error, skip=skip, tear=tear) -> None:
                        disk.arm(error, frozenset({kind}), needle=place, skip=skip, times=1 + tear, torn=tear)

                    trial = await run_trial(name, base, Fault(kind, place, error), arm, lambda: None)
                    refused = disk.disarm() > 0
                    result.problems += [f"{what}, call {skip}: {problem}" for problem in trial.problems]
                    skip = skip // 2 if skip else -1
                if refused:
                    result.refused[what] = result.refused.get(what, 0) + 1
                result.not_met += not refused
    return result


def _begin_log(disk: FailingDisk) -> None:
    disk.log(on=True)


def _sample(rng: random.Random, count: int, most: int) -> list[int]:
    return sorted(rng.sample(range(count), min(count, most)))


def run(name: str, seed: int, most: int, *, timeout: float = 3600) -> Result:
    """A scenario in a process of its own that has the failing disk. Blocks."""
    with tempfile.TemporaryDirectory(
        prefix="stroz-f-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None
    ) as folder:
        base, control, found = Path(folder, "s"), Path(folder, "control"), Path(folder, "found.json")
        base.mkdir()
        disk = FailingDisk(base, control)
        wanted = [str(seed), str(most), str(base), str(control), str(found)]
        done = subprocess.run(
            [sys.executable, "-m", "tests.support.disk_faults", "--trial", name, *wanted],
            cwd=ROOT, env=os.environ | disk.environment(), stderr=subprocess.PIPE, timeout=timeout, check=False,
        )  # fmt: skip
        if done.returncode or not found.exists():
            return Result([seed], problems=[f"{name}: the process died ({done.returncode}): {done.stderr[-2000:]!r}"])
        return Result(**json.loads(found.read_text()))


def merge(parts: Sequence[Result]) -> Result:
    """Several runs' results as one."""
    whole = Result()
    for part in parts:
        whole.seeds = sorted({*whole.seeds, *part.seeds})
        whole.refused = dict(Counter(whole.refused) + Counter(part.refused))
        whole.not_met += part.not_met
        whole.problems += part.problems
    return whole


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.support.disk_faults", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("scenarios", nargs="*", choices=[*SCENARIOS, []], help="all of them when none is named")
    parser.add_argument("--most", type=int, default=2, help="calls of each kind in each place, chosen at random")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--merge", type=Path, nargs="+", help="add up JSON files of earlier runs instead")
    parser.add_argument("--trial", nargs=6, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.trial:
        logging.disable(logging.WARNING)
        name, seed, most, base, control, found = arguments.trial
        disk = FailingDisk(Path(base), Path(control))
        result = asyncio.run(_run(name, disk, Path(base), int(seed), int(most)))
        Path(found).write_text(json.dumps(asdict(result)))
        return 0
    if arguments.merge:
        result = merge([Result(**json.loads(path.read_text())) for path in arguments.merge])
    else:
        print(f"seed {arguments.seed}", flush=True)
        result = merge([run(name, arguments.seed, arguments.most) for name in arguments.scenarios or SCENARIOS])
    text = json.dumps(asdict(result) | {"calls_refused": sum(result.refused.values())}, indent=1)
    print(text)
    if arguments.json:
        arguments.json.write_text(json.dumps(asdict(result), indent=1) + "\n")
    return 1 if result.problems else 0


if __name__ == "__main__":
    sys.exit(main())
