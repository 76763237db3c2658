"""The catalogue at a city's scale: a rebuild from a bucket, and timelines over millions of segments.

Usage: python -m bench.catalogue [--segments 25000000] [--objects 100000] [--only rebuild,sqlite,postgres]

*Rebuild*: real sealed segments of two small pictures each go into an object store with their journals, and into a
catalogue; `vms rebuild`, the command itself but for a small page cache (`bench.lean_rebuild`), fills a second catalogue
from the store; every row of segments, copies, runs, gaps, spans, journals and cameras of both is compared. Its memory is
looked at every second.

*Timelines*: rows are made by SQL (`bench.many_rows`); then 16 random cameras over a random 24 hours are asked for, and
segments are registered as the archiver does, first alone, then beside the questions.

`--keep FOLDER` keeps what was made and uses it again; with `--prepare` nothing is measured.
"""

# ruff: noqa: RUF001 - tables are typeset

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from pathlib import Path
from typing import Any

from rich.table import Table

from bench import many_rows, small_bucket
from bench.measure import met, sample, verdict, write_results
from bench.postgres import postgres
from bench.processes import BenchError, child, console, python, require_quiet, run, scratch
from storage.catalogue import Catalogue, migrate

PARTS = ("rebuild", "sqlite", "postgres")
MOST_P95_MS = 20.0
MOST_BYTES_PER_OBJECT = 32  # whatever Python keeps for each object takes more
WARM_UP = 50  # questions before those that count
BATCH = 200  # what the archiver registers in one transaction
SAMPLE_SECONDS = 1.0
SEED = 20_261_127


def bench_rebuild(folder: Path, objects: int, store: str, *, prepare: bool) -> dict[str, Any] | None:
    """Make the bucket unless it is there; rebuild, compare."""
    with small_bucket.bucket(folder, objects, store) as made:
        if prepare:
            return None
        data = made.fresh_site()
        began, curve = time.monotonic(), []
        with child("rebuild", python("bench.lean_rebuild", "--data", str(data), "rebuild", "--json"), folder) as one:
            while one.process.poll() is None:
                seen = sample(one.pid)
                curve.append((round(seen.at - began, 1), seen.pss_bytes))
                time.sleep(SAMPLE_SECONDS)
            if one.process.returncode != 0:
                one.check()
            assert one.process.stdout is not None
            answer = json.loads(one.process.stdout.read())
        differing = small_bucket.differences(made.original, data / "catalogue.db")
        return {
            "store": store,
            "objects": answer["objects"],
            "segments": answer["segments"]["new"],
            "journals": answer["journals"],
            "unreadable": answer["unreadable_count"],
            "lost": answer["lost_count"],
            "seconds": answer["seconds"],
            "objects_per_second": answer["objects_per_second"],
            "differences": differing,
            "memory": memory_of(curve, answer["objects"]),
            "made_in_seconds": made.seconds,
        }


def memory_of(curve: list[tuple[float, int]], objects: int) -> dict[str, Any]:
    """The curve of memory (seconds, bytes), its quarters, and its slope over the second half with its error."""
    curve = curve[:-1] if len(curve) > 2 else curve  # the last one sees it end
    half = curve[len(curve) // 2 :]
    slope, error = line(half)
    seconds = max(at for at, _ in curve)
    per_object = seconds / max(1, objects)
    return {
        "curve": curve[:: max(1, len(curve) // 120)],
        "quarters_mb": [round(curve[min(len(curve) - 1, len(curve) * q // 4)][1] / 1e6, 1) for q in (1, 2, 3, 4)],
        "most_mb": round(max(size for _, size in curve) / 1e6, 1),
        "bytes_per_object": round(slope * per_object, 1),
        "bytes_per_object_error": round(error * per_object, 1),
    }


def line(points: list[tuple[float, int]]) -> tuple[float, float]:
    """Least squares: slope and its standard error. Zero for fewer than three points."""
    count = len(points)
    if count < 3:
        return 0.0, 0.0
    mean_x, mean_y = sum(x for x, _ in points) / count, sum(y for _, y in points) / count
    spread_x = sum((x - mean_x) ** 2 for x, _ in points)
    if not spread_x:
        return 0.0, 0.0
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread_x
    rest = sum((y - mean_y - slope * (x - mean_x)) ** 2 for x, y in points)
    return slope, (rest / (count - 2) / spread_x) ** 0.5


async def make_rows(url: str, size: many_rows.Size, mark: Path) -> float | None:
    """Fill the database unless `mark` says that it was; seconds, None where it was there."""
    if mark.exists():
        if json.loads(mark.read_text()) != [size.cameras, size.minutes]:
            raise BenchError(f"{mark.parent} holds another number of segments; name another folder")
        await migrate(url)
        return None
    seconds = await many_rows.fill(url, size)
    mark.write_text(json.dumps([size.cameras, size.minutes]))
    return seconds


async def measure_rows(url: str, size: many_rows.Size, questions: int, batches: int) -> dict[str, Any]:
    chance = random.Random(SEED)
    stored = many_rows.sizes(url)
    async with Catalogue(url) as catalogue:
        checked = await many_rows.check_timelines(catalogue, size, chance)
        await many_rows.timelines(catalogue, size, chance, WARM_UP)  # connections, statements, the database's cache
        spent = time.process_time()
        alone = await many_rows.timelines(catalogue, size, chance, questions)
        spent = time.process_time() - spent
        rate = await many_rows.insert(catalogue, size, batches, BATCH)
        inserting = asyncio.create_task(many_rows.insert(catalogue, size, batches, BATCH), name="insert")
        beside = await many_rows.timelines(catalogue, size, chance, 10 * questions, inserting.done)
        rate_beside = await inserting
    million = size.segments / 1e6
    return {
        "cameras": size.cameras,
        "segments": size.segments,
        "timeline": many_rows.spread(alone) | {"our_cpu_ms": round(spent * 1000 / questions, 2)},
        "timeline_beside_inserts": many_rows.spread(beside),
        "inserts_per_second": round(rate),
        "inserts_per_second_beside_questions": round(rate_beside),
        "bytes_per_million_segments": {name: round(count / million) for name, count in stored.items()},
        "segments_compared": checked,
    }


def bench_sqlite(folder: Path, size: many_rows.Size, arguments: argparse.Namespace) -> dict[str, Any] | None:
    url = many_rows.database_url(folder / "many.db")
    made = asyncio.run(make_rows(url, size, folder / "sqlite.made"))
    if arguments.prepare:
        return None
    found = asyncio.run(measure_rows(url, size, arguments.questions, arguments.batches))
    return {"database": "SQLite", "made_in_seconds": made} | found


def bench_postgres(folder: Path, size: many_rows.Size, arguments: argparse.Namespace) -> dict[str, Any] | None:
    with postgres(folder / "pg") as url:
        made = asyncio.run(make_rows(url, size, folder / "postgres.made"))
        if arguments.prepare:
            return None
        found = asyncio.run(measure_rows(url, size, arguments.questions, arguments.batches))
    return {"database": "PostgreSQL", "made_in_seconds": made} | found


def judge(results: dict[str, Any]) -> list[str]:
    """What was asked for, and whether it was met."""
    goals = []
    if rebuilt := results.get("rebuild"):
        same = not rebuilt["differences"] and not rebuilt["unreadable"] and not rebuilt["lost"]
        goals.append(f"rebuild of {rebuilt['objects']} objects: nothing differs: {verdict(same)}")
        memory = rebuilt["memory"]
        goals.append(
            f"its memory grows by {memory['bytes_per_object']} ± {memory['bytes_per_object_error']} bytes per object in the "
            f"second half; at most {MOST_BYTES_PER_OBJECT}: {verdict(memory['bytes_per_object'] <= MOST_BYTES_PER_OBJECT)}"
        )
    for row in results.get("timelines", []):
        p95 = row["timeline"]["p95_ms"]
        goals.append(
            f"{row['database']}, {row['segments']:,} segments: 16 cameras × 24 h p95 {p95} ms; "
            f"at most {MOST_P95_MS:.0f} ms: {verdict(p95 <= MOST_P95_MS)}"
        )
    return goals


def tables_of(results: dict[str, Any]) -> list[Table]:
    found = []
    if rebuilt := results.get("rebuild"):
        table = Table("", "rebuild", title=f"vms rebuild from {rebuilt['store']}")
        memory = rebuilt["memory"]
        for name, text in {
            "objects (segments, journals)": f"{rebuilt['objects']} ({rebuilt['segments']}, {rebuilt['journals']})",
            "seconds": f"{rebuilt['seconds']:.1f}",
            "objects a second": f"{rebuilt['objects_per_second']:.0f}",
            "rows that differ": str(rebuilt["differences"]),
            "memory at each quarter, MB": ", ".join(map(str, memory["quarters_mb"])),
            "growth in the second half, bytes per object": f"{memory['bytes_per_object']} ± {memory['bytes_per_object_error']}",
        }.items():
            table.add_row(name, text)
        found.append(table)
    if rows := results.get("timelines"):
        table = Table("", *(f"{row['database']}, {row['segments']:,} segments" for row in rows), title="timelines")
        lines = {
            "16 cameras × 24 h, p50 / p95 / p99, ms": lambda r: _three(r["timeline"]),
            "processor time of ours for one, ms": lambda r: str(r["timeline"]["our_cpu_ms"]),
            "the same beside inserts": lambda r: _three(r["timeline_beside_inserts"]),
            "inserts a second, alone": lambda r: str(r["inserts_per_second"]),
            "inserts a second, beside questions": lambda r: str(r["inserts_per_second_beside_questions"]),
            "MB per million segments": lambda r: f"{r['bytes_per_million_segments']['total'] / 1e6:.0f}",
        }
        for name, text in lines.items():
            table.add_row(name, *(text(row) for row in rows))
        found.append(table)
    return found


def _three(figures: dict[str, Any]) -> str:
    return f"{figures['p50_ms']} / {figures['p95_ms']} / {figures['p99_ms']}"


def bench(arguments: argparse.Namespace) -> bool:
    parts = arguments.only.split(",")
    size = many_rows.Size.of(arguments.segments)
    if not arguments.prepare:
        require_quiet(force=arguments.force)
    with scratch() as temporary:
        folder: Path = arguments.keep.absolute() if arguments.keep else temporary
        folder.mkdir(exist_ok=True)
        results: dict[str, Any] = {"forced": arguments.force, "seed": SEED}
        if "rebuild" in parts:
            results["rebuild"] = bench_rebuild(folder, arguments.objects, arguments.store, prepare=arguments.prepare)
        rows = []
        if "sqlite" in parts:
            rows.append(bench_sqlite(folder, size, arguments))
        if "postgres" in parts:
            rows.append(bench_postgres(folder, size, arguments))
        results["timelines"] = [row for row in rows if row is not None]
    if arguments.prepare:
        return True
    results["goals"] = judge(results)
    path = write_results("catalogue", results)
    for table in tables_of(results):
        console.print(table)
    for goal in results["goals"]:
        console.print(goal)
    console.print(f"written: {path.parent.name}/{path.name}")
    rebuilt = results.get("rebuild")
    same = rebuilt is None or not (rebuilt["differences"] or rebuilt["unreadable"] or rebuilt["lost"])
    return same and met(results["goals"])


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="bench.catalogue")
    made.add_argument("--segments", type=int, default=25_000_000, help="rows for the timelines")
    made.add_argument("--objects", type=int, default=100_000, help="segments in the bucket that is rebuilt from")
    made.add_argument("--only", default=",".join(PARTS), help="rebuild, sqlite, postgres; separated by commas")
    made.add_argument("--store", choices=small_bucket.STORES, default="folder", help="of the rebuild")
    made.add_argument("--questions", type=int, default=300, help="for timelines")
    made.add_argument("--batches", type=int, default=100, help=f"of {BATCH} segments to register")
    made.add_argument("--keep", type=Path, default=None, help="keep what was made here, and use it again")
    made.add_argument("--prepare", action="store_true", help="only make what is measured; needs --keep")
    made.add_argument("--force", action="store_true", help="run although the machine is busy")
    return made


def main() -> int:
    arguments = parser().parse_args()
    if not set(arguments.only.split(",")) <= set(PARTS):
        parser().error(f"--only takes {', '.join(PARTS)}")
    if min(arguments.segments, arguments.objects, arguments.questions, arguments.batches) < 1:
        parser().error("numbers must be positive")
    if arguments.prepare and not arguments.keep:
        parser().error("--prepare needs --keep")
    return run(lambda: bench(arguments))


if __name__ == "__main__":
    raise SystemExit(main())
