"""A viewer at packet level, made of aiortc's own ICE and DTLS: it keeps every packet it could decrypt, undecoded.

It offers what it is told to, H.265 and all extensions included, loses what it is told to, and answers nothing it is not
asked for: NACK, PLI and receiver reports are sent by the test.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self
from uuid import UUID, uuid4

from aiortc import sdp
from aiortc.rtcdtlstransport import RTCCertificate, RTCDtlsTransport
from aiortc.rtcicetransport import RTCIceGatherer, RTCIceTransport
from aiortc.rtp import (
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    RtcpPacket,
    RtcpPsfbPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    is_rtcp,
)

from tests.support.live_viewers import Door
from web.live.negotiation import CAPTURE_TIME, MID, PLAYOUT_DELAY

H264 = ("102 H264/90000", "102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f")
H265 = ("104 H265/90000", "104 level-id=180;profile-id=1;tier-flag=0;tx-mode=SRST")
EXTENSIONS = ((3, CAPTURE_TIME), (4, MID), (5, PLAYOUT_DELAY))


def offer_text(
    ufrag: str = "abcd",
    password: str = "a" * 22,
    *,
    fingerprint: str = "sha-256 " + ":".join(["AB"] * 32),
    codecs: tuple[tuple[str, str], ...] = (H264,),
    extensions: tuple[tuple[int, str], ...] = EXTENSIONS,
    candidates: tuple[str, ...] = (),
    setup: str = "actpass",
    rtx: bool = True,
) -> str:
    """An offer to receive one video, as a browser writes it."""
    lines = ["v=0", "o=- 1 2 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0", "a=msid-semantic: WMS"]
    kinds = [rtpmap.split()[0] for rtpmap, _ in codecs]
    repeats = [str(int(kind) + 1) for kind in kinds] if rtx else []
    lines += [
        f"m=video 9 UDP/TLS/RTP/SAVPF {' '.join(kinds + repeats)}", "c=IN IP4 0.0.0.0", "a=rtcp:9 IN IP4 0.0.0.0",
        f"a=ice-ufrag:{ufrag}", f"a=ice-pwd:{password}", f"a=fingerprint:{fingerprint}", f"a=setup:{setup}", "a=mid:0",
        "a=recvonly", "a=rtcp-mux",
    ]  # fmt: skip
    lines += [f"a=extmap:{number} {uri}" for number, uri in extensions]
    lines += [f"a=candidate:{candidate}" for candidate in candidates]
    for rtpmap, fmtp in codecs:
        kind = rtpmap.split()[0]
        lines += [f"a=rtpmap:{rtpmap}", f"a=fmtp:{fmtp}", f"a=rtcp-fb:{kind} nack", f"a=rtcp-fb:{kind} nack pli"]
        if rtx:
            lines += [f"a=rtpmap:{int(kind) + 1} rtx/90000", f"a=fmtp:{int(kind) + 1} apt={kind}"]
    return "\r\n".join(lines) + "\r\n"


class _KeepingDtls(RTCDtlsTransport):
    """Stock DTLS-SRTP whose decrypted packets are kept."""

    keep: Callable[[bytes], None]

    async def _handle_rtp_data(self, data: bytes, arrival_time_ms: int) -> None:
        self.keep(data)

    async def _handle_rtcp_data(self, data: bytes) -> None:
        self.keep(data)


class _Failures(logging.Handler):
    """Counts what aiortc could not decrypt."""

    count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += "unprotect failed" in record.getMessage()


@dataclass
class PacketViewer:
    """`packets`: RTP in order of arrival; `reports`: RTCP. `lose(n)` says whether the n-th SRTP packet never comes."""

    door: Door
    codecs: tuple[tuple[str, str], ...] = (H264,)
    rtx: bool = True
    setup: str = "actpass"
    lose: Callable[[int], bool] | None = None
    id: UUID = field(default_factory=uuid4)
    packets: list[bytes] = field(default_factory=list)
    reports: list[Any] = field(default_factory=list)
    answer: dict[str, Any] = field(default_factory=dict)

    async def __aenter__(self) -> Self:
        self._gatherer = RTCIceGatherer(iceServers=[])
        self.ice = RTCIceTransport(self._gatherer)
        self.ice._connection.ice_controlling = True  # who offers, also towards checks that come before the answer
        self.dtls = _KeepingDtls(self.ice, [RTCCertificate.generateCertificate()])
        self.dtls.keep = self._keep
        self._more = asyncio.Event()
        self._came = 0
        self.failures = _Failures()
        self._log = logging.getLogger("aiortc.rtcdtlstransport")
        self._level = self._log.level
        self._log.addHandler(self.failures)
        self._log.setLevel(logging.DEBUG)
        await self._gatherer.gather()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._log.removeHandler(self.failures)
        self._log.setLevel(self._level)
        await self.dtls.stop()
        await self.ice.stop()

    def offer(self) -> str:
        local = self._gatherer.getLocalParameters()
        (fingerprint, *_) = self.dtls.getLocalParameters().fingerprints
        return offer_text(
            local.usernameFragment or "", local.password or "",
            fingerprint=f"{fingerprint.algorithm} {fingerprint.value}", codecs=self.codecs, rtx=self.rtx,
            candidates=tuple(sdp.candidate_to_sdp(c) for c in self._gatherer.getLocalCandidates()), setup=self.setup,
        )  # fmt: skip

    async def open(self, stream: UUID, *, fallbacks: tuple[UUID, ...] = ()) -> dict[str, Any]:
        status, self.answer = await self.door.offer(stream, self.offer(), session=self.id, fallbacks=fallbacks)
        assert status == 201, self.answer
        self.media = sdp.SessionDescription.parse(self.answer["answer"]).media[0]
        self.ssrc = self.media.ssrc[0].ssrc
        assert self.media.ice is not None
        assert self.media.dtls is not None
        for candidate in self.media.ice_candidates:
            await self.ice.addRemoteCandidate(candidate)
        self.dtls._set_role("server" if self.media.dtls.role == "client" else "client")
        if self.lose is not None:
            self.ice._recv = self._lossy  # type: ignore[method-assign]
        async with asyncio.timeout(10):
            await self.ice.start(self.media.ice)
            await self.dtls.start(self.media.dtls)
        assert self.dtls.state == "connected"
        return self.answer

    async def _lossy(self) -> bytes:
        assert self.lose is not None
        while True:
            data = await self.ice._connection.recv()
            if 127 < data[0] < 192 and not is_rtcp(data):
                self._came += 1
                if self.lose(self._came):
                    continue
            return data

    def _keep(self, data: bytes) -> None:
        if is_rtcp(data):
            self.reports += RtcpPacket.parse(data)
        else:
            self.packets.append(data)
        self._more.set()

    async def until(self, condition: Callable[[], object], seconds: float = 15.0) -> None:
        """Wait, packet by packet."""
        async with asyncio.timeout(seconds):
            while not condition():
                self._more.clear()
                await self._more.wait()

    async def marked(self, count: int, seconds: float = 15.0) -> None:
        """Wait for so many more whole pictures."""
        begun = sum(p[1] >> 7 for p in self.packets)
        await self.until(lambda: sum(p[1] >> 7 for p in self.packets) >= begun + count, seconds)

    def media_packets(self) -> list[bytes]:
        """Those of the stream itself, not repeated ones."""
        return [p for p in self.packets if int.from_bytes(p[8:12], "big") == self.ssrc]

    async def nack(self, lost: list[int]) -> None:
        await self.dtls._send_rtp(bytes(RtcpRtpfbPacket(fmt=RTCP_RTPFB_NACK, ssrc=1, media_ssrc=self.ssrc, lost=lost)))

    async def pli(self) -> None:
        await self.dtls._send_rtp(bytes(RtcpPsfbPacket(fmt=RTCP_PSFB_PLI, ssrc=1, media_ssrc=self.ssrc)))

    async def report(self, lost: int, highest: int) -> None:
        """A receiver report: packets lost so far, and the highest sequence number with its cycles."""
        info = RtcpReceiverInfo(self.ssrc, 0, lost, highest, 0, 0, 0)
        await self.dtls._send_rtp(bytes(RtcpRrPacket(ssrc=1, reports=[info])))
