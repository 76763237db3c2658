"""What only real S3 servers can show: wrong credentials, new buckets, versions, TLS that does not fit."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
from minio.commonconfig import ENABLED
from minio.versioningconfig import VersioningConfig

from storage.objects import FolderStore, S3Location, S3Store, open_store
from storage.objects.embedded import EmbeddedServer, start_minio, start_seaweedfs
from tests.support.vms_process import until
from vms.errors import ObjectMissing, StoreDenied, StoreUnavailable, UserError
from vms.settings import Secret, StoreKind, StoreSection

pytestmark = pytest.mark.network


@pytest.fixture(params=["seaweedfs", "minio"])
def server(request: pytest.FixtureRequest) -> EmbeddedServer:
    found: EmbeddedServer = request.getfixturevalue(request.param)
    return found


@asynccontextmanager
async def opened(location: S3Location, **changes: object) -> AsyncIterator[S3Store]:
    store = S3Store(replace(location, **changes))  # type: ignore[arg-type]
    try:
        yield store
    finally:
        await store.close()


async def put(store: S3Store, key: str, body: bytes) -> None:
    await store.put(key, body, digest=hashlib.sha256(body).digest(), size_bytes=len(body))


@pytest.mark.parametrize("wrong", ["access_key", "secret_key"])
async def test_wrong_credentials_say_which(server: EmbeddedServer, wrong: str) -> None:
    value = secrets.token_hex(12)
    async with opened(server.location, **{wrong: value}) as store:
        with pytest.raises(StoreDenied) as caught:
            await store.check()
        assert "check" in str(caught.value)
        assert wrong.replace("_", " ") in str(caught.value)
        assert value not in str(caught.value)
        with pytest.raises(StoreDenied):
            await put(store, "tests/x.bin", b"x")


async def test_a_missing_bucket_is_made(server: EmbeddedServer) -> None:
    async with opened(server.location, bucket=f"nowy-{secrets.token_hex(4)}") as store:
        await store.check()
        await put(store, "tests/x.bin", b"x")
        assert await store.read("tests/x.bin", 0, 5) == b"x"


async def test_deleting_leaves_no_version_and_no_marker(server: EmbeddedServer) -> None:
    bucket, key = f"wersje-{secrets.token_hex(4)}", "segments/x/a.mp4"
    async with opened(server.location, bucket=bucket) as store:
        await store.check()
        store._sdk.set_bucket_versioning(bucket, VersioningConfig(ENABLED))
        await put(store, key, b"one")
        assert (await store.head(key)).version
        store._sdk.remove_object(bucket, key)  # somebody else's delete: a marker, the bytes stay
        with pytest.raises(ObjectMissing):
            await store.head(key)
        assert [i.key async for i in store.list("segments/")] == []
        await put(store, key, b"two")
        await store.delete(key)
        left = list(store._sdk.list_objects(bucket, recursive=True, include_version=True))
        assert left == []


async def test_https_to_a_plain_port(server: EmbeddedServer) -> None:
    plain = server.location.endpoint
    async with opened(server.location, endpoint=plain.replace("http:", "https:")) as store:
        for asking in (store.check(), put(store, "tests/x.bin", b"x")):
            with pytest.raises(StoreDenied, match="TLS"):
                await asking


async def test_http_to_a_tls_port(minio_tls: EmbeddedServer) -> None:
    location = minio_tls.location
    async with opened(location, endpoint=location.endpoint.replace("https:", "http:")) as store:
        with pytest.raises((StoreDenied, StoreUnavailable)):
            await store.check()


async def test_a_certificate_of_somebody_else(minio_tls: EmbeddedServer, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger.pem"
    stranger.write_bytes(trustme.CA().cert_pem.bytes())
    for ca_file in (stranger, None):
        async with opened(minio_tls.location, ca_file=ca_file) as store:
            for asking in (store.check(), store.head("tests/x.bin"), put(store, "tests/x.bin", b"x")):
                with pytest.raises(StoreDenied, match="certificate"):
                    await asking


async def test_the_settings_name_a_store(server: EmbeddedServer, tmp_path: Path) -> None:
    location = server.location
    section = StoreSection(
        kind=StoreKind.S3, endpoint=location.netloc, bucket=location.bucket, tls=False,
        access_key=Secret(location.access_key), secret_key=Secret(location.secret_key),
    )  # fmt: skip
    store = open_store(section)
    await store.check()
    await store.close()
    assert isinstance(open_store(StoreSection(path=tmp_path)), FolderStore)


@pytest.mark.parametrize("kind", ["seaweedfs", "minio"])
async def test_what_was_acknowledged_is_there_after_a_restart(
    request: pytest.FixtureRequest, kind: str, tmp_path: Path
) -> None:
    request.getfixturevalue(kind)  # skips where the server is not installed
    start = {"seaweedfs": start_seaweedfs, "minio": start_minio}[kind]
    body = secrets.token_bytes(3_000_000)
    with start(tmp_path / "s") as first:
        async with opened(first.location) as store:
            await store.check()
            await put(store, "tests/x.bin", body)
    assert first.process.poll() is not None
    with start(tmp_path / "s") as second:
        async with opened(second.location) as store:

            async def read() -> bytes | None:
                try:
                    return await store.read("tests/x.bin", 0, len(body))
                except StoreUnavailable:  # SeaweedFS answers 500 until its volumes have come back to its master
                    return None

            assert await until("the store answers again", read, 30) == body


def test_a_server_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VMS_WEED", str(tmp_path / "absent"))
    monkeypatch.setenv("VMS_MINIO", str(tmp_path))
    for start in (start_seaweedfs, start_minio):
        with pytest.raises(UserError, match="not installed"):
            start(tmp_path / "s")


def test_a_server_that_dies_says_where_to_look(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VMS_MINIO", "/bin/false")
    with pytest.raises(StoreUnavailable, match=r"minio\.log"):
        start_minio(tmp_path / "s")
