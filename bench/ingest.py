"""CPU and memory of recording, ours beside what others do: one run, one simulator, engine after engine.

Usage: python -m bench.ingest [--cameras 40] [--seconds 30] [--only ours,ffmpeg]

Every engine records the same cameras over TCP into files. After all cameras record and some seconds have passed, user
and system time of the engine's whole process tree and the growth of its folder are taken over the same seconds; the
simulator is not counted. Memory is proportional set size with all cameras less the same engine's with one.
"""

# ruff: noqa: RUF001 - tables are typeset

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import av
from rich.table import Table

from bench.measure import Sample, folder_bytes, met, sample, verdict, write_results
from bench.processes import (
    BenchError,
    Child,
    child,
    console,
    pause,
    python,
    require_quiet,
    run,
    scratch,
    wait_until,
)
from bench.simulator import BITS_PER_SECOND, footage
from bench.temp_site import recording_site
from vms.errors import SourceError
from vms.feed import FeedClient

CONNECT_SECONDS = 90.0
SETTLE_SECONDS = 5.0
MB = 1_000_000
LEAST_OF_EXPECTED = 0.9  # of the bytes sent: fragments are written every two seconds by some engines

ENGINES = {
    "floor": "the same reads and writes, no parsing",
    "ours_plain": "ours, without digests",
    "ours": "ours, with all digests",
    "ffmpeg": "one ffmpeg -c copy -f segment per camera",
    "pyav": "a PyAV thread per camera",
}
MODULES = {"floor": "floor", "ffmpeg": "ffmpeg_each", "pyav": "pyav_threads"}
GOALS = {  # engine → (ratio to ffmpeg that must be kept, the one wished for)
    "ours_plain": (0.33, 0.28),
    "ours": (0.45, 0.38),
}
MOST_MB_PER_CAMERA = 1.5


@dataclass(frozen=True, slots=True)
class Outcome:
    """One engine's figures. CPU in seconds over `seconds`; bytes written meanwhile, of media files only."""

    engine: str
    cameras: int
    seconds: float
    cpu_seconds: float
    bytes: int
    pss_bytes: int
    processes: int
    simulator_cpu_seconds: float
    recorded: int  # cameras whose footage grew as it should
    frames: int | None  # in the files afterwards; None where there is no container
    problems: tuple[str, ...]

    @property
    def ms_per_mb(self) -> float:
        return self.cpu_seconds * 1e3 / (self.bytes / MB) if self.bytes else 0.0


@dataclass(frozen=True, slots=True)
class Running:
    """An engine at work: its process, its folder, a probe of its own counters."""

    process: Child
    folder: Path
    connected: Callable[[], bool]
    counters: Callable[[], list[dict[str, Any]]]


@contextmanager
def engine(name: str, urls: Sequence[str], scratch_folder: Path, core: int | None) -> Iterator[Running]:
    """Start an engine; stop it when the block is left."""
    if name.startswith("ours"):
        made = recording_site(scratch_folder / "site", urls, digests=name == "ours")
        site = made.site
        argv = python("recorder.worker", "--data", str(site.path), "--index", "0", "--workers", "1")

        def states() -> list[dict[str, Any]]:
            try:
                return asyncio.run(FeedClient(site.run / "recorder-0.sock").states())
            except SourceError:
                return []

        def connected() -> bool:
            return [s["state"] for s in states()] == ["recording"] * len(urls)

        with child(name, argv, scratch_folder, core=core) as process:
            yield Running(process, site.spool, connected, states)
        return
    folder = scratch_folder / "recorded"
    folder.mkdir()
    with child(
        name, python(f"bench.engines.{MODULES[name]}", str(folder), *urls), scratch_folder, core=core
    ) as process:
        process.first_line()
        yield Running(process, folder, lambda: _growing(folder) == len(urls), list)


def _sizes(folder: Path) -> dict[str, int]:
    """Bytes per camera: files are named `<camera>.raw`, `<camera>-<n>.mp4`, or by stream id."""
    sizes: dict[str, int] = {}
    for path in folder.rglob("*"):
        if path.suffix not in (".raw", ".mp4", ".part"):
            continue
        name = path.name[:36] if len(path.stem) > 36 else path.stem.split("-")[0]
        try:
            sizes[name] = sizes.get(name, 0) + path.stat().st_size
        except FileNotFoundError:
            continue  # sealed just now: it has another name and is found the next time
    return sizes


def _growing(folder: Path) -> int:
    return sum(size > 100_000 for size in _sizes(folder).values())


def media_bytes(folder: Path) -> int:
    """What the engine has written of footage."""
    return folder_bytes(folder)


def frames_in(folder: Path) -> int:
    """Pictures in all MP4 files, sealed, open or cut off."""
    total = 0
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".mp4", ".part") and path.stat().st_size:
            try:
                with av.open(str(path)) as container:
                    total += sum(packet.size > 0 for packet in container.demux(video=0))
            except av.error.FFmpegError:
                continue  # not even its start was written
    return total


def measure_engine(
    name: str,
    urls: Sequence[str],
    *,
    seconds: float,
    bits_per_second: float,
    simulator: Child,
    core: int | None,
) -> Outcome:
    """Connect, settle, measure, check."""
    os.sync()  # what the engine before left to be written is not this one's
    with scratch() as folder, engine(name, urls, folder, core) as running:
        wait_until(running.connected, CONNECT_SECONDS, f"recording by {name}", running.process, simulator)
        pause(SETTLE_SECONDS, f"{name}: settling", running.process, simulator)
        sizes, before = _sizes(running.folder), running.counters()
        first, sim_first = sample(running.process.pid, memory=False), sample(simulator.pid, memory=False)
        bytes_first = media_bytes(running.folder)
        pause(seconds, f"{name}: measuring", running.process, simulator)
        last, sim_last = sample(running.process.pid, memory=False), sample(simulator.pid, memory=False)
        bytes_last = media_bytes(running.folder)
        sizes_after, after = _sizes(running.folder), running.counters()
        pss, processes = settled_memory(running.process.pid)
        took = last.at - first.at
        expected = bits_per_second / 8 * took
        grown = [sizes_after[k] - sizes.get(k, 0) for k in sizes_after]
        recorded = sum(g >= LEAST_OF_EXPECTED * expected - bits_per_second / 4 for g in grown)
        problems = _problems(before, after)
        running.process.stop()
        return Outcome(
            engine=name,
            cameras=len(urls),
            seconds=took,
            cpu_seconds=last.cpu_seconds - first.cpu_seconds,
            bytes=bytes_last - bytes_first,
            pss_bytes=pss,
            processes=processes,
            simulator_cpu_seconds=sim_last.cpu_seconds - sim_first.cpu_seconds,
            recorded=recorded,
            frames=None if name == "floor" else frames_in(running.folder),
            problems=problems,
        )


def settled_memory(pid: int) -> tuple[int, int]:
    """Median proportional set size of three looks, and the number of processes."""
    looks: list[Sample] = []
    for _ in range(3):
        looks.append(sample(pid))
        time.sleep(0.7)
    return round(statistics.median(look.pss_bytes for look in looks)), looks[-1].processes


def _problems(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> tuple[str, ...]:
    """What our recorder's own counters say went wrong while it was measured."""
    was = {s["stream_id"]: s for s in before}
    found = []
    for state in after:
        old = was.get(state["stream_id"])
        if old is None:
            found.append(f"camera {state['camera_number']} is new")
            continue
        gaps = sum(state["gaps_by_reason"].values()) - sum(old["gaps_by_reason"].values())
        facts = {
            "gaps": gaps,
            "lost packets": state["lost_packets"],
            "damaged units": state["damaged_units"],
            "further runs": state["runs"] - 1,
        }
        found += [f"camera {state['camera_number']}: {n} {what}" for what, n in facts.items() if n]
        if state["units"] == old["units"]:
            found.append(f"camera {state['camera_number']}: no units came")
    return tuple(found)


def base_memory(name: str, url: str, simulator: Child, core: int | None) -> int:
    """Proportional set size of the engine with one camera."""
    with scratch() as folder, engine(name, [url], folder, core) as running:
        wait_until(running.connected, CONNECT_SECONDS, f"recording by {name}", running.process, simulator)
        pause(SETTLE_SECONDS, f"{name}: base memory", running.process, simulator)
        return settled_memory(running.process.pid)[0]


def mb_per_camera(outcome: Outcome, base_bytes: int) -> float:
    """What each further camera costs; of one camera alone, all there is. Pure."""
    if outcome.cameras < 2:
        return outcome.pss_bytes / MB
    return (outcome.pss_bytes - base_bytes) / (outcome.cameras - 1) / MB


def judge(rows: dict[str, dict[str, Any]]) -> list[str]:
    """The goals, each with whether it is met. Pure."""
    said = []
    for name, (most, wished) in GOALS.items():
        ratio = rows.get(name, {}).get("ratio_to_ffmpeg")
        if ratio is not None:
            said.append(
                f"{ENGINES[name]}: {ratio:.3f} × ffmpeg; at most {most}: {verdict(ratio <= most)}; goal {wished}"
            )
        if name in rows:
            memory = rows[name]["mb_per_camera"]
            is_met = verdict(memory <= MOST_MB_PER_CAMERA)
            said.append(f"{ENGINES[name]}: {memory:.2f} MB a camera; at most {MOST_MB_PER_CAMERA}: {is_met}")
    return said


def rows_of(outcomes: Sequence[Outcome], bases: dict[str, int]) -> dict[str, dict[str, Any]]:
    """Everything that is written down about each engine. Pure."""
    reference = next((o.ms_per_mb for o in outcomes if o.engine == "ffmpeg"), None)
    return {
        o.engine: {
            **asdict(o),
            "what": ENGINES[o.engine],
            "cpu_ms_per_mb": round(o.ms_per_mb, 3),
            "ratio_to_ffmpeg": round(o.ms_per_mb / reference, 4) if reference else None,
            "base_pss_bytes": bases[o.engine],
            "mb_per_camera": round(mb_per_camera(o, bases[o.engine]), 3),
            "cores": round(o.cpu_seconds / o.seconds, 4),
        }
        for o in outcomes
    }


def table_of(rows: dict[str, dict[str, Any]], title: str) -> Table:
    table = Table(title=title, caption=", ".join(f"{n}: {r['what']}" for n, r in rows.items()))
    for heading in ("engine", "CPU ms/MB", "× ffmpeg", "MB/camera", "MB", "cores", "recorded", "pictures"):
        table.add_column(heading, justify="left" if heading == "engine" else "right")
    for row in rows.values():
        ratio, frames = row["ratio_to_ffmpeg"], row["frames"]
        table.add_row(
            row["engine"],
            f"{row['cpu_ms_per_mb']:.2f}",
            "–" if ratio is None else f"{ratio:.3f}",
            f"{row['mb_per_camera']:.2f}",
            f"{row['bytes'] / MB:.1f}",
            f"{row['cores']:.3f}",
            f"{row['recorded']}/{row['cameras']}",
            "–" if frames is None else str(frames),
        )
    return table


def bench(arguments: argparse.Namespace) -> bool:
    require_quiet(force=arguments.force)
    footage(arguments.bitrate)  # encoded here, where it is not measured
    names = [n for n in ENGINES if n in arguments.only]
    simulator_core, core = (0, 1) if arguments.pin and (os.cpu_count() or 1) > 1 else (None, None)
    with scratch() as folder:
        argv = python(
            *("bench.simulator", "--cameras", str(arguments.cameras), "--bitrate", str(arguments.bitrate)),
            *("--accounts", str(folder / "accounts.json")),
        )
        with child("simulator", argv, folder, core=simulator_core) as simulator:
            sent = json.loads(simulator.first_line())
            urls = [f"rtsp://127.0.0.1:{sent['port']}/cam{i}" for i in range(arguments.cameras)]
            rate = sent["bits_per_second"]
            console.print(
                f"{arguments.cameras} cameras, 1080p25 H.264, {rate / 1e6:.2f} Mbit/s on average "
                f"({sent['packets_per_mb']} RTP packets a MB), TCP interleaved"
            )
            outcomes, bases = [], {}
            for name in names:
                outcomes.append(
                    measure_engine(
                        name, urls, seconds=arguments.seconds, bits_per_second=rate, simulator=simulator, core=core
                    )
                )
                bases[name] = base_memory(name, urls[0], simulator, core)
                console.print(f"{name}: {outcomes[-1].ms_per_mb:.2f} ms/MB")
            simulator.stop()
        accounts = json.loads((folder / "accounts.json").read_text())
    rows = rows_of(outcomes, bases)
    goals = judge(rows)
    path = write_results(
        "ingest",
        {
            "cameras": arguments.cameras,
            "bits_per_second": rate,
            "packets_per_mb": sent["packets_per_mb"],
            "pinned": core is not None,
            "forced": arguments.force,
            "simulator": {k: accounts[k] for k in ("late_ms", "units", "dropped_units")},
            "engines": rows,
            "goals": goals,
        },
    )
    console.print(
        table_of(rows, f"{arguments.cameras} cameras × {rate / 1e6:.2f} Mbit/s, {arguments.seconds:.0f} s each")
    )
    for line in goals:
        console.print(line)
    console.print(f"written: {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path.name}")
    return all([*map(_sound, outcomes), met(goals)])


def _sound(outcome: Outcome) -> bool:
    """Whether every camera was recorded; says so if not."""
    problems = list(outcome.problems)
    if outcome.recorded < outcome.cameras:
        problems.append(f"only {outcome.recorded} of {outcome.cameras} cameras were recorded in full")
    if outcome.frames == 0:
        problems.append("no pictures are in its files")
    for problem in problems[:10]:
        console.print(f"[red]{ENGINES[outcome.engine]}: {problem}")
    return not problems


def _names(text: str) -> set[str]:
    """`ours` means both of ours."""
    names = {n.strip() for n in text.split(",") if n.strip()}
    if unknown := names - ENGINES.keys():
        raise argparse.ArgumentTypeError(f"no engine {min(unknown)}; they are {', '.join(ENGINES)}")
    return names | ({"ours_plain"} if "ours" in names else set())


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.ingest", description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--cameras", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=30.0, help="measured for each engine")
    parser.add_argument("--bitrate", type=int, default=BITS_PER_SECOND, help="of the footage, bits a second")
    parser.add_argument("--only", type=_names, default=set(ENGINES), help=f"of {','.join(ENGINES)}")
    parser.add_argument("--pin", action="store_true", help="simulator on the first processor, engine on the second")
    parser.add_argument("--force", action="store_true", help="run although the machine is busy")
    arguments = parser.parse_args()
    if arguments.cameras < 1 or arguments.seconds <= 0:
        parser.error("at least one camera and some seconds")
    return run(lambda: bench(arguments))


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except BenchError as error:
        raise SystemExit(str(error)) from error
