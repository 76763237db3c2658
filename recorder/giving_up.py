"""Acts on a spool that runs full: which recordings of this worker are given up, and when they are taken up again.

Owns the looking once a second and what is told about it. The decision is `storage.shedding`'s and the same in every worker
of the host; a stream that is given up stays connected and is relayed, so that live view goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol
from uuid import UUID

from recorder.recording import Recording
from storage.shedding import LOOK_NS, NOTHING, Rank, Shedding, Verdict, rank_of
from vms.assignment import Assignment, CameraAssignment
from vms.clock import Clock
from vms.model import Stream, StreamKind
from vms.settings import SpoolSection

log = logging.getLogger(__name__)

WHY = {
    Rank.SUB: "recorded sub-streams go first",
    Rank.LOW: "cameras of spool.shed_first go before others",
    Rank.NORMAL: "only the cameras of spool.shed_last are still recorded",
    Rank.HIGH: "nothing more can be kept",
}


class RunningJob(Protocol):
    """A `recorder.worker.Job`."""

    @property
    def camera(self) -> CameraAssignment: ...

    @property
    def stream(self) -> Stream: ...


def ranks_of(assignment: Assignment, section: SpoolSection) -> Mapping[UUID, Rank]:
    """The rank of every video stream that this host records, by stream id. Pure."""
    return {
        stream.id: rank_of(stream.kind, camera.number, section)
        for camera in assignment.cameras
        if camera.enabled
        for stream in camera.streams
        if stream.record and stream.kind is not StreamKind.AUDIO
    }


class GivingUp:
    """`run` it beside the recordings; `follow` each new assignment."""

    def __init__(
        self,
        shedding: Shedding,
        section: SpoolSection,
        clock: Clock,
        running: Callable[[], Iterable[tuple[RunningJob, Recording]]],
    ) -> None:
        self._shedding, self._section, self._clock = shedding, section, clock
        self._running = running
        self._ranks: Mapping[UUID, Rank] = {}

    def follow(self, assignment: Assignment) -> None:
        """The ranks present decide with whom the spool is shared."""
        self._ranks = ranks_of(assignment, self._section)

    async def run(self) -> None:
        """Look and act once a second until cancelled."""
        while True:
            self.act(await asyncio.to_thread(self._shedding.look, frozenset(self._ranks.values())))
            await self._clock.sleep(LOOK_NS / 1e9)

    def act(self, verdict: Verdict) -> None:
        """Give up and take up what `verdict` says. Repeating it changes nothing."""
        given, taken = [], []
        for job, recording in self._running():
            rank = self._ranks.get(job.stream.id)
            if rank is None:
                continue
            name = f"{job.camera.number} {job.stream.kind.value}"
            if rank < verdict.floor and not recording.given_up:
                recording.give_up(f"the spool is full; {WHY[rank]}")
                given.append(name)
            elif rank >= verdict.floor and recording.given_up:
                recording.take_up()
                taken.append(name)
        if given:
            log.error("the spool is full: %d streams are given up until it has room: %s", len(given), ", ".join(given))
        if taken:
            what = "recorded again" if verdict.floor == NOTHING else "recorded again, others not yet"
            log.warning("the spool has room: %d streams are %s: %s", len(taken), what, ", ".join(taken))
