"""Appending to the audit log, inside whatever transaction makes the change that is put on record.

Owns what of an entry is hashed (`leaf_input`) and that an entry and the log's tree change together. A change and its entry
are one transaction wherever both are in this catalogue: then there is neither without the other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypedDict, Unpack, cast
from uuid import UUID

from sqlalchemy import Connection, insert, select, update

from storage.catalogue.people_values import AuditEntry
from storage.catalogue.tables_people import audit_entries, audit_head, audit_nodes
from vms.merkle import HASH_BYTES, Frontier, Node, leaf_hash
from vms.model import Camera

STORED_LEVELS = 8  # roots of whole subtrees are kept at levels 8, 16, 24 …

Why = Literal["closed", "gone", "revoked", "wrong_password", "switched_off"]


class Asked(TypedDict, total=False):
    """What of the log was asked for; "" for no matter what. `user_id` a UUID, `camera` one too, or as typed on the server;
    `after` a page's mark.
    """

    user: str
    user_id: str
    act: str
    camera: str
    after: str


class Detail(TypedDict, total=False):
    """Every fact an entry can have beside who, when and of what; what is None is left out. Pages have a label for each.

    Times are UTC in RFC 3339. No secret is a fact.
    """

    acts: list[str]  # of a token
    asked: Asked
    back_hours: int | None  # how far back a role reaches
    begins: str  # of what was exported
    by_token: str  # the API token that acted for the user
    camera_id: str | None  # over which a role was given
    captured_at: str | None  # of a snapshot's frame
    changes: Sequence[Mapping[str, Any]]  # of a camera: `vms.sentences` as JSON
    days: int  # for which a token is good
    depth: str  # to which footage was checked
    disabled: bool | None
    display_name: str | None
    ends: str
    expires_at: str | None
    folder: str
    group: str | None
    hours: float  # of footage that may be deleted
    language: str | None
    name: str  # of a camera, beside its number
    role: str | None
    rows: int  # of a table
    scope: str
    seconds: int  # that a view lasted
    shared: bool
    stepped_seconds: int  # by which a clock had been set
    store: str
    stream: str
    streams: list[str]  # addresses that were tested
    to_write: int
    token: str  # its name
    transcoded: bool
    view: str  # the same in all entries of one view
    why: Why


@dataclass(frozen=True, slots=True)
class Happening:
    """What is to be put on record. `detail` must be JSON; no secret may be in it."""

    at_ns: int
    act: str
    user_id: UUID | None = None
    user_name: str = ""
    ip: str = ""
    object: str = ""
    camera_id: UUID | None = None
    detail: Mapping[str, Any] | None = None
    purpose: str = ""


@dataclass(frozen=True, slots=True)
class Actor:
    """Whose act is put on record: a user, or (`user_id` None) whoever runs a command on the server.

    `token`: the API token that acted for the user; it stands in the entry's detail, so that all of a user's entries are
    found under the one name.
    """

    name: str
    user_id: UUID | None = None
    ip: str = ""
    token: str = ""

    def does(
        self,
        act: str,
        at_ns: int,
        object_: str = "",
        *,
        camera: Camera | None = None,
        purpose: str = "",
        **detail: Unpack[Detail],
    ) -> Happening:
        """The entry of the audit log."""
        about = object_ or (f"camera {camera.number}" if camera else "")
        seen = camera.id if camera else None
        if self.token:
            detail["by_token"] = self.token
        if "asked" in detail:
            detail["asked"] = cast("Asked", {name: fact for name, fact in detail["asked"].items() if fact})
        facts = {name: fact for name, fact in detail.items() if fact is not None}
        return Happening(at_ns, act, self.user_id, self.name, self.ip, about, seen, facts, purpose)


def leaf_input(entry: AuditEntry) -> bytes:
    """The bytes whose leaf hash the tree holds: canonical JSON (sorted keys, no spaces, UTF-8) of all but the leaf."""
    facts = {
        "number": entry.number, "at_ns": str(entry.at_ns), "user_id": entry.user_id and str(entry.user_id),
        "user": entry.user_name, "ip": entry.ip, "act": entry.act, "object": entry.object,
        "camera_id": entry.camera_id and str(entry.camera_id), "detail": entry.detail, "purpose": entry.purpose,
    }  # fmt: skip
    return json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def lock_log(conn: Connection) -> None:
    """Keep others from appending, and from whatever they do only under this lock, until the transaction ends."""
    conn.execute(select(audit_head.c.size).where(audit_head.c.key == 1).with_for_update())


def append(conn: Connection, happening: Happening) -> AuditEntry:
    """Write one entry. Whoever appends at the same time waits for the end of this transaction."""
    head = conn.execute(select(audit_head).where(audit_head.c.key == 1).with_for_update()).one()
    tree = unpack(head.size, head.frontier)
    detail = json.dumps(happening.detail or {}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    entry = AuditEntry(
        tree.size, happening.at_ns, happening.user_id, happening.user_name, happening.ip, happening.act,
        happening.object, happening.camera_id, detail, happening.purpose,
    )  # fmt: skip
    entry = replace(entry, leaf=leaf_hash(leaf_input(entry)))
    tree, made = tree.append(entry.leaf)
    conn.execute(
        insert(audit_entries).values(
            number=entry.number, at_ns=entry.at_ns, user_id=entry.user_id, user_name=entry.user_name, ip=entry.ip,
            act=entry.act, object=entry.object, camera_id=entry.camera_id, detail=detail, purpose=entry.purpose,
            leaf=entry.leaf,
        )
    )  # fmt: skip
    _keep(conn, made)
    conn.execute(update(audit_head).values(size=tree.size, frontier=b"".join(tree.roots)))
    return entry


def _keep(conn: Connection, made: list[Node]) -> None:
    kept = [n for n in made if n.level and n.level % STORED_LEVELS == 0]
    if kept:
        rows = [{"level": n.level, "position": n.position, "hash": n.hash} for n in kept]
        conn.execute(insert(audit_nodes), rows)


def unpack(size: int, packed: bytes) -> Frontier:
    return Frontier(size, tuple(packed[i : i + HASH_BYTES] for i in range(0, len(packed), HASH_BYTES)))
