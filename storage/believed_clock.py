"""Since when this machine's clock is believed, remembered for as long as the machine runs.

Owns `run/believed-clock.json`: wall and monotonic time as they were together when the first archiver of this boot began,
or when a person last said that the clock is right (`vms retention --clock-is-right` removes the file). From it retention
reckons (`storage.retention.SteadyTime`), so that an archiver that is replaced while the clock is wrong deletes nothing
early either, and the clock's steps since then are told. After a reboot nobody can know: the clock is believed anew. So is
one that was not synchronised when it was believed, as soon as the kernel says that it is.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable
from pathlib import Path

from storage.retention import SteadyTime
from vms.clock import Clock
from vms.durable import write_atomically
from vms.ntp import HostClock, ask_kernel, boot_id, host_clock

log = logging.getLogger(__name__)

FILE = "believed-clock.json"


def believed(
    file: Path, clock: Clock, boot: str = "", ask: Callable[[], HostClock] = lambda: host_clock(ask_kernel())
) -> SteadyTime:
    """What is remembered of this boot; the present clock, and the file made, where that is nothing."""
    boot, mono_ns, synchronised = boot or boot_id(), clock.mono_ns(), ask().synchronised
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        facts = json.loads(file.read_bytes())
        found = SteadyTime(int(facts["wall_ns"]), int(facts["mono_ns"]))
        better = synchronised is True and facts["synchronised"] is False
        if facts["boot_id"] == boot and found.mono_ns <= mono_ns and not better:
            return found
    begun = SteadyTime(clock.wall_ns(), mono_ns)
    facts = {"boot_id": boot, "wall_ns": begun.wall_ns, "mono_ns": mono_ns, "synchronised": synchronised}
    try:
        write_atomically(file, json.dumps(facts).encode())
    except OSError as error:
        log.error("the clock is believed from now on, and that cannot be remembered: %s", error)
    return begun
