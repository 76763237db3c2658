"""The first schema: registry, recordings, holds and deletions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TABLES = (
    "legal_profiles",
    "cameras",
    "camera_history",
    "streams",
    "expectations",
    "counters",
    "stores",
    "runs",
    "segments",
    "copies",
    "gaps",
    "journals",
    "holds",
    "hold_streams",
    "condemned",
    "condemned_objects",
    "deletions",
    "deletion_days",
    "brake",
)


def upgrade() -> None:
    _registry()
    _streams()
    _recordings()
    _segments()
    _copies()
    _holds()
    _deletions()
    _days()
    op.execute("INSERT INTO counters (name, value) VALUES ('arrival', 0)")


def downgrade() -> None:
    for table in reversed(_TABLES):
        op.drop_table(table)


def _registry() -> None:
    op.create_table(
        "legal_profiles",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("basis", sa.Text(), nullable=False),
        sa.Column("days", sa.Integer(), nullable=False),
        sa.Column("audio", sa.Boolean(), nullable=False),
        sa.CheckConstraint("days > 0", name=op.f("ck_legal_profiles_days")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_legal_profiles")),
        sa.UniqueConstraint("name", name=op.f("uq_legal_profiles_name")),
    )
    op.create_table(
        "cameras",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("profile_id", sa.Uuid(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("transport", sa.Text(), nullable=False),
        sa.Column("street", sa.Text(), nullable=False),
        sa.Column("lat", sa.Float(), nullable=True),
        sa.Column("lon", sa.Float(), nullable=True),
        sa.Column("azimuth_deg", sa.Float(), nullable=True),
        sa.Column("angle_deg", sa.Float(), nullable=True),
        sa.Column("camera_group", sa.Text(), nullable=False),
        sa.Column("trust_clock", sa.Boolean(), nullable=False),
        sa.Column("certificate_pin", sa.Text(), nullable=False),
        sa.Column("username_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("password_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("retired_ns", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["profile_id"], ["legal_profiles.id"], name=op.f("fk_cameras_profile_id")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_cameras")),
        sa.UniqueConstraint("id", name=op.f("uq_cameras_id")),
    )
    op.create_index(
        "uq_cameras_number_in_service",
        "cameras",
        ["number"],
        unique=True,
        sqlite_where=sa.text("retired_ns IS NULL"),
        postgresql_where=sa.text("retired_ns IS NULL"),
    )


def _streams() -> None:
    op.create_table(
        "camera_history",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("camera_key", sa.Integer(), nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("changes", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["camera_key"], ["cameras.key"], name=op.f("fk_camera_history_camera_key")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_camera_history")),
    )
    op.create_index(op.f("ix_camera_history_camera_key"), "camera_history", ["camera_key"], unique=False)
    op.create_table(
        "streams",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("camera_key", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("record", sa.Boolean(), nullable=False),
        sa.Column("position", sa.SmallInteger(), nullable=False),
        sa.Column("retired_ns", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["camera_key"], ["cameras.key"], name=op.f("fk_streams_camera_key")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_streams")),
        sa.UniqueConstraint("id", name=op.f("uq_streams_id")),
    )
    op.create_index(op.f("ix_streams_camera_key"), "streams", ["camera_key"], unique=False)
    op.create_table(
        "expectations",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("stream_key", sa.Integer(), nullable=False),
        sa.Column("from_ns", sa.BigInteger(), nullable=False),
        sa.Column("to_ns", sa.BigInteger(), nullable=True),
        sa.Column("suspended", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["stream_key"], ["streams.key"], name=op.f("fk_expectations_stream_key")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_expectations")),
    )
    op.create_index(op.f("ix_expectations_stream_key_from_ns"), "expectations", ["stream_key", "from_ns"], unique=False)


def _recordings() -> None:
    op.create_table(
        "counters",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_counters")),
    )
    op.create_table(
        "stores",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_stores")),
        sa.UniqueConstraint("name", name=op.f("uq_stores_name")),
    )
    op.create_table(
        "runs",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("stream_key", sa.Integer(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("clock", sa.Text(), nullable=False),
        sa.Column("start_ns", sa.BigInteger(), nullable=False),
        sa.Column("end_ns", sa.BigInteger(), nullable=True),
        sa.Column("end_reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["stream_key"], ["streams.key"], name=op.f("fk_runs_stream_key")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_runs")),
        sa.UniqueConstraint("id", name=op.f("uq_runs_id")),
    )
    op.create_index(op.f("ix_runs_stream_key_start_ns"), "runs", ["stream_key", "start_ns"], unique=False)


def _segments() -> None:
    op.create_table(
        "segments",
        sa.Column("arrival", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("stream_key", sa.Integer(), nullable=False),
        sa.Column("run_key", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("start_ns", sa.BigInteger(), nullable=False),
        sa.Column("end_ns", sa.BigInteger(), nullable=False),
        sa.Column("duration_ticks", sa.BigInteger(), nullable=False),
        sa.Column("clock_hz", sa.Integer(), nullable=False),
        sa.Column("flags", sa.SmallInteger(), nullable=False),
        sa.Column("width", sa.SmallInteger(), nullable=False),
        sa.Column("height", sa.SmallInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("seal", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("end_ns > start_ns AND end_ns - start_ns <= 3600000000000", name=op.f("ck_segments_length")),
        sa.ForeignKeyConstraint(["run_key"], ["runs.key"], name=op.f("fk_segments_run_key")),
        sa.ForeignKeyConstraint(["stream_key"], ["streams.key"], name=op.f("fk_segments_stream_key")),
        sa.PrimaryKeyConstraint("arrival", name=op.f("pk_segments")),
        sa.UniqueConstraint("run_key", "number", name=op.f("uq_segments_run_key_number")),
    )
    op.create_index(
        op.f("ix_segments_stream_key_start_ns_end_ns_flags"),
        "segments",
        ["stream_key", "start_ns", "end_ns", "flags"],
        unique=False,
    )


def _copies() -> None:
    op.create_table(
        "copies",
        sa.Column("arrival", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("store_key", sa.Integer(), nullable=False),
        sa.Column("object_key", sa.Text(), nullable=True),
        sa.Column("version", sa.Text(), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("digest", sa.LargeBinary(), nullable=True),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.ForeignKeyConstraint(["arrival"], ["segments.arrival"], name=op.f("fk_copies_arrival")),
        sa.ForeignKeyConstraint(["store_key"], ["stores.key"], name=op.f("fk_copies_store_key")),
        sa.PrimaryKeyConstraint("arrival", "store_key", name=op.f("pk_copies")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "gaps",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("stream_key", sa.Integer(), nullable=False),
        sa.Column("start_ns", sa.BigInteger(), nullable=False),
        sa.Column("end_ns", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["stream_key"], ["streams.key"], name=op.f("fk_gaps_stream_key")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_gaps")),
        sa.UniqueConstraint("id", name=op.f("uq_gaps_id")),
    )
    op.create_index(
        op.f("ix_gaps_stream_key_end_ns_start_ns"), "gaps", ["stream_key", "end_ns", "start_ns"], unique=False
    )
    op.create_table(
        "journals",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("stream_key", sa.Integer(), nullable=False),
        sa.Column("hour_ns", sa.BigInteger(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("object_key", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("written_ns", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["stream_key"], ["streams.key"], name=op.f("fk_journals_stream_key")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_journals")),
        sa.UniqueConstraint("object_key", name=op.f("uq_journals_object_key")),
    )
    op.create_index(op.f("ix_journals_stream_key_hour_ns"), "journals", ["stream_key", "hour_ns"], unique=False)


def _holds() -> None:
    op.create_table(
        "holds",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("from_ns", sa.BigInteger(), nullable=False),
        sa.Column("to_ns", sa.BigInteger(), nullable=False),
        sa.Column("basis", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("placed_ns", sa.BigInteger(), nullable=False),
        sa.Column("review_ns", sa.BigInteger(), nullable=False),
        sa.Column("released_ns", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("to_ns > from_ns", name=op.f("ck_holds_range")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_holds")),
        sa.UniqueConstraint("id", name=op.f("uq_holds_id")),
    )
    op.create_table(
        "hold_streams",
        sa.Column("stream_key", sa.Integer(), nullable=False),
        sa.Column("hold_key", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["hold_key"], ["holds.key"], name=op.f("fk_hold_streams_hold_key")),
        sa.ForeignKeyConstraint(["stream_key"], ["streams.key"], name=op.f("fk_hold_streams_stream_key")),
        sa.PrimaryKeyConstraint("stream_key", "hold_key", name=op.f("pk_hold_streams")),
        sqlite_with_rowid=False,
    )


def _deletions() -> None:
    op.create_table(
        "condemned",
        sa.Column("run_key", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("stream_key", sa.Integer(), nullable=False),
        sa.Column("start_ns", sa.BigInteger(), nullable=False),
        sa.Column("end_ns", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("seal", sa.LargeBinary(), nullable=False),
        sa.Column("basis", sa.Text(), nullable=False),
        sa.Column("condemned_ns", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run_key"], ["runs.key"], name=op.f("fk_condemned_run_key")),
        sa.ForeignKeyConstraint(["stream_key"], ["streams.key"], name=op.f("fk_condemned_stream_key")),
        sa.PrimaryKeyConstraint("run_key", "number", name=op.f("pk_condemned")),
    )
    op.create_table(
        "condemned_objects",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("run_key", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("store_key", sa.Integer(), nullable=False),
        sa.Column("object_key", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_key"], ["runs.key"], name=op.f("fk_condemned_objects_run_key")),
        sa.ForeignKeyConstraint(["store_key"], ["stores.key"], name=op.f("fk_condemned_objects_store_key")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_condemned_objects")),
        sa.UniqueConstraint(
            "run_key",
            "number",
            "store_key",
            "object_key",
            name=op.f("uq_condemned_objects_run_key_number_store_key_object_key"),
        ),
    )
    op.create_index(op.f("ix_condemned_objects_store_key_key"), "condemned_objects", ["store_key", "key"], unique=False)
    op.create_table(
        "deletions",
        sa.Column("run_key", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("stream_key", sa.Integer(), nullable=False),
        sa.Column("start_ns", sa.BigInteger(), nullable=False),
        sa.Column("end_ns", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("seal", sa.LargeBinary(), nullable=False),
        sa.Column("basis", sa.Text(), nullable=False),
        sa.Column("condemned_ns", sa.BigInteger(), nullable=False),
        sa.Column("deleted_ns", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["run_key"], ["runs.key"], name=op.f("fk_deletions_run_key")),
        sa.ForeignKeyConstraint(["stream_key"], ["streams.key"], name=op.f("fk_deletions_stream_key")),
        sa.PrimaryKeyConstraint("run_key", "number", name=op.f("pk_deletions")),
    )
    op.create_index(op.f("ix_deletions_day"), "deletions", ["day"], unique=False)


def _days() -> None:
    op.create_table(
        "deletion_days",
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("segments", sa.BigInteger(), nullable=False),
        sa.Column("footage_ns", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", name=op.f("pk_deletion_days")),
    )
    op.create_table(
        "brake",
        sa.Column("key", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("engaged_ns", sa.BigInteger(), nullable=False),
        sa.Column("footage_ns", sa.BigInteger(), nullable=False),
        sa.Column("limit_ns", sa.BigInteger(), nullable=False),
        sa.Column("confirmed_ns", sa.BigInteger(), nullable=True),
        sa.Column("confirmed_by", sa.Text(), nullable=True),
        sa.CheckConstraint("key = 1", name=op.f("ck_brake_one_row")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_brake")),
    )
