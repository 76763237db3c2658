"""What a recorder makes of what another one left: ends that are known, writers that live, streams nobody records."""

from __future__ import annotations

import asyncio
import errno
import os
from uuid import UUID

import pytest

from recorder.leavings import read_leavings, settle_orphans, written_elsewhere
from recorder.sources.scripted import Step
from storage.facts import RunFact, encode_run, parse_run
from storage.spool import Spool
from storage.spool_files import OpenSegment
from tests.support.stage import MS, SOUND, STREAM, S, Stage, crash, play, spin
from vms.clock import SimulatedClock
from vms.errors import MalformedError, SourceError
from vms.model import Gap, GapReason, Origin, RunClock, RunInfo


@pytest.fixture(autouse=True)
def threads_at_once(monkeypatch):
    """Disk work between attempts takes no time, so that the simulated clock does not run on meanwhile."""

    async def at_once(work, *args):
        return work(*args)

    monkeypatch.setattr("recorder.recording.asyncio.to_thread", at_once)


@pytest.fixture
def clock():
    return SimulatedClock()


async def until_the_fourth_segment_is_blank(stage: Stage) -> None:
    await stage.go(179.5)
    for _ in range(200):
        stage.clock.advance(20 * MS)
        await spin()
        segment = stage.track._open
        if segment is not None and segment.number == 3:
            return
    raise AssertionError("no fourth segment")


async def test_a_run_whose_segments_are_archived_ends_where_they_ended(tmp_path, clock):
    began = clock.wall_ns()
    async with Stage(tmp_path, clock, play(200)) as stage:
        await until_the_fourth_segment_is_blank(stage)
        crashed = await crash(stage, tmp_path / "crashed", archived=True)
    clock.advance(600 * S)
    async with Stage(crashed, clock, play(10)) as again:
        await again.go(5)
        await again.spool.drained()
        run = again.runs()[0]
        assert (run.run.start_ns, run.run.end_ns) == (began, began + 180 * S)
        assert (run.run.end_reason, run.last_end_ns) == (GapReason.RECORDER_RESTART, None)
        gap = again.gaps()[1]
        assert (gap.reason, gap.start_ns) == (GapReason.RECORDER_RESTART, began + 180 * S)


async def test_what_the_disk_would_not_seal_at_the_start_is_sealed_without_a_new_connection(
    tmp_path, clock, monkeypatch
):
    async with Stage(tmp_path, clock, play(30)) as stage:
        await stage.go(20)
        crashed = await crash(stage, tmp_path / "crashed")
    fails = True
    setxattr = os.setxattr

    def refuse(*args):
        if fails:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        setxattr(*args)

    monkeypatch.setattr("storage.spool_files.os.setxattr", refuse)
    async with Stage(crashed, clock, play(60)) as again:
        (part,) = again.spool.parts()
        await again.go(5)
        await again.spool.drained()
        assert again.spool.sealed(STREAM) == []
        ended_early = again.runs()[0].run
        fails = False
        again.recording.give_up("the spool is full")
        await again.go(12)
        assert part.path in [left.path for left in again.spool.parts()]  # there is no room to seal it now
        again.recording.take_up()
        await again.go(12)
        await again.spool.drained()
        (first,) = [s for s in again.spool.sealed(STREAM) if s.run_id == part.run_id]
        run = next(f.run for f in again.runs() if f.run.id == part.run_id)
        assert ended_early.end_ns < first.facts.end_ns == run.end_ns
        assert again.source.attempts == 1
    assert part.path not in [left.path for left in again.spool.parts()]


async def test_given_up_before_its_leavings_are_read_it_still_tells_since_when_it_is_missing(tmp_path, clock):
    """As on a full disk after a kill: looking at the spool is over before its files are read."""
    async with Stage(tmp_path, clock, play(600)) as stage:
        await stage.go(20)
        crashed = await crash(stage, tmp_path / "crashed")
    died = clock.wall_ns()
    clock.advance(60 * S)
    again = Stage(crashed, clock, play(600))
    again.recording.give_up("the spool is full")
    async with again:
        await again.go(20)
        await again.spool.drained()
        first, restart, full = again.gaps()
        recorded_to = again.spool.sealed(STREAM)[-1].facts.end_ns
    assert first.end_ns < died
    assert (restart.reason, restart.start_ns) == (GapReason.RECORDER_RESTART, recorded_to)
    assert restart.end_ns == full.start_ns > died + 60 * S
    assert (full.reason, full.end_ns) == (GapReason.SPOOL_FULL, None)


@pytest.mark.parametrize("fails", [False, True])
async def test_ended_before_its_leavings_are_read_it_leaves_the_time_to_the_next_start(
    tmp_path, clock, monkeypatch, fails
):
    async with Stage(tmp_path, clock, play(600)) as stage:
        await stage.go(20)
        crashed = await crash(stage, tmp_path / "crashed")
    clock.advance(60 * S)
    with monkeypatch.context() as patch:

        async def reading(_work, *_args):
            if fails:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            await asyncio.Event().wait()

        patch.setattr("recorder.recording.asyncio.to_thread", reading)
        async with Stage(crashed, clock, play(600)) as early:
            await early.go(20)
        assert early.recording.attempts == 0
    clock.advance(60 * S)
    async with Stage(crashed, clock, play(600)) as again:
        await again.go(10)
        await again.spool.drained()
        _, restart = again.gaps()
        segment = again.spool.sealed(STREAM)[0]
    assert (restart.reason, restart.start_ns) == (GapReason.RECORDER_RESTART, segment.facts.end_ns)
    assert restart.end_ns >= clock.wall_ns() - 10 * S


@pytest.mark.parametrize("recorded", [True, False])
async def test_killed_after_a_clock_set_back_it_is_missing_since_it_was_killed(tmp_path, clock, recorded):
    """What was recorded before ends an hour later by that clock. `recorded`: the stream still is; else it is settled."""
    async with Stage(tmp_path, clock, play(600)) as stage:
        await stage.go(30)
        clock.step_wall(-3600 * S)
        await stage.go(30)
        crashed = await crash(stage, tmp_path / "crashed")
    died = clock.wall_ns()
    clock.advance(60 * S)
    again = Stage(crashed, clock, play(600, first_pts=10**8))
    if recorded:
        async with again:
            await again.go(20)
    else:
        await settle_orphans(again.spool, lambda _: True, clock.wall_ns())
        await settle_orphans(again.spool, lambda _: True, clock.wall_ns())
    (restart,) = [g for g in again.gaps() if g.start_ns <= died + 30 * S < (g.end_ns or died)]
    assert restart.reason is GapReason.RECORDER_RESTART
    assert died - S < restart.start_ns <= died
    await again.spool.close()


async def test_an_open_run_says_where_its_last_sealed_segment_ends(tmp_path, clock):
    async with Stage(tmp_path, clock, play(130)) as stage:
        await stage.go(30)
        await stage.spool.drained()
        assert stage.runs()[0].last_end_ns is None
        await stage.go(95)
        await stage.track.sealed()
        await stage.spool.drained()
        (fact,) = stage.runs()
        assert fact.last_end_ns == max(s.facts.end_ns for s in stage.spool.sealed(STREAM))


async def test_a_run_that_is_still_written_is_not_ended_until_its_writer_is_gone(tmp_path, clock):
    async with Stage(tmp_path, clock, play(70)) as stage:
        await stage.go(66)
        crashed = await crash(stage, tmp_path / "crashed")
    (name,) = [file.name for file in (crashed / "open").iterdir()]
    (part,) = Spool(crashed, clock).parts()
    writer = OpenSegment(crashed / "open" / name, part.stream_id, part.run_id, part.number, create=False)
    assert written_elsewhere(Spool(crashed, clock), STREAM) == {part.run_id}
    script = [*play(10), Step(10 * S, SourceError(GapReason.UNREACHABLE, "koniec"))]
    started = clock.wall_ns()
    async with Stage(crashed, clock, script, play(10)) as again:
        await again.go(9)
        await again.spool.drained()
        assert next(f for f in again.runs() if f.run.id == part.run_id).run.end_ns is None
        assert again.gaps()[-1].start_ns == started  # what came before is the other's to tell
        writer.close()
        await again.go(5)
        await again.spool.drained()
        fact = next(f for f in again.runs() if f.run.id == part.run_id)
        salvaged = max(s.facts.end_ns for s in again.spool.sealed() if s.facts and s.run_id == part.run_id)
        assert (fact.run.end_ns, fact.run.end_reason) == (salvaged, GapReason.RECORDER_RESTART)
        ours = [f.run for f in again.runs() if f.run.id != part.run_id]
        assert [r.end_reason for r in ours] == [GapReason.UNREACHABLE, None]


async def test_what_a_stream_that_nobody_records_any_more_left_is_settled(tmp_path, clock):
    async with Stage(tmp_path, clock, play(70)) as stage:
        await stage.go(66)
        crashed = await crash(stage, tmp_path / "crashed")
    spool = Spool(crashed, clock)
    now = clock.wall_ns() + 100 * S
    before = sorted(spool.facts_path.iterdir())
    await settle_orphans(spool, lambda _: False, now)
    assert len(spool.parts()) == 1
    assert sorted(spool.facts_path.iterdir()) == before
    await settle_orphans(spool, lambda stream_id: stream_id == STREAM, now)
    assert spool.parts() == []
    ((_, run),) = spool.runs()
    gap = next(gap for _, gap in spool.gaps() if gap.end_ns == now)
    end_ns = max(s.facts.end_ns for s in spool.sealed() if s.facts)
    assert end_ns > run.run.start_ns + 65 * S
    assert (run.run.end_ns, run.run.end_reason) == (end_ns, GapReason.RECORDER_RESTART)
    assert (gap.start_ns, gap.end_ns, gap.reason) == (end_ns, now, GapReason.RECORDER_RESTART)
    settled = {path.name: path.read_bytes() for path in spool.facts_path.iterdir()}
    await settle_orphans(spool, lambda _: True, now + S)
    assert {path.name: path.read_bytes() for path in spool.facts_path.iterdir()} == settled
    await spool.close()


async def test_a_leftover_somebody_writes_is_nobodys_orphan(tmp_path, clock):
    async with Stage(tmp_path, clock, play(70)) as stage:
        await stage.go(66)
        await stage.track.sealed()
        await stage.spool.drained()
        before = {path.name: path.read_bytes() for path in stage.spool.facts_path.iterdir()}
        await settle_orphans(Spool(tmp_path, clock), lambda _: True, clock.wall_ns())
        assert {path.name: path.read_bytes() for path in stage.spool.facts_path.iterdir()} == before
        assert len(stage.spool.parts()) == 1


async def test_the_spool_is_read_once_for_many_streams(tmp_path, clock, monkeypatch):
    spool = Spool(tmp_path / "one", clock)
    spool.prepare()
    began = clock.wall_ns()
    for stream in (STREAM, SOUND):
        spool.put_gap(Gap(UUID(int=stream.int + 1), stream, began - S, None, GapReason.DISABLED))
    await spool.drained()
    everything = read_leavings(spool)
    assert {stream: len(left.gaps) for stream, left in everything.items()} == {STREAM: 1, SOUND: 1}
    assert read_leavings(spool, SOUND) == {SOUND: everything[SOUND]}

    def never(*_args):
        raise AssertionError("read again")

    monkeypatch.setattr("recorder.recording.read_leavings", never)
    async with Stage(tmp_path / "one", clock, play(5), audio=True, left=everything) as stage:
        await stage.go(3)
        assert stage.recording.bugs == 0
        await stage.spool.drained()
        assert [g.end_ns for g in stage.gaps() if g.stream_id == STREAM] == [began]
    await spool.close()


def test_the_end_so_far_is_read_back_and_nothing_else_is() -> None:
    info = RunInfo(STREAM, STREAM, Origin.LIVE, "h", 0, RunClock.ARRIVAL, 50)
    old = encode_run(RunFact(info))
    assert b"last_end_ns" not in old
    assert parse_run(old).last_end_ns is None
    known = RunFact(info, (), 70)
    assert parse_run(encode_run(known)) == known
    for wrong in (b"49", b"null", b"true", b'"70"', b"7e1", b"9223372036854775808"):
        with pytest.raises(MalformedError):
            parse_run(encode_run(known).replace(b'"last_end_ns":70', b'"last_end_ns":' + wrong))


async def test_a_fact_of_another_stream_that_the_disk_does_not_give_back_stops_nobody(tmp_path, clock, monkeypatch):
    (tmp_path / "facts").mkdir()
    bad, real = tmp_path / "facts" / f"gap-{UUID(int=7)}.json", type(tmp_path).read_bytes
    bad.write_text("of another camera")

    def read(self):
        if self == bad:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(self)

    monkeypatch.setattr(type(tmp_path), "read_bytes", read)
    async with Stage(tmp_path, clock, play(30)) as stage:
        await stage.go(10)
        assert stage.recording.state == "recording"
