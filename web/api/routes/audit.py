"""Routes of the audit log: entries, which are read for a reason and put on record as read, signed heads, and proofs."""

from __future__ import annotations

import base64
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request

from storage.catalogue import Asked
from vms.localtime import format_utc
from vms.sentences import say
from web.api import schemas_audit, shapes
from web.api.paging import After, Limit, mark, read_number
from web.api.parts import Need, parts_of
from web.identity.access import Act
from web.identity.callers import Caller
from web.identity.checkpoints import sign_head
from web.identity.refusals import invalid

router = APIRouter(tags=["audit"])
Reading = Annotated[Caller, Depends(Need(Act.READ_AUDIT))]
Number = Annotated[int, Query(ge=0, le=2**62)]


@router.get("/audit")
async def audit(
    request: Request,
    caller: Reading,
    reason: Annotated[str, Query(min_length=3, max_length=300, description="Why it is read; goes on record.")],
    after: After = "",
    limit: Limit = 100,
    user: Annotated[str, Query(max_length=100, description="Name of whoever did it, by whatever token.")] = "",
    user_id: Annotated[UUID | None, Query(description="The same user, and no other that bore the name before.")] = None,
    act: Annotated[str, Query(max_length=40)] = "",
    camera: UUID | None = None,
) -> schemas_audit.AuditPage:
    """Entries, the newest first."""
    parts = parts_of(request)
    asked: Asked = {
        "user": user,
        "user_id": "" if user_id is None else str(user_id),
        "act": act,
        "camera": "" if camera is None else str(camera),
        "after": after,
    }
    record = caller.actor.does("read_audit", parts.clock.wall_ns(), "audit log", purpose=reason, asked=asked)
    await parts.catalogue.audit(record)
    found = await parts.catalogue.audit_entries(
        before=read_number(after), limit=limit + 1, user=user.replace("\x00", ""), user_id=user_id,
        act=act.replace("\x00", ""), camera_id=camera,
    )  # fmt: skip
    following = mark(str(found[limit - 1].number)) if len(found) > limit else None
    return schemas_audit.AuditPage(items=[shapes.audit_item(e) for e in found[:limit]], next=following)


@router.get("/audit/head")
async def head(request: Request, caller: Reading) -> schemas_audit.AuditHead:
    """The head of the log as it is now, and what was signed last. Shows no entry and makes none."""
    parts = parts_of(request)
    now, signed = await parts.catalogue.audit_head(), await parts.catalogue.checkpoints(last=1)
    last = [
        schemas_audit.SignedHead(
            size=one.size, at=format_utc(one.at_ns),
            key_id=parts.audit_key.key_id if parts.audit_key.is_signed(one) else None,
        )
        for one in signed
    ]  # fmt: skip
    return schemas_audit.AuditHead(size=now.size, root=now.root.hex(), signed=last[0] if last else None)


@router.get("/audit/checkpoint")
async def checkpoint(request: Request, caller: Reading) -> schemas_audit.Checkpoint:
    """The head of the log, signed now. Kept elsewhere, it proves later that nothing before it was changed."""
    parts = parts_of(request)
    await parts.catalogue.audit(caller.actor.does("sign_audit", parts.clock.wall_ns(), "audit log"))
    signed = await sign_head(parts.catalogue, parts.audit_key, parts.clock.wall_ns())
    found = signed or (await parts.catalogue.checkpoints(last=1))[0]
    return schemas_audit.Checkpoint(
        size=found.size, root=found.root.hex(), at=format_utc(found.at_ns), note=found.note,
        public_key=base64.b64encode(parts.audit_key.public).decode(),
    )  # fmt: skip


@router.get("/audit/proof")
async def proof(
    request: Request,
    caller: Reading,
    size: Annotated[int, Query(ge=1, le=2**62, description="Of the tree in which it is proved.")],
    number: Annotated[Number | None, Query(description="Of the entry: proves that it is in the tree.")] = None,
    first: Annotated[int | None, Query(ge=1, le=2**62, description="Proves that the tree grew from this size.")] = None,
) -> schemas_audit.AuditProof:
    """RFC 6962 proofs: that an entry is in the log, or that the log only grew."""
    parts = parts_of(request)
    if (number is None) == (first is None):
        raise invalid("number", say("log_number_or_first"))
    try:
        if number is not None:
            entry, head, path = await parts.catalogue.audit_inclusion(number, size)
            return schemas_audit.AuditProof(
                size=size, root=head.root.hex(), number=number, leaf=entry.leaf.hex(), path=[h.hex() for h in path]
            )
        assert first is not None
        before, head, path = await parts.catalogue.audit_consistency(first, size)
    except ValueError as error:
        raise invalid("size", say("log_place").noted(str(error))) from error
    return schemas_audit.AuditProof(
        size=size, root=head.root.hex(), first=first, first_root=before.root.hex(), path=[h.hex() for h in path]
    )
