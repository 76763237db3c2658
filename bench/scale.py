"""A city's worth of cameras on this machine: simulator, recorder, archiver and object store together.

Usage: python -m bench.scale [--seconds 180] [--cameras N] [--store minio|seaweedfs|both]

190 cameras at 4 Mbit/s into MinIO, then 95 into SeaweedFS. After every camera records, one segment's length passes
before anything is measured, so that uploads belong to what is. Then CPU of recorder and archiver, of the simulator and
of the store; lag of the recorder's event loop; upload times; backlog. At the end the recorder is stopped, the archiver
empties the spool, and every object is read back: each access unit that the simulator sent must be there, bit for bit.
"""

# ruff: noqa: RUF001 - tables are typeset

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from rich.table import Table

from bench.accounts import Comparison, Sent, StoredUnit, compare
from bench.measure import Sample, met, sample, verdict, write_results
from bench.processes import BenchError, Child, child, console, python, require_quiet, run, scratch, wait_until
from bench.scrape import Spread, scrape, spread
from bench.simulator import BITS_PER_SECOND, footage
from bench.temp_site import BenchSite, archiving_site
from recorder.host import worker_count
from storage.archive_process import STATUS_FILE
from storage.catalogue import Catalogue, RecordedSegment
from storage.objects import ObjectStore, open_store
from storage.objects.embedded import EmbeddedServer, start_minio, start_seaweedfs
from storage.stores import object_store_info
from vms.errors import SourceError, VmsError
from vms.feed import FeedClient
from vms.media.boxes import BytesSource
from vms.media.segment_reader import SegmentReader
from vms.timeline import TimeRange

STORES: dict[str, tuple[Callable[[Path], EmbeddedServer], int]] = {
    "minio": (start_minio, 190),
    "seaweedfs": (start_seaweedfs, 95),
}
WARM_UP_SECONDS = 70.0  # one segment, and then some
CONNECT_SECONDS = 120.0
DRAIN_SECONDS = 300.0
LOOK_SECONDS = 2.0
READS_AT_ONCE = 4
MB = 1_000_000
MOST_CORES_AT_190 = 0.65
MOST_LAG_MS = 50.0
EVER = TimeRange(0, 2**62)


@dataclass(frozen=True, slots=True)
class Parts:
    """The processes that are measured."""

    recorder: Child
    archiver: Child
    simulator: Child
    store_pid: int

    def samples(self, *, memory: bool) -> dict[str, Sample]:
        pids = {
            "recorder": self.recorder.pid,
            "archiver": self.archiver.pid,
            "simulator": self.simulator.pid,
            "store": self.store_pid,
        }
        return {name: sample(pid, memory=memory) for name, pid in pids.items()}

    def check(self) -> None:
        for one in (self.recorder, self.archiver, self.simulator):
            one.check()


@dataclass(frozen=True, slots=True)
class Window:
    """What was measured. Cores are CPU seconds a second; backlog is what waits for the store."""

    seconds: float
    cores: dict[str, float]
    pss_bytes: dict[str, int]
    processes: dict[str, int]
    lag: dict[str, Spread]  # per recorder worker
    upload: Spread
    uploaded_segments: int
    uploaded_bytes: int
    received_bytes: float
    largest_backlog_segments: int
    backlog_at_end: int
    flush: Spread


@dataclass(frozen=True, slots=True)
class Checked:
    """The account of all cameras."""

    cameras: int
    sound: int
    segments: int
    bytes: int
    totals: dict[str, int]
    gaps_after_start: int
    runs: int
    problems: tuple[str, ...]


def measure(made: BenchSite, parts: Parts, cameras: int, *, warm_up: float, seconds: float) -> Window:
    """Wait for all cameras, warm up, measure."""
    site = made.site
    workers = [
        site.run / f"recorder-{i}.metrics"
        for i in range(worker_count(site.settings.recorder.workers, os.cpu_count() or 1))
    ]
    feed = FeedClient(site.settings.feed.socket)

    def all_record() -> bool:
        parts.check()
        with contextlib.suppress(SourceError):
            return [s["state"] for s in asyncio.run(feed.states())] == ["recording"] * cameras
        return False

    wait_until(all_record, CONNECT_SECONDS, f"recording of {cameras} cameras")
    _watch(made, parts, warm_up, "warming up")
    before, pages = parts.samples(memory=False), [scrape(w) for w in workers]
    archiver_before, status_before = scrape(site.run / "archiver.metrics"), archiver_status(made)
    backlogs = _watch(made, parts, seconds, "measuring")
    after, pages_after = parts.samples(memory=False), [scrape(w) for w in workers]
    archiver_after, status_after = scrape(site.run / "archiver.metrics"), archiver_status(made)
    memory = parts.samples(memory=True)
    received = sum(
        value - old.get(key, 0.0)
        for old, new in zip(pages, pages_after, strict=True)
        for key, value in new.items()
        if key[0] == "stroz_received_bytes_total"
    )
    pairs = list(zip(pages, pages_after, strict=True))
    return Window(
        seconds=after["recorder"].at - before["recorder"].at,
        cores={n: (after[n].cpu_seconds - b.cpu_seconds) / (after[n].at - b.at) for n, b in before.items()},
        pss_bytes={n: m.pss_bytes for n, m in memory.items()},
        processes={n: m.processes for n, m in memory.items()},
        lag={f"worker {i}": spread(old, new, "loop_lag_seconds") for i, (old, new) in enumerate(pairs)},
        upload=spread(archiver_before, archiver_after, "upload_seconds"),
        uploaded_segments=status_after["uploaded_segments"] - status_before["uploaded_segments"],
        uploaded_bytes=status_after["uploaded_bytes"] - status_before["uploaded_bytes"],
        received_bytes=received,
        largest_backlog_segments=max(backlogs, default=0),
        backlog_at_end=status_after["backlog_segments"],
        flush=spread(pages[0], pages_after[0], "spool_flush_seconds"),
    )


def _watch(made: BenchSite, parts: Parts, seconds: float, what: str) -> list[int]:
    """Let time pass; the backlog seen every few seconds."""
    backlogs = []
    end = time.monotonic() + seconds
    with console.status(what) as status:
        while (left := end - time.monotonic()) > 0:
            parts.check()
            backlogs.append(archiver_status(made)["backlog_segments"])
            status.update(f"{what}: {left:.0f} s left, {backlogs[-1]} segments wait for the store")
            time.sleep(min(LOOK_SECONDS, left))
    return backlogs


def archiver_status(made: BenchSite) -> dict[str, Any]:
    """What the archiver says of itself every two seconds; zeros before the first time."""
    try:
        found: dict[str, Any] = json.loads((made.site.run / STATUS_FILE).read_text())
    except FileNotFoundError:
        found = {"backlog_segments": 0, "uploaded_segments": 0, "uploaded_bytes": 0, "store_error": None}
    return found


def drain(made: BenchSite, archiver: Child) -> float:
    """Seconds until nothing sealed is left in the spool."""
    began = time.monotonic()
    sealed = made.site.spool / "sealed"

    def empty() -> bool:
        left = sum(1 for _ in sealed.iterdir())
        status.update(f"draining: {left} segments left")
        return left == 0

    with console.status("draining") as status:
        wait_until(empty, DRAIN_SECONDS, "emptying of the spool", archiver)
    return time.monotonic() - began


async def check(made: BenchSite, accounts: dict[str, Any]) -> Checked:
    """Read every stored object back and account for every unit of every camera."""
    site = made.site
    sent = Sent.of(accounts["clip"])
    sessions: dict[str, list[dict[str, Any]]] = {}
    for session in accounts["sessions"]:
        sessions.setdefault(session["camera"], []).append(session)
    store = open_store(site.settings.store)
    name = object_store_info(site.settings.store).name
    turn = asyncio.Semaphore(READS_AT_ONCE)
    compared: dict[int, Comparison] = {}
    sizes, runs, gaps = [], 0, 0
    try:
        async with Catalogue(site.catalogue_url) as catalogue:
            with console.status("reading back") as status:
                for number, stream in enumerate(made.streams):
                    status.update(f"reading back: camera {number + 1} of {len(made.streams)}")
                    segments = sorted(await catalogue.segments([stream], EVER), key=lambda s: (s.start_ns, s.number))
                    units = await asyncio.gather(*(_units(store, name, segment, turn) for segment in segments))
                    one = compare(sent, sessions.get(f"cam{number}", []), [u for some in units for u in some])
                    compared[number] = one
                    sizes += [s.size_bytes for s in segments]
                    runs += len({s.run_id for s in segments})
                    gaps += await _gaps(catalogue, stream, segments)
    finally:
        await store.close()
    return _summary(compared, sizes, runs, gaps)


def _summary(compared: dict[int, Comparison], sizes: list[int], runs: int, gaps: int) -> Checked:
    counted = ("stored", "lost", "changed", "doubled", "disordered", "unknown", "damaged", "before", "under_way")
    problems = []
    for number, one in compared.items():
        if not one.sound:
            facts = {k: v for k, v in asdict(one).items() if v and k not in ("stored", "before", "under_way")}
            problems.append(f"camera {number + 1}: {facts or 'nothing is stored'}")
    if gaps:
        problems.append(f"{gaps} gaps after the start")
    return Checked(
        cameras=len(compared),
        sound=sum(one.sound for one in compared.values()),
        segments=len(sizes),
        bytes=sum(sizes),
        totals={k: sum(getattr(one, k) for one in compared.values()) for k in counted},
        gaps_after_start=gaps,
        runs=runs,
        problems=tuple(problems),
    )


async def _units(store: ObjectStore, name: str, segment: RecordedSegment, turn: asyncio.Semaphore) -> list[StoredUnit]:
    """Every unit of one stored object. BenchError when the segment has no copy in the store."""
    copy = next((c for c in segment.copies if c.store == name), None)
    if copy is None:
        raise BenchError(f"segment {segment.number} of run {segment.run_id} has no copy in {name}")
    async with turn:
        data = b"".join([block async for block in store.get(copy.key)])
        return await asyncio.to_thread(_read, data)


def _read(data: bytes) -> list[StoredUnit]:
    reader = SegmentReader(BytesSource(data))
    return [StoredUnit(u.pts, hashlib.sha256(u.data).hexdigest(), u.damaged) for u in reader.units()]


async def _gaps(catalogue: Catalogue, stream: UUID, segments: list[RecordedSegment]) -> int:
    """Gaps between the first and the last moment recorded."""
    if not segments:
        return 0
    start, end = segments[0].start_ns, max(s.end_ns for s in segments)
    return sum(gap.start_ns > start for gap in await catalogue.gaps([stream], start, end))


def bench_store(name: str, cameras: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """One store, one number of cameras: everything from start to account."""
    start_store, _ = STORES[name]
    with contextlib.ExitStack() as undo:
        folder = undo.enter_context(scratch(arguments.folder))
        argv = python(
            *("bench.simulator", "--cameras", str(cameras), "--bitrate", str(arguments.bitrate)),
            *("--accounts", str(folder / "accounts.json")),
        )
        simulator = undo.enter_context(child("simulator", argv, folder))
        sent = json.loads(simulator.first_line())
        try:
            store = undo.enter_context(start_store(folder / "store"))
        except VmsError as error:
            raise BenchError(f"{name}: {error}") from error
        urls = [f"rtsp://127.0.0.1:{sent['port']}/cam{i}" for i in range(cameras)]
        made = asyncio.run(archiving_site(folder / "site", urls, store.location))
        data = ("--data", str(made.site.path))
        archiver = undo.enter_context(child("archiver", python("storage.archive_process", *data), folder))
        recorder = undo.enter_context(child("recorder", python("recorder.host", *data), folder))
        parts = Parts(recorder, archiver, simulator, store.process.pid)
        window = measure(made, parts, cameras, warm_up=arguments.warm_up, seconds=arguments.seconds)
        recorder.stop()
        drained = drain(made, archiver)
        archiver.stop()
        simulator.stop()
        accounts = json.loads((folder / "accounts.json").read_text())
        began = time.monotonic()
        checked = asyncio.run(check(made, accounts))
        logs = {c.name: _lines(c.log) for c in (recorder, archiver)}
        return {
            "store": name,
            "cameras": cameras,
            "bits_per_second": sent["bits_per_second"],
            "seconds": window.seconds,
            "cores": {n: round(c, 4) for n, c in window.cores.items()},
            "recorder_and_archiver_cores": round(window.cores["recorder"] + window.cores["archiver"], 4),
            "pss_bytes": window.pss_bytes,
            "processes": window.processes,
            "received_bytes": window.received_bytes,
            "loop_lag": {n: s.as_ms() for n, s in window.lag.items()},
            "upload": window.upload.as_ms(),
            "uploaded_segments": window.uploaded_segments,
            "uploaded_bytes": window.uploaded_bytes,
            "largest_backlog_segments": window.largest_backlog_segments,
            "backlog_segments_at_end": window.backlog_at_end,
            "drain_seconds": round(drained, 1),
            "read_back_seconds": round(time.monotonic() - began, 1),
            "simulator": {k: accounts[k] for k in ("late_ms", "units", "dropped_units")},
            "account": asdict(checked),
            "warnings_and_errors_logged": logs,
        }


def _lines(log: Path) -> int:
    return len(log.read_text(errors="replace").splitlines())


def judge(row: dict[str, Any]) -> list[str]:
    """The targets, each with whether it is met. Pure."""
    name, account = row["store"], row["account"]
    lags = [lag["p99_ms"] for lag in row["loop_lag"].values()]
    worst = None if None in lags or not lags else max(lags)
    cores = row["recorder_and_archiver_cores"]
    most = MOST_CORES_AT_190 * row["cameras"] / 190
    return [
        (
            f"{name}: recorder and archiver {cores:.3f} cores for {row['cameras']} cameras; at most {most:.3f}: "
            f"{verdict(cores <= most)}"
        ),
        (
            f"{name}: {account['totals']['lost']} access units lost, {account['sound']} of {account['cameras']} cameras "
            f"sound: {verdict(not account['problems'])}"
        ),
        (
            f"{name}: loop lag p99 {'beyond all buckets' if worst is None else f'{worst:.1f} ms'}; at most "
            f"{MOST_LAG_MS:.0f} ms: {verdict(worst is not None and worst <= MOST_LAG_MS)}"
        ),
    ]


def table_of(rows: list[dict[str, Any]]) -> Table:
    table = Table(title="cameras, recorder, archiver and object store on one machine")
    table.add_column("")
    for row in rows:
        table.add_column(
            f"{row['cameras']} × {row['bits_per_second'] / 1e6:.2f} Mbit/s, {row['store']}", justify="right"
        )
    lines: dict[str, Callable[[dict[str, Any]], str]] = {
        "recorder + archiver, cores": lambda r: f"{r['recorder_and_archiver_cores']:.3f}",
        "  recorder": lambda r: f"{r['cores']['recorder']:.3f}",
        "  archiver": lambda r: f"{r['cores']['archiver']:.3f}",
        "simulator, cores": lambda r: f"{r['cores']['simulator']:.3f}",
        "store, cores": lambda r: f"{r['cores']['store']:.3f}",
        "measured, s": lambda r: f"{r['seconds']:.0f}",
        "received in that time, MB": lambda r: f"{r['received_bytes'] / MB:.0f}",
        "uploaded in that time, MB (segments)": lambda r: f"{r['uploaded_bytes'] / MB:.0f} ({r['uploaded_segments']})",
        "loop lag p50 / p99 / at most, ms": _lag_text,
        "upload p50 / p99 / at most, ms": lambda r: _three(r["upload"]),
        "largest backlog, at the end": lambda r: f"{r['largest_backlog_segments']}, {r['backlog_segments_at_end']}",
        "time to drain, s": lambda r: f"{r['drain_seconds']:.1f}",
        "memory of recorder, archiver, MB": lambda r: (
            f"{r['pss_bytes']['recorder'] / MB:.0f}, {r['pss_bytes']['archiver'] / MB:.0f}"
        ),
        "access units stored": lambda r: str(r["account"]["totals"]["stored"]),
        "access units lost": lambda r: str(r["account"]["totals"]["lost"]),
        "changed, doubled, damaged, unknown": lambda r: ", ".join(
            str(r["account"]["totals"][k]) for k in ("changed", "doubled", "damaged", "unknown")
        ),
        "under way at the stop": lambda r: str(r["account"]["totals"]["under_way"]),
        "gaps after start": lambda r: str(r["account"]["gaps_after_start"]),
        "simulator's worst delay, ms": lambda r: str(r["simulator"]["late_ms"]),
    }
    for what, text in lines.items():
        table.add_row(what, *(text(row) for row in rows))
    return table


def _lag_text(row: dict[str, Any]) -> str:
    return "; ".join(_three(lag) for lag in row["loop_lag"].values())


def _three(figures: dict[str, Any]) -> str:
    return " / ".join("∞" if figures[k] is None else f"{figures[k]:.1f}" for k in ("p50_ms", "p99_ms", "at_most_ms"))


def bench(arguments: argparse.Namespace) -> bool:
    footage(arguments.bitrate)
    names = list(STORES) if arguments.store == "both" else [arguments.store]
    rows: list[dict[str, Any]] = []
    goals: list[str] = []
    failed = False
    for name in names:
        require_quiet(force=arguments.force)
        cameras = arguments.cameras or STORES[name][1]
        console.print(f"{cameras} cameras into {name}: about {arguments.warm_up + arguments.seconds + 60:.0f} s")
        try:
            row = bench_store(name, cameras, arguments)
        except BenchError as error:
            console.print(f"[red]{name}: {error}")
            failed = True
            continue
        rows.append(row)
        goals += judge(row)
        for problem in row["account"]["problems"][:10]:
            console.print(f"[red]{name}: {problem}")
    if not rows:
        return False
    path = write_results("scale", {"forced": arguments.force, "runs": rows, "goals": goals})
    console.print(table_of(rows))
    for line in goals:
        console.print(line)
    console.print(f"written: {path.parent.name}/{path.name}")
    return not failed and met(goals)


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.scale")
    parser.add_argument("--seconds", type=float, default=180.0, help="measured for each store")
    parser.add_argument("--warm-up", type=float, default=WARM_UP_SECONDS, help="seconds before, all cameras recording")
    parser.add_argument("--cameras", type=int, default=0, help="instead of 190 and 95")
    parser.add_argument("--store", choices=[*STORES, "both"], default="both")
    parser.add_argument("--bitrate", type=int, default=BITS_PER_SECOND, help="of the footage, bits a second")
    parser.add_argument(
        "--folder", type=Path, default=None, help="where the temporary folder is made; 30 GB are needed"
    )
    parser.add_argument("--force", action="store_true", help="run although the machine is busy")
    arguments = parser.parse_args()
    if arguments.cameras < 0 or arguments.seconds <= 0 or arguments.warm_up < 0:
        parser.error("numbers must be positive")
    return run(lambda: bench(arguments))


if __name__ == "__main__":
    raise SystemExit(main())
