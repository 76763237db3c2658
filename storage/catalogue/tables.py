"""The catalogue's tables, one schema for SQLite and PostgreSQL. Column by column: docs/reference/catalogue.md.

Owns names, types, keys and indexes; the migrations carry them into databases and a test compares the two. Keys are
integers inside, UUIDs are kept once, in the table of the thing they name. Times are UTC nanoseconds in 8-byte integers.
A segment's row stays under 200 bytes, its copy's too: what the file itself says is not repeated here.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)

from storage.catalogue import tables_people as _people  # noqa: F401 - its tables belong to the same metadata
from storage.catalogue.columns import Counter, key, metadata, to
from storage.catalogue.values import LONGEST_SEGMENT_NS

counters = Table(
    "counters",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)

legal_profiles = Table(
    "legal_profiles",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("basis", Text, nullable=False),
    Column("days", Integer, nullable=False),
    Column("audio", Boolean, nullable=False),
    CheckConstraint("days > 0", name="days"),
)

cameras = Table(
    "cameras",
    metadata,
    key(),
    Column("id", Uuid, nullable=False, unique=True),
    Column("number", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("profile_id", Uuid, ForeignKey("legal_profiles.id"), nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("source", Text, nullable=False),
    Column("transport", Text, nullable=False),
    Column("street", Text, nullable=False),
    Column("lat", Float),
    Column("lon", Float),
    Column("azimuth_deg", Float),
    Column("angle_deg", Float),
    Column("camera_group", Text, nullable=False),
    Column("trust_clock", Boolean, nullable=False),
    Column("certificate_pin", Text, nullable=False),
    Column("username_sealed", LargeBinary),
    Column("password_sealed", LargeBinary),
    Column("retired_ns", BigInteger),
    Index(
        "uq_cameras_number_in_service",
        "number",
        unique=True,
        sqlite_where=text("retired_ns IS NULL"),
        postgresql_where=text("retired_ns IS NULL"),
    ),
)

camera_history = Table(
    "camera_history",
    metadata,
    key(),
    to("cameras"),
    Column("at_ns", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("changes", Text, nullable=False),  # JSON: {field: [before, after]}
    Column("by", Text, nullable=False),
    Index(None, "camera_key"),
)

streams = Table(
    "streams",
    metadata,
    key(),
    Column("id", Uuid, nullable=False, unique=True),
    to("cameras"),
    Column("kind", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("record", Boolean, nullable=False),
    Column("position", SmallInteger, nullable=False),
    Column("retired_ns", BigInteger),
    Index(None, "camera_key"),
)

expectations = Table(
    "expectations",
    metadata,
    key(),
    to("streams"),
    Column("from_ns", BigInteger, nullable=False),
    Column("to_ns", BigInteger),
    Column("suspended", Text),
    Index(None, "stream_key", "from_ns"),
)

runs = Table(
    "runs",
    metadata,
    key(),
    Column("id", Uuid, nullable=False, unique=True),
    to("streams"),
    Column("origin", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("clock", Text, nullable=False),
    Column("start_ns", BigInteger, nullable=False),
    Column("end_ns", BigInteger),
    Column("end_reason", Text),
    Index(None, "stream_key", "start_ns"),
    Index(
        "ix_runs_elsewhere",  # few runs are not live; a timeline must see at once that there are none
        "stream_key",
        "start_ns",
        sqlite_where=text("origin <> 'live'"),
        postgresql_where=text("origin <> 'live'"),
    ),
)

segments = Table(
    "segments",
    metadata,
    Column("arrival", Counter, primary_key=True, autoincrement=False),
    to("streams"),
    to("runs"),
    Column("number", Integer, nullable=False),
    Column("start_ns", BigInteger, nullable=False),
    Column("end_ns", BigInteger, nullable=False),
    Column("duration_ticks", BigInteger, nullable=False),
    Column("clock_hz", Integer, nullable=False),
    Column("flags", SmallInteger, nullable=False),
    Column("width", SmallInteger, nullable=False),
    Column("height", SmallInteger, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("seal", LargeBinary, nullable=False),
    UniqueConstraint("run_key", "number"),
    CheckConstraint(f"end_ns > start_ns AND end_ns - start_ns <= {LONGEST_SEGMENT_NS}", name="length"),
    Index(None, "stream_key", "start_ns", "end_ns", "flags"),
)

# The timeline is answered from this table: the segments' ranges merged, cut at UTC midnights (`storage.catalogue.spans`).
spans = Table(
    "spans",
    metadata,
    to("streams"),
    Column("start_ns", BigInteger, nullable=False),
    Column("damaged", Boolean, nullable=False),
    Column("end_ns", BigInteger, nullable=False),
    PrimaryKeyConstraint("stream_key", "start_ns", "damaged"),
    CheckConstraint("end_ns > start_ns", name="length"),
    sqlite_with_rowid=False,
)

stores = Table(
    "stores",
    metadata,
    key(),
    Column("name", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("host", Text, nullable=False),
)

copies = Table(
    "copies",
    metadata,
    Column("arrival", Counter, ForeignKey("segments.arrival"), nullable=False, autoincrement=False),
    to("stores"),
    Column("object_key", Text),  # NULL: the key that follows from the segment's facts
    Column("version", Text),
    Column("size_bytes", BigInteger),  # NULL, and the digest: those of the segment
    Column("digest", LargeBinary),
    Column("state", SmallInteger, nullable=False),
    PrimaryKeyConstraint("arrival", "store_key"),
    Index(
        "ix_copies_spoilt",  # few are: a timeline must see at once that there are none
        "arrival",
        sqlite_where=text("state <> 0"),
        postgresql_where=text("state <> 0"),
    ),
    sqlite_with_rowid=False,
)

gaps = Table(
    "gaps",
    metadata,
    key(),
    Column("id", Uuid, nullable=False, unique=True),
    to("streams"),
    Column("start_ns", BigInteger, nullable=False),
    Column("end_ns", BigInteger),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Index(None, "stream_key", "end_ns", "start_ns"),
)

holds = Table(
    "holds",
    metadata,
    key(),
    Column("id", Uuid, nullable=False, unique=True),
    Column("from_ns", BigInteger, nullable=False),
    Column("to_ns", BigInteger, nullable=False),
    Column("basis", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("placed_ns", BigInteger, nullable=False),
    Column("review_ns", BigInteger, nullable=False),
    Column("released_ns", BigInteger),
    CheckConstraint("to_ns > from_ns", name="range"),
)

hold_streams = Table(
    "hold_streams",
    metadata,
    to("streams"),
    to("holds"),
    PrimaryKeyConstraint("stream_key", "hold_key"),
    sqlite_with_rowid=False,
)

condemned = Table(
    "condemned",
    metadata,
    to("runs"),
    Column("number", Integer, nullable=False),
    to("streams"),
    Column("start_ns", BigInteger, nullable=False),
    Column("end_ns", BigInteger, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("seal", LargeBinary, nullable=False),
    Column("basis", Text, nullable=False),
    Column("condemned_ns", BigInteger, nullable=False),
    PrimaryKeyConstraint("run_key", "number"),
)

condemned_objects = Table(
    "condemned_objects",
    metadata,
    key(),
    to("runs"),
    Column("number", Integer, nullable=False),
    to("stores"),
    Column("object_key", Text, nullable=False),
    UniqueConstraint("run_key", "number", "store_key", "object_key"),
    Index(None, "store_key", "key"),
)

deletions = Table(
    "deletions",
    metadata,
    to("runs"),
    Column("number", Integer, nullable=False),
    to("streams"),
    Column("start_ns", BigInteger, nullable=False),
    Column("end_ns", BigInteger, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("seal", LargeBinary, nullable=False),
    Column("basis", Text, nullable=False),
    Column("condemned_ns", BigInteger, nullable=False),
    Column("deleted_ns", BigInteger, nullable=False),
    Column("day", Integer, nullable=False),  # of deletion: whole UTC days since 1970
    PrimaryKeyConstraint("run_key", "number"),
    Index(None, "day"),
    Index(None, "stream_key", "deleted_ns"),
)

deletion_days = Table(
    "deletion_days",
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("segments", BigInteger, nullable=False),
    Column("footage_ns", BigInteger, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
)

brake = Table(
    "brake",
    metadata,
    Column("key", Integer, primary_key=True, autoincrement=False),
    Column("engaged_ns", BigInteger, nullable=False),
    Column("footage_ns", BigInteger, nullable=False),
    Column("limit_ns", BigInteger, nullable=False),
    Column("confirmed_ns", BigInteger),
    Column("confirmed_by", Text),
    CheckConstraint("key = 1", name="one_row"),
)

rebuild = Table(
    "rebuild",
    metadata,
    Column("key", Integer, primary_key=True, autoincrement=False),
    Column("store", Text, nullable=False),
    Column("started_ns", BigInteger, nullable=False),
    Column("finished_ns", BigInteger),
    Column("confirmed_ns", BigInteger),
    Column("confirmed_by", Text),
    Column("older", Text),
    CheckConstraint("key = 1", name="one_row"),
)

journals = Table(
    "journals",
    metadata,
    key(),
    to("streams"),
    Column("hour_ns", BigInteger, nullable=False),
    Column("host", Text, nullable=False),
    Column("object_key", Text, nullable=False, unique=True),
    Column("digest", LargeBinary, nullable=False),
    Column("written_ns", BigInteger, nullable=False),
    Index(None, "stream_key", "hour_ns"),
)
