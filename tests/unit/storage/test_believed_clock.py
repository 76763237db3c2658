"""Since when the clock is believed: remembered over processes of one boot, and not beyond."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.believed_clock import FILE, believed
from vms.clock import SimulatedClock
from vms.ntp import HostClock

S = 1_000_000_000
DAY = 86_400 * S


def test_a_process_that_is_replaced_does_not_believe_what_was_set_meanwhile(tmp_path: Path) -> None:
    clock = SimulatedClock()
    began = clock.wall_ns()
    assert believed(tmp_path / FILE, clock, "boot").now_ns(clock.wall_ns(), clock.mono_ns()) == began
    clock.advance(60 * S)
    clock.step_wall(40 * DAY)
    later = believed(tmp_path / FILE, clock, "boot")
    assert later.now_ns(clock.wall_ns(), clock.mono_ns()) == began + 60 * S
    assert later.stepped_ns(clock.wall_ns(), clock.mono_ns()) == 40 * DAY
    clock.step_wall(-40 * DAY)
    assert later.stepped_ns(clock.wall_ns(), clock.mono_ns()) == 0


@pytest.mark.parametrize("synchronised", [True, None])
def test_a_reboot_begins_anew(tmp_path: Path, *, synchronised: bool | None) -> None:
    before, after = SimulatedClock(mono_ns=5000 * S), SimulatedClock(1_800_000_000 * S, 10 * S)
    ask = lambda: HostClock(synchronised=synchronised)  # noqa: E731 - said twice below
    believed(tmp_path / FILE, before, "boot 1", ask)
    assert believed(tmp_path / FILE, after, "boot 2", ask).wall_ns == after.wall_ns()
    assert believed(tmp_path / FILE, after, "boot 2", ask).wall_ns == after.wall_ns()


def test_after_a_reboot_without_a_time_server_time_goes_on_from_what_was_known(tmp_path: Path) -> None:
    """A clock years ahead deletes nothing; once it is synchronised, or a person says that it is right, it counts."""
    file, unsynchronised = tmp_path / FILE, lambda: HostClock(synchronised=False)
    clock = SimulatedClock(mono_ns=5000 * S)
    for _ in range(200):
        believed(file, clock, "boot 1", unsynchronised)
        clock.advance(10 * S)
    known_ns = clock.wall_ns()
    after = SimulatedClock(known_ns + 4 * 365 * DAY, 10 * S)
    found = believed(file, after, "boot 2", unsynchronised)
    assert known_ns - 70 * S <= found.wall_ns <= known_ns
    after.advance(3600 * S)
    again = believed(file, after, "boot 2", unsynchronised)
    assert again == found, "of the same boot"
    assert again.now_ns(after.wall_ns(), after.mono_ns()) == found.wall_ns + 3600 * S
    assert again.stepped_ns(after.wall_ns(), after.mono_ns()) >= 4 * 365 * DAY
    behind = SimulatedClock(known_ns - DAY, 10 * S)
    assert believed(file, behind, "boot 3", unsynchronised).wall_ns == behind.wall_ns()
    assert believed(file, after, "boot 4", lambda: HostClock(synchronised=True)).wall_ns == after.wall_ns()


def test_a_clock_that_was_not_synchronised_is_believed_anew_once_it_is(tmp_path: Path) -> None:
    clock = SimulatedClock()
    first = believed(tmp_path / FILE, clock, "boot", lambda: HostClock(synchronised=False))
    clock.step_wall(3 * 365 * DAY)
    assert believed(tmp_path / FILE, clock, "boot", HostClock) == first, "not known"
    assert believed(tmp_path / FILE, clock, "boot", lambda: HostClock(synchronised=False)) == first
    second = believed(tmp_path / FILE, clock, "boot", lambda: HostClock(synchronised=True))
    assert second.wall_ns == clock.wall_ns()
    clock.step_wall(DAY)
    assert believed(tmp_path / FILE, clock, "boot", lambda: HostClock(synchronised=True)) == second


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b'{"wall_ns": "x", "mono_ns": 1, "boot_id": "boot"}'])
def test_a_damaged_file_is_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    clock = SimulatedClock()
    found = believed(tmp_path / FILE, clock, "boot")
    clock.advance(S)
    assert believed(tmp_path / FILE, clock, "boot") == found


def test_a_disk_that_takes_nothing_is_no_reason_to_stop(tmp_path: Path) -> None:
    clock = SimulatedClock()
    assert believed(tmp_path / "missing" / FILE, clock, "boot").wall_ns == clock.wall_ns()
