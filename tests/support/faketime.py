"""Processes whose wall clock is another one, and can be stepped while they run: libfaketime (Debian: faketime).

Monotonic clocks and file times stay real, as they do when an administrator sets a machine's clock. A process sees a step
within a second.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

LIBRARIES = "/usr/lib/*/faketime/libfaketimeMT.so.1"
_REAL = {
    "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    "DONT_FAKE_MONOTONIC": "1",
    "NO_FAKE_STAT": "1",
    "FAKETIME_FORCE_MONOTONIC_FIX": "0",  # for an old C library; on a newer one threads that wait spin
}


def library() -> Path:
    """Of Debian's package, for processes with threads; skips the test where it is not installed."""
    found = next(iter(sorted(Path("/").glob(LIBRARIES[1:]))), None)
    if found is None:
        pytest.skip(f"libfaketime is not installed (Debian: faketime; found {shutil.which('faketime')})")
    return found


def frozen_start(utc: str) -> dict[str, str]:
    """The environment of a process whose clock says `utc` ("2027-04-01 12:00:00") when it starts, and then goes on."""
    return {"LD_PRELOAD": str(library()), "TZ": "UTC", "FAKETIME": f"@{utc}", **_REAL}


class SteppedClock:
    """The wall clock of processes started with `environment`: the true one and an offset."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock-offset"
        self.offset_s = 0.0
        self.step_to(0)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            **_REAL,
        }

    def step_to(self, offset_s: float) -> None:
        """Have the clock be off by so much from now on."""
        self.offset_s = offset_s
        new = self._file.with_suffix(".new")
        new.write_text(f"{offset_s:+f}\n")
        new.replace(self._file)
