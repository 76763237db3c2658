"""An RTSP server's sessions: Transport headers, UDP ports, and what lives between SETUP and TEARDOWN (RFC 2326 §3, §12.39).

Owns no RTSP message but the Transport value. Invariant: `Session.close` frees ports and stops the playback exactly once.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from vms.errors import MalformedError
from vms.media.rtcp import ReceiverReportPacket, parse_rtcp
from vms.rtsp.outlet import Outlet
from vms.rtsp.provider import Manners, Playback, Viewer

SEND_BUFFER_BYTES = 1 << 20
_PORT_TRIES = 64
_RANGE = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")


@dataclass(frozen=True, slots=True)
class TransportSpec:
    """One usable alternative of a Transport header: `first` and `second` are channels (tcp) or client ports (udp)."""

    kind: str  # "tcp" or "udp"
    first: int
    second: int


def parse_transport(value: str) -> list[TransportSpec]:
    """The unicast RTP/AVP alternatives in order; whatever else the client offers is left out."""
    found: list[TransportSpec] = []
    for alternative in value[:4096].split(",")[:16]:
        name, *parameters = [part.strip() for part in alternative.split(";")]
        fields = dict(([*p.split("=", 1), ""])[:2] for p in parameters)
        kind = {"RTP/AVP": "udp", "RTP/AVP/UDP": "udp", "RTP/AVP/TCP": "tcp"}.get(name.upper())
        if kind is None or "multicast" in fields or fields.get("mode", "play").strip('"').lower() != "play":
            continue
        match = _RANGE.fullmatch(fields.get("interleaved" if kind == "tcp" else "client_port", ""))
        if match is None:
            if kind == "tcp":
                found.append(TransportSpec(kind, -1, -1))  # the server chooses
            continue
        first = int(match[1])
        second = int(match[2]) if match[2] else first + 1
        if second <= (254 if kind == "tcp" else 65_535) and first >= (0 if kind == "tcp" else 1):
            found.append(TransportSpec(kind, first, second))
    return found


class Session:
    """From SETUP to TEARDOWN. `connection` None: its connection was lost and it lingers."""

    def __init__(self, path: str, viewer: Viewer, manners: Manners, connection: object) -> None:
        self.id = viewer.session
        self.path = path
        self.viewer = viewer
        self.manners = manners
        self.connection: object | None = connection
        self.outlets: dict[int, Outlet] = {}
        self.playback: Playback | None = None
        self.seen_mono = time.monotonic()
        self.reports = 0  # RTCP receiver reports
        self.over_udp = False
        self.until_mono: float | None = None  # end of its lingering

    def touch(self) -> None:
        """The client is alive."""
        self.seen_mono = time.monotonic()

    def rtcp(self, data: bytes) -> None:
        """RTCP from the client: any of it shows life; rubbish is ignored."""
        try:
            packets = parse_rtcp(data)
        except MalformedError:
            return
        self.reports += sum(isinstance(p, ReceiverReportPacket) for p in packets)
        self.touch()

    def pause(self) -> None:
        """Stop sending; the session stays."""
        playback, self.playback = self.playback, None
        if playback is not None:
            playback.stop()

    def close(self) -> None:
        """Stop sending and free the ports."""
        self.pause()
        for outlet in self.outlets.values():
            outlet.wire.close()
        self.outlets.clear()


def new_session_id() -> str:
    """Not guessable (RFC 2326 §3.4)."""
    return secrets.token_hex(8).upper()


class Datagrams(asyncio.DatagramProtocol):
    """Receives what a client sends to a server port. Errors of single datagrams (a closed port) are the client's."""

    def __init__(self, client: str, on_data: Callable[[bytes], None]) -> None:
        self._client = client
        self._on_data = on_data

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        if addr[0] == self._client:
            self._on_data(data)

    def error_received(self, exc: Exception) -> None:
        """ICMP port unreachable and the like: the session ends by its timeout."""


async def open_port_pair(
    host: str, client: str, on_rtcp: Callable[[bytes], None]
) -> tuple[socket.socket, asyncio.DatagramTransport, int]:
    """RTP and RTCP sockets on an even port and the next (RFC 3550 §11). Raises OSError when there is none.

    Nothing is ever read from the RTP socket: what clients send there (to open firewalls) says nothing.
    """
    loop = asyncio.get_running_loop()
    rtp, rtcp, port = _bind_pair(host, socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        rtp.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        transport, _ = await loop.create_datagram_endpoint(lambda: Datagrams(client, on_rtcp), sock=rtcp)
    except OSError:
        rtp.close()
        rtcp.close()
        raise
    return rtp, transport, port


def _bind_pair(host: str, family: int) -> tuple[socket.socket, socket.socket, int]:
    for _ in range(_PORT_TRIES):
        rtp = socket.socket(family, socket.SOCK_DGRAM)
        rtcp = socket.socket(family, socket.SOCK_DGRAM)
        try:
            rtp.bind((host, 0))
            port = int(rtp.getsockname()[1])
            if port % 2 == 0:
                rtcp.bind((host, port + 1))
                rtp.setblocking(False)
                rtcp.setblocking(False)
                return rtp, rtcp, port
        except OSError:
            pass
        rtp.close()
        rtcp.close()
    raise OSError(f"no free pair of UDP ports on {host}")
