"""The gaps of one stream: when nothing is recorded that should be, exactly one open gap says since when and why.

Owns the decisions; the facts leave through `put` (`Spool.put_gap`). Knows no clock and no camera.

- A gap opens at the end of the last unit recorded and closes at the start of the next one. A fact is given out when it
  opens and once more when it closes; a closed one is never changed.
- Another reason splits the gap, but only when two attempts in a row name it, so that a camera whose failures alternate
  makes one gap and not thousands. What a person or a schedule decided splits at once.
- A hole within a recording is a gap of its own, known only when it is over (`lost`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from uuid import UUID, uuid4

from vms.model import Gap, GapReason

REMEMBERED = 5000
MAX_DETAIL = 200

_AT_ONCE = frozenset(
    {
        GapReason.DISABLED,
        GapReason.SCHEDULE,
        GapReason.PRIVACY,
        GapReason.SPOOL_FULL,
        GapReason.DISK_ERROR,
        GapReason.RECORDER_RESTART,
        GapReason.NOT_DOCKED,
    }
)


class GapBook:
    """The gap bookkeeping of one stream."""

    def __init__(self, stream_id: UUID, put: Callable[[Gap], None]) -> None:
        self.stream_id = stream_id
        self.opened = 0  # gaps since start, holes included
        self.by_reason: dict[GapReason, int] = {}
        self.ns_by_reason: dict[GapReason, int] = {}  # of gaps that have ended
        self._put = put
        self._current: Gap | None = None
        self._candidate: Gap | None = None
        self._closed: deque[tuple[int, int]] = deque(maxlen=REMEMBERED)
        self._since_ns: int | None = None  # what was asked of `missing_ns` last, and its sum over closed gaps
        self._sum_ns = 0

    @property
    def current(self) -> Gap | None:
        """The open gap; None while recording."""
        return self._current

    def adopt(self, gaps: Iterable[Gap]) -> None:
        """Go on with what facts on disk say: the newest open gap stays open, older open ones end where the next began."""
        mine = sorted((g for g in gaps if g.stream_id == self.stream_id), key=lambda g: (g.start_ns, g.id))
        for gap in mine:
            if gap.end_ns is not None:
                self._remember(gap.start_ns, gap.end_ns)
                continue
            if self._current is not None:
                self._close(gap.start_ns)
            self._current = gap

    def open(self, start_ns: int, reason: GapReason, detail: str = "") -> None:
        """Nothing is recorded from `start_ns` on, because of `reason`. Say it again at every failed attempt."""
        gap = Gap(uuid4(), self.stream_id, start_ns, None, reason, detail[:MAX_DETAIL])
        current = self._current
        if current is None:
            self._begin(gap)
            return
        if reason is current.reason:
            self._candidate = None
            return
        # A restart is over as soon as an attempt was made: whatever keeps us from recording now is something else.
        known = reason in _AT_ONCE or current.reason in _AT_ONCE
        candidate = self._candidate
        if known:
            self._close(start_ns)
            self._begin(replace(gap, start_ns=max(start_ns, current.start_ns)))
        elif candidate is not None and candidate.reason is reason:
            self._close(candidate.start_ns)
            self._begin(candidate)
        else:
            self._candidate = replace(gap, start_ns=max(start_ns, current.start_ns))

    def recorded(self, start_ns: int) -> None:
        """Recording goes on at `start_ns`."""
        if self._current is not None:
            self._close(start_ns)

    def lost(self, start_ns: int, end_ns: int, reason: GapReason, detail: str = "", gap_id: UUID | None = None) -> None:
        """A hole within a recording, already over (`recorder.segmenter` has joined holes close to each other).

        `gap_id`: one that whoever states the same hole again gives it, too.
        """
        if end_ns > start_ns:
            self._count(reason)
            self._remember(start_ns, end_ns)
            self.ns_by_reason[reason] = self.ns_by_reason.get(reason, 0) + end_ns - start_ns
            self._put(Gap(gap_id or uuid4(), self.stream_id, start_ns, end_ns, reason, detail[:MAX_DETAIL]))

    def missing_ns(self, since_ns: int, now_ns: int) -> int:
        """Time missing between `since_ns` and now, as far as this process remembers.

        Reckoned once per `since_ns` and kept up to date from then on: asked every second, it must cost nothing.
        """
        if since_ns != self._since_ns:
            self._since_ns = since_ns
            self._sum_ns = sum(max(0, end - max(start, since_ns)) for start, end in self._closed)
        current = self._current
        under_way = 0 if current is None else max(0, now_ns - max(current.start_ns, since_ns))
        return min(self._sum_ns + under_way, max(0, now_ns - since_ns))

    def _remember(self, start_ns: int, end_ns: int) -> None:
        self._closed.append((start_ns, end_ns))
        if self._since_ns is not None:
            self._sum_ns += max(0, end_ns - max(start_ns, self._since_ns))

    def _begin(self, gap: Gap) -> None:
        self._current, self._candidate = gap, None
        self._count(gap.reason)
        self._put(gap)

    def _close(self, end_ns: int) -> None:
        gap = self._current
        assert gap is not None
        closed = replace(gap, end_ns=max(end_ns, gap.start_ns))
        self._current = self._candidate = None
        self._remember(gap.start_ns, max(end_ns, gap.start_ns))
        self.ns_by_reason[gap.reason] = self.ns_by_reason.get(gap.reason, 0) + max(0, end_ns - gap.start_ns)
        self._put(closed)

    def _count(self, reason: GapReason) -> None:
        self.opened += 1
        self.by_reason[reason] = self.by_reason.get(reason, 0) + 1
