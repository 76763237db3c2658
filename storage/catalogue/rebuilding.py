"""What rebuilding a catalogue (`storage.rebuild`) asks of it: its own state, and what is known already.

The state is one row: deletion is off from the moment a rebuild begins until a person confirms, however often processes
start meanwhile; the deleter reads it before each run. Decides nothing about footage; what comes back of the registry
and of deletion reports stands in `storage.catalogue.restoring`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, func, select, update

from storage.catalogue import rows
from storage.catalogue.engine import Database, upsert
from storage.catalogue.tables import copies, gaps, journals, rebuild, runs, segments, stores, streams
from storage.catalogue.values import SegmentRef
from vms.errors import UserError
from vms.model import GapReason

_BATCH = 500


@dataclass(frozen=True, slots=True)
class OlderRegistry:
    """A stream of which newer journals may have stated other holds, and cannot be read. `unreadable`: the newest of them.

    `stated_ns`: when the journal that was believed instead was written; None: none could be, and no hold came back.
    """

    stream_id: UUID
    unreadable: str
    stated_ns: int | None


@dataclass(frozen=True, slots=True)
class RebuildState:
    """The last rebuild. `finished_ns` None: it was broken off and may be run again."""

    store: str
    started_ns: int
    finished_ns: int | None = None
    confirmed_ns: int | None = None
    confirmed_by: str | None = None
    older: tuple[OlderRegistry, ...] = ()

    @property
    def keeps_deletion_off(self) -> bool:
        return self.confirmed_ns is None


class Rebuilding:
    """The state of a rebuild, look-ups for it, and its last step."""

    _db: Database

    async def rebuild_state(self) -> RebuildState | None:
        """None: this catalogue was never rebuilt."""

        def work(conn: Connection) -> RebuildState | None:
            row = conn.execute(select(rebuild)).one_or_none()
            return None if row is None else _state(row)

        return await self._db.read(work)

    async def begin_rebuild(self, store: str, *, at_ns: int) -> RebuildState:
        """Deletion is off from here on. One that was broken off goes on under the time it began."""

        def work(conn: Connection) -> RebuildState:
            row = conn.execute(select(rebuild)).one_or_none()
            if row is not None and row.finished_ns is None:
                return _state(row)
            # What came back out of older journals stays as it is, so that it did is not forgotten either.
            fresh = {"store": store, "started_ns": at_ns, "finished_ns": None} | dict.fromkeys(
                ("confirmed_ns", "confirmed_by")
            )
            statement = upsert(conn, rebuild).values(key=1, **fresh)
            conn.execute(statement.on_conflict_do_update(index_elements=["key"], set_=fresh))
            return RebuildState(store, at_ns, older=() if row is None else _state(row).older)

        return await self._db.write(work)

    async def note_older(self, older: Iterable[OlderRegistry]) -> None:
        """Keep of which streams a person must be told before confirming; of no others. Ask only while rebuilding."""
        facts = [[str(one.stream_id), one.unreadable, one.stated_ns] for one in older]
        statement = update(rebuild).values(older=json.dumps(facts) if facts else None)
        await self._db.write(lambda conn: conn.execute(statement))

    async def finish_rebuild(self, *, at_ns: int) -> None:
        """Everything was read. May be repeated."""
        await self._db.write(lambda conn: conn.execute(update(rebuild).values(finished_ns=at_ns)))

    async def confirm_rebuild(self, *, at_ns: int, by: str) -> RebuildState:
        """Deletion may go on. Raises UserError when nothing waits for it, or a rebuild is not finished."""
        if not by.strip():
            raise UserError("say who confirms that deletion may go on")

        def work(conn: Connection) -> RebuildState:
            row = conn.execute(select(rebuild).with_for_update()).one_or_none()
            if row is None or row.confirmed_ns is not None:
                raise UserError("deletion is not off because of a rebuild; there is nothing to confirm")
            if row.finished_ns is None:
                raise UserError("the rebuild was broken off; run it to its end first: vms rebuild")
            changed = update(rebuild).values(confirmed_ns=at_ns, confirmed_by=by).returning(rebuild)
            return _state(conn.execute(changed).one())

        return await self._db.write(work)

    async def has_footage(self) -> bool:
        """Whether anything recorded is known: a segment, a run or a gap."""

        def work(conn: Connection) -> bool:
            return any(conn.execute(select(table).limit(1)).first() is not None for table in (segments, runs, gaps))

        return await self._db.read(work)

    async def known_streams(self, ids: Collection[UUID]) -> set[UUID]:
        """Those of the streams that are registered."""
        query = select(streams.c.id).where(streams.c.id.in_(list(ids)))
        return await self._db.read(lambda conn: set(conn.scalars(query)))

    async def known_journals(self, keys: Sequence[str]) -> set[str]:
        """Those of the journal objects that are noted."""
        query = select(journals.c.object_key).where(journals.c.object_key.in_(keys))
        return await self._db.read(lambda conn: set(conn.scalars(query)))

    async def known_copies(self, store: str, refs: Sequence[SegmentRef]) -> dict[SegmentRef, int]:
        """Those of the segments of which a copy in this store is noted under its usual key, and when they start (ns)."""
        found: dict[SegmentRef, int] = {}
        for start in range(0, len(refs), _BATCH):
            found |= await self._db.read(partial(_known_copies, store=store, refs=refs[start : start + _BATCH]))
        return found

    async def run_stream(self, run_id: UUID) -> UUID | None:
        """Of which stream a run is; None for one that is not known."""
        query = select(streams.c.id).join_from(runs, streams).where(runs.c.id == run_id)
        return await self._db.read(lambda conn: conn.scalar(query))

    async def end_lost_runs(self, host: str, known: Collection[UUID]) -> int:
        """Runs of a host that nobody can close any more, for only those in `known` go on: they end with what they have.

        Returns how many.
        """
        last = select(func.max(segments.c.end_ns)).where(segments.c.run_key == runs.c.key).scalar_subquery()
        statement = (
            update(runs)
            .where(runs.c.host == host, runs.c.end_ns.is_(None), runs.c.id.not_in(list(known)))
            .values(end_ns=func.coalesce(last, runs.c.start_ns), end_reason=GapReason.UNKNOWN.value)
            .returning(runs.c.key)
        )
        return await self._db.write(lambda conn: len(conn.scalars(statement).all()))


def _state(row: Any) -> RebuildState:
    older = tuple(OlderRegistry(UUID(stream), key, ns) for stream, key, ns in json.loads(row.older or "[]"))
    return RebuildState(row.store, row.started_ns, row.finished_ns, row.confirmed_ns, row.confirmed_by, older)


def _known_copies(conn: Connection, *, store: str, refs: Sequence[SegmentRef]) -> dict[SegmentRef, int]:
    ids = {key: run_id for run_id, (key, _) in rows.run_keys(conn, {ref.run_id for ref in refs}).items()}
    keys = {run_id: key for key, run_id in ids.items()}
    named = [(keys[ref.run_id], ref.number) for ref in refs if ref.run_id in keys]
    query = (
        select(segments.c.run_key, segments.c.number, segments.c.start_ns)
        .join_from(segments, copies, copies.c.arrival == segments.c.arrival)
        .join(stores, stores.c.key == copies.c.store_key)
        .where(rows.is_named(conn, segments, named))
        .where(stores.c.name == store, copies.c.object_key.is_(None))
    )
    return {SegmentRef(ids[row.run_key], row.number): row.start_ns for row in conn.execute(query)}
