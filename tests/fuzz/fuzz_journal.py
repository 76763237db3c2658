"""Fuzz target: journals out of the object store; what parses is canonical, and parts of it parse again."""

from __future__ import annotations

from uuid import UUID

from storage.catalogue.values import DeletedSegment, Expectation, Hold, StreamAbout
from storage.facts import RunFact
from storage.journal import Journal, SealLine, encode_journal, first_part, hour_of, parse_journal, without
from tests.support.encoded import RUN
from vms.errors import MalformedError
from vms.model import Camera, Gap, GapReason, LegalProfile, Stream, StreamKind
from vms.timeline import TimeRange


def fuzz(data: bytes) -> None:
    try:
        journal = parse_journal(data)
    except MalformedError:
        return
    assert encode_journal(journal) == data
    assert without(journal, [journal]).is_empty
    if not journal.is_empty:
        part = first_part(journal, 5000)
        assert parse_journal(encode_journal(part)) == part


def seeds() -> list[bytes]:
    hour = hour_of(RUN.start_ns)
    gap = Gap(UUID(int=1), RUN.stream_id, hour, hour + 20, GapReason.STALLED)
    line = SealLine(RUN.id, 0, hour, hour + 1, 2, bytes(32), bytes(32))
    empty = Journal(RUN.stream_id, hour, "r1")
    return [
        encode_journal(empty),
        encode_journal(Journal(RUN.stream_id, hour, "r1", (RunFact(RUN),), (gap,), (line,))),
        encode_journal(Journal(RUN.stream_id, hour, "r1", (), (gap,), (), _about(), hour)),
        encode_journal(Journal(RUN.stream_id, hour, "r1", deletions=(_gone(hour),))),
    ]


def _gone(hour: int) -> DeletedSegment:
    return DeletedSegment(RUN.stream_id, RUN.id, 3, 1, 2, 3, bytes(32), bytes(32), "30 days", hour, hour + 1)


def _about() -> StreamAbout:
    camera = Camera(UUID(int=7), 12, "Rynek", UUID(int=8), (), lat=50.06)
    stream = Stream(RUN.stream_id, camera.id, StreamKind.MAIN, "rtsp://10.0.0.1/", True)
    hold = Hold(UUID(int=9), frozenset({RUN.stream_id}), TimeRange(1, 9), "sprawa", "kowalski", 1, 2)
    wanted = (Expectation(RUN.stream_id, 1, 2, GapReason.DISABLED), Expectation(RUN.stream_id, 2, None))
    others = (Stream(UUID(int=10), camera.id, StreamKind.SUB, "rtsp://10.0.0.1/sub", False),)
    return StreamAbout(camera, stream, LegalProfile(UUID(int=8), "straż", "art. 11", 30), wanted, (hold,), 7, others)
