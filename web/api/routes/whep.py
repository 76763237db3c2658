"""Routes of WHEP (draft-ietf-wish-whep): authorised here, carried on to the live gateway, so that one port serves all."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from web.api import schemas, shapes
from web.api.parts import Need, camera_for, parts_of
from web.identity.access import Act
from web.identity.callers import Caller
from web.identity.refusals import Code, Refusal

router = APIRouter(prefix="/whep", tags=["live"])
SDP = "application/sdp"
MOST_OFFER_BYTES = 64 * 1024
SignedIn = Annotated[Caller, Depends(Need())]
_SDP_BODY = {
    "requestBody": {
        "required": True,
        "content": {SDP: {"schema": {"type": "string"}, "example": "v=0\r\no=- 1 1 IN …"}},
    }
}


@router.post(
    "/{camera_id}", status_code=201, openapi_extra=_SDP_BODY, response_class=Response,
    responses={201: {"content": {SDP: {"schema": {"type": "string"}, "example": "v=0\r\no=- 2 2 IN …"}}}},
)  # fmt: skip
async def watch(
    request: Request,
    camera_id: UUID,
    caller: SignedIn,
    stream: Annotated[
        Literal["auto", "main", "sub"], Query(description="auto: the sub-stream if there is one.")
    ] = "auto",
    purpose: Annotated[str, Query(max_length=300, description="Why, where the role must say so; goes on record.")] = "",
) -> Response:
    """Begin to watch a camera: an offer in, the answer out. The view is on record before the answer is given."""
    parts = parts_of(request)
    began_ns = parts.clock.mono_ns()
    camera, allowed = camera_for(parts, caller, camera_id, Act.VIEW_LIVE)
    offer = await _offer(request)
    view, answer = await parts.views.begin(caller, camera, allowed, stream=stream, purpose=purpose.strip(), offer=offer)
    parts.metrics.live_view_setup_seconds.observe((parts.clock.mono_ns() - began_ns) / 1e9)
    response = Response(answer.answer, 201, media_type=SDP)
    response.headers["Location"] = f"/api/v1/whep/sessions/{view.id}"
    response.headers["Stroz-Stream"] = view.stream
    response.headers["Stroz-Transcoded"] = "1" if answer.transcoded else "0"
    if answer.why:
        response.headers["Stroz-Why"] = "".join(c if " " <= c <= "~" else "?" for c in answer.why)[:200]
    for link in parts.ice.links(parts.clock.wall_ns()):
        response.headers.append("Link", link)
    return response


@router.options("/{camera_id}", status_code=204)
async def options(request: Request, camera_id: UUID, caller: SignedIn) -> Response:
    """What can be posted here."""
    parts = parts_of(request)
    camera_for(parts, caller, camera_id, Act.VIEW_LIVE)
    response = Response(status_code=204, headers={"Accept-Post": SDP})
    for link in parts.ice.links(parts.clock.wall_ns()):
        response.headers.append("Link", link)
    return response


@router.delete("/sessions/{session_id}", response_class=Response)
async def stop(request: Request, session_id: UUID, caller: SignedIn) -> Response:
    """Stop watching."""
    await parts_of(request).views.end(caller, session_id)
    return Response()


@router.put("/sessions/{session_id}/stream", status_code=204)
async def switch(request: Request, session_id: UUID, wish: schemas.StreamWish, caller: SignedIn) -> None:
    """Main or sub-stream of the same camera from the next key picture on, in the same session."""
    await parts_of(request).views.switch(caller, session_id, wish.stream)


@router.post("/sessions/{session_id}/snapshot", status_code=204)
async def snapshot(request: Request, session_id: UUID, wish: schemas.Snapshot, caller: SignedIn) -> None:
    """Say that a still of what is being watched is kept, before it is. Who is refused keeps none."""
    captured_ns = shapes.parse_instant(wish.captured_at, "captured_at")
    await parts_of(request).views.snapshot(caller, session_id, captured_ns)


async def _offer(request: Request) -> str:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != SDP:
        raise Refusal(Code.UNSUPPORTED_TYPE, f"an offer is sent as {SDP}")
    body = await request.body()
    if len(body) > MOST_OFFER_BYTES:
        raise Refusal(Code.TOO_LARGE)
    try:
        offer = body.decode()
    except UnicodeDecodeError as error:
        raise Refusal(Code.OFFER_MALFORMED, "the offer is not UTF-8") from error
    if not offer.startswith("v=0"):
        raise Refusal(Code.OFFER_MALFORMED, "an SDP begins with v=0")
    return offer
