"""What earlier processes left in the spool: facts and segments by stream, leftovers to salvage, runs that nobody ended.

Owns how that is read and what is concluded from it; recordings act on it for their streams, `settle_orphans` for those
that nobody records any more. The rest blocks and writes no fact.

Invariants: a run's end is never stated from absence (segments that were archived are told of by `RunFact.last_end_ns`);
a run whose part file somebody writes is left alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID, uuid4

from recorder.untold import untold_gaps
from storage.facts import RunFact
from storage.salvage import salvage
from storage.spool import PartFile, Spool
from storage.spool_files import OpenSegment, disk_error
from vms.errors import SpoolError
from vms.model import Gap, GapReason, SegmentFacts

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Leavings:
    """What of one stream is on disk."""

    runs: list[RunFact] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    segments: list[SegmentFacts] = field(default_factory=list)


def read_leavings(spool: Spool, stream_id: UUID | None = None) -> dict[UUID, Leavings]:
    """Facts and sealed segments that are in the spool, by stream: of one, or of all in one go."""
    found: dict[UUID, Leavings] = {}
    for sealed in spool.sealed(stream_id):
        if sealed.facts is not None:
            found.setdefault(sealed.stream_id, Leavings()).segments.append(sealed.facts)
    for _, fact in spool.runs():
        if stream_id in (None, fact.run.stream_id):
            found.setdefault(fact.run.stream_id, Leavings()).runs.append(fact)
    for _, gap in spool.gaps():
        if stream_id in (None, gap.stream_id):
            found.setdefault(gap.stream_id, Leavings()).gaps.append(gap)
    return found


def salvage_stream(spool: Spool, stream_id: UUID) -> tuple[list[SegmentFacts], bool]:
    """Make sealed segments of the stream's leftovers. One that cannot be had now never keeps us from recording.

    True: the disk refused some, so it is worth another try.
    """
    return _salvage(spool, spool.leftovers(stream_id))


def written_elsewhere(spool: Spool, stream_id: UUID) -> set[UUID]:
    """Runs of the stream that another process is writing now, as the locks on their part files say."""
    return {part.run_id for part in spool.leftovers(stream_id) if _is_locked(part)}


def last_end_ns(stream_id: UUID, runs: Iterable[RunFact], segments: Sequence[SegmentFacts]) -> int | None:
    """When the recording of a stream last ended, from what is still on disk; None when nothing of it is.

    Where a run was left open, that is its end: after a clock set back those before it may end later.
    """
    mine = [f for f in runs if f.run.stream_id == stream_id]
    broken = [_end_ns(f, segments) for f in mine if f.run.end_ns is None]
    if broken:
        return max(broken)
    known = [f.run.end_ns for f in mine if f.run.end_ns is not None]
    known += [s.end_ns for s in segments if s.stream_id == stream_id]
    return max(known, default=None)


def ended(fact: RunFact, segments: Iterable[SegmentFacts]) -> RunFact:
    """The run that nobody ended, ended where the last that is known of it does."""
    run = replace(fact.run, end_ns=_end_ns(fact, segments), end_reason=GapReason.RECORDER_RESTART)
    return RunFact(run, fact.anchors)


def _end_ns(fact: RunFact, segments: Iterable[SegmentFacts]) -> int:
    ends = [s.end_ns for s in segments if s.run_id == fact.run.id]
    return max([*ends, fact.last_end_ns or fact.run.start_ns, fact.run.start_ns])


def outlasted(spool: Spool, segments: Iterable[SegmentFacts]) -> list[RunFact]:
    """Runs that were ended before these segments of theirs had been salvaged, with their ends where they belong."""
    ends: dict[UUID, int] = {}
    for segment in segments:
        ends[segment.run_id] = max(segment.end_ns, ends.get(segment.run_id, segment.end_ns))
    found = ((spool.fact_named(f"run-{run_id}.json"), end_ns) for run_id, end_ns in ends.items())
    return [
        replace(fact, run=replace(fact.run, end_ns=end_ns))
        for fact, end_ns in found
        if isinstance(fact, RunFact) and fact.run.end_ns is not None and fact.run.end_ns < end_ns
    ]


async def settle_orphans(spool: Spool, mine: Callable[[UUID], bool], now_ns: int) -> None:
    """Salvage leftovers of streams that nobody records any more, end their runs and state what they miss since.

    A stream whose recording broke off misses the time from there until now, for the reason that the recorder did not
    run. `mine` says whether a stream is without a recording and this worker's to settle. May be repeated after a crash
    at any point: gaps are written before the ends of runs, for an open run is what brings this stream here again.
    Raises `SpoolError`.
    """
    try:
        runs, gaps = await asyncio.to_thread(_settled, spool, mine, now_ns)
    except OSError as error:
        raise disk_error(error, "reading what is left in the spool") from error
    for gap in gaps:
        spool.put_gap(gap)
    await spool.drained()
    for fact in runs:
        spool.put_run(fact)
    await spool.drained()


def _settled(spool: Spool, mine: Callable[[UUID], bool], now_ns: int) -> tuple[list[RunFact], list[Gap]]:
    """The facts to put. Blocks."""
    parts = [part for part in spool.leftovers() if mine(part.stream_id)]
    busy = {part.run_id for part in parts if _is_locked(part)}
    salvaged, _ = _salvage(spool, parts)
    runs: list[RunFact] = []
    gaps: list[Gap] = []
    for stream_id, left in read_leavings(spool).items():
        broken = [f for f in left.runs if f.run.end_ns is None and f.run.id not in busy]
        if not broken or not mine(stream_id):
            continue
        segments = [*left.segments, *(s for s in salvaged if s.stream_id == stream_id)]
        gaps += [gap for fact in broken for gap in untold_gaps(spool, fact.run, segments, left.gaps)]
        runs += [ended(fact, segments) for fact in broken]
        end_ns = last_end_ns(stream_id, broken, segments)
        said = any(g.end_ns is None or (end_ns is not None and g.start_ns <= end_ns < g.end_ns) for g in left.gaps)
        if end_ns is not None and end_ns < now_ns and not said:
            detail = "the recorder had stopped, and the stream is not recorded any more"
            gaps.append(Gap(uuid4(), stream_id, end_ns, now_ns, GapReason.RECORDER_RESTART, detail))
    return runs, gaps


def _salvage(spool: Spool, parts: Iterable[PartFile]) -> tuple[list[SegmentFacts], bool]:
    found, refused = [], False
    for part in parts:
        try:
            facts = salvage(spool, part)
        except SpoolError as error:
            log.error("leftover %s is not salvaged yet: %s", part.path.name, error)
            refused = True
        else:
            found += [facts] if facts is not None else []
    return found, refused


def _is_locked(part: PartFile) -> bool:
    try:
        OpenSegment(part.path, part.stream_id, part.run_id, part.number, create=False).close()
    except BlockingIOError:
        return True
    except SpoolError:
        return False  # gone, or unreadable: nobody can be writing it as far as we can tell
    return False
