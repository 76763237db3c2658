"""Kill archiver, deleter and salvage at every crash point there is, restart, and say what was wrong afterwards.

Usage: python -m tests.support.crashes.run [--stores folder,seaweedfs,minio] [--catalogues sqlite,postgres]
                                            [--points all|steps|each] [--share I/N] [--json FILE]
       python -m tests.support.crashes.run --salvage [--json FILE]
       python -m tests.support.crashes.run --merge FILE… [--json FILE]
       python -m tests.support.crashes.run --table FILE

For each pair of store and catalogue: a first life names the points; then, for every one of them and from the same
beginning, a process dies there by SIGKILL, `vms check` looks at what it left, another process does all the work again,
and the end must be that of a life without a crash. The recorder's salvage follows, on files alone. `--share 2/5` takes
every fifth point from the second on (salvage is of the first); results of shares merge. Where every point of a pair was
tried, one that was not reached and a numbered step without a kill fail the run; otherwise they are told. `--table` shows
results as docs/reliability.md has them. Every life is a forked process of its own; this one makes no thread and no event
loop.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import pickle
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from storage.catalogue import sqlite_url
from storage.objects import embedded
from storage.objects.s3_wire import S3Location
from tests.support.crashes import archive, salvaging
from tests.support.crashes.archive import NUMBERED, Made, World
from tests.support.crashes.database import KeptDatabase
from tests.support.crashes.points import CrashPoints, Point
from tests.support.servers import postgres_programs, running_postgres, temporary_folder

LIVES = (("archive first", "delete first"), ("delete between", "archive first"))
"""(order of the life that ends early, order of the one after it)."""
CHILD_SECONDS = 60
SALVAGE = "salvage"
SHOWN = {  # pairs, as the documents have them
    f"{store}, {catalogue}": f"{shown}, {called}"
    for catalogue, called in (("sqlite", "SQLite"), ("postgres", "PostgreSQL"))
    for store, shown in (("folder", "folder"), ("minio", "MinIO"), ("seaweedfs", "SeaweedFS"))
} | {SALVAGE: "salvage, on files alone"}
STEPS = {"introduce": "before the first step, at the store's probe"}
ORDER = ("register", "archive", "delete")


@dataclass(slots=True)
class Figures:
    """What comes out of one pair. `by_step`: kills at each numbered step."""

    pair: str
    points: int = 0
    kills: int = 0
    not_reached: int = 0
    by_step: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    def count(self, point: Point) -> None:
        self.kills += 1
        step = step_of(point)
        self.by_step[step] = self.by_step.get(step, 0) + 1


def step_of(point: Point) -> str:
    """ "archive 3, record_copy: commit" belongs to "archive 3"."""
    return point[0].partition(",")[0].partition(":")[0]


def merge(parts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Shares of the same pair as one; the points of a pair are the same in each of its shares."""
    whole: dict[str, dict[str, Any]] = {}
    for part in parts:
        into = whole.setdefault(part["pair"], asdict(Figures(part["pair"])))
        for name in ("kills", "not_reached", "seconds", "problems"):
            into[name] += part[name]
        into["points"] = max(into["points"], part["points"])
        into["by_step"] = dict(sorted((Counter(into["by_step"]) + Counter(part["by_step"])).items()))
    return list(whole.values())


# Children


def in_child(work: Callable[[], Any]) -> tuple[int, Any]:
    """`work()` in a forked process: (status, what it returned). A status below 0 is a signal; 1: it raised."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reading)
            signal.alarm(CHILD_SECONDS)
            answer = pickle.dumps(work())
            with open(writing, "wb") as pipe:
                pipe.write(answer)
            code = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(writing)
    with open(reading, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), pickle.loads(answer) if answer else None


def life(
    work: Callable[[CrashPoints], Coroutine[Any, Any, None]], target: Point | None, step: str = "start"
) -> tuple[int, list[Point]]:
    """A life that ends at `target`, or comes to its end: (status, the points it passed)."""

    def lived() -> list[Point]:
        points = CrashPoints(target, step)
        points.install()
        asyncio.run(work(points))
        return points.seen

    status, seen = in_child(lived)
    return status, seen or []


def chosen(points: Sequence[Point], which: str) -> list[Point]:
    """`all` of these points; `steps`: those around numbered calls and commits; `each`: of every name of those the first."""
    around = ("before", "after", "commit", "committed")
    wanted = [p for p in points if which == "all" or p[0].rpartition(": ")[2] in around]
    return [p for p in wanted if which != "each" or p[1] == 1]


# Archiver and deleter


class Pair:
    """One store and one catalogue, with a way back to the beginning."""

    def __init__(
        self, folder: Path, store: str, catalogue: str, location: S3Location | None, postgres: str | None
    ) -> None:
        self.name = f"{store}, {catalogue}"
        self._folder, self._location, scene = folder, location, folder / "scene"
        self._database = KeptDatabase(postgres, f"crash_{os.getpid()}_{store}") if postgres is not None else None
        self._scene = World(scene, self._url(scene))
        scene.mkdir()
        status, made = in_child(lambda: asyncio.run(archive.prepare(self._scene)))
        assert status == 0, "the site could not be made"
        self.made: Made = made
        if self._database is not None:
            self._database.keep()

    def _url(self, folder: Path) -> str:
        return self._database.url if self._database is not None else sqlite_url(folder / "catalogue.db")

    def beginning(self) -> World:
        """The world as it was."""
        folder = self._folder / "world"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self._scene.folder, folder)
        if self._database is not None:
            self._database.restore()
        world = World(folder, self._url(folder), self._location)
        if self._location is not None:
            status, _ = in_child(lambda: asyncio.run(archive.fill_bucket(world, self._scene.folder / "store")))
            assert status == 0, "the bucket could not be filled"
        return world


def run_pair(pair: Pair, which: str, share: tuple[int, int], told: Callable[[str], None]) -> Figures:
    """The chosen points of both lives; where each name is wanted once, they share the names."""
    figures, began = Figures(pair.name), time.monotonic()
    for turn, (order, after) in enumerate(LIVES):
        world = pair.beginning()
        status, seen = life(lambda points, w=world, o=order: archive.live(w, o, points), None)  # type: ignore[misc]
        figures.problems += _after(world, pair, after, f"a life in order ({order})") if status == 0 else ["no life"]
        figures.points += len(seen)
        mine = chosen(seen, which)
        for point in (mine[turn :: len(LIVES)] if which == "each" else mine)[share[0] - 1 :: share[1]]:
            world = pair.beginning()
            status, _ = life(lambda points, w=world, o=order: archive.live(w, o, points), point)  # type: ignore[misc]
            if status == 0:
                figures.not_reached += 1
            elif status != -signal.SIGKILL:
                figures.problems.append(f"{point}: the life ended with status {status}")
            else:
                figures.count(point)
            found = _after(world, pair, after, f"{order} killed at {point[0]} ({point[1]})")
            figures.problems += found
            for problem in found:
                told(problem)
        told(f"{pair.name}: {order}: {figures.kills} kills, {len(figures.problems)} problems")
    figures.by_step = dict(sorted(figures.by_step.items()))
    figures.seconds = round(time.monotonic() - began, 1)
    return figures


def _after(world: World, pair: Pair, order: str, what: str) -> list[str]:
    """What is wrong right after the crash, and what once another process has done all the work."""

    async def restart() -> dict[str, list[str]]:
        broken = await archive.check(world)
        await archive.live(world, order)
        return {"at once": broken, "after the restart": await archive.problems(world, pair.made)}

    status, found = in_child(lambda: asyncio.run(restart()))
    if status != 0:
        return [f"{what}: the restart failed with status {status}"]
    return [f"{what}: {when}: {problem}" for when, said in found.items() for problem in said]


# Salvage


def run_salvage(told: Callable[[str], None]) -> Figures:
    """The recorder's part of it: every point of salvaging what was left of three streams."""
    figures, began = Figures(SALVAGE), time.monotonic()
    with temporary_folder("stroz-crash") as folder:
        scene = folder / "scene"
        assert in_child(lambda: salvaging.prepare(scene))[0] == 0
        whole = folder / "whole"
        shutil.copytree(scene, whole)
        status, seen = life(lambda _points: salvaging.recover(whole), None, "salvage")
        assert status == 0
        _, wanted = in_child(lambda: salvaging.state(whole))
        figures.points = len(seen)
        for point in seen:
            world = folder / "world"
            shutil.rmtree(world, ignore_errors=True)
            shutil.copytree(scene, world)
            status, _ = life(lambda _points, w=world: salvaging.recover(w), point, "salvage")  # type: ignore[misc]
            if status != -signal.SIGKILL:
                figures.not_reached += 1
            else:
                figures.count(point)
            status, found = in_child(lambda w=world: [asyncio.run(salvaging.recover(w)), salvaging.state(w)][1])  # type: ignore[misc]
            if status != 0 or found != wanted:
                figures.problems.append(f"salvage killed at {point[0]} ({point[1]}): {_difference(found, wanted)}")
                told(figures.problems[-1])
    figures.seconds = round(time.monotonic() - began, 1)
    return figures


def _difference(found: Any, wanted: Any) -> str:
    if found is None:
        return "the next salvage failed"
    return "; ".join(f"{name} {found[name]}, not {wanted[name]}" for name in wanted if found[name] != wanted[name])


# The command


@contextmanager
def servers(stores: Sequence[str], catalogues: Sequence[str]) -> Iterator[tuple[dict[str, S3Location], str | None]]:
    """Those that are needed, started on loopback."""
    with ExitStack() as undo:
        locations = {}
        for name, start in (("seaweedfs", embedded.start_seaweedfs), ("minio", embedded.start_minio)):
            if name in stores:
                folder = undo.enter_context(temporary_folder(name))
                locations[name] = undo.enter_context(start(folder / "data")).location
        url = None
        if "postgres" in catalogues:
            programs = postgres_programs()
            if programs is None:
                raise SystemExit("PostgreSQL's server programs are not installed")
            url = undo.enter_context(running_postgres(programs, undo.enter_context(temporary_folder("pg"))))
        yield locations, url


def run_pairs(  # noqa: PLR0917 - as the command line has them
    stores: Sequence[str], catalogues: Sequence[str], which: str, share: tuple[int, int],
    locations: Mapping[str, S3Location], postgres: str | None, told: Callable[[str], None],
) -> list[Figures]:  # fmt: skip
    done = []
    for store in stores:
        for catalogue in catalogues:
            location = locations.get(store)
            if location is not None:
                location = replace(location, bucket=f"crashes-{os.getpid()}-{catalogue}")
            with tempfile.TemporaryDirectory(prefix="stroz-crash-") as folder:
                pair = Pair(Path(folder), store, catalogue, location, postgres if catalogue == "postgres" else None)
                done.append(run_pair(pair, which, share, told))
    return done


def missed_steps(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Numbered steps of each pair at which nobody was killed. Pure."""
    return [
        f"{part['pair']}: nobody was killed at {step}"
        for part in found
        if part["pair"] != SALVAGE
        for step in sorted(NUMBERED - set(part["by_step"]))
    ]


def shortfalls(found: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[str]]:
    """(what fails the run, what is only told): points not reached, and numbered steps at which nobody was killed.

    A pair of which only a share of the points was tried cannot have had every step. Pure.
    """
    failures: list[str] = []
    notes: list[str] = []
    for part in found:
        whole = part["kills"] + part["not_reached"] >= part["points"]
        said = missed_steps([part])
        if part["not_reached"]:
            said.append(f"{part['pair']}: {part['not_reached']} points were not reached")
        (failures if whole else notes).extend(said)
    return failures, notes


def table(found: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: a column for each pair, kills by step below each other. Pure."""
    steps = ["introduce", *sorted(NUMBERED, key=lambda step: (ORDER.index(step.split()[0]), step))]
    rows = [
        ["", *(SHOWN.get(part["pair"], part["pair"]) for part in found)],
        ["crash points", *(part["points"] for part in found)],
        ["killed at", *(part["kills"] for part in found)],
        ["not reached", *(part["not_reached"] for part in found)],
        ["wrong afterwards", *(len(part["problems"]) for part in found)],
        *(
            [STEPS.get(step, step), *("" if p["pair"] == SALVAGE else p["by_step"].get(step, 0) for p in found)]
            for step in steps
        ),
    ]
    lines = [f"| {' | '.join(map(str, cells))} |".replace("|  |", "| |") for cells in rows]
    return "\n".join([lines[0], f"|---|{'--:|' * len(found)}", *lines[1:], ""])


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.support.crashes.run", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--stores", default="folder,seaweedfs,minio")
    parser.add_argument("--catalogues", default="sqlite,postgres")
    parser.add_argument("--points", choices=("all", "steps", "each"), default="all")
    parser.add_argument("--share", default="1/1", metavar="I/N")
    parser.add_argument("--salvage", action="store_true", help="only the recorder's salvage")
    parser.add_argument("--merge", type=Path, nargs="+")
    parser.add_argument("--table", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    def told(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    if arguments.table:
        print(table(json.loads(arguments.table.read_text())), end="")
        return 0
    if arguments.merge:
        found = merge([part for path in arguments.merge for part in json.loads(path.read_text())])
    elif arguments.salvage:
        found = [asdict(run_salvage(told))]
    else:
        part, parts = map(int, arguments.share.split("/"))
        stores, catalogues = arguments.stores.split(","), arguments.catalogues.split(",")
        with servers(stores, catalogues) as (locations, url):
            done = run_pairs(stores, catalogues, arguments.points, (part, parts), locations, url, told)
        done += [run_salvage(told)] if part == 1 else []
        found = [asdict(one) for one in done]
    text = json.dumps(found, indent=1)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")
    failures, notes = shortfalls(found)
    for line in (*failures, *(f"{note} (only a share of its points was tried)" for note in notes)):
        told(line)
    return 1 if failures or any(part["problems"] for part in found) else 0


if __name__ == "__main__":
    sys.exit(main())
