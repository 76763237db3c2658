"""The live gateway's inner interface as the web process sees it: JSON over a Unix socket, no media.

Stands at a process border. What it answers is what `web.live` must answer too; `tests/contract/test_inner_gateway.py` holds
both to it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from aiohttp import web

OFFER = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\n"
    "a=recvonly\r\na=rtpmap:96 H264/90000\r\n"
)
ANSWER = "v=0\r\no=- 2 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=sendonly\r\n"


@dataclass
class InnerGateway:
    """`not_live`: streams without a picture; `undecodable`: those no browser shows; `most`: how many sessions; `state`: of all; `close_seconds`: how
    long one takes to close."""

    sessions: dict[UUID, UUID] = field(default_factory=dict)
    closed: list[UUID] = field(default_factory=list)
    not_live: set[UUID] = field(default_factory=set)
    undecodable: set[UUID] = field(default_factory=set)
    state: str = "live"
    close_seconds: float = 0.0
    most: int = 200

    def application(self) -> web.Application:
        app = web.Application(client_max_size=256 * 1024)
        app.add_routes(
            [
                web.post("/v1/sessions", self._open),
                web.get("/health/live", self._live),
                web.get("/v1/sessions", self._list),
                web.put("/v1/sessions/{id}/stream", self._switch),
                web.delete("/v1/sessions/{id}", self._close),
            ]
        )
        return app

    async def _open(self, request: web.Request) -> web.Response:
        asked = await request.json()
        if "m=video" not in asked["offer"]:
            return _refused(400, "offer_malformed")
        if "H264" not in asked["offer"]:
            return _refused(406, "codec_unsupported")
        if len(self.sessions) >= self.most:
            return _refused(503, "too_many_sessions", 5)
        tried = [UUID(asked["stream"]), *map(UUID, asked["fallbacks"])]
        shown = next((s for s in tried if s not in self.not_live | self.undecodable), None)
        if shown is None:
            alive = [s for s in tried if s not in self.not_live]
            return _refused(406, "codec_unsupported") if alive else _refused(409, "source_not_live", 3)
        self.sessions[UUID(asked["id"])] = shown
        why = "" if shown == tried[0] else "the stream asked for is H.265"
        answer = {"answer": ANSWER, "stream": str(shown), "codec": "h264", "transcoded": False, "why": why}
        return web.json_response(answer, status=201)

    async def _live(self, _request: web.Request) -> web.Response:
        return web.json_response({"ok": True})

    async def _list(self, _request: web.Request) -> web.Response:
        return web.json_response(
            [
                {"id": str(i), "stream": str(s), "state": self.state, "since_ns": "1", "packets": 1, "bytes": 1, "lost": 0,
                 "rtx": 0, "drops": 0}
                for i, s in self.sessions.items()
            ]
        )  # fmt: skip

    async def _switch(self, request: web.Request) -> web.Response:
        session, asked = UUID(request.match_info["id"]), await request.json()
        if session not in self.sessions:
            return _refused(404, "unknown_session")
        if UUID(asked["stream"]) in self.not_live:
            return _refused(409, "source_not_live", 3)
        self.sessions[session] = UUID(asked["stream"])
        return web.Response(status=204)

    async def _close(self, request: web.Request) -> web.Response:
        session = UUID(request.match_info["id"])
        await asyncio.sleep(self.close_seconds)
        if self.sessions.pop(session, None) is not None:
            self.closed.append(session)
        return web.Response(status=204)


def _refused(status: int, code: str, retry_after: int | None = None) -> web.Response:
    said = {"code": code, "detail": code.replace("_", " ")} | ({"retry_after": retry_after} if retry_after else {})
    return web.json_response(said, status=status)


@contextlib.asynccontextmanager
async def serving(app: web.Application, socket: Path) -> AsyncIterator[None]:
    """Serve an application on a Unix socket."""
    runner = web.AppRunner(app, shutdown_timeout=0.5)
    await runner.setup()
    socket.unlink(missing_ok=True)
    await web.UnixSite(runner, str(socket)).start()
    try:
        yield
    finally:
        await runner.cleanup()
