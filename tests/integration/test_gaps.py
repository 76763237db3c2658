"""Faults that a recorder must survive: each is noticed in time, tried again soon, and a gap with exactly one reason.

All faults happen to their own cameras in one run, beside a camera that must not notice any of it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from storage.catalogue import StreamTimeline
from tests.support.foreign_servers import film, gstreamer
from tests.support.stack import MS, SECOND, Recorded, Stack, running_stack
from tests.support.waiting import until
from vms.model import Codec, Gap, GapReason, SourceKind
from vms.simulate import CameraScript, Simulator, SimulatorOptions, prepare_small, running
from vms.timeline import TimeRange

pytestmark = [pytest.mark.network, pytest.mark.timeout(120), pytest.mark.xdist_group("gaps")]

SCRIPTS = {
    "refuses": CameraScript(),
    "missing": CameraScript(),
    "hangs up": CameraScript(),
    "stalls": CameraScript(),
    "loses": CameraScript(stall_drops=True),
    "lossy": CameraScript(loss=0.02),
    "password": CameraScript(auth="straz:haslo"),
    "steady": CameraScript(),
}
NOTICED_S = 5.0
NEAR = 700 * MS  # of a moment that the machine may delay
STALL_S, LOSS_S, AWAY_S = 7.0, 2.5, 5.0


@dataclass
class Seen:
    """One camera after the faults."""

    gaps: list[Gap]
    timeline: StreamTimeline
    units: list[Recorded]

    @property
    def faults(self) -> list[Gap]:
        return [gap for gap in self.gaps if gap.reason is not GapReason.RECORDER_RESTART]


@dataclass
class Faults:
    """The whole run. `noticed`: seconds from the fault to the state that names a reason."""

    at_ns: int = 0
    noticed: dict[str, float] = field(default_factory=dict)
    retried: dict[str, float] = field(default_factory=dict)
    cameras: dict[str, Seen] = field(default_factory=dict)
    states: dict[str, dict[str, Any]] = field(default_factory=dict)
    export: dict[str, Any] = field(default_factory=dict)


async def happen(folder: Path) -> Faults:
    """Record all, let the faults happen at one moment, wait until everybody is back."""
    footage = prepare_small()[0]
    names = {name: f"cam{i}" for i, name in enumerate(SCRIPTS)}
    options = SimulatorOptions(
        (footage,),
        cameras=len(names),
        port=0,
        own_ports=True,
        scripts={names[name]: script for name, script in SCRIPTS.items()},
    )
    seen = Faults()
    mute = await asyncio.start_server(_say_nothing, "127.0.0.1", 0)
    async with mute, running(options) as simulator, running_stack() as stack:
        for name, camera in names.items():
            wrong = {"username": "straz", "password": "zle"} if name == "password" else {}
            await stack.add(name, simulator.url(camera), **wrong)
        await stack.add("mute", f"rtsp://127.0.0.1:{mute.sockets[0].getsockname()[1]}/cam")
        await stack.start()
        recording = [name for name in names if name != "password"]
        await stack.recording(*recording)
        await stack.recorded_for(2, "steady")
        await _break(stack, simulator, names, seen)
        seen.states = {name: await stack.state(name) for name in stack.cameras}
        for name in ("refuses", "missing"):
            await simulator.start_camera(names[name])
        await stack.recording(*recording, seconds=25)
        await stack.recorded_for(2 + STALL_S + 5, "steady")
        await stack.stop()
        for name in stack.cameras:
            seen.cameras[name] = Seen(await stack.gaps(name), await stack.timeline(name), await stack.units(name))
        seen.export = await _export(stack, seen, folder)
    return seen


async def _break(stack: Stack, simulator: Simulator, names: dict[str, str], seen: Faults) -> None:
    """All faults at once; watch until each has been noticed and the absent were away for long enough."""
    attempts = {name: (await stack.state(name))["attempts"] for name in names}
    seen.at_ns, began = time.time_ns(), time.monotonic()
    await simulator.stop_camera(names["refuses"])
    await simulator.stop_camera(names["missing"], missing=True)
    simulator.disconnect(names["hangs up"])
    simulator.stall(names["stalls"], STALL_S)
    simulator.stall(names["loses"], LOSS_S)

    async def all_noticed() -> bool:
        passed = time.monotonic() - began
        for name in ("refuses", "missing", "hangs up", "stalls"):
            state = await stack.state(name)
            if state.get("reason"):
                seen.noticed.setdefault(name, passed)
            if state.get("attempts", 0) > attempts[name]:
                seen.retried.setdefault(name, passed)
        return len(seen.noticed) == len(seen.retried) == 4 and passed > AWAY_S

    await until(all_noticed, 20, "the noticing of every fault")


async def _export(stack: Stack, seen: Faults, folder: Path) -> dict[str, Any]:
    """The footage around the hole of the camera that loses packets, as files and side file."""
    (hole,) = seen.cameras["loses"].faults
    assert hole.end_ns is not None
    half = 20 * MS  # of a frame, so that nothing depends on rounding
    within = TimeRange(hole.start_ns - SECOND - half, hole.end_ns + SECOND - half)
    done = await stack.export("loses", within, folder / "hole.mp4")
    facts: dict[str, Any] = json.loads(done.side_file.read_text())
    return facts | {"starts_ns": [f.start_ns for f in done.files], "ends_ns": [f.end_ns for f in done.files]}


async def _say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A host that takes connections and never answers."""
    await reader.read()
    writer.close()


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory, measured_once: Callable[[str, Callable[[], Any]], Any]) -> Faults:
    folder = tmp_path_factory.mktemp("faults")
    found: Faults = measured_once("faults", lambda: asyncio.run(happen(folder)))
    return found


def reasons(seen: Seen) -> list[GapReason]:
    return [gap.reason for gap in seen.faults]


def near(one_ns: int | None, other_ns: int, tolerance_ns: int = NEAR) -> bool:
    return one_ns is not None and abs(one_ns - other_ns) <= tolerance_ns


def test_gaps_and_recording_take_turns_on_every_timeline(faults: Faults) -> None:
    """From the first fact on every instant is recorded or missing with one reason, and never both."""
    for name, seen in faults.cameras.items():
        parts = [span.range for span in seen.timeline.spans] + [m.range for m in seen.timeline.missing]
        for earlier, later in pairwise(sorted(parts)):
            assert earlier.end_ns == later.start_ns, name
        for earlier_gap, later_gap in pairwise(seen.gaps):
            assert earlier_gap.end_ns is not None
            assert earlier_gap.end_ns <= later_gap.start_ns, name
        covered = sum(span.range.duration_ns for span in seen.timeline.spans)
        if name not in ("lossy", "password", "mute"):
            assert abs(covered - len(seen.units) * 40 * MS) <= 2 * 40 * MS, name


def test_faults_are_noticed_and_tried_again_in_time(faults: Faults) -> None:
    assert all(seconds <= NOTICED_S for seconds in faults.noticed.values()), faults.noticed
    for name in ("refuses", "missing", "hangs up"):
        assert faults.retried[name] - faults.noticed[name] <= 1.0 + NEAR / SECOND
    assert faults.retried["stalls"] - faults.noticed["stalls"] <= 1.0 + NEAR / SECOND


def test_a_steady_camera_notices_nothing(faults: Faults) -> None:
    steady = faults.cameras["steady"]
    assert steady.faults == []
    assert len(steady.timeline.spans) == 1
    assert len({unit.segment.run_id for unit in steady.units}) == 1


def test_a_camera_that_goes_away_and_then_refuses(faults: Faults) -> None:
    """Two reasons one after the other: the connection that broke, then what every attempt met."""
    first, second = faults.cameras["refuses"].faults
    assert (first.reason, second.reason) == (GapReason.UNREACHABLE, GapReason.REFUSED)
    assert near(first.start_ns, faults.at_ns)
    assert first.end_ns == second.start_ns
    assert "refuses connections" in second.detail
    assert near(second.start_ns, faults.at_ns + SECOND, 2 * SECOND)


def test_a_path_that_is_gone(faults: Faults) -> None:
    first, second = faults.cameras["missing"].faults
    assert (first.reason, second.reason) == (GapReason.UNREACHABLE, GapReason.REFUSED)
    assert "404" in second.detail
    assert "check the path" in second.detail


def test_a_camera_that_hangs_up(faults: Faults) -> None:
    (gap,) = faults.cameras["hangs up"].faults
    assert gap.reason is GapReason.UNREACHABLE
    assert "closed the connection" in gap.detail
    assert near(gap.start_ns, faults.at_ns)
    assert gap.end_ns is not None
    assert gap.end_ns - faults.at_ns <= 3 * SECOND + NEAR  # a retry within a second, a key picture within another


def test_a_camera_that_stalls(faults: Faults) -> None:
    (gap,) = faults.cameras["stalls"].faults
    assert gap.reason is GapReason.STALLED
    assert "sent no video for 4" in gap.detail
    assert near(gap.start_ns, faults.at_ns)  # where pictures ended, not where that was noticed
    assert gap.end_ns is not None
    assert gap.end_ns >= faults.at_ns + 4 * SECOND


def test_packets_lost_for_seconds_are_a_hole_within_the_recording(faults: Faults) -> None:
    """The connection stood: one run, and a hole that the timeline shows although a segment spans it."""
    seen = faults.cameras["loses"]
    (gap,) = seen.faults
    assert gap.reason is GapReason.PACKET_LOSS
    assert near(gap.start_ns, faults.at_ns, 150 * MS + NEAR)
    assert gap.end_ns is not None
    assert near(gap.end_ns - gap.start_ns, round(LOSS_S * SECOND), 200 * MS)
    assert [m.range for m in seen.timeline.missing if m.reason is GapReason.PACKET_LOSS] == [
        TimeRange(gap.start_ns, gap.end_ns)
    ]
    assert len({unit.segment.run_id for unit in seen.units}) == 1
    assert not [unit for unit in seen.units if gap.start_ns <= unit.capture_ns < gap.end_ns - MS]


def test_a_hole_splits_an_export(faults: Faults) -> None:
    (gap,) = faults.cameras["loses"].faults
    facts = faults.export
    assert [f["pictures"] for f in facts["files"]] == [25, 25]
    assert near(facts["ends_ns"][0], gap.start_ns, 42 * MS)  # the last picture may stand for a frame longer
    assert near(facts["starts_ns"][1], gap.end_ns or 0, 2 * MS)
    (stated,) = facts["gaps"]
    assert stated["reason"] == "packet_loss"


def test_single_packets_lost_cost_their_pictures_only(faults: Faults) -> None:
    seen = faults.cameras["lossy"]
    assert set(reasons(seen)) == {GapReason.PACKET_LOSS}
    assert all("ms of pictures lost on the way" in gap.detail for gap in seen.faults)
    assert any(unit.damaged for unit in seen.units)
    assert len({unit.segment.run_id for unit in seen.units}) == 1
    ours, steady = len(seen.units), len(faults.cameras["steady"].units)
    assert 0.8 * steady <= ours < steady


def test_a_wrong_password(faults: Faults) -> None:
    seen = faults.cameras["password"]
    (gap,) = seen.faults
    assert gap.reason is GapReason.UNAUTHORISED
    assert "user name or password" in gap.detail
    assert "zle" not in gap.detail
    assert seen.units == []


def test_a_host_that_never_answers(faults: Faults) -> None:
    """Until the first attempt is over the gap is the recorder's start; then the reason is the camera's."""
    state, seen = faults.states["mute"], faults.cameras["mute"]
    assert state["reason"] in (GapReason.RECORDER_RESTART, GapReason.UNREACHABLE)
    (gap,) = seen.faults
    assert gap.reason is GapReason.UNREACHABLE
    assert "did not answer" in gap.detail


async def test_a_codec_nobody_records_falls_back_with_a_reason() -> None:
    """MJPEG: ours refuses it at once, `auto` tries libav and says why, and the gap names what the camera sends."""
    async with gstreamer(film(Codec.H264), "mjpeg") as url, running_stack() as stack:
        await stack.add("Rynek", url, source=SourceKind.AUTO)
        await stack.start()

        async def fell_back() -> dict[str, Any] | None:
            state = await stack.state("Rynek")
            return state if state.get("source") == "libav" and state.get("reason") == "unsupported_codec" else None

        state = await until(fell_back, 20, "the fallback to libav")
        assert "MJPEG" in state["source_why"]
        assert "MJPEG" in state["detail"]
        assert "H.264 or H.265" in state["detail"]
        await stack.stop()
        gaps = await stack.gaps("Rynek")
        assert [gap.reason for gap in gaps] == [
            GapReason.RECORDER_RESTART,
            GapReason.UNSUPPORTED_CODEC,
            GapReason.RECORDER_RESTART,
        ]
        assert await stack.units("Rynek") == []
