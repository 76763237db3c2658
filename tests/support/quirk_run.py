"""One run of many simulated cameras, each with its own quirk, recorded side by side; what came of each.

Shared by the tests of quirks and faults: everything is measured once, the tests only look.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from storage.catalogue import StreamTimeline
from tests.support.stack import Recorded, Stack, running_stack
from tests.support.waiting import until
from vms.camera_url import CameraUrl
from vms.errors import SourceError
from vms.model import Gap, GapReason, SourceKind
from vms.rtsp.probe import CameraReport, probe
from vms.simulate import CameraScript, Footage, Simulator, SimulatorOptions, running


@dataclass(frozen=True, slots=True)
class Taken:
    """A camera to record: its quirk, its footage, and how we talk to it."""

    name: str
    footage: Footage
    script: CameraScript
    transport: str = "tcp"
    username: str = ""
    password: str = ""
    probed: bool = False
    records: bool = True  # whether a recording is expected at all
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Seen:
    """What happened to one camera. `sent`: the journal's units of the recorder's sessions, in sending order."""

    sent: list[dict[str, Any]]
    units: list[Recorded]
    gaps: list[Gap]
    timeline: StreamTimeline
    state: dict[str, Any]
    states: list[dict[str, Any]]
    report: CameraReport | None
    refusal: tuple[GapReason, str] | None

    @property
    def digests(self) -> list[str]:
        return [hashlib.sha256(unit.data).hexdigest() for unit in self.units]


Preparation = Callable[[Stack, Simulator], Awaitable[None]]


async def run_cameras(taken: Sequence[Taken], *, seconds: float, before: Preparation | None = None) -> dict[str, Seen]:
    """Record all of them at once for so long. Cameras to be probed get a twin, which the recorder does not see."""
    twins = [t for t in taken if t.probed]
    scripts = {f"cam{i}": t.script for i, t in enumerate([*taken, *twins])}
    options = SimulatorOptions(
        footage=tuple(t.footage for t in [*taken, *twins]),
        cameras=len(scripts),
        port=0,
        scripts=scripts,
        session_timeout_s=4.0,
    )
    journal: list[dict[str, Any]] = []
    async with running(options, on_record=journal.append) as simulator, running_stack() as stack:
        for i, t in enumerate(taken):
            more = {"transport": t.transport, "username": t.username, "password": t.password} | t.fields
            await stack.add(t.name, simulator.url(f"cam{i}"), **more)
        if before is not None:
            await before(stack, simulator)
        started = len(journal)
        await stack.start()
        probes = [asyncio.create_task(_probed(simulator, f"cam{len(taken) + i}", t)) for i, t in enumerate(twins)]
        states = await _watched(stack, [t.name for t in taken if t.records], seconds)
        reports = dict(zip((t.name for t in twins), await asyncio.gather(*probes), strict=True))
        await stack.stop()
        seen = {}
        for i, t in enumerate(taken):
            sent = [r for r in journal[started:] if r.get("camera") == f"cam{i}" and "sha256" in r]
            of_it = [s[stack.stream(t.name)] for s in states if stack.stream(t.name) in s]
            report = reports.get(t.name)
            seen[t.name] = Seen(
                sent=sent,
                units=await stack.units(t.name),
                gaps=await stack.gaps(t.name),
                timeline=await stack.timeline(t.name),
                state=of_it[-1],
                states=of_it,
                report=report if isinstance(report, CameraReport) else None,
                refusal=(report.reason, str(report)) if isinstance(report, SourceError) else None,
            )
        return seen


async def _watched(stack: Stack, names: Sequence[str], seconds: float) -> list[dict[Any, Any]]:
    """Every state seen, until each of `names` has been recording for so long."""
    seen: list[dict[Any, Any]] = []
    wanted = {stack.stream(name) for name in names}
    loop = asyncio.get_running_loop()
    since: list[float] = []

    async def enough() -> bool:
        states = await stack.states()
        if states:
            seen.append(states)
        if not since and all(states.get(s, {}).get("segments", 0) or states.get(s, {}).get("runs", 0) for s in wanted):
            since.append(loop.time())
        return bool(since) and loop.time() - since[0] > seconds

    await until(enough, seconds + 20, "recording of every camera")
    return seen


async def _probed(simulator: Simulator, camera: str, taken: Taken) -> CameraReport | SourceError:
    url = CameraUrl.parse(simulator.url(camera), SourceKind.RTSP)
    try:
        return await probe(
            str(url), username=taken.username, password=taken.password, transport=taken.transport, seconds=3.0
        )
    except SourceError as error:
        return error
