"""What a check asks of the catalogue (`storage.check`): where footage is to be found, and what became of named segments.

Read only, but for `renew_spans`. Owns no judgement; every answer is one snapshot, so that a segment on its way from one table to the next is
always in exactly one of them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from sqlalchemy import Connection, Table, func, select, union_all

from storage.catalogue import rows, spans
from storage.catalogue.engine import Database
from storage.catalogue.locks import lock_cameras
from storage.catalogue.tables import (
    condemned,
    condemned_objects,
    deletions,
    gaps,
    hold_streams,
    holds,
    journals,
    runs,
    segments,
    stores,
    streams,
)
from storage.catalogue.tables import spans as spans_table
from storage.catalogue.timelines import segments_query, with_copies
from storage.catalogue.values import RecordedSegment, SegmentRef
from storage.retention import DAY_NS
from vms.timeline import TimeRange

_BATCH = 500


@dataclass(frozen=True, slots=True)
class Fate:
    """What the catalogue knows of one segment. `condemned`: (store, key) of objects of it that must still go.

    `gone`: it was condemned or deleted; `segment` is None then, and also where it was never registered.
    """

    segment: RecordedSegment | None = None
    condemned: frozenset[tuple[str, str]] = frozenset()
    gone: bool = False


@dataclass(frozen=True, slots=True)
class HeldCondemned:
    """A segment that was condemned although a hold covered it by then."""

    stream_id: UUID
    ref: SegmentRef
    start_ns: int
    end_ns: int
    hold_id: UUID


class Checking:
    """Look-ups for checks."""

    _db: Database

    async def all_streams(self) -> list[UUID]:
        """Every stream that was ever registered, in a fixed order."""
        return await self._db.read(lambda conn: list(conn.scalars(select(streams.c.id).order_by(streams.c.key))))

    async def count_segments(self) -> int:
        """How many segments are registered."""
        return await self._db.read(lambda conn: conn.scalar(select(func.count()).select_from(segments)) or 0)

    async def segment_days(self, stream_id: UUID) -> list[int]:
        """UTC days (whole days since 1970) on which segments of a stream start. Reads one index."""
        return await self._db.read(partial(_days, table=segments, column="start_ns", stream_id=stream_id))

    async def journal_days(self, stream_id: UUID) -> list[int]:
        """UTC days of whose hours journals were written."""
        return await self._db.read(partial(_days, table=journals, column="hour_ns", stream_id=stream_id))

    async def span_days(self, stream_id: UUID) -> list[int]:
        """UTC days on which a stream has, or may have, segments or spans."""
        return await self._db.read(partial(_span_days, stream_id=stream_id))

    async def differing_spans(self, stream_id: UUID, day: int) -> list[TimeRange]:
        """Where the spans of a stream's UTC day are not those of its segments; none: they agree."""

        def work(conn: Connection) -> list[TimeRange]:
            return spans.differing(conn, rows.stream_keys(conn, {stream_id})[stream_id][0], day)

        return await self._db.read(work)

    async def renew_spans(self, stream_id: UUID, day: int) -> None:
        """Reckon the spans of a stream's UTC day again from its segments, under the camera's lock. May be repeated."""

        def work(conn: Connection) -> None:
            stream_key, camera_key = rows.stream_keys(conn, {stream_id})[stream_id]
            lock_cameras(conn, [camera_key])
            spans.renew(conn, stream_key, day)

        await self._db.write(work)

    async def fates(self, refs: Collection[SegmentRef]) -> dict[SegmentRef, Fate]:
        """What became of each of these segments; an empty `Fate` for those never heard of."""
        found: dict[SegmentRef, Fate] = {}
        wanted = list(refs)
        for start in range(0, len(wanted), _BATCH):
            found |= await self._db.read(partial(_fates, refs=wanted[start : start + _BATCH]))
        return found

    async def condemned_under_hold(self, margin_ns: int, limit: int) -> list[HeldCondemned]:
        """Segments condemned later than `margin_ns` after a hold over them was placed and before it was released.

        The margin stands for a condemning that was under way while the hold waited for the camera's lock.
        """
        return await self._db.read(partial(_condemned_under_hold, margin_ns=margin_ns, limit=limit))

    async def open_runs(self, host: str) -> list[tuple[UUID, UUID]]:
        """(stream, run) of every run of a host that has not ended."""
        query = (
            select(streams.c.id, runs.c.id.label("run_id"))
            .join_from(runs, streams)
            .where(runs.c.host == host, runs.c.end_ns.is_(None))
            .order_by(runs.c.key)
        )
        return await self._db.read(lambda conn: [(row.id, row.run_id) for row in conn.execute(query)])

    async def gap_is_open(self, gap_id: UUID) -> bool:
        """Whether this gap is known and not closed."""
        query = select(gaps.c.key).where(gaps.c.id == gap_id, gaps.c.end_ns.is_(None))
        return await self._db.read(lambda conn: conn.scalar(query) is not None)


def _days(conn: Connection, *, table: Table, column: str, stream_id: UUID) -> list[int]:
    day = (table.c[column] // DAY_NS).label("day")
    key = select(streams.c.key).where(streams.c.id == stream_id).scalar_subquery()
    return sorted(set(conn.scalars(select(day).where(table.c.stream_key == key).distinct())))


def _span_days(conn: Connection, *, stream_id: UUID) -> list[int]:
    starting = _days(conn, table=segments, column="start_ns", stream_id=stream_id)
    stored = _days(conn, table=spans_table, column="start_ns", stream_id=stream_id)
    return sorted({*starting, *(day + 1 for day in starting), *stored})  # a segment may reach over midnight


def _fates(conn: Connection, refs: Sequence[SegmentRef]) -> dict[SegmentRef, Fate]:
    keys = rows.run_keys(conn, {ref.run_id for ref in refs})
    ids = {key: run_id for run_id, (key, _) in keys.items()}
    named = [(keys[ref.run_id][0], ref.number) for ref in refs if ref.run_id in keys]
    present = rows.is_named(conn, segments, named)
    arrivals = select(segments.c.arrival).where(present)
    registered = {s.ref: s for s in with_copies(conn, conn.execute(segments_query().where(present)).all(), arrivals)}
    must_go: dict[SegmentRef, set[tuple[str, str]]] = {}
    query = select(condemned_objects, stores.c.name).join_from(condemned_objects, stores)
    for row in conn.execute(query.where(rows.is_named(conn, condemned_objects, named))):
        must_go.setdefault(SegmentRef(ids[row.run_key], row.number), set()).add((row.name, row.object_key))
    gone = {SegmentRef(ids[run_key], number) for run_key, number in rows.gone(conn, named)}
    return {ref: Fate(registered.get(ref), frozenset(must_go.get(ref, ())), ref in gone) for ref in refs}


def _condemned_under_hold(conn: Connection, *, margin_ns: int, limit: int) -> list[HeldCondemned]:
    columns = ("run_key", "number", "stream_key", "start_ns", "end_ns", "condemned_ns")
    gone = union_all(*(select(*(table.c[name] for name in columns)) for table in (condemned, deletions))).subquery()
    query = (
        select(gone, holds.c.id.label("hold_id"), runs.c.id.label("run_id"), streams.c.id.label("stream_id"))
        .join_from(holds, hold_streams)
        .join(gone, gone.c.stream_key == hold_streams.c.stream_key)
        .join(runs, runs.c.key == gone.c.run_key)
        .join(streams, streams.c.key == gone.c.stream_key)
        .where(holds.c.from_ns < gone.c.end_ns, holds.c.to_ns > gone.c.start_ns)
        .where(holds.c.placed_ns + margin_ns < gone.c.condemned_ns)
        .where(holds.c.released_ns.is_(None) | (holds.c.released_ns > gone.c.condemned_ns))
        .order_by(gone.c.stream_key, gone.c.start_ns)
        .limit(limit)
    )
    return [
        HeldCondemned(row.stream_id, SegmentRef(row.run_id, row.number), row.start_ns, row.end_ns, row.hold_id)
        for row in conn.execute(query)
    ]
