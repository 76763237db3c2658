"""The procedure Delete against a real catalogue and stores that fail on command."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio

from storage.catalogue import Catalogue, Hold, SegmentRef, migrate, sqlite_url
from storage.deleter import Deleter
from tests.support.footage_rows import (
    DAY,
    HOUR,
    MINUTE,
    SPOOL,
    STORE,
    T0,
    add_camera,
    record,
    run,
    spool_copy,
    store_copy,
)
from vms.clock import SimulatedClock
from vms.errors import StoreDenied, StoreUnavailable, UserError, VmsError
from vms.model import GapReason
from vms.timeline import TimeRange


class Shelf:
    """A store's `delete`, with an error on command after some calls, and for some keys always."""

    def __init__(self, refused: Mapping[str, Exception] | None = None) -> None:
        self.deleted: list[str] = []
        self.refused = refused or {}
        self.error: VmsError | None = None
        self.fails_after = 0

    async def delete(self, key: str) -> None:
        if key in self.refused:
            raise self.refused[key]
        if self.error is not None and len(self.deleted) >= self.fails_after:
            raise self.error
        self.deleted.append(key)


class Crashing(Shelf):
    """A store at whose call the process dies, after the object is gone but before anybody heard of it."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after
        self.alive = False

    async def delete(self, key: str) -> None:
        await super().delete(key)
        if not self.alive and len(self.deleted) > self.after:
            raise RuntimeError("killed")


@pytest_asyncio.fixture
async def catalogue(tmp_path: Path) -> AsyncIterator[Catalogue]:
    url = sqlite_url(tmp_path / "c.db")
    await migrate(url)
    async with Catalogue(url) as opened:
        await opened.put_store(SPOOL)
        await opened.put_store(STORE)
        yield opened


async def test_expired_footage_goes_everywhere_and_is_reported(catalogue: Catalogue) -> None:
    stream = (await add_camera(catalogue)).streams[0].id
    made = await record(catalogue, run(stream), 20, archived=True)
    await catalogue.record_copy(SegmentRef.of(made[0]), spool_copy(made[0]))
    clock = SimulatedClock(T0 + 30 * DAY + 10 * MINUTE)
    store, spool = Shelf(), Shelf()
    deleter = Deleter(catalogue, {STORE.name: store, SPOOL.name: spool}, clock=clock)
    done = await deleter.run_once()
    assert (done.condemned_segments, done.removed_objects, done.failed_objects) == (10, 11, 0)
    assert (done.reported_segments, done.brake) == (10, None)
    assert set(store.deleted) == {store_copy(f).key for f in made[:10]}
    assert spool.deleted == [spool_copy(made[0]).key]
    assert len(await catalogue.deletion_report(clock.wall_ns() // DAY)) == 10
    again = await deleter.run_once()
    assert (again.condemned_segments, again.removed_objects, again.reported_segments) == (0, 0, 0)
    clock.advance(MINUTE)
    assert (await deleter.run_once()).condemned_segments == 1


@pytest.mark.parametrize("after", [0, 1, 7, 8, 9, 20, 29])
async def test_a_crash_while_deleting_is_made_good_by_the_next_run(catalogue: Catalogue, after: int) -> None:
    stream = (await add_camera(catalogue)).streams[0].id
    made = await record(catalogue, run(stream), 30, archived=True)
    clock = SimulatedClock(T0 + 31 * DAY)
    store = Crashing(after)
    with pytest.raises(ExceptionGroup):
        await Deleter(catalogue, {STORE.name: store}, clock=clock).run_once()
    assert await catalogue.segments([stream], TimeRange(T0, T0 + DAY)) == []
    store.alive = True
    await Deleter(catalogue, {STORE.name: store}, clock=clock).run_once()
    assert set(store.deleted) == {store_copy(f).key for f in made}
    assert len(await catalogue.deletion_report(clock.wall_ns() // DAY)) == 30
    assert await catalogue.pending_deletions() == 0
    assert await catalogue.condemned_by_day(0, 10**6) == {clock.wall_ns() // DAY: 30 * MINUTE}


@pytest.mark.parametrize("error", [StoreUnavailable("away"), StoreDenied("no")])
async def test_a_store_that_fails_is_tried_again(catalogue: Catalogue, error: VmsError) -> None:
    stream = (await add_camera(catalogue)).streams[0].id
    made = await record(catalogue, run(stream), 30, archived=True)
    await catalogue.record_copy(SegmentRef.of(made[0]), spool_copy(made[0]))
    clock = SimulatedClock(T0 + 31 * DAY)
    store, spool = Shelf(), Shelf()
    store.error, store.fails_after = error, 10
    deleter = Deleter(catalogue, {STORE.name: store, SPOOL.name: spool}, clock=clock)
    first = await deleter.run_once()
    assert first.condemned_segments == 30
    assert first.failed_objects >= 1
    assert first.removed_objects == 11
    assert len(spool.deleted) == 1  # the other store's work was done
    told = (await catalogue.timelines([stream], TimeRange(T0, T0 + 30 * MINUTE), now_ns=clock.wall_ns()))[stream]
    assert [m.reason for m in told.missing] == [GapReason.DELETED]
    store.error = None
    # another process takes over
    second = await Deleter(catalogue, {STORE.name: store, SPOOL.name: spool}, clock=clock).run_once()
    assert second.removed_objects == 20
    assert first.reported_segments + second.reported_segments == 30
    assert await catalogue.pending_deletions() == 0


async def test_an_object_that_never_goes_keeps_no_other(catalogue: Catalogue) -> None:
    stream = (await add_camera(catalogue)).streams[0].id
    made = await record(catalogue, run(stream), 100, archived=True)
    clock = SimulatedClock(T0 + 31 * DAY)
    locked = {store_copy(made[n]).key: StoreDenied("locked") for n in (0, 1, 9, 50)}
    store = Shelf(locked)
    deleter = Deleter(catalogue, {STORE.name: store}, clock=clock)
    done = await deleter.run_once()
    assert (done.removed_objects, done.failed_objects, done.reported_segments) == (96, 4, 96)
    again = await deleter.run_once()
    assert (again.removed_objects, again.failed_objects) == (0, 4)
    store.refused = {}
    assert (await deleter.run_once()).removed_objects == 4
    assert await catalogue.pending_deletions() == 0


@pytest.mark.parametrize("error", [StoreUnavailable("500"), TimeoutError()])
async def test_an_object_at_which_the_store_always_fails_ends_a_run_and_no_more(
    catalogue: Catalogue, error: Exception
) -> None:
    stream = (await add_camera(catalogue)).streams[0].id
    made = await record(catalogue, run(stream), 40, archived=True)
    deleter = Deleter(
        catalogue, {STORE.name: Shelf({store_copy(made[20]).key: error})}, clock=SimulatedClock(T0 + 31 * DAY)
    )
    first = await deleter.run_once()
    assert (first.removed_objects, first.failed_objects) == (23, 1)  # the batch it was in, and no further
    second = await deleter.run_once()
    assert (second.removed_objects, second.failed_objects) == (16, 1)
    assert await catalogue.pending_deletions() == 1


async def test_many_refusals_end_a_run_and_the_next_goes_on_behind_them(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("storage.deleter.REFUSALS", 16)
    stream = (await add_camera(catalogue)).streams[0].id
    made = await record(catalogue, run(stream), 60, archived=True)
    locked = {store_copy(facts).key: StoreDenied("locked") for facts in made[:40]}
    deleter = Deleter(catalogue, {STORE.name: Shelf(locked)}, clock=SimulatedClock(T0 + 31 * DAY))
    results = [await deleter.run_once() for _ in range(3)]
    assert [(done.removed_objects, done.failed_objects) for done in results] == [(0, 16), (0, 16), (20, 16)]
    assert len([r for r in caplog.records if "cannot be deleted" in r.message]) == 3
    assert await catalogue.pending_deletions() == 40


async def test_a_store_out_of_reach_keeps_its_segments_condemned(catalogue: Catalogue) -> None:
    stream = (await add_camera(catalogue)).streams[0].id
    await record(catalogue, run(stream), 3, archived=False)
    done = await Deleter(catalogue, {STORE.name: Shelf()}, clock=SimulatedClock(T0 + 31 * DAY)).run_once()
    assert (done.condemned_segments, done.removed_objects, done.reported_segments) == (3, 0, 0)
    assert await catalogue.pending_deletions() == 3


async def test_a_clock_that_steps_while_running_deletes_nothing_early(catalogue: Catalogue) -> None:
    stream = (await add_camera(catalogue)).streams[0].id
    await record(catalogue, run(stream), 5, archived=True)
    clock = SimulatedClock(T0 + 30 * DAY - HOUR)
    deleter = Deleter(catalogue, {STORE.name: Shelf()}, clock=clock)
    clock.step_wall(2 * HOUR)
    assert (await deleter.run_once()).condemned_segments == 0
    clock.step_wall(-4 * HOUR)
    clock.advance(2 * HOUR)
    assert (await deleter.run_once()).condemned_segments == 0
    clock.step_wall(2 * HOUR)
    assert (await deleter.run_once()).condemned_segments == 5


async def test_the_brake_stops_asks_and_lets_go(catalogue: Catalogue) -> None:
    stream = (await add_camera(catalogue)).streams[0].id
    hours = 5 * 24
    await record(catalogue, run(stream), hours, length_ns=HOUR, archived=True)
    clock = SimulatedClock(T0 + 365 * DAY)
    store = Shelf()
    deleter = Deleter(catalogue, {STORE.name: store}, clock=clock)
    for _ in range(2):
        stopped = await deleter.run_once()
        assert stopped.brake is not None
        assert (stopped.brake.footage_ns, stopped.brake.limit_ns) == (hours * HOUR, 48 * HOUR)
        assert stopped.condemned_segments == 0
    assert store.deleted == []
    with pytest.raises(UserError, match="who"):
        await deleter.confirm_brake("")
    await deleter.confirm_brake("Anna Nowak")
    done = await deleter.run_once()
    assert (done.condemned_segments, done.brake) == (hours, None)
    clock.advance(DAY)
    assert (await deleter.run_once()).brake is None
    assert await catalogue.brake_state() is None


async def test_a_brake_nobody_confirmed_ends_when_the_clock_is_right_again(catalogue: Catalogue) -> None:
    stream = (await add_camera(catalogue)).streams[0].id
    await record(catalogue, run(stream), 100, length_ns=HOUR, archived=True)
    assert (await Deleter(catalogue, {}, clock=SimulatedClock(T0 + 365 * DAY)).run_once()).brake is not None
    right = SimulatedClock(T0 + 5 * DAY)
    assert (await Deleter(catalogue, {}, clock=right).run_once()).brake is None
    assert await catalogue.brake_state() is None
    assert len(await catalogue.segments([stream], TimeRange(T0, T0 + 9 * DAY))) == 100


async def test_a_confirmation_is_for_a_day_and_an_amount(catalogue: Catalogue) -> None:
    stream = (await add_camera(catalogue)).streams[0].id
    of = run(stream)
    await record(catalogue, of, 60, length_ns=HOUR, archived=True)
    clock = SimulatedClock(T0 + 365 * DAY)
    deleter = Deleter(catalogue, {STORE.name: Shelf()}, clock=clock)
    assert (await deleter.run_once()).brake is not None
    await deleter.confirm_brake("Anna")
    await record(catalogue, of, 90, length_ns=HOUR, archived=True, first=60, start_ns=T0 + 60 * HOUR)
    stopped = await deleter.run_once()  # 150 h; 60 were shown, 48 go anyway
    assert stopped.brake is not None
    assert (stopped.brake.confirmed_ns, stopped.brake.footage_ns) == (None, 150 * HOUR)
    await deleter.confirm_brake("Anna")
    clock.advance(2 * DAY)
    assert (await deleter.run_once()).condemned_segments == 0


async def test_holds_do_not_engage_the_brake(catalogue: Catalogue) -> None:
    stream = (await add_camera(catalogue)).streams[0].id
    await record(catalogue, run(stream), 100, length_ns=HOUR, archived=True)
    range_ = TimeRange(T0, T0 + 90 * HOUR)
    await catalogue.place_hold(Hold(uuid4(), frozenset([stream]), range_, "sygn.", "Anna", T0, T0 + DAY))
    done = await Deleter(catalogue, {STORE.name: Shelf()}, clock=SimulatedClock(T0 + 365 * DAY)).run_once()
    assert (done.brake, done.condemned_segments) == (None, 10)
    assert len(await catalogue.segments([stream], range_)) == 90
