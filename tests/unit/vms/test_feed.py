"""Feed framing: what goes in comes out, in any cut; anything else is the one typed error."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.media_streams import Remembered
from vms import feed
from vms.errors import MalformedError
from vms.media.depacketise import make_depacketiser
from vms.media.rtp import build_rtp, packetise
from vms.media.sdp import MediaDescription
from vms.model import LARGEST_UNIT_BYTES, AccessUnit, Codec, CodecConfig, GapReason, TimedUnit

CONFIG = CodecConfig(
    Codec.H264,
    parameter_sets=(b"\x67\x64", b"\x68\xee"),
    width=1920,
    height=1080,
    profile="High",
    rfc6381="avc1.640028",
)

units = st.builds(
    lambda pts, ns, data, key, damaged: TimedUnit(AccessUnit(pts, data, key, CONFIG, 0, damaged), ns),
    st.integers(-(2**62), 2**62),
    st.integers(0, 2**62),
    st.binary(max_size=300),
    st.booleans(),
    st.booleans(),
)


def decode(data: bytes, cut: int = 1 << 20) -> list[feed.FeedEvent]:
    decoder = feed.FrameDecoder()
    return [e for i in range(0, len(data), cut) for e in decoder.feed(data[i : i + cut])]


@given(st.lists(units, max_size=8), st.integers(1, 50))
def test_frames_survive_any_cut(sent: list[TimedUnit], cut: int) -> None:
    wire = feed.encode_config(CONFIG) + b"".join(map(feed.encode_unit, sent)) + feed.encode_end()
    assert decode(wire, cut) == [*sent, feed.End()]


def test_states_and_drops() -> None:
    wire = feed.encode_state("lost", GapReason.STALLED) + feed.encode_state("recording", None) + feed.encode_dropped(7)
    assert decode(wire) == [
        feed.StreamState("lost", GapReason.STALLED),
        feed.StreamState("recording", None),
        feed.Dropped(7),
    ]


@given(st.binary(max_size=200))
def test_any_bytes_decode_or_raise_the_typed_error(data: bytes) -> None:
    try:
        decode(data)
    except MalformedError as error:
        assert "feed frame" in str(error)


@pytest.mark.parametrize(
    "wire",
    [
        struct.pack(">cI", b"U", 0xFFFF_FFFF),
        struct.pack(">cI", b"Z", 0),
        feed.encode_unit(TimedUnit(AccessUnit(0, b"x", True, CONFIG, 0), 0)),
        struct.pack(">cI", b"C", 2) + b"{}",
        struct.pack(">cI", b"D", 1) + b"\0",
    ],
    ids=["4 GB", "unknown kind", "unit before configuration", "empty configuration", "short count"],
)
def test_refused(wire: bytes) -> None:
    with pytest.raises(MalformedError):
        decode(wire)


@pytest.mark.parametrize("cut", [1 << 20, 1 << 30])
def test_the_largest_unit_that_is_recorded_is_a_frame(cut: int) -> None:
    sent = TimedUnit(AccessUnit(1, bytes(LARGEST_UNIT_BYTES), True, CONFIG, 0), 2)
    assert decode(feed.encode_config(CONFIG) + feed.encode_unit(sent), cut) == [sent]
    larger = TimedUnit(AccessUnit(1, bytes(LARGEST_UNIT_BYTES + 1), True, CONFIG, 0), 2)
    with pytest.raises(MalformedError):
        decode(feed.encode_config(CONFIG) + feed.encode_unit(larger), cut)


def test_no_unit_is_larger() -> None:
    """What the depacketiser lets through at the very limit."""
    sink = Remembered()
    description = MediaDescription("video", 0, "RTP/AVP", 96, "H264", 90_000, 0)
    for size, units in ((LARGEST_UNIT_BYTES, 1), (LARGEST_UNIT_BYTES + 1, 0)):
        sink.units.clear()
        target = make_depacketiser(description, sink)
        nal = b"\x65\x88" + b"\x11" * (size - 6)
        payloads = packetise(Codec.H264, len(nal).to_bytes(4, "big") + nal, 60_000)
        for number, payload in enumerate([*payloads, b"\x41\x9a\x11", b"\x41\x9a\x11"]):
            packet = bytearray(build_rtp(96, number, 3600 * max(0, number - len(payloads) + 1), 7, payload))
            target.push(packet, 0, len(packet), number)
        assert [len(u.data) for u in sink.units if len(u.data) > 100] == [size] * units
