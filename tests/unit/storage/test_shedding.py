"""What is given up when the spool runs full: the order, the hysteresis, and that all processes come to the same decision."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.shedding import EVERYTHING, FILE, NOTHING, Rank, Room, Shedding, floor_of, rank_of, room_of, spare_of
from storage.spool import Spool, SpoolUsage
from storage.spool_files import disk_error
from vms.clock import SimulatedClock
from vms.errors import UserError
from vms.model import StreamKind
from vms.settings import SpoolSection, camera_numbers

MB = 1 << 20
GB = 1 << 30
ALL = frozenset(Rank)
ranks_present = st.sets(st.sampled_from(Rank), min_size=1)
floors = st.integers(min_value=NOTHING, max_value=EVERYTHING)
limits = st.integers(min_value=64 * MB, max_value=1 << 45)
shares = st.integers(min_value=0, max_value=10_000)


def given_up(ranks: set[Rank] | frozenset[Rank], floor: int) -> set[Rank]:
    return {rank for rank in ranks if rank < floor}


@given(ranks_present, limits, shares, floors)
def test_less_important_streams_always_go_first(ranks: set[Rank], limit: int, share: int, before: int) -> None:
    gone = given_up(ranks, floor_of(ranks, Room(limit * share // 10_000, limit), before))
    assert all(kept > lost for lost in gone for kept in ranks - gone)


@given(ranks_present, limits, shares, shares, floors)
def test_less_room_never_gives_up_less(ranks: set[Rank], limit: int, a: int, b: int, before: int) -> None:
    less, more = (Room(limit * share // 10_000, limit) for share in sorted((a, b)))
    assert floor_of(ranks, less, before) >= floor_of(ranks, more, before)


@given(ranks_present, limits, floors)
def test_without_room_all_go_and_with_all_the_room_all_come_back(ranks: set[Rank], limit: int, before: int) -> None:
    assert floor_of(ranks, Room(0, limit), before) == EVERYTHING
    assert floor_of(ranks, Room(limit, limit), before) == NOTHING


@given(ranks_present, limits, shares, floors)
def test_a_decision_stands_while_the_room_does(ranks: set[Rank], limit: int, share: int, before: int) -> None:
    room = Room(limit * share // 10_000, limit)
    once = floor_of(ranks, room, before)
    assert floor_of(ranks, room, once) == once


@given(ranks_present, limits, st.lists(st.integers(min_value=-99, max_value=99), max_size=40), st.integers(0, 3))
def test_room_that_trembles_at_a_limit_changes_each_stream_once(
    ranks: set[Rank], limit: int, steps: list[int], place: int
) -> None:
    margin = max(limit // 100, min(limit // 8, 256 * MB))
    centre = min(place, len(ranks) - 1) * (limit // 20)
    floor, changes, seen = NOTHING, 0, set()
    for step in steps:
        before = floor
        floor = floor_of(ranks, Room(max(0, centre + margin * step // 200), limit), before)
        changes += floor != before
        seen.add(floor)
    assert changes <= len(seen)  # each state is entered once at most


@given(ranks_present, limits)
def test_the_most_important_ones_are_recorded_down_to_the_last_byte(ranks: set[Rank], limit: int) -> None:
    floor = floor_of(ranks, Room(1, limit), NOTHING)
    assert given_up(ranks, floor) == ranks - {max(ranks)}


@given(ranks_present, st.integers(1000, 10**15), shares, floors)
def test_who_takes_what_is_spare_gives_up_nobody_and_keeps_nobody_away(
    ranks: set[Rank], limit: int, share: int, before: int
) -> None:
    room = Room(limit * share // 10_000, limit)
    spare = spare_of(ranks, room)
    if spare:
        assert floor_of(ranks, Room(room.room_bytes - spare, limit), before) == NOTHING
        if len(ranks) > 1:
            less = Room(room.room_bytes - spare - 1, limit)
            assert floor_of(ranks, less, EVERYTHING) == min(ranks) + 1  # and there is no more to be had


def test_the_order_of_a_site_with_everything() -> None:
    steps = {20 * GB: set(), 15 * GB: {Rank.SUB}, 10 * GB: {Rank.SUB, Rank.LOW}, 5 * GB: ALL - {Rank.HIGH}, 0: set(ALL)}
    floor = NOTHING
    for room, gone in steps.items():
        floor = floor_of(ALL, Room(room, 100 * GB), floor)
        assert given_up(ALL, floor) == gone
    for room, gone in {GB // 2: ALL, GB: ALL - {Rank.HIGH}, 6 * GB: {Rank.SUB, Rank.LOW}, 17 * GB: set()}.items():
        floor = floor_of(ALL, Room(room, 100 * GB), floor)
        assert given_up(ALL, floor) == gone


def test_nobody_recorded_means_nothing_given_up() -> None:
    assert floor_of((), Room(0, GB), EVERYTHING) == NOTHING


def test_ranks_by_kind_and_number() -> None:
    section = SpoolSection(shed_first="12, 40-55", shed_last="44")
    ranks = [rank_of(StreamKind.MAIN, number, section) for number in (1, 12, 40, 44, 55, 56)]
    assert ranks == [Rank.NORMAL, Rank.LOW, Rank.LOW, Rank.HIGH, Rank.LOW, Rank.NORMAL]
    assert rank_of(StreamKind.SUB, 44, section) is Rank.SUB
    for wrong in ("a", "1,,2", "5-3", "1-", "-1", "1;2", "9" * 10):
        with pytest.raises(UserError):
            camera_numbers(wrong)
    assert camera_numbers(" ") == ()


def test_room_by_budget_and_by_disk() -> None:
    usage = SpoolUsage(open_bytes=1 * GB, sealed_bytes=4 * GB, free_bytes=20 * GB, disk_bytes=100 * GB)
    free = SpoolSection(reserve_bytes=2 * GB)
    assert room_of(free, usage) == Room(18 * GB, 98 * GB)
    assert room_of(SpoolSection(budget_bytes=10 * GB, reserve_bytes=2 * GB), usage) == Room(5 * GB, 10 * GB)
    assert room_of(SpoolSection(budget_bytes=4 * GB, reserve_bytes=2 * GB), usage) == Room(0, 4 * GB)
    assert room_of(SpoolSection(reserve_bytes=30 * GB), usage) == Room(0, 70 * GB)


class Disk(Spool):
    """A spool whose measure is told it."""

    room_bytes = 100 * GB
    fails = False
    measured = 0

    def disk(self) -> SpoolUsage:
        self.measured += 1
        if self.fails:
            raise disk_error(OSError(errno.EIO, "Input/output error"), "measuring the spool")
        return SpoolUsage(0, 0, self.room_bytes, 100 * GB)


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock()


def looker(path: Path, clock: SimulatedClock) -> tuple[Disk, Shedding]:
    disk = Disk(path, clock)
    disk.prepare()
    return disk, Shedding(disk, SpoolSection(reserve_bytes=0), clock)


def test_workers_share_one_decision_and_one_measurement(tmp_path: Path, clock: SimulatedClock) -> None:
    (disk, first), (other, second) = looker(tmp_path, clock), looker(tmp_path, clock)
    assert first.look(ALL).floor == second.look(ALL).floor == NOTHING
    assert (disk.measured, other.measured) == (1, 0)
    clock.advance(10**9)
    disk.room_bytes = 14 * GB  # a short want of room that the second worker never sees
    assert first.look(ALL).floor == Rank.SUB + 1
    disk.room_bytes = other.room_bytes = int(15.5 * GB)
    verdict = second.look(ALL)
    assert (verdict.floor, verdict.since_ns) == (Rank.SUB + 1, clock.wall_ns())
    clock.advance(10**9)
    assert second.look(ALL).floor == first.look(ALL).floor == Rank.SUB + 1
    third = looker(tmp_path, clock)[1]  # a worker that was replaced
    assert third.look(ALL).floor == Rank.SUB + 1
    clock.advance(10**9)
    other.room_bytes = 17 * GB
    assert second.look(ALL).floor == first.look(ALL).floor == third.look(ALL).floor == NOTHING


@pytest.mark.parametrize("left", [b"", b"9 1 1\n", b"\xff" * 64, b"1 2", b"0 0 99999999999999999\n"])
def test_whatever_is_in_the_file_a_decision_is_made(tmp_path: Path, clock: SimulatedClock, left: bytes) -> None:
    disk, shedding = looker(tmp_path, clock)
    (tmp_path / FILE).write_bytes(left)
    disk.room_bytes = 0
    assert shedding.look(ALL).floor == EVERYTHING
    assert looker(tmp_path, clock)[1].look(ALL).floor == EVERYTHING


def test_a_process_that_cannot_use_the_file_decides_alone(
    tmp_path: Path, clock: SimulatedClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    disk, shedding = looker(tmp_path, clock)

    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("storage.shedding.os.open", refuse)
    disk.room_bytes = 0
    for _ in range(3):
        assert shedding.look(ALL).floor == EVERYTHING
        clock.advance(10**9)
    disk.room_bytes = 100 * GB
    assert shedding.look(ALL).floor == NOTHING
    assert sum("decides alone" in r.message for r in caplog.records) == 1


def test_a_process_without_streams_decides_for_nobody(tmp_path: Path, clock: SimulatedClock) -> None:
    """One whose assignment cannot be read yet knows of no stream; those of others share its spool."""
    disk, busy = looker(tmp_path, clock)
    _, idle = looker(tmp_path, clock)
    disk.room_bytes = 0
    assert busy.look(ALL).floor == EVERYTHING
    for _ in range(4):
        clock.advance(2 * 10**9)
        assert idle.look(frozenset()).floor == EVERYTHING
        assert busy.look(ALL).floor == EVERYTHING


def test_a_disk_that_cannot_be_measured_changes_nothing(tmp_path: Path, clock: SimulatedClock) -> None:
    disk, shedding = looker(tmp_path, clock)
    disk.room_bytes = 0
    shedding.look(ALL)
    disk.fails = True
    clock.advance(10**9)
    assert shedding.look(ALL).floor == EVERYTHING


async def test_deciding_touches_nothing_of_the_spool(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.prepare()
    for number in range(3):
        (spool.sealed_path / f"{number}.mp4").write_bytes(bytes(1000))
    before = {path: path.stat() for path in spool.path.rglob("*")}
    shedding = Shedding(spool, SpoolSection(budget_bytes=100), SimulatedClock())
    assert shedding.look(ALL).floor == EVERYTHING
    after = {path: path.stat() for path in spool.path.rglob("*") if path.name != FILE}
    assert {p: (s.st_ino, s.st_size, s.st_mtime_ns) for p, s in after.items()} == {
        p: (s.st_ino, s.st_size, s.st_mtime_ns) for p, s in before.items()
    }
    await spool.close()
