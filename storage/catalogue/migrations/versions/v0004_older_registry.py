"""Rebuilds: of which streams the journal believed may not have been the last, until a person confirms."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("rebuild", sa.Column("older", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("rebuild", "older")
