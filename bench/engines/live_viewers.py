"""Viewers that take packets, decrypt them and do nothing else: for measuring who sends.

Usage: python -m bench.engines.live_viewers SOCKET STREAM …   One session for each stream named, over aiortc's ICE and
DTLS; prints one JSON line when all are connected. Media is decrypted, counted and thrown away; only STUN and DTLS go to
aiortc. On SIGTERM a second JSON line says what came to all of them together (`packets`, `bytes`), what of it could not be
decrypted (`failures`), and how many packets are missing between those that came, by their sequence numbers (`lost`).
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from typing import Any
from uuid import uuid4

import aiohttp
import pylibsrtp
import uvloop
from aiortc import sdp
from aiortc.rtcdtlstransport import RTCCertificate, RTCDtlsTransport
from aiortc.rtcicetransport import RTCIceGatherer, RTCIceTransport

CONNECT_SECONDS = 60.0
AT_ONCE = 16


class Viewer:
    """One session."""

    def __init__(self, certificate: RTCCertificate) -> None:
        self.packets = self.bytes = self.failures = self.lost = 0
        self._next: int | None = None  # sequence number
        self._early: list[bytes] = []  # came before our side had its keys
        self._gatherer = RTCIceGatherer(iceServers=[])
        self.ice = RTCIceTransport(self._gatherer)
        # As a peer connection that makes an offer: the server's checks may come before its answer, and would find a
        # role that nobody has.
        self.ice._connection.ice_controlling = True  # noqa: SLF001
        self.dtls = RTCDtlsTransport(self.ice, [certificate])

    async def open(self, http: aiohttp.ClientSession, stream: str) -> None:
        await self._gatherer.gather()
        body = {"id": str(uuid4()), "stream": stream, "offer": self._offer(), "fallbacks": []}
        async with http.post("http://live/v1/sessions", json=body) as response:
            answer = await response.json()
            if response.status != 201:
                raise SystemExit(f"no session: {answer}")
        media = sdp.SessionDescription.parse(answer["answer"]).media[0]
        assert media.ice is not None
        assert media.dtls is not None
        for candidate in media.ice_candidates:
            await self.ice.addRemoteCandidate(candidate)
        await self.ice.addRemoteCandidate(None)
        self.dtls._set_role("server" if media.dtls.role == "client" else "client")  # noqa: SLF001
        await self.ice.start(media.ice)
        for protocol in self.ice._connection._protocols:  # noqa: SLF001
            protocol.datagram_received = self._taking(protocol.datagram_received)  # type: ignore[method-assign]
        await self.dtls.start(media.dtls)
        if self.dtls.state != "connected":
            raise SystemExit("no connection")

    def _offer(self) -> str:
        local, (fingerprint, *_) = self._gatherer.getLocalParameters(), self.dtls.getLocalParameters().fingerprints
        lines = [
            "v=0", "o=- 1 2 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0", "a=msid-semantic: WMS",
            "m=video 9 UDP/TLS/RTP/SAVPF 102 103", "c=IN IP4 0.0.0.0", "a=rtcp:9 IN IP4 0.0.0.0", "a=mid:0",
            f"a=ice-ufrag:{local.usernameFragment}", f"a=ice-pwd:{local.password}", "a=setup:actpass", "a=recvonly",
            f"a=fingerprint:{fingerprint.algorithm} {fingerprint.value}", "a=rtcp-mux",
            "a=extmap:3 http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time",
            "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid",
            *(f"a=candidate:{sdp.candidate_to_sdp(c)}" for c in self._gatherer.getLocalCandidates()),
            "a=rtpmap:102 H264/90000", "a=rtcp-fb:102 nack", "a=rtcp-fb:102 nack pli",
            "a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
            "a=rtpmap:103 rtx/90000", "a=fmtp:103 apt=102",
        ]  # fmt: skip
        return "\r\n".join(lines) + "\r\n"

    def _taking(self, others: Any) -> Any:
        def take(data: bytes, addr: Any) -> None:
            if data[0] < 64:
                others(data, addr)
            elif not 192 <= data[1] <= 208:
                self._early.append(data)
                if self.dtls._rx_srtp is not None:  # noqa: SLF001
                    for one in self._early:
                        self._count(one)
                    self._early.clear()

        return take

    def _count(self, data: bytes) -> None:
        self.packets += 1
        self.bytes += len(data)
        number = int.from_bytes(data[2:4])
        ahead = 0 if self._next is None else number - self._next & 0xFFFF
        if ahead < 1 << 15:
            self.lost += ahead
            self._next = number + 1 & 0xFFFF
        else:  # late, and counted as lost before
            self.lost -= 1
        try:
            self.dtls._rx_srtp.unprotect(data)  # noqa: SLF001
        except pylibsrtp.Error:
            self.failures += 1


async def watch(socket: str, streams: list[str]) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    certificate, turn = RTCCertificate.generateCertificate(), asyncio.Semaphore(AT_ONCE)
    viewers = [Viewer(certificate) for _ in streams]
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=socket)) as http:

        async def open_one(viewer: Viewer, stream: str) -> None:
            async with turn:
                await viewer.open(http, stream)

        async def renew_lease() -> None:
            while True:  # as the web process does, but seldom enough to cost nothing
                async with http.get("http://live/v1/sessions"):
                    pass
                await asyncio.sleep(10)

        renewing = asyncio.create_task(renew_lease())
        async with asyncio.timeout(CONNECT_SECONDS):
            await asyncio.gather(*(open_one(v, s) for v, s in zip(viewers, streams, strict=True)))
        print(json.dumps({"connected": len(viewers)}), flush=True)
        await stop.wait()
        renewing.cancel()
    facts = {name: sum(getattr(v, name) for v in viewers) for name in ("packets", "bytes", "failures", "lost")}
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    uvloop.run(watch(sys.argv[1], sys.argv[2:]))
