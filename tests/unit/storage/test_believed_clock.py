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


def test_a_reboot_begins_anew(tmp_path: Path) -> None:
    before, after = SimulatedClock(mono_ns=5000 * S), SimulatedClock(1_800_000_000 * S, 10 * S)
    believed(tmp_path / FILE, before, "boot 1")
    assert believed(tmp_path / FILE, after, "boot 2").wall_ns == after.wall_ns()
    assert believed(tmp_path / FILE, after, "boot 2").wall_ns == after.wall_ns()


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
