"""What befalls a site in a soak, and when: a list that follows from the seed alone. Pure.

A `Fault` is what is going to happen; an `Event` is what did: whose recording it may have cost, from when to when, and
which reasons a gap may then tell.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from vms.model import GapReason


class Kind(StrEnum):
    """Of fault."""

    DISCONNECT = "camera hangs up"
    AWAY = "camera away"
    MISSING = "camera answers 404"
    BURST = "camera stalls and bursts"
    STALL = "camera stalls"
    LOSS = "packets lost"
    NEIGHBOUR = "harmful neighbour"
    KILL_WORKER = "worker killed"
    STOP_WORKER = "worker stopped"
    KILL_ARCHIVER = "archiver killed"
    STOP_ARCHIVER = "archiver stopped"
    LOCK = "catalogue locked"
    STORE = "store fails"
    FILL = "spool full"
    STANDSTILL = "machine stood still"  # by others: never planned


@dataclass(frozen=True, slots=True)
class Rate:
    """`every_s`: mean time from one to the next. `least_s` to `most_s`: how long it lasts."""

    every_s: float
    least_s: float = 0.0
    most_s: float = 0.0


RATES = {
    Kind.DISCONNECT: Rate(20),
    Kind.AWAY: Rate(30, 2, 20),
    Kind.MISSING: Rate(60, 2, 12),
    Kind.BURST: Rate(20, 0.5, 3.5),
    Kind.STALL: Rate(40, 7, 12),
    Kind.LOSS: Rate(20, 2, 8),
    Kind.NEIGHBOUR: Rate(45, 4, 10),
    Kind.KILL_WORKER: Rate(120),
    Kind.STOP_WORKER: Rate(240),
    Kind.KILL_ARCHIVER: Rate(240),
    Kind.STOP_ARCHIVER: Rate(480),
    Kind.LOCK: Rate(120, 2, 20),
    Kind.STORE: Rate(90, 5, 30),
    Kind.FILL: Rate(900),
}
LONG = {Kind.FILL}  # takes minutes: not in a short run
SHORT_RUN_S = 600.0


@dataclass(frozen=True, slots=True)
class Fault:
    """`target`: any number; it chooses a camera, a worker, a neighbour or a way in which the store fails."""

    at_s: float
    kind: Kind
    seconds: float
    target: int


def plan(seed: int, seconds: float) -> list[Fault]:
    """Every kind at its mean rate and at least once, at random moments."""
    rng = random.Random(seed)
    faults = []
    for kind, rate in RATES.items():
        if kind in LONG and seconds < SHORT_RUN_S:
            continue
        for _ in range(max(1, round(seconds / rate.every_s))):
            most_s = min(rate.most_s, max(rate.least_s, seconds / 5))
            lasts = rng.uniform(rate.least_s, most_s)
            faults.append(Fault(rng.uniform(0, max(0.0, seconds - lasts)), kind, lasts, rng.randrange(1 << 20)))
    return sorted(faults, key=lambda fault: (fault.at_s, fault.kind))


@dataclass(frozen=True, slots=True)
class Event:
    """`cameras`: whose recording it may cost something, by number. `end_ns`: they were all recorded again."""

    kind: Kind
    start_ns: int
    end_ns: int
    cameras: frozenset[int] = frozenset()
    reasons: frozenset[GapReason] = frozenset()
    tail_ns: int = 0  # so much from before it may be lost


COSTS = {  # which reasons a gap may tell, and how much from before it may be lost
    Kind.DISCONNECT: (frozenset({GapReason.UNREACHABLE}), 300_000_000),
    Kind.AWAY: (frozenset({GapReason.UNREACHABLE}), 300_000_000),
    Kind.MISSING: (frozenset({GapReason.UNREACHABLE, GapReason.REFUSED}), 300_000_000),
    Kind.STALL: (frozenset({GapReason.STALLED}), 0),
    Kind.LOSS: (frozenset({GapReason.PACKET_LOSS}), 0),
    Kind.KILL_WORKER: (frozenset({GapReason.RECORDER_RESTART}), 1_000_000_000),
    Kind.STOP_WORKER: (frozenset({GapReason.RECORDER_RESTART}), 1_000_000_000),
    Kind.FILL: (frozenset({GapReason.SPOOL_FULL}), 0),
    Kind.STANDSTILL: (frozenset({GapReason.RECORDER_RESTART, GapReason.STALLED, GapReason.UNREACHABLE}), 1_000_000_000),
}


def concerning(events: Iterable[Event], camera: int) -> list[Event]:
    return [event for event in events if camera in event.cameras]
