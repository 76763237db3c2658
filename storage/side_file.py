"""The side file of an export (docs/reference/export.md): what the files show, what is missing, and how time is reckoned.

Owns the document's form only. Pure: takes a finished export, gives JSON.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from storage.export_file import ExportedFile, JoinedSound, SourceSegment
from vms.localtime import format_utc
from vms.timeline import TimeRange

if TYPE_CHECKING:
    from storage.export import Export

SIDE_FILE_FORMAT = 1


def side_document(done: Export, about: dict[str, Any]) -> bytes:
    """The side file; `about` (camera, who, why, software) goes first."""
    facts = {
        "format": SIDE_FILE_FORMAT,
        **about,
        "stream": str(done.stream_id),
        "requested": _range(done.within.start_ns, done.within.end_ns),
        "whole_gops": done.whole_gops,
        "files": [_file(one) for one in done.files],
        "gaps": [_range(m.range.start_ns, m.range.end_ns) | {"reason": m.reason.value} for m in done.missing],
    }
    return (json.dumps(facts, indent=1, ensure_ascii=False) + "\n").encode()


def _file(one: ExportedFile) -> dict[str, Any]:
    head = one.sources[0].head
    return {
        "file": one.path.name,
        **_range(one.start_ns, one.end_ns),
        "start_ticks": one.start_ticks,
        "end_ticks": one.end_ticks,
        "pictures": one.pictures,
        "units": one.units,
        "begins_with_key": one.begins_with_key,
        "undecodable": one.undecodable,
        "bytes": one.size_bytes,
        "sha256": one.sha256.hex(),
        "codec": one.config.codec.value,
        "profile": one.config.profile,
        "width": one.config.width,
        "height": one.config.height,
        "run": str(head.run_id),
        "origin": head.origin.value,
        "host": head.host,
        "clock": head.clock.value,
        "segments": _segments(one.sources, TimeRange(one.start_ns, one.end_ns)),
        "sound": _sound(one.sound, one.sound_left_out),
    }


def _sound(sound: JoinedSound | None, left_out: str) -> dict[str, Any] | None:
    if sound is None:
        return {"joined": False, "why": left_out} if left_out else None
    return {
        "joined": True,
        **_range(sound.start_ns, sound.end_ns),
        "start_ticks": sound.start_ticks,
        "units": sound.units,
        "codec": sound.config.codec.value,
        "channels": sound.config.channels,
        "stream": str(sound.sources[0].head.stream_id),
        "run": str(sound.sources[0].head.run_id),
        "segments": _segments(sound.sources, TimeRange(sound.start_ns, sound.end_ns)),
    }


def _segments(sources: Sequence[SourceSegment], shown: TimeRange) -> list[dict[str, Any]]:
    return [_segment(source, shown) for source in sources]


def _segment(source: SourceSegment, shown: TimeRange) -> dict[str, Any]:
    """Enough to find the segment and to reckon each picture's capture time from its media time."""
    head, trailer, segment = source.head, source.trailer, source.segment
    state = trailer.clock_state if trailer else None
    return {
        "number": head.number,
        **_range(segment.start_ns, segment.end_ns),
        "start_ticks": head.start_ticks,
        "sha256": segment.digest.hex() or None,
        "seal": segment.seal.hex() or None,
        "shown": segment.range.overlaps(shown),
        "clock_mapping": {
            "ticks": head.mapping.ticks,
            "ns": head.mapping.ns,
            "hz": head.mapping.clock_hz,
            "rate_ppb": head.mapping.rate_ppb,
        },
        "camera_clock_offset_ns": state.camera_offset_ns if state else None,
        "ntp_synchronised": state.ntp_synchronised if state else None,
        "ntp_source": (state.ntp_source or None) if state else None,
        "ntp_offset_ns": state.ntp_offset_ns if state else None,
        "uncertainty_ns": state.uncertainty_ns if state else None,
        "damaged": [_range(start, end) for start, end in (trailer.damaged_ns if trailer else ())],
    }


def _range(start_ns: int, end_ns: int) -> dict[str, Any]:
    return {"start": format_utc(start_ns), "end": format_utc(end_ns)}
