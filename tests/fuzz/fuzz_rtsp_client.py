"""Fuzz target: a whole session of our client with a camera that says anything. Only SourceError may come of it.

First byte: whether we have credentials; the rest is what the camera sends, in parts divided by a line "----". The
next part comes when the client has nothing to do any more, and after the last one the connection closes, which must
end the session at once.
"""

from __future__ import annotations

import asyncio
from typing import Any

from tests.fuzz.checking import Checking
from vms.camera_url import CameraUrl
from vms.errors import SourceError
from vms.media.rtcp import SenderReportPacket, build_sender_report
from vms.media.rtp import build_rtp
from vms.model import GapReason
from vms.rtsp.client import RtspOptions, RtspSession
from vms.rtsp.transport import RtspWire

_LOOP = asyncio.new_event_loop()
_DIVIDER = b"\n----\n"
_TURNS = 12  # of the event loop, in which the client does what a part makes it do


class _Transport:
    """Takes what is written; a socket address it has none, so that nothing goes out by UDP."""

    def __init__(self, wire: RtspWire) -> None:
        self._wire = wire
        self._closing = False

    def get_extra_info(self, name: str) -> Any:
        return None

    def is_closing(self) -> bool:
        return self._closing

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: bytes) -> None:
        assert data

    def abort(self) -> None:
        if not self._closing:
            self._closing = True
            asyncio.get_running_loop().call_soon(self._wire.connection_lost, None)


class _Camera:
    """Connects, says its parts one after the other, and hangs up."""

    def __init__(self, parts: list[bytes]) -> None:
        self._parts = parts
        self._transport: _Transport | None = None
        self._wire: RtspWire | None = None

    async def open(self, url: CameraUrl, wire: RtspWire, *, pin: str, timeout: float) -> None:
        if not self._parts:
            raise SourceError(GapReason.REFUSED, "the camera has gone")
        self._wire, self._transport = wire, _Transport(wire)
        wire.connection_made(self._transport)  # type: ignore[arg-type]

    async def speak(self) -> None:
        while self._parts:
            await self._let_it_work()
            if self._wire is not None and not self._wire.ended:
                part = self._parts.pop(0)
                self._wire.get_buffer(-1)[: len(part)] = part
                self._wire.buffer_updated(len(part))
            elif self._transport is not None:
                self._parts.pop(0)
        await self._let_it_work()
        if self._transport is not None:
            self._transport.abort()

    async def _let_it_work(self) -> None:
        for _ in range(_TURNS):
            await asyncio.sleep(0)


async def _record(session: RtspSession) -> None:
    async with session:
        for media in session.description.media:
            await session.setup(media, Checking())
        await session.play()
        await session.run()


async def _meet(camera: _Camera, session: RtspSession) -> BaseException | None:
    speaking = asyncio.create_task(camera.speak(), name="camera")
    try:
        await _record(session)
    except SourceError as error:
        return error
    finally:
        await speaking
    raise AssertionError("a session ended without an error")


def fuzz(data: bytes) -> None:
    if not data:
        return
    parts = [part[:8192] for part in data[1:].split(_DIVIDER)][:32]
    camera = _Camera(parts)
    options = RtspOptions(opener=camera.open, stall_timeout=60.0, report_interval=60.0, request_timeout=60.0)
    name = "jan" if data[0] & 1 else ""
    session = RtspSession.open("rtsp://10.0.0.5/kam", username=name, password=name and "tajne", options=options)
    error = _LOOP.run_until_complete(asyncio.wait_for(_meet(camera, session), 10))
    assert not name or "tajne" not in str(error)


def seeds() -> list[bytes]:
    ok = b"RTSP/1.0 200 OK\r\nCSeq: %d\r\n"
    sdp = b"v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:t0\r\n"
    sdp += b"m=audio 0 RTP/AVP 0\r\na=control:t1\r\n"
    public = ok % 1 + b"Public: OPTIONS, DESCRIBE, GET_PARAMETER\r\n\r\n"
    described = ok % 2 + b"Content-Base: rtsp://10.0.0.5/kam/\r\nContent-Length: %d\r\n\r\n" % len(sdp) + sdp
    set_up = ok + b"Session: 4711;timeout=60\r\nTransport: RTP/AVP/TCP;unicast;interleaved=%d-%d\r\n\r\n"
    packets = [build_rtp(96, n, 3600 * n, 7, b"\x65\x88\x80", marker=True) for n in range(4)]
    media = b"".join(b"$\0" + len(p).to_bytes(2, "big") + p for p in packets)
    report = build_sender_report(SenderReportPacket(7, 1_790_000_000_000_000_000, 3600), "x")
    media += b"$\1" + len(report).to_bytes(2, "big") + report
    whole = [public, described, set_up % (3, 0, 1), set_up % (4, 2, 3), ok % 5 + b"\r\n", media]
    asked = b'RTSP/1.0 401 No\r\nCSeq: %d\r\nWWW-Authenticate: Digest realm="tajne", nonce="1"\r\n\r\n'
    moved = b"RTSP/1.0 302 Moved\r\nCSeq: 2\r\nLocation: rtsp://10.0.0.6/kam\r\n\r\n"
    return [
        b"\0" + _DIVIDER.join(whole),
        b"\1" + _DIVIDER.join([asked % 1, ok % 2 + b"\r\n", described.replace(b"CSeq: 2", b"CSeq: 3"), *whole[2:]]),
        b"\1" + _DIVIDER.join([public, asked % 2, asked % 3]),
        b"\0" + _DIVIDER.join([public, moved, public, described]),
        b"\0" + _DIVIDER.join([public, described, b"RTSP/1.0 461 No\r\nCSeq: 3\r\n\r\n"]),
        b"\0" + _DIVIDER.join([*whole, b"TEARDOWN rtsp://10.0.0.5/kam RTSP/1.0\r\nCSeq: 9\r\n\r\n"]),
    ]
