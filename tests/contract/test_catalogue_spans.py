"""The merged spans say what the segments say, whatever is registered and condemned, and after the migration."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from sqlalchemy import Connection, select, text

from storage.catalogue import Catalogue, Hold, Registration, downgrade, migrate, sqlite_url
from storage.catalogue import spans as merged
from storage.catalogue.rows import DAMAGED
from storage.catalogue.tables import segments, spans
from tests.support.footage_rows import DAY, HOUR, MINUTE, SPOOL, T0, add_camera, facts, record, run, spool_copy
from vms.timeline import TimeRange, merge

Lines = list[tuple[int, bool, int, int]]


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "catalogue.db")
    return str(request.getfixturevalue("postgres_database"))


def _compared(conn: Connection) -> tuple[Lines, Lines]:
    """The spans as they stand, and as the segments ask for them."""
    stand = [(r.stream_key, r.damaged, r.start_ns, r.end_ns) for r in conn.execute(select(spans))]
    parts: dict[tuple[int, bool, int], list[TimeRange]] = {}
    for row in conn.execute(select(segments)):
        for day, part in merged.by_day(row.start_ns, row.end_ns):
            parts.setdefault((row.stream_key, bool(row.flags & DAMAGED), day), []).append(part)
    wanted = [(key, hurt, r.start_ns, r.end_ns) for (key, hurt, _), ranges in parts.items() for r in merge(ranges)]
    return sorted(stand), sorted(wanted)


async def _check(catalogue: Catalogue) -> int:
    stand, wanted = await catalogue._db.read(_compared)
    assert stand == wanted
    return len(stand)


@pytest.mark.parametrize("seed", range(3))
async def test_spans_follow_the_segments(url: str, seed: int) -> None:
    """Two runs of each of two streams, overlapping, late, out of order, damaged, over midnights; then deletion."""
    chance = random.Random(seed)
    await migrate(url)
    async with Catalogue(url) as catalogue:
        await catalogue.put_store(SPOOL)
        cameras = [await add_camera(catalogue, n) for n in (1, 2)]
        runs = [run(c.streams[0].id, T0 - DAY) for c in cameras for _ in range(2)]
        items = []
        for number in range(120):
            of = chance.choice(runs)
            start = T0 + chance.randrange(-90, 90) * 10 * MINUTE
            length = chance.choice((1, 10, 10, 10, 25, 60)) * MINUTE
            hurt = int(chance.random() < 0.2)
            f = facts(of, number, start, length, damaged_units=hurt)
            items.append(Registration(f, spool_copy(f), of))
        for start in range(0, len(items), 40):
            await catalogue.register_many(items[start : start + 40])
            await _check(catalogue)
        assert await catalogue.register_many(items[:5])  # again: known
        within = TimeRange(T0, T0 + HOUR)
        held = frozenset({cameras[0].streams[0].id})
        await catalogue.place_hold(Hold(cameras[0].id, held, within, "sprawa", "kowalski", T0, T0 + DAY))
        for camera in cameras:
            for back in (5 * HOUR, -HOUR, -14 * HOUR):
                now = T0 - back + 30 * DAY
                await catalogue.condemn_expired(camera.streams[0].id, now, at_ns=now)
                await _check(catalogue)


async def test_the_migration_fills_the_spans(url: str) -> None:
    await migrate(url)
    async with Catalogue(url) as catalogue:
        await catalogue.put_store(SPOOL)
        stream = (await add_camera(catalogue)).streams[0].id
        first = run(stream, T0 - 30 * MINUTE)
        await record(catalogue, first, 60)
        hurt = facts(first, 60, T0 + 40 * MINUTE, damaged_units=3)
        await catalogue.register_many([Registration(hurt, spool_copy(hurt), first)])
        await record(catalogue, run(stream, T0 + 5 * MINUTE), 3)  # inside
        assert await _check(catalogue) == 3
    await downgrade(url, "0001")
    await migrate(url)
    async with Catalogue(url) as catalogue:
        assert await _check(catalogue) == 3
        assert await catalogue.rebuild_state() is None
        counted = await catalogue._db.read(lambda conn: conn.scalar(text("SELECT count(*) FROM segments")))
    assert counted == 64


async def test_writers_at_once_leave_the_union(url: str) -> None:
    await migrate(url)
    async with Catalogue(url) as one, Catalogue(url) as other:
        await one.put_store(SPOOL)
        stream = (await add_camera(one)).streams[0].id
        left, right = run(stream), run(stream)
        await asyncio.gather(record(one, left, 60), record(other, right, 60, start_ns=T0 + 30 * MINUTE))
        assert await _check(one) == 1
