"""The schema's version: bringing a database up to ours, and refusing one we do not know.

Owns nothing but the way to the migrations (Alembic, in `migrations/`). A migration runs in one transaction under a lock,
so two processes may start it at once and a failed one leaves the old schema.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, text

from storage.catalogue.engine import Database
from vms.errors import CatalogueError, UserError

T = TypeVar("T")

_MIGRATIONS = Path(__file__).with_name("migrations")
MIGRATION_SECONDS = 3600.0  # filling a new table from millions of rows takes minutes
_LOCK = 7_303_014  # PostgreSQL advisory lock of this schema's migrations; any number of our own


async def migrate(url: str) -> str:
    """Bring the database to this program's schema, creating it if it is empty. Returns the schema's version.

    Raises UserError if a newer program wrote it (nothing is changed), CatalogueError otherwise.
    """

    def work(conn: Connection) -> str:
        config = _config(conn)
        _refuse_newer(conn, config)
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise CatalogueError(f"the catalogue's schema cannot be migrated: {error}") from error
        return _head(config)

    return await _locked(url, work)


async def downgrade(url: str, version: str) -> None:
    """Take the schema back to an older version, "base" for none at all; what only the newer one holds is lost."""

    def work(conn: Connection) -> None:
        config = _config(conn)
        _refuse_newer(conn, config)
        try:
            command.downgrade(config, version)
        except CommandError as error:
            raise UserError(f"there is no schema {version!r} to go back to") from error

    await _locked(url, work)


async def check(url: str) -> str:
    """The schema's version if it is exactly ours. Raises UserError if it is missing, older or newer."""

    def work(conn: Connection) -> str:
        config = _config(conn)
        _refuse_newer(conn, config)
        version = MigrationContext.configure(conn).get_current_revision()
        if version != _head(config):
            raise UserError("the catalogue has no schema yet, or an older one; run `vms migrate`")
        return version

    database = Database(url)
    try:
        return await database.read(work)
    finally:
        await database.close()


async def _locked(url: str, work: Callable[[Connection], T]) -> T:
    database = Database(url)

    def alone(conn: Connection) -> T:
        if not database.is_sqlite:  # SQLite's writers are alone anyway
            conn.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK})
        return work(conn)

    try:
        return await database.write(alone, seconds=MIGRATION_SECONDS)
    finally:
        await database.close()


def _config(conn: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = conn
    return config


def _head(config: Config) -> str:
    head = ScriptDirectory.from_config(config).get_current_head()
    assert head is not None
    return head


def _refuse_newer(conn: Connection, config: Config) -> None:
    version = MigrationContext.configure(conn).get_current_revision()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if version is not None and version not in known:
        raise UserError(f"a newer version of this program wrote the catalogue (schema {version}); update this one")
