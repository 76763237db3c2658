"""Every act of the interface is on record: who, from where, of what, why (ux check 34). A new act without its row fails."""

from __future__ import annotations

import base64
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support.inner_gateway import OFFER
from tests.support.web_site import PASSWORD, WebSite
from tests.unit.web.test_matrix import operations
from web.api.live_views import LiveViews
from web.identity.access import Role
from web.identity.checkpoints import AuditKey
from web.identity.signing_in import issue_set_up_code

WHY = "kontrola nocna"
SECOND = "Zielony-tramwaj-9"
PLAIN = {  # acts on nothing but their own answer; each says why it needs no entry
    "OPTIONS /api/v1/whep/{camera_id}": "says what could be asked",
}
LOGGED_READS = {"GET /api/v1/audit", "GET /api/v1/audit/checkpoint", "GET /api/v1/cameras/export"}


@dataclass(frozen=True)
class Step:
    """An act that succeeds, and what must be on record of it. `{names}` in addresses and bodies were kept by earlier steps."""

    act: str
    about: str
    body: Any = None
    query: str = ""
    purpose: str = ""
    kind: str = ""  # of a body that is no JSON
    etag: bool = False
    keep: dict[str, Callable[[Any], str]] = field(default_factory=dict)
    besides: tuple[str, ...] = ()  # further entries of the same act


CAMERA = {"name": "Rynek", "main_url": "rtsp://10.0.0.5/a"}
LAYOUT = {"name": "Ściana", "grid": "1", "tiles": [None]}
STEPS: dict[str, Step] = {
    "POST /api/v1/setup": Step(
        "set_up", "user szef", {"setup_code": "{code}", "name": "szef", "password": PASSWORD, "display_name": ""},
    ),
    "POST /api/v1/session": Step("sign_in", "user szef", {"name": "szef", "password": PASSWORD}),
    "POST /api/v1/session/confirm": Step("confirm_password", "user szef", {"password": PASSWORD}),
    "POST /api/v1/users": Step("create_user", "user nowa", {"name": "nowa"}, keep={"user_id": lambda a: a.json["user"]["id"]}),
    "PATCH /api/v1/users/{user_id}": Step("change_user", "user nowa", {"display_name": "Nowa"}, etag=True),
    "POST /api/v1/users/{user_id}/password": Step("reset_password", "user nowa"),
    "POST /api/v1/users/{user_id}/grants": Step(
        "give_role", "user nowa", {"role": "operator"}, keep={"grant_id": lambda a: a.json["id"]}
    ),
    "DELETE /api/v1/grants/{grant_id}": Step("take_role", "user nowa"),
    "POST /api/v1/cameras": Step("add_camera", "camera 8", CAMERA, keep={"added": lambda a: a.json["camera"]["id"]}),
    "PATCH /api/v1/cameras/{camera_id}": Step("change_camera", "camera 7", {"name": "Dwór"}, etag=True),
    "POST /api/v1/cameras/test": Step("test_camera", "Rynek", {"camera_id": "{added}"}),
    "POST /api/v1/cameras/import": Step(
        "import_cameras", "cameras", "numer;nazwa;adres\r\n20;Most;10.0.0.20\r\n", "?dry_run=false", kind="text/csv",
        besides=("add_camera",),
    ),
    "GET /api/v1/cameras/export": Step("export_cameras", "cameras"),
    "POST /api/v1/whep/{camera_id}": Step(
        "view_live", "camera 7", OFFER, f"?purpose={WHY}", WHY, "application/sdp",
        keep={"view": lambda a: a.headers["Location"].rpartition("/")[2]},
    ),
    "PUT /api/v1/whep/sessions/{session_id}/stream": Step("switch_live", "camera 7", {"stream": "main"}),
    "POST /api/v1/whep/sessions/{session_id}/snapshot": Step(
        "snapshot", "camera 7", {"captured_at": "2026-11-30T07:15:00.5Z"}, purpose=WHY
    ),
    "DELETE /api/v1/whep/sessions/{session_id}": Step("end_live", "camera 7"),
    "POST /api/v1/layouts": Step("put_layout", "layout Ściana", LAYOUT, keep={"layout_id": lambda a: a.json["id"]}),
    "PUT /api/v1/layouts/{layout_id}": Step("put_layout", "layout Ściana", LAYOUT, etag=True),
    "DELETE /api/v1/layouts/{layout_id}": Step("remove_layout", "layout Ściana"),
    "POST /api/v1/tokens": Step(
        "create_token", "user szef", {"name": "zabbix", "acts": ["read_health"]}, keep={"token_id": lambda a: a.json["token"]["id"]}
    ),
    "DELETE /api/v1/tokens/{token_id}": Step("revoke_token", "token zabbix"),
    "DELETE /api/v1/sessions/{session_id}": Step("end_session", "user ktos"),
    "DELETE /api/v1/cameras/{camera_id}": Step("retire_camera", "camera 7"),
    "DELETE /api/v1/users/{user_id}": Step("remove_user", "user nowa"),
    "GET /api/v1/audit/checkpoint": Step("sign_audit", "audit log"),
    "PUT /api/v1/session/password": Step("change_password", "user szef", {"old": PASSWORD, "new": SECOND}),
    "GET /api/v1/audit": Step("read_audit", "audit log", query=f"?reason={WHY}", purpose=WHY),
    "DELETE /api/v1/session": Step("sign_out", "user szef"),
}  # fmt: skip


def test_every_act_of_the_interface_has_its_row() -> None:
    changing = {name for name in operations() if not name.startswith("GET ")}
    assert STEPS.keys() | PLAIN.keys() == changing | LOGGED_READS


async def test_each_act_is_on_record_with_user_place_object_and_reason(web_site: WebSite) -> None:
    kept = {"code": str(await issue_set_up_code(web_site.catalogue, time.time_ns()))}
    camera = await web_site.camera(7)
    kept["camera_id"] = str(camera.id)
    client = await web_site.nobody()
    for name, step in STEPS.items():
        method, _, path = name.partition(" ")
        if name == "DELETE /api/v1/sessions/{session_id}":
            await web_site.signed_in("ktos", Role.OPERATOR)
            open_ones = await web_site.catalogue.open_sessions(now_ns=time.time_ns())
            kept["session_id"] = next(str(s.session.id) for s in open_ones if s.user.name == "ktos")
        elif "/whep/sessions/" in path:
            kept["session_id"] = kept["view"]
        before = await newest(web_site)
        where, options = path.format(**kept), options_of(step, kept)
        if step.etag:
            options["headers"] = {"If-Match": (await client("GET", where)).headers["ETag"]}
        answer = await client(method, where + step.query, **options)
        assert answer.status in (200, 201, 204), (name, answer.text)
        kept |= {key: take(answer) for key, take in step.keep.items()}
        if name == "POST /api/v1/session":
            client.csrf = answer.json["csrf"]
        made = [e for e in await web_site.catalogue.audit_entries(limit=10) if e.number > before]
        assert sorted(e.act for e in made) == sorted((step.act, *step.besides)), name
        (entry,) = (e for e in made if e.act == step.act)
        assert (entry.user_name, entry.ip, entry.object) == ("szef", "127.0.0.1", step.about), name
        assert entry.purpose == step.purpose, name
        assert entry.user_id is not None
    verified = await web_site.catalogue.verify_audit(lambda _: True)
    assert (verified.problem, verified.size) == ("", await newest(web_site) + 1)
    with sqlite3.connect(web_site.parts.site.catalogue_file) as database:
        database.execute("UPDATE audit_entries SET purpose = 'inna' WHERE act = 'snapshot'")
    database.close()
    assert "was changed" in (await web_site.catalogue.verify_audit(lambda _: True)).problem


async def newest(site: WebSite) -> int:
    return max((e.number for e in await site.catalogue.audit_entries(limit=1)), default=-1)


def options_of(step: Step, kept: dict[str, str]) -> dict[str, Any]:
    if step.kind:
        return {"data": step.body, "headers": {"Content-Type": step.kind}}
    if step.body is None:
        return {}
    return {"json": {k: v.format(**kept) if isinstance(v, str) else v for k, v in step.body.items()}}


async def test_who_is_refused_keeps_no_snapshot_and_what_cannot_be_put_on_record_is_refused(
    web_site: WebSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = await web_site.camera(1)
    anna = await web_site.signed_in("anna", Role.OPERATOR)
    ola = await web_site.signed_in("ola", Role.OPERATOR)
    view = (await anna.watch(camera)).headers["Location"].rpartition("/")[2]
    address = f"/whep/sessions/{view}/snapshot"
    assert (await ola("POST", address, json={})).code == "not_found"
    assert (await anna("POST", address, json={"captured_at": "wczoraj"})).code == "invalid"
    assert (await anna("POST", address, json={"captured_at": None})).status == 204
    assert (await anna("DELETE", f"/whep/sessions/{view}")).status == 200
    assert (await anna("POST", address, json={})).code == "not_found"
    taken = await web_site.catalogue.audit_entries(act="snapshot")
    assert [e.user_name for e in taken] == ["anna"]
    assert isinstance(web_site.parts.views, LiveViews)


async def test_a_camera_is_not_changed_where_its_entry_cannot_be_written(web_site: WebSite) -> None:
    """One transaction: a log that takes no entry keeps the change out too."""
    client = await web_site.signed_in("szef", Role.ADMINISTRATOR)
    camera = await web_site.camera(1)
    with sqlite3.connect(web_site.parts.site.catalogue_file) as database:
        database.execute(
            "CREATE TRIGGER full BEFORE INSERT ON audit_entries BEGIN SELECT RAISE(ABORT, 'no room in the log'); END"
        )
    database.close()
    etag = {"If-Match": (await client("GET", f"/cameras/{camera.id}")).headers["ETag"]}
    for answer in (
        await client("POST", "/cameras", json=CAMERA),
        await client("PATCH", f"/cameras/{camera.id}", json={"name": "Inna"}, headers=etag),
        await client("DELETE", f"/cameras/{camera.id}"),
        await client("POST", "/cameras/import?dry_run=false", data="numer;nazwa;adres\r\n9;Most;10.0.0.9\r\n", headers={"Content-Type": "text/csv"}),
    ):  # fmt: skip
        assert answer.status in (500, 503), answer.text
    assert [(c.number, c.name) for c in await web_site.catalogue.cameras()] == [(1, "Kamera 1")]


async def test_the_head_says_how_long_the_log_is_and_what_of_it_was_signed_last(web_site: WebSite) -> None:
    client = await web_site.signed_in("iod", Role.DATA_PROTECTION_OFFICER)
    first = (await client("GET", "/audit/head")).json
    assert first["signed"] is None
    signed = (await client("GET", "/audit/checkpoint")).json
    await client("POST", "/session/confirm", json={"password": PASSWORD})
    head = (await client("GET", "/audit/head")).json
    assert (
        (head["size"], head["signed"]["size"])
        == (first["size"] + 2, signed["size"])
        == (signed["size"] + 1, signed["size"])
    )
    now = await web_site.catalogue.audit_head()
    assert (head["size"], head["root"]) == (now.size, now.root.hex())
    key_id = base64.b64decode(signed["note"].rstrip().rpartition(" ")[2])[:4].hex()
    assert head["signed"] == {"size": signed["size"], "at": signed["at"], "key_id": key_id}
    assert await web_site.catalogue.audit_entries(act="read_audit") == []
    other = AuditKey(Ed25519PrivateKey.generate()).sign(head["size"], now.root, time.time_ns())
    await web_site.catalogue.put_checkpoint(other)
    assert (await client("GET", "/audit/head")).json["signed"]["key_id"] is None
