"""The schema's way up and down on both databases, and that migrations and tables say the same."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

from storage.catalogue import Catalogue, check, downgrade, migrate, sqlite_url
from storage.catalogue.engine import Database
from storage.catalogue.tables import metadata
from vms.errors import UserError


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "catalogue.db")
    return str(request.getfixturevalue("postgres_database"))


async def _do(url: str, work: object) -> object:
    database = Database(url)
    try:
        return await database.write(work)  # type: ignore[arg-type]
    finally:
        await database.close()


async def test_migrations_make_the_tables_of_the_code(url: str) -> None:
    version = await migrate(url)
    assert await check(url) == version
    assert await migrate(url) == version

    def differences(conn: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(conn, opts={"compare_type": True}), metadata))

    assert await _do(url, differences) == []


async def test_down_and_up_again(url: str) -> None:
    await migrate(url)
    await downgrade(url, "base")
    left = await _do(url, lambda conn: set(inspect(conn).get_table_names()))
    assert left <= {"alembic_version"}
    with pytest.raises(UserError, match="vms migrate"):
        await check(url)
    await migrate(url)
    async with Catalogue(url) as catalogue:
        assert await catalogue.cameras() == []
    counted = text("SELECT value FROM counters WHERE name = 'arrival'")
    assert await _do(url, lambda conn: conn.scalar(counted)) == 0
    with pytest.raises(UserError, match="no schema"):
        await downgrade(url, "niema")


async def test_a_newer_schema_is_refused_and_left_alone(url: str) -> None:
    await migrate(url)
    await _do(url, lambda conn: conn.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    for call in (migrate(url), check(url), downgrade(url, "base")):
        with pytest.raises(UserError, match="newer version"):
            await call
    left = await _do(url, lambda conn: set(inspect(conn).get_table_names()))
    assert {"segments", "cameras"} <= left  # type: ignore[operator]


async def test_two_processes_may_migrate_at_once(url: str) -> None:
    first, second = await asyncio.gather(migrate(url), migrate(url))
    assert first == second == await check(url)


@pytest.mark.parametrize("bad", ["mysql://a/b", "sqlite://", "sqlite:///:memory:", "nonsense", ""])
async def test_other_databases_are_refused(bad: str) -> None:
    with pytest.raises(UserError, match="sqlite:///path"):
        await migrate(bad)


def test_the_reference_page_names_every_table_and_column() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "catalogue.md").read_text()
    told: dict[str, list[str]] = {}
    for line in page.split("## Tables")[1].splitlines():
        if line.startswith("### "):
            told[line[4:]] = []
        elif line.startswith("| ") and not line.startswith("| column"):
            told[list(told)[-1]].append(line.split("|")[1].strip())
    assert told == {table.name: [column.name for column in table.columns] for table in metadata.tables.values()}


def test_the_database_libraries_are_imported_in_one_place() -> None:
    root = Path(__file__).parents[2]
    modules = [path for room in ("vms", "recorder", "storage", "web") for path in (root / room).rglob("*.py")]
    strangers = [
        str(path.relative_to(root))
        for path in modules
        if (root / "storage" / "catalogue") not in path.parents
        and re.search(r"^\s*(from|import) (sqlalchemy|alembic|aiosqlite|psycopg)\b", path.read_text(), re.MULTILINE)
    ]
    assert strangers == []
