"""A store without room: what has lawfully expired goes first, a hold never, and what waits for it stays in the spool."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from storage.archiver import Archiver
from storage.catalogue import Hold
from storage.deleter import Deleter
from storage.objects import FolderStore
from storage.retention import DAY_NS, BrakeRule
from storage.stores import SpoolCopies
from tests.support.sealed import HOST, OBJECT_STORE, SECOND, SPOOL_STORE, WALL_NS, Site, open_site
from tests.support.small_disk import small_disk
from vms.clock import SimulatedClock
from vms.errors import StoreFull
from vms.timeline import TimeRange

OLD_NS = WALL_NS - 40 * DAY_NS
FRAMES, SIZE = 100, 20_000  # 2 MB a segment


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    opened = await open_site(tmp_path)
    yield opened
    await opened.close()


async def numbers(site: Site, start_ns: int, store: str) -> set[int]:
    """Of the segments of a day that have a copy there."""
    found = await site.catalogue.segments([site.stream_id], TimeRange(start_ns, start_ns + DAY_NS))
    return {segment.number for segment in found if any(copy.store == store for copy in segment.copies)}


async def test_what_has_expired_makes_room_and_nothing_else_does(tmp_path: Path, site: Site) -> None:
    with small_disk(tmp_path / "disk", 9) as disk:
        store, clock = FolderStore(disk / "store"), SimulatedClock(OLD_NS + DAY_NS)
        rooms = 0

        async def make_room() -> None:
            nonlocal rooms
            rooms += 1
            stores = {SPOOL_STORE.name: SpoolCopies(site.spool), OBJECT_STORE.name: store}
            await Deleter(site.catalogue, stores, clock=clock, rule=BrakeRule()).run_once()

        archiver = Archiver(
            site.spool, site.catalogue, store, host=HOST, spool_store=SPOOL_STORE, object_store=OBJECT_STORE,
            clock=clock, make_room=make_room,
        )  # fmt: skip
        old = site.run(start_ns=OLD_NS, end_ns=OLD_NS + 180 * SECOND)
        await site.seal(old, range(3), frames=FRAMES, size=SIZE)
        await archiver.register_sealed()
        await archiver.upload_pending()
        assert await numbers(site, OLD_NS, OBJECT_STORE.name) == {0, 1, 2}
        within = TimeRange(OLD_NS, OLD_NS + 60 * SECOND)
        hold = Hold(uuid4(), frozenset({site.stream_id}), within, "art. 308 kpk", "asp. Nowak", OLD_NS, OLD_NS + DAY_NS)
        await site.catalogue.place_hold(hold)

        await site.seal(site.run(), range(4), frames=FRAMES, size=SIZE)
        await archiver.register_sealed()
        with pytest.raises(StoreFull, match="is full"):  # nothing has expired yet
            await archiver.upload_pending()
        assert rooms == 1
        assert await numbers(site, OLD_NS, OBJECT_STORE.name) == {0, 1, 2}
        assert await numbers(site, WALL_NS, OBJECT_STORE.name) | await numbers(site, WALL_NS, SPOOL_STORE.name) == {
            0,
            1,
            2,
            3,
        }
        assert archiver.progress().set_aside == 0

        clock.advance(40 * DAY_NS)
        with pytest.raises(StoreFull):
            await archiver.upload_pending()
        assert rooms == 2
        assert await numbers(site, OLD_NS, OBJECT_STORE.name) == {0}  # the hold's
        with pytest.raises(StoreFull):  # more has to wait than found room
            await archiver.upload_pending()
        stored = await numbers(site, WALL_NS, OBJECT_STORE.name)
        waiting = await numbers(site, WALL_NS, SPOOL_STORE.name)
        assert (len(stored), len(waiting), stored | waiting) == (3, 1, {0, 1, 2, 3})
        assert len(site.files()) == 1
        assert list((disk / "store" / ".incoming").iterdir()) == []
