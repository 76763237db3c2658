"""Gap bookkeeping: one open gap, one reason, closed facts never change."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.gaps import GapBook
from recorder.leavings import last_end_ns
from storage.facts import RunFact
from vms.model import Codec, Gap, GapReason, Origin, RunClock, RunInfo, SegmentFacts
from vms.timeline import TimeRange, merge

STREAM = UUID("6d1ac47c-4b4f-4a52-a4a2-b1a8b9a80f11")
S = 1_000_000_000


class Facts:
    """What a spool would hold; refuses what must never happen."""

    def __init__(self) -> None:
        self.gaps: dict[UUID, Gap] = {}

    def put(self, gap: Gap) -> None:
        before = self.gaps.get(gap.id)
        if before is not None:
            assert before.end_ns is None, "a closed gap was changed"
            assert replace(gap, end_ns=None) == before
        self.gaps[gap.id] = gap

    def all(self) -> list[Gap]:
        return sorted(self.gaps.values(), key=lambda g: g.start_ns)


@pytest.fixture
def facts():
    return Facts()


@pytest.fixture
def book(facts):
    return GapBook(STREAM, facts.put)


def test_a_gap_opens_and_closes(book, facts):
    book.open(10 * S, GapReason.STALLED, "cisza")
    assert facts.all() == [book.current]
    assert book.missing_ns(0, 15 * S) == 5 * S
    book.open(12 * S, GapReason.STALLED, "cisza")
    book.recorded(20 * S)
    (gap,) = facts.all()
    assert (gap.start_ns, gap.end_ns, gap.reason, gap.detail) == (10 * S, 20 * S, GapReason.STALLED, "cisza")
    assert book.current is None
    assert book.missing_ns(0, 100 * S) == 10 * S
    assert book.missing_ns(15 * S, 100 * S) == 5 * S
    book.recorded(30 * S)
    assert len(facts.all()) == 1


def test_another_reason_splits_the_gap_when_it_is_seen_twice(book, facts):
    book.open(10 * S, GapReason.UNREACHABLE)
    for i in range(20):  # refusals and time-outs in turn: one gap
        book.open((11 + i) * S, (GapReason.REFUSED, GapReason.UNREACHABLE)[i % 2])
    assert len(facts.all()) == 1
    book.open(40 * S, GapReason.UNAUTHORISED)
    book.open(50 * S, GapReason.UNAUTHORISED)
    book.recorded(60 * S)
    assert [(g.reason, g.start_ns, g.end_ns) for g in facts.all()] == [
        (GapReason.UNREACHABLE, 10 * S, 40 * S),
        (GapReason.UNAUTHORISED, 40 * S, 60 * S),
    ]


@pytest.mark.parametrize("reason", [GapReason.DISABLED, GapReason.SPOOL_FULL, GapReason.SCHEDULE])
def test_what_is_certain_splits_at_once(book, facts, reason):
    book.open(10 * S, GapReason.UNREACHABLE)
    book.open(20 * S, reason)
    book.open(30 * S, GapReason.UNREACHABLE)
    assert [(g.reason, g.start_ns, g.end_ns) for g in facts.all()] == [
        (GapReason.UNREACHABLE, 10 * S, 20 * S),
        (reason, 20 * S, 30 * S),
        (GapReason.UNREACHABLE, 30 * S, None),
    ]


def test_a_gap_that_closes_before_it_opened_is_empty(book, facts):
    book.open(10 * S, GapReason.UNREACHABLE)
    book.recorded(8 * S)  # the camera gave us its cached pictures
    assert facts.all()[0].end_ns == 10 * S
    assert book.missing_ns(0, 100 * S) == 0


def test_holes_are_gaps_of_their_own(book, facts):
    book.lost(5 * S, 6 * S, GapReason.PACKET_LOSS)
    book.lost(7 * S, 7 * S, GapReason.PACKET_LOSS)
    assert [(g.start_ns, g.end_ns) for g in facts.all()] == [(5 * S, 6 * S)]
    assert book.by_reason == {GapReason.PACKET_LOSS: 1}


def test_the_newest_open_gap_is_taken_up_and_older_ones_end_there(book, facts):
    old = Gap(uuid4(), STREAM, 5 * S, None, GapReason.STALLED)
    new = Gap(uuid4(), STREAM, 9 * S, None, GapReason.RECORDER_RESTART)
    closed = Gap(uuid4(), STREAM, 1 * S, 2 * S, GapReason.STALLED)
    for gap in (old, new, closed):
        facts.put(gap)
    book.adopt([new, old, closed, Gap(uuid4(), uuid4(), 50 * S, None, GapReason.STALLED)])
    assert book.current == new
    assert facts.gaps[old.id].end_ns == 9 * S
    book.recorded(20 * S)
    assert facts.gaps[new.id].end_ns == 20 * S
    assert book.missing_ns(0, 100 * S) == 1 * S + 4 * S + 11 * S


def test_details_are_short(book, facts):
    book.open(0, GapReason.STALLED, "x" * 1000)
    assert len(facts.all()[0].detail) == 200


times = st.integers(0, 3)
events = st.lists(
    st.one_of(
        st.tuples(st.just("open"), times, st.sampled_from([GapReason.STALLED, GapReason.REFUSED, GapReason.DISABLED])),
        st.tuples(st.just("recorded"), times, st.none()),
    ),
    max_size=40,
)


@given(events)
def test_any_history_leaves_gaps_that_never_overlap_and_cover_every_outage(history):
    facts = Facts()
    book = GapBook(STREAM, facts.put)
    now, down_since, outages = 0, None, []
    for what, wait, reason in history:
        now += wait * S
        if what == "open":
            book.open(now, reason)
            down_since = now if down_since is None else down_since
        else:
            book.recorded(now)
            if down_since is not None and now > down_since:
                outages.append(TimeRange(down_since, now))
            down_since = None
        assert (book.current is None) == (down_since is None)
        assert sum(g.end_ns is None for g in facts.all()) == (down_since is not None)
    spans = sorted((g.start_ns, g.end_ns) for g in facts.all() if g.end_ns is not None and g.end_ns > g.start_ns)
    for (_, end), (start, _) in zip(spans, spans[1:], strict=False):  # noqa: RUF007 - pairs of pairs
        assert end <= start
    if down_since is not None:
        first_open = next(g for g in facts.all() if g.end_ns is None)
        spans.append((first_open.start_ns, now + S))
        outages.append(TimeRange(down_since, now + S))
    assert merge(TimeRange(*s) for s in spans) == merge(outages)


def test_the_last_end_is_found_in_runs_and_segments():
    run = RunInfo(uuid4(), STREAM, Origin.LIVE, "h", 0, RunClock.ARRIVAL, 0, 50 * S)
    segment = SegmentFacts(
        STREAM, run.id, 0, 0, 70 * S, 90_000, 1, 1, b"", b"", 1, 1, 0, independent=True, codec=Codec.H264, width=1, height=1
    )  # fmt: skip
    other = replace(run, stream_id=uuid4(), end_ns=99 * S)
    assert last_end_ns(STREAM, [], []) is None
    assert last_end_ns(STREAM, [RunFact(run), RunFact(other)], []) == 50 * S
    broken = RunFact(replace(run, id=uuid4(), start_ns=20 * S, end_ns=None))
    assert last_end_ns(STREAM, [RunFact(run), broken], [segment]) == 20 * S
    assert last_end_ns(STREAM, [RunFact(run), replace(broken, last_end_ns=30 * S)], [segment]) == 30 * S
    assert last_end_ns(STREAM, [RunFact(run)], [segment]) == 70 * S


@given(
    steps=st.lists(st.tuples(st.integers(1, 50), st.booleans(), st.sampled_from([0, 0, 0, 40, 300])), max_size=40),
)
def test_the_running_sum_is_the_sum(steps: list[tuple[int, bool, int]]) -> None:
    """Asked after every event, and of other days in between, it is what adding up everything gives."""
    book = GapBook(STREAM, lambda _gap: None)
    now, spans, opened = 0, [], None
    for length, toggles, since in steps:
        if opened is not None and toggles:
            book.recorded(now)
            spans.append((opened, now))
            opened = None
        elif opened is None and toggles:
            book.open(now, GapReason.STALLED)
            opened = now
        elif opened is None:
            book.lost(max(0, now - 3), now, GapReason.PACKET_LOSS)
            spans.append((max(0, now - 3), now))
        now += length
        everything = [*spans, *([] if opened is None else [(opened, now)])]
        total = sum(max(0, end - max(start, since)) for start, end in everything)
        assert book.missing_ns(since, now) == min(total, max(0, now - since))


def test_asking_again_does_not_add_up_again() -> None:
    book = GapBook(STREAM, lambda _gap: None)
    for n in range(3000):
        book.lost(n * S, n * S + S // 2, GapReason.PACKET_LOSS)
    assert book.missing_ns(0, 3000 * S) == 1500 * S

    class Untouchable:
        def __iter__(self):
            raise AssertionError("added up again")

        def append(self, _span):
            pass

    book._closed = Untouchable()
    book.lost(3000 * S, 3001 * S, GapReason.PACKET_LOSS)
    book.open(3002 * S, GapReason.STALLED)
    assert book.missing_ns(0, 3003 * S) == 1502 * S
