"""How values become rows of segments and copies, and back. Pure but for key look-ups on a given connection.

`flags` of a segment: bit 0 continuation, bit 1 damaged, bits 4-7 the codec. A copy's key, size and digest are NULL
where they follow from the segment, which halves the row of an ordinary copy.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Table, func, insert, select, tuple_

from storage.catalogue.tables import condemned, deletions, runs, segments, stores, streams
from storage.catalogue.values import LONGEST_SEGMENT_NS, Copy, CopyState, SegmentRef, StoreKind
from vms.errors import CatalogueError
from vms.model import Codec, RunInfo, SegmentFacts

CONTINUATION = 1
DAMAGED = 2
_CODEC_SHIFT = 4
_CODECS = {Codec.H264: 0, Codec.H265: 1, Codec.AAC: 2, Codec.PCMA: 3, Codec.PCMU: 4, Codec.OPUS: 5}
_CODEC_OF = {number: codec for codec, number in _CODECS.items()}
_STATES = {CopyState.PRESENT: 0, CopyState.MISSING: 1, CopyState.CORRUPT: 2}
_STATE_OF = {number: state for state, number in _STATES.items()}
PRESENT, CORRUPT = _STATES[CopyState.PRESENT], _STATES[CopyState.CORRUPT]


def is_named(conn: Connection, table: Table, names: Collection[tuple[int, int]]) -> ColumnElement[bool]:
    """Whether a row is of one of these segments, by (run key, number).

    SQLite uses an index for pairs only where they come out of a plain SELECT: with a list of values it would read the
    whole table.
    """
    pair = tuple_(table.c.run_key, table.c.number)
    if conn.dialect.name != "sqlite":
        return pair.in_(list(names))
    each = func.json_each(json.dumps(list(names))).table_valued("value")
    return pair.in_(select(func.json_extract(each.c.value, "$[0]"), func.json_extract(each.c.value, "$[1]")))


def gone(conn: Connection, names: Collection[tuple[int, int]]) -> set[tuple[int, int]]:
    """Those of the segments, by (run key, number), that were condemned or deleted."""
    found = set()
    for table in (condemned, deletions):
        query = select(table.c.run_key, table.c.number).where(is_named(conn, table, names))
        found |= {(row.run_key, row.number) for row in conn.execute(query)}
    return found


def flags_of(facts: SegmentFacts) -> int:
    """The `flags` column."""
    continuation = 0 if facts.independent else CONTINUATION
    return continuation | (DAMAGED if facts.damaged_units else 0) | _CODECS[facts.codec] << _CODEC_SHIFT


def codec_of(flags: int) -> Codec:
    """The codec in `flags`; CatalogueError for one of a newer version."""
    try:
        return _CODEC_OF[flags >> _CODEC_SHIFT & 15]
    except KeyError as error:
        raise CatalogueError("a segment has a codec of a newer version of this program") from error


def check_facts(facts: SegmentFacts) -> None:
    """Refuse what can only come from a broken file. Raises CatalogueError."""
    if not 0 < facts.end_ns - facts.start_ns <= LONGEST_SEGMENT_NS:
        raise CatalogueError(f"segment {facts.run_id}-{facts.number} does not end within an hour after its start")
    if len(facts.digest) != 32 or len(facts.seal) != 32:
        raise CatalogueError(f"segment {facts.run_id}-{facts.number} has no whole digest or seal")


def segment_row(facts: SegmentFacts, arrival: int, stream_key: int, run_key: int) -> dict[str, Any]:
    """A row of `segments`."""
    return {
        "arrival": arrival,
        "stream_key": stream_key,
        "run_key": run_key,
        "number": facts.number,
        "start_ns": facts.start_ns,
        "end_ns": facts.end_ns,
        "duration_ticks": facts.duration_ticks,
        "clock_hz": facts.clock_hz,
        "flags": flags_of(facts),
        "width": facts.width,
        "height": facts.height,
        "size_bytes": facts.size_bytes,
        "digest": facts.digest,
        "seal": facts.seal,
    }


def copy_row(
    copy: Copy, arrival: int, store_key: int, *, usual_key: str, size_bytes: int, digest: bytes
) -> dict[str, Any]:
    """A row of `copies`; `usual_key`, `size_bytes` and `digest` are what follows from the segment."""
    return {
        "arrival": arrival,
        "store_key": store_key,
        "object_key": None if copy.key == usual_key else copy.key,
        "version": copy.version,
        "size_bytes": None if copy.size_bytes == size_bytes else copy.size_bytes,
        "digest": None if copy.digest == digest else copy.digest,
        "state": _STATES[copy.state],
    }


def copy_of(row: Any, store: str, usual_key: str, size_bytes: int, digest: bytes) -> Copy:
    """The same back."""
    return Copy(
        store=store,
        key=row.object_key or usual_key,
        size_bytes=size_bytes if row.size_bytes is None else row.size_bytes,
        digest=digest if row.digest is None else row.digest,
        version=row.version,
        state=_STATE_OF[row.state],
    )


def stream_keys(conn: Connection, ids: set[UUID]) -> dict[UUID, tuple[int, int]]:
    """Stream id → (stream key, camera key). Raises CatalogueError for a stream that is not registered."""
    rows = conn.execute(select(streams.c.id, streams.c.key, streams.c.camera_key).where(streams.c.id.in_(ids)))
    found = {row.id: (row.key, row.camera_key) for row in rows}
    if missing := ids - found.keys():
        raise CatalogueError(f"stream {min(missing)} is not in the registry")
    return found


def run_keys(conn: Connection, ids: set[UUID]) -> dict[UUID, tuple[int, int]]:
    """Run id → (run key, stream key), of those that are known."""
    rows = conn.execute(select(runs.c.id, runs.c.key, runs.c.stream_key).where(runs.c.id.in_(ids)))
    return {row.id: (row.key, row.stream_key) for row in rows}


def store_keys(conn: Connection) -> dict[str, tuple[int, StoreKind]]:
    """Store name → (key, kind). There are few."""
    return {row.name: (row.key, StoreKind(row.kind)) for row in conn.execute(select(stores))}


def store_key(known: dict[str, tuple[int, StoreKind]], name: str) -> int:
    """The key of a store. Raises CatalogueError for one that was never put."""
    if name not in known:
        raise CatalogueError(f"store {name!r} is not in the catalogue")
    return known[name][0]


def put_run_row(conn: Connection, run: RunInfo, stream_key: int) -> int:
    """Insert the run, or add its end if it is known without one or with an earlier one. Returns its key.

    The rest of what was once said stands. A run ends no earlier than the last of its segments, whatever its fact says:
    after a crash the end may have been stated before the last segment was found.
    """
    row = conn.execute(select(runs).where(runs.c.id == run.id)).one_or_none()
    reason = run.end_reason.value if run.end_reason else None
    if row is None:
        values = {
            "id": run.id,
            "stream_key": stream_key,
            "origin": run.origin.value,
            "host": run.host,
            "epoch": run.epoch,
            "clock": run.clock.value,
            "start_ns": run.start_ns,
            "end_ns": run.end_ns,
            "end_reason": reason,
        }
        new: int = conn.execute(insert(runs).values(values).returning(runs.c.key)).scalar_one()
        return new
    if row.stream_key != stream_key:
        raise CatalogueError(f"run {run.id} belongs to another stream")
    key: int = row.key
    if run.end_ns is not None:
        last = select(segments.c.end_ns).where(segments.c.run_key == key).order_by(segments.c.number.desc()).limit(1)
        end_ns = max(run.end_ns, conn.scalar(last) or run.end_ns)
        if row.end_ns is None or end_ns > row.end_ns:
            conn.execute(
                runs.update().where(runs.c.key == key).values(end_ns=end_ns, end_reason=row.end_reason or reason)
            )
    return key


def ref_text(ref: SegmentRef) -> str:
    """For messages."""
    return f"segment {ref.run_id}-{ref.number}"
