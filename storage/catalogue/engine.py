"""The database under the catalogue: opening, transactions, retries, and the border for foreign errors.

`Database.read` and `Database.write` run a plain function on a connection inside one transaction. Reads see one snapshot;
writes on SQLite take the writers' lock at once (`BEGIN IMMEDIATE`), so that nothing read inside can be stale. A write
that met another's lock, or a deadlock, is repeated; the function may therefore run more than once and must keep its
effects inside the transaction. Nothing of SQLAlchemy's escapes: `CatalogueUnavailable` if trying later may help, else
`CatalogueError`. Values bound to statements never appear in messages.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Table, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from vms.errors import CatalogueError, CatalogueUnavailable, UserError

T = TypeVar("T")

TIMEOUT_SECONDS = 60.0  # of one transaction, retries not counted
BUSY_SECONDS = 10  # how long SQLite waits for another process's lock
PAGE_CACHE_KIB = 32_768  # SQLite's, of each connection
ATTEMPTS = 5
# PostgreSQL: serialization failure; deadlock; unique violation, which is another writer that was first: the second look
# finds its row and says so in plain words. On SQLite writers are alone and cannot collide so.
_RETRY_STATES = ("40001", "40P01", "23505")
_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}


def sqlite_url(path: Path) -> str:
    """The URL of a catalogue in a file."""
    return f"sqlite:///{path.absolute()}"


def open_engine(url: str) -> AsyncEngine:
    """An engine for `sqlite:///path` or `postgresql://…`. Nothing is connected yet. Raises UserError on other URLs."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise UserError("the catalogue's URL cannot be read; write sqlite:///path or postgresql://…") from error
    family = parsed.drivername.split("+")[0]
    if family not in _DRIVERS:
        raise UserError(f"a catalogue cannot live on {family!r}; write sqlite:///path or postgresql://…")
    parsed = parsed.set(drivername=_DRIVERS[family])
    if family == "sqlite":
        if parsed.database in (None, "", ":memory:"):
            raise UserError("a SQLite catalogue needs a file: sqlite:///path/catalogue.db")
        engine = create_async_engine(parsed, hide_parameters=True, connect_args={"timeout": BUSY_SECONDS})
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        event.listen(engine.sync_engine, "begin", _begin_sqlite)
        return engine
    options = (
        "-c statement_timeout=50000 -c lock_timeout=20000 -c idle_in_transaction_session_timeout=60000 -c timezone=UTC"
    )
    return create_async_engine(
        parsed,
        hide_parameters=True,
        pool_pre_ping=True,
        pool_size=5,
        max_overflow=5,
        pool_timeout=10,
        connect_args={"connect_timeout": 5, "options": options},
    )


def upsert(conn: Connection, table: Table) -> Any:
    """An INSERT of the connection's own dialect, which knows ON CONFLICT (the two dialects spell it alike)."""
    return (sqlite if conn.dialect.name == "sqlite" else postgresql).insert(table)


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions begin when `_begin_sqlite` says so, not when the driver guesses
    cursor = connection.cursor()
    # FULL: an archiver removes a spool file once the copy's row is committed, so a commit must survive a power cut.
    for pragma in (
        f"busy_timeout={BUSY_SECONDS * 1000}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        f"cache_size=-{PAGE_CACHE_KIB}",
        "temp_store=MEMORY",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _is_collision(error: DBAPIError) -> bool:
    if getattr(error.orig, "sqlstate", None) in _RETRY_STATES:
        return True
    return isinstance(error, OperationalError) and "database is locked" in str(error.orig)


@asynccontextmanager
async def translated() -> AsyncIterator[None]:
    """Turn what SQLAlchemy and the drivers raise into the house's errors."""
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise CatalogueUnavailable(f"the catalogue cannot be used: {_first_line(error.orig)}") from error
    except PoolTimeoutError as error:
        raise CatalogueUnavailable("the catalogue is too busy: no free connection") from error
    except DBAPIError as error:
        raise CatalogueError(f"the catalogue refused: {_first_line(error.orig)}{_advice(error.orig)}") from error
    except SQLAlchemyError as error:
        raise CatalogueError(f"the catalogue failed: {_first_line(error)}") from error
    except (TimeoutError, OSError) as error:
        raise CatalogueUnavailable(f"the catalogue does not answer: {error or 'timed out'}") from error


async def _uncut(transaction: Coroutine[Any, Any, T]) -> T:
    """`transaction` to its end, also when whoever awaits it is cancelled meanwhile; the cancellation is delivered then.

    SQLite's driver works in a thread of its own: cut off in the middle it would leave its connection inside the
    transaction and keep every other writer out. It ends by itself within the busy time-out.
    """
    task = asyncio.ensure_future(transaction)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.cancelled():
            await asyncio.wait([task])
            if not task.cancelled():
                task.exception()  # heard; the cancellation goes first
        raise


def _advice(error: BaseException | None) -> str:
    """What to do about a damaged file; nothing for the rest."""
    code = getattr(error, "sqlite_errorcode", None)
    damaged = code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    return "; its file is damaged: restore it from your backup, or without one run: vms rebuild" if damaged else ""


def _first_line(error: BaseException | None) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


class Database:
    """One catalogue's connections. Use from one event loop."""

    def __init__(self, url: str) -> None:
        self.engine = open_engine(url)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        reading: dict[str, Any] = {"reading": True}
        if not self.is_sqlite:
            reading |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        self._reader = self.engine.execution_options(**reading)
        self._writers = asyncio.Lock()  # SQLite has one writer: wait in order here rather than poll for its lock

    @property
    def sync_engine(self) -> Engine:
        return self.engine.sync_engine

    async def read(self, work: Callable[[Connection], T]) -> T:
        """`work(connection)` on one snapshot. Raises CatalogueError."""
        async with translated(), asyncio.timeout(TIMEOUT_SECONDS), self._reader.begin() as connection:
            return await connection.run_sync(work)

    async def write(self, work: Callable[[Connection], T], *, seconds: float = TIMEOUT_SECONDS) -> T:
        """`work(connection)` in one transaction, committed on return, repeated on collisions. Raises CatalogueError."""
        async with translated():
            for attempt in range(1, ATTEMPTS):
                try:
                    return await self._write_once(work, seconds)
                except DBAPIError as error:
                    if not _is_collision(error):
                        raise
                await asyncio.sleep(0.02 * 2**attempt * (1 + random.random()))  # noqa: S311 - jitter
            return await self._write_once(work, seconds)

    async def _write_once(self, work: Callable[[Connection], T], seconds: float) -> T:
        if not self.is_sqlite:
            async with asyncio.timeout(seconds):
                return await self._transaction(work)
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await self._writers.acquire()
        try:
            return await _uncut(self._transaction(work))
        finally:
            self._writers.release()

    async def _transaction(self, work: Callable[[Connection], T]) -> T:
        async with self.engine.begin() as connection:
            return await connection.run_sync(work)

    async def close(self) -> None:
        """Close every connection."""
        async with translated():
            await self.engine.dispose()
