"""Fuzz target: fact files of runs, gaps and segments; what parses encodes back to what parses equal."""

from __future__ import annotations

from dataclasses import fields
from uuid import UUID

from storage.facts import RunFact, encode_gap, encode_run, encode_segment, parse_gap, parse_run, parse_segment
from tests.support.encoded import RUN
from vms.errors import MalformedError
from vms.model import Anchor, Codec, Gap, GapReason, SegmentFacts


def fuzz(data: bytes) -> None:
    for parse, encode in ((parse_run, encode_run), (parse_gap, encode_gap), (parse_segment, encode_segment)):
        try:
            fact = parse(data)
        except MalformedError:
            continue
        assert parse(encode(fact)) == fact  # type: ignore[operator]


def seeds() -> list[bytes]:
    anchor = Anchor(*(1 for _ in fields(Anchor)))
    gap = Gap(UUID(int=1), RUN.stream_id, 10, 20, GapReason.STALLED)
    segment = SegmentFacts(
        RUN.stream_id, RUN.id, 0, 1, 2, 90_000, 3, 4, bytes(32), bytes(32), 5, 1, 0, True, Codec.H264, 160, 96
    )
    return [encode_run(RunFact(RUN)), encode_run(RunFact(RUN, (anchor,))), encode_gap(gap), encode_segment(segment)]
