"""A bare RTSP client over TCP for tests: what came is kept byte for byte, nothing is interpreted beyond framing."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    status: int
    head: str
    body: bytes

    def header(self, name: str) -> str:
        match = re.search(rf"^{name}: (.*?)\r?$", self.head, re.MULTILINE | re.IGNORECASE)
        return match[1] if match else ""


@dataclass(frozen=True)
class Packet:
    """An RTP packet taken apart the plain way."""

    raw: bytes

    @property
    def marker(self) -> bool:
        return self.raw[1] >= 0x80

    @property
    def sequence(self) -> int:
        return int.from_bytes(self.raw[2:4], "big")

    @property
    def timestamp(self) -> int:
        return int.from_bytes(self.raw[4:8], "big")

    @property
    def ssrc(self) -> int:
        return int.from_bytes(self.raw[8:12], "big")

    @property
    def payload(self) -> bytes:
        return self.raw[12:]


class RawClient:
    """`async with RawClient(port) as client`. Frames are (channel, bytes); stray bytes before frames are counted."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.cseq = 0
        self.stray = 0
        self.frames: list[tuple[int, bytes]] = []

    async def __aenter__(self):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_):
        self.writer.transport.abort()

    def url(self, path: str) -> str:
        return f"rtsp://127.0.0.1:{self.port}/{path}"

    async def ask(self, method: str, path: str, **headers: str) -> Answer:
        self.cseq += 1
        lines = [f"{method} {self.url(path)} RTSP/1.0", f"CSeq: {self.cseq}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.writer.write("\r\n".join([*lines, "", ""]).encode())
        async with asyncio.timeout(10):
            while True:
                first = await self.reader.readexactly(1)
                if first == b"$":
                    await self._frame()
                elif first == b"R":
                    return await self._answer()
                else:
                    self.stray += 1

    async def _answer(self) -> Answer:
        head = "R" + (await self.reader.readuntil(b"\r\n\r\n")).decode()
        length = re.search(r"Content-Length: (\d+)", head)
        body = await self.reader.readexactly(int(length[1])) if length else b""
        return Answer(int(head.split()[1]), head, body)

    async def _frame(self) -> None:
        head = await self.reader.readexactly(3)
        self.frames.append((head[0], await self.reader.readexactly(head[1] << 8 | head[2])))

    async def start(self, path: str, transport: str = "RTP/AVP/TCP;unicast;interleaved=0-1") -> tuple[Answer, Answer]:
        """SETUP and PLAY; both answers."""
        setup = await self.ask("SETUP", f"{path}/trackID=0", Transport=transport)
        assert setup.status == 200, setup.head
        self.session = setup.header("Session").split(";")[0]
        return setup, await self.ask("PLAY", path, Session=self.session)

    async def receive(self, packets: int, channel: int = 0, seconds: float = 10.0) -> list[Packet]:
        """The first `packets` RTP packets of a channel."""
        async with asyncio.timeout(seconds):
            while sum(c == channel for c, _ in self.frames) < packets:
                first = await self.reader.readexactly(1)
                if first == b"$":
                    await self._frame()
                else:
                    self.stray += 1
        return [Packet(raw) for c, raw in self.frames if c == channel][:packets]
