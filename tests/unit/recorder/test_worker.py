"""A worker builds what the assignment says, and neither an address nor a side task can end it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import pytest

import recorder.worker
from recorder.giving_up import GivingUp
from recorder.sources import TrackSinks
from recorder.sources.auto import AutoSource, DeferredSource
from recorder.sources.libav import SEGMENTED_PATIENCE_S, LibavSource
from recorder.sources.rtsp import RtspSource
from recorder.worker import CarryOver, Recordings, jobs_of, recorded_streams, run_worker
from storage.shedding import Shedding
from storage.spool import Spool
from tests.support.stage import STREAM, Stage, crash, play
from tests.support.waiting import until
from vms.assignment import Assignment, CameraAssignment, read_assignment, write_assignment
from vms.clock import SimulatedClock, SystemClock
from vms.errors import SourceError
from vms.metrics import Metrics
from vms.model import GapReason, SourceKind, Stream, StreamKind
from vms.site import Site
from vms.supervise import Backoff

PATIENCE_S = 4.3  # of the default settings: a stall is noticed within five seconds


def camera(number: int, url: str, source: SourceKind = SourceKind.AUTO, **fields: object) -> CameraAssignment:
    identity = UUID(int=number)
    streams = (Stream(uuid4(), identity, StreamKind.MAIN, url, True),)
    plain = {"enabled": True, "transport": "tcp", "certificate_pin": "", "trust_clock": False, "audio": False}
    return CameraAssignment(
        camera_id=identity,
        number=number,
        name=f"Kamera {number}",
        source=source,
        **{**plain, "streams": streams, **fields},
    )  # type: ignore[arg-type]


@pytest.fixture
def site(tmp_path):
    return Site.create(tmp_path / "site", {})


@asynccontextmanager
async def recordings_of(site: Site) -> AsyncIterator[Recordings]:
    spool = Spool(site.spool)
    spool.prepare()
    with contextlib.suppress(asyncio.CancelledError):
        async with asyncio.TaskGroup() as tasks:
            running = Recordings(site, spool, SystemClock(), tasks)
            yield running
            await running.follow({})
    await spool.close()


def source_of(running: Recordings, one: CameraAssignment) -> DeferredSource:
    (job,) = jobs_of(Assignment((one,)), 0, 1).values()
    source = running._source(job)
    assert isinstance(source, DeferredSource)
    return source


@pytest.mark.parametrize(
    ("url", "kind", "built", "patience_s"),
    [
        ("rtsp://10.0.0.1/x", SourceKind.AUTO, AutoSource, PATIENCE_S),
        ("rtsps://10.0.0.1/x", SourceKind.AUTO, AutoSource, PATIENCE_S),
        ("rtsp://10.0.0.1/x", SourceKind.RTSP, RtspSource, PATIENCE_S),
        ("rtsp://10.0.0.1/x", SourceKind.LIBAV, LibavSource, PATIENCE_S),
        ("rtmp://10.0.0.1/x", SourceKind.AUTO, LibavSource, PATIENCE_S),
        ("srt://10.0.0.1:9000", SourceKind.AUTO, LibavSource, PATIENCE_S),
        ("http://10.0.0.1/x.m3u8", SourceKind.AUTO, LibavSource, SEGMENTED_PATIENCE_S),
    ],
)
async def test_the_worker_builds_the_source_that_the_address_needs(site, url, kind, built, patience_s):
    async with recordings_of(site) as running:
        source = source_of(running, camera(1, url, kind))
        assert source.patience_s == pytest.approx(PATIENCE_S)
        made = source._build()
        assert isinstance(made, built)
        assert made.patience_s == pytest.approx(patience_s)
        assert bool(made.why) is (built is LibavSource and kind is SourceKind.AUTO)
        if isinstance(made, RtspSource):
            assert made._options.session_store is not None


async def test_an_address_that_nothing_can_be_built_for_ends_its_own_attempts_only(site, unused_tcp_port):
    wrong = camera(1, "bogus:///x", SourceKind.LIBAV)
    other = camera(2, f"rtsp://127.0.0.1:{unused_tcp_port}/x")
    async with recordings_of(site) as running:
        with pytest.raises(SourceError) as refused:
            await source_of(running, wrong).run(TrackSinks(None))
        assert refused.value.reason is GapReason.REFUSED
        jobs = jobs_of(Assignment((wrong, other)), 0, 1)
        await running.follow(jobs)
        recordings = [recording for _, recording in running.running()]
        await until(lambda: all(r.attempts >= 2 for r in recordings))
        assert all(set(r.results) == {"refused"} and not r.bugs for r in recordings)
        assert all(r.video.gaps.current.reason is GapReason.REFUSED for r in recordings)


@asynccontextmanager
async def following(site: Site) -> AsyncIterator[Recordings]:
    async with recordings_of(site) as running:
        section = site.settings.spool
        shedding = Shedding(running._spool, section, SystemClock())
        giving_up = GivingUp(shedding, section, SystemClock(), running.running)
        reload = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            follow = recorder.worker._follow_assignment(site, running, giving_up, reload, index=0, workers=1)
            task = tasks.create_task(follow)
            yield running
            task.cancel()
        if running._settling is not None:
            running._settling.cancel()


async def test_a_lost_assignment_stops_nothing(site, unused_tcp_port, monkeypatch, caplog):
    monkeypatch.setattr(recorder.worker, "ASSIGNMENT_POLL_SECONDS", 0.01)
    wanted = Assignment((camera(1, f"rtsp://127.0.0.1:{unused_tcp_port}/x"),))
    write_assignment(site.assignment_file, wanted, site.sealer)
    async with following(site) as running:
        await until(lambda: list(running.running()))
        site.assignment_file.rename(site.path / "elsewhere")
        await until(lambda: "is gone" in caplog.text)
        assert len(list(running.running())) == 1
        write_assignment(site.assignment_file, Assignment(), site.sealer)
        await until(lambda: not list(running.running()))
    assert caplog.text.count("is gone") == 1


async def test_an_assignment_that_could_not_be_read_once_is_read_again(site, unused_tcp_port, monkeypatch):
    monkeypatch.setattr(recorder.worker, "ASSIGNMENT_POLL_SECONDS", 0.01)
    wanted = Assignment((camera(1, f"rtsp://127.0.0.1:{unused_tcp_port}/x"),))
    write_assignment(site.assignment_file, wanted, site.sealer)
    refusals = iter([OSError(24, "Too many open files")])

    def read(file, sealer):
        for refusal in refusals:
            raise refusal
        return read_assignment(file, sealer)

    monkeypatch.setattr(recorder.worker, "read_assignment", read)
    async with following(site) as running:
        await until(lambda: list(running.running()))


def test_who_is_recorded_here() -> None:
    on, off, quiet = camera(1, "rtsp://k/1"), camera(2, "rtsp://k/2", enabled=False), camera(3, "rtsp://k/3")
    sound = Stream(uuid4(), on.camera_id, StreamKind.AUDIO, "rtsp://k/1", True)
    sub = Stream(uuid4(), on.camera_id, StreamKind.SUB, "rtsp://k/1b", False)
    heard = camera(4, "rtsp://k/4", streams=(*on.streams, sound, sub), audio=True)
    mute = camera(5, "rtsp://k/5", streams=(*quiet.streams, sound), audio=False)
    assert recorded_streams(Assignment((off,))) == set()
    assert recorded_streams(Assignment((heard,))) == {on.streams[0].id, sound.id}
    assert recorded_streams(Assignment((mute,))) == {quiet.streams[0].id}


async def test_a_bug_in_a_side_task_ends_nothing_and_counts_nothing_twice(site, monkeypatch):
    calls = 0
    real = CarryOver.once

    def once(self: CarryOver) -> None:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise ZeroDivisionError("boom")
        real(self)

    monkeypatch.setattr(recorder.worker, "METRICS_SECONDS", 0.005)
    monkeypatch.setattr(recorder.worker, "SIDE_TASKS", Backoff(first=0.005, after_bug=0.005))
    monkeypatch.setattr(CarryOver, "once", once)
    write_assignment(site.assignment_file, Assignment(), site.sealer)
    worker = asyncio.create_task(run_worker(site, 0, 1))
    await until(lambda: calls >= 5 or worker.done())
    assert not worker.done()
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)


async def test_metrics_never_sum_up_the_day(site, unused_tcp_port, monkeypatch):
    def never(*_args: object) -> int:
        raise AssertionError("missing time was summed up for metrics")

    monkeypatch.setattr("recorder.gaps.GapBook.missing_ns", never)
    metrics = Metrics.create()
    async with recordings_of(site) as running:
        await running.follow(jobs_of(Assignment((camera(7, f"rtsp://127.0.0.1:{unused_tcp_port}/x"),)), 0, 1))
        carry = CarryOver(metrics, running)
        ((_, recording),) = running.running()
        await until(lambda: recording.results.get("refused", 0) >= 1)
        carry.once()
        carry.once()
    lines = metrics.page().decode().splitlines()
    assert any(line.startswith("stroz_gaps_total{") and 'reason="refused"' in line for line in lines)


async def test_leftovers_of_a_removed_camera_are_sealed_at_start_by_one_worker(site, tmp_path):
    clock = SimulatedClock()
    async with Stage(tmp_path / "before", clock, play(70)) as stage:
        await stage.go(66)
        await until(lambda: stage.track._open is not None and stage.track._open.number == 1)  # however busy the machine
        await stage.go(3)
        await stage.spool.drained()
        await crash(stage, site.spool)
    write_assignment(site.assignment_file, Assignment(), site.sealer)
    spool = Spool(site.spool)
    turn = STREAM.int % 2

    def open_runs() -> list[UUID]:
        return [fact.run.id for _, fact in spool.runs() if fact.run.end_ns is None]

    for index in (1 - turn, turn):
        worker = asyncio.create_task(run_worker(site, index, 2))
        settled = site.run / f"recorder-{index}.sock"
        await until(lambda path=settled: path.exists())
        if index == turn:
            await until(lambda: not open_runs())
        else:
            assert len(spool.parts()) == len(open_runs()) == 1
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
    assert spool.parts() == []
    assert len(spool.sealed(STREAM)) == 2
    (gap,) = [g for _, g in spool.gaps() if g.end_ns is not None and "not recorded any more" in g.detail]
    assert gap.reason is GapReason.RECORDER_RESTART
    await spool.close()
