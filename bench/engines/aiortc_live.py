"""Live pictures as stock aiortc sends them: a peer connection a viewer, H.264 passed through, nothing of ours but the feed.

Usage: python -m bench.engines.aiortc_live SOCKET FEED_SOCKET   Serves the gateway's `POST` and `GET /v1/sessions` on
SOCKET, prints "ready", runs until SIGTERM. Each stream is read from the feed once; each viewer has a track of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from fractions import Fraction
from pathlib import Path
from uuid import UUID

import av
import uvloop
from aiohttp import web
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack

from vms.errors import SourceError
from vms.feed import FeedClient
from vms.media.rtp import split_nals, with_parameter_sets
from vms.model import TimedUnit

MOST_QUEUED = 500


class FeedTrack(MediaStreamTrack):
    """Encoded pictures, as `RTCRtpSender` takes them."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self.queue: asyncio.Queue[av.Packet] = asyncio.Queue(MOST_QUEUED)

    async def recv(self) -> av.Packet:  # type: ignore[override]
        return await self.queue.get()


class Stock:
    """The server."""

    def __init__(self, feed: FeedClient) -> None:
        self._feed = feed
        self._tracks: dict[UUID, list[FeedTrack]] = {}
        self._readers: list[asyncio.Task[None]] = []
        self._peers: dict[str, tuple[RTCPeerConnection, RTCRtpSender]] = {}

    async def create(self, request: web.Request) -> web.Response:
        asked = await request.json()
        stream, peer, track = UUID(asked["stream"]), RTCPeerConnection(RTCConfiguration(iceServers=[])), FeedTrack()
        sender = peer.addTrack(track)
        (transceiver,) = peer.getTransceivers()
        transceiver.setCodecPreferences(
            [c for c in RTCRtpSender.getCapabilities("video").codecs if c.name in ("H264", "rtx")]
        )
        await peer.setRemoteDescription(RTCSessionDescription(asked["offer"], "offer"))
        await peer.setLocalDescription(await peer.createAnswer())
        if stream not in self._tracks:
            self._tracks[stream] = []
            self._readers.append(asyncio.create_task(self._read(stream), name=f"read {stream}"))
        self._tracks[stream].append(track)
        self._peers[asked["id"]] = peer, sender
        return web.json_response({"answer": peer.localDescription.sdp}, status=201)

    async def sessions(self, _request: web.Request) -> web.Response:
        found = []
        for name, (peer, sender) in self._peers.items():
            stats = next(s for s in (await sender.getStats()).values() if s.type == "outbound-rtp")
            state = "live" if peer.connectionState == "connected" else peer.connectionState
            found.append({"id": name, "state": state, "packets": stats.packetsSent})
        return web.json_response(found)

    async def _read(self, stream: UUID) -> None:
        while True:
            try:
                await self._read_once(stream)
            except SourceError as error:
                print(f"the feed broke off: {error}", file=sys.stderr, flush=True)
                await asyncio.sleep(0.2)

    async def _read_once(self, stream: UUID) -> None:
        async with contextlib.aclosing(self._feed.units(stream)) as events:
            async for event in events:
                if not isinstance(event, TimedUnit):
                    continue
                unit = event.unit
                data = with_parameter_sets(unit.data, unit.config.parameter_sets) if unit.key else unit.data
                packet = av.Packet(b"".join(b"\0\0\0\1" + bytes(nal) for nal in split_nals(data)))
                packet.pts = packet.dts = unit.pts
                packet.time_base = Fraction(1, 90_000)
                for track in self._tracks[stream]:
                    with contextlib.suppress(asyncio.QueueFull):
                        track.queue.put_nowait(packet)

    async def close(self) -> None:
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*(peer.close() for peer, _ in self._peers.values()))


async def serve(socket: str, feed: Path) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    stock, app = Stock(FeedClient(feed)), web.Application()
    app.add_routes([web.post("/v1/sessions", stock.create), web.get("/v1/sessions", stock.sessions)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.UnixSite(runner, socket).start()
    print("ready", flush=True)
    await stop.wait()
    await stock.close()
    await runner.cleanup()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], Path(sys.argv[2])))
