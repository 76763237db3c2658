"""What of a site as a whole needs a person: one judgement for `vms status`, alarms, metrics and pages. Pure.

Streams are judged in `vms.status.site_status`. `troubles` lists what is wrong by code, for programs and pages, which say it in
the reader's language. The functions named `…_trouble` answer with a short text for people, or None when all is well or nobody
can tell; `None` from a process that does not answer is told apart by `archiver_answers`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from vms.localtime import format_duration
from vms.model import StreamKind
from vms.status.site_status import CLOCK_OFF_NS, ArchiverLine, Level, SiteStatus, StreamLine

TIGHT_HOURS = 1.0
WAITS_NS = 600_000_000_000  # what waits for the store longer than this does not leave as fast as it comes
HOST_CLOCK_OFF_NS = 1_000_000_000
STREAMS_NAMED = 12


class TroubleCode(StrEnum):
    """What can be wrong with a site. The client's words for each are in both its catalogues under `health`."""

    CAMERAS_UNREADABLE = "cameras_unreadable"
    RECORDER_DOWN = "recorder_down"
    ARCHIVER_WAITS = "archiver_waits"  # why
    ARCHIVER_DOWN = "archiver_down"
    WEB_DOWN = "web_down"
    LIVE_DOWN = "live_down"
    CATALOGUE_ERROR = "catalogue_error"
    STORE_ERROR = "store_error"  # segments that wait
    STORE_LOST = "store_lost"  # segments
    SET_ASIDE = "set_aside"  # segments
    JOURNALS_SET_ASIDE = "journals_set_aside"  # journals
    SPOOL_TOO_SMALL = "spool_too_small"
    SPOOL_GIVEN_UP = "spool_given_up"
    SPOOL_FULL = "spool_full"
    SPOOL_TIGHT = "spool_tight"  # minutes of footage that still fit
    CLOCK_SET_FORWARD = "clock_set_forward"  # seconds
    CLOCK_SET_BACK = "clock_set_back"  # seconds
    CLOCK_FREE = "clock_free"
    CLOCK_BEHIND = "clock_behind"  # seconds
    CLOCK_AHEAD = "clock_ahead"  # seconds
    RETENTION_BRAKED = "retention_braked"
    RETENTION_OFF = "retention_off"
    CAMERA_CLOCK_AHEAD = "camera_clock_ahead"  # seconds
    CAMERA_CLOCK_BEHIND = "camera_clock_behind"  # seconds


_WARNINGS = frozenset(
    code
    for code in TroubleCode
    if code.startswith(("clock_", "camera_clock_", "retention_")) or code.endswith("set_aside")
)


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that needs a person. `facts` are named beside each code; `text` is the English, and may name any camera."""

    code: TroubleCode
    text: str = ""
    facts: Mapping[str, int | float | str] = field(default_factory=dict)
    line: StreamLine | None = None  # main stream of the camera that it is about

    @property
    def is_warning(self) -> bool:
        """Nothing is lost by it yet, and everybody can still see."""
        return self.code in _WARNINGS


def troubles(status: SiteStatus) -> list[Trouble]:
    """Everything that needs a person, but for streams that are not recorded, which their lines say. Nothing nobody can know."""
    return list(_troubles(status))


def _troubles(status: SiteStatus) -> Iterator[Trouble]:
    if status.problem:
        yield Trouble(TroubleCode.CAMERAS_UNREADABLE, status.problem)
    if not status.recorder_answers:
        yield Trouble(TroubleCode.RECORDER_DOWN)
    yield from filter(None, (_archiver(status), _spool(status), _clock(status)))
    if web_trouble(status) is not None:
        yield Trouble(TroubleCode.WEB_DOWN)
    if live_trouble(status) is not None:
        yield Trouble(TroubleCode.LIVE_DOWN)
    if status.archiver_answers and status.archiver is not None:
        yield from _reported(status.archiver)
    for line in status.recorded:
        offset_ns = line.clock_offset_ns or 0
        if line.level is Level.GOOD and abs(offset_ns) > CLOCK_OFF_NS:
            code = TroubleCode.CAMERA_CLOCK_AHEAD if offset_ns > 0 else TroubleCode.CAMERA_CLOCK_BEHIND
            yield Trouble(code, facts=_seconds(offset_ns), line=line)


def _reported(report: ArchiverLine) -> Iterator[Trouble]:
    """What an archiver that answers says of itself."""
    if report.catalogue_error:
        yield Trouble(TroubleCode.CATALOGUE_ERROR, report.catalogue_error)
    if report.store_error:
        yield Trouble(TroubleCode.STORE_ERROR, report.store_error, {"segments": report.backlog_segments})
    if report.lost_segments:
        yield Trouble(TroubleCode.STORE_LOST, facts={"segments": report.lost_segments})
    if report.set_aside:
        yield Trouble(TroubleCode.SET_ASIDE, facts={"segments": report.set_aside})
    if report.journals_set_aside:
        yield Trouble(TroubleCode.JOURNALS_SET_ASIDE, facts={"journals": report.journals_set_aside})
    if report.retention_braked:
        yield Trouble(TroubleCode.RETENTION_BRAKED)
    if report.retention_off:
        yield Trouble(TroubleCode.RETENTION_OFF)


def spool_trouble(status: SiteStatus) -> str | None:
    """The spool is over its budget, streams are given up for want of room, or footage does not leave it and it will be
    full within the hour."""
    return _text(_spool(status))


def _spool(status: SiteStatus) -> Trouble | None:
    if status.spool_too_small:
        text = status.spool_too_small + (f"; given up: {named(status.given_up)}" if status.given_up else "")
        return Trouble(TroubleCode.SPOOL_TOO_SMALL, text)
    if status.given_up:
        return Trouble(TroubleCode.SPOOL_GIVEN_UP, f"given up for want of room: {named(status.given_up)}")
    if not status.archiver_answers:
        text = "no room left on its disk beyond the reserve"
        return Trouble(TroubleCode.SPOOL_FULL, text) if status.spool_free_bytes == 0 else None
    report = status.archiver
    assert report is not None
    if report.spool_room_bytes == 0:
        return Trouble(TroubleCode.SPOOL_FULL, "no room left by its budget and its disk's reserve")
    if _fills(report, status.at_ns, TIGHT_HOURS):
        minutes = round((report.spool_hours or 0) * 60)
        text = f"room for {minutes} min at the present rate, and footage does not leave it"
        return Trouble(TroubleCode.SPOOL_TIGHT, text, {"minutes": minutes})
    return None


def spool_recovers(status: SiteStatus) -> bool:
    """Whether room is so scarce still that an alarm about it should not end yet."""
    report = status.archiver
    return status.archiver_answers and report is not None and _fills(report, status.at_ns, 2 * TIGHT_HOURS)


def _fills(report: ArchiverLine, at_ns: int, within_hours: float) -> bool:
    """Whether the spool will be full so soon. One whose footage leaves at once may be as small as it likes."""
    late = report.oldest_start_ns is not None and at_ns - report.oldest_start_ns > WAITS_NS
    leaves = not (report.store_error or report.catalogue_error or late)
    return report.spool_hours is not None and report.spool_hours < within_hours and not leaves


def store_trouble(report: ArchiverLine) -> str | None:
    """Footage does not reach the store."""
    aside = report.set_aside + report.journals_set_aside
    said = [report.store_error] if report.store_error else []
    said += [f"{aside} objects are set aside and tried every ten minutes (see the log)"] if aside else []
    return f"{'; '.join(said)}; {report.backlog_segments} segments wait in the spool" if said else None


def clock_trouble(status: SiteStatus) -> str | None:
    """The machine's clock is not synchronised, known to be off, or other than what retention reckons by."""
    return _text(_clock(status))


def _clock(status: SiteStatus) -> Trouble | None:
    clock, report = status.clock, status.archiver
    stepped_ns = report.clock_stepped_ns if report is not None and status.archiver_answers else None
    if stepped_ns is not None and abs(stepped_ns) > HOST_CLOCK_OFF_NS:
        code = TroubleCode.CLOCK_SET_FORWARD if stepped_ns > 0 else TroubleCode.CLOCK_SET_BACK
        way = "forward" if stepped_ns > 0 else "back"
        late = ", or the machine was off and has no time server; nothing is deleted by it" if stepped_ns > 0 else ""
        text = (
            f"it was set {way} by {format_duration(abs(stepped_ns))}{late}; if it is right now: "
            "vms retention --clock-is-right"
        )
        return Trouble(code, text, _seconds(stepped_ns))
    if clock.synchronised is False:
        return Trouble(TroubleCode.CLOCK_FREE, "not synchronised; recorded times may drift. Is chrony running?")
    if clock.offset_ns is not None and abs(clock.offset_ns) > HOST_CLOCK_OFF_NS:
        code = TroubleCode.CLOCK_BEHIND if clock.offset_ns > 0 else TroubleCode.CLOCK_AHEAD
        way = "behind" if clock.offset_ns > 0 else "ahead"
        text = f"{format_duration(abs(clock.offset_ns))} {way}; it is being corrected"
        return Trouble(code, text, _seconds(clock.offset_ns))
    return None


def _seconds(ns: int) -> dict[str, float]:
    return {"seconds": round(abs(ns) / 1e9, 1)}


def archiver_trouble(status: SiteStatus) -> str | None:
    """The archiver does not answer, and what is known of it."""
    return _text(_archiver(status))


def _archiver(status: SiteStatus) -> Trouble | None:
    if status.archiver_answers:
        return None
    if status.archiver_waits:
        return Trouble(TroubleCode.ARCHIVER_WAITS, f"it waits: {status.archiver_waits}", {"why": status.archiver_waits})
    if status.archiver is not None:
        ago = format_duration(max(0, status.at_ns - status.archiver.at_ns))
        return Trouble(TroubleCode.ARCHIVER_DOWN, f"last heard of {ago} ago")
    text = "it has not reported yet" if status.running_process else "it does not run"
    return Trouble(TroubleCode.ARCHIVER_DOWN, text)


def _text(trouble: Trouble | None) -> str | None:
    return None if trouble is None else trouble.text


def web_trouble(status: SiteStatus) -> str | None:
    """Nobody can sign in: the web process does not answer."""
    return None if status.web_answers is not False else "it does not answer"


def live_trouble(status: SiteStatus) -> str | None:
    """Nobody can begin to watch: the live gateway does not answer."""
    return None if status.live_answers is not False else "it does not answer"


def cameras(status: SiteStatus) -> dict[str, list[StreamLine]]:
    """The lines of the streams that should be recorded, by camera, main stream first."""
    found: dict[str, list[StreamLine]] = {}
    for line in status.streams:
        if line.record and line.kind != StreamKind.AUDIO and line.level is not Level.OFF:
            found.setdefault(line.camera_id, []).append(line)
    return {camera: sorted(lines, key=lambda s: s.kind != StreamKind.MAIN) for camera, lines in found.items()}


def not_recorded(lines: Sequence[StreamLine]) -> StreamLine | None:
    """The first of a camera's streams that is not being recorded now."""
    return next((line for line in lines if line.level is not Level.GOOD), None)


def named(lines: Sequence[StreamLine]) -> str:
    """`3 main, 7 sub and 4 more`."""
    first = [f"{s.number} {s.kind}" for s in lines[:STREAMS_NAMED]]
    return ", ".join(first) + (f" and {len(lines) - len(first)} more" if len(lines) > len(first) else "")
