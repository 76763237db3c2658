"""Addresses, ports, and the ways datagrams go out."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from aioice import stun

from vms.errors import UserError
from web.live.ice import STUN_BURST, AddressPolicy, GuardedConnection, GuardedProtocol, own_addresses, policy_of
from web.live.refusals import Refusal
from web.live.udp_segment import DatagramSender, kernel_segments


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as two,
    ):
        for sock in (one, two):
            sock.bind(("127.0.0.1", 0))
            sock.setblocking(False)
        yield one, two


def received(sock: socket.socket) -> list[bytes]:
    found = []
    while True:
        try:
            found.append(sock.recv(2000))
        except BlockingIOError:
            return found


def test_addresses_follow_the_web_unless_they_are_named() -> None:
    assert policy_of((), None, loopback_only=True).addresses == ("127.0.0.1",)
    assert policy_of((), None, loopback_only=True).loopback
    assert policy_of(("10.0.0.5",), None, loopback_only=True).addresses == ("10.0.0.5",)
    assert not policy_of(("10.0.0.5",), None, loopback_only=False).loopback
    assert not any(a.startswith(("127.", "fe80", "169.254.")) for a in own_addresses())


def test_a_machine_without_an_address_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.live.ice.own_addresses", lambda: ())
    with pytest.raises(UserError, match=r"live\.addresses"):
        policy_of((), None, loopback_only=False)


def test_every_port_of_the_range_is_used_and_then_there_is_none() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ports = range(port, min(port + 3, 65_536))
    policy, taken = AddressPolicy(("127.0.0.1",), ports), []
    with ExitStack() as undo:
        with pytest.raises(Refusal) as caught:
            for _ in range(len(ports) + 1):
                taken.append(undo.enter_context(policy.bind("127.0.0.1")))
        assert caught.value.code == "too_many_sessions"
        assert {sock.getsockname()[1] for sock in taken} <= set(ports)
        assert len(taken) >= 1


def test_an_address_of_another_machine_cannot_be_bound() -> None:
    with pytest.raises(OSError, match="assign"):
        AddressPolicy(("198.51.100.9",), None).bind("198.51.100.9")


@pytest.mark.parametrize("segments", [False, True])
def test_a_run_comes_as_its_datagrams(pair: tuple[socket.socket, socket.socket], segments: bool) -> None:
    if segments and not kernel_segments():
        pytest.skip("this kernel knows no UDP_SEGMENT")
    ours, theirs = pair
    data = bytes(range(256)) * 13
    DatagramSender(segments).send(ours, memoryview(data), 1000, theirs.getsockname())
    assert received(theirs) == [data[at : at + 1000] for at in range(0, len(data), 1000)]


class Refusing:
    """A socket on a route that knows no segmentation, as the kernel says it."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self._sock, self._number = sock, number
        self.asked = 0

    def sendmsg(self, *_: object) -> int:
        self.asked += 1
        raise OSError(self._number, "refused")

    def sendto(self, *arguments: object) -> int:
        return self._sock.sendto(*arguments)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize("number", [errno.EIO, errno.EINVAL, errno.EMSGSIZE])
def test_a_route_that_refuses_is_served_one_by_one_from_then_on(
    pair: tuple[socket.socket, socket.socket], number: int
) -> None:
    ours, theirs = pair
    refusing, sender = Refusing(ours, number), DatagramSender(True)
    for _ in range(2):
        sender.send(refusing, memoryview(b"x" * 2500), 1000, theirs.getsockname())  # type: ignore[arg-type]
        assert list(map(len, received(theirs))) == [1000, 1000, 500]
    assert refusing.asked == 1


def test_other_errors_are_not_taken_for_a_refusal(pair: tuple[socket.socket, socket.socket]) -> None:
    sender = DatagramSender(True)
    with pytest.raises(OSError, match="refused"):
        sender.send(Refusing(pair[0], errno.ENETUNREACH), memoryview(b"x" * 2500), 1000, ("127.0.0.1", 9))  # type: ignore[arg-type]
    assert sender.segments


async def test_strangers_use_up_nothing_of_what_the_viewer_may_send() -> None:
    connection = GuardedConnection(AddressPolicy(("127.0.0.1",), None), ice_controlling=False)
    await connection.gather_candidates()
    try:
        (protocol,) = connection._protocols
        assert isinstance(protocol, GuardedProtocol)
        check = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
        check.attributes |= {"USERNAME": f"{connection.local_username}:abcd", "PRIORITY": 1, "ICE-CONTROLLING": 1}
        check.add_message_integrity(connection.local_password.encode())
        check.add_fingerprint()
        for _ in range(10 * STUN_BURST):
            protocol.datagram_received(b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12), ("192.0.2.9", 999))
        protocol.datagram_received(bytes(check), ("192.0.2.1", 5000))
        assert [sender for _, sender, _ in connection._early_checks] == [("192.0.2.1", 5000)]
        for _ in range(2 * STUN_BURST):  # who knows the name has its own limit
            protocol.datagram_received(bytes(check), ("192.0.2.1", 5000))
        assert connection.unwelcome.counts["stun"] == 10 * STUN_BURST
        assert connection.unwelcome.counts["stun_flood"] > STUN_BURST // 2
    finally:
        await connection.close()
