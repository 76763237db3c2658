"""R-06: what cameras that harm cost their neighbours on the same worker, by the simulator's own account.

Usage: python -m tests.support.neighbours_run [--seconds 60] [--good 10] [--bad flood garbage_stream …] [--json FILE]
       python -m tests.support.neighbours_run --merge FILE…

The good cameras record alone first, then beside the bad ones; every picture of theirs must be stored, and the event loop,
by which everything of a worker is late, may not be later by more than 100 ms.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import socket
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.support.recorder_site import recorder_site
from tests.support.split_run import conclude, merged, options
from vms.simulate import CameraScript, prepare_small
from vms.simulate.materials import default_cache
from vms.simulate.quirks import MALICE
from vms.simulate.simulator import recoded_clip

STALLS = "stalls"
DROPS_OFTEN = "disconnects"
BAD = {name: CameraScript(quirks=frozenset({name})) for name in MALICE} | {
    STALLS: CameraScript(stall_every=3.0, stall_seconds=2.0),
    DROPS_OFTEN: CameraScript(disconnect_every=1.5, disconnect_seconds=0.2),
}
MORE_LATE_NS = 100_000_000


@dataclass(slots=True)
class Figures:
    """Of the good cameras. Lag is of the worker's event loop, 99 of 100 timers, as an upper bound by its buckets."""

    bad: list[str] = field(default_factory=list)
    good: int = 0
    pictures: int = 0
    lost: int = 0
    seconds: float = 0.0
    worst_capture_error_ms: int = 0
    lag_alone_ms: float = 0.0
    lag_beside_ms: float = 0.0
    attempts: dict[str, int] = field(default_factory=dict)  # of the bad ones: connections made
    problems: list[str] = field(default_factory=list)


def merge(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Several runs' results as one: worst of the worst, sums of the rest."""
    return merged(Figures(), parts, {"good", "lag_alone_ms", "lag_beside_ms"})


def lag_buckets(socket_path: Path) -> dict[float, float]:
    """Timers of the worker's event loop by how late they ran at most, in seconds."""
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(10)
    connection.sock.connect(str(socket_path))
    connection.request("GET", "/metrics")
    page = connection.getresponse().read().decode()
    connection.close()
    return {float(le): float(n) for le, n in re.findall(r'loop_lag_seconds_bucket\{.*?le="([^"]+)"\} (\S+)', page)}


def ninety_nine(before: Mapping[float, float], after: Mapping[float, float]) -> float:
    """In milliseconds, by the bucket's border; infinite beyond the last."""
    counts = {le: after[le] - before.get(le, 0.0) for le in sorted(after)}
    total = max(counts.values())
    return next(le for le, n in counts.items() if n >= 0.99 * total) * 1000


def run_beside(bad: Sequence[str], good: int, seconds: float) -> Figures:
    """Record the good cameras alone for half that time, then beside the bad ones."""
    figures = Figures(list(bad), good, seconds=seconds)
    scripts = {good + i: BAD[name] for i, name in enumerate(bad)}
    footage = prepare_small()[:1]
    for name in bad:  # what only an encoder can make, before anybody waits for the simulator
        if name in MALICE and MALICE[name].recode is not None:
            recoded_clip(footage[0].main, frozenset({name}), default_cache())
    cameras = range(good)
    with recorder_site(footage, good + len(bad), scripts=scripts) as site:
        for i in scripts:
            site.simulator.call(lambda s, i=i: s.stop_camera(f"cam{i}"))
        page = site.site.run / "recorder-0.metrics"

        async def watch() -> None:
            await site.recording(cameras, 60.0)
            first = lag_buckets(page)
            await asyncio.sleep(seconds / 2)
            alone = lag_buckets(page)
            for i in scripts:
                site.simulator.call(lambda s, i=i: s.start_camera(f"cam{i}"))
            began = time.monotonic()
            await asyncio.sleep(seconds)
            beside = lag_buckets(page)
            figures.seconds = round(time.monotonic() - began, 1)
            figures.lag_alone_ms, figures.lag_beside_ms = ninety_nine(first, alone), ninety_nine(alone, beside)
            states = await site.states()
            for i, name in enumerate(bad, good):
                figures.attempts[name] = int(states.get(site.stream_of(i), {}).get("attempts", 0))

        asyncio.run(watch())
        site.stop("host")
        accounts, stored = site.accounts(cameras, decode=lambda n: n % 20 == 0)
    for number, account in accounts.items():
        figures.pictures += account.stored
        figures.lost += sum(outage.pictures for outage in account.outages)
        error_ms = account.worst_capture_error_ns // 1_000_000
        figures.worst_capture_error_ms = max(figures.worst_capture_error_ms, error_ms)
        figures.problems += [f"camera {number}: {problem}" for problem in account.problems]
    figures.problems += stored.undecodable
    if figures.lost:
        figures.problems.append(f"{figures.lost} pictures of good cameras are lost beside {', '.join(bad)}")
    if figures.lag_beside_ms - figures.lag_alone_ms > MORE_LATE_NS / 1e6:
        figures.problems.append(f"p99 of the loop's lag grew from {figures.lag_alone_ms} to {figures.lag_beside_ms} ms")
    return figures


def main() -> int:
    parser = options("neighbours_run", __doc__, seeded=False)
    parser.add_argument("--seconds", type=float, default=60.0, help="beside each bad camera")
    parser.add_argument("--good", type=int, default=10)
    parser.add_argument("--bad", nargs="+", choices=sorted(BAD), default=sorted(BAD))
    parser.add_argument("--together", action="store_true", help="all bad cameras at once instead of one by one")
    arguments = parser.parse_args()

    def run() -> dict[str, Any]:
        parts = []
        for group in [arguments.bad] if arguments.together else [[name] for name in arguments.bad]:
            parts.append(asdict(run_beside(group, arguments.good, arguments.seconds)))
            print(json.dumps(parts[-1]), flush=True)
        return merge(parts)

    return conclude(arguments, merge, run)


if __name__ == "__main__":
    sys.exit(main())
