from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.encoded import video
from tests.support.rtp_received import pictures_of
from vms.errors import MalformedError
from vms.media.rtp import parse_rtp, split_nals
from vms.model import AccessUnit, Codec, TimedUnit
from web.live.packets import ALIGNMENT, LARGEST_PACKET_BYTES, Arena, Layout, LiveUnit, lay_out, ntp_of, shared

CAPTURE_NS = 1_790_000_000_250_000_000

layouts = st.builds(
    Layout,
    codec=st.sampled_from([Codec.H264, Codec.H265]),
    payload_type=st.integers(96, 127),
    tag_bytes=st.sampled_from([10, 16]),
    mid=st.sampled_from(["", "0", "video0"]),
    mid_id=st.integers(0, 14),
    capture_time_id=st.integers(0, 14),
    playout_delay_id=st.integers(0, 14),
)


def unit_of(codec: Codec, sizes: list[int], *, key: bool) -> TimedUnit:
    header = b"\x65" if codec is Codec.H264 else b"\x26\x01"
    nals = [header + bytes((n + i) % 256 for i in range(size)) for n, size in enumerate(sizes)]
    data = b"".join(len(nal).to_bytes(4, "big") + nal for nal in nals)
    return TimedUnit(AccessUnit(0, data, key, video(codec, 2)[0].config, 0), CAPTURE_NS)


def packets_of(arena: Arena, layout: Layout, first: int = 0) -> list[bytes]:
    """The packets without their tags, numbered."""
    found = []
    for run in arena.runs:
        for i in range(run.count):
            start = run.start + i * run.stride
            size = run.last_bytes if i == run.count - 1 else run.stride - layout.tag_bytes
            packet = bytearray(arena.data[start : start + size])
            packet[2:4] = ((first + len(found)) & 0xFFFF).to_bytes(2, "big")
            found.append(bytes(packet))
    return found


@given(
    layouts,
    st.lists(st.one_of(st.integers(1, 60), st.integers(1000, 1300), st.integers(1, 9000)), min_size=1, max_size=5),
    st.booleans(),
)
def test_what_goes_out_is_what_came_in(layout: Layout, sizes: list[int], key: bool) -> None:
    timed = unit_of(layout.codec, sizes, key=key)
    arena = lay_out(timed, layout)
    packets = packets_of(arena, layout)
    (picture,) = pictures_of(layout.codec, packets)
    sets = list(timed.unit.config.parameter_sets) if key else []
    assert picture.nals == sets + [bytes(nal) for nal in split_nals(timed.unit.data)]
    assert len(packets) == arena.packets
    headers = [parse_rtp(p) for p in packets]
    assert [h.marker for h in headers] == [False] * (len(packets) - 1) + [True]
    assert {h.payload_type for h in headers} == {layout.payload_type}
    assert arena.octets == sum(h.payload_end - h.payload_start for h in headers)


@given(layouts, st.integers(1, 200_000))
def test_fragments_fit_the_wire_and_the_kernels_cut(layout: Layout, size: int) -> None:
    arena = lay_out(unit_of(layout.codec, [size], key=True), layout)
    at = 0
    for run in arena.runs:
        assert run.start == at
        last = run.last_bytes + layout.tag_bytes
        assert last <= run.stride <= LARGEST_PACKET_BYTES
        if run.count > 1:
            assert run.stride % ALIGNMENT == 0
            assert last > 0
        at += (run.count - 1) * run.stride + last
    assert at == len(arena.data)


def test_extensions_say_when_it_was_captured_and_how_long_to_wait() -> None:
    layout = Layout(Codec.H264, 102, 16, mid="0", mid_id=4, capture_time_id=3, playout_delay_id=5)
    for packet in packets_of(lay_out(unit_of(Codec.H264, [5000], key=False), layout), layout):
        assert packet[0] == 0x90
        words = int.from_bytes(packet[14:16], "big")
        block = packet[16 : 16 + 4 * words]
        assert packet[12:14] == b"\xbe\xde"
        assert block == b"\x37" + ntp_of(CAPTURE_NS).to_bytes(8, "big") + b"\x52\x00\x00\x14" + b"\x40" + b"0" + b"\0"


def test_without_extensions_there_is_no_block() -> None:
    layout = Layout(Codec.H264, 102, 16)
    assert all(p[0] == 0x80 for p in packets_of(lay_out(unit_of(Codec.H264, [5000], key=False), layout), layout))


def test_ntp_counts_from_1900_with_a_binary_fraction() -> None:
    assert ntp_of(0) == 2_208_988_800 << 32
    assert ntp_of(1_500_000_000) == 2_208_988_801 << 32 | 1 << 31


def test_a_unit_is_laid_out_once_for_viewers_alike_and_put_away() -> None:
    unit = LiveUnit(unit_of(Codec.H264, [5000], key=True))
    one, other = shared(Layout(Codec.H264, 102, 16)), shared(Layout(Codec.H264, 102, 10))
    first = unit.arena(one)
    assert unit.arena(shared(Layout(Codec.H264, 102, 16))) is first
    assert unit.arena(other) is not first
    unit.put_away()
    assert unit.arena(one) is not first


@pytest.mark.parametrize("data", [b"\0\0\0\0", b"\0\0\0\5ab", b"\0\0"])
def test_what_is_no_nal_units_is_malformed(data: bytes) -> None:
    config = video(Codec.H264, 2)[0].config
    with pytest.raises(MalformedError):
        lay_out(TimedUnit(AccessUnit(0, data, False, config, 0), 0), Layout(Codec.H264, 102, 16))
