"""Plain MP4: exact to the frame through the edit list, bit for bit in the samples, read by FFmpeg."""

from __future__ import annotations

import io
import struct
import subprocess

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.encoded import WALL_NS, aac, made_up, small_config, video
from vms.media import remux as module
from vms.media.boxes import children, only_child
from vms.media.remux import RemuxWriter, Shown, remux
from vms.model import AccessUnit, Codec

FRAME = 3600
START = 900_000


def packets_of(path) -> list[bytes]:
    """Every sample, also those that the edit list hides."""
    with av.open(str(path), options={"ignore_editlist": "1"}) as container:
        return [bytes(p) for p in container.demux(video=0) if p.size]


@pytest.mark.parametrize("codec", [Codec.H264, Codec.H265])
@pytest.mark.parametrize("b_frames", [0, 2, 3])
@pytest.mark.parametrize(("first", "last"), [(0, 75), (7, 31), (25, 50), (26, 27), (60, 75)])
def test_exactly_the_wanted_frames_are_shown(tmp_path, codec, b_frames, first, last):
    units = list(video(codec, 75, b_frames))
    path = tmp_path / "clip.mp4"
    with path.open("wb") as file:
        size = remux(file, units, units[0].config, Shown(START + first * FRAME, START + last * FRAME), WALL_NS)
    assert path.stat().st_size == size
    assert packets_of(path) == [u.data for u in units]
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert container.metadata["creation_time"] == "2026-09-21T14:13:20.000000Z"
        assert container.duration == (last - first) * 40_000
        shown = [f.pts for f in container.decode(stream)]
    assert shown == [n * FRAME for n in range(last - first)]
    pictures = [picture(f) for f in decode_all(units)]
    with av.open(str(path)) as container:
        assert [picture(f) for f in container.decode(video=0)] == pictures[first:last]


def picture(frame: av.VideoFrame) -> bytes:
    """Its luma without what the decoder leaves beside the rows."""
    plane = frame.planes[0]
    data = bytes(plane)
    return b"".join(data[y * plane.line_size :][: frame.width] for y in range(frame.height))


def decode_all(units: list[AccessUnit]) -> list[av.VideoFrame]:
    """Pictures in output order, decoded from the units alone."""
    config = units[0].config
    decoder = av.CodecContext.create("h264" if config.codec is Codec.H264 else "hevc", "r")
    decoder.thread_count = 1
    frames = []
    for n, unit in enumerate(units):
        data, at = b"", 0
        while at < len(unit.data):
            size = int.from_bytes(unit.data[at : at + 4], "big")
            data += b"\0\0\0\1" + unit.data[at + 4 : at + 4 + size]
            at += 4 + size
        sets = b"".join(b"\0\0\0\1" + nal for nal in config.parameter_sets) if n == 0 else b""
        packet = av.Packet(sets + data)
        packet.pts = unit.pts
        frames += decoder.decode(packet)
    return frames + decoder.decode(None)


def test_ffprobe_counts_the_frames_without_a_complaint(tmp_path):
    units = list(video(Codec.H264, 75, 2))
    path = tmp_path / "clip.mp4"
    with path.open("wb") as file:
        remux(file, units, units[0].config, Shown(START + 10 * FRAME, START + 60 * FRAME), WALL_NS)
    probe = subprocess.run(
        ["ffprobe", "-v", "warning", "-count_frames", "-show_entries", "stream=nb_read_frames,start_time,duration",
         "-of", "csv=p=0", str(path)],
        capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    assert (probe.stdout.strip(), probe.stderr) == ("0.000000,2.000000,50", "")


def test_video_with_audio(tmp_path):
    units, sound = list(video(Codec.H264, 75, 2)), list(aac(60))
    path = tmp_path / "clip.mp4"
    with path.open("wb") as file:
        writer = RemuxWriter(file, units[0].config, sound[0].config)
        for n, unit in enumerate(units):
            writer.add(unit)
            if n < len(sound):
                writer.add(sound[n])
        assert writer.units == 75 + len(sound)
        writer.finish([Shown(START + 5 * FRAME, START + 70 * FRAME), Shown(3200, 35_200, 40_000_000)], WALL_NS)
    with av.open(str(path)) as container:
        assert len(list(container.decode(video=0))) == 65
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
        assert frames[0].time == pytest.approx(0.04, abs=0.065)  # whole AAC frames around the edit
        assert container.streams.audio[0].duration / 16_000 >= 2
    with av.open(str(path), options={"ignore_editlist": "1"}) as container:
        assert [bytes(p) for p in container.demux(audio=0) if p.size] == [u.data for u in sound]


def test_two_configurations_in_one_track(tmp_path):
    first = list(video(Codec.H264, 25))
    second = [u._replace(pts=u.pts + 25 * FRAME) for u in video(Codec.H264, 25, 0, 25, (("cabac", "0"), ("crf", "40")))]
    assert first[0].config.parameter_sets != second[0].config.parameter_sets
    path = tmp_path / "clip.mp4"
    with path.open("wb") as file:
        remux(file, first + second, first[0].config, Shown(START, START + 50 * FRAME), WALL_NS)
    with av.open(str(path)) as container:
        assert len(list(container.decode(video=0))) == 50


def test_large_files_get_64_bit_sizes_and_offsets(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "_LIMIT_32", 5000)
    units = list(video(Codec.H264, 75))
    path = tmp_path / "clip.mp4"
    with path.open("wb") as file:
        writer = RemuxWriter(file, units[0].config)
        monkeypatch.setattr(module, "_CHUNK_BYTES", 2000)
        for unit in units:
            writer.add(unit)
        writer.finish([Shown(START, START + 75 * FRAME)], WALL_NS)
    data = path.read_bytes()
    assert [b.type for b in children(data, 0, len(data))] == [b"ftyp", b"mdat", b"moov"]
    assert b"co64" in data
    assert packets_of(path) == [u.data for u in units]


def test_what_cannot_be_written_is_refused():
    config = small_config()
    with pytest.raises(ValueError, match="track"):
        RemuxWriter(io.BytesIO(), None)
    writer = RemuxWriter(io.BytesIO(), config)
    with pytest.raises(ValueError, match="aac"):
        writer.add(aac(2)[0])
    with pytest.raises(ValueError, match="hevc"):
        writer.add(video(Codec.H265, 2)[0])
    with pytest.raises(ValueError, match="no units"):
        writer.finish([Shown(0, 1)], WALL_NS)
    writer.add(made_up(100, key=True, config=config))
    for shown in (Shown(99, 200), Shown(100, 100), Shown(100, 200, -1_000_000_000)):
        with pytest.raises(ValueError, match="nothing"):
            writer.finish([shown], WALL_NS)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 20_000), st.booleans(), st.integers(14, 200)), min_size=1, max_size=80),
    st.randoms(),
)
def test_tables_give_back_times_sizes_and_keys(rows, random):
    config = small_config()
    times = [sum(step for step, _, _ in rows[: n + 1]) for n in range(len(rows))]
    for n in range(0, len(times) - 3, 4):
        part = times[n : n + 4]
        random.shuffle(part)
        times[n : n + 4] = part
    units = [made_up(t, key=k, config=config, size=s) for t, (_, k, s) in zip(times, rows, strict=True)]
    file = io.BytesIO()
    remux(file, units, config, Shown(min(times), max(times) + 1), WALL_NS)
    data = file.getvalue()
    at = next(b for b in children(data, 0, len(data)) if b.type == b"moov")
    for kind in (b"trak", b"mdia", b"minf", b"stbl"):
        at = only_child(data, at, kind)
    tables = {b.type: data[b.body + 4 : b.end] for b in children(data, at.body, at.end)}
    deltas = [v for c, v in struct.iter_unpack(">II", tables[b"stts"][4:]) for _ in range(c)]
    offsets = [v for c, v in struct.iter_unpack(">II", tables.get(b"ctts", bytes(4))[4:]) for _ in range(c)]
    offsets = offsets or [0] * len(units)
    decode = [sum(deltas[:n]) for n in range(len(deltas))]
    shown = [d + o for d, o in zip(decode, offsets, strict=True)]
    assert [s - min(shown) for s in shown] == [t - min(times) for t in times]
    keys = [n for (n,) in struct.iter_unpack(">I", tables[b"stss"][4:])] if b"stss" in tables else None
    assert (keys or list(range(1, len(units) + 1))) == [n for n, u in enumerate(units, 1) if u.key] or not any(
        u.key for u in units
    )
    mdat = next(b for b in children(data, 0, len(data)) if b.type == b"mdat")
    assert data[mdat.body : mdat.end] == b"".join(u.data for u in units)
