"""What is missing of a camera, told by what the simulator sent and what was stored, against the gap facts. Pure.

A camera's pictures lie on a grid: between the first and the last stored one every other must be stored too, once and
bit for bit, or lie in an outage. An outage is a row of pictures that are not stored; its times are the simulator's. The
first and the last stored one must be where recording is known to have begun and ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tests.support.sent import Sent
from vms.model import VIDEO_CLOCK_HZ, Gap
from vms.timeline import TimeRange, merge

MEET_NS = 2_000_000
EDGE_NS = 2_000_000_000  # a group of pictures and a second: stored pictures begin and end so near to recording


@dataclass(frozen=True, slots=True)
class StoredUnit:
    """One access unit of a stored segment, in media time of its run."""

    pts: int
    sha256: str
    capture_ns: int
    damaged: bool = False


@dataclass(frozen=True, slots=True)
class Outage:
    """Pictures that are not stored, between two that are."""

    range: TimeRange  # from the end of the picture before to the next one stored
    pictures: int
    sent: tuple[int, ...]  # when those of them that were sent left, in order

    def before(self, at_ns: int) -> int:
        """How many of its pictures had been sent by then."""
        return sum(at <= at_ns for at in self.sent)


@dataclass(slots=True)
class Account:
    """Of one camera."""

    stored: int = 0
    outages: list[Outage] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    frame_ns: int = 0
    worst_gap_error_ns: int = 0  # between a gap fact and the outage it tells of
    worst_capture_error_ns: int = 0  # between a picture's capture time and when it was due


def account(
    sent: Sent, stored: Sequence[StoredUnit], gaps: Iterable[Gap], *, recorded: TimeRange, tolerance_ns: int
) -> Account:
    """Compare. `recorded`: from when it was seen recording until it was stopped. A gap fact may differ from its outage
    by `tolerance_ns` at each end."""
    frame_ns = sent.frame * 1_000_000_000 // VIDEO_CLOCK_HZ
    result = Account(len(stored), frame_ns=frame_ns)
    found: dict[int, StoredUnit] = {}
    doubled = changed = foreign = damaged = 0
    for unit in stored:
        pts = sent.media_time(unit.pts)
        doubled += pts in found
        foreign += pts not in sent.sha256
        changed += pts in sent.sha256 and sent.sha256[pts] != unit.sha256
        damaged += unit.damaged
        found[pts] = unit
    for what, count in (("twice", doubled), ("never sent", foreign), ("changed", changed), ("damaged", damaged)):
        if count:
            result.problems.append(f"{count} stored units are {what}")
    if not found:
        result.problems.append("nothing is stored")
        return result
    result.worst_capture_error_ns = max(abs(u.capture_ns - sent.due_ns(pts)) for pts, u in found.items())
    result.outages = _outages(sent, sorted(found), frame_ns)
    first, last = min(found), max(found)
    result.problems += edge_problems(TimeRange(sent.due_ns(first), sent.due_ns(last) + frame_ns), recorded)
    within = TimeRange(found[first].capture_ns, found[last].capture_ns + frame_ns)
    _compare_gaps(result, gaps, within, tolerance_ns)
    return result


def edge_problems(stored: TimeRange, recorded: TimeRange) -> list[str]:
    """What is missing before the first stored picture, and after the last: neither is an outage between two."""
    late_ns, short_ns = stored.start_ns - recorded.start_ns, recorded.end_ns - stored.end_ns
    return [
        f"{ns // 1_000_000} ms {where}"
        for ns, where in (
            (late_ns, "of recording before the first stored picture"),
            (short_ns, "of recording after the last stored picture"),
        )
        if ns > EDGE_NS
    ]


def _outages(sent: Sent, times: list[int], frame_ns: int) -> list[Outage]:
    outages = []
    for before, after in pairwise(times):
        if after - before <= sent.frame * 3 // 2:
            continue
        left = tuple(sorted(sent.utc_ns[p] for p in range(before + sent.frame, after, sent.frame) if p in sent.utc_ns))
        times_ns = TimeRange(sent.due_ns(before) + frame_ns, sent.due_ns(after))
        outages.append(Outage(times_ns, round((after - before) / sent.frame) - 1, left))
    return outages


def _compare_gaps(result: Account, gaps: Iterable[Gap], within: TimeRange, tolerance_ns: int) -> None:
    """Gap facts, those that meet taken together, are the outages; a border is off by `tolerance_ns` at most."""
    closed = [TimeRange(g.start_ns, g.end_ns) for g in gaps if g.end_ns is not None and g.end_ns > g.start_ns]
    # What touches the edges of the recording is start and stop, which the simulator does not know.
    told = [
        g
        for g in merge(closed, join_ns=MEET_NS)
        if g.start_ns > within.start_ns and g.end_ns < within.end_ns + tolerance_ns
    ]
    if len(told) != len(result.outages):
        result.problems.append(f"{len(told)} gaps are told of, {len(result.outages)} outages there were")
    for gap, outage in zip(told, result.outages, strict=False):
        error = max(abs(gap.start_ns - outage.range.start_ns), abs(gap.end_ns - outage.range.end_ns))
        result.worst_gap_error_ns = max(result.worst_gap_error_ns, error)
        if error > tolerance_ns:
            result.problems.append(
                f"a gap is told of as {gap.duration_ns // 1_000_000} ms, {error // 1_000_000} ms beside an outage of "
                f"{outage.range.duration_ns // 1_000_000} ms"
            )
