"""Recording from a scripted camera on a simulated clock into a real folder."""

from __future__ import annotations

import asyncio
import errno
import os
from dataclasses import replace
from itertools import pairwise
from uuid import uuid4

import pytest

import storage.spool_files
from recorder.recording import Recording
from recorder.relay import MAX_UNITS
from recorder.sources import SourceTarget
from recorder.sources.auto import source_for
from recorder.sources.scripted import Lost, Step
from recorder.track import Host, Track
from storage.spool import Spool
from tests.support.encoded import aac, made_up, small_config, video
from tests.support.scripted_rtsp import Scripted, pictures
from tests.support.stage import FRAME, MS, SOUND, STREAM, S, Stage, check, play, read, same, spin
from vms.clock import SimulatedClock, SystemClock
from vms.errors import SourceError, UserError
from vms.media.boxes import FileSource
from vms.media.segment_reader import SegmentReader
from vms.model import Codec, GapReason, RunClock, SenderReport, SourceKind
from vms.ntp import HostClock


@pytest.fixture(autouse=True)
def threads_at_once(monkeypatch):
    """Disk work between attempts takes no time, so that the simulated clock does not run on meanwhile."""

    async def at_once(work, *args):
        return work(*args)

    monkeypatch.setattr("recorder.recording.asyncio.to_thread", at_once)


@pytest.fixture
def clock():
    return SimulatedClock()


async def test_a_steady_camera_is_recorded_whole(tmp_path, clock):
    began = clock.wall_ns()
    script = play(130)
    async with Stage(tmp_path, clock, script) as stage:
        await stage.go(130)
        (status,) = stage.recording.status(began)
        assert (status.state, status.codec, status.source) == ("recording", Codec.H264, "rtsp")
        assert 24 <= status.fps <= 26
        assert status.units == 130 * 25
        assert status.gap_today_ns == 0
        (gap,) = stage.gaps()
        assert (gap.reason, gap.start_ns, gap.end_ns) == (GapReason.RECORDER_RESTART, began, began)
        await stage.stop()
    segments = check(stage)
    assert [round((s.facts.end_ns - s.facts.start_ns) / S) for s in segments] == [60, 60, 10]
    assert same(u for s in segments for u in read(s)) == same(s.does for s in script)
    assert segments[0].start_ns == began
    (run,) = stage.runs()
    assert (run.run.start_ns, run.run.end_ns) == (began, segments[-1].facts.end_ns)
    assert run.run.end_reason is GapReason.RECORDER_RESTART
    assert run.anchors[0].arrival_ns - run.anchors[0].mono_ns == clock.wall_ns() - clock.mono_ns()
    last = stage.gaps()[-1]
    assert (last.reason, last.start_ns, last.end_ns) == (GapReason.RECORDER_RESTART, segments[-1].facts.end_ns, None)


async def test_a_broken_connection_is_a_gap_with_its_reason(tmp_path, clock):
    began = clock.wall_ns()
    failing = [*play(20), Step(20 * S, SourceError(GapReason.UNREACHABLE, "kamera zamknęła połączenie"))]
    refused = [Step(0, SourceError(GapReason.REFUSED, "port zamknięty"))]
    async with Stage(tmp_path, clock, failing, refused, refused, play(30, first_pts=77)) as stage:
        await stage.go(20.2)
        assert stage.source.attempts == 1
        await stage.go(0.8)
        assert stage.source.attempts == 2  # the first retry comes within a second
        assert stage.recording.status(began)[0].reason is GapReason.UNREACHABLE
        await stage.go(20)
        assert stage.recording.status(began)[0].state == "recording"
    segments = check(stage)
    assert len({s.run_id for s in segments}) == 2
    gaps = stage.gaps()
    assert [g.reason for g in gaps[1:]] == [GapReason.UNREACHABLE, GapReason.REFUSED, GapReason.RECORDER_RESTART]
    assert gaps[1].start_ns == segments[0].facts.end_ns == began + 20 * S
    assert gaps[1].end_ns == gaps[2].start_ns
    assert gaps[2].end_ns == segments[1].facts.start_ns
    assert gaps[1].detail == "kamera zamknęła połączenie"


async def test_a_recorder_that_did_not_run_blames_no_camera(tmp_path, clock):
    """It was stopped for eight seconds: what it then knows of the camera is old. A silence is counted from there."""
    async with Stage(tmp_path, clock, play(10)) as stage:
        await stage.go(10)
        clock.advance(8 * S)
        await spin()
        await stage.go(4)
        assert stage.recording.status(clock.wall_ns())[0].reason is None
        await stage.go(1.5)
        assert stage.recording.status(clock.wall_ns())[0].reason is GapReason.STALLED


async def test_a_stalled_camera_is_noticed_within_five_seconds(tmp_path, clock):
    began = clock.wall_ns()
    async with Stage(tmp_path, clock, play(10), play(10, first_pts=5)) as stage:
        await stage.go(14.9)
        assert stage.recording.status(began)[0].reason is GapReason.STALLED
        await stage.go(3)
    segments = check(stage)
    gap = stage.gaps()[1]
    assert (gap.reason, gap.start_ns) == (GapReason.STALLED, segments[0].facts.end_ns)
    assert gap.end_ns == segments[1].facts.start_ns
    assert stage.recording.status(began)[0].gap_today_ns >= gap.end_ns - gap.start_ns


async def test_a_camera_that_sends_a_picture_every_ten_seconds_is_given_patience(tmp_path, clock):
    config = small_config()
    slow = [Step(n * 10 * S, made_up(n * 900_000, key=True, config=config)) for n in range(30)]
    async with Stage(tmp_path, clock, slow, slow, slow, slow) as stage:
        await stage.go(120)
        assert stage.recording.status(0)[0].state == "recording"
        assert stage.recording.status(0)[0].attempts <= 3


async def test_lost_packets_tear_a_gap_only_beyond_one_and_a_half_frames(tmp_path, clock):
    began = clock.wall_ns()
    script = play(60, skip=(500, 501, 502, 503, 504, 1000))
    script.insert(500, Step(499 * 40 * MS, Lost(12)))
    script.insert(995, Step(999 * 40 * MS, Lost(3)))
    async with Stage(tmp_path, clock, script) as stage:
        await stage.go(58)
        assert stage.recording.status(began)[0].lost_packets == 15
    check(stage)
    holes = [g for g in stage.gaps() if g.reason is GapReason.PACKET_LOSS]
    assert (holes[0].start_ns, holes[0].end_ns) == (began + 500 * 40 * MS, began + 505 * 40 * MS)
    assert len(holes) == 2
    assert holes[1].end_ns - holes[1].start_ns == 40 * MS


async def test_pictures_left_out_by_the_camera_itself_are_no_gap(tmp_path, clock):
    script = play(40, skip=tuple(range(500, 520)))
    async with Stage(tmp_path, clock, script) as stage:
        await stage.go(38)
        assert [g.reason for g in stage.gaps()] == [GapReason.RECORDER_RESTART]


async def test_units_without_a_keyframe_are_a_gap_that_says_so(tmp_path, clock):
    config = small_config()
    script = [Step(n * 40 * MS, made_up(n * FRAME, key=n == 500, config=config)) for n in range(900)]
    async with Stage(tmp_path, clock, script) as stage:
        await stage.go(15)
        (status,) = stage.recording.status(0)
        assert (status.state, status.reason) == ("no_keyframe", GapReason.NO_KEYFRAME)
        await stage.go(10)
        assert stage.recording.status(0)[0].state == "recording"
        assert stage.recording.status(0)[0].reason is None
    (segment,) = check(stage)
    assert segment.facts.key_units == 1
    gap = stage.gaps()[1]
    assert (gap.reason, gap.end_ns) == (GapReason.NO_KEYFRAME, segment.start_ns)


async def test_a_wall_clock_step_begins_a_new_run_and_loses_nothing(tmp_path, clock):
    script = play(40)
    async with Stage(tmp_path, clock, script) as stage:
        await stage.go(20)
        clock.step_wall(3600 * S)
        await stage.go(20.1)
    segments = check(stage)
    assert len({s.run_id for s in segments}) == 2
    assert same(u for s in segments for u in read(s)) == same(s.does for s in script)
    gap = stage.gaps()[1]
    assert (gap.reason, gap.start_ns, gap.end_ns) == (
        GapReason.UNKNOWN,
        segments[0].facts.end_ns,
        segments[1].facts.start_ns,
    )
    assert [r.run.end_reason for r in stage.runs()] == [None, GapReason.RECORDER_RESTART]


async def test_a_jump_of_media_time_begins_a_new_run_and_loses_nothing(tmp_path, clock):
    script = play(21)
    script += [replace(s, at_ns=s.at_ns + 21 * S) for s in play(20, first_pts=9_000_000_000, gop=25)]
    script[525] = replace(script[525], does=script[525].does._replace(key=False))
    async with Stage(tmp_path, clock, script) as stage:
        await stage.go(41)
    segments = check(stage)
    assert len({s.run_id for s in segments}) == 2
    assert [u.data for s in segments for u in read(s)] == [s.does.data for s in script]
    assert len(stage.gaps()) == 2


async def test_a_full_disk_is_a_gap_and_recording_comes_back_with_what_was_written(tmp_path, clock, monkeypatch):
    began = clock.wall_ns()
    async with Stage(tmp_path, clock, play(60), play(60), play(60)) as stage:
        await stage.go(10)
        real = os.writev

        def full(fd, buffers):
            raise OSError(errno.ENOSPC, "full")

        monkeypatch.setattr(storage.spool_files.os, "writev", full)
        await stage.go(3)
        assert stage.recording.status(began)[0].reason is GapReason.SPOOL_FULL
        monkeypatch.setattr(storage.spool_files.os, "writev", real)
        await stage.go(20)
        assert stage.recording.status(began)[0].state == "recording"
    segments = check(stage)
    assert segments[0].facts.units >= 9.4 * 25
    gap = stage.gaps()[1]
    assert gap.reason is GapReason.SPOOL_FULL
    assert gap.start_ns == segments[0].facts.end_ns
    assert stage.spool.parts() == []


async def test_after_a_crash_nothing_whole_is_lost_and_the_gap_begins_where_it_ended(tmp_path, clock):
    script = play(70)
    async with Stage(tmp_path, clock, script) as stage:
        await stage.go(66)
        await stage.track.sealed()
        # The process dies: no flush, no trailer, half a fragment on disk.
        (part,) = stage.spool.parts()
        crashed = tmp_path / "crashed"
        await stage.spool.drained()
        for name in ("open", "sealed", "facts"):
            (crashed / name).mkdir(parents=True)
            for file in (tmp_path / name).iterdir():
                copy = crashed / name / file.name
                copy.write_bytes(file.read_bytes() + (b"\0\0\1\0moof" if name == "open" else b""))
    clock.advance(7 * S)
    restarted = clock.wall_ns()
    async with Stage(crashed, clock, play(10)) as again:
        await again.go(5)
    # Facts were not copied with the files, so these are reckoned from the files.
    segments = again.spool.sealed(STREAM)
    assert [s.number for s in segments] == [0, 1, 0]
    whole = segments[1].facts
    assert whole.units >= 5.4 * 25
    assert same(read(segments[1])) == same(s.does for s in script[60 * 25 :][: whole.units])
    gaps = again.gaps()
    assert [(g.reason, g.start_ns) for g in gaps[1:2]] == [(GapReason.RECORDER_RESTART, whole.end_ns)]
    assert gaps[1].end_ns >= restarted
    ended = next(r.run for r in again.runs() if r.run.id == whole.run_id)
    assert (ended.end_ns, ended.end_reason) == (whole.end_ns, GapReason.RECORDER_RESTART)
    assert part.path.name == f"{STREAM}-{whole.run_id}-1.part"


@pytest.mark.parametrize("awaited_s", [3600, -5])
async def test_the_first_start_says_why_nothing_came_before(tmp_path, clock, awaited_s):
    began = clock.wall_ns()
    since = began - awaited_s * S  # also by a clock that was ahead of ours
    async with Stage(tmp_path, clock, play(10), since_ns=since) as stage:
        await stage.go(3)
        await stage.spool.drained()
        gap = stage.gaps()[0]
    assert (gap.reason, gap.start_ns) == (GapReason.RECORDER_RESTART, min(since, began))
    async with Stage(tmp_path, clock, play(10), since_ns=since) as again:  # the spool knows better now
        await again.go(3)
        await again.spool.drained()
        assert [g.start_ns for g in again.gaps() if g.start_ns <= began] == [gap.start_ns]


async def test_an_open_gap_is_taken_up_again_by_the_next_process(tmp_path, clock):
    async with Stage(tmp_path, clock, play(10)) as stage:
        await stage.go(5)
        await stage.stop(GapReason.DISABLED)
    clock.advance(100 * S)
    async with Stage(tmp_path, clock, play(10)) as again:
        await again.go(5)
        await again.spool.drained()
        gap = again.gaps()[1]
        assert (gap.reason, gap.end_ns) == (GapReason.DISABLED, clock.wall_ns() - 5 * S)
    check(again)


async def test_a_bug_is_a_gap_and_stays_with_its_stream(tmp_path, clock, caplog):
    broken = [*play(5), Step(5 * S, ZeroDivisionError("boom"))]
    wrong = [Step(0, UserError("zły adres"))]
    async with Stage(tmp_path, clock, broken, wrong, play(10)) as stage:
        await stage.go(6)
        (status,) = stage.recording.status(0)
        assert (status.reason, status.detail) == (GapReason.INTERNAL_ERROR, "ZeroDivisionError: see the log")
        assert "boom" in caplog.text
        await stage.go(40)
        assert stage.recording.status(0)[0].units >= 10 * 25
    check(stage)


async def test_real_pictures_out_of_order_and_sound(tmp_path, clock):
    pictures = video(Codec.H265, 150, 2, 25)
    script = [Step(n * 40 * MS, u) for n, u in enumerate(pictures)]
    script += [Step(n * 64 * MS, u, audio=True) for n, u in enumerate(aac(90))]
    script.sort(key=lambda s: s.at_ns)
    async with Stage(tmp_path, clock, script, audio=True) as stage:
        await stage.go(6)
        assert [s.codec for s in stage.recording.status(0)] == [Codec.H265, Codec.AAC]
    (segment,) = check(stage)
    assert same(read(segment)) == same(pictures)
    (sound,) = stage.spool.sealed(SOUND)
    assert [u.data for u in read(sound)] == [u.data for u in aac(90)]
    assert abs(sound.start_ns - segment.start_ns) < 200 * MS


async def test_sound_that_is_not_asked_for_is_not_taken(tmp_path, clock):
    script = sorted(
        [*play(3), *(Step(n * 64 * MS, u, audio=True) for n, u in enumerate(aac(40)))], key=lambda s: s.at_ns
    )
    async with Stage(tmp_path, clock, script) as stage:
        await stage.go(3)
    assert {s.stream_id for s in stage.spool.sealed()} == {STREAM}


async def test_a_viewer_joins_in_the_midst_of_a_group_and_misses_nothing(tmp_path, clock):
    script = play(30)
    async with Stage(tmp_path, clock, script) as stage:
        await stage.go(9.3)
        start, live = stage.track.join()
        await stage.go(2)
        first = start.read()
        start.close()
        with live:
            batch = await live.next()
        got = [*first, *batch.units]
        pts = [t.unit.pts for t in got]
        assert pts == list(range(pts[0], pts[-1] + 1, FRAME))
        assert got[0].unit.key
        assert got[0].unit.pts == 1000 + 200 * FRAME
        assert batch.dropped == 0
        assert all(b.capture_ns - a.capture_ns in (40 * MS, 40 * MS - 1, 40 * MS + 1) for a, b in pairwise(got))
        assert stage.track.relay.subscriptions == []


async def test_a_viewer_from_the_start_has_true_times_across_runs(tmp_path, clock):
    async with Stage(
        tmp_path, clock, [*play(10), Step(10 * S, SourceError(GapReason.STALLED, "x"))], play(10)
    ) as stage:
        live = stage.track.relay.subscribe(max_units=10_000)
        began = clock.wall_ns()
        await stage.go(20)
        units = (await live.next()).units
        assert units[0].capture_ns == began
        assert all(b.capture_ns > a.capture_ns for a, b in pairwise(units))
        assert abs(units[-1].capture_ns - clock.wall_ns()) <= 60 * MS


async def test_a_slow_viewer_drops_to_the_next_keyframe_and_is_told(tmp_path, clock):
    async with Stage(tmp_path, clock, play(60)) as stage:
        await stage.go(5)
        live = stage.track.relay.subscribe(max_units=60)
        await stage.go(18)
        batch = await live.next()
        assert batch.units[0].unit.key
        assert batch.units[0].unit.pts == 1000 + 550 * FRAME
        assert batch.dropped == 550 - 150  # it came in at 125 and the next key was 150
        live.close()
        assert await live.next() is None
        assert MAX_UNITS >= 60


async def test_a_stream_that_is_only_relayed_keeps_its_group_and_writes_nothing(tmp_path, clock):
    async with Stage(tmp_path, clock, play(200), record=False) as stage:
        await stage.go(131)
        assert stage.recording.status(0)[0].state == "relaying"
        start, live = stage.track.join()
        got = start.read()
        assert got[0].unit.key
        assert len(got) in range(20, 51)
        await stage.go(1)
        batch = await live.next()
        assert batch.units[0].unit.pts == got[-1].unit.pts + FRAME
        assert abs(batch.units[-1].capture_ns - clock.wall_ns()) < 100 * MS
    assert os.listdir(tmp_path / "open") == os.listdir(tmp_path / "sealed") == os.listdir(tmp_path / "facts") == []


async def test_the_cameras_clock_is_measured(tmp_path, clock):
    wall = clock.wall_ns()
    script = [
        *play(10),
        *(Step(n * 2 * S + 1, SenderReport(1000 + n * 180_000, wall + n * 2 * S + 7200 * S, 0)) for n in range(5)),
    ]
    script.sort(key=lambda s: s.at_ns)
    async with Stage(tmp_path, clock, script) as stage:
        await stage.go(9)
        (status,) = stage.recording.status(0)
        assert abs(status.camera_offset_ns - 7200 * S) < MS
        assert status.run_clock is RunClock.ARRIVAL
        assert stage.source.kind is SourceKind.RTSP
    (segment,) = check(stage)
    assert segment.start_ns == wall


@pytest.mark.parametrize(
    "ours", [HostClock(True, "kernel", -210_000, 900_000), HostClock(False, "kernel"), HostClock()]
)
async def test_a_segment_keeps_what_was_known_of_our_own_clock(tmp_path, clock, ours):
    async with Stage(tmp_path, clock, play(10), host_clock=ours) as stage:
        await stage.go(8)
    (segment,) = check(stage)
    fd = os.open(segment.path, os.O_RDONLY)
    try:
        trailer = SegmentReader(FileSource(fd)).trailer
    finally:
        os.close(fd)
    state = trailer.clock_state
    assert (state.ntp_synchronised, state.ntp_source, state.ntp_offset_ns) == (
        ours.synchronised,
        ours.source,
        ours.offset_ns,
    )


async def test_two_processes_never_share_a_name(tmp_path, clock):
    """Segments are named by run, and every start begins a new one."""
    for _ in range(3):
        async with Stage(tmp_path, clock, play(4)) as stage:
            await stage.go(3)
    assert len({s.run_id for s in check(stage)}) == 3
    assert uuid4() not in {s.run_id for s in stage.spool.sealed()}


async def test_from_a_camera_on_the_wire_to_a_sealed_file(tmp_path):
    """Real sockets, real clock: the server bursts what it has cached, which is dated back."""
    clock = SystemClock()
    spool = Spool(tmp_path, clock)
    spool.prepare()
    track = Track(STREAM, Host("rejestrator-1", "boot"), spool, clock)
    async with Scripted(media=pictures(50)) as camera:
        source = source_for(SourceTarget(camera.url), SourceKind.AUTO)
        recording = Recording("kamera 1", source, spool, clock, video=track)
        task = asyncio.create_task(recording.run())
        async with asyncio.timeout(20):
            while recording.status(0)[0].state != "recording":
                await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await spool.close()
    (segment,) = spool.sealed(STREAM)
    units = read(segment)
    assert len(units) >= 49
    assert [u.pts - units[0].pts for u in units] == [n * FRAME for n in range(len(units))]
    arrived = track.counters.last_mono_ns + clock.wall_ns() - clock.mono_ns()
    assert abs(arrived - (segment.facts.end_ns - 40 * MS)) < 100 * MS
    assert [g.reason for _, g in sorted(spool.gaps(), key=lambda g: g[1].start_ns)] == [GapReason.RECORDER_RESTART] * 2


async def test_jumps_on_end_leave_sound_segments(tmp_path, clock):
    """Media time jumps again and again, also while a run is about to begin."""
    script, at, pts = [], 0, 0
    for n, seconds in enumerate((3, 0.4, 0.6, 5, 0.2, 4, 0.08, 3)):
        pts = (pts + 2**31 * (1 + n)) % 2**40
        script += play(seconds, first_pts=pts, gop=10, start_ns=at)
        at += round(seconds * S)
    async with Stage(tmp_path, clock, script) as stage:
        await stage.go(at / S)
        assert stage.source.attempts == 1
    segments = check(stage)
    data = [u.data for s in segments for u in read(s)]
    assert len(set(data)) == len(data)
    assert len(data) >= len(script) - 40  # those between a jump in the first second and the next key
    assert not any(g.reason is GapReason.INTERNAL_ERROR for g in stage.gaps())


async def test_packets_lost_on_one_connection_say_nothing_of_holes_on_the_next(tmp_path, clock):
    before = play(20)
    before.insert(500, Step(499 * 40 * MS, Lost(12)))
    before = [*before[:501], Step(20 * S, SourceError(GapReason.UNREACHABLE, "koniec"))]
    after = play(40, skip=tuple(range(505, 520)))  # the same media time, left out by the camera itself
    async with Stage(tmp_path, clock, before, after) as stage:
        await stage.go(58)
    assert GapReason.PACKET_LOSS not in {g.reason for g in stage.gaps()}


async def test_packets_lost_in_one_run_say_nothing_of_holes_in_the_next(tmp_path, clock):
    script = [*play(20), Step(20 * S, Lost(9))]
    jumped = play(60, first_pts=1000 + 10 * 25 * FRAME, start_ns=20 * S + 20 * MS, skip=tuple(range(255, 275)))
    async with Stage(tmp_path, clock, [*script, *jumped]) as stage:
        await stage.go(60)
    assert len({s.run_id for s in check(stage)}) == 2
    assert GapReason.PACKET_LOSS not in {g.reason for g in stage.gaps()}


@pytest.mark.parametrize(("ends", "after_s"), [("stalled", 4.8), ("unreachable", 0.3)])
async def test_a_trailer_that_cannot_be_written_does_not_move_the_end(tmp_path, clock, monkeypatch, ends, after_s):
    began = clock.wall_ns()
    script = play(90)
    if ends == "unreachable":
        script.append(Step(90 * S, SourceError(GapReason.UNREACHABLE, "koniec")))
    real = storage.spool_files.OpenSegment.write

    def no_trailer(self, buffers):
        if b"mfra" in b"".join(buffers):
            raise storage.spool_files.disk_error(OSError(errno.ENOSPC, "full"), "x")
        return real(self, buffers)

    async with Stage(tmp_path, clock, script, play(60)) as stage:
        await stage.go(89.9)
        monkeypatch.setattr(storage.spool_files.OpenSegment, "write", no_trailer)
        await stage.go(after_s)
        monkeypatch.setattr(storage.spool_files.OpenSegment, "write", real)
        await stage.go(8)
    segments = check(stage)
    assert [round((s.facts.end_ns - began) / S, 2) for s in segments][:2] == [60.0, 90.0]
    gap = stage.gaps()[1]
    assert (gap.reason.value.endswith(ends), gap.start_ns) == (True, segments[1].facts.end_ns)
    assert gap.end_ns == segments[2].facts.start_ns
    assert stage.runs()[0].run.end_ns == segments[1].facts.end_ns


def jumping() -> list[Step]:
    """Ten seconds forward every 0.8 s."""
    script, pts, config = [], 1000, small_config()
    for n in range(25 * 60):
        pts += FRAME if n % 20 else 900_000
        script.append(Step(n * 40 * MS, made_up(pts, key=n % 20 == 0, config=config)))
    return script


def ticking(ticks: int, every_ms: int, key_every: int = 25) -> list[Step]:
    """A camera whose clock is not the one it names."""
    config = small_config()
    return [
        Step(n * every_ms * MS, made_up(1000 + n * ticks, key=n % key_every == 0, config=config))
        for n in range(60_000 // every_ms)
    ]


@pytest.mark.parametrize(
    ("script", "least_s"),
    [(jumping(), 52.5), (ticking(40_000_000, 40), 52.5), (ticking(360_000, 1000, 5), 46)],
    ids=["jumps", "nanoseconds", "four times too fast"],
)
async def test_a_camera_whose_media_time_is_unusable_is_recorded_by_arrival(tmp_path, clock, script, least_s):
    began = clock.wall_ns()
    async with Stage(tmp_path, clock, script) as stage:
        await stage.go(4.5)
        (status,) = stage.recording.status(0)
        assert (status.state, status.reason) == ("settling", GapReason.UNKNOWN)
        assert status.detail.startswith("media time keeps jumping, last by +")
        await stage.go(54)
        (status,) = stage.recording.status(0)
        assert (status.state, status.reason) == ("recording", None)
        assert status.detail == "media time is unusable; arrival time is used"
        assert (status.runs, status.attempts, status.run_clock) == (1, 1, RunClock.ARRIVAL)
    segments = check(stage)
    assert sum(s.facts.end_ns - s.facts.start_ns for s in segments) >= least_s * S
    units = [u for s in segments for u in read(s)]
    taken = {s.does.data: began + s.at_ns for s in script}
    mapping_start = segments[0].start_ns - units[0].pts * S // 90_000
    assert all(abs(mapping_start + u.pts * S // 90_000 - taken[u.data]) <= 25 * MS for u in units)
    assert [g.reason for g in stage.gaps()] == [
        GapReason.RECORDER_RESTART,
        GapReason.UNKNOWN,
        GapReason.RECORDER_RESTART,
    ]
    assert stage.gaps()[1].end_ns == segments[0].start_ns


async def test_media_time_that_becomes_unusable_ends_the_run_and_goes_on_by_arrival(tmp_path, clock):
    config = small_config()
    script = play(20)
    for n in range(25 * 30):
        unit = made_up(10**9 + n * 40_000_000, key=n % 50 == 0, config=config)
        script.append(Step(20 * S + n * 40 * MS, unit))
    async with Stage(tmp_path, clock, script) as stage:
        await stage.go(48)
        assert stage.recording.status(0)[0].detail == "media time is unusable; arrival time is used"
    segments = check(stage)
    assert len({s.run_id for s in segments}) == 2
    assert sum(s.facts.end_ns - s.facts.start_ns for s in segments) >= 40 * S
    gap = stage.gaps()[1]
    assert (gap.reason, gap.start_ns, gap.end_ns) == (
        GapReason.UNKNOWN,
        segments[0].facts.end_ns,
        segments[1].facts.start_ns,
    )
    assert gap.detail.startswith("media time keeps jumping")
