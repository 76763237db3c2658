"""Which run and gap facts of the spool the catalogue has been told, and which hours' journals must still state them.

Owns that memory only: no files, no rows, no objects. It is rebuilt from the spool after a restart, because a fact file
stays there until the catalogue and every journal it belongs into have it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from uuid import UUID

from storage.facts import RunFact
from storage.journal import hour_of, statements_of_run
from vms.model import Gap

Fact = RunFact | Gap


class FactLedger:
    """`touch(stream_id, ns)` hears of every hour that has something new to state."""

    def __init__(self, touch: Callable[[UUID, int], None]) -> None:
        self._touch = touch
        self._told: dict[Path, Fact] = {}
        self._untold: dict[Path, Fact] = {}
        self._unstated: dict[
            Path, set[int]
        ] = {}  # file → hours; the file may go when none is left and the fact is final
        self._run_ids: set[UUID] = set()

    def update(self, changed: Mapping[Path, Fact], gone: Iterable[Path]) -> None:
        """Take in what changed in the spool. A fact has something to tell when it is new or its end is."""
        for path in gone:
            fact = self._told.pop(path, None)
            if isinstance(fact, RunFact):
                self._run_ids.discard(fact.run.id)
            self._untold.pop(path, None)
            self._unstated.pop(path, None)
        for path, fact in changed.items():
            before = self._told.get(path)
            if before is None or _end(before) != _end(fact):
                self._untold[path] = fact
            else:
                self._told[path] = fact  # more anchors, at most
                self._untold.pop(path, None)

    def untold(self) -> list[tuple[Path, Fact]]:
        """What the catalogue must still be told."""
        return list(self._untold.items())

    def tell(self, path: Path, fact: Fact) -> None:
        """The catalogue has been told `fact`."""
        before = self._told.get(path)
        self._told[path] = fact
        self._untold.pop(path, None)
        if isinstance(fact, RunFact):
            stream_id = fact.run.stream_id
            self._run_ids.add(fact.run.id)
            hours = {hour for hour, said in statements_of_run(fact) if before is None or said.run.end_ns is not None}
        else:
            stream_id = fact.stream_id
            hours = set() if fact.end_ns is None else {hour_of(fact.end_ns)}
        self._unstated.setdefault(path, set()).update(hours)
        for hour in hours:
            self._touch(stream_id, hour)

    def knows_run(self, run_id: UUID) -> bool:
        return run_id in self._run_ids

    def stream_ids(self) -> set[UUID]:
        """Streams with a run in the spool."""
        return {fact.run.stream_id for fact in self._told.values() if isinstance(fact, RunFact)}

    def of_stream(self, stream_id: UUID) -> dict[Path, Fact]:
        """Everything told of a stream, to be stated."""
        return {path: fact for path, fact in self._told.items() if _stream(fact) == stream_id}

    def state(self, hour_ns: int, facts: Mapping[Path, Fact]) -> list[Path]:
        """The journal of `hour_ns` states what of `facts` belongs into it. Returns the files nobody needs any more."""
        for path in facts:
            self._unstated.get(path, set()).discard(hour_ns)
        return [
            path
            for path in facts
            if path in self._told and _end(self._told[path]) is not None and not self._unstated.get(path)
        ]


def _end(fact: Fact) -> int | None:
    return fact.run.end_ns if isinstance(fact, RunFact) else fact.end_ns


def _stream(fact: Fact) -> UUID:
    return fact.run.stream_id if isinstance(fact, RunFact) else fact.stream_id
