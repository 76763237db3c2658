"""What every catalogue promises, over SQLite and PostgreSQL alike."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from sqlalchemy import select, text

from storage.catalogue import (
    Catalogue,
    Copy,
    CopyState,
    HistoryKind,
    Hold,
    JournalEntry,
    Registered,
    Registration,
    SegmentRef,
    StoreInfo,
    StoreKind,
    check,
    choose,
    migrate,
    sqlite_url,
)
from storage.catalogue.coverage import Part
from storage.catalogue.tables import cameras
from tests.support.footage_rows import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    SPOOL,
    STORE,
    T0,
    PlainSealer,
    add_camera,
    camera,
    ended,
    facts,
    record,
    run,
    spool_copy,
    store_copy,
)
from vms.errors import CatalogueError, CatalogueUnavailable, MalformedError, UserError
from vms.model import Codec, Gap, GapReason, LegalProfile, Origin, RunInfo, StreamKind, hole_gap_id
from vms.sealing import Sealer
from vms.timeline import TimeRange


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "catalogue.db")
    return str(request.getfixturevalue("postgres_database"))


@pytest_asyncio.fixture
async def catalogue(url: str) -> AsyncIterator[Catalogue]:
    await migrate(url)
    async with Catalogue(url, PlainSealer()) as opened:
        await opened.put_store(SPOOL)
        await opened.put_store(STORE)
        yield opened


# Registry


async def test_the_default_profile_is_created_once(catalogue: Catalogue) -> None:
    first, second = await asyncio.gather(catalogue.default_profile(), catalogue.default_profile())
    assert first == second
    assert (first.days, first.audio) == (30, False)
    assert await catalogue.profiles() == [first]


async def test_profiles_are_put_and_refused(catalogue: Catalogue) -> None:
    gmina = LegalProfile(uuid4(), "Gmina", "art. 9a", 90)
    await catalogue.put_profile(gmina)
    await catalogue.put_profile(replace(gmina, days=60))
    assert [p.days for p in await catalogue.profiles()] == [60]
    with pytest.raises(UserError, match="already a legal profile"):
        await catalogue.put_profile(LegalProfile(uuid4(), "Gmina", "x", 30))
    with pytest.raises(UserError, match="one day"):
        await catalogue.put_profile(LegalProfile(uuid4(), "Nic", "x", 0))


async def test_a_camera_comes_back_as_it_was_added(catalogue: Catalogue) -> None:
    added = await add_camera(
        catalogue, 7, name="Rynek Główny", sub=True, street="Rynek Główny 1", lat=50.0617, lon=19.9373, group="centrum",
        username="straż", password="hasło", trust_clock=True, certificate_pin="ab" * 32,
    )  # fmt: skip
    assert await catalogue.camera(added.id) == added
    assert await catalogue.cameras() == [added]
    assert [s.kind for s in await catalogue.camera_streams()] == [StreamKind.MAIN, StreamKind.SUB]
    assert [s.stream_id for s in await catalogue.camera_streams(recorded_only=True)] == [added.streams[0].id]


async def test_passwords_are_stored_sealed_only(catalogue: Catalogue, url: str) -> None:
    added = await add_camera(catalogue, 1, username="admin", password="tajne-hasło")
    await catalogue.update_camera(replace(added, password="inne-hasło"), at_ns=T0 + 1)
    async with Catalogue(url) as without_key:
        seen = await without_key.camera(added.id)
        assert (seen.username, seen.password) == ("", "")
        await without_key.update_camera(replace(seen, name="Nowa"), at_ns=T0 + 2)
        with pytest.raises(CatalogueError, match="key"):
            await without_key.update_camera(replace(seen, password="x"), at_ns=T0 + 3)
    assert (await catalogue.camera(added.id)).password == "inne-hasło"
    row = (await catalogue._db.read(lambda conn: conn.execute(select(cameras)).all()))[0]
    assert row.password_sealed.startswith(f"sealed:camera password {added.id}:".encode())
    assert "hasło" not in str(row)
    assert "hasło" not in str(await catalogue.history(added.id))


async def test_numbers_are_unique_among_cameras_in_service(catalogue: Catalogue) -> None:
    first = await add_camera(catalogue, 1, name="Planty")
    with pytest.raises(UserError, match="number 1 belongs to camera 'Planty'"):
        await add_camera(catalogue, 1)
    await catalogue.retire_camera(first.id, at_ns=T0 + DAY)
    second = await add_camera(catalogue, 1)
    third = await add_camera(catalogue, 2)
    assert await catalogue.next_number() == 3
    with pytest.raises(UserError, match="number 1 belongs"):
        await catalogue.update_camera(replace(third, number=1), at_ns=T0)
    assert [c.id for c in await catalogue.cameras()] == [second.id, third.id]
    assert (await catalogue.cameras(include_retired=True))[-1].retired_ns == T0 + DAY


async def test_two_who_add_the_same_at_once(catalogue: Catalogue, url: str) -> None:
    """Of two cameras with one number one is refused in plain words; of two equal runs and gaps one row remains."""
    profile = await catalogue.default_profile()
    async with Catalogue(url, PlainSealer()) as other:
        told = await asyncio.gather(
            *(c.add_camera(camera(1, profile.id), at_ns=T0) for c in (catalogue, other) for _ in range(3)),
            return_exceptions=True,
        )
        assert sorted(type(t).__name__ for t in told) == ["Camera"] + ["UserError"] * 5
        stream = (await catalogue.cameras())[0].streams[0].id
        r, gap = run(stream), Gap(uuid4(), stream, T0, T0 + 1, GapReason.STALLED)
        await asyncio.gather(*(c.put_run(r) for c in (catalogue, other) for _ in range(3)))
        await asyncio.gather(*(c.put_gap(gap) for c in (catalogue, other) for _ in range(3)))
    assert await catalogue.runs(stream, T0, T0 + 1) == [r]
    assert await catalogue.gaps([stream], T0, T0 + 1) == [gap]


async def test_the_sites_own_sealer_and_a_wrong_key(catalogue: Catalogue, url: str) -> None:
    profile = await catalogue.default_profile()
    async with Catalogue(url, Sealer(b"k" * 32)) as opened:
        added = await opened.add_camera(camera(1, profile.id, username="a", password="ż"), at_ns=T0)
        assert await opened.cameras() == [added]
    async with Catalogue(url, Sealer(b"x" * 32)) as wrong:
        with pytest.raises(MalformedError, match=r"another site\.key"):
            await wrong.cameras()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"number": 0}, "number is 1 or more"),
        ({"name": " "}, "needs a name"),
        ({"profile_id": uuid4()}, "profile does not exist"),
    ],
)
async def test_a_bad_camera_is_refused(catalogue: Catalogue, change: dict[str, object], says: str) -> None:
    profile = await catalogue.default_profile()
    with pytest.raises(UserError, match=says):
        await catalogue.add_camera(replace(camera(1, profile.id), **change), at_ns=T0)  # type: ignore[arg-type]
    assert await catalogue.cameras() == []


async def test_a_url_with_a_password_in_it_is_refused(catalogue: Catalogue) -> None:
    profile = await catalogue.default_profile()
    plain = camera(1, profile.id)
    stream = replace(plain.streams[0], url="rtsp://admin:tajne@10.0.0.1/main")
    with pytest.raises(UserError, match="apart from the URL") as refused:
        await catalogue.add_camera(replace(plain, streams=(stream,)), at_ns=T0)
    assert "tajne" not in str(refused.value)


async def test_history_tells_what_happened(catalogue: Catalogue) -> None:
    added = await add_camera(catalogue, 1, name="Stara", street="Długa 1")
    moved = replace(added, name="Nowa", street="Krótka 2", lat=50.0)
    await catalogue.update_camera(moved, at_ns=T0 + 1, by="jan")
    off = replace(moved, enabled=False, streams=(replace(moved.streams[0], url="rtsp://10.9.9.9/"),))
    await catalogue.update_camera(off, at_ns=T0 + 2, replaced=True)
    await catalogue.update_camera(replace(off, enabled=True, group="rynek", number=9), at_ns=T0 + 3)
    await catalogue.retire_camera(added.id, at_ns=T0 + 4)
    await catalogue.retire_camera(added.id, at_ns=T0 + 5)
    told = await catalogue.history(added.id)
    assert [(e.at_ns - T0, e.kind) for e in told] == [
        (0, HistoryKind.ADDED),
        (1, HistoryKind.RENAMED),
        (1, HistoryKind.MOVED),
        (2, HistoryKind.DISABLED),
        (2, HistoryKind.READDRESSED),
        (2, HistoryKind.REPLACED),
        (3, HistoryKind.ENABLED),
        (3, HistoryKind.RENUMBERED),
        (3, HistoryKind.CHANGED),
        (4, HistoryKind.RETIRED),
    ]
    assert told[1].changes == {"name": ("Stara", "Nowa")}
    assert told[1].by == "jan"
    assert told[2].changes == {"street": ("Długa 1", "Krótka 2"), "lat": ("", "50.0")}
    with pytest.raises(UserError, match="retired"):
        await catalogue.update_camera(off, at_ns=T0 + 6)


async def test_unknown_cameras_are_a_users_mistake(catalogue: Catalogue) -> None:
    for call in (catalogue.camera(uuid4()), catalogue.history(uuid4()), catalogue.retire_camera(uuid4(), at_ns=T0)):
        with pytest.raises(UserError, match="no camera with the id"):
            await call
    added = await add_camera(catalogue, 3, name="Dworzec")
    assert (await catalogue.find("3")).id == (await catalogue.find("dworzec")).id == added.id
    await catalogue.retire_camera(added.id, at_ns=T0)
    with pytest.raises(UserError):
        await catalogue.find("3")
    assert (await catalogue.find("3", include_retired=True)).id == added.id


async def test_expectations_follow_the_registry(catalogue: Catalogue) -> None:
    added = await add_camera(catalogue, 1, sub=True)
    main, sub = added.streams
    off = await catalogue.update_camera(replace(added, enabled=False), at_ns=T0 + HOUR)
    await catalogue.update_camera(replace(off, enabled=True), at_ns=T0 + 2 * HOUR)
    both = replace(added, streams=(main, replace(sub, record=True)))
    await catalogue.update_camera(both, at_ns=T0 + 3 * HOUR)
    await catalogue.update_camera(replace(both, streams=(main,)), at_ns=T0 + 4 * HOUR)
    await catalogue.retire_camera(added.id, at_ns=T0 + 5 * HOUR)
    day = TimeRange(T0 - DAY, T0 + DAY)
    told = [(e.from_ns - T0, e.to_ns and e.to_ns - T0, e.suspended) for e in await catalogue.expectations(main.id, day)]
    assert told == [
        (0, HOUR, None),
        (HOUR, 2 * HOUR, GapReason.DISABLED),
        (2 * HOUR, 5 * HOUR, None),
    ]
    of_sub = await catalogue.expectations(sub.id, day)
    assert [(e.from_ns - T0, (e.to_ns or 0) - T0) for e in of_sub] == [(3 * HOUR, 4 * HOUR)]


async def test_a_stream_is_awaited_until_something_of_it_came(catalogue: Catalogue) -> None:
    seen, failed, waiting, off = [await add_camera(catalogue, number, sub=True) for number in (1, 2, 3, 4)]
    ids = [c.streams[0].id for c in (seen, failed, waiting, off)]
    assert await catalogue.awaited() == dict.fromkeys(ids, T0)
    await record(catalogue, run(ids[0], T0 + HOUR), 1)
    await catalogue.put_gap(Gap(uuid4(), ids[1], T0, None, GapReason.UNREACHABLE))
    await catalogue.update_camera(replace(off, enabled=False), at_ns=T0 + HOUR)
    assert await catalogue.awaited() == {ids[2]: T0}
    relayed = replace(seen, streams=(replace(seen.streams[0], record=False), seen.streams[1]))
    await catalogue.update_camera(relayed, at_ns=T0 + DAY)
    await catalogue.update_camera(seen, at_ns=T0 + 2 * DAY)  # recorded again: nothing came since
    await catalogue.retire_camera(waiting.id, at_ns=T0 + DAY)
    assert await catalogue.awaited() == {ids[0]: T0 + 2 * DAY}


async def test_a_clock_that_went_back_leaves_one_expectation(catalogue: Catalogue) -> None:
    added = await add_camera(catalogue, 1)
    await catalogue.update_camera(replace(added, enabled=False), at_ns=T0 - HOUR)
    told = await catalogue.expectations(added.streams[0].id, TimeRange(T0 - DAY, T0 + DAY))
    assert [(e.from_ns, e.to_ns, e.suspended) for e in told] == [(T0, None, GapReason.DISABLED)]


# Recordings


async def test_register_archive_forget(catalogue: Catalogue) -> None:
    stream = (await add_camera(catalogue)).streams[0]
    r = run(stream.id)
    f = facts(r, 0, T0, width=704, height=576, codec=Codec.H265, damaged_units=2, clock_hz=90_000)
    assert await catalogue.register(f, r, spool_copy(f)) is Registered.NEW
    assert await catalogue.register(f, None, spool_copy(f)) is Registered.KNOWN
    [segment] = await catalogue.segments([stream.id], TimeRange(T0, T0 + 1))
    assert segment.copies == (spool_copy(f),)
    assert (segment.location, segment.damaged, segment.independent) == ("spool", True, True)
    assert (segment.codec, segment.width, segment.height) == (Codec.H265, 704, 576)
    assert (segment.digest, segment.seal, segment.size_bytes) == (f.digest, f.seal, f.size_bytes)
    assert (segment.start_ns, segment.end_ns, segment.duration_ticks) == (f.start_ns, f.end_ns, f.duration_ticks)
    with pytest.raises(CatalogueError, match="no other copy"):
        await catalogue.drop_copy(SegmentRef.of(f), SPOOL.name)
    for _ in range(2):
        assert await catalogue.record_copy(SegmentRef.of(f), store_copy(f))
    assert [await catalogue.drop_copy(SegmentRef.of(f), SPOOL.name) for _ in range(2)] == [True, False]
    archived = await catalogue.segment(SegmentRef.of(f))
    assert archived is not None
    assert (archived.location, archived.copies) == ("store", (store_copy(f),))
    assert await catalogue.segment(SegmentRef(f.run_id, 1)) is None


async def test_a_copy_with_its_own_key_size_and_digest(catalogue: Catalogue) -> None:
    stream = (await add_camera(catalogue)).streams[0]
    r = run(stream.id)
    f = facts(r, 0, T0)
    await catalogue.register(f, r, spool_copy(f))
    await catalogue.put_store(StoreInfo("drugi", StoreKind.FOLDER))
    sealed = Copy("drugi", "encrypted/a.bin", f.size_bytes + 64, bytes(32), None, CopyState.MISSING)
    assert await catalogue.record_copy(SegmentRef.of(f), sealed)
    found = await catalogue.segment(SegmentRef.of(f))
    assert found is not None
    assert found.copies == (spool_copy(f), sealed)
    assert found.location == "spool"  # the other is missing
    assert await catalogue.record_copy(SegmentRef.of(f), replace(sealed, state=CopyState.PRESENT))
    again = await catalogue.segment(SegmentRef.of(f))
    assert again is not None
    assert again.location == "store"


async def test_registering_refuses_what_cannot_be(catalogue: Catalogue) -> None:
    camera_one, camera_two = await add_camera(catalogue, 1), await add_camera(catalogue, 2)
    r = run(camera_one.streams[0].id)
    f = facts(r, 0, T0)
    await catalogue.register(f, r, spool_copy(f))
    other = replace(f, digest=bytes(32))
    stranger = run(uuid4())
    elsewhere = replace(facts(r, 5, T0), stream_id=camera_two.streams[0].id)
    for bad, of, says in [
        (other, None, "another digest"),
        (facts(stranger, 0, T0), stranger, "not in the registry"),
        (facts(run(r.stream_id), 0, T0), None, "not in the catalogue"),
        (facts(r, 1, T0), run(r.stream_id), "does not belong"),
        (elsewhere, None, "another stream"),
        (facts(r, 1, T0, 2 * HOUR), None, "within an hour"),
        (facts(r, 1, T0, 0), None, "within an hour"),
        (facts(r, 1, T0, seal=b""), None, "no whole digest"),
    ]:
        with pytest.raises(CatalogueError, match=says):
            await catalogue.register(bad, of, spool_copy(bad))
    with pytest.raises(CatalogueError, match="store 'nie ma'"):
        await catalogue.register(facts(r, 1, T0), None, replace(spool_copy(f), store="nie ma"))
    with pytest.raises(CatalogueError, match="not in the catalogue"):
        await catalogue.record_copy(SegmentRef(r.id, 9), store_copy(f))
    with pytest.raises(CatalogueError, match="already known"):
        await catalogue.put_store(replace(SPOOL, host="inny"))
    assert len(await catalogue.segments([r.stream_id], TimeRange(T0 - DAY, T0 + DAY))) == 1
    assert {s.name for s in await catalogue.stores()} == {SPOOL.name, STORE.name}


async def test_a_refused_batch_leaves_nothing(catalogue: Catalogue) -> None:
    stream = (await add_camera(catalogue)).streams[0]
    r = run(stream.id)
    good, bad = facts(r, 0, T0), facts(r, 1, T0 + MINUTE)
    items = [Registration(good, spool_copy(good), r), Registration(bad, replace(spool_copy(bad), store="?"))]
    with pytest.raises(CatalogueError):
        await catalogue.register_many(items)
    assert await catalogue.segments([stream.id], TimeRange(T0, T0 + HOUR)) == []
    await catalogue.register_many(items[:1])
    assert [s.arrival for s in await catalogue.segments([stream.id], TimeRange(T0, T0 + HOUR))] == [1]


async def test_many_at_once_and_twice(catalogue: Catalogue) -> None:
    streams = [(await add_camera(catalogue, n)).streams[0].id for n in (1, 2, 3)]
    runs = [run(s) for s in streams]
    items = [
        Registration(f, spool_copy(f), r) for i in range(200) for r in runs for f in [facts(r, i, T0 + i * MINUTE)]
    ]
    items.append(items[0])
    assert await catalogue.register_many(items) == [Registered.NEW] * 600 + [Registered.KNOWN]
    assert set(await catalogue.register_many(items)) == {Registered.KNOWN}
    found = await catalogue.segments(streams, TimeRange(T0, T0 + DAY))
    assert sorted(s.arrival for s in found) == list(range(1, 601))
    assert all(s.copies for s in found)
    copies = [(SegmentRef.of(i.facts), store_copy(i.facts)) for i in items]
    assert all(await catalogue.record_copies(copies))
    assert {s.location for s in await catalogue.segments(streams, TimeRange(T0, T0 + DAY))} == {"store"}
    assert await catalogue.newest(streams) == dict.fromkeys(streams, T0 + 200 * MINUTE)


async def test_writers_at_the_same_time(catalogue: Catalogue, url: str) -> None:
    """Two archivers over the same cameras, in other orders: nothing is lost, arrivals stay unique and dense."""
    runs = [run((await add_camera(catalogue, n)).streams[0].id) for n in range(1, 5)]

    async def archive(one: Catalogue, order: list[int], first: int) -> None:
        for number in range(first, first + 10):
            made = [facts(runs[i], number, T0 + number * MINUTE) for i in order]
            await one.register_many([Registration(f, spool_copy(f), runs[i]) for f, i in zip(made, order, strict=True)])

    async with Catalogue(url) as other:
        await asyncio.gather(archive(catalogue, [0, 1, 2, 3], 0), archive(other, [3, 2, 1, 0], 10))
    found = await catalogue.segments([r.stream_id for r in runs], TimeRange(T0, T0 + DAY))
    assert sorted(s.arrival for s in found) == list(range(1, 81))


async def test_runs_begin_and_end_once(catalogue: Catalogue) -> None:
    stream = (await add_camera(catalogue)).streams[0]
    r = run(stream.id, origin=Origin.EDGE, epoch=3)
    await catalogue.put_run(r)
    assert await catalogue.runs(stream.id, T0, T0 + 1) == [r]
    done = ended(r, T0 + HOUR)
    await catalogue.put_run(done)
    await catalogue.put_run(r)
    await catalogue.put_run(ended(r, T0 + MINUTE))
    assert await catalogue.runs(stream.id, T0, T0 + DAY) == [done]
    assert await catalogue.runs(stream.id, T0 + HOUR, T0 + DAY) == []
    with pytest.raises(CatalogueError, match="not in the registry"):
        await catalogue.put_run(run(uuid4()))


async def test_the_end_of_a_run_may_move_later_and_never_earlier(catalogue: Catalogue) -> None:
    stream = (await add_camera(catalogue)).streams[0]

    async def end_of(of: RunInfo) -> RunInfo:
        return next(found for found in await catalogue.runs(stream.id, T0 - DAY, T0 + DAY) if found.id == of.id)

    first = run(stream.id)
    await catalogue.put_run(ended(first, T0 + HOUR))
    await catalogue.put_runs([ended(first, T0 + 2 * HOUR, GapReason.RECORDER_RESTART), ended(first, T0 + MINUTE)])
    assert await end_of(first) == ended(first, T0 + 2 * HOUR)  # for the reason given first

    salvaged = run(stream.id)
    await record(catalogue, salvaged, 3)
    await catalogue.put_run(ended(salvaged, T0 + MINUTE))
    assert await end_of(salvaged) == ended(salvaged, T0 + 3 * MINUTE)
    await record(catalogue, salvaged, 2, first=3, start_ns=T0 + 3 * MINUTE)
    assert await end_of(salvaged) == ended(salvaged, T0 + 5 * MINUTE)
    await record(catalogue, ended(salvaged, T0 + MINUTE), 5)
    assert await end_of(salvaged) == ended(salvaged, T0 + 5 * MINUTE)

    going_on = run(stream.id)
    await record(catalogue, going_on, 2)
    assert await end_of(going_on) == going_on


async def test_hours_with_segments_and_without_a_journal_of_the_host(catalogue: Catalogue) -> None:
    first, second = [(await add_camera(catalogue, number)).streams[0].id for number in (1, 2)]
    long = run(first)
    await record(catalogue, long, 3, length_ns=30 * MINUTE)
    await record(catalogue, long, 2, first=10, start_ns=T0 + 5 * HOUR + MINUTE)
    await record(catalogue, run(second, host="kamera2"), 1)
    for hour_ns, host in ((T0, "kamera1"), (T0 + HOUR, "kamera2")):
        await catalogue.record_journal(JournalEntry(first, hour_ns, host, f"{hour_ns}-{host}", bytes(32), 1))
    assert await catalogue.hours_without_journal("kamera1", T0 - DAY) == [(first, T0 + HOUR), (first, T0 + 5 * HOUR)]
    assert await catalogue.hours_without_journal("kamera1", T0 + 2 * HOUR) == [(first, T0 + 5 * HOUR)]
    assert await catalogue.hours_without_journal("kamera2", T0) == [(second, T0)]
    assert await catalogue.hours_without_journal("kamera3", T0) == []


async def test_the_hosts_of_runs(catalogue: Catalogue) -> None:
    stream = (await add_camera(catalogue)).streams[0].id
    many = [run(stream, host=f"kamera{number % 2}") for number in range(1100)]
    await catalogue.put_runs([*many, ended(many[0], T0 + 1)])
    assert await catalogue.run_hosts([r.id for r in many] + [uuid4()]) == {r.id: r.host for r in many}
    assert await catalogue.run_hosts([]) == {}


async def test_gaps_are_opened_closed_and_never_edited(catalogue: Catalogue, caplog: pytest.LogCaptureFixture) -> None:
    stream = (await add_camera(catalogue)).streams[0]
    gap = Gap(uuid4(), stream.id, T0, None, GapReason.STALLED, "x" * 500)
    assert await catalogue.put_gap(gap)
    assert not await catalogue.put_gap(gap)
    assert [g.id for g in await catalogue.open_gaps()] == [gap.id]
    assert [g.id for g in await catalogue.gaps([stream.id], T0 + HOUR, T0 + DAY)] == [gap.id]
    closed = replace(gap, end_ns=T0 + MINUTE)
    assert await catalogue.put_gap(closed)
    assert not await catalogue.put_gap(gap)
    assert not await catalogue.put_gap(closed)
    assert not caplog.records
    assert not await catalogue.put_gap(replace(closed, end_ns=T0 + HOUR))
    assert not await catalogue.put_gap(replace(closed, reason=GapReason.REFUSED))
    assert len(caplog.records) == 2
    assert await catalogue.open_gaps([stream.id]) == []
    assert await catalogue.gaps([stream.id], T0, T0 + DAY) == [replace(closed, detail="x" * 200)]
    assert await catalogue.gaps([stream.id], T0 + MINUTE, T0 + DAY) == []
    with pytest.raises(CatalogueError, match="not in the registry"):
        await catalogue.put_gap(replace(gap, id=uuid4(), stream_id=uuid4()))


async def test_an_opening_and_its_closing_in_one_batch(catalogue: Catalogue) -> None:
    stream = (await add_camera(catalogue)).streams[0]
    gap = Gap(uuid4(), stream.id, T0, None, GapReason.REFUSED)
    assert await catalogue.put_gaps([gap, replace(gap, end_ns=T0 + 5), gap]) == [True, True, False]
    assert [g.end_ns for g in await catalogue.gaps([stream.id], T0, T0 + 9)] == [T0 + 5]


async def test_journals_are_noted_once(catalogue: Catalogue) -> None:
    stream = (await add_camera(catalogue)).streams[0]
    entry = JournalEntry(stream.id, T0, "kamera1", "journals/a.json", bytes(32), T0 + HOUR)
    for _ in range(2):
        await catalogue.record_journal(entry)
    assert await catalogue.journals(stream.id, T0, T0 + HOUR) == [entry]
    assert await catalogue.journals(stream.id, T0 + HOUR, T0 + DAY) == []


# Timeline


async def test_spans_are_merged_and_what_is_missing_has_a_reason(catalogue: Catalogue) -> None:
    stream = (await add_camera(catalogue)).streams[0]
    first, second = run(stream.id, T0), run(stream.id, T0 + 20 * MINUTE)
    await record(catalogue, first, 10)
    await record(catalogue, second, 10)
    await catalogue.put_gap(Gap(uuid4(), stream.id, T0 + 12 * MINUTE, T0 + 20 * MINUTE, GapReason.UNREACHABLE))
    within = TimeRange(T0 - HOUR, T0 + HOUR)
    told = (await catalogue.timelines([stream.id], within, now_ns=T0 + 40 * MINUTE))[stream.id]
    assert [(s.range.start_ns - T0, s.range.end_ns - T0, s.damaged) for s in told.spans] == [
        (0, 10 * MINUTE, False),
        (20 * MINUTE, 30 * MINUTE, False),
    ]
    assert [(m.range.start_ns - T0, m.range.end_ns - T0, m.reason) for m in told.missing] == [
        (10 * MINUTE, 12 * MINUTE, GapReason.UNKNOWN),
        (12 * MINUTE, 20 * MINUTE, GapReason.UNREACHABLE),
        (30 * MINUTE, 40 * MINUTE, GapReason.UNKNOWN),
    ]


async def test_a_hole_within_a_segment_is_missing_unless_other_footage_fills_it(catalogue: Catalogue) -> None:
    await catalogue.put_store(SPOOL)
    stream = (await add_camera(catalogue)).streams[0].id
    await record(catalogue, run(stream), 3)
    other = (await add_camera(catalogue, 2)).streams[0].id
    await record(catalogue, run(other), 3)
    for start, end, reason in (
        (10, 12, GapReason.PACKET_LOSS),
        (70, 75, GapReason.STALLED),
        (100, 110, GapReason.UNREACHABLE),  # of a run before this one's clock was corrected: the segment is there
        (150, None, GapReason.PACKET_LOSS),  # not over: nobody knows yet what is missing
    ):
        end_ns = None if end is None else T0 + end * SECOND
        await catalogue.put_gap(Gap(uuid4(), stream, T0 + start * SECOND, end_ns, reason))
    within = TimeRange(T0, T0 + 3 * MINUTE)
    told = await catalogue.timelines([stream, other], within, now_ns=T0 + HOUR, tolerance_ns=2_000_000)
    assert [((m.range.start_ns - T0) // SECOND, (m.range.end_ns - T0) // SECOND, m.reason) for m in told[stream].missing] == [
        (10, 12, GapReason.PACKET_LOSS),
        (70, 75, GapReason.STALLED),
    ]  # fmt: skip
    spans = [((s.range.start_ns - T0) // SECOND, (s.range.end_ns - T0) // SECOND) for s in told[stream].spans]
    assert spans == [(0, 10), (12, 70), (75, 180)]
    assert told[other].missing == ()
    await record(catalogue, run(stream, origin=Origin.EDGE), 1, start_ns=T0 + 71 * SECOND, length_ns=10 * SECOND)
    told = await catalogue.timelines([stream], within, now_ns=T0 + HOUR)
    assert [m.range.duration_ns // SECOND for m in told[stream].missing] == [2, 1]
    part = TimeRange(T0 + 11 * SECOND, T0 + 20 * SECOND)
    told = await catalogue.timelines([stream], part, now_ns=T0 + HOUR)
    assert [s.range for s in told[stream].spans] == [TimeRange(T0 + 12 * SECOND, T0 + 20 * SECOND)]


async def test_several_streams_damaged_parts_open_segments_and_open_gaps(catalogue: Catalogue) -> None:
    one = (await add_camera(catalogue, 1)).streams[0].id
    two = (await add_camera(catalogue, 2)).streams[0].id
    r = run(one)
    hurt = facts(r, 1, T0 + MINUTE, damaged_units=1)
    await record(catalogue, r, 1)
    await catalogue.register(hurt, r, spool_copy(hurt))
    await catalogue.put_gap(Gap(uuid4(), two, T0 + SECOND, None, GapReason.UNAUTHORISED))
    told = await catalogue.timelines(
        [one, two, stranger := uuid4()],
        TimeRange(T0, T0 + HOUR),
        now_ns=T0 + 3 * MINUTE,
        still_open={one: [Part(TimeRange(T0 + 2 * MINUTE, T0 + 3 * MINUTE - SECOND))]},
        tolerance_ns=SECOND,
    )
    assert [(s.range.end_ns - s.range.start_ns, s.damaged) for s in told[one].spans] == [
        (MINUTE, False),
        (MINUTE, True),
        (MINUTE - SECOND, False),
    ]
    assert [m.range.duration_ns for m in told[one].missing] == [SECOND]  # up to now: not between two spans
    assert [(m.range.duration_ns, m.reason) for m in told[two].missing] == [
        (SECOND, GapReason.UNKNOWN),
        (3 * MINUTE - SECOND, GapReason.UNAUTHORISED),
    ]
    assert told[stranger].spans == told[stranger].missing == ()


async def test_what_one_run_misses_and_another_has_is_recorded_and_shown(catalogue: Catalogue) -> None:
    """The clock was set back and the same time recorded twice, with a hole each; then a card was brought in."""
    stream = (await add_camera(catalogue)).streams[0].id
    first, again = run(stream), run(stream)
    await record(catalogue, first, 3)
    await record(catalogue, again, 3)

    def hole(of: RunInfo, a: int, b: int) -> Gap:
        start = T0 + a * SECOND
        return Gap(hole_gap_id(of.id, a), stream, start, T0 + b * SECOND, GapReason.STALLED)

    within = TimeRange(T0, T0 + 3 * MINUTE)
    gone = run(stream)  # its hole is in nothing that is left
    await catalogue.put_gaps([hole(first, 50, 70), hole(again, 65, 80), hole(gone, 100, 110)])

    async def told() -> tuple[list[tuple[int, int, Origin]], list[tuple[int, int, UUID]], list[TimeRange]]:
        line = (await catalogue.timelines([stream], within, now_ns=T0 + HOUR))[stream]
        chosen = choose(await catalogue.segments([stream], within))
        spans = [(s.range.start_ns - T0, s.range.end_ns - T0, s.origin) for s in line.spans]
        shown: list[tuple[int, int, UUID]] = []
        for c in chosen:
            joined = shown and shown[-1][2] == c.segment.run_id and shown[-1][1] == c.range.start_ns - T0
            before = shown.pop() if joined else None
            shown.append((before[0] if before else c.range.start_ns - T0, c.range.end_ns - T0, c.segment.run_id))
        return spans, shown, [m.range for m in line.missing]

    spans, shown, missing = await told()
    assert missing == [TimeRange(T0 + 65 * SECOND, T0 + 70 * SECOND)]
    assert [(a // SECOND, b // SECOND) for a, b, _ in spans] == [(0, 65), (70, 180)]
    better = min((first, again), key=lambda of: of.id.int)
    if better is first:  # what nobody has stays with the one that goes before
        assert [(a // SECOND, b // SECOND, r) for a, b, r in shown] == [
            (0, 50, first.id), (50, 65, again.id), (65, 180, first.id),
        ]  # fmt: skip
    else:
        assert [(a // SECOND, b // SECOND, r) for a, b, r in shown] == [
            (0, 70, again.id), (70, 80, first.id), (80, 180, again.id),
        ]  # fmt: skip
    card = run(stream, origin=Origin.EDGE)
    await record(catalogue, card, 3)
    spans, shown, missing = await told()
    assert missing == []
    assert [(a // SECOND, b // SECOND) for a, b, o in spans if o is Origin.EDGE] == [(65, 70)]
    assert [(a // SECOND, b // SECOND) for a, b, r in shown if r == card.id] == [(65, 70)]


async def test_a_disabled_camera_says_so(catalogue: Catalogue) -> None:
    added = await add_camera(catalogue)
    await catalogue.update_camera(replace(added, enabled=False), at_ns=T0 + HOUR)
    stream = added.streams[0].id
    await catalogue.put_gap(Gap(uuid4(), stream, T0, None, GapReason.STALLED))
    told = await catalogue.timelines([stream], TimeRange(T0, T0 + DAY), now_ns=T0 + DAY)
    assert [(m.range.duration_ns, m.reason) for m in told[stream].missing] == [
        (HOUR, GapReason.STALLED),
        (23 * HOUR, GapReason.DISABLED),
    ]


async def test_segments_are_listed_unclipped(catalogue: Catalogue) -> None:
    stream = (await add_camera(catalogue)).streams[0].id
    r = run(stream)
    made = await record(catalogue, r, 5)
    found = await catalogue.segments([stream], TimeRange(T0 + 90 * SECOND, T0 + 180 * SECOND))
    assert [s.ref for s in found] == [SegmentRef.of(f) for f in made[1:3]]
    assert found[0].start_ns == T0 + MINUTE


# Deletion


async def test_footage_that_no_store_has_any_more_is_told_as_lost(catalogue: Catalogue) -> None:
    stream = (await add_camera(catalogue)).streams[0].id
    r = run(stream)
    made = [facts(r, n, T0 + n * MINUTE, MINUTE) for n in range(3)]
    await catalogue.register_many([Registration(f, spool_copy(f), r) for f in made])
    within = TimeRange(T0, T0 + 3 * MINUTE)

    async def told() -> tuple[list[tuple[TimeRange, bool]], list[tuple[TimeRange, GapReason]]]:
        found = (await catalogue.timelines([stream], within, now_ns=T0 + DAY))[stream]
        return [(s.range, s.damaged) for s in found.spans], [(m.range, m.reason) for m in found.missing]

    middle = TimeRange(T0 + MINUTE, T0 + 2 * MINUTE)
    ends = [(TimeRange(T0, middle.start_ns), False), (TimeRange(middle.end_ns, within.end_ns), False)]
    ref, copy = SegmentRef.of(made[1]), spool_copy(made[1])
    await catalogue.record_copy(ref, replace(copy, state=CopyState.MISSING))
    assert await told() == (ends, [(middle, GapReason.LOST)])
    lost = await catalogue.segment(ref)
    assert lost is not None
    assert lost.location == "nowhere"
    await catalogue.record_copy(ref, replace(copy, state=CopyState.CORRUPT))
    assert await told() == ([ends[0], (middle, True), ends[1]], []), "there, and not as it was sealed"
    await catalogue.put_store(STORE)
    await catalogue.record_copy(ref, store_copy(made[1]))
    assert await told() == ([(within, False)], []), "another copy is whole"


async def _hold(catalogue: Catalogue, stream: object, start: int, end: int) -> Hold:
    hold = Hold(uuid4(), frozenset([stream]), TimeRange(start, end), "sygn. 1/26", "Anna", T0, T0 + 90 * DAY)  # type: ignore[list-item]
    assert await catalogue.place_hold(hold) == 0
    return hold


async def test_condemn_then_report(catalogue: Catalogue) -> None:
    stream = (await add_camera(catalogue)).streams[0].id
    r = run(stream)
    made = await record(catalogue, r, 10, archived=True)
    await catalogue.record_copy(SegmentRef.of(made[0]), spool_copy(made[0]))
    now = T0 + 30 * DAY + 5 * MINUTE  # five have ended thirty days ago
    [plan] = await catalogue.expired(now)
    assert (plan.segments, plan.footage_ns) == (5, 5 * MINUTE)
    done = await catalogue.condemn_expired(stream, now, at_ns=now)
    assert (done.segments, done.footage_ns, done.size_bytes) == (5, plan.footage_ns, plan.size_bytes)
    assert (await catalogue.condemn_expired(stream, now, at_ns=now)).segments == 0
    assert await catalogue.expired(now) == []
    assert await catalogue.condemned_by_day(0, 10**6) == {now // DAY: 5 * MINUTE}
    told = (await catalogue.timelines([stream], TimeRange(T0, T0 + 10 * MINUTE), now_ns=now))[stream]
    assert [(m.range.duration_ns, m.reason) for m in told.missing] == [(5 * MINUTE, GapReason.DELETED)]
    assert await catalogue.pending_deletions() == 5
    assert await catalogue.report_deleted(at_ns=now) == 0
    todo = await catalogue.condemned_objects([SPOOL.name, STORE.name])
    assert {(o.store, o.key) for o in todo} == {(STORE.name, store_copy(f).key) for f in made[:5]} | {
        (SPOOL.name, spool_copy(made[0]).key)
    }
    assert [o.store for o in await catalogue.condemned_objects([SPOOL.name])] == [SPOOL.name]
    await catalogue.objects_gone([o.id for o in todo])
    assert await catalogue.report_deleted(at_ns=now + 1) == 5
    assert await catalogue.report_deleted(at_ns=now + 2) == 0
    report = await catalogue.deletion_report(now // DAY)
    assert [(d.number, d.seal, d.start_ns, d.end_ns) for d in report] == [
        (f.number, f.seal, f.start_ns, f.end_ns) for f in made[:5]
    ]
    assert {d.basis for d in report} == {"retention of 30 days"}
    assert await catalogue.pending_deletions() == 0


async def test_what_may_be_on_its_way_to_a_store_is_condemned_there_too(catalogue: Catalogue) -> None:
    stream = (await add_camera(catalogue)).streams[0].id
    made = await record(catalogue, run(stream), 3)
    await catalogue.record_copy(SegmentRef.of(made[1]), store_copy(made[1]))
    await catalogue.drop_copy(SegmentRef.of(made[1]), SPOOL.name)
    now = T0 + 31 * DAY
    uploads = {SPOOL.name: STORE.name, "spool-elsewhere": STORE.name}
    assert (await catalogue.condemn_expired(stream, now, at_ns=now, uploads=uploads)).segments == 3
    todo = await catalogue.condemned_objects([SPOOL.name, STORE.name])
    assert sorted((o.store, o.key) for o in todo) == sorted(
        [(STORE.name, store_copy(f).key) for f in made] + [(SPOOL.name, spool_copy(f).key) for f in (made[0], made[2])]
    )


async def test_the_deleted_does_not_come_back(catalogue: Catalogue) -> None:
    stream = (await add_camera(catalogue)).streams[0].id
    r = run(stream)
    f, g = await record(catalogue, r, 2)
    now = T0 + 31 * DAY
    await catalogue.condemn_expired(stream, now, at_ns=now)
    todo = await catalogue.condemned_objects([SPOOL.name])
    assert not await catalogue.record_copy(SegmentRef.of(f), store_copy(f))  # an upload that was under way
    assert await catalogue.drop_copy(SegmentRef.of(g), SPOOL.name)  # the archiver removed the file itself
    assert not await catalogue.drop_copy(SegmentRef.of(g), SPOOL.name)
    await catalogue.objects_gone([o.id for o in todo])
    assert await catalogue.report_deleted(at_ns=now) == 1  # g; the upload of f must go first
    assert await catalogue.register(f, r, spool_copy(f)) is Registered.DELETED
    late = await catalogue.condemned_objects([SPOOL.name, STORE.name])
    assert {o.key for o in late} == {store_copy(f).key, spool_copy(f).key}
    await catalogue.objects_gone([o.id for o in late])
    assert await catalogue.report_deleted(at_ns=now) == 1
    assert await catalogue.register(f, r, spool_copy(f)) is Registered.DELETED
    assert await catalogue.segments([stream], TimeRange(T0, T0 + DAY)) == []


async def test_a_hold_keeps_what_it_covers_and_what_arrives_later(catalogue: Catalogue) -> None:
    stream = (await add_camera(catalogue)).streams[0].id
    hold = await _hold(catalogue, stream, T0 + 3 * MINUTE, T0 + 5 * MINUTE)
    await catalogue.place_hold(hold)
    assert await catalogue.holds() == [hold]
    await record(catalogue, run(stream), 10, archived=True)
    now = T0 + 31 * DAY
    assert [e.segments for e in await catalogue.expired(now)] == [8]
    assert (await catalogue.condemn_expired(stream, now, at_ns=now)).segments == 8
    assert await catalogue.expired(now) == []
    late = run(stream, T0 + 4 * MINUTE, Origin.EDGE)
    await record(catalogue, late, 1)
    assert (await catalogue.condemn_expired(stream, now, at_ns=now)).segments == 0
    await catalogue.release_hold(hold.id, at_ns=now)
    await catalogue.release_hold(hold.id, at_ns=now + 1)
    assert await catalogue.holds() == []
    assert [h.released_ns for h in await catalogue.holds(include_released=True)] == [now]
    assert (await catalogue.condemn_expired(stream, now, at_ns=now)).segments == 3
    too_late = replace(hold, id=uuid4(), released_ns=None)
    assert await catalogue.place_hold(too_late) == 3


async def test_bad_holds_are_refused(catalogue: Catalogue) -> None:
    stream = (await add_camera(catalogue)).streams[0].id
    good = Hold(uuid4(), frozenset([stream]), TimeRange(T0, T0 + 1), "b", "o", T0, T0 + 1)
    for bad in (
        replace(good, stream_ids=frozenset()),
        replace(good, basis=" "),
        replace(good, owner=""),
        replace(good, review_ns=T0),
    ):
        with pytest.raises(UserError, match="a hold needs"):
            await catalogue.place_hold(bad)
    with pytest.raises(CatalogueError, match="not in the registry"):
        await catalogue.place_hold(replace(good, stream_ids=frozenset([uuid4()])))
    with pytest.raises(UserError, match="no hold"):
        await catalogue.release_hold(uuid4(), at_ns=T0)


async def test_a_hold_on_one_member_keeps_head_and_continuations(catalogue: Catalogue) -> None:
    stream = (await add_camera(catalogue)).streams[0].id
    await record(catalogue, run(stream), 6, continuations=frozenset([2, 3, 4]))  # groups 0, 1-4, 5
    await _hold(catalogue, stream, T0 + 4 * MINUTE, T0 + 4 * MINUTE + 1)
    now = T0 + 31 * DAY
    await catalogue.condemn_expired(stream, now, at_ns=now)
    kept = await catalogue.segments([stream], TimeRange(T0, T0 + DAY))
    assert [s.number for s in kept] == [1, 2, 3, 4]
    assert [s.independent for s in kept] == [True, False, False, False]


async def test_a_head_stays_until_its_last_continuation_has_expired(catalogue: Catalogue) -> None:
    stream = (await add_camera(catalogue)).streams[0].id
    await record(catalogue, run(stream), 4, continuations=frozenset([1, 2, 3]))
    for expired, left in [(3, 4), (4, 0)]:
        now = T0 + 30 * DAY + expired * MINUTE
        await catalogue.condemn_expired(stream, now, at_ns=now)
        assert len(await catalogue.segments([stream], TimeRange(T0, T0 + DAY))) == left


async def test_a_group_across_pages_goes_whole(catalogue: Catalogue) -> None:
    stream = (await add_camera(catalogue)).streams[0].id
    group = frozenset(range(495, 520))  # its head is 494; a page ends at 499
    await record(catalogue, run(stream), 530, length_ns=SECOND, continuations=group)
    now = T0 + 30 * DAY + 519 * SECOND
    page = await catalogue.condemn_expired(stream, now, at_ns=now)
    assert (page.segments, page.more) == (494, True)
    rest = await catalogue.condemn_expired(stream, now, at_ns=now, after=page.resume)
    assert (rest.segments, rest.more) == (0, False)
    later = now + SECOND
    assert (await catalogue.condemn_expired(stream, later, at_ns=later)).segments == 26


async def test_condemning_and_holding_at_once(catalogue: Catalogue, url: str) -> None:
    """Whoever is first under the lock wins; never is a held segment condemned."""
    stream = (await add_camera(catalogue)).streams[0].id
    await record(catalogue, run(stream), 20, archived=True)
    now = T0 + 31 * DAY
    hold = Hold(uuid4(), frozenset([stream]), TimeRange(T0, T0 + DAY), "b", "o", T0, T0 + DAY)
    async with Catalogue(url) as other:
        done, lost = await asyncio.gather(
            other.condemn_expired(stream, now, at_ns=now), catalogue.place_hold(hold)
        )  # fmt: skip
    left = await catalogue.segments([stream], TimeRange(T0, T0 + DAY))
    assert (done.segments, lost, len(left)) in {(20, 20, 0), (0, 0, 20)}


async def test_the_brake_is_remembered(catalogue: Catalogue) -> None:
    assert await catalogue.brake_state() is None
    with pytest.raises(UserError, match="nothing to confirm"):
        await catalogue.confirm_brake(at_ns=T0, by="Anna")
    await catalogue.engage_brake(at_ns=T0, footage_ns=10, limit_ns=5)
    with pytest.raises(UserError, match="who"):
        await catalogue.confirm_brake(at_ns=T0, by=" ")
    told = await catalogue.confirm_brake(at_ns=T0 + 1, by="Anna")
    assert (told.confirmed_ns, told.confirmed_by) == (T0 + 1, "Anna")
    await catalogue.engage_brake(at_ns=T0 + 2, footage_ns=20, limit_ns=5)
    again = await catalogue.brake_state()
    assert again is not None
    assert (again.engaged_ns, again.footage_ns, again.confirmed_ns) == (T0, 20, None)
    await catalogue.release_brake()
    assert await catalogue.brake_state() is None


# Size, errors


async def test_rows_stay_small(catalogue: Catalogue) -> None:
    """Without their indexes: a segment and its copy at most 200 bytes each (docs/reference/catalogue.md)."""
    stream = (await add_camera(catalogue)).streams[0].id
    await record(catalogue, run(stream), 2000, length_ns=SECOND, archived=True)

    def sizes(conn: object) -> dict[str, float]:
        execute = conn.execute  # type: ignore[attr-defined]
        if catalogue._db.is_sqlite:
            both = execute(text("PRAGMA page_count")).scalar() * execute(text("PRAGMA page_size")).scalar() / 2000
            return {"segments": both - 200, "copies": 0}  # the whole file: segment, copy, their indexes, empty tables
        tables = ("segments", "copies")
        return {t: execute(text(f"SELECT pg_relation_size('{t}')")).scalar() / 2000 for t in tables}

    measured = await catalogue._db.read(sizes)
    assert measured["segments"] <= 200
    assert measured["copies"] <= 100


async def test_a_catalogue_without_schema_or_server(tmp_path: Path, url: str) -> None:
    with pytest.raises(UserError, match="vms migrate"):
        await check(url)
    async with Catalogue(url) as empty:
        with pytest.raises((CatalogueError, CatalogueUnavailable)):
            await empty.cameras()
    for broken in (sqlite_url(tmp_path / "nie" / "ma.db"), "postgresql://a:tajne@127.0.0.1:1/x"):
        async with Catalogue(broken) as away:
            with pytest.raises(CatalogueUnavailable) as refused:
                await away.cameras()
            assert "tajne" not in str(refused.value)
    async with asyncio.timeout(10):  # the driver's thread outlives a connection that never came to be
        while any("_connection_worker_thread" in thread.name for thread in threading.enumerate()):
            await asyncio.sleep(0.01)
