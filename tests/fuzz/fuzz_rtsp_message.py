"""Fuzz target: one RTSP message fed whole and fed in pieces gives the same, and what was parsed encodes and parses back.

First byte: the size of the pieces.
"""

from __future__ import annotations

from vms.errors import MalformedError
from vms.rtsp.message import Message, MessageParser, parse_message


def _fed(data: bytes, piece: int) -> list[Message] | None:
    parser, found, at = MessageParser(), [], 0
    try:
        while at < len(data):
            end = min(len(data), at + piece)
            before = at
            at = parser.feed(data, at, end)
            message = parser.take()
            if message is not None:
                found.append(message)
            elif at == before:
                break  # a frame begins
    except MalformedError:
        return None
    return found


def fuzz(data: bytes) -> None:
    if not data:
        return
    whole, pieces = _fed(data[1:], len(data)), _fed(data[1:], data[0] % 32 + 1)
    assert whole == pieces
    for message in whole or ():
        assert parse_message(message.encode()).body == message.body


def seeds() -> list[bytes]:
    return [
        b"\3RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 3\r\n\r\nabc",
        b"\1DESCRIBE rtsp://h/k RTSP/1.0\nCSeq: 2\n Folded: x\n\nOPTIONS * RTSP/1.0\r\n\r\n",
        b"\7\r\n\r\n\0RTSP/1.0 404 \r\nCSeq:\r\n\r\n$\0\0\4abcd",
    ]
