"""What of a site as a whole needs a person: one judgement for `vms status`, alarms and metrics. Pure.

Streams are judged in `vms.status.site_status`. Each function answers with a short text for people, or None when all is well
or nobody can tell; `None` from a process that does not answer is told apart by `archiver_answers`.
"""

from __future__ import annotations

from collections.abc import Sequence

from vms.localtime import format_duration
from vms.model import StreamKind
from vms.status.site_status import ArchiverLine, Level, SiteStatus, StreamLine

TIGHT_HOURS = 1.0
WAITS_NS = 600_000_000_000  # what waits for the store longer than this does not leave as fast as it comes
HOST_CLOCK_OFF_NS = 1_000_000_000
STREAMS_NAMED = 12


def spool_trouble(status: SiteStatus) -> str | None:
    """The spool is over its budget, streams are given up for want of room, or footage does not leave it and it will be
    full within the hour."""
    if status.spool_too_small:
        return status.spool_too_small + (f"; given up: {named(status.given_up)}" if status.given_up else "")
    if status.given_up:
        return f"given up for want of room: {named(status.given_up)}"
    if not status.archiver_answers:
        return "no room left on its disk beyond the reserve" if status.spool_free_bytes == 0 else None
    report = status.archiver
    assert report is not None
    if report.spool_room_bytes == 0:
        return "no room left by its budget and its disk's reserve"
    if _fills(report, status.at_ns, TIGHT_HOURS):
        return f"room for {(report.spool_hours or 0) * 60:.0f} min at the present rate, and footage does not leave it"
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
    clock, report = status.clock, status.archiver
    stepped_ns = report.clock_stepped_ns if report is not None and status.archiver_answers else None
    if stepped_ns is not None and abs(stepped_ns) > HOST_CLOCK_OFF_NS:
        way = "forward" if stepped_ns > 0 else "back"
        late = ", or the machine was off and has no time server; nothing is deleted by it" if stepped_ns > 0 else ""
        return (
            f"it was set {way} by {format_duration(abs(stepped_ns))}{late}; if it is right now: "
            "vms retention --clock-is-right"
        )
    if clock.synchronised is False:
        return "not synchronised; recorded times may drift. Is chrony running?"
    if clock.offset_ns is not None and abs(clock.offset_ns) > HOST_CLOCK_OFF_NS:
        way = "behind" if clock.offset_ns > 0 else "ahead"
        return f"{format_duration(abs(clock.offset_ns))} {way}; it is being corrected"
    return None


def archiver_trouble(status: SiteStatus) -> str | None:
    """The archiver does not answer, and what is known of it."""
    if status.archiver_answers:
        return None
    if status.archiver_waits:
        return f"it waits: {status.archiver_waits}"
    if status.archiver is not None:
        return f"last heard of {format_duration(max(0, status.at_ns - status.archiver.at_ns))} ago"
    return "it has not reported yet" if status.running_process else "it does not run"


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
