"""Digests version 1, reckoned here once more from the page alone."""

from __future__ import annotations

import hashlib
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vms.media import digest
from vms.model import Origin


def test_unit_and_group_digest():
    first = hashlib.sha256(bytes(8) + b"abc").digest()
    second = hashlib.sha256((-3600).to_bytes(8, "big", signed=True) + b"def").digest()
    assert digest.unit_digest(0, b"abc") == first
    assert digest.unit_digest(-3600, b"def") == second
    assert digest.group_digest([first, second]) == hashlib.sha256(first + second).digest()


def test_video_groups_begin_at_random_access_pictures():
    groups = digest.GroupDigests(90_000, video=True)
    for pts, key in ((700, False), (800, True), (750, False), (900, True)):
        groups.add(pts, b"%d" % pts, key)
    groups.close()
    assert groups.sizes == [1, 2, 1]
    assert groups.digests[1] == digest.group_digest([digest.unit_digest(0, b"800"), digest.unit_digest(-50, b"750")])


def test_audio_groups_last_a_second():
    groups = digest.GroupDigests(8000, video=False)
    for n in range(120):
        groups.add(n * 160, b"", key=True)
    groups.close()
    assert groups.sizes == [50, 50, 20]


@pytest.mark.parametrize(
    ("ticks", "hz", "expected"),
    [
        (5, 90_000, 5),
        (1, 8000, 11),
        (2, 8000, 23),
        (-2, 8000, -22),
        (1024, 16_000, 5760),
        (1, 180_000, 1),
        (-1, 180_000, 0),
    ],
)
def test_rescaling_rounds_to_the_nearest_and_halves_upward(ticks, hz, expected):
    assert digest.to_digest_clock(ticks, hz) == expected


@given(st.integers(-(2**40), 2**40), st.integers(1, 10**6))
def test_rescaling_is_within_half_a_tick(ticks, hz):
    assert abs(2 * digest.to_digest_clock(ticks, hz) * hz - 2 * ticks * 90_000) <= hz


def test_the_first_seal_of_a_run():
    run, stream = UUID(int=1), UUID(int=2)
    text = f'{{"epoch":7,"host":"słup","origin":"edge","run":"{run}","stream":"{stream}"}}'
    assert digest.first_seal(stream, "słup", 7, Origin.EDGE, run) == hashlib.sha256(text.encode()).digest()


def test_seal():
    assert digest.seal(b"p" * 32, b"{}", b"[]", [b"a" * 32]) == hashlib.sha256(b"p" * 32 + b"{}[]" + b"a" * 32).digest()


def test_canonical_json():
    assert digest.canonical_json({"b": 1, "a": ["ż", None, True]}) == '{"a":["ż",null,true],"b":1}'.encode()
    with pytest.raises(ValueError, match="JSON"):
        digest.canonical_json({"a": float("nan")})
