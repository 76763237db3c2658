"""R-08 over many random histories of clocks, networks and cameras: what must hold of each, and figures of all.

Usage: python -m tests.support.clock_run --histories 10000 [--first SEED] [--processes 2] [--json FILE]
       python -m tests.support.clock_run --merge FILE…

Seeds are whole numbers from `--first` on, so a run can be split into ranges and its results merged.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

from tests.support.clock_histories import BOUND, FORGOTTEN, MS, NOTICED, History, Outcome, S, draw, play
from tests.support.split_run import conclude, merged, options

RANGE = 50  # histories in one task
REPORT_NS = 5 * S
REPORTS_FORGOTTEN = 45 * S  # nine of them stand for the camera's clock


@dataclass(slots=True)
class Figures:
    """What comes out. `within`: tens of milliseconds from the recorder's clock → pictures, where nothing had just
    changed; `loose`: pictures after a change that cannot be known yet, which may be further off."""

    first_seeds: list[int] = field(default_factory=list)
    histories: int = 0
    pictures: int = 0
    skipped: int = 0
    runs: int = 0
    segments: int = 0
    steps: int = 0
    jumps: int = 0
    stalls: int = 0
    offsets_checked: int = 0
    loose: int = 0
    within: dict[str, int] = field(default_factory=dict)
    worst_ns: int = 0
    problems: list[str] = field(default_factory=list)


def judge(figures: Figures, history: History, outcome: Outcome) -> None:
    """Hold one history against R-08."""
    figures.histories += 1
    figures.pictures += len(outcome.placed)
    figures.skipped += outcome.skipped
    figures.runs += len(outcome.run_clocks)
    figures.segments += len(outcome.mappings)
    figures.steps += len(history.steps)
    figures.jumps += len(history.jumps)
    figures.stalls += len(history.stalls)
    for p in outcome.placed:
        if p.allowed_ns == BOUND:
            apart = abs(p.apart_ns)
            figures.worst_ns = max(figures.worst_ns, apart)
            key = str(apart // (10 * MS) * 10)
            figures.within[key] = figures.within.get(key, 0) + 1
        else:
            figures.loose += 1
    figures.offsets_checked += _offset_known(history, outcome)
    found = (*_out_of_order(outcome), *_far_from_the_truth(outcome), *_lost(outcome), *_offset_wrong(history, outcome))
    figures.problems += [f"seed {history.seed}: {problem}; {history}" for problem in found]


def _out_of_order(outcome: Outcome) -> Iterator[str]:
    """The segments of a run meet and capture time rises within it, whatever the clocks do."""
    for (run, before), (next_run, mapping) in pairwise(outcome.mappings):
        if run == next_run and before.capture_ns(mapping.ticks) != mapping.ns:
            yield f"segments of run {run} do not meet"
    for a, b in pairwise(outcome.placed):
        if a.run == b.run and b.capture_ns <= a.capture_ns:
            yield f"capture time of run {a.run} goes back at {b.at_ns / S:.2f} s"
            return


def _far_from_the_truth(outcome: Outcome) -> Iterator[str]:
    for p in outcome.placed:
        if abs(p.apart_ns) > p.allowed_ns:
            allowed = f"{p.apart_ns / MS:.0f} ms apart, {p.allowed_ns / MS:.0f} allowed"
            yield f"run {p.run} at {p.at_ns / S:.2f} s: {allowed}"
            return


def _lost(outcome: Outcome) -> Iterator[str]:
    """Every picture is in a run, or was none to begin with."""
    known = len(outcome.placed) + outcome.skipped + outcome.held
    if known != outcome.shown:
        yield f"{outcome.shown} pictures came and {known} are accounted for"


def _offset_known(history: History, outcome: Outcome) -> bool:
    """Whether reports and arrival both stand on the present media time and the present wall clock by now."""
    slow = 2 if history.fps <= 5 else 1
    for at, by in history.jumps:
        unknown = slow * FORGOTTEN + REPORTS_FORGOTTEN if by < 0 else NOTICED + REPORT_NS + (slow - 1) * 10 * S
        if at + unknown > outcome.at_ns:
            return False
    return outcome.camera_error_ns is not None and not any(at + NOTICED > outcome.at_ns for at, _ in history.steps)


def _offset_wrong(history: History, outcome: Outcome) -> Iterator[str]:
    error = outcome.camera_error_ns
    if error is not None and error > BOUND and _offset_known(history, outcome):
        yield f"the camera's offset is {error / MS:.0f} ms beyond its uncertainty"


def run_range(first: int, count: int) -> Figures:
    """Histories of the seeds from `first` on."""
    figures = Figures(first_seeds=[first])
    for seed in range(first, first + count):
        history = draw(seed)
        judge(figures, history, play(history))
    return figures


def merge(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Several results as one."""
    whole = merged(Figures(), parts)
    whole["within"] = dict(sorted(whole["within"].items(), key=lambda item: int(item[0])))
    return whole


def main() -> int:
    parser = options("clock_run", __doc__, seeded=False)
    parser.add_argument("--histories", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    end = arguments.first + arguments.histories

    def run() -> dict[str, Any]:
        print(f"seeds {arguments.first} to {end - 1}", flush=True)
        firsts = range(arguments.first, end, RANGE)
        with ProcessPoolExecutor(arguments.processes) as pool:
            parts = pool.map(run_range, firsts, [min(RANGE, end - first) for first in firsts])
            return merge(asdict(part) for part in parts) | {"first_seeds": [arguments.first]}

    return conclude(arguments, merge, run)


if __name__ == "__main__":
    sys.exit(main())
