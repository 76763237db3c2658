"""Facts as JSON: runs and gaps (files of the spool), and a segment's facts (kept with its file).

Strict both ways: what `encode_*` writes `parse_*` reads back equal; anything else (a field too many, too few, of another
type or out of range, another version) is `MalformedError`. Bounded by `MAX_BYTES`. Knows nothing of files.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_type_hints
from uuid import UUID

from vms.errors import MalformedError
from vms.model import Anchor, Gap, RunInfo, SegmentFacts

VERSION = 1
MAX_BYTES = 256 * 1024
MAX_TEXT = 1000
MAX_ANCHORS = 1000

_T = TypeVar("_T", RunInfo, Anchor, Gap, SegmentFacts)


@dataclass(frozen=True, slots=True)
class RunFact:
    """A run and what tied its media time to the clocks, oldest first.

    `last_end_ns`: while the run is open, where the last of its sealed segments ends; that segment may be archived and
    gone from the spool. None: nothing is sealed yet, the run has ended, or the fact is from before there was this field.
    """

    run: RunInfo
    anchors: tuple[Anchor, ...] = ()
    last_end_ns: int | None = None


def encode_run(fact: RunFact) -> bytes:
    body = {"version": VERSION, "run": _values(fact.run), "anchors": [_values(a) for a in fact.anchors]}
    return _dump(body if fact.last_end_ns is None else {**body, "last_end_ns": fact.last_end_ns})


def encode_gap(gap: Gap) -> bytes:
    return _dump({"version": VERSION, "gap": _values(gap)})


def encode_segment(facts: SegmentFacts) -> bytes:
    return _dump({"version": VERSION, "segment": _values(facts)})


def parse_run(data: bytes) -> RunFact:
    """Raises `MalformedError`."""
    body = _load(data, "run fact", {"run", "anchors"}, optional=frozenset({"last_end_ns"}))
    anchors = body["anchors"]
    if not isinstance(anchors, list) or len(anchors) > MAX_ANCHORS:
        raise MalformedError("run fact", "anchors are not a short list")
    run = _build(RunInfo, body["run"], "run fact")
    if run.end_ns is not None and run.end_ns < run.start_ns:
        raise MalformedError("run fact", "ends before it starts")
    if "last_end_ns" in body:
        _read(int, body["last_end_ns"], "run fact", "last_end_ns")
        if body["last_end_ns"] < run.start_ns:
            raise MalformedError("run fact", "its last segment ends before it starts")
    return RunFact(run, tuple(_build(Anchor, a, "run fact") for a in anchors), body.get("last_end_ns"))


def parse_gap(data: bytes) -> Gap:
    """Raises `MalformedError`."""
    gap = _build(Gap, _load(data, "gap fact", {"gap"})["gap"], "gap fact")
    if gap.end_ns is not None and gap.end_ns < gap.start_ns:
        raise MalformedError("gap fact", "ends before it starts")
    return gap


def parse_segment(data: bytes) -> SegmentFacts:
    """Raises `MalformedError`."""
    return _build(SegmentFacts, _load(data, "segment facts", {"segment"})["segment"], "segment facts")


def _dump(body: dict[str, object]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def _load(data: bytes, where: str, keys: set[str], optional: frozenset[str] = frozenset()) -> dict[str, Any]:
    if len(data) > MAX_BYTES:
        raise MalformedError(where, f"{len(data)} bytes are too many")
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise MalformedError(where, "is not JSON") from error
    if not isinstance(body, dict) or body.keys() - optional != keys | {"version"}:
        raise MalformedError(where, f"must have exactly version, {', '.join(sorted(keys))}")
    if body["version"] != VERSION or isinstance(body["version"], bool):
        raise MalformedError(where, "is of another version")
    return body


def _values(value: RunInfo | Anchor | Gap | SegmentFacts) -> dict[str, object]:
    cls: Any = type(value)
    return {name: _plain(getattr(value, name)) for name in _types(cls)}


def _plain(value: object) -> object:
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    return value


@cache
def _types(cls: type) -> dict[str, tuple[type, bool]]:
    """Field name → (type, whether it may be null), in order."""
    hints = get_type_hints(cls)
    plan: dict[str, tuple[type, bool]] = {}
    for f in fields(cls):
        hint = hints[f.name]
        if isinstance(hint, UnionType):
            (inner,) = (t for t in get_args(hint) if t is not NoneType)
            plan[f.name] = (inner, True)
        else:
            plan[f.name] = (hint, False)
    return plan


def _build(cls: type[_T], values: object, where: str) -> _T:
    kind_of: Any = cls
    plan = _types(kind_of)
    if not isinstance(values, dict) or values.keys() != plan.keys():
        raise MalformedError(where, f"must have exactly {', '.join(plan)}")
    read = {
        name: None if nullable and values[name] is None else _read(kind, values[name], where, name)
        for name, (kind, nullable) in plan.items()
    }
    built: _T = kind_of(**read)
    return built


def _read(kind: type, value: object, where: str, name: str) -> object:
    try:
        if kind is UUID and isinstance(value, str) and len(value) == 36:
            return UUID(value)
        if kind is bytes and isinstance(value, str) and len(value) <= 2 * MAX_TEXT:
            return bytes.fromhex(value)
        if issubclass(kind, StrEnum) and isinstance(value, str):
            return kind(value)
    except ValueError as error:
        raise MalformedError(where, f"{name} is not a {kind.__name__}") from error
    if kind is bool and isinstance(value, bool):
        return value
    if kind is int and isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63:
        return value
    if kind is str and isinstance(value, str) and len(value) <= MAX_TEXT:
        return value
    raise MalformedError(where, f"{name} is not a {kind.__name__} in range")
