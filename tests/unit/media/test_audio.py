from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vms.errors import MalformedError
from vms.media.audio import (
    SAMPLE_RATES,
    aac_config,
    build_audio_specific_config,
    frame_ticks,
    g711_config,
    opus_config,
    parse_audio_specific_config,
)
from vms.model import Codec


@given(st.one_of(st.sampled_from(SAMPLE_RATES), st.integers(1, 2**24 - 1)), st.integers(1, 6))
def test_audio_specific_config_round_trip(rate: int, channels: int) -> None:
    assert parse_audio_specific_config(build_audio_specific_config(rate, channels)) == (2, rate, channels)


def test_known_configs() -> None:
    assert parse_audio_specific_config(b"\x11\x90") == (2, 48_000, 2)
    assert aac_config(b"\x2b\x11\x88\0", 24_000, 2).profile == "HE-AAC"
    assert build_audio_specific_config(44_100, 8)[1] >> 3 & 15 == 7


@given(st.binary(max_size=70))
def test_any_bytes_parse_or_raise_malformed(data: bytes) -> None:
    try:
        parse_audio_specific_config(data)
    except MalformedError:
        assert aac_config(data, 16_000, 1).extradata == b"\x14\x08"
    assert frame_ticks(opus_config(), data) in range(5761)


@pytest.mark.parametrize(
    ("config", "data", "ticks"),
    [
        (aac_config(b"", 16_000, 1), b"x", 1024),
        (g711_config(Codec.PCMA, 8000, 1), b"x" * 160, 160),
        (g711_config(Codec.PCMU, 8000, 2), b"x" * 320, 160),
        (opus_config(), bytes([31 << 3]), 960),
        (opus_config(), bytes([1 << 3 | 1]), 1920),
        (opus_config(), bytes([16 << 3 | 3, 4]), 480),
        (opus_config(), bytes([3 << 3 | 3, 63]), 0),
        (opus_config(), b"", 0),
    ],
)
def test_frame_durations(config, data: bytes, ticks: int) -> None:
    assert frame_ticks(config, data) == ticks
