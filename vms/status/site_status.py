"""What there is to say about a running site: gathered from the feed, the assignment, the archiver's status file, and by asking.

Owns the judgement on every stream, above all when a picture no longer counts as fresh: nothing is called recording whose
last unit is older than `STALE_NS`. What is expected comes from the assignment, so a stream nobody reports is seen too.
Shows nothing (`vms.cli.status_table`) and starts nothing.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import aiohttp

from vms.assignment import Assignment, read_assignment
from vms.errors import MalformedError, SourceError, UserError
from vms.feed import FeedClient
from vms.model import GapReason, StreamKind
from vms.ntp import HostClock, ask_kernel, host_clock
from vms.status.asking import live_answers, web_answers
from vms.status.spool_disk import ask_disk
from vms.timeline import SECOND_NS

if TYPE_CHECKING:
    from pathlib import Path

    from vms.site import Site

STALE_NS = 5_000_000_000
ARCHIVER_SILENT_NS = 10_000_000_000  # it reports every two seconds
CLOCK_OFF_NS = 1_000_000_000
FEED_SECONDS = 3.0
END_OF_TIME_NS = 253_402_300_800 * SECOND_NS  # the year 10000
MOST_STATUS_BYTES = 1 << 20
MOST_WHY_BYTES = 500
_STARTING = ("connecting", "waiting", "settling")


class Level(StrEnum):
    """How much a stream needs a person."""

    GOOD = "good"
    STARTING = "starting"
    BAD = "bad"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class StreamLine:
    """One stream now. `word` says what it does; `since_ns` since when it does not record."""

    number: int
    name: str
    kind: str
    stream_id: str
    level: Level
    word: str
    detail: str = ""
    since_ns: int | None = None
    reason: str | None = None
    fps: float = 0.0
    bits_per_second: int = 0
    age_ns: int | None = None  # of the last picture
    gap_today_ns: int | None = None  # None: nobody answers who would know
    source: str = ""
    source_why: str = ""
    codec: str = ""
    width: int = 0
    height: int = 0
    clock_offset_ns: int | None = None
    segments: int = 0
    bytes: int = 0
    gaps_by_reason: Mapping[str, int] = field(default_factory=dict)
    camera_id: str = ""
    record: bool = True  # False: only relayed


@dataclass(frozen=True, slots=True)
class ArchiverLine:
    """What the archiver wrote down last."""

    at_ns: int
    backlog_segments: int
    backlog_bytes: int
    oldest_start_ns: int | None
    uploaded_segments: int
    uploaded_bytes: int
    lost_segments: int
    set_aside: int
    journals_set_aside: int
    catalogue_error: str | None
    store_error: str | None
    spool_open_bytes: int
    spool_sealed_bytes: int
    spool_room_bytes: int
    spool_strays: int
    spool_hours: float | None
    retention_braked: bool
    retention_off: bool = False  # since the catalogue was rebuilt, until a person confirms
    clock_stepped_ns: int | None = None  # since it was believed; None: an older archiver
    running_ns: int | None = None  # since its start, from which it counts what it uploaded; None: an older archiver
    spool_bytes_per_second: int | None = None  # None: measured for too short a time, or by an older archiver


@dataclass(frozen=True, slots=True)
class SiteStatus:
    """Everything that `vms status` shows. `archiver` is what is on disk, however old; `archiver_answers` judges that."""

    at_ns: int
    name: str
    data: str
    store: str
    running_process: str | None  # of the `vms up` that holds the folder
    recorder_answers: bool
    archiver_answers: bool
    archiver: ArchiverLine | None
    streams: tuple[StreamLine, ...]
    problem: str = ""  # why the assignment cannot be read
    clock: HostClock = field(default_factory=HostClock)
    spool_free_bytes: int | None = None  # of its disk, less the reserve, asked now and of nobody else
    spool_too_small: str = ""  # why nothing fits on its disk, however empty that is
    archiver_waits: str = ""  # why it is not started yet
    web_answers: bool | None = None  # None: it is not to run here
    live_answers: bool | None = None

    @property
    def nothing_runs(self) -> bool:
        answers = (self.recorder_answers, self.archiver_answers, self.web_answers, self.live_answers)
        return not (self.running_process or any(answers))

    @property
    def recorded(self) -> list[StreamLine]:
        """The main streams: one a camera."""
        return [s for s in self.streams if s.kind == StreamKind.MAIN]

    @property
    def given_up(self) -> list[StreamLine]:
        """Streams that are not recorded because the spool has no room, the longest so first."""
        gone = [s for s in self.streams if s.reason == GapReason.SPOOL_FULL]
        return sorted(gone, key=lambda s: (s.since_ns or 0, s.number, s.kind))


async def gather_status(site: Site, *, web_asks: bool = False) -> SiteStatus:
    """Ask everybody at once; who does not answer within seconds is said not to. Ages are of the moment of the answer.

    `web_asks`: the web process itself wants to know, and needs no answer of its own.
    """
    states, report, web, live = await asyncio.gather(
        _ask_feed(site.settings.feed.socket), asyncio.to_thread(read_report, site.run / "archiver.json"),
        _itself() if web_asks else web_answers(site), live_answers(site),
    )  # fmt: skip
    now_ns = time.time_ns()
    problem, assignment = "", Assignment()
    try:
        assignment = read_assignment(site.assignment_file, site.sealer)
    except (MalformedError, OSError) as error:
        problem = f"the cameras to record cannot be read: {error}"
    store, disk = site.settings.store, ask_disk(site)
    return SiteStatus(
        at_ns=now_ns,
        name=site.settings.site.name,
        data=str(site.path),
        store=str(store.path) if store.kind.value == "folder" else f"{store.endpoint}/{store.bucket}",
        running_process=site.running_process(),
        recorder_answers=states is not None,
        archiver_answers=report is not None and abs(now_ns - report.at_ns) < ARCHIVER_SILENT_NS,
        archiver=report,
        streams=tuple(stream_lines(assignment, states, now_ns)),
        problem=problem,
        clock=host_clock(ask_kernel()),
        spool_free_bytes=None if disk is None else disk.room_bytes,
        spool_too_small="" if disk is None else disk.too_small or "",
        archiver_waits=why_it_waits(site),
        web_answers=web,
        live_answers=live,
    )


async def _itself() -> bool:
    return True


def stream_lines(assignment: Assignment, states: Sequence[Mapping[str, Any]] | None, now_ns: int) -> list[StreamLine]:
    """A line for every assigned video stream, in order of cameras, and for every audio stream that is received. Pure."""
    reported = {str(s.get("stream_id")): s for s in states or () if isinstance(s, Mapping)}
    lines = []
    for camera in assignment.cameras:
        for stream in camera.streams:
            facts = reported.get(str(stream.id))
            who = StreamLine(
                camera.number, camera.name, stream.kind.value, str(stream.id), Level.OFF, "switched off",
                camera_id=str(camera.camera_id), record=stream.record,
            )  # fmt: skip
            if facts is not None:
                lines.append(judge(who, facts, now_ns))
            elif stream.kind is StreamKind.AUDIO:
                continue
            elif not camera.enabled:
                lines.append(who)
            elif states is None:
                lines.append(replace(who, level=Level.BAD, word="recorder down"))
            else:
                detail = "its recorder worker does not answer: it is starting, or being replaced"
                lines.append(replace(who, level=Level.BAD, word="no answer", detail=detail))
    return lines


def judge(who: StreamLine, facts: Mapping[str, Any], now_ns: int) -> StreamLine:
    """`who` with what the recorder says of that stream (docs/reference/feed.md). Pure; believes no shape."""
    state, reason = str(facts.get("state") or "unknown"), facts.get("reason")
    last_ns, since_ns = _instant(facts.get("last_unit_wall_ns")), _instant(facts.get("gap_since_ns"))
    age_ns = None if last_ns is None else max(0, now_ns - last_ns)
    fresh = age_ns is not None and age_ns <= STALE_NS
    detail = str(facts.get("detail") or "")
    if reason is not None:
        starting = state == "settling" or (reason == "recorder_restart" and state in _STARTING)
        level, word = (Level.STARTING, state) if starting else (Level.BAD, str(reason).replace("_", " "))
    elif state in ("recording", "relaying"):
        level, word = (Level.GOOD, state) if fresh else (Level.BAD, "stale")
        since_ns = None if fresh else last_ns
    elif state in _STARTING:
        level, word = (Level.STARTING, state) if age_ns is None or fresh else (Level.BAD, "no picture")
        since_ns = None if level is Level.STARTING else last_ns
    elif state == "stopped":
        level, word = Level.OFF, state
    else:
        level, word = Level.BAD, state.replace("_", " ")
    gaps = facts.get("gaps_by_reason")
    return replace(
        who, level=level, word=word, detail=detail, since_ns=since_ns, reason=None if reason is None else str(reason),
        fps=_float(facts.get("fps")) if fresh else 0.0,
        bits_per_second=(_whole(facts.get("bits_per_second")) or 0) if fresh else 0,
        age_ns=age_ns,
        gap_today_ns=_whole(facts.get("gap_today_ns")),
        source=str(facts.get("source") or ""),
        source_why=str(facts.get("source_why") or ""),
        codec=str(facts.get("codec") or ""),
        width=_whole(facts.get("width")) or 0,
        height=_whole(facts.get("height")) or 0,
        clock_offset_ns=_whole(facts.get("camera_offset_ns")),
        segments=_whole(facts.get("segments")) or 0,
        bytes=_whole(facts.get("bytes")) or 0,
        gaps_by_reason={str(k): _whole(v) or 0 for k, v in gaps.items()} if isinstance(gaps, Mapping) else {},
    )  # fmt: skip


def why_it_waits(site: Site) -> str:
    """What `vms up` says of an archiver that it has not started yet; one that does not run says nothing."""
    if site.running_process() is None:
        return ""
    try:
        with site.waiting_file.open("rb") as stream:
            return stream.read(MOST_WHY_BYTES).decode("utf-8", "replace").strip()
    except OSError:
        return ""


def read_report(file: Path) -> ArchiverLine | None:
    """The archiver's status file; None when there is none, or none that can be read."""
    return _read_report(file) or _read_report(file)  # on a full disk it is overwritten in place, and may be torn once


def _read_report(file: Path) -> ArchiverLine | None:
    try:
        with file.open("rb") as stream:
            facts = json.loads(stream.read(MOST_STATUS_BYTES))
        numbers = {
            name: count_of(facts[name])
            for name in (
                "at_ns", "backlog_segments", "backlog_bytes", "uploaded_segments", "uploaded_bytes", "lost_segments",
                "set_aside", "journals_set_aside", "spool_open_bytes", "spool_sealed_bytes", "spool_room_bytes",
                "spool_strays",
            )
        }  # fmt: skip
        if _instant(numbers["at_ns"]) is None:
            return None
        return ArchiverLine(
            **numbers,
            oldest_start_ns=_instant(facts["oldest_start_ns"]),
            catalogue_error=_text(facts["catalogue_error"]),
            store_error=_text(facts["store_error"]),
            spool_hours=None if facts["spool_hours"] is None else _float(facts["spool_hours"]),
            retention_braked=bool(facts["retention_braked"]),
            retention_off=bool(facts.get("retention_off")),
            clock_stepped_ns=_whole(facts.get("clock_stepped_ns")),
            running_ns=_whole(facts.get("running_ns")),
            spool_bytes_per_second=_whole(facts.get("spool_bytes_per_second")),
        )
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


async def _ask_feed(socket: Path) -> list[dict[str, Any]] | None:
    """The recorder's streams, or None when it does not answer."""
    try:
        async with asyncio.timeout(FEED_SECONDS):
            answer = await FeedClient(socket).states()
    except (SourceError, UserError, aiohttp.ClientError, OSError, TimeoutError, ValueError):
        return None
    return answer if isinstance(answer, list) else None


def count_of(value: Any) -> int:
    """A number of things or bytes, as small as numbers of things are. Raises ValueError, TypeError, OverflowError."""
    count = int(value)
    if not 0 <= count < 2**63:
        raise ValueError(f"{count} is no count")
    return count


def _whole(value: object) -> int | None:
    return int(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _instant(value: object) -> int | None:
    """UTC in ns that a calendar can show."""
    found = _whole(value)
    return found if found is not None and 0 <= found < END_OF_TIME_NS else None


def _float(value: object) -> float:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else 0.0


def _text(value: object) -> str | None:
    return None if value is None else str(value)[:500]
