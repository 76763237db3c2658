"""Boxes: building, walking, and refusing whatever does not fit."""

from __future__ import annotations

import os
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vms.errors import MalformedError
from vms.media.boxes import (
    BytesSource,
    Fields,
    FileSource,
    box,
    box_at,
    children,
    full_box,
    only_child,
    parse_header,
    read_exactly,
    uuid_box,
)


def test_build_and_walk():
    data = box(b"moov", full_box(b"mvhd", 1, 5, b"abc"), uuid_box(bytes(16), b"xy"))
    (moov,) = children(data, 0, len(data))
    assert (moov.type, moov.start, moov.body, moov.end) == (b"moov", 0, 8, len(data))
    mvhd, uuid = children(data, moov.body, moov.end)
    assert data[mvhd.body : mvhd.end] == b"\1\0\0\5abc"
    assert data[uuid.body : uuid.end] == bytes(16) + b"xy"
    assert only_child(data, moov, b"mvhd") == mvhd


def test_64_bit_size_and_size_to_the_end():
    big = b"\0\0\0\1mdat" + (20).to_bytes(8, "big") + b"abcd"
    assert parse_header(big, 0, 0, 20).body == 16
    assert parse_header(b"\0\0\0\0mdat", 0, 0, 1000).end == 1000


@pytest.mark.parametrize(
    "data",
    [
        b"\0\0\0",
        b"\0\0\0\7free",
        b"\0\0\0\11free",
        b"\xff\xff\xff\xfffree",
        b"\0\0\0\1free",
        b"\0\0\0\1free" + (15).to_bytes(8, "big"),
        b"\0\0\0\1free" + (1 << 63).to_bytes(8, "big"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(data):
    with pytest.raises(MalformedError):
        list(children(data, 0, len(data)))
    with pytest.raises(MalformedError):
        box_at(BytesSource(data), 0, len(data))


def test_only_child_refuses_none_and_two():
    for inner in (b"", box(b"trak") * 2):
        data = box(b"moov", inner)
        with pytest.raises(MalformedError):
            only_child(data, parse_header(data, 0, 0, len(data)), b"trak")


def test_fields_end_where_they_end():
    fields = Fields(b"abcdef", 1, 4, "test")
    assert fields.uint(2) == 0x6263
    assert (fields.at, fields.left) == (3, 1)
    with pytest.raises(MalformedError):
        fields.take(2)
    with pytest.raises(MalformedError):
        Fields(b"\1\0\0\0", 0, 4, "test").version(0)


def test_a_file_source_reads_what_is_there():
    with tempfile.TemporaryFile() as file:
        file.write(b"0123456789")
        file.flush()
        source = FileSource(file.fileno())
        assert (source.size, source.read(2, 3), source.read(8, 10), source.read(20, 1)) == (10, b"234", b"89", b"")
        os.ftruncate(file.fileno(), 4)
        with pytest.raises(MalformedError):
            read_exactly(source, 0, 10)


@given(st.binary(max_size=200))
def test_any_bytes_walk_or_raise(data):
    try:
        found = list(children(data, 0, len(data)))
    except MalformedError:
        return
    assert [b.start for b in found] == [0, *(b.end for b in found)][: len(found)]
    assert not data or found[-1].end == len(data)
