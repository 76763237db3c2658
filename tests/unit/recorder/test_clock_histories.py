"""Whatever clocks, networks and cameras do: runs in order, capture time near the truth, offsets measured (R-08).

A few hundred histories here; the long form is `CLOCK_HISTORIES=10000 CLOCK_SEED=1 pytest …`, and ranges of seeds can be
shared out between machines. A failure names its seed.
"""

from __future__ import annotations

import os
from itertools import pairwise

from tests.support.clock_histories import MS, Outcome, S, draw, play

FIRST = int(os.environ.get("CLOCK_SEED", "1"))
COUNT = int(os.environ.get("CLOCK_HISTORIES", "200"))


def test_any_history() -> None:
    print(f"histories {FIRST} to {FIRST + COUNT - 1}")
    for seed in range(FIRST, FIRST + COUNT):
        history = draw(seed)
        outcome = play(history)
        in_order(outcome, seed)
        near_the_truth(outcome, seed)
        nothing_lost(outcome, seed)


def in_order(outcome: Outcome, seed: int) -> None:
    """The segments of a run meet and capture time rises within it, whatever the clocks do."""
    for (run, before), (next_run, mapping) in pairwise(outcome.mappings):
        if run == next_run:
            assert before.capture_ns(mapping.ticks) == mapping.ns, seed
    for a, b in pairwise(outcome.placed):
        if a.run == b.run:
            assert b.capture_ns > a.capture_ns, seed


def near_the_truth(outcome: Outcome, seed: int) -> None:
    for p in outcome.placed:
        assert abs(p.apart_ns) <= p.allowed_ns, (
            f"seed {seed}: run {p.run} at {p.at_ns / S:.2f} s: {p.apart_ns / MS:.0f} ms, "
            f"{p.allowed_ns / MS:.0f} allowed; {draw(seed)}"
        )


def nothing_lost(outcome: Outcome, seed: int) -> None:
    assert len(outcome.placed) + outcome.skipped >= outcome.shown - 1000, seed
