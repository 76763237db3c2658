"""Routes of what is open: API tokens, and sessions of browsers."""

from __future__ import annotations

from collections import Counter
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request

from storage.catalogue import Login
from vms.localtime import format_utc
from web.api import schemas_people, shapes
from web.api.paging import After, Limit, login_mark, read_login_mark
from web.api.parts import Need, parts_of
from web.identity import people
from web.identity.access import Act
from web.identity.callers import Caller
from web.identity.refusals import Code, Refusal, not_found

router = APIRouter(tags=["logins"])
SignedIn = Annotated[Caller, Depends(Need(browser=True))]
Sure = Annotated[Caller, Depends(Need(browser=True, confirmed=True))]


@router.get("/tokens")
async def tokens(request: Request, caller: SignedIn, after: After = "", limit: Limit = 100) -> schemas_people.TokenPage:
    """One's own API tokens, the newest first; everybody's for those who manage users. Secrets are in no answer."""
    found = await parts_of(request).catalogue.tokens(
        user_id=_whose(caller), before=read_login_mark(after), limit=limit + 1
    )
    last = found[limit - 1].token if len(found) > limit else None
    following = None if last is None else login_mark(last.created_ns, last.id)
    return schemas_people.TokenPage(items=[shapes.token(t) for t in found[:limit]], next=following)


@router.post("/tokens", status_code=201)
async def create(request: Request, wish: schemas_people.NewToken, caller: Sure) -> schemas_people.TokenCreated:
    """Make a token of one's own: cut to these acts, for so many days. The secret is in the answer and nowhere else.

    Nobody makes one of another user's here: what it did would be on record as that user's doing.
    """
    parts, owner = parts_of(request), caller.login.user
    made, secret = await people.create_token(
        parts.catalogue, caller.actor, parts.clock.wall_ns(), owner, name=wish.name, acts=wish.acts, days=wish.days
    )
    return schemas_people.TokenCreated(token=shapes.token(Login(owner, (), token=made)), secret=secret)


@router.delete("/tokens/{token_id}", status_code=204)
async def revoke(request: Request, token_id: UUID, caller: SignedIn) -> None:
    """End a token, one's own or, for those who manage users, anybody's. It stays in the list as revoked."""
    parts = parts_of(request)
    found = (await parts.catalogue.logins({token_id})).get(token_id)
    if found is None or found.token is None:
        raise not_found()
    if found.user.id != caller.id and not caller.access(None).may(Act.MANAGE_USERS):
        raise not_found()
    await people.revoke_token(parts.catalogue, caller.actor, parts.clock.wall_ns(), found.token)
    parts.views.wake()


@router.get("/sessions")
async def sessions(
    request: Request, caller: SignedIn, after: After = "", limit: Limit = 100
) -> schemas_people.OpenSessionPage:
    """One's own sessions, the newest first; everybody's for those who manage users."""
    parts = parts_of(request)
    found = await parts.catalogue.open_sessions(
        now_ns=caller.now_ns, user_id=_whose(caller), before=read_login_mark(after), limit=limit + 1
    )
    last = found[limit - 1].session if len(found) > limit else None
    watching = Counter(v.login_id for v in parts.views.views.values())
    items = [
        schemas_people.OpenSession(
            id=s.id, user=login.user.name, user_id=login.user.id, ip=s.ip, agent=s.agent,
            created_at=format_utc(s.created_ns), seen_at=format_utc(s.seen_ns),
            expires_at=format_utc(s.expires_ns), mine=s.id == caller.login.id, live=watching[s.id],
        )
        for login in found[:limit]
        if (s := login.session) is not None
    ]  # fmt: skip
    following = None if last is None else login_mark(last.created_ns, last.id)
    return schemas_people.OpenSessionPage(items=items, next=following)


@router.delete("/sessions/{session_id}", status_code=204)
async def end(request: Request, session_id: UUID, caller: SignedIn) -> None:
    """End a session and its live pictures: one's own or, for those who manage users, anybody's."""
    parts = parts_of(request)
    login = (await parts.catalogue.logins({session_id})).get(session_id)
    if login is None or login.session is None:
        raise not_found()
    if login.user.id != caller.id:
        if not caller.access(None).may(Act.MANAGE_USERS):
            raise not_found()
        if not caller.confirmed:
            raise Refusal(Code.CONFIRM_PASSWORD)
    record = caller.actor.does("end_session", parts.clock.wall_ns(), f"user {login.user.name}")
    await parts.catalogue.end_session(session_id, record=record)
    parts.views.wake()


def _whose(caller: Caller) -> UUID | None:
    """Whose logins are listed; None: everybody's."""
    return None if caller.access(None).may(Act.MANAGE_USERS) else caller.id
