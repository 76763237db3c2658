"""Record, archive, lose the catalogue, rebuild it: nothing differs, over every store and every database."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from storage.catalogue import Catalogue, downgrade, migrate, sqlite_url
from storage.objects import FolderStore, ObjectStore
from storage.objects.s3 import S3Store
from storage.rebuild import rebuild
from storage.spool import Spool
from tests.support.footage_rows import PlainSealer
from tests.support.rebuilding import NOW_NS, differences, known, make_footage, sources
from vms.clock import SimulatedClock

pytestmark = pytest.mark.network


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "catalogue.db")
    return str(request.getfixturevalue("postgres_database"))


@pytest.fixture(params=["folder", "seaweedfs", "minio"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ObjectStore]:
    opened: ObjectStore
    if request.param == "folder":
        opened = FolderStore(tmp_path / "store")
    else:
        location = request.getfixturevalue(request.param).location
        opened = S3Store(replace(location, bucket=f"rebuild-{secrets.token_hex(6)}"))
    await opened.check()
    yield opened
    await opened.close()


async def test_a_lost_catalogue_comes_back_as_it_was(url: str, store: ObjectStore, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.prepare()
    await migrate(url)
    async with Catalogue(url, PlainSealer()) as catalogue:
        await make_footage(catalogue, spool, store)
        before = await known(catalogue)
    await downgrade(url, "base")
    await migrate(url)
    clock = SimulatedClock(NOW_NS)
    told: list[tuple[int, int]] = []
    async with Catalogue(url, PlainSealer()) as catalogue:
        report = await rebuild(sources(catalogue, spool, store), on_progress=lambda *at: told.append(at), clock=clock)
        assert differences(before, await known(catalogue)) == {}
        assert (report.unreadable, report.lost, report.spool_set_aside, report.recovered_streams) == ([], [], 0, [])
        assert (report.segments["new"], report.deletions, report.cameras) == (13, 2, 3)
        assert told[-1] == (report.objects, report.objects)
        state = await catalogue.rebuild_state()
        assert state is not None
        assert state.keeps_deletion_off
        again = await rebuild(sources(catalogue, spool, store), clock=clock)
        assert (again.segments["new"], again.segments["known"], again.journals) == (0, 13, 0)
        assert differences(before, await known(catalogue)) == {}
    await spool.close()
