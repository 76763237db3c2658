"""Every kind of damage that a check must tell apart, on real files and rows, and what a repair does and never does."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from storage.archiver import Archiver
from storage.catalogue import (
    Catalogue,
    Copy,
    CopyState,
    Hold,
    Registration,
    SegmentRef,
    StoreInfo,
    StoreKind,
    migrate,
)
from storage.check import check_site
from storage.check_findings import CheckReport, Depth, Kind
from storage.check_looks import Places
from storage.deleter import Deleter
from storage.journal import HOUR_NS, SETTLE_NS
from storage.objects import FolderStore, segment_key
from storage.retention import BrakeRule
from storage.spool import Spool
from storage.stores import SpoolCopies
from tests.support.footage_rows import PlainSealer, add_camera
from tests.support.sealed import HOST, OBJECT_STORE, SECOND, SPOOL_STORE, WALL_NS, Site, open_site, segment_of
from vms.clock import SimulatedClock
from vms.errors import StoreUnavailable
from vms.model import SegmentFacts
from vms.timeline import TimeRange

DAY = 24 * HOUR_NS


@dataclass
class Yard:
    """A site with four archived segments, two registered ones in the spool, and a journal."""

    site: Site
    store: FolderStore
    root: Path
    url: str
    clock: SimulatedClock
    archived: list[SegmentFacts]
    waiting: list[SegmentFacts]

    def archiver(self, store: Any = None) -> Archiver:
        return Archiver(
            self.site.spool, self.site.catalogue, store or self.store, host=HOST, spool_store=SPOOL_STORE,
            object_store=OBJECT_STORE, clock=self.clock,
        )  # fmt: skip

    def object(self, facts: SegmentFacts) -> Path:
        return self.root / key_of(facts)

    def file(self, facts: SegmentFacts) -> Path:
        return self.site.spool.sealed_path / name_of(facts)

    async def check(self, depth: Depth = Depth.DIGEST, *, store: Any = None, **options: Any) -> CheckReport:
        places = Places(
            self.site.catalogue, self.site.spool, store or self.store, spool_name=SPOOL_STORE.name,
            store_name=OBJECT_STORE.name, host=HOST,
        )  # fmt: skip
        return await check_site(places, depth, settle_seconds=0, clock=self.clock, **options)

    async def kinds(self, depth: Depth = Depth.DIGEST) -> list[Kind]:
        return sorted(finding.kind for finding in (await self.check(depth)).findings)

    async def run_sql(self, statement: str) -> None:
        """What no part of the program does."""
        engine = create_async_engine(self.url)
        async with engine.begin() as connection:
            await connection.execute(text(statement))
        await engine.dispose()

    async def archive(self) -> None:
        archiver = self.archiver()
        await archiver.register_sealed()
        await archiver.upload_pending()
        await archiver.write_journals()

    async def delete_expired(self, now_ns: int) -> None:
        stores = {SPOOL_STORE.name: SpoolCopies(self.site.spool), OBJECT_STORE.name: self.store}
        rule = BrakeRule(floor_ns=1000 * DAY)
        await Deleter(self.site.catalogue, stores, clock=SimulatedClock(now_ns), rule=rule).run_once()


def key_of(facts: SegmentFacts) -> str:
    return segment_key(facts.stream_id, facts.run_id, facts.number, facts.start_ns)


def name_of(facts: SegmentFacts) -> str:
    return f"{facts.stream_id}_{facts.start_ns}-{facts.run_id}-{facts.number}.mp4"


def store_copy(facts: SegmentFacts, **changes: Any) -> Copy:
    return replace(Copy(OBJECT_STORE.name, key_of(facts), facts.size_bytes, facts.digest), **changes)


@pytest.fixture(params=["sqlite", "postgres"])
async def yard(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Yard]:
    url = f"sqlite+aiosqlite:///{tmp_path}/catalogue.db"
    if request.param == "sqlite":
        site = await open_site(tmp_path)
    else:
        url = str(request.getfixturevalue("postgres_database"))
        await migrate(url)
        catalogue = Catalogue(url, PlainSealer())
        camera = await add_camera(catalogue, 1, at_ns=WALL_NS)
        site = Site(Spool(tmp_path / "spool"), catalogue, camera.streams[0].id)
        site.spool.prepare()
    root = tmp_path / "store"
    opened = Yard(site, FolderStore(root), root, url, SimulatedClock(WALL_NS), [], [])
    run = site.run()
    opened.archived = await site.seal(run, range(4), frames=4)
    await opened.archive()
    opened.clock.advance(HOUR_NS + SETTLE_NS)
    await opened.archive()
    opened.waiting = await site.seal(run, range(4, 6), frames=4)
    await opened.archiver().register_sealed()
    yield opened
    await site.close()


async def test_a_sound_site_is_clean_at_every_depth(yard: Yard) -> None:
    for depth in Depth:
        report = await yard.check(depth)
        assert (report.is_clean, report.is_complete, report.findings) == (True, True, [])
        assert (report.segments, report.copies, report.objects, report.waiting) == (6, 6, 5, 0)
    assert report.read_bytes > sum(facts.size_bytes for facts in yard.archived)


# Damage: what is done, what a check of depth DIGEST calls it, what is left after `--repair`


async def object_gone(yard: Yard) -> None:
    yard.object(yard.archived[0]).unlink()


async def object_gone_but_in_the_spool(yard: Yard) -> None:
    yard.object(yard.archived[0]).rename(yard.file(yard.archived[0]))


async def object_truncated(yard: Yard) -> None:
    os.truncate(yard.object(yard.archived[0]), 100)


async def object_altered(yard: Yard) -> None:
    alter(yard.object(yard.archived[0]))


async def object_altered_with_a_sound_copy(yard: Yard) -> None:
    shutil.copy2(yard.object(yard.archived[0]), yard.file(yard.archived[0]))
    await yard.archiver().register_sealed()
    alter(yard.object(yard.archived[0]))


async def copy_called_missing(yard: Yard) -> None:
    facts = yard.archived[0]
    await yard.site.catalogue.record_copy(SegmentRef.of(facts), store_copy(facts, state=CopyState.MISSING))


async def spool_file_gone(yard: Yard) -> None:
    yard.file(yard.waiting[0]).unlink()


async def spool_file_gone_after_its_put(yard: Yard) -> None:
    facts = yard.waiting[0]
    await yard.store.put(key_of(facts), yard.file(facts), digest=facts.digest, size_bytes=facts.size_bytes)
    yard.file(facts).unlink()


async def spool_file_altered(yard: Yard) -> None:
    alter(yard.file(yard.waiting[0]))


async def spool_row_left(yard: Yard) -> None:
    facts = yard.archived[0]
    copy = Copy(SPOOL_STORE.name, name_of(facts), facts.size_bytes, facts.digest)
    await yard.site.catalogue.record_copy(SegmentRef.of(facts), copy)


async def journal_gone(yard: Yard) -> None:
    shutil.rmtree(yard.root / "journals")


async def journal_altered(yard: Yard) -> None:
    (journal,) = (yard.root / "journals").rglob("*.json")
    alter(journal)


async def orphan_of_a_known_run(yard: Yard) -> None:
    await put_orphan(yard, yard.archived[0].run_id, 6)


async def orphan_with_a_rotten_picture(yard: Yard) -> None:
    data, facts = segment_of(yard.site.run(), 6, frames=4)
    at = data.index(b"mdat") + 40
    await put_bytes(yard, key_of(facts), data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :])


async def other_footage_under_the_name_of_a_deleted_segment(yard: Yard) -> None:
    await object_of_a_deleted_segment(yard)
    (key,) = [f.key for f in (await yard.check()).findings]
    other, _ = segment_of(yard.site.run(), 7, frames=4)
    (yard.root / key).unlink()
    await put_bytes(yard, key, other)


async def orphan_of_an_unknown_run(yard: Yard) -> None:
    await put_orphan(yard, uuid4(), 0)


async def orphan_that_is_no_segment(yard: Yard) -> None:
    key = segment_key(yard.site.stream_id, uuid4(), 0, WALL_NS)
    await put_bytes(yard, key, b"half a segment")


async def orphan_under_another_key(yard: Yard) -> None:
    facts = yard.archived[0]
    key = segment_key(facts.stream_id, facts.run_id, facts.number, facts.start_ns + 1)
    await put_bytes(yard, key, yard.object(facts).read_bytes())


async def orphan_of_an_unknown_stream(yard: Yard) -> None:
    data, facts = segment_of(replace(yard.site.run(), stream_id=uuid4()), 0, frames=4)
    await put_bytes(yard, key_of(facts), data)


async def somebody_elses_object(yard: Yard) -> None:
    await put_bytes(yard, "backup/monday.tar", b"not ours")


async def object_of_a_deleted_segment(yard: Yard) -> None:
    data = yard.object(yard.archived[0]).read_bytes()
    await yard.delete_expired(yard.archived[0].end_ns + 30 * DAY)
    await put_bytes(yard, key_of(yard.archived[0]), data)


async def stray_in_the_spool(yard: Yard) -> None:
    (yard.site.spool.sealed_path / "notatki.txt").write_text("kto to tu zostawił?")


async def sealed_file_of_no_segment(yard: Yard) -> None:
    (yard.site.spool.sealed_path / f"{yard.site.stream_id}_{WALL_NS}-{uuid4()}-0.mp4").write_bytes(b"not a segment")


async def sealed_file_of_an_unknown_stream(yard: Yard) -> None:
    await yard.site.seal(replace(yard.site.run(), stream_id=uuid4()), frames=4)


async def fact_torn(yard: Yard) -> None:
    (yard.site.spool.facts_path / f"gap-{uuid4()}.json").write_bytes(b'{"version": 1, "gap')


async def runs_overlap(yard: Yard) -> None:
    facts = yard.archived[3]
    late = replace(facts, number=9, start_ns=facts.start_ns + SECOND, end_ns=facts.end_ns + SECOND)
    data = yard.object(facts).read_bytes()
    await put_bytes(yard, key_of(late), data)
    await yard.site.catalogue.register_many([Registration(late, store_copy(late))])


async def spans_lost(yard: Yard) -> None:
    await yard.run_sql("DELETE FROM spans")


async def spans_too_long(yard: Yard) -> None:
    await yard.run_sql(f"UPDATE spans SET end_ns = end_ns + {SECOND}")


async def hold_disregarded(yard: Yard) -> None:
    facts = yard.archived[0]
    now_ns = facts.end_ns + 30 * DAY
    await yard.delete_expired(now_ns)
    within = TimeRange(facts.start_ns, facts.end_ns)
    about = (within, "Kp 12/26", "prokuratura", now_ns - DAY, now_ns + DAY)
    await yard.site.catalogue.place_hold(Hold(uuid4(), frozenset({facts.stream_id}), *about))


Damage = Callable[[Yard], Awaitable[None]]
DAMAGES: list[tuple[Damage, list[Kind], list[Kind]]] = [
    (object_gone, [Kind.OBJECT_MISSING, Kind.SEGMENT_LOST], [Kind.SEGMENT_LOST]),
    (object_gone_but_in_the_spool, [Kind.OBJECT_MISSING, Kind.SEGMENT_LOST], []),
    (object_truncated, [Kind.SEGMENT_LOST, Kind.WRONG_SIZE], [Kind.SEGMENT_LOST, Kind.WRONG_SIZE]),
    (object_altered, [Kind.SEGMENT_LOST, Kind.WRONG_BYTES], [Kind.SEGMENT_LOST, Kind.WRONG_BYTES]),
    (object_altered_with_a_sound_copy, [Kind.WRONG_BYTES], []),
    (copy_called_missing, [Kind.FOUND_AGAIN], []),
    (spool_file_gone, [Kind.SEGMENT_LOST, Kind.SPOOL_FILE_LOST], [Kind.SEGMENT_LOST]),
    (spool_file_gone_after_its_put, [Kind.SEGMENT_LOST, Kind.SPOOL_FILE_LOST], []),
    (spool_file_altered, [Kind.SEGMENT_LOST, Kind.WRONG_BYTES], [Kind.SEGMENT_LOST, Kind.WRONG_BYTES]),
    (spool_row_left, [Kind.STALE_SPOOL_ROW], []),
    (journal_gone, [Kind.JOURNAL_MISSING], [Kind.JOURNAL_MISSING]),
    (journal_altered, [Kind.WRONG_BYTES], [Kind.WRONG_BYTES]),
    (orphan_of_a_known_run, [Kind.ORPHAN_SEGMENT], []),
    (orphan_of_an_unknown_run, [Kind.ORPHAN_SEGMENT], []),
    (
        orphan_with_a_rotten_picture,
        [Kind.ORPHAN_SEGMENT, Kind.WRONG_BYTES],
        [Kind.ORPHAN_SEGMENT, Kind.WRONG_BYTES],
    ),
    (other_footage_under_the_name_of_a_deleted_segment, [Kind.DELETED_LEFT_OVER], [Kind.DELETED_LEFT_OVER]),
    (orphan_that_is_no_segment, [Kind.ORPHAN_GARBAGE], [Kind.ORPHAN_GARBAGE]),
    (orphan_under_another_key, [Kind.ORPHAN_GARBAGE], [Kind.ORPHAN_GARBAGE]),
    (orphan_of_an_unknown_stream, [Kind.UNKNOWN_STREAM], [Kind.UNKNOWN_STREAM]),
    (somebody_elses_object, [Kind.ORPHAN_GARBAGE], [Kind.ORPHAN_GARBAGE]),
    (object_of_a_deleted_segment, [Kind.DELETED_LEFT_OVER], []),
    (stray_in_the_spool, [Kind.STRAY_FILE], [Kind.STRAY_FILE]),
    (sealed_file_of_no_segment, [Kind.SEALED_UNREADABLE], [Kind.SEALED_UNREADABLE]),
    (sealed_file_of_an_unknown_stream, [Kind.UNKNOWN_STREAM], [Kind.UNKNOWN_STREAM]),
    (fact_torn, [Kind.FACT_UNREADABLE], [Kind.FACT_UNREADABLE]),
    (runs_overlap, [Kind.OVERLAP], [Kind.OVERLAP]),
    (spans_lost, [Kind.SPANS_DIFFER], []),
    (spans_too_long, [Kind.SPANS_DIFFER], []),
    (hold_disregarded, [Kind.HELD_CONDEMNED], [Kind.HELD_CONDEMNED]),
]


@pytest.mark.parametrize("yard", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("damage", "found", "left"), DAMAGES, ids=[d.__name__ for d, _, _ in DAMAGES])
async def test_damage_is_named_and_mended_where_that_is_safe(
    yard: Yard, damage: Damage, found: list[Kind], left: list[Kind]
) -> None:
    await damage(yard)
    before = media_of(yard)
    report = await yard.check()
    assert sorted(finding.kind for finding in report.findings) == found
    assert not report.is_clean
    assert sum(report.broken.values()) == len(found)
    assert media_of(yard) == before  # a check writes nothing
    repaired = await yard.check(repair=True)
    assert all(finding.repair for finding in repaired.findings if finding.repaired)
    assert await yard.kinds() == left
    assert before.items() <= media_of(yard).items()  # nothing was removed or altered
    assert (await yard.check(repair=True)).repaired == 0  # and it can be repeated


@pytest.mark.parametrize("yard", ["sqlite"], indirect=True)
async def test_an_orphan_is_looked_at_as_closely_as_any_other(yard: Yard) -> None:
    await orphan_with_a_rotten_picture(yard)
    assert await yard.kinds(Depth.SIZE) == [Kind.ORPHAN_SEGMENT]
    assert await yard.kinds(Depth.DECODE) == [Kind.ORPHAN_SEGMENT, Kind.WRONG_BYTES]


async def test_a_left_over_that_a_hold_covers_by_the_time_of_the_repair_stays(yard: Yard) -> None:
    """The hold is placed after the check has looked at everything and just before the repair writes."""
    await object_of_a_deleted_segment(yard)
    facts, catalogue = yard.archived[0], yard.site.catalogue
    now_ns = facts.end_ns + 31 * DAY
    hold = Hold(
        uuid4(), frozenset({facts.stream_id}), TimeRange(facts.start_ns, facts.end_ns), "Kp 1/27", "anna", now_ns,
        now_ns + DAY,
    )  # fmt: skip
    write = catalogue._db.write

    async def held_first(work: Any) -> Any:
        catalogue._db.write = write  # type: ignore[method-assign]
        await catalogue.place_hold(hold)
        return await write(work)

    catalogue._db.write = held_first  # type: ignore[method-assign]
    repaired = await yard.check(repair=True)
    assert [(f.kind, f.repaired) for f in repaired.findings] == [(Kind.DELETED_LEFT_OVER, False)]
    assert await catalogue.holds() == [hold]
    assert await catalogue.condemned_objects([OBJECT_STORE.name]) == []
    await catalogue.release_hold(hold.id, at_ns=now_ns)
    assert (await yard.check(repair=True)).repaired == 1
    assert [o.key for o in await catalogue.condemned_objects([OBJECT_STORE.name])] == [key_of(facts)]


async def test_many_damages_at_once_are_told_apart(yard: Yard) -> None:
    for damage in (
        object_gone, spool_file_altered, journal_altered, orphan_of_a_known_run, orphan_that_is_no_segment,
        sealed_file_of_an_unknown_stream, fact_torn, spans_lost,
    ):  # fmt: skip
        await damage(yard)
    report = await yard.check()
    assert sorted(finding.kind for finding in report.findings) == sorted([
        Kind.SEGMENT_LOST, Kind.SEGMENT_LOST, Kind.OBJECT_MISSING, Kind.WRONG_BYTES,
        Kind.WRONG_BYTES, Kind.ORPHAN_SEGMENT, Kind.ORPHAN_GARBAGE, Kind.UNKNOWN_STREAM, Kind.FACT_UNREADABLE,
        Kind.SPANS_DIFFER,
    ])  # fmt: skip


class Away:
    """A store that answers until it goes, after `calls` calls."""

    def __init__(self, real: FolderStore, calls: int) -> None:
        self.name = real.name
        self._real, self._left = real, calls

    def _spend(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise StoreUnavailable(f"{self.name}: no answer")

    async def head(self, key: str) -> Any:
        self._spend()
        return await self._real.head(key)

    async def read(self, key: str, offset: int, length: int) -> bytes:
        self._spend()
        return await self._real.read(key, offset, length)

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        self._spend()
        async for block in self._real.get(key, offset, length):
            yield block

    async def list(self, prefix: str) -> AsyncIterator[Any]:
        async for info in self._real.list(prefix):
            self._spend()
            yield info


@pytest.mark.parametrize("yard", ["sqlite"], indirect=True)
@pytest.mark.parametrize("calls", [0, 1, 2, 5, 7, 9, 11])
async def test_a_store_that_is_away_or_goes_away_makes_copies_unknown_and_never_missing(yard: Yard, calls: int) -> None:
    before = media_of(yard)
    for repair in (False, True):
        report = await yard.check(store=Away(yard.store, calls), repair=repair)
        assert (report.findings, report.is_clean, report.is_complete) == ([], True, False)
        (store,) = [s for s in report.stores if s.error]
        assert store.name == OBJECT_STORE.name
        assert "no answer" in str(store.error)
        assert report.segments == 6
    assert report.unknown == ({OBJECT_STORE.name: 4} if calls == 0 else report.unknown)
    assert media_of(yard) == before


@pytest.mark.parametrize("yard", ["sqlite"], indirect=True)
async def test_a_disk_that_is_not_mounted_is_away_and_not_empty(yard: Yard, tmp_path: Path) -> None:
    yard.root.rename(tmp_path / "unmounted")
    yard.root.mkdir()
    report = await yard.check(repair=True)
    assert (report.findings, report.is_complete, report.unknown) == ([], False, {OBJECT_STORE.name: 4})
    yard.root.rmdir()
    (tmp_path / "unmounted").rename(yard.root)
    yard.site.spool.path.rename(tmp_path / "spool-unmounted")
    report = await yard.check(repair=True)
    assert (report.findings, report.is_complete, report.unknown) == ([], False, {SPOOL_STORE.name: 2})


@pytest.mark.parametrize("yard", ["sqlite"], indirect=True)
async def test_a_spool_row_whose_other_copy_is_out_of_reach_is_not_called_lost(yard: Yard) -> None:
    await spool_row_left(yard)
    report = await yard.check(store=Away(yard.store, 0), repair=True)
    assert [(f.kind, f.repaired) for f in report.findings] == [(Kind.STALE_SPOOL_ROW, False)]
    assert await yard.kinds() == [Kind.STALE_SPOOL_ROW]


@pytest.mark.parametrize("yard", ["sqlite"], indirect=True)
async def test_copies_in_stores_that_the_settings_do_not_name_are_unknown(yard: Yard) -> None:
    facts = yard.archived[0]
    await yard.site.catalogue.put_store(StoreInfo("folder:/alt", StoreKind.FOLDER))
    assert (await yard.check()).is_complete  # nothing there, nothing to miss
    await yard.site.catalogue.record_copy(SegmentRef.of(facts), replace(store_copy(facts), store="folder:/alt"))
    report = await yard.check()
    assert (report.findings, report.is_complete, report.unknown) == ([], False, {"folder:/alt": 1})


async def test_beside_a_site_at_work_nothing_is_found(yard: Yard) -> None:
    """Sealing, registering, uploading, journals and deletion go on while one check follows the other."""
    done = asyncio.Event()

    async def work() -> None:
        run = yard.site.run(start_ns=WALL_NS - 40 * DAY)
        archiver = yard.archiver()
        for number in range(12):
            await yard.site.seal(run, [number], frames=4)
            await archiver.register_sealed()
            await archiver.upload_pending()
            await archiver.write_journals()
            if number % 3 == 2:
                await yard.delete_expired(WALL_NS - 10 * DAY + (number - 1) * 60 * SECOND)
        done.set()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(work(), name="work")
        checks = 0
        while not done.is_set() or not checks:
            report = await yard.check(Depth.SIZE if checks % 2 else Depth.DIGEST)
            assert (report.findings, report.is_complete) == ([], True)
            checks += 1
    assert (await yard.check()).findings == []


def media_of(yard: Yard) -> dict[str, bytes]:
    """Every object and every sealed file: a digest of it."""
    files = [p for folder in (yard.root, yard.site.spool.path) for p in folder.rglob("*") if p.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).digest() for path in files}


def alter(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


async def put_bytes(yard: Yard, key: str, data: bytes) -> None:
    await yard.store.put(key, data, digest=hashlib.sha256(data).digest(), size_bytes=len(data))


async def put_orphan(yard: Yard, run_id: UUID, number: int) -> None:
    data, facts = segment_of(yard.site.run(id=run_id), number, frames=4)
    await put_bytes(yard, key_of(facts), data)
