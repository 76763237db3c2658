"""Merged spans beside the segments, filled from those that are there; and the state of a rebuild."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_DAY_NS = 86_400_000_000_000
_DAMAGED = 2
_PAGE = 10_000


def upgrade() -> None:
    op.create_table(
        "spans",
        sa.Column("stream_key", sa.Integer(), nullable=False),
        sa.Column("start_ns", sa.BigInteger(), nullable=False),
        sa.Column("damaged", sa.Boolean(), nullable=False),
        sa.Column("end_ns", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("end_ns > start_ns", name=op.f("ck_spans_length")),
        sa.ForeignKeyConstraint(["stream_key"], ["streams.key"], name=op.f("fk_spans_stream_key")),
        sa.PrimaryKeyConstraint("stream_key", "start_ns", "damaged", name=op.f("pk_spans")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rebuild",
        sa.Column("key", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("store", sa.Text(), nullable=False),
        sa.Column("started_ns", sa.BigInteger(), nullable=False),
        sa.Column("finished_ns", sa.BigInteger(), nullable=True),
        sa.Column("confirmed_ns", sa.BigInteger(), nullable=True),
        sa.Column("confirmed_by", sa.Text(), nullable=True),
        sa.CheckConstraint("key = 1", name=op.f("ck_rebuild_one_row")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_rebuild")),
    )
    _fill_spans()


def downgrade() -> None:
    op.drop_table("rebuild")
    op.drop_table("spans")


def _fill_spans() -> None:
    """One reading of the timeline's index a stream; memory does not grow with the number of segments."""
    conn = op.get_bind()
    if conn.dialect.name == "postgresql":
        op.execute("SET LOCAL statement_timeout = 0")  # a reading of millions of rows, and nobody else writes
    segments = sa.table("segments", *(sa.column(name) for name in ("stream_key", "start_ns", "end_ns", "flags")))
    spans = sa.table("spans", *(sa.column(name) for name in ("stream_key", "start_ns", "damaged", "end_ns")))
    for key in conn.scalars(sa.text("SELECT key FROM streams ORDER BY key")).all():
        query = (
            sa.select(segments.c.start_ns, segments.c.end_ns, segments.c.flags)
            .where(segments.c.stream_key == key)
            .order_by(segments.c.start_ns, segments.c.end_ns)
        )
        found = conn.execute(query, execution_options={"yield_per": _PAGE})
        page = []
        for damaged, start_ns, end_ns in _merged((row.start_ns, row.end_ns, row.flags) for row in found):
            page.append({"stream_key": key, "start_ns": start_ns, "damaged": damaged, "end_ns": end_ns})
            if len(page) == _PAGE:
                conn.execute(sa.insert(spans), page)
                page = []
        if page:
            conn.execute(sa.insert(spans), page)


def _merged(rows: Iterator[tuple[int, int, int]]) -> Iterator[tuple[bool, int, int]]:
    """Ranges in order of their starts, joined where they touch and cut at midnights, by quality."""
    open_: dict[bool, tuple[int, int]] = {}
    for start_ns, end_ns, flags in rows:
        damaged = bool(flags & _DAMAGED)
        before = open_.get(damaged)
        if before is not None and start_ns <= before[1]:
            open_[damaged] = (before[0], max(before[1], end_ns))
            continue
        if before is not None:
            yield from _cut(damaged, *before)
        open_[damaged] = (start_ns, end_ns)
    for damaged, (start_ns, end_ns) in open_.items():
        yield from _cut(damaged, start_ns, end_ns)


def _cut(damaged: bool, start_ns: int, end_ns: int) -> Iterator[tuple[bool, int, int]]:
    while start_ns < end_ns:
        until = min(end_ns, (start_ns // _DAY_NS + 1) * _DAY_NS)
        yield damaged, start_ns, until
        start_ns = until
