"""Gaps, as the recorder stated them, and which journals were written.

Gap facts are never edited: a gap is opened, then closed, and the first closing stands. A later, different statement is
logged and otherwise ignored, so that a confused file cannot stop the archiver. What is missing is reckoned from
coverage (`storage.catalogue.timelines`); a gap only lends its reason.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, func, select, update

from storage.catalogue import rows
from storage.catalogue.engine import Database, upsert
from storage.catalogue.tables import gaps, journals, streams
from storage.catalogue.values import JournalEntry
from vms.model import Gap, GapReason

log = logging.getLogger(__name__)

DETAIL_CHARS = 200
_BATCH = 500


class Facts:
    """Gaps and journals."""

    _db: Database

    async def put_gap(self, gap: Gap) -> bool:
        """Open or close a gap. True: something new was noted. Raises CatalogueError for an unknown stream."""
        return (await self.put_gaps([gap]))[0]

    async def put_gaps(self, items: Sequence[Gap]) -> list[bool]:
        """The same for many, in transactions of a few hundred."""
        noted: list[bool] = []
        for start in range(0, len(items), _BATCH):
            batch = items[start : start + _BATCH]
            noted += await self._db.write(partial(_put_gaps, batch=batch))
        return noted

    async def gaps(self, stream_ids: Sequence[UUID], start_ns: int, end_ns: int) -> list[Gap]:
        """Gaps of these streams that overlap the range, open ones included, by start."""

        def work(conn: Connection) -> list[Gap]:
            return sorted(overlapping_gaps(conn, stream_ids, start_ns, end_ns), key=lambda gap: gap.start_ns)

        return await self._db.read(work)

    async def open_gaps(self, stream_ids: Sequence[UUID] | None = None) -> list[Gap]:
        """Gaps not yet closed, of these streams or of all, by start."""

        def work(conn: Connection) -> list[Gap]:
            query = _gaps_query().where(gaps.c.end_ns.is_(None)).order_by(gaps.c.start_ns)
            if stream_ids is not None:
                query = query.where(streams.c.id.in_(stream_ids))
            return [_gap(row) for row in conn.execute(query)]

        return await self._db.read(work)

    async def record_journal(self, entry: JournalEntry) -> None:
        """Note that a journal object was written. May be repeated."""
        await self.record_journals([entry])

    async def record_journals(self, entries: Sequence[JournalEntry]) -> None:
        """The same for a few hundred at once."""

        def work(conn: Connection) -> None:
            keys = rows.stream_keys(conn, {entry.stream_id for entry in entries})
            new = [
                {
                    "stream_key": keys[entry.stream_id][0],
                    "hour_ns": entry.hour_ns,
                    "host": entry.host,
                    "object_key": entry.key,
                    "digest": entry.digest,
                    "written_ns": entry.written_ns,
                }
                for entry in entries
            ]
            conn.execute(upsert(conn, journals).on_conflict_do_nothing(index_elements=["object_key"]), new)

        if entries:
            await self._db.write(work)

    async def last_journal_ns(self, host: str) -> int | None:
        """When this host last wrote a journal; None: never."""
        query = select(func.max(journals.c.written_ns)).where(journals.c.host == host)
        return await self._db.read(lambda conn: conn.scalar(query))

    async def journals(self, stream_id: UUID, start_ns: int, end_ns: int) -> list[JournalEntry]:
        """Journals of the hours of a stream that begin in the range."""

        def work(conn: Connection) -> list[JournalEntry]:
            found = conn.execute(
                select(journals)
                .join(streams)
                .where(streams.c.id == stream_id, journals.c.hour_ns >= start_ns, journals.c.hour_ns < end_ns)
                .order_by(journals.c.hour_ns, journals.c.key)
            )
            return [
                JournalEntry(stream_id, row.hour_ns, row.host, row.object_key, row.digest, row.written_ns)
                for row in found
            ]

        return await self._db.read(work)


def overlapping_gaps(conn: Connection, stream_ids: Sequence[UUID], start_ns: int, end_ns: int) -> list[Gap]:
    """Two indexed look-ups: closed gaps that end inside or after the range, and open ones."""
    query = _gaps_query().where(streams.c.id.in_(stream_ids), gaps.c.start_ns < end_ns)
    closed = conn.execute(query.where(gaps.c.end_ns > start_ns)).all()
    still_open = conn.execute(query.where(gaps.c.end_ns.is_(None))).all()
    return [_gap(row) for row in (*closed, *still_open)]


def _gaps_query() -> Any:
    columns = (gaps.c.id, streams.c.id.label("stream_id"), gaps.c.start_ns, gaps.c.end_ns, gaps.c.reason, gaps.c.detail)
    return select(*columns).join_from(gaps, streams)


def _gap(row: Row[Any]) -> Gap:
    return Gap(row.id, row.stream_id, row.start_ns, row.end_ns, GapReason(row.reason), row.detail)


def _put_gaps(conn: Connection, batch: Sequence[Gap]) -> list[bool]:
    keys = rows.stream_keys(conn, {gap.stream_id for gap in batch})
    found = conn.execute(_gaps_query().where(gaps.c.id.in_({gap.id for gap in batch})))
    known = {row.id: _gap(row) for row in found}
    noted = []
    for gap in batch:
        before = known.get(gap.id)
        if before is None:
            insert_gap(conn, gap, keys[gap.stream_id][0])
        elif before.end_ns is None and gap.end_ns is not None:
            conn.execute(update(gaps).where(gaps.c.id == gap.id, gaps.c.end_ns.is_(None)).values(end_ns=gap.end_ns))
        noted.append(before is None or (before.end_ns is None and gap.end_ns is not None))
        if before is not None and _contradicts(before, gap):
            log.warning("a different statement about gap %s was ignored; gap facts are never edited", gap.id)
        if noted[-1]:
            known[gap.id] = gap
    return noted


def _contradicts(before: Gap, after: Gap) -> bool:
    ends = {before.end_ns, after.end_ns} - {None}
    return (before.stream_id, before.start_ns, before.reason) != (after.stream_id, after.start_ns, after.reason) or len(
        ends
    ) > 1


def insert_gap(conn: Connection, gap: Gap, stream_key: int) -> None:
    """One row of `gaps`. Of two writers with the same gap, the first wins."""
    values = {
        "id": gap.id,
        "stream_key": stream_key,
        "start_ns": gap.start_ns,
        "end_ns": gap.end_ns,
        "reason": gap.reason.value,
        "detail": gap.detail[:DETAIL_CHARS],
    }
    conn.execute(upsert(conn, gaps).values(values).on_conflict_do_nothing(index_elements=["id"]))
