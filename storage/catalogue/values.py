"""What the catalogue takes and returns beyond the house's words in `vms.model`. Frozen values, no behaviour.

Integer keys never leave the catalogue: callers name cameras, streams, runs, gaps and holds by UUID, a segment by its
run and number. Digests and seals are 32 bytes. `_ns` are UTC nanoseconds, ranges half-open.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from vms.model import Camera, Codec, GapReason, LegalProfile, Origin, RunInfo, SegmentFacts, Stream, StreamKind
from vms.timeline import TimeRange

LONGEST_SEGMENT_NS = 3_600_000_000_000  # bound of every look-back by start; the segmenter stays far below (5 minutes)


class StoreKind(StrEnum):
    """What keeps the bytes of a copy. A spool is a store with a host, and its files are on their way elsewhere."""

    SPOOL = "spool"
    FOLDER = "folder"
    S3 = "s3"


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """A place for copies. The name is for ever: settings may move the place, copies go on naming the store."""

    name: str
    kind: StoreKind
    host: str = ""  # of a spool


class CopyState(StrEnum):
    """`missing` and `corrupt` are findings of a check; a store that does not answer changes no state."""

    PRESENT = "present"
    MISSING = "missing"
    CORRUPT = "corrupt"


@dataclass(frozen=True, slots=True)
class Copy:
    """Where the bytes of a segment are. `digest` is the SHA-256 of the object as stored."""

    store: str
    key: str
    size_bytes: int
    digest: bytes
    version: str | None = None
    state: CopyState = CopyState.PRESENT


@dataclass(frozen=True, slots=True)
class SegmentRef:
    """Names one segment."""

    run_id: UUID
    number: int

    @classmethod
    def of(cls, facts: SegmentFacts) -> SegmentRef:
        return cls(facts.run_id, facts.number)


class Registered(StrEnum):
    """What registering found."""

    NEW = "new"
    KNOWN = "known"  # registered before with the same facts; the copy was noted
    DELETED = "deleted"  # condemned or deleted before: it stays so, and the copy was condemned with it


@dataclass(frozen=True, slots=True)
class Registration:
    """One sealed segment to be registered. `run` may be left out once the run is known."""

    facts: SegmentFacts
    copy: Copy
    run: RunInfo | None = None


@dataclass(frozen=True, slots=True)
class RecordedSegment:
    """A registered segment and its copies."""

    arrival: int  # grows with every registration, in the order in which they become visible
    stream_id: UUID
    run_id: UUID
    number: int
    start_ns: int
    end_ns: int
    duration_ticks: int
    clock_hz: int
    size_bytes: int
    digest: bytes
    seal: bytes
    independent: bool
    damaged: bool
    codec: Codec
    width: int
    height: int
    origin: Origin
    copies: tuple[Copy, ...]
    location: (
        str  # "store" once a present copy is on a store that is no spool, else "spool"; "nowhere": none is present
    )
    holes: tuple[TimeRange, ...] = ()  # missing within its run, where another run's segment may have it

    @property
    def ref(self) -> SegmentRef:
        return SegmentRef(self.run_id, self.number)

    @property
    def range(self) -> TimeRange:
        return TimeRange(self.start_ns, self.end_ns)


@dataclass(frozen=True, slots=True)
class Expectation:
    """From when to when a stream was meant to record; `suspended`: why it deliberately did not, though registered."""

    stream_id: UUID
    from_ns: int
    to_ns: int | None
    suspended: GapReason | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """Recorded time, merged over segments and runs. `damaged`: every segment that covers it lost units somewhere.

    `origin`: of what is shown of it where several runs overlap. `late`: it came after footage that was recorded later.
    """

    range: TimeRange
    damaged: bool = False
    origin: Origin = Origin.LIVE
    late: bool = False


@dataclass(frozen=True, slots=True)
class Missing:
    """Expected and not recorded, with exactly one reason."""

    range: TimeRange
    reason: GapReason


@dataclass(frozen=True, slots=True)
class StreamTimeline:
    """Coverage of one stream over a range, clipped to it: spans and missing never overlap and are in order."""

    stream_id: UUID
    spans: tuple[Span, ...]
    missing: tuple[Missing, ...]


class HistoryKind(StrEnum):
    """What happened to a camera."""

    ADDED = "added"
    RENAMED = "renamed"
    RENUMBERED = "renumbered"
    MOVED = "moved"
    REPLACED = "replaced"
    READDRESSED = "readdressed"
    PROFILE = "profile"
    ENABLED = "enabled"
    DISABLED = "disabled"
    CHANGED = "changed"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """A dated fact about a camera. `changes`: field → (before, after) as text; never a username or password."""

    camera_id: UUID
    at_ns: int
    kind: HistoryKind
    changes: dict[str, tuple[str, str]]
    by: str


@dataclass(frozen=True, slots=True)
class Hold:
    """Pins what streams recorded over a range, whenever it arrives. `released_ns` None: in force."""

    id: UUID
    stream_ids: frozenset[UUID]
    range: TimeRange
    basis: str
    owner: str
    placed_ns: int
    review_ns: int
    released_ns: int | None = None


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """A journal object of one stream and hour, written by one host."""

    stream_id: UUID
    hour_ns: int  # start of the UTC hour
    host: str
    key: str
    digest: bytes
    written_ns: int


@dataclass(frozen=True, slots=True)
class Expired:
    """How much a retention run would condemn of one stream. `footage_ns` sums segment lengths."""

    stream_id: UUID
    segments: int
    footage_ns: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Expiring:
    """The oldest segment of a stream that no hold covers, and when it goes by the profile's days."""

    stream_id: UUID
    start_ns: int
    end_ns: int
    days: int
    expires_ns: int


@dataclass(frozen=True, slots=True)
class Condemned:
    """What one call condemned. `more`: the page was full, call again from `resume`."""

    segments: int
    footage_ns: int
    size_bytes: int
    more: bool
    resume: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class CondemnedObject:
    """An object that must go."""

    id: int
    store: str
    key: str


@dataclass(frozen=True, slots=True)
class DeletedSegment:
    """A line of a deletion report: what is left of a segment."""

    stream_id: UUID
    run_id: UUID
    number: int
    start_ns: int
    end_ns: int
    size_bytes: int
    digest: bytes
    seal: bytes
    basis: str
    condemned_ns: int
    deleted_ns: int


@dataclass(frozen=True, slots=True)
class CameraStream:
    """Which camera a stream belongs to, for views that begin with streams."""

    stream_id: UUID
    camera_id: UUID
    kind: StreamKind


@dataclass(frozen=True, slots=True)
class StreamAbout:
    """What the registry says of a stream, enough to bring it back: journals state it beside the footage.

    `camera` without streams and without username and password. Expectations oldest first; holds by when they were
    placed, released ones too, each over this stream alone. `retired_ns`: when the stream was taken off its camera.
    `others`: the camera's other streams in service, of which there may be no journals.
    """

    camera: Camera
    stream: Stream
    profile: LegalProfile
    expectations: tuple[Expectation, ...] = ()
    holds: tuple[Hold, ...] = ()
    retired_ns: int | None = None
    others: tuple[Stream, ...] = ()
