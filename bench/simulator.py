"""The benchmarks' cameras: the simulator in a process of its own, and an account of every access unit it sent.

Usage: python -m bench.simulator --cameras N --accounts FILE [--bitrate BITS]   Runs until SIGTERM.

Prints one JSON line when it listens: port, mean bit rate, packets per MB. Writes FILE when it ends. Instead of a line
of JSON per unit (at 4750 units a second that would cost more than sending them) it keeps, per session, the first and
last unit's index and the indices not sent; the simulator hands out indices without a break, so this says the same.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import uvloop

from vms.simulate import Footage, SimulatorOptions, running
from vms.simulate.footage import Clip, cached, read_clip
from vms.simulate.materials import default_cache
from vms.simulate.packets import Reel
from vms.simulate.recipes import CAMERAS

BITS_PER_SECOND = CAMERAS[0].main.bit_rate


@dataclass(slots=True)
class Session:
    """What one viewer of one camera was sent: units [first, last], but for those in `lost`."""

    camera: str
    first: int
    last: int
    base: int  # RTP timestamp less the unit's time, modulo 2**32
    lost: list[int] = field(default_factory=list)


class Accounts:
    """Listens to the simulator."""

    def __init__(self) -> None:
        self._sessions: dict[tuple[str, str], Session] = {}

    def note(self, record: dict[str, Any]) -> None:
        """One unit was sent, or lost on the way out. Events are not counted."""
        if "event" in record:
            return
        key = record["camera"], record["session"]
        index = record["index"]
        session = self._sessions.get(key)
        if session is None:
            base = (record["rtp"] - record["pts"]) & 0xFFFFFFFF
            session = self._sessions[key] = Session(record["camera"], index, index - 1, base)
        session.lost.extend(range(session.last + 1, index))
        if record["lost"]:
            session.lost.append(index)
        session.last = index

    def facts(self, clip: Clip, counters: dict[str, int]) -> dict[str, Any]:
        """What `bench.accounts` reads."""
        return {
            "clip": {
                "duration": clip.duration,
                "pts": [u.pts for u in clip.units],
                "sha256": [u.sha256 for u in clip.units],
            },
            "sessions": [asdict(s) for s in self._sessions.values()],
            **counters,
        }


def footage(bits_per_second: int) -> Path:
    """The 1080p25 H.264 file, encoded on first use."""
    return cached(replace(CAMERAS[0].main, bit_rate=bits_per_second), default_cache())


def rate_of(clip: Clip) -> float:
    """Mean bits of media a second, without RTP."""
    return sum(u.size_bytes for u in clip.units) * 8 * 90_000 / clip.duration


async def simulate(cameras: int, accounts_file: Path, bits_per_second: int) -> None:
    path = footage(bits_per_second)
    clip = read_clip(path)
    accounts = Accounts()
    options = SimulatorOptions((Footage(path),), cameras=cameras, port=0)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running(options, on_record=accounts.note) as simulator:
        facts = {
            "port": int(simulator.url("cam0").rsplit(":", 1)[1].split("/")[0]),
            "bits_per_second": round(rate_of(clip)),
            "packets_per_mb": round(packets_per_mb(clip)),
        }
        print(json.dumps(facts), flush=True)
        await stop.wait()
        state = simulator.state()
        counters = {
            "late_ms": state.late_ns // 1_000_000,
            "units": sum(s.counters.units for s in state.streams),
            "dropped_units": sum(s.counters.dropped_units for s in state.streams),
        }
        accounts_file.write_text(json.dumps(accounts.facts(clip, counters)))


def packets_per_mb(clip: Clip) -> float:
    """RTP packets per million bytes of media."""
    return Reel(clip, frozenset(), "0").packets_per_loop / sum(u.size_bytes for u in clip.units) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.simulator")
    parser.add_argument("--cameras", type=int, required=True)
    parser.add_argument("--accounts", type=Path, required=True)
    parser.add_argument("--bitrate", type=int, default=BITS_PER_SECOND)
    arguments = parser.parse_args()
    uvloop.run(simulate(arguments.cameras, arguments.accounts, arguments.bitrate))


if __name__ == "__main__":
    main()
