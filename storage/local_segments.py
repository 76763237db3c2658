"""Segments of a spool in the catalogue's form: sealed ones that may not be registered yet, and those being written.

Reads facts only; whose bytes are read when and how stands in `storage.reader`. Everything here blocks.
"""

from __future__ import annotations

from uuid import UUID

from storage.catalogue.values import RecordedSegment
from storage.facts import RunFact
from storage.segment_bytes import hash_file
from storage.spool import PartFile, SealedSegment, Spool
from vms.errors import MalformedError
from vms.media.boxes import FileSource
from vms.media.segment_reader import SegmentReader, scan_open
from vms.model import Origin, SegmentFacts
from vms.timeline import TimeRange


def local_segments(spool: Spool, stream_id: UUID, within: TimeRange) -> list[RecordedSegment]:
    """Sealed and open segments of the spool that overlap the range. A file that does not parse is left out."""
    # Open ones first: one that is sealed meanwhile is then found among the sealed.
    found = {}
    origins: dict[UUID, Origin] = {}
    for part in spool.parts(stream_id):
        segment = _open_segment(part)
        if segment is not None and segment.range.overlaps(within):
            found[segment.ref] = segment
    for sealed in spool.sealed(stream_id):
        if sealed.start_ns >= within.end_ns:
            continue
        facts = sealed.facts or _facts_of(sealed)
        if facts is not None and facts.start_ns < within.end_ns and facts.end_ns > within.start_ns:
            if facts.run_id not in origins:
                fact = spool.fact_named(f"run-{facts.run_id}.json")
                origins[facts.run_id] = fact.run.origin if isinstance(fact, RunFact) else Origin.LIVE
            segment = _recorded(facts, origins[facts.run_id], "spool")
            found[segment.ref] = segment
    return list(found.values())


def _facts_of(sealed: SealedSegment) -> SegmentFacts | None:
    try:
        with sealed.path.open("rb") as file:
            return SegmentReader(FileSource(file.fileno())).facts(hash_file(file.fileno()))
    except (FileNotFoundError, MalformedError):
        return None  # archived meanwhile, or damaged: the archiver reports that


def _recorded(facts: SegmentFacts, origin: Origin, location: str) -> RecordedSegment:
    """Arrival 0, for it has none yet, and no copies."""
    return RecordedSegment(
        arrival=0,
        stream_id=facts.stream_id,
        run_id=facts.run_id,
        number=facts.number,
        start_ns=facts.start_ns,
        end_ns=facts.end_ns,
        duration_ticks=facts.duration_ticks,
        clock_hz=facts.clock_hz,
        size_bytes=facts.size_bytes,
        digest=facts.digest,
        seal=facts.seal,
        independent=facts.independent,
        damaged=facts.damaged_units > 0,
        codec=facts.codec,
        width=facts.width,
        height=facts.height,
        origin=origin,
        copies=(),
        location=location,
    )


def _open_segment(part: PartFile) -> RecordedSegment | None:
    """What is whole of a file being written; None before its first fragment."""
    try:
        with part.path.open("rb") as file:
            scan = scan_open(FileSource(file.fileno()))
    except (FileNotFoundError, MalformedError):
        return None  # sealed meanwhile, or not even its head is there
    if not scan.fragments:
        return None
    head, config = scan.start.head, scan.start.config
    start_ns = head.mapping.capture_ns(head.start_ticks)
    end_ticks = max(fragment.end_pts for fragment in scan.fragments)
    facts = SegmentFacts(
        stream_id=head.stream_id,
        run_id=head.run_id,
        number=head.number,
        start_ns=start_ns,
        end_ns=max(start_ns + 1, head.mapping.capture_ns(end_ticks)),
        clock_hz=config.clock_hz,
        duration_ticks=end_ticks - head.start_ticks,
        size_bytes=scan.whole_bytes,
        digest=b"",
        seal=b"",
        units=sum(fragment.units for fragment in scan.fragments),
        key_units=sum(fragment.key for fragment in scan.fragments),
        damaged_units=0,
        independent=head.independent,
        codec=config.codec,
        width=config.width,
        height=config.height,
    )
    return _recorded(facts, head.origin, "open")
