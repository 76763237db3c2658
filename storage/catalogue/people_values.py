"""What the catalogue takes and returns about people. Frozen values, no behaviour; roles, scopes and acts are plain words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class User:
    """A person who may sign in. `password_hash` is encoded by who made it; empty: no password will do."""

    id: UUID
    name: str
    display_name: str
    language: str
    password_hash: str = field(repr=False)
    must_change_password: bool
    created_ns: int
    disabled_ns: int | None = None
    signed_in_ns: int | None = None
    signed_in_ip: str | None = None
    failed: int = 0  # attempts with a wrong password since the last right one
    version: int = 1


@dataclass(frozen=True, slots=True)
class StoredGrant:
    """A role over some cameras. `camera_group` for scope `group`, `camera_id` for scope `camera`."""

    id: UUID
    user_id: UUID
    role: str
    scope: str
    camera_group: str | None
    camera_id: UUID | None
    expires_ns: int | None
    back_ns: int | None
    created_ns: int
    created_by: str


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A signed-in browser. The secret itself is nowhere; `notice` is what the person is told of the account's past."""

    id: UUID
    user_id: UUID
    ip: str
    agent: str
    created_ns: int
    seen_ns: int
    expires_ns: int
    confirmed_until_ns: int | None
    notice: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StoredToken:
    """A program's key to the interface, cut to `acts` of its user's."""

    id: UUID
    user_id: UUID
    name: str
    acts: frozenset[str]
    created_ns: int
    created_by: str
    expires_ns: int
    used_ns: int | None
    revoked_ns: int | None


@dataclass(frozen=True, slots=True)
class Login:
    """Who stands behind a session or a token, with everything that decides what they may: one reading, one instant."""

    user: User
    grants: tuple[StoredGrant, ...]
    session: StoredSession | None = None
    token: StoredToken | None = None

    @property
    def id(self) -> UUID:
        found = self.session or self.token
        assert found is not None
        return found.id


@dataclass(frozen=True, slots=True)
class LiveView:
    """A live picture somebody watches: a session of the gateway under the same id."""

    id: UUID
    login_id: UUID
    user_id: UUID
    user_name: str
    camera_id: UUID
    stream_id: UUID
    stream: str  # main or sub
    purpose: str
    started_ns: int


@dataclass(frozen=True, slots=True)
class StoredLayout:
    """A wall. `body` is JSON: grid, spot, tiles."""

    id: UUID
    user_id: UUID
    name: str
    shared: bool
    version: int
    author: str
    body: str
    updated_ns: int


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of the audit log. `detail` is canonical JSON; `leaf` what the log's tree has for it."""

    number: int
    at_ns: int
    user_id: UUID | None
    user_name: str
    ip: str
    act: str
    object: str
    camera_id: UUID | None
    detail: str
    purpose: str
    leaf: bytes = b""


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A signed head of the log's tree."""

    size: int
    at_ns: int
    root: bytes
    note: str
