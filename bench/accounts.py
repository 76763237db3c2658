"""What the simulator sent against what the stored segments hold, access unit by access unit. Pure.

A unit is known by its RTP timestamp, which a stored unit's `pts` equals modulo 2**32, and by the SHA-256 of its data.
Between a camera's first and its last stored unit everything that the simulator had due must be stored, once, in order
and bit for bit; also what the simulator itself had to drop because its client read too slowly counts as lost. What
was sent after the last stored unit was under way when the recorder was stopped, and is only counted, up to a second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MOST_UNDER_WAY = 25


@dataclass(frozen=True, slots=True)
class StoredUnit:
    """One access unit of a stored segment."""

    pts: int
    sha256: str
    damaged: bool


@dataclass(slots=True)
class Comparison:
    """Of one camera. `lost`: due between the first and last stored unit, and not stored."""

    stored: int = 0
    lost: int = 0
    changed: int = 0  # stored with other bytes
    doubled: int = 0
    disordered: int = 0
    unknown: int = 0  # stored, but never sent
    damaged: int = 0
    before: int = 0  # sent before the first stored unit
    under_way: int = 0  # sent after the last
    problems: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        bad = self.lost + self.changed + self.doubled + self.disordered + self.unknown + self.damaged
        return self.stored > 0 and not bad and not self.problems


@dataclass(frozen=True, slots=True)
class Sent:
    """The clip that every camera loops."""

    duration: int
    pts: tuple[int, ...]
    sha256: tuple[str, ...]

    @classmethod
    def of(cls, clip: Mapping[str, Any]) -> Sent:
        return cls(clip["duration"], tuple(clip["pts"]), tuple(clip["sha256"]))

    def unit(self, base: int, index: int) -> tuple[int, str]:
        """RTP timestamp and digest of unit `index`, counted through all loops."""
        loop, i = divmod(index, len(self.pts))
        return (base + loop * self.duration + self.pts[i]) & 0xFFFFFFFF, self.sha256[i]


def compare(sent: Sent, sessions: Sequence[Mapping[str, Any]], stored: Sequence[StoredUnit]) -> Comparison:
    """Account for one camera. `sessions` as `bench.simulator` writes them, `stored` in decoding order."""
    result = Comparison(stored=len(stored), damaged=sum(u.damaged for u in stored))
    due: dict[int, tuple[int, str]] = {}  # RTP timestamp → place in the order of sending, digest
    for session in sessions:
        for index in range(session["first"], session["last"] + 1):
            timestamp, digest = sent.unit(session["base"], index)
            due[timestamp] = len(due), digest
    places: set[int] = set()
    last = -1
    for unit in stored:
        found = due.get(unit.pts & 0xFFFFFFFF)
        if found is None:
            result.unknown += 1
            continue
        place, digest = found
        result.changed += unit.sha256 != digest
        result.doubled += place in places
        result.disordered += place < last
        places.add(place)
        last = place
    if len(sessions) > 1:
        result.problems.append(f"{len(sessions)} sessions instead of one")
    if places:
        first, end = min(places), max(places) + 1
        result.lost = end - first - len(places)
        result.before = first
        result.under_way = len(due) - end
        if result.under_way > MOST_UNDER_WAY:
            result.problems.append(f"the last {result.under_way} units sent are not stored")
        if result.before:
            result.problems.append(f"the first {result.before} units sent are not stored")
    return result
