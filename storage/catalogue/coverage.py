"""Pure arithmetic of coverage: the best of several overlapping things at every instant.

Two uses: which segment to show where runs overlap (failover, edge fill, vehicles), and which reason to give a missing
span. Takes values and returns values; no rows, no clock.
"""

from __future__ import annotations

import heapq
import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from storage.catalogue.values import Expectation, Missing, RecordedSegment, SegmentRef, Span
from vms.model import Gap, GapReason, Origin, hole_run_mark
from vms.timeline import TimeRange, cover, merge, subtract

T = TypeVar("T")

WITHIN_RECORDING = frozenset({GapReason.PACKET_LOSS, GapReason.STALLED, GapReason.NO_KEYFRAME})
_WAS_THERE = {GapReason.DELETED: -2, GapReason.LOST: -1}  # before every reason why nothing was recorded
LATE_NS = 600_000_000_000  # footage that waits for a catalogue or a salvage comes within minutes
MEET_NS = 2_000_000  # segments of a run meet at a tick; a clock mapping rounds by less than this
_ORIGINS = {Origin.LIVE: 0, Origin.EDGE: 1, Origin.VEHICLE: 2, Origin.IMPORT: 3}


@dataclass(frozen=True, slots=True)
class Chosen:
    """Over `range`, show `segment`. The range lies inside the segment's."""

    range: TimeRange
    segment: RecordedSegment


@dataclass(frozen=True, slots=True)
class Part:
    """Recorded time of one run, in any number of parts. `run_id` None: it is not known."""

    range: TimeRange
    run_id: UUID | None = None
    live: bool = True
    damaged: bool = False


def best_per_instant(ranges: Sequence[TimeRange], ranks: Sequence[Any]) -> list[tuple[TimeRange, int]]:
    """For every instant that some range covers, the index of the one with the smallest rank, as ranges in order.

    Ranks are any values in total order; between equals the earlier index wins. Adjacent parts of one index are joined.
    O(n log n).
    """
    order = sorted(range(len(ranges)), key=lambda index: ranges[index].start_ns)
    edges = sorted({edge for r in ranges for edge in (r.start_ns, r.end_ns)})
    active: list[tuple[Any, int]] = []
    found: list[tuple[TimeRange, int]] = []
    waiting = 0
    for start, end in itertools.pairwise(edges):
        while waiting < len(order) and ranges[order[waiting]].start_ns <= start:
            heapq.heappush(active, (ranks[order[waiting]], order[waiting]))
            waiting += 1
        while active and ranges[active[0][1]].end_ns <= start:
            heapq.heappop(active)
        if not active:
            continue
        best = active[0][1]
        if found and found[-1][1] == best and found[-1][0].end_ns == start:
            found[-1] = (TimeRange(found[-1][0].start_ns, end), best)
        else:
            found.append((TimeRange(start, end), best))
    return found


def choose(segments: Sequence[RecordedSegment]) -> list[Chosen]:
    """One segment of a stream per instant, in order; the others stay where they are.

    What has pictures goes before a hole and before what is nowhere any more, whole before damaged, more pixels before fewer, live before edge, vehicle and
    import. Between equals the run that began first among those given, so that the choice does not hop between two good
    runs. A hole that no other has pictures for stays with its segment.
    """
    began: dict[object, int] = {}
    for segment in segments:
        began[segment.run_id] = min(began.get(segment.run_id, segment.start_ns), segment.start_ns)
    parts: list[tuple[TimeRange, bool, RecordedSegment]] = []
    for s in segments:
        parts += [
            (part, s.location == "nowhere", s) for part in (subtract([s.range], s.holes) if s.holes else [s.range])
        ]
        parts += [(part, True, s) for part in (cover(s.range, s.holes) if s.holes else [])]
    ranks = [
        (hole, s.damaged, -s.width * s.height, _ORIGINS[s.origin], began[s.run_id], s.run_id.int, s.number)
        for _, hole, s in parts
    ]
    found: list[Chosen] = []
    for part, index in best_per_instant([part for part, _, _ in parts], ranks):
        segment = parts[index][2]
        if found and found[-1].segment is segment and found[-1].range.end_ns == part.start_ns:
            found[-1] = Chosen(TimeRange(found[-1].range.start_ns, part.end_ns), segment)
        else:
            found.append(Chosen(part, segment))
    return found


def late(segments: Sequence[RecordedSegment]) -> set[SegmentRef]:
    """Those of a stream's segments that came late: after one that was recorded `LATE_NS` or more after their end.

    Only among those given; what is not registered yet (arrival 0) is neither late nor makes others so.
    """
    registered = sorted((s for s in segments if s.arrival), key=lambda s: s.start_ns)
    starts = [s.start_ns for s in registered]
    first: list[int] = []  # from each place on, the arrival of what came first
    for segment in reversed(registered):
        first.append(min(segment.arrival, first[-1] if first else segment.arrival))
    first.reverse()
    found = set()
    for segment in registered:
        after = bisect_left(starts, segment.end_ns + LATE_NS)
        if after < len(first) and first[after] < segment.arrival:
            found.add(segment.ref)
    return found


def labelled(recorded: Iterable[Span], labels: Sequence[tuple[TimeRange, Origin, bool]]) -> tuple[Span, ...]:
    """`recorded` cut where its origin changes. `labels`: (range, origin, late) in order, without overlaps; the rest is live."""
    if not labels:
        return tuple(recorded)
    found: list[Span] = []
    for span in recorded:
        at = span.range.start_ns
        for part, origin, is_late in labels:
            cut = part.intersect(span.range)
            if cut is None:
                continue
            if at < cut.start_ns:
                found.append(Span(TimeRange(at, cut.start_ns), span.damaged))
            found.append(Span(cut, span.damaged, origin, is_late))
            at = cut.end_ns
        if at < span.range.end_ns:
            found.append(Span(TimeRange(at, span.range.end_ns), span.damaged))
    return tuple(found)


def may_be_hole(gap: Gap) -> bool:
    """Whether a gap, by itself, may lie inside a segment: the recording went on, but for a while nothing came."""
    return gap.reason in WITHIN_RECORDING and gap.end_ns is not None and gap.end_ns > gap.start_ns


def holes(gaps: Iterable[Gap], live: Sequence[TimeRange]) -> list[TimeRange]:
    """Where `live` segments, those that meet taken together, miss time that they span, in order.

    Such a hole begins after its recording does and ends before it: between pictures that are there. A gap that touches
    the recording's edge stands beside it, however its times were reckoned, and cuts nothing out of it.
    O((n + m) log m).
    """
    order = merge(live, join_ns=MEET_NS)
    starts = [recording.start_ns for recording in order]
    reached = [recording.end_ns for recording in order]
    found = []
    for gap in gaps:
        if may_be_hole(gap) and gap.end_ns is not None:
            before = bisect_left(starts, gap.start_ns)  # segments that begin before the gap does
            if before and reached[before - 1] > gap.end_ns:
                found.append(TimeRange(gap.start_ns, gap.end_ns))
    return merge(found)


def holes_of_runs(gaps: Iterable[Gap], parts: Sequence[Part]) -> dict[UUID | None, list[TimeRange]]:
    """Run → the time within it that its gaps say is missing, in order; runs without any are left out.

    A gap that names its run is a hole of that one alone, for the same time may have been recorded twice. One that does
    not is a hole of every live run in whose recording, all of them taken together, it lies.
    """
    named: dict[bytes, list[Gap]] = {}
    others: list[Gap] = []
    for gap in gaps:
        mark = hole_run_mark(gap.id)
        (others if mark is None else named.setdefault(mark, [])).append(gap)
    anyones = holes(others, [part.range for part in parts if part.live]) if others else []
    of_runs: dict[UUID | None, list[Part]] = {}
    for part in parts:
        of_runs.setdefault(part.run_id, []).append(part)
    found = {}
    for run_id, mine in of_runs.items():
        own = named.get(run_id.bytes[:6], []) if run_id is not None else []
        of_run = merge([*holes(own, [part.range for part in mine]), *(anyones if mine[0].live else [])])
        if of_run:
            found[run_id] = of_run
    return found


def nowhere(
    holes_by_run: Mapping[UUID | None, Sequence[TimeRange]], parts: Iterable[Part], *, damaged: bool, join_ns: int = 0
) -> list[TimeRange]:
    """What of the holes no part of that quality has, in order. `parts`: all that overlap them, of all runs."""
    shown: dict[UUID | None, list[TimeRange]] = {}
    for part in parts:
        if part.damaged is damaged:
            shown.setdefault(part.run_id, []).append(part.range)
    pictures = [
        left
        for run_id, ranges in shown.items()
        for left in subtract(merge(ranges, join_ns), holes_by_run.get(run_id, ()))
    ]
    return subtract(itertools.chain.from_iterable(holes_by_run.values()), pictures)


def candidates(gaps: Iterable[Gap], recorded: Iterable[TimeRange], within: TimeRange) -> list[Gap]:
    """Those of the gaps that `holes` may find, judged by recorded time of every origin that overlaps `within`.

    Never one too few: as far as `within` shows it, recording goes on all through such a gap. Mostly there is none, and
    no segment needs to be looked at.
    """
    possible = [gap for gap in gaps if may_be_hole(gap)]
    if not possible:
        return []
    order = merge(recorded, join_ns=MEET_NS)
    starts = [recording.start_ns for recording in order]
    found = []
    for gap in possible:
        if gap.end_ns is not None:
            before = bisect_right(starts, max(gap.start_ns, within.start_ns) + MEET_NS)
            if before and order[before - 1].end_ns >= min(gap.end_ns, within.end_ns) - MEET_NS:
                found.append(gap)
    return found


def spans(within: TimeRange, whole: Iterable[TimeRange], damaged: Iterable[TimeRange]) -> tuple[Span, ...]:
    """Recorded time clipped to `within`; damaged only where nothing whole is."""
    good = cover(within, whole)
    bad = cover(within, subtract(damaged, good))
    return tuple(
        sorted([Span(r) for r in good] + [Span(r, damaged=True) for r in bad], key=lambda span: span.range.start_ns)
    )


def missing(
    within: TimeRange,
    expected: Sequence[Expectation],
    covered: Iterable[TimeRange],
    gaps: Sequence[Gap],
    *,
    until_ns: int,
    tolerance_ns: int = 0,
) -> tuple[Missing, ...]:
    """What of `within` was expected and is not covered, each part with one reason.

    The time from `until_ns` on has not happened yet and is never missing; an open gap reaches up to it. The reason is
    `deleted`, then `lost`, where footage was; else why recording was suspended; else that of the gap that began last; else
    `unknown`. Holes of up to `tolerance_ns` between covered spans are not counted.
    """
    if until_ns <= within.start_ns:
        return ()
    past = TimeRange(within.start_ns, min(within.end_ns, until_ns))
    wanted = [part for row in expected if (part := _clip(row.from_ns, row.to_ns, past)) is not None]
    holes = subtract(wanted, merge(covered, join_ns=tolerance_ns))
    if not holes:
        return ()
    parts: list[TimeRange] = list(holes)
    ranks: list[tuple[int, int]] = [(3, 0)] * len(holes)
    reasons = [GapReason.UNKNOWN] * len(holes)
    for row in expected:
        if row.suspended is not None and (part := _clip(row.from_ns, row.to_ns, past)) is not None:
            parts.append(part)
            ranks.append((1, -row.from_ns))
            reasons.append(row.suspended)
    for gap in gaps:
        if (part := _clip(gap.start_ns, gap.end_ns, past)) is not None:
            parts.append(part)
            ranks.append((_WAS_THERE.get(gap.reason, 2), -gap.start_ns))
            reasons.append(gap.reason)
    return _reasons_over(holes, [(part, reasons[index]) for part, index in best_per_instant(parts, ranks)])


def _clip(start_ns: int, end_ns: int | None, within: TimeRange) -> TimeRange | None:
    start, end = max(start_ns, within.start_ns), within.end_ns if end_ns is None else min(end_ns, within.end_ns)
    return TimeRange(start, end) if start < end else None


def _reasons_over(holes: Sequence[TimeRange], labels: Sequence[tuple[TimeRange, GapReason]]) -> tuple[Missing, ...]:
    """The labels cut to the holes, neighbours with one reason joined. Both in order and without overlaps."""
    found: list[Missing] = []
    first = 0
    for hole in holes:
        while labels[first][0].end_ns <= hole.start_ns:
            first += 1
        index = first
        while index < len(labels) and labels[index][0].start_ns < hole.end_ns:
            part, reason = labels[index]
            cut = part.intersect(hole)
            index += 1
            if cut is None:
                continue
            if found and found[-1].reason is reason and found[-1].range.end_ns == cut.start_ns:
                found[-1] = Missing(TimeRange(found[-1].range.start_ns, cut.end_ns), reason)
            else:
                found.append(Missing(cut, reason))
    return tuple(found)
