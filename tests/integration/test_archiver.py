"""The archiver against real S3 servers that stay, go away, come back and lose their answers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from storage.archiver import Archiver
from storage.catalogue import StoreInfo, StoreKind
from storage.objects import segment_key
from storage.objects.embedded import EmbeddedServer
from storage.objects.s3 import S3Store
from tests.support.sealed import HOST, SPOOL_STORE, Site, open_site, segment_of
from tests.support.unreliable_proxy import Mishap, UnreliableProxy
from tests.support.waiting import until
from vms.model import RunInfo
from vms.timeline import TimeRange

pytestmark = pytest.mark.network

OBJECT_STORE = StoreInfo("s3", StoreKind.S3)
FAR = TimeRange(0, 2**62)
FRAMES, SIZE = 100, 20_000  # 2 MB a segment


@pytest.fixture(params=["seaweedfs", "minio"])
def server(request: pytest.FixtureRequest) -> EmbeddedServer:
    found: EmbeddedServer = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    opened = await open_site(tmp_path)
    yield opened
    await opened.close()


@pytest.fixture
async def proxy(server: EmbeddedServer) -> AsyncIterator[UnreliableProxy]:
    host, _, port = server.location.netloc.rpartition(":")
    async with UnreliableProxy(host, int(port)) as opened:
        yield opened


@pytest.fixture
async def store(server: EmbeddedServer, proxy: UnreliableProxy) -> AsyncIterator[S3Store]:
    opened = S3Store(replace(server.location, endpoint=f"http://127.0.0.1:{proxy.port}"))
    yield opened
    await opened.close()


@asynccontextmanager
async def running(site: Site, store: S3Store) -> AsyncIterator[Archiver]:
    archiver = Archiver(
        site.spool, site.catalogue, store, host=HOST, spool_store=SPOOL_STORE, object_store=OBJECT_STORE
    )  # fmt: skip
    task = asyncio.create_task(archiver.run())
    try:
        yield archiver
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def check_archived(site: Site, store: S3Store, run: RunInfo, numbers: range) -> None:
    recorded = await site.catalogue.segments([site.stream_id], FAR)
    assert [segment.number for segment in recorded] == list(numbers)
    for segment in recorded:
        (copy,) = segment.copies
        assert copy.store == OBJECT_STORE.name
        data, facts = segment_of(run, segment.number, frames=FRAMES, size=SIZE)
        assert copy.key == segment_key(run.stream_id, run.id, segment.number, facts.start_ns)
        assert b"".join([piece async for piece in store.get(copy.key)]) == data
    prefix = f"segments/{run.stream_id}/"
    mine = [info.key async for info in store.list(prefix) if str(run.id) in info.key]
    assert len(mine) == len(numbers)


async def test_segments_arrive_while_others_are_sealed(site: Site, store: S3Store) -> None:
    run = site.run()
    async with running(site, store) as archiver:
        for first in range(0, 12, 3):
            await site.seal(run, range(first, first + 3), frames=FRAMES, size=SIZE)
            await until(lambda least=first: archiver.progress().uploaded_segments > least)  # type: ignore[misc]
        await until(lambda: archiver.progress().uploaded_segments == 12)
        progress = archiver.progress()
        assert (progress.backlog_segments, progress.store_error, progress.catalogue_error) == (0, None, None)
    assert site.files() == []
    await check_archived(site, store, run, range(12))


async def test_the_store_goes_away_and_comes_back(site: Site, store: S3Store, proxy: UnreliableProxy) -> None:
    run = site.run()
    async with running(site, store) as archiver:
        await site.seal(run, range(2), frames=FRAMES, size=SIZE)
        await until(lambda: archiver.progress().uploaded_segments == 2)
        proxy.away = True
        await site.seal(run, range(2, 10), frames=FRAMES, size=SIZE)
        await until(lambda: archiver.progress().store_error is not None)
        await until(lambda: archiver.progress().backlog_segments == 8)  # registered all the same
        seen = await site.catalogue.segments([site.stream_id], FAR)
        assert [s.location for s in seen] == ["store"] * 2 + ["spool"] * 8
        assert archiver.progress().set_aside == 0
        proxy.away = False
        await until(lambda: archiver.progress().uploaded_segments == 10)
        await until(lambda: archiver.progress().store_error is None)  # once the pass is over
    assert site.files() == []
    await check_archived(site, store, run, range(10))


async def test_answers_that_go_wrong_lose_and_double_nothing(
    site: Site, store: S3Store, proxy: UnreliableProxy
) -> None:
    """R-03: the server wrote, and the answer was lost, cut, a 500, or to the same request twice."""
    chance = random.Random(3)
    run = site.run()
    async with running(site, store) as archiver:
        await site.seal(run, range(1), frames=FRAMES, size=SIZE)
        await until(lambda: archiver.progress().uploaded_segments == 1)
        ways = [Mishap.LOSE_ANSWER, Mishap.LATE_ERROR, Mishap.DUPLICATE, Mishap.CUT_ANSWER, Mishap.CUT_REQUEST]
        proxy.mishap = lambda _method: chance.choice(ways) if chance.random() < 0.2 else Mishap.NONE
        for batch in range(6):
            await site.seal(run, range(1 + 3 * batch, 4 + 3 * batch), frames=FRAMES, size=SIZE)
            await until(lambda most=4 + 3 * batch: archiver.progress().uploaded_segments >= most)  # type: ignore[misc]
        proxy.mishap = lambda _method: Mishap.NONE
    assert set(ways) <= set(proxy.befell)
    assert site.files() == []
    await check_archived(site, store, run, range(19))


async def test_cancelling_in_the_middle_loses_nothing(site: Site, store: S3Store) -> None:
    run = site.run()
    await site.seal(run, range(16), frames=FRAMES, size=SIZE)
    for stop_after in (1, 4, 9):
        async with running(site, store) as archiver:
            await until(lambda n=stop_after: len(site.files()) <= 16 - n)  # type: ignore[misc]
            assert archiver.progress().set_aside == 0
    async with running(site, store):
        await until(lambda: site.files() == [])
    await check_archived(site, store, run, range(16))
