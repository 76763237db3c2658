"""Exported clips in players, from real stores, on full disks and under kill -9."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from storage.export import Wish, export
from storage.objects.embedded import EmbeddedServer
from storage.objects.s3 import S3Store
from tests.support import chromium, footage
from tests.support.encoded import aac, video
from tests.support.footage import Part, record, span
from tests.support.sealed import OBJECT_STORE, Site, open_site
from vms.errors import UserError
from vms.model import ClockMapping, Codec

pytestmark = pytest.mark.network

NOW = 1 << 61


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    opened = await open_site(tmp_path)
    yield opened
    await opened.close()


async def clip(site: Site, output: Path, codec: Codec, b_frames: int, *, sound: bool = False) -> Path:
    """Pictures 14 to 64 of three segments, beginning in the middle of a group."""
    units = video(codec, 125, b_frames, 50)
    keys = [n for n, u in enumerate(units) if u.key]
    run = await record(site, units, keys[1:2])
    sound_id = None
    if sound:
        heard = site.run(stream_id=uuid4())
        audio = aac(90)
        await footage.write(site, heard, [Part(audio, 0, 90 * 1024, ClockMapping(0, heard.start_ns, 16_000))])
        sound_id = heard.stream_id
    wish = Wish(site.stream_id, span(run, 14, 64), sound_id=sound_id)
    await export(footage.reader(site), wish, output, now_ns=NOW, about={})
    return output


@pytest.mark.parametrize("sound", [False, True])
@pytest.mark.parametrize(("codec", "b_frames"), [(Codec.H264, 0), (Codec.H264, 2), (Codec.H265, 3)])
async def test_ffmpegs_programs_play_it_without_a_complaint(
    site: Site, tmp_path: Path, codec: Codec, b_frames: int, *, sound: bool
) -> None:
    path = await clip(site, tmp_path / "klip.mp4", codec, b_frames, sound=sound)

    def run(*args: str) -> str:
        done = subprocess.run(
            [*args], capture_output=True, text=True, check=True, timeout=60,
            env=os.environ | {"SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy"},
        )  # fmt: skip
        assert done.stderr == ""
        return done.stdout

    entries = "stream=nb_read_frames,start_time,duration"
    probe = await asyncio.to_thread(
        run, "ffprobe", "-v", "warning", "-count_frames", "-select_streams", "v", "-show_entries", entries,
        "-of", "csv=p=0", str(path),
    )  # fmt: skip
    assert probe.strip() == "0.000000,2.000000,50"
    await asyncio.to_thread(run, "ffmpeg", "-v", "error", "-xerror", "-i", str(path), "-f", "null", "-")
    await asyncio.to_thread(run, "ffplay", "-v", "error", "-autoexit", str(path))


@pytest.mark.parametrize(("b_frames", "sound"), [(0, False), (2, False), (0, True)])
async def test_chromium_plays_it_to_its_end(site: Site, tmp_path: Path, b_frames: int, *, sound: bool) -> None:
    path = await clip(site, tmp_path / "klip.mp4", Codec.H264, b_frames, sound=sound)
    seen = await asyncio.to_thread(chromium.play, path)
    assert "error" not in seen
    assert seen["ended"]
    assert (seen["width"], seen["height"]) == (160, 96)
    assert seen["frames"] == 50
    # It counts what a decoder needs behind the last picture shown, here up to three pictures or a sound frame.
    allowed = 0.13 if b_frames or sound else 0.001
    assert seen["first_duration"] == pytest.approx(2.0, abs=allowed)
    assert seen["at"] == pytest.approx(2.0, abs=allowed)


@pytest.mark.parametrize("kind", ["seaweedfs", "minio"])
async def test_from_a_bucket(request: pytest.FixtureRequest, site: Site, tmp_path: Path, kind: str) -> None:
    server: EmbeddedServer = request.getfixturevalue(kind)
    units = video(Codec.H264, 75, 0, 75)
    run = await record(site, units, (20, 40))
    store = S3Store(server.location)
    try:
        await footage.archive(site, store)
        assert not site.files()
        reader = footage.reader(site, **{OBJECT_STORE.name: store})
        found = [t.unit.data async for _, t in reader.units(site.stream_id, span(run, 45, 50))]
        assert found[:50] == [u.data for u in units[:50]]
        output = tmp_path / "klip.mp4"
        await export(reader, Wish(site.stream_id, span(run, 45, 50)), output, now_ns=NOW, about={})
        assert [data for _, data in footage.played(output)] == footage.pictures(units)[45:50]
    finally:
        await store.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system, which only root may")
async def test_a_full_disk(site: Site, tmp_path: Path) -> None:
    small = tmp_path / "maly"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], check=False).returncode:
        pytest.skip("no file system may be mounted here")
    try:
        units = video(Codec.H264, 75, 0, 25)
        big = [u._replace(data=u.data + (4000).to_bytes(4, "big") + bytes([6]) + bytes(3999)) for u in units]
        run = await record(site, big)
        with pytest.raises(UserError, match="No space left on device; choose another -o"):
            await export(
                footage.reader(site), Wish(site.stream_id, span(run, 0, 75)), small / "k.mp4", now_ns=NOW, about={}
            )
        assert not list(small.iterdir())
    finally:
        subprocess.run(["umount", str(small)], check=True)


EXPORTER = """
import asyncio, json, signal, sys
from pathlib import Path
from uuid import UUID
from storage.catalogue import Catalogue, sqlite_url
from storage.export import Wish, export
from storage.reader import Reader
from storage.spool import Spool
from tests.support.footage_rows import PlainSealer
from vms.timeline import TimeRange

async def main():
    folder, stream, start, end, output = sys.argv[1:]
    async with Catalogue(sqlite_url(Path(folder) / "catalogue.db"), PlainSealer()) as catalogue:
        reader = Reader(catalogue, Spool(Path(folder) / "spool"), {})
        def progress(done, total):
            print("part", flush=True)
            sys.stdin.readline()
        wish = Wish(UUID(stream), TimeRange(int(start), int(end)))
        await export(reader, wish, Path(output), now_ns=1 << 61, about={}, progress=progress)
asyncio.run(main())
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
async def test_a_process_that_dies_or_is_interrupted(site: Site, tmp_path: Path, how: signal.Signals) -> None:
    run = await record(site, video(Codec.H264, 75, 0, 25), (25, 50))
    out = tmp_path / "out"
    out.mkdir()
    within = span(run, 0, 75)
    args = [str(tmp_path), str(site.stream_id), str(within.start_ns), str(within.end_ns), str(out / "k.mp4")]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", EXPORTER, *args,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), 60) == b"part\n"
        process.send_signal(how)
        if how is signal.SIGINT:
            assert process.stdin is not None
            process.stdin.write(b"\n\n\n")
        assert await asyncio.wait_for(process.wait(), 60) != 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    left = [p.name for p in out.iterdir()]
    if how is signal.SIGINT:
        assert left == []
    else:
        assert len(left) == 1
        assert left[0].startswith(".")
        assert left[0].endswith(".partial")


MEASURE = """
import resource, sys, tempfile
from dataclasses import replace
from pathlib import Path
from storage.catalogue.values import RecordedSegment
from storage.export_file import ExportWriting
from storage.reader import SegmentPart
from tests.support.sealed import WALL_NS, segment_of
from vms.media.boxes import BytesSource
from vms.media.segment_reader import SegmentReader
from vms.model import Origin, RunClock, RunInfo
from uuid import uuid4
run = RunInfo(uuid4(), uuid4(), Origin.LIVE, "r", 0, RunClock.ARRIVAL, WALL_NS)
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with tempfile.TemporaryDirectory(dir=sys.argv[1]) as folder:
    writing = ExportWriting(Path(folder) / "k.mp4")
    for number in range(121):
        data, of = segment_of(run, number, frames=900, size=3000)
        segment = RecordedSegment(0, of.stream_id, of.run_id, number, of.start_ns, of.end_ns, of.duration_ticks,
            of.clock_hz, of.size_bytes, of.digest, of.seal, True, False, of.codec, of.width, of.height, Origin.LIVE, (), "spool")
        writing.add(SegmentPart(segment, SegmentReader(BytesSource(data)), -(1 << 62), 1 << 62))
        if number == 10: before = peak()
    print(peak() - before)
    writing.undo()
"""


@pytest.mark.slow
async def test_two_hours_of_footage_take_no_more_memory_than_their_tables(tmp_path: Path) -> None:
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", MEASURE, str(tmp_path)], capture_output=True, text=True, timeout=110,
        cwd=Path(__file__).parents[2], check=True,
    )  # fmt: skip
    assert int(done.stdout) < 110 * 900 * 60 // 1024 + 4000  # KiB, beside 320 MB of footage
