"""Live views name their stream (main, sub) as everything else does; a rendition is original or masked."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("live_views", "rendition", new_column_name="stream")


def downgrade() -> None:
    op.alter_column("live_views", "stream", new_column_name="rendition")
