"""Fuzz target: datagrams on a media socket, from a stranger and from the viewer itself, as one guard meets them.

The first byte says how many bytes each datagram has: a run of them goes to the same socket. Nothing may be raised, the
queue for DTLS stays bounded and empty of what a stranger sent, and so do addresses a viewer may claim.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

from aioice import Candidate, stun

from web.live.ice import MOST_REMOTE_CANDIDATES, AddressPolicy, GuardedConnection, GuardedProtocol

STRANGER, PASSWORD = ("192.0.2.7", 4000), "p" * 22


class _Nowhere(asyncio.DatagramTransport):
    def sendto(self, data: Any, addr: Any = None) -> None:
        assert len(data) < 1500


def fuzz(data: bytes) -> None:
    size = data[0] * 4 + 1 if data else 1
    asyncio.run(_run([data[at : at + size] for at in range(1, len(data), size)]))


async def _run(datagrams: list[bytes]) -> None:
    connection = GuardedConnection(
        AddressPolicy(("127.0.0.1",), None), ice_controlling=False, local_username="ours", local_password=PASSWORD
    )
    connection.remote_username, connection.remote_password = "them", "q" * 22
    connection._early_checks_done = True
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        protocol = GuardedProtocol(connection, sock)
        protocol.transport = _Nowhere()
        protocol.local_candidate = Candidate("f", 1, "udp", 1, "127.0.0.1", 5000, "host")
        connection._protocols.append(protocol)
        for number, datagram in enumerate(datagrams[:200]):
            protocol.datagram_received(datagram, (STRANGER[0], STRANGER[1] + number))
        await asyncio.sleep(0)
        assert connection.queued == 0
        assert len(connection._remote_candidates) <= MOST_REMOTE_CANDIDATES
        tasks = [pair.task for pair in connection._check_list if pair.task is not None]
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task


def _request(**attributes: Any) -> bytes:
    message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST, transaction_id=b"t" * 12)
    message.attributes.update({"USERNAME": "ours:them", "PRIORITY": 1, "ICE-CONTROLLING": 1, **attributes})
    message.add_message_integrity(PASSWORD.encode())
    return bytes(message)


def seeds() -> list[bytes]:
    requests = [_request(), _request(**{"USE-CANDIDATE": None}), _request(USERNAME="ours:other")]
    return [bytes([(len(r) - 1) // 4 + 1]) + r for r in requests] + [
        b"\x03" + b"\x80\x60" * 12,
        b"\x03\x16\xfe\xfd" + bytes(60),
    ]
