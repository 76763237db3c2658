"""Holes in media time: where no unit came for longer than 1.5 frame intervals. Pure.

What a frame lasts is learned from the stream itself, as the median of the last intervals in output order, because
streams often do not say, or say what they do not deliver. Until three intervals were seen nothing is called a hole.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from dataclasses import dataclass
from statistics import median_low

_INTERVALS = 9
_LEAST_INTERVALS = 3
_RELEARN_UNITS = 8


@dataclass(frozen=True, slots=True)
class Hole:
    """Media time [start_pts, end_pts) for which no unit came; spans at most `hole_join_ns` apart are joined."""

    start_pts: int
    end_pts: int
    missing_ticks: int  # of the span: less than its length where units stand between joined spans
    longest_ticks: int  # the longest single span


class HoleFinder:
    """Takes presentation times in decoding order, gives holes in output order; at most one per unit."""

    def __init__(self, depth: int, join_ticks: int, before: HoleFinder | None = None) -> None:
        """`depth` is the reorder depth. `before` is the drained finder whose stream goes on here."""
        self.interval = 0  # what a frame lasts, in ticks; 0 until it is known
        self._depth = depth
        self._join = join_ticks
        self._waiting: list[int] = []  # in output order
        self._intervals: deque[int] = deque(maxlen=_INTERVALS)
        self._last: int | None = None
        self._pending: Hole | None = None
        self._until_relearn = _RELEARN_UNITS
        if before is not None:
            self.interval = before.interval
            self._intervals.extend(before._intervals)  # noqa: SLF001
            self._last = before._last  # noqa: SLF001
            self._pending = before._pending  # noqa: SLF001

    def add(self, pts: int) -> Hole | None:
        """The next unit. Gives a hole once nothing can be joined to it any more."""
        if self._depth:
            insort(self._waiting, pts)
            if len(self._waiting) <= self._depth:
                return None
            pts = self._waiting.pop(0)
        return self._shown(pts)

    def drain(self) -> list[Hole]:
        """Take the units waiting for their turn as they stand; nothing before them follows."""
        waiting, self._waiting = self._waiting, []
        return [hole for pts in waiting if (hole := self._shown(pts)) is not None]

    def flush(self) -> list[Hole]:
        """The end: also the hole that was still waiting for another to join it."""
        done = self.drain()
        if self._pending is not None:
            done.append(self._pending)
            self._pending = None
        return done

    def _shown(self, pts: int) -> Hole | None:
        """The next unit in output order."""
        last = self._last
        if last is None:
            self._last = pts
            return None
        step = pts - last
        if step <= 0:
            return None
        self._last = pts
        done = None
        wide = self.interval > 0 and 2 * step > 3 * self.interval
        if wide:
            missing = step - self.interval
            done = self._note(Hole(last + self.interval, pts, missing, missing))
        elif self._pending is not None and pts - self._pending.end_pts > self._join:
            done, self._pending = self._pending, None
        self._intervals.append(step)
        self._until_relearn -= 1
        if self._until_relearn <= 0 or wide or not self.interval:
            self._until_relearn = _RELEARN_UNITS
            if len(self._intervals) >= _LEAST_INTERVALS:
                self.interval = median_low(self._intervals)
        return done

    def _note(self, hole: Hole) -> Hole | None:
        pending = self._pending
        if pending is not None and hole.start_pts - pending.end_pts <= self._join:
            self._pending = Hole(
                pending.start_pts,
                hole.end_pts,
                pending.missing_ticks + hole.missing_ticks,
                max(pending.longest_ticks, hole.longest_ticks),
            )
            return None
        self._pending = hole
        return pending
