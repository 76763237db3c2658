"""Where a server's media goes: one track of one session, interleaved on its TCP connection or on a UDP port pair.

Owns the bound on what waits for a slow client, RTP headers of units we packetise ourselves, and sender reports. Does
not own RTSP. Invariant: nothing here ever waits; what does not fit is dropped up to the next random-access picture,
and counted.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from vms.media.rtcp import SenderReportPacket, build_bye, build_sender_report
from vms.media.rtp import MAX_PAYLOAD_BYTES, build_rtp, packetise, with_parameter_sets
from vms.model import AccessUnit, Codec, CodecConfig

CNAME = "stroz"
REPORT_INTERVAL_NS = 5_000_000_000
_FRAME = struct.Struct(">BBH")


@dataclass(slots=True)
class Sent:
    """Counters of one outlet, wrapped nowhere."""

    units: int = 0
    dropped_units: int = 0  # the client was too slow
    packets: int = 0
    octets: int = 0  # RTP payload, as sender reports count


class Wire(Protocol):
    """Bytes to one client for one track."""

    @property
    def backlog_bytes(self) -> int:
        """What waits in our process."""

    @property
    def interleaved(self) -> bool:
        """Frames on the RTSP connection, so that `write` may be used."""

    @property
    def takes_blobs(self) -> bool:
        """Whether interleaved frames for channels 0 and 1 may be written as they are."""

    def write(self, data: bytes, /) -> None:
        """Bytes on the RTSP connection as they are. Only where `interleaved`."""

    def send(self, packets: Sequence[bytes]) -> None:
        """RTP packets, in order."""

    def send_rtcp(self, packet: bytes) -> None:
        """One compound RTCP packet."""

    def close(self) -> None:
        """Free ports. The RTSP connection is not this object's."""


class InterleavedWire:
    """Frames of RFC 2326 §10.12 on the RTSP connection."""

    interleaved = True

    def __init__(self, transport: asyncio.WriteTransport, channel: int, rtcp_channel: int) -> None:
        self._transport = transport
        self._channel = channel
        self._rtcp_channel = rtcp_channel
        self.takes_blobs = channel == 0 and rtcp_channel == 1

    @property
    def backlog_bytes(self) -> int:
        return self._transport.get_write_buffer_size()

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    def send(self, packets: Sequence[bytes]) -> None:
        pack, channel = _FRAME.pack, self._channel
        self._transport.write(b"".join([part for p in packets for part in (pack(0x24, channel, len(p)), p)]))

    def send_rtcp(self, packet: bytes) -> None:
        self._transport.write(_FRAME.pack(0x24, self._rtcp_channel, len(packet)) + packet)

    def close(self) -> None:
        """Nothing: the channel ends with its session."""


class UdpWire:
    """A pair of UDP sockets. What the kernel refuses is lost, as on a network, and counted in `refused`."""

    interleaved = False
    takes_blobs = False
    backlog_bytes = 0

    def __init__(
        self,
        rtp: socket.socket,
        rtcp: asyncio.DatagramTransport,
        client: tuple[str, int],
        rtcp_client: tuple[str, int],
    ) -> None:
        self._rtp = rtp
        self._rtcp = rtcp
        self._client = client
        self._rtcp_client = rtcp_client
        self.refused = 0

    def write(self, _data: bytes) -> None:
        raise RuntimeError("framed bytes do not go over UDP")

    def send(self, packets: Sequence[bytes]) -> None:
        sendto, client = self._rtp.sendto, self._client
        for packet in packets:
            try:
                sendto(packet, client)
            except OSError:
                self.refused += 1

    def send_rtcp(self, packet: bytes) -> None:
        self._rtcp.sendto(packet, self._rtcp_client)

    def close(self) -> None:
        self._rtp.close()
        self._rtcp.close()


class Outlet:
    """One track on its way to one client. Give it either whole units, or packets somebody made.

    `limit_bytes` bounds the backlog: beyond it everything is dropped until a random-access unit finds the backlog
    down to a quarter.
    """

    def __init__(self, wire: Wire, config: CodecConfig, payload_type: int, limit_bytes: int) -> None:
        self.wire = wire
        self.config = config
        self.payload_type = payload_type
        self.ssrc = secrets.randbits(32)
        self.next_sequence = secrets.randbits(16)
        self.timestamp_offset = secrets.randbits(32)
        self.sent = Sent()
        self._limit_bytes = limit_bytes
        self._dropping = False
        self._reported_ns: int | None = None

    def admits(self, key: bool) -> bool:
        """Whether the next unit may go out; counts the drop when not."""
        backlog = self.wire.backlog_bytes
        if self._dropping:
            self._dropping = not key or backlog > self._limit_bytes // 4
        else:
            self._dropping = backlog > self._limit_bytes
        if self._dropping:
            self.sent.dropped_units += 1
        return not self._dropping

    def send_blob(self, blob: bytes, packets: int, octets: int, *, key: bool) -> bool:
        """One unit as interleaved frames of channel 0. False: dropped. Only where `wire.takes_blobs`."""
        if not self.admits(key):
            return False
        self.wire.write(blob)
        self._count(packets, octets)
        return True

    def send_packets(self, packets: Sequence[bytes], *, key: bool) -> bool:
        """One unit as whole RTP packets. False: dropped."""
        if not self.admits(key):
            return False
        self.wire.send(packets)
        self._count(len(packets), sum(map(len, packets)) - 12 * len(packets))
        return True

    def send_unit(self, unit: AccessUnit, capture_ns: int) -> bool:
        """Packetise and send one unit; parameter sets before each random-access picture. False: dropped.

        A sender report that ties `capture_ns` (UTC) to the unit's timestamp goes first, and again every 5 s of it.
        """
        if not self.admits(unit.key):
            return False
        timestamp = unit.pts + self.timestamp_offset & 0xFFFFFFFF
        if self._reported_ns is None or not 0 <= capture_ns - self._reported_ns < REPORT_INTERVAL_NS:
            self._reported_ns = capture_ns
            self.send_report(capture_ns, timestamp)
        codec = unit.config.codec
        data = with_parameter_sets(unit.data, unit.config.parameter_sets) if unit.key else unit.data
        payloads = packetise(codec, data, MAX_PAYLOAD_BYTES)
        marked = len(payloads) - 1 if codec.is_video or codec is Codec.AAC else -1
        packets = []
        for index, payload in enumerate(payloads):
            packets.append(
                build_rtp(
                    self.payload_type,
                    self.next_sequence,
                    timestamp,
                    self.ssrc,
                    payload,
                    marker=index == marked,
                )
            )
            self.next_sequence = self.next_sequence + 1 & 0xFFFF
            if codec in (Codec.PCMA, Codec.PCMU):
                timestamp += len(payload) // max(1, unit.config.channels)
        self.wire.send(packets)
        self._count(len(packets), sum(map(len, payloads)))
        return True

    def send_report(self, utc_ns: int, timestamp: int, ssrc: int | None = None) -> None:
        """RTCP SR and SDES: RTP `timestamp` was at `utc_ns` (RFC 3550 §6.4.1)."""
        source = self.ssrc if ssrc is None else ssrc
        report = SenderReportPacket(source, utc_ns, timestamp, self.sent.packets, self.sent.octets)
        self.wire.send_rtcp(build_sender_report(report, CNAME))

    def send_bye(self, ssrc: int | None = None) -> None:
        """RTCP BYE (RFC 3550 §6.6)."""
        self.wire.send_rtcp(build_bye(self.ssrc if ssrc is None else ssrc, CNAME))

    def _count(self, packets: int, octets: int) -> None:
        self.sent.units += 1
        self.sent.packets += packets
        self.sent.octets += octets
