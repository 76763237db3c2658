"""Footage read back from spool, stores and files being written, whatever moves or breaks meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from storage.catalogue import Copy, StoreInfo, StoreKind
from storage.catalogue.coverage import Chosen
from storage.catalogue.values import RecordedSegment, SegmentRef
from storage.objects import FolderStore, segment_key
from storage.reader import Reader
from tests.support import footage
from tests.support.encoded import video
from tests.support.footage import record, span
from tests.support.made_store import made_store
from tests.support.sealed import OBJECT_STORE, Site, open_site
from vms.errors import CatalogueUnavailable, DigestMismatch, ObjectMissing, StoreError, StoreUnavailable
from vms.model import Codec
from vms.timeline import TimeRange

ALL = TimeRange(0, 1 << 62)
SECOND_STORE = StoreInfo("kopia", StoreKind.FOLDER)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    opened = await open_site(tmp_path)
    yield opened
    await opened.close()


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return made_store(tmp_path / "store")


async def read(reader: Reader, site: Site, within: TimeRange, *, decodable: bool = True) -> list[bytes]:
    return [timed.unit.data async for _, timed in reader.units(site.stream_id, within, decodable=decodable)]


def data_of(units: Any) -> list[bytes]:
    return [u.data for u in units]


def open_files(folder: Path) -> set[str]:
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            target = os.readlink(f"/proc/self/fd/{name}")
            if Path(target).is_relative_to(folder) and target.endswith((".mp4", ".part")):
                found.add(target)
    return found


async def test_sealed_and_open_segments_without_a_catalogue(site: Site) -> None:
    units = video(Codec.H264, 75, 0, 25)
    run = site.run()
    parts = footage.split(units, run, (25, 50))
    await footage.write(site, run, [*parts[:2], replace(parts[2], trailer=False)])
    reader = Reader(None, site.spool, {})
    assert [s.location for s in await reader.segments(site.stream_id, ALL)] == ["spool", "spool", "open"]
    assert await read(reader, site, ALL) == data_of(units)
    assert await read(reader, site, span(run, 30, 60), decodable=False) == data_of(units[30:60])
    assert (await read(reader, site, span(run, 30, 60)))[:35] == data_of(units[25:60])
    with pytest.raises(CatalogueUnavailable):
        await reader.timeline(site.stream_id, ALL, 1)


async def test_a_catalogue_that_is_away(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object) -> None:
        raise CatalogueUnavailable("away")

    units = video(Codec.H264, 50)
    await record(site, units)
    monkeypatch.setattr(site.catalogue, "segments", away)
    monkeypatch.setattr(site.catalogue, "segment", away)
    assert await read(footage.reader(site), site, ALL) == data_of(units)


async def test_what_is_registered_is_listed_once(site: Site, store: FolderStore) -> None:
    await record(site, video(Codec.H264, 75, 0, 25), (25, 50))
    await footage.archive(site, store)
    await record(site, video(Codec.H264, 50), start_ns=site.run().start_ns + 10**10)
    reader = footage.reader(site, **{OBJECT_STORE.name: store})
    found = await reader.segments(site.stream_id, ALL)
    assert [(s.number, s.location) for s in found] == [(0, "store"), (1, "store"), (2, "store"), (0, "spool")]
    assert found == sorted(found, key=lambda s: s.start_ns)


async def test_a_segment_archived_between_listing_and_reading(site: Site, store: FolderStore) -> None:
    units = video(Codec.H264, 75, 0, 25)
    run = await record(site, units, (25, 50))
    reader = footage.reader(site, **{OBJECT_STORE.name: store})
    listed = await reader.segments(site.stream_id, ALL)
    await footage.archive(site, store)
    assert {s.location for s in listed} == {"spool"}
    assert not site.files()
    got = [t.unit.data for s in listed async for t in reader.segment_units(Chosen(s.range, s))]
    assert got == data_of(units)
    assert await read(reader, site, span(run, 30, 60), decodable=False) == data_of(units[30:60])


async def test_an_open_segment_sealed_and_archived_between_listing_and_reading(site: Site, store: FolderStore) -> None:
    units = video(Codec.H264, 75, 0, 25)
    run = site.run()
    (whole,) = footage.split(units, run, ())
    await footage.write(site, run, [replace(whole, units=units[:50], trailer=False)])
    reader = footage.reader(site, **{OBJECT_STORE.name: store})
    (listed,) = await reader.segments(site.stream_id, ALL)
    assert listed.location == "open"
    for part in site.spool.parts():
        part.path.unlink()
    await footage.write(site, run, [whole])
    async with reader.verified(listed, site.spool.path) as source:
        assert source.size > listed.size_bytes
    await footage.archive(site, store)
    got = [t.unit.data async for t in reader.segment_units(Chosen(listed.range, listed), decodable=False)]
    assert got == data_of(units[:50])


async def test_a_continuation_is_read_from_where_decoding_can_begin(site: Site, store: FolderStore) -> None:
    units = video(Codec.H264, 75, 0, 75)
    run = await record(site, units, (20, 40))
    for stored in (False, True):
        if stored:
            await footage.archive(site, store)
        reader = footage.reader(site, **{OBJECT_STORE.name: store})
        within = span(run, 45, 50)
        found = [(s.number, t.unit.data) async for s, t in reader.units(site.stream_id, within)]
        assert [data for _, data in found][:50] == data_of(units[:50])
        assert [number for number, _ in found][:45] == [0] * 20 + [1] * 20 + [2] * 5
        assert await read(reader, site, within, decodable=False) == data_of(units[45:50])
        assert await read(reader, site, span(run, 10, 75)) == data_of(units)


async def test_leading_pictures_are_read_from_the_segment_before(site: Site) -> None:
    units = video(Codec.H265, 75, 3, 27, (("open-gop", "1"),))
    key = [n for n, u in enumerate(units) if u.key][1]
    run = await record(site, units, (key,))
    first = min(u.pts for u in units[key:]) - footage.FIRST_PTS
    assert first < units[key].pts - footage.FIRST_PTS
    frame = first // footage.FRAME
    found = await read(footage.reader(site), site, span(run, frame, frame + 1))
    assert found[: key + 1] == data_of(units[: key + 1])


async def test_a_continuation_whose_head_is_gone_is_given_as_it_is(site: Site) -> None:
    units = video(Codec.H264, 75, 0, 75)
    run = await record(site, units, (20, 40))
    next(s for s in site.spool.sealed() if s.number == 1).path.unlink()
    assert await read(footage.reader(site), site, span(run, 45, 50), decodable=False) == data_of(units[45:50])
    assert (await read(footage.reader(site), site, span(run, 45, 50)))[:10] == data_of(units[40:50])


async def test_of_overlapping_runs_each_instant_is_read_once(site: Site) -> None:
    units = video(Codec.H264, 75, 0, 25)
    first = await record(site, units)
    await record(site, units, start_ns=first.start_ns + 2 * 10**9)
    reader = footage.reader(site)
    found = [t.capture_ns async for _, t in reader.units(site.stream_id, ALL, decodable=False)]
    assert found == [first.start_ns + n * footage.FRAME_NS for n in range(125)]


async def two_copies(site: Site, store: FolderStore, tmp_path: Path) -> tuple[Reader, RecordedSegment, FolderStore]:
    """A segment in two stores; the catalogue names `store` first."""
    await record(site, video(Codec.H264, 75, 0, 25))
    await footage.archive(site, store)
    (segment,) = await site.catalogue.segments([site.stream_id], ALL)
    other = made_store(tmp_path / "second")
    key = segment_key(segment.stream_id, segment.run_id, segment.number, segment.start_ns)
    data = await store.read(key, 0, segment.size_bytes)
    await other.put(key, data, digest=segment.digest, size_bytes=len(data))
    await site.catalogue.put_store(SECOND_STORE)
    await site.catalogue.record_copy(
        SegmentRef(segment.run_id, segment.number), Copy(SECOND_STORE.name, key, len(data), segment.digest)
    )
    return footage.reader(site, **{OBJECT_STORE.name: store, SECOND_STORE.name: other}), segment, other


def damage(store_path: Path, offset: int, data: bytes) -> None:
    (file,) = store_path.rglob("*.mp4")
    file.chmod(0o600)
    with file.open("r+b") as opened:
        opened.seek(offset)
        opened.write(data)


async def test_another_copy_is_played_where_one_breaks_midway(site: Site, store: FolderStore, tmp_path: Path) -> None:
    reader, segment, _ = await two_copies(site, store, tmp_path)
    content = next((tmp_path / "store").rglob("*.mp4")).read_bytes()
    damage(tmp_path / "store", content.rindex(b"moof", 0, len(content) // 2), b"xxxx")
    assert await read(reader, site, ALL) == data_of(video(Codec.H264, 75, 0, 25))
    with pytest.raises(DigestMismatch):
        async with reader.verified(segment, tmp_path):
            pass


async def test_a_store_that_is_away_is_passed_over(
    site: Site, store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object, **__: object) -> Any:
        raise StoreUnavailable("away")

    reader, segment, other = await two_copies(site, store, tmp_path)
    monkeypatch.setattr(store, "head", away)
    assert len(await read(reader, site, ALL)) == 75
    async with reader.verified(segment, tmp_path) as source:
        assert source.size == segment.size_bytes
    monkeypatch.setattr(other, "read", away)
    with pytest.raises(StoreError, match="away"):
        await read(reader, site, ALL)
    monkeypatch.setattr(other, "head", away)
    with pytest.raises(StoreUnavailable):
        await read(reader, site, ALL)
    assert not [p for p in tmp_path.iterdir() if p.name.startswith("tmp")]


async def test_no_copy_at_all(site: Site) -> None:
    await record(site, video(Codec.H264, 50))
    reader = footage.reader(site)
    (listed,) = await reader.segments(site.stream_id, ALL)
    site.spool.sealed()[0].path.unlink()
    with pytest.raises(ObjectMissing, match="no copy"):
        async with reader.source(listed):
            pass


@pytest.mark.parametrize("stored", [False, True])
async def test_who_stops_early_leaves_nothing_open(
    site: Site, store: FolderStore, tmp_path: Path, *, stored: bool
) -> None:
    await record(site, video(Codec.H264, 75, 0, 25), (25, 50))
    if stored:
        await footage.archive(site, store)
    reader = footage.reader(site, **{OBJECT_STORE.name: store})
    async with contextlib.aclosing(reader.units(site.stream_id, ALL)) as units:
        async for _ in units:
            break
    assert not open_files(tmp_path)


async def test_a_cancelled_reading_waits_for_its_thread(
    site: Site, store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await record(site, video(Codec.H264, 75, 0, 25), (25, 50))
    await footage.archive(site, store)
    reader = footage.reader(site, **{OBJECT_STORE.name: store})
    reading = asyncio.Event()
    ended = []

    async def never(*_: object) -> bytes:
        reading.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)
        return b""

    monkeypatch.setattr(store, "read", never)
    task = asyncio.create_task(read(reader, site, ALL))
    await asyncio.wait_for(reading.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    assert ended
    assert not open_files(tmp_path)


async def test_a_long_range_is_streamed(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file is opened before those before it were read and closed."""
    units = video(Codec.H264, 75, 0, 5)
    await record(site, units, range(5, 75, 5))
    most, others = 0, open_files(tmp_path)
    async for _ in footage.reader(site).units(site.stream_id, ALL):
        most = max(most, len(open_files(tmp_path) - others))
    assert most == 1
