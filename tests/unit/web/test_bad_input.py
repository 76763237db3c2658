"""What people and programs get wrong: each is told what happened, in a code that both languages have words for."""

from __future__ import annotations

import json
import time
from uuid import UUID, uuid4

import aiohttp
import pytest

from tests.support.city_table import city_table
from tests.support.web_site import TESTER, Answer, Client, WebSite, over, state_of
from vms.assignment import read_assignment
from vms.model import Camera, Stream, StreamKind
from vms.status.site_status import gather_status
from web.api.watching import CameraNow, StreamNow, states_of
from web.identity.access import Act, Role
from web.identity.people import create_token
from web.identity.refusals import STATUS, TITLES, Code


async def test_a_table_of_190_rows_with_7_faults(web_site: WebSite) -> None:
    """UX check 39: a dry run names exactly 7 rows and columns; 183 go in; a second time nothing changes."""
    client = await web_site.signed_in("szef", Role.TECHNICIAN)
    content, faults = city_table()

    async def send(query: str) -> dict[str, object]:
        answer = await client(
            "POST", f"/cameras/import?{query}", data=content, headers={"Content-Type": "text/csv; charset=utf-8"}
        )
        assert answer.status == 200, answer.text
        found: dict[str, object] = answer.json
        return found

    dry = await send("dry_run=true")
    assert {r["line"]: r["column"] for r in dry["rows"] if r["verdict"] == "error"} == faults  # type: ignore[attr-defined]
    assert (dry["counts"], dry["written"]) == ({"new": 183, "changed": 0, "unchanged": 0, "error": 7}, None)
    assert (await send("dry_run=false"))["written"] is None
    assert await web_site.catalogue.cameras() == []
    began = time.monotonic()
    assert (await send("dry_run=false&skip_bad=true"))["written"] == 183
    assert time.monotonic() - began < 60
    assert len(read_assignment(web_site.parts.site.assignment_file, web_site.parts.site.sealer).cameras) == 183
    again = await send("dry_run=false&skip_bad=true")
    assert (again["counts"], again["written"]) == ({"new": 0, "changed": 0, "unchanged": 183, "error": 7}, 0)
    pages = [await client("GET", "/cameras?limit=100")]
    pages.append(await client("GET", f"/cameras?limit=100&after={pages[0].json['next']}"))
    assert [len(p.json["items"]) for p in pages] == [100, 83]
    assert pages[1].json["next"] is None
    exported = await client("GET", "/cameras/export")
    back = await client(
        "POST", "/cameras/import?dry_run=true", data=exported.text.encode(), headers={"Content-Type": "text/csv"}
    )
    assert back.json["counts"]["unchanged"] == 183


async def test_tables_that_are_none(web_site: WebSite) -> None:
    client = await web_site.signed_in("szef", Role.TECHNICIAN)
    for content in (b"", b"a;b\r\n1;2\r\n", b"\xff\xfe\x00", b'numer\r\n"1'):
        answer = await client("POST", "/cameras/import", data=content, headers={"Content-Type": "text/csv"})
        assert (answer.status, answer.code) == (422, "invalid"), content
        assert "Traceback" not in answer.text
    assert (await client("POST", "/cameras/import", json={})).code == "unsupported_type"


WRONG_CAMERAS: list[tuple[dict[str, object], str]] = [
    ({"name": "", "main_url": "rtsp://10.0.0.1/x"}, "name"),
    ({"name": "x"}, "main_url"),
    ({"name": "x", "main_url": "http//10.0.0.1"}, "main_url"),
    ({"name": "x", "main_url": "file:///etc/passwd"}, "main_url"),
    ({"name": "x", "main_url": "rtsp://10.0.0.1/x", "sub_url": "exec:rm"}, "sub_url"),
    ({"name": "x", "main_url": "rtsp://10.0.0.1/x", "lat": 91}, "lat"),
    ({"name": "x", "main_url": "rtsp://10.0.0.1/x", "certificate_pin": "zz"}, "certificate_pin"),
    ({"name": "x\n", "main_url": "rtsp://10.0.0.1/x", "street": "a\nb"}, "street"),
    ({"name": "x", "main_url": "rtsp://10.0.0.1/x", "number": 0}, "number"),
    ({"name": "x", "main_url": "rtsp://10.0.0.1/x", "profile_id": str(uuid4())}, "profile_id"),
    ({"name": "x", "main_url": "rtsp://10.0.0.1/x", "record_audio": True}, "record_audio"),
    ({"name": "x", "main_url": "rtsp://10.0.0.1/x", "ffmpeg_args": "-i"}, "ffmpeg_args"),
]


async def test_a_wrong_field_of_a_camera_is_named(web_site: WebSite) -> None:
    client = await web_site.signed_in("szef", Role.TECHNICIAN)
    for wish, field in WRONG_CAMERAS:
        answer = await client("POST", "/cameras", json=wish)
        assert (answer.status, answer.code) == (422, "invalid"), answer.text
        assert answer.json["errors"][0]["field"] == field
    assert await web_site.catalogue.cameras() == []


async def test_where_a_camera_stands_is_taken_away_by_null_and_by_nothing_else(web_site: WebSite) -> None:
    client = await web_site.signed_in("szef", Role.TECHNICIAN)
    stands = {"lat": 52.2, "lon": 21.0, "azimuth_deg": 90.0, "angle_deg": 60.0}
    made = await client(
        "POST", "/cameras", json={"name": "Rynek", "main_url": "rtsp://10.0.0.5/a", "street": "R"} | stands
    )
    path, tag = f"/cameras/{made.json['camera']['id']}", made.headers["ETag"]

    async def after(wish: dict[str, object]) -> dict[str, object]:
        nonlocal tag
        answer = await client("PATCH", path, json=wish, headers={"If-Match": tag})
        assert answer.status == 200, answer.text
        tag = answer.headers["ETag"]
        camera = (await client("GET", path)).json
        return {name: camera[name] for name in (*stands, "street", "enabled")}

    known = stands | {"street": "R", "enabled": True}
    assert await after({"name": "Rynek 1"}) == known
    assert await after({"lat": None, "street": None, "enabled": None}) == known | {"lat": None}
    assert await after(dict.fromkeys(stands)) == known | dict.fromkeys(stands)
    assert await after(stands) == known


async def test_cameras_are_changed_as_the_command_line_changes_them(web_site: WebSite) -> None:
    client = await web_site.signed_in("szef", Role.TECHNICIAN)
    first = await client("POST", "/cameras", json={"name": "Rynek", "main_url": "rtsp://10.0.0.5/a", "group": "A"})
    second = await client("POST", "/cameras", json={"name": "rynek", "main_url": "rtsp://10.0.0.6/a", "number": 7})
    assert second.json["warnings"] == [
        {"code": "same_name", "facts": {"number": 1}, "text": "camera 1 has the same name", "note": ""}
    ]
    taken = await client("POST", "/cameras", json={"name": "x", "main_url": "rtsp://10.0.0.7/a", "number": 7})
    assert (taken.code, taken.json["field"]) == ("conflict", "number")
    path = f"/cameras/{first.json['camera']['id']}"
    tag = (await client("GET", path)).headers["ETag"]
    assert (await client("PATCH", path, json={"name": "A"})).code == "precondition_required"
    changed = await client(
        "PATCH", path, json={"sub_url": "rtsp://10.0.0.5/b", "enabled": False}, headers={"If-Match": tag}
    )
    assert changed.status == 200, changed.text
    assert [s["kind"] for s in changed.json["camera"]["streams"]] == ["main", "sub"]
    assert (await client("PATCH", path, json={"name": "B"}, headers={"If-Match": tag})).code == "stale"
    assigned = {
        c.number: c for c in read_assignment(web_site.parts.site.assignment_file, web_site.parts.site.sealer).cameras
    }
    assert (assigned[1].enabled, len(assigned[1].streams)) == (False, 2)
    tag = changed.headers["ETag"]
    gone = await client("PATCH", path, json={"sub_url": "", "replaced": True}, headers={"If-Match": tag})
    assert [s["kind"] for s in gone.json["camera"]["streams"]] == ["main"]
    history = (await client("GET", f"{path}/history")).json
    assert history[0] == {"at": history[0]["at"], "kind": "added", "by": "szef", "changes": {"name": ["", "Rynek"]}}
    kinds = [h["kind"] for h in history]
    assert {"disabled", "replaced"} <= set(kinds)
    for wrong in (tag, '"x"'):
        assert (await client("DELETE", path, headers={"If-Match": wrong})).code == "stale", wrong
    tag = (await client("GET", path)).headers["ETag"]
    assert (await client("DELETE", path, headers={"If-Match": tag})).status == 204
    assert (await client("DELETE", path)).status == 204  # may be repeated
    assert (await client("PATCH", path, json={"name": "C"}, headers={"If-Match": "1"})).code == "conflict"
    acts = [e.act for e in await web_site.catalogue.audit_entries(user="szef")]
    assert acts[:3] == ["retire_camera", "change_camera", "change_camera"]


async def test_health_shows_the_streams_of_the_cameras_one_may_look_after(web_site: WebSite) -> None:
    client = await web_site.signed_in("szef", Role.TECHNICIAN)
    wish = {"name": "Rynek", "main_url": "rtsp://10.0.0.5/a", "sub_url": "rtsp://10.0.0.5/b", "group": "Centrum"}
    assert (await client("POST", "/cameras", json=wish)).status == 201
    seen = (await client("GET", "/health")).json["streams"]
    assert [(s["camera"]["name"], s["stream"]) for s in seen] == [("Rynek", "main"), ("Rynek", "sub")]
    recorded = {"state": "recording", "last_unit_wall_ns": time.time_ns(), "camera_offset_ns": 9_000_000_000}
    web_site.feed.states[UUID(seen[0]["stream_id"])] = recorded

    async def clocks(who: Client) -> list[str]:
        told = (await who("GET", "/health")).json["troubles"]
        assert "archiver_down" in {trouble["code"] for trouble in told}  # the site's own: everybody may know
        return [
            t["camera"]["name"] for t in told if t["code"] == "camera_clock_ahead" and t["facts"] == {"seconds": 9.0}
        ]

    assert await clocks(client) == ["Rynek"]
    other = await web_site.signed_in("technik", (Role.TECHNICIAN, over("Praga")))
    assert (await other("GET", "/health")).json["streams"] == []
    assert await clocks(other) == []


async def test_the_web_process_does_not_ask_itself_whether_it_answers(
    web_site: WebSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, site = await web_site.signed_in("szef", Role.TECHNICIAN), web_site.parts.site
    asked = []

    async def nobody(url: str, connector: aiohttp.BaseConnector) -> bool:
        await connector.close()
        asked.append(url)
        return False

    monkeypatch.setattr("vms.status.asking._gets", nobody)
    facts = (await client("GET", "/health")).json
    assert (facts["web"]["answers"], facts["live"]["answers"]) == (True, False)
    assert asked == ["http://live/health/live"]
    assert (await gather_status(site)).web_answers is False  # everybody else asks at its door
    assert len(asked) == 3


async def test_a_camera_cannot_be_moved_to_where_ones_rights_do_not_reach(web_site: WebSite) -> None:
    camera = await web_site.camera(1, group="Centrum")
    client = await web_site.signed_in("technik", (Role.TECHNICIAN, over("Centrum")))
    tag = (await client("GET", f"/cameras/{camera.id}")).headers["ETag"]
    answer = await client("PATCH", f"/cameras/{camera.id}", json={"group": "Praga"}, headers={"If-Match": tag})
    assert (answer.code, answer.json["field"]) == ("forbidden", "group")
    assert (await web_site.catalogue.camera(camera.id)).group == "Centrum"


async def test_a_stored_password_goes_to_no_other_host(web_site: WebSite) -> None:
    """Whoever may change a camera is shown no password, and may not have it sent to a host of his own either."""
    chief = await web_site.signed_in("szef", Role.TECHNICIAN)
    wish = {"name": "x", "main_url": "rtsp://10.0.0.5/a", "username": "u", "password": "kanarek77", "group": "Centrum"}
    made = await chief("POST", "/cameras", json=wish)
    path = f"/cameras/{made.json['camera']['id']}"

    async def change(**fields: object) -> Answer:
        tag = (await chief("GET", path)).headers["ETag"]
        return await chief("PATCH", path, json=fields, headers={"If-Match": tag})

    def passwords() -> set[tuple[str, str]]:
        site = web_site.parts.site
        (camera,) = read_assignment(site.assignment_file, site.sealer).cameras
        return {(s.url, camera.password) for s in camera.streams}

    for fields in ({"main_url": "rtsp://10.6.6.6/a"}, {"sub_url": "rtsp://u@10.6.6.6/b", "username": "u"}):
        refused = await change(**fields)
        assert (refused.status, refused.code, refused.json["field"]) == (422, "password_needed", "password")
    row = f"numer;adres\r\n{made.json['camera']['number']};10.6.6.6\r\n"
    imported = await chief(
        "POST", "/cameras/import?dry_run=false&skip_bad=true", data=row, headers={"Content-Type": "text/csv"}
    )
    assert [(r["verdict"], r["column"]) for r in imported.json["rows"]] == [("error", "hasło_ref")]
    assert passwords() == {("rtsp://10.0.0.5/a", "kanarek77")}
    assert (await change(main_url="rtsp://10.0.0.5:8554/b")).status == 200  # the same host
    assert passwords() == {("rtsp://10.0.0.5:8554/b", "kanarek77")}
    assert (await change(main_url="rtsp://10.0.0.6/a", password="nowe-haslo")).status == 200
    assert (await change(main_url="rtsp://v:inne@10.0.0.7/a")).status == 200
    assert (await change(main_url="rtsp://10.0.0.8/a", password="")).status == 200
    assert passwords() == {("rtsp://10.0.0.8/a", "")}


async def test_who_has_no_rights_over_all_cameras_has_no_other_host_recorded(web_site: WebSite) -> None:
    """A camera of one's own is no way to have the recorder knock at any address of its network, with or without a password."""
    camera = await web_site.camera(1, group="Centrum")
    client = await web_site.signed_in("technik", (Role.TECHNICIAN, over("Centrum")))
    chief = await web_site.signed_in("szef", Role.TECHNICIAN)
    path = f"/cameras/{camera.id}"

    async def change(caller: Client, **fields: object) -> Answer:
        tag = (await caller("GET", path)).headers["ETag"]
        return await caller("PATCH", path, json=fields, headers={"If-Match": tag})

    for fields in (
        {"main_url": "rtsp://10.99.99.99:22/a"},
        {"main_url": "rtsp://u:haslo@10.99.99.99/a"},
        {"main_url": "rtsp://10.99.99.99/a", "password": "x", "enabled": False},
    ):
        refused = await change(client, **fields)
        assert (refused.status, refused.code, refused.json["field"]) == (403, "forbidden", "main_url")
    refused = await change(client, sub_url="rtsp://10.99.99.99/b")
    assert (refused.code, refused.json["field"]) == ("forbidden", "sub_url")
    assert await web_site.catalogue.camera(camera.id) == camera
    assert (await change(client, main_url="rtsp://10.0.0.1:8554/b", name="Rynek")).status == 200  # the same host
    assert (await change(chief, main_url="rtsp://10.99.99.99/a")).status == 200
    assert (await change(client, name="Most")).status == 200  # wherever it stands by now


async def test_who_has_no_rights_over_all_cameras_tests_no_other_host(web_site: WebSite) -> None:
    """Nor is its test."""
    camera = await web_site.camera(1, group="Centrum", password="kanarek77")
    client = await web_site.signed_in("technik", (Role.TECHNICIAN, over("Centrum")))
    chief = await web_site.signed_in("szef", Role.TECHNICIAN)
    elsewhere = {"camera_id": str(camera.id), "main_url": "rtsp://10.99.99.99:22/a"}
    for wish in (elsewhere, elsewhere | {"password": "x"}, {"main_url": "rtsp://10.99.99.99/a"}):
        assert (await client("POST", "/cameras/test", json=wish)).code == "forbidden"
    assert web_site.feed.tested == []
    own = {"camera_id": str(camera.id), "main_url": "rtsp://10.0.0.1:8554/b"}
    assert (await client("POST", "/cameras/test", json=own)).status == 200
    assert {one["password"] for one in web_site.feed.tested} == {"kanarek77"}
    web_site.feed.tested.clear()
    assert (await chief("POST", "/cameras/test", json=elsewhere)).status == 200
    assert {one["password"] for one in web_site.feed.tested} == {""}


async def test_a_person_comes_with_the_first_role_or_not_at_all(web_site: WebSite) -> None:
    camera = await web_site.camera(1, group="Centrum")
    admin = await web_site.signed_in("szef", Role.ADMINISTRATOR)

    async def make(name: str, **grant: object) -> Answer:
        return await admin("POST", "/users", json={"name": name, "grant": {"role": "operator"} | grant})

    made = await make("anna", scope="camera", camera_id=str(camera.id), expires_at="2099-01-01T00:00:00Z", back_hours=5)
    assert (made.status, made.json["user"]["roles"]) == (201, ["operator"])
    (held,) = (await admin("GET", f"/users/{made.json['user']['id']}/grants")).json["items"]
    assert (held["scope"], held["camera_id"], held["back_hours"]) == ("camera", str(camera.id), 5)
    assert held["expires_at"].startswith("2099-01-01")
    record = (await web_site.catalogue.audit_entries(act="create_user"))[0]
    assert json.loads(record.detail) | {"role": "operator", "camera_id": str(camera.id)} == json.loads(record.detail)
    for grant, field in (
        ({"scope": "camera", "camera_id": str(uuid4())}, "camera_id"),
        ({"scope": "group"}, "group"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
    ):
        refused = await make("ola", **grant)
        assert (refused.code, refused.json["errors"][0]["field"]) == ("invalid", field)
    taken = await make("Anna", scope="camera", camera_id=str(camera.id))
    assert (taken.code, taken.json["field"]) == ("conflict", "name")
    assert await web_site.catalogue.user_named("ola") is None
    assert (await admin("POST", "/users", json={"name": "nikt"})).json["user"]["roles"] == []


async def test_expired_and_revoked_tokens_and_sessions(web_site: WebSite) -> None:
    await web_site.user("anna", Role.OPERATOR)
    user = await web_site.catalogue.user_named("anna")
    _, expired = await create_token(web_site.catalogue, TESTER, 1, user, name="t", acts=[Act.VIEW_LIVE], days=1)
    client = await web_site.nobody(bearer=expired)
    for answer in (
        await client("GET", "/cameras"),
        await client("GET", "/cameras", headers={"Authorization": "Basic YTpi"}),
        await client("GET", "/cameras", headers={"Authorization": "Bearer"}),
    ):
        assert (answer.status, answer.code) == (401, "not_signed_in")
        assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_the_last_administrator_stays(web_site: WebSite) -> None:
    client = await web_site.signed_in("szef", Role.ADMINISTRATOR)
    path = f"/users/{client.user_id}"
    tag = (await client("GET", path)).headers["ETag"]
    (grant,) = (await client("GET", f"{path}/grants")).json["items"]
    for answer in (
        await client("DELETE", path),
        await client("PATCH", path, json={"disabled": True}, headers={"If-Match": tag}),
        await client("DELETE", f"/grants/{grant['id']}"),
    ):
        assert (answer.status, answer.code) == (409, "conflict")
    assert (await client("GET", "/session")).status == 200


WRONG_GRANTS: list[tuple[dict[str, object], str]] = [
    ({"role": "operator", "scope": "group"}, "group"),
    ({"role": "operator", "scope": "camera"}, "camera_id"),
    ({"role": "operator", "group": "x"}, "group"),
    ({"role": "operator", "scope": "camera", "camera_id": str(uuid4())}, "camera_id"),
    ({"role": "operator", "expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
    ({"role": "operator", "expires_at": "jutro"}, "expires_at"),
    ({"role": "król"}, "role"),
]


async def test_a_grant_that_does_not_fit_is_refused(web_site: WebSite) -> None:
    client = await web_site.signed_in("szef", Role.ADMINISTRATOR)
    for wish, field in WRONG_GRANTS:
        answer = await client("POST", f"/users/{client.user_id}/grants", json=wish)
        assert (answer.status, answer.code) == (422, "invalid"), answer.text
        assert answer.json["errors"][0]["field"] == field


async def test_what_somebody_sees_is_said_as_single_ways_of_seeing_it(web_site: WebSite) -> None:
    await web_site.camera(1)
    user = await web_site.user("anna", (Role.OPERATOR, {"back_hours": 2}), Role.RECIPIENT)
    client = await web_site.signed_in("szef", Role.ADMINISTRATOR)
    (seen,) = (await client("GET", f"/users/{user}/sees")).json["cameras"]
    assert [tuple(one.values()) for one in seen["sights"]] == [
        ("view_live", "original", 0.0), ("view_recorded", "masked", None), ("view_recorded", "original", 2.0),
    ]  # fmt: skip
    assert seen["purpose_required"] == ["view_recorded"]


async def test_layouts_are_ones_own_and_shared_ones_are_looked_at(web_site: WebSite) -> None:
    anna, ola = await web_site.signed_in("anna", Role.OPERATOR), await web_site.signed_in("ola", Role.OPERATOR)
    for wrong in (
        {"name": "x", "grid": "2x2", "tiles": [None]}, {"name": "x", "grid": "1", "tiles": [None], "spot": 1},
        {"name": "x", "grid": "5x5", "tiles": []}, {"name": "x", "grid": "1", "tiles": [{"tour": [], "dwell_s": 5}]},
    ):  # fmt: skip
        assert (await anna("POST", "/layouts", json=wrong)).code == "invalid"
    camera = str(uuid4())
    wish = {"name": "Ściana", "shared": True, "grid": "1", "tiles": [{"tour": [camera], "dwell_s": 5}], "spot": 0}
    made = await anna("POST", "/layouts", json=wish)
    assert made.json["tiles"] == [{"tour": [camera], "dwell_s": 5}]
    path = f"/layouts/{made.json['id']}"
    assert (await ola("GET", path)).json["mine"] is False
    assert (await ola("PUT", path, json=wish, headers={"If-Match": '"1"'})).code == "forbidden"
    assert (await ola("DELETE", path)).code == "forbidden"
    assert (await anna("PUT", path, json=wish | {"name": "Nowa"}, headers={"If-Match": '"1"'})).json["version"] == 2
    assert (await anna("PUT", path, json=wish, headers={"If-Match": '"1"'})).code == "stale"
    assert (await anna("DELETE", path)).status == 204
    assert (await ola("GET", path)).code == "not_found"


async def test_what_others_share_takes_nobodys_place_for_layouts(
    web_site: WebSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.api.routes.layouts.MOST_LAYOUTS", 3)
    anna, ola = await web_site.signed_in("anna", Role.OPERATOR), await web_site.signed_in("ola", Role.OPERATOR)
    wish = {"name": "Ściana", "shared": True, "grid": "1", "tiles": [None]}
    for client in (anna, ola):
        kept = [await client("POST", "/layouts", json=wish) for _ in range(4)]
        assert [one.status for one in kept] == [201, 201, 201, 409]


async def test_the_audit_log_is_read_for_a_reason_and_the_reading_is_in_it(web_site: WebSite) -> None:
    client = await web_site.signed_in("iod", Role.DATA_PROTECTION_OFFICER)
    assert (await client("GET", "/audit")).code == "invalid"
    first = await client("GET", "/audit?reason=kontrola%20roczna&limit=1")
    (entry,) = first.json["items"]
    assert (entry["act"], entry["user"], entry["purpose"], entry["ip"]) == (
        "read_audit",
        "iod",
        "kontrola roczna",
        "127.0.0.1",
    )
    second = await client("GET", f"/audit?reason=kontrola&limit=1&after={first.json['next']}")
    assert second.json["items"][0]["number"] == entry["number"] - 1
    assert (await client("GET", "/audit?reason=kontrola&after=???")).code == "invalid"
    head = (await client("GET", "/audit/checkpoint")).json
    proof = (await client("GET", f"/audit/proof?size={head['size']}&number=0")).json
    assert (proof["root"], proof["size"]) == (head["root"], head["size"])
    grown = (await client("GET", f"/audit/proof?size={head['size']}&first=1")).json
    assert grown["root"] == head["root"]
    for query in ("size=1", "size=1&number=0&first=1", "size=999999&number=1", "size=1&number=5"):
        assert (await client("GET", f"/audit/proof?{query}")).code == "invalid", query


async def test_a_camera_test_says_what_is_sent_or_why_nothing_came(web_site: WebSite) -> None:
    client = await web_site.signed_in("szef", Role.TECHNICIAN)
    wish = {"main_url": "rtsp://10.0.0.5/a", "sub_url": "rtsp://10.0.0.5/lost"}
    main, sub = (await client("POST", "/cameras/test", json=wish)).json["streams"]
    assert (main["ok"], main["codec"], main["browser"], main["clock_offset_seconds"]) == (True, "h264", "plays", 1.5)
    assert (sub["ok"], sub["reason"], sub["message"]) == (
        False, "camera_unreachable", "10.0.0.5:554 cannot be reached (No route to host)"
    )  # fmt: skip
    assert (sub["said"]["code"], sub["said"]["note"]) == ("no_connection", "No route to host")
    (broken,) = (await client("POST", "/cameras/test", json={"main_url": "rtsp://10.0.0.5/broken"})).json["streams"]
    assert (broken["ok"], broken["reason"], broken["said"]["code"]) == (False, None, "test_failed")
    assert "Traceback" not in broken["message"]
    for wrong in ({}, {"main_url": "srt://10.0.0.5:9"}, {"camera_id": str(uuid4())}):
        assert (await client("POST", "/cameras/test", json=wrong)).status in (404, 422)
    (web_site.parts.site.settings.feed.socket).unlink()
    away = await client("POST", "/cameras/test", json=wish)
    assert (away.status, away.code) == (503, "recorder_away")


async def test_a_registered_camera_is_tested_as_it_is_unless_another_way_is_given(web_site: WebSite) -> None:
    camera = await web_site.camera(1, transport="udp", certificate_pin="ab" * 32)
    client = await web_site.signed_in("szef", Role.TECHNICIAN)
    for given, tried in (
        ({}, ("udp", "ab" * 32)),
        ({"transport": "tcp"}, ("tcp", "ab" * 32)),
        ({"certificate_pin": ":".join(["CD"] * 32)}, ("udp", "cd" * 32)),
        ({"certificate_pin": ""}, ("udp", "")),
    ):
        web_site.feed.tested.clear()
        answer = await client("POST", "/cameras/test", json={"camera_id": str(camera.id), **given})
        assert answer.status == 200, answer.text
        assert {(one["transport"], one["pin"]) for one in web_site.feed.tested} == {tried}
    for wish in ({"camera_id": str(camera.id)}, {"main_url": "rtsp://10.0.0.1/a"}):
        wrong = await client("POST", "/cameras/test", json=wish | {"certificate_pin": "abc"})
        assert [(e["field"], e["said"]["code"]) for e in wrong.json["errors"]] == [("certificate_pin", "pin_form")]


def test_every_code_has_a_status_and_words() -> None:
    assert STATUS.keys() == TITLES.keys() == set(Code)


# What cameras do


def test_states_of_cameras_follow_the_feed_and_say_since_when() -> None:
    camera = Camera(uuid4(), 1, "x", uuid4(), ())
    main = Stream(uuid4(), camera.id, StreamKind.MAIN, "rtsp://h/a", record=True)
    sub = Stream(uuid4(), camera.id, StreamKind.SUB, "rtsp://h/b", record=False)
    camera = Camera(camera.id, 1, "x", uuid4(), (main, sub))
    now = time.time_ns()

    def look(states: list[dict[str, object]] | None, before: CameraNow | None = None, at_ns: int = now) -> CameraNow:
        known = {} if before is None else {camera.id: before}
        return states_of([camera], states, known, at_ns)[camera.id]

    well = [state_of(s) | {"stream_id": str(s.id)} for s in (main, sub)]
    live = look(well)
    assert (live.state, live.reason, live.recording) == ("live", None, True)
    assert live.streams[main.id] == StreamNow("h264", 1920, 1080, 25.0, False)
    assert live.clocks == {}
    timed = look([well[0] | {"run_clock": "camera"}, well[1] | {"run_clock": "arrival"}])
    assert timed.clocks == {"main": "camera", "sub": "server"}
    assert look([well[0] | {"run_clock": 7}, well[1]]).clocks == {}
    later = look(well, live, now + 5)
    assert later.since_ns == now
    broken = {
        "state": "waiting",
        "reason": "camera_unreachable",
        "gap_since_ns": now - 7,
        "retry_wall_ns": now + 3,
        "last_unit_wall_ns": now - 10**10,
    }
    half = look([well[0] | broken, well[1]], live)
    assert (half.state, half.recording) == ("live", False)  # the sub-stream still shows it
    lost = look([one | broken for one in well], live, now + 9)
    assert (lost.state, lost.reason, lost.since_ns) == ("lost", "camera_unreachable", now - 7)
    assert (lost.retry_ns, half.retry_ns) == (now + 3, None)
    assert (look([], live).state, look([], live).reason) == ("lost", "no_answer")
    away = look(None, timed)
    assert away.clocks == {}
    assert (away.state, away.reason, away.streams) == ("unknown", "recorder_down", live.streams)
    for nonsense in ([{"stream_id": str(main.id), "width": "x", "fps": float("nan"), "codec": 7}], ["x"], [{}]):
        assert look(nonsense).state in ("lost", "connecting")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("now", "browser"),
    [
        (StreamNow(), "unknown"), (StreamNow("h264", reorder=False), "plays"), (StreamNow("h264", reorder=True), "b_frames"),
        (StreamNow("hevc", reorder=False), "h265"), (StreamNow("h264"), "unknown"), (StreamNow("mjpeg", reorder=False), "unknown"),
    ],
)  # fmt: skip
def test_what_a_browser_can_show(now: StreamNow, browser: str) -> None:
    assert now.browser == browser
