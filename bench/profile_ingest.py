"""Where the recorder's time goes, per MB recorded: by Python function (cProfile) and by native symbol (perf).

Usage: python -m bench.profile_ingest [--cameras 40] [--seconds 20] [--how cprofile|perf|both] [--no-digests]

For whoever makes it quicker, not for figures: cProfile makes each call dearer by its own cost, so small functions look
worse than they are, and its seconds are wall time within the process. perf does not distort, but sees CPython's
interpreter as one function. Calls per MB are exact in both senses. Both include the first seconds of connecting.
"""

from __future__ import annotations

import argparse
import json
import pstats
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from bench.measure import folder_bytes, sample
from bench.processes import ROOT, BenchError, Child, child, console, pause, python, run, scratch, wait_until
from bench.simulator import BITS_PER_SECOND, footage
from bench.temp_site import recording_site

CONNECT_SECONDS = 60.0
SETTLE_SECONDS = 3.0
TOP = 45
MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Line:
    """One function: calls, and seconds in it alone and with what it calls."""

    where: str
    calls: int
    own_s: float
    total_s: float


def lines_of(stats_file: Path) -> list[Line]:
    """cProfile's statistics by own time, most first."""
    # pstats keeps (file, line, function) → (primitive calls, calls, own, cumulative, callers) in `stats`.
    stats = pstats.Stats(str(stats_file)).stats  # type: ignore[attr-defined]
    lines = [
        Line(_place(file, line, name), calls, own, total)
        for (file, line, name), (_, calls, own, total, _) in stats.items()
    ]
    return sorted(lines, key=lambda one: -one.own_s)


def _place(file: str, line: int, name: str) -> str:
    if file == "~":
        return name
    path = Path(file)
    short = path.relative_to(ROOT) if path.is_relative_to(ROOT) and ".venv" not in path.parts else Path(path.name)
    return f"{short}:{line} {name}"


def table_of(lines: Sequence[Line], megabytes: float) -> Table:
    table = Table(title=f"cProfile, {megabytes:.0f} MB recorded; own time first")
    for heading in ("own ms/MB", "with callees ms/MB", "calls/MB", "function"):
        table.add_column(heading, justify="left" if heading == "function" else "right", overflow="fold")
    for line in lines[:TOP]:
        table.add_row(
            f"{line.own_s * 1e3 / megabytes:.3f}",
            f"{line.total_s * 1e3 / megabytes:.3f}",
            f"{line.calls / megabytes:.1f}",
            line.where,
        )
    return table


def with_cprofile(folder: Path, urls: Sequence[str], arguments: argparse.Namespace, simulator: Child) -> None:
    made = recording_site(folder / "profiled", urls, digests=not arguments.no_digests)
    stats_file = folder / "stats"
    data = ("--data", str(made.site.path), "--index", "0", "--workers", "1")
    with child("worker", python("bench.engines.profiled_worker", str(stats_file), *data), folder) as worker:
        _until_recording(made.site.spool, len(urls), worker, simulator)
        pause(arguments.seconds, "profiling", worker, simulator)
        worker.stop()
        if not stats_file.exists():
            raise BenchError("the worker left no statistics")
    megabytes = folder_bytes(made.site.spool) / MB
    console.print(table_of(lines_of(stats_file), megabytes))


def with_perf(folder: Path, urls: Sequence[str], arguments: argparse.Namespace, simulator: Child) -> None:
    if shutil.which("perf") is None:
        raise BenchError("perf is not installed (Debian: linux-perf)")
    made = recording_site(folder / "perf", urls, digests=not arguments.no_digests)
    data = ("--data", str(made.site.path), "--index", "0", "--workers", "1")
    with child("worker", python("recorder.worker", *data), folder) as worker:
        _until_recording(made.site.spool, len(urls), worker, simulator)
        pause(SETTLE_SECONDS, "settling", worker, simulator)
        before, bytes_before = sample(worker.pid, memory=False), folder_bytes(made.site.spool)
        recorded = folder / "perf.data"
        try:
            subprocess.run(
                [
                    *("perf", "record", "-q", "-F", "999", "-o", recorded, "-p", str(worker.pid)),
                    *("--", "sleep", str(arguments.seconds)),
                ],
                check=True,
                capture_output=True,
                text=True,
            )
        except subprocess.CalledProcessError as error:
            raise BenchError(f"perf cannot watch here: {error.stderr.strip()[:300]}") from error
        after, megabytes = sample(worker.pid, memory=False), (folder_bytes(made.site.spool) - bytes_before) / MB
        worker.stop()
    per_mb = (after.cpu_seconds - before.cpu_seconds) * 1e3 / megabytes
    by_library = perf_shares(recorded, "dso", r"\s*([\d.]+)%\s+(\S+)")
    by_symbol = perf_shares(recorded, "dso,symbol", r"\s*([\d.]+)%\s+(\S+\s+\[.\]\s+\S+)")
    title = f"perf, {megabytes:.0f} MB recorded, {per_mb:.2f} ms/MB in all"
    console.print(perf_table(f"{title}; by library", by_library, per_mb))
    console.print(perf_table(f"{title}; by symbol", by_symbol, per_mb))


def perf_shares(recorded: Path, by: str, pattern: str) -> list[tuple[float, str]]:
    """Shares in percent, most first, of everything above half a percent."""
    report = subprocess.run(
        ["perf", "report", "-i", recorded, "--stdio", "-q", "--sort", by, "--percent-limit", "0.5"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    found = (re.match(pattern, line) for line in report.splitlines())
    return [(float(one[1]), " ".join(one[2].split())) for one in found if one]


def perf_table(title: str, shares: Sequence[tuple[float, str]], per_mb: float) -> Table:
    table = Table(title=title)
    for heading in ("ms/MB", "share", "where"):
        table.add_column(heading, justify="left" if heading == "where" else "right", overflow="fold")
    for share, where in shares:
        table.add_row(f"{per_mb * share / 100:.3f}", f"{share:.1f}%", escape(where))
    return table


def _until_recording(spool: Path, cameras: int, *children: Child) -> None:
    def all_record() -> bool:
        parts = list((spool / "open").glob("*.part")) if (spool / "open").exists() else []
        return len(parts) == cameras

    wait_until(all_record, CONNECT_SECONDS, f"recording of {cameras} cameras", *children)


def profile(arguments: argparse.Namespace) -> bool:
    footage(arguments.bitrate)
    with scratch() as folder:
        argv = python(
            *("bench.simulator", "--cameras", str(arguments.cameras), "--bitrate", str(arguments.bitrate)),
            *("--accounts", str(folder / "accounts.json")),
        )
        with child("simulator", argv, folder) as simulator:
            port = json.loads(simulator.first_line())["port"]
            urls = [f"rtsp://127.0.0.1:{port}/cam{i}" for i in range(arguments.cameras)]
            if arguments.how in ("cprofile", "both"):
                with_cprofile(folder, urls, arguments, simulator)
            if arguments.how in ("perf", "both"):
                with_perf(folder, urls, arguments, simulator)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.profile_ingest")
    parser.add_argument("--cameras", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--bitrate", type=int, default=BITS_PER_SECOND)
    parser.add_argument("--how", choices=("cprofile", "perf", "both"), default="both")
    parser.add_argument("--no-digests", action="store_true", help="as with recorder.digests = false")
    arguments = parser.parse_args()
    return run(lambda: profile(arguments))


if __name__ == "__main__":
    raise SystemExit(main())
