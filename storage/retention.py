"""What may be deleted, decided purely: from segment ranges, holds, the profile's days and the last days' deletions.

Owns the rule and the brake; carries nothing out (`storage.deleter`), reads no clock and no rows.

The rule: a segment has expired once its capture end is `days` times 24 hours past. Plain days are counted in hours, not on
a calendar: a change to or from summer time moves neither the earliest nor the latest moment. A continuation cannot be
decoded without its head, so a head and its continuations are one group: it goes as a whole, once its last member has
expired and only if no hold touches any member.

The brake: a clock that jumps never deletes. Time for retention runs with the monotonic clock from when the clock was
believed (`storage.believed_clock`) and never ahead of the wall clock (`SteadyTime`), and a plan far beyond what the last days deleted is stopped until a
person confirms it (`Brake`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from vms.timeline import TimeRange

HOUR_NS = 3_600_000_000_000
DAY_NS = 24 * HOUR_NS


@dataclass(frozen=True, slots=True)
class Candidate:
    """A segment as retention sees it. `run_key` and `number` say which ones follow each other."""

    run_key: int
    number: int
    start_ns: int
    end_ns: int
    independent: bool


@dataclass(frozen=True, slots=True)
class BrakeRule:
    """At most `factor` times the largest of the last `days` days, and never less than the floor, in a day.

    Amounts are lengths of footage. The floor lets a site begin to delete: `floor_per_stream_ns` for every stream with
    something to delete, at least `floor_ns`.
    """

    factor: int = 3
    days: int = 7
    floor_per_stream_ns: int = 36 * HOUR_NS
    floor_ns: int = 48 * HOUR_NS

    def limit_ns(self, largest_day_ns: int, streams: int) -> int:
        """How much footage may go today."""
        return max(self.factor * largest_day_ns, self.floor_per_stream_ns * streams, self.floor_ns)


@dataclass(frozen=True, slots=True)
class BrakeDecision:
    """Whether a plan goes ahead, and the figures to show a person."""

    engaged: bool
    planned_ns: int  # today's deletions with this plan
    limit_ns: int


def utc_day(ns: int) -> int:
    """Whole UTC days since 1970."""
    return ns // DAY_NS


def cutoff_ns(now_ns: int, days: int) -> int:
    """What ended at or before this has expired. Raises ValueError for less than a day: no profile may say so."""
    if days < 1:
        raise ValueError(f"a retention of {days} days")
    return now_ns - days * DAY_NS


def expired_groups(
    candidates: Iterable[Candidate], holds: Sequence[TimeRange], cutoff: int
) -> list[tuple[Candidate, ...]]:
    """The groups that may be condemned, by their start. `candidates` must hold every member of a group it touches.

    A continuation whose head is not there (it was lost) makes a group with the continuations after it.
    """
    groups: list[list[Candidate]] = []
    for candidate in sorted(candidates, key=lambda c: (c.run_key, c.number)):
        last = groups[-1][-1] if groups else None
        follows = last is not None and last.run_key == candidate.run_key and last.number + 1 == candidate.number
        if follows and not candidate.independent:
            groups[-1].append(candidate)
        else:
            groups.append([candidate])
    free = [
        tuple(group)
        for group in groups
        if all(member.end_ns <= cutoff for member in group) and not _is_held(group, holds)
    ]
    return sorted(free, key=lambda group: group[0].start_ns)


def _is_held(group: Sequence[Candidate], holds: Sequence[TimeRange]) -> bool:
    return any(h.start_ns < member.end_ns and member.start_ns < h.end_ns for member in group for h in holds)


def brake(
    rule: BrakeRule,
    plan_ns: Mapping[UUID, int],
    deleted_by_day: Mapping[int, int],
    today: int,
    *,
    confirmed_ns: int = 0,
) -> BrakeDecision:
    """Stop a plan that, with what was already condemned today, goes beyond the rule's limit.

    `plan_ns`: footage to be condemned per stream. `deleted_by_day`: UTC day → footage condemned, today's included.
    `confirmed_ns`: how much for today a person has seen and allowed. An empty plan never engages the brake.
    """
    planned = sum(plan_ns.values())
    total = planned + deleted_by_day.get(today, 0)
    largest = max((deleted_by_day.get(today - back, 0) for back in range(1, rule.days + 1)), default=0)
    limit = max(rule.limit_ns(largest, sum(1 for amount in plan_ns.values() if amount > 0)), confirmed_ns)
    return BrakeDecision(engaged=planned > 0 and total > limit, planned_ns=total, limit_ns=limit)


@dataclass(frozen=True, slots=True)
class SteadyTime:
    """Wall time for retention: as at `wall_ns`, then on with the monotonic clock, and never ahead of the wall clock.

    A wall clock that steps forward deletes nothing early; one that steps back only delays.
    """

    wall_ns: int
    mono_ns: int

    def now_ns(self, wall_ns: int, mono_ns: int) -> int:
        """The time to reckon retention with."""
        return min(wall_ns, self.wall_ns + mono_ns - self.mono_ns)

    def stepped_ns(self, wall_ns: int, mono_ns: int) -> int:
        """By how much the wall clock was set forward since then (negative: back)."""
        return wall_ns - self.wall_ns - (mono_ns - self.mono_ns)
