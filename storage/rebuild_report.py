"""What a rebuild did, for people and programs. Values only; JSON keys are described in docs/reference/cli.md."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from uuid import UUID

from storage.catalogue.rebuilding import OlderRegistry

MOST_LISTED = 10_000  # of each list; all are counted


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An object or file of which nothing, or not all, could be brought back. It stays where it is."""

    key: str
    why: str


@dataclass(frozen=True, slots=True)
class LostSegment:
    """What a journal states and nobody holds. `expired`: retention had come to it by now, so it was most likely deleted."""

    stream_id: UUID | None
    run_id: UUID
    number: int
    start_ns: int
    end_ns: int
    expired: bool


@dataclass(frozen=True, slots=True)
class DoubleObject:
    """Two objects of one run and number with different bytes. The one of `chosen` is in the catalogue, both stay."""

    key: str
    chosen: str


@dataclass(slots=True)
class RebuildReport:
    """Counts are of this call; what an earlier one that was broken off had done already is `known`."""

    store: str
    started_ns: int
    resumed: bool = False
    objects: int = 0
    journals: int = 0
    segments: Counter[str] = field(default_factory=Counter)  # new, known, deleted
    runs_ended: int = 0  # that nobody could close any more
    deletions: int = 0  # lines of the deletion report
    cameras: int = 0
    passwords: int = 0  # cameras that took theirs from the sealed assignment
    recovered_streams: list[UUID] = field(default_factory=list)  # no journal and no assignment tells of them
    renumbered: dict[UUID, tuple[int, int]] = field(default_factory=dict)
    unreadable: list[Unreadable] = field(default_factory=list)
    unreadable_count: int = 0
    doubles: list[DoubleObject] = field(default_factory=list)
    doubles_count: int = 0
    older: tuple[OlderRegistry, ...] = ()  # streams whose newest journals cannot be read
    lost: list[LostSegment] = field(default_factory=list)
    lost_count: int = 0
    expired_count: int = 0
    spool_set_aside: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Objects a second."""
        return self.objects / self.seconds if self.seconds > 0 else 0.0

    def cannot_read(self, key: str, why: str) -> None:
        self.unreadable_count += 1
        if len(self.unreadable) < MOST_LISTED:
            self.unreadable.append(Unreadable(key, why))

    def is_double(self, key: str, chosen: str) -> None:
        self.doubles_count += 1
        if len(self.doubles) < MOST_LISTED:
            self.doubles.append(DoubleObject(key, chosen))

    def is_lost(self, segment: LostSegment) -> None:
        if segment.expired:
            self.expired_count += 1
            return
        self.lost_count += 1
        if len(self.lost) < MOST_LISTED:
            self.lost.append(segment)
