"""Signing in, staying signed in and being kept from guessing, over the real server."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import time
from typing import Any

import aiohttp
import pytest

from tests.support.web_site import PASSWORD, TESTER, WebSite, until
from vms.clock import SimulatedClock
from vms.errors import CatalogueUnavailable
from vms.timeline import SECOND_NS
from web.api.connections import MOST_FROM_ONE_PLACE
from web.identity.access import Act, Role
from web.identity.callers import IDLE_SECONDS, SESSION_SECONDS
from web.identity.passwords import Passwords, check_strength, one_time_password
from web.identity.people import create_token
from web.identity.refusals import Code, Refusal
from web.identity.signing_in import Identity, check_name, issue_set_up_code
from web.identity.throttling import (
    FORGOTTEN_SECONDS,
    FREE,
    FREE_OF_NETWORK,
    LONGEST_HELD_SECONDS,
    LONGEST_IN_LINE_SECONDS,
    LONGEST_SECONDS,
    MOST_ACCOUNTS,
    MOST_HELD,
    MOST_IN_LINE,
    Devices,
    Throttle,
    attempt_keys,
    network_of,
)


async def test_the_first_administrator_is_made_with_the_code_once(web_site: WebSite) -> None:
    client = await web_site.nobody()
    assert (await client("GET", "/site")).json["setup_needed"] is True
    wish = {"setup_code": "", "name": "anna", "password": PASSWORD}
    assert (await client("POST", "/setup", json=wish)).code == "wrong_credentials"
    old = await issue_set_up_code(web_site.catalogue, time.time_ns())
    code = await issue_set_up_code(web_site.catalogue, time.time_ns())
    assert code is not None
    assert (await client("POST", "/setup", json=wish | {"setup_code": old})).code == "wrong_credentials"
    assert (
        await client("POST", "/setup", json=wish | {"setup_code": code, "password": "1234"})
    ).code == "weak_password"
    made = await client("POST", "/setup", json=wish | {"setup_code": code.upper().replace("-", " ")})
    assert (made.status, made.json["roles"]) == (201, ["administrator"])
    assert (await client("POST", "/setup", json=wish | {"setup_code": code})).status == 410
    assert await issue_set_up_code(web_site.catalogue, time.time_ns()) is None
    assert (await client("GET", "/site")).json["setup_needed"] is False
    assert (await client.sign_in("ANNA")).status == 200


async def test_a_wrong_name_and_a_wrong_password_are_one_answer(web_site: WebSite) -> None:
    await web_site.user("anna", Role.OPERATOR)
    await web_site.user("zwolniony", Role.OPERATOR)
    gone = await web_site.catalogue.user_named("zwolniony")
    await web_site.catalogue.change_user(gone.id, {"disabled_ns": 1}, record=TESTER.does("change_user", 1))
    client = await web_site.nobody()
    answers = [
        await client.sign_in(*one) for one in (("anna", "x"), ("nikt", PASSWORD), ("zwolniony", PASSWORD), ("", ""))
    ]
    assert all((a.status, a.json) == (401, answers[0].json) for a in answers)
    await web_site.parts.identity.settle()
    assert {e.object for e in await web_site.catalogue.audit_entries(act="sign_in_failed")} == {
        "user anna",
        "user zwolniony",
    }  # fmt: skip - what was typed for nobody's name may be a password, and is on no record


async def test_the_cookie_is_for_the_browser_alone_and_the_session_tells_of_the_past(web_site: WebSite) -> None:
    await web_site.user("anna", Role.OPERATOR)
    client = await web_site.nobody()
    await client.sign_in("anna", "zgadywanka")
    answer = await client.sign_in("anna")
    cookies = answer.headers.getall("Set-Cookie")
    assert all("HttpOnly" in c and "SameSite=strict" in c and "Path=/" in c and "Domain" not in c for c in cookies)
    assert answer.json["login_notice"] == {"last_at": None, "last_ip": None, "failed_since": 1}
    again = (await (await web_site.nobody()).sign_in("anna")).json
    assert again["login_notice"]["last_ip"] == "127.0.0.1"
    assert again["login_notice"]["failed_since"] == 0
    assert set(again["acts"]) == {"view_live", "view_recorded", "place_hold", "read_health", "manage_layouts"}


async def test_over_tls_the_cookie_has_the_prefix_that_binds_it_to_the_host(web_site: WebSite) -> None:
    object.__setattr__(web_site.parts, "tls", True)
    await web_site.user("anna")
    answer = await (await web_site.nobody()).sign_in("anna")
    assert all(c.startswith("__Host-stroz") and "Secure" in c for c in answer.headers.getall("Set-Cookie"))


async def test_unsafe_requests_come_from_our_own_page(web_site: WebSite) -> None:
    client = await web_site.signed_in("anna", Role.OPERATOR)
    layout = {"name": "x", "grid": "1", "tiles": [None]}
    for headers in (
        {"X-CSRF-Token": None}, {"X-CSRF-Token": "0" * 64}, {"Origin": "https://zly.example"}, {"Origin": "null"},
        {"Origin": "http://[::1"},
        {"Origin": web_site.base.replace("http", "https")}, {"Sec-Fetch-Site": "cross-site"},
    ):  # fmt: skip
        assert (await client("POST", "/layouts", json=layout, headers=headers)).code == "csrf", headers
    assert (await client("POST", "/layouts", json=layout, headers={"Origin": web_site.base})).status == 201
    signing_in = {"name": "anna", "password": PASSWORD}
    answer = await client("POST", "/session", json=signing_in, headers={"Origin": "https://zly.example"})
    assert answer.code == "csrf"
    text = await client("POST", "/session", data=json.dumps(signing_in), headers={"Content-Type": "text/plain"})
    assert text.status == 422  # what a form of another site could send


async def test_signing_out_and_being_signed_out(web_site: WebSite) -> None:
    client, other = await web_site.signed_in("anna"), await web_site.nobody()
    await other.sign_in("anna")
    assert len((await client("GET", "/sessions")).json["items"]) == 2
    changed = await client("PUT", "/session/password", json={"old": PASSWORD, "new": "Zielony-tramwaj-9"})
    assert changed.status == 204
    assert (await other("GET", "/session")).code == "not_signed_in"
    assert (await client("GET", "/session")).status == 200
    assert (await client("DELETE", "/session")).status == 204
    assert (await client("GET", "/session")).code == "not_signed_in"
    assert (await other.sign_in("anna")).code == "wrong_credentials"
    assert (await other.sign_in("anna", "Zielony-tramwaj-9")).status == 200


async def test_the_websocket_says_that_the_session_ended(web_site: WebSite) -> None:
    client = await web_site.signed_in("anna", Role.OPERATOR)
    (login,) = await web_site.catalogue.open_sessions(now_ns=time.time_ns())
    async with client.session.ws_connect(web_site.base + "/api/v1/ws") as socket:
        await socket.send_json({"t": "ping", "client_ms": 12.5})
        kinds: list[str] = []
        began = time.monotonic()
        async with asyncio.timeout(20):
            while "beat" not in kinds or "pong" not in kinds:
                kinds.append((await socket.receive_json())["t"])
            ended = time.monotonic()
            await web_site.catalogue.end_session(login.session.id, record=TESTER.does("end_session", 1))
            while kinds[-1] != "signed_out":
                kinds.append((await socket.receive_json())["t"])
            await socket.receive()
        assert socket.close_code == 4401
        assert time.monotonic() - ended < 3.0
        assert ended >= began
        assert kinds[0] in ("hello", "pong")


async def test_consoles_go_on_and_come_back_while_the_catalogue_is_away(
    web_site: WebSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = await web_site.camera(1)
    client, other = [await web_site.signed_in(name, Role.OPERATOR) for name in ("anna", "ola")]
    monkeypatch.setattr("web.api.websocket.TOUCH_NS", 0)
    touched = asyncio.Event()

    async def away(*_args: object, **_named: object) -> None:
        touched.set()
        raise CatalogueUnavailable("away")

    async def seen(socket: aiohttp.ClientWebSocketResponse, beats: int) -> set[str]:
        found: set[str] = set()
        async with asyncio.timeout(20):
            while beats:
                message = await socket.receive_json()
                beats -= message["t"] == "beat"
                found |= {one["id"] for one in message.get("items", ())}
        return found

    address = web_site.base + "/api/v1/ws"
    async with client.session.ws_connect(address) as socket:
        for name in ("read", "write"):
            monkeypatch.setattr(web_site.catalogue._db, name, away)
        await seen(socket, 3)
        assert touched.is_set()
    await web_site.parts.views.compare()
    async with client.session.ws_connect(address) as socket:
        assert await seen(socket, 3) == {str(camera.id)}
    for secret in (None, "stranger" * 5):  # who was not connected when it went away is not known, and asks again later
        cookies = {} if secret is None else {"Cookie": f"{web_site.parts.cookie}={secret}"}
        who = other if secret is None else await web_site.nobody()
        async with who.session.ws_connect(address, headers=cookies) as socket:
            await socket.receive()
            assert socket.close_code == 1013


async def test_before_the_cameras_were_read_nobody_is_told_that_there_are_none(
    web_site: WebSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = await web_site.camera(1)
    client = await web_site.signed_in("anna", Role.OPERATOR)
    watch, read = web_site.parts.watch, web_site.parts.watch.read_cameras

    async def unread() -> None:
        watch.cameras, watch.version = {}, None

    monkeypatch.setattr(watch, "read_cameras", unread)
    await watch.look()
    for path in ("/cameras", f"/cameras/{camera.id}", "/groups"):
        answer = await client("GET", path)
        assert (answer.status, answer.code, answer.json["retry_after"]) == (503, "catalogue_away", 2), path
    assert (await client.watch(camera)).code == "catalogue_away"
    async with client.session.ws_connect(web_site.base + "/api/v1/ws") as socket, asyncio.timeout(20):
        beats, kinds = 0, set()
        while beats < 3:
            kinds.add(kind := (await socket.receive_json())["t"])
            beats += kind == "beat"
        assert kinds == {"hello", "console", "beat"}
        monkeypatch.setattr(watch, "read_cameras", read)
        while (message := await socket.receive_json())["t"] != "cameras":
            pass
        assert [one["id"] for one in message["items"]] == [str(camera.id)]
        assert message["registry"]
    assert (await client.watch(camera)).status == 201


async def test_a_binary_message_ends_the_connection_and_is_no_bug(
    web_site: WebSite, caplog: pytest.LogCaptureFixture
) -> None:
    client = await web_site.signed_in("anna", Role.OPERATOR)
    async with client.session.ws_connect(web_site.base + "/api/v1/ws") as socket:
        await socket.send_bytes(b"x")
        async with asyncio.timeout(20):
            while not socket.closed:
                await socket.receive()
        assert socket.close_code == 1003
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_what_tiles_say_is_counted_over_all_pages_and_ends_with_them(web_site: WebSite) -> None:
    client = await web_site.signed_in("anna", Role.OPERATOR)

    def tiles(state: str) -> float:
        return float(web_site.parts.metrics.viewer_tiles.labels(state)._value.get())  # type: ignore[attr-defined]

    address = web_site.base + "/api/v1/ws"
    async with client.session.ws_connect(address) as one, client.session.ws_connect(address) as other:
        await one.send_json({"t": "tiles", "live": 16})
        await other.send_json({"t": "tiles", "live": 3, "delayed": 2, "lost": 1})
        await until(lambda: (tiles("live"), tiles("delayed"), tiles("lost")) == (19, 2, 1))
        await one.send_json({"t": "tiles", "live": 15, "lost": 1})
        await until(lambda: (tiles("live"), tiles("delayed"), tiles("lost")) == (18, 2, 2))
    await until(lambda: (tiles("live"), tiles("delayed"), tiles("lost")) == (0, 0, 0))


@pytest.mark.parametrize("name", ["\u212aowalski", "ma\u017f", "stra\u00dfe", "\uff21nna", "łoś", "a", ".anna", "a b"])
def test_a_login_name_is_letters_that_are_mistaken_for_no_others(name: str) -> None:
    with pytest.raises(Refusal):
        check_name(name)
    check_name("Anna.Nowak-2@kr_1")


async def test_a_page_that_talks_too_much_is_cut_off_and_nonsense_is_passed_over(web_site: WebSite) -> None:
    client = await web_site.signed_in("anna", Role.OPERATOR)
    async with client.session.ws_connect(web_site.base + "/api/v1/ws") as socket:
        for text in ("", "[]", "{}", '{"t":"ping","client_ms":"x"}', '{"t":"tiles","lost":-1}', "[" * 5000, '{"t":7}'):
            await socket.send_str(text)
        await socket.send_json({"t": "tiles", "frozen": 3, "dropped": 7, "first_frame_ms": [120]})
        await until(lambda: web_site.parts.metrics.viewer_freezes._value.get() == 3)  # type: ignore[attr-defined]
        for _ in range(200):
            if socket.closed:
                break
            await socket.send_json({"t": "ping", "client_ms": 1})
        async with asyncio.timeout(20):
            while not socket.closed:
                await socket.receive()
        assert socket.close_code == 4429


async def test_sessions_and_tokens_run_out(web_site: WebSite) -> None:
    clock = SimulatedClock(wall_ns=time.time_ns())
    identity = Identity(web_site.catalogue, web_site.parts.site.key, clock, web_site.parts.identity.passwords)
    await web_site.user("anna", Role.OPERATOR)
    signed_in = await identity.sign_in("anna", PASSWORD, ip="10.0.0.1", agent="x", device=None)
    user = signed_in.caller.login.user
    _, token = await create_token(
        web_site.catalogue, TESTER, clock.wall_ns(), user, name="t", acts=[Act.VIEW_LIVE], days=1
    )
    clock.advance((IDLE_SECONDS - 1) * SECOND_NS)
    assert (await identity.by_session(signed_in.secret)).login.user == signed_in.caller.login.user
    clock.advance((IDLE_SECONDS - 1) * SECOND_NS)  # being used, it goes on
    await identity.by_session(signed_in.secret)
    clock.advance((IDLE_SECONDS + 1) * SECOND_NS)
    with pytest.raises(Refusal) as refused:
        await identity.by_session(signed_in.secret)
    assert refused.value.code is Code.NOT_SIGNED_IN
    await identity.by_token(token)
    clock.advance(SESSION_SECONDS * SECOND_NS + 12 * 3600 * SECOND_NS)
    for attempt in (identity.by_token(token), identity.by_token("stroz_x"), identity.by_session("")):
        with pytest.raises(Refusal):
            await attempt


async def test_nobody_makes_a_token_of_another_user(web_site: WebSite) -> None:
    """An administrator with an operator's token would watch without a purpose, and on record it would be the operator."""
    await web_site.user("anna", Role.OPERATOR)
    chief = await web_site.signed_in("szef", Role.ADMINISTRATOR)
    user = await web_site.catalogue.user_named("anna")
    wish = {"name": "x", "acts": ["view_live"]}
    assert (await chief("POST", "/tokens", json=wish | {"user_id": str(user.id)})).code == "invalid"
    made = await chief("POST", "/tokens", json=wish)
    assert (made.status, made.json["token"]["user"]) == (201, "szef")
    camera = await web_site.camera(1)
    assert (await (await web_site.nobody(bearer=made.json["secret"])).watch(camera)).code == "purpose_required"


async def test_a_copied_cookie_does_nothing_sensitive_is_on_record_by_its_own_address_and_ends_with_the_session(
    web_site: WebSite,
) -> None:
    """It is not told from the original: SECURITY.md names that limit, and this is what stands in its way."""
    client = await web_site.signed_in("szef", Role.ADMINISTRATOR)
    (login,) = await web_site.catalogue.open_sessions(now_ns=time.time_ns())
    await web_site.catalogue.touch_session(login.session.id, seen_ns=time.time_ns(), confirmed_until_ns=1)
    cookies = {c.key: c.value for c in client.session.cookie_jar}
    elsewhere = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
    async with aiohttp.ClientSession(web_site.base, connector=elsewhere, cookies=cookies) as thief:
        async with thief.get("/api/v1/session") as answer:
            shown = await answer.json()
        headers = {"X-CSRF-Token": shown["csrf"]}
        async with thief.post("/api/v1/users", json={"name": "nowy"}, headers=headers) as answer:
            assert (await answer.json())["code"] == "confirm_password"
        layout = {"name": "x", "grid": "1", "tiles": [None]}
        async with thief.post("/api/v1/layouts", json=layout, headers=headers) as answer:
            assert answer.status == 201
        (entry,) = await web_site.catalogue.audit_entries(act="put_layout")
        assert (entry.user_name, entry.ip) == ("szef", "127.0.0.2")
        assert (await client("DELETE", "/session")).status == 204
        async with thief.get("/api/v1/session") as answer:
            assert answer.status == 401


# Throttling


def test_guessing_is_slowed_more_and_more_and_never_for_ever() -> None:
    for keys in (attempt_keys("anna", "10.0.0.1", "desk"), attempt_keys("anna", "10.0.0.1", None)):
        throttle, now, waits = Throttle(), 0, []
        for _ in range(FREE + 12):
            waits.append(max(throttle.wait_seconds(keys, now), throttle.held_seconds(keys, now)))
            now += int(waits[-1] * SECOND_NS)
            throttle.attempted(keys, now)
        assert waits[:FREE] == [0.0] * FREE
        assert waits[FREE : FREE + 4] == [1.0, 2.0, 4.0, 8.0]
        assert max(waits) == LONGEST_SECONDS
        throttle.succeeded(keys)
        assert throttle.wait_seconds(keys, now) == throttle.held_seconds(keys, now) == 0.0


def test_a_desk_that_is_known_is_told_how_long_and_others_stand_in_line() -> None:
    throttle = Throttle()
    desk, stranger = attempt_keys("anna", "10.0.0.1", "desk"), attempt_keys("anna", "10.0.0.1", None)
    for keys in (desk, stranger):
        for _ in range(FREE):
            throttle.attempted(keys, 0)
    assert (throttle.wait_seconds(desk, 0), throttle.wait_seconds(stranger, 0)) == (1, 0)
    assert throttle.held_seconds(stranger, 0) == 1


def test_whoever_guesses_as_fast_as_can_be_gets_no_more_looked_at_than_one_after_the_other() -> None:
    """Every tenth of a second for an hour, from one address: five at once, a minute apart in the end."""
    throttle, keys, looked_at = Throttle(), attempt_keys("anna", "10.0.0.1", None), []
    for now in range(0, 3600 * SECOND_NS, SECOND_NS // 10):
        if not throttle.wait_seconds(keys, now):
            looked_at.append(now + int(throttle.held_seconds(keys, now) * SECOND_NS))
            throttle.attempted(keys, now)
            assert looked_at[-1] - now <= LONGEST_IN_LINE_SECONDS * SECOND_NS + SECOND_NS
    assert sum(at < 3600 * SECOND_NS for at in looked_at) <= FREE + 6 + 3600 / LONGEST_SECONDS
    late = [at for at in looked_at if at > 120 * SECOND_NS]
    assert min(later - at for at, later in itertools.pairwise(late)) >= LONGEST_SECONDS * SECOND_NS


def test_somebody_elses_guesses_slow_nobody_but_him() -> None:
    throttle = Throttle()
    devices = Devices(b"k" * 32)
    cookie = devices.issue("anna")
    known = devices.recognise("anna", cookie)
    for i in range(1000):  # at anna's account from the same address behind which she sits, and at many others
        throttle.attempted(attempt_keys("anna", "10.0.0.1", None), i)
        throttle.attempted(attempt_keys(f"user{i}", "10.0.0.1", None), i)
    assert throttle.wait_seconds(attempt_keys("anna", "10.0.0.1", None), 1000) > 0  # so many that none finds a place
    for keys, held in (
        (attempt_keys("ola", "10.0.0.1", None), LONGEST_HELD_SECONDS),  # a new desk there waits a moment and is let in
        (attempt_keys("anna", "10.0.0.1", known), 0),
        (attempt_keys("anna", "10.0.0.2", None), 0),
    ):
        assert (throttle.wait_seconds(keys, 1000), throttle.held_seconds(keys, 1000)) == (0, held)
    later = 1000 + (FORGOTTEN_SECONDS + 1) * SECOND_NS
    assert throttle.held_seconds(attempt_keys("ola", "10.0.0.1", None), later) == 0


async def test_a_neighbour_of_whoever_guesses_at_many_names_is_let_in(
    web_site: WebSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.identity.throttling.LONGEST_HELD_SECONDS", 0.2)
    await web_site.user("ola", Role.OPERATOR)
    attacker, stop, tried = await web_site.nobody(), asyncio.Event(), 0

    async def guess() -> None:
        nonlocal tried
        while not stop.is_set():
            tried += 1
            await attacker.sign_in(f"ktos{tried}", "zgaduję")

    guessing = [asyncio.create_task(guess()) for _ in range(3)]
    try:
        await until(lambda: tried > FREE_OF_NETWORK + 10)
        for _ in range(5):
            assert (await (await web_site.nobody()).sign_in("ola")).status == 200  # a browser nobody knows yet
    finally:
        stop.set()
        await asyncio.gather(*guessing)


async def test_no_more_attempts_from_a_network_are_held_than_there_is_room_for(
    web_site: WebSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.identity.throttling.LONGEST_HELD_SECONDS", 0.5)
    monkeypatch.setattr("web.identity.throttling.FREE_OF_NETWORK", 0)
    monkeypatch.setattr("web.identity.throttling.MOST_HELD", 2)
    attacker = await web_site.nobody()
    await attacker.sign_in("ktos", "zgaduję")
    answers = await asyncio.gather(*(attacker.sign_in(f"ktos{i}", "zgaduję") for i in range(5)))
    assert sorted(a.status for a in answers) == [401, 401, 429, 429, 429]
    assert (await attacker.sign_in("ktos", "zgaduję")).status == 401


async def test_a_neighbour_who_goes_on_guessing_keeps_no_new_browser_from_an_account(
    web_site: WebSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.identity.throttling.LONGEST_SECONDS", 0.3)
    monkeypatch.setattr("web.identity.throttling.FREE_OF_NETWORK", 10_000)
    await web_site.user("anna", Role.OPERATOR)
    attacker, stop, tried = await web_site.nobody(), asyncio.Event(), 0

    async def guess() -> None:
        nonlocal tried
        while not stop.is_set():
            tried += 1
            assert (await attacker.sign_in("anna", f"zgaduję{tried}")).status == 401

    guessing = [asyncio.create_task(guess()) for _ in range(3)]
    try:
        await until(lambda: tried > FREE + 4)
        for _ in range(3):
            began = time.monotonic()
            assert (await (await web_site.nobody()).sign_in("anna")).status == 200  # a browser nobody knows yet
            assert time.monotonic() - began < 5  # behind three guesses
            await until(lambda before=tried: tried > before + FREE + 4)
    finally:
        stop.set()
        await asyncio.gather(*guessing)


async def test_no_more_attempts_of_a_network_stand_in_line_than_there_is_room_for(
    web_site: WebSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever accounts they are for; those that need not wait are taken meanwhile."""
    monkeypatch.setattr("web.identity.throttling.FREE", 1)
    monkeypatch.setattr("web.identity.throttling.MOST_IN_LINE", 2)
    await web_site.user("ola", Role.OPERATOR)
    attacker = await web_site.nobody()
    for name in ("a1", "a2", "a3"):
        assert (await attacker.sign_in(name, "zgaduję")).status == 401
    waiting = [asyncio.create_task(attacker.sign_in(name, "zgaduję")) for name in ("a1", "a2")]
    throttle = web_site.parts.identity.throttle
    await until(lambda: throttle._held.total() == 2)
    refused = await attacker.sign_in("a3", "zgaduję")
    assert (refused.status, refused.code) == (429, "slow_down")
    assert (await (await web_site.nobody()).sign_in("ola")).status == 200
    assert [a.status for a in await asyncio.gather(*waiting)] == [401, 401]
    assert throttle._held == {}


def test_what_is_held_leaves_half_of_an_addresss_connections_to_those_at_work() -> None:
    assert MOST_IN_LINE + MOST_HELD <= MOST_FROM_ONE_PLACE // 2


async def test_a_known_name_costs_a_stranger_no_more_time_than_an_unknown_one(
    web_site: WebSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is noted of a known one is noted after the answer, and is there when its owner signs in."""
    await web_site.user("anna", Role.OPERATOR)
    client, answered, noted = await web_site.nobody(), asyncio.Event(), web_site.catalogue.note_failure

    async def slow(*args: Any, **named: Any) -> None:
        await answered.wait()
        await noted(*args, **named)

    monkeypatch.setattr(web_site.catalogue, "note_failure", slow)
    async with asyncio.timeout(20):
        assert (await client.sign_in("anna", "zgaduję")).status == 401
    answered.set()
    assert (await client.sign_in("anna")).json["login_notice"]["failed_since"] == 1
    assert len(await web_site.catalogue.audit_entries(act="sign_in_failed")) == 1


async def test_a_failed_sign_in_is_put_on_record_once_the_catalogue_is_back(
    web_site: WebSite, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await web_site.user("anna", Role.OPERATOR)
    client, tries, noted = await web_site.nobody(), 0, web_site.catalogue.note_failure

    async def away(*_args: Any, **_named: Any) -> None:
        nonlocal tries
        tries += 1
        raise CatalogueUnavailable("away")

    monkeypatch.setattr(web_site.catalogue, "note_failure", away)
    monkeypatch.setattr("web.identity.signing_in.MOST_NOTED", 1)
    assert (await client.sign_in("anna", "zgaduję")).status == 401
    await until(lambda: tries >= 3)
    assert (await client.sign_in("anna", "zgaduję")).status == 401  # one too many to be kept, and the log has it
    assert [r.levelname for r in caplog.records if "could not be put on record" in r.message] == ["ERROR"]
    assert await web_site.catalogue.audit_entries(act="sign_in_failed") == []
    monkeypatch.setattr(web_site.catalogue, "note_failure", noted)
    await until(lambda: not web_site.parts.identity._noting)
    (entry,) = await web_site.catalogue.audit_entries(act="sign_in_failed")
    assert entry.user_name == "anna"
    assert (await client.sign_in("anna")).json["login_notice"]["failed_since"] == 1


async def test_what_the_catalogue_does_not_take_to_the_end_holds_nothing_up(
    web_site: WebSite, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await web_site.user("anna", Role.OPERATOR)
    client, identity = await web_site.nobody(), web_site.parts.identity

    async def away(*_args: Any, **_named: Any) -> None:
        raise CatalogueUnavailable("away")

    monkeypatch.setattr(web_site.catalogue, "note_failure", away)
    monkeypatch.setattr("web.identity.signing_in.SETTLE_SECONDS", 0.2)
    assert (await client.sign_in("anna", "zgaduję")).status == 401
    assert (await client.sign_in("anna")).status == 200
    async with asyncio.timeout(20):
        await identity.close()
    assert not identity._noting
    assert [r.levelname for r in caplog.records if "could not be put on record" in r.message] == ["ERROR"]


async def test_guesses_in_a_stolen_session_are_on_record_and_told_to_its_owner(web_site: WebSite) -> None:
    client = await web_site.signed_in("szef", Role.ADMINISTRATOR)
    for _ in range(2):
        assert (await client("POST", "/session/confirm", json={"password": "zgaduję"})).code == "wrong_credentials"
    changed = await client("PUT", "/session/password", json={"old": "zgaduję", "new": "Zielony-tramwaj-9"})
    assert changed.code == "wrong_credentials"
    assert (await client("POST", "/session/confirm", json={"password": PASSWORD})).status == 200
    acts = [e.act for e in await web_site.catalogue.audit_entries(user="szef")]
    assert acts[:4] == ["confirm_password", "wrong_password", "wrong_password", "wrong_password"]
    again = await (await web_site.nobody()).sign_in("szef")
    assert again.json["login_notice"]["failed_since"] == 3


async def test_a_desk_is_known_to_everybody_who_works_at_it(web_site: WebSite) -> None:
    desk, attacker = await web_site.nobody(), await web_site.nobody()
    for name in ("anna", "ola"):
        await web_site.user(name, Role.OPERATOR)
        assert (await desk.sign_in(name)).status == 200
        await desk("DELETE", "/session")
    for name in ("anna", "ola"):
        for i in range(FREE + 1):
            assert (await attacker.sign_in(name, f"zgaduję{i}")).status == 401
    for name in ("anna", "ola", "anna"):
        assert (await desk.sign_in(name)).status == 200
        await desk("DELETE", "/session")


def test_a_device_cookie_is_of_one_account_and_cannot_be_made_up() -> None:
    devices = Devices(b"k" * 32)
    cookie = devices.issue("anna")
    assert devices.recognise("anna", cookie)
    for account, other in (
        ("ola", cookie),
        ("anna", cookie[:-1]),
        ("anna", None),
        ("anna", "."),
        ("anna", "x.y"),
        ("anna", "ł.ł"),
    ):
        assert devices.recognise(account, other) is None
    assert Devices(b"j" * 32).recognise("anna", cookie) is None


def test_a_device_cookie_holds_the_last_accounts_and_nothing_else() -> None:
    devices = Devices(b"k" * 32)
    cookie = devices.issue("anna", "<script>~x.y~" + "z" * 5000)
    assert cookie.count("~") == 0
    first = devices.recognise("anna", cookie)
    for i in range(MOST_ACCOUNTS - 1):
        cookie = devices.issue(f"user{i}", cookie)
    assert (
        devices.issue("anna", cookie).split("~", 1)[0].partition(".")[0] == devices.recognise("anna", cookie) == first
    )
    assert devices.recognise("user0", devices.issue("one more", devices.issue("anna", cookie))) is None
    assert len(cookie) < 2048


def test_a_room_behind_one_address_may_mistype_and_ipv6_counts_by_network() -> None:
    throttle = Throttle()
    for i in range(FREE_OF_NETWORK - 1):
        throttle.attempted(attempt_keys(f"user{i}", "10.0.0.1", None), 0)
    assert throttle.held_seconds(attempt_keys("anna", "10.0.0.1", None), 0) == 0
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff") != network_of("2001:db8:0:1::1")
    assert network_of("::ffff:10.0.0.1") == "10.0.0.1"
    assert network_of("x" * 500) == "x" * 64


def test_the_memory_of_failures_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.identity.throttling.MOST_KEYS", 10)
    throttle = Throttle()
    for i in range(100):
        throttle.attempted((("account", str(i), "x"),), i)
    assert len(throttle._counts) == 10


async def test_a_known_browser_signs_in_while_its_account_is_attacked(
    web_site: WebSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    await web_site.user("anna", Role.OPERATOR)
    desk = await web_site.nobody()
    await desk.sign_in("anna")
    attacker = await web_site.nobody()
    monkeypatch.setattr("web.identity.throttling.LONGEST_IN_LINE_SECONDS", 0.0)  # the line is full at once
    answers = [await attacker.sign_in("anna", f"zgaduję{i}") for i in range(FREE + 2)]
    assert [a.status for a in answers] == [401] * FREE + [429] * 2
    assert answers[-1].json["retry_after"] > 0
    assert int(answers[-1].headers["Retry-After"]) >= 1
    await desk("DELETE", "/session")
    assert (await desk.sign_in("anna")).status == 200


async def test_a_thousand_guesses_at_once_are_not_one(web_site: WebSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.identity.throttling.LONGEST_IN_LINE_SECONDS", 0.0)
    await web_site.user("anna", Role.OPERATOR)
    attacker = await web_site.nobody()
    answers = await asyncio.gather(*(attacker.sign_in("anna", f"zgaduję{i}") for i in range(60)))
    assert sum(a.status == 401 for a in answers) <= FREE
    assert {a.status for a in answers} == {401, 429}


# Passwords


@pytest.mark.parametrize(
    "password",
    [
        "",
        "krótkie",
        "aaaaaaaaaaaaaaaaaaa",
        "haslohaslo123",
        "Password1234",
        "anna.nowak1",
        "x" * 300,
        "ąęaąęaąęaąęa",
        "qwertyqwerty123",
    ],
)
def test_passwords_that_anybody_tries_first_are_refused(password: str) -> None:
    with pytest.raises(Refusal) as refused:
        check_strength(password, name="anna.nowak")
    assert refused.value.code is Code.WEAK_PASSWORD


def test_ordinary_long_passwords_are_taken() -> None:
    for password in ("Krowa-na-rynku-7", "zielony tramwaj jedzie", "8 gwiazd nad Odrą!", one_time_password()):
        check_strength(password, name="anna.nowak")
    assert len({one_time_password() for _ in range(100)}) == 100


async def test_hashes_are_argon2id_and_one_spelling_of_a_letter_is_as_good_as_another() -> None:
    passwords = Passwords()
    encoded = await passwords.hash("Łódź-nad-Nerem-9")
    assert encoded.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert await passwords.matches(encoded, "Ło\u0301dz\u0301-nad-Nerem-9")
    for nobody in (None, "", "not a hash"):
        assert not await passwords.matches(nobody, "Łódź-nad-Nerem-9")
    assert not await passwords.matches(encoded, "Łódź-nad-Nerem-8")


async def test_a_flood_of_sign_ins_is_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    passwords = Passwords()
    monkeypatch.setattr("web.identity.passwords.WAITING", 1)
    answers: list[Any] = await asyncio.gather(*(passwords.matches(None, "x") for _ in range(3)), return_exceptions=True)
    refused = [a for a in answers if isinstance(a, Refusal)]
    assert [r.code for r in refused] == [Code.SLOW_DOWN, Code.SLOW_DOWN]
    strangers = [asyncio.create_task(passwords.matches(None, "x")) for _ in range(3)]
    assert not await passwords.matches(None, "x", known=True)  # a desk that is known stands in another line
    await asyncio.gather(*strangers, return_exceptions=True)
