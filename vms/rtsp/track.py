"""One track of a session as it is received: its depacketiser, its RTCP, its ports or channels.

Owns reception state of one medium. Does not own RTSP nor timers: the session says when to report and asks when the
last access unit came.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from vms.errors import MalformedError, VmsError
from vms.media.depacketise import Depacketiser, ReorderBuffer, make_depacketiser
from vms.media.rtcp import Bye, SenderReportPacket, build_receiver_report, parse_rtcp
from vms.media.sdp import MediaDescription
from vms.media.sink import UnitSink
from vms.media.video_units import VideoDepacketiser
from vms.model import AccessUnit, SenderReport
from vms.rtsp.headers import TransportHeader
from vms.rtsp.transport import RtspWire
from vms.rtsp.udp import UdpPair

EXPIRE_SECONDS = 0.05  # how often a hole at the end of a burst is given up
CNAME = "stroz"  # says nothing of the host; RFC 7022 §4.2 allows a short-lived one


class _WatchedSink:
    """Hands everything on and remembers when the last access unit came."""

    __slots__ = ("_on_first", "_on_unit", "last_unit_mono_ns", "on_loss", "on_sender_report", "units")

    def __init__(self, sink: UnitSink, on_first: Callable[[], None]) -> None:
        self._on_unit: Callable[[AccessUnit], None] = sink.on_unit
        self.on_loss: Callable[[int], None] = sink.on_loss
        self.on_sender_report: Callable[[SenderReport], None] = sink.on_sender_report
        self.last_unit_mono_ns = 0
        self.units = 0
        self._on_first = on_first

    def on_unit(self, unit: AccessUnit) -> None:
        self.last_unit_mono_ns = unit.arrival_mono_ns
        self.units += 1
        self._on_unit(unit)
        if self.units == 1:
            self._on_first()

    def end(self) -> None:
        """Hand nothing on any more."""
        self._on_unit = self.on_loss = self.on_sender_report = _ignore


def _ignore(_what: object) -> None:
    """Nobody listens."""


@dataclass(frozen=True, slots=True)
class TrackFacts:
    """Counters of one track so far."""

    units: int
    packets: int
    lost: int
    malformed: int
    ignored: int
    foreign_datagrams: int
    udp: bool


class Track:
    """A medium that was set up. `on_bye` hears the reason when the camera says BYE for its source."""

    def __init__(
        self, media: MediaDescription, sink: UnitSink, ssrc: int | None, on_bye: Callable[[str], None]
    ) -> None:
        self.media = media
        self._watched = _WatchedSink(sink, self._on_first_unit)
        self.depacketiser: Depacketiser = make_depacketiser(media, self._watched, ssrc)
        self._on_bye = on_bye
        self._early: tuple[SenderReportPacket, int] | None = None  # a report that came before any media, and when
        self._ssrc = secrets.randbits(32)
        self._pair: UdpPair | None = None
        self._reorder: ReorderBuffer | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._wire: RtspWire | None = None
        self._rtcp_channel = 0
        self._flushed = False

    @property
    def last_unit_mono_ns(self) -> int:
        """When the last access unit came; 0 before the first."""
        return self._watched.last_unit_mono_ns

    @property
    def facts(self) -> TrackFacts:
        d = self.depacketiser
        ports = (self._pair.rtp, self._pair.rtcp) if self._pair else ()
        foreign = sum(p.foreign for p in ports if p is not None)
        return TrackFacts(
            self._watched.units, d.packets, d.lost, d.malformed, d.ignored, foreign, self._pair is not None
        )

    def receive_interleaved(self, wire: RtspWire, channels: tuple[int, int]) -> None:
        """Take frames of these channels of `wire`: RTP, RTCP. ValueError when another track has them."""
        rtp, rtcp = channels
        if rtp == rtcp or wire.channels[rtp] is not None or wire.channels[rtcp] is not None:
            raise ValueError(f"channels {rtp}-{rtcp} are taken")
        self._wire, self._rtcp_channel = wire, rtcp
        wire.channels[rtp] = self.depacketiser.push
        wire.runs[rtp] = self.depacketiser.push_run if isinstance(self.depacketiser, VideoDepacketiser) else None
        wire.channels[rtcp] = self._push_rtcp

    async def receive_udp(
        self, pair: UdpPair, camera: str, transport: TransportHeader, end: Callable[[BaseException], None]
    ) -> None:
        """Take datagrams of `pair` that come from `camera`."""
        self._pair = pair
        self._reorder = ReorderBuffer(self.depacketiser)
        await pair.start(camera, transport.server_port, self._reorder.push, self._push_rtcp, end)
        self._schedule_expiry(end)
        self.punch()

    def punch(self) -> None:
        if self._pair is not None:
            self._pair.punch(build_receiver_report(self._ssrc, (), CNAME))

    def report(self, now_mono_ns: int) -> None:
        """Send a receiver report (RFC 3550 §6.4.2)."""
        block = self.depacketiser.report_block(now_mono_ns)
        packet = build_receiver_report(self._ssrc, (block,) if block is not None else (), CNAME)
        if self._pair is not None and self._pair.rtcp is not None:
            self._pair.rtcp.send(packet)
        elif self._wire is not None:
            self._wire.write_frame(self._rtcp_channel, packet)

    @property
    def by_arrival(self) -> bool:
        """Whether media time is taken from arrival, now or soon, so that reading late would be misdating."""
        depacketiser = self.depacketiser
        return isinstance(depacketiser, VideoDepacketiser) and (depacketiser.by_arrival or depacketiser.in_doubt)

    def flush(self) -> None:
        """The session ends: what is whole goes to the sink. Once."""
        if self._flushed:
            return
        self._flushed = True
        if self._reorder is not None:
            self._reorder.flush()
        else:
            self.depacketiser.flush()
        self._watched.end()  # what comes until TEARDOWN is answered would have a hole before it

    def close(self) -> None:
        """Stop receiving; frees the ports."""
        if self._expiry is not None:
            self._expiry.cancel()
        if self._pair is not None:
            self._pair.close()

    def _schedule_expiry(self, end: Callable[[BaseException], None]) -> None:
        self._expiry = asyncio.get_running_loop().call_later(EXPIRE_SECONDS, self._expire, end)

    def _expire(self, end: Callable[[BaseException], None]) -> None:
        assert self._reorder is not None
        try:
            self._reorder.expire(time.monotonic_ns())
        except VmsError as error:
            end(error)
        except BaseException as error:  # a timer's exception would only be logged
            end(error)
            raise
        else:
            self._schedule_expiry(end)

    def _on_first_unit(self) -> None:
        """Only now is it known which source is ours, and to what its times are unwrapped."""
        if self._early is not None:
            (packet, arrival_mono_ns), self._early = self._early, None
            if packet.ssrc == self.depacketiser.ssrc:
                self.depacketiser.sender_report(packet.rtp_timestamp, packet.ntp_ns, arrival_mono_ns)

    def _push_rtcp(self, buf: bytearray | memoryview, start: int, end: int, arrival_mono_ns: int) -> None:
        try:
            packets = parse_rtcp(buf, start, end)
        except MalformedError:
            return  # media goes on without reports
        ours = self.depacketiser.ssrc
        for packet in packets:
            if isinstance(packet, SenderReportPacket):
                if packet.ntp_ns == 0:
                    continue  # a camera without a clock
                if self._watched.units == 0:
                    self._early = packet, arrival_mono_ns
                elif packet.ssrc == ours:
                    self.depacketiser.sender_report(packet.rtp_timestamp, packet.ntp_ns, arrival_mono_ns)
            elif isinstance(packet, Bye) and ours is not None and ours in packet.ssrcs:
                self._on_bye(packet.reason)
