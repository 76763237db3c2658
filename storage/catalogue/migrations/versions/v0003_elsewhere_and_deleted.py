"""Indexes: runs of footage that was not recorded live, and what was deleted of a stream by time of deletion."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    elsewhere = sa.text("origin <> 'live'")
    op.create_index(
        "ix_runs_elsewhere", "runs", ["stream_key", "start_ns"], sqlite_where=elsewhere, postgresql_where=elsewhere
    )
    op.create_index(op.f("ix_deletions_stream_key_deleted_ns"), "deletions", ["stream_key", "deleted_ns"])


def downgrade() -> None:
    op.drop_index(op.f("ix_deletions_stream_key_deleted_ns"), table_name="deletions")
    op.drop_index("ix_runs_elsewhere", table_name="runs")
