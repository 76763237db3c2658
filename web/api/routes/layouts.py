"""Routes of walls: one's own, and those that somebody shared."""

from __future__ import annotations

import json
from typing import Annotated
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, Request, Response

from storage.catalogue import StoredLayout
from vms.sentences import say
from web.api import schemas, shapes
from web.api.etags import IfMatch, etag, read_version
from web.api.parts import Need, parts_of
from web.identity.access import Act
from web.identity.callers import Caller
from web.identity.refusals import Code, Refusal, invalid, not_found, refused

router = APIRouter(tags=["layouts"])
LayingOut = Annotated[Caller, Depends(Need(Act.MANAGE_LAYOUTS))]
MOST_LAYOUTS = 200  # of one user


@router.get("/layouts")
async def layouts(request: Request, caller: LayingOut) -> schemas.LayoutList:
    """By name. Tiles name cameras; what the caller may not see of them stays unseen."""
    found = await parts_of(request).catalogue.layouts(caller.id)
    return schemas.LayoutList(items=[shapes.layout(one, caller) for one in found])


@router.post("/layouts", status_code=201)
async def create(request: Request, response: Response, wish: schemas.LayoutFields, caller: LayingOut) -> schemas.Layout:
    """Keep a new layout."""
    parts = parts_of(request)
    if sum(one.user_id == caller.id for one in await parts.catalogue.layouts(caller.id)) >= MOST_LAYOUTS:
        raise refused(Code.CONFLICT, say("layouts_full", most=MOST_LAYOUTS))
    return await _put(request, response, caller, uuid4(), wish, None)


@router.get("/layouts/{layout_id}")
async def layout(request: Request, response: Response, layout_id: UUID, caller: LayingOut) -> schemas.Layout:
    """One layout; the ETag is for changing it."""
    found = await parts_of(request).catalogue.layout(layout_id)
    if found is None or not (found.shared or found.user_id == caller.id):
        raise not_found()
    response.headers["ETag"] = etag(found.version)
    return shapes.layout(found, caller)


@router.put("/layouts/{layout_id}")
async def change(
    request: Request, response: Response, layout_id: UUID, wish: schemas.LayoutFields, caller: LayingOut,
    if_match: IfMatch = None,
) -> schemas.Layout:  # fmt: skip
    """Replace one's own layout."""
    await _own(request, caller, layout_id)
    return await _put(request, response, caller, layout_id, wish, read_version(if_match))


@router.delete("/layouts/{layout_id}", status_code=204)
async def remove(request: Request, layout_id: UUID, caller: LayingOut) -> None:
    """Remove one's own layout."""
    found, parts = await _own(request, caller, layout_id), parts_of(request)
    record = caller.actor.does("remove_layout", parts.clock.wall_ns(), f"layout {found.name}")
    await parts.catalogue.remove_layout(layout_id, record=record)


async def _own(request: Request, caller: Caller, layout_id: UUID) -> StoredLayout:
    found = await parts_of(request).catalogue.layout(layout_id)
    if found is None or not (found.shared or found.user_id == caller.id):
        raise not_found()
    if found.user_id != caller.id:
        raise Refusal(Code.FORBIDDEN, "this layout is another user's; keep a copy of your own")
    return found


async def _put(
    request: Request,
    response: Response,
    caller: Caller,
    layout_id: UUID,
    wish: schemas.LayoutFields,
    version: int | None,
) -> schemas.Layout:
    tiles = schemas.GRID_TILES[wish.grid]
    if len(wish.tiles) != tiles:
        raise invalid("tiles", say("layout_tiles", grid=wish.grid, tiles=tiles, given=len(wish.tiles)))
    if wish.spot is not None and wish.spot >= tiles:
        raise invalid("spot", say("layout_spot", grid=wish.grid, last=tiles - 1))
    parts = parts_of(request)
    body = wish.model_dump(mode="json", include={"grid", "spot", "tiles"})
    now_ns = parts.clock.wall_ns()
    author = caller.login.user.display_name or caller.login.user.name
    wanted = StoredLayout(
        layout_id, caller.id, wish.name, wish.shared, 0, author, json.dumps(body, sort_keys=True), now_ns
    )  # fmt: skip
    record = caller.actor.does("put_layout", now_ns, f"layout {wish.name}", shared=wish.shared)
    kept = await parts.catalogue.put_layout(wanted, version=version, record=record)
    if kept is None:
        raise Refusal(Code.STALE)
    response.headers["ETag"] = etag(kept.version)
    if version is None:
        response.headers["Location"] = f"/api/v1/layouts/{layout_id}"
    return shapes.layout(kept, caller)
