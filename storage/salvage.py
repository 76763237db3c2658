"""What a crash left under `open/`: whole fragments become a sealed segment, the rest is cut off.

A part file is made whole in place: its fragments are given to a writer once more, which reckons digests and index and
says how the file ends; the bytes of the fragments are never written again. May be repeated at any point: until the
rename the file is a part file, cut at a whole fragment or with an end that the next attempt cuts off again.
"""

from __future__ import annotations

import logging
import os
from itertools import pairwise

from storage.spool import PartFile, Spool
from storage.spool_files import OpenSegment, disk_error
from vms.errors import MalformedError
from vms.media.boxes import FileSource
from vms.media.segment_head import ClockState
from vms.media.segment_reader import SegmentReader, scan_open, verify
from vms.media.segment_writer import SegmentWriter
from vms.model import AccessUnit, SegmentFacts

log = logging.getLogger(__name__)


def salvage(spool: Spool, part: PartFile) -> SegmentFacts | None:
    """Seal what is whole of a leftover. None: nothing in it is, and it stays where it is. Blocks; raises `SpoolError`."""
    if not part.path.exists():
        return None
    segment = OpenSegment(part.path, part.stream_id, part.run_id, part.number, create=False)
    try:
        facts = _complete(segment)
    except MalformedError as error:
        log.warning("leftover %s has nothing whole in it and stays: %s", part.path.name, error)
        segment.close()
        return None
    except OSError as error:
        segment.close()
        raise disk_error(error, "salvaging a segment") from error
    spool.seal_now(segment, facts)
    log.info("salvaged %d units of %s", facts.units, part.path.name)
    return facts


def _complete(segment: OpenSegment) -> SegmentFacts:
    """Cut the file after its last whole fragment and give it an end."""
    source = FileSource(segment.fd)
    reader = SegmentReader(source)
    head, config = reader.head, reader.config
    if (head.stream_id, head.run_id, head.number) != (segment.stream_id, segment.run_id, segment.number):
        raise MalformedError("part file", "is named after another segment")
    if reader.trailer is not None:
        found = verify(source)
        if found.sound:  # only the renaming was missing
            segment.size_bytes = found.facts.size_bytes
            return found.facts
    scan = scan_open(source)
    if not scan.fragments:
        raise MalformedError("part file", "has no whole fragment")
    os.ftruncate(segment.fd, scan.whole_bytes)
    segment.size_bytes = scan.whole_bytes
    writer = SegmentWriter(head, config, in_band=scan.start.in_band)
    written = sum(map(len, writer.begin()))
    units: list[AccessUnit] = []
    for samples in SegmentReader(source).fragments():
        units = [unit for unit, _, _ in samples] or units
        written += sum(map(len, writer.fragment(samples)))
    if written != scan.whole_bytes:
        raise MalformedError("part file", "is not what the writer of this version writes")
    last = scan.fragments[-1]
    buffers, facts = writer.finish(max(_end_of(units, last.end_pts), head.start_ticks + 1), ClockState())
    segment.write(buffers)
    return facts


def _end_of(units: list[AccessUnit], default: int) -> int:
    """Where the last unit in output order ends: its distance from the one before it."""
    times = sorted(u.pts for u in units)
    steps = [b - a for a, b in pairwise(times) if b > a]
    return times[-1] + steps[-1] if steps else default
