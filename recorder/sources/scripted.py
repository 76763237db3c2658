"""A source that plays a script on a clock: for tests and simulations, with the same contract as a real camera."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from recorder.sources import LIVE_PATIENCE_S, TrackSinks
from vms.clock import Clock
from vms.errors import SourceError
from vms.media.sink import UnitSink
from vms.model import AccessUnit, GapReason, SenderReport, SourceKind


@dataclass(frozen=True, slots=True)
class Lost:
    """About so many packets were lost."""

    packets: int


@dataclass(frozen=True, slots=True)
class Step:
    """What happens `at_ns` after the attempt began. An exception ends the attempt."""

    at_ns: int
    does: AccessUnit | Lost | SenderReport | Exception
    audio: bool = False


class ScriptedSource:
    """Plays one script per attempt, in order; when there is none left, the camera cannot be reached.

    A script that ends without an exception leaves the camera connected and silent. Units and reports get the clock's
    time of arrival, whatever the script says.
    """

    kind: SourceKind = SourceKind.RTSP
    why: str = ""

    def __init__(self, clock: Clock, scripts: Iterable[Sequence[Step]], patience_s: float = LIVE_PATIENCE_S) -> None:
        self.patience_s = patience_s
        self.attempts = 0
        self._clock = clock
        self._scripts = iter(scripts)

    async def run(self, sinks: TrackSinks) -> None:
        self.attempts += 1
        script = next(self._scripts, None)
        if script is None:
            raise SourceError(GapReason.UNREACHABLE, "the script has no further attempt")
        began = self._clock.mono_ns()
        for step in script:
            wait_ns = began + step.at_ns - self._clock.mono_ns()
            if wait_ns > 0:
                await self._clock.sleep(wait_ns / 1e9)
            if isinstance(step.does, Exception):
                raise step.does
            sink = sinks.audio if step.audio else sinks.video
            if sink is not None:
                self._play(sink, step.does)
        await asyncio.Event().wait()

    def _play(self, sink: UnitSink, what: AccessUnit | Lost | SenderReport) -> None:
        now = self._clock.mono_ns()
        if isinstance(what, AccessUnit):
            sink.on_unit(what._replace(arrival_mono_ns=now))
        elif isinstance(what, SenderReport):
            sink.on_sender_report(replace(what, arrival_mono_ns=now))
        else:
            sink.on_loss(what.packets)
