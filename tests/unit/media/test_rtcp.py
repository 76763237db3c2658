from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vms.errors import MalformedError
from vms.media.rtcp import (
    Bye,
    ReceiverReportPacket,
    ReportBlock,
    SenderReportPacket,
    SourceDescription,
    build_bye,
    build_receiver_report,
    build_sender_report,
    ntp_to_utc_ns,
    parse_rtcp,
    utc_ns_to_ntp,
)

U32 = st.integers(0, 2**32 - 1)
BLOCKS = st.lists(
    st.builds(ReportBlock, U32, st.integers(0, 255), st.integers(-(2**23), 2**23 - 1), U32, U32, U32, U32), max_size=5
).map(tuple)


def test_ntp_of_a_known_instant() -> None:
    # RFC 868 and RFC 5905: 1970-01-01 is 2208988800 s after 1900.
    assert utc_ns_to_ntp(0) == 2_208_988_800 << 32
    assert ntp_to_utc_ns(2_208_988_800 << 32 | 1 << 31) == 500_000_000


@given(st.integers(-(10**9) * 3600 * 24 * 365, 4_200_000_000 * 10**9))
def test_ntp_round_trip_through_2036(ns: int) -> None:
    assert ntp_to_utc_ns(utc_ns_to_ntp(ns)) == ns


@given(U32, BLOCKS, st.text(max_size=20))
def test_receiver_report_round_trip(ssrc: int, blocks: tuple[ReportBlock, ...], cname: str) -> None:
    data = build_receiver_report(ssrc, blocks, cname)
    assert len(data) % 4 == 0
    assert parse_rtcp(data) == [ReceiverReportPacket(ssrc, blocks), SourceDescription(ssrc, cname)]


@given(U32, st.integers(10**18, 2 * 10**18), U32, BLOCKS)
def test_sender_report_round_trip(ssrc: int, ns: int, rtp: int, blocks: tuple[ReportBlock, ...]) -> None:
    data = build_sender_report(SenderReportPacket(ssrc, ns, rtp, 7, 8, blocks), "stróż")
    report, sdes = parse_rtcp(b"--" + data + b"--", 2, 2 + len(data))
    middle = utc_ns_to_ntp(ns) >> 16 & 0xFFFFFFFF
    assert report == SenderReportPacket(ssrc, ns, rtp, 7, 8, blocks, middle)
    assert sdes == SourceDescription(ssrc, "stróż")


def test_no_wall_time_is_zero() -> None:
    report = parse_rtcp(build_sender_report(SenderReportPacket(1, 0, 5), "x"))[0]
    assert isinstance(report, SenderReportPacket)
    assert report.ntp_ns == 0


def test_bye_ends_a_compound() -> None:
    *_, bye = parse_rtcp(build_bye(9, "c", "koniec"))
    assert bye == Bye((9,), "koniec")


def test_unknown_types_and_rubbish_after_a_report_are_skipped() -> None:
    app = b"\x80\xcc\0\2" + b"\0" * 8
    report = build_receiver_report(1, (), "c")
    assert len(parse_rtcp(app + report)) == 2
    assert len(parse_rtcp(report + b"rubbish!")) == 2
    assert len(parse_rtcp(report + b"\x81\xc8\xff\xff")) == 2


def test_announced_blocks_that_are_not_there() -> None:
    data = b"\x9f\xc9\0\1\0\0\0\5"
    assert parse_rtcp(data) == [ReceiverReportPacket(5, ())]


@pytest.mark.parametrize("data", [b"", b"\x80", b"\x40\xc8\0\6" + b"\0" * 24, b"\x80\xc8\0\1\0\0\0\1", b"\x85\xcb\0\0"])
def test_bad_packets_are_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_rtcp(data)


@given(st.binary(max_size=200))
def test_any_bytes_parse_or_raise_malformed(data: bytes) -> None:
    with contextlib.suppress(MalformedError):
        parse_rtcp(data)


@given(
    st.sampled_from([200, 201, 202, 203]), st.integers(0, 255), st.binary(max_size=120).map(lambda b: b[: len(b) & ~3])
)
def test_any_body_of_a_known_type(kind: int, first: int, body: bytes) -> None:
    with contextlib.suppress(MalformedError):
        parse_rtcp(bytes((first & 0x3F | 0x80, kind)) + (len(body) // 4).to_bytes(2, "big") + body)
