"""RTCP (RFC 3550 §6): compound packets parsed and built. No timers, no socket; what to send when is the session's.

Unknown packet types are skipped; a compound packet that is cut off gives what came before the cut or raises.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from vms.errors import MalformedError
from vms.timeline import SECOND_NS

NTP_TO_UNIX_S = 2_208_988_800  # seconds from 1900 to 1970
_ERA_S = 1 << 32
MAX_COMPOUND_BYTES = 65_535
MAX_PACKETS = 64

_SENDER = struct.Struct("!IIIIII")
_BLOCK = struct.Struct("!IIIIII")
_COMMON = struct.Struct("!BBH")


@dataclass(frozen=True, slots=True)
class ReportBlock:
    """Reception of one source (§6.4.1). `fraction_lost` in 1/256, `lost` cumulative (signed 24 bits), `jitter` in ticks."""

    ssrc: int
    fraction_lost: int = 0
    lost: int = 0
    highest_sequence: int = 0  # extended: cycles in the high 16 bits
    jitter: int = 0
    last_sr: int = 0  # middle 32 bits of the NTP time of the last SR
    delay_since_last_sr: int = 0  # in 1/65536 s


@dataclass(frozen=True, slots=True)
class SenderReportPacket:
    """SR. `ntp_ns` is UTC ns since 1970; 0 when the sender states no wall time (NTP 0)."""

    ssrc: int
    ntp_ns: int
    rtp_timestamp: int
    packet_count: int = 0
    octet_count: int = 0
    blocks: tuple[ReportBlock, ...] = ()
    ntp_middle: int = 0  # as parsed; goes back to the sender as `last_sr`


@dataclass(frozen=True, slots=True)
class ReceiverReportPacket:
    """RR."""

    ssrc: int
    blocks: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceDescription:
    """The CNAME of one SDES chunk; other items are skipped."""

    ssrc: int
    cname: str


@dataclass(frozen=True, slots=True)
class Bye:
    """BYE of these sources, with a reason if one was given."""

    ssrcs: tuple[int, ...]
    reason: str = ""


RtcpPacket = SenderReportPacket | ReceiverReportPacket | SourceDescription | Bye


def ntp_to_utc_ns(ntp: int) -> int:
    """UTC ns since 1970 of a 64-bit NTP timestamp. Seconds below 2³¹ lie in the era from 2036 on (RFC 4330 §3)."""
    seconds = ntp >> 32
    if seconds < 1 << 31:
        seconds += _ERA_S
    return (seconds - NTP_TO_UNIX_S) * SECOND_NS + ((ntp & 0xFFFFFFFF) * SECOND_NS + (1 << 31) >> 32)


def utc_ns_to_ntp(utc_ns: int) -> int:
    """The 64-bit NTP timestamp nearest to UTC `utc_ns`; inverse of `ntp_to_utc_ns` to the nanosecond (1968 to 2104)."""
    seconds, rest = divmod(utc_ns, SECOND_NS)
    fraction = ((rest << 32) + 500_000_000) // SECOND_NS
    return (((seconds + NTP_TO_UNIX_S) << 32) + fraction) & 0xFFFFFFFFFFFFFFFF


def parse_rtcp(buf: bytes | bytearray | memoryview, start: int = 0, end: int | None = None) -> list[RtcpPacket]:
    """What the compound packet in buf[start:end] says, in order. Raises MalformedError when its first packet is bad.

    Cameras append rubbish to good reports: after the first packet, the first bad one ends the list.
    """
    end = len(buf) if end is None else end
    data = bytes(buf[start : min(end, start + MAX_COMPOUND_BYTES)])
    packets: list[RtcpPacket] = []
    at = 0
    for count in range(MAX_PACKETS):
        if at >= len(data):
            break
        try:
            at = _parse_one(data, at, packets)
        except MalformedError:
            if count == 0:
                raise
            break
    if not data:
        raise MalformedError("RTCP", "empty packet", start)
    return packets


def _parse_one(data: bytes, at: int, packets: list[RtcpPacket]) -> int:
    """Parse the packet at `at`, append what it says, return where the next begins."""
    if at + 4 > len(data):
        raise MalformedError("RTCP header", "cut off", at)
    first, kind, words = _COMMON.unpack_from(data, at)
    stop = at + 4 + 4 * words
    if first >> 6 != 2:
        raise MalformedError("RTCP header", f"version {first >> 6}", at)
    if stop > len(data):
        raise MalformedError("RTCP header", f"length {4 + 4 * words} exceeds the packet", at)
    end = stop
    if first & 0x20 and words:
        end -= min(data[stop - 1], 4 * words)
    count = first & 0x1F
    if kind == 200:
        packets.append(_parse_sr(data, at + 4, end, count))
    elif kind == 201:
        if at + 8 > end:
            raise MalformedError("RTCP RR", "cut off", at)
        packets.append(ReceiverReportPacket(_u32(data, at + 4), _parse_blocks(data, at + 8, end, count)))
    elif kind == 202:
        _parse_sdes(data, at + 4, end, count, packets)
    elif kind == 203:
        packets.append(_parse_bye(data, at + 4, end, count))
    return int(stop)


def _u32(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "big")


def _parse_sr(data: bytes, at: int, end: int, count: int) -> SenderReportPacket:
    if at + 24 > end:
        raise MalformedError("RTCP SR", "cut off", at)
    ssrc, high, low, rtp, packet_count, octets = _SENDER.unpack_from(data, at)
    ntp = high << 32 | low
    return SenderReportPacket(
        ssrc=ssrc,
        ntp_ns=ntp_to_utc_ns(ntp) if ntp else 0,
        rtp_timestamp=rtp,
        packet_count=packet_count,
        octet_count=octets,
        blocks=_parse_blocks(data, at + 24, end, count),
        ntp_middle=ntp >> 16 & 0xFFFFFFFF,
    )


def _parse_blocks(data: bytes, at: int, end: int, count: int) -> tuple[ReportBlock, ...]:
    """As many whole blocks as there are: cameras announce blocks that they do not send."""
    blocks = []
    for _ in range(count):
        if at + 24 > end:
            break
        ssrc, loss, highest, jitter, last_sr, delay = _BLOCK.unpack_from(data, at)
        lost = loss & 0xFFFFFF
        blocks.append(
            ReportBlock(ssrc, loss >> 24, lost - (1 << 24) if lost >> 23 else lost, highest, jitter, last_sr, delay)
        )
        at += 24
    return tuple(blocks)


def _parse_sdes(data: bytes, at: int, end: int, count: int, packets: list[RtcpPacket]) -> None:
    for _ in range(count):
        if at + 4 > end:
            return
        ssrc, chunk = _u32(data, at), at
        at += 4
        while at < end and data[at] != 0:
            if at + 2 > end or at + 2 + data[at + 1] > end:
                return
            if data[at] == 1:
                packets.append(SourceDescription(ssrc, data[at + 2 : at + 2 + data[at + 1]].decode("utf-8", "replace")))
            at += 2 + data[at + 1]
        at = chunk + ((at - chunk) // 4 + 1) * 4  # a chunk ends with 1 to 4 null bytes, at a multiple of 4


def _parse_bye(data: bytes, at: int, end: int, count: int) -> Bye:
    if at + 4 * count > end:
        raise MalformedError("RTCP BYE", "cut off", at)
    ssrcs = tuple(_u32(data, at + 4 * i) for i in range(count))
    at += 4 * count
    reason = data[at + 1 : min(end, at + 1 + data[at])].decode("utf-8", "replace") if at < end else ""
    return Bye(ssrcs, reason)


def build_receiver_report(ssrc: int, blocks: tuple[ReportBlock, ...], cname: str) -> bytes:
    """Compound RR + SDES, as §6.1 asks of every report."""
    return _pack(201, len(blocks), struct.pack("!I", ssrc) + _pack_blocks(blocks)) + build_sdes(ssrc, cname)


def build_sender_report(report: SenderReportPacket, cname: str) -> bytes:
    """Compound SR + SDES. `ntp_ns` 0 is sent as NTP 0: no wall time."""
    ntp = utc_ns_to_ntp(report.ntp_ns) if report.ntp_ns else 0
    body = _SENDER.pack(
        report.ssrc,
        ntp >> 32,
        ntp & 0xFFFFFFFF,
        report.rtp_timestamp & 0xFFFFFFFF,
        report.packet_count & 0xFFFFFFFF,
        report.octet_count & 0xFFFFFFFF,
    )
    return _pack(200, len(report.blocks), body + _pack_blocks(report.blocks)) + build_sdes(report.ssrc, cname)


def build_bye(ssrc: int, cname: str, reason: str = "") -> bytes:
    """Compound RR + SDES + BYE (§6.6: a BYE is never the first packet)."""
    text = reason.encode()[:255]
    body = struct.pack("!I", ssrc) + (bytes([len(text)]) + text if text else b"")
    return build_receiver_report(ssrc, (), cname) + _pack(203, 1, body + b"\0" * (-len(body) % 4))


def build_sdes(ssrc: int, cname: str) -> bytes:
    """SDES with one chunk and its CNAME."""
    text = cname.encode()[:255]
    chunk = struct.pack("!IBB", ssrc, 1, len(text)) + text
    return _pack(202, 1, chunk + b"\0" * (4 - len(chunk) % 4))


def _pack(kind: int, count: int, body: bytes) -> bytes:
    return _COMMON.pack(0x80 | count, kind, len(body) // 4) + body


def _pack_blocks(blocks: tuple[ReportBlock, ...]) -> bytes:
    if len(blocks) > 31:
        raise ValueError("a report has at most 31 blocks")
    return b"".join(
        _BLOCK.pack(
            b.ssrc,
            (b.fraction_lost & 0xFF) << 24 | max(-(1 << 23), min((1 << 23) - 1, b.lost)) & 0xFFFFFF,
            b.highest_sequence & 0xFFFFFFFF,
            b.jitter & 0xFFFFFFFF,
            b.last_sr & 0xFFFFFFFF,
            b.delay_since_last_sr & 0xFFFFFFFF,
        )
        for b in blocks
    )
