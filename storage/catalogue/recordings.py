"""What was recorded: stores, runs, segments and their copies, as the archiver reports them.

Invariants: every call may be repeated; a segment registered once keeps its facts; a run ends no earlier than its
segments; what was condemned or deleted never comes back, and a copy reported late goes the same way; the last present
copy of a segment cannot be dropped; arrival numbers grow in the order in which registrations become visible.
Registering locks the camera's row first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from storage.catalogue import rows, spans
from storage.catalogue.engine import Database, upsert
from storage.catalogue.locks import lock_cameras
from storage.catalogue.tables import (
    condemned_objects,
    copies,
    counters,
    journals,
    runs,
    segments,
    stores,
    streams,
)
from storage.catalogue.values import Copy, Registered, Registration, SegmentRef, StoreInfo, StoreKind
from storage.objects.base import segment_key
from storage.retention import HOUR_NS
from vms.errors import CatalogueError
from vms.model import GapReason, Origin, RunClock, RunInfo, SegmentFacts

T = TypeVar("T")

BATCH = 500  # rows of one transaction: keeps locks short and statements below SQLite's limit of parameters


class Recordings:
    """Segments and where their bytes are."""

    _db: Database

    async def put_store(self, store: StoreInfo) -> None:
        """Make a store known under its name. Raises CatalogueError if the name is one of another kind or host."""

        def work(conn: Connection) -> None:
            values = {"name": store.name, "kind": store.kind.value, "host": store.host}
            conn.execute(upsert(conn, stores).values(values).on_conflict_do_nothing(index_elements=["name"]))
            row = conn.execute(select(stores).where(stores.c.name == store.name)).one()
            if (row.kind, row.host) != (store.kind.value, store.host):
                raise CatalogueError(f"store {store.name!r} is already known as {row.kind} of host {row.host!r}")

        await self._db.write(work)

    async def stores(self) -> list[StoreInfo]:
        """Every store by name."""

        def work(conn: Connection) -> list[StoreInfo]:
            found = conn.execute(select(stores).order_by(stores.c.name))
            return [StoreInfo(row.name, StoreKind(row.kind), row.host) for row in found]

        return await self._db.read(work)

    async def has_copies(self, store: str) -> bool:
        """Whether anything is known to lie in the store of this name."""

        def work(conn: Connection) -> bool:
            mine = select(copies.c.store_key).join(stores, stores.c.key == copies.c.store_key)
            return conn.execute(mine.where(stores.c.name == store).limit(1)).first() is not None

        return await self._db.read(work)

    async def put_run(self, run: RunInfo) -> None:
        """Note a run when it begins, and again when it has ended. What was once said stands, but an end may move later.

        Raises CatalogueError for a stream that is not registered, or a run of another stream.
        """
        await self.put_runs([run])

    async def put_runs(self, items: Sequence[RunInfo]) -> None:
        """The same for many, in transactions of at most `BATCH`."""
        for batch in _batches(items):
            await self._db.write(partial(_put_run_rows, batch=batch))

    async def runs(self, stream_id: UUID, start_ns: int, end_ns: int) -> list[RunInfo]:
        """Runs of a stream that began before `end_ns` and had not ended at `start_ns`, oldest first."""

        def work(conn: Connection) -> list[RunInfo]:
            found = conn.execute(
                select(runs)
                .join(streams)
                .where(streams.c.id == stream_id, runs.c.start_ns < end_ns)
                .where((runs.c.end_ns > start_ns) | runs.c.end_ns.is_(None))
                .order_by(runs.c.start_ns, runs.c.key)
            )
            return [
                RunInfo(
                    row.id, stream_id, Origin(row.origin), row.host, row.epoch, RunClock(row.clock), row.start_ns,
                    row.end_ns, GapReason(row.end_reason) if row.end_reason else None,
                )
                for row in found
            ]  # fmt: skip

        return await self._db.read(work)

    async def run_hosts(self, run_ids: Collection[UUID]) -> dict[UUID, str]:
        """Which host recorded each of these runs; those that are not known are left out."""
        found: dict[UUID, str] = {}
        for batch in _batches(list(run_ids)):
            found |= await self._db.read(partial(_run_hosts, run_ids=batch))
        return found

    async def hours_without_journal(self, host: str, since_ns: int) -> list[tuple[UUID, int]]:
        """(stream, start of a UTC hour) with segments that begin in it, from `since_ns` on, and no journal of `host`.

        Of the streams of which `host` has recorded anything; an hour may turn out to be another host's alone. Reads
        one index only, a stream at a time.
        """
        of_host = select(streams.c.key, streams.c.id).where(
            streams.c.key.in_(select(runs.c.stream_key).where(runs.c.host == host))
        )
        recorded = await self._db.read(lambda conn: [(row.key, row.id) for row in conn.execute(of_host)])
        found: list[tuple[UUID, int]] = []
        for key, stream_id in recorded:
            hours = await self._db.read(partial(_hours_without_journal, stream_key=key, host=host, since_ns=since_ns))
            found += [(stream_id, hour_ns) for hour_ns in hours]
        return found

    async def register(self, facts: SegmentFacts, run: RunInfo | None, copy: Copy) -> Registered:
        """Note a sealed segment and where it is: from now on it is on the timeline. See `register_many`."""
        return (await self.register_many([Registration(facts, copy, run)]))[0]

    async def register_many(self, items: Sequence[Registration]) -> list[Registered]:
        """Register in transactions of at most `BATCH`; each is noted whole or not at all.

        Raises CatalogueError for an unknown stream, run or store, for facts that cannot be, and for a segment that is
        registered with another digest: a segment's bytes never change.
        """
        found: list[Registered] = []
        for batch in _batches(items):
            found += await self._db.write(partial(_register, batch=batch))
        return found

    async def record_copy(self, ref: SegmentRef, copy: Copy) -> bool:
        """Note another copy, or a new state of it. False: the segment was condemned, and so now is this copy."""
        return (await self.record_copies([(ref, copy)]))[0]

    async def record_copies(self, items: Sequence[tuple[SegmentRef, Copy]]) -> list[bool]:
        """The same for many. Raises CatalogueError for a segment that was never registered, or an unknown store."""
        found: list[bool] = []
        for batch in _batches(items):
            found += await self._db.write(partial(_record_copies, batch=batch))
        return found

    async def drop_copy(self, ref: SegmentRef, store: str) -> bool:
        """Forget a copy that is about to be, or already is, removed from `store`. False: there was none.

        Raises CatalogueError if it is the segment's last present copy: bytes leave by condemning only.
        """
        return await self._db.write(lambda conn: _drop_copy(conn, ref, store))


def _batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))


def _run_hosts(conn: Connection, run_ids: Sequence[UUID]) -> dict[UUID, str]:
    found = conn.execute(select(runs.c.id, runs.c.host).where(runs.c.id.in_(run_ids)))
    return {row.id: row.host for row in found}


def _hours_without_journal(conn: Connection, *, stream_key: int, host: str, since_ns: int) -> list[int]:
    written = select(journals.c.hour_ns).where(journals.c.stream_key == stream_key, journals.c.host == host)
    stated = set(conn.scalars(written.where(journals.c.hour_ns > since_ns - HOUR_NS)))
    hour = segments.c.start_ns // HOUR_NS
    recorded = select(hour).where(segments.c.stream_key == stream_key, segments.c.start_ns >= since_ns).distinct()
    return sorted({number * HOUR_NS for number in conn.scalars(recorded)} - stated)


def _put_run_rows(conn: Connection, batch: Sequence[RunInfo]) -> None:
    keys = rows.stream_keys(conn, {run.stream_id for run in batch})
    for run in batch:
        rows.put_run_row(conn, run, keys[run.stream_id][0])


def _register(conn: Connection, batch: Sequence[Registration]) -> list[Registered]:
    for item in batch:
        rows.check_facts(item.facts)
    known_stores = rows.store_keys(conn)
    known_streams = rows.stream_keys(conn, {item.facts.stream_id for item in batch})
    lock_cameras(conn, (camera for _, camera in known_streams.values()))
    known_runs = _put_runs(conn, batch, known_streams)
    named = [(known_runs[item.facts.run_id], item.facts.number) for item in batch]
    present = {
        (row.run_key, row.number): row
        for row in conn.execute(
            select(segments.c.run_key, segments.c.number, segments.c.arrival, segments.c.digest).where(
                rows.is_named(conn, segments, named)
            )
        )
    }
    gone = rows.gone(conn, named)
    fresh = {
        name: item for name, item in zip(reversed(named), reversed(batch), strict=True) if name not in {*present, *gone}
    }
    arrivals = _next_arrivals(conn, len(fresh))
    placed: dict[tuple[int, int], tuple[int, bytes]] = {
        name: (row.arrival, row.digest) for name, row in present.items()
    }
    new_rows, copy_rows, late, found = [], [], [], []
    for name, item in zip(named, batch, strict=True):
        facts, key = item.facts, rows.store_key(known_stores, item.copy.store)
        if name in gone:
            late.append(_condemned_object(name, key, item.copy))
            found.append(Registered.DELETED)
            continue
        if name in placed:
            found.append(Registered.KNOWN)
        else:
            placed[name] = (next(arrivals), facts.digest)
            new_rows.append(rows.segment_row(facts, placed[name][0], known_streams[facts.stream_id][0], name[0]))
            found.append(Registered.NEW)
        arrival, digest = placed[name]
        if digest != facts.digest:
            raise CatalogueError(f"{rows.ref_text(SegmentRef.of(facts))} is registered with another digest")
        usual = segment_key(facts.stream_id, facts.run_id, facts.number, facts.start_ns)
        copy_rows.append(
            rows.copy_row(item.copy, arrival, key, usual_key=usual, size_bytes=facts.size_bytes, digest=facts.digest)
        )
    if new_rows:
        conn.execute(insert(segments), new_rows)
        spans.add(conn, new_rows)
        _end_no_earlier(conn, new_rows)
    _put_copies(conn, copy_rows)
    _condemn_late(conn, late)
    return found


def _end_no_earlier(conn: Connection, new: Sequence[dict[str, Any]]) -> None:
    """Move the end of runs that were said to have ended before the end of one of these segments."""
    ends: dict[int, int] = {}
    for row in new:
        ends[row["run_key"]] = max(row["end_ns"], ends.get(row["run_key"], row["end_ns"]))
    statement = (
        update(runs).where(runs.c.key == bindparam("k"), runs.c.end_ns < bindparam("e")).values(end_ns=bindparam("e"))
    )
    conn.execute(statement, [{"k": key, "e": end_ns} for key, end_ns in sorted(ends.items())])


def _put_runs(
    conn: Connection, batch: Sequence[Registration], known_streams: dict[UUID, tuple[int, int]]
) -> dict[UUID, int]:
    known = rows.run_keys(conn, {item.facts.run_id for item in batch})
    keys: dict[UUID, int] = {}
    for item in batch:
        facts, run = item.facts, item.run
        stream_key = known_streams[facts.stream_id][0]
        if run is not None and (run.id, run.stream_id) != (facts.run_id, facts.stream_id):
            raise CatalogueError(f"{rows.ref_text(SegmentRef.of(facts))} does not belong to the run given with it")
        if facts.run_id not in keys or (run is not None and run.end_ns is not None):
            key, of_stream = known.get(facts.run_id, (0, stream_key))
            if run is not None and (not key or run.end_ns is not None):
                key = rows.put_run_row(conn, run, stream_key)
                known[run.id] = (key, stream_key)
            if not key:
                raise CatalogueError(f"run {facts.run_id} is not in the catalogue")
            keys[facts.run_id] = key
        else:
            of_stream = known[facts.run_id][1]
        if of_stream != stream_key:
            raise CatalogueError(f"run {facts.run_id} belongs to another stream")
    return keys


def _next_arrivals(conn: Connection, count: int) -> Iterator[int]:
    """`count` numbers. The counter's row stays locked until the commit, so numbers become visible in their order."""
    if not count:
        return iter(())
    last: int = conn.execute(
        update(counters)
        .where(counters.c.name == "arrival")
        .values(value=counters.c.value + count)
        .returning(counters.c.value)
    ).scalar_one()
    return iter(range(last - count + 1, last + 1))


def _put_copies(conn: Connection, new: list[dict[str, Any]]) -> None:
    if not new:
        return
    statement = upsert(conn, copies)
    told = {name: statement.excluded[name] for name in ("object_key", "version", "size_bytes", "digest", "state")}
    conn.execute(statement.on_conflict_do_update(index_elements=["arrival", "store_key"], set_=told), new)


def _condemned_object(name: tuple[int, int], store_key: int, copy: Copy) -> dict[str, Any]:
    return {"run_key": name[0], "number": name[1], "store_key": store_key, "object_key": copy.key}


def _condemn_late(conn: Connection, new: list[dict[str, Any]]) -> None:
    if new:
        conn.execute(upsert(conn, condemned_objects).on_conflict_do_nothing(), new)


def _record_copies(conn: Connection, batch: Sequence[tuple[SegmentRef, Copy]]) -> list[bool]:
    known_stores = rows.store_keys(conn)
    run_rows = {
        row.id: row
        for row in conn.execute(
            select(runs.c.id, runs.c.key, streams.c.id.label("stream_id"), streams.c.camera_key)
            .join_from(runs, streams)
            .where(runs.c.id.in_({ref.run_id for ref, _ in batch}))
        )
    }
    lock_cameras(conn, (row.camera_key for row in run_rows.values()))
    named = [(run_rows[ref.run_id].key, ref.number) for ref, _ in batch if ref.run_id in run_rows]
    present = {
        (row.run_key, row.number): row
        for row in conn.execute(select(segments).where(rows.is_named(conn, segments, named)))
    }
    gone = rows.gone(conn, named)
    new, late, found = [], [], []
    for ref, copy in batch:
        key = rows.store_key(known_stores, copy.store)
        run = run_rows.get(ref.run_id)
        name = (run.key, ref.number) if run is not None else (0, 0)
        segment = present.get(name)
        if segment is not None and run is not None:
            usual = segment_key(run.stream_id, ref.run_id, ref.number, segment.start_ns)
            new.append(
                rows.copy_row(
                    copy, segment.arrival, key, usual_key=usual, size_bytes=segment.size_bytes, digest=segment.digest
                )
            )
        elif name in gone:
            late.append(_condemned_object(name, key, copy))
        else:
            raise CatalogueError(f"{rows.ref_text(ref)} is not in the catalogue")
        found.append(segment is not None)
    _put_copies(conn, new)
    _condemn_late(conn, late)
    return found


def _drop_copy(conn: Connection, ref: SegmentRef, store: str) -> bool:
    key = rows.store_key(rows.store_keys(conn), store)
    run = conn.execute(
        select(runs.c.key, streams.c.camera_key).join_from(runs, streams).where(runs.c.id == ref.run_id)
    ).one_or_none()
    if run is None:
        return False
    lock_cameras(conn, [run.camera_key])
    arrival = conn.scalar(
        select(segments.c.arrival).where(segments.c.run_key == run.key, segments.c.number == ref.number)
    )
    if arrival is None:
        named = (condemned_objects.c.run_key == run.key) & (condemned_objects.c.number == ref.number)
        dropped = conn.execute(delete(condemned_objects).where(named, condemned_objects.c.store_key == key))
        return bool(dropped.rowcount)
    held = {row.store_key: row.state for row in conn.execute(select(copies).where(copies.c.arrival == arrival))}
    if key not in held:
        return False
    if held[key] == rows.PRESENT and list(held.values()).count(rows.PRESENT) == 1:
        raise CatalogueError(f"{rows.ref_text(ref)} has no other copy than the one in {store!r}")
    conn.execute(delete(copies).where(copies.c.arrival == arrival, copies.c.store_key == key))
    return True
