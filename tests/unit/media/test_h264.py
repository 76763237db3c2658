from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.media_streams import encode
from vms.errors import MalformedError
from vms.media import h264
from vms.media.bits import BitReader, find_sei, unescape
from vms.model import Codec


def sets_of(options: dict[str, str], size: tuple[int, int] = (192, 112)) -> list[bytes]:
    nals = encode(Codec.H264, frames=2, size=size, options=options).pictures[0][0]
    return [n for n in nals if n[0] & 0x1F in (7, 8)]


@pytest.mark.parametrize(
    ("options", "profile", "depth"),
    [
        ({}, "Constrained Baseline", 0),
        ({"preset": "medium", "profile": "main", "x264-params": "bframes=0"}, "Main", 0),
        ({"preset": "medium", "x264-params": "bframes=1:b-pyramid=none"}, "High", 1),
        ({"preset": "medium", "x264-params": "bframes=3:b-pyramid=normal"}, "High", 2),
    ],
)
def test_real_parameter_sets(options: dict[str, str], profile: str, depth: int) -> None:
    config = h264.make_config(reversed(sets_of(options, (182, 102))))
    assert (config.width, config.height, config.profile, config.reorder_depth) == (182, 102, profile, depth)
    assert config.rfc6381 == "avc1." + config.parameter_sets[0][1:4].hex()
    assert [n[0] & 0x1F for n in config.parameter_sets] == [7, 8]


def test_frame_rate_from_vui() -> None:
    assert h264.parse_sps(sets_of({"x264-params": "fps=25/1:timebase=1/25:force-cfr=1"})[0]).fps == 25.0


def test_interlaced_is_seen() -> None:
    assert not h264.parse_sps(sets_of({"x264-params": "interlaced=1"})[0]).frame_mbs_only


def test_depth_without_bitstream_restriction() -> None:
    """A Main profile SPS without VUI: no reordering until B slices show."""
    sps = _sps(main=True)
    config = h264.make_config([sps])
    assert (config.width, config.height, config.reorder_depth) == (320, 240, 0)
    assert h264.make_config([sps], shows_b=True).reorder_depth == 2
    assert h264.make_config([_sps(main=False)], shows_b=True).reorder_depth == 0


def ue(value: int) -> str:
    bits = f"{value + 1:b}"
    return "0" * (len(bits) - 1) + bits


def _sps(*, main: bool, sps_id: int = 0) -> bytes:
    bits = f"{77 if main else 66:08b}" + "0" * 8 + f"{31:08b}"
    bits += ue(sps_id) + ue(0) + ue(0) + ue(0) + ue(4) + "0" + ue(19) + ue(14) + "1" + "1" + "0" + "0" + "1"
    bits += "0" * (-len(bits) % 8)
    return b"\x67" + int(bits, 2).to_bytes(len(bits) // 8, "big")


def test_the_sps_in_use_gives_the_facts() -> None:
    first, second = sets_of({})[0], _sps(main=True, sps_id=3)
    assert h264.make_config([first, second]).width == 192
    assert h264.make_config([first, second], sps_id=3).width == 320
    assert len(h264.make_config([first, second, b"\x67bad", b"", b"\x68"]).parameter_sets) == 2


@given(st.binary(max_size=100))
def test_any_bytes_parse_or_raise_malformed(data: bytes) -> None:
    for nal in (b"\x67" + data, b"\x67\x64\0\x28" + data, b"\x67\x42\0\x28" + data):
        try:
            sps = h264.parse_sps(nal)
        except MalformedError:
            continue
        assert 0 < sps.width <= 16_400
        assert sps.guessed_depth in (1, 2)
    for parse in (h264.parse_pps, h264.parse_slice_header):
        with contextlib.suppress(MalformedError):
            parse(b"\x68" + data)
    h264.recovery_frame_count(b"\x06" + data)
    h264.make_config([b"\x67" + data, b"\x68" + data, data])


@pytest.mark.parametrize("filling", [b"\0", b"\xff", b"\x55", b"\0\0\3", b"\x64\0\x28\x80"])
def test_an_enormous_parameter_set_fails_fast(filling: bytes) -> None:
    nal = b"\x67" + filling * (10_000_000 // len(filling))
    began = time.perf_counter()
    with pytest.raises(MalformedError):
        h264.parse_sps(nal)
    with pytest.raises(MalformedError):
        h264.parse_pps(b"\x68" + nal)
    assert h264.make_config([nal]).parameter_sets == ()
    h264.recovery_frame_count(b"\x06" + nal)
    assert time.perf_counter() - began < 1


def test_recovery_point_among_other_messages() -> None:
    user = b"\x05\xff\x10" + b"u" * 271
    assert h264.recovery_frame_count(b"\x06" + user + b"\x06\x01\xc4\x80") == 0
    assert h264.recovery_frame_count(b"\x06" + user + b"\x80") is None
    assert find_sei(b"\x06\x05\x7fshort", 1, 6) is None


def test_slice_headers() -> None:
    header = h264.parse_slice_header(b"\x41" + int("1" + ue(6) + ue(2) + "1" * 7, 2).to_bytes(2, "big"))
    assert (header.first_mb, header.slice_type, header.pps_id, header.bottom_field) == (0, 1, 2, None)


@given(st.binary(max_size=200))
def test_emulation_prevention(data: bytes) -> None:
    escaped, zeros = bytearray(), 0
    for byte in data:
        if zeros >= 2 and byte <= 3:
            escaped.append(3)
            zeros = 0
        zeros = zeros + 1 if byte == 0 else 0
        escaped.append(byte)
    assert unescape(escaped) == data


@given(st.lists(st.integers(-(2**31) + 1, 2**31 - 1), max_size=10))
def test_exp_golomb(values: list[int]) -> None:
    bits = "".join(ue(2 * v - 1 if v > 0 else -2 * v) for v in values)
    bits += "0" * (-len(bits) % 8)
    reader = BitReader(int(bits or "0", 2).to_bytes(len(bits) // 8, "big"), "test")
    assert [reader.se() for _ in values] == values
