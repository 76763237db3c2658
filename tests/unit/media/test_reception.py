"""Media time of cameras whose timestamps slip, and suffix SEI behind markers that lie."""

from __future__ import annotations

import itertools

import pytest

from tests.support.media_streams import Remembered, prefixed
from vms.media.depacketise import make_depacketiser
from vms.media.reception import MediaTime
from vms.media.rtp import build_rtp
from vms.media.sdp import MediaDescription

FRAME = 3600
FRAME_NS = 40_000_000


def times(stamps: list[int], late_ns: int = 0) -> list[int]:
    """Media times of units that come every 40 ms; every third is late."""
    clock = MediaTime(90_000)
    return [
        clock.pts(stamp & 0xFFFFFFFF, n * FRAME_NS + (late_ns if n % 3 == 0 else 0), reorders=False)
        for n, stamp in enumerate(stamps)
    ]


@pytest.mark.parametrize("late_ns", [0, 30_000_000, 90_000_000])
@pytest.mark.parametrize("base", [0, 900_000, (1 << 32) - 20 * FRAME])
def test_a_lone_timestamp_that_goes_back_moves_nothing(base: int, late_ns: int) -> None:
    stamps = [base + n * FRAME - (45_000 if n % 10 == 6 else 0) for n in range(100)]
    found = times(stamps, late_ns)
    assert [p - found[0] for p in found] == [n * FRAME for n in range(100)]


def test_timestamps_that_went_back_for_good_are_followed() -> None:
    stamps = [900_000 + n * FRAME for n in range(10)] + [n * FRAME for n in range(10, 30)]
    found = times(stamps)
    steps = {b - a for a, b in itertools.pairwise(found)}
    assert steps == {FRAME}


@pytest.mark.parametrize("turn_ns", [FRAME_NS, 245_000_000])
def test_a_reset_of_numbers_alone_moves_no_time(turn_ns: int) -> None:
    """The timestamps go on, which says more than when a picture happened to be read."""
    clock, found = MediaTime(90_000), []
    for n in range(60):
        if n == 30:
            clock.rejoin()
        found.append(clock.pts(900_000 + n * FRAME, -(-n * FRAME_NS // turn_ns) * turn_ns, reorders=False))
    assert [p - found[0] for p in found] == [n * FRAME for n in range(60)]


def test_after_a_reset_to_another_time_the_pace_of_arrival_joins_it() -> None:
    """Pictures were read up to a turn late; the first of the new time comes as its bytes do, as sessions see to."""
    clock, found = MediaTime(90_000), []
    for n in range(75):
        turn_ns = -(-n * FRAME_NS // 245_000_000) * 245_000_000
        found.append(clock.pts(900_000 + n * FRAME, turn_ns, reorders=False))
    clock.rejoin()
    joined = clock.pts(77, 87 * FRAME_NS, reorders=False)
    assert abs(joined - found[0] - 87 * FRAME) <= 90 * 22  # ms


def test_suffix_sei_is_kept_although_every_nal_has_the_marker() -> None:
    """H.265 §7.4.2.4.4: a suffix SEI belongs to the picture before it."""
    pictures = [
        [
            (b"\x26\x01\xaf" if n % 6 == 0 else b"\x02\x01\xd0") + bytes([n + 1]) * 50,
            b"\x50\x01\x84\x01" + bytes([n]) * 8,
        ]
        for n in range(12)
    ]
    sink = Remembered()
    depacketiser = make_depacketiser(MediaDescription("video", 0, "RTP/AVP", 96, "H265", 90_000, 0), sink)
    sequence = 0
    for n, nals in enumerate(pictures):
        for nal in nals:
            packet = bytearray(build_rtp(96, sequence, n * FRAME, 7, nal, marker=True))
            depacketiser.push(packet, 0, len(packet), n * FRAME_NS)
            sequence += 1
    assert [u.data for u in sink.units] == [prefixed(*nals) for nals in pictures][:-1], "the last may go on"
