"""Rebuilding a catalogue: broken off anywhere, over damaged stores, without journals, with cameras that clash."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from storage.archiver import Archiver
from storage.catalogue import Catalogue, Copy, CopyState, Hold, Registration, SegmentRef, migrate, sqlite_url
from storage.deleter import Deleter
from storage.objects import FolderStore, ObjectInfo
from storage.objects.base import parse_key, segment_key
from storage.rebuild import rebuild
from storage.rebuild_doubles import choose_object
from storage.rebuild_report import RebuildReport
from tests.support.footage_rows import DAY, HOUR, PlainSealer, camera
from tests.support.rebuilding import NOW_NS, differences, known, make_footage, one_pass, sources
from tests.support.sealed import HOST, OBJECT_STORE, SPOOL_STORE, WALL_NS, Site, open_site, segment_of
from vms.assignment import Assignment, assign
from vms.clock import SimulatedClock
from vms.errors import StoreUnavailable, UserError
from vms.model import Gap, GapReason, Origin, RunClock, RunInfo, SourceKind
from vms.timeline import TimeRange

EVER = TimeRange(0, 2**62)


class Failing:
    """A folder store that goes away after so many calls, and counts what is read."""

    def __init__(self, store: FolderStore, calls: int = 10**9) -> None:
        self._store = store
        self.left = calls
        self.read_bytes = 0

    @property
    def name(self) -> str:
        return self._store.name

    def _spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise StoreUnavailable("gone")

    async def head(self, key: str) -> ObjectInfo:
        self._spend()
        return await self._store.head(key)

    async def read(self, key: str, offset: int, length: int) -> bytes:
        self._spend()
        data = await self._store.read(key, offset, length)
        self.read_bytes += len(data)
        return data

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        self._spend()
        async for info in self._store.list(prefix):
            yield info

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


@pytest_asyncio.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    opened = await open_site(tmp_path)
    yield opened
    await opened.close()


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


async def fresh(site: Site, tmp_path: Path) -> None:
    """Lose the catalogue."""
    await site.catalogue.close()
    for path in tmp_path.glob("catalogue.db*"):
        path.unlink()
    url = sqlite_url(tmp_path / "catalogue.db")
    await migrate(url)
    site.catalogue = Catalogue(url, PlainSealer())


async def again(site: Site, store: Any, **changes: Any) -> RebuildReport:
    return await rebuild(sources(site.catalogue, site.spool, store, **changes), clock=SimulatedClock(NOW_NS))


async def archived(
    site: Site, store: FolderStore, *, journals: bool = True, numbers: Sequence[int] = range(4)
) -> list[str]:
    """Segments of a closed run in the store; their keys."""
    run = site.run(end_ns=WALL_NS + (numbers[-1] + 1) * 60 * 10**9, end_reason=GapReason.STALLED)
    made = await site.seal(run, numbers)
    clock = SimulatedClock(WALL_NS + 3 * HOUR)
    archiver = Archiver(
        site.spool, site.catalogue, store, host=HOST, spool_store=SPOOL_STORE, object_store=OBJECT_STORE, clock=clock
    )
    await archiver.register_sealed()
    await archiver.upload_pending()
    if journals:
        await archiver.write_journals()
    return [segment_key(f.stream_id, f.run_id, f.number, f.start_ns) for f in made]


async def test_a_rebuild_that_was_broken_off_goes_on(site: Site, store: FolderStore, tmp_path: Path) -> None:
    await fresh(site, tmp_path)  # without a camera that never recorded
    await make_footage(site.catalogue, site.spool, store)
    before = await known(site.catalogue)
    known_again = []
    await fresh(site, tmp_path)
    counting = Failing(store)
    await again(site, counting)
    needed = 10**9 - counting.left
    for calls in (3, needed // 4, needed // 2, needed * 3 // 4, needed - 1):
        await fresh(site, tmp_path)
        with pytest.raises(StoreUnavailable):
            await again(site, Failing(store, calls))
        state = await site.catalogue.rebuild_state()
        assert state is None or (state.finished_ns is None and state.keeps_deletion_off)
        if state is not None:
            with pytest.raises(UserError, match="broken off"):
                await site.catalogue.confirm_rebuild(at_ns=NOW_NS, by="kowalska")
        report = await again(site, store)
        assert report.resumed is (state is not None)
        assert differences(before, await known(site.catalogue)) == {}
        known_again.append(report.segments["known"])
    assert known_again[-1] > known_again[0]  # what an earlier call brought back is not read again


async def test_only_both_ends_of_an_object_are_read(site: Site, store: FolderStore, tmp_path: Path) -> None:
    run = site.run(end_ns=WALL_NS + 60 * 10**9)
    (facts,) = await site.seal(run, frames=50, size=80_000)
    assert facts.size_bytes > 3_900_000
    archiver = Archiver(
        site.spool, site.catalogue, store, host=HOST, spool_store=SPOOL_STORE, object_store=OBJECT_STORE
    )
    await archiver.register_sealed()
    await archiver.upload_pending()
    await fresh(site, tmp_path)
    counting = Failing(store)
    report = await again(site, counting)
    assert report.segments == {"new": 1, "known": 0}
    assert counting.read_bytes <= 64 << 10


async def test_what_cannot_be_read_is_listed_and_stays(site: Site, store: FolderStore, tmp_path: Path) -> None:
    keys = await archived(site, store, numbers=range(6))
    root = tmp_path / "store"
    (root / keys[0]).write_bytes((root / keys[0]).read_bytes()[:-500])  # without its end
    (root / keys[1]).write_bytes(b"")
    moved = keys[2].replace(f"{WALL_NS + 120 * 10**9}-", f"{WALL_NS + 121 * 10**9}-")
    os.rename(root / keys[2], root / moved)
    journal = next(root.glob("journals/**/*.json"))
    strange = root / "journals" / str(site.stream_id) / "2026/01/01/05-obcy.json"
    strange.parent.mkdir(parents=True)
    strange.write_bytes(journal.read_bytes().replace(b'"version":1', b'"version":7'))
    (root / "zdjecia").mkdir()
    (root / "zdjecia" / "kot.jpg").write_bytes(b"x")
    await fresh(site, tmp_path)
    report = await again(site, store)
    listed = {item.key for item in report.unreadable}
    assert listed == {keys[0], keys[1], moved, strange.relative_to(root).as_posix(), "zdjecia/kot.jpg"}
    assert report.unreadable_count == 5
    assert report.segments["new"] == 3
    assert report.lost == []  # their objects are there, whatever is wrong with them
    assert all((root / key).exists() for key in listed)
    state = await site.catalogue.rebuild_state()
    assert state is not None
    assert state.finished_ns is not None


async def test_bytes_that_were_not_sealed_are_corrupt(site: Site, store: FolderStore, tmp_path: Path) -> None:
    keys = await archived(site, store)
    path = tmp_path / "store" / keys[1]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    path.write_bytes(content)
    await fresh(site, tmp_path)
    report = await again(site, store)
    assert [item.key for item in report.unreadable] == [keys[1]]
    found = await site.catalogue.segments([site.stream_id], EVER)
    assert {s.number: s.copies[0].state for s in found} == {
        0: CopyState.PRESENT, 1: CopyState.CORRUPT, 2: CopyState.PRESENT, 3: CopyState.PRESENT
    }  # fmt: skip


async def test_a_store_without_digests_is_read_or_believes_the_journal(
    site: Site, store: FolderStore, tmp_path: Path
) -> None:
    """A bucket that was copied by another program states no digest."""

    class Bare(Failing):
        async def head(self, key: str) -> ObjectInfo:
            return replace(await super().head(key), digest=None)

    await archived(site, store)
    before = await known(site.catalogue)
    journal = next((tmp_path / "store").glob("journals/**/*.json"))
    for without in (False, True):
        if without:
            journal.unlink()
        await fresh(site, tmp_path)
        report = await again(site, Bare(store))
        assert (report.segments["new"], report.unreadable) == (4, [])
        name = f"segments {site.stream_id}"
        assert (await known(site.catalogue))[name] == before[name]


async def test_what_journals_state_and_nobody_holds_is_lost_or_past_its_time(
    site: Site, store: FolderStore, tmp_path: Path
) -> None:
    keys = await archived(site, store)
    for key in keys[1:3]:
        (tmp_path / "store" / key).unlink()
    await fresh(site, tmp_path)
    report = await again(site, store)
    assert ([s.number for s in report.lost], report.expired_count) == ([1, 2], 0)
    assert report.lost[0].stream_id == site.stream_id
    (tmp_path / "store" / keys[0]).unlink()
    (tmp_path / "store" / keys[3]).unlink()  # no object is left on that day
    await fresh(site, tmp_path)
    late = SimulatedClock(WALL_NS + 40 * DAY)
    report = await rebuild(sources(site.catalogue, site.spool, store), clock=late)
    assert (report.lost_count, report.expired_count) == (0, 4)


async def test_two_objects_of_one_run_and_number_are_told_and_both_stay(
    site: Site, store: FolderStore, tmp_path: Path
) -> None:
    """On one day, and on another; with a journal that says which was sealed, and without."""
    keys = await archived(site, store)
    parts = parse_key(keys[1])
    assert parts is not None
    doubles = []
    for later_ns in (5 * 10**9, DAY):
        run = site.run(id=parts.run_id, start_ns=WALL_NS + later_ns)
        data, facts = segment_of(run, 1, frames=60)  # more of it than of the one that was sealed
        doubles.append(segment_key(facts.stream_id, facts.run_id, facts.number, facts.start_ns))
        await store.put(doubles[-1], data, digest=facts.digest, size_bytes=facts.size_bytes)
    journal = next((tmp_path / "store").glob("journals/**/*.json"))
    for chosen, other in ((keys[1], doubles[0]), (doubles[0], keys[1])):
        await fresh(site, tmp_path)
        for _ in range(2):  # told again by whoever rebuilds again
            report = await again(site, store)
            assert {(d.key, d.chosen) for d in report.doubles} == {(other, chosen), (doubles[1], chosen)}
            assert (report.doubles_count, report.unreadable, report.lost) == (2, [], [])
        found = await site.catalogue.segments([site.stream_id], EVER)
        assert [s.copies[0].key for s in found if s.number == 1] == [chosen]
        assert len(found) == 4
        assert all((tmp_path / "store" / key).exists() for key in (*keys, *doubles))
        journal.unlink(missing_ok=True)


def test_which_of_two_objects_is_taken_depends_on_what_they_are() -> None:
    run = RunInfo(uuid4(), uuid4(), Origin.LIVE, HOST, 0, RunClock.ARRIVAL, WALL_NS)
    _, facts = segment_of(run, 0)
    items = [
        Registration(changed, Copy(OBJECT_STORE.name, name, changed.size_bytes, changed.digest))
        for name, changed in (
            ("sealed", replace(facts, digest=bytes(32), damaged_units=1, size_bytes=10)),
            ("damaged", replace(facts, damaged_units=1, end_ns=facts.end_ns + 10)),
            ("short", replace(facts, end_ns=facts.end_ns - 1, size_bytes=facts.size_bytes + 10)),
            ("small", replace(facts, size_bytes=10)),
            ("whole", facts),
            ("whole too", facts),
        )
    ]
    for order in itertools.permutations(items):
        assert choose_object(order, bytes(32)).copy.key == "sealed"
        assert choose_object(order, None).copy.key == "whole"
        assert choose_object([i for i in order if i.copy.key in {"damaged", "sealed"}], None).copy.key == "damaged"


async def test_a_day_of_very_many_objects_loses_none(
    site: Site, store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = await archived(site, store, numbers=range(7))
    (tmp_path / "store" / keys[1]).unlink()
    monkeypatch.setattr("storage.rebuild.MOST_KEYS", 2)
    await fresh(site, tmp_path)
    report = await again(site, store)
    assert (report.segments["new"], [lost.number for lost in report.lost]) == (6, [1])


async def test_a_hold_that_only_a_late_part_of_the_last_hour_states_comes_back(
    site: Site, store: FolderStore, tmp_path: Path
) -> None:
    """A part is named after its journal with a number before the ending, and so listed before it."""
    await archived(site, store)
    hold = Hold(
        uuid4(), frozenset({site.stream_id}), TimeRange(WALL_NS, WALL_NS + HOUR), "Kp 4/26", "anna", WALL_NS + 4 * HOUR,
        NOW_NS + DAY,
    )  # fmt: skip
    await site.catalogue.place_hold(hold)
    site.spool.put_gap(Gap(uuid4(), site.stream_id, WALL_NS + 500, WALL_NS + 900, GapReason.UNKNOWN))
    await site.spool.drained()
    await one_pass(
        Archiver(
            site.spool, site.catalogue, store, host=HOST, spool_store=SPOOL_STORE, object_store=OBJECT_STORE,
            clock=SimulatedClock(WALL_NS + 5 * HOUR),
        )
    )  # fmt: skip
    assert [p.suffixes for p in sorted((tmp_path / "store").glob("journals/**/*.json"))] == [[".1", ".json"], [".json"]]
    await fresh(site, tmp_path)
    assert (await again(site, store)).older == ()
    assert await site.catalogue.holds() == [hold]


async def test_holds_of_an_older_journal_are_told_until_the_newest_can_be_read(
    site: Site, store: FolderStore, tmp_path: Path
) -> None:
    await archived(site, store)
    clock = SimulatedClock(WALL_NS + 5 * HOUR)
    hold = Hold(
        uuid4(), frozenset({site.stream_id}), TimeRange(WALL_NS, WALL_NS + HOUR), "Kp 3/26", "anna", clock.wall_ns(),
        NOW_NS + DAY,
    )  # fmt: skip
    await site.catalogue.place_hold(hold)
    await site.seal(site.run(start_ns=WALL_NS + 2 * HOUR, end_ns=WALL_NS + 2 * HOUR + 60 * 10**9))
    archiver = Archiver(
        site.spool, site.catalogue, store, host=HOST, spool_store=SPOOL_STORE, object_store=OBJECT_STORE, clock=clock
    )
    await one_pass(archiver)
    *_, newest = sorted(path for path in (tmp_path / "store").glob("journals/**/*.json"))
    content = newest.read_bytes()
    newest.unlink()
    newest.write_bytes(content[:-20])
    await fresh(site, tmp_path)
    for _ in range(2):
        report = await again(site, store)
        state = await site.catalogue.rebuild_state()
        assert state is not None
        (older,) = state.older
        assert report.older == state.older
        assert older.unreadable == newest.relative_to(tmp_path / "store").as_posix()
        assert older.stated_ns is not None
        assert WALL_NS + HOUR < older.stated_ns < hold.placed_ns
        assert await site.catalogue.holds() == []
    newest.unlink()
    newest.write_bytes(content)
    report = await again(site, store)
    assert report.older == ()
    assert await site.catalogue.holds() == [hold]
    newest.write_bytes(content[:-20])  # what has come back from it does not become doubtful
    assert (await again(site, store)).older == ()


async def test_without_journals_the_assignment_tells_of_the_cameras(
    site: Site, store: FolderStore, tmp_path: Path
) -> None:
    await archived(site, store, journals=False)
    (was,) = await site.catalogue.cameras()
    secret = replace(was, username="stroz", password="hasło", street="", lat=None, source=SourceKind.AUTO)
    profiles = {p.id: p for p in await site.catalogue.profiles()}
    for path in (tmp_path / "spool" / "facts").iterdir():
        path.unlink()  # the host's disk is new
    await fresh(site, tmp_path)
    report = await again(site, store, assignment=assign([secret], profiles))
    (now,) = await site.catalogue.cameras()
    assert (now.id, now.number, now.name, now.username, now.password) == (was.id, 1, was.name, "stroz", "hasło")
    assert [s.id for s in now.streams] == [site.stream_id]
    assert (report.cameras, report.passwords, report.recovered_streams, report.runs_ended) == (1, 1, [], 1)
    (run,) = await site.catalogue.runs(site.stream_id, 0, 2**62)
    assert (run.end_ns, run.end_reason) == (WALL_NS + 240 * 10**9, GapReason.UNKNOWN)


async def test_with_neither_the_footage_is_found_under_a_retired_camera(
    site: Site, store: FolderStore, tmp_path: Path
) -> None:
    await archived(site, store, journals=False)
    for _ in range(2):  # the same again
        await fresh(site, tmp_path)
        report = await again(site, store, assignment=Assignment())
        assert report.recovered_streams == [site.stream_id]
        assert await site.catalogue.cameras() == []
        (found,) = await site.catalogue.cameras(include_retired=True)
        assert (found.name, found.streams[0].id) == (f"Recovered {site.stream_id.hex[:8]}", site.stream_id)
        assert len(await site.catalogue.segments([site.stream_id], EVER)) == 4
        covered = await site.catalogue.timelines([site.stream_id], TimeRange(WALL_NS - DAY, NOW_NS), now_ns=NOW_NS)
        assert [s.range for s in covered[site.stream_id].spans] == [TimeRange(WALL_NS, WALL_NS + 240 * 10**9)]


@pytest.mark.parametrize("assigned", [True, False])
async def test_what_is_missing_between_what_was_found_is_told(
    site: Site, store: FolderStore, tmp_path: Path, *, assigned: bool
) -> None:
    """No journal says since when footage was expected: from the first that is found on."""
    minute = 60 * 10**9
    await archived(site, store, journals=False, numbers=(0, 2))
    profiles = {p.id: p for p in await site.catalogue.profiles()}
    assignment = assign(await site.catalogue.cameras(), profiles) if assigned else Assignment()
    for _ in range(2):  # the same when it is repeated
        await fresh(site, tmp_path)
        await again(site, store, assignment=assignment)
        await again(site, store, assignment=assignment)
        told = await site.catalogue.timelines([site.stream_id], TimeRange(WALL_NS - DAY, NOW_NS), now_ns=NOW_NS)
        hole, *after = [m.range for m in told[site.stream_id].missing]
        assert hole == TimeRange(WALL_NS + minute, WALL_NS + 2 * minute)
        assert after == ([TimeRange(WALL_NS + 3 * minute, NOW_NS)] if assigned else [])


async def test_two_cameras_that_had_one_number(site: Site, store: FolderStore, tmp_path: Path) -> None:
    """The older one was taken out of service later than its last journal."""
    await archived(site, store)
    (older,) = await site.catalogue.cameras()
    await site.catalogue.retire_camera(older.id, at_ns=WALL_NS + 4 * HOUR)
    newer = await site.catalogue.add_camera(camera(1, older.profile_id, "Nowa"), at_ns=WALL_NS + 4 * HOUR)
    other = Site(site.spool, site.catalogue, newer.streams[0].id)
    await other.seal(other.run(start_ns=WALL_NS + 4 * HOUR), range(2))
    archiver = Archiver(
        site.spool, site.catalogue, store, host=HOST, spool_store=SPOOL_STORE, object_store=OBJECT_STORE,
        clock=SimulatedClock(WALL_NS + 8 * HOUR),
    )  # fmt: skip
    await one_pass(archiver)
    await fresh(site, tmp_path)
    report = await again(site, store)
    assert report.renumbered == {older.id: (1, 2)}
    assert {c.id: c.number for c in await site.catalogue.cameras()} == {newer.id: 1, older.id: 2}


async def test_a_catalogue_that_knows_footage_is_not_lost(site: Site, store: FolderStore) -> None:
    await archived(site, store)
    with pytest.raises(UserError, match="not lost"):
        await again(site, store)
    assert await site.catalogue.rebuild_state() is None


async def test_nothing_is_deleted_until_a_person_confirms(site: Site, store: FolderStore, tmp_path: Path) -> None:
    await archived(site, store)
    await fresh(site, tmp_path)
    await again(site, store)
    clock = SimulatedClock(WALL_NS + 31 * DAY)
    deleter = Deleter(site.catalogue, {OBJECT_STORE.name: store}, clock=clock)
    run = await deleter.run_once()
    assert run.rebuild is not None
    assert (run.condemned_segments, run.removed_objects) == (0, 0)
    assert len(await site.catalogue.segments([site.stream_id], EVER)) == 4
    with pytest.raises(UserError, match="who confirms"):
        await site.catalogue.confirm_rebuild(at_ns=clock.wall_ns(), by=" ")
    await site.catalogue.confirm_rebuild(at_ns=clock.wall_ns(), by="kowalska")
    with pytest.raises(UserError, match="nothing to confirm"):
        await site.catalogue.confirm_rebuild(at_ns=clock.wall_ns(), by="kowalska")
    assert (await deleter.run_once()).condemned_segments == 4
    assert [info.key async for info in store.list("segments/")] == []


async def test_what_was_deleted_does_not_come_back(site: Site, store: FolderStore, tmp_path: Path) -> None:
    """Its journal says so, though a copy of its object turns up: retention's business once a person has confirmed."""
    keys = await archived(site, store)
    first = (tmp_path / "store" / keys[0]).read_bytes()
    clock = SimulatedClock(WALL_NS + 31 * DAY)
    done = await Deleter(site.catalogue, {OBJECT_STORE.name: store}, clock=clock).run_once()
    archiver = Archiver(
        site.spool, site.catalogue, store, host=HOST, spool_store=SPOOL_STORE, object_store=OBJECT_STORE, clock=clock
    )
    await archiver.register_sealed()
    await archiver.upload_pending()
    await archiver.state_deletions(done.at_ns)
    clock.advance(2 * HOUR)
    await archiver.write_journals()
    (tmp_path / "store" / keys[0]).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "store" / keys[0]).write_bytes(first)
    await fresh(site, tmp_path)
    report = await rebuild(sources(site.catalogue, site.spool, store), clock=clock)
    assert (report.deletions, report.segments["deleted"], report.lost_count) == (4, 1, 0)
    parts = parse_key(keys[0])
    assert parts is not None
    assert isinstance(parts.run_id, UUID)
    fate = await site.catalogue.fates([SegmentRef(parts.run_id, 0)])
    assert fate[SegmentRef(parts.run_id, 0)].gone
    assert (tmp_path / "store" / keys[0]).exists()


def test_keys_are_taken_apart() -> None:
    stream, run = uuid4(), uuid4()
    parts = parse_key(segment_key(stream, run, 12, 1_790_000_000 * 10**9))
    assert parts is not None
    assert (parts.stream_id, parts.run_id, parts.number, parts.day) == (stream, run, 12, "2026/09/21")
    assert parse_key(f"journals/{stream}/2026/09/21/05-host.3.json") is not None
    for other in ("probes/ab.bin", f"segments/{stream}/2026/09/21/a.mp4", f"segments/{stream}/x", ""):
        assert parse_key(other) is None
