"""The spool on a real folder: names, sealing, facts, disk errors."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

import storage.spool_files
from storage.facts import RunFact, encode_gap, encode_run, encode_segment, parse_gap, parse_run, parse_segment
from storage.spool import Spool
from storage.spool_files import FACTS_ATTRIBUTE, get_facts
from vms.clock import SimulatedClock
from vms.errors import MalformedError, SpoolError
from vms.model import Anchor, Codec, Gap, GapReason, Origin, RunClock, RunInfo, SegmentFacts

STREAM = UUID("6d1ac47c-4b4f-4a52-a4a2-b1a8b9a80f11")


def facts_of(
    size: int, *, run: UUID | None = None, number: int = 0, start: int = 1_700_000_000_000_000_000
) -> SegmentFacts:
    return SegmentFacts(
        stream_id=STREAM, run_id=run or uuid4(), number=number, start_ns=start, end_ns=start + 60_000_000_000,
        clock_hz=90_000, duration_ticks=5_400_000, size_bytes=size, digest=b"d" * 32, seal=b"s" * 32, units=1500,
        key_units=30, damaged_units=0, independent=True, codec=Codec.H264, width=1920, height=1080,
    )  # fmt: skip


def a_run(**changes) -> RunInfo:
    run = RunInfo(uuid4(), STREAM, Origin.LIVE, "rejestrator-1", 0, RunClock.ARRIVAL, 1_700_000_000_000_000_000)
    return replace(run, **changes)


def a_gap(**changes) -> Gap:
    gap = Gap(uuid4(), STREAM, 1_700_000_000_000_000_000, None, GapReason.STALLED, "ulica Świętojańska 5: cisza")
    return replace(gap, **changes)


@pytest.fixture
async def spool(tmp_path):
    spool = Spool(tmp_path / "spool")
    spool.prepare()
    yield spool
    await spool.close()


async def test_a_segment_is_written_and_sealed(spool):
    run = uuid4()
    segment = spool.open_segment(STREAM, run, 3)
    assert spool.write(segment, [b"ftyp", b"moov"]) == 8
    assert spool.write(segment, [b"moof", memoryview(b"mdat")]) == 16
    assert segment.path.name == f"{STREAM}-{run}-3.part"
    assert spool.leftovers() == []
    facts = facts_of(16, run=run, number=3)
    path = await spool.seal(segment, facts)
    assert path == spool.sealed_path / f"{STREAM}_{facts.start_ns}-{run}-3.mp4"
    assert path.read_bytes() == b"ftypmoovmoofmdat"
    assert spool.parts() == []
    (sealed,) = spool.sealed()
    assert (sealed.path, sealed.facts, sealed.size_bytes) == (path, facts, 16)
    usage = spool.usage()
    assert (usage.open_bytes, usage.sealed_bytes) == (0, 16)
    spool.forget(path)
    assert spool.usage().sealed_bytes == 0
    spool.forget(path)
    assert spool.sealed(STREAM) == []


async def test_facts_that_do_not_belong_to_the_file_are_not_believed(spool):
    run = uuid4()
    segment = spool.open_segment(STREAM, run, 0)
    spool.write(segment, [b"twelve bytes"])
    path = await spool.seal(segment, facts_of(13, run=run))
    assert get_facts(path).size_bytes == 13
    assert spool.sealed()[0].facts is None
    os.removexattr(path, FACTS_ATTRIBUTE)
    assert get_facts(path) is None
    os.setxattr(path, FACTS_ATTRIBUTE, b"{}")
    assert get_facts(path) is None


async def test_sealing_twice_under_one_name_keeps_the_first(spool):
    run = uuid4()
    for data in (b"first", b"second"):
        segment = spool.open_segment(STREAM, run, 0)
        spool.write(segment, [data])
        if data == b"first":
            path = await spool.seal(segment, facts_of(5, run=run))
        else:
            with pytest.raises(SpoolError) as caught:
                await spool.seal(segment, facts_of(6, run=run))
            assert caught.value.reason is GapReason.DISK_ERROR
    assert path.read_bytes() == b"first"
    assert [p.path for p in spool.leftovers()] == [segment.path]


async def test_a_stray_file_is_reported_and_left(spool):
    names = [
        "notatki.txt",
        f"{STREAM}_x-{STREAM}-0.mp4",
        f"{STREAM}_01-{STREAM}-0.mp4",
        f"{str(STREAM).upper()}_1-{STREAM}-0.mp4",
    ]
    for name in names:
        (spool.sealed_path / name).write_bytes(b"x")
    (spool.open_path / f"{STREAM}-{STREAM}-01.part").touch()
    assert spool.sealed() == []
    assert spool.parts() == []
    assert {p.name for p in spool.strays()} == {*names, f"{STREAM}-{STREAM}-01.part"}
    with pytest.raises(ValueError, match="neither"):
        spool.forget(spool.path / "open" / "x")


async def test_abandoned_and_foreign_parts_are_left_over(spool):
    empty = spool.open_segment(STREAM, uuid4(), 1)
    spool.abandon(empty)  # nothing in it: gone
    mine = spool.open_segment(STREAM, uuid4(), 0)
    spool.write(mine, [b"something"])
    (spool.open_path / f"{STREAM}-{STREAM}-7.part").write_bytes(b"before the crash")
    assert [p.number for p in spool.leftovers(STREAM)] == [7]
    assert spool.leftovers(uuid4()) == []
    spool.abandon(mine)
    spool.abandon(mine)
    assert len(spool.leftovers(STREAM)) == 2


@pytest.mark.parametrize(
    ("number", "reason"),
    [(errno.ENOSPC, GapReason.SPOOL_FULL), (errno.EDQUOT, GapReason.SPOOL_FULL), (errno.EIO, GapReason.DISK_ERROR)],
)
async def test_a_refused_write_has_its_reason_and_leaves_whole_fragments(spool, monkeypatch, number, reason):
    segment = spool.open_segment(STREAM, uuid4(), 0)
    spool.write(segment, [b"whole"])
    real = os.writev

    def torn(fd, buffers):
        real(fd, [b"".join(buffers)[:3]])
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(storage.spool_files.os, "writev", torn)
    with pytest.raises(SpoolError) as caught:
        spool.write(segment, [b"frag", b"ment"])
    assert caught.value.reason is reason
    assert segment.path.read_bytes() == b"whole"
    assert segment.size_bytes == 5


async def test_short_writes_and_many_buffers_are_finished(spool, monkeypatch):
    segment = spool.open_segment(STREAM, uuid4(), 0)
    real = os.writev
    monkeypatch.setattr(storage.spool_files.os, "writev", lambda fd, buffers: real(fd, [b"".join(buffers)[:3]]))
    spool.write(segment, [b"abcdef", b"ghi"])
    monkeypatch.setattr(storage.spool_files.os, "writev", real)
    spool.write(segment, [bytes([i % 256]) for i in range(3000)])
    assert segment.path.read_bytes() == b"abcdefghi" + bytes(i % 256 for i in range(3000))


async def test_a_folder_that_cannot_be_is_a_spool_error(tmp_path):
    (tmp_path / "spool").write_text("a file")
    with pytest.raises(SpoolError) as caught:
        Spool(tmp_path / "spool").prepare()
    assert caught.value.reason is GapReason.DISK_ERROR


async def test_facts_are_replaced_atomically_and_read_back(spool):
    run, gap = a_run(), a_gap()
    spool.put_run(RunFact(run))
    spool.put_gap(gap)
    for i in range(50):
        spool.put_run(RunFact(replace(run, end_ns=run.start_ns + i, end_reason=GapReason.STALLED)))
    closed = replace(gap, end_ns=gap.start_ns + 1)
    spool.put_gap(closed)
    await spool.drained()
    ((path, fact),) = spool.runs()
    assert fact.run.end_ns == run.start_ns + 49
    assert [g for _, g in spool.gaps()] == [closed]
    assert sorted(os.listdir(spool.facts_path)) == sorted([path.name, f"gap-{gap.id}.json"])
    (spool.facts_path / f"gap-{uuid4()}.json").write_bytes(b"{")
    assert len(list(spool.gaps())) == 1
    spool.forget(path)
    assert list(spool.runs()) == []


async def test_facts_survive_a_full_disk_until_there_is_room(spool, monkeypatch):
    gap = a_gap()
    real = os.fsync

    def full(fd):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", full)
    spool.put_gap(gap)
    with pytest.raises(SpoolError):
        await spool.drained()
    monkeypatch.setattr(os, "fsync", real)
    await asyncio.sleep(0)
    await spool.drained()
    assert [g for _, g in spool.gaps()] == [gap]


async def test_the_group_flush_runs_once_a_second_when_something_was_written(tmp_path, monkeypatch):
    clock = SimulatedClock()
    spool = Spool(tmp_path, clock)
    spool.prepare()
    flushed = asyncio.Event()
    count = 0
    loop = asyncio.get_running_loop()
    real = Spool.flush

    def flush(self):
        nonlocal count
        real(self)
        count += 1
        loop.call_soon_threadsafe(flushed.set)

    monkeypatch.setattr(Spool, "flush", flush)
    task = asyncio.create_task(spool.run())
    spool.write(spool.open_segment(STREAM, uuid4(), 0), [b"x"])
    while not clock._waiting:
        await asyncio.sleep(0)
    clock.advance(1_000_000_000)
    await asyncio.wait_for(flushed.wait(), 10)
    for _ in range(3):
        while not clock._waiting:
            await asyncio.sleep(0)
        clock.advance(1_000_000_000)
    assert count == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await spool.close()


ints = st.integers(-(2**62), 2**62)


@given(st.builds(Anchor, ints, ints, ints, st.text(max_size=40), st.none() | ints, ints))
def test_run_facts_come_back_equal(anchor):
    run = a_run(end_ns=1_800_000_000_000_000_000, end_reason=GapReason.SPOOL_FULL, clock=RunClock.CAMERA)
    fact = RunFact(run, (anchor, anchor))
    assert parse_run(encode_run(fact)) == fact


@given(st.sampled_from(GapReason), st.text(max_size=200), st.none() | st.integers(0, 10**18))
def test_gap_facts_come_back_equal(reason, detail, length):
    gap = a_gap(reason=reason, detail=detail)
    gap = replace(gap, end_ns=None if length is None else gap.start_ns + length)
    assert parse_gap(encode_gap(gap)) == gap


def test_segment_facts_come_back_equal_and_fit_an_attribute():
    facts = facts_of(2**40)
    assert parse_segment(encode_segment(facts)) == facts
    assert len(encode_segment(facts)) < 1024


@given(st.binary(max_size=300))
def test_bytes_that_are_no_fact_are_malformed(data):
    for parse in (parse_run, parse_gap, parse_segment):
        with pytest.raises(MalformedError):
            parse(data)


def test_a_fact_with_anything_wrong_is_malformed():
    good = json.loads(encode_gap(a_gap()))

    def bad(**changes):
        return json.dumps({**good, "gap": {**good["gap"], **changes}}).encode()

    assert parse_gap(bad()) == parse_gap(encode_gap(parse_gap(bad())))
    wrong = [
        bad(id="x"), bad(id=5), bad(start_ns="1"), bad(start_ns=True), bad(start_ns=1.5), bad(start_ns=2**63),
        bad(start_ns=None), bad(end_ns=5), bad(reason="tired"), bad(reason=None), bad(detail=None), bad(detail="x" * 2000),
        bad(more=1), json.dumps({**good, "version": 2}).encode(), json.dumps({**good, "version": True}).encode(),
        b"[" * 100_000, b"9" * 10_000, b" " * 300_000, b"null",
    ]  # fmt: skip
    for data in wrong:
        with pytest.raises(MalformedError):
            parse_gap(data)
