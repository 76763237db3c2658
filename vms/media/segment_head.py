"""The two documents a segment says about itself: the head before its first fragment, the trailer at its end.

Owns their fields and their canonical JSON (docs/reference/segment.md); boxes around them stand in `segment_writer` and
`segment_reader`. Invariants: reading accepts exactly what writing can produce, byte for byte; everything else is a
MalformedError. Times here are in ticks of the run's media time or UTC nanoseconds; nothing is a float.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn, TypeVar
from uuid import UUID

from vms.errors import MalformedError
from vms.media.digest import DIGEST_BYTES, canonical_json
from vms.media.sample_entry import SampleEntry
from vms.model import ClockMapping, Codec, CodecConfig, Origin, RunClock

HEAD_UUID = UUID("5e6d1f0a-7b3c-4d52-9a61-3d0c8f2e4b71").bytes
TRAILER_UUID = UUID("5e6d1f0a-7b3c-4d52-9a61-3d0c8f2e4b72").bytes
FORMAT_VERSION = 1

MAX_HEAD_BYTES = 64 << 10
MAX_TRAILER_BYTES = 16 << 20
MAX_TICKS = 1 << 62
MAX_COUNT = 1 << 32
MAX_CLOCK_HZ = 1_000_000

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ClockState:
    """What the recorder knew of the clocks when it closed the segment. None: not known."""

    ntp_synchronised: bool | None = None
    ntp_source: str = ""
    ntp_offset_ns: int | None = None
    camera_offset_ns: int | None = None  # the camera's wall clock less ours
    uncertainty_ns: int | None = None  # of the mapping


@dataclass(frozen=True, slots=True)
class SegmentHead:
    """What is known when a segment begins."""

    stream_id: UUID
    run_id: UUID
    number: int  # from 0 within the run
    origin: Origin
    host: str
    epoch: int
    clock: RunClock
    mapping: ClockMapping
    run_start_ticks: int  # media time at which the run begins
    base_ticks: int  # media time that is 0 on the file's own timeline: the decoding time of its first unit
    start_ticks: int  # media time of the first unit in output order
    independent: bool
    previous_seal: bytes


@dataclass(frozen=True, slots=True)
class SegmentTrailer:
    """What is known when a segment ends."""

    start_ticks: int
    end_ticks: int
    start_ns: int
    end_ns: int
    units: int
    key_units: int
    damaged_units: int
    damaged_ns: tuple[tuple[int, int], ...]  # half-open spans of capture time, in order of decoding
    group_sizes: tuple[int, ...]  # units in each group; empty when no digests were reckoned
    group_digests: tuple[bytes, ...]
    previous_seal: bytes
    clock_state: ClockState


def encode_head(head: SegmentHead, config: CodecConfig) -> bytes:
    """The head's JSON."""
    return canonical_json(
        {
            "base_ticks": head.base_ticks,
            "clock": {
                "hz": head.mapping.clock_hz,
                "kind": str(head.clock),
                "ns": head.mapping.ns,
                "rate_ppb": head.mapping.rate_ppb,
                "ticks": head.mapping.ticks,
            },
            "codec": {
                "channels": config.channels,
                "height": config.height,
                "name": str(config.codec),
                "nominal_millihertz": round(config.nominal_fps * 1000),
                "profile": config.profile,
                "reorder_depth": config.reorder_depth,
                "rfc6381": config.rfc6381,
                "width": config.width,
            },
            "epoch": head.epoch,
            "host": head.host,
            "independent": head.independent,
            "number": head.number,
            "origin": str(head.origin),
            "previous_seal": head.previous_seal.hex(),
            "run": str(head.run_id),
            "run_start_ticks": head.run_start_ticks,
            "start_ticks": head.start_ticks,
            "stream": str(head.stream_id),
            "version": FORMAT_VERSION,
        }
    )


def decode_head(document: bytes, entry: SampleEntry) -> tuple[SegmentHead, CodecConfig]:
    """The head, and the codec configuration that it and the sample entry state together. Raises MalformedError."""
    top = _parse(document, "segment head")
    top.version()
    clock, codec = top.child("clock"), top.child("codec")
    hz = clock.integer("hz", 1, MAX_CLOCK_HZ)
    config = CodecConfig(
        codec=codec.word("name", Codec),
        clock_hz=hz,
        parameter_sets=entry.parameter_sets,
        width=codec.integer("width", 0, 0xFFFF),
        height=codec.integer("height", 0, 0xFFFF),
        profile=codec.text("profile"),
        rfc6381=codec.text("rfc6381"),
        reorder_depth=codec.integer("reorder_depth", 0, 16),
        nominal_fps=codec.integer("nominal_millihertz", 0, MAX_COUNT) / 1000,
        channels=codec.integer("channels", 0, 0xFFFF),
        extradata=entry.extradata,
    )
    codec.done()
    if config.codec is not entry.codec:
        raise MalformedError("segment head", f"says {config.codec} over a sample entry of {entry.codec}")
    mapping = ClockMapping(
        ticks=clock.ticks("ticks"),
        ns=clock.ticks("ns"),
        clock_hz=hz,
        rate_ppb=clock.integer("rate_ppb", -(10**9) + 1, 10**9),
    )
    head = SegmentHead(
        stream_id=top.word("stream", UUID),
        run_id=top.word("run", UUID),
        number=top.integer("number", 0, MAX_COUNT),
        origin=top.word("origin", Origin),
        host=top.text("host"),
        epoch=top.integer("epoch", 0, MAX_TICKS),
        clock=clock.word("kind", RunClock),
        mapping=mapping,
        run_start_ticks=top.ticks("run_start_ticks"),
        base_ticks=top.ticks("base_ticks"),
        start_ticks=top.ticks("start_ticks"),
        independent=top.boolean("independent"),
        previous_seal=top.digest("previous_seal"),
    )
    clock.done()
    top.done()
    return head, config


def encode_trailer(trailer: SegmentTrailer) -> bytes:
    """The trailer's JSON; the seal follows it in the box, because it covers it."""
    state = trailer.clock_state
    return canonical_json(
        {
            "clock_state": {
                "camera_offset_ns": state.camera_offset_ns,
                "ntp_offset_ns": state.ntp_offset_ns,
                "ntp_source": state.ntp_source,
                "ntp_synchronised": state.ntp_synchronised,
                "uncertainty_ns": state.uncertainty_ns,
            },
            "damaged_ns": [list(span) for span in trailer.damaged_ns],
            "damaged_units": trailer.damaged_units,
            "end_ns": trailer.end_ns,
            "end_ticks": trailer.end_ticks,
            "group_digests": [digest.hex() for digest in trailer.group_digests],
            "group_sizes": list(trailer.group_sizes),
            "key_units": trailer.key_units,
            "previous_seal": trailer.previous_seal.hex(),
            "start_ns": trailer.start_ns,
            "start_ticks": trailer.start_ticks,
            "units": trailer.units,
            "version": FORMAT_VERSION,
        }
    )


def decode_trailer(document: bytes) -> SegmentTrailer:
    """Raises MalformedError."""
    top = _parse(document, "segment trailer")
    top.version()
    state = top.child("clock_state")
    clock_state = ClockState(
        ntp_synchronised=state.optional("ntp_synchronised", state.boolean),
        ntp_source=state.text("ntp_source"),
        ntp_offset_ns=state.optional("ntp_offset_ns", state.ticks),
        camera_offset_ns=state.optional("camera_offset_ns", state.ticks),
        uncertainty_ns=state.optional("uncertainty_ns", state.ticks),
    )
    state.done()
    trailer = SegmentTrailer(
        start_ticks=top.ticks("start_ticks"),
        end_ticks=top.ticks("end_ticks"),
        start_ns=top.ticks("start_ns"),
        end_ns=top.ticks("end_ns"),
        units=top.integer("units", 0, MAX_COUNT),
        key_units=top.integer("key_units", 0, MAX_COUNT),
        damaged_units=top.integer("damaged_units", 0, MAX_COUNT),
        damaged_ns=tuple(top.spans("damaged_ns")),
        group_sizes=tuple(top.integers("group_sizes", 1, MAX_COUNT)),
        group_digests=tuple(top.digests("group_digests")),
        previous_seal=top.digest("previous_seal"),
        clock_state=clock_state,
    )
    top.done()
    sizes = trailer.group_sizes
    if len(sizes) != len(trailer.group_digests) or (sizes and sum(sizes) != trailer.units):
        raise MalformedError("segment trailer", "group sizes, digests and the number of units disagree")
    if trailer.end_ticks < trailer.start_ticks or trailer.end_ns < trailer.start_ns:
        raise MalformedError("segment trailer", "ends before it starts")
    return trailer


def _parse(document: bytes, where: str) -> _Document:
    try:
        values = json.loads(document)
        canonical = isinstance(values, dict) and canonical_json(values) == document
    except (ValueError, RecursionError) as error:
        raise MalformedError(where, "is not JSON") from error
    if not canonical:
        raise MalformedError(where, "is not a canonical JSON object")
    return _Document(values, where)


class _Document:
    """Takes typed values out of a JSON object; `done` refuses what nobody took."""

    def __init__(self, values: dict[str, object], where: str) -> None:
        self._values = values
        self._where = where

    def _bad(self, key: str) -> NoReturn:
        raise MalformedError(self._where, f"{key!r} is missing or not what belongs there")

    def version(self) -> None:
        version = self.integer("version", 1, MAX_COUNT)
        if version != FORMAT_VERSION:
            raise MalformedError(self._where, f"version {version} is not known")

    def done(self) -> None:
        if self._values:
            raise MalformedError(self._where, f"unknown keys: {sorted(self._values)[:3]}"[:200])

    def child(self, key: str) -> _Document:
        value = self._values.pop(key, None)
        return _Document(value, self._where) if isinstance(value, dict) else self._bad(key)

    def integer(self, key: str, low: int, high: int) -> int:
        value = self._values.pop(key, None)
        return value if type(value) is int and low <= value <= high else self._bad(key)

    def ticks(self, key: str) -> int:
        return self.integer(key, -MAX_TICKS, MAX_TICKS)

    def boolean(self, key: str) -> bool:
        value = self._values.pop(key, None)
        return value if isinstance(value, bool) else self._bad(key)

    def text(self, key: str) -> str:
        value = self._values.pop(key, None)
        return value if isinstance(value, str) and len(value) <= 1000 else self._bad(key)

    def word(self, key: str, kind: Callable[[str], _T]) -> _T:
        """A text that `kind` takes and gives back the same."""
        value = self.text(key)
        try:
            parsed = kind(value)
        except ValueError:
            self._bad(key)
        return parsed if str(parsed) == value else self._bad(key)

    def optional(self, key: str, read: Callable[[str], _T]) -> _T | None:
        if key in self._values and self._values[key] is None:
            del self._values[key]
            return None
        return read(key)

    def digest(self, key: str) -> bytes:
        return self._digest(key, self._values.pop(key, None))

    def _digest(self, key: str, value: object) -> bytes:
        if not isinstance(value, str) or len(value) != 2 * DIGEST_BYTES:
            self._bad(key)
        try:
            digest = bytes.fromhex(value)
        except ValueError:
            self._bad(key)
        return digest if digest.hex() == value else self._bad(key)

    def _list(self, key: str) -> list[object]:
        value = self._values.pop(key, None)
        return value if isinstance(value, list) else self._bad(key)

    def digests(self, key: str) -> list[bytes]:
        return [self._digest(key, value) for value in self._list(key)]

    def integers(self, key: str, low: int, high: int) -> list[int]:
        values: list[int] = []
        for value in self._list(key):
            if type(value) is not int or not low <= value <= high:
                self._bad(key)
            values.append(value)
        return values

    def spans(self, key: str) -> list[tuple[int, int]]:
        spans: list[tuple[int, int]] = []
        for value in self._list(key):
            match value:
                case [int(start), int(end)] if (
                    type(start) is type(end) is int and -MAX_TICKS <= start < end <= MAX_TICKS
                ):
                    spans.append((start, end))
                case _:
                    self._bad(key)
        return spans
