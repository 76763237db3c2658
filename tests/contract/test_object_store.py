"""One suite over every `ObjectStore`: a folder, SeaweedFS, MinIO over plain HTTP and MinIO over TLS."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from storage.objects import FolderStore, ObjectInfo, ObjectStore, put_once
from storage.objects.base import BLOCK_BYTES
from storage.objects.s3 import S3Store
from vms.errors import DigestMismatch, MalformedError, ObjectExists, ObjectMissing

pytestmark = pytest.mark.network


@pytest.fixture(params=["folder", "seaweedfs", "minio", "minio_tls"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ObjectStore]:
    opened: ObjectStore
    if request.param == "folder":
        opened = FolderStore(tmp_path / "store")
    else:
        opened = S3Store(request.getfixturevalue(request.param).location)
    await opened.check()
    yield opened
    await opened.close()


@pytest.fixture
def folder() -> str:
    """A part of the store's keys that is this test's alone."""
    return f"tests/{secrets.token_hex(8)}"


def sha256(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()


async def put(store: ObjectStore, key: str, body: bytes) -> ObjectInfo:
    return await store.put(key, body, digest=sha256(body), size_bytes=len(body))


async def whole(store: ObjectStore, key: str, offset: int = 0, length: int | None = None) -> bytes:
    pieces = [piece async for piece in store.get(key, offset, length)]
    assert all(0 < len(piece) <= BLOCK_BYTES for piece in pieces)
    return b"".join(pieces)


async def keys(store: ObjectStore, prefix: str) -> list[str]:
    return [info.key async for info in store.list(prefix)]


@pytest.mark.parametrize("size", [0, 1, 100_000, 3 * BLOCK_BYTES + 17])
async def test_what_is_put_is_given_back(store: ObjectStore, folder: str, tmp_path: Path, size: int) -> None:
    body = os.urandom(size)
    source = tmp_path / "source.mp4"
    source.write_bytes(body)
    for name, given in (("a.mp4", source), ("b.json", body)):
        key = f"{folder}/{name}"
        stored = await store.put(key, given, digest=sha256(body), size_bytes=size)
        assert (stored.key, stored.size_bytes, stored.digest) == (key, size, sha256(body))
        found = await store.head(key)
        assert (found.key, found.size_bytes, found.digest) == (key, size, sha256(body))
        assert await whole(store, key) == body
        assert await store.read(key, 0, size + 1) == body
    assert source.read_bytes() == body


async def test_a_second_put_is_refused_and_changes_nothing(store: ObjectStore, folder: str, tmp_path: Path) -> None:
    key, body = f"{folder}/a.mp4", b"first"
    await put(store, key, body)
    with pytest.raises(ObjectExists):
        await put(store, key, body)
    large = tmp_path / "large.mp4"  # refused long before it is sent, so that the server may close early
    large.write_bytes(os.urandom(20_000_000))
    with pytest.raises(ObjectExists):
        await store.put(key, large, digest=sha256(large.read_bytes()), size_bytes=20_000_000)
    assert await store.read(key, 0, 100) == body
    assert (await store.head(key)).digest == sha256(body)


async def test_a_wrong_digest_or_size_leaves_nothing(store: ObjectStore, folder: str, tmp_path: Path) -> None:
    body = os.urandom(500_000)
    source = tmp_path / "source.mp4"
    source.write_bytes(body)
    for given in (source, body):
        with pytest.raises(DigestMismatch):
            await store.put(f"{folder}/a.mp4", given, digest=sha256(b"other"), size_bytes=len(body))
        for wrong in (len(body) - 1, len(body) + 1, 0):
            with pytest.raises(DigestMismatch):
                await store.put(f"{folder}/a.mp4", given, digest=sha256(body), size_bytes=wrong)
    with pytest.raises(ObjectMissing):
        await store.head(f"{folder}/a.mp4")
    assert await keys(store, folder) == []
    await put(store, f"{folder}/a.mp4", body)  # the refusals have not taken the key


async def test_an_unreadable_source_is_the_callers_trouble(store: ObjectStore, folder: str, tmp_path: Path) -> None:
    for source in (tmp_path / "absent.mp4", tmp_path):
        with pytest.raises((OSError, DigestMismatch)):
            await store.put(f"{folder}/a.mp4", source, digest=sha256(b"x"), size_bytes=1)
    with pytest.raises(ObjectMissing):
        await store.head(f"{folder}/a.mp4")


async def test_what_is_missing_says_so(store: ObjectStore, folder: str) -> None:
    key = f"{folder}/absent.mp4"
    for asking in (store.head(key), store.read(key, 0, 10), whole(store, key), whole(store, key, 5, 5)):
        with pytest.raises(ObjectMissing):
            await asking
    await store.delete(key)
    assert await keys(store, f"{folder}/") == []


@pytest.mark.parametrize(
    ("offset", "length"),
    [(0, 1), (0, None), (1, 4), (99_999, 1), (99_999, 50), (50_000, None), (100_000, 1), (100_000, None), (10**12, 5)],
)
async def test_ranges(store: ObjectStore, folder: str, offset: int, length: int | None) -> None:
    body = os.urandom(100_000)
    await put(store, f"{folder}/a.mp4", body)
    expected = body[offset:] if length is None else body[offset : offset + length]
    assert await whole(store, f"{folder}/a.mp4", offset, length) == expected
    if length is not None:
        assert await store.read(f"{folder}/a.mp4", offset, length) == expected


async def test_an_empty_or_backward_range_is_a_bug(store: ObjectStore, folder: str) -> None:
    for offset, length in ((-1, 5), (0, 0), (0, -3)):
        with pytest.raises(ValueError):
            await store.read(f"{folder}/a.mp4", offset, length)
        with pytest.raises(ValueError):
            await whole(store, f"{folder}/a.mp4", offset, length)


async def test_leaving_a_stream_early_harms_nothing(store: ObjectStore, folder: str) -> None:
    body = os.urandom(12_000_000)
    await put(store, f"{folder}/a.mp4", body)
    for _ in range(40):  # more than there are connections
        async with aclosing(store.get(f"{folder}/a.mp4")) as pieces:
            assert body.startswith(await anext(pieces))
    assert await whole(store, f"{folder}/a.mp4") == body


async def test_many_streams_at_once(store: ObjectStore, folder: str) -> None:
    body = os.urandom(600_000)
    await put(store, f"{folder}/a.mp4", body)
    assert await asyncio.gather(*(whole(store, f"{folder}/a.mp4", i) for i in range(50))) == [
        body[i:] for i in range(50)
    ]


async def test_listing(store: ObjectStore, folder: str) -> None:
    names = [f"{folder}/{n}" for n in ("x/1.mp4", "x/2.mp4", "x/10.mp4", "x-y/1.mp4", "x/z/1.mp4", "xx/1.json")]
    for name in names:
        await put(store, name, name.encode())
    assert sorted(await keys(store, folder)) == sorted(names)
    assert sorted(await keys(store, f"{folder}/x")) == sorted(names)
    assert await keys(store, f"{folder}/x/1") == [f"{folder}/x/1.mp4", f"{folder}/x/10.mp4"]
    assert await keys(store, f"{folder}/x/") == [f"{folder}/x/{n}" for n in ("1.mp4", "10.mp4", "2.mp4", "z/1.mp4")]
    assert await keys(store, f"{folder}/nothing") == []
    sizes = {info.key: info.size_bytes async for info in store.list(folder)}
    assert sizes == {name: len(name) for name in names}


async def test_listing_is_paged(store: ObjectStore, folder: str) -> None:
    names = [f"{folder}/{number:05d}.mp4" for number in range(1005)]
    gate = asyncio.Semaphore(16)

    async def put_one(name: str) -> None:
        async with gate:
            await put(store, name, b"x")

    await asyncio.gather(*map(put_one, names))
    assert await keys(store, folder) == names


async def test_delete_is_for_good_and_repeatable(store: ObjectStore, folder: str) -> None:
    key = f"{folder}/a.json"
    await put(store, key, b"one")
    await put(store, f"{key}.gz", b"other")
    await store.delete(key)
    await store.delete(key)
    with pytest.raises(ObjectMissing):
        await store.head(key)
    assert await keys(store, folder) == [f"{key}.gz"]
    await put(store, key, b"two")
    assert await store.read(key, 0, 10) == b"two"


async def test_of_many_writers_one_wins(store: ObjectStore, folder: str) -> None:
    key = f"{folder}/a.mp4"
    bodies = [os.urandom(200_000) for _ in range(6)]
    results = await asyncio.gather(*(put(store, key, body) for body in bodies), return_exceptions=True)
    winners = [body for body, result in zip(bodies, results, strict=True) if isinstance(result, ObjectInfo)]
    assert len(winners) == 1, results
    assert all(isinstance(r, ObjectInfo | ObjectExists) for r in results), results
    assert await whole(store, key) == winners[0]


async def test_a_cancelled_put_leaves_all_or_nothing(store: ObjectStore, folder: str, tmp_path: Path) -> None:
    body = os.urandom(30_000_000)
    source = tmp_path / "source.mp4"
    source.write_bytes(body)
    for number, turns in enumerate((1, 20, 400)):
        key = f"{folder}/{number}.mp4"
        putting = asyncio.create_task(store.put(key, source, digest=sha256(body), size_bytes=len(body)))
        for _ in range(turns):
            await asyncio.sleep(0)
        putting.cancel()
        await asyncio.gather(putting, return_exceptions=True)
        info = await put_once(store, key, source, digest=sha256(body), size_bytes=len(body))
        assert (info.size_bytes, info.digest) == (len(body), sha256(body))
    assert await whole(store, f"{folder}/0.mp4") == body


async def test_put_once_may_be_repeated(store: ObjectStore, folder: str) -> None:
    key, body = f"{folder}/a.mp4", b"footage"
    for _ in range(3):
        info = await put_once(store, key, body, digest=sha256(body), size_bytes=len(body))
        assert (info.key, info.size_bytes, info.digest) == (key, len(body), sha256(body))
    with pytest.raises(DigestMismatch):
        await put_once(store, key, b"forgery", digest=sha256(b"forgery"), size_bytes=7)
    assert await store.read(key, 0, 100) == body


@pytest.mark.parametrize(
    "key",
    ["", "/", "a", "a/b", "/a/b.mp4", "../a/b.mp4", "a/../b.mp4", "a//b.mp4", "a/.b.mp4", "a/b.mp4/", "a/B.mp4",
     "a/b.mp4\n", "a/b c.mp4", "a/ż.mp4", "a/b\0.mp4", "a/b%2e.mp4", "a/b.mp4?x=1", "a.b/c.mp4", "a/" + "b" * 600 + ".mp4"],
)  # fmt: skip
async def test_keys_outside_the_grammar_are_refused(store: ObjectStore, key: str) -> None:
    for asking in (put(store, key, b"x"), store.head(key), store.read(key, 0, 1), whole(store, key), store.delete(key)):
        with pytest.raises(MalformedError):
            await asking


@pytest.mark.parametrize("prefix", ["/", "../", "a/../", "a//", ".incoming", "a b", "A"])
async def test_prefixes_outside_the_grammar_are_refused(store: ObjectStore, prefix: str) -> None:
    with pytest.raises(MalformedError):
        await keys(store, prefix)


async def test_the_probe_leaves_nothing(store: ObjectStore) -> None:
    await store.check()
    assert await keys(store, "probes/") == []


async def test_names_and_repr_hold_no_credentials(store: ObjectStore) -> None:
    shown = f"{store!r} {store.name}"
    location = getattr(store, "_location", None)
    if location is not None:
        shown += repr(location)
        assert location.secret_key not in shown
        assert location.access_key not in shown
