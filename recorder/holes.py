"""Holes in media time: where no unit came for longer than 1.5 frame intervals. Pure.

What a frame lasts is learned from the stream itself, as the median of the last intervals in output order, because
streams often do not say, or say what they do not deliver. Until three intervals were seen nothing is called a hole.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from dataclasses import dataclass
from statistics import median_low

JOIN_NS = 1_000_000_000  # holes so close to each other become one
_INTERVALS = 9
_LEAST_INTERVALS = 3
_RELEARN_UNITS = 8


Span = tuple[int, int]  # media time [from, to) without a unit


@dataclass(frozen=True, slots=True)
class Hole:
    """Media time for which no unit came: one span, or several at most `hole_join_ns` apart, in order."""

    spans: tuple[Span, ...]

    @property
    def start_pts(self) -> int:
        return self.spans[0][0]

    @property
    def end_pts(self) -> int:
        return self.spans[-1][1]

    @property
    def missing_ticks(self) -> int:
        """Less than the whole where units stand between spans."""
        return sum(end - start for start, end in self.spans)

    @property
    def longest_ticks(self) -> int:
        return max(end - start for start, end in self.spans)


class HoleFinder:
    """Takes presentation times in decoding order, gives holes in output order, once nothing can be joined to them.

    A hole ends where a segment does: one that lies between two segments stands alone, since what is within a recording
    and what is beside it are shown by different means.
    """

    def __init__(self, depth: int, join_ticks: int, before: HoleFinder | None = None) -> None:
        """`depth` is the reorder depth. `before` is the drained finder whose stream goes on here."""
        self.interval = 0  # what a frame lasts, in ticks; 0 until it is known
        self._depth = depth
        self._join = join_ticks
        self._waiting: list[int] = []  # in output order
        self._intervals: deque[int] = deque(maxlen=_INTERVALS)
        self._last: int | None = None
        self._spans: list[Span] = []  # without a unit, and not given out yet
        self._borders: set[int] = set()  # where segments begin across a span
        self._until_relearn = _RELEARN_UNITS
        if before is not None:
            self.interval = before.interval
            self._intervals.extend(before._intervals)  # noqa: SLF001
            self._last = before._last  # noqa: SLF001
            self._spans, self._borders = before._spans, before._borders  # noqa: SLF001

    def add(self, pts: int) -> None:
        """The next unit."""
        if self._depth:
            insort(self._waiting, pts)
            if len(self._waiting) <= self._depth:
                return
            pts = self._waiting.pop(0)
        self._show(pts)

    def border(self, pts: int) -> None:
        """A segment begins at `pts`, and not where the one before it ended. Said before `ended` gives that hole."""
        self._borders = {p for p in self._borders if self._spans and p >= self._spans[0][1]} | {pts}

    def drain(self) -> None:
        """Take the units waiting for their turn as they stand; nothing before them follows."""
        waiting, self._waiting = self._waiting, []
        for pts in waiting:
            self._show(pts)

    def ended(self) -> list[Hole]:
        """The holes to which nothing more can be joined."""
        return self._given(self._last) if self._spans else []

    def flush(self) -> list[Hole]:
        """The end: also the hole that was still waiting for another to join it."""
        self.drain()
        return self._given(None)

    def _show(self, pts: int) -> None:
        """The next unit in output order."""
        last = self._last
        if last is None:
            self._last = pts
            return
        step = pts - last
        if step <= 0:
            return
        self._last = pts
        wide = self.interval > 0 and 2 * step > 3 * self.interval
        if wide:
            self._spans.append((last + self.interval, pts))
        self._intervals.append(step)
        self._until_relearn -= 1
        if self._until_relearn <= 0 or wide or not self.interval:
            self._until_relearn = _RELEARN_UNITS
            if len(self._intervals) >= _LEAST_INTERVALS:
                self.interval = median_low(self._intervals)

    def _given(self, shown_to: int | None) -> list[Hole]:
        """Take out what is complete when units up to `shown_to` are known, or all units."""
        holes = []
        spans = self._spans
        while spans:
            count = 1
            while count < len(spans) and self._joins(spans[count - 1], spans[count]):
                count += 1
            end = spans[count - 1][1]
            if count == len(spans) and shown_to is not None and shown_to - end <= self._join:
                break
            holes.append(Hole(tuple(spans[:count])))
            del spans[:count]
        return holes

    def _joins(self, span: Span, later: Span) -> bool:
        return later[0] - span[1] <= self._join and not self._borders.intersection((span[1], later[1]))
