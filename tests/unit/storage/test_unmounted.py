"""The disk of a folder store is unmounted for a while; here another, empty folder stands in its place."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from storage.archiver import Archiver
from storage.check import check_site
from storage.check_findings import Depth
from storage.check_looks import Places
from storage.deleter import Deleter
from storage.objects import FolderStore
from storage.retention import DAY_NS
from storage.stores import SpoolCopies
from tests.support.sealed import HOST, OBJECT_STORE, SPOOL_STORE, WALL_NS, Site, open_site
from vms.clock import SimulatedClock
from vms.errors import StoreUnavailable


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    opened = await open_site(tmp_path)
    yield opened
    await opened.close()


@contextmanager
def unmounted(root: Path) -> Iterator[Path]:
    """The store's files, elsewhere."""
    disk = root.with_name("disk")
    root.rename(disk)
    root.mkdir()
    try:
        yield disk
    finally:
        assert list(root.iterdir()) == [], "something was written under the mount point"
        root.rmdir()
        disk.rename(root)


def archiver(site: Site, store: FolderStore) -> Archiver:
    return Archiver(site.spool, site.catalogue, store, host=HOST, spool_store=SPOOL_STORE, object_store=OBJECT_STORE)


async def findings(site: Site, store: FolderStore) -> list[str]:
    names = {"spool_name": SPOOL_STORE.name, "store_name": OBJECT_STORE.name, "host": HOST}
    report = await check_site(Places(site.catalogue, site.spool, store, **names), Depth.SIZE, settle_seconds=0)
    return [finding.kind.value for finding in report.findings]


@pytest.mark.parametrize("restarted", [False, True])
async def test_nothing_is_archived_into_a_mount_point(site: Site, tmp_path: Path, *, restarted: bool) -> None:
    store = FolderStore(tmp_path / "store")
    archiving, run = archiver(site, store), site.run()
    await site.seal(run, [0])
    await archiving.register_sealed()
    await archiving.upload_pending()
    assert site.files() == []
    with unmounted(tmp_path / "store"):
        if restarted:
            archiving = archiver(site, store)
        await site.seal(run, [1])
        await archiving.register_sealed()
        with pytest.raises(StoreUnavailable, match="not mounted"):
            await archiving.upload_pending()
        assert len(site.files()) == 1, "it stays in the spool"
    await archiving.upload_pending()
    assert site.files() == []
    assert await findings(site, store) == []


async def test_nothing_is_called_deleted_that_lies_on_the_disk(site: Site, tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    archiving = archiver(site, store)
    await site.seal(site.run(), [0])
    await archiving.register_sealed()
    await archiving.upload_pending()
    clock = SimulatedClock(WALL_NS + 31 * DAY_NS)
    copies = {SPOOL_STORE.name: SpoolCopies(site.spool), OBJECT_STORE.name: store}
    with unmounted(tmp_path / "store") as disk:
        done = await Deleter(site.catalogue, copies, clock=clock).run_once()
        assert (done.removed_objects, done.reported_segments, len(list(disk.rglob("*.mp4")))) == (0, 0, 1)
    done = await Deleter(site.catalogue, copies, clock=clock).run_once()
    assert (done.removed_objects, done.reported_segments) == (1, 1)
    assert await findings(site, store) == []


async def test_every_call_says_that_it_is_away(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    await store.check()
    with unmounted(tmp_path / "store"):
        for call in (
            store.head("a/b.bin"),
            store.read("a/b.bin", 0, 1),
            store.delete("a/b.bin"),
            store.check(make=False),
        ):
            with pytest.raises(StoreUnavailable, match="not mounted"):
                await call
        with pytest.raises(StoreUnavailable, match="not mounted"):
            async for _ in store.list("a/"):
                pass
