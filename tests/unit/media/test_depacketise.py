"""Depacketising: round trips, loss, and every oddity of cameras that the recorder must take."""

from __future__ import annotations

import itertools
import random
import re
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.media_streams import Remembered, encode, prefixed, rtp_packets
from vms.errors import MalformedError
from vms.media.depacketise import Depacketiser, ReorderBuffer, make_depacketiser
from vms.media.parameter_sets import MAX_SET_BYTES, MAX_SETS_BYTES, ParameterSets
from vms.media.rtp import build_rtp, packetise, with_parameter_sets
from vms.media.sdp import MediaDescription
from vms.media.unit_assembly import between_start_codes
from vms.media.video_units import VideoDepacketiser
from vms.model import AccessUnit, Codec, CodecConfig

ENCODED = {
    "h264": encode(Codec.H264),
    "h264-b-slices": encode(
        Codec.H264, options={"preset": "medium", "x264-params": "bframes=2:keyint=10:slices=4:scenecut=0"}
    ),
    "h264-open-gop": encode(
        Codec.H264, options={"preset": "medium", "x264-params": "open-gop=1:bframes=2:keyint=8:scenecut=0"}
    ),
    "h265": encode(Codec.H265, options={"x265-params": "keyint=8:bframes=3:open-gop=1:scenecut=0"}),
    "h265-slices": encode(Codec.H265, options={"x265-params": "keyint=10:slices=2:bframes=0:scenecut=0"}),
}
SETS = {
    Codec.H264: [n for n in ENCODED["h264"].pictures[0][0] if n[0] & 0x1F in (7, 8)],
    Codec.H265: [n for n in ENCODED["h265"].pictures[0][0] if n[0] >> 1 in (32, 33, 34)],
}
# NAL header and the first bytes of the slice header: first_mb 0 / first slice flag, and not so.
HEADS = {
    Codec.H264: {"key": b"\x65\x88", "first": b"\x41\x9a", "next": b"\x41\x42", "sei": b"\x06\x05\x01\xaa\x80"},
    Codec.H265: {
        "key": b"\x26\x01\xaf",
        "first": b"\x02\x01\xd0",
        "next": b"\x02\x01\x50",
        "sei": b"\x4e\x01\x05\x01\xaa\x80",
    },
}
both = pytest.mark.parametrize("codec", [Codec.H264, Codec.H265])


def nal_type(codec: Codec, nal: bytes) -> int:
    return nal[0] & 0x1F if codec is Codec.H264 else nal[0] >> 1 & 0x3F


def without_sets(codec: Codec, nals: list[bytes]) -> bytes:
    dropped = (7, 8, 9) if codec is Codec.H264 else (32, 33, 34, 35)
    return prefixed(*[n for n in nals if nal_type(codec, n) not in dropped])


def media(codec: Codec) -> MediaDescription:
    return MediaDescription("video", 0, "RTP/AVP", 96, "H264" if codec is Codec.H264 else "H265", 90_000, 0)


def push(target: Depacketiser | ReorderBuffer, packets: list[bytes], step_ns: int = 1_000_000, at_ns: int = 0) -> int:
    """Each packet in the midst of other bytes, as in a receive buffer."""
    for packet in packets:
        buf = bytearray(b"\xee" * 7 + packet + b"\xee" * 40)
        target.push(memoryview(buf), 7, 7 + len(packet), at_ns)
        buf[:] = b"\xcc" * len(buf)  # valid only during the call
        at_ns += step_ns
    return at_ns


def receive(codec: Codec, packets: list[bytes], step_ns: int = 1_000_000) -> tuple[Remembered, Depacketiser]:
    sink = Remembered()
    depacketiser = make_depacketiser(media(codec), sink)
    push(depacketiser, packets, step_ns)
    depacketiser.flush()
    return sink, depacketiser


def body(size: int, seed: int) -> bytes:
    """Bytes without a start code in them."""
    return random.Random(seed).randbytes(size).replace(b"\0", b"\x55")


def picture(codec: Codec, kind: str, size: int = 60, seed: int = 0, slices: int = 1) -> list[bytes]:
    head = HEADS[codec]
    nals = [head[kind] + body(size, seed)]
    rest = head["next"] if kind == "first" else bytes((head["key"][0],)) + head["next"][1:]
    nals += [rest + body(size, seed + 7 * i) for i in range(1, slices)]
    return [*SETS[codec], *nals] if kind == "key" else nals


def session(codec: Codec, count: int = 12, gop: int = 6, slices: int = 1, size: int = 60) -> list[list[bytes]]:
    return [picture(codec, "first" if i % gop else "key", size, i, slices) for i in range(count)]


def one_nal_packets(
    pictures: list[list[bytes]], *, stamp=lambda i, n: 3600 * i, marker=lambda i, n, last: last, sequence: int = 0
) -> list[bytes]:
    packets = []
    for i, nals in enumerate(pictures):
        for n, nal in enumerate(nals):
            last = n == len(nals) - 1
            packets.append(build_rtp(96, sequence, stamp(i, n), 7, nal, marker=marker(i, n, last)))
            sequence += 1
    return packets


def units_of(codec: Codec, pictures: list[list[bytes]]) -> list[bytes]:
    return [without_sets(codec, nals) for nals in pictures]


@pytest.mark.parametrize("name", ENCODED)
@pytest.mark.parametrize("max_payload", [60, 300, 1400])
def test_real_pictures_come_back_bit_for_bit(name: str, max_payload: int) -> None:
    stream = ENCODED[name]
    packets = rtp_packets(stream.codec, [(prefixed(*n), pts) for n, pts in stream.pictures], max_payload=max_payload)
    sink, depacketiser = receive(stream.codec, packets)
    assert [(u.data, u.pts) for u in sink.units] == [(without_sets(stream.codec, n), p) for n, p in stream.pictures]
    assert (depacketiser.malformed, depacketiser.lost, sink.losses) == (0, 0, [])
    assert len({id(u.config) for u in sink.units}) == 1
    config = sink.units[0].config
    assert (config.width, config.height) == (192, 112)
    kinds = [{nal_type(stream.codec, nal) for nal in nals} for nals, _ in stream.pictures]
    if stream.codec is Codec.H265:
        assert [u.key for u in sink.units] == [bool(k & set(range(16, 24))) for k in kinds]
    elif name != "h264-open-gop":
        assert [u.key for u in sink.units] == [5 in k for k in kinds]
    else:
        assert sum(u.key for u in sink.units) > sum(5 in k for k in kinds), "recovery points count"
    assert not any(u.damaged for u in sink.units)


@st.composite
def streams(draw: st.DrawFn) -> tuple[Codec, list[list[bytes]], int]:
    codec = draw(st.sampled_from([Codec.H264, Codec.H265]))
    pictures = []
    for i in range(draw(st.integers(1, 12))):
        kind = "key" if i == 0 or draw(st.integers(0, 4)) == 0 else "first"
        size = draw(st.sampled_from([1, 5, 90, 97, 98, 99, 100, 300, 1500]))
        nals = picture(codec, kind, size, i, draw(st.integers(1, 4)))
        if draw(st.booleans()):
            nals.insert(len(SETS[codec]) if kind == "key" else 0, HEADS[codec]["sei"])
        pictures.append(nals)
    return codec, pictures, draw(st.integers(16, 1400))


@given(streams())
@settings(max_examples=150, deadline=None)
def test_round_trip_of_any_sizes(stream: tuple[Codec, list[list[bytes]], int]) -> None:
    codec, pictures, max_payload = stream
    packets = rtp_packets(
        codec, [(prefixed(*n), 1000 + 3600 * i) for i, n in enumerate(pictures)], max_payload=max_payload
    )
    sink, depacketiser = receive(codec, packets)
    assert [u.data for u in sink.units] == units_of(codec, pictures)
    assert depacketiser.malformed == 0
    assert [u.pts for u in sink.units] == [1000 + 3600 * i for i in range(len(pictures))]


@given(streams(), st.data())
@settings(max_examples=200, deadline=None)
def test_loss_costs_exactly_the_units_it_hits(
    stream: tuple[Codec, list[list[bytes]], int], data: st.DataObject
) -> None:
    codec, pictures, max_payload = stream
    kept, whole = [], []
    sequence = 65_000
    for i, nals in enumerate(pictures):
        payloads = packetise(codec, prefixed(*nals), max_payload)
        lost = data.draw(st.sets(st.integers(0, len(payloads) - 1), max_size=3)) if data.draw(st.booleans()) else set()
        for n, payload in enumerate(payloads):
            if n not in lost:
                marker = n == len(payloads) - 1
                kept.append(build_rtp(96, sequence, 3600 * i, 7, payload, marker=marker))
            sequence += 1
        if not lost:
            whole.append(without_sets(codec, nals))
    sink, depacketiser = receive(codec, kept)
    got = [u.data for u in sink.units]
    assert depacketiser.malformed == 0
    assert [d for d in got if d in whole] == whole, "every complete unit arrives, in order"
    # Slices whose SEI or parameter sets alone were lost are kept, and marked; nothing else may come.
    vcl = [_slices(codec, without_sets(codec, nals)) for nals in pictures]
    assert all(_slices(codec, d) in vcl for d in got), "no partial or mixed picture"
    assert all(u.damaged for u in sink.units[1:] if u.data not in whole), "in front of the first nothing was awaited"


@given(streams(), st.booleans(), st.data())
@settings(max_examples=100, deadline=None)
def test_loss_under_useless_markers_never_gives_a_partial_picture(
    stream: tuple[Codec, list[list[bytes]], int], every: bool, data: st.DataObject
) -> None:
    codec, pictures, max_payload = stream
    pictures.insert(0, picture(codec, "key", 60, 1, slices=2))  # shows that the marker means nothing
    kept, sequence = [], 0
    for i, nals in enumerate(pictures):
        payloads = [p for nal in nals for p in packetise(codec, prefixed(nal), max_payload)]
        hit = i > 0 and data.draw(st.booleans())
        lost = data.draw(st.sets(st.integers(0, len(payloads) - 1), max_size=3)) if hit else set()
        for n, payload in enumerate(payloads):
            if n not in lost:
                kept.append(build_rtp(96, sequence, 3600 * i, 7, payload, marker=every))
            sequence += 1
    sink, _ = receive(codec, kept)
    vcl = [_slices(codec, without_sets(codec, nals)) for nals in pictures]
    got = [_slices(codec, u.data) for u in sink.units]
    assert all(d in vcl for d in got)


def _slices(codec: Codec, data: bytes) -> bytes:
    from vms.media.rtp import split_nals

    sei = 6 if codec is Codec.H264 else 39
    return b"".join(bytes(n) for n in split_nals(data) if nal_type(codec, bytes(n[:1])) != sei)


@both
def test_units_after_a_loss_are_damaged_up_to_the_next_key(codec: Codec) -> None:
    pictures = session(codec, 14, gop=7)
    packets = rtp_packets(codec, [(prefixed(*n), 3600 * i) for i, n in enumerate(pictures)])
    sink, depacketiser = receive(codec, packets[:3] + packets[4:])
    assert [u.damaged for u in sink.units] == [False] * 3 + [True] * 3 + [False] * 7
    assert (sink.losses, depacketiser.lost) == ([1], 1)


@both
@pytest.mark.parametrize("lost", ["before", "within", "sei"])
def test_a_key_picture_is_damaged_where_its_head_may_be_lost(codec: Codec, lost: str) -> None:
    """Three fragments a picture. What is lost directly in front of a key picture may have been its SEI."""
    pictures = session(codec, 14, gop=7)
    packets = rtp_packets(codec, [(prefixed(*n), 3600 * i) for i, n in enumerate(pictures)], max_payload=30)
    times = [int.from_bytes(p[4:8], "big") for p in packets]
    key = times.index(3600 * 7)
    gone = {"before": key - 1, "within": key - 2, "sei": key}[lost]
    sink, _ = receive(codec, packets[:gone] + packets[gone + 1 :])
    marked = next(u.damaged for u in sink.units if u.key and u.pts - sink.units[0].pts == 3600 * 7)
    assert marked == (lost != "within")
    assert not any(u.damaged for u in sink.units[-6:]), "what refers to it is whole"


@given(st.lists(st.binary(max_size=60), max_size=30), st.sampled_from(["H264", "H265", "MPEG4-GENERIC", "PCMU"]))
@settings(max_examples=300, deadline=None)
def test_no_bytes_make_push_raise(chunks: list[bytes], encoding: str) -> None:
    kind = "video" if encoding.startswith("H26") else "audio"
    depacketiser = make_depacketiser(MediaDescription(kind, 0, "RTP/AVP", 96, encoding, 90_000, 1), Remembered())
    push(depacketiser, chunks)
    push(depacketiser, [build_rtp(96, i, 0, 1, chunk, marker=i % 3 == 0) for i, chunk in enumerate(chunks)])
    depacketiser.flush()


@both
def test_every_nal_with_a_marker(codec: Codec) -> None:
    pictures = session(codec, slices=3)
    sink, _ = receive(codec, one_nal_packets(pictures, marker=lambda i, n, last: True))
    assert [u.data for u in sink.units] == units_of(codec, pictures)[:-1], "the last is not known to be whole"


@both
def test_no_marker_at_all(codec: Codec) -> None:
    pictures = session(codec, slices=2)
    sink, _ = receive(codec, one_nal_packets(pictures, marker=lambda i, n, last: False))
    assert [u.data for u in sink.units] == units_of(codec, pictures)[:-1]


@both
def test_proven_marker_closes_a_unit_at_once(codec: Codec) -> None:
    packets = rtp_packets(codec, [(prefixed(*n), 3600 * i) for i, n in enumerate(session(codec))])
    sink = Remembered()
    depacketiser = make_depacketiser(media(codec), sink)
    counts = []
    for packet in packets:
        push(depacketiser, [packet])
        counts.append(len(sink.units))
    assert counts[0] == 0
    assert counts[-1] == 12, "no flush was needed"


@both
@pytest.mark.parametrize("constant", [0, 123_456])
@pytest.mark.parametrize("with_marker", [True, False])
def test_constant_timestamps(codec: Codec, constant: int, with_marker: bool) -> None:
    pictures = session(codec, slices=2)
    packets = one_nal_packets(pictures, stamp=lambda i, n: constant, marker=lambda i, n, last: last and with_marker)
    sink = Remembered()
    depacketiser = make_depacketiser(media(codec), sink)
    at = 0
    for packet in packets:
        at = push(depacketiser, [packet], 10_000_000, at)
    depacketiser.flush()
    assert [u.data for u in sink.units] == units_of(codec, pictures)[: None if with_marker else -1]
    pts = [u.pts for u in sink.units]
    assert all(b > a for a, b in itertools.pairwise(pts))
    elapsed = (sink.units[-1].arrival_mono_ns - sink.units[0].arrival_mono_ns) * 90_000 // 10**9
    assert abs((pts[-1] - pts[0]) - elapsed) <= 90_000 // 25


@both
def test_a_timestamp_per_nal(codec: Codec) -> None:
    pictures = session(codec, slices=3)
    packets = one_nal_packets(pictures, stamp=lambda i, n: 3600 * i + n)
    sink, _ = receive(codec, packets)
    assert [u.data for u in sink.units] == units_of(codec, pictures)


@both
def test_backward_timestamps_still_rise(codec: Codec) -> None:
    pictures = session(codec, 20)
    packets = one_nal_packets(pictures, stamp=lambda i, n: 900_000 + 3600 * i if i < 8 else 3600 * i)
    sink, _ = receive(codec, packets, 10_000_000)
    pts = [u.pts for u in sink.units]
    assert len(pts) == 20
    if codec is Codec.H264:  # the H.265 parameter sets announce reordering: a small step back would be a B picture
        assert all(b > a for a, b in itertools.pairwise(pts))
    assert max(pts) - min(pts) < 90_000 * 3


def test_timestamps_wrap() -> None:
    pictures = session(Codec.H264, 4)
    sink, _ = receive(
        Codec.H264, one_nal_packets(pictures, stamp=lambda i, n: (0xFFFFFFFF - 3600 + 3600 * i) & 0xFFFFFFFF)
    )
    assert [u.pts - sink.units[0].pts for u in sink.units] == [0, 3600, 7200, 10_800]


@both
def test_units_without_a_picture_attach_to_the_next(codec: Codec) -> None:
    sei = HEADS[codec]["sei"]
    packets, sequence = [], 0
    for i, nals in enumerate(session(codec, 8)):
        for nal in (sei, *nals):
            stamp = 3600 * i - (1800 if nal == sei else 0) + 3600
            packets.append(build_rtp(96, sequence, stamp, 7, nal, marker=True))
            sequence += 1
    sink, _ = receive(codec, packets)
    expected = [prefixed(sei) + without_sets(codec, n) for n in session(codec, 8)]
    assert [u.data for u in sink.units] == expected
    assert [u.pts for u in sink.units] == [3600 * (i + 1) for i in range(8)]


@both
@pytest.mark.parametrize("code", [b"\0\0\1", b"\0\0\0\1"])
@pytest.mark.parametrize("lead", [False, True])
def test_start_codes_inside_a_payload(codec: Codec, code: bytes, lead: bool) -> None:
    pictures = session(codec, 6, gop=3, slices=2, size=3000)
    packets, sequence = [], 0
    for i, nals in enumerate(pictures):
        joined = (code if lead else b"") + code.join(nals)
        payloads = [joined] if lead else packetise(codec, prefixed(joined), 1400)
        for n, payload in enumerate(payloads):
            packets.append(build_rtp(96, sequence, 3600 * i, 7, payload, marker=n == len(payloads) - 1))
            sequence += 1
    sink, depacketiser = receive(codec, packets)
    assert [u.data for u in sink.units] == units_of(codec, pictures)
    assert depacketiser.malformed == 0
    assert sink.units[0].key


@both
def test_access_unit_delimiters_and_filler_are_left_out(codec: Codec) -> None:
    aud = b"\x09\xf0" if codec is Codec.H264 else b"\x46\x01\x50"
    filler = b"\x0c\xff\xff\x80" if codec is Codec.H264 else b"\x4c\x01\xff\x80"
    pictures = session(codec, 8)
    sink, _ = receive(codec, one_nal_packets([[aud, *n, filler] for n in pictures]))
    assert [u.data for u in sink.units] == units_of(codec, pictures)


@both
def test_two_parameter_sets_in_turn_do_not_change_the_configuration(codec: Codec) -> None:
    second = encode(codec, frames=1, size=(320, 176))
    other = [n for n in second.pictures[0][0] if nal_type(codec, n) in (7, 8, 32, 33, 34)]
    pictures = []
    for i in range(12):
        sets = SETS[codec] if i % 2 else other
        pictures.append([*sets, HEADS[codec]["key"] + body(40, i)])
    sink, _ = receive(codec, one_nal_packets(pictures))
    assert [u.config.width for u in sink.units] == [192 if i % 2 else 320 for i in range(12)]
    assert len({id(u.config) for u in sink.units}) == 2, "contents seen before give the same object"


@both
def test_a_new_picture_size_comes_with_its_own_picture(codec: Codec) -> None:
    second = encode(codec, frames=1, size=(320, 176))
    other = [n for n in second.pictures[0][0] if nal_type(codec, n) in (7, 8, 32, 33, 34)]
    pictures = [*session(codec, 8), [*other, HEADS[codec]["key"] + body(40, 99)], *session(codec, 4)[1:]]
    sink, _ = receive(codec, one_nal_packets(pictures))
    assert [u.config.width for u in sink.units] == [192] * 8 + [320] * 4
    assert all(a.config is b.config for a, b in itertools.pairwise(sink.units[:8]))


@both
def test_parameter_sets_from_the_sdp_only_or_wrong_there(codec: Codec) -> None:
    from vms.media.sdp import describe, initial_config

    base = initial_config(media(codec))
    assert base is not None
    assert not base.parameter_sets
    sink, _ = receive(codec, one_nal_packets(session(codec)))
    config = sink.units[0].config
    sink = Remembered()
    depacketiser = make_depacketiser(describe(config, 96, "track"), sink)
    bare = [nals[-1:] for nals in session(codec)]
    push(depacketiser, one_nal_packets(bare))
    depacketiser.flush()
    assert sink.units[0].key
    assert sink.units[0].config == config

    other = encode(codec, frames=1, size=(320, 176)).pictures[0][0]
    sink2, _ = receive(codec, one_nal_packets([other, *session(codec)[1:3]]))
    wrong = describe(sink2.units[0].config, 96, "track")
    sink = Remembered()
    depacketiser = make_depacketiser(wrong, sink)
    push(depacketiser, one_nal_packets(session(codec)))
    assert {u.config.width for u in sink.units} == {192}, "in band wins"


@both
def test_without_parameter_sets_nothing_is_a_key(codec: Codec) -> None:
    bare = [nals[-1:] for nals in session(codec)]
    sink, _ = receive(codec, one_nal_packets(bare))
    assert len(sink.units) == 12
    assert not any(u.key for u in sink.units)
    assert all(u.damaged for u in sink.units)


def test_joining_in_the_midst_of_a_picture() -> None:
    packets = one_nal_packets(session(Codec.H264, slices=3))
    sink, _ = receive(Codec.H264, packets[4:])
    assert sink.losses == []
    assert [u.data for u in sink.units] == units_of(Codec.H264, session(Codec.H264, slices=3))[1:]
    assert [u.damaged for u in sink.units][:6] == [True] * 5 + [False]


def _recovery_sei(count: int) -> bytes:
    bits = f"{count + 1:b}"
    bits = "0" * (len(bits) - 1) + bits + "0010" + "1"
    bits += "0" * (-len(bits) % 8)
    payload = int(bits, 2).to_bytes(len(bits) // 8, "big")
    return b"\x06\x06" + bytes((len(payload),)) + payload + b"\x80"


@pytest.mark.parametrize(("count", "expected"), [(0, 2), (30, 2), (5000, 0)])
def test_recovery_points_where_no_idr_comes(count: int, expected: int) -> None:
    pictures = []
    for i in range(12):
        head = [*SETS[Codec.H264], _recovery_sei(count)] if i % 6 == 0 else []
        pictures.append([*head, HEADS[Codec.H264]["first"] + body(50, i)])
    sink, _ = receive(Codec.H264, one_nal_packets(pictures))
    assert len(sink.units) == 12
    assert sum(u.key for u in sink.units) == expected


def test_gradual_refresh_does_not_count_once_an_idr_came() -> None:
    pictures = session(Codec.H264, 3)
    pictures += [[_recovery_sei(30), HEADS[Codec.H264]["first"] + body(50, i)] for i in range(4)]
    sink, _ = receive(Codec.H264, one_nal_packets(pictures))
    assert [u.key for u in sink.units] == [True] + [False] * 6


def _h265(kind: int, seed: int) -> bytes:
    return bytes((kind << 1, 1, 0xD0)) + body(40, seed)


@pytest.mark.parametrize("lose", [False, True])
def test_rasl_pictures_are_left_out_only_where_decoding_begins(lose: bool) -> None:
    pictures = [[*SETS[Codec.H265], _h265(21, 0)], [_h265(9, 1)], [_h265(8, 2)], [_h265(1, 3)], [_h265(1, 4)]]
    pictures += [[_h265(21, 5)], [_h265(9, 6)], [_h265(1, 7)], [_h265(1, 8)]]
    times = [3, 1, 2, 4, 5, 8, 6, 9, 10]
    packets = one_nal_packets(pictures, stamp=lambda i, n: times[i] * 3600)
    if lose:
        del packets[7]  # the trailing picture before the second CRA
    sink, depacketiser = receive(Codec.H265, packets)
    expected = units_of(Codec.H265, pictures)
    kept = [0, 3, 5, 7, 8] if lose else [0, 3, 4, 5, 6, 7, 8]
    assert [u.data for u in sink.units] == [expected[i] for i in kept]
    assert depacketiser.skipped == (3 if lose else 2)  # type: ignore[attr-defined]
    assert [u.damaged for u in sink.units] == [lose and i == 5 for i in kept], "what was lost may have been its head"


def test_leading_b_pictures_of_an_open_gop_are_left_out_at_a_start() -> None:
    stream = ENCODED["h264-open-gop"]
    start = next(i for i, (n, _) in enumerate(stream.pictures) if i and any(x[0] & 31 == 7 for x in n))
    cut = [(prefixed(*n), p) for n, p in stream.pictures[start:]]
    sink, depacketiser = receive(Codec.H264, rtp_packets(Codec.H264, cut))
    assert sink.units[0].key
    assert min(u.pts for u in sink.units) == sink.units[0].pts
    assert depacketiser.skipped > 0  # type: ignore[attr-defined]


@both
def test_duplicates_strangers_and_other_payload_types_are_ignored(codec: Codec) -> None:
    pictures = session(codec)
    packets = one_nal_packets(pictures)
    noise = []
    for i, packet in enumerate(packets):
        noise += [packet, packet, build_rtp(96, 500 + i, 5, 99, b"\x41\x9aXX"), build_rtp(13, i, 0, 7, b"cn")]
    sink, depacketiser = receive(codec, noise)
    assert [u.data for u in sink.units] == units_of(codec, pictures)
    assert depacketiser.ignored == 3 * len(packets)
    assert sink.losses == []


@both
def test_a_new_source_is_taken_when_the_old_one_is_silent(codec: Codec) -> None:
    sink = Remembered()
    depacketiser = make_depacketiser(media(codec), sink)
    push(depacketiser, one_nal_packets(session(codec)), 10_000_000)
    fresh = [p[:8] + b"\0\0\0\x63" + p[12:] for p in one_nal_packets(session(codec, 24), sequence=40_000)]
    push(depacketiser, fresh, 40_000_000, 500_000_000)
    depacketiser.flush()
    assert depacketiser.ssrc == 0x63
    assert sink.losses == [1]
    assert 12 + 6 <= len(sink.units) < 36
    pts = [u.pts for u in sink.units]
    assert all(b > a for a, b in itertools.pairwise(pts))
    first = sink.units[12]
    assert first.damaged or first.key


@both
def test_a_sequence_reset_is_believed_at_its_second_packet(codec: Codec) -> None:
    pictures = session(codec, 24)
    packets = one_nal_packets(pictures[:12]) + one_nal_packets(pictures[12:], sequence=30_000)
    sink, depacketiser = receive(codec, packets)
    assert sink.losses == [1]
    assert len(sink.units) >= 12 + 11
    assert depacketiser.lost == 0


def test_an_endless_unit_is_given_up() -> None:
    sink = Remembered()
    depacketiser = make_depacketiser(media(Codec.H264), sink)
    chunk = b"\x7c\x05" + b"\x11" * 60_000
    push(depacketiser, [build_rtp(96, 0, 0, 1, b"\x7c\x85\x88" + b"\x11" * 100)])
    push(depacketiser, [build_rtp(96, i, 0, 1, chunk) for i in range(1, 400)])
    assert sink.losses == [1]
    assert sink.units == []


def test_a_parameter_set_of_10_megabytes_fails_fast() -> None:
    sink = Remembered()
    depacketiser = make_depacketiser(media(Codec.H264), sink)
    began = time.perf_counter()
    payloads = packetise(Codec.H264, prefixed(b"\x67" + b"\x42" * 10_000_000), 60_000)
    push(depacketiser, [build_rtp(96, i, 0, 1, p) for i, p in enumerate(payloads)])
    assert depacketiser.malformed == 1
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize("size", [60_000, 4_000_000])
def test_parameter_sets_that_wait_for_their_picture_are_held_within_bounds(size: int) -> None:
    """A set that comes behind a picture is kept unparsed until the next one begins."""
    sink = Remembered()
    depacketiser = make_depacketiser(media(Codec.H264), sink)
    at_ns = push(depacketiser, one_nal_packets(session(Codec.H264, 3)))
    sequence = depacketiser.packets - 1
    payloads = packetise(Codec.H264, prefixed(b"\x67\x42" + b"\x55" * size), 50_000)
    tracemalloc.start()
    try:
        for _ in range(100 if size < 100_000 else 8):
            packets = [build_rtp(96, (sequence := sequence + 1), 3600 * 2, 7, p) for p in payloads]
            at_ns = push(depacketiser, packets, at_ns=at_ns)
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert depacketiser.lost == 0
    assert held < 5 << 20
    assert peak - held < 4 * size + (1 << 20)
    before = len(sink.units)
    push(depacketiser, one_nal_packets(session(Codec.H264, 6), sequence=(sequence + 1) & 0xFFFF), at_ns=at_ns)
    assert len(sink.units) >= before + 4


@both
def test_a_set_joined_with_a_large_picture_in_one_fragmented_nal_is_taken(codec: Codec) -> None:
    pictures = session(codec, 4, gop=2, size=100_000)
    packets: list[bytes] = []
    for i, nals in enumerate(pictures):
        payloads = packetise(codec, prefixed(b"\0\0\1".join(nals)), 1400)
        packets += [
            build_rtp(96, len(packets) + n, 3600 * i, 7, payload, marker=n == len(payloads) - 1)
            for n, payload in enumerate(payloads)
        ]
    sink, depacketiser = receive(codec, packets)
    assert [u.data for u in sink.units] == units_of(codec, pictures)
    assert depacketiser.malformed == 0


def test_parameter_sets_of_a_stream_have_a_limit_together() -> None:
    sets = ParameterSets(CodecConfig(Codec.H264))
    sps, pps = SETS[Codec.H264]
    sets.take(sps)
    sets.take(pps)
    with pytest.raises(MalformedError):
        sets.take(pps + b"\x11" * MAX_SET_BYTES)
    refused = 0
    for number in range(32):
        try:
            sets.take(pps + bytes((number + 1,)) * 60_000)
        except MalformedError:
            refused += 1
    assert sum(map(len, sets.config.parameter_sets)) <= MAX_SETS_BYTES
    for number in range(256):  # ids 0 to 255 as Exp-Golomb, SPS 0
        bits = f"{number + 1:b}".zfill(2 * len(f"{number + 1:b}") - 1) + "1" * 8
        head = int(bits.ljust(64, "1"), 2).to_bytes(8, "big")
        try:
            sets.take(pps[:1] + head + b"\x11" * 60_000)
        except MalformedError:
            refused += 1
    assert refused >= 256 - MAX_SETS_BYTES // 60_000
    assert sum(map(len, sets.config.parameter_sets)) <= MAX_SETS_BYTES


def test_start_codes_without_end_are_refused() -> None:
    sink = Remembered()
    depacketiser = make_depacketiser(media(Codec.H264), sink)
    push(depacketiser, [build_rtp(96, i, 0, 1, b"\x65\x88" + b"\0\0\1\x65" * 10_000) for i in range(3)])
    assert depacketiser.malformed == 3


def test_header_extension_csrc_and_padding() -> None:
    pictures = session(Codec.H264, size=3000)
    packets = []
    for packet in rtp_packets(Codec.H264, [(prefixed(*n), 3600 * i) for i, n in enumerate(pictures)]):
        extra = b"\0\0\0\1" + b"\xbe\xde\0\1abcd"
        packets.append(bytes((0xB1,)) + packet[1:12] + extra + packet[12:] + b"\0\0\3")
    sink, depacketiser = receive(Codec.H264, packets)
    assert [u.data for u in sink.units] == units_of(Codec.H264, pictures)
    assert depacketiser.malformed == 0


def ue(value: int) -> str:
    bits = f"{value + 1:b}"
    return "0" * (len(bits) - 1) + bits


def from_bits(head: bytes, bits: str) -> bytes:
    bits += "0" * (-len(bits) % 8)
    return head + int(bits, 2).to_bytes(len(bits) // 8, "big")


@pytest.mark.parametrize("marked", [True, False], ids=["marker on each field", "marker on the second"])
@pytest.mark.parametrize("between", [[], [b"\x09\xf0"]], ids=["fields alone", "AUD between"])
def test_two_fields_are_one_unit(marked: bool, between: list[bytes]) -> None:
    sps = (
        f"{77:08b}"
        + "0" * 8
        + f"{31:08b}"
        + ue(0) * 3
        + ue(0)
        + ue(4)
        + "0"
        + ue(19)
        + ue(14)
        + "00"
        + "1"
        + "00"
        + "1"
    )
    sets = [from_bits(b"\x67", sps), from_bits(b"\x68", ue(0) * 2 + "1" * 12)]

    def field(bottom: int, i: int) -> bytes:
        kind = b"\x65" if i % 4 == 0 else b"\x41"
        return from_bits(kind, ue(0) + ue(7) + ue(0) + "0000" + "1" + str(bottom) + "1" * 5) + body(50, 2 * i + bottom)

    pictures = [[*(sets if i % 4 == 0 else []), field(0, i), *between, field(1, i)] for i in range(10)]
    packets = one_nal_packets(pictures, marker=lambda i, n, last: last or (marked and n == len(pictures[i]) - 2))
    sink, depacketiser = receive(Codec.H264, packets)
    expected = units_of(Codec.H264, pictures)
    assert [u.data for u in sink.units] == (expected[:-1] if marked and not between else expected)
    assert [u.pts for u in sink.units] == [3600 * i for i in range(len(sink.units))]
    assert depacketiser.malformed == 0
    assert sink.losses == []


def test_sender_reports_come_in_the_units_time() -> None:
    sink = Remembered()
    depacketiser = make_depacketiser(media(Codec.H264), sink)
    depacketiser.sender_report(0xFFFFFF00, 10**18, 1)
    push(depacketiser, one_nal_packets(session(Codec.H264), stamp=lambda i, n: (0xFFFFFFF0 + 3600 * i) & 0xFFFFFFFF))
    depacketiser.sender_report(3600, 10**18 + 5, 2)
    assert [r.pts for r in sink.reports] == [0xFFFFFF00, 0xFFFFFFFF + 1 + 3600]
    block = depacketiser.report_block(10**9)
    assert block is not None
    assert block.lost == 0
    assert block.highest_sequence == depacketiser.packets - 1


def test_reorder_buffer_restores_any_small_disorder() -> None:
    pictures = session(Codec.H265, 40)
    packets = rtp_packets(Codec.H265, [(prefixed(*n), 3600 * i) for i, n in enumerate(pictures)], max_payload=40)
    rng = random.Random(4)
    shuffled = packets[:1] + [p for _, p in sorted((i + rng.random() * 20, p) for i, p in enumerate(packets[1:]))]
    sink = Remembered()
    depacketiser = make_depacketiser(media(Codec.H265), sink)
    buffer = ReorderBuffer(depacketiser)
    push(buffer, shuffled, 10_000)
    buffer.flush()
    assert [u.data for u in sink.units] == units_of(Codec.H265, pictures)
    assert sink.losses == []


def test_reorder_buffer_gives_up_within_its_bounds() -> None:
    packets = rtp_packets(Codec.H264, [(prefixed(*n), 3600 * i) for i, n in enumerate(session(Codec.H264, 12))])
    sink = Remembered()
    depacketiser = make_depacketiser(media(Codec.H264), sink)
    buffer = ReorderBuffer(depacketiser, max_packets=4)
    push(buffer, packets[:2] + packets[3:7], 0)
    assert depacketiser.packets == 2
    push(buffer, packets[7:8], 0)
    assert depacketiser.packets == 7, "a fifth packet does not wait"
    push(buffer, packets[9:10], 0)
    buffer.expire(99_999_999)
    assert depacketiser.packets == 7
    buffer.expire(100_000_000)
    assert depacketiser.packets == 8
    assert sink.losses == [1, 1]


@given(st.lists(st.tuples(st.integers(0, 65535), st.integers(1, 2)), max_size=200))
@settings(max_examples=60, deadline=None)
def test_reorder_buffer_stays_bounded(headers: list[tuple[int, int]]) -> None:
    buffer = ReorderBuffer(make_depacketiser(media(Codec.H264), Remembered()), max_packets=8)
    push(buffer, [build_rtp(96, seq, 0, ssrc, b"\x41\x9a") for seq, ssrc in headers], 0)
    assert len(buffer._held) <= 8


def test_aac_frames_several_and_fragmented() -> None:
    aac = MediaDescription(
        "audio", 0, "RTP/AVP", 97, "MPEG4-GENERIC", 16_000, 1,
        {"mode": "AAC-hbr", "sizelength": "13", "indexlength": "3", "indexdeltalength": "3", "config": "1408"},
    )  # fmt: skip
    frames = [body(n, n) for n in (200, 300, 3000)]
    both_headers = b"\0\x20" + (200 << 3).to_bytes(2, "big") + (300 << 3).to_bytes(2, "big")
    packets = [build_rtp(97, 0, 0, 1, both_headers + frames[0] + frames[1], marker=True)]
    for i, payload in enumerate(packetise(Codec.AAC, frames[2])):
        packets.append(build_rtp(97, 1 + i, 2048, 1, payload))
    sink = Remembered()
    depacketiser = make_depacketiser(aac, sink)
    push(depacketiser, packets)
    assert [(u.pts, u.data) for u in sink.units] == list(zip([0, 1024, 2048], frames, strict=True))
    assert sink.units[0].config.extradata == b"\x14\x08"
    assert sink.units[0].config.rfc6381 == "mp4a.40.2"
    push(depacketiser, [packets[-1][:2] + b"\0\x09" + packets[-1][4:]])
    assert sink.losses


@pytest.mark.parametrize("encoding", ["PCMU", "PCMA", "OPUS"])
def test_one_frame_per_packet(encoding: str) -> None:
    sink = Remembered()
    depacketiser = make_depacketiser(MediaDescription("audio", 0, "RTP/AVP", 0, encoding, 8000, 1), sink)
    push(depacketiser, [build_rtp(0, i, 160 * i, 1, bytes([i]) * 160) for i in range(5)])
    assert [(u.pts, len(u.data), u.key) for u in sink.units] == [(160 * i, 160, True) for i in range(5)]


def test_a_codec_that_is_not_ours_is_refused() -> None:
    with pytest.raises(ValueError, match="JPEG"):
        make_depacketiser(MediaDescription("video", 0, "RTP/AVP", 26, "JPEG", 90_000, 0), Remembered())


def test_parameter_sets_before_a_key_unit() -> None:
    unit = AccessUnit(0, prefixed(b"\x65\x88abc"), True, None, 0)  # type: ignore[arg-type]
    data = with_parameter_sets(unit.data, SETS[Codec.H264])
    assert data == prefixed(*SETS[Codec.H264], b"\x65\x88abc")


@given(st.data())
def test_runs_of_frames_give_what_single_pushes_give(data):
    """`push_run` behind `push`, over any cut of an interleaved stream with lost packets and foreign channels."""
    codec = data.draw(st.sampled_from([Codec.H264, Codec.H265]))

    first = b"\x65" if codec is Codec.H264 else b"\x26\x01"
    frames, sequence = [], 65_530
    for number in range(data.draw(st.integers(1, 6))):
        nal = first + b"\x80" + bytes([number]) * data.draw(st.integers(1, 9000))
        payloads = packetise(codec, len(nal).to_bytes(4, "big") + nal, 500)
        for at, payload in enumerate(payloads):
            packet = build_rtp(96, sequence, number * 3600, 7, payload, marker=at == len(payloads) - 1)
            sequence += 1
            if data.draw(st.integers(0, 30)) == 0:
                continue
            channel = 2 if data.draw(st.integers(0, 30)) == 0 else 0
            frames.append(b"$" + bytes([channel]) + len(packet).to_bytes(2, "big") + packet)
    single, running = Remembered(), Remembered()
    one, many = VideoDepacketiser(CodecConfig(codec), 96, single), VideoDepacketiser(CodecConfig(codec), 96, running)
    stream = bytearray(b"".join(frames))
    view, at = memoryview(stream), 0
    for frame in frames:
        if frame[1] == 0:
            one.push(bytearray(frame), 4, len(frame), 5)
    while at < len(stream):
        stop = at + 4 + int.from_bytes(stream[at + 2 : at + 4], "big")
        if stream[at + 1] == 0:
            many.push(stream, at + 4, stop, 5)
            end = data.draw(st.integers(stop, len(stream)))
            stop = many.push_run(stream, view, stop, end, 0, 5)
        at = stop
    one.flush()
    many.flush()
    assert running.units == single.units
    assert (many.packets, many.lost, many.malformed) == (one.packets, one.lost, one.malformed)


@given(st.lists(st.sampled_from([b"\0", b"\0\0", b"\1", b"a"]), max_size=30).map(b"".join))
def test_start_codes_are_zeros_and_a_one(stream: bytes) -> None:
    assert between_start_codes(stream) == re.split(rb"\x00\x00+\x01", stream)


def test_a_long_row_of_zeros_is_passed_at_once() -> None:
    began = time.process_time()
    assert between_start_codes(bytes(4 << 20) + b"\1" + bytes(4 << 20)) == [b"", bytes(4 << 20)]
    assert time.process_time() - began < 5  # trying each zero anew took hours
