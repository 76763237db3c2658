from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.media_streams import encode
from vms.media import h264, h265
from vms.media.reorder import DecodeTimes
from vms.model import Codec


def decode_times(depth: int, times: list[int]) -> list[int]:
    reorder = DecodeTimes(depth)
    result: list[int] = []
    for index, pts in enumerate(times):
        result += reorder.push(pts)
        assert len(result) >= index + 1 - depth, "a unit waits for at most `depth` more"
    return result + reorder.flush()


@st.composite
def reordered(draw: st.DrawFn) -> tuple[int, list[int]]:
    """Presentation times in a decoding order that keeps to a reorder depth."""
    depth = draw(st.integers(0, 4))
    steps = draw(st.lists(st.integers(1, 9000), min_size=1, max_size=40))
    shown = [sum(steps[: i + 1]) for i in range(len(steps))]
    order: list[int] = []
    waiting = list(shown)
    while waiting:
        # At most `depth` of those already decoded may be shown after the earliest one not yet decoded.
        ahead = sum(1 for pts in order if pts > waiting[0])
        order.append(waiting.pop(draw(st.integers(0, min(depth - ahead, len(waiting) - 1)))))
    return depth, order


@given(reordered())
def test_decoding_times_rise_and_never_exceed_presentation(stream: tuple[int, list[int]]) -> None:
    depth, pts = stream
    dts = decode_times(depth, pts)
    assert len(dts) == len(pts)
    assert all(b > a for a, b in itertools.pairwise(dts))
    assert all(d <= p for d, p in zip(dts, pts, strict=True))
    if depth == 0:
        assert dts == pts


@given(st.integers(0, 16), st.lists(st.integers(-(10**12), 10**12), max_size=60))
def test_any_times_give_rising_ones(depth: int, pts: list[int]) -> None:
    dts = decode_times(depth, pts)
    assert len(dts) == len(pts)
    assert all(b > a for a, b in itertools.pairwise(dts))


def test_ordinary_b_pictures() -> None:
    assert decode_times(1, [0, 6, 3, 12, 9]) == [-6, 0, 3, 6, 9]
    assert decode_times(2, [0, 12, 6, 3, 9]) == [-12, -6, 0, 3, 6]


def test_goes_on_after_an_earlier_part() -> None:
    assert DecodeTimes(0, after=100).push(50) == [101]


def test_a_negative_depth_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        DecodeTimes(-1)


@pytest.mark.parametrize(
    ("codec", "options"),
    [
        (Codec.H264, {"preset": "medium", "x264-params": "bframes=3:b-pyramid=normal:keyint=10:scenecut=0"}),
        (Codec.H265, {"x265-params": "keyint=10:bframes=4:b-pyramid=1:scenecut=0"}),
    ],
)
def test_real_b_pictures(codec: Codec, options: dict[str, str]) -> None:
    stream = encode(codec, options=options)
    make = h264.make_config if codec is Codec.H264 else h265.make_config
    depth = make(stream.pictures[0][0]).reorder_depth
    assert depth > 0
    pts = [p for _, p in stream.pictures]
    assert pts != sorted(pts)
    dts = decode_times(depth, pts)
    assert all(d <= p for d, p in zip(dts, pts, strict=True))
    assert all(b > a for a, b in itertools.pairwise(dts))
