"""Holes that a process was killed before it told of, found again in the last pictures of the run.

A hole is told of when nothing can be joined to it any more, a second after it (`recorder.holes`); whoever dies before
that leaves its pictures and no word. What the run's last segments hold is shown to a `HoleFinder` once more, and each
hole about which no gap stands is one. Why the pictures were lost the process knew; what is left of that is in the file:
units after a loss are damaged up to the next random-access picture. A hole right before such a picture has no mark; it
is taken for a loss and its detail says so, for as `unknown` it would not be cut out of what is recorded.

Blocks; writes nothing. Gaps of holes are named after run and place, so that a hole told of twice is one gap.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from recorder.holes import JOIN_NS, Hole, HoleFinder
from storage.spool import Spool
from vms.errors import MalformedError
from vms.media.boxes import FileSource
from vms.media.segment_reader import SegmentReader
from vms.model import AccessUnit, ClockMapping, Gap, GapReason, RunInfo, SegmentFacts, hole_gap_id

log = logging.getLogger(__name__)

SECOND_NS = 1_000_000_000
SILENT_HOLE_NS = 2 * SECOND_NS  # without a loss a shorter hole is the camera's own pace
LOOK_BACK_NS = 10 * SECOND_NS  # what is older was told of, and written, long before
LOOK_BACK_UNITS = 12  # and at least so many, by which the finder learns what a frame lasts


@dataclass(frozen=True, slots=True)
class _Tail:
    """The last units of a segment."""

    facts: SegmentFacts
    mapping: ClockMapping
    start_ticks: int
    depth: int
    units: tuple[AccessUnit, ...]


def lost_on_the_way(hole: Hole, clock_hz: int) -> tuple[GapReason, str]:
    """What is said of a hole beside lost packets."""
    return GapReason.PACKET_LOSS, f"{hole.missing_ticks * 1000 // clock_hz} ms of pictures lost on the way"


def left_out(hole: Hole, clock_hz: int) -> tuple[GapReason, str] | None:
    """What is said of a hole without any. None: the camera left out a picture or two, which is no gap."""
    if hole.longest_ticks * SECOND_NS < SILENT_HOLE_NS * clock_hz:
        return None
    return GapReason.STALLED, "the camera left out pictures, without packets lost"


def untold_gaps(spool: Spool, run: RunInfo, segments: Iterable[SegmentFacts], gaps: Iterable[Gap]) -> list[Gap]:
    """Gaps to put for the end of `run`. `segments` and `gaps`: what of its stream is in the spool."""
    mine = {segment.number: segment for segment in segments if segment.run_id == run.id}  # salvaged ones come twice
    tails = _tails(spool, [mine[number] for number in sorted(mine)])
    standing = [(gap.start_ns, gap.end_ns) for gap in gaps if gap.stream_id == run.stream_id]
    found = []
    for hole, mapping, after in _holes(tails):
        start_ns, end_ns = mapping.capture_ns(hole.start_pts), mapping.capture_ns(hole.end_pts)
        why = _reason(hole, after, mapping.clock_hz)
        told = any(start < end_ns and (end is None or end > start_ns) for start, end in standing)
        if why is not None and not told and end_ns > start_ns:
            found.append(Gap(hole_gap_id(run.id, hole.start_pts), run.stream_id, start_ns, end_ns, *why))
    return found


def _tails(spool: Spool, segments: Sequence[SegmentFacts]) -> list[_Tail]:
    """The ends of the run's last segments, as far back as may be untold. Those that are gone or damaged end the search."""
    tails: list[_Tail] = []
    if not segments:
        return tails
    last = segments[-1]
    unit_ns = (last.end_ns - last.start_ns) // max(1, last.units)
    since_ns = last.end_ns - max(LOOK_BACK_NS, LOOK_BACK_UNITS * unit_ns)
    for facts in reversed(segments):
        follows = not tails or facts.number == tails[0].facts.number - 1
        if facts.end_ns <= since_ns or not follows:
            break
        try:
            tails.insert(0, _tail(spool, facts, since_ns))
        except (OSError, MalformedError) as error:
            log.warning("the end of run %s is not looked through for holes: %s", facts.run_id, error)
            break
    return tails


def _tail(spool: Spool, facts: SegmentFacts, since_ns: int) -> _Tail:
    fd = os.open(spool.sealed_file(facts), os.O_RDONLY | os.O_CLOEXEC)
    try:
        reader = SegmentReader(FileSource(fd))
        head, mapping = reader.head, reader.head.mapping
        units = tuple(unit._replace(data=b"") for unit in reader.units(mapping.ticks_at(since_ns)))
        return _Tail(facts, mapping, head.start_ticks, reader.config.reorder_depth, units)
    finally:
        os.close(fd)


def _holes(tails: Sequence[_Tail]) -> list[tuple[Hole, ClockMapping, list[AccessUnit]]]:
    """Every hole, the mapping of the segment it ends in, and the unit after each of its spans."""
    finder: HoleFinder | None = None
    holes: list[Hole] = []
    places: dict[int, tuple[AccessUnit, ClockMapping]] = {}
    ends = {b.facts.number for a, b in pairwise(tails) if a.facts.end_ns < b.facts.start_ns}
    for tail in tails:
        if finder is not None:
            finder.drain()
            if tail.facts.number in ends:
                finder.border(tail.start_ticks)
        finder = HoleFinder(tail.depth, JOIN_NS * tail.mapping.clock_hz // SECOND_NS, finder)
        for unit in tail.units:
            places[unit.pts] = unit, tail.mapping
            finder.add(unit.pts)
            holes += finder.ended()
    holes += finder.flush() if finder is not None else []
    return [(hole, places[hole.end_pts][1], [places[end][0] for _, end in hole.spans]) for hole in holes]


def _reason(hole: Hole, after: Sequence[AccessUnit], clock_hz: int) -> tuple[GapReason, str] | None:
    """`after`: the unit after each span. None: it is no gap."""
    if any(unit.damaged for unit in after):
        return lost_on_the_way(hole, clock_hz)
    silent = left_out(hole, clock_hz)
    if silent is None and any(unit.key for unit in after):  # a loss before it may leave no mark on it
        missing_ms = hole.missing_ticks * 1000 // clock_hz
        return (
            GapReason.PACKET_LOSS,
            f"{missing_ms} ms of pictures missing, likely lost on the way; who knew was killed",
        )
    return silent
