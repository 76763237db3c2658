"""Whether processes, or pages, grow: their memory and open files over time, and the slope of that with its error.

`slope` is pure. A process that was replaced begins a life of its own: lives share one slope and each has its own level.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

BIN_S = 30.0  # samples within one are averaged first: neighbours in time are not independent


class Timed(Protocol):
    """Something measured at one moment."""

    @property
    def seconds(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Sample:
    """One process at one moment."""

    seconds: float
    own_kib: int
    descriptors: int


Lives = dict[int, list[Sample]]  # all processes that had one role, by their process id


@dataclass(frozen=True, slots=True)
class Slope:
    """Per hour. `error`: its standard error; infinite where there is too little to tell."""

    per_hour: float
    error: float
    points: int
    lives: int


def look(pids: Iterable[int]) -> dict[int, Sample]:
    """Proportional memory and number of descriptors of those that still live. Of our processes root alone is told."""
    found = {}
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, ValueError, StopIteration):
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            own = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss_Anon:"))
            found[pid] = Sample(time.monotonic(), own, len(os.listdir(f"/proc/{pid}/fd")))
    return found


def slope(lives: Mapping[int, Sequence[Timed]], what: str, *, warm_up_s: float, bin_s: float = BIN_S) -> Slope:
    """By least squares over means of `bin_s`, each life with its own level, the first `warm_up_s` of it left out."""
    points = counted = 0
    centred: list[tuple[float, float]] = []
    for samples in lives.values():
        means = _means(samples, what, warm_up_s, bin_s)
        if len(means) < 2:
            continue
        mean_t = sum(t for t, _ in means) / len(means)
        mean_y = sum(y for _, y in means) / len(means)
        centred += [(t - mean_t, y - mean_y) for t, y in means]
        points, counted = points + len(means), counted + 1
    products = sum(t * y for t, y in centred)
    squares = sum(t * t for t, _ in centred)
    if not squares:
        return Slope(0.0, math.inf, points, counted)
    per_second = products / squares
    total = sum((y - per_second * t) ** 2 for t, y in centred)
    freedom = points - counted - 1
    error = math.sqrt(total / freedom / squares) if freedom > 0 else math.inf
    return Slope(per_second * 3600, error * 3600, points, counted)


def _means(samples: Sequence[Timed], what: str, warm_up_s: float, bin_s: float) -> list[tuple[float, float]]:
    if not samples:
        return []
    began = samples[0].seconds
    bins: dict[int, list[Timed]] = {}
    for sample in samples:
        if sample.seconds - began >= warm_up_s:
            bins.setdefault(int((sample.seconds - began) // bin_s), []).append(sample)
    return [
        (sum(s.seconds for s in some) / len(some), sum(float(getattr(s, what)) for s in some) / len(some))
        for some in bins.values()
    ]
