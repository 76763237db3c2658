"""The writer's bytes: boxes where they belong, other programs' reading of them, nothing joined or copied."""

from __future__ import annotations

import hashlib
import json
import struct
import subprocess
from dataclasses import replace

import av
import pytest

from tests.support.encoded import RUN, WALL_NS, aac, made_up, mapping_at, small_config, video
from vms.errors import MalformedError
from vms.media import digest
from vms.media.audio import g711_config, opus_config
from vms.media.boxes import BytesSource, children
from vms.media.sample_entry import is_parameter_set, parse_sample_entry, sample_entry
from vms.media.segment_head import ClockState, SegmentHead
from vms.media.segment_reader import SegmentReader, read_head, verify
from vms.media.segment_writer import DAMAGED, NON_SYNC, OPEN, SYNC, SegmentWriter, is_closed, moof
from vms.model import AccessUnit, ClockMapping, Codec, CodecConfig


def head(base: int = 900_000, clock_hz: int = 90_000, **changes) -> SegmentHead:
    first = digest.first_seal(RUN.stream_id, RUN.host, RUN.epoch, RUN.origin, RUN.id)
    mapping = mapping_at(base, clock_hz)
    made = SegmentHead(
        RUN.stream_id, RUN.id, 0, RUN.origin, RUN.host, RUN.epoch, RUN.clock, mapping, base, base, base, True, first
    )
    return replace(made, **changes)


def write(units: list[AccessUnit], step: int, **options) -> bytes:
    """A segment of units without reordering."""
    writer = SegmentWriter(head(units[0].pts, units[0].config.clock_hz), units[0].config, **options)
    out = writer.begin()
    for at in range(0, len(units), 10):
        out += writer.fragment([(u, u.pts, step) for u in units[at : at + 10]])
    return b"".join(out + writer.finish(units[-1].pts + step, ClockState())[0])


def test_layout_and_file_digest():
    units = list(video(Codec.H264, 30, 0, 10))
    writer = SegmentWriter(head(), units[0].config)
    start = writer.begin()
    first = writer.fragment([(u, u.pts, 3600) for u in units[:10]])
    second = writer.fragment([(u, u.pts, 3600) for u in units[10:]])
    assert all(given is u.data for given, u in zip(first[1:], units, strict=False))
    end, facts = writer.finish(units[-1].pts + 3600, ClockState())
    data = b"".join(start + first + second + end)
    kinds = [b.type for b in children(data, 0, len(data))]
    assert kinds == [b"ftyp", b"moov", b"uuid", b"moof", b"mdat", b"moof", b"mdat", b"mfra", b"uuid"]
    assert facts.digest == hashlib.sha256(data).digest()
    assert facts.size_bytes == len(data)
    assert (facts.units, facts.key_units) == (30, 3)
    assert facts.start_ns == WALL_NS + 10_000_000_000
    assert facts.end_ns == facts.start_ns + 1_200_000_000


def test_the_seal_follows_from_the_page():
    data = write(list(video(Codec.H264, 30, 0, 10)), 3600)
    boxes = list(children(data, 0, len(data)))
    head_json, tail = data[boxes[2].body + 16 : boxes[2].end], data[boxes[-1].body + 16 : boxes[-1].end]
    assert tail[-4:] == (boxes[-1].end - boxes[-1].start).to_bytes(4, "big")
    trailer_json, seal = tail[:-36], tail[-36:-4]
    trailer = json.loads(trailer_json)
    groups = b"".join(bytes.fromhex(g) for g in trailer["group_digests"])
    previous = bytes.fromhex(json.loads(head_json)["previous_seal"])
    assert seal == hashlib.sha256(previous + head_json + trailer_json + groups).digest()
    assert trailer["group_sizes"] == [10, 10, 10]


def test_without_digests():
    data = write(list(video(Codec.H264, 30)), 3600, digests=False)
    reader = SegmentReader(BytesSource(data))
    assert reader.trailer.group_digests == ()
    assert len(list(reader.units())) == 30
    assert verify(BytesSource(data)).problems == ("no group digests were reckoned when it was recorded",)


def test_sample_flags_say_what_a_unit_is():
    idr, cra, recovery = (
        AccessUnit(0, b"\0\0\0\3" + header + b"x", True, video(codec, 2)[0].config, 0)
        for codec, header in ((Codec.H264, b"\x65a"), (Codec.H265, b"\x2a\1"), (Codec.H264, b"\x41a"))
    )
    assert [is_closed(u) for u in (idr, cra, recovery)] == [True, False, False]
    assert is_closed(idr._replace(data=b"\0\0\0\2\x06\1" + idr.data))
    assert not is_closed(idr._replace(data=b"\xff\xff\xff\xff\x06"))
    config = small_config()
    units = [idr, made_up(1, key=False, config=config), made_up(2, key=False, config=config, damaged=True), recovery]
    writer = SegmentWriter(head(0), config)
    buffer = writer.fragment([(u._replace(pts=n), n, 1) for n, u in enumerate(units)])[0]
    rows = struct.iter_unpack(">IIIi", buffer[88:-8])
    assert [row[2] for row in rows] == [SYNC, NON_SYNC, NON_SYNC | DAMAGED, SYNC | OPEN]


def test_times_no_fragment_can_state_are_refused():
    for fields in ([1 << 32, 1, 0, 0], [1, 1, 0, 1 << 31], [-1, 1, 0, 0]):
        with pytest.raises(ValueError, match="out of range"):
            moof(1, 0, fields, 1)
    with pytest.raises(ValueError, match="0 units"):
        SegmentWriter(head(), small_config()).fragment([])


@pytest.mark.parametrize("in_band", [False, True])
@pytest.mark.parametrize(("codec", "b_frames"), [(Codec.H264, 0), (Codec.H265, 0)])
def test_ffmpeg_reads_it(tmp_path, codec, b_frames, in_band):
    units = list(video(codec, 50, b_frames))
    path = tmp_path / "segment.mp4"
    path.write_bytes(write(units, 3600, in_band=in_band))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.time_base.denominator) == (str(codec), 90_000)
        assert [f.pts for f in container.decode(stream)] == [u.pts - 900_000 for u in units]
    with av.open(str(path)) as container:
        packets = [bytes(p) for p in container.demux(video=0) if p.size]
        if not in_band:
            assert packets == [u.data for u in units]
    probe = subprocess.run(
        ["ffprobe", "-v", "warning", "-show_entries", "stream=codec_tag_string", "-of", "csv=p=0", str(path)],
        capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    tags = {Codec.H264: ("avc1", "avc3"), Codec.H265: ("hvc1", "hev1")}
    assert (probe.stdout.strip(), probe.stderr) == (tags[codec][in_band], "")


def opus_units() -> list[AccessUnit]:
    encoder = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format = 48_000, "stereo", "s16"
    frame = av.AudioFrame("s16", "stereo", 960)
    frame.planes[0].update(bytes(960 * 4))
    frame.sample_rate = 48_000
    packets = []
    for n in range(30):
        frame.pts = 960 * n
        packets += encoder.encode(frame)
    return [AccessUnit(960 * n, bytes(p), True, opus_config(2), 0) for n, p in enumerate(packets)]


@pytest.mark.parametrize("codec", [Codec.AAC, Codec.PCMA, Codec.PCMU, Codec.OPUS])
def test_ffmpeg_reads_audio(tmp_path, codec):
    if codec is Codec.AAC:
        units, step = list(aac(40)), 1024
    elif codec is Codec.OPUS:
        units, step = opus_units(), 960
    else:
        units, step = (
            [AccessUnit(160 * n, bytes(range(160)), True, g711_config(codec, 8000, 1), 0) for n in range(40)],
            160,
        )
    data = write(units, step)
    assert verify(BytesSource(data)).sound
    read = list(SegmentReader(BytesSource(data)).units())
    assert [(u.pts, u.data, u.key) for u in read] == [(u.pts, u.data, True) for u in units]
    assert read[0].config == units[0].config
    path = tmp_path / "segment.mp4"
    path.write_bytes(data)
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        assert stream.codec_context.name.removeprefix("lib") == str(codec)
        assert stream.sample_rate == units[0].config.clock_hz
        assert b"".join(bytes(p) for p in container.demux(stream)) == b"".join(u.data for u in units)
    with av.open(str(path)) as container:
        assert sum(f.samples for f in container.decode(audio=0)) > 10 * step


def test_the_head_says_everything():
    config = video(Codec.H265, 2)[0].config
    stated = head(mapping=ClockMapping(900_000, WALL_NS, 90_000, -1234), number=7, independent=False, host="Łódź-2")
    start = read_head(SegmentWriter(stated, config, in_band=True).begin()[0])
    assert (start.head, start.config, start.in_band) == (stated, config, True)


def test_sample_entries_round_trip_and_refuse():
    for config in (video(Codec.H264, 2)[0].config, video(Codec.H265, 2)[0].config, aac(2)[0].config, opus_config(2)):
        data = sample_entry(config)
        entry = parse_sample_entry(data, next(children(data, 0, len(data))))
        assert (entry.codec, entry.parameter_sets) == (config.codec, config.parameter_sets)
        assert (entry.width, entry.height, entry.extradata) == (config.width, config.height, config.extradata)
    for codec in (Codec.H264, Codec.H265):
        for sets in ((), (b"",), (b"\x67\x64",), (b"\x42\1",), (b"\x67\x64\0\x1f" + bytes(40),)):
            with pytest.raises(MalformedError):
                sample_entry(CodecConfig(codec, parameter_sets=sets))
    assert not is_parameter_set(Codec.H264, b"")
    assert is_parameter_set(Codec.H265, b"\x40\1")
