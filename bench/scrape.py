"""Our processes' own metrics, read from their Unix sockets, and what histograms say between two readings.

A histogram knows only between which two bounds a value fell, so a quantile is reckoned within its bucket as Prometheus
does (linearly), and a maximum is the upper bound of the highest bucket that counted anything.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from vms.metrics import PREFIX, gather

Page = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scrape(socket: Path) -> Page:
    """Every sample of one process: (name, labels) → value. Empty when it does not answer."""
    page: Page = {}
    for family in text_string_to_metric_families(gather({"it": socket}).decode()):
        for one in family.samples:
            labels = tuple(sorted((k, v) for k, v in one.labels.items() if k != "process"))
            page[one.name, labels] = one.value
    return page


@dataclass(frozen=True, slots=True)
class Spread:
    """A histogram over some time. Seconds; `most` is an upper bound, infinite when beyond the last bucket."""

    count: int
    mean: float
    p50: float
    p99: float
    most: float

    def as_ms(self) -> dict[str, float | int | None]:
        """For JSON, in milliseconds; None for what is beyond the last bucket."""

        def ms(value: float) -> float | None:
            return round(value * 1e3, 3) if math.isfinite(value) else None

        return {
            "count": self.count,
            "mean_ms": ms(self.mean),
            "p50_ms": ms(self.p50),
            "p99_ms": ms(self.p99),
            "at_most_ms": ms(self.most),
        }


def spread(before: Page, after: Page, name: str) -> Spread:
    """What the histogram `name` (without prefix) counted between two pages."""
    name = PREFIX + name
    buckets = {
        float(dict(labels)["le"]): value - before.get((sample, labels), 0.0)
        for (sample, labels), value in after.items()
        if sample == f"{name}_bucket"
    }
    count = after.get((f"{name}_count", ()), 0.0) - before.get((f"{name}_count", ()), 0.0)
    total = after.get((f"{name}_sum", ()), 0.0) - before.get((f"{name}_sum", ()), 0.0)
    most = min((bound for bound, below in buckets.items() if below >= count), default=0.0) if count else 0.0
    mean = total / count if count else 0.0
    return Spread(round(count), mean, quantile(buckets, 0.5), quantile(buckets, 0.99), most)


def quantile(buckets: Mapping[float, float], q: float) -> float:
    """The `q` quantile of a cumulative histogram (upper bound → count up to it); 0 when it is empty."""
    bounds = sorted(buckets)
    wanted = q * (buckets[bounds[-1]] if bounds else 0.0)
    if not wanted:
        return 0.0
    low, below = 0.0, 0.0
    for bound in bounds:
        if buckets[bound] >= wanted:
            if math.isinf(bound):
                return bound
            return low + (bound - low) * (wanted - below) / max(1e-9, buckets[bound] - below)
        low, below = bound, buckets[bound]
    return math.inf
