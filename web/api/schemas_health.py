"""The JSON of the site's health: that of `vms status --json` (`vms.status.status_json`), and how the web process is.

A field that nobody can tell is left out or null: the archiver's, while it has never reported.
"""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from vms.status.site_judgement import TroubleCode
from web.api.schemas import CAMERA_ID, Instant, Outgoing, example


class Answering(Outgoing):
    answers: bool


class LiveHealth(Outgoing):
    """`answers` null: the gateway is not to run here."""

    answers: bool | None


class ArchiverHealth(Answering):
    at: Instant | None
    catalogue_error: str | None
    waits: str | None


class WebHealth(Answering):
    catalogue_answers: bool
    recorder_answers: bool
    live_views: int


class SpoolHealth(Outgoing):
    disk_free_bytes: int | None
    open_bytes: int | None = None
    sealed_bytes: int | None = None
    room_bytes: int | None = None
    hours: float | None = None
    bytes_per_second: int | None = None
    strays: int | None = None


class StoreHealth(Outgoing):
    where: str
    waiting_segments: int | None = None
    waiting_bytes: int | None = None
    oldest: Instant | None = None
    uploaded_segments: int | None = None
    uploaded_bytes: int | None = None
    lost: int | None = None
    set_aside: int | None = None
    journals_set_aside: int | None = None
    error: str | None = None


class ClockHealth(Outgoing):
    synchronised: bool | None
    offset_seconds: float | None
    max_error_seconds: float | None
    stepped_seconds: float | None


class RetentionHealth(Outgoing):
    braked: bool
    off: bool


class GivenUp(Outgoing):
    camera: int
    stream: str
    since: Instant | None
    why: str


class HealthCamera(Outgoing):
    number: int
    name: str


class HealthTrouble(Outgoing):
    """What of the site needs a person, but for streams that are not recorded. `facts` belong to the code."""

    code: TroubleCode
    grade: Literal["bad", "warning"]
    camera: HealthCamera | None
    camera_id: UUID | None
    facts: dict[str, int | float | str]


class StreamHealth(Outgoing):
    camera: HealthCamera
    stream: str
    stream_id: UUID
    camera_id: UUID
    level: Literal["good", "starting", "bad", "off"]
    state: str
    reason: str | None
    detail: str
    since: Instant | None
    codec: str | None
    width: int
    height: int
    fps: float
    bits_per_second: int
    age_seconds: float | None
    gap_today_seconds: float | None
    source: str | None
    source_why: str | None
    clock_offset_seconds: float | None
    segments: int
    bytes: int
    gaps_by_reason: dict[str, int]


_STREAM: dict[str, Any] = {
    "camera": {"number": 12, "name": "Rynek 1"}, "stream": "main", "stream_id": "0f1a2b3c-4d5e-4c5e-9b7e-7c7a1d5e6b0c",
    "camera_id": CAMERA_ID, "level": "good", "state": "recording", "reason": None, "detail": "", "since": None,
    "codec": "h264", "width": 1920, "height": 1080, "fps": 25.0, "bits_per_second": 4000000, "age_seconds": 0.041,
    "gap_today_seconds": 0.0, "source": "rtsp", "source_why": None, "clock_offset_seconds": 0.012, "segments": 56,
    "bytes": 191200000, "gaps_by_reason": {},
}  # fmt: skip


class Health(Outgoing):
    """`data` and `process` are for those who manage all cameras."""

    model_config = example(
        at="2026-11-30T07:15:00.000000Z", site="Straż Miejska", recorder={"answers": True},
        archiver={"answers": True, "at": "2026-11-30T07:14:59.100000Z", "catalogue_error": None, "waits": None},
        web={"answers": True, "catalogue_answers": True, "recorder_answers": True, "live_views": 16}, live={"answers": True},
        spool={"disk_free_bytes": 90000000000, "room_bytes": 90000000000, "hours": 12.4, "open_bytes": 16900000,
               "sealed_bytes": 0, "bytes_per_second": 2016129, "strays": 0},
        given_up=[], store={"where": "/srv/stroz/store", "waiting_segments": 0, "error": None},
        clock={"synchronised": True, "offset_seconds": 0.0001, "max_error_seconds": 0.01, "stepped_seconds": 0.0},
        retention={"braked": False, "off": False}, streams=[_STREAM],
        troubles=[{"code": "spool_tight", "grade": "bad", "camera": None, "camera_id": None, "facts": {"minutes": 40}}],
    )  # fmt: skip

    at: Instant
    site: str
    data: str | None = None
    process: int | None = None
    recorder: Answering
    archiver: ArchiverHealth
    web: WebHealth
    live: LiveHealth
    spool: SpoolHealth
    given_up: list[GivenUp]
    store: StoreHealth
    clock: ClockHealth
    retention: RetentionHealth | None
    troubles: list[HealthTrouble]
    streams: list[StreamHealth]
