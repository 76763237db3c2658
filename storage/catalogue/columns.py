"""What the catalogue's tables have in common: their metadata with its naming, and columns that many of them have."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Integer, MetaData

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# An INTEGER primary key is SQLite's own row number and costs no index of its own; elsewhere the counter needs 8 bytes.
Counter = BigInteger().with_variant(Integer, "sqlite")


def key() -> Column[int]:
    return Column("key", Integer, primary_key=True)


def to(target: str, name: str | None = None) -> Column[int]:
    return Column(name or f"{target.rstrip('s')}_key", Integer, ForeignKey(f"{target}.key"), nullable=False)
