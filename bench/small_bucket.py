"""A bucket of many small real segments with their journals, and the catalogue that a rebuild must give back.

Each object is a whole sealed segment of two real pictures, with digests and a seal chained to the one before. A folder
store is filled past its own flushing (the files and their digest attributes are what it would have written); an S3
store through its own puts.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import json
import os
import re
import shutil
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import av

from bench.processes import console
from storage.catalogue import Catalogue, Copy, JournalEntry, Registration, StoreInfo, migrate, sqlite_url
from storage.facts import RunFact
from storage.journal import HOUR_NS, Journal, SealLine, encode_journal, hour_of, statements_of_run
from storage.objects import ObjectStore, journal_key, open_store, segment_key
from storage.objects.embedded import start_minio, start_seaweedfs
from storage.stores import object_store_info
from vms.media import h264
from vms.media.digest import first_seal
from vms.media.segment_head import ClockState, SegmentHead
from vms.media.segment_writer import SegmentWriter
from vms.model import (
    AccessUnit,
    Camera,
    ClockMapping,
    CodecConfig,
    Gap,
    GapReason,
    Origin,
    RunClock,
    RunInfo,
    SegmentFacts,
    Stream,
    StreamKind,
)
from vms.settings import local_host_name
from vms.site import Site

STORES = ("folder", "minio", "seaweedfs")
STREAMS = 16
SECOND = 1_000_000_000
LENGTH_NS = 60 * SECOND
GAP_NS = 30 * SECOND
RUN_SEGMENTS = 360
T0 = 1_790_000_000 * SECOND // HOUR_NS * HOUR_NS
PUTS = 8
_DIGEST_ATTRIBUTE = "user.sha256"
_COMPARED = {
    "segments": """SELECT r.id, s.number, st.id, s.start_ns, s.end_ns, s.duration_ticks, s.clock_hz, s.flags, s.width,
        s.height, s.size_bytes, s.digest, s.seal, p.name, c.object_key, c.version, c.size_bytes, c.digest, c.state
        FROM segments s JOIN runs r ON r.key = s.run_key JOIN streams st ON st.key = s.stream_key
        JOIN copies c ON c.arrival = s.arrival JOIN stores p ON p.key = c.store_key ORDER BY r.id, s.number""",
    "runs": """SELECT r.id, st.id, r.origin, r.host, r.epoch, r.clock, r.start_ns, r.end_ns, r.end_reason
        FROM runs r JOIN streams st ON st.key = r.stream_key ORDER BY r.id""",
    "gaps": """SELECT g.id, st.id, g.start_ns, g.end_ns, g.reason, g.detail
        FROM gaps g JOIN streams st ON st.key = g.stream_key ORDER BY g.id""",
    "spans": """SELECT st.id, s.start_ns, s.damaged, s.end_ns
        FROM spans s JOIN streams st ON st.key = s.stream_key ORDER BY st.id, s.start_ns, s.damaged""",
    "journals": """SELECT st.id, j.hour_ns, j.host, j.object_key, j.digest, j.written_ns
        FROM journals j JOIN streams st ON st.key = j.stream_key ORDER BY j.object_key""",
    "cameras": "SELECT id, number, name, profile_id, enabled, retired_ns FROM cameras ORDER BY id",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bucket:
    """A store that is filled, and the catalogue that knows it."""

    folder: Path
    original: Path
    settings: str
    seconds: float | None

    def fresh_site(self) -> Path:
        """A data folder with these settings and no catalogue."""
        data = self.folder / "again"
        shutil.rmtree(data, ignore_errors=True)
        _site(data, self.settings)
        return data


@contextlib.contextmanager
def bucket(folder: Path, objects: int, store: str) -> Iterator[Bucket]:
    """The bucket in `folder`, made unless it is there already. An S3 server has another port each time: made anew."""
    base = folder / f"bucket-{store}-{objects}"
    if store != "folder":
        shutil.rmtree(base, ignore_errors=True)
    base.mkdir(exist_ok=True)
    with contextlib.ExitStack() as undo:
        if store == "folder":
            settings = f'[store]\nkind = "folder"\npath = "{base / "objects"}"\n'
        else:
            (base / "server").mkdir()
            start = start_minio if store == "minio" else start_seaweedfs
            at = undo.enter_context(start(base / "server")).location
            settings = (
                f'[store]\nkind = "s3"\nendpoint = "{at.netloc}"\nbucket = "{at.bucket}"\ntls = false\n'
                f'access_key = "{at.access_key}"\nsecret_key = "{at.secret_key}"\n'
            )
        mark, seconds = base / "made", None
        if not mark.exists():
            began = time.monotonic()
            asyncio.run(_fill(base, settings, objects))
            seconds = round(time.monotonic() - began, 1)
            mark.write_text(json.dumps(objects))
        yield Bucket(base, base / "original" / "catalogue.db", settings, seconds)


def _site(data: Path, settings: str) -> Site:
    data.mkdir(mode=0o700)
    toml = data / "site.toml"
    toml.write_text(settings + '[log]\nlevel = "warning"\n')
    toml.chmod(0o600)
    return Site.create(data, {})


def pictures() -> tuple[CodecConfig, tuple[bytes, bytes]]:
    """A key picture and one that refers to it, 64 by 64, encoded once."""
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt, encoder.thread_count = 64, 64, "yuv420p", 1
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency"}
    encoder.framerate = 25  # type: ignore[assignment]
    packets = []
    for shade in (60, 61):
        frame = av.VideoFrame(64, 64, "yuv420p")
        for plane in frame.planes:
            plane.update(bytes([shade]) * plane.buffer_size)
        frame.pts = shade
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    # Annex B (H.264 Annex B): NAL units behind start codes of three or four bytes
    nals = [[n for n in re.split(rb"\x00*\x00\x00\x01", bytes(packet)) if n] for packet in packets]
    config = h264.make_config([nal for nal in nals[0] if nal[0] & 31 in (7, 8)])
    bodies = [b"".join(len(n).to_bytes(4, "big") + n for n in found if n[0] & 31 not in (7, 8, 9)) for found in nals]
    return config, (bodies[0], bodies[1])


def segment(
    run: RunInfo, number: int, previous: bytes, config: CodecConfig, bodies: Sequence[bytes]
) -> tuple[bytes, SegmentFacts]:
    """One sealed segment."""
    ticks = LENGTH_NS * 9 // 100_000
    start = number * ticks
    mapping = ClockMapping(0, run.start_ns, 90_000)
    head = SegmentHead(
        run.stream_id, run.id, number, run.origin, run.host, run.epoch, run.clock, mapping, 0, start, start, True, previous
    )  # fmt: skip
    writer = SegmentWriter(head, config)
    step = ticks // len(bodies)
    units = [AccessUnit(start + n * step, body, n == 0, config, 0) for n, body in enumerate(bodies)]
    buffers = [*writer.begin(), *writer.fragment([(unit, unit.pts, step) for unit in units])]
    last, facts = writer.finish(start + ticks, ClockState())
    return b"".join([*buffers, *last]), facts


async def _fill(base: Path, settings: str, objects: int) -> None:
    shutil.rmtree(base / "original", ignore_errors=True)
    shutil.rmtree(base / "objects", ignore_errors=True)
    site = _site(base / "original", settings)
    info = object_store_info(site.settings.store)
    await migrate(site.catalogue_url)
    store = open_store(site.settings.store)
    await store.check()
    async with Catalogue(sqlite_url(base / "original" / "catalogue.db")) as catalogue:
        await catalogue.put_store(info)
        profile = await catalogue.default_profile()
        streams = []
        each = -(-objects // STREAMS)
        for number in range(1, -(-objects // each) + 1):
            camera_id = uuid4()
            main = Stream(uuid4(), camera_id, StreamKind.MAIN, f"rtsp://10.0.0.{number}/", True)
            await catalogue.add_camera(Camera(camera_id, number, f"Kamera {number}", profile.id, (main,)), at_ns=T0)
            streams.append(main.id)
        filling = _Filling(catalogue, store, info, base / "objects" if settings.count('"folder"') else None)
        for place, stream in enumerate(streams):
            await filling.stream(stream, min(each, objects - place * each))
            console.print(f"{filling.made:,} objects")
    await store.close()


class _Filling:
    """Puts one stream after another into the store and the catalogue."""

    def __init__(self, catalogue: Catalogue, store: ObjectStore, info: StoreInfo, folder: Path | None) -> None:
        self._catalogue, self._store, self._info, self._folder = catalogue, store, info, folder
        self._config, self._bodies = pictures()
        self._host = local_host_name()
        self.made = 0

    async def stream(self, stream_id: UUID, segments: int) -> None:
        start_ns, left = T0, segments
        runs: list[RunFact] = []
        gaps: list[Gap] = []
        lines: list[SealLine] = []
        while left > 0:
            count = min(RUN_SEGMENTS, left)
            end_ns = start_ns + count * LENGTH_NS
            plain = RunInfo(uuid4(), stream_id, Origin.LIVE, self._host, 0, RunClock.ARRIVAL, start_ns)
            run = replace(plain, end_ns=end_ns, end_reason=GapReason.STALLED)
            lines += await self._run(run, count)
            runs.append(RunFact(run))
            gaps.append(Gap(uuid4(), stream_id, end_ns, end_ns + GAP_NS, GapReason.STALLED))
            start_ns, left = end_ns + GAP_NS, left - count
        await self._catalogue.put_gaps(gaps)
        await self._journals(stream_id, runs, gaps, lines)

    async def _run(self, run: RunInfo, count: int) -> list[SealLine]:
        await self._catalogue.put_run(run)
        previous = first_seal(run.stream_id, run.host, run.epoch, run.origin, run.id)
        made: list[tuple[str, bytes, SegmentFacts]] = []
        for number in range(count):
            data, facts = segment(run, number, previous, self._config, self._bodies)
            previous = facts.seal
            made.append((segment_key(run.stream_id, run.id, number, facts.start_ns), data, facts))
        items = []
        for start in range(0, count, PUTS):
            page = made[start : start + PUTS]
            versions = await asyncio.gather(*(self._put(key, data, facts.digest) for key, data, facts in page))
            for (key, _, facts), version in zip(page, versions, strict=True):
                copy = Copy(self._info.name, key, facts.size_bytes, facts.digest, version)
                items.append(Registration(facts, copy, run))
        await self._catalogue.register_many(items)
        self.made += count
        return [SealLine(run.id, f.number, f.start_ns, f.end_ns, f.size_bytes, f.digest, f.seal) for _, _, f in made]

    async def _put(self, key: str, data: bytes, digest: bytes) -> str | None:
        """Store an object; its version."""
        if self._folder is None:
            return (await self._store.put(key, data, digest=digest, size_bytes=len(data))).version
        path = self._folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.setxattr(path, _DIGEST_ATTRIBUTE, digest.hex().encode())
        return None

    async def _journals(
        self, stream_id: UUID, runs: Sequence[RunFact], gaps: Sequence[Gap], lines: Sequence[SealLine]
    ) -> None:
        about = await self._catalogue.stream_about(stream_id)
        hours: dict[int, tuple[list[RunFact], list[Gap], list[SealLine]]] = {}
        for fact in runs:
            for hour, said in statements_of_run(fact):
                hours.setdefault(hour, ([], [], []))[0].append(said)
        for gap in gaps:
            hours.setdefault(hour_of(gap.end_ns or 0), ([], [], []))[1].append(gap)
        for seal in lines:
            hours.setdefault(hour_of(seal.start_ns), ([], [], []))[2].append(seal)
        entries = []
        for hour, (some_runs, some_gaps, some_lines) in sorted(hours.items()):
            written_ns = hour + HOUR_NS + 400 * SECOND
            journal = Journal(
                stream_id, hour, self._host, tuple(some_runs), tuple(some_gaps), tuple(some_lines), about, written_ns
            )
            data, key = encode_journal(journal), journal_key(stream_id, hour, self._host)
            digest = hashlib.sha256(data).digest()
            await self._put(key, data, digest)
            entries.append(JournalEntry(stream_id, hour, self._host, key, digest, written_ns))
        await self._catalogue.record_journals(entries)


def differences(original: Path, rebuilt: Path) -> dict[str, int]:
    """Table → rows that only one of the two catalogues has. Both are read in one order, a row at a time."""
    found = {}
    with contextlib.closing(sqlite3.connect(original)) as one, contextlib.closing(sqlite3.connect(rebuilt)) as other:
        for name, query in _COMPARED.items():
            different = _unequal(one.execute(query), other.execute(query))
            if different:
                found[name] = different
    return found


def _unequal(one: Iterator[Any], other: Iterator[Any]) -> int:
    rows = itertools.zip_longest(one, other)
    return sum(a != b for a, b in rows)
