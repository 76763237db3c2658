"""Routes of cameras: what may be seen of them, and adding, changing, retiring, testing. Tables are in `camera_tables`."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from vms.localtime import format_utc
from vms.model import Camera
from vms.sentences import say
from web.api import camera_writing, schemas, shapes
from web.api.etags import IfMatch, etag, read_version
from web.api.paging import After, Limit, mark, read_mark
from web.api.parts import Need, Parts, camera_for, parts_of
from web.api.watching import CameraNow
from web.identity.access import Access, Act
from web.identity.callers import Caller
from web.identity.refusals import Code, invalid, not_found, refused

router = APIRouter(tags=["cameras"])
SignedIn = Annotated[Caller, Depends(Need())]
Managing = Annotated[Caller, Depends(Need(Act.MANAGE_CAMERAS, somewhere=True))]
Retiring = Annotated[Caller, Depends(Need(Act.MANAGE_CAMERAS, somewhere=True, confirmed=True))]


@router.get("/cameras")
async def cameras(
    request: Request,
    caller: SignedIn,
    after: After = "",
    limit: Limit = 200,
    group: Annotated[str | None, Query(max_length=120)] = None,
    q: Annotated[str, Query(max_length=120, description="Part of name or street, or the number.")] = "",
    retired: Annotated[bool, Query(description="Those out of service instead.")] = False,
) -> schemas.CameraPage:
    """Cameras by number, of those in which the caller may do anything."""
    parts, behind = parts_of(request), _place(after)
    found = sorted(
        (
            (camera, allowed)
            for camera in parts.watch.registered().values()
            if (camera.retired_ns is not None) == retired
            and (camera.number, str(camera.id)) > behind
            and (group is None or camera.group == group)
            and _matches(camera, q)
            and (allowed := caller.access(camera)).acts
        ),
        key=lambda one: (one[0].number, str(one[0].id)),
    )
    page = found[:limit]
    secrets = await _secrets(parts, page)
    items = [await _shown(parts, camera, allowed, secrets) for camera, allowed in page]
    last = page[-1][0] if len(found) > limit else None
    return schemas.CameraPage(items=items, next=None if last is None else mark(f"{last.number} {last.id}"))


@router.post("/cameras", status_code=201)
async def add(
    request: Request,
    response: Response,
    wish: schemas.NewCamera,
    caller: Annotated[Caller, Depends(Need(Act.MANAGE_CAMERAS))],
) -> schemas.CameraWritten:
    """Add a camera. It is recorded as soon as the recorder reads its new assignment."""
    parts = parts_of(request)
    camera, warnings = await camera_writing.add(parts, caller, wish)
    response.headers["Location"] = f"/api/v1/cameras/{camera.id}"
    return await _written(parts, caller, camera.id, warnings, response)


@router.post("/cameras/test")
async def test(request: Request, wish: schemas.CameraTest, caller: Managing) -> schemas.CameraTestReport:
    """Receive a camera's streams for some seconds, from the recorder's network. Nothing is changed."""
    return await camera_writing.test(parts_of(request), caller, wish)


@router.get("/groups")
async def groups(request: Request, caller: SignedIn) -> schemas.GroupList:
    """Groups of the cameras that the caller may see."""
    counts: dict[str, int] = {}
    for camera in parts_of(request).watch.registered().values():
        if camera.group and camera.retired_ns is None and caller.access(camera).acts:
            counts[camera.group] = counts.get(camera.group, 0) + 1
    return schemas.GroupList(items=[schemas.Group(name=name, cameras=counts[name]) for name in sorted(counts)])


@router.get("/profiles")
async def profiles(request: Request, caller: Managing) -> schemas.ProfileList:
    """Legal profiles: why cameras may record, and how long it is kept."""
    parts = parts_of(request)
    default = parts.site.settings.legal.name
    return schemas.ProfileList(
        items=[
            schemas.Profile(id=p.id, name=p.name, basis=p.basis, days=p.days, audio=p.audio, default=p.name == default)
            for p in await parts.catalogue.profiles()
        ]
    )


@router.get("/cameras/{camera_id}")
async def camera(request: Request, response: Response, camera_id: UUID, caller: SignedIn) -> schemas.Camera:
    """One camera; the ETag is for changing it."""
    parts = parts_of(request)
    camera_for(parts, caller, camera_id)
    return await _one(parts, caller, camera_id, response)


@router.patch("/cameras/{camera_id}")
async def change(
    request: Request,
    response: Response,
    camera_id: UUID,
    wish: schemas.CameraChange,
    caller: Managing,
    if_match: IfMatch = None,
) -> schemas.CameraWritten:
    """Change what is given and leave the rest."""
    parts = parts_of(request)
    found, _ = camera_for(parts, caller, camera_id, Act.MANAGE_CAMERAS)
    if found.retired_ns is not None:
        raise refused(Code.CONFLICT, say("camera_retired"))
    warnings = await camera_writing.change(parts, caller, camera_id, wish, version=read_version(if_match))
    return await _written(parts, caller, camera_id, warnings, response)


@router.delete("/cameras/{camera_id}", status_code=204)
async def retire(request: Request, camera_id: UUID, caller: Retiring, if_match: IfMatch = None) -> None:
    """Take a camera out of service, of whatever version where none is given. Its footage and history stay, its number is free again."""
    parts = parts_of(request)
    found, _ = camera_for(parts, caller, camera_id, Act.MANAGE_CAMERAS)
    await camera_writing.retire(parts, caller, found, version=None if if_match is None else read_version(if_match))


@router.get("/cameras/{camera_id}/history")
async def history(request: Request, camera_id: UUID, caller: Managing) -> list[schemas.CameraHistoryEntry]:
    """What happened to a camera, oldest first."""
    parts = parts_of(request)
    camera_for(parts, caller, camera_id, Act.MANAGE_CAMERAS)
    return [
        schemas.CameraHistoryEntry(at=format_utc(h.at_ns), kind=h.kind, by=h.by, changes=h.changes)
        for h in await parts.catalogue.history(camera_id)
    ]


def _place(after: str) -> tuple[int, str]:
    """Number and id behind which a page begins; a number is another camera's again once one is out of service."""
    number, _, camera_id = read_mark(after).partition(" ")
    if after and not (number.isascii() and number.isdigit() and len(number) < 10):
        raise invalid("after", say("mark_form"))
    return int(number or 0), camera_id


def _matches(camera: Camera, q: str) -> bool:
    part = q.strip().casefold()
    return not part or part == str(camera.number) or part in camera.name.casefold() or part in camera.street.casefold()


async def _secrets(parts: Parts, page: list[tuple[Camera, Access]]) -> dict[UUID, Camera]:
    """The cameras with user names, where any may be shown."""
    if not any(allowed.may(Act.MANAGE_CAMERAS) for _, allowed in page):
        return {}
    return {c.id: c for c in await parts.catalogue.cameras(include_retired=True)}


async def _shown(parts: Parts, camera: Camera, allowed: Access, secrets: dict[UUID, Camera]) -> schemas.Camera:
    now = parts.watch.now.get(camera.id, CameraNow())
    if allowed.may(Act.MANAGE_CAMERAS) and camera.id in secrets:
        whole = secrets[camera.id]
        return shapes.camera(whole, now, allowed, has_password=bool(whole.password))
    return shapes.camera(camera, now, allowed)


async def _one(parts: Parts, caller: Caller, camera_id: UUID, response: Response) -> schemas.Camera:
    found = await parts.catalogue.camera_and_version(camera_id)
    if found is None:
        raise not_found()
    whole, version = found
    response.headers["ETag"] = etag(version)
    return await _shown(parts, whole, caller.access(whole), {whole.id: whole})


async def _written(
    parts: Parts, caller: Caller, camera_id: UUID, warnings: camera_writing.Warnings, response: Response
) -> schemas.CameraWritten:
    return schemas.CameraWritten(
        camera=await _one(parts, caller, camera_id, response), warnings=[shapes.said(one) for one in warnings]
    )
