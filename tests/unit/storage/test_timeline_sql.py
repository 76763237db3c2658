"""Coverage as SQL merges it equals coverage reckoned segment by segment; pure choice and reasons per instant."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID, uuid4

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from storage.catalogue import Catalogue, Chosen, Expectation, Registration, Span, choose, migrate, spans, sqlite_url
from storage.catalogue.coverage import Part, best_per_instant, holes, holes_of_runs, missing, nowhere
from storage.catalogue.values import RecordedSegment
from tests.support.footage_rows import DAY, MINUTE, SECOND, SPOOL, T0, add_camera, facts, record, run, spool_copy
from vms.model import Codec, Gap, GapReason, Origin, hole_gap_id, hole_run_mark
from vms.timeline import TimeRange, cover, gaps_between, merge, subtract

_ranges = st.tuples(st.integers(0, 40), st.integers(1, 12)).map(lambda t: TimeRange(t[0], t[0] + t[1]))


@settings(max_examples=20, deadline=None)
@given(
    rows=st.lists(st.tuples(_ranges, st.booleans(), st.integers(0, 2)), max_size=25),
    within=_ranges,
    tolerance=st.integers(0, 2),
)
def test_sql_agrees_with_arithmetic(rows: list[tuple[TimeRange, bool, int]], within: TimeRange, tolerance: int) -> None:
    async def ask(folder: str) -> tuple[tuple[Span, ...], list[TimeRange]]:
        url = sqlite_url(Path(folder) / "c.db")
        await migrate(url)
        async with Catalogue(url) as catalogue:
            await catalogue.put_store(SPOOL)
            stream = (await add_camera(catalogue, at_ns=T0 - MINUTE)).streams[0].id
            runs = [run(stream) for _ in range(3)]
            items = []
            for number, (r, hurt, of) in enumerate(rows):
                f = facts(runs[of], number, T0 + r.start_ns, r.duration_ns, damaged_units=int(hurt))
                items.append(Registration(f, spool_copy(f), runs[of]))
            await catalogue.register_many(items)
            asked = TimeRange(T0 + within.start_ns, T0 + within.end_ns)
            told = (await catalogue.timelines([stream], asked, now_ns=asked.end_ns, tolerance_ns=tolerance))[stream]
            return told.spans, [m.range for m in told.missing]

    with TemporaryDirectory() as folder:
        spans, holes = asyncio.run(ask(folder))

    def shifted(hurt: bool) -> list[TimeRange]:
        kept = [TimeRange(T0 + r.start_ns, T0 + r.end_ns) for r, damaged, _ in rows if damaged is hurt]
        return merge((k for k in kept if k.overlaps(asked)), join_ns=tolerance)

    asked = TimeRange(T0 + within.start_ns, T0 + within.end_ns)
    whole = cover(asked, shifted(False))
    assert [s.range for s in spans if not s.damaged] == whole
    assert [s.range for s in spans if s.damaged] == cover(asked, subtract(shifted(True), whole))
    both = merge([*shifted(False), *shifted(True)], join_ns=tolerance)
    assert holes == gaps_between(asked, both)


@given(st.lists(st.tuples(_ranges, st.integers(0, 3)), max_size=12))
def test_the_best_at_every_instant(items: list[tuple[TimeRange, int]]) -> None:
    found = best_per_instant([r for r, _ in items], [rank for _, rank in items])
    assert all(a.end_ns <= b.start_ns for (a, _), (b, _) in itertools.pairwise(found))
    for instant in range(55):
        covering = [(rank, i) for i, (r, rank) in enumerate(items) if r.contains(instant)]
        chosen = [i for r, i in found if r.contains(instant)]
        assert chosen == ([min(covering)[1]] if covering else [])


def _segment(start: int, end: int, run_id: UUID, number: int = 0, **fields: object) -> RecordedSegment:
    plain = RecordedSegment(
        arrival=number, stream_id=UUID(int=1), run_id=run_id, number=number, start_ns=start, end_ns=end,
        duration_ticks=1, clock_hz=90_000, size_bytes=1, digest=b"", seal=b"", independent=True, damaged=False,
        codec=Codec.H264, width=1920, height=1080, origin=Origin.LIVE, copies=(), location="store",
    )  # fmt: skip
    return replace(plain, **fields)  # type: ignore[arg-type]


def test_choosing_between_runs() -> None:
    first, second = UUID(int=2), UUID(int=3)
    whole, hurt = _segment(0, 10, second), _segment(0, 10, first, damaged=True)
    assert choose([hurt, whole]) == [Chosen(TimeRange(0, 10), whole)]
    live, edge = _segment(5, 10, first), _segment(0, 20, second, origin=Origin.EDGE)
    assert choose([edge, live]) == [
        Chosen(TimeRange(0, 5), edge),
        Chosen(TimeRange(5, 10), live),
        Chosen(TimeRange(10, 20), edge),
    ]
    small, large = _segment(0, 10, first, width=640, height=480), _segment(5, 10, second, origin=Origin.VEHICLE)
    assert [c.segment for c in choose([small, large])] == [small, large]
    assert choose([]) == []


def test_the_choice_does_not_hop_between_equal_runs() -> None:
    first, second = UUID(int=9), UUID(int=2)
    of_first = [_segment(n * 10, n * 10 + 10, first, n) for n in range(5)]
    of_second = [_segment(n * 10 + 3, n * 10 + 13, second, n) for n in range(5)]
    assert {c.segment.run_id for c in choose([*of_second, *of_first])[:-1]} == {first}


@given(
    expected=st.lists(st.tuples(_ranges, st.sampled_from([None, GapReason.DISABLED])), max_size=3),
    covered=st.lists(_ranges, max_size=5),
    gaps=st.lists(
        st.tuples(_ranges, st.booleans(), st.sampled_from([GapReason.STALLED, GapReason.DELETED])), max_size=5
    ),
    until=st.integers(0, 60),
)
def test_every_missing_instant_has_one_reason(
    expected: list[tuple[TimeRange, GapReason | None]],
    covered: list[TimeRange],
    gaps: list[tuple[TimeRange, bool, GapReason]],
    until: int,
) -> None:
    stream = uuid4()
    wanted = [Expectation(stream, r.start_ns, r.end_ns, why) for r, why in expected]
    stated = [Gap(uuid4(), stream, r.start_ns, None if is_open else r.end_ns, why) for r, is_open, why in gaps]
    found = missing(TimeRange(5, 50), wanted, covered, stated, until_ns=until)
    for instant in range(60):
        lost = (
            5 <= instant < min(50, until)
            and any(r.contains(instant) for r, _ in expected)
            and not any(r.contains(instant) for r in covered)
        )
        here = [m.reason for m in found if m.range.contains(instant)]
        assert len(here) == int(lost)
        if lost:
            reasons = {g.reason for g in stated if g.start_ns <= instant and (g.end_ns is None or instant < g.end_ns)}
            suspended = {why for r, why in expected if why and r.contains(instant)}
            order = [GapReason.DELETED, GapReason.DISABLED, GapReason.STALLED]
            assert here[0] == next((r for r in order if r in reasons | suspended), GapReason.UNKNOWN)
    assert all(a.range.end_ns <= b.range.start_ns for a, b in itertools.pairwise(found))


def test_the_latest_of_two_gaps_gives_the_reason() -> None:
    stream = uuid4()
    told = missing(
        TimeRange(0, 100),
        [Expectation(stream, 0, None)],
        [],
        [Gap(uuid4(), stream, 10, None, GapReason.UNREACHABLE), Gap(uuid4(), stream, 40, 60, GapReason.REFUSED)],
        until_ns=80,
    )
    assert [(m.range.start_ns, m.range.end_ns, m.reason) for m in told] == [
        (0, 10, GapReason.UNKNOWN),
        (10, 40, GapReason.UNREACHABLE),
        (40, 60, GapReason.REFUSED),
        (60, 80, GapReason.UNREACHABLE),
    ]


async def test_coverage_is_answered_from_the_spans_by_their_key(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "c.db")
    await migrate(url)
    async with Catalogue(url) as catalogue:
        query = spans.overlapping_query([1, 2], TimeRange(T0, T0 + MINUTE))

        def explain(conn: object) -> str:
            compiled = query.compile(conn.engine, compile_kwargs={"literal_binds": True})  # type: ignore[attr-defined]
            rows = conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}")  # type: ignore[attr-defined]
            return " / ".join(row[3] for row in rows)

        plan = await catalogue._db.read(explain)
        assert "USING PRIMARY KEY (stream_key=? AND start_ns>? AND start_ns<?)" in plan
        assert "TEMP B-TREE" not in plan


def _gap(start: int, end: int | None, reason: GapReason = GapReason.STALLED, stream: UUID | None = None) -> Gap:
    return Gap(uuid4(), stream or uuid4(), T0 + start * SECOND, None if end is None else T0 + end * SECOND, reason)


_SEGMENTS = [TimeRange(T0 + a * SECOND, T0 + b * SECOND) for a, b in ((0, 60), (60, 95), (100, 160))]
_BESIDE = [(60, 100), (30, 100), (95, 100), (94, 95), (95, 110), (0, 160), (-5, 200)]


def test_only_a_gap_strictly_within_a_live_segment_cuts_it() -> None:
    assert [holes([_gap(a, b)], _SEGMENTS) for a, b in _BESIDE] == [[]] * len(_BESIDE)
    within = [_gap(10, 12), _gap(11, 20), _gap(61, 94, GapReason.PACKET_LOSS), _gap(10, 30, GapReason.UNREACHABLE)]
    assert holes([*within, _gap(110, None)], _SEGMENTS[::-1]) == [
        TimeRange(T0 + a * SECOND, T0 + b * SECOND) for a, b in ((10, 20), (61, 94))
    ]
    assert holes(within, []) == []
    over_a_border = TimeRange(T0 + 50 * SECOND, T0 + 70 * SECOND)  # two segments that meet are one recording
    assert holes([_gap(50, 70)], _SEGMENTS) == [over_a_border]
    assert holes([_gap(50, 70)], [_SEGMENTS[0], _SEGMENTS[2]]) == []


def test_a_gap_that_names_its_run_is_a_hole_of_that_one_alone() -> None:
    first, again, card = uuid4(), uuid4(), uuid4()
    whole = TimeRange(T0, T0 + 100 * SECOND)
    parts = [Part(whole, first), Part(whole, again, damaged=True), Part(whole, card, live=False)]
    told = replace(_gap(10, 20), id=hole_gap_id(first, 77))
    hole, other = (TimeRange(T0 + a * SECOND, T0 + b * SECOND) for a, b in ((10, 20), (30, 40)))
    assert holes_of_runs([told], parts) == {first: [hole]}
    assert holes_of_runs([replace(told, id=hole_gap_id(card, 77))], parts) == {card: [hole]}
    assert holes_of_runs([replace(told, id=hole_gap_id(uuid4(), 77))], parts) == {}
    assert holes_of_runs([_gap(10, 20)], parts) == {first: [hole], again: [hole]}
    both = holes_of_runs([told, _gap(30, 40)], parts)
    assert both == {first: [hole, other], again: [other]}
    assert nowhere(both, parts, damaged=False) == []  # the card has it
    assert nowhere(both, parts[:2], damaged=False) == [hole, other]
    assert nowhere(both, parts[:2], damaged=True) == [other]


@given(st.uuids(version=4), st.integers(-(2**62), 2**62), st.integers(-(2**62), 2**62))
def test_the_name_of_a_hole_says_whose_it_is(run_id: UUID, place: int, other: int) -> None:
    made = hole_gap_id(run_id, place)
    assert hole_run_mark(made) == run_id.bytes[:6]
    assert (made.version, made.variant) == (8, run_id.variant)
    assert (made == hole_gap_id(run_id, other)) == (place == other)
    assert hole_run_mark(run_id) is None


async def test_segments_are_read_only_where_a_gap_may_lie_inside_recorded_time(tmp_path: Path) -> None:
    """That is rare, and a day of a city's segments is much to read."""
    url = sqlite_url(tmp_path / "c.db")
    await migrate(url)
    async with Catalogue(url) as catalogue:
        await catalogue.put_store(SPOOL)
        stream = (await add_camera(catalogue)).streams[0].id
        await record(catalogue, run(stream), 2)
        await record(catalogue, run(stream, T0 + 3 * MINUTE), 2)
        statements: list[str] = []
        event.listen(catalogue._db.sync_engine, "before_cursor_execute", lambda *told: statements.append(told[2]))

        async def ask() -> list[TimeRange]:
            statements.clear()
            asked = TimeRange(T0, T0 + 5 * MINUTE)
            return [s.range for s in (await catalogue.timelines([stream], asked, now_ns=T0 + DAY))[stream].spans]

        for start, end, reason in ((120, 180, GapReason.STALLED), (60, 62, GapReason.UNREACHABLE), (200, None, None)):
            await catalogue.put_gap(_gap(start, end, reason or GapReason.STALLED, stream))
        both = [TimeRange(T0, T0 + 2 * MINUTE), TimeRange(T0 + 3 * MINUTE, T0 + 5 * MINUTE)]
        assert await ask() == both
        assert not [one for one in statements if "FROM segments" in one or "JOIN segments" in one]
        hole = _gap(70, 80, stream=stream)
        await catalogue.put_gap(hole)
        assert await ask() == subtract(both, [TimeRange(hole.start_ns, hole.end_ns or 0)])
        assert [one for one in statements if "JOIN segments" in one]


async def test_a_gap_that_touches_an_edge_cuts_nothing_out_of_what_is_recorded(tmp_path: Path) -> None:
    """The end of a run may be known too early; footage that is there is shown all the same."""
    url = sqlite_url(tmp_path / "c.db")
    await migrate(url)
    async with Catalogue(url) as catalogue:
        await catalogue.put_store(SPOOL)
        stream = (await add_camera(catalogue)).streams[0].id
        edge = (await add_camera(catalogue, 2)).streams[0].id
        live = run(stream)
        kept = [facts(live, n, r.start_ns, r.duration_ns) for n, r in enumerate(_SEGMENTS)]
        await catalogue.register_many([Registration(f, spool_copy(f), live) for f in kept])
        await record(catalogue, run(edge, origin=Origin.EDGE), 1)
        for start, end in _BESIDE:
            await catalogue.put_gap(_gap(start, end, stream=stream))
        await catalogue.put_gap(_gap(10, 20, stream=edge))  # a card has no holes that our recorder knows of
        asked = TimeRange(T0, T0 + 160 * SECOND)
        fresh = TimeRange(T0 + 200 * SECOND, T0 + 260 * SECOND)  # in the spool only
        await catalogue.put_gap(_gap(210, 220, stream=stream))
        await catalogue.put_gap(_gap(160, 230, stream=stream))
        told = await catalogue.timelines([stream, edge], asked, now_ns=T0 + MINUTE * 10)
        later = await catalogue.timelines([stream], fresh, now_ns=T0 + MINUTE * 10, still_open={stream: [Part(fresh)]})
    assert [s.range for s in told[stream].spans] == merge(_SEGMENTS)
    assert [s.range for s in told[edge].spans] == [TimeRange(T0, T0 + MINUTE)]
    assert [s.range for s in later[stream].spans] == subtract(
        [fresh], [TimeRange(T0 + 210 * SECOND, T0 + 220 * SECOND)]
    )
