"""The lock under which holds are placed and segments registered or condemned: the camera's row; and a stream's holds.

SQLite needs none: every write there begins with the writers' lock. PostgreSQL locks the rows in key order, so that two
transactions over several cameras cannot wait for each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import Connection, select

from storage.catalogue.tables import cameras, hold_streams, holds
from storage.catalogue.values import Hold
from vms.timeline import TimeRange

MOST_HOLDS = 200  # of one stream that are listed, the latest


def lock_cameras(conn: Connection, keys: Iterable[int]) -> None:
    """Hold these cameras' rows until the transaction ends."""
    if conn.dialect.name == "sqlite":
        return
    wanted = sorted(set(keys))
    conn.execute(select(cameras.c.key).where(cameras.c.key.in_(wanted)).order_by(cameras.c.key).with_for_update()).all()


def holds_of_stream(conn: Connection, stream_key: int, stream_id: UUID) -> tuple[Hold, ...]:
    """The latest `MOST_HOLDS` holds over a stream, released ones too, by when they were placed; each over it alone."""
    query = select(holds).join_from(hold_streams, holds).where(hold_streams.c.stream_key == stream_key)
    found = conn.execute(query.order_by(holds.c.placed_ns.desc(), holds.c.key.desc()).limit(MOST_HOLDS)).all()
    return tuple(
        Hold(
            row.id, frozenset({stream_id}), TimeRange(row.from_ns, row.to_ns), row.basis, row.owner, row.placed_ns,
            row.review_ns, row.released_ns,
        )
        for row in reversed(found)
    )  # fmt: skip
