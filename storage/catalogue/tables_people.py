"""The catalogue's tables of people: who they are, what they may, what they watch, and what is on record about it.

As `storage.catalogue.tables`, which speaks for the recordings. Roles and acts are words that `web.identity` knows.
Secrets are kept as digests or hashes only.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)

from storage.catalogue.columns import Counter, key, metadata, to

users = Table(
    "users",
    metadata,
    key(),
    Column("id", Uuid, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("name_folded", Text, nullable=False),
    Column("display_name", Text, nullable=False),
    Column("language", Text, nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("must_change_password", Boolean, nullable=False),
    Column("created_ns", BigInteger, nullable=False),
    Column("disabled_ns", BigInteger),
    Column("signed_in_ns", BigInteger),
    Column("signed_in_ip", Text),
    Column("failed", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("removed_ns", BigInteger),
    Index(
        "uq_users_name_in_use",
        "name_folded",
        unique=True,
        sqlite_where=text("removed_ns IS NULL"),
        postgresql_where=text("removed_ns IS NULL"),
    ),
)

grants = Table(
    "grants",
    metadata,
    key(),
    Column("id", Uuid, nullable=False, unique=True),
    to("users"),
    Column("role", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("camera_group", Text),
    Column("camera_key", Integer, ForeignKey("cameras.key")),
    Column("expires_ns", BigInteger),
    Column("back_ns", BigInteger),
    Column("created_ns", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Index(None, "user_key"),
)

sessions = Table(
    "sessions",
    metadata,
    key(),
    Column("id", Uuid, nullable=False, unique=True),
    to("users"),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("ip", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("created_ns", BigInteger, nullable=False),
    Column("seen_ns", BigInteger, nullable=False),
    Column("expires_ns", BigInteger, nullable=False),
    Column("confirmed_until_ns", BigInteger),
    Column("notice", Text, nullable=False),  # JSON: the sign-in before this one, failures since
    Index(None, "user_key"),
)

api_tokens = Table(
    "api_tokens",
    metadata,
    key(),
    Column("id", Uuid, nullable=False, unique=True),
    to("users"),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("acts", Text, nullable=False),
    Column("created_ns", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_ns", BigInteger, nullable=False),
    Column("used_ns", BigInteger),
    Column("revoked_ns", BigInteger),
    Index(None, "user_key"),
)

set_up = Table(
    "set_up",
    metadata,
    Column("key", Integer, primary_key=True, autoincrement=False),
    Column("code_digest", LargeBinary, nullable=False),
    Column("issued_ns", BigInteger, nullable=False),
    CheckConstraint("key = 1", name="one_row"),
)

live_views = Table(
    "live_views",
    metadata,
    key(),
    Column("id", Uuid, nullable=False, unique=True),
    Column("login_id", Uuid, nullable=False),  # of a session or an API token, which may be gone
    to("users"),
    to("cameras"),
    Column("stream_id", Uuid, nullable=False),
    Column("stream", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("started_ns", BigInteger, nullable=False),
)

layouts = Table(
    "layouts",
    metadata,
    key(),
    Column("id", Uuid, nullable=False, unique=True),
    to("users"),
    Column("name", Text, nullable=False),
    Column("shared", Boolean, nullable=False),
    Column("version", Integer, nullable=False),
    Column("author", Text, nullable=False),
    Column("body", Text, nullable=False),  # JSON: grid, spot, tiles
    Column("updated_ns", BigInteger, nullable=False),
    Index(None, "user_key"),
)

audit_entries = Table(
    "audit_entries",
    metadata,
    Column("number", Counter, primary_key=True, autoincrement=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("user_id", Uuid),
    Column("user_name", Text, nullable=False),
    Column("ip", Text, nullable=False),
    Column("act", Text, nullable=False),
    Column("object", Text, nullable=False),
    Column("camera_id", Uuid),
    Column("detail", Text, nullable=False),  # JSON with sorted keys, as it was hashed
    Column("purpose", Text, nullable=False),
    Column("leaf", LargeBinary, nullable=False),
    Index(None, "user_name", "number"),
    Index(None, "act", "number"),
    Index(None, "camera_id", "number"),
)

# Roots of whole subtrees of every eighth level, so that a proof reads hundreds of rows of millions, not all of them.
audit_nodes = Table(
    "audit_nodes",
    metadata,
    Column("level", SmallInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    PrimaryKeyConstraint("level", "position"),
    sqlite_with_rowid=False,
)

audit_head = Table(
    "audit_head",
    metadata,
    Column("key", Integer, primary_key=True, autoincrement=False),
    Column("size", BigInteger, nullable=False),
    Column("frontier", LargeBinary, nullable=False),  # roots of the whole subtrees that make up the tree, largest first
    CheckConstraint("key = 1", name="one_row"),
)

audit_checkpoints = Table(
    "audit_checkpoints",
    metadata,
    Column("size", Counter, primary_key=True, autoincrement=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("note", Text, nullable=False),
)
