"""The UDP side of a session: a bound pair of ports, even for RTP and odd for RTCP (RFC 3550 §11).

Owns sockets and the check of where datagrams come from. Does not own RTP: a datagram goes to a `push` like that of an
interleaved channel. Invariant: a datagram whose source is not the camera's address reaches nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import time
from collections.abc import Callable
from typing import cast

from vms.errors import SourceError, VmsError
from vms.model import GapReason
from vms.sentences import say

RECEIVE_BUFFER_BYTES = 2 * 1024 * 1024  # half a second of 32 Mbit/s; the kernel may grant less
BIND_ATTEMPTS = 64
HOLE_PUNCH_RTP = bytes((0x80, 0, 0, 0)) + bytes(8)  # an RTP header and nothing else: opens a firewall on our side

Push = Callable[[memoryview, int, int, int], object]


class UdpPort(asyncio.DatagramProtocol):
    """One port. `end` hears of an exception from `push`, which asyncio would only log."""

    def __init__(self, camera: str, push: Push, end: Callable[[BaseException], None]) -> None:
        self.foreign = 0  # datagrams from elsewhere
        self.transport: asyncio.DatagramTransport | None = None
        self._camera = camera
        self._push = push
        self._end = end

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)  # event loops' own classes do not derive from it

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        if addr[0] != self._camera:
            self.foreign += 1
            return
        try:
            self._push(memoryview(data), 0, len(data), time.monotonic_ns())
        except VmsError as error:
            self.close()
            self._end(error)
        except BaseException as error:  # asyncio would log it and go on calling a sink that is broken
            self.close()
            self._end(error)
            raise

    def error_received(self, exc: Exception) -> None:
        """ICMP says a port of the camera is closed: of no consequence, many never open their RTCP port."""

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self._end(exc)

    def send(self, data: bytes) -> None:
        """Send to the camera's port; nothing happens while that is not known."""
        if self.transport is not None and not self.transport.is_closing() and self.transport.get_extra_info("peername"):
            self.transport.sendto(data)

    def close(self) -> None:
        if self.transport is not None:
            self.transport.abort()


class UdpPair:
    """Two bound sockets that become two ports once SETUP has told the camera's."""

    def __init__(self, rtp: socket.socket, rtcp: socket.socket) -> None:
        self.ports: tuple[int, int] = (rtp.getsockname()[1], rtcp.getsockname()[1])
        self.rtp: UdpPort | None = None
        self.rtcp: UdpPort | None = None
        self._sockets = (rtp, rtcp)

    @classmethod
    def bind(cls, local_host: str) -> UdpPair:
        """Bind an even port and the next on the address that the RTSP connection uses."""
        family = socket.AF_INET6 if ":" in local_host else socket.AF_INET
        for _ in range(BIND_ATTEMPTS):
            first = socket.socket(family, socket.SOCK_DGRAM)
            second = socket.socket(family, socket.SOCK_DGRAM)
            try:
                first.bind((local_host, 0))
                port = first.getsockname()[1]
                second.bind((local_host, port ^ 1))
            except (OSError, OverflowError):
                first.close()
                second.close()
                continue
            for one in (first, second):
                one.setblocking(False)
                with contextlib.suppress(OSError):
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            return cls(second, first) if port & 1 else cls(first, second)
        raise SourceError(GapReason.INTERNAL_ERROR, say("no_udp_ports"))

    async def start(
        self,
        camera: str,
        server_ports: tuple[int, int] | None,
        push_rtp: Push,
        push_rtcp: Push,
        end: Callable[[BaseException], None],
    ) -> None:
        """Receive from `camera`, an IP address, and from those of its ports alone if it named them."""
        camera = str(ipaddress.ip_address(camera.partition("%")[0]))
        loop = asyncio.get_running_loop()
        for index, (one, push) in enumerate(zip(self._sockets, (push_rtp, push_rtcp), strict=True)):
            if server_ports is not None and server_ports[index]:
                try:
                    one.connect((camera, server_ports[index]))
                except OSError as error:
                    raise SourceError(GapReason.UNREACHABLE, say("no_udp_route")) from error
                _drain(one)  # what others sent before the kernel knew whom to listen to

            def protocol(push: Push = push) -> UdpPort:
                return UdpPort(camera, push, end)

            _, port = await loop.create_datagram_endpoint(protocol, sock=one)
            if index == 0:
                self.rtp = port
            else:
                self.rtcp = port

    def punch(self, receiver_report: bytes) -> None:
        """Send a packet from each port, so that a firewall or NAT on our side lets the camera's packets in."""
        if self.rtp is not None and self.rtcp is not None:
            self.rtp.send(HOLE_PUNCH_RTP)
            self.rtcp.send(receiver_report)

    def close(self) -> None:
        for port, one in zip((self.rtp, self.rtcp), self._sockets, strict=True):
            if port is not None:
                port.close()
            else:
                one.close()


def _drain(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        for _ in range(10_000):
            one.recv(1)
