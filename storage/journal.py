"""Journals: what the catalogue knows of one stream and hour, written beside the footage so that a bucket alone suffices.

Owns the journal's format (docs/reference/object-store.md), the pure builder and parser, and `JournalWriter`, which
decides when an hour is due and puts the object. Does not own fact files (the archiver forgets them once stated here)
nor rebuilding a catalogue.

Invariants: a journal object is never changed; an hour's later facts stand in later parts, and no part repeats what an
earlier one states; the same facts always give the same bytes. A run is stated in the hour in which it began and again,
with its end and its anchors, in the hour in which it ended; a gap in the hour in which it ended; a segment, by its seal
and range, in the hour in which it starts; its line of the deletion report, with both again, in the hour in which its
last byte went. Hours are UTC, by capture time. The first of the parts that are written at
once also states what the registry says of the stream by then (`storage.stream_about`); that alone makes no journal.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, Protocol
from uuid import UUID

from storage.catalogue.values import DeletedSegment, JournalEntry, RecordedSegment, StreamAbout
from storage.facts import MAX_TEXT, RunFact, encode_gap, encode_run, parse_gap, parse_run
from storage.objects.base import ObjectStore, journal_key, put_once
from storage.stream_about import about_json, parse_about
from vms.errors import DigestMismatch, MalformedError
from vms.model import Gap
from vms.timeline import TimeRange

log = logging.getLogger(__name__)

VERSION = 1
HOUR_NS = 3_600_000_000_000
SETTLE_NS = 360_000_000_000  # after the hour: the longest segment begun in it (5 min) is sealed and registered by then
MAX_JOURNAL_BYTES = 8 << 20  # an ordinary hour takes some 20 KB
MAX_PARTS = 1000


@dataclass(frozen=True, slots=True)
class SealLine:
    """A segment as a journal states it: where, when, and what proves it."""

    run_id: UUID
    number: int
    start_ns: int
    end_ns: int
    size_bytes: int
    digest: bytes
    seal: bytes


@dataclass(frozen=True, slots=True)
class Journal:
    """What one journal object states. `runs`: as begun (no end, no anchors) or as ended (both).

    `about`: the registry's word on the stream when this was written, at `written_ns`; absent from older journals.
    """

    stream_id: UUID
    hour_ns: int
    host: str
    runs: tuple[RunFact, ...] = ()
    gaps: tuple[Gap, ...] = ()
    segments: tuple[SealLine, ...] = ()
    about: StreamAbout | None = None
    written_ns: int = 0
    deletions: tuple[DeletedSegment, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not (self.runs or self.gaps or self.segments or self.deletions)


class JournalCatalogue(Protocol):
    """What writing journals asks of the catalogue."""

    async def segments(self, stream_ids: Sequence[UUID], within: TimeRange) -> list[RecordedSegment]: ...

    async def run_hosts(self, run_ids: Collection[UUID]) -> Mapping[UUID, str]: ...

    async def deleted(self, stream_id: UUID, within: TimeRange) -> list[DeletedSegment]: ...

    async def stream_about(self, stream_id: UUID) -> StreamAbout | None: ...

    async def journals(self, stream_id: UUID, start_ns: int, end_ns: int) -> list[JournalEntry]: ...

    async def record_journal(self, entry: JournalEntry) -> None: ...


def hour_of(ns: int) -> int:
    """Start of the UTC hour that contains `ns`."""
    return ns - ns % HOUR_NS


def statements_of_run(fact: RunFact) -> list[tuple[int, RunFact]]:
    """What journals state of a run: (hour, statement) for its beginning and, once it has ended, its end."""
    begun = RunFact(replace(fact.run, end_ns=None, end_reason=None))
    stated = [(hour_of(fact.run.start_ns), begun)]
    if fact.run.end_ns is not None:
        stated.append((hour_of(fact.run.end_ns), fact))
    return stated


def build_journal(
    empty: Journal,
    runs: Iterable[RunFact],
    gaps: Iterable[Gap],
    segments: Iterable[SealLine],
    deletions: Iterable[DeletedSegment] = (),
) -> Journal:
    """The whole journal of `empty`'s stream and hour out of all facts that may touch it, in whatever order they come."""
    stream_id, hour_ns = empty.stream_id, empty.hour_ns
    stated = {
        encode_run(said): said
        for fact in runs
        if fact.run.stream_id == stream_id
        for hour, said in statements_of_run(fact)
        if hour == hour_ns
    }
    closed = {
        gap.id: gap
        for gap in gaps
        if gap.stream_id == stream_id and gap.end_ns is not None and hour_of(gap.end_ns) == hour_ns
    }
    lines = {(line.run_id, line.number): line for line in segments if hour_of(line.start_ns) == hour_ns}
    gone = {(line.run_id, line.number): line for line in deletions if hour_of(line.deleted_ns) == hour_ns}
    return replace(
        empty,
        runs=tuple(sorted(stated.values(), key=lambda f: (f.run.start_ns, str(f.run.id), f.run.end_ns is not None))),
        gaps=tuple(sorted(closed.values(), key=lambda g: (g.start_ns, str(g.id)))),
        segments=tuple(sorted(lines.values(), key=lambda s: (s.start_ns, str(s.run_id), s.number))),
        deletions=tuple(sorted(gone.values(), key=lambda d: (d.deleted_ns, d.start_ns, str(d.run_id), d.number))),
    )


def without(journal: Journal, stated: Iterable[Journal]) -> Journal:
    """What of `journal` none of the parts written before states. A run, gap or segment once stated is not repeated.

    But a run is stated again with another end: after a crash it may have been said to end too early.
    """
    parts = list(stated)
    runs = {(f.run.id, f.run.end_ns) for part in parts for f in part.runs}
    gaps = {gap.id for part in parts for gap in part.gaps}
    lines = {(line.run_id, line.number) for part in parts for line in part.segments}
    gone = {(line.run_id, line.number) for part in parts for line in part.deletions}
    return replace(
        journal,
        runs=tuple(f for f in journal.runs if (f.run.id, f.run.end_ns) not in runs),
        gaps=tuple(gap for gap in journal.gaps if gap.id not in gaps),
        segments=tuple(line for line in journal.segments if (line.run_id, line.number) not in lines),
        deletions=tuple(line for line in journal.deletions if (line.run_id, line.number) not in gone),
    )


def first_part(journal: Journal, most_bytes: int) -> Journal:
    """As much of `journal`, from its beginning, as surely fits into `most_bytes`; at least one statement."""
    sizes = (
        *(len(encode_run(fact)) for fact in journal.runs),
        *(len(encode_gap(gap)) for gap in journal.gaps),
        *(512 for _ in journal.segments),
        *(1024 for _ in journal.deletions),
    )
    used = 4096 if journal.about is None else 4096 + len(json.dumps(about_json(journal.about)))
    fitting = sum(total <= most_bytes - used for total in accumulate(size + 1 for size in sizes))
    runs = max(1, fitting)
    gaps = max(0, runs - len(journal.runs))
    segments = max(0, gaps - len(journal.gaps))
    deletions = max(0, segments - len(journal.segments))
    return replace(
        journal,
        runs=journal.runs[:runs],
        gaps=journal.gaps[:gaps],
        segments=journal.segments[:segments],
        deletions=journal.deletions[:deletions],
    )


def encode_journal(journal: Journal) -> bytes:
    """Canonical JSON: keys sorted, no white space, ASCII, a newline at the end."""
    body = {
        "version": VERSION,
        "stream_id": str(journal.stream_id),
        "hour_ns": journal.hour_ns,
        "host": journal.host,
        "runs": [json.loads(encode_run(fact)) for fact in journal.runs],
        "gaps": [json.loads(encode_gap(gap)) for gap in journal.gaps],
        "segments": [
            {
                "run_id": str(line.run_id),
                "number": line.number,
                "start_ns": line.start_ns,
                "end_ns": line.end_ns,
                "size_bytes": line.size_bytes,
                "digest": line.digest.hex(),
                "seal": line.seal.hex(),
            }
            for line in journal.segments
        ],
    }
    if journal.deletions:
        body["deletions"] = [_deletion_json(line) for line in journal.deletions]
    if journal.about is not None:
        body["about"] = about_json(journal.about)
        body["written_ns"] = journal.written_ns
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def parse_journal(data: bytes) -> Journal:
    """The same back. Raises `MalformedError` for anything `encode_journal` would not write."""
    if len(data) > MAX_JOURNAL_BYTES:
        raise MalformedError("journal", f"{len(data)} bytes are too many")
    try:
        body = json.loads(data, parse_constant=_refuse)
        if not isinstance(body, dict) or body.get("version") != VERSION:
            raise MalformedError("journal", "is none, or of another version")
        hour_ns, host = body["hour_ns"], body["host"]
        if type(hour_ns) is not int or type(host) is not str:
            raise MalformedError("journal", "has no hour and host")
        journal = Journal(
            UUID(body["stream_id"]),
            hour_ns,
            host,
            tuple(parse_run(json.dumps(fact).encode()) for fact in body["runs"]),
            tuple(parse_gap(json.dumps(gap).encode()) for gap in body["gaps"]),
            tuple(_line(line) for line in body["segments"]),
            parse_about(body["about"]) if "about" in body else None,
            int(body.get("written_ns", 0)),
            tuple(_deletion(body["stream_id"], line) for line in body.get("deletions", ())),
        )
        # One comparison refuses every wrong type, field too many and odd spelling that got this far.
        if encode_journal(journal) != data:
            raise MalformedError("journal", "is not in canonical form")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise MalformedError("journal", f"does not parse ({type(error).__name__})") from error
    return journal


def _refuse(word: str) -> None:
    raise ValueError(word)  # Infinity and NaN are no JSON


def _line(body: dict[str, Any]) -> SealLine:
    return SealLine(
        UUID(body["run_id"]),
        int(body["number"]),
        int(body["start_ns"]),
        int(body["end_ns"]),
        int(body["size_bytes"]),
        bytes.fromhex(body["digest"]),
        bytes.fromhex(body["seal"]),
    )


def _deletion_json(line: DeletedSegment) -> dict[str, Any]:
    plain = ("number", "start_ns", "end_ns", "size_bytes", "basis", "condemned_ns", "deleted_ns")
    facts: dict[str, Any] = {name: getattr(line, name) for name in plain}
    return facts | {"run_id": str(line.run_id), "digest": line.digest.hex(), "seal": line.seal.hex()}


def _deletion(stream_id: str, body: dict[str, Any]) -> DeletedSegment:
    said = _line(body)
    if type(body["basis"]) is not str or len(body["basis"]) > MAX_TEXT:
        raise MalformedError("journal", "states a deletion without a basis")
    return DeletedSegment(
        UUID(stream_id), said.run_id, said.number, said.start_ns, said.end_ns, said.size_bytes, said.digest, said.seal,
        body["basis"], int(body["condemned_ns"]), int(body["deleted_ns"]),
    )  # fmt: skip


class JournalWriter:
    """Puts the journals of what one host recorded. Knows in memory which hours have something to say.

    Told again after a restart: run and gap facts wait in the spool until they are stated, and the archiver names the
    hours of what it registers.
    """

    def __init__(self, catalogue: JournalCatalogue, store: ObjectStore, host: str) -> None:
        self._catalogue = catalogue
        self._store = store
        self._host = host
        self._touched: set[tuple[int, UUID]] = set()  # (hour, stream)

    @property
    def waiting(self) -> int:
        """Hours of streams with something not yet looked at, the running hour included."""
        return len(self._touched)

    def touch(self, stream_id: UUID, ns: int) -> None:
        """Something of this stream at `ns` may have to be stated."""
        self._touched.add((hour_of(ns), stream_id))

    def due(self, now_ns: int) -> list[tuple[int, UUID]]:
        """Hours that are over and settled, oldest first."""
        return sorted(
            (item for item in self._touched if item[0] + HOUR_NS + SETTLE_NS <= now_ns),
            key=lambda item: (item[0], str(item[1])),
        )

    async def write(
        self, hour_ns: int, stream_id: UUID, runs: Iterable[RunFact], gaps: Iterable[Gap], now_ns: int
    ) -> str | None:
        """State what is new of this hour, as its next part; the key, or None if everything is stated already.

        `runs` and `gaps` are the facts still in the spool. When this returns, all of theirs that belong into this hour
        stand in the store. May be repeated at any crash point. Raises `StoreError` and `CatalogueError`.
        """
        self._touched.discard((hour_ns, stream_id))  # first: what comes while this waits is for another time
        try:
            key = await self._write(hour_ns, stream_id, runs, gaps, now_ns)
        except BaseException:
            self._touched.add((hour_ns, stream_id))
            raise
        return key

    async def _write(
        self, hour_ns: int, stream_id: UUID, runs: Iterable[RunFact], gaps: Iterable[Gap], now_ns: int
    ) -> str | None:
        segments = await self._segments(hour_ns, stream_id)
        deletions = await self._catalogue.deleted(stream_id, TimeRange(hour_ns, hour_ns + HOUR_NS))
        whole = build_journal(Journal(stream_id, hour_ns, self._host), runs, gaps, segments, deletions)
        if whole.is_empty:
            return None
        parts = await self._parts(hour_ns, stream_id, now_ns)
        fresh = without(whole, parts)
        if fresh.is_empty:
            return None
        fresh = replace(fresh, about=await self._catalogue.stream_about(stream_id), written_ns=now_ns)
        key = None
        while not fresh.is_empty:
            part = first_part(fresh, MAX_JOURNAL_BYTES)
            key = await self._put(part, len(parts), now_ns)
            parts.append(part)
            fresh = replace(without(fresh, [part]), about=None, written_ns=0)
        return key

    async def _segments(self, hour_ns: int, stream_id: UUID) -> list[SealLine]:
        within = TimeRange(hour_ns, hour_ns + HOUR_NS)
        recorded = await self._catalogue.segments([stream_id], within)
        if not recorded:
            return []
        host_of = await self._catalogue.run_hosts({s.run_id for s in recorded})
        return [
            SealLine(s.run_id, s.number, s.start_ns, s.end_ns, s.size_bytes, s.digest, s.seal)
            for s in recorded
            if host_of.get(s.run_id) == self._host and within.contains(s.start_ns)
        ]

    async def _parts(self, hour_ns: int, stream_id: UUID, now_ns: int) -> list[Journal]:
        """The parts in the store. The store is asked, not the catalogue: after a crash a part has no row, and gets it."""
        prefix = journal_key(stream_id, hour_ns, self._host).removesuffix(".json")
        present = {info.key async for info in self._store.list(prefix)}
        rows = await self._catalogue.journals(stream_id, hour_ns, hour_ns + HOUR_NS) if present else []
        known = {entry.key for entry in rows}
        parts: list[Journal] = []
        for number in range(MAX_PARTS):
            key = journal_key(stream_id, hour_ns, self._host, number)
            if key not in present:
                return parts
            data = await self._store.read(key, 0, MAX_JOURNAL_BYTES + 1)
            try:
                parts.append(parse_journal(data))
            except MalformedError as error:
                # Taken as stating nothing: what it should have said is said again in the next part.
                log.error("%s cannot be read, its facts are stated again: %s", key, error)
                parts.append(Journal(UUID(int=0), 0, ""))
                continue
            if key not in known:
                await self._record(parts[-1], key, data, parts[-1].written_ns or now_ns)
        raise MalformedError("journal", f"{prefix} has too many parts")

    async def _put(self, fresh: Journal, part: int, now_ns: int) -> str:
        key = journal_key(fresh.stream_id, fresh.hour_ns, self._host, part)
        data = encode_journal(fresh)
        digest = hashlib.sha256(data).digest()
        try:
            await put_once(self._store, key, data, digest=digest, size_bytes=len(data))
        except DigestMismatch:
            log.warning("%s was written by another archiver of host %s meanwhile", key, self._host)
            raise
        await self._record(fresh, key, data, now_ns)
        return key

    async def _record(self, journal: Journal, key: str, data: bytes, written_ns: int) -> None:
        digest = hashlib.sha256(data).digest()
        entry = JournalEntry(journal.stream_id, journal.hour_ns, self._host, key, digest, written_ns)
        await self._catalogue.record_journal(entry)
