"""The archiver's and the deleter's work on one small site: what is there before, one life of the process, and the end.

Before: footage that expired 40 days ago (one segment stored, one held, one with a spool row left from an earlier crash,
one that never left the spool), a closed run of three hours ago that waits in the spool, an open run, a closed and an
open gap, and a brake that a clock had engaged. After any life and a restart the end must be the same: `problems`.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from storage.archiver import Archiver
from storage.catalogue import Catalogue, Copy, Hold, SegmentRef, StoreInfo, StoreKind, migrate
from storage.check import check_site
from storage.check_findings import Depth, Kind
from storage.check_looks import Places
from storage.deleter import Deleter
from storage.journal import HOUR_NS, SETTLE_NS, Journal, parse_journal
from storage.objects import FolderStore, ObjectStore, segment_key
from storage.objects.s3 import S3Store
from storage.objects.s3_wire import S3Location
from storage.retention import DAY_NS, BrakeRule
from storage.spool import Spool
from storage.stores import SpoolCopies, StoreCopies
from tests.support.crashes.points import CrashPoints, StepOf
from tests.support.footage_rows import PlainSealer, add_camera
from tests.support.sealed import HOST, SECOND, SPOOL_STORE, WALL_NS, Site
from vms.clock import SimulatedClock
from vms.model import Gap, GapReason, SegmentFacts
from vms.timeline import TimeRange

OBJECT_STORE = StoreInfo("main", StoreKind.S3)
NOW_NS = WALL_NS + 3 * HOUR_NS + SETTLE_NS
EXPIRED_NS = WALL_NS - 40 * DAY_NS
FAR = TimeRange(0, 2**62)
FRAMES, SIZE = 20, 2_000  # 40 KB a segment


def _by_key(first: str, other: str) -> StepOf:
    return lambda _name, args: first if str(args[0]).startswith("segments/") else other


CATALOGUE_STEPS: dict[str, str | StepOf] = {
    "put_store": "introduce", "put_runs": "register 1", "put_gaps": "register 1", "register_many": "register 2",
    "record_copy": "archive 3", "drop_copy": "archive 4", "record_journal": "archive 6", "expired": "delete 1",
    "engage_brake": "delete 1", "release_brake": "delete 1", "condemn_expired": "delete 2", "objects_gone": "delete 3",
    "report_deleted": "delete 4",
}  # fmt: skip
STORE_STEPS: dict[str, str | StepOf] = {
    "check": "introduce",
    "put": _by_key("archive 1", "archive 6"),
    "head": _by_key("archive 2", "archive 6"),
    "delete": "delete 3",
}
SPOOL_STEPS: dict[str, str | StepOf] = {
    "forget": lambda _name, args: "archive 5" if args[0].parent.name == "sealed" else "archive 6"
}
NUMBERED = {
    *(f"register {n}" for n in (1, 2)), *(f"archive {n}" for n in range(1, 7)), *(f"delete {n}" for n in range(1, 5))
}  # fmt: skip
"""The steps of ARCHITECTURE.md that are walked here."""


@dataclass(frozen=True, slots=True)
class World:
    """One site on disk: `folder` has its spool and, if that is a folder, its store; else the bucket is at `location`."""

    folder: Path
    url: str
    location: S3Location | None = None

    def store(self) -> ObjectStore:
        return FolderStore(self.folder / "store") if self.location is None else S3Store(self.location)

    def catalogue(self) -> Catalogue:
        return Catalogue(self.url, PlainSealer())


@dataclass(frozen=True, slots=True)
class Made:
    """What `prepare` made, by what must become of it."""

    stream_id: UUID
    kept: tuple[SegmentFacts, ...]
    deleted: tuple[SegmentFacts, ...]
    gaps: tuple[Gap, ...]
    open_run: UUID


async def prepare(world: World) -> Made:
    """The site before, in a new folder and an empty database; its objects in a folder store."""
    await migrate(world.url)
    store, spool = FolderStore(world.folder / "store"), Spool(world.folder / "spool")
    spool.prepare()
    catalogue = world.catalogue()
    camera = await add_camera(catalogue, 1, at_ns=EXPIRED_NS)
    site = Site(spool, catalogue, camera.streams[0].id)
    seal = _sealing(site)
    old = site.run(start_ns=EXPIRED_NS, end_ns=EXPIRED_NS + 240 * SECOND, end_reason=GapReason.STALLED)
    stored = await seal(old, [0, 1, 2])
    early = SimulatedClock(EXPIRED_NS + 2 * HOUR_NS)
    archiver = Archiver(
        spool, catalogue, store, host=HOST, spool_store=SPOOL_STORE, object_store=OBJECT_STORE, clock=early
    )
    for step in (archiver.register_sealed, archiver.upload_pending, archiver.write_journals):
        await step()
    held = Hold(
        uuid4(), frozenset({site.stream_id}), TimeRange(stored[1].start_ns, stored[1].end_ns), "Kp 3/26", "policja",
        EXPIRED_NS + DAY_NS, NOW_NS + DAY_NS,
    )  # fmt: skip
    await catalogue.place_hold(held)
    name = f"{stored[2].stream_id}_{stored[2].start_ns}-{old.id}-2.mp4"
    shutil.copy2(world.folder / "store" / _key(stored[2]), spool.sealed_path / name)
    left = Copy(SPOOL_STORE.name, name, stored[2].size_bytes, stored[2].digest)
    await catalogue.record_copy(SegmentRef.of(stored[2]), left)
    late = await seal(old, [3])
    fresh = site.run(start_ns=WALL_NS, end_ns=WALL_NS + 120 * SECOND, end_reason=GapReason.UNREACHABLE)
    new = await seal(fresh, [0, 1])
    going_on = site.run(start_ns=NOW_NS - 200 * SECOND)
    newest = await seal(going_on, [0])
    after = WALL_NS + 120 * SECOND
    gaps = (
        Gap(uuid4(), site.stream_id, after, after + 10 * SECOND, GapReason.UNREACHABLE),
        Gap(uuid4(), site.stream_id, NOW_NS - 60 * SECOND, None, GapReason.STALLED),
    )
    for gap in gaps:
        spool.put_gap(gap)
    await spool.drained()
    await catalogue.engage_brake(at_ns=NOW_NS - HOUR_NS, footage_ns=500 * HOUR_NS, limit_ns=48 * HOUR_NS)
    await site.close()
    return Made(site.stream_id, (stored[1], *new, *newest), (stored[0], stored[2], *late), gaps, going_on.id)


def _sealing(site: Site) -> Callable[..., Any]:
    async def seal(run: Any, numbers: list[int]) -> list[SegmentFacts]:
        return await site.seal(run, numbers, frames=FRAMES, size=SIZE)

    return seal


def _key(facts: SegmentFacts) -> str:
    return segment_key(facts.stream_id, facts.run_id, facts.number, facts.start_ns)


async def live(world: World, order: str, points: CrashPoints | None = None) -> None:
    """One life: every step of both procedures once. `order`: what comes first once everything is registered."""
    catalogue, store, spool = world.catalogue(), world.store(), Spool(world.folder / "spool")
    watched: Any = catalogue
    archiver_store: Any = store
    archiver_spool: Any = spool
    if points is not None:
        points.watch_commits(catalogue)
        watched = points.around(catalogue, CATALOGUE_STEPS)
        archiver_store, archiver_spool = points.around(store, STORE_STEPS), points.around(spool, SPOOL_STEPS)
    clock = SimulatedClock(NOW_NS)
    archiver = Archiver(
        archiver_spool, watched, archiver_store, host=HOST, spool_store=SPOOL_STORE, object_store=OBJECT_STORE,
        clock=clock, uploads=1,
    )  # fmt: skip

    places: dict[str, Any] = {
        OBJECT_STORE.name: StoreCopies(store, archiver.is_uploading),
        SPOOL_STORE.name: SpoolCopies(spool),
    }
    if points is not None:
        places = {name: points.around(place, {"delete": "delete 3"}) for name, place in places.items()}
    uploads = {SPOOL_STORE.name: OBJECT_STORE.name}

    async def delete() -> None:
        # A rule that no plan passes first, so that the brake is engaged, and let go.
        for rule in (BrakeRule(factor=0, floor_per_stream_ns=0, floor_ns=0), BrakeRule()):
            await Deleter(watched, places, clock=clock, rule=rule, uploads=uploads).run_once()

    async def archive() -> None:
        await archiver.upload_pending()
        await archiver.write_journals()

    async def register() -> None:
        await archiver.register_sealed()

    steps = {
        "archive first": (register, archive, delete),
        "delete between": (register, delete, archive, delete),
        "delete first": (delete, register, archive, delete),
    }[order]
    for step in steps:
        await step()
    await spool.close()
    await catalogue.close()
    await store.close()


async def check(world: World, depth: Depth = Depth.DIGEST) -> list[str]:
    """What `vms check` finds, but for objects that a broken-off start-up probe left."""
    catalogue, store, spool = world.catalogue(), world.store(), Spool(world.folder / "spool")
    try:
        places = Places(catalogue, spool, store, spool_name=SPOOL_STORE.name, store_name=OBJECT_STORE.name, host=HOST)
        report = await check_site(places, depth, settle_seconds=0, clock=SimulatedClock(NOW_NS))
        found = [
            f"{f.invariant} {f.kind}: {f.detail} {f.store} {f.key}"
            for f in report.findings
            if f.kind is not Kind.PROBE_LEFT
        ]
        return found if report.is_complete else [*found, f"a store was out of reach: {places.errors}"]
    finally:
        await spool.close()
        await catalogue.close()
        await store.close()


async def problems(world: World, made: Made) -> list[str]:
    """What is twice, missing or left over once a process has lived to its end."""
    found = await check(world)
    catalogue, store, spool = world.catalogue(), world.store(), Spool(world.folder / "spool")
    try:
        found += await _wrong_rows(catalogue, made)
        objects = [info.key async for info in store.list("")]
        due = sorted(_key(facts) for facts in made.kept)
        if (stored := sorted(k for k in objects if k.startswith("segments/"))) != due:
            found.append(f"objects {stored}, not {due}")
        written = [k for k in objects if k.startswith("journals/")]
        journals = [parse_journal(await store.read(key, 0, 1 << 20)) for key in written]
        found += _wrong_journals(journals, made)
        rows = [row.key for row in await catalogue.journals(made.stream_id, 0, 2**62)]
        if sorted(rows) != sorted(written):
            found.append(f"journals {sorted(written)}, and rows of {sorted(rows)}")
        if spool.sealed_names():
            found.append(f"left in the spool: {sorted(spool.sealed_names())}")
        facts = sorted(spool.fact_stamps())
        if facts != sorted([f"gap-{made.gaps[1].id}.json", f"run-{made.open_run}.json"]):
            found.append(f"facts in the spool: {facts}")
    finally:
        await spool.close()
        await catalogue.close()
        await store.close()
    return found


async def _wrong_rows(catalogue: Catalogue, made: Made) -> list[str]:
    found = []
    recorded = {s.ref: s for s in await catalogue.segments([made.stream_id], FAR)}
    if set(recorded) != {SegmentRef.of(facts) for facts in made.kept}:
        found.append(f"segments {sorted((str(r.run_id), r.number) for r in recorded)}")
    found += [
        f"copies of segment {s.number}: {s.copies}"
        for s in recorded.values()
        if [c.store for c in s.copies] != [OBJECT_STORE.name]
    ]
    reported = await catalogue.deletion_report(NOW_NS // DAY_NS)
    if Counter(SegmentRef(d.run_id, d.number) for d in reported) != Counter(map(SegmentRef.of, made.deleted)):
        found.append(f"deletion report: {[(d.run_id, d.number) for d in reported]}")
    gone_ns = sum(facts.end_ns - facts.start_ns for facts in made.deleted)
    if (days := await catalogue.condemned_by_day(0, 10**6)) != {NOW_NS // DAY_NS: gone_ns}:
        found.append(f"footage condemned by day {days}, not {gone_ns}")
    if pending := await catalogue.pending_deletions():
        found.append(f"{pending} segments are condemned and not deleted")
    if await catalogue.brake_state() is not None:
        found.append("the brake is engaged")
    gaps = await catalogue.gaps([made.stream_id], 0, 2**62)
    facts = [gap for gap in gaps if gap.reason is not GapReason.DELETED]
    if sorted(facts, key=lambda g: g.start_ns) != sorted(made.gaps, key=lambda g: g.start_ns):
        found.append(f"gaps {facts}")
    cut = sorted((g.start_ns, g.end_ns or 0) for g in gaps if g.reason is GapReason.DELETED)
    covered = sum(end - start for start, end in cut)
    if covered != gone_ns or any(a[1] > b[0] for a, b in pairwise(cut)):
        found.append(f"gaps of what was deleted: {cut}")
    runs = await catalogue.runs(made.stream_id, 0, 2**62)
    if len(runs) != 3 or [run.id for run in runs if run.end_ns is None] != [made.open_run]:
        found.append(f"runs {runs}")
    return found


def _wrong_journals(journals: list[Journal], made: Made) -> list[str]:
    """Everything settled is stated once; what was deleted meanwhile at most once."""
    lines = Counter((line.run_id, line.number) for journal in journals for line in journal.segments)
    runs = Counter((fact.run.id, fact.run.end_ns) for journal in journals for fact in journal.runs)
    gaps = Counter(gap.id for journal in journals for gap in journal.gaps)
    found = []
    settled = {(f.run_id, f.number) for f in made.kept if f.run_id != made.open_run}
    allowed = settled | {(f.run_id, f.number) for f in made.deleted}
    if not settled <= set(lines) <= allowed or any(count > 1 for count in lines.values()):
        found.append(f"journals state segments {dict(lines)}")
    if set(gaps) != {made.gaps[0].id} or gaps.total() != 1:
        found.append(f"journals state gaps {dict(gaps)}")
    if len(runs) != 4 or runs.total() != 4:  # begun and ended, of the two that have
        found.append(f"journals state runs {dict(runs)}")
    return found


async def fill_bucket(world: World, source: Path) -> None:
    """Make the bucket hold what the folder store at `source` holds, and nothing else."""
    target, wanted = world.store(), FolderStore(source)
    try:
        await target.check()
        due = {info.key: await wanted.head(info.key) async for info in wanted.list("")}
        for key in [info.key async for info in target.list("")]:
            await target.delete(key)
        for key, info in due.items():
            assert info.digest is not None
            await target.put(key, source / key, digest=info.digest, size_bytes=info.size_bytes)
    finally:
        await target.close()
