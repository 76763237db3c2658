"""A site's status as JSON: the answer of `vms status --json`, and most of the interface's `/health`. Pure."""

from __future__ import annotations

from typing import Any

from vms.localtime import format_utc
from vms.status.site_judgement import Trouble, troubles
from vms.status.site_status import SiteStatus, StreamLine


def status_json(status: SiteStatus) -> dict[str, Any]:
    """docs/reference/cli.md, "vms status"."""
    report = status.archiver
    return {
        "at": format_utc(status.at_ns),
        "site": status.name,
        "data": status.data,
        "process": _pid(status),
        "recorder": {"answers": status.recorder_answers},
        "archiver": {
            "answers": status.archiver_answers,
            "at": report and format_utc(report.at_ns),
            "catalogue_error": report and report.catalogue_error,
            "waits": status.archiver_waits or None,
        },
        "web": {"answers": status.web_answers},
        "live": {"answers": status.live_answers},
        "spool": {"disk_free_bytes": status.spool_free_bytes}
        | (
            {}
            if report is None
            else {
                "open_bytes": report.spool_open_bytes,
                "sealed_bytes": report.spool_sealed_bytes,
                "room_bytes": report.spool_room_bytes,
                "hours": report.spool_hours,
                "bytes_per_second": report.spool_bytes_per_second,
                "strays": report.spool_strays,
            }
        ),
        "given_up": [
            {
                "camera": line.number,
                "stream": line.kind,
                "since": None if line.since_ns is None else format_utc(line.since_ns),
                "why": line.detail,
            }
            for line in status.given_up
        ],
        "store": {"where": status.store}
        | (
            {}
            if report is None
            else {
                "waiting_segments": report.backlog_segments,
                "waiting_bytes": report.backlog_bytes,
                "oldest": None if report.oldest_start_ns is None else format_utc(report.oldest_start_ns),
                "uploaded_segments": report.uploaded_segments,
                "uploaded_bytes": report.uploaded_bytes,
                "lost": report.lost_segments,
                "set_aside": report.set_aside,
                "journals_set_aside": report.journals_set_aside,
                "error": report.store_error,
            }
        ),
        "clock": _clock_json(status),
        "retention": report and {"braked": report.retention_braked, "off": report.retention_off},
        "troubles": [_trouble_json(t) for t in troubles(status)],
        "streams": [_stream_json(s) for s in status.streams],
    }


def _clock_json(status: SiteStatus) -> dict[str, Any]:
    report = status.archiver if status.archiver_answers else None
    return {
        "synchronised": status.clock.synchronised,
        "offset_seconds": _seconds(status.clock.offset_ns),
        "max_error_seconds": _seconds(status.clock.max_error_ns),
        "stepped_seconds": report and _seconds(report.clock_stepped_ns),
    }


def _trouble_json(trouble: Trouble) -> dict[str, Any]:
    line = trouble.line
    return {
        "code": trouble.code.value,
        "grade": "warning" if trouble.is_warning else "bad",
        "camera": line and {"number": line.number, "name": line.name},
        "camera_id": line and line.camera_id,
        "facts": dict(trouble.facts),
    }


def _stream_json(line: StreamLine) -> dict[str, Any]:
    return {
        "camera": {"number": line.number, "name": line.name},
        "stream": line.kind,
        "stream_id": line.stream_id,
        "camera_id": line.camera_id,
        "level": line.level.value,
        "state": line.word,
        "reason": line.reason,
        "detail": line.detail,
        "since": None if line.since_ns is None else format_utc(line.since_ns),
        "codec": line.codec or None,
        "width": line.width,
        "height": line.height,
        "fps": round(line.fps, 2),
        "bits_per_second": line.bits_per_second,
        "age_seconds": None if line.age_ns is None else round(line.age_ns / 1e9, 3),
        "gap_today_seconds": None if line.gap_today_ns is None else round(line.gap_today_ns / 1e9, 3),
        "source": line.source or None,
        "source_why": line.source_why or None,
        "clock_offset_seconds": None if line.clock_offset_ns is None else round(line.clock_offset_ns / 1e9, 3),
        "segments": line.segments,
        "bytes": line.bytes,
        "gaps_by_reason": dict(line.gaps_by_reason),
    }


def _pid(status: SiteStatus) -> int | None:
    text = status.running_process or ""
    return int(text) if text.isdigit() else None


def _seconds(ns: int | None) -> float | None:
    return None if ns is None else round(ns / 1e9, 6)
