"""Index: copies that a check found missing or corrupt."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    spoilt = sa.text("state <> 0")
    op.create_index("ix_copies_spoilt", "copies", ["arrival"], sqlite_where=spoilt, postgresql_where=spoilt)


def downgrade() -> None:
    op.drop_index("ix_copies_spoilt", table_name="copies")
