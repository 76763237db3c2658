"""A spool that runs full: how much room it has, and which streams are given up, in which order, until there is room again.

Owns the order (`Rank`), the pure decision (`floor_of`) and `Shedding`, by which all workers of a host come to the same
one. Does not own the streams (`recorder.giving_up` acts on what is decided) and never touches a segment: what is in the
spool stays there until it is archived.

Each rank that is less important than another present leaves the last twentieth of the spool to those above it; the most
important one goes on until the budget, or the disk down to its reserve, is used up. A rank comes back only when there is
`_margin` more room than where it went, so that a spool at its limit makes few long gaps and not many short ones.

The decision has a memory, so it is kept in one small file of the spool, under a lock: whoever finds it due measures and
decides for all. It is overwritten in place, which needs no room on a full disk. A process that cannot use the file
decides alone, by the same function.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import IntEnum

from storage.spool import Spool, SpoolUsage
from vms.clock import Clock
from vms.durable import write_all
from vms.errors import SpoolError
from vms.model import StreamKind
from vms.settings import SpoolSection, camera_numbers
from vms.timeline import SECOND_NS

log = logging.getLogger(__name__)

FILE = "shedding.state"
LOOK_NS = SECOND_NS
LOOK_SHARE = 50  # measuring takes at most this part of one processor's time
STEP = 20  # each rank leaves this part of the spool to those above it
LEAST_MARGIN_BYTES = 256 << 20
NOTHING = 0  # a floor: all ranks below it are given up
_STATE = re.compile(rb"([0-4]) (0|[1-9][0-9]{0,18}) (0|[1-9][0-9]{0,18}) *\n", re.ASCII)
_STATE_BYTES = 64


class Rank(IntEnum):
    """How soon a stream is given up, the first to go first."""

    SUB = 0
    LOW = 1
    NORMAL = 2
    HIGH = 3


EVERYTHING = len(Rank)


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes that the spool may still take, and that it may take in all."""

    room_bytes: int
    limit_bytes: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """Ranks below `floor` are given up, since `since_ns` (UTC). `room`: what was measured, if this call did."""

    floor: int = NOTHING
    since_ns: int = 0
    room: Room | None = None


def rank_of(kind: StreamKind, camera: int, section: SpoolSection) -> Rank:
    """A stream's place in the order. Sound goes with its main stream. Pure."""
    if kind is StreamKind.SUB:
        return Rank.SUB
    if any(camera in numbers for numbers in camera_numbers(section.shed_last)):
        return Rank.HIGH
    if any(camera in numbers for numbers in camera_numbers(section.shed_first)):
        return Rank.LOW
    return Rank.NORMAL


def room_of(section: SpoolSection, usage: SpoolUsage) -> Room:
    """By the budget, and by what must stay free on the disk; never below 0. Pure."""
    room, limit = usage.free_bytes - section.reserve_bytes, usage.disk_bytes - section.reserve_bytes
    if section.budget_bytes:
        room = min(room, section.budget_bytes - usage.sealed_bytes - usage.open_bytes)
        limit = min(limit, section.budget_bytes) if usage.disk_bytes else section.budget_bytes
    return Room(max(0, room), max(0, limit))


def floor_of(ranks: Collection[Rank], room: Room, before: int) -> int:
    """Which of the `ranks` present are given up now: those below the result. `before`: what was decided last. Pure."""
    order = sorted(set(ranks))
    step, margin = room.limit_bytes // STEP, _margin(room.limit_bytes)
    floor = NOTHING
    for place, rank in enumerate(order):
        left_to_others = (len(order) - 1 - place) * step
        comes_back = left_to_others + margin
        if room.room_bytes <= left_to_others or (rank < before and room.room_bytes < comes_back):
            floor = rank + 1
    return EVERYTHING if order and floor == order[-1] + 1 else floor


def spare_of(ranks: Collection[Rank], room: Room) -> int:
    """What work other than recording may take, so that none of the `ranks` present is given up, or kept away, for it. Pure."""
    left_to_others = max(0, len(set(ranks)) - 1) * (room.limit_bytes // STEP)
    return max(0, room.room_bytes - left_to_others - _margin(room.limit_bytes))


def _margin(limit_bytes: int) -> int:
    return max(limit_bytes // 100, min(limit_bytes // 8, LEAST_MARGIN_BYTES))


class Shedding:
    """The decision that all processes sharing a spool come to. One caller at a time in each of them, in a thread."""

    def __init__(self, spool: Spool, section: SpoolSection, clock: Clock) -> None:
        self._spool, self._section, self._clock = spool, section, clock
        self._file = spool.path / FILE
        self._floor, self._since_ns, self._due_ns = NOTHING, 0, 0
        self._alone = False  # the file cannot be used

    def look(self, ranks: Collection[Rank]) -> Verdict:
        """What holds now, measured again when that is due. Blocks; never raises for what the disk does."""
        try:
            fd = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                self._take_over(os.pread(fd, _STATE_BYTES, 0))
                room = self._decide(ranks)
                if room is not None:
                    os.lseek(fd, 0, os.SEEK_SET)
                    write_all(fd, self._state())
            finally:
                os.close(fd)
            self._alone = False
        except OSError as error:
            if not self._alone:
                log.error("%s cannot be used, this process decides alone: %s", self._file, error.strerror)
            self._alone = True
            room = self._decide(ranks)
        return Verdict(self._floor, self._since_ns, room)

    def _take_over(self, state: bytes) -> None:
        """What another process decided; anything but a state of ours says nothing."""
        found = _STATE.fullmatch(state)
        if found is not None:
            self._floor, self._since_ns, self._due_ns = int(found[1]), int(found[2]), int(found[3])

    def _state(self) -> bytes:
        text = f"{self._floor} {self._since_ns} {self._due_ns}"
        return text.ljust(_STATE_BYTES - 1).encode() + b"\n"

    def _decide(self, ranks: Collection[Rank]) -> Room | None:
        """Measure and decide if that is due. A disk that cannot be measured changes nothing: its writes will tell.

        Nor does a process that has no stream yet: others' streams share the spool, and it knows nothing of them.
        """
        began_ns = self._clock.mono_ns()
        if (
            not ranks or began_ns < self._due_ns <= began_ns + 600 * SECOND_NS
        ):  # a due time from before a reboot is none
            return None
        try:
            usage = self._spool.usage() if self._section.budget_bytes else self._spool.disk()
        except SpoolError as error:
            log.error("the spool cannot be measured: %s", error)
            return None
        room = room_of(self._section, usage)
        floor = floor_of(ranks, room, self._floor)
        took_ns = self._clock.mono_ns() - began_ns
        self._due_ns = began_ns + max(LOOK_NS - LOOK_NS // 10, LOOK_SHARE * took_ns)
        if floor != self._floor:
            self._floor, self._since_ns = floor, self._clock.wall_ns()
        return room
