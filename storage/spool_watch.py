"""What is new in a spool since the last look: sealed segments and facts, at the price of their names.

Owns that memory only. A sealed file's bytes never change, so each is looked into once; a fact file is replaced whole, so
it is read again only when its time, inode or size differ, or when it could not be read. A full spool costs a list of names each time, no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from storage.facts import RunFact
from storage.spool import FactStamp, SealedSegment
from vms.model import Gap


class WatchedSpool(Protocol):
    """What watching asks of a spool. All of it blocks."""

    @property
    def sealed_path(self) -> Path: ...

    @property
    def facts_path(self) -> Path: ...

    def sealed_names(self) -> set[str]: ...

    def sealed_named(self, name: str) -> SealedSegment | None: ...

    def fact_stamps(self) -> dict[str, FactStamp]: ...

    def fact_named(self, name: str) -> RunFact | Gap | None: ...


@dataclass(frozen=True, slots=True)
class SpoolChanges:
    """Segments by stream and start; facts that are new or were replaced; and what has gone."""

    sealed: tuple[SealedSegment, ...]
    sealed_gone: frozenset[Path]
    facts: Mapping[Path, RunFact | Gap]
    facts_gone: frozenset[Path]


class SpoolWatch:
    """One reader's memory of a spool. Each change is told once, so whoever asks must keep what it cannot use yet."""

    def __init__(self, spool: WatchedSpool) -> None:
        self._spool = spool
        self._names: set[str] = set()
        self._stamps: dict[str, FactStamp] = {}

    def look(self) -> SpoolChanges:
        """What changed since the last look. Blocks."""
        sealed_path, facts_path = self._spool.sealed_path, self._spool.facts_path
        names = self._spool.sealed_names()  # before the facts: a segment's run was stated before it was sealed
        found = (self._spool.sealed_named(name) for name in names - self._names)
        sealed = sorted((s for s in found if s is not None), key=lambda s: (str(s.stream_id), s.start_ns, s.number))
        stamps = self._spool.fact_stamps()
        changed = {
            name: self._spool.fact_named(name) for name, stamp in stamps.items() if self._stamps.get(name) != stamp
        }
        facts = {facts_path / name: fact for name, fact in changed.items() if fact is not None}
        changes = SpoolChanges(
            tuple(sealed),
            frozenset(sealed_path / name for name in self._names - names),
            facts,
            frozenset(facts_path / name for name in self._stamps.keys() - stamps.keys()),
        )
        self._names = names
        self._stamps = {name: stamp for name, stamp in stamps.items() if changed.get(name, stamp) is not None}
        return changes
