"""Fuzz target: the client's byte stream: messages, `$` frames and garbage between them, in pieces of any size.

First byte: the size of the pieces; second: which channels are in use. What the messages say is read as the client does.
"""

from __future__ import annotations

from vms.camera_url import CameraUrl
from vms.errors import MalformedError, VmsError
from vms.rtsp import headers
from vms.rtsp.auth import ClientAuth
from vms.rtsp.message import Headers, Message, Request, Response
from vms.rtsp.transport import BUFFER_BYTES, RtspWire

_HERE = CameraUrl("rtsp", "10.0.0.5", None, "/kam?x=1")


class _Owner:
    def __init__(self) -> None:
        self.ends = 0

    def on_message(self, message: Message) -> None:
        if isinstance(message, Request):
            Response.to(message, 501).encode()
            return
        read_answer(message)

    def on_wire_end(self, error: BaseException | None) -> None:
        assert isinstance(error, VmsError)
        self.ends += 1


def read_answer(message: Response) -> None:
    """Everything the client takes from an answer's headers, and what it would send back because of them."""
    value = message.headers.get
    steps = (
        lambda: headers.parse_transport(value("Transport")),
        lambda: headers.parse_session(value("Session"))[0],
        lambda: headers.parse_public(message.headers),
        lambda: headers.control_url(headers.base_url("rtsp://10.0.0.5/kam", message.headers), value("X-Control")),
        lambda: str(headers.redirect_target(_HERE, value("Location"))),
    )
    sent: list[tuple[str, str]] = [("CSeq", str(message.cseq))]
    for step in steps:
        try:
            found = step()
        except MalformedError:
            continue
        if isinstance(found, str):
            sent.append(("X", found))
    client = ClientAuth("admin", "hasło")
    client.accept(message.headers)
    answer = client.header("DESCRIBE", "rtsp://10.0.0.5/kam")
    if answer is not None:
        sent.append(("Authorization", answer))
    Request("DESCRIBE", "rtsp://10.0.0.5/kam", Headers(tuple(sent))).encode()


def fuzz(data: bytes) -> None:
    if len(data) < 2:
        return
    piece, used = data[0] % 64 or 65536, data[1] & 3
    owner = _Owner()
    wire = RtspWire(owner)
    given = 0

    def push(buffer: bytearray, start: int, end: int, arrival_mono_ns: int) -> None:
        nonlocal given
        assert 0 <= start <= end <= len(buffer)
        assert arrival_mono_ns
        given += end - start

    wire.channels[used] = push
    at = 2
    while at < len(data) and not wire.ended:
        room = wire.get_buffer(-1)
        size = min(piece, len(room), len(data) - at)
        assert size
        room[:size] = data[at : at + size]
        wire.buffer_updated(size)
        at += size
    assert given <= len(data)
    assert wire.garbage_bytes <= BUFFER_BYTES + len(data)
    assert owner.ends <= 1


def seeds() -> list[bytes]:
    ok = b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nSession: 4711;timeout=60\r\n"
    frame = b"$\0\0\x10" + b"\x80\x60\0\1" + bytes(12)
    return [
        b"\0\0" + ok + b"Transport: RTP/AVP/TCP;unicast;interleaved=0-1;ssrc=0A\r\n\r\n" + frame * 3,
        b"\7\0" + ok + b"Content-Length: 4\r\n\r\nv=0\n" + frame + b"garbage" + frame + ok + b"\r\n",
        b"\0\1" + ok + b"Public: OPTIONS, DESCRIBE\r\n\r\nGET_PARAMETER rtsp://h/k RTSP/1.0\r\nCSeq: 9\r\n\r\n",
        b"\0\2RTSP/1.0 302 Moved\r\nCSeq: 2\r\nLocation: rtsp://10.0.0.5:8554/other\r\n\r\n",
        b'\3\0RTSP/1.0 401 No\nWWW-Authenticate: Digest realm="a\\"b", nonce="1", qop="auth", algorithm=MD5\n\n',
        b"\0\0" + ok + b"Content-Base: rtsp://10.0.0.5/kam/\r\nX-Control: trackID=1\r\n folded\r\n\r\n",
    ]
