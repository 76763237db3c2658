"""Footage of another spool: late, doubled, damaged, unfinished; brought in twice, and what the timeline says of it."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import AsyncIterator, Collection
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from storage.archiver import Archiver
from storage.catalogue import Span, choose
from storage.catalogue.checking import Fate
from storage.catalogue.coverage import LATE_NS, labelled, late
from storage.catalogue.values import CopyState, RecordedSegment, SegmentRef
from storage.importing import Importing, ImportReport
from storage.objects import FolderStore
from storage.reader import Reader
from storage.shedding import NOTHING, Rank, floor_of, room_of, spare_of
from storage.spool import Spool
from tests.support.footage_rows import DAY, HOUR, add_camera
from tests.support.rebuilding import differences, known, one_pass
from tests.support.sealed import HOST, OBJECT_STORE, SECOND, SPOOL_STORE, WALL_NS, Site, open_site, segment_of
from tests.unit.storage.test_rebuild import again, fresh
from vms.clock import SimulatedClock
from vms.errors import MalformedError
from vms.model import Codec, Gap, GapReason, LegalProfile, Origin, RunInfo, hole_gap_id
from vms.settings import SpoolSection
from vms.timeline import TimeRange, merge

MINUTE = 60 * 10**9
EVER = TimeRange(0, 2**62)
SECTION = SpoolSection(budget_bytes=1 << 30, reserve_bytes=1 << 20)
PROFILE = LegalProfile(uuid4(), "straż", "art. 11", 30)


@pytest_asyncio.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    opened = await open_site(tmp_path)
    yield opened
    await opened.close()


@pytest_asyncio.fixture
async def other(site: Site, tmp_path: Path) -> AsyncIterator[Site]:
    """Another recorder's spool, of the same camera."""
    spool = Spool(tmp_path / "other")
    spool.prepare()
    yield Site(spool, site.catalogue, site.stream_id)
    await spool.close()


def importing_of(site: Site, section: SpoolSection = SECTION) -> Importing:
    return Importing(
        site.catalogue, site.spool, spool_store=SPOOL_STORE, section=section, profile=PROFILE,
        clock=SimulatedClock(WALL_NS + 5 * HOUR),
    )  # fmt: skip


async def bring(site: Site, folder: Path, *, commit: bool = True, section: SpoolSection = SECTION) -> ImportReport:
    return await importing_of(site, section).run(folder, commit=commit)


def archiver_of(site: Site, store: FolderStore, hours: int = 5) -> Archiver:
    return Archiver(
        site.spool, site.catalogue, store, host=HOST, spool_store=SPOOL_STORE, object_store=OBJECT_STORE,
        clock=SimulatedClock(WALL_NS + hours * HOUR),
    )  # fmt: skip


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


async def test_a_dry_run_says_what_would_come_and_writes_nothing(site: Site, other: Site, tmp_path: Path) -> None:
    await other.seal(other.run(host="inny", end_ns=WALL_NS + 3 * MINUTE, end_reason=GapReason.STALLED), range(3))
    before = tree(tmp_path / "other")
    report = await bring(site, tmp_path / "other", commit=False)
    assert report.counts == {"new": 3}
    assert (report.brought_in, site.files(), site.facts()) == (0, [], [])
    assert tree(tmp_path / "other") == before
    assert not (tmp_path / "spool" / "incoming").exists()


async def test_late_footage_is_archived_journalled_and_rebuilt_as_an_import(
    site: Site, other: Site, tmp_path: Path
) -> None:
    """A failover recorder's spool comes hours late, over footage of our own; and again; and after a lost catalogue."""
    store = FolderStore(tmp_path / "store")
    mine = site.run(end_ns=WALL_NS + 30 * MINUTE, end_reason=GapReason.STALLED)
    await site.seal(mine, [*range(5), *range(20, 30)])  # nothing from minute 5 to 20
    await one_pass(archiver_of(site, store, 0))
    theirs = other.run(host="inny", start_ns=WALL_NS + 3 * MINUTE + 7, end_ns=WALL_NS + 12 * MINUTE + 7)
    made = await other.seal(theirs, range(9))
    other.spool.put_gap(
        Gap(uuid4(), site.stream_id, WALL_NS + 12 * MINUTE + 7, WALL_NS + 20 * MINUTE, GapReason.REFUSED)
    )
    other.spool.put_gap(Gap(uuid4(), site.stream_id, WALL_NS + MINUTE, WALL_NS + 2 * MINUTE, GapReason.STALLED))
    await other.spool.drained()
    before = tree(tmp_path / "other")
    report = await bring(site, tmp_path / "other")
    assert (report.counts, report.brought_in, report.gaps) == ({"new": 9}, 9, 1)
    assert (await bring(site, tmp_path / "other")).counts == {"known": 9}  # they wait in our spool
    reader = Reader(site.catalogue, site.spool, {})
    waiting = [s for s in await reader.segments(site.stream_id, EVER) if s.run_id == theirs.id]
    assert {(s.origin, s.location, s.arrival) for s in waiting} == {(Origin.IMPORT, "spool", 0)}
    await one_pass(archiver_of(site, store))
    assert (site.files(), site.facts()) == ([], [])
    again_report = await bring(site, tmp_path / "other")
    assert (again_report.counts, again_report.brought_in) == ({"known": 9}, 0)
    assert tree(tmp_path / "other") == before

    found = await site.catalogue.segments([site.stream_id], EVER)
    brought = [s for s in found if s.run_id == theirs.id]
    assert [(s.digest, s.seal, s.origin, s.location) for s in brought] == [
        (f.digest, f.seal, Origin.IMPORT, "store") for f in made
    ]
    assert min(s.arrival for s in brought) > max(s.arrival for s in found if s.run_id == mine.id)
    (run,) = [r for r in await site.catalogue.runs(site.stream_id, *(0, 2**62)) if r.id == theirs.id]
    assert (run.origin, run.host, run.end_ns) == (Origin.IMPORT, HOST, theirs.end_ns)

    within = TimeRange(WALL_NS, WALL_NS + 30 * MINUTE)
    told = (await site.catalogue.timelines([site.stream_id], within, now_ns=WALL_NS + HOUR))[site.stream_id]
    end = WALL_NS + 12 * MINUTE + 7
    assert list(told.spans) == [
        Span(TimeRange(WALL_NS, WALL_NS + 5 * MINUTE)),  # ours goes first where both are whole
        Span(TimeRange(WALL_NS + 5 * MINUTE, end), origin=Origin.IMPORT, late=True),
        Span(TimeRange(WALL_NS + 20 * MINUTE, WALL_NS + 30 * MINUTE)),
    ]
    assert [(m.range, m.reason) for m in told.missing] == [(TimeRange(end, WALL_NS + 20 * MINUTE), GapReason.REFUSED)]
    assert late(found) == {s.ref for s in brought}

    was = await known(site.catalogue)
    await fresh(site, tmp_path)
    await again(site, store)
    assert differences(was, await known(site.catalogue)) == {}


async def test_whole_footage_from_elsewhere_is_shown_instead_of_damaged_of_ours(
    site: Site, other: Site, tmp_path: Path
) -> None:
    store = FolderStore(tmp_path / "store")
    mine = site.run()
    await site.seal(mine, range(3))
    await archiver_of(site, store).register_sealed()
    await site.catalogue._db.write(lambda conn: conn.exec_driver_sql("UPDATE segments SET flags = 2 WHERE number = 1"))
    await other.seal(other.run(host="inny", end_ns=WALL_NS + 3 * MINUTE), range(3))
    await bring(site, tmp_path / "other")
    await archiver_of(site, store).register_sealed()
    found = choose(await site.catalogue.segments([site.stream_id], EVER))
    assert [(c.segment.origin, c.range.start_ns) for c in found] == [
        (Origin.LIVE, WALL_NS),
        (Origin.IMPORT, WALL_NS + MINUTE),
        (Origin.LIVE, WALL_NS + 2 * MINUTE),
    ]


async def test_bad_files_get_a_verdict_and_stop_nobody(site: Site, other: Site, tmp_path: Path) -> None:
    run = other.run(host="inny", end_ns=WALL_NS + 6 * MINUTE)
    made = await other.seal(run, range(6))
    sealed = tmp_path / "other" / "sealed"
    names = [f"{f.stream_id}_{f.start_ns}-{f.run_id}-{f.number}.mp4" for f in made]
    changed = bytearray((sealed / names[0]).read_bytes())
    changed[len(changed) // 2] ^= 1
    (sealed / names[0]).write_bytes(changed)
    (sealed / names[1]).write_bytes((sealed / names[1]).read_bytes()[:-40])
    (sealed / names[2]).write_bytes(b"nic")
    report = await bring(site, tmp_path / "other")
    assert report.counts == {"unsound": 3, "new": 3}
    assert all(f.detail for f in report.files if f.verdict == "unsound")
    assert [name for name in names if name in site.files()] == names[3:]


async def test_what_is_known_by_other_bytes_or_was_deleted_stays_out(site: Site, other: Site, tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    run = site.run()
    await site.seal(run, range(2))
    await archiver_of(site, store).register_sealed()
    await other.seal(run, range(2), frames=10)  # the same run and numbers, other pictures
    assert (await bring(site, tmp_path / "other")).counts == {"conflict": 2}
    await site.catalogue.condemn_expired(site.stream_id, WALL_NS + 31 * DAY, at_ns=WALL_NS + 31 * DAY)
    report = await bring(site, tmp_path / "other")
    assert (report.counts, report.brought_in) == ({"deleted": 2}, 0)


async def test_an_unfinished_file_comes_as_far_as_it_is_whole(site: Site, other: Site, tmp_path: Path) -> None:
    run = other.run(host="inny")
    data, _ = segment_of(run, 0)
    part = other.spool.open_path / f"{run.stream_id}-{run.id}-0.part"
    whole_end = data.index(b"mfra") - 4
    part.write_bytes(data[:whole_end] + b"half a fragment")
    (other.spool.open_path / f"{run.stream_id}-{run.id}-1.part").write_bytes(b"")
    before = tree(tmp_path / "other")
    report = await bring(site, tmp_path / "other")
    assert report.counts == {"new": 1, "unsound": 1}
    assert tree(tmp_path / "other") == before
    assert (await bring(site, tmp_path / "other")).counts == {"known": 1, "unsound": 1}
    await archiver_of(site, FolderStore(tmp_path / "store")).register_sealed()
    (found,) = await site.catalogue.segments([site.stream_id], EVER)
    assert (found.origin, found.start_ns) == (Origin.IMPORT, WALL_NS)
    path = site.spool.sealed_path / site.files()[0]
    assert hashlib.sha256(path.read_bytes()).digest() == found.digest


async def test_a_stream_that_nobody_knows_comes_under_a_retired_camera(site: Site, tmp_path: Path) -> None:
    """Loose files in folders, not a spool: a bucket's copy, say."""
    stranger = site.run(stream_id=uuid4(), host="inny")
    data, facts = segment_of(stranger, 0)
    folder = tmp_path / "dysk" / "2026"
    folder.mkdir(parents=True)
    (folder / "a.mp4").write_bytes(data)
    report = await bring(site, tmp_path / "dysk")
    assert (report.counts, report.new_streams) == ({"new": 1}, [facts.stream_id])
    await archiver_of(site, FolderStore(tmp_path / "store")).register_sealed()
    (found,) = await site.catalogue.segments([facts.stream_id], EVER)
    assert found.digest == facts.digest
    assert len(await site.catalogue.cameras()) == 1
    assert len(await site.catalogue.cameras(include_retired=True)) == 2


async def test_a_spool_without_room_is_not_filled(site: Site, other: Site, tmp_path: Path) -> None:
    await other.seal(other.run(host="inny"), range(3))
    free = site.spool.disk().free_bytes
    report = await bring(site, tmp_path / "other", section=SpoolSection(reserve_bytes=free))
    assert "no more room" in report.stopped
    assert (report.brought_in, site.files()) == (0, [])
    assert (await bring(site, tmp_path / "other")).brought_in == 3


async def test_what_comes_in_pushes_no_stream_out_and_the_rest_comes_once_there_is_room(
    site: Site, other: Site, tmp_path: Path
) -> None:
    """Of a recorder with streams of several ranks none is given up, and none that was stays away, for what was brought in."""
    for number in (2, 3, 4):
        await add_camera(site.catalogue, number, at_ns=WALL_NS)
    made = await other.seal(other.run(host="inny", end_ns=WALL_NS + 8 * MINUTE), range(8), size=8000)
    part = other.spool.open_path / f"{site.stream_id}-{uuid4()}-0.part"
    part.write_bytes(bytes(100_000))
    section = SpoolSection(
        budget_bytes=6 * made[0].size_bytes, reserve_bytes=1 << 20, shed_first="3", shed_last="4"
    )  # fmt: skip
    report = await bring(site, tmp_path / "other", section=section)
    assert "run the same command again" in report.stopped
    assert 0 < report.brought_in < 6
    room = room_of(section, site.spool.usage())
    ranks = [Rank.LOW, Rank.NORMAL, Rank.HIGH]
    assert {floor_of(ranks, room, before) for before in range(len(Rank) + 1)} == {NOTHING}
    assert spare_of(ranks, room) < made[0].size_bytes  # and what is spare was used
    rounds = 0
    while report.stopped and rounds < 10:
        await one_pass(archiver_of(site, FolderStore(tmp_path / "store")))
        report = await bring(site, tmp_path / "other", section=section)
        rounds += 1
    assert not report.stopped
    assert {s.digest for s in await site.catalogue.segments([site.stream_id], EVER)} >= {f.digest for f in made[:4]}
    await one_pass(archiver_of(site, FolderStore(tmp_path / "store")))
    assert {s.digest for s in await site.catalogue.segments([site.stream_id], EVER)} == {f.digest for f in made}


async def test_what_a_recorder_is_writing_is_left_alone_and_comes_whole_once_it_is_sealed(
    site: Site, other: Site, tmp_path: Path
) -> None:
    run = other.run(host="inny")
    data, facts = segment_of(run, 0)
    opened = other.spool.open_segment(run.stream_id, run.id, 0)
    other.spool.write(opened, [data[: data.index(b"mfra") - 4]])
    report = await bring(site, tmp_path / "other")
    assert (report.counts, report.brought_in, site.files()) == ({"open": 1}, 0, [])
    other.spool.write(opened, [data[data.index(b"mfra") - 4 :]])
    await other.spool.seal(opened, facts)
    report = await bring(site, tmp_path / "other")
    assert (report.counts, report.brought_in) == ({"new": 1}, 1)
    await archiver_of(site, FolderStore(tmp_path / "store")).register_sealed()
    (found,) = await site.catalogue.segments([site.stream_id], EVER)
    assert found.digest == facts.digest


async def test_what_is_known_and_held_nowhere_comes_in_again(site: Site, other: Site, tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    run = site.run(end_ns=WALL_NS + 4 * MINUTE, end_reason=GapReason.STALLED)
    made = await site.seal(run, range(3))
    await other.seal(run, range(3))
    archiver = archiver_of(site, store)
    await one_pass(archiver)
    await site.seal(run, [3])
    await other.seal(run, [3])
    await archiver.register_sealed()
    (site.spool.sealed_path / site.files()[0]).unlink()  # the spool's disk lost it, and no check has looked
    for facts, state in ((made[0], CopyState.MISSING), (made[1], CopyState.CORRUPT)):
        segment = await site.catalogue.segment(SegmentRef.of(facts))
        assert segment is not None
        await store.delete(segment.copies[0].key)
        await site.catalogue.record_copy(segment.ref, replace(segment.copies[0], state=state))
    report = await bring(site, tmp_path / "other")
    assert [(f.verdict, bool(f.detail)) for f in report.files] == [
        ("new", True), ("new", True), ("known", False), ("new", True)
    ]  # fmt: skip
    assert (await bring(site, tmp_path / "other")).counts == {"known": 4}
    await one_pass(archiver_of(site, store))
    found = await site.catalogue.segments([site.stream_id], EVER)
    assert {(s.location, tuple(c.state.value for c in s.copies)) for s in found} == {("store", ("present",))}


async def test_gaps_come_with_the_run_after_one_that_was_broken_off(site: Site, other: Site, tmp_path: Path) -> None:
    """The first was killed after its last file and before its gaps."""
    await other.seal(other.run(host="inny", end_ns=WALL_NS + 2 * MINUTE), range(2))
    assert (await bring(site, tmp_path / "other")).brought_in == 2
    gap = Gap(uuid4(), site.stream_id, WALL_NS + 2 * MINUTE, WALL_NS + 5 * MINUTE, GapReason.REFUSED)
    other.spool.put_gap(gap)
    await other.spool.drained()
    report = await bring(site, tmp_path / "other")
    assert (report.brought_in, report.gaps) == (0, 1)
    assert (await bring(site, tmp_path / "other")).gaps == 0  # it waits in our spool
    await one_pass(archiver_of(site, FolderStore(tmp_path / "store")))
    assert (await bring(site, tmp_path / "other")).gaps == 0
    assert await site.catalogue.gaps([site.stream_id], *(0, 2**62)) == [gap]


async def test_what_ours_misses_within_a_run_is_shown_of_theirs_and_not_what_both_do(
    site: Site, other: Site, tmp_path: Path
) -> None:
    mine, theirs = site.run(), other.run(host="inny", end_ns=WALL_NS + 3 * MINUTE)
    await site.seal(mine, range(3))
    await other.seal(theirs, range(3))

    def hole(of: RunInfo, start: int, end: int, gap_id: UUID | None = None) -> Gap:
        name = gap_id or hole_gap_id(of.id, start)
        return Gap(name, site.stream_id, WALL_NS + start * SECOND, WALL_NS + end * SECOND, GapReason.STALLED)

    site.spool.put_gap(hole(mine, 70, 100))
    other.spool.put_gap(hole(theirs, 90, 110))
    other.spool.put_gap(hole(theirs, 130, 140, uuid4()))  # does not say whose it is
    await site.spool.drained()
    await other.spool.drained()
    assert (await bring(site, tmp_path / "other")).gaps == 1
    await archiver_of(site, FolderStore(tmp_path / "store")).register_sealed()
    within = TimeRange(WALL_NS, WALL_NS + 3 * MINUTE)
    reader = Reader(site.catalogue, site.spool, {})
    told = await reader.timeline(site.stream_id, within, WALL_NS + HOUR)
    shown = [(c.segment.origin, c.range) for c in choose(await reader.segments(site.stream_id, within))]
    in_between = TimeRange(WALL_NS + 70 * SECOND, WALL_NS + 90 * SECOND)
    assert [m.range for m in told.missing] == [TimeRange(in_between.end_ns, WALL_NS + 100 * SECOND)]
    assert [s.range for s in told.spans if s.origin is Origin.IMPORT] == [in_between]
    assert [r for o, r in shown if o is Origin.IMPORT] == [in_between]
    units = reader.units(site.stream_id, within, decodable=False)
    theirs_shown = [timed.capture_ns async for segment, timed in units if segment.origin is Origin.IMPORT]
    assert len(theirs_shown) > 10
    assert all(map(in_between.contains, theirs_shown))


async def test_a_damaged_file_of_ours_is_reported_and_stops_nobody(site: Site, other: Site, tmp_path: Path) -> None:
    await other.seal(other.run(host="inny", end_ns=WALL_NS + 3 * MINUTE), range(3))
    assert (await bring(site, tmp_path / "other")).brought_in == 3
    first, second, _ = (site.spool.sealed_path / name for name in site.files())
    first.write_bytes(b"nic")
    changed = bytearray(second.read_bytes())
    changed[len(changed) // 2] ^= 1
    second.write_bytes(changed)
    await other.seal(other.run(host="inny", start_ns=WALL_NS + HOUR, end_ns=WALL_NS + HOUR + MINUTE))
    report = await bring(site, tmp_path / "other")
    assert (report.counts, report.brought_in) == ({"conflict": 2, "known": 1, "new": 1}, 1)
    assert all("of ours" in f.detail for f in report.files if f.verdict == "conflict")
    assert first.read_bytes() == b"nic"


async def test_files_that_go_meanwhile_stop_nobody(site: Site, other: Site, tmp_path: Path) -> None:
    """One that its own site archives while it is looked at; and one of ours that the archiver takes at that moment."""
    await other.seal(other.run(host="inny", end_ns=WALL_NS + 3 * MINUTE), range(3))
    files = sorted((tmp_path / "other" / "sealed").iterdir())
    await bring(site, tmp_path / "other")
    archiver = archiver_of(site, FolderStore(tmp_path / "store"))
    asked = site.catalogue.fates

    async def archived_meanwhile(refs: Collection[SegmentRef]) -> dict[SegmentRef, Fate]:
        answer = await asked(refs)
        await one_pass(archiver)
        return answer

    site.catalogue.fates = archived_meanwhile  # type: ignore[method-assign]
    importing = importing_of(site)
    report = await importing.run(
        tmp_path / "other", commit=True, on_progress=lambda done, _: files[done].unlink() if done < 3 else None
    )
    assert [f.verdict for f in report.files] == ["known", "gone", "gone"]


async def test_a_file_that_changed_since_it_was_looked_at_does_not_come_in(
    site: Site, other: Site, tmp_path: Path
) -> None:
    (facts,) = await other.seal(other.run(host="inny"), [0])
    path = next((tmp_path / "other" / "sealed").iterdir())
    importing = importing_of(site)
    importing._clear()
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(MalformedError, match="changed"):
        importing._copy(path, facts)
    assert site.files() == []
    report = await bring(site, tmp_path / "other")
    assert (report.counts, report.brought_in) == ({"unsound": 1}, 0)


# The choice, as properties

_SECOND = 10**9


def _segments(seed: int) -> list[RecordedSegment]:
    """Some runs of several origins over one another, arriving in any order."""
    chance = random.Random(seed)
    found = []
    for run in range(chance.randint(1, 5)):
        at = chance.randrange(0, 3600) * _SECOND
        origin, size = chance.choice(list(Origin)), chance.choice([(1920, 1080), (640, 360)])
        for number in range(chance.randint(1, 6)):
            end = at + chance.randrange(20, 80) * _SECOND
            found.append(
                RecordedSegment(
                    0, UUID(int=1), UUID(int=run + 2), number, at, end, 1, 90_000, 1, bytes(32), bytes(32), True,
                    chance.random() < 0.3, Codec.H264, *size, origin, (), "store",
                )
            )  # fmt: skip
            at = end
    arrivals = list(range(1, len(found) + 1))
    chance.shuffle(arrivals)
    return [replace(s, arrival=n) for s, n in zip(found, arrivals, strict=True)]


def _rank(segment: RecordedSegment) -> tuple[bool, int, int]:
    return segment.damaged, -segment.width * segment.height, list(Origin).index(segment.origin)


@given(st.integers(0, 10**9))
def test_one_segment_per_instant_and_none_better(seed: int) -> None:
    segments = _segments(seed)
    chosen = choose(segments)
    assert merge(c.range for c in chosen) == merge(s.range for s in segments)  # nothing is lost, nothing made up
    assert all(a.range.end_ns <= b.range.start_ns for a, b in itertools.pairwise(chosen))
    for one in chosen:
        assert one.segment.range.intersect(one.range) == one.range
        rivals = [s for s in segments if s.range.overlaps(one.range)]
        inside = [s for s in rivals if s.range.intersect(one.range) == one.range]
        assert all(_rank(one.segment) <= _rank(s) for s in inside)


@given(st.integers(0, 10**9), st.randoms(use_true_random=False))
def test_the_choice_depends_on_what_there_is_and_not_on_when_it_came(seed: int, chance: random.Random) -> None:
    segments = _segments(seed)
    shuffled = [replace(s, arrival=0) for s in segments]
    chance.shuffle(shuffled)
    assert [(c.range, c.segment.ref) for c in choose(shuffled)] == [(c.range, c.segment.ref) for c in choose(segments)]


@given(st.integers(0, 10**9))
def test_late_is_what_came_after_something_recorded_later(seed: int) -> None:
    segments = _segments(seed)
    wanted = {
        s.ref for s in segments if any(o.start_ns >= s.end_ns + LATE_NS and o.arrival < s.arrival for o in segments)
    }
    assert late(segments) == wanted
    in_order = sorted(segments, key=lambda s: s.start_ns)
    assert late([replace(s, arrival=n) for n, s in enumerate(in_order, 1)]) == set()


@given(st.integers(0, 10**9))
def test_labels_cut_spans_and_change_nothing_else(seed: int) -> None:
    segments = _segments(seed)
    spans = [Span(r) for r in merge(s.range for s in segments)]
    labels = [(c.range, c.segment.origin, False) for c in choose(segments) if c.segment.origin is not Origin.LIVE]
    cut = labelled(spans, labels)
    assert merge(s.range for s in cut) == [s.range for s in spans]
    assert sum(s.range.duration_ns for s in cut) == sum(s.range.duration_ns for s in spans)
    assert merge(s.range for s in cut if s.origin is not Origin.LIVE) == merge(r for r, _, _ in labels)
