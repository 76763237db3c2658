"""The outside of the web process: the client's files and their policy, headers, bounds, TLS of our own."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import re
import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest

from tests.support.web_site import WebSite, until
from vms.errors import UserError
from vms.settings import Listen, WebSection
from web.api import process
from web.api.client_files import DIST, ClientFiles
from web.api.ice import CREDENTIAL_SECONDS, IceServers
from web.api.tls import RENEW_DAYS, SERVER_DAYS, TlsFiles, tls_files
from web.identity.access import Role

NOW = datetime(2026, 11, 30, tzinfo=UTC)


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    folder = tmp_path / "dist"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text('<script src="/assets/a-1.js"></script>')
    (folder / "assets" / "a-1.js").write_text("1")
    (folder / "favicon.svg").write_text("<svg/>")
    (tmp_path / "secret").write_text("secret")
    (folder / "assets" / "out.js").symlink_to(tmp_path / "secret")
    return folder


def test_the_page_is_never_kept_and_runs_what_is_our_own_alone(dist: Path) -> None:
    files = ClientFiles.of(dist)
    for path in ("index.html", "kamery", "p/12"):
        answer = files.answer(path)
        assert answer.status_code == 200
        assert bytes(answer.body) == (dist / "index.html").read_bytes()
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"
        policy = answer.headers["content-security-policy"]
        assert {"default-src 'none'", "script-src 'self'", "style-src 'self'"} <= set(policy.split("; "))
        assert not re.search("nonce|unsafe|http|[*]", policy)  # nothing inline, no other host


def test_the_pages_own_source_asks_for_nothing_that_its_policy_forbids() -> None:
    page = (DIST.parent / "index.html").read_text("utf-8")
    assert re.findall(r"<script[^>]*>", page) == ['<script type="module" src="/src/main.tsx">']
    assert not re.search(r"<style|\sstyle=|\son\w+=|https?:", page)


def test_a_file_is_served_in_the_smallest_form_that_the_browser_takes(dist: Path) -> None:
    (dist / "assets" / "a-1.js.br").write_bytes(b"small")
    (dist / "assets" / "a-1.js.gz").write_bytes(b"smaller than plain")
    (dist / "assets" / "alone.gz").write_bytes(b"of nothing")
    (dist / ".built").write_text("abc")
    files = ClientFiles.of(dist)
    etags = set()
    for accepted, coding, body in (
        ("gzip, deflate, br, zstd", "br", b"small"), ("gzip, deflate", "gzip", b"smaller than plain"), ("", None, b"1"),
        ("br;q=0, gzip;q=0.5", "gzip", b"smaller than plain"), ("*", "br", b"small"), ("identity;q=1, *;q=0", None, b"1"),
        ("BR ; q=1.0", "br", b"small"), ("br;q=x, gzip;q=0", None, b"1"), (",;,=;q", None, b"1"),
    ):  # fmt: skip
        answer = files.answer("assets/a-1.js", accepted=accepted)
        assert (answer.headers.get("content-encoding"), bytes(answer.body)) == (coding, body), accepted
        assert answer.headers["vary"] == "Accept-Encoding"
        assert answer.headers["content-type"].startswith("text/javascript")
        etags.add(answer.headers["etag"])
        again = files.answer("assets/a-1.js", accepted=accepted, known=f'W/"x", {answer.headers["etag"]}')
        assert (again.status_code, bytes(again.body), again.headers["etag"]) == (304, b"", answer.headers["etag"])
        assert again.headers["cache-control"] == answer.headers["cache-control"]
    assert len(etags) == 3
    assert files.answer("assets/a-1.js", known='"other"').status_code == 200
    for hidden in ("assets/a-1.js.br", "assets/a-1.js.gz", ".built"):
        assert files.answer(hidden).status_code == 404
    assert files.answer("assets/alone.gz").status_code == 200


async def test_what_was_built_comes_compressed_and_is_what_it_was(web_site: WebSite) -> None:
    """The real build over a real connection: the largest assets, which aiohttp decodes."""
    built = sorted((DIST / "assets").glob("*.js"), key=lambda f: f.stat().st_size)[-2:] if DIST.is_dir() else []
    if not built:
        pytest.skip("the web client is not built: run make client")
    async with aiohttp.ClientSession() as session:
        for file in built:
            address = f"{web_site.base}/assets/{file.name}"
            async with session.get(address, headers={"Accept-Encoding": "gzip"}) as answer:
                assert answer.headers["Content-Encoding"] == "gzip"
                assert int(answer.headers["Content-Length"]) < file.stat().st_size / 2
                assert await answer.read() == file.read_bytes()
                etag = answer.headers["ETag"]
            async with session.get(address, headers={"Accept-Encoding": "gzip", "If-None-Match": etag}) as again:
                assert (again.status, await again.read()) == (304, b"")
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        address = f"{web_site.base}/assets/{built[-1].name}"
        async with session.get(address, headers={"Accept-Encoding": "br"}) as answer:
            assert answer.headers["Content-Encoding"] == "br"
            assert await answer.read() == built[-1].with_name(f"{built[-1].name}.br").read_bytes()
        async with session.get(address, headers={"Accept-Encoding": "identity"}) as answer:
            assert "Content-Encoding" not in answer.headers
            assert await answer.read() == built[-1].read_bytes()


def test_assets_are_kept_for_ever_and_nothing_outside_is_served(dist: Path) -> None:
    files = ClientFiles.of(dist)
    asset = files.answer("assets/a-1.js")
    assert asset.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert asset.headers["content-type"].startswith("text/javascript")
    assert files.answer("favicon.svg").headers["cache-control"] == "no-cache"
    for path in ("assets/out.js", "assets/none.js", "none.css", "/etc/passwd.x"):
        assert files.answer(path).status_code == 404, path
    for path in ("../secret", "assets/../../secret", "%2e%2e/secret", "/etc/passwd"):
        assert b"secret" not in bytes(files.answer(path).body)
    assert ClientFiles.of(dist / "nothing").answer("index.html").status_code == 404


async def test_every_answer_carries_the_headers_errors_too(web_site: WebSite) -> None:
    client = await web_site.signed_in("anna", Role.OPERATOR)
    for method, path in (("GET", "/site"), ("GET", "/none"), ("GET", "/users"), ("TRACE", "/site"), ("POST", "/setup")):
        headers = (await client(method, path)).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert headers["Cache-Control"] == "no-store"
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert "Server" not in headers
        assert "Access-Control-Allow-Origin" not in headers


async def test_bodies_are_bounded_with_and_without_a_length(web_site: WebSite) -> None:
    client = await web_site.signed_in("szef", Role.ADMINISTRATOR)

    async def endless() -> object:
        for _ in range(64):
            yield b" " * 65_536

    for body in (b"x" * 200_000, endless()):
        answer = await client("POST", "/layouts", data=body, headers={"Content-Type": "application/json"})
        assert (answer.status, answer.code) == (413, "too_large")
    many = await client(
        "POST", "/cameras/import", data=io.BytesIO(b"numer\r\n" * 1_300_000), headers={"Content-Type": "text/csv"}
    )
    assert many.status in (413, 422)
    assert (await client("GET", "/site")).status == 200


async def test_a_bug_says_nothing_of_the_inside(web_site: WebSite, monkeypatch: pytest.MonkeyPatch) -> None:
    client = await web_site.signed_in("szef", Role.ADMINISTRATOR)

    async def broken(*_args: object, **_named: object) -> None:
        raise ZeroDivisionError("kanarek in the message")

    monkeypatch.setattr(web_site.catalogue, "profiles", broken)
    answer = await client("GET", "/profiles")
    assert (answer.status, answer.code) == (500, "internal")
    assert "kanarek" not in answer.text


REQUEST = b"GET /api/v1/site HTTP/1.1\r\nHost: x\r\n\r\n"
BEGUN = b"POST /api/v1/%s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: 100\r\n\r\n{"

CONTINUED = BEGUN.replace(b"Content-Length: 100", b"Expect: 100-continue\r\nContent-Length: 9") % (
    b"session",
    b"application/json",
)


@pytest.mark.parametrize(
    "said",
    [
        [], [REQUEST[:-2]], [BEGUN % (b"session", b"application/json")], [BEGUN % (b"cameras/import", b"text/csv")],
        [BEGUN.replace(b"Content-Length: 100", b"Expect: 100-continue\r\nContent-Length: 9") % (b"setup", b"text/plain")],
        [REQUEST, REQUEST[:-9]], [REQUEST + REQUEST[:-9]], [REQUEST, BEGUN % (b"session", b"application/json")],
    ],
)  # fmt: skip
async def test_who_does_not_say_to_the_end_what_is_wanted_is_shown_the_door(
    web_site: WebSite, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, said: list[bytes]
) -> None:
    for name in ("HEADER_SECONDS", "BODY_SECONDS"):
        monkeypatch.setattr(f"web.api.connections.{name}", 0.5)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(web_site.base.rpartition(":")[2]))
    began = asyncio.get_running_loop().time()
    try:
        for i, part in enumerate(said):
            if i:
                await reader.readuntil(b"}")  # the answer to what was asked before
            writer.write(part)
        async with asyncio.timeout(20):
            while await reader.read(65_536):
                writer.write(b"")
    finally:
        writer.close()
    assert asyncio.get_running_loop().time() - began > 0.4
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_bytes_that_trickle_in_move_no_deadline(
    web_site: WebSite, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = await web_site.signed_in("technik", Role.TECHNICIAN)
    cookies = "; ".join(f"{c.key}={c.value}" for c in client.session.cookie_jar)
    shown = f"Cookie: {cookies}\r\nX-CSRF-Token: {client.csrf}\r\nContent-Length: 100".encode()
    monkeypatch.setattr("web.api.connections.BODY_SECONDS", 0.5)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(web_site.base.rpartition(":")[2]))
    writer.write(BEGUN.replace(b"Content-Length: 100", shown) % (b"cameras/import", b"text/csv"))

    async def trickle() -> None:
        while True:
            writer.write(b" ")
            await asyncio.sleep(0.05)

    trickling = asyncio.create_task(trickle())
    try:
        async with asyncio.timeout(3):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""  # it was not refused for another reason
    finally:
        trickling.cancel()
        writer.close()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_who_asks_in_time_stays(web_site: WebSite, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HEADER_SECONDS", "BODY_SECONDS"):
        monkeypatch.setattr(f"web.api.connections.{name}", 0.5)
    client = await web_site.signed_in("anna", Role.OPERATOR)
    async with client.session.ws_connect(web_site.base + "/api/v1/ws") as page:
        beats = 0
        async with asyncio.timeout(20):
            while beats < 3:  # two seconds and more: it asked, so it stays
                beats += (await page.receive_json())["t"] == "beat"
    assert (await client("GET", "/session")).status == 200


async def test_one_address_does_not_have_every_connection(web_site: WebSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Idle ones give way to a new one of their place; what is asked and the WebSockets do not."""
    client = await web_site.signed_in("anna", Role.OPERATOR)
    page = await client.session.ws_connect(web_site.base + "/api/v1/ws")
    most = 5
    monkeypatch.setattr("web.api.connections.MOST_FROM_ONE_PLACE", most)
    for name in ("HEADER_SECONDS", "BODY_SECONDS"):
        monkeypatch.setattr(f"web.api.connections.{name}", 600.0)
    port, writers = int(web_site.base.rpartition(":")[2]), []
    closed = web_site.parts.metrics.web_connections_refused._value  # type: ignore[attr-defined]

    async def opened(said: bytes = b"", address: str = "127.0.0.1") -> asyncio.StreamReader:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
        writers.append(writer)
        writer.write(said)
        return reader

    async def answers(address: str = "127.0.0.1") -> bool:
        with contextlib.suppress(ConnectionError):
            return b" 200 " in await (await opened(REQUEST, address)).readline()
        return False

    try:
        async with asyncio.timeout(60):
            silent = [await opened(REQUEST[:9]) for _ in range(most + 3)]
            await until(lambda: closed.get() >= 4)  # the WebSocket counts, and so does what the browser keeps open
            with contextlib.suppress(ConnectionError):
                assert await silent[0].read() == b""  # the oldest
            for _ in range(most + 3):
                assert await answers()  # past those that asked nothing, then past those that rest
            for _ in range(most - 1):
                assert b" 100 " in await (await opened(CONTINUED)).readline()
            assert not await answers()
            assert await answers("127.0.0.2")
            assert (await page.receive_json())["t"] == "hello"
            while (await page.receive_json())["t"] != "beat":
                pass
    finally:
        for writer in writers:
            writer.close()
        await page.close()


# TLS


def section(host: str) -> WebSection:
    return WebSection(listen=Listen(host, 0))


def test_loopback_is_served_plainly_and_everything_else_by_a_certificate_of_our_own(tmp_path: Path) -> None:
    assert tls_files(section("127.0.0.1"), tmp_path, NOW) is None
    assert not (tmp_path / "tls").exists()
    made = tls_files(section("0.0.0.0"), tmp_path, NOW)
    assert made is not None
    assert {p.name: oct(p.stat().st_mode & 0o777) for p in (tmp_path / "tls").iterdir()} == {
        "ca.pem": "0o644", "ca.key": "0o600", "server.pem": "0o644", "server.key": "0o600",
    }  # fmt: skip
    before = made.certificate.read_bytes()
    assert tls_files(section("0.0.0.0"), tmp_path, NOW + timedelta(days=SERVER_DAYS - RENEW_DAYS - 2)) == made
    assert made.certificate.read_bytes() == before
    authority = (tmp_path / "tls" / "ca.pem").read_bytes()
    tls_files(section("0.0.0.0"), tmp_path, NOW + timedelta(days=SERVER_DAYS - RENEW_DAYS + 1))
    assert made.certificate.read_bytes() != before
    before = made.certificate.read_bytes()
    tls_files(section("kamery.miasto.example"), tmp_path, NOW + timedelta(days=SERVER_DAYS - RENEW_DAYS + 1))
    assert made.certificate.read_bytes() != before  # another name to speak for
    assert (tmp_path / "tls" / "ca.pem").read_bytes() == authority


async def test_a_browser_that_trusts_our_authority_trusts_the_server(tmp_path: Path) -> None:
    made = tls_files(section("0.0.0.0"), tmp_path, datetime.now(UTC))
    assert made is not None
    assert made.authority is not None
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(made.certificate, made.key)
    server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0, ssl=serving)
    port = server.sockets[0].getsockname()[1]
    trusting = ssl.create_default_context(cafile=str(made.authority))
    async with server:
        for name in ("localhost", "127.0.0.1"):
            _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting, server_hostname=name)
            writer.close()
            await writer.wait_closed()
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection("127.0.0.1", port, ssl=trusting, server_hostname="zly.example")


async def test_a_handshake_that_is_not_finished_is_given_up(
    web_site: WebSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who connects and says nothing, or the beginning of a ClientHello byte by byte, has no connection of ours."""
    monkeypatch.setattr("web.api.connections.HANDSHAKE_SECONDS", 2.0)
    made = tls_files(section("0.0.0.0"), tmp_path, datetime.now(UTC))
    assert made is not None
    server = process._Server(process.server_config(web_site.parts, made))
    loop = asyncio.get_running_loop()
    with process.open_socket(Listen("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
        serving = asyncio.create_task(process.serve(server, door))
        try:
            await until(lambda: bool(getattr(server, "servers", [])))
            began = loop.time()
            silent, slow = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
            async with asyncio.timeout(20):
                with contextlib.suppress(ConnectionError):
                    for byte in b"\x16\x03\x01\x02\x00" + bytes(400):
                        slow[1].write(bytes([byte]))
                        await slow[1].drain()
                        if slow[0].at_eof():
                            break
                        await asyncio.sleep(0.05)
                for reader, writer in (silent, slow):
                    with contextlib.suppress(ConnectionError):
                        assert await reader.read() == b""
                    writer.close()
            assert loop.time() - began > 1.9
            trusting = ssl.create_default_context(cafile=str(made.authority))
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting, server_hostname="localhost")
            writer.write(REQUEST)
            assert b" 200 " in await reader.readline()
            writer.close()
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_a_certificate_that_was_given_is_used_and_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "c.pem").write_text("x")
    (tmp_path / "k.pem").write_text("x")
    given = WebSection(listen=Listen("127.0.0.1", 0), certificate=tmp_path / "c.pem", key=tmp_path / "k.pem")
    assert tls_files(given, tmp_path, NOW) == TlsFiles(tmp_path / "c.pem", tmp_path / "k.pem")
    (tmp_path / "k.pem").unlink()
    with pytest.raises(UserError, match="cannot be read"):
        tls_files(given, tmp_path, NOW)
    (tmp_path / "tls").mkdir()
    for name in ("ca.pem", "ca.key"):
        (tmp_path / "tls" / name).write_text("nonsense")
    with pytest.raises(UserError, match="no certificate of ours"):
        tls_files(section("0.0.0.0"), tmp_path, NOW)


def test_a_port_that_is_taken_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with (
            pytest.raises(UserError, match=r"web\.listen"),
            process.open_socket(Listen("127.0.0.1", taken.getsockname()[1])),
        ):
            pass


# ICE


async def test_the_answer_names_the_sites_stun_and_turn_servers(web_site: WebSite) -> None:
    object.__setattr__(web_site.parts, "ice", IceServers("stun:stun.example:3478", "turn:turn.example:3478", "wspólny"))
    camera = await web_site.camera(1)
    operator = await web_site.signed_in("anna", Role.OPERATOR)
    links = (await operator.watch(camera)).headers.getall("Link")
    assert links[0] == '<stun:stun.example:3478>; rel="ice-server"'
    found = re.fullmatch(
        r'<turn:turn\.example:3478>; rel="ice-server"; username="(\d+)"; credential="([\w+/=]+)"; credential-type="password"',
        links[1],
    )
    assert found is not None
    options = await operator("OPTIONS", f"/whep/{camera.id}")
    assert options.headers["Accept-Post"] == "application/sdp"
    assert len(options.headers.getall("Link")) == 2


def test_turn_credentials_run_out_by_themselves() -> None:
    (link,) = IceServers(turn_url="turn:t", turn_secret="s").links(1_000 * 10**9)
    assert f'username="{1000 + CREDENTIAL_SECONDS}"' in link
    assert IceServers().links(0) == IceServers(turn_url="turn:t").links(0) == []


async def test_plain_http_and_a_websocket_in_one(web_site: WebSite) -> None:
    async with aiohttp.ClientSession() as session, session.get(web_site.base + "/health/live") as answer:
        assert await answer.json() == {"ok": True}
    async with aiohttp.ClientSession() as session, session.get(web_site.base + "/health/ready") as answer:
        assert (answer.status, await answer.json()) == (200, {"ok": True})
