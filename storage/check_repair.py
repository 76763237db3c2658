"""What `vms check --repair` mends: only what is safe, and never by deleting media that nothing else holds.

Owns the choice of what is safe. Nothing here removes an object or a file: copies are made, rows are corrected, and what
was condemned before goes to the deleter. Every mend looks again before it writes, and may be repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import replace
from uuid import UUID

from storage.catalogue.values import Copy, CopyState, RecordedSegment, Registered, Registration, SegmentRef
from storage.check_findings import REPAIRABLE, Depth, Finding, Kind, Seen
from storage.check_looks import Places
from storage.objects.base import put_once, segment_key
from storage.retention import DAY_NS
from storage.sealed_file import run_of
from storage.segment_bytes import ObjectSource, in_thread
from vms.errors import CatalogueUnavailable, MalformedError, ObjectMissing, VmsError
from vms.media.segment_reader import SegmentReader
from vms.model import GapReason, RunInfo, SegmentFacts


class Repairs:
    """Mends findings one by one."""

    def __init__(self, places: Places) -> None:
        self._places = places

    async def mend(self, finding: Finding) -> Finding:
        """The finding with what was done about it. What cannot be mended says so; only CatalogueUnavailable is raised."""
        if finding.invariant is None or finding.kind not in REPAIRABLE:
            return finding
        try:
            done = await self._mend(finding)
        except CatalogueUnavailable:
            raise
        except (VmsError, OSError) as error:
            return replace(finding, repair=f"not repaired: {error}")
        if done is None:
            return replace(finding, repair="not repaired: nothing safe can be done")
        return replace(finding, repaired=True, repair=done)

    async def _mend(self, finding: Finding) -> str | None:
        if finding.kind is Kind.ORPHAN_SEGMENT:
            return await self._register(finding.key)
        if finding.kind is Kind.SPANS_DIFFER:
            return await self._renew_spans(finding)
        if finding.ref is None:
            return None
        if finding.kind is Kind.DELETED_LEFT_OVER:
            return await self._condemn_again(finding.ref, finding.key)
        segment = await self._places.catalogue.segment(finding.ref)
        copy = next((c for c in segment.copies if c.store == finding.store), None) if segment else None
        if segment is None or copy is None:
            return "has mended itself"
        look = await self._places.look(segment, copy, Depth.DIGEST)
        if finding.kind is Kind.FOUND_AGAIN:
            return await self._note(segment, copy, CopyState.PRESENT) if look.seen is Seen.SOUND else None
        if look.seen is Seen.SOUND:
            return "has mended itself"
        if look.seen is Seen.UNKNOWN:
            return None
        if finding.kind is Kind.OBJECT_MISSING:
            return await self._upload(segment, copy)
        if finding.kind is Kind.SPOOL_FILE_LOST:
            return await self._find_in_store(segment, copy)
        others = await self._held_elsewhere(segment, copy)
        if not others:
            return None  # what is damaged is all there is: it stays within reach
        if finding.kind is Kind.STALE_SPOOL_ROW:
            await self._places.catalogue.drop_copy(segment.ref, copy.store)
            return "the row was dropped; the segment is in the object store"
        return await self._note(segment, copy, CopyState.CORRUPT)

    async def _held_elsewhere(self, segment: RecordedSegment, copy: Copy) -> bool:
        """Whether another copy holds every byte that was sealed: read again, for a repair rests on it."""
        for other in segment.copies:
            if other.store != copy.store and other.state is CopyState.PRESENT:
                look = await self._places.look(segment, other, Depth.DIGEST)
                if look.seen is Seen.SOUND:
                    return True
        return False

    async def _upload(self, segment: RecordedSegment, copy: Copy) -> str | None:
        path = self._places.spool.sealed_file(segment)
        try:
            info = await put_once(
                self._places.store, copy.key, path, digest=segment.digest, size_bytes=segment.size_bytes
            )
        except FileNotFoundError:
            return await self._note(segment, copy, CopyState.MISSING)
        new = Copy(copy.store, copy.key, info.size_bytes, segment.digest, info.version)
        await self._places.catalogue.record_copy(segment.ref, new)
        return "uploaded again from the spool"

    async def _find_in_store(self, segment: RecordedSegment, copy: Copy) -> str | None:
        """The spool's file has gone: was it stored, and only the row of that not written?"""
        key = segment_key(segment.stream_id, segment.run_id, segment.number, segment.start_ns)
        info = await self._places.head(key)
        if info is None or await self._places.digest_of(key) != segment.digest:
            return await self._note(segment, copy, CopyState.MISSING)
        new = Copy(self._places.store_name, key, info.size_bytes, segment.digest, info.version)
        await self._places.catalogue.record_copy(segment.ref, new)
        await self._places.catalogue.drop_copy(segment.ref, copy.store)
        return "found in the object store, and registered there"

    async def _note(self, segment: RecordedSegment, copy: Copy, state: CopyState) -> str:
        await self._places.catalogue.record_copy(segment.ref, replace(copy, state=state))
        return f"the catalogue now calls this copy {state.value}"

    async def _renew_spans(self, finding: Finding) -> str | None:
        if finding.stream_id is None or finding.start_ns is None:
            return None
        await self._places.catalogue.renew_spans(finding.stream_id, finding.start_ns // DAY_NS)
        return "reckoned again from the segments"

    async def _register(self, key: str) -> str | None:
        facts, run = await read_object(self._places, key)
        known = run.id in await self._places.catalogue.run_hosts([run.id])
        look, digest = await self._places.look_at_orphan(key, facts, Depth.DIGEST)
        if look.seen is not Seen.SOUND:
            raise MalformedError(key, look.detail)
        info = await self._places.store.head(key)
        copy = Copy(self._places.store_name, key, info.size_bytes, digest, info.version)
        # Nobody will ever close a run of which only an orphan tells: it is stated to end where this segment does.
        closed = replace(run, end_ns=facts.end_ns, end_reason=GapReason.UNKNOWN)
        item = Registration(replace(facts, digest=digest), copy, None if known else closed)
        (result,) = await self._places.catalogue.register_many([item])
        if result is Registered.DELETED:
            return "it was deleted before: its object goes with the condemned"
        return "registered again from its own trailer"

    async def _condemn_again(self, ref: SegmentRef, key: str) -> str | None:
        """Retention had condemned it: its object must go like the others, unless a hold covers it by now."""
        facts, _ = await read_object(self._places, key)
        stated = segment_key(facts.stream_id, facts.run_id, facts.number, facts.start_ns)
        if (stated, SegmentRef.of(facts)) != (key, ref):
            return None  # a deleted segment's name, and other footage under it
        again = await self._places.catalogue.condemn_again(ref, self._places.store_name, key)
        return "condemned again: retention removes it" if again else None


async def read_object(places: Places, key: str) -> tuple[SegmentFacts, RunInfo]:
    """What an object states of itself, and its run, not ended; no digest. Raises StoreError and MalformedError."""
    info = await places.head(key)
    if info is None:
        raise ObjectMissing(f"{places.store.name}: no object {key}")
    source = ObjectSource(places.store, key, info.size_bytes, asyncio.get_running_loop())

    def read() -> tuple[SegmentFacts, RunInfo]:
        reader = SegmentReader(source)
        return reader.facts(info.digest or b""), run_of(reader.head)

    return await in_thread(read, source.stop)


async def inspect_orphan(places: Places, key: str, known: Collection[UUID], depth: Depth) -> list[Finding]:
    """An object that no row names: a segment that can be registered again, or garbage; and whether it is damaged.

    Raises StoreError.
    """
    where = (places.store_name, key)
    try:
        facts, _ = await read_object(places, key)
    except MalformedError as error:
        return [Finding(Kind.ORPHAN_GARBAGE, f"no row names it, and it is no whole segment ({error})", *where)]
    place = (*where, facts.stream_id, SegmentRef(facts.run_id, facts.number), facts.start_ns, facts.end_ns)
    if segment_key(facts.stream_id, facts.run_id, facts.number, facts.start_ns) != key:
        detail = "no row names it, and it is the segment of another key"
        return [Finding(Kind.ORPHAN_GARBAGE, detail, *place)]
    if facts.stream_id not in known:
        return [Finding(Kind.UNKNOWN_STREAM, "a segment of a stream that is not in the registry", *place)]
    seconds = (facts.end_ns - facts.start_ns) / 1e9
    detail = f"no row names this segment of {seconds:.1f} s"
    found = [Finding(Kind.ORPHAN_SEGMENT, detail, *place)]
    if depth >= Depth.DIGEST:
        look, _ = await places.look_at_orphan(key, facts, depth)
        kind = {Seen.WRONG_BYTES: Kind.WRONG_BYTES, Seen.UNDECODABLE: Kind.UNDECODABLE}.get(look.seen)
        if kind is not None:  # without a ref: there is no row of it that a repair could mend
            found.append(
                Finding(kind, look.detail, *where, facts.stream_id, start_ns=facts.start_ns, end_ns=facts.end_ns)
            )
    return found
