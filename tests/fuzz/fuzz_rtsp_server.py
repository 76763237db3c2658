"""Fuzz target: a client's bytes at our server, which asks for a password on one path; every request is answered.

First byte: the size of the pieces. Nothing but a response may come of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from tests.support.encoded import small_config
from vms.rtsp.auth import ServerAuth
from vms.rtsp.message import MessageParser, Response
from vms.rtsp.outlet import Outlet
from vms.rtsp.provider import PROPER, Manners, Offer, Playback, Start, Viewer
from vms.rtsp.server import RtspServer
from vms.rtsp.server_connection import ServerConnection

_LOOP = asyncio.new_event_loop()
_MANNERS = Manners(transports=("tcp",))
_GATE = ServerAuth("kamery", {"jan": "hasło"}.get, schemes=("SHA-256", "MD5", "Basic"))


class _Playback:
    def starts(self) -> Mapping[int, Start]:
        return {0: Start(1, 2)}

    def begin(self) -> None:
        """Sends nothing."""

    def stop(self) -> None:
        """Was sending nothing."""


class _Provider:
    async def describe(self, path: str) -> Offer | None:
        return None if path.startswith("none") else Offer((small_config(),), "kamera")

    def play(self, path: str, outlets: Mapping[int, Outlet], viewer: Viewer) -> Playback | None:
        return _Playback()

    def manners(self, path: str) -> Manners:
        return PROPER if path == "udp-never" else _MANNERS

    def gate(self, path: str) -> ServerAuth | None:
        return _GATE if path.startswith("secret") else None


class _Transport:
    """Keeps what was written."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.closing = False

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 5000 if name == "peername" else 554)

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closing = True

    abort = close


async def _talk(data: bytes, piece: int) -> bytes:
    server = RtspServer(_Provider())
    connection = ServerConnection(server)
    transport = _Transport()
    connection.connection_made(transport)  # type: ignore[arg-type]
    task = connection._task
    assert task is not None
    for at in range(0, len(data), piece):
        connection.data_received(data[at : at + piece])
        while not connection._waiting.empty() and not task.done():
            await asyncio.sleep(0)
    for _ in range(3):
        await asyncio.sleep(0)
    if task.done() and not task.cancelled():
        task.result()
    connection.connection_lost(None)
    await asyncio.gather(task, return_exceptions=True)
    assert not server.connected
    for session in list(server.sessions.values()):
        session.close()
    return bytes(transport.written)


def fuzz(data: bytes) -> None:
    if not data:
        return
    written = _LOOP.run_until_complete(_talk(data[1:], data[0] or len(data)))
    parser, at = MessageParser(), 0
    while at < len(written):  # whatever we say is RTSP
        at = parser.feed(written, at)
        assert isinstance(parser.take(), Response)


def seeds() -> list[bytes]:
    head = b" RTSP/1.0\r\nCSeq: 3\r\n"
    setup = b"SETUP rtsp://h/cam/track0" + head + b"Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n"
    return [
        b"\0OPTIONS *" + head + b"\r\nDESCRIBE rtsp://h/cam" + head + b"Accept: application/sdp\r\n\r\n" + setup,
        b"\5DESCRIBE rtsp://h/secret" + head + b"Authorization: Basic amFuOmhhc8WCbw==\r\n\r\n$\0\0\4abcd",
        b"\0DESCRIBE rtsp://h/secret"
        + head
        + b'Authorization: Digest username="jan", realm="kamery", nonce="00"\r\n\r\n',
        b"\0"
        + setup
        + b"PLAY rtsp://h/cam"
        + head
        + b"Session: 1234\r\n\r\nGET_PARAMETER rtsp://h/cam"
        + head
        + b"\r\n",
    ]
