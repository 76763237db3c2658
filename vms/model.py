"""The house's values: frozen, slotted, without behaviour beyond arithmetic. The words are those of docs/glossary.md.

Units: `_ns` UTC nanoseconds since 1970 (wall time), `_mono_ns` the monotonic clock, ticks with their time base for
media time. Ranges are half-open. Ids are UUIDs; no text that a person typed ever becomes part of a path or a key.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID, uuid5

VIDEO_CLOCK_HZ = 90_000  # RTP clock of H.264 and H.265 (RFC 6184 §8.2.1, RFC 7798 §7.1), and our video time base


class Codec(StrEnum):
    """FFmpeg's spelling. The last two letters of G.711 are its law (RFC 3551 §4.5.14)."""

    H264 = "h264"
    H265 = "hevc"
    AAC = "aac"
    PCMA = "pcm_alaw"
    PCMU = "pcm_mulaw"
    OPUS = "opus"

    @property
    def is_video(self) -> bool:
        return self in (Codec.H264, Codec.H265)


class StreamKind(StrEnum):
    """What a stream of a camera is for."""

    MAIN = "main"
    SUB = "sub"
    AUDIO = "audio"


class SourceKind(StrEnum):
    """Who receives a stream: our RTSP client, PyAV in a process of its own, or ours first and then PyAV."""

    AUTO = "auto"
    RTSP = "rtsp"
    LIBAV = "libav"


class GapReason(StrEnum):
    """Why nothing was recorded. A closed list: every missing span has exactly one."""

    UNREACHABLE = "camera_unreachable"
    REFUSED = "refused"
    UNAUTHORISED = "unauthorised"
    NO_KEYFRAME = "no_keyframe"
    STALLED = "stalled"
    PACKET_LOSS = "packet_loss"
    UNSUPPORTED_CODEC = "unsupported_codec"
    RECORDER_RESTART = "recorder_restart"
    INTERNAL_ERROR = "internal_error"
    DISABLED = "disabled_by_operator"
    SCHEDULE = "schedule"
    PRIVACY = "privacy"
    SPOOL_FULL = "spool_full"
    DISK_ERROR = "disk_error"
    DELETED = "deleted"
    NOT_DOCKED = "not_docked"
    LOST = "lost"  # it was recorded, and no store has it any more
    UNKNOWN = "unknown"


class Origin(StrEnum):
    """Where the footage of a run came from."""

    LIVE = "live"
    EDGE = "edge"
    VEHICLE = "vehicle"
    IMPORT = "import"


class RunClock(StrEnum):
    """Whose clock gives capture time in a run."""

    ARRIVAL = "arrival"
    CAMERA = "camera"
    VEHICLE = "vehicle"
    IMPORT = "import"


@dataclass(frozen=True, slots=True)
class CodecConfig:
    """What a decoder needs before the first access unit, and what people want to know about the stream.

    Access units carry it by reference: `unit.config is previous.config` means nothing changed.
    `parameter_sets` are whole NAL units without length or start code: VPS* SPS+ PPS+ in that order for H.265, SPS+
    PPS+ for H.264, empty for audio. `extradata` is the AudioSpecificConfig (ISO/IEC 14496-3) of AAC, else empty.
    """

    codec: Codec
    clock_hz: int = VIDEO_CLOCK_HZ
    parameter_sets: tuple[bytes, ...] = ()
    width: int = 0  # cropped picture size in luma samples; 0 for audio
    height: int = 0
    profile: str = ""  # plain name, "High", "Main 10"
    rfc6381: str = ""  # "avc1.640028", "hvc1.1.6.L120.B0", "mp4a.40.2"
    reorder_depth: int = 0  # how many pictures may precede a picture in decoding order and follow it in output order
    nominal_fps: float = 0.0  # from VUI timing; 0 when the stream does not say. Only shown, never reckoned with
    channels: int = 0
    extradata: bytes = b""


LARGEST_UNIT_BYTES = 16 << 20  # of one access unit; a larger one is left out where it would come to be


class AccessUnit(NamedTuple):
    """One picture or audio frame in decoding order.

    `data` holds, for video, every VCL and SEI NAL kept bit for bit, each after its length in 4 bytes, big-endian
    (ISO/IEC 14496-15 §5.3.3 with lengthSizeMinusOne = 3), parameter sets and AUDs left out; for audio one raw frame.
    `pts` is in ticks of `config.clock_hz`, unwrapped, and starts anywhere. `arrival_mono_ns` is when its last byte
    came. `damaged`: something before it, back to the last random-access picture, was lost, or, of such a picture, what
    stood in front of its first slice may have been. A tuple, because one is made for every picture, and a frozen
    dataclass takes four times as long to make.
    """

    pts: int
    data: bytes
    key: bool
    config: CodecConfig
    arrival_mono_ns: int
    damaged: bool = False


@dataclass(frozen=True, slots=True)
class TimedUnit:
    """An access unit with its capture time; what the feed and the reader of recorded footage both give."""

    unit: AccessUnit
    capture_ns: int


@dataclass(frozen=True, slots=True)
class SenderReport:
    """RTCP SR (RFC 3550 §6.4.1): the camera says that media time `pts` (unwrapped like access units') was `ntp_ns`."""

    pts: int
    ntp_ns: int
    arrival_mono_ns: int


@dataclass(frozen=True, slots=True)
class RunInfo:
    """Consecutive segments of one unbroken connection, with one clock mapping."""

    id: UUID
    stream_id: UUID
    origin: Origin
    host: str
    epoch: int  # of the recorder's lease on the stream; 0 where there is no lease
    clock: RunClock
    start_ns: int
    end_ns: int | None = None
    end_reason: GapReason | None = None


@dataclass(frozen=True, slots=True)
class Anchor:
    """What tied media time to the clocks at one moment of a run, so that a correction can be reckoned years later."""

    ticks: int  # media time of one access unit
    arrival_ns: int  # UTC of the recorder when it came
    mono_ns: int  # the recorder's monotonic clock at that moment, comparable within one boot only
    boot_id: str
    source_ns: int | None  # UTC of that media time as the camera states it; None when it does not say
    uncertainty_ns: int  # half the spread of what was measured; the fastest way through the network is not in it


@dataclass(frozen=True, slots=True)
class SegmentFacts:
    """One sealed segment, as its own head and trailer state it.

    `digest` is the SHA-256 of the whole file; it cannot stand inside the file and is reckoned by who reads or writes it.
    """

    stream_id: UUID
    run_id: UUID
    number: int  # from 0 within the run
    start_ns: int  # capture time of the first access unit in output order
    end_ns: int  # capture time at which the last access unit ends; equals the next segment's start when nothing is lost
    clock_hz: int
    duration_ticks: int
    size_bytes: int
    digest: bytes
    seal: bytes
    units: int
    key_units: int
    damaged_units: int
    independent: bool  # False for a continuation: decodable only after the segment before it
    codec: Codec
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Gap:
    """A span of an expected stream with nothing recorded. `end_ns` None: still open."""

    id: UUID
    stream_id: UUID
    start_ns: int
    end_ns: int | None
    reason: GapReason
    detail: str = ""  # for people, redacted, at most 200 characters


def hole_gap_id(run_id: UUID, start_pts: int) -> UUID:
    """Of the gap that is a hole of a run at that media time: the same for whoever sees it, now or after a crash.

    A UUID of version 8 (RFC 9562 §5.8) that begins as the run's own does, so that a gap tells whose hole it is.
    """
    place = uuid5(run_id, f"hole {start_pts}").bytes
    return UUID(bytes=run_id.bytes[:6] + bytes([0x80 | place[6] & 0x0F]) + place[7:])


def hole_run_mark(gap_id: UUID) -> bytes | None:
    """How the id of the run begins whose hole this gap is; None: it is none, or does not say."""
    return gap_id.bytes[:6] if gap_id.version == 8 else None


@dataclass(frozen=True, slots=True)
class LegalProfile:
    """Why cameras may record and how long. The minimal row; bands and controllers come with the evidence issue."""

    id: UUID
    name: str
    basis: str
    days: int
    audio: bool = False


@dataclass(frozen=True, slots=True)
class Stream:
    """One encoded feed of a camera. `url` has no credentials in it."""

    id: UUID
    camera_id: UUID
    kind: StreamKind
    url: str
    record: bool


@dataclass(frozen=True, slots=True)
class Camera:
    """A device. `username` and `password` travel sealed (`vms.sealing`) and are absent from `repr`."""

    id: UUID
    number: int  # what operators type; unique among cameras in service
    name: str
    profile_id: UUID
    streams: tuple[Stream, ...]
    enabled: bool = True
    source: SourceKind = SourceKind.AUTO
    transport: str = "tcp"  # or "udp"; the other is tried on RTSP 461
    street: str = ""
    lat: float | None = None
    lon: float | None = None
    azimuth_deg: float | None = None
    angle_deg: float | None = None
    group: str = ""
    trust_clock: bool = False  # capture time from the camera's sender reports; only by choice
    certificate_pin: str = ""  # SHA-256 of the RTSPS server certificate, hex; empty: ordinary verification
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    retired_ns: int | None = None


@dataclass(frozen=True, slots=True)
class ClockMapping:
    """Capture time of media time over one segment: linear and in integers, so that anybody reckons the same instant.

    Media time `ticks` (of `clock_hz`) is capture time `ns`; from there time passes at (1 + rate_ppb / 10⁹) of nominal.
    Mappings of consecutive segments of a run meet at the segments' border.
    """

    ticks: int
    ns: int
    clock_hz: int
    rate_ppb: int = 0

    def capture_ns(self, pts: int) -> int:
        """UTC at media time `pts`, rounded down to a nanosecond."""
        return self.ns + (pts - self.ticks) * (1_000_000_000 + self.rate_ppb) // self.clock_hz

    def ticks_at(self, ns: int) -> int:
        """The first media tick at or after UTC `ns`."""
        return self.ticks - (self.ns - ns) * self.clock_hz // (1_000_000_000 + self.rate_ppb)
