"""The catalogue: rows about what should be recorded, what was, where it is, what is held and what was deleted.

The only package that imports SQLAlchemy and Alembic. SQLite in WAL mode by default, PostgreSQL when a site outgrows it;
one contract suite covers both. Tables are described in docs/reference/catalogue.md.

What needs those two is loaded when first asked for: they take a second, which a recorder worker that only wants the
values, and whose cameras record nothing until it has started, need not wait for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from storage.catalogue.coverage import Chosen, choose
from storage.catalogue.people_values import (
    AuditEntry,
    LiveView,
    Login,
    StoredCheckpoint,
    StoredGrant,
    StoredLayout,
    StoredSession,
    StoredToken,
    User,
)
from storage.catalogue.values import (
    CameraStream,
    Condemned,
    CondemnedObject,
    Copy,
    CopyState,
    DeletedSegment,
    Expectation,
    Expired,
    Expiring,
    HistoryEntry,
    HistoryKind,
    Hold,
    JournalEntry,
    Missing,
    RecordedSegment,
    Registered,
    Registration,
    SegmentRef,
    Span,
    StoreInfo,
    StoreKind,
    StreamAbout,
    StreamTimeline,
)

if TYPE_CHECKING:
    from storage.catalogue.audit_append import Actor, Asked, Detail, Happening, Why
    from storage.catalogue.audit_log import LogHead, Verified
    from storage.catalogue.braking import BrakeState
    from storage.catalogue.catalogue import Catalogue
    from storage.catalogue.engine import sqlite_url
    from storage.catalogue.finding import find_camera
    from storage.catalogue.rebuilding import RebuildState
    from storage.catalogue.registry import Sealer
    from storage.catalogue.schema import check, downgrade, migrate

_ON_DEMAND = {
    "BrakeState": "braking",
    "Actor": "audit_append",
    "Asked": "audit_append",
    "Detail": "audit_append",
    "Happening": "audit_append",
    "Why": "audit_append",
    "LogHead": "audit_log",
    "Verified": "audit_log",
    "Catalogue": "catalogue",
    "RebuildState": "rebuilding",
    "Sealer": "registry",
    "check": "schema",
    "downgrade": "schema",
    "find_camera": "finding",
    "migrate": "schema",
    "sqlite_url": "engine",
}

__all__ = [
    "Actor",
    "Asked",
    "AuditEntry",
    "BrakeState",
    "CameraStream",
    "Catalogue",
    "Chosen",
    "Condemned",
    "CondemnedObject",
    "Copy",
    "CopyState",
    "DeletedSegment",
    "Detail",
    "Expectation",
    "Expired",
    "Expiring",
    "Happening",
    "HistoryEntry",
    "HistoryKind",
    "Hold",
    "JournalEntry",
    "LiveView",
    "LogHead",
    "Login",
    "Missing",
    "RebuildState",
    "RecordedSegment",
    "Registered",
    "Registration",
    "Sealer",
    "SegmentRef",
    "Span",
    "StoreInfo",
    "StoreKind",
    "StoredCheckpoint",
    "StoredGrant",
    "StoredLayout",
    "StoredSession",
    "StoredToken",
    "StreamAbout",
    "StreamTimeline",
    "User",
    "Verified",
    "Why",
    "check",
    "choose",
    "downgrade",
    "find_camera",
    "migrate",
    "sqlite_url",
]


def __getattr__(name: str) -> Any:
    module = _ON_DEMAND.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{module}"), name)
