"""Recorded time as merged spans, kept beside the segments: a timeline reads a few rows a day, not one a minute.

Invariants: for each stream and quality (whole, damaged) the spans are exactly the union of its segments' ranges, cut at
UTC midnights, those that touch joined. They change in the transaction that changes the segments, under the camera's
lock. A span says nothing that the segments do not; it is there to be fast.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, select

from storage.catalogue import rows
from storage.catalogue.engine import upsert
from storage.catalogue.tables import segments, spans
from storage.catalogue.values import LONGEST_SEGMENT_NS
from storage.retention import DAY_NS
from vms.timeline import TimeRange, merge, subtract

Kind = tuple[int, bool]  # stream key, damaged


def by_day(start_ns: int, end_ns: int) -> list[tuple[int, TimeRange]]:
    """The range cut at UTC midnights: (whole days since 1970, part)."""
    parts = []
    while start_ns < end_ns:
        day = start_ns // DAY_NS
        until = min(end_ns, (day + 1) * DAY_NS)
        parts.append((day, TimeRange(start_ns, until)))
        start_ns = until
    return parts


def add(conn: Connection, new: Iterable[Mapping[str, Any]]) -> None:
    """Take in the ranges of these new rows of `segments`."""
    for day, fresh in _of_days((r["stream_key"], r["start_ns"], r["end_ns"], r["flags"]) for r in new).items():
        before = _near(conn, fresh, day)
        after = {kind: merge([*before.get(kind, ()), *ranges]) for kind, ranges in fresh.items()}
        _replace(conn, before, after)


def take_away(conn: Connection, stream_key: int, gone: Sequence[Any]) -> None:
    """Leave out what only these rows of `segments`, already deleted, covered."""
    for day, removed in _of_days((stream_key, r.start_ns, r.end_ns, r.flags) for r in gone).items():
        before = _near(conn, removed, day)
        after = {}
        for kind, ranges in removed.items():
            others = _parts_left(conn, kind, ranges, TimeRange(day * DAY_NS, (day + 1) * DAY_NS))
            after[kind] = merge([*subtract(before.get(kind, ()), ranges), *others])
        _replace(conn, before, after)


def differing(conn: Connection, stream_key: int, day: int) -> list[TimeRange]:
    """Where the spans of a UTC day are not those of its segments, cut otherwise included; none: they agree."""
    stored, due = _stored(conn, stream_key, day), _due(conn, stream_key, day)
    found: list[TimeRange] = []
    for kind, wanted in due.items():
        present = stored[kind]
        if present != wanted:
            found += [*subtract(wanted, present), *subtract(present, wanted)] or wanted
    return merge(found)


def renew(conn: Connection, stream_key: int, day: int) -> None:
    """Make the spans of a UTC day those of its segments. The camera's lock is the caller's."""
    _replace(conn, _stored(conn, stream_key, day), _due(conn, stream_key, day))


def overlapping(
    conn: Connection, keys: Iterable[int], within: TimeRange, join_ns: int
) -> dict[int, tuple[list[TimeRange], list[TimeRange]]]:
    """Stream key → (whole, damaged) spans that overlap the range, unclipped, those up to `join_ns` apart joined.

    No span is longer than a day, so the table is read from a day before the range only, in the order of its key.
    """
    found: dict[Kind, list[TimeRange]] = {}
    for stream_key, start_ns, damaged, end_ns in conn.execute(overlapping_query(list(keys), within)).all():
        found.setdefault((stream_key, damaged), []).append(TimeRange(start_ns, end_ns))
    joined = {kind: merge(ranges, join_ns=join_ns) for kind, ranges in found.items()}
    return {key: (joined.get((key, False), []), joined.get((key, True), [])) for key, _ in joined}


def overlapping_query(keys: Sequence[int], within: TimeRange) -> Any:
    return select(spans).where(
        spans.c.stream_key.in_(keys),
        spans.c.start_ns < within.end_ns,
        spans.c.start_ns > within.start_ns - DAY_NS,
        spans.c.end_ns > within.start_ns,
    )


def _stored(conn: Connection, stream_key: int, day: int) -> dict[Kind, list[TimeRange]]:
    found: dict[Kind, list[TimeRange]] = {(stream_key, False): [], (stream_key, True): []}
    of_day = (spans.c.stream_key == stream_key, spans.c.start_ns >= day * DAY_NS, spans.c.start_ns < (day + 1) * DAY_NS)
    for row in conn.execute(select(spans).where(*of_day).order_by(spans.c.start_ns)):
        found[stream_key, row.damaged].append(TimeRange(row.start_ns, row.end_ns))
    return found


def _due(conn: Connection, stream_key: int, day: int) -> dict[Kind, list[TimeRange]]:
    whole = TimeRange(day * DAY_NS, (day + 1) * DAY_NS)
    return {kind: merge(_parts_left(conn, kind, [whole], whole)) for kind in ((stream_key, False), (stream_key, True))}


def _of_days(items: Iterable[tuple[int, int, int, int]]) -> dict[int, dict[Kind, list[TimeRange]]]:
    days: dict[int, dict[Kind, list[TimeRange]]] = {}
    for stream_key, start_ns, end_ns, flags in items:
        kind = (stream_key, bool(flags & rows.DAMAGED))
        for day, part in by_day(start_ns, end_ns):
            days.setdefault(day, {}).setdefault(kind, []).append(part)
    return {day: {kind: merge(ranges) for kind, ranges in kinds.items()} for day, kinds in sorted(days.items())}


def _near(conn: Connection, touched: Mapping[Kind, Sequence[TimeRange]], day: int) -> dict[Kind, list[TimeRange]]:
    """The spans of that day that overlap or touch what is between the first and the last of `touched`."""
    low = min(ranges[0].start_ns for ranges in touched.values())
    high = max(ranges[-1].end_ns for ranges in touched.values())
    query = select(spans).where(
        spans.c.stream_key.in_({key for key, _ in touched}),
        spans.c.start_ns >= day * DAY_NS,
        spans.c.start_ns < min(high + 1, (day + 1) * DAY_NS),
        spans.c.end_ns >= low,
    )
    found: dict[Kind, list[TimeRange]] = {}
    for row in conn.execute(query):
        if (row.stream_key, row.damaged) in touched:
            found.setdefault((row.stream_key, row.damaged), []).append(TimeRange(row.start_ns, row.end_ns))
    return found


def _parts_left(conn: Connection, kind: Kind, removed: Sequence[TimeRange], day: TimeRange) -> list[TimeRange]:
    """What segments of that kind cover where some, or all, were left out."""
    stream_key, damaged = kind
    flag = segments.c.flags.op("&")(rows.DAMAGED)
    query = select(segments.c.start_ns, segments.c.end_ns).where(
        segments.c.stream_key == stream_key,
        segments.c.start_ns < removed[-1].end_ns,
        segments.c.start_ns > removed[0].start_ns - LONGEST_SEGMENT_NS,
        segments.c.end_ns > removed[0].start_ns,
        flag != 0 if damaged else flag == 0,
    )
    parts = (TimeRange(row.start_ns, row.end_ns).intersect(day) for row in conn.execute(query))
    return [part for part in parts if part is not None]


_ONE = delete(spans).where(
    spans.c.stream_key == bindparam("k"), spans.c.damaged == bindparam("d"), spans.c.start_ns == bindparam("s")
)


def _replace(
    conn: Connection, before: Mapping[Kind, Sequence[TimeRange]], after: Mapping[Kind, Sequence[TimeRange]]
) -> None:
    """Write what differs only: mostly one span's end."""
    gone, new = [], []
    for kind in sorted(after):
        ends = {r.start_ns: r.end_ns for r in before.get(kind, ())}
        kept = {r.start_ns: r.end_ns for r in after[kind]}
        gone += [{"k": kind[0], "d": kind[1], "s": start} for start in ends.keys() - kept.keys()]
        new += [
            {"stream_key": kind[0], "damaged": kind[1], "start_ns": start, "end_ns": end}
            for start, end in kept.items()
            if ends.get(start) != end
        ]
    if gone:
        conn.execute(_ONE, gone)
    if new:
        statement = upsert(conn, spans)
        told = {"end_ns": statement.excluded.end_ns}
        conn.execute(
            statement.on_conflict_do_update(index_elements=["stream_key", "start_ns", "damaged"], set_=told), new
        )
