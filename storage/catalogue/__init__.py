"""The catalogue: rows about what should be recorded, what was, where it is, what is held and what was deleted.

The only package that imports SQLAlchemy and Alembic. SQLite in WAL mode by default, PostgreSQL when a site outgrows it;
one contract suite covers both. Tables are described in docs/reference/catalogue.md.
"""

from storage.catalogue.braking import BrakeState
from storage.catalogue.catalogue import Catalogue
from storage.catalogue.coverage import Chosen, choose
from storage.catalogue.engine import sqlite_url
from storage.catalogue.finding import find_camera
from storage.catalogue.rebuilding import RebuildState
from storage.catalogue.registry import Sealer
from storage.catalogue.schema import check, downgrade, migrate
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
    StreamTimeline,
)

__all__ = [
    "BrakeState",
    "CameraStream",
    "Catalogue",
    "Chosen",
    "Condemned",
    "CondemnedObject",
    "Copy",
    "CopyState",
    "DeletedSegment",
    "Expectation",
    "Expired",
    "Expiring",
    "HistoryEntry",
    "HistoryKind",
    "Hold",
    "JournalEntry",
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
    "StreamTimeline",
    "check",
    "choose",
    "downgrade",
    "find_camera",
    "migrate",
    "sqlite_url",
]
