"""CPU of sending live pictures, ours beside stock aiortc: one run, one camera watched by many, and a wall of many cameras.

Usage: python -m bench.live [--viewers 1,8,24,64] [--wall 24] [--seconds 20] [--only ours,aiortc]

A simulated camera of 4 Mbit/s is recorded; the engine reads the recorder's feed and serves so many WebRTC viewers over
loopback. User and system time of the engine's process alone are divided by the RTP packets it says it sent meanwhile;
the viewers decrypt what they get and throw it away. Figures are of the whole process: reading the feed,
packetising, protecting, sending, RTCP.
"""

# ruff: noqa: RUF001 - tables are typeset

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp
from rich.table import Table

from bench.measure import met, sample, verdict, write_results
from bench.processes import BenchError, Child, child, console, pause, python, require_quiet, run, scratch, wait_until
from bench.simulator import BITS_PER_SECOND, footage
from bench.temp_site import BenchSite, recording_site
from vms.errors import SourceError
from vms.feed import FeedClient

SETTLE_SECONDS = 4.0
CONNECT_SECONDS = 60.0
ENGINES = {
    "ours": "our sender: one arena a unit, protected in place, UDP_SEGMENT",
    "aiortc": "stock aiortc, passed through",
}
MOST_RATIO, AT_VIEWERS = 0.22, 24
MOST_US, WHERE_STOCK_US = 7.0, 34.0  # a packet; what stock aiortc takes says how fast the machine is
MOST_LOST = 0.01  # of what was sent: the sockets of viewers that wait for their turn run over
ON_THE_WAY_SECONDS = 1.0  # what was sent is looked for so long


@dataclass(frozen=True, slots=True)
class Outcome:
    """One engine with so many viewers of so many streams."""

    engine: str
    viewers: int
    streams: int
    seconds: float
    cpu_seconds: float
    packets: int
    sent: int  # by the engine, from the first packet to the end of the measurement
    came: int  # to the viewers, in that time and a moment more
    lost: int  # missing between those that came
    failures: int  # of those that came, which could not be decrypted
    pss_bytes: int

    @property
    def us_per_packet(self) -> float:
        return self.cpu_seconds * 1e6 / self.packets if self.packets else 0.0

    @property
    def viewers_per_core(self) -> float:
        return self.viewers * self.seconds / self.cpu_seconds if self.cpu_seconds else 0.0


def ask(socket: Path) -> list[dict[str, Any]]:
    """The engine's sessions."""

    async def get() -> list[dict[str, Any]]:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=str(socket))) as http,
            http.get("http://live/v1/sessions") as response,
        ):
            found: list[dict[str, Any]] = await response.json()
            return found

    return asyncio.run(get())


def engine_argv(name: str, made: BenchSite) -> tuple[Path, tuple[str, ...]]:
    """Its door, and how to run it."""
    if name == "ours":
        return made.site.run / "live.sock", python("web.live.process", "--data", str(made.site.path))
    door = made.site.run / "stock.sock"
    return door, python("bench.engines.aiortc_live", str(door), str(made.site.settings.feed.socket))


def measure(name: str, made: BenchSite, streams: Sequence[str], seconds: float, others: Sequence[Child]) -> Outcome:
    """Start the engine and its viewers, settle, measure, stop."""
    with scratch() as folder:
        door, argv = engine_argv(name, made)
        door.unlink(missing_ok=True)  # of the engine before
        with child(name, argv, folder) as engine:
            wait_until(door.exists, CONNECT_SECONDS, f"the start of {name}", engine, *others)
            with child("viewers", python("bench.engines.live_viewers", str(door), *streams), folder) as viewers:
                viewers.first_line()
                pause(SETTLE_SECONDS, f"{name}: settling", engine, viewers, *others)
                before, first = ask(door), sample(engine.pid, memory=False)
                pause(seconds, f"{name}, {len(streams)} viewers: measuring", engine, viewers, *others)
                last, after = sample(engine.pid), ask(door)
                total = sum(s["packets"] for s in after)
                pause(ON_THE_WAY_SECONDS, f"{name}: the last packets", engine, viewers, *others)
                came = said_at_the_end(viewers)
            engine.stop()
    if len(after) != len(streams) or any(s["state"] != "live" for s in after):
        raise BenchError(
            f"{name}: only {sum(s['state'] == 'live' for s in after)} of {len(streams)} viewers are served"
        )
    return Outcome(
        engine=name,
        viewers=len(streams),
        streams=len(set(streams)),
        seconds=last.at - first.at,
        cpu_seconds=last.cpu_seconds - first.cpu_seconds,
        packets=total - sum(s["packets"] for s in before),
        sent=total,
        came=came["packets"],
        lost=came["lost"],
        failures=came["failures"],
        pss_bytes=last.pss_bytes,
    )


def said_at_the_end(viewers: Child) -> dict[str, int]:
    """Stop the viewers; what came to them."""
    viewers.process.terminate()
    assert viewers.process.stdout is not None
    found: dict[str, int] = json.loads(viewers.process.stdout.readline())
    return found


def rows_of(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Everything that is written down. Pure."""
    stock = {(o.viewers, o.streams): o.us_per_packet for o in outcomes if o.engine == "aiortc"}
    rows = []
    for o in outcomes:
        reference = stock.get((o.viewers, o.streams))
        rows.append(
            {
                **asdict(o),
                "us_per_packet": round(o.us_per_packet, 2),
                "ratio_to_aiortc": round(o.us_per_packet / reference, 3) if reference else None,
                "viewers_per_core": round(o.viewers_per_core, 1),
            }
        )
    return rows


def judge(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The goals, and whether each is met. Pure."""
    goals = []
    for row in rows:
        ratio = row["ratio_to_aiortc"]
        if (row["engine"], row["viewers"], row["streams"]) != ("ours", AT_VIEWERS, 1) or not ratio:
            continue
        us, stock_us = row["us_per_packet"], row["us_per_packet"] / ratio
        most_us = MOST_US * stock_us / WHERE_STOCK_US
        who = f"ours with {AT_VIEWERS} viewers of one stream"
        most = f"at most {MOST_US:.0f} where stock aiortc takes {WHERE_STOCK_US:.0f}, which is {most_us:.1f} here"
        goals += [
            f"{who}: {ratio:.3f} × stock aiortc; at most {MOST_RATIO}: {verdict(ratio <= MOST_RATIO)}",
            f"{who}: {us:.1f} µs a packet; {most}: {verdict(us <= most_us)}",
        ]
    return goals


def table_of(rows: Sequence[dict[str, Any]]) -> Table:
    table = Table(
        title="CPU of the sender for each RTP packet", caption=", ".join(f"{n}: {w}" for n, w in ENGINES.items())
    )
    for heading in ("engine", "viewers", "streams", "µs/packet", "× aiortc", "viewers/core", "packets/s", "lost", "MB"):
        table.add_column(heading, justify="left" if heading == "engine" else "right")
    for row in rows:
        ratio = row["ratio_to_aiortc"]
        table.add_row(
            row["engine"],
            str(row["viewers"]),
            str(row["streams"]),
            f"{row['us_per_packet']:.1f}",
            "–" if ratio is None else f"{ratio:.3f}",
            f"{row['viewers_per_core']:.0f}",
            f"{row['packets'] / row['seconds']:.0f}",
            str(row["lost"]),
            f"{row['pss_bytes'] / 1e6:.0f}",
        )
    return table


def bench(arguments: argparse.Namespace) -> bool:
    require_quiet(force=arguments.force)
    footage(arguments.bitrate)  # encoded here, where it is not measured
    outcomes = []
    with scratch() as folder:
        cameras = max(1, arguments.wall)
        argv = python(
            *("bench.simulator", "--cameras", str(cameras), "--bitrate", str(arguments.bitrate)),
            *("--accounts", str(folder / "accounts.json")),
        )
        with child("simulator", argv, folder) as simulator:
            sent = json.loads(simulator.first_line())
            urls = [f"rtsp://127.0.0.1:{sent['port']}/cam{i}" for i in range(cameras)]
            made = recording_site(folder / "site", urls, digests=True)
            with child("recorder", python("recorder.host", "--data", str(made.site.path)), folder) as recorder:
                wait_until(lambda: recording(made), CONNECT_SECONDS, "recording", recorder, simulator)
                streams = [str(s) for s in made.streams]
                shapes = [[streams[0]] * n for n in arguments.viewers] + ([streams] if arguments.wall else [])
                for shape in shapes:
                    for name in (n for n in ENGINES if n in arguments.only):
                        outcomes.append(measure(name, made, shape, arguments.seconds, (recorder, simulator)))
                        o = outcomes[-1]
                        console.print(
                            f"{name}, {o.viewers} viewers of {o.streams}: {o.us_per_packet:.1f} µs a packet; {o.lost} of "
                            f"{o.sent} packets lost at the viewers' sockets, {o.came - o.failures} of {o.came} decrypted"
                        )
    rows = rows_of(outcomes)
    goals = judge(rows)
    path = write_results(
        "live",
        {
            "bits_per_second": sent["bits_per_second"],
            "forced": arguments.force,
            "engines": ENGINES,
            "rows": rows,
            "goals": goals,
        },
    )
    console.print(table_of(rows))
    for line in goals:
        console.print(line)
    console.print(f"written: {path.name}")
    return all([*map(_sound, outcomes), met(goals)])


def recording(made: BenchSite) -> bool:
    try:
        states = asyncio.run(FeedClient(made.site.settings.feed.socket).states())
    except SourceError:
        return False
    return sum(s["state"] == "recording" for s in states) == len(made.streams)


def _sound(outcome: Outcome) -> bool:
    """Whether all that was sent came or is known to be lost, little of it is, and all that came could be decrypted; says
    so if not."""
    problems = []
    if not outcome.packets:
        problems.append("nothing was sent while it was measured")
    if outcome.failures:
        problems.append(f"{outcome.failures} of {outcome.came} packets could not be decrypted")
    if outcome.came + outcome.lost < outcome.sent:
        problems.append(f"of {outcome.sent} packets {outcome.came} came and {outcome.lost} are missing between them")
    if outcome.lost > MOST_LOST * outcome.sent:
        problems.append(f"{outcome.lost} of {outcome.sent} packets were lost; at most {MOST_LOST:.0%}")
    for problem in problems:
        console.print(f"[red]{ENGINES[outcome.engine]}, {outcome.viewers} viewers: {problem}")
    return not problems


def _counts(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _names(text: str) -> set[str]:
    names = {n.strip() for n in text.split(",") if n.strip()}
    if unknown := names - ENGINES.keys():
        raise argparse.ArgumentTypeError(f"no engine {min(unknown)}; they are {', '.join(ENGINES)}")
    return names


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.live", description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument(
        "--viewers", type=_counts, default=[1, 8, 24, 64], help="of one camera, one figure after another"
    )
    parser.add_argument("--wall", type=int, default=24, help="cameras of the wall, one viewer each; 0: none")
    parser.add_argument("--seconds", type=float, default=20.0, help="measured for each")
    parser.add_argument("--bitrate", type=int, default=BITS_PER_SECOND, help="of the footage, bits a second")
    parser.add_argument("--only", type=_names, default=set(ENGINES), help=f"of {','.join(ENGINES)}")
    parser.add_argument("--force", action="store_true", help="run although the machine is busy")
    arguments = parser.parse_args()
    if min(arguments.viewers, default=1) < 1 or arguments.seconds <= 0 or arguments.wall < 0:
        parser.error("at least one viewer and some seconds")
    return run(lambda: bench(arguments))


if __name__ == "__main__":
    raise SystemExit(main())
