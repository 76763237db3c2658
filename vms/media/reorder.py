"""Decoding times from presentation times: RTP carries only the latter, MP4 wants both. Pure, in ticks.

With at most `depth` pictures preceding a picture in decoding order and following it in output order, the i-th decoding
time can be the (i - depth)-th smallest presentation time: that one is known when unit i is, and no unit so far is shown
before it. The first `depth` units get times before the first presentation time, spaced like the pictures.
"""

from __future__ import annotations

import heapq
import itertools


class DecodeTimes:
    """Feed presentation times in decoding order, take decoding times in the same order.

    They rise strictly; each is at most its presentation time as long as the stream keeps to its reorder depth. Only the
    first `reorder_depth` units wait (for the next `reorder_depth`); later ones are answered at once. Depth 0 passes times
    through, raised where they do not rise.
    """

    __slots__ = ("_depth", "_first", "_heap", "_last", "_started")

    def __init__(self, reorder_depth: int, after: int | None = None) -> None:
        """`after`: every decoding time shall be greater, where this goes on from an earlier part of a stream."""
        if reorder_depth < 0:
            raise ValueError("reorder depth is negative")
        self._depth = reorder_depth
        self._heap: list[int] = []
        self._first: list[int] = []
        self._last = after
        self._started = reorder_depth == 0

    def push(self, pts: int) -> list[int]:
        """The next unit's presentation time; returns the decoding times that are now known, oldest first."""
        if self._started:
            return [self._rise(heapq.heappushpop(self._heap, pts))]
        self._first.append(pts)
        if len(self._first) <= self._depth:
            return []
        return self._start()

    def flush(self) -> list[int]:
        """No more units: the decoding times still owed."""
        return [] if self._started else self._start()

    def _start(self) -> list[int]:
        self._started = True
        if not self._first:
            return []
        ordered = sorted(self._first)
        interval = min((b - a for a, b in itertools.pairwise(ordered) if b > a), default=1)
        times = [ordered[0] - (self._depth - i) * interval for i in range(min(self._depth, len(ordered)))]
        if len(ordered) > self._depth:
            times.append(ordered[0])
            self._heap = ordered[1:]  # sorted, hence a heap
        self._first = []
        return [self._rise(time) for time in times]

    def _rise(self, time: int) -> int:
        if self._last is not None and time <= self._last:
            time = self._last + 1
        self._last = time
        return time
