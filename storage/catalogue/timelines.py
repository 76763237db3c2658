"""What of streams is recorded over a range: coverage as merged spans, and segments one by one.

Coverage is read from the spans that are kept beside the segments (`storage.catalogue.spans`): a few rows per stream and
day, one query for all streams. The past is what the catalogue knows; open segments are files, and whoever sees them
passes their ranges in. A segment covers its whole range, but for the holes of its own run that the recorder stated
within it: what another run has there is recorded.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Connection, FromClause, Select, and_, exists, literal, select, text, true

from storage.catalogue import coverage, rows, spans
from storage.catalogue.coverage import Part
from storage.catalogue.engine import Database
from storage.catalogue.facts import overlapping_gaps
from storage.catalogue.tables import copies, expectations, gaps, runs, segments, stores, streams
from storage.catalogue.values import (
    LONGEST_SEGMENT_NS,
    Copy,
    CopyState,
    Expectation,
    RecordedSegment,
    SegmentRef,
    StoreKind,
    StreamTimeline,
)
from storage.objects.base import segment_key
from storage.retention import DAY_NS
from vms.errors import CatalogueError
from vms.model import Gap, GapReason, Origin
from vms.timeline import TimeRange, cover, merge, subtract

_LOSS = UUID(int=0)  # no fact stands behind such a gap: it is what a check found
MOST_SEGMENTS = 200_000  # of one answer: 16 streams over eight days; ask for less at a time


class Timelines:
    """Coverage and listings."""

    _db: Database

    async def timelines(
        self,
        stream_ids: Sequence[UUID],
        within: TimeRange,
        *,
        now_ns: int,
        still_open: Mapping[UUID, Sequence[Part]] | None = None,
        tolerance_ns: int = 0,
    ) -> dict[UUID, StreamTimeline]:
        """Coverage of streams over a range, clipped to it. `still_open`: recorded already but not registered yet.

        Nothing from `now_ns` on is missing. Unknown streams have neither spans nor missing time.
        """

        fresh = still_open or {}
        return await self._db.read(
            lambda conn: _timelines(conn, stream_ids, within, fresh, now_ns=now_ns, tolerance_ns=tolerance_ns)
        )

    async def expectations(self, stream_id: UUID, within: TimeRange) -> list[Expectation]:
        """When the stream was meant to record, rows that overlap the range."""
        return await self._db.read(
            lambda conn: _expectations(conn, _keys(conn, [stream_id]), within).get(stream_id, [])
        )

    async def awaited(self) -> dict[UUID, int]:
        """Stream → since when it is expected to record, for streams of which nothing has come since: no segment, no gap.

        Of the time before its first picture only the recorder can say why it is missing; this tells it since when.
        """
        later_segment = exists(
            select(segments.c.arrival).where(
                segments.c.stream_key == expectations.c.stream_key, segments.c.end_ns > expectations.c.from_ns
            )
        )
        later_gap = exists(
            select(gaps.c.key).where(
                gaps.c.stream_key == expectations.c.stream_key,
                gaps.c.end_ns.is_(None) | (gaps.c.end_ns > expectations.c.from_ns),
            )
        )
        query = (
            select(streams.c.id, expectations.c.from_ns)
            .join_from(expectations, streams)
            .where(expectations.c.to_ns.is_(None), expectations.c.suspended.is_(None), ~later_segment, ~later_gap)
        )
        return await self._db.read(lambda conn: {row.id: row.from_ns for row in conn.execute(query)})

    async def segments(self, stream_ids: Sequence[UUID], within: TimeRange) -> list[RecordedSegment]:
        """Every segment that overlaps the range, unclipped, with its copies; by start, then arrival.

        Runs may overlap: `coverage.choose` picks one segment per instant. Raises CatalogueError above `MOST_SEGMENTS`.
        """

        def work(conn: Connection) -> list[RecordedSegment]:
            where = _overlapping(list(_keys(conn, stream_ids)), within)
            query = segments_query().where(*where).order_by(segments.c.start_ns, segments.c.arrival)
            found = conn.execute(query.limit(MOST_SEGMENTS + 1)).all()
            if len(found) > MOST_SEGMENTS:
                raise CatalogueError(f"more than {MOST_SEGMENTS} segments in one answer; ask for a shorter range")
            listed = with_copies(conn, found, select(segments.c.arrival).where(*where))
            return _with_holes(conn, listed, within)

        return await self._db.read(work)

    async def segment(self, ref: SegmentRef) -> RecordedSegment | None:
        """One segment, or None if it was never registered, or is condemned or deleted."""

        def work(conn: Connection) -> RecordedSegment | None:
            query = segments_query().where(runs.c.id == ref.run_id, segments.c.number == ref.number)
            row = conn.execute(query).one_or_none()
            if row is None:
                return None
            return with_copies(conn, [row], select(literal(row.arrival, BigInteger)))[0]

        return await self._db.read(work)

    async def newest(self, stream_ids: Sequence[UUID]) -> dict[UUID, int]:
        """Stream → end of its segment that starts last, of the streams that have any."""

        def work(conn: Connection) -> dict[UUID, int]:
            found = {}
            for key, stream_id in _keys(conn, stream_ids).items():
                query = select(segments.c.end_ns).where(segments.c.stream_key == key)
                end_ns = conn.scalar(query.order_by(segments.c.start_ns.desc()).limit(1))
                if end_ns is not None:
                    found[stream_id] = end_ns
            return found

        return await self._db.read(work)


def _timelines(
    conn: Connection,
    stream_ids: Sequence[UUID],
    within: TimeRange,
    fresh: Mapping[UUID, Sequence[Part]],
    *,
    now_ns: int,
    tolerance_ns: int,
) -> dict[UUID, StreamTimeline]:
    keys = _keys(conn, stream_ids)
    recorded = {keys[key]: found for key, found in spans.overlapping(conn, keys, within, tolerance_ns).items()}
    wanted = _expectations(conn, keys, within)
    stated: dict[UUID, list[Gap]] = {}
    for gap in overlapping_gaps(conn, list(keys.values()), within.start_ns, within.end_ns):
        stated.setdefault(gap.stream_id, []).append(gap)
    spoilt = _spoilt(conn, keys, within)
    suspects = {
        key
        for key, stream_id in keys.items()
        if coverage.candidates(
            stated.get(stream_id, ()),
            [*itertools.chain(*recorded.get(stream_id, ())), *(p.range for p in fresh.get(stream_id, ()))],
            within,
        )
    }
    around = _around_holes(conn, {key: keys[key] for key in suspects}, within) if suspects else {}
    parts = {stream_id: [*around.get(stream_id, ()), *fresh.get(stream_id, ())] for stream_id in stream_ids}
    holes = {stream_id: coverage.holes_of_runs(stated.get(stream_id, ()), mine) for stream_id, mine in parts.items()}
    elsewhere = _elsewhere(conn, keys, within, holes)
    found = {}
    for stream_id in stream_ids:
        gaps, of_runs, near = stated.get(stream_id, []), holes[stream_id], parts[stream_id]
        whole, damaged = recorded.get(stream_id, ([], []))
        gone = spoilt.get(stream_id, _Spoilt([], []))
        whole = [*subtract(whole, gone.ranges), *(part.range for part in fresh.get(stream_id, ()))]
        damaged = [*subtract(damaged, gone.lost), *gone.corrupt]
        gaps = [*gaps, *(Gap(_LOSS, stream_id, r.start_ns, r.end_ns, GapReason.LOST, "") for r in gone.lost)]
        if of_runs:
            whole = subtract(whole, coverage.nowhere(of_runs, near, damaged=False, join_ns=tolerance_ns))
            damaged = subtract(damaged, coverage.nowhere(of_runs, near, damaged=True, join_ns=tolerance_ns))
        found[stream_id] = StreamTimeline(
            stream_id,
            coverage.labelled(coverage.spans(within, whole, damaged), elsewhere.get(stream_id, ())),
            coverage.missing(
                within,
                wanted.get(stream_id, []),
                whole + damaged,
                gaps,
                until_ns=now_ns,
                tolerance_ns=tolerance_ns,
            ),
        )
    return found


def _keys(conn: Connection, stream_ids: Sequence[UUID]) -> dict[int, UUID]:
    found = conn.execute(select(streams.c.key, streams.c.id).where(streams.c.id.in_(stream_ids)))
    return {row.key: row.id for row in found}


def _overlapping(keys: Sequence[int], within: TimeRange) -> tuple[Any, ...]:
    """No segment is longer than an hour, so the index needs to be read from an hour before the range only."""
    return (
        segments.c.stream_key.in_(keys),
        segments.c.start_ns < within.end_ns,
        segments.c.start_ns > within.start_ns - LONGEST_SEGMENT_NS,
        segments.c.end_ns > within.start_ns,
    )


Label = tuple[TimeRange, Origin, bool]
Holes = Mapping[UUID | None, Sequence[TimeRange]]


def _elsewhere(
    conn: Connection, keys: Mapping[int, UUID], within: TimeRange, holes: Mapping[UUID, Holes]
) -> dict[UUID, list[Label]]:
    """Stream → where what is shown is from a card, a vehicle or another spool; streams without any are left out."""
    query = select(runs.c.key, runs.c.stream_key, runs.c.origin).where(
        runs.c.stream_key.in_(keys), runs.c.start_ns < within.end_ns, text("origin <> 'live'")
    )
    of_runs: dict[int, list[int]] = {}
    for run in conn.execute(query.where(runs.c.end_ns.is_(None) | (runs.c.end_ns > within.start_ns))):
        of_runs.setdefault(run.stream_key, []).append(run.key)
    return {
        keys[stream_key]: found
        for stream_key, run_keys in of_runs.items()
        if (found := _of_stream(conn, stream_key, run_keys, within, holes.get(keys[stream_key], {})))
    }  # most streams have none: spares a look at every segment's row


def _of_stream(
    conn: Connection, stream_key: int, run_keys: Sequence[int], within: TimeRange, holes: Holes
) -> list[Label]:
    mine = conn.execute(
        select(segments.c.start_ns, segments.c.end_ns).where(
            *_overlapping([stream_key], within), segments.c.run_key.in_(run_keys)
        )
    ).all()
    if not mine:
        return []
    ranges = merge(TimeRange(row.start_ns, row.end_ns) for row in mine)
    around = TimeRange(ranges[0].start_ns, ranges[-1].end_ns)
    where = _overlapping([stream_key], around)
    rivals, arrivals = segments_query().where(*where), select(segments.c.arrival).where(*where)
    listed = with_copies(conn, conn.execute(rivals).all(), arrivals)
    chosen = coverage.choose([_holed(segment, holes) for segment in listed])
    brought = [c for c in chosen if c.segment.origin is not Origin.LIVE]
    late = {run_id: _came_late(conn, run_id) for run_id in {c.segment.run_id for c in brought}}
    labels: list[Label] = []
    for one in brought:
        label = (one.range, one.segment.origin, late[one.segment.run_id])
        if labels and labels[-1][1:] == label[1:] and labels[-1][0].end_ns == one.range.start_ns:
            label = (TimeRange(labels[-1][0].start_ns, one.range.end_ns), *label[1:])
            labels.pop()
        labels.append(label)
    return labels


def _with_holes(conn: Connection, listed: list[RecordedSegment], within: TimeRange) -> list[RecordedSegment]:
    """The same with their holes, of streams of which several runs are among them: else there is nothing to choose."""
    runs_of: dict[UUID, set[UUID]] = {}
    for segment in listed:
        runs_of.setdefault(segment.stream_id, set()).add(segment.run_id)
    several = [stream_id for stream_id, found in runs_of.items() if len(found) > 1]
    if not several:
        return listed
    stated: dict[UUID, list[Gap]] = {}
    for gap in overlapping_gaps(conn, several, within.start_ns, within.end_ns):
        if coverage.may_be_hole(gap):
            stated.setdefault(gap.stream_id, []).append(gap)
    if not stated:
        return listed
    around = _around_holes(conn, _keys(conn, list(stated)), within)
    holes = {stream_id: coverage.holes_of_runs(gaps, around.get(stream_id, [])) for stream_id, gaps in stated.items()}
    return [_holed(segment, holes.get(segment.stream_id, {})) for segment in listed]


def _holed(segment: RecordedSegment, holes: Holes) -> RecordedSegment:
    mine = tuple(cover(segment.range, holes.get(segment.run_id, ())))
    return replace(segment, holes=mine) if mine else segment


@dataclass(frozen=True, slots=True)
class _Spoilt:
    """Recorded time of a stream of which no copy is as it was sealed: `lost` where none is there, else `corrupt`."""

    lost: list[TimeRange]
    corrupt: list[TimeRange]

    @property
    def ranges(self) -> list[TimeRange]:
        return [*self.lost, *self.corrupt]


def _spoilt(conn: Connection, keys: Mapping[int, UUID], within: TimeRange) -> dict[UUID, _Spoilt]:
    """Stream → what a check, or the archiver, found spoilt and no other segment covers; streams without any are left out."""
    bad = select(copies.c.arrival).where(text("state <> 0")).distinct().subquery()
    # Mostly there is none, and then nothing else needs to be asked.
    if conn.execute(select(bad.c.arrival).limit(1)).first() is None:
        return {}
    good = exists().where(copies.c.arrival == segments.c.arrival, copies.c.state == rows.PRESENT)
    corrupt = exists().where(copies.c.arrival == segments.c.arrival, copies.c.state == rows.CORRUPT)
    query = (
        select(
            segments.c.arrival, segments.c.stream_key, segments.c.start_ns, segments.c.end_ns, corrupt.label("corrupt")
        )
        .join_from(bad, segments, segments.c.arrival == bad.c.arrival)
        .where(*_overlapping(list(keys), within), ~good)
    )
    found: dict[UUID, _Spoilt] = {}
    spoilt = conn.execute(query).all()
    arrivals = {row.arrival for row in spoilt}
    for row in spoilt:
        one = TimeRange(row.start_ns, row.end_ns)
        others = conn.execute(
            select(segments.c.arrival, segments.c.start_ns, segments.c.end_ns).where(
                *_overlapping([row.stream_key], one)
            )
        )
        sound = [TimeRange(o.start_ns, o.end_ns) for o in others if o.arrival not in arrivals]
        of_stream = found.setdefault(keys[row.stream_key], _Spoilt([], []))
        (of_stream.corrupt if row.corrupt else of_stream.lost).extend(subtract([one], sound))
    return found


def _came_late(conn: Connection, run_id: UUID) -> bool:
    """Whether a run's first segment was registered after one that was recorded some time after the run's end."""
    query = select(segments).join_from(runs, segments, segments.c.run_key == runs.c.key).where(runs.c.id == run_id)
    first = conn.execute(query.order_by(segments.c.number).limit(1)).one()
    last = conn.execute(query.order_by(segments.c.number.desc()).limit(1)).one()
    from_ns = last.end_ns + coverage.LATE_NS
    before = select(segments.c.arrival).where(
        segments.c.stream_key == first.stream_key,
        segments.c.start_ns >= from_ns,
        segments.c.start_ns < from_ns + DAY_NS,
        segments.c.arrival < first.arrival,
    )
    return conn.execute(before.limit(1)).first() is not None


def _around_holes(conn: Connection, keys: Mapping[int, UUID], within: TimeRange) -> dict[UUID, list[Part]]:
    """Stream → segments that some gap of the range overlaps (`coverage.holes_of_runs` looks whose hole it is).

    One probe of the index per gap: no segment is longer than an hour. SQLite does so by itself; PostgreSQL thinks that
    a probe finds much and would rather read all segments of the streams, unless it must take the gaps one by one.
    """
    overlapped = and_(
        segments.c.stream_key == gaps.c.stream_key,
        segments.c.start_ns < gaps.c.end_ns,
        segments.c.start_ns > gaps.c.start_ns - LONGEST_SEGMENT_NS,
        segments.c.end_ns > gaps.c.start_ns,
    )
    probed: FromClause = segments
    columns = (*(segments.c[name] for name in ("stream_key", "run_key", "start_ns", "end_ns", "flags")),)
    if conn.dialect.name != "sqlite":
        probed = select(*columns).where(overlapped).correlate(gaps).offset(0).lateral("probed")
    query = (
        select(*(probed.c[column.name] for column in columns), runs.c.id, runs.c.origin)
        .select_from(gaps)
        .join(probed, overlapped if probed is segments else true())
        .join(runs, runs.c.key == probed.c.run_key)
        .where(gaps.c.stream_key.in_(keys), gaps.c.start_ns < within.end_ns, gaps.c.end_ns > within.start_ns)
        .where(gaps.c.reason.in_([reason.value for reason in coverage.WITHIN_RECORDING]))
        .distinct()
    )
    found: dict[UUID, list[Part]] = {}
    for row in conn.execute(query):
        live, damaged = Origin(row.origin) is Origin.LIVE, bool(row.flags & rows.DAMAGED)
        part = Part(TimeRange(row.start_ns, row.end_ns), row.id, live, damaged)
        found.setdefault(keys[row.stream_key], []).append(part)
    return found


def _expectations(conn: Connection, keys: Mapping[int, UUID], within: TimeRange) -> dict[UUID, list[Expectation]]:
    found: dict[UUID, list[Expectation]] = {}
    query = (
        select(expectations)
        .where(expectations.c.stream_key.in_(keys), expectations.c.from_ns < within.end_ns)
        .where(expectations.c.to_ns.is_(None) | (expectations.c.to_ns > within.start_ns))
        .order_by(expectations.c.from_ns)
    )
    for row in conn.execute(query):
        suspended = GapReason(row.suspended) if row.suspended else None
        of_stream = found.setdefault(keys[row.stream_key], [])
        of_stream.append(Expectation(keys[row.stream_key], row.from_ns, row.to_ns, suspended))
    return found


def segments_query() -> Select[Any]:
    """Rows of segments with their run's id and origin and their stream's id."""
    columns = (runs.c.id.label("run_id"), runs.c.origin, streams.c.id.label("stream_id"))
    return select(segments, *columns).join_from(segments, runs).join(streams, streams.c.key == segments.c.stream_key)


def with_copies(conn: Connection, found: Sequence[Any], arrivals: Select[Any]) -> list[RecordedSegment]:
    """Rows of `segments_query` as values, with the copies of `arrivals`."""
    of: dict[int, list[Any]] = {}
    query = select(copies, stores.c.name, stores.c.kind).join_from(copies, stores)
    for row in conn.execute(query.where(copies.c.arrival.in_(arrivals)).order_by(stores.c.key)):
        of.setdefault(row.arrival, []).append(row)
    listed = []
    for row in found:
        usual = segment_key(row.stream_id, row.run_id, row.number, row.start_ns)
        kept: list[Copy] = []
        location = "nowhere" if row.arrival in of else "spool"
        for copy_row in of.get(row.arrival, ()):
            copy = rows.copy_of(copy_row, copy_row.name, usual, row.size_bytes, row.digest)
            kept.append(copy)
            if copy.state is CopyState.PRESENT and location != "store":
                location = "spool" if copy_row.kind == StoreKind.SPOOL else "store"
        listed.append(
            RecordedSegment(
                row.arrival, row.stream_id, row.run_id, row.number, row.start_ns, row.end_ns, row.duration_ticks,
                row.clock_hz, row.size_bytes, row.digest, row.seal, not row.flags & rows.CONTINUATION,
                bool(row.flags & rows.DAMAGED), rows.codec_of(row.flags), row.width, row.height, Origin(row.origin),
                tuple(kept), location,
            )
        )  # fmt: skip
    return listed
