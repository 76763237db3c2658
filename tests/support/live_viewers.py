"""Viewers of the live gateway for tests: its inner interface, and a stock aiortc client that decodes what it gets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from uuid import UUID, uuid4

import aiohttp
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpReceiver, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import VideoFrame


class Door:
    """The gateway's inner interface, as the web process uses it, which asks for the sessions all the time."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=str(self._socket)))
        self._renewing = asyncio.create_task(self._renew())
        return self

    async def _renew(self) -> None:
        while True:
            with contextlib.suppress(aiohttp.ClientError, OSError):
                await self.sessions()
            await asyncio.sleep(5)

    async def __aexit__(self, *_: object) -> None:
        self._renewing.cancel()
        await asyncio.gather(self._renewing, return_exceptions=True)
        await self._session.close()

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        async with self._session.request(method, f"http://live{path}", **options) as response:
            return response.status, (await response.json() if response.content_type == "application/json" else None)

    async def offer(
        self, stream: UUID, sdp: str, *, fallbacks: Sequence[UUID] = (), session: UUID | None = None
    ) -> tuple[int, Any]:
        body = {
            "id": str(session or uuid4()),
            "stream": str(stream),
            "offer": sdp,
            "fallbacks": [str(f) for f in fallbacks],
        }
        return await self.ask("POST", "/v1/sessions", json=body)

    async def sessions(self) -> dict[UUID, dict[str, Any]]:
        status, found = await self.ask("GET", "/v1/sessions")
        assert status == 200
        return {UUID(s["id"]): s for s in found}

    async def delete(self, session: UUID) -> int:
        return (await self.ask("DELETE", f"/v1/sessions/{session}"))[0]

    async def switch(self, session: UUID, stream: UUID) -> tuple[int, Any]:
        return await self.ask("PUT", f"/v1/sessions/{session}/stream", json={"stream": str(stream)})


@dataclass
class Seen:
    """A decoded picture: its size, its time in seconds of the track, its mean brightness."""

    width: int
    height: int
    time: float
    luma: float


@dataclass
class AiortcViewer:
    """A stock aiortc peer that receives video. `seen` grows while it is open."""

    door: Door
    id: UUID = field(default_factory=uuid4)
    seen: list[Seen] = field(default_factory=list)
    answer: dict[str, Any] = field(default_factory=dict)

    async def __aenter__(self) -> Self:
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._tasks: set[asyncio.Task[None]] = set()
        self._more = asyncio.Event()

        @self.pc.on("track")
        def _on_track(track: MediaStreamTrack) -> None:
            self._tasks.add(asyncio.ensure_future(self._watch(track)))

        return self

    async def offer(self, *, codecs: Callable[[Any], bool] = lambda _c: True) -> str:
        """The offer, with candidates."""
        transceiver = self.pc.addTransceiver("video", direction="recvonly")
        transceiver.setCodecPreferences([c for c in RTCRtpReceiver.getCapabilities("video").codecs if codecs(c)])
        await self.pc.setLocalDescription(await self.pc.createOffer())
        return self.pc.localDescription.sdp

    async def open(self, stream: UUID, *, fallbacks: Sequence[UUID] = ()) -> dict[str, Any]:
        """Ask for a stream and connect; the gateway's answer."""
        status, self.answer = await self.door.offer(stream, await self.offer(), fallbacks=fallbacks, session=self.id)
        assert status == 201, self.answer
        await self.pc.setRemoteDescription(RTCSessionDescription(self.answer["answer"], "answer"))
        return self.answer

    async def _watch(self, track: MediaStreamTrack) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                assert isinstance(frame, VideoFrame)
                luma = bytes(frame.planes[0])
                self.seen.append(
                    Seen(frame.width, frame.height, float(frame.time or 0), sum(luma[::97]) / len(luma[::97]))
                )
                self._more.set()

    async def pictures(self, count: int, seconds: float = 15.0) -> list[Seen]:
        """Wait for so many more pictures; those."""
        before = len(self.seen)
        async with asyncio.timeout(seconds):
            while len(self.seen) < before + count:
                self._more.clear()
                await self._more.wait()
        return self.seen[before:]

    async def __aexit__(self, *_: object) -> None:
        await self.pc.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def viewer(door: Door, stream: UUID, **options: Any) -> AsyncIterator[AiortcViewer]:
    """A viewer that is open."""
    async with AiortcViewer(door) as made:
        await made.open(stream, **options)
        yield made
