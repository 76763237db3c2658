"""What a crash left under `open/`: whole fragments become a sealed segment, the rest is cut off.

A part file is made whole in place: its fragments are given to a writer once more, which reckons groups, seal and index and
says how the file ends; the bytes of the fragments are never written again. One that has an end keeps it, also where its
pictures are no longer those digested: new digests would hide that, the old ones tell `vms check --depth decode` of it. May
be repeated at any point: until the rename the file is a part file, cut at a whole fragment or with an end that the next
attempt cuts off.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from statistics import median_low

from storage.segment_bytes import hash_file
from storage.spool import PartFile, Spool
from storage.spool_files import OpenSegment, disk_error
from vms.errors import MalformedError
from vms.media.boxes import FileSource
from vms.media.segment_head import ClockState, SegmentTrailer
from vms.media.segment_reader import SegmentReader, Verification, read_start, scan_open, verify
from vms.media.segment_writer import SegmentWriter
from vms.model import SegmentFacts

log = logging.getLogger(__name__)

RECENT = 48  # units whose times say how long the last one lasts; more than any reordering reaches back


def salvage(spool: Spool, part: PartFile) -> SegmentFacts | None:
    """Seal what is whole of a leftover. Blocks; raises `SpoolError`.

    None: no unit in it is whole. A file that never had one is removed, one that does not parse stays where it is.
    """
    if not part.path.exists():
        return None
    try:
        segment = OpenSegment(part.path, part.stream_id, part.run_id, part.number, create=False)
    except BlockingIOError:
        log.info("leftover %s is still being written by another process, which will seal it", part.path.name)
        return None
    try:
        if _is_blank(segment):
            part.path.unlink(missing_ok=True)
            return None
        facts = _complete(segment)
    except (MalformedError, ValueError) as error:
        log.warning("leftover %s has nothing whole in it and stays: %s", part.path.name, error)
        return None
    except OSError as error:
        raise disk_error(error, "salvaging a segment") from error
    else:
        spool.seal_now(segment, facts)
    finally:
        segment.close()
    log.info("salvaged %d units of %s", facts.units, part.path.name)
    return facts


def _is_blank(segment: OpenSegment) -> bool:
    """Whether not even the first fragment was begun."""
    size = segment.size_bytes
    return size == 0 or size == read_start(FileSource(segment.fd)).size_bytes


def _complete(segment: OpenSegment) -> SegmentFacts:
    """Cut the file after its last whole fragment and give it an end."""
    source = FileSource(segment.fd)
    reader = SegmentReader(source)
    head, config = reader.head, reader.config
    if (head.stream_id, head.run_id, head.number) != (segment.stream_id, segment.run_id, segment.number):
        raise MalformedError("part file", "is named after another segment")
    if reader.trailer is not None:
        found = verify(source)
        # Recorded without digests, it lacks them for ever; a new end would change the seal its successor may hold.
        if found.flaw is None or found.bad_groups:  # only the renaming was missing
            segment.size_bytes = found.facts.size_bytes
            return _damaged(found, reader.trailer, segment.path.name)
        log.error("leftover %s does not fit the end it has (%s) and is given another", segment.path.name, found.flaw)
    scan = scan_open(source)
    if not scan.fragments:
        raise MalformedError("part file", "has no whole fragment")
    os.ftruncate(segment.fd, scan.whole_bytes)
    segment.size_bytes = scan.whole_bytes
    writer = SegmentWriter(head, config, in_band=scan.start.in_band)
    written = sum(map(len, writer.begin()))
    recent: deque[int] = deque(maxlen=RECENT)
    for samples in SegmentReader(source).fragments():
        recent.extend(unit.pts for unit, _, _ in samples)
        written += sum(map(len, writer.fragment(samples)))
    if written != scan.whole_bytes:
        raise MalformedError("part file", "is not what the writer of this version writes")
    end = _end_of(recent, scan.fragments[-1].end_pts)
    buffers, facts = writer.finish(max(end, head.start_ticks + 1), ClockState())
    segment.write(buffers)
    return replace(facts, digest=hash_file(segment.fd))  # of what the disk has, which need not be what was written


def _damaged(found: Verification, trailer: SegmentTrailer, name: str) -> SegmentFacts:
    """The facts of a segment that keeps its end. Units of groups that are not what was digested count as damaged."""
    if not found.bad_groups:
        return found.facts
    log.error("leftover %s is not what was recorded and stays as it is: %s", name, found.flaw)
    spoilt = sum(trailer.group_sizes[number] for number in found.bad_groups)
    return replace(found.facts, damaged_units=min(found.facts.units, found.facts.damaged_units + spoilt))


def _end_of(times: Iterable[int], default: int) -> int:
    """Where the last of the units ends in output order, a frame lasting what most of them do."""
    ordered = sorted(times)
    steps = [b - a for a, b in pairwise(ordered) if b > a]
    return ordered[-1] + median_low(steps) if steps else default
