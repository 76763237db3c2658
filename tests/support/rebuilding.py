"""A site with everything a rebuild must bring back, and what a catalogue knows as one comparable value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

from storage.archiver import Archiver
from storage.catalogue import Catalogue, Hold
from storage.deleter import Deleter
from storage.objects.base import ObjectStore
from storage.rebuild import RebuildSources
from storage.spool import Spool
from tests.support.footage_rows import DAY, HOUR, camera
from tests.support.sealed import HOST, OBJECT_STORE, SECOND, SPOOL_STORE, WALL_NS, Site
from vms.clock import SimulatedClock
from vms.model import Camera, Gap, GapReason, LegalProfile, Origin
from vms.timeline import TimeRange, merge

NOW_NS = WALL_NS + 5 * HOUR
EVER = (0, 2**62)


async def make_footage(catalogue: Catalogue, spool: Spool, store: ObjectStore) -> list[Camera]:
    """Three cameras; footage that was deleted, archived and journalled, and that is in the spool still."""
    default = await catalogue.default_profile()
    school = await catalogue.put_profile(LegalProfile(uuid4(), "Szkoły", "art. 108a", 60, audio=True))
    first = await catalogue.add_camera(
        camera(7, default.id, "Rynek Główny", sub=True, street="Rynek 1", lat=50.06, username="stroz", password="hasło"),
        at_ns=WALL_NS - 50 * DAY,
    )  # fmt: skip
    second = await catalogue.add_camera(camera(8, school.id, "Szkoła 4"), at_ns=WALL_NS - DAY)
    third = await catalogue.add_camera(camera(9, default.id, "Dworzec"), at_ns=WALL_NS - DAY)
    rynek, school_stream, station = (c.streams[0].id for c in (first, second, third))
    site = Site(spool, catalogue, rynek)
    clock = SimulatedClock(WALL_NS - 40 * DAY + 5 * HOUR)
    archiver = Archiver(
        spool, catalogue, store, host=HOST, spool_store=SPOOL_STORE, object_store=OBJECT_STORE, clock=clock
    )
    old = site.run(start_ns=WALL_NS - 40 * DAY, end_ns=WALL_NS - 40 * DAY + 300 * SECOND, end_reason=GapReason.STALLED)
    await site.seal(old, range(4))
    await one_pass(archiver)
    clock.advance(40 * DAY - 3 * HOUR)
    held = frozenset({rynek, station})
    within = TimeRange(WALL_NS - 40 * DAY + 150 * SECOND, WALL_NS - 39 * DAY)
    await catalogue.place_hold(Hold(uuid4(), held, within, "KMP 7/26", "kowalska", clock.wall_ns(), NOW_NS + DAY))
    done = await Deleter(catalogue, {OBJECT_STORE.name: store}, clock=clock).run_once()
    assert done.reported_segments == 2
    await archiver.state_deletions(done.at_ns)
    ended = site.run(end_ns=WALL_NS + 400 * SECOND, end_reason=GapReason.UNREACHABLE)
    await site.seal(ended, range(5))
    edge = site.run(origin=Origin.EDGE, start_ns=WALL_NS + 330 * SECOND, end_ns=WALL_NS + 450 * SECOND)
    await site.seal(edge, range(2))
    other = site.run(stream_id=school_stream, start_ns=WALL_NS + 20 * SECOND)
    await site.seal(other, range(3))
    last = site.run(stream_id=station, end_ns=WALL_NS + 60 * SECOND, end_reason=GapReason.DISABLED)
    await site.seal(last, [0])
    for reason, start, end in (
        (GapReason.UNREACHABLE, 400, 700), (GapReason.STALLED, 30, 33), (GapReason.REFUSED, 701, None)
    ):  # fmt: skip
        ends = None if end is None else WALL_NS + end * SECOND
        spool.put_gap(Gap(uuid4(), rynek, WALL_NS + start * SECOND, ends, reason, "opis"))
    await catalogue.retire_camera(third.id, at_ns=WALL_NS + 60 * SECOND)
    await spool.drained()
    clock.advance(3 * HOUR)
    await one_pass(archiver)
    await site.seal(other, [3])  # these stay in the spool
    await site.seal(site.run(start_ns=NOW_NS - HOUR), range(2))
    await archiver.register_sealed()
    return [first, second, third]


async def one_pass(archiver: Archiver) -> None:
    """What an archiver does once everything has settled."""
    await archiver.register_sealed()
    await archiver.upload_pending()
    await archiver.write_journals()


def sources(catalogue: Catalogue, spool: Spool, store: ObjectStore, **changes: Any) -> RebuildSources:
    plain = RebuildSources(
        catalogue, store, OBJECT_STORE, spool, SPOOL_STORE, HOST, LegalProfile(uuid4(), "inny", "art. 11", 30)
    )
    return replace(plain, **changes)


async def known(catalogue: Catalogue, *, passwords: bool = False) -> dict[str, Any]:
    """Everything but what a rebuild cannot know: row keys, arrival numbers (and by them what came late), history, ids of
    gaps of deleted footage.
    """
    cameras = await catalogue.cameras(include_retired=True)
    if not passwords:
        cameras = [replace(c, username="", password="") for c in cameras]
    streams = sorted(await catalogue.all_streams())
    gaps = await catalogue.gaps(streams, *EVER)
    facts: dict[str, Any] = {
        "cameras": sorted(cameras, key=lambda c: c.id),
        "profiles": await catalogue.profiles(),
        "holds": sorted(await catalogue.holds(include_released=True), key=lambda h: h.id),
        "stores": sorted(await catalogue.stores(), key=lambda s: s.name),
        "gaps": sorted((g for g in gaps if g.reason is not GapReason.DELETED), key=lambda g: g.id),
        "deleted": await _deleted(streams, gaps),
    }
    for stream in streams:
        facts[f"runs {stream}"] = sorted(await catalogue.runs(stream, *EVER), key=lambda r: r.id)
        facts[f"expected {stream}"] = await catalogue.expectations(stream, TimeRange(*EVER))
        facts[f"journals {stream}"] = sorted(await catalogue.journals(stream, *EVER), key=lambda j: j.key)
        facts[f"report {stream}"] = await catalogue.deleted(stream, TimeRange(*EVER))
        found = await catalogue.segments([stream], TimeRange(*EVER))
        facts[f"segments {stream}"] = sorted(
            (replace(s, arrival=0, copies=tuple(sorted(s.copies, key=lambda c: c.store))) for s in found),
            key=lambda s: (s.run_id, s.number),
        )
        covered = await catalogue.timelines([stream], TimeRange(WALL_NS - 41 * DAY, NOW_NS), now_ns=NOW_NS)
        told = covered[stream]
        facts[f"timeline {stream}"] = replace(told, spans=tuple(replace(s, late=False) for s in told.spans))
    return facts


async def _deleted(streams: Sequence[UUID], gaps: Sequence[Gap]) -> dict[UUID, list[TimeRange]]:
    return {
        stream: merge(
            TimeRange(g.start_ns, g.end_ns)
            for g in gaps
            if g.stream_id == stream and g.reason is GapReason.DELETED and g.end_ns is not None
        )
        for stream in streams
    }


def differences(before: dict[str, Any], after: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What is not equal."""
    names = sorted(before.keys() | after.keys())
    return {n: (before.get(n), after.get(n)) for n in names if before.get(n) != after.get(n)}
