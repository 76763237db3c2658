"""SQLite under another process's lock, broken files, and that nothing foreign escapes."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, text

from storage.catalogue import Catalogue, migrate, sqlite_url
from storage.catalogue.engine import Database
from storage.catalogue.tables import counters
from tests.support.footage_rows import T0, add_camera, run
from vms.errors import CatalogueError, CatalogueUnavailable


async def test_reads_go_on_and_writes_wait_while_another_process_writes(tmp_path: Path) -> None:
    path = tmp_path / "c.db"
    await migrate(sqlite_url(path))
    async with Catalogue(sqlite_url(path)) as catalogue:
        stream = (await add_camera(catalogue)).streams[0].id
        other = sqlite3.connect(path, isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
            waiting = asyncio.create_task(catalogue.put_run(run(stream)))
            assert len(await catalogue.cameras()) == 1
            assert not waiting.done()
            other.execute("ROLLBACK")
            await waiting
        finally:
            other.close()
        assert len(await catalogue.runs(stream, T0, T0 + 1)) == 1


async def test_commits_are_durable_and_foreign_keys_hold(tmp_path: Path) -> None:
    database = Database(sqlite_url(tmp_path / "c.db"))

    def pragmas(conn: Connection) -> list[object]:
        return [
            conn.execute(text(f"PRAGMA {name}")).scalar() for name in ("journal_mode", "synchronous", "foreign_keys")
        ]

    try:
        assert await database.read(pragmas) == ["wal", 2, 1]
    finally:
        await database.close()


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "c.db"
    path.write_bytes(b"to nie jest baza danych" * 100)
    async with Catalogue(sqlite_url(path)) as catalogue:
        with pytest.raises(CatalogueError, match="not a database"):
            await catalogue.cameras()


async def test_a_failed_write_leaves_nothing_and_shows_no_values(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "c.db")
    await migrate(url)
    database = Database(url)

    def twice(conn: Connection) -> None:
        for _ in range(2):
            conn.execute(insert(counters).values(name="tajne", value=1))

    try:
        with pytest.raises(CatalogueError) as refused:
            await database.write(twice)
        assert not isinstance(refused.value, CatalogueUnavailable)
        assert "tajne" not in str(refused.value)
        assert "sqlalchemy" not in str(refused.value).lower()
        assert await database.read(lambda conn: conn.execute(text("SELECT count(*) FROM counters")).scalar()) == 1
    finally:
        await database.close()


async def test_an_error_of_ours_rolls_back_too(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "c.db")
    await migrate(url)
    database = Database(url)

    def refuse(conn: Connection) -> None:
        conn.execute(insert(counters).values(name="x", value=1))
        raise CatalogueError("no")

    try:
        with pytest.raises(CatalogueError, match="no"):
            await database.write(refuse)
        assert await database.read(lambda conn: conn.execute(text("SELECT count(*) FROM counters")).scalar()) == 1
    finally:
        await database.close()
