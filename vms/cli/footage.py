"""What is recorded, as the commands `timeline` and `export` find it and show it.

Owns the opening of a site's footage for reading and the shape of `timeline --json`. The shaping is pure.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from storage.camera_registry import refuse_emptied
from storage.catalogue import Catalogue, RecordedSegment, Span, StreamTimeline, find_camera
from storage.catalogue.coverage import LATE_NS, late
from storage.objects import open_store
from storage.reader import Reader
from storage.spool import Spool
from storage.stores import object_store_info
from vms.cli.registry import refuse_absent
from vms.errors import UserError
from vms.localtime import format_duration, format_local, format_utc
from vms.model import Camera, Origin, Stream, StreamKind
from vms.timeline import TimeRange

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from storage.export import Unexportable
    from vms.site import Site


LOOK_AHEAD_NS = 3_600_000_000_000


@asynccontextmanager
async def open_footage(site: Site, camera: str, kind: StreamKind) -> AsyncIterator[tuple[Reader, Camera, Stream]]:
    """A reader of the site's footage, and the stream of the camera that a person named, retired or not."""
    await refuse_absent(site)
    store = open_store(site.settings.store)
    spool = Spool(site.spool)
    async with contextlib.AsyncExitStack() as undo:
        undo.push_async_callback(store.close)
        undo.push_async_callback(spool.close)
        catalogue = await undo.enter_async_context(Catalogue(site.catalogue_url))
        await refuse_emptied(site, catalogue)
        found = find_camera(await catalogue.cameras(include_retired=True), camera)
        yield (
            Reader(catalogue, spool, {object_store_info(site.settings.store).name: store}),
            found,
            stream_of(found, kind),
        )


def stream_of(camera: Camera, kind: StreamKind) -> Stream:
    """The camera's stream of that kind; UserError names those it has."""
    found = next((s for s in camera.streams if s.kind is kind), None)
    if found is None:
        has = ", ".join(s.kind for s in camera.streams) or "none"
        raise UserError(f'camera {camera.number} "{camera.name}" has no {kind} stream; it has: {has}')
    return found


def with_what_came_after(within: TimeRange) -> TimeRange:
    """The range of segments to list so that those of `within` can be judged late."""
    return TimeRange(within.start_ns, within.end_ns + LATE_NS + LOOK_AHEAD_NS)


def timeline_json(
    camera: Camera, within: TimeRange, segments: Sequence[RecordedSegment], timeline: StreamTimeline
) -> dict[str, Any]:
    """docs/reference/cli.md, "vms timeline". Segments are whole, also where they reach out of the range.

    `segments` may reach beyond the range: by what came later than them it is seen which came late.
    """
    came_late = late(segments)
    return {
        "camera": {"id": str(camera.id), "number": camera.number, "name": camera.name},
        "from": format_utc(within.start_ns),
        "to": format_utc(within.end_ns),
        "segments": [
            {
                "start": format_utc(s.start_ns),
                "end": format_utc(s.end_ns),
                "bytes": s.size_bytes,
                "sha256": None if s.location == "open" else s.digest.hex(),
                "location": s.location,
                "origin": s.origin.value,
                "late": s.ref in came_late,
            }
            for s in segments
            if s.range.overlaps(within)
        ],
        "recorded": [
            {
                "start": format_utc(s.range.start_ns),
                "end": format_utc(s.range.end_ns),
                "damaged": s.damaged,
                "origin": s.origin.value,
                "late": s.late,
            }
            for s in timeline.spans
        ],
        "gaps": [
            {"start": format_utc(m.range.start_ns), "end": format_utc(m.range.end_ns), "reason": m.reason.value}
            for m in timeline.missing
        ],
    }


def timeline_rows(timeline: StreamTimeline, zone: ZoneInfo) -> list[tuple[str, str, str, str]]:
    """From, to, how long, what: recorded spans and gaps in order of time, in local time with its offset."""
    rows = [(s.range, _what(s)) for s in timeline.spans]
    rows += [(m.range, f"gap: {m.reason}") for m in timeline.missing]
    return [
        (
            format_local(r.start_ns, zone, digits=3),
            format_local(r.end_ns, zone, digits=3),
            format_duration(r.duration_ns),
            what,
        )
        for r, what in sorted(rows)
    ]


def _what(span: Span) -> str:
    words = ["recorded"]
    if span.damaged:
        words.append("damaged")
    if span.origin is not Origin.LIVE:
        words.append(span.origin.value)
    if span.late:
        words.append("came late")
    return ", ".join(words)


def unexportable(error: Unexportable, camera: Camera, zone: ZoneInfo) -> str:
    """Which time is in the way of an export, what of the range can be had without it, and who says more."""
    start, end = format_local(error.bad.start_ns, zone), format_local(error.bad.end_ns, zone)
    what = "the sound" if error.sound else "the footage"
    said = [f'{what} of camera {camera.number} "{camera.name}" from {start} to {end} cannot be exported: {error}']
    if error.sound:
        said.append("The pictures can be, without it: --no-audio")
    elif error.before_ns is None and error.after_ns is None:
        said.append("Nothing else of this range was recorded")
    else:
        said.append("What can be exported, in a command each:")
        if error.before_ns is not None:
            said.append(f"  up to   --to '{format_local(error.before_ns, zone)}'")
        if error.after_ns is not None:
            said.append(f"  and on  --from '{format_local(error.after_ns, zone)}'")
    said.append("Nothing was written. All that is missing or damaged, and what can be mended: vms check --depth digest")
    return "\n".join(said)


def total(ranges: Sequence[TimeRange]) -> int:
    """Their length together, in ns; they do not overlap."""
    return sum(r.duration_ns for r in ranges)
