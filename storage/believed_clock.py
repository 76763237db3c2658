"""Since when this machine's clock is believed, remembered for as long as the machine runs.

Owns `run/believed-clock.json`: wall and monotonic time as they were together when the first archiver of this boot began,
or when a person last said that the clock is right (`vms retention --clock-is-right` removes the file). From it retention
reckons (`storage.retention.SteadyTime`), so that an archiver that is replaced while the clock is wrong deletes nothing
early either, and the clock's steps since then are told.

After a reboot the clock is believed anew if the kernel calls it synchronised, or cannot be asked. If it calls it not
synchronised, the time goes on from what was last reckoned here, a minute old at most: a machine whose own clock is years
ahead deletes nothing by it, one without a time server deletes later by as long as it was off. A clock that was not
synchronised when it was believed is believed anew as soon as it is.
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
KEPT_NS = 60_000_000_000  # how old what was last reckoned may become in the file


def believed(
    file: Path, clock: Clock, boot: str = "", ask: Callable[[], HostClock] = lambda: host_clock(ask_kernel())
) -> SteadyTime:
    """What is remembered of this boot; what the clock is worth after a reboot, and the file made, where that is nothing."""
    boot, mono_ns, wall_ns = boot or boot_id(), clock.mono_ns(), clock.wall_ns()
    synchronised = ask().synchronised
    begun = SteadyTime(wall_ns, mono_ns)
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        facts = json.loads(file.read_bytes())
        found, last_ns = (
            SteadyTime(int(facts["wall_ns"]), int(facts["mono_ns"])),
            int(facts.get("last_ns", facts["wall_ns"])),
        )
        if facts["boot_id"] != boot or found.mono_ns > mono_ns:
            if synchronised is False:
                begun = SteadyTime(min(wall_ns, last_ns), mono_ns)
        elif not (synchronised is True and facts["synchronised"] is False):
            if (now_ns := found.now_ns(wall_ns, mono_ns)) - last_ns >= KEPT_NS:
                _keep(file, facts | {"last_ns": now_ns})
            return found
    facts = {"boot_id": boot, "wall_ns": begun.wall_ns, "mono_ns": mono_ns, "synchronised": synchronised}
    _keep(file, facts | {"last_ns": begun.wall_ns})
    return begun


def _keep(file: Path, facts: dict[str, object]) -> None:
    try:
        write_atomically(file, json.dumps(facts).encode())
    except OSError as error:
        log.error("since when the clock is believed cannot be remembered: %s", error)
