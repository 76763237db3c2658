"""The JSON of the interface, in and out, apart from people and their rights (`web.api.schemas_people`).

Owns shapes, limits of what is taken in, and the examples of the OpenAPI description, from which the client's types are
made. Names are snake_case, ids UUIDs, times UTC in RFC 3339 with Z. What comes in knows no unknown fields.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from storage.catalogue import HistoryKind
from vms.cameras.camera_csv import Verdict
from vms.model import SourceKind
from web.identity.access import Act

LONGEST_NAME = 120
Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
Text = Annotated[str, Field(max_length=LONGEST_NAME)]
Address = Annotated[str, Field(max_length=2048)]
Password = Annotated[str, Field(max_length=1024)]
Instant = Annotated[str, Field(examples=["2026-11-30T07:15:00.000Z"], description="UTC, RFC 3339.")]

CAMERA_ID = "7c7a1d5e-6b0c-4c5e-9b7e-0f1a2b3c4d5e"


class Incoming(BaseModel):
    """What clients send: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class Outgoing(BaseModel):
    """What we answer."""

    model_config = ConfigDict(frozen=True)


def example(**values: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [values]})


def shown(model: type[BaseModel]) -> Any:
    """The example of a model, for the examples of those that hold it."""
    found: Any = model.model_config["json_schema_extra"]
    return found["examples"][0]


class Said(Outgoing):
    """A sentence: clients say it in the reader's language by `code` and `facts`, or show `text`, its English.

    `note`: what a camera or a system said in its own words, for whoever mends it; `text` has it, too.
    """

    model_config = example(
        code="number_twice", facts={"number": 12, "line": 2}, text="12 is already in line 2",
    )  # fmt: skip

    code: str
    facts: dict[str, str | int | float]
    text: str
    note: str = ""


class FieldError(Outgoing):
    field: str
    detail: str
    said: Said | None = None


class Problem(Outgoing):
    """RFC 9457. Clients go by `code`; `detail` is English, for logs."""

    model_config = example(
        type="urn:stroz:problem:source_not_live",
        title="The camera sends no picture now",
        status=409,
        detail="camera_unreachable",
        code="source_not_live",
        retry_after=5,
    )

    type: str
    title: str
    status: int
    detail: str
    code: str
    retry_after: float | None = Field(None, description="Seconds; the header Retry-After says the same, rounded up.")
    field: str | None = None
    errors: list[FieldError] | None = None
    said: Said | None = Field(
        None, description="More exactly than `code`, where a person typed or sent something wrong."
    )


class Site(Outgoing):
    model_config = example(
        name="Straż Miejska", time_zone="Europe/Warsaw", version="0.2.0", setup_needed=False, languages=["pl", "en"]
    )

    name: str
    time_zone: str
    version: str
    setup_needed: bool
    languages: list[str]


class Answers(Outgoing):
    """Liveness or readiness: yes, or no with status 503."""

    model_config = example(ok=True)

    ok: bool


Browser = Literal["plays", "h265", "b_frames", "unknown"]
StreamKindText = Literal["main", "sub"]
CameraState = Literal["live", "connecting", "lost", "off", "unknown"]


class CameraStream(Outgoing):
    id: UUID
    kind: StreamKindText
    codec: str | None = Field(None, description="`h264`, `hevc`; null while nothing was received.", examples=["h264"])
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    reorder: bool | None = Field(None, description="Whether it has B-frames, which WebRTC cannot show.")
    record: bool
    browser: Browser = Field(description="Whether browsers can show it as it is, or why not.")


class CameraAdmin(Outgoing):
    """Only for those who may `manage_cameras`. Passwords are in no answer."""

    main_url: str | None
    sub_url: str | None
    username: str
    has_password: bool
    profile_id: UUID
    transport: Literal["tcp", "udp"]
    source: SourceKind
    certificate_pin: str
    trust_clock: bool
    record_audio: bool


class Camera(Outgoing):
    model_config = example(
        id=CAMERA_ID, number=12, name="Rynek 1", street="Rynek Główny", lat=50.0617, lon=19.9373, azimuth_deg=90.0,
        angle_deg=60.0, group="Śródmieście", enabled=True, retired=None, state="live",
        state_since="2026-11-30T07:15:00.000Z", state_reason=None, retry_at=None, acts=["view_live"],
        purpose_required=False, admin=None,
        streams=[
            {"id": "0d9bfc0e-3f0e-4d0e-8c56-9a6f0c2a7b11", "kind": "main", "codec": "h264", "width": 1920,
             "height": 1080, "fps": 25.0, "reorder": False, "record": True, "browser": "plays"},
        ],
    )  # fmt: skip

    id: UUID
    number: int
    name: str
    street: str
    lat: float | None
    lon: float | None
    azimuth_deg: float | None
    angle_deg: float | None
    group: str
    enabled: bool
    retired: Instant | None
    state: CameraState
    state_since: Instant | None
    state_reason: str | None = Field(
        description="Why it is not live: a gap reason, `stale`, `no_answer` or `recorder_down`."
    )
    retry_at: Instant | None = None
    acts: list[Act]
    purpose_required: bool = Field(description="Whether watching it live needs a stated purpose.")
    streams: list[CameraStream]
    admin: CameraAdmin | None


class CameraPage(Outgoing):
    model_config = example(items=[shown(Camera)], next="MTIgN2M3YTFkNWU")

    items: list[Camera]
    next: str | None = Field(description="Give it as `after` for what follows; null at the end.")


NULL_REMOVES = "null takes it away."


class CameraFields(Incoming):
    """What a person may set. Left out or null: as it is, or the default; but null takes away where and whither it looks."""

    number: int | None = Field(None, ge=1, le=999_999)
    name: Name | None = None
    street: Text | None = None
    group: Text | None = None
    lat: float | None = Field(None, ge=-90, le=90, description=NULL_REMOVES)
    lon: float | None = Field(None, ge=-180, le=180, description=NULL_REMOVES)
    azimuth_deg: float | None = Field(None, ge=0, le=360, description=NULL_REMOVES)
    angle_deg: float | None = Field(None, ge=0, le=360, description=NULL_REMOVES)
    enabled: bool | None = None
    main_url: Address | None = None
    sub_url: Address | None = Field(None, description='"" takes the sub-stream away.')
    username: Text | None = None
    password: Password | None = Field(None, description='"" takes it away.')
    profile_id: UUID | None = None
    transport: Literal["tcp", "udp"] | None = None
    source: SourceKind | None = None
    certificate_pin: Annotated[str, Field(max_length=128)] | None = None
    trust_clock: bool | None = None
    record: bool | None = Field(None, description="The main stream.")
    record_sub: bool | None = None
    record_audio: bool | None = None


class NewCamera(CameraFields):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"name": "Rynek 1", "main_url": "rtsp://10.0.0.5/Streaming/Channels/101", "username": "stroz",
                 "password": "…", "sub_url": "rtsp://10.0.0.5/Streaming/Channels/102", "group": "Śródmieście"}
            ]
        },
    )  # fmt: skip

    name: Name
    main_url: Address


class CameraChange(CameraFields):
    model_config = example(name="Rynek 1, od ratusza", azimuth_deg=95.0, replaced=False)

    replaced: bool = Field(False, description="It is another device from now on.")


class CameraWritten(Outgoing):
    model_config = example(
        camera=shown(Camera),
        warnings=[{"code": "same_name", "facts": {"number": 7}, "text": "camera 7 has the same name", "note": ""}],
    )

    camera: Camera
    warnings: list[Said] = Field(description="Likeness to another camera: same name or address.")


class CameraHistoryEntry(Outgoing):
    model_config = example(
        at="2026-11-30T07:15:00.000Z", kind="renamed", by="anna.nowak", changes={"name": ["Rynek", "Rynek 1"]},
    )  # fmt: skip

    at: Instant
    kind: HistoryKind
    by: str
    changes: dict[str, tuple[str, str]] = Field(
        description="Field → what it was, what it is; no user name, no password."
    )


class CameraTest(Incoming):
    """An address to be tried from the recorder's network, or a registered camera, whose password is then used."""

    model_config = example(
        main_url="rtsp://10.0.0.5/Streaming/Channels/101", username="stroz", password="…", transport="tcp"
    )

    camera_id: UUID | None = None
    main_url: Address | None = None
    sub_url: Address | None = None
    username: Text | None = None
    password: Password | None = None
    transport: Literal["tcp", "udp"] = "tcp"
    certificate_pin: Annotated[str, Field(max_length=128)] = ""


class StreamReport(Outgoing):
    """One stream: what it sends, or (`ok` false) why nothing was received. Fields as `vms camera test --json`."""

    model_config = ConfigDict(extra="allow")

    stream: StreamKindText
    url: str
    ok: bool
    reason: str | None = Field(None, description="A gap reason; null where the test itself failed.")
    said: Said | None = Field(None, description="Why nothing was received; null where something was.")
    message: str | None = Field(None, description="The English of `said`.")
    codec: str | None = None
    profile: str | None = None
    width: int | None = None
    height: int | None = None
    fps_measured: float | None = None
    bitrate_bps: int | None = None
    gop_seconds: float | None = None
    keyframes: int | None = Field(None, description="0: nothing of it would be recorded.")
    b_frames: bool | None = None
    clock_offset_seconds: float | None = None
    packets_lost: int | None = None
    audio: list[str] | None = None
    advice: list[Said] = Field(default_factory=list, description="What to change on the camera, worst first.")
    browser: Browser = "unknown"


class CameraTestReport(Outgoing):
    model_config = example(
        streams=[
            {"stream": "main", "url": "rtsp://10.0.0.5/Streaming/Channels/101", "ok": True, "codec": "h264",
             "profile": "High", "width": 1920, "height": 1080, "fps_measured": 25.0, "bitrate_bps": 4000000,
             "gop_seconds": 2.0, "keyframes": 3, "b_frames": False, "clock_offset_seconds": 0.4, "packets_lost": 0,
             "audio": [], "advice": [], "browser": "plays"},
            {"stream": "sub", "url": "rtsp://10.0.0.5/Streaming/Channels/102", "ok": False,
             "reason": "camera_unreachable", "message": "the camera does not answer"},
        ]
    )  # fmt: skip

    streams: list[StreamReport]


class ImportRow(Outgoing):
    line: int
    number: str
    name: str
    verdict: Verdict
    column: str | None
    said: list[Said] = Field(description="What is wrong with the row, or what it changes.")
    warnings: list[Said] = Field(description="Likeness to another camera: same name or address.")


class ImportReport(Outgoing):
    model_config = example(
        rows=[
            {"line": 2, "number": "12", "name": "Rynek 1", "verdict": "error", "column": "number",
             "said": [shown(Said) | {"note": ""}], "warnings": []},
        ],
        counts={"new": 0, "changed": 0, "unchanged": 0, "error": 1}, written=None,
    )  # fmt: skip

    rows: list[ImportRow]
    counts: dict[str, int]
    written: int | None = Field(description="null: nothing was to be written, or a bad row kept all from it.")


class Group(Outgoing):
    name: str
    cameras: int


class GroupList(Outgoing):
    model_config = example(items=[{"name": "Śródmieście", "cameras": 14}])

    items: list[Group]


class Profile(Outgoing):
    id: UUID
    name: str
    basis: str
    days: int
    audio: bool
    default: bool


class ProfileList(Outgoing):
    model_config = example(
        items=[{"id": CAMERA_ID, "name": "gmina", "basis": "art. 9a ustawy o samorządzie gminnym", "days": 30,
                "audio": False, "default": True}]
    )  # fmt: skip

    items: list[Profile]


class Tour(BaseModel):
    model_config = ConfigDict(extra="forbid")

    tour: list[UUID] = Field(min_length=1, max_length=64)
    dwell_s: int = Field(ge=3, le=300)


Grid = Literal["1", "2x2", "3x3", "4x4", "1+5", "1+7", "1+12", "2+8"]
GRID_TILES = {"1": 1, "2x2": 4, "3x3": 9, "4x4": 16, "1+5": 6, "1+7": 8, "1+12": 13, "2+8": 10}


class LayoutFields(Incoming):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"name": "Centrum", "shared": True, "grid": "2x2", "spot": 0,
                 "tiles": [CAMERA_ID, None, {"tour": [CAMERA_ID], "dwell_s": 10}, None]}
            ]
        },
    )  # fmt: skip

    name: Name
    shared: bool = False
    grid: Grid
    spot: int | None = Field(None, ge=0, le=15)
    tiles: list[UUID | Tour | None] = Field(max_length=16)


class Layout(Outgoing):
    model_config = example(
        id=CAMERA_ID, version=2, author="Anna Nowak", mine=True, updated_at="2026-11-30T07:15:00.000Z",
        **shown(LayoutFields),
    )  # fmt: skip

    id: UUID
    name: str
    shared: bool
    version: int
    author: str
    mine: bool
    updated_at: Instant
    grid: Grid
    spot: int | None
    tiles: list[UUID | Tour | None]


class LayoutList(Outgoing):
    model_config = example(items=[shown(Layout)])

    items: list[Layout]


class StreamWish(Incoming):
    model_config = example(stream="main")

    stream: StreamKindText


class Snapshot(Incoming):
    """A still that is about to be kept. `captured_at`: of the frame, by its caption; null where that is not known."""

    model_config = example(captured_at="2026-11-30T07:15:00.480Z")

    captured_at: str | None = Field(None, max_length=40)


class TileReport(BaseModel):
    """What a client says over the WebSocket of its tiles. `t` is `tiles`."""

    model_config = ConfigDict(extra="forbid")

    t: Literal["tiles"]
    live: int = Field(0, ge=0, le=1000)
    delayed: int = Field(0, ge=0, le=1000)
    lost: int = Field(0, ge=0, le=1000)
    frozen: int = Field(0, ge=0, le=1_000_000, description="Freezes since the last report.")
    dropped: int = Field(0, ge=0, le=1_000_000_000, description="Frames dropped since the last report.")
    first_frame_ms: list[Annotated[float, Field(ge=0, le=600_000)]] = Field(default_factory=list, max_length=64)
