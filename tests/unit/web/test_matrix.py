"""Every route by role by object, from the interface's own description: nothing foreign is ever given (S-04).

A row says what a route asks for. A route without a row fails; what each role should get follows from the row and the table
of roles, not from the function that decides.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest

from storage.catalogue import StoredLayout
from tests.support.inner_gateway import OFFER
from tests.support.web_site import TESTER, Answer, Client, WebSite, over
from vms.model import Camera
from web.api.app import create_app
from web.api.client_files import ClientFiles
from web.identity.access import ROLES, Act, Role
from web.identity.people import create_token, give_role

HERE, THERE = "Centrum", "Praga"
DENIED = (401, 403, 404)
ANYWHERE = {Act.READ_HEALTH, Act.MANAGE_LAYOUTS}


@dataclass(frozen=True)
class Row:
    """`act` over `of`: the whole site, something anywhere, this camera; or `own`: whoever is signed in, of their own things."""

    of: str  # open, own, site, anywhere, camera
    act: Act | None = None
    body: Any = None
    query: str = ""


CAMERA = {"name": "Nowa", "main_url": "rtsp://10.9.9.9/x"}
LAYOUT = {"name": "Ściana", "grid": "1", "tiles": [None]}
ROWS: dict[str, Row] = {
    "GET /health/live": Row("open"),
    "GET /health/ready": Row("open"),
    "GET /api/v1/site": Row("open"),
    "POST /api/v1/setup": Row("open", body={"setup_code": "x", "name": "mallory", "password": "Krowa-na-rynku-7"}),
    "POST /api/v1/session": Row("open", body={"name": "nikt", "password": "zgaduję"}),
    "GET /api/v1/session": Row("own"),
    "DELETE /api/v1/session": Row("own"),
    "POST /api/v1/session/confirm": Row("own", body={"password": "Krowa-na-rynku-7"}),
    "PUT /api/v1/session/password": Row("own", body={"old": "Krowa-na-rynku-7", "new": "x"}),
    "GET /api/v1/health": Row("anywhere", Act.READ_HEALTH),
    "GET /api/v1/cameras": Row("own"),
    "POST /api/v1/cameras": Row("site", Act.MANAGE_CAMERAS, CAMERA),
    "POST /api/v1/cameras/test": Row("somewhere", Act.MANAGE_CAMERAS, {"camera_id": "{camera_id}"}),
    "POST /api/v1/cameras/import": Row("site", Act.MANAGE_CAMERAS, "numer;nazwa;adres\r\n"),
    "GET /api/v1/cameras/export": Row("site", Act.MANAGE_CAMERAS),
    "GET /api/v1/cameras/import/template": Row("site", Act.MANAGE_CAMERAS),
    "GET /api/v1/groups": Row("own"),
    "GET /api/v1/profiles": Row("somewhere", Act.MANAGE_CAMERAS),
    "GET /api/v1/cameras/{camera_id}": Row("camera"),
    "PATCH /api/v1/cameras/{camera_id}": Row("camera", Act.MANAGE_CAMERAS, {"name": "Inna"}),
    "DELETE /api/v1/cameras/{camera_id}": Row("camera", Act.MANAGE_CAMERAS),
    "GET /api/v1/cameras/{camera_id}/history": Row("camera", Act.MANAGE_CAMERAS),
    "GET /api/v1/users": Row("site", Act.MANAGE_USERS),
    "POST /api/v1/users": Row("site", Act.MANAGE_USERS, {"name": "nowy"}),
    "GET /api/v1/users/{user_id}": Row("site", Act.MANAGE_USERS),
    "PATCH /api/v1/users/{user_id}": Row("site", Act.MANAGE_USERS, {"display_name": "x"}),
    "DELETE /api/v1/users/{user_id}": Row("site", Act.MANAGE_USERS),
    "POST /api/v1/users/{user_id}/password": Row("site", Act.MANAGE_USERS),
    "GET /api/v1/users/{user_id}/grants": Row("site", Act.MANAGE_USERS),
    "POST /api/v1/users/{user_id}/grants": Row("site", Act.MANAGE_USERS, {"role": "administrator"}),
    "GET /api/v1/users/{user_id}/sees": Row("site", Act.MANAGE_USERS),
    "DELETE /api/v1/grants/{grant_id}": Row("site", Act.MANAGE_USERS),
    "GET /api/v1/roles": Row("site", Act.MANAGE_USERS),
    "GET /api/v1/tokens": Row("own"),
    "POST /api/v1/tokens": Row("own", body={"name": "t", "acts": ["view_live"]}),
    "DELETE /api/v1/tokens/{token_id}": Row("site", Act.MANAGE_USERS),  # of another's; one's own is tested elsewhere
    "GET /api/v1/sessions": Row("own"),
    "DELETE /api/v1/sessions/{session_id}": Row("site", Act.MANAGE_USERS),
    "GET /api/v1/layouts": Row("anywhere", Act.MANAGE_LAYOUTS),
    "POST /api/v1/layouts": Row("anywhere", Act.MANAGE_LAYOUTS, LAYOUT),
    "GET /api/v1/layouts/{layout_id}": Row("nobody", Act.MANAGE_LAYOUTS),  # another's, and not shared
    "PUT /api/v1/layouts/{layout_id}": Row("nobody", Act.MANAGE_LAYOUTS, LAYOUT),
    "DELETE /api/v1/layouts/{layout_id}": Row("nobody", Act.MANAGE_LAYOUTS),
    "GET /api/v1/audit": Row("site", Act.READ_AUDIT, query="?reason=test"),
    "GET /api/v1/audit/head": Row("site", Act.READ_AUDIT),
    "GET /api/v1/audit/checkpoint": Row("site", Act.READ_AUDIT),
    "GET /api/v1/audit/proof": Row("site", Act.READ_AUDIT, query="?size=1&number=0"),
    "POST /api/v1/whep/{camera_id}": Row("camera", Act.VIEW_LIVE, OFFER, query="?purpose=test"),
    "OPTIONS /api/v1/whep/{camera_id}": Row("camera", Act.VIEW_LIVE),
    "DELETE /api/v1/whep/sessions/{session_id}": Row("nobody", Act.VIEW_LIVE),  # another's view
    "POST /api/v1/whep/sessions/{session_id}/snapshot": Row("nobody", Act.VIEW_LIVE, {"captured_at": None}),
    "PUT /api/v1/whep/sessions/{session_id}/stream": Row("nobody", Act.VIEW_LIVE, {"stream": "main"}),
}


def operations() -> dict[str, Any]:
    described = create_app(None, ClientFiles({})).openapi()
    return {f"{method.upper()} {path}": one for path, ops in described["paths"].items() for method, one in ops.items()}


def test_every_route_has_a_row_and_every_row_a_route() -> None:
    assert operations().keys() == ROWS.keys()


def test_what_is_open_is_described_as_open_and_nothing_else_is() -> None:
    assert {name for name, one in operations().items() if one.get("security") == []} == {
        name for name, row in ROWS.items() if row.of == "open"
    }


def test_no_route_escapes_the_description() -> None:
    """But for the WebSocket, which has its own tests, and the client's files."""
    routes = list(_routes(create_app(None, ClientFiles({})).routes))
    hidden = {route.path for route in routes if not getattr(route, "include_in_schema", False)}
    assert hidden == {"/api/v1/ws", "/{path:path}"}
    assert len(routes) == len(ROWS) + len(hidden)


def _routes(routes: Any) -> Iterator[Any]:
    for route in routes:
        if hasattr(route, "original_router"):
            yield from _routes(route.original_router.routes)
        else:
            yield route


@dataclass
class Things:
    """What routes are asked about. Everything here belongs to somebody who is none of the askers."""

    own: Camera
    foreign: Camera
    retired: Camera
    user: UUID
    grant: UUID
    token: UUID
    session: UUID
    layout: UUID
    view: UUID


async def things(site: WebSite) -> Things:
    own, foreign = await site.camera(1, group=HERE), await site.camera(2, group=THERE)
    retired = await site.camera(3, group=THERE)
    await site.catalogue.retire_camera(retired.id, at_ns=time.time_ns())
    await site.parts.watch.look()
    victim = await site.signed_in("ofiara", Role.OPERATOR)
    user = await site.catalogue.user_named("ofiara")
    now_ns = time.time_ns()
    token, _ = await create_token(site.catalogue, TESTER, now_ns, user, name="t", acts=[Act.VIEW_LIVE], days=1)
    (grant,) = await site.catalogue.grants(user.id)
    (login,) = await site.catalogue.open_sessions(now_ns=now_ns)
    wall = StoredLayout(
        uuid4(), user.id, "Prywatna", False, 0, "x", json.dumps({"grid": "1", "spot": None, "tiles": [None]}), 1
    )
    await site.catalogue.put_layout(wall, version=None, record=TESTER.does("put_layout", now_ns))
    view = UUID((await victim.watch(own)).headers["Location"].rpartition("/")[2])
    return Things(own, foreign, retired, user.id, grant.id, token.id, login.session.id, wall.id, view)


async def ask(client: Client, name: str, row: Row, there: Things, camera: UUID) -> Answer:
    method, _, path = name.partition(" ")
    session = there.view if "/whep/" in path else there.session
    ids = {
        "camera_id": camera, "user_id": there.user, "grant_id": there.grant, "token_id": there.token,
        "session_id": session, "layout_id": there.layout,
    }  # fmt: skip
    options: dict[str, Any] = {"allow_redirects": False}
    if isinstance(row.body, str):
        kind = "application/sdp" if "/whep/" in path else "text/csv"
        options |= {"data": row.body, "headers": {"Content-Type": kind}}
    elif row.body is not None:
        options["json"] = json.loads(json.dumps(row.body).replace("{camera_id}", str(camera)))
    return await client(method, path.format(**ids) + row.query, **options)


def may(row: Row, role: Role, *, everywhere: bool, reached: bool) -> bool:
    """What the table of roles says, without the function under test."""
    acts = ROLES[role].acts
    if row.of in ("open", "own"):
        return True
    if row.of == "nobody":
        return False
    if row.of == "camera" and row.act is None:
        seen = {
            Act.VIEW_LIVE,
            Act.VIEW_RECORDED,
            Act.EXPORT,
            Act.PLACE_HOLD,
            Act.RELEASE_HOLD,
            Act.MANAGE_CAMERAS,
            Act.READ_HEALTH,
        }
        return bool(acts & seen) and reached
    assert row.act is not None
    if row.of == "site":
        return row.act in acts and everywhere
    if row.of in ("anywhere", "somewhere"):
        return row.act in acts
    return row.act in acts and reached


HARMLESS = {"GET", "OPTIONS"}
LASTING = {"POST /api/v1/cameras", "POST /api/v1/users", "POST /api/v1/layouts", "POST /api/v1/tokens"}


@pytest.mark.parametrize("role", Role)
async def test_a_role_over_one_group_gets_what_it_may_there_and_nothing_else(web_site: WebSite, role: Role) -> None:
    there = await things(web_site)
    client = await web_site.signed_in("ktos", (role, over(HERE)))
    wrong = []
    for name, row in ROWS.items():
        if name in ("DELETE /api/v1/session", "PUT /api/v1/session/password"):
            continue
        targets = {"own": there.own.id, "foreign": there.foreign.id, "retired": there.retired.id, "unknown": uuid4()}
        if "{camera_id}" not in name and "{camera_id}" not in json.dumps(row.body):
            targets = {"own": there.own.id}
        denials = []
        for which, camera in targets.items():
            allowed = may(row, role, everywhere=False, reached=which == "own")
            if allowed and name.partition(" ")[0] not in HARMLESS and name == "DELETE /api/v1/cameras/{camera_id}":
                continue  # done below, once everything else was asked
            answer = await ask(client, name, row, there, camera)
            if which != "own" and row.of == "camera":
                denials.append((answer.status, answer.json))
            expected_denial = not allowed or (which != "own" and name == "POST /api/v1/cameras/test")
            if (expected_denial != (answer.status in DENIED) and row.of != "open") or answer.status >= 500:
                wrong.append(f"{role} {name} {which}: {answer.status} {answer.text[:120]}")
        if any(one != denials[0] for one in denials):
            wrong.append(f"{role} {name}: forbidden and unknown are told apart: {denials}")
    assert wrong == []
    retire = await client("DELETE", f"/cameras/{there.own.id}")
    assert (retire.status == 204) == (Act.MANAGE_CAMERAS in ROLES[role].acts)
    assert next(iter(web_site.gateway.sessions)) == there.view
    listed = await client("GET", "/cameras")
    assert {c["group"] for c in listed.json["items"]} <= {HERE}
    assert there.foreign.name not in (await client("GET", "/health")).text


async def test_nobody_gets_anything_but_what_is_open(web_site: WebSite) -> None:
    there = await things(web_site)
    expired = await web_site.nobody(bearer="stroz_" + "x" * 43)
    for client in (await web_site.nobody(), expired):
        for name, row in ROWS.items():
            answer = await ask(client, name, row, there, there.own.id)
            if row.of != "open":
                assert (answer.status, answer.code) == (401, "not_signed_in"), name
            assert there.own.name not in answer.text


async def test_a_role_over_everything_may_what_its_table_says(web_site: WebSite) -> None:
    there = await things(web_site)
    for role in Role:
        client = await web_site.signed_in(f"u-{role}".replace("_", "-"), role)
        for name, row in ROWS.items():
            if name.startswith(("DELETE", "PUT /api/v1/session", "POST /api/v1/users/")) or name in LASTING:
                continue
            answer = await ask(client, name, row, there, there.own.id)
            allowed = may(row, role, everywhere=True, reached=True)
            assert row.of == "open" or allowed != (answer.status in DENIED), f"{role} {name} {answer.text[:200]}"
            assert answer.status < 500


async def test_a_token_may_at_most_what_it_was_cut_to(web_site: WebSite) -> None:
    there = await things(web_site)
    await web_site.user("szef", Role.ADMINISTRATOR, Role.OPERATOR)
    user = await web_site.catalogue.user_named("szef")
    _, secret = await create_token(
        web_site.catalogue, TESTER, time.time_ns(), user, name="t", acts=[Act.VIEW_LIVE], days=1
    )
    program = await web_site.nobody(bearer=secret)
    for name, row in ROWS.items():
        answer = await ask(program, name, row, there, there.own.id)
        if row.of in ("site", "anywhere", "somewhere", "nobody") or row.act is Act.MANAGE_CAMERAS:
            assert answer.status in DENIED, name
    assert (await program.watch(there.own)).status == 201
    assert (await program("GET", "/session")).code == "forbidden"
    assert (await program("POST", "/tokens", json={"name": "t", "acts": ["manage_users"]})).code == "forbidden"
    assert (await program("GET", "/sessions")).code == "forbidden"


async def test_a_one_time_password_opens_nothing_but_its_own_change(web_site: WebSite) -> None:
    there = await things(web_site)
    client = await web_site.signed_in("nowa", Role.ADMINISTRATOR)
    user = await web_site.catalogue.user_named("nowa")
    record = TESTER.does("change_user", time.time_ns())
    await web_site.catalogue.change_user(user.id, {"must_change_password": True}, record=record)
    for name, row in ROWS.items():
        if row.of != "open" and not name.endswith(("/session", "/session/confirm", "/session/password")):
            assert (await ask(client, name, row, there, there.own.id)).code == "change_password", name
    changed = await client("PUT", "/session/password", json={"old": "Krowa-na-rynku-7", "new": "Zielony-tramwaj-9"})
    assert changed.status == 204
    assert (await client("GET", "/users")).status == 200


async def test_sensitive_acts_need_the_password_again(web_site: WebSite) -> None:
    there = await things(web_site)
    client = await web_site.signed_in("szef", Role.ADMINISTRATOR)
    (login,) = [s for s in await web_site.catalogue.open_sessions(now_ns=time.time_ns()) if s.user.name == "szef"]
    await web_site.catalogue.touch_session(login.session.id, seen_ns=time.time_ns(), confirmed_until_ns=1)
    sensitive = {
        name
        for name in ROWS
        if name.startswith(
            ("POST /api/v1/users", "PATCH /api/v1/users", "DELETE /api/v1/users", "DELETE /api/v1/grants")
        )
    } | {"POST /api/v1/tokens", "DELETE /api/v1/sessions/{session_id}", "DELETE /api/v1/cameras/{camera_id}"}
    for name in sensitive:
        assert (await ask(client, name, ROWS[name], there, there.own.id)).code == "confirm_password", name
    assert (await client("POST", "/session/confirm", json={"password": "Krowa-na-rynku-7"})).status == 200
    for name in sorted(sensitive - {"DELETE /api/v1/users/{user_id}"}, key=lambda n: "password" in n):
        answer = await ask(client, name, ROWS[name], there, there.own.id)
        assert answer.status in (200, 201, 204, 428), (name, answer.text)


async def _messages(client: Client, until_type: str = "beat") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    async with client.session.ws_connect(client.base + "/api/v1/ws", headers={"Origin": client.base}) as socket:
        async with asyncio.timeout(20):
            while not found or found[-1]["t"] != until_type:
                found.append(json.loads((await socket.receive()).data))
    return found


async def test_the_websocket_tells_of_the_cameras_one_may_see(web_site: WebSite) -> None:
    there = await things(web_site)
    for role in Role:
        client = await web_site.signed_in(f"u-{role}".replace("_", "-"), (role, over(HERE)))
        told = next(m for m in await _messages(client) if m["t"] == "cameras")
        seen = may(Row("camera"), role, everywhere=False, reached=True)
        assert [c["id"] for c in told["items"]] == ([str(there.own.id)] if seen else []), role


async def test_the_websocket_is_for_browsers_that_signed_in_on_our_page(web_site: WebSite) -> None:
    """A page hears by the code why it may not be here: browsers tell it nothing of a handshake that was refused."""
    client, ended, new = [await web_site.signed_in(name, Role.OPERATOR) for name in ("anna", "ola", "nowa")]
    kept = {"Cookie": "; ".join(f"{c.key}={c.value}" for c in ended.session.cookie_jar)}
    assert (await ended("DELETE", "/session")).status == 204
    user = await web_site.catalogue.user_named("nowa")
    record = TESTER.does("change_user", time.time_ns())
    await web_site.catalogue.change_user(user.id, {"must_change_password": True}, record=record)
    for who, headers, code in (
        (await web_site.nobody(), {}, 4401),
        (await web_site.nobody(), kept, 4401),
        (new, {}, 4403),
    ):
        async with who.session.ws_connect(web_site.base + "/api/v1/ws", headers=headers) as socket:
            assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
            assert socket.close_code == code
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with client.session.ws_connect(web_site.base + "/api/v1/ws", headers={"Origin": "https://zly.example"}):
            pass
    assert refused.value.status == 403


async def test_a_new_grant_and_a_taken_one_are_told_over_the_websocket(web_site: WebSite) -> None:
    there = await things(web_site)
    client = await web_site.signed_in("anna")
    user = replace(await web_site.catalogue.user_named("anna"))
    async with client.session.ws_connect(web_site.base + "/api/v1/ws") as socket:
        granted = await give_role(web_site.catalogue, TESTER, time.time_ns(), user, role=Role.OPERATOR)
        seen: set[str] = set()
        gone: set[str] = set()
        async with asyncio.timeout(20):
            while not gone:
                message = json.loads((await socket.receive()).data)
                seen |= {c["id"] for c in message.get("items", ())}
                gone |= set(message.get("gone", ()))
                if str(there.own.id) in seen and granted is not None:
                    await web_site.catalogue.remove_grant(granted.id, record=TESTER.does("take_role", time.time_ns()))
                    granted = None  # type: ignore[assignment]
    assert seen == gone == {str(there.own.id), str(there.foreign.id)}
