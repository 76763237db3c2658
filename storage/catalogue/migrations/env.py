"""Alembic's entry: runs migrations on the connection and inside the transaction that `storage.catalogue.schema` opened."""

from __future__ import annotations

from alembic import context

from storage.catalogue import tables as _tables  # noqa: F401 - makes them known to the metadata
from storage.catalogue.columns import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    compare_type=True,
)
context.run_migrations()
