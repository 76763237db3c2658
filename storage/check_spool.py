"""The spool's part of a check: files that nobody will ever archive, facts nobody can read, runs and gaps left open.

Owns what is peculiar to the spool; that a copy row's file is there is looked at with the rows (`storage.check`). Sealed
files that wait for the archiver, and parts that wait for salvage, are counted or noted: they are work, not damage.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from pathlib import Path
from uuid import UUID

from storage.catalogue.values import SegmentRef, StoreInfo, StoreKind
from storage.check_findings import Depth, Finding, Kind
from storage.check_looks import Places, hash_path
from storage.sealed_file import read_run
from storage.spool import SealedSegment
from vms.clock import Clock
from vms.errors import MalformedError

PAGE = 500
PART_SECONDS = 3600  # a segment lasts five minutes at most: who wrote this is gone


class SpoolCheck:
    """What one check finds in one spool. `waiting`: sealed files on their way, after `suspects`."""

    def __init__(self, places: Places, depth: Depth, clock: Clock) -> None:
        self.waiting = 0
        self._places, self._depth, self._clock = places, depth, clock
        self._spool = places.spool

    async def suspects(self, known: Collection[UUID]) -> list[Path]:
        """Files to be examined. Memory: the spool's names."""
        if self._places.is_away(self._places.spool_name):
            return []
        found = await asyncio.to_thread(self._spool.strays)
        names = sorted(await asyncio.to_thread(self._spool.sealed_names))
        for start in range(0, len(names), PAGE):
            found += await self._sealed_suspects(names[start : start + PAGE], known)
        found += await asyncio.to_thread(self._bad_facts)
        return found + await asyncio.to_thread(self._old_parts)

    async def _sealed_suspects(self, names: Sequence[str], known: Collection[UUID]) -> list[Path]:
        sealed = [s for s in await asyncio.to_thread(lambda: [self._spool.sealed_named(n) for n in names]) if s]
        fates = await self._places.catalogue.fates({SegmentRef(s.run_id, s.number) for s in sealed})
        suspects = []
        for one in sealed:
            segment = fates[SegmentRef(one.run_id, one.number)].segment
            if segment is not None and any(c.store == self._places.spool_name for c in segment.copies):
                continue  # looked at with its row
            self.waiting += 1
            problem = await asyncio.to_thread(self._problem, one)
            if problem is not None or one.stream_id not in known:
                suspects.append(one.path)
        return suspects

    def _problem(self, sealed: SealedSegment) -> str | None:
        """What is wrong with a file that has no row yet. Blocks."""
        try:
            if sealed.facts is None:
                read_run(sealed.path)
            elif self._depth >= Depth.DIGEST and (found := hash_path(sealed.path)) != sealed.facts.digest:
                return f"SHA-256 {found.hex()}, but {sealed.facts.digest.hex()} was sealed"
        except FileNotFoundError:
            return None
        except MalformedError as error:
            return str(error)
        except OSError as error:
            return f"cannot be read: {error.strerror or error}"
        return None

    def _bad_facts(self) -> list[Path]:
        folder = self._spool.facts_path
        return [folder / name for name in self._spool.fact_stamps() if self._spool.fact_named(name) is None]

    def _old_parts(self) -> list[Path]:
        return [part.path for part in self._spool.parts() if self._age_seconds(part.path) > PART_SECONDS]

    def _age_seconds(self, path: Path) -> float:
        try:
            return self._clock.wall_ns() / 1e9 - path.stat().st_mtime
        except FileNotFoundError:
            return 0.0

    async def examine(self, path: Path, known: Collection[UUID]) -> list[Finding]:
        """What is wrong with one file, if it is still there. Blocks in a thread."""
        finding = await asyncio.to_thread(self._examine, path, known)
        return [finding] if finding is not None else []

    def _examine(self, path: Path, known: Collection[UUID]) -> Finding | None:
        if not path.exists():
            return None
        where = (self._places.spool_name, f"{path.parent.name}/{path.name}")
        if path.parent == self._spool.open_path and any(part.path == path for part in self._spool.parts()):
            hours = self._age_seconds(path) / 3600
            return Finding(Kind.PART_LEFT, f"nobody has written it for {hours:.0f} h, and it was not salvaged", *where)
        sealed = self._spool.sealed_named(path.name) if path.parent == self._spool.sealed_path else None
        if sealed is not None:
            place = (*where, sealed.stream_id, SegmentRef(sealed.run_id, sealed.number), sealed.start_ns)
            if sealed.stream_id not in known:
                detail = "a sealed segment of a stream that is not in the registry: it cannot be archived"
                return Finding(Kind.UNKNOWN_STREAM, detail, *place)
            problem = self._problem(sealed)
            return Finding(Kind.SEALED_UNREADABLE, problem, *place) if problem else None
        if path.parent == self._spool.facts_path and path in self._bad_facts():
            return Finding(Kind.FACT_UNREADABLE, "the fact of a run or gap cannot be read", *where)
        return Finding(Kind.STRAY_FILE, "not a file of this program", *where)

    async def never_closed(self, stores: Sequence[StoreInfo]) -> list[Finding]:
        """Runs and gaps that are open in the catalogue while the spool, which closes them, has no fact of them."""
        if self._places.is_away(self._places.spool_name):
            return []
        catalogue = self._places.catalogue
        runs = await catalogue.open_runs(self._places.host)
        alone = sum(store.kind is StoreKind.SPOOL for store in stores) == 1
        gaps = await catalogue.open_gaps() if alone else []
        names = await asyncio.to_thread(self._spool.fact_stamps)  # after the rows: a fact outlives its row's opening
        lost_runs = [(stream_id, run_id) for stream_id, run_id in runs if f"run-{run_id}.json" not in names]
        lost_gaps = [gap for gap in gaps if f"gap-{gap.id}.json" not in names]
        if lost_runs:
            still = set(await catalogue.open_runs(self._places.host))
            lost_runs = [item for item in lost_runs if item in still]
        found = [
            Finding(Kind.NEVER_CLOSED, f"run {run_id} is open, and the spool has no fact of it", stream_id=stream_id)
            for stream_id, run_id in lost_runs
        ]
        for gap in lost_gaps:
            if await catalogue.gap_is_open(gap.id):
                detail = f"gap {gap.id} ({gap.reason}) is open, and the spool has no fact of it"
                found.append(Finding(Kind.NEVER_CLOSED, detail, stream_id=gap.stream_id, start_ns=gap.start_ns))
        return found
