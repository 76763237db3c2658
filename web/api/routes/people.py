"""Routes of people: users, roles, grants, what somebody sees. Changing needs the password confirmed."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from storage.catalogue import StoredGrant, User
from web.api import schemas_people, shapes
from web.api.etags import IfMatch, etag, read_version
from web.api.paging import After, Limit, mark, read_mark
from web.api.parts import Need, Parts, parts_of
from web.identity import people
from web.identity.access import FOOTAGE, ROLES, Act, Role, access
from web.identity.callers import Caller, grants_of
from web.identity.refusals import not_found

router = APIRouter(tags=["people"])
Managing = Annotated[Caller, Depends(Need(Act.MANAGE_USERS))]
Sure = Annotated[Caller, Depends(Need(Act.MANAGE_USERS, confirmed=True))]


@router.get("/users")
async def users(
    request: Request,
    caller: Managing,
    after: After = "",
    limit: Limit = 100,
    q: Annotated[str, Query(max_length=64, description="Part of either name.")] = "",
) -> schemas_people.UserPage:
    """Users by name."""
    parts = parts_of(request)
    found = await parts.catalogue.users(after=read_mark(after), limit=limit + 1, search=_text(q))
    grants: dict[UUID, list[StoredGrant]] = {}
    for grant in await parts.catalogue.all_grants():
        grants.setdefault(grant.user_id, []).append(grant)
    items = [shapes.user(u, grants.get(u.id, []), caller.now_ns) for u in found[:limit]]
    return schemas_people.UserPage(items=items, next=mark(found[limit - 1].name) if len(found) > limit else None)


@router.post("/users", status_code=201)
async def create(
    request: Request, response: Response, wish: schemas_people.NewUser, caller: Sure
) -> schemas_people.UserCreated:
    """Make a user, with a first role; the one-time password is in the answer and nowhere else."""
    parts = parts_of(request)
    first = {} if wish.grant is None else _wished(wish.grant)
    user, password = await people.create_user(
        parts.catalogue, parts.identity.passwords, caller.actor, parts.clock.wall_ns(), name=wish.name,
        display_name=wish.display_name, language=wish.language, **first,
    )  # fmt: skip
    response.headers["Location"] = f"/api/v1/users/{user.id}"
    held = await parts.catalogue.grants(user.id)
    return schemas_people.UserCreated(user=shapes.user(user, held, caller.now_ns), password=password)


@router.get("/users/{user_id}")
async def user(request: Request, response: Response, user_id: UUID, caller: Managing) -> schemas_people.User:
    """One user; the ETag is for changing it."""
    parts = parts_of(request)
    found = await _user(parts, user_id)
    response.headers["ETag"] = etag(found.version)
    return shapes.user(found, await parts.catalogue.grants(user_id), caller.now_ns)


@router.patch("/users/{user_id}")
async def change(
    request: Request,
    response: Response,
    user_id: UUID,
    wish: schemas_people.UserChange,
    caller: Sure,
    if_match: IfMatch = None,
) -> schemas_people.User:
    """Change names and language, switch off or on. Switching off ends sessions, tokens and live pictures."""
    parts = parts_of(request)
    found = await _user(parts, user_id)
    wishes = wish.model_dump(exclude_none=True)
    changed = await people.change_user(
        parts.catalogue, caller.actor, parts.clock.wall_ns(), found, wishes, version=read_version(if_match)
    )
    parts.views.wake()
    response.headers["ETag"] = etag(changed.version)
    return shapes.user(changed, await parts.catalogue.grants(user_id), caller.now_ns)


@router.delete("/users/{user_id}", status_code=204)
async def remove(request: Request, user_id: UUID, caller: Sure) -> None:
    """Remove a user for ever; what is on record keeps the name."""
    parts = parts_of(request)
    await people.remove_user(parts.catalogue, caller.actor, parts.clock.wall_ns(), await _user(parts, user_id))
    parts.views.wake()


@router.post("/users/{user_id}/password")
async def reset_password(request: Request, user_id: UUID, caller: Sure) -> schemas_people.OneTimePassword:
    """A new one-time password. The user's sessions, tokens and live pictures end."""
    parts = parts_of(request)
    password = await people.reset_password(
        parts.catalogue, parts.identity.passwords, caller.actor, parts.clock.wall_ns(), await _user(parts, user_id)
    )
    parts.views.wake()
    return schemas_people.OneTimePassword(password=password)


@router.get("/roles")
async def roles(caller: Managing) -> schemas_people.RoleList:
    """What each role may."""
    return schemas_people.RoleList(
        items=[
            schemas_people.RoleInfo(
                role=role, acts=[a for a in Act if a in ROLES[role].acts],
                purpose_required=[a for a in Act if a in ROLES[role].purposeful],
                footage=bool(ROLES[role].acts & FOOTAGE),
            )
            for role in Role
        ]
    )  # fmt: skip


@router.get("/users/{user_id}/grants")
async def grants(request: Request, user_id: UUID, caller: Managing) -> schemas_people.GrantList:
    """A user's grants, expired ones too."""
    parts = parts_of(request)
    await _user(parts, user_id)
    return schemas_people.GrantList(items=[shapes.grant(g) for g in await parts.catalogue.grants(user_id)])


@router.post("/users/{user_id}/grants", status_code=201)
async def give(request: Request, user_id: UUID, wish: schemas_people.NewGrant, caller: Sure) -> schemas_people.Grant:
    """Give a user a role over all cameras, a group or one camera, for ever or until a time."""
    parts = parts_of(request)
    granted = await people.give_role(
        parts.catalogue, caller.actor, parts.clock.wall_ns(), await _user(parts, user_id), **_wished(wish)
    )
    parts.views.wake()
    return shapes.grant(granted)


@router.delete("/grants/{grant_id}", status_code=204)
async def take(request: Request, grant_id: UUID, caller: Sure) -> None:
    """Take a grant away, now: live pictures that rested on it end."""
    parts = parts_of(request)
    grant = await parts.catalogue.grant(grant_id)
    if grant is None:
        raise not_found()
    owner = await _user(parts, grant.user_id)
    await people.take_role(parts.catalogue, caller.actor, parts.clock.wall_ns(), owner, grant)
    parts.views.wake()


@router.get("/users/{user_id}/sees")
async def sees(request: Request, user_id: UUID, caller: Managing) -> schemas_people.Sees:
    """What this user may do now, camera by camera, by the very function that decides it."""
    parts = parts_of(request)
    found = await _user(parts, user_id)
    held = grants_of(await parts.catalogue.grants(user_id)) if found.disabled_ns is None else ()
    cameras = []
    for camera in sorted(parts.watch.registered().values(), key=lambda c: c.number):
        allowed = access(held, camera, caller.now_ns)
        if camera.retired_ns is not None or not allowed.acts:
            continue
        cameras.append(
            schemas_people.SeenCamera(
                id=camera.id, number=camera.number, name=camera.name, group=camera.group,
                acts=[a for a in Act if a in allowed.acts], sights=shapes.sights(allowed),
                purpose_required=[a for a in Act if a in allowed.purpose_required],
            )
        )  # fmt: skip
    site = access(held, None, caller.now_ns).acts
    return schemas_people.Sees(site_acts=[a for a in Act if a in site], cameras=cameras)


async def _user(parts: Parts, user_id: UUID) -> User:
    found = await parts.catalogue.user(user_id)
    if found is None:
        raise not_found()
    return found


def _text(q: str) -> str:
    return q.replace("\x00", "")


def _wished(wish: schemas_people.NewGrant) -> dict[str, Any]:
    """A grant as `web.identity.people` takes it."""
    return {
        "role": wish.role, "scope": wish.scope, "group": wish.group, "camera_id": wish.camera_id,
        "expires_ns": shapes.parse_instant(wish.expires_at, "expires_at"), "back_hours": wish.back_hours,
    }  # fmt: skip
