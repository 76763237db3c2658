"""Whatever clocks, networks and cameras do: runs in order, capture time near the truth, offsets measured (R-08).

A short form; `python -m tests.support.clock_run` plays 10 000 histories, and ranges of seeds can be shared out between
machines. A failure names its seed and shows its history.
"""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from recorder.track import Host, Track
from storage.spool import Spool
from tests.support.clock_histories import HZ, MONO, Clocks, History, Picture, S, Tick, draw, events
from tests.support.clock_run import run_range
from tests.support.encoded import made_up, small_config
from tests.support.stage import STREAM, read
from vms.clock import SimulatedClock
from vms.media.boxes import FileSource
from vms.media.reception import MediaTime
from vms.media.segment_reader import SegmentReader, verify
from vms.model import GapReason, SenderReport

MOST_APART_S = 0.1


def test_any_history() -> None:
    figures = run_range(1, 300)
    assert figures.problems == []
    assert figures.histories == 300
    assert figures.offsets_checked > 150
    assert figures.loose < figures.pictures // 5, "most pictures are held to the bound itself"


@pytest.mark.parametrize("seed", [9, 21, 53, 54, 70, 91])
async def test_a_history_on_disk(seed: int, tmp_path: Path) -> None:
    """Through segmenter and spool: every picture once, nothing overlaps within a run, nothing sealed is touched again."""
    history = replace(draw(seed), trust=False)
    spool, shown = await record(history, tmp_path)
    segments = spool.sealed(STREAM)
    by_run = defaultdict(list)
    for segment in sorted(segments, key=lambda s: s.number):
        by_run[segment.run_id].append(segment)
    for run in by_run.values():
        assert [s.number for s in run] == list(range(len(run)))
        for a, b in pairwise(run):
            assert a.facts.end_ns == b.facts.start_ns
    stored = [u.data for run in by_run.values() for s in run for u in read(s)]
    assert len(set(stored)) == len(stored)
    assert set(stored) <= set(shown)
    assert len(stored) >= len(shown) - 2 * history.gop
    runs = {fact.run.id: fact for _, fact in spool.runs()}
    assert set(runs) == set(by_run)
    for run_id, run in by_run.items():  # the correction of a clock is a further run: what was said of one stays
        assert runs[run_id].run.start_ns == run[0].facts.start_ns
        assert runs[run_id].run.end_ns == run[-1].facts.end_ns
        assert runs[run_id].anchors
    gaps = sorted((g for _, g in spool.gaps()), key=lambda g: g.start_ns)
    assert {g.reason for g in gaps} <= {GapReason.UNKNOWN, GapReason.STALLED}, gaps


async def test_the_cameras_offset_is_stored_with_every_segment(tmp_path: Path) -> None:
    """Two hours off and drifting: recorded by our clock; the offset in the trailer is the true one."""
    history = History(1, seconds=90, drift_ppm=100, camera_offset_ns=2 * 3600 * S, cut_s=10, turn_ms=245.0, jitter_ms=2)
    spool, _ = await record(history, tmp_path)
    segments = spool.sealed(STREAM)
    assert len({s.run_id for s in segments}) == 1
    for segment in segments:
        fd = os.open(segment.path, os.O_RDONLY)
        try:
            trailer = SegmentReader(FileSource(fd)).trailer
        finally:
            os.close(fd)
        assert trailer is not None
        offset_ns = trailer.clock_state.camera_offset_ns
        assert offset_ns is not None
        assert abs(offset_ns / S - 2 * 3600) < MOST_APART_S


async def record(history: History, folder: Path) -> tuple[Spool, list[bytes]]:
    """Play a history to a real track and spool. The spool, and the bytes of every picture in order."""
    clocks, clock = Clocks(history), SimulatedClock(history.wall_ns, MONO)
    spool = Spool(folder, clock)
    spool.prepare()
    track = Track(STREAM, Host("rejestrator-1", "boot"), spool, clock)
    media, config, shown = MediaTime(HZ), small_config(), []
    sealed: dict[str, bytes] = {}

    def hurried(mono_ns: int) -> bool:
        return track.clock_map is None or track.clock_map.hurried(mono_ns)

    for event in events(history, clocks, hurried):
        mono_ns = clocks.mono_ns(event.at)
        clock.advance(mono_ns - clock.mono_ns())
        clock.step_wall(clocks.offset_ns(event.at) + mono_ns - clock.wall_ns())
        if isinstance(event, Tick):
            track.tick(clock.wall_ns(), mono_ns)
            await track.sealed()
            sealed = unchanged(sealed, spool)
        elif isinstance(event, Picture):
            pts = media.pts(event.timestamp, mono_ns, reorders=False)
            key = event.index % history.gop == 0
            unit = made_up(event.index, key=key, config=config)  # its bytes say which it is
            shown.append(unit.data)
            track.on_unit(unit._replace(pts=pts, arrival_mono_ns=mono_ns))
        elif (peeked := media.peek(event.timestamp)) is not None:
            track.on_sender_report(SenderReport(peeked, event.ntp_ns, mono_ns))
    track.end_run(GapReason.RECORDER_RESTART)
    await track.sealed()
    unchanged(sealed, spool)
    await spool.close()
    return spool, shown


def unchanged(before: dict[str, bytes], spool: Spool) -> dict[str, bytes]:
    """Digests by name of what is sealed: all that was sealed before is still there, as it was; what is new is sound."""
    now = {s.path.name: s for s in spool.sealed(STREAM)}
    assert set(before) <= set(now)
    for name, digest in before.items():
        assert now[name].facts.digest == digest
    for name in set(now) - set(before):
        fd = os.open(now[name].path, os.O_RDONLY)
        try:
            assert verify(FileSource(fd)).sound
        finally:
            os.close(fd)
    return {name: s.facts.digest for name, s in now.items()}
