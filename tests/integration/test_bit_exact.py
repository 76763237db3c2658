"""E-03: the NAL units of pictures and SEI are the same in the camera's file, in the stored segments and in an export."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest

from tests.support.foreign_servers import film
from tests.support.stack import MS, SECOND, Recorded, Stack, running_stack
from vms.model import Codec
from vms.simulate import CameraScript, Footage, SimulatorOptions, prepare_small, running
from vms.simulate.footage import Clip, read_clip
from vms.simulate.nals import is_sei, is_slice, parameter_sets, split
from vms.timeline import TimeRange

pytestmark = [pytest.mark.network, pytest.mark.timeout(120), pytest.mark.xdist_group("bit_exact")]

FRAME_NS = 40 * MS
CAMERAS = [f"{codec} {transport}" for codec in ("h264", "hevc", "h264 b", "hevc b") for transport in ("tcp", "udp")]


def files() -> dict[str, Path]:
    """What the cameras show: H.264 and H.265, each without and with B-frames. All have SEI in them."""
    h264, h265, h264_b = prepare_small()
    return {
        "h264": h264.main,
        "hevc": h265.main,
        "h264 b": h264_b.main,
        "hevc b": film(Codec.H265, seconds=4, b_frames=2),
    }


@asynccontextmanager
async def recorded(names: list[str], seconds: float) -> AsyncIterator[Stack]:
    """Record the cameras of these names, stop, archive; the stack goes on to be read from."""
    shown = files()
    footage = tuple(Footage(shown[name.rpartition(" ")[0]]) for name in names)
    scripts = {f"cam{i}": CameraScript() for i in range(len(names))}
    options = SimulatorOptions(footage, cameras=len(names), port=0, scripts=scripts)
    async with running_stack() as stack:
        async with running(options) as simulator:
            for i, name in enumerate(names):
                await stack.add(name, simulator.url(f"cam{i}"), transport=name.rpartition(" ")[2])
            await stack.start()
            await stack.recorded_for(seconds)
            await stack.stop()
        yield stack


def clip_of(name: str) -> Clip:
    return read_clip(files()[name.rpartition(" ")[0]])


def is_loop_of(found: list[tuple[bytes, ...]], clip: Clip) -> bool:
    """Whether these are consecutive access units of the clip shown again and again."""
    units = [unit.nals for unit in clip.units]
    starts = [i for i, nals in enumerate(units) if nals == found[0]]
    return any(all(nals == units[(start + n) % len(units)] for n, nals in enumerate(found)) for start in starts)


def nals_of_file(path: Path) -> list[tuple[bytes, ...]]:
    """The NAL units of pictures and SEI of an MP4, by PyAV's demuxer and the simulator's own splitting."""
    with av.open(str(path), options={"ignore_editlist": "1"}) as container:
        stream = container.streams.video[0]
        codec = Codec(stream.codec_context.name)
        size, _ = parameter_sets(codec, bytes(stream.codec_context.extradata or b""))
        packets = sorted((p for p in container.demux(stream) if p.size), key=lambda p: p.dts)
        return [
            tuple(nal for nal in split(bytes(p), size) if is_slice(codec, nal) or is_sei(codec, nal)) for p in packets
        ]


def pictures_shown(path: Path) -> list[Fraction]:
    """Presentation times in seconds of the pictures a player shows, the edit list applied."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None
        return [frame.pts * stream.time_base for frame in container.decode(stream) if frame.pts is not None]


def ffprobe(path: Path) -> dict[str, Any]:
    """What ffprobe says, after decoding all of it without a warning."""
    program = shutil.which("ffprobe")
    if program is None:
        pytest.skip("ffprobe is not installed")
    asked = ["-show_streams", "-show_format", "-count_frames", "-of", "json"]
    done = subprocess.run([program, "-v", "warning", *asked, str(path)], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def whole_range(units: list[Recorded]) -> TimeRange:
    return TimeRange(units[0].segment.start_ns, units[-1].segment.end_ns)


async def test_from_the_file_through_the_store_to_the_export(tmp_path: Path) -> None:
    async with recorded(CAMERAS, 5.0) as stack:
        for name in CAMERAS:
            await check_all_the_way(stack, name, tmp_path)
            await check_cut(stack, name, tmp_path)
            await check_whole_gops(stack, name, tmp_path)


async def check_all_the_way(stack: Stack, name: str, folder: Path) -> None:
    """File, stored segments and an export of everything hold the same NAL units in the same order."""
    clip = clip_of(name)
    units = await stack.units(name)
    stored = [tuple(split(unit.data, 4)) for unit in units]
    assert len({unit.segment.number for unit in units}) >= 3, "several segments"
    assert is_loop_of(stored, clip)
    codec = clip.config.codec
    assert any(is_sei(codec, nal) for nals in stored for nal in nals), "the footage has SEI to be kept"
    output = folder / f"{name}.mp4"
    done = await stack.export(name, whole_range(units), output)
    assert [file.path for file in done.files] == [output]
    assert done.missing == ()
    assert nals_of_file(output) == stored
    assert done.files[0].pictures == len(units) == len(await asyncio.to_thread(pictures_shown, output))
    facts = await asyncio.to_thread(ffprobe, output)
    assert facts["streams"][0]["codec_name"] == codec.value
    assert int(facts["streams"][0]["nb_read_frames"]) == len(units)
    for segment in {unit.segment.ref: unit.segment for unit in units}.values():
        path = folder / "segment.mp4"
        path.write_bytes(await stack.stored(segment))
        of_it = [unit for unit in units if unit.segment.ref == segment.ref]
        assert int((await asyncio.to_thread(ffprobe, path))["streams"][0]["nb_read_frames"]) == len(of_it)


async def check_cut(stack: Stack, name: str, folder: Path) -> None:
    """A cut in mid-GOP shows exactly the pictures captured within it, each at its time."""
    units = await stack.units(name)
    times = sorted(unit.capture_ns for unit in units)
    within = TimeRange(times[30] - FRAME_NS // 2, times[77] - FRAME_NS // 2)
    output = folder / f"{name} cut.mp4"
    (file,) = (await stack.export(name, within, output)).files
    wanted = [t for t in times if within.contains(t)]
    assert len(wanted) == 47
    assert (file.pictures, file.start_ns) == (47, wanted[0])
    assert abs(file.end_ns - times[77]) <= MS
    shown = await asyncio.to_thread(pictures_shown, output)
    assert shown[0] == 0
    assert [round(t * SECOND / MS) for t in shown] == [round((t - wanted[0]) / MS) for t in wanted]
    facts = await asyncio.to_thread(ffprobe, output)
    assert abs(Fraction(facts["format"]["duration"]) * SECOND - 47 * FRAME_NS) <= 2 * MS
    side = json.loads(output.with_suffix(".json").read_text())
    assert side["files"][0]["pictures"] == 47
    kept = nals_of_file(output)
    assert is_loop_of(kept, clip_of(name))


async def check_whole_gops(stack: Stack, name: str, folder: Path) -> None:
    """`--whole-gops` shows every picture of the groups that the range touches, and nothing but them.

    With B-frames the next fragment is in the file too, unseen: it might begin with pictures shown before the cut.
    """
    units = await stack.units(name)
    times = sorted(unit.capture_ns for unit in units)
    keys = sorted(unit.capture_ns for unit in units if unit.key)
    within = TimeRange(times[30] - FRAME_NS // 2, times[60] - FRAME_NS // 2)
    output = folder / f"{name} gops.mp4"
    (file,) = (await stack.export(name, within, output, whole_gops=True)).files
    start = max(k for k in keys if k <= times[30])
    end = min(k for k in keys if k >= times[60] - FRAME_NS // 2)
    assert (file.start_ns, file.pictures) == (start, sum(start <= t < end for t in times))
    assert file.pictures <= file.units <= file.pictures + (13 if " b " in name else 0)
    assert len(await asyncio.to_thread(pictures_shown, output)) == file.pictures
    await asyncio.to_thread(ffprobe, output)
    assert all(b > a for a, b in pairwise(await asyncio.to_thread(pictures_shown, output)))


async def test_an_export_of_what_is_still_being_written(tmp_path: Path) -> None:
    """The newest footage comes from the spool and the open segment, with the same bytes."""
    path = files()["h264 b"]
    async with running_stack(segment_seconds=60) as stack:
        async with running(SimulatorOptions((Footage(path),), port=0)) as simulator:
            await stack.add("Rynek", simulator.url("cam0"))
            await stack.start()
            await stack.recorded_for(4.0)
            (segment,) = await stack.segments("Rynek")
            assert (segment.location, segment.digest) == ("open", b"")
            output = tmp_path / "open.mp4"
            done = await stack.export("Rynek", TimeRange(segment.start_ns, segment.end_ns), output)
            await stack.stop()
        units = await stack.units("Rynek")
    found = nals_of_file(output)
    assert found == [tuple(split(unit.data, 4)) for unit in units][: len(found)]
    assert done.files[0].pictures >= 95
    await asyncio.to_thread(ffprobe, output)
