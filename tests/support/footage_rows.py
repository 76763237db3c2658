"""Values for tests of the catalogue: cameras, runs, segments and copies that fit together."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from uuid import UUID, uuid4

from storage.catalogue import Catalogue, Copy, Registration, StoreInfo, StoreKind
from storage.objects.base import segment_key
from vms.model import Camera, Codec, GapReason, Origin, RunClock, RunInfo, SegmentFacts, Stream, StreamKind

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
T0 = 1_780_000_000 * SECOND // DAY * DAY  # midnight UTC of a day in 2026

SPOOL = StoreInfo("spool-kamera1", StoreKind.SPOOL, "kamera1")
STORE = StoreInfo("main", StoreKind.S3)


class PlainSealer:
    """Reversible and visible: shows that blobs, not texts, are stored, and under which context."""

    def seal(self, plain: bytes, context: str) -> bytes:
        return b"sealed:" + context.encode() + b":" + plain[::-1]

    def unseal(self, sealed: bytes, context: str) -> bytes:
        prefix = b"sealed:" + context.encode() + b":"
        assert sealed.startswith(prefix)
        return sealed[len(prefix) :][::-1]


def camera(number: int, profile_id: UUID, name: str = "", *, sub: bool = False, **fields: object) -> Camera:
    identity = uuid4()
    streams = [Stream(uuid4(), identity, StreamKind.MAIN, f"rtsp://10.0.0.{number}/main", True)]
    if sub:
        streams.append(Stream(uuid4(), identity, StreamKind.SUB, f"rtsp://10.0.0.{number}/sub", False))
    plain = Camera(identity, number, name or f"Kamera {number}", profile_id, tuple(streams))
    return replace(plain, **fields)  # type: ignore[arg-type]


def run(stream_id: UUID, start_ns: int = T0, origin: Origin = Origin.LIVE, **fields: object) -> RunInfo:
    plain = RunInfo(uuid4(), stream_id, origin, "kamera1", 0, RunClock.ARRIVAL, start_ns)
    return replace(plain, **fields)  # type: ignore[arg-type]


def facts(of: RunInfo, number: int, start_ns: int, length_ns: int = MINUTE, **fields: object) -> SegmentFacts:
    text = f"{of.id}-{number}".encode()
    plain = SegmentFacts(
        stream_id=of.stream_id,
        run_id=of.id,
        number=number,
        start_ns=start_ns,
        end_ns=start_ns + length_ns,
        clock_hz=90_000,
        duration_ticks=length_ns * 90_000 // SECOND,
        size_bytes=30_000_000 + number,
        digest=hashlib.sha256(text).digest(),
        seal=hashlib.sha256(b"seal" + text).digest(),
        units=1500,
        key_units=30,
        damaged_units=0,
        independent=True,
        codec=Codec.H264,
        width=1920,
        height=1080,
    )
    return replace(plain, **fields)  # type: ignore[arg-type]


def spool_copy(of: SegmentFacts) -> Copy:
    return Copy(
        SPOOL.name, f"{of.stream_id}_{of.start_ns}-{of.run_id}-{of.number}.mp4", of.size_bytes, of.digest
    )  # fmt: skip


def store_copy(of: SegmentFacts, store: str = STORE.name) -> Copy:
    key = segment_key(of.stream_id, of.run_id, of.number, of.start_ns)
    return Copy(store, key, of.size_bytes, of.digest, version="v1")


async def add_camera(catalogue: Catalogue, number: int = 1, *, at_ns: int = T0, **fields: object) -> Camera:
    profile = await catalogue.default_profile()
    return await catalogue.add_camera(camera(number, profile.id, **fields), at_ns=at_ns)  # type: ignore[arg-type]


async def record(
    catalogue: Catalogue,
    of: RunInfo,
    count: int,
    *,
    start_ns: int | None = None,
    length_ns: int = MINUTE,
    archived: bool = False,
    first: int = 0,
    continuations: frozenset[int] = frozenset(),
) -> list[SegmentFacts]:
    """Register `count` adjoining segments, in the spool or, `archived`, in the store."""
    begin = of.start_ns if start_ns is None else start_ns
    made = [
        facts(of, first + i, begin + i * length_ns, length_ns, independent=first + i not in continuations)
        for i in range(count)
    ]
    place = store_copy if archived else spool_copy
    await catalogue.register_many([Registration(f, place(f), of) for f in made])
    return made


def ended(of: RunInfo, end_ns: int, reason: GapReason = GapReason.UNREACHABLE) -> RunInfo:
    return replace(of, end_ns=end_ns, end_reason=reason)
