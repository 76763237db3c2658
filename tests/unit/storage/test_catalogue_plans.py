"""SQLite finds named segments by an index: a statement that reads a whole table takes seconds at a city's scale."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import event

from storage.catalogue import Catalogue, Registration, SegmentRef, migrate, sqlite_url
from tests.support.footage_rows import (
    DAY,
    MINUTE,
    SPOOL,
    STORE,
    T0,
    add_camera,
    facts,
    record,
    run,
    spool_copy,
    store_copy,
)
from vms.timeline import TimeRange

_SMALL = "INDEX ix_copies_spoilt"  # holds nothing but what was found spoilt
_LARGE = ("segments", "copies", "spans", "condemned", "condemned_objects", "deletions")


class Plans:
    """What SQLite says of every statement that goes over a catalogue's connections."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.scans: list[str] = []
        self.searches = 0
        event.listen(catalogue._db.sync_engine, "after_cursor_execute", self._look)

    def _look(self, conn: Any, _cursor: Any, statement: str, given: Any, _context: Any, many: bool) -> None:
        if not statement.startswith(("SELECT", "DELETE", "UPDATE")):
            return
        values: Sequence[Any] = given[0] if many else given
        cursor = conn.connection.cursor()
        cursor.execute(f"EXPLAIN QUERY PLAN {statement}", values)
        for step in cursor.fetchall():
            name = step[3].split()[1] if " " in step[3] else ""
            self.searches += step[3].startswith("SEARCH") and name in _LARGE
            if step[3].startswith("SCAN") and name in _LARGE and "COVERING" not in step[3] and _SMALL not in step[3]:
                self.scans.append(f"{step[3]}: {statement}")
        cursor.close()


async def test_named_segments_are_found_by_an_index(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "c.db")
    await migrate(url)
    async with Catalogue(url) as catalogue:
        await catalogue.put_store(SPOOL)
        await catalogue.put_store(STORE)
        stream = (await add_camera(catalogue)).streams[0].id
        of = run(stream)
        plans = Plans(catalogue)
        made = await record(catalogue, of, 5)
        refs = [SegmentRef.of(one) for one in made]
        await catalogue.record_copies([(SegmentRef.of(one), store_copy(one)) for one in made])
        assert await catalogue.drop_copy(refs[0], SPOOL.name)
        assert set(await catalogue.known_copies(STORE.name, refs)) == set(refs)
        assert all(fate.segment is not None for fate in (await catalogue.fates(refs)).values())
        assert len(await catalogue.segments([stream], TimeRange(T0, T0 + 5 * MINUTE))) == 5
        assert await catalogue.timelines([stream], TimeRange(T0, T0 + DAY), now_ns=T0 + DAY)
        late = T0 + 40 * DAY
        assert (await catalogue.condemn_expired(stream, late, at_ns=late)).segments == 5
        again = facts(of, 0, T0)
        assert await catalogue.register_many([Registration(again, spool_copy(again), of)])
        assert all(fate.gone for fate in (await catalogue.fates(refs)).values())
    assert plans.scans == []
    assert plans.searches > 10
