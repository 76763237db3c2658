"""Watching live through the web process: who may, what is on record, and that it ends when the right ends."""

from __future__ import annotations

import json
import time
from typing import Any
from uuid import UUID

import pytest

from tests.support.inner_gateway import OFFER
from tests.support.web_site import TESTER, WebSite, over, until
from vms.errors import CatalogueUnavailable
from vms.model import Camera, StreamKind
from web.identity.access import Act, Role
from web.identity.people import change_user, create_token, revoke_token, take_role


def view_of(answer: Any) -> UUID:
    return UUID(answer.headers["Location"].rpartition("/")[2])


def stream_of(camera: Camera, kind: StreamKind) -> UUID:
    return next(s.id for s in camera.streams if s.kind is kind)


async def test_a_view_is_opened_switched_closed_and_on_record(web_site: WebSite) -> None:
    camera = await web_site.camera(12)
    operator = await web_site.signed_in("anna", Role.OPERATOR)
    answer = await operator.watch(camera)
    assert answer.status == 201, answer.text
    assert answer.headers["Content-Type"] == "application/sdp"
    assert (answer.headers["Stroz-Stream"], answer.headers["Stroz-Transcoded"]) == ("sub", "0")
    view = view_of(answer)
    assert web_site.gateway.sessions == {view: stream_of(camera, StreamKind.SUB)}
    path = answer.headers["Location"].removeprefix("/api/v1")
    assert (await operator("PUT", f"{path}/rendition", json={"rendition": "main"})).status == 204
    assert web_site.gateway.sessions == {view: stream_of(camera, StreamKind.MAIN)}
    assert (await operator("PATCH", path)).status == 405
    assert (await operator("DELETE", path)).status == 200
    assert (await operator("DELETE", path)).status == 404
    assert web_site.gateway.sessions == {}
    acts = [(e.act, e.camera_id) for e in await web_site.catalogue.audit_entries(user="anna")]
    assert acts[:3] == [("end_live", camera.id), ("switch_live", camera.id), ("view_live", camera.id)]


async def test_what_the_gateway_refuses_is_said_in_our_codes(web_site: WebSite) -> None:
    camera = await web_site.camera(1)
    operator = await web_site.signed_in("anna", Role.OPERATOR)
    assert (await operator.watch(camera, offer="hello")).code == "offer_malformed"
    assert (await operator.watch(camera, offer="v=0\r\n")).code == "offer_malformed"
    assert (await operator.watch(camera, offer=OFFER.replace("H264", "VP8"))).code == "codec_unsupported"
    assert (await operator("POST", f"/whep/{camera.id}", data=OFFER)).code == "unsupported_type"
    web_site.gateway.most = 0
    refused = await operator.watch(camera)
    assert (refused.status, refused.code, refused.headers["Retry-After"]) == (503, "too_many_sessions", "5")
    web_site.gateway.most = 9
    web_site.gateway.undecodable = {stream_of(camera, StreamKind.SUB)}
    assert (await operator.watch(camera)).headers["Stroz-Stream"] == "main"
    web_site.gateway.not_live = {s.id for s in camera.streams}
    refused = await operator.watch(camera)
    assert (refused.status, refused.code, refused.json["retry_after"]) == (409, "source_not_live", 3)
    (web_site.parts.site.run / "live.sock").unlink()
    await web_site.parts.gateway.__aexit__()
    web_site.parts.gateway._session = None
    assert (await operator.watch(camera)).code == "gateway_away"


async def test_a_camera_one_may_not_see_is_answered_as_one_that_is_not_there(web_site: WebSite) -> None:
    theirs = await web_site.camera(1, group="Centrum")
    await web_site.camera(2, group="Praga")
    other = await web_site.signed_in("ola", (Role.OPERATOR, over("Praga")))
    forbidden = await other.watch(theirs)
    unknown = await other("POST", f"/whep/{UUID(int=7)}", data=OFFER, headers={"Content-Type": "application/sdp"})
    assert forbidden.status == unknown.status == 404
    assert forbidden.json == unknown.json
    assert web_site.gateway.sessions == {}


async def test_a_purpose_is_asked_for_where_the_role_demands_one(web_site: WebSite) -> None:
    camera = await web_site.camera(1)
    chief = await web_site.signed_in("szef", Role.ADMINISTRATOR)
    assert (await chief.watch(camera)).code == "purpose_required"
    assert (await chief.watch(camera, "?purpose=awaria%20kamery")).status == 201
    (entry, *_) = await web_site.catalogue.audit_entries(act="view_live")
    assert (entry.user_name, entry.purpose) == ("szef", "awaria kamery")


async def test_another_users_view_is_not_there(web_site: WebSite) -> None:
    camera = await web_site.camera(1)
    anna = await web_site.signed_in("anna", Role.OPERATOR)
    ola = await web_site.signed_in("ola", Role.OPERATOR)
    path = (await anna.watch(camera)).headers["Location"].removeprefix("/api/v1")
    assert (await ola("DELETE", path)).status == 404
    assert (await ola("PUT", f"{path}/rendition", json={"rendition": "main"})).status == 404
    assert len(web_site.gateway.sessions) == 1


async def test_views_end_within_two_seconds_when_the_right_ends(web_site: WebSite) -> None:
    camera = await web_site.camera(1)
    catalogue = web_site.catalogue

    async def signed_out(name: str) -> None:
        for login in await catalogue.open_sessions(now_ns=time.time_ns()):
            if login.user.name == name:
                record = TESTER.does("end_session", time.time_ns())
                await catalogue.end_session(login.session.id, record=record)

    async def disabled(name: str) -> None:
        user = await catalogue.user_named(name)
        await change_user(catalogue, TESTER, time.time_ns(), user, {"disabled": True})

    async def without_role(name: str) -> None:
        user = await catalogue.user_named(name)
        (grant,) = await catalogue.grants(user.id)
        await take_role(catalogue, TESTER, time.time_ns(), user, grant)

    await web_site.user("szef", Role.ADMINISTRATOR)  # somebody must be
    for end in (signed_out, disabled, without_role):  # by another process: nobody wakes the web process
        name = end.__name__.replace("_", "-")
        operator = await web_site.signed_in(name, Role.OPERATOR)
        view = view_of(await operator.watch(camera))
        await end(name)
        assert await until(lambda view=view: view in web_site.gateway.closed) < 2.0
    ended = {json.loads(e.detail)["why"] for e in await catalogue.audit_entries(act="end_live")}
    assert ended == {"revoked"}


async def test_a_token_that_is_revoked_ends_its_view(web_site: WebSite) -> None:
    camera = await web_site.camera(1)
    await web_site.user("anna", Role.OPERATOR)
    user = await web_site.catalogue.user_named("anna")
    token, secret = await create_token(
        web_site.catalogue, TESTER, time.time_ns(), user, name="wall", acts=[Act.VIEW_LIVE], days=1
    )
    program = await web_site.nobody(bearer=secret)
    view = view_of(await program.watch(camera))
    await revoke_token(web_site.catalogue, TESTER, time.time_ns(), token)
    assert await until(lambda: view in web_site.gateway.closed) < 2.0
    assert (await program.watch(camera)).code == "not_signed_in"


async def test_sessions_that_nobody_here_knows_are_closed_and_gone_ones_forgotten(web_site: WebSite) -> None:
    camera = await web_site.camera(1)
    operator = await web_site.signed_in("anna", Role.OPERATOR)
    stranger = UUID(int=5)
    web_site.gateway.sessions[stranger] = UUID(int=6)
    await until(lambda: stranger in web_site.gateway.closed)
    view = view_of(await operator.watch(camera))
    web_site.gateway.sessions.clear()  # the browser went away
    await until(lambda: view not in web_site.parts.views.views)

    async def forgotten() -> bool:
        return await web_site.catalogue.live_views() == []

    await until(forgotten)


async def test_the_web_process_knows_after_a_restart_who_watches(web_site: WebSite) -> None:
    camera = await web_site.camera(1)
    operator = await web_site.signed_in("anna", Role.OPERATOR)
    view = view_of(await operator.watch(camera))
    views = web_site.parts.views
    views.views.clear()
    views._loaded = False  # as a new process begins
    await views.compare()
    assert set(views.views) == {view}
    assert view in web_site.gateway.sessions


async def test_a_view_that_cannot_be_put_on_record_is_not_given(
    web_site: WebSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = await web_site.camera(1)
    operator = await web_site.signed_in("anna", Role.OPERATOR)

    async def refuse(*_args: object) -> None:
        raise CatalogueUnavailable("the disk is full")

    monkeypatch.setattr(web_site.catalogue, "begin_live_view", refuse)
    assert (await operator.watch(camera)).code == "catalogue_away"
    assert web_site.gateway.sessions == {}
    assert len(web_site.gateway.closed) == 1
