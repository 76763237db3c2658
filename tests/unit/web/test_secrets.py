"""Canary passwords planted wherever a secret is kept are found in no answer, log, metric, address or row (S-02)."""

from __future__ import annotations

import json
import logging
import time
from typing import Any
from uuid import UUID

import pytest

from tests.support.web_site import TESTER, Client, WebSite, until
from vms.assignment import read_assignment
from web.identity.access import Act, Role
from web.identity.people import create_token, create_user, reset_password

CANARIES = ("kanarekKamera7", "kanarekAdres7", "kanarekUser7x", "kanarekNowy7xy", "kanarekProba7")


async def crawl(site: WebSite, client: Client, camera: UUID, user: UUID) -> str:
    """Everything that can be read by somebody who may everything, and the metrics."""
    paths = [
        "/site", "/session", "/health", "/cameras", "/cameras?retired=true", f"/cameras/{camera}", f"/cameras/{camera}/history",
        "/cameras/export", "/groups", "/profiles", "/users", f"/users/{user}", f"/users/{user}/grants", f"/users/{user}/sees", "/roles",
        "/tokens", "/sessions", "/layouts", "/audit?reason=kanarki&limit=1000", "/audit/checkpoint",
    ]  # fmt: skip
    texts = []
    for path in paths:
        answer = await client("GET", path)
        assert answer.status == 200, (path, answer.text)
        texts += [answer.text, json.dumps(dict(answer.headers))]
    async with client.session.ws_connect(client.base + "/api/v1/ws") as socket:
        while "beat" not in texts[-1]:
            texts.append((await socket.receive()).data)
    return "\n".join([*texts, site.parts.metrics.page().decode()])


async def test_no_secret_comes_out_anywhere(web_site: WebSite, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    of_camera, in_address, of_user, changed, tried = CANARIES
    client = await web_site.signed_in("szef", Role.ADMINISTRATOR, Role.OPERATOR, Role.TECHNICIAN)
    added = await client(
        "POST", "/cameras",
        json={"name": "Rynek", "main_url": "rtsp://10.0.0.5/a", "username": "stroz", "password": of_camera},
    )  # fmt: skip
    second = await client("POST", "/cameras", json={"name": "Dwór", "main_url": f"rtsp://jan:{in_address}@10.0.0.6/b"})
    assert added.status == second.status == 201
    camera = UUID(added.json["camera"]["id"])
    assert added.json["camera"]["admin"]["has_password"] is True
    assert second.json["camera"]["admin"]["username"] == "jan"
    assigned = read_assignment(web_site.parts.site.assignment_file, web_site.parts.site.sealer).cameras
    assert {c.password for c in assigned} == {of_camera, in_address}  # they are really there to be found
    user = await web_site.user("ofiara", Role.OPERATOR, password=of_user)
    victim = await web_site.nobody()
    await victim.sign_in("ofiara", of_user)
    assert (await victim("PUT", "/session/password", json={"old": of_user, "new": changed})).status == 204
    answers = [
        added, second,
        await client("PATCH", f"/cameras/{camera}", json={"password": tried}, headers={"If-Match": '"0"'}),
        await client("POST", "/cameras/test", json={"camera_id": str(camera)}),
        await client("POST", "/cameras/test", json={"main_url": f"rtsp://a:{tried}@10.0.0.7/lost"}),
        await client("POST", "/cameras", json={"name": "x", "main_url": f"rtsp://a:{tried}@10.0.0.7/%%%", "password": ["x", tried]}),
        await client("POST", "/session", json={"name": tried, "password": tried}),
        await client("POST", "/session", json={"name": 7, "password": {"a": tried}}),
        await client("POST", "/session", data=tried, headers={"Content-Type": "application/json"}),
        await client("POST", "/session/confirm", json={"password": tried}),
        await client("POST", "/setup", json={"setup_code": tried, "name": "x", "password": tried}),
    ]  # fmt: skip
    assert [r["password"] for r in web_site.feed.tested] == [of_camera, tried]
    everything = await crawl(web_site, client, camera, user)
    everything += "\n".join(a.text + json.dumps(dict(a.headers)) for a in answers)
    everything += "\n".join(f"{r.getMessage()} {r.exc_text}" for r in caplog.records)
    everything += "\n".join(e.detail + e.object + e.purpose for e in await web_site.catalogue.audit_entries(limit=1000))
    for canary in CANARIES:
        assert canary not in everything
        for file in web_site.parts.site.path.rglob("*"):
            if file.is_file():
                assert canary.encode() not in file.read_bytes(), file


async def test_what_is_shown_once_is_shown_once(web_site: WebSite) -> None:
    client = await web_site.signed_in("szef", Role.ADMINISTRATOR)
    made = (await client("POST", "/users", json={"name": "nowa"})).json
    token = (await client("POST", "/tokens", json={"name": "t", "acts": ["read_health"]})).json
    password = (await client("POST", f"/users/{made['user']['id']}/password")).json["password"]
    secrets = [made["password"], password, token["secret"]]
    camera = await web_site.camera(1)
    everything = await crawl(web_site, client, camera.id, UUID(made["user"]["id"]))
    assert all(secret not in everything for secret in secrets)
    files = [f.read_bytes() for f in web_site.parts.site.path.rglob("*") if f.is_file()]
    assert all(secret.encode() not in content for secret in secrets for content in files)
    cookie = next(c.value for c in client.session.cookie_jar if c.key == "stroz")
    assert all(cookie.encode() not in content for content in files)
    assert client.csrf not in everything.replace(f'"csrf":"{client.csrf}"', "")


async def test_a_cameras_password_goes_to_no_other_host(web_site: WebSite) -> None:
    """A technician may test a camera at another address, and must not have its password sent there."""
    client = await web_site.signed_in("szef", Role.TECHNICIAN)
    added = await client(
        "POST",
        "/cameras",
        json={"name": "x", "main_url": "rtsp://10.0.0.5/a", "username": "u", "password": CANARIES[0]},
    )
    camera = added.json["camera"]["id"]
    await client("POST", "/cameras/test", json={"camera_id": camera, "main_url": "rtsp://10.6.6.6/a"})
    await client("POST", "/cameras/test", json={"camera_id": camera, "main_url": "rtsp://10.0.0.5/other"})
    assert [r["password"] for r in web_site.feed.tested] == ["", CANARIES[0]]


async def test_commands_say_a_one_time_password_only_to_who_typed_them(web_site: WebSite) -> None:
    catalogue, passwords = web_site.catalogue, web_site.parts.identity.passwords
    user, first = await create_user(catalogue, passwords, TESTER, time.time_ns(), name="nowa", role=Role.OPERATOR)
    second = await reset_password(catalogue, passwords, TESTER, time.time_ns(), user)
    _, secret = await create_token(catalogue, TESTER, time.time_ns(), user, name="t", acts=[Act.READ_HEALTH], days=1)
    assert len({first, second, secret}) == 3
    client = await web_site.nobody()
    assert (await client.sign_in("nowa", first)).code == "wrong_credentials"
    answer = await client.sign_in("nowa", second)
    assert answer.json["user"]["must_change_password"] is True
    details: list[Any] = [e.detail for e in await catalogue.audit_entries(limit=50)]
    assert all(one not in text for one in (first, second, secret) for text in details)


async def test_metrics_have_no_names_of_people(web_site: WebSite) -> None:
    client = await web_site.signed_in("anna.nowak", Role.OPERATOR)
    camera = await web_site.camera(1)
    assert (await client.watch(camera)).status == 201
    await client.sign_in("anna.nowak", "x")
    page = web_site.parts.metrics.page().decode()
    assert "anna" not in page
    assert 'stroz_sign_ins_total{result="signed_in"} 1.0' in page
    assert "stroz_live_views 1.0" in page
    await until(lambda: "stroz_web_requests_total" in web_site.parts.metrics.page().decode())
