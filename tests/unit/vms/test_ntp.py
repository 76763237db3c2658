"""The machine's clock: what the kernel's answer means, and that nothing is guessed where there is none."""

from __future__ import annotations

import ctypes

import pytest

from vms.clock import SimulatedClock
from vms.ntp import KEPT_NS, HostClock, HostClockWatch, Timex, ask_kernel, host_clock

PLL, UNSYNC, NANO = 0x1, 0x40, 0x2000


@pytest.mark.parametrize(
    ("answer", "known"),
    [
        (None, HostClock()),
        (Timex(), HostClock()),  # all zeros: a sandbox
        (Timex(tick=10_000, status=UNSYNC | PLL, offset=5, maxerror=16_000_000), HostClock(False, "kernel")),
        (Timex(tick=10_000, status=PLL | NANO, offset=-210_000, maxerror=1_500), HostClock(True, "kernel", -210_000, 1_500_000)),
        (Timex(tick=10_000, status=PLL, offset=-210, maxerror=1_500), HostClock(True, "kernel", -210_000, 1_500_000)),
        (Timex(tick=10_000, status=NANO, offset=0, maxerror=700), HostClock(True, "kernel", None, 700_000)),  # chrony
    ],
)  # fmt: skip
def test_what_an_answer_means(answer: Timex | None, known: HostClock) -> None:
    assert host_clock(answer) == known


def test_this_machines_kernel_is_read_or_nothing_is_said() -> None:
    answer = ask_kernel()
    found = host_clock(answer)
    assert found.source == ("" if found.synchronised is None else "kernel")
    if answer is not None and answer.tick:
        assert 9_000 <= answer.tick <= 11_000  # adjtimex(2): within a tenth of 10 000 µs at 100 Hz
    assert ctypes.sizeof(Timex) == 208  # of a 64-bit Linux


def test_it_is_asked_every_half_minute() -> None:
    clock = SimulatedClock()
    answers = [Timex(tick=10_000, status=UNSYNC), Timex(tick=10_000), None]
    watch = HostClockWatch(clock, lambda: answers.pop(0))
    assert watch().synchronised is False
    clock.advance(KEPT_NS - 1)
    assert watch().synchronised is False
    clock.advance(1)
    assert watch().synchronised is True
    clock.advance(KEPT_NS)
    assert watch() == HostClock()
