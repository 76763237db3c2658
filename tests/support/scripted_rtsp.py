"""An RTSP server that does as it is told: byte-exact answers, in order, per method. For tests of the client alone.

It is no server of ours, so that a mistake in both ends cannot hide. Whatever is not scripted is answered as a plain,
well-behaved camera would; `requests` holds what the client sent.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from vms.media.rtp import build_rtp

# 640x360 Baseline, made for these tests: the values do not matter, that they parse does.
SPS = base64.b64decode("Z0LAHtkAoC/5YQAAAwABAAADADIPFi5I")
PPS = base64.b64decode("aMuDyyA=")
SDP = (
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=kamera\r\nt=0 0\r\na=control:*\r\n"
    b"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
    b"a=fmtp:96 packetization-mode=1;sprop-parameter-sets="
    + base64.b64encode(SPS)
    + b","
    + base64.b64encode(PPS)
    + b"\r\n"
    b"a=control:trackID=1\r\n"
)
AUDIO = b"m=audio 0 RTP/AVP 8\r\na=control:trackID=2\r\n"
SSRC = 0x1234ABCD


class Close:
    """A step: close the connection instead of answering."""


Step = bytes | None | type[Close] | Callable[["Scripted", "Asked"], bytes | None]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as the double reads it, parsed with nothing of ours."""

    method: str
    uri: str
    headers: dict[str, str]

    @property
    def cseq(self) -> bytes:
        return self.headers.get("cseq", "0").encode()


@dataclass
class Scripted:
    """`answers[method]`: steps for that method in order; the last one stands for all that follow when `repeat`.

    A step is bytes with `{cseq}` filled in, None (no answer), Close, or a callable. `media` is sent after the answer
    to PLAY, `pieces` cuts all that is written to chunks of so many bytes.
    """

    answers: Mapping[str, Sequence[Step]] = field(default_factory=dict)
    media: Iterable[bytes] = ()
    sdp: bytes = SDP
    base: bytes = b""
    greeting: bytes = b""
    pieces: int = 0
    tls: ssl.SSLContext | None = None
    public: bytes = b"OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER"

    def __post_init__(self) -> None:
        self.requests: list[Asked] = []
        self.frames: list[tuple[int, bytes]] = []
        self.connections = 0
        self.port = 0
        self.writers: list[asyncio.StreamWriter] = []
        self._left = {m: list(steps) for m, steps in self.answers.items()}
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self.writers:
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        return f"{'rtsps' if self.tls else 'rtsp'}://127.0.0.1:{self.port}/kam"

    def asked(self, method: str) -> list[Asked]:
        return [r for r in self.requests if r.method == method]

    def send(self, data: bytes) -> None:
        """Write to the newest connection."""
        self.writers[-1].write(data)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.writers.append(writer)
        writer.write(self.greeting)
        try:
            while True:
                first = await reader.readexactly(1)
                if first == b"$":
                    head = await reader.readexactly(3)
                    self.frames.append((head[0], await reader.readexactly(int.from_bytes(head[1:], "big"))))
                    continue
                text = (first + await reader.readuntil(b"\r\n\r\n")).decode()
                start, *lines = text.strip().split("\r\n")
                pairs = (line.partition(":") for line in lines)
                headers = {n.lower(): v.strip() for n, _, v in pairs}
                asked = Asked(start.split()[0], start.split()[1], headers)
                if asked.method == "RTSP/1.0":
                    self.requests.append(Asked("answer " + asked.uri, "", headers))
                    continue
                self.requests.append(asked)
                await self._answer(asked, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    async def _answer(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        steps = self._left.get(asked.method, [])
        step: Step = steps.pop(0) if steps else self.usual
        if isinstance(step, type):
            writer.close()
            return
        data = step(self, asked) if callable(step) else step
        if data is None:
            return
        assert isinstance(data, bytes)
        data = data.replace(b"{cseq}", asked.cseq).replace(b"{port}", str(self.port).encode())
        if asked.method == "PLAY":
            data += b"".join(self.media)
        if not self.pieces:
            writer.write(data)
            return
        for at in range(0, len(data), self.pieces):
            writer.write(data[at : at + self.pieces])
            await writer.drain()
            await asyncio.sleep(0)

    def usual(self, _: Scripted, asked: Asked) -> bytes:
        """What a plain camera answers."""
        if asked.method == "OPTIONS":
            return ok(b"Public: " + self.public)
        if asked.method == "DESCRIBE":
            return describe(self.sdp, self.base or f"{asked.uri}/".encode())
        if asked.method == "SETUP":
            transport = asked.headers["transport"].encode()
            return ok(b"Session: 4711;timeout=60", b"Transport: " + transport)
        return ok(b"Session: 4711")


def ok(*headers: bytes) -> bytes:
    return b"\r\n".join((b"RTSP/1.0 200 OK", b"CSeq: {cseq}", *headers, b"", b""))


def status(code: int, *headers: bytes, reason: bytes = b"No") -> bytes:
    return b"\r\n".join((b"RTSP/1.0 %d %s" % (code, reason), b"CSeq: {cseq}", *headers, b"", b""))


def describe(sdp: bytes, base: bytes) -> bytes:
    head = (b"Content-Base: " + base, b"Content-Type: application/sdp", b"Content-Length: %d" % len(sdp))
    return ok(b"Server: Scripted", *head) + sdp


def frame(channel: int, payload: bytes) -> bytes:
    return b"$" + bytes((channel,)) + len(payload).to_bytes(2, "big") + payload


def picture(number: int, *, key: bool | None = None, size: int = 40, ssrc: int = SSRC) -> bytes:
    """The RTP packet of one picture in one slice; every 25th is an IDR picture."""
    key = number % 25 == 0 if key is None else key
    nal = (b"\x65\x88\x84\x00" if key else b"\x41\x9a\x21\x00") + bytes(
        (i * 7 + number) & 0x7F | 1 for i in range(size)
    )
    return build_rtp(96, number & 0xFFFF, number * 3600 + 90_000, ssrc, nal, marker=True)


def pictures(count: int, channel: int = 0, start: int = 0) -> list[bytes]:
    return [frame(channel, picture(n)) for n in range(start, start + count)]
