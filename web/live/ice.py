"""Where the gateway's media sockets are, and what may come in on them. aioice does the rest of ICE.

Three things aioice 0.13 leaves open are settled here, by subclasses: which addresses and ports are offered (it skips
loopback and takes any port), how soon a viewer that is gone is noticed (it takes half a minute), and what an unknown
sender can do. Every datagram passes `GuardedProtocol`: what cannot be STUN, DTLS or SRTP of the viewer's own address
is dropped before anything parses it, and nothing is queued without a bound.

RFC 8445 (ICE), RFC 7675 (consent), RFC 7983 (telling datagrams apart).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import random
import socket
import struct
from dataclasses import dataclass, field
from typing import Any, cast

import ifaddr
from aioice import Candidate, stun
from aioice.candidate import candidate_foundation, candidate_priority
from aioice.ice import CandidatePair, Connection, StunProtocol
from aiortc.rtcicetransport import RTCIceGatherer

from vms.errors import UserError
from web.live.refusals import Refusal

CONSENT_SECONDS = 1.8  # between checks, give or take a fifth, of a viewer that was not heard of
HEARD_SECONDS = 5.0  # between checks of one that is: as often as RFC 7675 §5.1 asks
CONSENT_ANSWER_SECONDS = 1.0
SILENT_SECONDS = 6.5  # nothing was heard for so long: the viewer is gone, which is noticed within ten
SEND_BUFFER_BYTES = 2 << 20
RECEIVE_BUFFER_BYTES = 256 << 10
LONGEST_DATAGRAM_BYTES = 1500  # pylibsrtp takes no longer one
SHORTEST_DATAGRAM_BYTES = 12
MOST_QUEUED = 256
MOST_REMOTE_CANDIDATES = 40
STUN_PER_S, STUN_BURST = 50, 150  # a browser sends a few a second
_TRANSACTION_ID = slice(8, 20)  # of a STUN message (RFC 8489 §5)


@dataclass(slots=True)
class Unwelcome:
    """Datagrams that were dropped unread, by why."""

    counts: dict[str, int] = field(default_factory=dict)

    def note(self, why: str) -> None:
        self.counts[why] = self.counts.get(why, 0) + 1


class AddressPolicy:
    """The addresses offered to viewers, and the UDP ports taken on them."""

    def __init__(self, addresses: tuple[str, ...], ports: range | None) -> None:
        self.addresses = addresses
        self._ports = ports

    @property
    def loopback(self) -> bool:
        """Whether viewers on this machine are served over loopback."""
        return any(ipaddress.ip_address(a).is_loopback for a in self.addresses)

    def bind(self, address: str) -> socket.socket:
        """A socket on a free port of the policy. Refusal `too_many_sessions` when every port is taken; OSError when
        the address is not this machine's."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            self._take_port(sock, address)
        except BaseException:
            sock.close()
            raise
        return sock

    def _take_port(self, sock: socket.socket, address: str) -> None:
        if self._ports is None:
            sock.bind((address, 0))
            return
        begin = random.randrange(len(self._ports))  # noqa: S311 - which port is no secret
        for i in range(len(self._ports)):
            try:
                sock.bind((address, self._ports[(begin + i) % len(self._ports)]))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                return
        raise Refusal("too_many_sessions", "no UDP port of live.udp_ports is free", 5)


def policy_of(addresses: tuple[str, ...], ports: range | None, *, loopback_only: bool) -> AddressPolicy:
    """From the settings; empty addresses: all of this machine's that viewers can reach. UserError when there is none."""
    if not addresses:
        addresses = ("127.0.0.1",) if loopback_only else own_addresses()
    if not addresses:
        raise UserError("this machine has no network address to offer to viewers; set live.addresses")
    return AddressPolicy(addresses, ports)


def own_addresses() -> tuple[str, ...]:
    """This machine's addresses, without loopback and link-local ones."""
    found = []
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            address = ipaddress.ip_address(ip.ip if isinstance(ip.ip, str) else ip.ip[0])
            if not (address.is_loopback or address.is_link_local or address.is_multicast):
                found.append(str(address))
    return tuple(found)


class GuardedProtocol(StunProtocol):
    """One socket of a session. Only its viewer gets past STUN, and nobody gets past it with nonsense."""

    def __init__(self, receiver: GuardedConnection, sock: socket.socket) -> None:
        super().__init__(receiver)
        self.sock = sock
        self._connection = receiver
        self._credit, self._credit_at = float(STUN_BURST), 0.0

    def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
        datagram = cast("bytes", data)
        unwelcome = self._connection.unwelcome
        if not SHORTEST_DATAGRAM_BYTES <= len(datagram) <= LONGEST_DATAGRAM_BYTES:
            unwelcome.note("length")
        elif datagram[0] < 4:
            self._stun(datagram, addr)
        elif not (19 < datagram[0] < 64 or 127 < datagram[0] < 192):
            unwelcome.note("kind")
        elif not self._connection.knows(self, addr[0], addr[1]):
            unwelcome.note("address")
        elif self._connection.queued >= MOST_QUEUED:
            unwelcome.note("queue")
        else:
            self.receiver.data_received(datagram, self.local_candidate.component)

    def _concerns_us(self, datagram: bytes) -> bool:
        """Whether a message answers one of our checks or names this session: nothing else can be its viewer's, and a
        stranger who sends much does not use up what the viewer may send."""
        return datagram[_TRANSACTION_ID] in self.transactions or self._connection.local_name in datagram

    def _stun(self, datagram: bytes, addr: tuple[Any, ...]) -> None:
        if not self._concerns_us(datagram):
            self._connection.unwelcome.note("stun")
            return
        now = asyncio.get_running_loop().time()
        self._credit = min(STUN_BURST, self._credit + STUN_PER_S * (now - self._credit_at))
        self._credit_at = now
        if self._credit < 1:
            self._connection.unwelcome.note("stun_flood")
            return
        self._credit -= 1
        sender = addr[0], addr[1]
        try:
            message = stun.parse_message(datagram)
            if message.message_class is stun.Class.REQUEST:
                self.receiver.request_received(message, sender, self)
            elif message.message_class is not stun.Class.INDICATION and message.transaction_id in self.transactions:
                self.transactions[message.transaction_id].response_received(message, sender)
        except (ValueError, LookupError, AttributeError, AssertionError, TypeError, struct.error):
            self._connection.unwelcome.note("stun")  # no message, or without what aioice takes for granted


class GuardedConnection(Connection):
    """ICE with our addresses and ports, our patience, and no trust in strangers."""

    def __init__(self, policy: AddressPolicy, **options: Any) -> None:
        super().__init__(**options)
        self.unwelcome = Unwelcome()
        self.local_name = f"{self.local_username}:".encode()  # how a check's USERNAME begins (RFC 8445 §7.2.2)
        self._policy = policy
        self._heard_at = 0.0

    async def gather_candidates(self) -> None:
        """Bind one socket an address. Refusal when no port is free."""
        if self._local_candidates_start:
            return
        self._local_candidates_start = True
        loop = asyncio.get_running_loop()
        for number, address in enumerate(self._policy.addresses):
            try:
                sock = self._policy.bind(address)
            except OSError as error:
                raise Refusal("too_many_sessions", f"no media socket on {address}: {error.strerror}", 5) from error
            _, protocol = await loop.create_datagram_endpoint(lambda s=sock: GuardedProtocol(self, s), sock=sock)  # type: ignore[misc]
            host, port = sock.getsockname()[:2]
            protocol.local_candidate = Candidate(
                foundation=candidate_foundation("host", "udp", host),
                component=1,
                transport="udp",
                priority=candidate_priority(1, "host", 65_535 - number),
                host=host,
                port=port,
                type="host",
            )
            self._protocols.append(protocol)
            self._local_candidates.append(protocol.local_candidate)
        self._local_candidates_end = True

    @property
    def queued(self) -> int:
        return self._queue.qsize()

    def knows(self, protocol: StunProtocol, host: str, port: int) -> bool:
        """Whether this sender has proved, by a check with the session's password, that it is our viewer."""
        pairs = self._nominated.values() or self._check_list
        succeeded = CandidatePair.State.SUCCEEDED
        return any(p.protocol is protocol and p.state is succeeded and p.remote_addr == (host, port) for p in pairs)

    def route(self) -> tuple[socket.socket, Any] | None:
        """Socket and address of the pair in use."""
        pair = self._nominated.get(1)
        if pair is None:
            return None
        protocol: Any = pair.protocol
        return protocol.sock, pair.remote_addr

    def request_received(self, message: stun.Message, addr: tuple[str, int], protocol: StunProtocol) -> None:
        """As aioice does it, but who does not know the session's password is not answered at all (aioice tells him he is
        wrong, wherever he says he is), and a viewer cannot fill our memory with addresses of its own."""
        if not self._is_authentic(message):
            self.unwelcome.note("stun")
            return
        if len(self._remote_candidates) >= MOST_REMOTE_CANDIDATES and not any(
            (c.host, c.port) == addr for c in self._remote_candidates
        ):
            self.unwelcome.note("candidates")
            return
        if (protocol, addr) == self._pair():
            self.hear()
        super().request_received(message, addr, protocol)

    def _is_authentic(self, message: stun.Message) -> bool:
        """Whether it is a check of somebody who had our answer, and complete."""
        return {"USERNAME", "PRIORITY", "MESSAGE-INTEGRITY"} <= message.attributes.keys() and (
            message.check_message_integrity(self.local_password.encode())
        )

    def _pair(self) -> tuple[StunProtocol, tuple[str, int]] | None:
        pair = self._nominated.get(1)
        return None if pair is None else (pair.protocol, pair.remote_addr)

    def hear(self) -> None:
        """The viewer said something that only it can have said."""
        self._heard_at = asyncio.get_running_loop().time()

    async def query_consent(self) -> None:
        """RFC 7675 with less patience, and with more ears.

        Whatever the session's keys prove to be the viewer's counts: its answers, its own checks, its reports. On a
        line whose queue takes seconds answers come too late to be taken for such, and the viewer is there all the same.
        """
        assert self.remote_password is not None
        loop = asyncio.get_running_loop()
        self.hear()
        checked_at = loop.time()
        while loop.time() - self._heard_at < SILENT_SECONDS:
            await asyncio.sleep(CONSENT_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - spreads the load
            if loop.time() - self._heard_at < CONSENT_SECONDS and loop.time() - checked_at < HEARD_SECONDS:
                continue
            checked_at = loop.time()
            for pair in list(self._nominated.values()):
                request = self.build_request(pair, nominate=False)
                with contextlib.suppress(stun.TransactionError, TimeoutError):
                    async with asyncio.timeout(CONSENT_ANSWER_SECONDS):
                        await pair.protocol.request(
                            request, pair.remote_addr, integrity_key=self.remote_password.encode(), retransmissions=1
                        )
                    self.hear()
        self._query_consent_task = None
        await self.close()


class GuardedGatherer(RTCIceGatherer):
    """aiortc's gatherer around our connection."""

    def __init__(self, policy: AddressPolicy) -> None:
        super().__init__(iceServers=[])
        self.connection = GuardedConnection(policy, ice_controlling=False)
        self._connection = self.connection
