"""The lock under which holds are placed and segments registered or condemned: the camera's row.

SQLite needs none: every write there begins with the writers' lock. PostgreSQL locks the rows in key order, so that two
transactions over several cameras cannot wait for each other.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, select

from storage.catalogue.tables import cameras


def lock_cameras(conn: Connection, keys: Iterable[int]) -> None:
    """Hold these cameras' rows until the transaction ends."""
    if conn.dialect.name == "sqlite":
        return
    wanted = sorted(set(keys))
    conn.execute(select(cameras.c.key).where(cameras.c.key.in_(wanted)).order_by(cameras.c.key).with_for_update()).all()
