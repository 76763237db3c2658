"""What a check can find, in the house's words, and the pure judgement over one segment's copies.

Owns the kinds of damage, which invariant (ARCHITECTURE.md, "Invariants") each of them breaks, and `judge`. Does no I/O.
Words and JSON keys are described in docs/reference/cli.md, "vms check".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from uuid import UUID

from storage.catalogue.values import Copy, CopyState, RecordedSegment, SegmentRef

MOST_FINDINGS = 10_000  # kept in a report; all of them are counted and told


class Depth(IntEnum):
    """How closely copies are looked at; each includes those before it."""

    PRESENCE = 0  # they are there
    SIZE = 1  # with the size that was sealed
    DIGEST = 2  # every byte is read and compared with the digest that was sealed
    DECODE = 3  # every unit parses, groups and seal are reckoned again, and a decoder takes it all


class Kind(StrEnum):
    """Kinds of findings."""

    OBJECT_MISSING = "object_missing"
    WRONG_SIZE = "wrong_size"
    STALE_SPOOL_ROW = "stale_spool_row"
    FOUND_AGAIN = "found_again"
    JOURNAL_MISSING = "journal_missing"
    ORPHAN_SEGMENT = "orphan_segment"
    ORPHAN_GARBAGE = "orphan_garbage"
    DELETED_LEFT_OVER = "deleted_left_over"
    STRAY_FILE = "stray_file"
    SPOOL_FILE_LOST = "spool_file_lost"
    SEGMENT_LOST = "segment_lost"
    OVERLAP = "overlap"
    SPANS_DIFFER = "spans_differ"
    UNDECODABLE = "undecodable"
    RUN_TOO_SHORT = "run_too_short"
    FACT_UNREADABLE = "fact_unreadable"
    UNKNOWN_STREAM = "unknown_stream"
    HELD_CONDEMNED = "held_condemned"
    WRONG_BYTES = "wrong_bytes"
    SEALED_UNREADABLE = "sealed_unreadable"
    PART_LEFT = "part_left"
    PROBE_LEFT = "probe_left"
    NEVER_CLOSED = "never_closed"


INVARIANT = {
    Kind.OBJECT_MISSING: "I1",
    Kind.WRONG_SIZE: "I1",
    Kind.STALE_SPOOL_ROW: "I1",
    Kind.FOUND_AGAIN: "I1",
    Kind.JOURNAL_MISSING: "I1",
    Kind.ORPHAN_SEGMENT: "I2",
    Kind.ORPHAN_GARBAGE: "I2",
    Kind.DELETED_LEFT_OVER: "I2",
    Kind.STRAY_FILE: "I2",
    Kind.SPOOL_FILE_LOST: "I3",
    Kind.SEGMENT_LOST: "I3",
    Kind.OVERLAP: "I4",
    Kind.SPANS_DIFFER: "I4",
    Kind.UNDECODABLE: "I4",
    Kind.RUN_TOO_SHORT: "I4",
    Kind.FACT_UNREADABLE: "I4",
    Kind.UNKNOWN_STREAM: "I4",
    Kind.HELD_CONDEMNED: "I5",
    Kind.WRONG_BYTES: "I6",
    Kind.SEALED_UNREADABLE: "I6",
}
"""Which invariant a kind breaks. Kinds that are not here are notes: worth knowing, nothing is broken."""

REPAIRABLE = frozenset({
    Kind.OBJECT_MISSING, Kind.WRONG_SIZE, Kind.STALE_SPOOL_ROW, Kind.FOUND_AGAIN, Kind.ORPHAN_SEGMENT,
    Kind.DELETED_LEFT_OVER, Kind.SPOOL_FILE_LOST, Kind.SPANS_DIFFER, Kind.WRONG_BYTES,
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be. `store`, `key`: where; `detail`: what was seen, for people.

    `repair`: what `--repair` did, or why it did nothing; empty where it was not asked to.
    """

    kind: Kind
    detail: str
    store: str = ""
    key: str = ""
    stream_id: UUID | None = None
    ref: SegmentRef | None = None
    start_ns: int | None = None
    end_ns: int | None = None  # of what `start_ns` begins; None: not known
    repaired: bool = False
    repair: str = ""

    @property
    def invariant(self) -> str | None:
        """I1 to I6; None for a note."""
        return INVARIANT.get(self.kind)

    @property
    def same(self) -> tuple[object, ...]:
        """By which a finding is known again at a second look."""
        return (self.kind, self.stream_id, self.ref, self.store, self.key)


@dataclass(frozen=True, slots=True)
class StoreSeen:
    """A store that the catalogue names. `error`: why it cannot be looked at now; its copies are unknown, not missing."""

    name: str
    kind: str
    near: bool = True  # one of this host's, by its settings
    error: str | None = None
    unknown_copies: int = 0


@dataclass(slots=True)
class CheckReport:
    """What a check saw. Counts are of everything, `findings` holds the first `MOST_FINDINGS`."""

    depth: Depth
    stores: list[StoreSeen] = field(default_factory=list)
    segments: int = 0
    copies: int = 0  # looked at
    unknown: Counter[str] = field(default_factory=Counter)  # store → copies not looked at, for it is out of reach
    objects: int = 0
    read_bytes: int = 0
    waiting: int = 0  # sealed files on their way: not registered, or left by a step that will be repeated
    findings: list[Finding] = field(default_factory=list)
    broken: Counter[str] = field(default_factory=Counter)  # invariant → how often, without what was repaired
    notes: int = 0
    repaired: int = 0
    left_out: int = 0

    @property
    def is_clean(self) -> bool:
        """Nothing is broken, as far as could be looked."""
        return not self.broken

    @property
    def is_complete(self) -> bool:
        """Every copy could be looked at, and every store of this host's settings answered to the end."""
        return not self.unknown and not any(store.error for store in self.stores if store.near)

    def add(self, finding: Finding) -> None:
        """Count it, and keep it while there is room."""
        if finding.repaired:
            self.repaired += 1
        elif finding.invariant is None:
            self.notes += 1
        else:
            self.broken[finding.invariant] += 1
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(finding)
        else:
            self.left_out += 1


class Seen(StrEnum):
    """What a look at one copy saw."""

    SOUND = "sound"
    MISSING = "missing"
    WRONG_SIZE = "wrong size"
    WRONG_BYTES = "wrong bytes"
    UNDECODABLE = "undecodable"  # its bytes are those that were sealed, and cannot be seen all the same
    UNKNOWN = "unknown"  # its store is not within reach

    @property
    def is_whole(self) -> bool:
        """Whether every byte that was sealed is there, as far as was looked."""
        return self in (Seen.SOUND, Seen.UNDECODABLE)


@dataclass(frozen=True, slots=True)
class Look:
    """One copy as it was seen. `detail` says what is wrong with it."""

    seen: Seen
    detail: str = ""


def judge(segment: RecordedSegment, looks: Mapping[str, Look], spools: frozenset[str]) -> list[Finding]:
    """What is broken about a segment's copies. `looks`: store → what was seen of the copy there. Pure.

    `spools`: which stores are spools. A copy whose store is away may be there: it is neither missing nor enough to call
    another one superfluous.
    """
    held = {c.store for c in segment.copies if looks[c.store].seen.is_whole}
    maybe = {c.store for c in segment.copies if looks[c.store].seen is Seen.UNKNOWN and c.state is CopyState.PRESENT}
    damaged = {c.store for c in segment.copies if looks[c.store].seen in (Seen.WRONG_SIZE, Seen.WRONG_BYTES)}
    found = []
    for copy in segment.copies:
        kind = _kind(copy, looks[copy.store], copy.store in spools, bool((held | maybe) - {copy.store}))
        if kind is not None:
            found.append(_about(segment, kind, looks[copy.store].detail, copy))
    if not held and not maybe:
        rest = "what is left of it is damaged" if damaged else "nothing holds it any more"
        found.append(_about(segment, Kind.SEGMENT_LOST, f"no sound copy of this segment is left; {rest}"))
    return found


def _kind(copy: Copy, look: Look, is_spool: bool, elsewhere: bool) -> Kind | None:
    if look.seen is Seen.UNKNOWN:
        return None
    if copy.state is not CopyState.PRESENT:
        return Kind.FOUND_AGAIN if look.seen.is_whole else None  # told before, and noted in the catalogue
    if look.seen is Seen.MISSING and is_spool:
        return Kind.STALE_SPOOL_ROW if elsewhere else Kind.SPOOL_FILE_LOST
    return {
        Seen.SOUND: None,
        Seen.MISSING: Kind.OBJECT_MISSING,
        Seen.WRONG_SIZE: Kind.WRONG_SIZE,
        Seen.WRONG_BYTES: Kind.WRONG_BYTES,
        Seen.UNDECODABLE: Kind.UNDECODABLE,
    }[look.seen]


def _about(segment: RecordedSegment, kind: Kind, detail: str, copy: Copy | None = None) -> Finding:
    store, key = (copy.store, copy.key) if copy else ("", "")
    return Finding(kind, detail, store, key, segment.stream_id, segment.ref, segment.start_ns, segment.end_ns)


def overlaps(segments: list[RecordedSegment]) -> list[Finding]:
    """Segments of one run that overlap: each that begins before the one before it has ended. Pure."""
    found = []
    last: dict[UUID, RecordedSegment] = {}
    for segment in sorted(segments, key=lambda s: (str(s.run_id), s.number)):
        before = last.get(segment.run_id)
        if before is not None and segment.start_ns < before.end_ns:
            detail = f"begins {(before.end_ns - segment.start_ns) / 1e9:.3f} s before segment {before.number} of its run ends"
            found.append(_about(segment, Kind.OVERLAP, detail))
        last[segment.run_id] = segment
    return found
