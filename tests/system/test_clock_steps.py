"""The wall clock of a running site is set back and forth under it (libfaketime), and an archiver dies meanwhile.

Recorder, archiver and commands are real processes of `vms up`; the simulator keeps true time and knows every picture.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import time
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.support.faketime import SteppedClock
from tests.support.sent import SentLog
from tests.support.stored import Stored, gap_facts, read_segments
from tests.support.vms_process import Answer, Running, processes_of, until, vms, vms_running
from vms.model import Gap, GapReason
from vms.simulate import SimulatorOptions, prepare_small, running
from vms.site import Site

pytestmark = [pytest.mark.network, pytest.mark.slow, pytest.mark.timeout(180), pytest.mark.xdist_group("clock steps")]

S = 1_000_000_000
MS = 1_000_000
FRAME_NS = 40 * MS
CAMERAS = 2
STEPS_S = (0.0, -3600.0, 0.4, 40 * 86_400.0, 0.0)  # an hour back and forward, a little, forty days and back
NOTICED_NS = 10 * S  # libfaketime's second, the tick, the rest of a group of pictures, and a machine that is busy
APART_NS = 100 * MS


@dataclass
class Told:
    """What was seen while it happened."""

    steps: list[tuple[int, float]] = field(default_factory=list)  # (true time, offset from then on)
    clock: dict[float, str] = field(default_factory=dict)  # offset → the line of `vms status`
    journal: SentLog = field(default_factory=SentLog)
    stored: Stored = field(default_factory=Stored)
    gaps: dict[UUID, list[Gap]] = field(default_factory=dict)
    rows: dict[UUID, dict[str, Any]] = field(default_factory=dict)  # `vms timeline --json`
    objects: int = 0
    check: Answer = field(default_factory=lambda: Answer(1, "", ""))
    archivers: int = 0

    def apart_ns(self, true_ns: int, capture_ns: int) -> int:
        """How far a picture is from the clock in force, or from the one before while the step may not be known yet."""
        at = max(0, bisect_right([s for s, _ in self.steps], true_ns + FRAME_NS) - 1)
        known = [self.steps[at][1]]
        if at and true_ns < self.steps[at][0] + NOTICED_NS:
            known.append(self.steps[at - 1][1])
        return min(abs(capture_ns - true_ns - round(offset * S)) for offset in known)


async def happen(folder: Path) -> Told:
    told, data = Told(), folder / "data"
    footage = await asyncio.to_thread(prepare_small)
    options = SimulatorOptions(tuple(footage[:2]), cameras=CAMERAS, port=0)
    async with running(options, on_record=told.journal.append) as simulator:
        for i in range(CAMERAS):
            answer = await vms("--data", data, "camera", "add", f"Rynek {i + 1}", simulator.url(f"cam{i}"))
            assert answer.code == 0, answer.err
        (data / "site.toml").write_text("[recorder]\nworkers = 1\nsegment_seconds = 2\n")
        site, clock = Site.open(data), SteppedClock(folder)
        listed = (await vms("--data", data, "camera", "list", "--json")).json
        streams = [UUID(c["streams"][0]["id"]) for c in listed]
        async with vms_running(folder / "up", "--data", data, "up", env=clock.environment) as up:
            for offset in STEPS_S:
                before = await runs_and_segments(data, clock, streams)
                clock.step_to(offset)
                told.steps.append((time.time_ns(), offset))
                new_run = abs(offset - (told.steps[-2][1] if len(told.steps) > 1 else 0)) > 0.3
                await until(
                    f"segments after {offset}", lambda b=before, n=new_run: grown(data, clock, streams, b, n), 30
                )
                told.clock[offset] = await clock_line(data, clock)
                if offset > 86_400:
                    await replace_archiver(data, up)
                    await until("the new archiver", lambda: deletion_ran(data, clock), 30)
                    told.archivers += 1
            await up.stop()
        told.stored = await asyncio.to_thread(read_segments, site, streams)
        told.gaps = await gap_facts(site, streams)
        for number, stream in enumerate(streams, 1):
            wide = ("--from", "2026-01-01T00:00:00Z", "--to", "2200-01-01T00:00:00Z", "--json")
            answer = await vms("--data", data, "timeline", number, *wide)
            told.rows[stream] = answer.json
        told.objects = sum(1 for _ in (data / "store" / "segments").rglob("*.mp4"))
        told.check = await vms("--data", data, "check", "--depth", "digest")
    return told


async def runs_and_segments(data: Path, clock: SteppedClock, streams: list[UUID]) -> dict[str, int]:
    answer = await vms("--data", data, "status", "--json", env=clock.environment)
    if not answer.out:
        return {}
    return {s["stream_id"]: s["segments"] for s in answer.json["streams"]}


async def grown(data: Path, clock: SteppedClock, streams: list[UUID], before: dict[str, int], new_run: bool) -> bool:
    """Two more segments of every stream, or three where the step ends a run."""
    now = await runs_and_segments(data, clock, streams)
    return len(now) == CAMERAS and all(n >= before.get(s, 0) + 2 + new_run for s, n in now.items())


async def clock_line(data: Path, clock: SteppedClock) -> str:
    """What `vms status` says of the clock, once the archiver has seen the step."""
    wanted = abs(clock.offset_s) > 1

    async def said() -> str | None:
        answer = await vms("--data", data, "status", "--json", env=clock.environment)
        stepped = answer.json["clock"]["stepped_seconds"] if answer.out else None
        if stepped is None or abs(stepped - clock.offset_s) > 0.2:
            return None
        text = await vms("--data", data, "status", "--once", env=clock.environment)
        line = next((one for one in text.out.splitlines() if "was set" in one), "")
        return (line or "-") if bool(line) is wanted else None

    return str(await until(f"status at {clock.offset_s}", said, 20))


async def replace_archiver(data: Path, up: Running) -> None:
    (pid,) = [pid for pid, line in processes_of(data).items() if "archive_process" in line]
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)

    def another() -> bool:
        assert up.process.returncode is None, up.err
        return any("archive_process" in line and p != pid for p, line in processes_of(data).items())

    await until("another archiver", another, 20)


async def deletion_ran(data: Path, clock: SteppedClock) -> bool:
    answer = await vms("--data", data, "retention", "--json", env=clock.environment)
    return bool(answer.out) and answer.json["last_run"] is not None


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    return asyncio.run(happen(tmp_path_factory.mktemp("steps")))


def test_no_picture_is_lost_or_doubled(told: Told) -> None:
    for i, stream in enumerate(told.rows):  # in the order the cameras were added in
        units, sent = told.stored.units[stream], told.journal.camera(f"cam{i}")
        times = sorted(sent.media_time(u.pts) for u in units)
        assert len(set(times)) == len(times)
        assert {b - a for a, b in pairwise(times)} == {sent.frame}
        assert all(sent.sha256[sent.media_time(u.pts)] == u.sha256 for u in units)
    assert told.stored.undecodable == []


def test_every_picture_is_dated_by_the_clock_as_it_was(told: Told) -> None:
    far = []
    for i, stream in enumerate(told.rows):  # in the order the cameras were added in
        units, sent = told.stored.units[stream], told.journal.camera(f"cam{i}")
        for unit in units:
            due_ns = sent.due_ns(sent.media_time(unit.pts))
            if told.apart_ns(due_ns, unit.capture_ns) > APART_NS:
                far.append((i, due_ns - told.steps[0][0], unit.capture_ns - due_ns))
    assert far == [], told.steps


def test_nothing_is_overwritten_and_the_timeline_knows_all(told: Told) -> None:
    """Every segment has a file and a row of its own, also those of an hour that was recorded twice."""
    assert told.objects >= told.stored.segments - 3 * CAMERAS, "but those still in the spool when the site ended"
    assert sum(len(r["segments"]) for r in told.rows.values()) == told.stored.segments
    for facts in told.rows.values():
        assert {s["location"] for s in facts["segments"]} <= {"store", "spool"}


def test_time_that_was_skipped_is_missing_with_a_reason(told: Told) -> None:
    for gaps in told.gaps.values():
        assert {g.reason for g in gaps} <= {GapReason.RECORDER_RESTART, GapReason.UNKNOWN}
        skipped = [g for g in gaps if g.reason is GapReason.UNKNOWN]
        assert any(g.detail.startswith("the clocks were corrected") for g in skipped)
        assert all(g.end_ns is not None and g.end_ns > g.start_ns for g in gaps if g.reason is GapReason.UNKNOWN)
        assert max((g.end_ns or 0) - g.start_ns for g in skipped) > 39 * 86_400 * S


def test_status_says_that_the_clock_was_set(told: Told) -> None:
    assert re.search("set back by (1 h 00 min|59 min 59 s)", told.clock[-3600.0])
    assert re.search("set forward by (960 h|959 h 59 min)", told.clock[40 * 86_400.0])
    assert told.clock[0.0] == told.clock[0.4] == "-"


def test_forty_days_forward_delete_nothing_even_with_a_new_archiver(told: Told) -> None:
    assert told.archivers == 1
    assert not [g for gaps in told.gaps.values() for g in gaps if g.reason is GapReason.DELETED]


def test_catalogue_store_and_spool_agree_afterwards(told: Told) -> None:
    assert told.check.code == 0, told.check.out + told.check.err
