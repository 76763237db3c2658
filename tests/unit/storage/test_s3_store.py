"""The S3 store against a server that answers from a script: refusals, lies, silence and broken connections."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from storage.objects import s3 as s3_module
from storage.objects import s3_wire
from storage.objects.s3 import S3Store
from storage.objects.s3_wire import S3Location
from vms.errors import (
    DigestMismatch,
    ObjectExists,
    ObjectMissing,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreUnavailable,
    UserError,
)

KEY = "segments/x/a.mp4"
BODY = b"footage" * 1000
DIGEST = hashlib.sha256(BODY).digest()
ACCESS, SECRET = "KLUCZDOSTEPU", "tajny-klucz-do-magazynu"


class Script:
    """Serves each connection with the next of `turns`; the last one goes on for ever. Notes request heads."""

    def __init__(self, *turns: Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]) -> None:
        self.turns = list(turns)
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.connections = 0
        self.tasks: set[asyncio.Task[None]] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        turn = self.turns[min(self.connections, len(self.turns) - 1)]
        self.connections += 1

        async def serve() -> None:
            try:
                await turn(self, reader, writer)  # type: ignore[call-arg, misc]
            except (OSError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.transport.abort() if turn is reset else writer.close()

        task = asyncio.create_task(serve())
        self.tasks.add(task)


async def request(script: Script, reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    script.heads.append(head)
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            script.bodies.append(await reader.readexactly(int(line.split(b":")[1])))
    return head


def says(status: str, body: bytes = b"", headers: str = "", *, keep: bool = True):
    """Read requests whole and give this answer to each."""

    async def turn(script: Script, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await request(script, reader)
            answer = f"HTTP/1.1 {status}\r\n{headers}"
            if "content-length" not in headers.lower():
                answer += f"Content-Length: {len(body)}\r\n"
            writer.write(answer.encode() + b"\r\n" + (b"" if head.startswith(b"HEAD") else body))
            await writer.drain()
            if not keep:
                return

    return turn


def error(status: str, code: str):
    return says(status, f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>m</Message></Error>".encode(),
                "Content-Type: application/xml\r\n")  # fmt: skip


async def reset(script: Script, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")


async def silence(script: Script, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request(script, reader)
    await reader.read(1)


async def refuse_early(script: Script, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """As MinIO may: answer 412 to the head alone and close with the body unread."""
    script.heads.append(await reader.readuntil(b"\r\n\r\n"))
    writer.write(b"HTTP/1.1 412 Precondition Failed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    await writer.drain()


@asynccontextmanager
async def scripted(*turns) -> AsyncIterator[tuple[S3Store, Script]]:
    script = Script(*turns)
    server = await asyncio.start_server(script.accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    store = S3Store(S3Location(f"http://127.0.0.1:{port}", "nagrania", ACCESS, SECRET))
    try:
        yield store, script
    finally:
        await store.close()
        server.close()
        for task in script.tasks:
            task.cancel()
        await asyncio.gather(*script.tasks, return_exceptions=True)
        await server.wait_closed()


async def put(store: S3Store, source: Path | bytes = BODY) -> None:
    await store.put(KEY, source, digest=DIGEST, size_bytes=len(BODY))


async def test_what_a_put_says(tmp_path: Path) -> None:
    source = tmp_path / "a.mp4"
    source.write_bytes(BODY)
    async with scripted(says("200 OK", headers="x-amz-version-id: v7\r\n")) as (store, script):
        info = await store.put(KEY, source, digest=DIGEST, size_bytes=len(BODY))
        assert info.version == "v7"
        head = script.heads[0].decode().lower()
        assert head.startswith(f"put /nagrania/{KEY} http/1.1\r\n")
        assert "if-none-match: *\r\n" in head
        assert f"x-amz-content-sha256: {DIGEST.hex()}\r\n" in head
        assert f"x-amz-checksum-sha256: {base64.b64encode(DIGEST).decode().lower()}\r\n" in head
        signed = head.partition("signedheaders=")[2].partition(",")[0].split(";")
        assert {"host", "if-none-match", "x-amz-checksum-sha256", "x-amz-content-sha256", "x-amz-date"} <= set(signed)
        assert script.bodies == [BODY]
        await put(store)
        assert script.connections == 1  # kept


def cuts(whole: bytes):
    """Answer each connection with one byte more of `whole`, and hang up."""
    lengths = iter(range(len(whole)))

    async def turn(script: Script, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(script, reader)
        writer.write(whole[: next(lengths)])
        await writer.drain()

    return turn


async def test_a_head_that_is_cut_anywhere_is_no_answer() -> None:
    digest = base64.b64encode(DIGEST)
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 174117\r\nx-amz-checksum-sha256: " + digest + b"\r\n\r\n"
    async with scripted(cuts(whole[:-1])) as (store, script):
        for _ in range(len(whole) - 1):
            with pytest.raises(StoreUnavailable):
                await store.head(KEY)
        assert script.connections == len(whole) - 1


@pytest.mark.parametrize(
    ("turn", "expected"),
    [
        (error("412 Precondition Failed", "PreconditionFailed"), ObjectExists),
        (error("400 Bad Request", "BadDigest"), DigestMismatch),
        (error("400 Bad Request", "XAmzContentSHA256Mismatch"), DigestMismatch),
        (error("403 Forbidden", "SignatureDoesNotMatch"), StoreDenied),
        (error("403 Forbidden", "InvalidAccessKeyId"), StoreDenied),
        (error("403 Forbidden", "RequestTimeTooSkewed"), StoreDenied),
        (error("403 Forbidden", "AccessDenied"), StoreDenied),
        (error("404 Not Found", "NoSuchBucket"), StoreDenied),
        (error("301 Moved Permanently", "PermanentRedirect"), StoreDenied),
        (error("500 Internal Server Error", "InternalError"), StoreUnavailable),
        (error("503 Slow Down", "SlowDown"), StoreUnavailable),
        (error("409 Conflict", "ConditionalRequestConflict"), StoreUnavailable),
        (error("507 Insufficient Storage", "XMinioStorageFull"), StoreFull),
        (error("418 I'm a teapot", "Herbata"), StoreError),
        (says("500 Internal Server Error", b"x" * 1_000_000), StoreUnavailable),
        (says("502 Bad Gateway", b"<html>nginx</html>", keep=False), StoreUnavailable),
        (reset, StoreUnavailable),
        (refuse_early, ObjectExists),
    ],
)
async def test_refusals_of_a_put(turn, expected: type[StoreError], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with scripted(turn) as (store, _):
        with pytest.raises(expected) as caught:
            await put(store)
        assert type(caught.value) is expected
        shown = "".join(traceback.format_exception(caught.value)) + caplog.text
        assert SECRET not in shown
        assert ACCESS not in shown
        assert "Signature=" not in shown


@pytest.mark.parametrize(
    "garbage",
    [b"SSH-2.0-OpenSSH_9\r\n", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", b"HTTP/1.1 \xff\xfe\r\n\r\n", b"\0" * 70_000],
)  # fmt: skip
async def test_something_that_is_not_http(garbage: bytes) -> None:
    async def turn(script: Script, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(script, reader)
        writer.write(garbage)
        await writer.drain()

    async with scripted(turn) as (store, _):
        for asking in (put(store), store.head(KEY), store.read(KEY, 0, 10), store.delete(KEY), store.check()):
            with pytest.raises(StoreUnavailable):
                await asking


async def test_a_lost_early_refusal_is_looked_up(tmp_path: Path) -> None:
    """The connection breaks while the body is sent, and HEAD then finds the object."""
    body = bytes(30_000_000)
    source = tmp_path / "big.mp4"
    source.write_bytes(body)
    digest = hashlib.sha256(body).digest()
    found = says("200 OK", headers=f"Content-Length: {len(body)}\r\n")
    async with scripted(reset, found) as (store, script):
        with pytest.raises(ObjectExists):
            await store.put(KEY, source, digest=digest, size_bytes=len(body))
        assert script.heads[-1].startswith(b"HEAD ")
    async with scripted(reset, says("404 Not Found")) as (store, _):
        with pytest.raises(StoreUnavailable):
            await store.put(KEY, source, digest=digest, size_bytes=len(body))


async def test_a_kept_connection_that_died_is_replaced() -> None:
    once = says(
        "200 OK",
        headers=f"Content-Length: 7\r\nx-amz-checksum-sha256: {base64.b64encode(DIGEST).decode()}\r\n",
        keep=False,
    )
    async with scripted(once) as (store, script):
        for _ in range(3):
            info = await store.head(KEY)
            assert (info.size_bytes, info.digest) == (7, DIGEST)
        assert script.connections == 3


async def test_silence_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_wire, "STEP_TIMEOUT_S", 0.2)
    async with scripted(silence) as (store, _):
        for asking in (put(store), store.head(KEY), store.read(KEY, 0, 10)):
            with pytest.raises(StoreUnavailable, match="in time"):
                await asking


async def test_a_deadline_breaks_off_what_only_trickles(monkeypatch: pytest.MonkeyPatch) -> None:
    async def trickle(script: Script, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(script, reader)
        writer.write(b"HTTP/1.1 206 Partial\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    monkeypatch.setattr(s3_module, "CALL_DEADLINE_S", 0.3)
    async with scripted(trickle) as (store, _):
        with pytest.raises(StoreUnavailable, match="in time"):
            await store.read(KEY, 0, 1000)


async def test_a_body_that_breaks_off_is_not_taken_for_whole() -> None:
    cut = says("200 OK", b"half", "Content-Length: 100\r\n", keep=False)
    async with scripted(cut) as (store, _):
        with pytest.raises(StoreUnavailable):
            [piece async for piece in store.get(KEY)]
    partial = says("206 Partial Content", b"half", "Content-Length: 100\r\n", keep=False)
    async with scripted(partial) as (store, _):
        with pytest.raises(StoreUnavailable):
            await store.read(KEY, 0, 100)


async def test_a_server_that_ignores_ranges_is_refused() -> None:
    async with scripted(says("200 OK", BODY)) as (store, _):
        with pytest.raises(StoreError):
            await store.read(KEY, 5, 10)


@pytest.mark.parametrize("checksum", ["", "x", "AAAA", base64.b64encode(DIGEST).decode() + "-3", "ą"])
async def test_a_checksum_that_is_none_is_no_digest(checksum: str) -> None:
    async with scripted(says("200 OK", headers=f"Content-Length: 5\r\nx-amz-checksum-sha256: {checksum}\r\n")) as (
        store,
        _,
    ):
        assert (await store.head(KEY)).digest is None


async def test_head_of_what_is_missing_and_without_size() -> None:
    async with scripted(says("404 Not Found")) as (store, _):
        with pytest.raises(ObjectMissing):
            await store.head(KEY)
    async with scripted(says("200 OK", headers="Content-Length: -4\r\n")) as (store, _):
        with pytest.raises(StoreUnavailable):
            await store.head(KEY)


async def test_closing_ends_what_is_under_way() -> None:
    async with scripted(silence) as (store, script):
        asking = asyncio.create_task(store.head(KEY))
        while not script.heads:
            await asyncio.sleep(0)
        await store.close()
        with pytest.raises(StoreUnavailable):
            await asking
        with pytest.raises(StoreUnavailable, match="closed"):
            await store.head(KEY)


async def test_nothing_listens() -> None:
    server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    store = S3Store(S3Location(f"http://127.0.0.1:{port}", "nagrania", ACCESS, SECRET))
    for asking in (put(store), store.head(KEY), store.check()):
        with pytest.raises(StoreUnavailable, match="is the store running"):
            await asking
    await store.close()


@pytest.mark.parametrize(
    "change",
    [{"endpoint": e} for e in ("", "minio:9000", "ftp://minio", "http://", "http://minio/x", "http://minio:99999", "http://m?x=1",
                               f"http://user:{SECRET}@minio:9000")]
    + [{"bucket": b} for b in ("", "A", "ab", "a/b", "x" * 64, "-ab")]
    + [{"access_key": ""}, {"secret_key": ""}],
)  # fmt: skip
def test_locations_that_cannot_be(change: dict[str, str]) -> None:
    right = S3Location("http://minio:9000", "nagrania", ACCESS, SECRET)
    with pytest.raises(UserError) as caught:
        replace(right, **change)
    assert SECRET not in str(caught.value)


def test_a_ca_file_that_is_none(tmp_path: Path) -> None:
    wrong = tmp_path / "ca.pem"
    wrong.write_text("no certificate")
    for path in (wrong, tmp_path / "absent.pem"):
        with pytest.raises(UserError, match="CA file"):
            S3Store(S3Location("https://minio:9000", "nagrania", ACCESS, SECRET, ca_file=path))
