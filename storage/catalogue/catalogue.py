"""`Catalogue`: the record of what should exist, what does, what is held and what is gone.

One class over one database; its methods stand by subject in the modules it is put together from. Callers know UUIDs
and values only. Every method may raise `CatalogueUnavailable` (try again later) and `CatalogueError`, and is one or
more whole transactions: after an error nothing of that transaction remains.
"""

from __future__ import annotations

from typing import Self

from storage.catalogue.audit_log import AuditLog
from storage.catalogue.braking import Braking
from storage.catalogue.checking import Checking
from storage.catalogue.deletions import Deletions
from storage.catalogue.engine import Database
from storage.catalogue.facts import Facts
from storage.catalogue.logins import Logins
from storage.catalogue.people import People
from storage.catalogue.rebuilding import Rebuilding
from storage.catalogue.recordings import Recordings
from storage.catalogue.registry import Registry, Sealer
from storage.catalogue.restoring import Restoring
from storage.catalogue.timelines import Timelines


class Catalogue(
    Registry,
    Recordings,
    Facts,
    Timelines,
    Deletions,
    Braking,
    Checking,
    Rebuilding,
    Restoring,
    People,
    Logins,
    AuditLog,
):
    """Use from one event loop. `sealer` opens camera passwords; processes that need none leave it out."""

    def __init__(self, url: str, sealer: Sealer | None = None) -> None:
        """Nothing is connected yet. Raises UserError for a URL that is neither SQLite's nor PostgreSQL's."""
        self._db = Database(url)
        self._sealer = sealer

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        await self._db.close()
