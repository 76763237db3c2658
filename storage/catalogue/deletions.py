"""Holds, condemning, and what is left of the deleted.

Placing a hold and condemning lock the cameras' rows first and read the other's work under that lock, so nothing that a
hold covers is ever condemned. Condemning moves a segment's row and its copies' keys aside in one transaction and leaves
a gap with the reason `deleted`; from then on the bytes must go. When no object is left the row becomes a line of the
day's deletion report. Each step may be repeated. Which segments may go is decided by `storage.retention`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, Exists, delete, exists, func, insert, select, tuple_, update

from storage import retention
from storage.catalogue import rows, spans
from storage.catalogue.engine import Database, upsert
from storage.catalogue.facts import insert_gap
from storage.catalogue.locks import lock_cameras
from storage.catalogue.tables import (
    cameras,
    condemned,
    condemned_objects,
    copies,
    deletion_days,
    deletions,
    hold_streams,
    holds,
    legal_profiles,
    runs,
    segments,
    stores,
    streams,
)
from storage.catalogue.values import Condemned, CondemnedObject, DeletedSegment, Expired, Expiring, Hold, SegmentRef
from storage.objects.base import segment_key
from vms.errors import CatalogueError, UserError
from vms.model import Gap, GapReason
from vms.timeline import TimeRange, merge

_PAGE = 500
_KEPT = ("run_key", "number", "stream_key", "start_ns", "end_ns", "size_bytes", "digest", "seal")


class Deletions:
    """Holds, condemned segments and deletion reports."""

    _db: Database

    async def place_hold(self, hold: Hold) -> int:
        """Pin what these streams recorded, and will still register, over a range. May be repeated.

        Returns how many segments of the range were condemned before and are therefore lost. Raises UserError for a
        hold without streams, basis or owner, or with a review before it was placed.
        """
        if not hold.stream_ids or not hold.basis.strip() or not hold.owner.strip():
            raise UserError("a hold needs at least one stream, a basis and an owner")
        if hold.review_ns <= hold.placed_ns:
            raise UserError("a hold needs a review date after the day it is placed")
        return await self._db.write(lambda conn: _place_hold(conn, hold))

    async def release_hold(self, hold_id: UUID, *, at_ns: int) -> None:
        """End a hold. Retention goes on where it was. May be repeated. Raises UserError for an unknown hold."""

        def work(conn: Connection) -> None:
            if conn.scalar(select(holds.c.key).where(holds.c.id == hold_id)) is None:
                raise UserError(f"there is no hold {hold_id}")
            open_hold = (holds.c.id == hold_id) & holds.c.released_ns.is_(None)
            conn.execute(update(holds).where(open_hold).values(released_ns=at_ns))

        await self._db.write(work)

    async def holds(self, *, include_released: bool = False) -> list[Hold]:
        """Holds by the time they were placed."""

        def work(conn: Connection) -> list[Hold]:
            of: dict[int, set[UUID]] = {}
            for row in conn.execute(select(hold_streams.c.hold_key, streams.c.id).join_from(hold_streams, streams)):
                of.setdefault(row.hold_key, set()).add(row.id)
            query = select(holds).order_by(holds.c.placed_ns, holds.c.key)
            if not include_released:
                query = query.where(holds.c.released_ns.is_(None))
            return [
                Hold(
                    row.id, frozenset(of.get(row.key, ())), TimeRange(row.from_ns, row.to_ns), row.basis, row.owner,
                    row.placed_ns, row.review_ns, row.released_ns,
                )
                for row in conn.execute(query)
            ]  # fmt: skip

        return await self._db.read(work)

    async def expired(self, now_ns: int) -> list[Expired]:
        """How much of each stream has expired at `now_ns` by its camera's profile and is not held. Nothing changes."""
        return await self._db.read(lambda conn: _expired(conn, now_ns))

    async def next_to_expire(self) -> list[Expiring]:
        """Of each stream with footage what goes next, as soon as its time has come. Nothing changes."""
        return await self._db.read(_next_to_expire)

    async def condemn_expired(
        self,
        stream_id: UUID,
        now_ns: int,
        *,
        at_ns: int,
        after: tuple[int, int] = (0, 0),
        uploads: Mapping[str, str] | None = None,
    ) -> Condemned:
        """Condemn a page of what of a stream has expired at `now_ns`, oldest first, under the camera's lock.

        Days and holds are read again under the lock. `at_ns` is when it was condemned; `after` is `resume` of the page
        before. `uploads`: spool → store that its files go to. What has a copy in such a spool is condemned in that store
        as well: an upload may be there, or on its way, and no row say so. Raises CatalogueError for an unknown stream.
        """
        return await self._db.write(lambda conn: _condemn(conn, stream_id, now_ns, at_ns, after, uploads or {}))

    async def condemn_again(self, ref: SegmentRef, store: str, object_key: str) -> bool:
        """Condemn an object that is left of a segment that was condemned or deleted. False: a hold covers it by now.

        Holds are read under the camera's lock. Raises CatalogueError for a segment that is neither, or an unknown store.
        """
        return await self._db.write(lambda conn: _condemn_again(conn, ref, store, object_key))

    async def condemned_objects(
        self, store_names: Iterable[str], *, after: int = 0, limit: int = _PAGE
    ) -> list[CondemnedObject]:
        """Objects on these stores that must go, in the order they were condemned, from the one after `after`."""
        names = list(store_names)

        def work(conn: Connection) -> list[CondemnedObject]:
            found = conn.execute(
                select(condemned_objects.c.key, stores.c.name, condemned_objects.c.object_key)
                .join_from(condemned_objects, stores)
                .where(stores.c.name.in_(names), condemned_objects.c.key > after)
                .order_by(condemned_objects.c.key)
                .limit(limit)
            )
            return [CondemnedObject(row.key, row.name, row.object_key) for row in found]

        return await self._db.read(work)

    async def objects_gone(self, ids: Sequence[int]) -> None:
        """Strike these off: their store has deleted every version of them."""

        def work(conn: Connection) -> None:
            conn.execute(delete(condemned_objects).where(condemned_objects.c.key.in_(ids)))

        if ids:
            await self._db.write(work)

    async def report_deleted(self, *, at_ns: int, limit: int = _PAGE) -> int:
        """Move condemned segments of which no object is left into the deletion report. Returns how many."""
        return await self._db.write(lambda conn: _report_deleted(conn, at_ns, limit))

    async def deletion_report(self, day: int) -> list[DeletedSegment]:
        """What was deleted on a UTC day (whole days since 1970), by stream and start."""

        def work(conn: Connection) -> list[DeletedSegment]:
            query = _report_query().where(deletions.c.day == day)
            found = conn.execute(query.order_by(deletions.c.stream_key, deletions.c.start_ns))
            return [_line(row) for row in found]

        return await self._db.read(work)

    async def deleted(self, stream_id: UUID, within: TimeRange) -> list[DeletedSegment]:
        """What of a stream was deleted, its last byte gone, in the range; by time of deletion and start."""

        def work(conn: Connection) -> list[DeletedSegment]:
            query = _report_query().where(streams.c.id == stream_id, deletions.c.deleted_ns >= within.start_ns)
            query = query.where(deletions.c.deleted_ns < within.end_ns)
            return [_line(row) for row in conn.execute(query.order_by(deletions.c.deleted_ns, deletions.c.start_ns))]

        return await self._db.read(work)

    async def deletion_hours(self, since_ns: int) -> list[tuple[UUID, int]]:
        """(stream, start of a UTC hour) in which something of it was deleted, from `since_ns` on."""
        hour = (deletions.c.deleted_ns // retention.HOUR_NS).label("hour")
        query = (
            select(streams.c.id, hour)
            .join_from(deletions, streams, streams.c.key == deletions.c.stream_key)
            .where(deletions.c.day >= retention.utc_day(since_ns), deletions.c.deleted_ns >= since_ns)
            .distinct()
        )
        return await self._db.read(lambda conn: [(r.id, r.hour * retention.HOUR_NS) for r in conn.execute(query)])

    async def condemned_by_day(self, first_day: int, last_day: int) -> dict[int, int]:
        """UTC day → length of the footage condemned on it, both ends included."""

        def work(conn: Connection) -> dict[int, int]:
            days = deletion_days.c.day
            query = select(days, deletion_days.c.footage_ns).where(days >= first_day, days <= last_day)
            return {row.day: row.footage_ns for row in conn.execute(query)}

        return await self._db.read(work)

    async def pending_deletions(self) -> int:
        """Segments condemned whose bytes are not known to be gone yet."""
        return await self._db.read(lambda conn: conn.scalar(select(func.count()).select_from(condemned)) or 0)


def _report_query() -> Any:
    columns = (runs.c.id.label("run_id"), streams.c.id.label("stream_id"))
    return (
        select(deletions, *columns)
        .join_from(deletions, runs)
        .join(streams, streams.c.key == deletions.c.stream_key)
    )  # fmt: skip


def _line(row: Any) -> DeletedSegment:
    return DeletedSegment(
        row.stream_id, row.run_id, row.number, row.start_ns, row.end_ns, row.size_bytes, row.digest, row.seal,
        row.basis, row.condemned_ns, row.deleted_ns,
    )  # fmt: skip


def _place_hold(conn: Connection, hold: Hold) -> int:
    known = rows.stream_keys(conn, set(hold.stream_ids))
    lock_cameras(conn, (camera for _, camera in known.values()))
    keys = [key for key, _ in known.values()]
    if conn.scalar(select(holds.c.key).where(holds.c.id == hold.id)) is None:
        values = {
            "id": hold.id,
            "from_ns": hold.range.start_ns,
            "to_ns": hold.range.end_ns,
            "basis": hold.basis,
            "owner": hold.owner,
            "placed_ns": hold.placed_ns,
            "review_ns": hold.review_ns,
            "released_ns": hold.released_ns,
        }
        hold_key = conn.execute(insert(holds).values(values).returning(holds.c.key)).scalar_one()
        conn.execute(insert(hold_streams), [{"hold_key": hold_key, "stream_key": key} for key in keys])
    lost = select(func.count()).select_from(condemned).where(condemned.c.stream_key.in_(keys))
    inside = (condemned.c.start_ns < hold.range.end_ns) & (condemned.c.end_ns > hold.range.start_ns)
    return conn.scalar(lost.where(inside)) or 0


def _held() -> Exists:
    """Whether a hold covers any of a segment's row."""
    return exists(
        select(holds.c.key)
        .join_from(hold_streams, holds)
        .where(hold_streams.c.stream_key == segments.c.stream_key, holds.c.released_ns.is_(None))
        .where(holds.c.from_ns < segments.c.end_ns, holds.c.to_ns > segments.c.start_ns)
    )


def _next_to_expire(conn: Connection) -> list[Expiring]:
    feeds = select(streams.c.key, streams.c.id, legal_profiles.c.days).join_from(streams, cameras).join(legal_profiles)
    free = select(segments.c.start_ns, segments.c.end_ns).where(~_held()).order_by(segments.c.start_ns).limit(1)
    found = []
    for row in conn.execute(feeds.order_by(streams.c.key)).all():
        first = conn.execute(free.where(segments.c.stream_key == row.key)).one_or_none()
        if first is not None:
            expires_ns = first.end_ns + row.days * retention.DAY_NS
            found.append(Expiring(row.id, first.start_ns, first.end_ns, row.days, expires_ns))
    return found


def _expired(conn: Connection, now_ns: int) -> list[Expired]:
    held = _held()
    length = func.sum(segments.c.end_ns - segments.c.start_ns)
    amount = select(func.count().label("segments"), length.label("ns"), func.sum(segments.c.size_bytes).label("bytes"))
    feeds = select(streams.c.key, streams.c.id, legal_profiles.c.days).join_from(streams, cameras).join(legal_profiles)
    found = []
    for row in conn.execute(feeds.order_by(streams.c.key)).all():
        cutoff = retention.cutoff_ns(now_ns, row.days)
        mine = (segments.c.stream_key == row.key) & (segments.c.start_ns < cutoff) & (segments.c.end_ns <= cutoff)
        sums = conn.execute(amount.where(mine, ~held)).one()
        if sums.segments:
            found.append(Expired(row.id, sums.segments, int(sums.ns), int(sums.bytes)))
    return found


def _condemn(  # noqa: PLR0917
    conn: Connection,
    stream_id: UUID,
    now_ns: int,
    at_ns: int,
    after: tuple[int, int],
    uploads: Mapping[str, str],
) -> Condemned:
    stream_key, camera_key = rows.stream_keys(conn, {stream_id})[stream_id]
    lock_cameras(conn, [camera_key])
    days = conn.scalar(select(legal_profiles.c.days).join(cameras).where(cameras.c.key == camera_key))
    if days is None:
        raise CatalogueError(f"the camera of stream {stream_id} has no legal profile")
    cutoff = retention.cutoff_ns(now_ns, days)
    page = conn.execute(
        select(segments)
        .where(segments.c.stream_key == stream_key, segments.c.start_ns < cutoff, segments.c.end_ns <= cutoff)
        .where(tuple_(segments.c.start_ns, segments.c.arrival) > after)
        .order_by(segments.c.start_ns, segments.c.arrival)
        .limit(_PAGE)
    ).all()
    if not page:
        return Condemned(0, 0, 0, more=False, resume=after)
    found = {(row.run_key, row.number): row for row in [*page, *_rest_of_groups(conn, page)]}
    candidates = [
        retention.Candidate(row.run_key, row.number, row.start_ns, row.end_ns, not row.flags & rows.CONTINUATION)
        for row in found.values()
    ]
    groups = retention.expired_groups(candidates, _holds_of(conn, stream_key), cutoff)
    chosen = [found[member.run_key, member.number] for group in groups for member in group]
    if chosen:
        objects = _objects_of(conn, stream_id, chosen, uploads)
        _move_to_condemned(conn, stream_id, stream_key, chosen, objects, days=days, at_ns=at_ns)
    return Condemned(
        len(chosen),
        sum(row.end_ns - row.start_ns for row in chosen),
        sum(row.size_bytes for row in chosen),
        more=len(page) == _PAGE,
        resume=(page[-1].start_ns, page[-1].arrival),
    )


def _condemn_again(conn: Connection, ref: SegmentRef, store: str, object_key: str) -> bool:
    store_key = rows.store_key(rows.store_keys(conn), store)
    of_run = select(runs.c.key, runs.c.stream_key, streams.c.camera_key).join_from(runs, streams)
    run = conn.execute(of_run.where(runs.c.id == ref.run_id)).one_or_none()
    if run is None:
        raise CatalogueError(f"{rows.ref_text(ref)} is not in the catalogue")
    lock_cameras(conn, [run.camera_key])
    for table in (condemned, deletions):
        of_segment = (table.c.run_key == run.key) & (table.c.number == ref.number)
        gone = conn.execute(select(table.c.start_ns, table.c.end_ns).where(of_segment)).one_or_none()
        if gone is not None:
            break
    else:
        raise CatalogueError(f"{rows.ref_text(ref)} was neither condemned nor deleted")
    within = TimeRange(gone.start_ns, gone.end_ns)
    if any(held.overlaps(within) for held in _holds_of(conn, run.stream_key)):
        return False
    named = {"run_key": run.key, "number": ref.number, "store_key": store_key, "object_key": object_key}
    conn.execute(upsert(conn, condemned_objects).on_conflict_do_nothing(), named)
    return True


def _rest_of_groups(conn: Connection, page: Sequence[Any]) -> list[Any]:
    """Members of the page's groups outside the page: continuations after it, and what stands before a continuation.

    A segment that is neither in the page nor in the table was condemned or lost, and ends the chain.
    """
    numbers: dict[int, set[int]] = {}
    for row in page:
        numbers.setdefault(row.run_key, set()).add(row.number)
    rest: list[Any] = []
    for run_key, of_run in numbers.items():
        rest += _chain(conn, run_key, max(of_run) + 1, forward=True)
    for row in page:
        if row.flags & rows.CONTINUATION and row.number - 1 not in numbers[row.run_key]:
            rest += _chain(conn, row.run_key, row.number - 1, forward=False)
    return rest


def _chain(conn: Connection, run_key: int, number: int, *, forward: bool) -> list[Any]:
    """Forward: the continuations without a break from `number` on. Backward: from `number` down to its head."""
    found: list[Any] = []
    while True:
        row = conn.execute(
            select(segments).where(segments.c.run_key == run_key, segments.c.number == number)
        ).one_or_none()
        if row is None or (forward and not row.flags & rows.CONTINUATION):
            return found
        found.append(row)
        if not row.flags & rows.CONTINUATION:
            return found
        number += 1 if forward else -1


def _holds_of(conn: Connection, stream_key: int) -> list[TimeRange]:
    query = select(holds.c.from_ns, holds.c.to_ns).join_from(hold_streams, holds)
    found = conn.execute(query.where(hold_streams.c.stream_key == stream_key, holds.c.released_ns.is_(None)))
    return [TimeRange(row.from_ns, row.to_ns) for row in found]


def _objects_of(
    conn: Connection, stream_id: UUID, chosen: Sequence[Any], uploads: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Where the bytes of these segments are, and where an upload may have brought them."""
    known = {name: key for name, (key, _) in rows.store_keys(conn).items()}
    goes_to = {known[spool]: known[store] for spool, store in uploads.items() if {spool, store} <= known.keys()}
    run_ids = {
        row.key: row.id
        for row in conn.execute(select(runs.c.key, runs.c.id).where(runs.c.key.in_({row.run_key for row in chosen})))
    }
    by_arrival = {row.arrival: row for row in chosen}
    objects = []
    for copy in conn.execute(select(copies).where(copies.c.arrival.in_(by_arrival))):
        row = by_arrival[copy.arrival]
        usual = segment_key(stream_id, run_ids[row.run_key], row.number, row.start_ns)
        where = [(copy.store_key, copy.object_key or usual)]
        where += [(goes_to[copy.store_key], usual)] if copy.store_key in goes_to else []
        objects += [
            {"run_key": row.run_key, "number": row.number, "store_key": store_key, "object_key": key}
            for store_key, key in where
        ]
    return objects


def _move_to_condemned(
    conn: Connection,
    stream_id: UUID,
    stream_key: int,
    chosen: Sequence[Any],
    objects: list[dict[str, Any]],
    *,
    days: int,
    at_ns: int,
) -> None:
    basis, by_arrival = f"retention of {days} days", [row.arrival for row in chosen]
    fates = {"basis": basis, "condemned_ns": at_ns}
    conn.execute(insert(condemned), [{name: getattr(row, name) for name in _KEPT} | fates for row in chosen])
    if objects:
        conn.execute(upsert(conn, condemned_objects).on_conflict_do_nothing(), objects)
    conn.execute(delete(copies).where(copies.c.arrival.in_(by_arrival)))
    conn.execute(delete(segments).where(segments.c.arrival.in_(by_arrival)))
    spans.take_away(conn, stream_key, chosen)
    for span in merge(TimeRange(row.start_ns, row.end_ns) for row in chosen):
        gap = Gap(uuid4(), stream_id, span.start_ns, span.end_ns, GapReason.DELETED, basis)
        insert_gap(conn, gap, stream_key)
    add_to_day(conn, chosen, at_ns)


def add_to_day(conn: Connection, chosen: Sequence[Any], at_ns: int) -> None:
    """Count these segments among what was condemned on the UTC day of `at_ns`."""
    amounts = {
        "segments": len(chosen),
        "footage_ns": sum(row.end_ns - row.start_ns for row in chosen),
        "size_bytes": sum(row.size_bytes for row in chosen),
    }
    statement = upsert(conn, deletion_days).values(day=retention.utc_day(at_ns), **amounts)
    added = {name: deletion_days.c[name] + amount for name, amount in amounts.items()}
    conn.execute(statement.on_conflict_do_update(index_elements=["day"], set_=added))


def _report_deleted(conn: Connection, at_ns: int, limit: int) -> int:
    left = exists(
        select(condemned_objects.c.key).where(
            condemned_objects.c.run_key == condemned.c.run_key, condemned_objects.c.number == condemned.c.number
        )
    )
    done = conn.execute(
        select(condemned).where(~left).order_by(condemned.c.run_key, condemned.c.number).limit(limit).with_for_update()
    ).all()
    if not done:
        return 0
    fates = {"deleted_ns": at_ns, "day": retention.utc_day(at_ns)}
    lines = [{name: getattr(row, name) for name in (*_KEPT, "basis", "condemned_ns")} | fates for row in done]
    conn.execute(upsert(conn, deletions).on_conflict_do_nothing(), lines)
    names = [(row.run_key, row.number) for row in done]
    conn.execute(delete(condemned).where(rows.is_named(conn, condemned, names)))
    return len(done)
