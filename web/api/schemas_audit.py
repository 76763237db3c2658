"""The JSON of the interface about the audit log. Conventions as in `web.api.schemas`."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import Field

from web.api.schemas import CAMERA_ID, Instant, Outgoing, example, shown


class AuditItem(Outgoing):
    model_config = example(
        number=4711, at="2026-11-30T07:15:00.000Z", user="anna.nowak", user_id=CAMERA_ID, ip="10.20.0.14",
        act="view_live", object="camera 12", camera_id=CAMERA_ID, detail={"stream": "sub"}, purpose="",
        leaf="b5c0…",
    )  # fmt: skip

    number: int
    at: Instant
    user: str
    user_id: UUID | None
    ip: str
    act: str
    object: str
    camera_id: UUID | None
    detail: dict[str, Any]
    purpose: str
    leaf: str = Field(description="RFC 6962 leaf hash, hex.")


class AuditPage(Outgoing):
    model_config = example(items=[shown(AuditItem)], next="NDcxMQ")

    items: list[AuditItem]
    next: str | None


class Checkpoint(Outgoing):
    """The signed head of the log: a note (C2SP signed-note) over origin, size and root."""

    model_config = example(
        size=4712, root="6d0f…", at="2026-11-30T07:15:00.000Z",
        note="stroz/9f2c…\n4712\nbQ8…\nat 1780125300000000000\n\n— stroz/9f2c… hK3…\n", public_key="mC2…",
    )  # fmt: skip

    size: int
    root: str = Field(description="SHA-256 tree head of RFC 6962, hex.")
    at: Instant
    note: str
    public_key: str = Field(description="Ed25519, base64, with which the note's signature is checked.")


class SignedHead(Outgoing):
    """A checkpoint that is kept. `key_id`: of the site's audit key (C2SP signed-note), hex; null where another key signed it."""

    size: int
    at: Instant
    key_id: str | None


class AuditHead(Outgoing):
    """How long the log is now, and what of it was signed last. It says nothing of whether entries were changed: verifying does."""

    model_config = example(
        size=4715, root="6d0f…", signed={"size": 4712, "at": "2026-11-30T07:15:00.000Z", "key_id": "1f8a03c2"}
    )

    size: int
    root: str = Field(description="SHA-256 tree head of RFC 6962, hex.")
    signed: SignedHead | None


class AuditProof(Outgoing):
    """RFC 6962 §2.1: `inclusion` of entry `number` in the tree of `size`, or `consistency` of `first` with `size`."""

    model_config = example(size=4712, root="6d0f…", number=4711, leaf="b5c0…", path=["0a77…", "c41e…"])

    size: int
    root: str
    number: int | None = None
    leaf: str | None = None
    first: int | None = None
    first_root: str | None = None
    path: list[str]
