"""Whether this machine's clock is synchronised, as its kernel tells.

Whoever disciplines the clock (chrony, ntpd, systemd-timesyncd) tells the kernel, and `adjtimex` with no mode set reads
that without any right. Owns that reading; sets nothing, asks no server and no daemon. Never a guess: where the call is
refused, as in many containers, or answers what no kernel would, everything is None.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vms.clock import Clock

SOURCE = "kernel"
KEPT_NS = 30_000_000_000
_PLL, _UNSYNC, _NANO = 0x0001, 0x0040, 0x2000  # bits of timex.status, adjtimex(2)


@dataclass(frozen=True, slots=True)
class HostClock:
    """What is known of the machine's clock. None: not known.

    `offset_ns`: what the kernel still has to correct; positive: the clock is behind. Known only where the kernel's own
    loop corrects it (ntpd, systemd-timesyncd; not chrony). `max_error_ns`: a bound of the clock's error.
    """

    synchronised: bool | None = None
    source: str = ""
    offset_ns: int | None = None
    max_error_ns: int | None = None


class Timex(ctypes.Structure):
    """`struct timex` of Linux with the C library's widths (adjtimex(2))."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        *((name, ctypes.c_long) for name in ("offset", "freq", "maxerror", "esterror")),
        ("status", ctypes.c_int),
        *((name, ctypes.c_long) for name in ("constant", "precision", "tolerance", "seconds", "fraction")),
        *((name, ctypes.c_long) for name in ("tick", "ppsfreq", "jitter")),
        ("shift", ctypes.c_int),
        *((name, ctypes.c_long) for name in ("stabil", "jitcnt", "calcnt", "errcnt", "stbcnt")),
        ("tai", ctypes.c_int),
        ("reserved", ctypes.c_int * 11),
    )


def boot_id() -> str:
    """Of this boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def ask_kernel() -> Timex | None:
    """The kernel's answer, or None where there is none to be had."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        call = ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError):
        return None
    answer = Timex()  # modes 0: read only
    return answer if call(ctypes.byref(answer)) >= 0 else None


def host_clock(answer: Timex | None) -> HostClock:
    """What an answer says. Pure."""
    if answer is None or answer.tick <= 0:  # a tick of nothing: a sandbox that answers without knowing
        return HostClock()
    if answer.status & _UNSYNC:
        return HostClock(synchronised=False, source=SOURCE)
    unit_ns = 1 if answer.status & _NANO else 1000
    return HostClock(
        synchronised=True,
        source=SOURCE,
        offset_ns=answer.offset * unit_ns if answer.status & _PLL else None,
        max_error_ns=answer.maxerror * 1000,
    )


class HostClockWatch:
    """Calling it gives the state of the machine's clock, at most 30 s old."""

    def __init__(self, clock: Clock, ask: Callable[[], Timex | None] = ask_kernel) -> None:
        self._clock, self._ask = clock, ask
        self._asked_ns: int | None = None
        self._known = HostClock()

    def __call__(self) -> HostClock:
        now_ns = self._clock.mono_ns()
        if self._asked_ns is None or now_ns - self._asked_ns >= KEPT_NS:
            self._known, self._asked_ns = host_clock(self._ask()), now_ns
        return self._known
