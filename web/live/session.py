"""One viewer: its ICE and DTLS transports, its feedback, and the sender that serves it.

aiortc's transports do ICE, DTLS and RTCP; media goes past them, from `Sender` straight to the socket. A session ends
by itself when the viewer has not answered for ten seconds, has said goodbye, or never came; it never ends because
somebody else does.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from aiortc.rtcdtlstransport import RTCCertificate, RTCDtlsParameters, RTCDtlsTransport
from aiortc.rtcicetransport import RTCIceTransport
from aiortc.rtcrtpparameters import RTCRtpSendParameters
from aiortc.rtp import (
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    AnyRtcpPacket,
    RtcpByePacket,
    RtcpPsfbPacket,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSdesPacket,
    RtcpSenderInfo,
    RtcpSourceInfo,
    RtcpSrPacket,
)

from vms.clock import Clock
from vms.metrics import Metrics
from vms.model import CodecConfig
from web.live.ice import AddressPolicy, GuardedGatherer
from web.live.negotiation import CAPTURE_TIME, MID, PLAYOUT_DELAY, Choice, Offer, Side, answer, choose
from web.live.packets import Layout, LiveUnit, ntp_of, shared
from web.live.refusals import Refusal
from web.live.sender import Counts, Sender, Wire
from web.live.source import Source
from web.live.srtp import TAG_BYTES, Scratch
from web.live.udp_segment import DatagramSender

log = logging.getLogger(__name__)

SETUP_SECONDS = 10.0  # from the answer to keys; who has not come by then does not come
FIRST_REPORT_SECONDS, REPORT_SECONDS = 1.0, 5.0  # between sender reports, give or take half (RFC 3550 §6.2)
CNAME = "stroz"


@dataclass(frozen=True, slots=True)
class Tools:
    """What all sessions of a gateway share."""

    policy: AddressPolicy
    certificate: Callable[[], RTCCertificate]
    clock: Clock
    scratch: Scratch
    segments: bool  # whether the kernel cuts buffers into datagrams
    metrics: Metrics


class Session:
    """`prepare` gives the answer; `run` serves until the viewer is gone."""

    def __init__(
        self, session_id: UUID, source: Source, offer: Offer, choice: Choice, *, key: object, tools: Tools
    ) -> None:
        self.id = session_id
        self.source, self.key = source, key
        self.choice = choice
        self.state = "new"
        self.since_ns = tools.clock.wall_ns()
        self.keys_ns: int | None = None  # when DTLS had its keys
        self.first_ns: int | None = None  # when the first picture went out
        self.why_ended = ""
        self._offer, self._tools = offer, tools
        self._ssrc, self._rtx_ssrc = (secrets.randbelow(2**32 - 1) + 1 for _ in range(2))
        self._gatherer = GuardedGatherer(tools.policy)
        self._ice = RTCIceTransport(self._gatherer)
        self._dtls = RTCDtlsTransport(self._ice, [tools.certificate()])
        self._ended = asyncio.Event()
        self._sender: Sender | None = None
        self._config: CodecConfig | None = None
        self._counted = Counts()
        self._unwelcome: dict[str, int] = {}

    @property
    def counts(self) -> Counts:
        return self._sender.counts if self._sender else Counts()

    async def prepare(self) -> str:
        """Bind sockets and answer the offer. Refusal when there is no port."""
        offer = self._offer
        await self._gatherer.gather()
        self._ice._connection.ice_controlling = offer.ice.iceLite  # noqa: SLF001 - as aiortc's own peer connection does
        role = "server" if offer.dtls.role == "client" else "client"
        self._dtls._set_role(role)  # noqa: SLF001 - as above
        for candidate in offer.candidates:
            await self._ice.addRemoteCandidate(candidate)
        fingerprints = self._dtls.getLocalParameters().fingerprints
        side = Side(
            ice=self._gatherer.getLocalParameters(),
            candidates=tuple(self._gatherer.getLocalCandidates()),
            dtls=RTCDtlsParameters(fingerprints=fingerprints, role=role),
            cname=CNAME,
            ssrc=self._ssrc,
            rtx_ssrc=self._rtx_ssrc,
        )
        self.state = "connecting"
        return answer(offer, self.choice, side)

    async def discard(self) -> None:
        """It was never run: close what `prepare` opened."""
        await self._dtls.stop()
        await self._ice.stop()

    async def run(self) -> None:
        """Connect, serve, end. Cancel to end it."""
        self._dtls.on("statechange", self._on_transport)
        self._ice.on("statechange", self._on_transport)
        try:
            if await self._connect():
                self.state = "live"
                self.source.join(self)
                await self._serve()
        finally:
            self.source.leave(self)
            if self._sender is not None:
                self._sender.close()
                self._count()
            self.state = "ended"
            await self._hang_up()

    def end(self, why: str) -> None:
        """Have `run` end soon."""
        self.why_ended = self.why_ended or why
        self._ended.set()

    async def _connect(self) -> bool:
        began = self._tools.clock.mono_ns()
        try:
            async with asyncio.timeout(SETUP_SECONDS):
                await self._ice.start(self._offer.ice)
                if self._ice.state == "completed":
                    await self._dtls.start(self._offer.dtls)
        except TimeoutError:
            self.end("never_came")
            return False
        if self._dtls.state != "connected":
            self.end("no_connection")
            return False
        self._tools.metrics.live_connect_seconds.observe((self._tools.clock.mono_ns() - began) / 1e9)
        self.keys_ns = self._tools.clock.wall_ns()
        self._open()
        return True

    def _open(self) -> None:
        """There are keys: make the sender."""
        dtls, ids, tools = self._dtls, self.choice.extensions, self._tools
        profile = dtls._ssl.get_selected_srtp_profile()  # type: ignore[union-attr]  # noqa: SLF001 - connected
        layout = Layout(
            codec=self.choice.codec,
            payload_type=self.choice.payload_type,
            tag_bytes=TAG_BYTES[profile],
            mid=self._offer.section.rtp.muxId,
            mid_id=ids.get(MID, 0),
            capture_time_id=ids.get(CAPTURE_TIME, 0),
            playout_delay_id=ids.get(PLAYOUT_DELAY, 0),
        )
        self._sender = Sender(
            shared(layout),
            ssrc=self._ssrc,
            rtx_ssrc=self._rtx_ssrc,
            rtx_payload_type=self.choice.rtx.payloadType if self.choice.rtx else None,
            first_sequence=secrets.randbelow(2**15),
            first_timestamp=secrets.randbelow(2**32),
            clock=tools.clock,
            scratch=tools.scratch,
            datagrams=DatagramSender(tools.segments),  # its own: another's route may refuse
        )
        self._sender.open(Wire(dtls._tx_srtp, self._gatherer.connection.route))  # noqa: SLF001 - its keys, our packets
        dtls._register_rtp_sender(_Feedback(self, self._ssrc), RTCRtpSendParameters())  # noqa: SLF001 - what RTCRtpSender does

    async def _serve(self) -> None:
        seconds = FIRST_REPORT_SECONDS
        while not self._ended.is_set():
            try:
                async with asyncio.timeout(seconds * random.uniform(0.5, 1.5)):  # noqa: S311 - spreads the load
                    await self._ended.wait()
            except TimeoutError:
                await self._report()
                self._count()
                seconds = REPORT_SECONDS

    async def _report(self) -> None:
        assert self._sender is not None
        counts, now_ns = self._sender.counts, self._tools.clock.wall_ns()
        if not counts.packets:
            return
        info = RtcpSenderInfo(
            ntp_timestamp=ntp_of(now_ns),
            rtp_timestamp=self._sender.media_time(now_ns),
            packet_count=counts.packets & 0xFFFFFFFF,
            octet_count=counts.octets & 0xFFFFFFFF,
        )
        source = RtcpSourceInfo(ssrc=self._ssrc, items=[(1, CNAME.encode())])
        await self._send_rtcp(bytes(RtcpSrPacket(ssrc=self._ssrc, sender_info=info)) + bytes(RtcpSdesPacket([source])))

    async def _send_rtcp(self, packet: bytes) -> None:
        try:
            await self._dtls._send_rtp(packet)  # noqa: SLF001 - aiortc protects and sends it
        except ConnectionError:
            self.end("gone")

    async def _hang_up(self) -> None:
        if self._dtls.state == "connected":
            await self._send_rtcp(bytes(RtcpByePacket(sources=[self._ssrc])))
        await self._dtls.stop()
        await self._ice.stop()

    def _on_transport(self) -> None:
        if self._dtls.state in ("closed", "failed") or self._ice.state in ("closed", "failed"):
            self.end("gone")

    def _count(self) -> None:
        """Bring the process's counters up to date."""
        metrics, now, before = self._tools.metrics, self.counts, self._counted
        metrics.live_packets.inc(now.packets - before.packets)
        metrics.live_bytes.inc(now.bytes - before.bytes)
        metrics.live_retransmitted.inc(now.rtx - before.rtx)
        metrics.live_dropped_units.inc(now.drops - before.drops)
        metrics.live_key_requests.inc(now.key_requests - before.key_requests)
        self._counted = Counts(now.packets, now.bytes, now.octets, now.rtx, now.drops, now.lost, now.key_requests)
        for why, count in self._gatherer.connection.unwelcome.counts.items():
            metrics.live_unwelcome.labels(why).inc(count - self._unwelcome.get(why, 0))
            self._unwelcome[why] = count

    # What the source calls

    def begin(self, units: list[LiveUnit]) -> None:
        if self._fits(units[0]) and self._sender is not None:
            self._sender.begin(units)
            self._note_first()

    def push(self, unit: LiveUnit) -> None:
        if self._fits(unit) and self._sender is not None:
            self._sender.push(unit)
            if self.first_ns is None:
                self._note_first()

    def drop_to_key(self) -> None:
        if self._sender is not None:
            self._sender.drop_to_key()

    def give_up(self) -> None:
        self.end("bug")

    def _note_first(self) -> None:
        if self.first_ns is None and self.counts.packets:
            self.first_ns = self._tools.clock.wall_ns()

    def _fits(self, unit: LiveUnit) -> bool:
        """Whether the stream still is what was negotiated. A camera that was set to another codec ends the session, so
        that the viewer asks anew."""
        config = unit.timed.unit.config
        if config is not self._config:
            if not self._can_show(config):
                self.end("codec_changed")
                return False
            self._config = config
        return True

    def _can_show(self, config: CodecConfig) -> bool:
        return config.codec is self.choice.codec and isinstance(choose(self._offer, config), Choice)

    def switch(self, source: Source, key: object) -> None:
        """Show another stream from its key picture on, within the same track. Refusal `codec_unsupported`."""
        if source.config is None or not self._can_show(source.config):
            raise Refusal("codec_unsupported", "the other stream cannot be shown in this session")
        self.source.leave(self)
        self.source, self.key, self._config = source, key, None
        if self._sender is not None:
            self._sender.drop_to_key()
            source.join(self)

    # What the viewer says

    def on_feedback(self, packet: AnyRtcpPacket) -> None:
        self._gatherer.connection.hear()
        sender = self._sender
        if sender is None:
            return
        if isinstance(packet, RtcpRtpfbPacket) and packet.fmt == RTCP_RTPFB_NACK:
            sender.repeat(packet.lost)
        elif isinstance(packet, RtcpPsfbPacket) and packet.fmt == RTCP_PSFB_PLI:
            if sender.wants_key():
                self.source.begin(self)
        elif isinstance(packet, RtcpRrPacket | RtcpSrPacket):
            for report in packet.reports:
                if report.ssrc == self._ssrc:
                    sender.reported(report.packets_lost, report.highest_sequence)


class _Feedback:
    """What aiortc's router takes for an RTP sender."""

    def __init__(self, session: Session, ssrc: int) -> None:
        self._session = session
        self._ssrc = ssrc

    async def _handle_rtcp_packet(self, packet: AnyRtcpPacket) -> None:
        self._session.on_feedback(packet)


def facts_of(session: Session, stream: UUID) -> dict[str, Any]:
    """One object of `GET /v1/sessions`."""
    counts = session.counts
    return {
        "id": str(session.id),
        "stream": str(stream),
        "state": session.state,
        "since_ns": str(session.since_ns),
        "keys_ns": None if session.keys_ns is None else str(session.keys_ns),
        "first_ns": None if session.first_ns is None else str(session.first_ns),
        "packets": counts.packets,
        "bytes": counts.bytes,
        "lost": counts.lost,
        "rtx": counts.rtx,
        "drops": counts.drops,
    }
