"""What only the folder store has: files on disk, extended attributes, crashes, foreign rights."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.objects import FolderStore
from storage.objects.base import check_key, check_prefix
from storage.objects.folder import INCOMING, STALE_S
from tests.support.made_store import made_store
from vms.errors import DigestMismatch, MalformedError, ObjectMissing, StoreDenied, StoreUnavailable

KEY = "segments/ulica/a.mp4"
BODY = b"footage of a street" * 1000
DIGEST = hashlib.sha256(BODY).digest()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


async def put(store: FolderStore, key: str = KEY, body: bytes = BODY) -> None:
    await store.put(key, body, digest=hashlib.sha256(body).digest(), size_bytes=len(body))


async def test_an_object_is_a_plain_file(root: Path) -> None:
    await put(made_store(root))
    assert (root / KEY).read_bytes() == BODY
    assert os.listdir(root / INCOMING) == []


@pytest.mark.parametrize("copy", ["cp", "without attributes"])
async def test_the_digest_survives_any_copy(root: Path, tmp_path: Path, copy: str) -> None:
    await put(made_store(root))
    moved = tmp_path / "moved"
    if copy == "cp":
        subprocess.run(["cp", "-a", root, moved], check=True)
    else:
        shutil.copytree(root, moved)
        os.removexattr(moved / KEY, "user.sha256")
    store = made_store(moved)
    assert (await store.head(KEY)).digest == DIGEST
    assert os.getxattr(moved / KEY, "user.sha256") == DIGEST.hex().encode()


async def test_without_attributes_the_bytes_are_reckoned(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> bytes:
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(os, "setxattr", refused)
    monkeypatch.setattr(os, "getxattr", refused)
    store = FolderStore(root)
    await store.check()
    await put(store)
    assert (await store.head(KEY)).digest == DIGEST


async def test_a_garbled_attribute_is_not_believed(root: Path) -> None:
    store = made_store(root)
    await put(store)
    os.setxattr(root / KEY, "user.sha256", b"zz")
    assert (await store.head(KEY)).digest == DIGEST


async def test_stale_temporary_files_go_and_fresh_ones_stay(root: Path) -> None:
    store = made_store(root)
    await store.check()
    for name, age in (("stale", STALE_S + 60), ("fresh", 0.0)):
        (root / INCOMING / name).write_bytes(b"half")
        os.utime(root / INCOMING / name, (time.time() - age,) * 2)
    await store.check()
    assert os.listdir(root / INCOMING) == ["fresh"]
    assert [info.key async for info in store.list("")] == []


@pytest.mark.parametrize("call", ["fsync", "link", "write"])
@pytest.mark.parametrize(
    ("number", "expected"),
    [(errno.ENOSPC, StoreUnavailable), (errno.EIO, StoreUnavailable), (errno.EACCES, StoreDenied), (errno.EROFS, StoreDenied)],
)  # fmt: skip
async def test_a_disk_that_refuses_leaves_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, expected: type[Exception]
) -> None:
    store = made_store(root)
    await store.check()

    def refuse(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(os, call, refuse)
        with pytest.raises(expected):
            await put(store)
    assert os.listdir(root / INCOMING) == []
    with pytest.raises(ObjectMissing):
        await store.head(KEY)
    await put(store)


async def test_a_disk_mounted_read_only_is_called_so_and_no_probe_object_is_said_to_stay(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = made_store(root)
    opened = os.open

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    def reads_only(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        if flags & os.O_CREAT:
            refuse()
        return opened(path, flags, *rest, **named)

    monkeypatch.setattr(os, "open", reads_only)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(StoreDenied, match=r"mounted read-only.*dmesg and SMART"):
        await store.check()
    assert "probe object" not in caplog.text


async def test_a_file_system_without_links_is_named_at_the_start(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(StoreDenied, match="ext4"):
        await FolderStore(root).check()


async def test_a_root_that_is_a_file(root: Path) -> None:
    root.write_bytes(b"")
    with pytest.raises(StoreDenied):
        await FolderStore(root).check()


async def test_a_source_that_fails_while_read_is_the_callers_trouble(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source.mp4"
    source.write_bytes(BODY)

    def broken(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "read", broken)
        with pytest.raises(OSError, match="Input/output"):
            await made_store(root).put(KEY, source, digest=DIGEST, size_bytes=len(BODY))
    assert os.listdir(root / INCOMING) == []


async def test_links_are_not_followed(root: Path, tmp_path: Path) -> None:
    store = made_store(root)
    await put(store)
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(b"secret")
    os.symlink(secret, root / "segments/ulica/b.mp4")
    with pytest.raises((ObjectMissing, StoreDenied, StoreUnavailable)):
        await store.read("segments/ulica/b.mp4", 0, 10)


async def test_deleting_prunes_empty_folders(root: Path) -> None:
    store = made_store(root)
    await put(store)
    await put(store, "segments/plac/b.mp4")
    await store.delete(KEY)
    assert not (root / "segments/ulica").exists()
    assert (root / "segments/plac/b.mp4").exists()
    await store.delete("segments/plac/b.mp4")
    assert root.is_dir()
    assert not (root / "segments").exists()


async def test_an_altered_object_is_not_taken_for_what_was_put(root: Path) -> None:
    store = made_store(root)
    with pytest.raises(DigestMismatch):
        await store.put(KEY, BODY, digest=hashlib.sha256(b"x").digest(), size_bytes=len(BODY))


@given(st.text(max_size=80))
def test_no_text_leads_out_of_the_folder(text: str) -> None:
    for check in (check_key, check_prefix):
        try:
            accepted = check(text)
        except MalformedError:
            continue
        assert accepted == text
        assert not os.path.isabs(accepted)
        assert not any(part.startswith(".") for part in accepted.split("/"))


@given(st.from_regex(r"\A([a-z0-9._/-]{0,12}/){0,4}[a-z0-9._/-]{0,20}\Z"))
def test_a_key_is_never_anothers_folder(text: str) -> None:
    try:
        check_key(text)
    except MalformedError:
        return
    with pytest.raises(MalformedError):
        check_key(text + "/x.mp4")
