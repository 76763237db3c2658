"""Watching live through the web process: who may, what is on record, and that it ends when the right ends."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.support.inner_gateway import OFFER, InnerGateway, serving
from tests.support.web_site import TESTER, WebSite, over, until
from vms.errors import CatalogueUnavailable
from vms.model import Camera, StreamKind
from web.api.live_gateway import GatewayClient
from web.api.live_views import MOST_CONNECTING
from web.identity.access import ROLES, Act, Rendition, Role, RoleRights
from web.identity.people import change_user, create_token, revoke_token, take_role
from web.identity.refusals import Code, Refusal


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
    assert (await operator("PUT", f"{path}/stream", json={"stream": "main"})).status == 204
    assert web_site.gateway.sessions == {view: stream_of(camera, StreamKind.MAIN)}
    assert (await operator("PATCH", path)).status == 405
    assert (await operator("DELETE", path)).status == 200
    assert (await operator("DELETE", path)).status == 404
    assert web_site.gateway.sessions == {}
    found = (await web_site.catalogue.audit_entries(user="anna"))[:3]
    acts = [(e.act, e.camera_id, json.loads(e.detail).get("stream")) for e in found]
    assert acts == [("end_live", camera.id, None), ("switch_live", camera.id, "main"), ("view_live", camera.id, "sub")]


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


async def test_a_camera_that_is_switched_off_says_when_to_ask_again(web_site: WebSite) -> None:
    camera = await web_site.camera(1, enabled=False)
    operator = await web_site.signed_in("anna", Role.OPERATOR)
    refused = await operator.watch(camera)
    assert (refused.status, refused.code, refused.headers["Retry-After"]) == (409, "source_not_live", "30")
    assert web_site.gateway.sessions == {}


async def test_a_stream_that_the_camera_has_not_is_not_one_that_will_come(web_site: WebSite) -> None:
    camera = await web_site.camera(1, sub=False)
    operator = await web_site.signed_in("anna", Role.OPERATOR)
    view = view_of(await operator.watch(camera))
    refused = await operator("PUT", f"/whep/sessions/{view}/stream", json={"stream": "sub"})
    assert (refused.status, refused.code, refused.headers.get("Retry-After")) == (422, "no_such_stream", None)
    web_site.gateway.not_live = {stream_of(camera, StreamKind.MAIN)}
    waiting = await operator("PUT", f"/whep/sessions/{view}/stream", json={"stream": "main"})
    assert (waiting.status, waiting.code, waiting.headers["Retry-After"]) == (409, "source_not_live", "3")


async def test_a_long_list_of_sessions_is_read_to_its_end_and_an_endless_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = InnerGateway(sessions={uuid4(): uuid4() for _ in range(2000)})
    async with serving(inner.application(), tmp_path / "s"), GatewayClient(tmp_path / "s") as gateway:
        assert (await gateway.sessions()).keys() == inner.sessions.keys()
        monkeypatch.setattr("web.api.live_gateway.MOST_ANSWER_BYTES", 200_000)
        with pytest.raises(Refusal) as refused:
            await gateway.sessions()
    assert refused.value.code is Code.GATEWAY_AWAY


async def test_a_camera_one_may_not_see_is_answered_as_one_that_is_not_there(web_site: WebSite) -> None:
    theirs = await web_site.camera(1, group="Centrum")
    await web_site.camera(2, group="Praga")
    other = await web_site.signed_in("ola", (Role.OPERATOR, over("Praga")))
    forbidden = await other.watch(theirs)
    unknown = await other("POST", f"/whep/{UUID(int=7)}", data=OFFER, headers={"Content-Type": "application/sdp"})
    assert forbidden.status == unknown.status == 404
    assert forbidden.json == unknown.json
    assert web_site.gateway.sessions == {}


async def test_who_may_see_live_pictures_masked_only_never_gets_the_original(
    web_site: WebSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    masked = RoleRights(frozenset({Act.VIEW_LIVE}), frozenset(), frozenset({Rendition.MASKED}))
    camera, views = await web_site.camera(1), web_site.parts.views
    operator = await web_site.signed_in("anna", Role.OPERATOR)
    monkeypatch.setitem(ROLES, Role.RECIPIENT, masked)
    recipient = await web_site.signed_in("ola", Role.RECIPIENT)
    refused = await recipient.watch(camera)
    unknown = await recipient("POST", f"/whep/{UUID(int=7)}", data=OFFER, headers={"Content-Type": "application/sdp"})
    assert (refused.status, refused.json) == (unknown.status, unknown.json) == (404, unknown.json)
    assert web_site.gateway.sessions == {}

    view = view_of(await operator.watch(camera))
    compare, halted = views.compare, asyncio.Event()

    async def nothing() -> None:
        halted.set()

    monkeypatch.setattr(views, "compare", nothing)
    await halted.wait()
    monkeypatch.setitem(ROLES, Role.OPERATOR, masked)
    for method, path, body in (("PUT", "stream", {"stream": "main"}), ("POST", "snapshot", {"captured_at": None})):
        assert (await operator(method, f"/whep/sessions/{view}/{path}", json=body)).code == "not_found"
    assert web_site.gateway.sessions == {view: stream_of(camera, StreamKind.SUB)}
    monkeypatch.setattr(views, "compare", compare)
    assert await until(lambda: view in web_site.gateway.closed) < 2.0


async def test_a_purpose_is_asked_for_where_the_role_demands_one(web_site: WebSite) -> None:
    camera = await web_site.camera(1)
    chief = await web_site.signed_in("szef", Role.ADMINISTRATOR)
    for query in ("", "?purpose=.", "?purpose=%20%20%20x%20"):
        assert (await chief.watch(camera, query)).code == "purpose_required"
    assert (await chief.watch(camera, "?purpose=awaria%20kamery")).status == 201
    (entry, *_) = await web_site.catalogue.audit_entries(act="view_live")
    assert (entry.user_name, entry.purpose) == ("szef", "awaria kamery")


async def test_a_user_has_a_share_of_what_the_gateway_shows_and_leaves_the_rest_to_others(web_site: WebSite) -> None:
    camera = await web_site.camera(1)
    anna, ola = [await web_site.signed_in(name, Role.OPERATOR) for name in ("anna", "ola")]
    second = await web_site.nobody()
    await second.sign_in("anna")
    web_site.parts.views._most_of_user = 4
    shown = [await client.watch(camera) for client in (anna, anna, second, second, anna)]
    assert [one.status for one in shown] == [201, 201, 201, 201, 429]
    assert (shown[-1].code, shown[-1].headers["Retry-After"]) == ("too_many_views", "5")
    at_once = await asyncio.gather(*(ola.watch(camera) for _ in range(9)))
    assert sorted(one.status for one in at_once) == [201] * 4 + [429] * 5
    assert (await anna("DELETE", shown[0].headers["Location"])).status == 200
    assert (await second.watch(camera)).status == 201


async def test_what_never_connects_is_bounded_for_each_user(web_site: WebSite) -> None:
    camera = await web_site.camera(1)
    anna, ola = [await web_site.signed_in(name, Role.OPERATOR) for name in ("anna", "ola")]
    web_site.gateway.state = "connecting"
    assert {(await anna.watch(camera)).status for _ in range(MOST_CONNECTING)} == {201}
    refused = await anna.watch(camera)
    assert (refused.status, refused.code, refused.json["retry_after"]) == (429, "too_many_connecting", 1)
    assert (await ola.watch(camera)).status == 201
    web_site.gateway.state = "live"
    await until(lambda: not web_site.parts.views._connecting)
    assert (await anna.watch(camera)).status == 201


async def test_another_users_view_is_not_there(web_site: WebSite) -> None:
    camera = await web_site.camera(1)
    anna = await web_site.signed_in("anna", Role.OPERATOR)
    ola = await web_site.signed_in("ola", Role.OPERATOR)
    path = (await anna.watch(camera)).headers["Location"].removeprefix("/api/v1")
    assert (await ola("DELETE", path)).status == 404
    assert (await ola("PUT", f"{path}/stream", json={"stream": "main"})).status == 404
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


async def test_the_gateway_is_asked_while_the_catalogue_gives_no_answer(
    web_site: WebSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends all that nobody asks for, and a database that hangs takes a minute to be given up."""
    camera, views, asked = await web_site.camera(1), web_site.parts.views, 0
    operator = await web_site.signed_in("anna", Role.OPERATOR)
    view = view_of(await operator.watch(camera))
    monkeypatch.setattr("web.api.live_views.CATALOGUE_SECONDS", 0.1)
    sessions = web_site.parts.gateway.sessions

    async def hangs(*_args: Any, **_named: Any) -> None:
        await asyncio.Event().wait()

    async def counted() -> Any:
        nonlocal asked
        asked += 1
        return await sessions()

    for name in ("logins", "end_live_views"):
        monkeypatch.setattr(web_site.catalogue, name, hangs)
    monkeypatch.setattr(web_site.parts.gateway, "sessions", counted)
    await until(lambda: asked >= 2)
    assert view in views.views
    web_site.gateway.sessions.clear()
    monkeypatch.setattr("web.api.live_views.SETTLING_NS", 0)
    await until(lambda before=asked: view not in views.views and asked >= before + 3)


async def test_many_views_end_as_fast_as_one(web_site: WebSite) -> None:
    camera = await web_site.camera(1)
    await web_site.user("szef", Role.ADMINISTRATOR)
    anna = await web_site.signed_in("anna", Role.OPERATOR)
    web_site.parts.views._most_of_user, web_site.gateway.close_seconds = 200, 0.02
    for _ in range(160):
        assert (await anna.watch(camera)).status == 201
    user = await web_site.catalogue.user_named("anna")
    await change_user(web_site.catalogue, TESTER, time.time_ns(), user, {"disabled": True})
    assert await until(lambda: not web_site.gateway.sessions) < 2.0

    async def on_record() -> bool:
        return len(await web_site.catalogue.audit_entries(act="end_live", limit=500)) == 160

    await until(on_record)


async def test_a_token_ends_no_view_that_it_did_not_open(web_site: WebSite) -> None:
    camera = await web_site.camera(1)
    anna = await web_site.signed_in("anna", Role.OPERATOR)
    path = (await anna.watch(camera)).headers["Location"]
    user = await web_site.catalogue.user_named("anna")
    _, secret = await create_token(
        web_site.catalogue, TESTER, time.time_ns(), user, name="t", acts=[Act.READ_HEALTH], days=1
    )
    program = await web_site.nobody(bearer=secret)
    assert (await program("DELETE", path)).status == 404
    assert len(web_site.gateway.sessions) == 1


async def test_a_view_that_is_revoked_while_it_switches_stays_ended(
    web_site: WebSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = await web_site.camera(1)
    anna = await web_site.signed_in("anna", Role.OPERATOR)
    view, views = view_of(await anna.watch(camera)), web_site.parts.views
    change = web_site.catalogue.change_live_view

    async def revoked_meanwhile(*args: Any, **named: Any) -> None:
        await change(*args, **named)
        await views._revoke([views.views[view]])

    monkeypatch.setattr(web_site.catalogue, "change_live_view", revoked_meanwhile)
    switched = await anna("PUT", f"/whep/sessions/{view}/stream", json={"stream": "main"})
    assert switched.code == "not_found"
    assert view not in views.views


async def test_entries_of_a_user_are_found_by_name_whatever_acted_for_them(web_site: WebSite) -> None:
    """The token is in the detail, and who made it where that was somebody else; a view that was ended names its viewer."""
    camera = await web_site.camera(1)
    anna = await web_site.signed_in("anna", Role.OPERATOR)
    user = await web_site.catalogue.user_named("anna")
    _, secret = await create_token(
        web_site.catalogue, TESTER, time.time_ns(), user, name="boss", acts=[Act.VIEW_LIVE], days=1
    )
    program = await web_site.nobody(bearer=secret)
    assert (await program.watch(camera)).status == (await anna.watch(camera)).status == 201
    await anna("DELETE", "/session")
    await until(lambda: len(web_site.gateway.sessions) == 1)

    async def acts(**asked: Any) -> list[tuple[str, str | None]]:
        found = await web_site.catalogue.audit_entries(**asked)
        return [(e.act, json.loads(e.detail).get("by_token")) for e in found]

    async def ended() -> bool:
        return ("end_live", None) in await acts(user="Anna")

    await until(ended)
    expected = [
        ("end_live", None), ("sign_out", None), ("view_live", None), ("view_live", "boss, made by the test"),
        ("sign_in", None),
    ]  # fmt: skip
    assert await acts(user="anna") == await acts(user_id=user.id) == expected
    assert await acts(user="ann") == await acts(user_id=UUID(int=1)) == []


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
