from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.media_streams import encode
from vms.errors import MalformedError
from vms.media import h265
from vms.model import Codec


@pytest.mark.parametrize(
    ("parameters", "depth"), [("bframes=0", 0), ("bframes=1:b-pyramid=0", 1), ("bframes=4:b-pyramid=1", 2)]
)
def test_real_parameter_sets(parameters: str, depth: int) -> None:
    stream = encode(
        Codec.H265, frames=2, size=(184, 104), options={"x265-params": f"{parameters}:scaling-list=default"}
    )
    config = h265.make_config(reversed(stream.pictures[0][0]))
    assert (config.width, config.height, config.profile) == (184, 104, "Main")
    assert (config.reorder_depth, config.nominal_fps) == (depth, 25.0)
    assert [h265.nal_type(n) for n in config.parameter_sets] == [32, 33, 34]
    assert config.rfc6381.startswith("hvc1.1.6.L30.")


def test_rfc6381_of_the_standard_s_example() -> None:
    sps = h265.Sps(0, 0, 0, False, 1, 0x60000000, b"\xb0\0\0\0\0\0", 93, 1280, 720, 0, 0.0)
    assert sps.rfc6381 == "hvc1.1.6.L93.B0"


@given(st.binary(max_size=120))
def test_any_bytes_parse_or_raise_malformed(data: bytes) -> None:
    for nal in (b"\x42\x01" + data, b"\x42\x01\x01\x01\x60\0\0\0" + data):
        try:
            sps = h265.parse_sps(nal)
        except MalformedError:
            continue
        assert 0 < sps.width <= 16_384
        assert sps.rfc6381
    for parse, head in (
        (h265.parse_pps, b"\x44\x01"),
        (h265.parse_vps_id, b"\x40\x01"),
        (h265.slice_pps_id, b"\x26\x01"),
    ):
        with contextlib.suppress(MalformedError):
            parse(head + data)
    h265.recovery_picture_count(b"\x4e\x01" + data)
    h265.make_config([b"\x42\x01" + data, b"\x44\x01" + data, data])


@pytest.mark.parametrize("filling", [b"\0", b"\xff", b"\x55", b"\0\0\3", b"\x01\x01\x60\0"])
def test_an_enormous_parameter_set_fails_fast(filling: bytes) -> None:
    nal = b"\x42\x01" + filling * (10_000_000 // len(filling))
    began = time.perf_counter()
    with pytest.raises(MalformedError):
        h265.parse_sps(nal)
    with pytest.raises(MalformedError):
        h265.parse_sps(nal[:60_000] if filling != b"\x01\x01\x60\0" else nal)
    assert h265.make_config([nal]).parameter_sets == ()
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize("cut", range(20, 60, 5))
def test_a_cut_off_sps_keeps_what_it_can(cut: int) -> None:
    sps = next(n for n in encode(Codec.H265, frames=1).pictures[0][0] if h265.nal_type(n) == 33)
    try:
        assert h265.parse_sps(sps[:cut]).width == 192
    except MalformedError:
        assert cut < 40
