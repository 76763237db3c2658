"""Routes that need no sign-in: liveness, readiness, what the sign-in page shows, the first set-up; and the site's health."""

from __future__ import annotations

from importlib import metadata
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from vms.errors import CatalogueError
from vms.status.site_status import gather_status
from vms.status.status_json import status_json
from web.api import schemas, schemas_health, schemas_people, shapes
from web.api.parts import Need, ip_of, parts_of, require_same_origin
from web.identity.access import Act
from web.identity.callers import Caller
from web.identity.people import LANGUAGES

router = APIRouter(tags=["site"])
open_router = APIRouter(tags=["site"])


@open_router.get("/health/live")
async def live() -> schemas.Answers:
    """This process answers."""
    return schemas.Answers(ok=True)


@open_router.get("/health/ready", responses={503: {"model": schemas.Answers}})
async def ready(request: Request, response: Response) -> schemas.Answers:
    """The catalogue answers, so people can sign in."""
    ok = bool(parts_of(request).watch.catalogue_answers)
    response.status_code = 200 if ok else 503
    return schemas.Answers(ok=ok)


@router.get("/site")
async def site(request: Request) -> schemas.Site:
    """What may be known before signing in."""
    parts = parts_of(request)
    try:
        setup_needed = not await parts.catalogue.has_users()
    except CatalogueError:
        setup_needed = False
    section = parts.site.settings.site
    return schemas.Site(
        name=section.name, time_zone=section.time_zone, version=metadata.version("stroz"), setup_needed=setup_needed,
        languages=list(LANGUAGES),
    )  # fmt: skip


@router.post("/setup", status_code=201)
async def set_up(request: Request, wish: schemas_people.SetUp) -> schemas_people.User:
    """Make the first administrator with the code that was printed on the server. 410 once there is a user."""
    parts = parts_of(request)
    require_same_origin(request)
    user = await parts.identity.set_up(
        wish.setup_code, wish.name, wish.password, display_name=wish.display_name, language=wish.language,
        ip=ip_of(request),
    )  # fmt: skip
    grants = await parts.catalogue.grants(user.id)
    return shapes.user(user, grants, parts.clock.wall_ns())


@router.get("/health", response_model_exclude_unset=True)
async def health(request: Request, caller: Annotated[Caller, Depends(Need(Act.READ_HEALTH))]) -> schemas_health.Health:
    """What `vms status --json` says, cut to the cameras the caller may see; and how this process is."""
    parts = parts_of(request)
    facts = status_json(await gather_status(parts.site, web_asks=True))
    seen = {str(c.id) for c in parts.watch.cameras.values() if caller.access(c).may(Act.READ_HEALTH)}
    numbers = {c.number for c in parts.watch.cameras.values() if str(c.id) in seen and c.retired_ns is None}
    facts["streams"] = [s for s in facts["streams"] if s["camera_id"] in seen]
    facts["troubles"] = [t for t in facts["troubles"] if t["camera_id"] is None or t["camera_id"] in seen]
    facts["given_up"] = [g for g in facts["given_up"] if g["camera"] in numbers]
    if not caller.access(None).may(Act.MANAGE_CAMERAS):
        del facts["data"], facts["process"]
    facts["web"] |= {
        "catalogue_answers": bool(parts.watch.catalogue_answers),
        "recorder_answers": bool(parts.watch.recorder_answers),
        "live_views": len(parts.views.views),
    }
    return schemas_health.Health.model_validate(facts)
