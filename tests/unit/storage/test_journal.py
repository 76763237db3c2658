"""Journals: pure building, canonical bytes, hostile bytes, parts."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.catalogue import DeletedSegment, Expectation, Hold, JournalEntry, RecordedSegment, StreamAbout
from storage.facts import RunFact
from storage.journal import (
    HOUR_NS,
    MAX_JOURNAL_BYTES,
    SETTLE_NS,
    Journal,
    JournalWriter,
    SealLine,
    build_journal,
    encode_journal,
    first_part,
    hour_of,
    parse_journal,
    without,
)
from storage.objects import FolderStore, journal_key
from storage.stream_about import about_json, parse_about
from tests.support.made_store import made_store
from tests.support.sealed import open_site
from vms.errors import MalformedError, StoreError
from vms.model import (
    Anchor,
    Camera,
    Codec,
    Gap,
    GapReason,
    LegalProfile,
    Origin,
    RunClock,
    RunInfo,
    SourceKind,
    Stream,
    StreamKind,
)
from vms.timeline import TimeRange

STREAM = UUID("6d1ac47c-4b4f-4a52-a4a2-b1a8b9a80f11")
HOUR = 500_000 * HOUR_NS
HOST = "rejestrator-1"
EMPTY = Journal(STREAM, HOUR, HOST)

moments = st.integers(HOUR - 2 * HOUR_NS, HOUR + 3 * HOUR_NS)
lengths = st.integers(1, 2 * HOUR_NS)


@st.composite
def runs(draw: st.DrawFn) -> RunFact:
    start = draw(moments)
    end = draw(st.none() | lengths.map(lambda length: start + length))
    info = RunInfo(
        draw(st.uuids()), STREAM, Origin.LIVE, HOST, 0, RunClock.ARRIVAL, start, end, GapReason.STALLED if end else None
    )
    return RunFact(info, (Anchor(0, start, 1, "boot", None, 5),) if draw(st.booleans()) else ())


@st.composite
def gaps(draw: st.DrawFn) -> Gap:
    start = draw(moments)
    end = draw(st.none() | lengths.map(lambda length: start + length))
    return Gap(draw(st.uuids()), STREAM, start, end, draw(st.sampled_from(GapReason)), draw(st.text(max_size=50)))


@st.composite
def lines(draw: st.DrawFn) -> SealLine:
    start = draw(moments)
    return SealLine(
        draw(st.uuids()), draw(st.integers(0, 10_000)), start, start + 60_000_000_000, draw(st.integers(0, 2**40)),
        draw(st.binary(min_size=32, max_size=32)), draw(st.binary(min_size=32, max_size=32)),
    )  # fmt: skip


facts = st.tuples(st.lists(runs(), max_size=6), st.lists(gaps(), max_size=6), st.lists(lines(), max_size=6))


@given(facts, st.randoms())
def test_building_is_pure_canonical_and_reversible(some: tuple[Any, Any, Any], chance: Any) -> None:
    journal = build_journal(EMPTY, *some)
    for items in some:
        chance.shuffle(items)
    assert build_journal(EMPTY, *some) == journal
    assert parse_journal(encode_journal(journal)) == journal
    assert without(journal, [journal]).is_empty
    assert all(gap.end_ns is not None and hour_of(gap.end_ns) == HOUR for gap in journal.gaps)
    assert all(hour_of(line.start_ns) == HOUR for line in journal.segments)


@given(facts, st.integers(0, 6))
def test_parts_state_everything_once(some: tuple[Any, Any, Any], early: int) -> None:
    first = build_journal(EMPTY, *(items[:early] for items in some))
    whole = build_journal(EMPTY, *some)
    second = without(whole, [first])
    assert {*first.segments} | {*second.segments} == {*whole.segments}
    assert {*first.gaps} | {*second.gaps} == {*whole.gaps}
    assert not {*first.gaps} & {*second.gaps}
    assert without(whole, [first, second]).is_empty


def test_a_run_is_stated_when_it_begins_and_when_it_ends() -> None:
    info = RunInfo(
        uuid4(), STREAM, Origin.LIVE, HOST, 2, RunClock.ARRIVAL, HOUR + 5, HOUR + 3 * HOUR_NS + 7, GapReason.STALLED
    )
    fact = RunFact(info, (Anchor(1, 2, 3, "boot", 4, 5),))
    stated = [build_journal(replace(EMPTY, hour_ns=HOUR + n * HOUR_NS), [fact], [], []).runs for n in range(4)]
    assert stated == [(RunFact(replace(info, end_ns=None, end_reason=None)),), (), (), (fact,)]


def test_a_run_that_ended_later_than_stated_is_stated_again() -> None:
    info = RunInfo(uuid4(), STREAM, Origin.LIVE, HOST, 2, RunClock.ARRIVAL, HOUR + 5, HOUR + 7, GapReason.STALLED)
    early, late = RunFact(info), RunFact(replace(info, end_ns=HOUR + 9))
    first = build_journal(EMPTY, [early], [], [])
    assert without(build_journal(EMPTY, [early], [], []), [first]).is_empty
    assert without(build_journal(EMPTY, [late], [], []), [first]).runs == (late,)


def test_a_first_part_fits() -> None:
    many = [Gap(uuid4(), STREAM, HOUR + i, HOUR + i + 1, GapReason.STALLED, "x" * 200) for i in range(200)]
    journal = build_journal(EMPTY, [], many, [])
    stated: list[Journal] = []
    while not (rest := without(journal, stated)).is_empty:
        part = first_part(rest, 10_000)
        assert len(encode_journal(part)) <= 10_000
        stated.append(part)
    assert len(stated) > 5
    assert [gap for part in stated for gap in part.gaps] == list(journal.gaps)
    assert not first_part(journal, 1).is_empty


@given(st.binary(max_size=200) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["version", "stream_id", "hour_ns", "host", "runs", "gaps", "segments"]), inner, max_size=7
    ),
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_hostile_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_journal(data)


@pytest.mark.parametrize("change", [
    {"version": 2}, {"version": True}, {"hour_ns": 1.5}, {"hour_ns": "1"}, {"host": 3}, {"stream_id": "x"}, {"extra": 1},
    {"segments": [{}]}, {"segments": {"a": 1}}, {"runs": [1]}, {"gaps": [None]}, {"runs": None},
])  # fmt: skip
def test_almost_right_is_refused(change: dict[str, Any]) -> None:
    body = json.loads(encode_journal(EMPTY)) | change
    with pytest.raises(MalformedError):
        parse_journal(json.dumps(body, sort_keys=True, separators=(",", ":")).encode() + b"\n")


def test_too_long_and_too_deep_are_refused() -> None:
    for data in (b" " * (MAX_JOURNAL_BYTES + 1), b"[" * 1_000_000):
        with pytest.raises(MalformedError):
            parse_journal(data)


def test_white_space_is_refused() -> None:
    with pytest.raises(MalformedError):
        parse_journal(encode_journal(EMPTY) + b"\n")


class Rows:
    """The catalogue's part, in memory: what the writer asks of it is two reads and one row."""

    def __init__(self) -> None:
        self.entries: list[JournalEntry] = []
        self.recorded: list[RecordedSegment] = []
        self.hosts: dict[UUID, str] = {}
        self.about: StreamAbout | None = None
        self.gone: list[DeletedSegment] = []

    async def segments(self, stream_ids: Any, within: Any) -> list[Any]:
        return [s for s in self.recorded if s.start_ns < within.end_ns and s.end_ns > within.start_ns]

    async def run_hosts(self, run_ids: Collection[UUID]) -> dict[UUID, str]:
        return {run_id: host for run_id, host in self.hosts.items() if run_id in run_ids}

    async def stream_about(self, stream_id: UUID) -> StreamAbout | None:
        return self.about

    async def deleted(self, stream_id: UUID, within: TimeRange) -> list[DeletedSegment]:
        return [line for line in self.gone if within.contains(line.deleted_ns)]

    async def journals(self, stream_id: UUID, start_ns: int, end_ns: int) -> list[JournalEntry]:
        return [e for e in self.entries if e.stream_id == stream_id and start_ns <= e.hour_ns < end_ns]

    async def record_journal(self, entry: JournalEntry) -> None:
        self.entries.append(entry)


def a_gap() -> Gap:
    return Gap(uuid4(), STREAM, HOUR, HOUR + 5, GapReason.UNREACHABLE)


def a_segment(run_id: UUID, number: int, start_ns: int) -> RecordedSegment:
    return RecordedSegment(
        number, STREAM, run_id, number, start_ns, start_ns + 60_000_000_000, 60 * 90_000, 90_000, 1000, bytes(32),
        number.to_bytes(32), True, False, Codec.H264, 640, 360, Origin.LIVE, (), "store",
    )  # fmt: skip


async def test_every_segment_of_this_host_that_begins_in_the_hour_is_stated(tmp_path: Path) -> None:
    rows, store = Rows(), made_store(tmp_path)
    ours, theirs = uuid4(), uuid4()
    rows.hosts = {ours: HOST, theirs: "rejestrator-2"}
    starts = (HOUR - 30_000_000_000, HOUR, HOUR + HOUR_NS - 1, HOUR + HOUR_NS)
    rows.recorded = [a_segment(ours, number, start) for number, start in enumerate(starts)]
    rows.recorded.append(a_segment(theirs, 9, HOUR + 5))
    key = await JournalWriter(rows, store, HOST).write(HOUR, STREAM, [], [], 1)
    journal = parse_journal(await store.read(str(key), 0, 10_000))
    assert [(line.run_id, line.number) for line in journal.segments] == [(ours, 1), (ours, 2)]


async def test_an_hour_is_due_when_it_has_settled(tmp_path: Path) -> None:
    writer = JournalWriter(Rows(), made_store(tmp_path), HOST)
    writer.touch(STREAM, HOUR + 7)
    assert writer.due(HOUR + HOUR_NS + SETTLE_NS - 1) == []
    assert writer.due(HOUR + HOUR_NS + SETTLE_NS) == [(HOUR, STREAM)]
    assert await writer.write(HOUR, STREAM, [], [], 1) is None  # nothing to state is no journal
    assert writer.waiting == 0


async def test_late_facts_are_a_further_part(tmp_path: Path) -> None:
    rows, store = Rows(), made_store(tmp_path)
    early, late = a_gap(), a_gap()
    key = await JournalWriter(rows, store, HOST).write(HOUR, STREAM, [], [early], 1)
    assert key == journal_key(STREAM, HOUR, HOST)
    assert await JournalWriter(rows, store, HOST).write(HOUR, STREAM, [], [early], 2) is None
    other = await JournalWriter(rows, store, HOST).write(HOUR, STREAM, [], [early, late], 3)
    assert other == journal_key(STREAM, HOUR, HOST, 1)
    data = await store.read(str(other), 0, 10_000)
    assert parse_journal(data).gaps == (late,)
    assert [(e.key, e.written_ns) for e in rows.entries] == [(key, 1), (other, 3)]
    assert rows.entries[1].digest == hashlib.sha256(data).digest()


async def test_a_journal_that_was_put_and_never_noted_is_noted_by_the_next_process(tmp_path: Path) -> None:
    rows, store = Rows(), made_store(tmp_path)
    gap = a_gap()
    key = await JournalWriter(rows, store, HOST).write(HOUR, STREAM, [], [gap], 1)
    noted = list(rows.entries)
    for before in ([], noted):
        rows.entries = list(before)
        assert await JournalWriter(rows, store, HOST).write(HOUR, STREAM, [], [gap], 2) is None
        assert [(e.key, e.digest) for e in rows.entries] == [(e.key, e.digest) for e in noted]
    assert [info.key async for info in store.list("")] == [key]


def about(**fields: object) -> StreamAbout:
    camera = Camera(
        UUID(int=7), 12, "Rynek Główny", UUID(int=8), (), street="Rynek 1", lat=50.06, lon=None, group="centrum",
        source=SourceKind.RTSP,
    )  # fmt: skip
    plain = StreamAbout(
        camera,
        Stream(STREAM, camera.id, StreamKind.MAIN, "rtsp://10.0.0.1/main", True),
        LegalProfile(UUID(int=8), "straż", "art. 11", 30),
        (Expectation(STREAM, HOUR, HOUR + 5, GapReason.DISABLED), Expectation(STREAM, HOUR + 5, None)),
        (Hold(UUID(int=9), frozenset({STREAM}), TimeRange(HOUR, HOUR + 9), "sprawa 1", "kowalski", HOUR, HOUR + 99),),
    )
    return replace(plain, **fields)  # type: ignore[arg-type]


async def test_the_registry_is_stated_with_facts_and_never_alone(tmp_path: Path) -> None:
    rows, store = Rows(), made_store(tmp_path)
    rows.about, early, late = about(), a_gap(), a_gap()
    key = await JournalWriter(rows, store, HOST).write(HOUR, STREAM, [], [early], 17)
    first = parse_journal(await store.read(str(key), 0, 10_000))
    assert (first.about, first.written_ns) == (rows.about, 17)
    rows.about = about(camera=replace(about().camera, name="Rynek"))
    assert await JournalWriter(rows, store, HOST).write(HOUR, STREAM, [], [early], 18) is None
    other = await JournalWriter(rows, store, HOST).write(HOUR, STREAM, [], [early, late], 19)
    second = parse_journal(await store.read(str(other), 0, 10_000))
    assert (second.about, second.written_ns, second.gaps) == (rows.about, 19, (late,))


async def test_a_secret_never_reaches_a_journal(tmp_path: Path) -> None:
    site = await open_site(tmp_path)
    try:
        camera = (await site.catalogue.cameras())[0]
        await site.catalogue.update_camera(replace(camera, username="tajny", password="tajne"), at_ns=2**60)
        stated = await site.catalogue.stream_about(site.stream_id)
        assert stated is not None
        assert "tajn" not in repr(stated) + json.dumps(about_json(stated))
        assert parse_about(about_json(stated)) == stated
        assert stated.camera.name == camera.name
        assert stated.stream == camera.streams[0]
        assert await site.catalogue.stream_about(uuid4()) is None
    finally:
        await site.close()


@pytest.mark.parametrize(("where", "wrong"), [
    ("camera", {"number": 1.0}), ("camera", {"number": 0}), ("camera", {"lat": 50}), ("camera", {"name": ""}),
    ("camera", {"enabled": 1}), ("stream", {"kind": "obraz"}), ("stream", {"url": None}), ("profile", {"days": 0}),
    ("profile", {"id": 5}), ("camera", {"extra": 1}), ("expectations", [[1, 2]]), ("expectations", [[None, 2, None]]),
    ("holds", [{}]), ("holds", 5), ("camera", None), ("camera", {"lat": float("nan")}),
])  # fmt: skip
def test_an_almost_right_registry_is_refused(where: str, wrong: Any) -> None:
    body = json.loads(encode_journal(replace(EMPTY, about=about(), written_ns=5)))
    assert parse_journal(json.dumps(body, sort_keys=True, separators=(",", ":")).encode() + b"\n").about == about()
    body["about"][where] = body["about"][where] | wrong if isinstance(wrong, dict) else wrong
    with pytest.raises(MalformedError):
        parse_journal(json.dumps(body, sort_keys=True, separators=(",", ":")).encode() + b"\n")


async def test_a_spoilt_part_is_stated_again(tmp_path: Path) -> None:
    store, gap = made_store(tmp_path), a_gap()
    key = journal_key(STREAM, HOUR, HOST)
    await store.put(key, b"{", digest=hashlib.sha256(b"{").digest(), size_bytes=1)
    other = await JournalWriter(Rows(), store, HOST).write(HOUR, STREAM, [], [gap], 1)
    assert other == journal_key(STREAM, HOUR, HOST, 1)


async def test_hosts_with_similar_names_keep_apart(tmp_path: Path) -> None:
    store, rows = made_store(tmp_path), Rows()
    for host in ("a", "a-1"):
        for _ in range(2):
            await JournalWriter(rows, store, host).write(HOUR, STREAM, [], [a_gap()], 1)
    assert len({entry.key for entry in rows.entries}) == 4


async def test_an_hour_that_could_not_be_written_stays_due(tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"a file, no folder")
    writer = JournalWriter(Rows(), FolderStore(tmp_path / "store"), HOST)
    writer.touch(STREAM, HOUR)
    with pytest.raises(StoreError):
        await writer.write(HOUR, STREAM, [], [a_gap()], 1)
    assert writer.due(2**62) == [(HOUR, STREAM)]


async def test_what_comes_while_an_hour_is_written_is_not_forgotten(tmp_path: Path) -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    class Slow(Rows):
        async def segments(self, stream_ids: Any, within: Any) -> list[Any]:
            entered.set()
            await leave.wait()
            return []

    writer = JournalWriter(Slow(), made_store(tmp_path), HOST)
    writer.touch(STREAM, HOUR)
    writing = asyncio.create_task(writer.write(HOUR, STREAM, [], [a_gap()], 1))
    await entered.wait()
    writer.touch(STREAM, HOUR)
    leave.set()
    await writing
    assert writer.due(2**62) == [(HOUR, STREAM)]


def a_deletion(number: int, deleted_ns: int, **changes: Any) -> DeletedSegment:
    plain = DeletedSegment(
        STREAM, UUID(int=4), number, HOUR - 99, HOUR - 9, 7, bytes(32), bytes(32), "30 dni", deleted_ns - 5, deleted_ns
    )
    return replace(plain, **changes)


async def test_deletions_are_stated_in_the_hour_in_which_the_last_byte_went(tmp_path: Path) -> None:
    rows, store = Rows(), made_store(tmp_path)
    rows.gone = [a_deletion(n, HOUR + offset) for n, offset in enumerate((-1, 0, HOUR_NS - 1, HOUR_NS))]
    key = await JournalWriter(rows, store, HOST).write(HOUR, STREAM, [], [], 1)
    journal = parse_journal(await store.read(str(key), 0, 10_000))
    assert journal.deletions == tuple(rows.gone[1:3])
    assert await JournalWriter(rows, store, HOST).write(HOUR, STREAM, [], [], 2) is None
    late = a_deletion(9, HOUR + 5)
    rows.gone.append(late)
    other = await JournalWriter(rows, store, HOST).write(HOUR, STREAM, [], [], 3)
    assert parse_journal(await store.read(str(other), 0, 10_000)).deletions == (late,)


def test_many_deletions_are_split_and_bad_ones_refused() -> None:
    many = replace(EMPTY, deletions=tuple(a_deletion(n, HOUR + n) for n in range(20)))
    part = first_part(many, 4096 + 5 * 1025)
    assert 1 <= len(part.deletions) < 20
    assert len(without(many, [part]).deletions) + len(part.deletions) == 20
    data = encode_journal(many)
    assert parse_journal(data) == many
    for before, after in (
        (b'"basis":"30 dni"', b'"basis":30'),
        (b'"basis":"30 dni"', b'"basis":"' + b"x" * 1001 + b'"'),
        (b'"deleted_ns":', b'"deleted_at":'),
        (b'"condemned_ns":1', b'"condemned_ns":1.0'),
    ):
        with pytest.raises(MalformedError):
            parse_journal(data.replace(before, after, 1))
