"""Killed at any moment, a recorder leaves no missing picture without a gap: what it had not told of is found again."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from recorder.leavings import settle_orphans
from recorder.segmenter import SegmentPolicy
from recorder.sources.scripted import Lost, Step
from storage.archiver import Archiver
from storage.export import Wish, export
from storage.objects import FolderStore
from storage.reader import Reader
from storage.spool import Spool
from tests.support.footage_rows import camera
from tests.support.sealed import HOST, OBJECT_STORE, SPOOL_STORE, WALL_NS, open_site
from tests.support.stage import FRAME, MS, STREAM, S, Stage, check, crash, play, read_timed
from vms.clock import SimulatedClock
from vms.localtime import format_utc
from vms.model import AccessUnit, Gap, GapReason
from vms.timeline import TimeRange, merge

FIRST_PTS = 1000
GOP = 25
FRAME_NS = 40 * MS
POLICY = SegmentPolicy(target_ns=3 * S)


@pytest.fixture(autouse=True)
def threads_at_once(monkeypatch):
    async def at_once(work, *args):
        return work(*args)

    monkeypatch.setattr("recorder.recording.asyncio.to_thread", at_once)
    monkeypatch.setattr("recorder.leavings.asyncio.to_thread", at_once)


def lossy(seconds: float, lost: set[int]) -> list[Step]:
    """25 pictures a second; what follows a loss is damaged up to the next picture a decoder can begin with."""
    steps: list[Step] = []
    damaged = False
    for step in play(seconds, first_pts=FIRST_PTS, gop=GOP):
        assert isinstance(step.does, AccessUnit)
        number = (step.does.pts - FIRST_PTS) // FRAME
        if number in lost:
            steps.append(replace(step, does=Lost(3)))
            damaged = True
            continue
        damaged = damaged and not step.does.key
        steps.append(replace(step, does=step.does._replace(damaged=damaged)))
    return steps


def holes_of(gaps: list[Gap]) -> list[Gap]:
    return [g for g in gaps if g.reason is not GapReason.RECORDER_RESTART]


async def killed(folder: Path, clock: SimulatedClock, lost: set[int], at_s: float) -> Path:
    """The spool of a recorder that died then."""
    async with Stage(folder / "spool", clock, lossy(at_s + 2, lost), policy=POLICY) as stage:
        await stage.go(at_s)
        return await crash(stage, folder / "crashed")


async def again(folder: Path, clock: SimulatedClock) -> tuple[list[Gap], list[int]]:
    """Recover: the gaps, and the numbers of the pictures that are stored."""
    clock.advance(7 * S)
    async with Stage(folder, clock, play(4, first_pts=90_000_000)) as stage:
        await stage.go(2)
        await stage.spool.drained()
        gaps = stage.gaps()
        first = stage.runs()[0].run
        segments = [s for s in check_files(stage) if s.run_id == first.id]
    numbers = [(t.unit.pts - FIRST_PTS) // FRAME for s in segments for t in read_timed(s)]
    return gaps, numbers


def check_files(stage: Stage) -> list:
    return check(stage, holes=True)


@settings(max_examples=25, phases=(Phase.explicit, Phase.generate))
@given(
    bursts=st.lists(st.tuples(st.integers(3, 30), st.integers(1, 9)), max_size=9),
    kill_frame=st.integers(150, 224),
    late_ms=st.integers(0, 39),
)
async def test_after_a_kill_at_any_moment_gaps_are_what_is_missing(bursts, kill_frame, late_ms):
    """`bursts`: so many pictures come, so many are lost. Where more steps are wide than narrow, wide is the pace."""
    gone: set[int] = set()
    at = 100
    for come, go in bursts:
        gone |= set(range(at + come, at + come + go))
        at += come + go
    with tempfile.TemporaryDirectory() as name:
        folder, clock = Path(name), SimulatedClock()
        began = clock.wall_ns()
        crashed = await killed(folder, clock, gone, (kill_frame * 40 + late_ms) / 1000)
        gaps, numbers = await again(crashed, clock)
    last = max(numbers)
    assert last >= max(n for n in range(kill_frame) if n not in gone) - 26  # no more than the kill itself costs
    missing = [
        TimeRange(began + n * FRAME_NS, began + (n + 1) * FRAME_NS) for n in range(last) if n not in set(numbers)
    ]
    assert {n for n in range(last) if n not in set(numbers)} == {n for n in gone if n < last}
    told = holes_of(gaps)
    assert len({g.id for g in told}) == len(told)
    for gap in told:
        assert gap.end_ns is not None
    spans = merge([TimeRange(g.start_ns, g.end_ns) for g in told if g.end_ns is not None])
    for span in merge(missing):
        assert any(t.start_ns <= span.start_ns and span.end_ns <= t.end_ns for t in spans), (span, spans)
    for t in spans:  # begins and ends with missing pictures; what stands between them is within the second that joins
        assert {t.start_ns, t.end_ns} <= {s.start_ns for s in merge(missing)} | {s.end_ns for s in merge(missing)}


async def test_a_hole_just_before_the_kill_is_told_once(tmp_path):
    clock = SimulatedClock()
    began = clock.wall_ns()
    crashed = await killed(tmp_path, clock, {205, 206, 207}, 8.6)
    gaps, _ = await again(crashed, clock)
    (hole,) = holes_of(gaps)
    assert (hole.reason, hole.detail) == (GapReason.PACKET_LOSS, "120 ms of pictures lost on the way")
    assert (hole.start_ns, hole.end_ns) == (began + 205 * FRAME_NS, began + 208 * FRAME_NS)


async def test_killed_again_while_it_recovers_it_tells_the_same(tmp_path):
    """The gap is on disk and the run is still open: the second death came between the two."""
    clock = SimulatedClock()
    crashed = await killed(tmp_path, clock, {205, 206, 207}, 8.6)
    twice = Path(shutil.copytree(crashed, tmp_path / "twice"))
    first, _ = await again(crashed, clock)
    (hole,) = holes_of(first)
    shutil.copy2(crashed / "facts" / f"gap-{hole.id}.json", twice / "facts")
    second, _ = await again(twice, clock)
    assert holes_of(second) == [hole]


async def test_a_gap_that_was_told_and_forgotten_has_the_same_name(tmp_path):
    """A closed fact leaves the spool once it is journalled; told again it is the same row."""
    clock = SimulatedClock()
    crashed = await killed(tmp_path, clock, {150, 151}, 8.6)
    (told,) = (file for file in (crashed / "facts").glob("gap-*.json") if b"packet_loss" in file.read_bytes())
    told.unlink()
    gaps, _ = await again(crashed, clock)
    assert [f"gap-{g.id}.json" for g in holes_of(gaps)] == [told.name]


@pytest.mark.parametrize(("lost", "reason"), [({199}, None), ({200 - 1, 198}, GapReason.PACKET_LOSS)])
async def test_without_damage_after_it_the_detail_says_what_is_not_known(tmp_path, lost, reason):
    """Before a random-access picture a loss leaves no mark. One picture left out by the camera itself is no gap."""
    clock = SimulatedClock()
    script = [s for s in lossy(12, set()) if (s.does.pts - FIRST_PTS) // FRAME not in lost]
    if reason is None:
        script = [s for s in lossy(12, set()) if (s.does.pts - FIRST_PTS) // FRAME != 205]
    async with Stage(tmp_path / "spool", clock, script, policy=POLICY) as stage:
        await stage.go(8.6)
        crashed = await crash(stage, tmp_path / "crashed")
    gaps, _ = await again(crashed, clock)
    assert [g.reason for g in holes_of(gaps)] == ([] if reason is None else [reason])
    assert all("likely" in g.detail for g in holes_of(gaps))


async def test_what_is_found_again_is_missing_in_timeline_and_export(tmp_path):
    """A second is lost before a random-access picture, and the recorder is killed within the second after it."""
    clock = SimulatedClock(WALL_NS)
    script = [s for s in lossy(12, set()) if not 174 < (s.does.pts - FIRST_PTS) // FRAME < 200]
    async with Stage(tmp_path / "spool", clock, script, policy=POLICY) as stage:
        await stage.go(8.6)
        crashed = await crash(stage, tmp_path / "crashed")
    gaps, _ = await again(crashed, clock)
    (hole,) = holes_of(gaps)
    opened = await open_site(tmp_path)
    plain = camera(2, (await opened.catalogue.default_profile()).id)
    streams = (replace(plain.streams[0], id=STREAM),)
    await opened.catalogue.add_camera(replace(plain, streams=streams), at_ns=WALL_NS)
    spool = Spool(crashed, clock)
    places = {"host": HOST, "spool_store": SPOOL_STORE, "object_store": OBJECT_STORE}
    await Archiver(spool, opened.catalogue, FolderStore(tmp_path / "store"), **places, clock=clock).register_sealed()
    reader = Reader(opened.catalogue, spool, {})
    within = TimeRange(WALL_NS + 2 * S, WALL_NS + 8400 * MS)
    now_ns = clock.wall_ns()
    line = await reader.timeline(STREAM, within, now_ns)
    done = await export(reader, Wish(STREAM, within), tmp_path / "klip.mp4", now_ns=now_ns, about={})
    await spool.close()
    await opened.close()
    assert [(m.range, m.reason) for m in line.missing] == [
        (TimeRange(hole.start_ns, hole.end_ns), GapReason.PACKET_LOSS)
    ]
    assert not any(span.range.overlaps(line.missing[0].range) for span in line.spans)
    (told,) = json.loads(done.side_file.read_text())["gaps"]
    assert (told["start"], told["end"]) == (format_utc(hole.start_ns), format_utc(hole.end_ns))
    assert len(done.files) == 2


async def test_a_stream_that_nobody_records_any_more_is_told_of_too(tmp_path):
    clock = SimulatedClock()
    crashed = await killed(tmp_path, clock, {205, 206, 207}, 8.6)
    clock.advance(7 * S)
    stage = Stage(crashed, clock, [])
    await settle_orphans(stage.spool, lambda stream_id: stream_id == STREAM, clock.wall_ns())
    await settle_orphans(stage.spool, lambda stream_id: stream_id == STREAM, clock.wall_ns())
    assert [g.reason for g in holes_of(stage.gaps())] == [GapReason.PACKET_LOSS]
    await stage.spool.close()
