"""Arithmetic of time ranges: pure, in UTC nanoseconds, half-open. Knows nothing of media, files or rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter

SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, order=True)
class TimeRange:
    """[start_ns, end_ns). Never empty or backward: the constructor refuses."""

    start_ns: int
    end_ns: int

    def __post_init__(self) -> None:
        if self.end_ns <= self.start_ns:
            raise ValueError(f"a time range must end after it starts: {self.start_ns} .. {self.end_ns}")

    @property
    def duration_ns(self) -> int:
        return self.end_ns - self.start_ns

    def overlaps(self, other: TimeRange) -> bool:
        return self.start_ns < other.end_ns and other.start_ns < self.end_ns

    def contains(self, instant_ns: int) -> bool:
        return self.start_ns <= instant_ns < self.end_ns

    def intersect(self, other: TimeRange) -> TimeRange | None:
        if other.start_ns <= self.start_ns and self.end_ns <= other.end_ns:
            return self  # the rule where many are clipped to one
        start, end = max(self.start_ns, other.start_ns), min(self.end_ns, other.end_ns)
        return TimeRange(start, end) if start < end else None


_START = attrgetter("start_ns")  # comparing whole ranges costs four times as much


def merge(ranges: Iterable[TimeRange], join_ns: int = 0) -> list[TimeRange]:
    """The union in order, ranges at most `join_ns` apart joined into one."""
    ordered = sorted(ranges, key=_START)
    merged: list[TimeRange] = []
    reach = ordered[0].start_ns - 1 if ordered else 0  # what begins up to here goes with the last one
    for r in ordered:
        if r.start_ns > reach:
            merged.append(r)
            reach = r.end_ns + join_ns
        elif r.end_ns + join_ns > reach:
            merged[-1] = TimeRange(merged[-1].start_ns, r.end_ns)
            reach = r.end_ns + join_ns
    return merged


def subtract(ranges: Iterable[TimeRange], holes: Iterable[TimeRange]) -> list[TimeRange]:
    """What of the union of `ranges` no hole covers, in order."""
    union, cuts = merge(ranges), merge(holes)
    if not cuts:
        return union
    left: list[TimeRange] = []
    first = 0
    for r in union:
        start = r.start_ns
        while first < len(cuts) and cuts[first].end_ns <= start:
            first += 1
        i = first
        while i < len(cuts) and cuts[i].start_ns < r.end_ns:
            if cuts[i].start_ns > start:
                left.append(TimeRange(start, cuts[i].start_ns))
            start = max(start, cuts[i].end_ns)
            i += 1
        if start < r.end_ns:
            left.append(r if start == r.start_ns else TimeRange(start, r.end_ns))
    return left


def cover(within: TimeRange, ranges: Iterable[TimeRange]) -> list[TimeRange]:
    """The parts of `within` that the union of `ranges` covers, in order."""
    return [part for r in merge(ranges) if (part := r.intersect(within)) is not None]


def gaps_between(within: TimeRange, covered: Iterable[TimeRange], tolerance_ns: int = 0) -> list[TimeRange]:
    """The parts of `within` longer than `tolerance_ns` that nothing covers, in order."""
    return [g for g in subtract([within], covered) if g.duration_ns > tolerance_ns]
