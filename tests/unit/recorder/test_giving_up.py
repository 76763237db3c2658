"""A recording that is given up for want of room, and taken up again: gaps, segments, live units; and who is given up."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest

from recorder.giving_up import GivingUp, ranks_of
from recorder.recording import Recording
from recorder.sources.scripted import Step
from recorder.worker import CarryOver
from storage.shedding import EVERYTHING, NOTHING, Rank, Shedding, Verdict
from storage.spool import Spool
from tests.support.stage import FRAME, S, Stage, check, play
from vms.assignment import Assignment, CameraAssignment
from vms.clock import SimulatedClock
from vms.errors import SourceError
from vms.metrics import Metrics
from vms.model import GapReason, SourceKind, Stream, StreamKind, TimedUnit
from vms.ntp import HostClock
from vms.settings import SpoolSection


@pytest.fixture(autouse=True)
def threads_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(work, *args):  # type: ignore[no-untyped-def]
        return work(*args)

    monkeypatch.setattr("recorder.recording.asyncio.to_thread", at_once)


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock()


async def test_a_stream_given_up_is_relayed_and_its_gap_says_why(tmp_path: Path, clock: SimulatedClock) -> None:
    async with Stage(tmp_path, clock, play(120)) as stage:
        await stage.go(20.5)
        stage.recording.give_up("the spool is full")
        stage.recording.give_up("the spool is full")  # repeating changes nothing
        assert stage.recording.given_up
        await stage.go(20)
        (status,) = stage.recording.status(0)
        assert (status.state, status.reason, status.attempts) == ("relaying", GapReason.SPOOL_FULL, 1)
        stage.recording.take_up()
        await stage.go(20)
        (status,) = stage.recording.status(0)
        assert (status.state, status.reason, status.attempts) == ("recording", None, 1)
    first, second = check(stage)
    gap = next(g for g in stage.gaps() if g.reason is GapReason.SPOOL_FULL)
    assert gap.detail == "the spool is full"
    assert gap.start_ns == first.facts.end_ns
    assert gap.end_ns == second.facts.start_ns
    assert 20 * S <= gap.end_ns - gap.start_ns <= 23 * S
    assert [g.reason for g in stage.gaps()].count(GapReason.SPOOL_FULL) == 1
    assert [f.run.end_reason for f in stage.runs()] == [GapReason.SPOOL_FULL, GapReason.RECORDER_RESTART]


async def test_what_a_full_disk_did_not_let_be_finished_is_sealed_on_the_same_connection(
    tmp_path: Path, clock: SimulatedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_fd: int, _buffers: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    async with Stage(tmp_path, clock, play(120)) as stage:
        await stage.go(20.5)
        with monkeypatch.context() as patched:
            patched.setattr("storage.spool_files.os.writev", full)
            stage.recording.give_up("the spool is full")
            (torn,) = stage.spool.parts()
            await stage.go(12)
            assert stage.spool.parts() == [torn]
        stage.recording.take_up()
        await stage.go(20)
        (status,) = stage.recording.status(0)
        assert (status.state, status.attempts) == ("recording", 1)
        assert torn not in stage.spool.parts()
        assert [s.run_id for s in stage.spool.sealed()] == [torn.run_id]
    first, second = check(stage)
    gap = next(g for g in stage.gaps() if g.reason is GapReason.SPOOL_FULL)
    assert (gap.start_ns, gap.end_ns) == (first.facts.end_ns, second.facts.start_ns)


async def test_given_up_is_counted_whose_gap_says_so_as_vms_status_does(tmp_path: Path, clock: SimulatedClock) -> None:
    async with Stage(tmp_path, clock, play(30)) as stage:
        job = Job(
            camera(1, record_sub=False), Stream(stage.recording.video.stream_id, UUID(int=1), StreamKind.MAIN, "", True)
        )
        running = SimpleNamespace(host_clock=HostClock, running=lambda: [(job, stage.recording)])
        metrics = Metrics.create()
        carry = CarryOver(metrics, running)  # type: ignore[arg-type]

        def counted() -> float | None:
            carry.once()
            return metrics.registry.get_sample_value("stroz_spool_given_up_streams")

        await stage.go(11)
        assert counted() == 0
        stage.recording.give_up("the spool is full")
        assert counted() == 1
        await stage.go(40)  # the camera has gone: now that is why it is not recorded
        assert stage.recording.given_up
        assert stage.recording.status(0)[0].reason is GapReason.UNREACHABLE
        assert counted() == 0


async def test_whoever_watches_goes_on_watching(tmp_path: Path, clock: SimulatedClock) -> None:
    async with Stage(tmp_path, clock, play(40)) as stage:
        await stage.go(11)
        _, live = stage.track.join()
        given: list[TimedUnit] = []
        for act in (lambda: stage.recording.give_up("the spool is full"), stage.recording.take_up):
            act()
            await stage.go(8)
            batch = await live.next()
            assert batch is not None
            given += batch.units
    steps = [b.unit.pts - a.unit.pts for a, b in pairwise(given)]
    assert [step for step in steps if step != FRAME] in ([], [max(steps)])  # at most from here to the next key, once
    assert max(steps) <= 50 * FRAME
    assert all(b.unit.key for (a, b) in pairwise(given) if b.unit.pts - a.unit.pts != FRAME)
    assert len(given) > 14 * 25


async def test_a_camera_that_goes_away_meanwhile_has_its_own_reason(tmp_path: Path, clock: SimulatedClock) -> None:
    away = [*play(20), Step(20 * S, SourceError(GapReason.UNREACHABLE, "kamera zamknęła połączenie"))]
    async with Stage(tmp_path, clock, away, play(60, first_pts=77)) as stage:
        await stage.go(10)
        stage.recording.give_up("the spool is full")
        await stage.go(20)
        stage.recording.take_up()
        await stage.go(10)
    reasons = [g.reason for g in stage.gaps()]
    full, away_gap = GapReason.SPOOL_FULL, GapReason.UNREACHABLE
    assert reasons == [GapReason.RECORDER_RESTART, full, away_gap, full, GapReason.RECORDER_RESTART]
    gaps = stage.gaps()
    for one, next_one in pairwise(gaps[1:4]):
        assert one.end_ns == next_one.start_ns
    assert gaps[3].end_ns == check(stage)[-1].facts.start_ns


async def test_sound_goes_with_its_pictures(tmp_path: Path, clock: SimulatedClock) -> None:
    async with Stage(tmp_path, clock, play(40), audio=True) as stage:
        await stage.go(10)
        stage.recording.give_up("the spool is full")
        assert [t.withheld for t in stage.recording.tracks] == [True, True]
        stage.recording.take_up()
        assert [t.withheld for t in stage.recording.tracks] == [False, False]


async def test_a_stream_given_up_before_it_begins_is_never_written(tmp_path: Path, clock: SimulatedClock) -> None:
    async with Stage(tmp_path, clock, play(40)) as stage:
        stage.recording.give_up("the spool is full")
        await stage.go(15)
        assert stage.spool.parts() == []
        assert stage.recording.status(0)[0].state == "relaying"
    assert check(stage) == []
    assert stage.runs() == []


@dataclass
class Job:
    camera: CameraAssignment
    stream: Stream


class Told:
    """A recording that only remembers what it was told."""

    def __init__(self) -> None:
        self.given_up = False
        self.told: list[bool] = []

    def give_up(self, _detail: str) -> None:
        self.given_up = True
        self.told.append(True)

    def take_up(self) -> None:
        self.given_up = False
        self.told.append(False)


def camera(number: int, *, record_sub: bool) -> CameraAssignment:
    ident = UUID(int=number)
    streams = (
        Stream(uuid4(), ident, StreamKind.MAIN, "rtsp://127.0.0.1/m", True),
        Stream(uuid4(), ident, StreamKind.SUB, "rtsp://127.0.0.1/s", record_sub),
        Stream(uuid4(), ident, StreamKind.AUDIO, "rtsp://127.0.0.1/m", True),
    )
    return CameraAssignment(ident, number, "x", True, SourceKind.RTSP, "tcp", "", False, False, streams)


async def test_who_is_given_up(tmp_path: Path, clock: SimulatedClock, caplog: pytest.LogCaptureFixture) -> None:
    section = SpoolSection(shed_first="3", shed_last="1")
    cameras = (camera(1, record_sub=True), camera(2, record_sub=False), camera(3, record_sub=False))
    assignment = Assignment(cameras)
    jobs = [(Job(c, s), Told()) for c in cameras for s in c.streams if s.kind is not StreamKind.AUDIO]
    told = {(job.camera.number, job.stream.kind.value): recording for job, recording in jobs}
    spool = Spool(tmp_path, clock)
    running: list[tuple[Job, Recording]] = jobs  # type: ignore[assignment]
    one = GivingUp(Shedding(spool, section, clock), section, clock, lambda: running)
    one.follow(assignment)
    assert sorted(ranks_of(assignment, section).values()) == [Rank.SUB, Rank.LOW, Rank.NORMAL, Rank.HIGH]
    for floor, gone in (
        (NOTHING, set()),
        (1, {(1, "sub")}),
        (2, {(1, "sub"), (3, "main")}),
        (EVERYTHING, {(1, "sub"), (3, "main"), (2, "main"), (1, "main")}),
        (3, {(1, "sub"), (3, "main"), (2, "main")}),
        (NOTHING, set()),
    ):
        for _ in range(2):
            one.act(Verdict(floor))
        assert {who for who, recording in told.items() if recording.given_up} == gone
    assert told[2, "sub"].told == []  # only relayed: it costs no room
    assert told[3, "main"].told == [True, False]
    lost = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
    assert lost[0].endswith(": 1 sub")
    assert lost[2].endswith(": 1 main, 2 main")
    assert any(r.getMessage().endswith("recorded again: 1 sub, 2 main, 3 main") for r in caplog.records)
