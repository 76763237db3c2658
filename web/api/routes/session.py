"""Routes of one's own session: sign in, look, confirm, change the password, sign out."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from web.api import schemas_people, shapes
from web.api.parts import Need, Parts, ip_of, parts_of, require_same_origin
from web.identity.callers import SESSION_SECONDS, Caller
from web.identity.refusals import Code, Refusal

router = APIRouter(tags=["session"])
DEVICE_SECONDS = 400 * 86_400  # the longest that browsers keep a cookie
Own = Annotated[Caller, Depends(Need(fresh=True))]


@router.post("/session")
async def sign_in(request: Request, response: Response, wish: schemas_people.SignIn) -> schemas_people.Session:
    """Begin a session: its cookie, and the token that unsafe requests must show."""
    parts = parts_of(request)
    require_same_origin(request)
    try:
        signed_in = await parts.identity.sign_in(
            wish.name, wish.password, ip=ip_of(request), agent=request.headers.get("user-agent", ""),
            device=request.cookies.get(parts.device_cookie),
        )  # fmt: skip
    except Refusal as refusal:
        parts.metrics.sign_ins.labels(refusal.code.value).inc()
        raise
    parts.metrics.sign_ins.labels("signed_in").inc()
    _set_cookie(response, parts, parts.cookie, signed_in.secret, SESSION_SECONDS)
    _set_cookie(response, parts, parts.device_cookie, signed_in.device, DEVICE_SECONDS)
    return shapes.session(signed_in.caller)


@router.get("/session")
async def session(caller: Own) -> schemas_people.Session:
    """Who is signed in here."""
    if caller.login.session is None:
        raise Refusal(Code.FORBIDDEN, "an API token has no session")
    return shapes.session(caller)


@router.delete("/session", status_code=204)
async def sign_out(request: Request, response: Response, caller: Own) -> None:
    """End this session and every live picture in it."""
    parts = parts_of(request)
    await parts.identity.sign_out(caller)
    parts.views.wake()
    response.delete_cookie(parts.cookie, path="/", secure=parts.tls, httponly=True, samesite="strict")


@router.post("/session/confirm")
async def confirm(request: Request, wish: schemas_people.PasswordOnly, caller: Own) -> schemas_people.Session:
    """Give the password again, so that sensitive acts are taken for some minutes."""
    return shapes.session(await parts_of(request).identity.confirm(caller, wish.password))


@router.put("/session/password", status_code=204)
async def change_password(request: Request, wish: schemas_people.PasswordChange, caller: Own) -> None:
    """Change one's own password. Other sessions and all tokens of the account end."""
    parts = parts_of(request)
    await parts.identity.change_password(caller, wish.old, wish.new)
    parts.views.wake()


def _set_cookie(response: Response, parts: Parts, name: str, value: str, seconds: int) -> None:
    response.set_cookie(
        name, value, max_age=seconds, path="/", secure=parts.tls, httponly=True, samesite="strict"
    )  # fmt: skip
