"""The reader: ranges, open and cut files, and any bytes at all."""

from __future__ import annotations

import functools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.segmenter import Finish, Segmenter
from tests.support.encoded import RUN, made_up, mapping_at, small_config, video
from vms.errors import MalformedError
from vms.media.boxes import BytesSource, box, children, uuid_box
from vms.media.digest import canonical_json
from vms.media.sample_entry import SampleEntry
from vms.media.segment_head import HEAD_UUID, decode_head, decode_trailer
from vms.media.segment_reader import SegmentReader, facts, read_head, scan_open, verify
from vms.model import AccessUnit, Codec

FRAME = 3600


class CountingSource(BytesSource):
    """Counts what is read, and refuses a read of more than the file."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.reads: list[tuple[int, int]] = []

    def read(self, offset: int, length: int) -> bytes:
        assert offset >= 0
        assert 0 <= length <= self.size + 16
        self.reads.append((offset, length))
        return super().read(offset, length)


def segment(units: list[AccessUnit]) -> bytes:
    """One finished segment."""
    segmenter = Segmenter(RUN, mapping_at)
    actions = [a for u in units for a in segmenter.push(u)] + segmenter.flush()
    assert sum(isinstance(a, Finish) for a in actions) == 1
    return b"".join(b"".join(a.buffers) for a in actions)


@functools.cache
def small() -> bytes:
    config = small_config()
    return segment([made_up(n * FRAME, key=n % 8 == 0, config=config, damaged=n == 20) for n in range(24)])


@functools.cache
def minute() -> tuple[list[AccessUnit], bytes]:
    config = small_config()
    units = [made_up(n * FRAME, key=n % 50 == 0, config=config, size=4000) for n in range(1500)]
    return units, segment(units)


def read_everything(data: bytes) -> None:
    """Every entrance; each either works or raises MalformedError, and reads in bounds."""
    source = CountingSource(data)
    for entrance in (
        lambda: read_head(data),
        lambda: scan_open(source),
        lambda: facts(source),
        lambda: list(SegmentReader(source).units()),
        lambda: list(SegmentReader(source).units(10 * FRAME, 12 * FRAME)),
        lambda: verify(source),
    ):
        try:
            entrance()
        except MalformedError:
            continue
    assert len(source.reads) < 1000


def test_facts_without_recomputing_read_little():
    _, data = minute()
    source = CountingSource(data)
    stated = facts(source, b"d" * 32)
    assert (stated.units, stated.key_units, stated.digest) == (1500, 30, b"d" * 32)
    assert sum(length for _, length in source.reads) < 8000
    assert stated == facts(BytesSource(data), b"d" * 32)


@pytest.mark.parametrize(("start", "end"), [(0, 10), (120, 130), (149, 151), (1499, 1600), (-50, 1)])
def test_a_range_reads_its_groups_only(start, end):
    units, data = minute()
    source = CountingSource(data)
    reader = SegmentReader(source)
    source.reads.clear()
    got = list(reader.units(start * FRAME, end * FRAME))
    first = max(0, start) // 50 * 50
    assert [u.pts for u in got[: end - first]] == [u.pts for u in units[first:end]]
    assert len(got) <= min(end, 1500) - first + 12
    low, high = reader.byte_range(start * FRAME, end * FRAME)
    assert all(low <= offset and offset + min(length, 9) <= high for offset, length in source.reads)


def test_a_file_without_index_is_walked():
    units, data = minute()
    open_file = data[: data.rindex(b"mfra") - 4]
    reader = SegmentReader(BytesSource(open_file))
    assert reader.trailer is None
    assert [u.pts for u in reader.units(700 * FRAME, 710 * FRAME)][:10] == [u.pts for u in units[700:710]]
    with pytest.raises(MalformedError, match="no trailer"):
        reader.facts()


def test_a_growing_file_is_scanned_from_where_it_was():
    _, data = minute()
    source = CountingSource(data)
    half = scan_open(BytesSource(data[: len(data) // 2]))
    assert 0 < half.whole_bytes <= len(data) // 2
    whole = scan_open(source, half)
    assert source.reads[0][0] == half.whole_bytes
    assert whole == scan_open(BytesSource(data))
    assert whole.whole_bytes == data.rindex(b"mfra") - 4
    first = whole.fragments[0]
    assert (first.units, first.key, first.first_pts, first.start_pts, first.end_pts) == (12, True, 0, 0, 12 * FRAME)


def test_truncated_anywhere():
    data = small()
    whole = scan_open(BytesSource(data))
    units = list(SegmentReader(BytesSource(data)).units())
    for cut in range(len(data)):
        part = BytesSource(data[:cut])
        if cut < whole.start.size_bytes:
            with pytest.raises(MalformedError):
                read_head(data[:cut])
            with pytest.raises(MalformedError):
                scan_open(part)
            continue
        scan = scan_open(part)
        ends = [f.end for f in whole.fragments if f.end <= cut]
        assert scan.whole_bytes == (ends[-1] if ends else whole.start.size_bytes)
        assert list(SegmentReader(part).units()) == units[: sum(f.units for f in scan.fragments)]
        with pytest.raises(MalformedError):
            facts(part)


def test_every_flipped_byte_is_noticed():
    data = small()
    for at in range(len(data)):
        broken = bytearray(data)
        broken[at] ^= 1 << at % 8
        source = BytesSource(bytes(broken))
        try:
            check = verify(source)
        except MalformedError:
            continue
        assert check.facts.digest != verify(BytesSource(data)).facts.digest


def test_a_changed_picture_or_statement_breaks_its_group_or_the_seal():
    data = small()
    scan = scan_open(BytesSource(data))
    broken = bytearray(data)
    broken[scan.fragments[1].end - 1] ^= 1
    check = verify(BytesSource(bytes(broken)))
    assert check.bad_groups == (1,)
    assert not check.sound
    for old, new in ((b"rejestrator-1", b"rejestrator-2"), (b'"units":24', b'"units":25')):
        try:
            assert not verify(BytesSource(data.replace(old, new))).sound
        except MalformedError as error:
            assert "disagree" in str(error)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_random_damage_parses_or_raises(data):
    original = small()
    broken = bytearray(original)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(broken) - 1))
        what = data.draw(st.sampled_from(["byte", "size", "cut", "zero", "repeat"]))
        if what == "byte":
            broken[at] = data.draw(st.integers(0, 255))
        elif what == "size":
            broken[at : at + 4] = data.draw(
                st.sampled_from([b"\0\0\0\0", b"\0\0\0\1", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff"])
            )
        elif what == "cut":
            del broken[at : at + data.draw(st.integers(1, 200))]
        elif what == "zero":
            broken[at : at + 100] = bytes(len(broken[at : at + 100]))
        else:
            broken[at:at] = broken[at : at + data.draw(st.integers(1, 300))]
        if not broken:
            break
    read_everything(bytes(broken))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=2000))
def test_any_bytes_parse_or_raise(data):
    read_everything(data)
    start = scan_open(BytesSource(small())).start.size_bytes
    read_everything(small()[:start] + data)


@pytest.mark.parametrize("kind", [b"avc1", b"avc3", b"hvc1", b"hev1", b"mp4a", b"Opus", b"alaw", b"xxxx"])
@settings(max_examples=60, deadline=None)
@given(body=st.binary(max_size=300))
def test_any_sample_entry_parses_or_raises(kind, body):
    for inner in (body, bytes(78) + box(b"avcC", body), bytes(78) + box(b"hvcC", body), bytes(28) + box(b"esds", body)):
        stsd = box(b"stsd", bytes(8), box(kind, inner))
        moov = box(b"moov", box(b"trak", box(b"mdia", box(b"minf", box(b"stbl", stsd)))))
        with pytest.raises(MalformedError):
            read_head(box(b"ftyp", bytes(8)) + moov + uuid_box(HEAD_UUID, b"{}"))


def documents() -> tuple[dict, dict]:
    data = small()
    boxes = list(children(data, 0, len(data)))
    return json.loads(data[boxes[2].body + 16 : boxes[2].end]), json.loads(
        data[boxes[-1].body + 16 : boxes[-1].end - 36]
    )


ENTRY = SampleEntry(b"avc1", Codec.H264)
ODD = [None, True, -1, 1 << 80, 1.5, "", "x" * 2000, [], [[1]], [[2, 1]], [[True, 2]], {}, "z" * 64, "A" * 64, "\ud800"]


@pytest.mark.parametrize("which", [0, 1])
def test_documents_with_odd_values_are_refused(which):
    original = documents()[which]

    def decode(document: bytes) -> object:
        return decode_trailer(document) if which else decode_head(document, ENTRY)

    decode(canonical_json(original))
    for key in original:
        rest = {k: v for k, v in original.items() if k != key}
        for document in (rest, {**original, key + "x": 1}):
            with pytest.raises(MalformedError):
                decode(canonical_json(document))
        for odd in ODD:
            text = json.dumps({**original, key: odd}, separators=(",", ":"), sort_keys=True).encode()
            try:
                decode(text)
            except MalformedError:
                continue
            assert type(odd) is type(original[key])


@pytest.mark.parametrize(
    "document",
    [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"version":1}', b'{"version": 1}', b'{"a":1,"a":1}', b'{"n":' + b"9" * 9999 + b"}"],
)  # fmt: skip
def test_documents_that_are_none_are_refused(document):
    with pytest.raises(MalformedError):
        decode_trailer(document)
    with pytest.raises(MalformedError):
        decode_head(document, ENTRY)


def test_a_head_over_another_codecs_sample_entry_is_refused():
    with pytest.raises(MalformedError, match="hevc"):
        decode_head(canonical_json(documents()[0]), SampleEntry(b"hvc1", Codec.H265))


def test_leading_pictures_belong_to_the_group_before():
    units = list(video(Codec.H265, 96, 3, 24, (("open-gop", "1"), ("min-keyint", "1"))))
    reader = SegmentReader(BytesSource(segment(units)))
    key = [u for u in units if u.key][2]
    leading = min(u.pts for u in units[units.index(key) :])
    assert leading < key.pts
    got = list(reader.units(leading, leading + FRAME))
    assert got[0].pts == [u for u in units if u.key][1].pts
    assert leading in {u.pts for u in got}
