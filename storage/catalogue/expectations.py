"""Since when a stream is expected to record, as dated rows that never overlap.

A row without `suspended` says that footage is expected; with it, that the stream is registered but deliberately not
recorded, and why. No row: nothing was ever promised for that time. The past is not rewritten: a change closes the row
in force and opens the next.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection, delete, insert, select, update

from storage.catalogue.tables import expectations
from storage.catalogue.values import Expectation
from vms.model import GapReason

MOST = 200  # of one stream, the latest: more than anybody switches a camera


def of_stream(conn: Connection, stream_key: int, stream_id: UUID) -> tuple[Expectation, ...]:
    """The latest `MOST` expectations of a stream, oldest first."""
    query = select(expectations).where(expectations.c.stream_key == stream_key)
    found = conn.execute(query.order_by(expectations.c.from_ns.desc()).limit(MOST)).all()
    return tuple(
        Expectation(stream_id, r.from_ns, r.to_ns, GapReason(r.suspended) if r.suspended else None)
        for r in reversed(found)
    )


def follow(conn: Connection, stream_key: int, at_ns: int, *, recording: bool, enabled: bool = True) -> None:
    """From `at_ns` on, expect what the registry now says. Does nothing when that is so already."""
    if not recording:
        set_from(conn, stream_key, at_ns, expected=False, suspended=None)
    else:
        set_from(conn, stream_key, at_ns, expected=True, suspended=None if enabled else GapReason.DISABLED)


def set_from(conn: Connection, stream_key: int, at_ns: int, *, expected: bool, suspended: GapReason | None) -> None:
    """Close the row in force at `at_ns` and, if `expected`, open the next.

    A clock that went back behind the row in force ends that row where it began, and drops it as empty.
    """
    current = conn.execute(
        select(expectations).where(expectations.c.stream_key == stream_key, expectations.c.to_ns.is_(None))
    ).one_or_none()
    reason = suspended.value if suspended else None
    if current is not None:
        if expected and current.suspended == reason:
            return
        if at_ns <= current.from_ns:
            at_ns = current.from_ns
            conn.execute(delete(expectations).where(expectations.c.key == current.key))
        else:
            conn.execute(update(expectations).where(expectations.c.key == current.key).values(to_ns=at_ns))
    if expected:
        conn.execute(insert(expectations).values(stream_key=stream_key, from_ns=at_ns, to_ns=None, suspended=reason))
