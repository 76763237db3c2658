from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vms.errors import MalformedError
from vms.media.rtp import (
    Unwrapper,
    build_rtp,
    packetise,
    parse_rtp,
    sequence_delta,
    split_nals,
    timestamp_delta,
    with_parameter_sets,
)
from vms.model import Codec


@given(
    st.integers(0, 127), st.integers(0, 65_535), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1),
    st.binary(max_size=50), st.booleans(),
)  # fmt: skip
def test_header_round_trip(kind: int, seq: int, ts: int, ssrc: int, payload: bytes, marker: bool) -> None:  # noqa: PLR0917
    data = build_rtp(kind, seq, ts, ssrc, payload, marker=marker)
    p = parse_rtp(b"xx" + data + b"yy", 2, 2 + len(data))
    assert (p.payload_type, p.sequence, p.timestamp, p.ssrc, p.marker) == (kind, seq, ts, ssrc, marker)
    assert data[p.payload_start - 2 : p.payload_end - 2] == payload


@given(st.binary(max_size=80))
def test_any_bytes_parse_or_raise_malformed(data: bytes) -> None:
    try:
        p = parse_rtp(data)
    except MalformedError:
        return
    assert 12 <= p.payload_start <= p.payload_end <= len(data)


def test_extras_are_skipped() -> None:
    data = b"\xb2\x60" + b"\0\1" + b"\0" * 8 + b"CSRCCSRC" + b"\xbe\xde\0\1abcd" + b"pay" + b"\0\2"
    p = parse_rtp(data)
    assert data[p.payload_start : p.payload_end] == b"pay"
    with pytest.raises(MalformedError):
        parse_rtp(data[:-1] + b"\x40")
    with pytest.raises(MalformedError):
        parse_rtp(data[:-1] + b"\0")
    with pytest.raises(MalformedError):
        parse_rtp(b"\x90\x60" + b"\0" * 11)


def test_arithmetic_on_the_circle() -> None:
    assert sequence_delta(2, 65_534) == 4
    assert sequence_delta(65_534, 2) == -4
    assert sequence_delta(32_768, 0) == -32_768
    assert timestamp_delta(5, 2**32 - 5) == 10
    assert timestamp_delta(2**32 - 5, 5) == -10


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(-(2**31) + 1, 2**31 - 1), max_size=30))
def test_unwrapper_follows_any_steps(first: int, steps: list[int]) -> None:
    unwrapper, time = Unwrapper(), first
    assert unwrapper.unwrap(first) == first
    for step in steps:
        assert unwrapper.peek((time + step) % 2**32) == time + step
        time += step
        assert unwrapper.unwrap(time % 2**32) == time


@pytest.mark.parametrize("data", [b"\0", b"\0\0\0\0", b"\0\0\0\5abc", b"\xff\xff\xff\xffx"])
def test_bad_lengths_are_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        list(split_nals(data))


@given(st.integers(16, 200), st.integers(1, 2000))
def test_payloads_keep_to_their_size(limit: int, size: int) -> None:
    for codec, head in ((Codec.H264, b"\x65"), (Codec.H265, b"\x26\x01")):
        nal = head + b"\x77" * size
        payloads = packetise(codec, with_parameter_sets(len(nal).to_bytes(4, "big") + nal, [head + b"\1"] * 3), limit)
        assert all(0 < len(p) <= limit for p in payloads)
    assert all(len(p) <= limit for p in packetise(Codec.AAC, b"\1" * size, limit))
    assert b"".join(packetise(Codec.PCMU, b"\1" * size, limit)) == b"\1" * size
    assert packetise(Codec.OPUS, b"\1" * size, limit) == [b"\1" * size]


def test_small_nals_share_an_aggregate() -> None:
    sets = [b"\x67" + b"a" * 10, b"\x68bb"]
    payloads = packetise(Codec.H264, with_parameter_sets(b"", sets))
    assert payloads == [b"\x78\0\x0b" + sets[0] + b"\0\x03" + sets[1]]


def test_frames_and_limits_that_do_not_fit() -> None:
    with pytest.raises(MalformedError):
        packetise(Codec.AAC, b"\1" * 8192)
    with pytest.raises(MalformedError):
        packetise(Codec.H265, b"\0\0\0\1\x26")
    with pytest.raises(ValueError, match="16"):
        packetise(Codec.H264, b"", 15)
