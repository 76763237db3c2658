"""Every picture of one camera accounted for: stored once, or missing for a reason that was injected. Pure.

Pictures lie on a grid (`tests.support.outages`), from where recording is known to have begun to where it ended. What is
missing must lie within the events that concerned the camera, and the gaps told of must be just that, with a reason that
those events can have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tests.support.outages import StoredUnit, edge_problems
from tests.support.sent import Sent
from tests.support.soak_plan import Event
from vms.model import VIDEO_CLOCK_HZ, Gap
from vms.timeline import TimeRange, merge, subtract

JOIN_NS = 1_000_000_000  # the recorder makes one gap of holes so close to each other
TOLD = 12  # problems of one camera that are told


@dataclass(slots=True)
class CameraAccount:
    """`lost_sent`: pictures that had left the camera whole and are not stored, by the first event that explains it."""

    sent: int = 0
    stored: int = 0
    damaged: int = 0
    outages: int = 0
    missing: int = 0
    lost_sent: Counter[str] = field(default_factory=Counter)
    gap_ns: Counter[str] = field(default_factory=Counter)  # by reason
    border_errors_ms: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def account_of(
    sent: Sent,
    stored: Sequence[StoredUnit],
    gaps: Iterable[Gap],
    events: Sequence[Event],
    *,
    recorded: TimeRange,
    slack_ns: int,
) -> CameraAccount:
    """`recorded`: from when it was seen recording until it was stopped. `slack_ns`: how much later than the simulator
    knew of it something may have been noticed, by a busy machine."""
    result = CameraAccount(len(sent.utc_ns), len(stored))
    frame_ns = sent.frame * 1_000_000_000 // VIDEO_CLOCK_HZ
    found = _stored_by_time(result, sent, stored)
    if len(found) < 2:
        result.problems.append("nothing is stored")
        return result
    times = sorted(found)
    result.problems += edge_problems(TimeRange(sent.due_ns(times[0]), sent.due_ns(times[-1]) + frame_ns), recorded)
    outages = []
    for before, after in pairwise(times):
        if after - before > sent.frame * 3 // 2:
            result.missing += round((after - before) / sent.frame) - 1
            outages.append(TimeRange(sent.due_ns(before) + frame_ns, sent.due_ns(after)))
    join_ns = JOIN_NS + frame_ns // 2  # beside the grid, on which holes lie a second apart to the microsecond
    joined = merge(outages, join_ns)
    result.outages = len(joined)
    windows = {e: TimeRange(e.start_ns - e.tail_ns - slack_ns, e.end_ns + slack_ns) for e in events}
    for pts in sorted(set(sent.utc_ns) - set(found)):
        if times[0] < pts < times[-1]:
            at = sent.utc_ns[pts]
            result.lost_sent[
                next((str(e.kind) for e, w in windows.items() if w.start_ns <= at < w.end_ns), "nothing")
            ] += 1
    for outage in outages:
        if left := subtract([outage], windows.values()):
            missing = sum(part.duration_ns for part in left) // 1_000_000
            result.problems.append(
                f"{missing} ms of an outage of {_ms(outage)} ms at {outage.start_ns} were no fault's"
            )
    within = TimeRange(sent.due_ns(times[0]) + JOIN_NS, sent.due_ns(times[-1]) - JOIN_NS)
    told = [g for g in gaps if g.start_ns > within.start_ns and g.start_ns < (g.end_ns or g.start_ns) < within.end_ns]
    _compare(result, joined, merge((TimeRange(g.start_ns, g.end_ns or 0) for g in told), join_ns), slack_ns)
    for gap in told:
        result.gap_ns[gap.reason] += (gap.end_ns or 0) - gap.start_ns
    result.problems += _untrue(told, windows)
    del result.problems[TOLD:]
    return result


def _stored_by_time(result: CameraAccount, sent: Sent, stored: Sequence[StoredUnit]) -> dict[int, StoredUnit]:
    found: dict[int, StoredUnit] = {}
    doubled = changed = foreign = 0
    for unit in stored:
        pts = sent.media_time(unit.pts)
        doubled += pts in found
        result.damaged += unit.damaged
        if not unit.damaged:
            # One that lost a packet of parameter sets alone is whole.
            digest = sent.sha256.get(pts) or sent.cut.get(pts)
            foreign += digest is None
            changed += digest is not None and digest != unit.sha256
        found[pts] = unit
    for what, count in (("twice", doubled), ("never sent", foreign), ("changed", changed)):
        if count:
            result.problems.append(f"{count} stored units are {what}")
    return found


def _compare(result: CameraAccount, outages: Sequence[TimeRange], gaps: Sequence[TimeRange], slack_ns: int) -> None:
    """Outages and gaps one for one, with the same borders."""
    for gap in gaps:
        mine = [o for o in outages if o.overlaps(gap)]
        if not mine:
            result.problems.append(f"a gap of {_ms(gap)} ms at {gap.start_ns} is told of, and nothing is missing")
            continue
        error = max(abs(gap.start_ns - mine[0].start_ns), abs(gap.end_ns - mine[-1].end_ns))
        result.border_errors_ms.append(error // 1_000_000)
        if error > slack_ns:
            result.problems.append(f"a gap at {gap.start_ns} is {error // 1_000_000} ms beside what is missing")
    for outage in outages:
        if not any(gap.overlaps(outage) for gap in gaps):
            result.problems.append(f"{_ms(outage)} ms are missing at {outage.start_ns} and no gap tells of it")


def _untrue(gaps: Iterable[Gap], windows: Mapping[Event, TimeRange]) -> Iterator[str]:
    """Gaps whose reason nothing had that happened then."""
    for gap in gaps:
        span = TimeRange(gap.start_ns, gap.end_ns or 0)
        reasons = {reason for event, window in windows.items() if window.overlaps(span) for reason in event.reasons}
        if gap.reason not in reasons:
            true = ", ".join(sorted(reasons)) or "nothing"
            yield f"a gap of {_ms(span)} ms at {span.start_ns} says {gap.reason} ({gap.detail}); what happened was {true}"


def _ms(span: TimeRange) -> int:
    return span.duration_ns // 1_000_000
