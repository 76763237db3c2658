"""Timelines, answered from merged spans, are those that a plain look at every row gives, whatever happened before."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.catalogue import Catalogue, CopyState, Hold, Registration, StreamTimeline, choose, migrate, sqlite_url
from storage.catalogue import coverage as pure
from storage.catalogue.values import Missing, RecordedSegment, SegmentRef, Span
from tests.support.footage_rows import DAY, SECOND, SPOOL, T0, add_camera, facts, run, spool_copy
from vms.model import Gap, GapReason, Origin, RunInfo, hole_gap_id
from vms.timeline import TimeRange, cover, merge, subtract

STEP = 10 * SECOND  # histories are told in steps around a midnight
EVER = TimeRange(T0 - DAY, T0 + DAY)
EDGE_NS = 1_000_000  # clocks round: two things that should meet may not
KEPT_DAYS = 30

Part = tuple[int, int, bool, Origin]


@dataclass(frozen=True, slots=True)
class Recorded:
    """One segment of a history: of which run, from when, for how many steps."""

    of: int
    start: int
    steps: int
    off: int  # by how many ms it begins early or late
    damaged: bool
    lost: bool  # its copy


@dataclass(frozen=True, slots=True)
class Stated:
    """One gap of a history; `steps` None: still open. `near`: it is told from the start of that segment on."""

    stream: int
    near: int | None
    start: int
    steps: int | None
    off: int
    reason: GapReason
    named: bool = False  # after the run of that segment


_off = st.sampled_from([0, 0, 0, -1, 1, 5])
_origins = st.lists(st.sampled_from([*[Origin.LIVE] * 4, Origin.EDGE, Origin.IMPORT]), min_size=1, max_size=5)
_recorded = st.builds(
    Recorded, st.integers(0, 4), st.integers(-20, 20), st.integers(1, 8), _off, st.booleans(), st.booleans()
)
_stated = st.builds(
    Stated,
    st.integers(0, 1),
    st.none(),
    st.integers(-22, 26),
    st.one_of(st.none(), st.integers(0, 9)),
    _off,
    st.sampled_from([GapReason.PACKET_LOSS, GapReason.STALLED, GapReason.NO_KEYFRAME, GapReason.UNREACHABLE]),
)
_within = st.builds(  # mostly a hole of its segment
    Stated,
    st.just(0),
    st.integers(0, 29),
    st.integers(0, 3),
    st.integers(0, 4),
    _off,
    st.sampled_from(sorted(pure.WITHIN_RECORDING)),
    st.booleans(),
)
_spans = st.tuples(st.integers(-24, 24), st.integers(1, 20)).map(
    lambda t: TimeRange(T0 + t[0] * STEP, T0 + (t[0] + t[1]) * STEP)
)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        made = sqlite_url(tmp_path / "catalogue.db")
    else:
        made = str(request.getfixturevalue("postgres_database"))
    asyncio.run(migrate(made))
    return made


_numbers = itertools.count(1)  # of cameras: every history has its own, beside those of the others


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    origins=_origins,
    recorded=st.lists(_recorded, min_size=1, max_size=30),
    stated=st.lists(st.one_of(_stated, _within), max_size=10),
    fresh=st.lists(_spans, max_size=2),
    condemned_before=st.one_of(st.none(), st.integers(-20, 20)),
    held=st.one_of(st.none(), _spans),
    asked=st.lists(_spans, min_size=1, max_size=4),
    tolerance=st.sampled_from([0, 0, 2_000_000, STEP]),
)
def test_timelines_are_those_of_the_rows(  # noqa: PLR0917
    url: str,
    origins: list[Origin],
    recorded: list[Recorded],
    stated: list[Stated],
    fresh: list[TimeRange],
    condemned_before: int | None,
    held: TimeRange | None,
    asked: list[TimeRange],
    tolerance: int,
) -> None:
    async def live_through() -> None:
        async with Catalogue(url) as catalogue:
            await catalogue.put_store(SPOOL)
            streams = [
                (await add_camera(catalogue, next(_numbers), at_ns=T0 - 15 * STEP)).streams[0].id for _ in range(2)
            ]
            made = await _register(catalogue, streams, origins, recorded)
            await catalogue.put_gaps([_gap(streams, origins, recorded, one, made) for one in stated])
            if held is not None:
                placed = Hold(uuid4(), frozenset(streams[:1]), held, "sprawa", "kowalski", T0, T0 + DAY)
                await catalogue.place_hold(placed)
            if condemned_before is not None:
                now_ns = T0 + condemned_before * STEP + KEPT_DAYS * DAY
                for stream in streams:
                    await catalogue.condemn_expired(stream, now_ns, at_ns=now_ns)
            local = {streams[1]: [pure.Part(one) for one in fresh]}
            for within in asked:
                now_ns = within.end_ns - 3 * STEP
                told = await catalogue.timelines(
                    streams, within, now_ns=now_ns, still_open=local, tolerance_ns=tolerance
                )
                for stream in streams:
                    plain = await _plain(
                        catalogue, stream, within, now_ns, fresh if stream == streams[1] else [], tolerance
                    )
                    assert list(_parts(told[stream])) == list(plain[0])
                    assert told[stream].missing == plain[1]

    asyncio.run(live_through())


async def _register(
    catalogue: Catalogue, streams: Sequence[UUID], origins: Sequence[Origin], recorded: Sequence[Recorded]
) -> list[RunInfo]:
    """In two goes, so that some of it comes late; some copies are found missing afterwards. The runs."""
    first = T0 - 30 * STEP
    runs: list[RunInfo] = [run(streams[n % 2], first, origin) for n, origin in enumerate(origins)]
    items = []
    for number, one in enumerate(recorded):
        of = runs[one.of % len(runs)]
        made = facts(of, number, T0 + one.start * STEP + one.off * EDGE_NS, one.steps * STEP)
        made = replace(made, damaged_units=int(one.damaged))
        items.append(Registration(made, spool_copy(made), of))
    half = len(items) // 2
    await catalogue.register_many(items[half:])
    await catalogue.register_many(items[:half])
    lost = [(i, replace(i.copy, state=CopyState.MISSING)) for i, one in zip(items, recorded, strict=True) if one.lost]
    await catalogue.record_copies([(SegmentRef.of(item.facts), copy) for item, copy in lost])
    return runs


def _gap(
    streams: Sequence[UUID], origins: Sequence[Origin], recorded: Sequence[Recorded], one: Stated, runs: list[RunInfo]
) -> Gap:
    stream, from_step, name = one.stream, one.start, uuid4()
    if one.near is not None:
        beside = recorded[one.near % len(recorded)]
        stream, from_step = beside.of % len(origins) % 2, beside.start + one.start
        if one.named:
            name = hole_gap_id(runs[beside.of % len(runs)].id, next(_numbers))
    start = T0 + from_step * STEP + one.off * EDGE_NS
    end = None if one.steps is None else start + one.steps * STEP
    return Gap(name, streams[stream], start, end, one.reason)


async def _plain(  # noqa: PLR0917
    catalogue: Catalogue, stream: UUID, within: TimeRange, now_ns: int, local: Sequence[TimeRange], tolerance: int
) -> tuple[Iterator[Part], tuple[Missing, ...]]:
    """The same from rows: every segment and gap of the stream is looked at, one by one."""
    every = await catalogue.segments([stream], EVER)
    gaps = await catalogue.gaps([stream], within.start_ns, within.end_ns)
    wanted = await catalogue.expectations(stream, within)
    here = [s for s in every if s.range.overlaps(within)]
    within_recording = [g for g in gaps if g.reason in pure.WITHIN_RECORDING and g.end_ns is not None]
    near = [
        pure.Part(s.range, s.run_id, s.origin is Origin.LIVE, s.damaged)
        for s in every
        if any(_meet(g, s) for g in within_recording)
    ]
    near += [pure.Part(one) for one in local]
    holes = pure.holes_of_runs(gaps, near)
    merged: list[list[TimeRange]] = []
    for damaged in (False, True):
        spans = merge((s.range for s in here if s.damaged is damaged), join_ns=tolerance)
        fresh = [] if damaged else local
        of_runs: dict[UUID | None, list[TimeRange]] = {} if damaged else {None: list(local)}
        for s in every:
            if s.damaged is damaged:
                of_runs.setdefault(s.run_id, []).append(s.range)
        seen = [left for r, mine in of_runs.items() for left in subtract(merge(mine, tolerance), holes.get(r, ()))]
        cut = subtract(itertools.chain(*holes.values()), seen)
        merged.append(subtract([*spans, *fresh], cut))
        if not tolerance:  # no more than this: each run's own segments, less its own holes
            assert cover(within, merged[-1]) == cover(within, seen)
    lost = [s for s in here if all(copy.state is not CopyState.PRESENT for copy in s.copies)]
    gone = subtract(merge(s.range for s in lost), [s.range for s in every if s not in lost])
    merged = [subtract(merged[0], subtract(gone, local)), subtract(merged[1], gone)]
    losses = [Gap(uuid4(), stream, r.start_ns, r.end_ns, GapReason.LOST) for r in gone]
    missing = pure.missing(
        within, wanted, merged[0] + merged[1], [*gaps, *losses], until_ns=now_ns, tolerance_ns=tolerance
    )
    holed = [replace(s, holes=tuple(cover(s.range, holes.get(s.run_id, ())))) for s in every]
    shown = [(c.range, c.segment.origin, False) for c in choose(holed) if c.segment.origin is not Origin.LIVE]
    listed = choose(await catalogue.segments([stream], within))  # with the holes that the catalogue gives them
    for origin in set(Origin) - {Origin.LIVE}:
        mine = [r for r, o, _ in shown if o is origin]
        assert cover(within, [c.range for c in listed if c.segment.origin is origin]) == cover(within, mine)
    labelled = pure.labelled(pure.spans(within, *merged), shown)
    return _joined((s.range.start_ns, s.range.end_ns, s.damaged, s.origin) for s in labelled), missing


def _meet(gap: Gap, segment: RecordedSegment) -> bool:
    assert gap.end_ns is not None
    return segment.start_ns < gap.end_ns and segment.end_ns > gap.start_ns


def _parts(told: StreamTimeline) -> Iterator[Part]:
    def plain(span: Span) -> Part:
        return span.range.start_ns, span.range.end_ns, span.damaged, span.origin

    return _joined(plain(span) for span in told.spans)


def _joined(parts: Iterator[Part]) -> Iterator[Part]:
    """Neighbours that meet and say the same are one: whether footage came late is another test's matter."""
    before: Part | None = None
    for part in parts:
        if before is not None and before[1] == part[0] and before[2:] == part[2:]:
            before = (before[0], part[1], *before[2:])
            continue
        if before is not None:
            yield before
        before = part
    if before is not None:
        yield before
