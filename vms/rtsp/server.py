"""RTSP 1.0 server (RFC 2326): what publishing and the camera simulator serve through. TCP interleaved and UDP, RTSPS by a
TLS context, Basic and Digest, session timeouts, RTCP both ways.

Owns connections and sessions, and nothing of what is served: see `provider.py`. Loopback unless told otherwise. A slow
client is never waited for: its outlet drops to the next random-access picture. Inputs are bounded (`server_connection.py`,
`message.py`), connections and sessions are counted against limits.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from urllib.parse import unquote, urlsplit

from vms.media.sdp import SessionDescription, build_sdp, describe
from vms.model import Codec, CodecConfig
from vms.rtsp.auth import Outcome
from vms.rtsp.message import Headers, Request, Response, printable
from vms.rtsp.outlet import InterleavedWire, Outlet, UdpWire
from vms.rtsp.provider import Manners, Offer, StreamProvider, Viewer
from vms.rtsp.server_connection import ServerConnection
from vms.rtsp.server_session import Session, TransportSpec, new_session_id, open_port_pair, parse_transport

log = logging.getLogger(__name__)

SERVER = "stroz"
_STATIC_TYPES = {Codec.PCMU: 0, Codec.PCMA: 8}
_TRACK = "trackID="
_REAP_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What one server bears."""

    session_timeout_s: float = 60.0
    write_buffer_bytes: int = 4 << 20  # per client: eight seconds at 4 Mbit/s
    connections: int = 1024
    sessions: int = 1024


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """Something a log should know: "play", "pause", "teardown", "timeout", "lost", "ended" (by us), "refused"."""

    kind: str
    path: str
    viewer: Viewer


class RtspServer:
    """Serves a provider's paths. `start` listens, `close` ends every session; both may be called once."""

    def __init__(
        self,
        provider: StreamProvider,
        *,
        limits: Limits = Limits(),
        on_event: Callable[[ServerEvent], None] | None = None,
    ) -> None:
        self._provider = provider
        self._limits = limits
        self._on_event = on_event
        self._listener: asyncio.Server | None = None
        self._reaper: asyncio.TimerHandle | None = None
        self._connections: set[ServerConnection] = set()
        self.sessions: dict[str, Session] = {}
        self._empty: asyncio.Event | None = None
        self.port = 0

    async def start(self, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        """Listen. Raises OSError when the port is taken. `self.port` is the port got."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(
            lambda: ServerConnection(self), host, port, ssl=tls, backlog=1024, reuse_address=True
        )
        self.port = int(self._listener.sockets[0].getsockname()[1])
        if self._reaper is None:
            self._reaper = loop.call_later(_REAP_SECONDS, self._reap)

    async def close(self) -> None:
        """Stop listening, end every session, drop every connection."""
        if self._reaper:
            self._reaper.cancel()
            self._reaper = None
        await self.stop_listening()
        for connection in list(self._connections):
            connection.transport.abort()
        for session in list(self.sessions.values()):
            self._end(session)
        if self._connections:
            self._empty = asyncio.Event()
            await self._empty.wait()

    async def stop_listening(self) -> None:
        """Refuse new connections; those that exist go on."""
        if self._listener:
            self._listener.close()
            self._listener = None
            await asyncio.sleep(0)

    @property
    def connected(self) -> int:
        """Open connections."""
        return len(self._connections)

    def drop(self, path: str) -> int:
        """Abort the connections of every session on `path` and below, as a camera that loses power; how many."""
        doomed = {
            s.connection
            for s in self.sessions.values()
            if (s.path == path or s.path.startswith(path + "/")) and isinstance(s.connection, ServerConnection)
        }
        for connection in doomed:
            connection.transport.abort()
        return len(doomed)

    def end(self, session_id: str) -> None:
        """End a session from our side. Over TCP its connection closes once what waits there is written."""
        session = self.sessions.get(session_id)
        if session is None:
            return
        self._tell("ended", session)
        connection = session.connection
        self._end(session)
        alone = not any(s.connection is connection for s in self.sessions.values())
        if alone and isinstance(connection, ServerConnection):
            connection.transport.close()

    def opened(self, connection: ServerConnection) -> bool:
        if len(self._connections) >= self._limits.connections:
            return False
        self._connections.add(connection)
        return True

    def closed(self, connection: ServerConnection) -> None:
        self._connections.discard(connection)
        if self._empty and not self._connections:
            self._empty.set()
        for session in [s for s in self.sessions.values() if s.connection is connection]:
            if session.over_udp and not session.manners.linger_seconds:
                session.connection = None  # UDP sessions outlive their connection, up to the timeout (§12.37)
                continue
            self._tell("lost", session)
            if session.manners.linger_seconds:
                session.pause()
                session.connection = None
                session.until_mono = time.monotonic() + session.manners.linger_seconds
            else:
                self._end(session)

    def rtcp(self, connection: ServerConnection, channel: int, data: bytes) -> None:
        del channel  # one reader for all: what counts is that the client lives
        for session in self.sessions.values():
            if session.connection is connection:
                session.rtcp(data)
                return

    async def answer(self, connection: ServerConnection, request: Request) -> None:
        path, track = split_uri(request.uri)
        manners = self._provider.manners(path)
        if manners.hang_up:
            connection.transport.abort()
            return
        response = self._refusal(connection, request, path, manners)
        if response is not None:
            connection.respond(response)
            return
        session = self.sessions.get(request.headers.get("Session").partition(";")[0].strip())
        if session is not None and path not in ("", "*", session.path):
            session = None  # nobody gets at a session through a path he may see
        if session is not None:
            session.touch()
        match request.method:
            case "OPTIONS":
                response = _ok(request, ("Public", ", ".join(manners.methods)))
            case "DESCRIBE":
                response = await self._describe(connection, request, path, manners)
            case "SETUP":
                response = await self._setup(connection, request, path, track, manners=manners, session=session)
            case "PLAY" if session is not None:
                self._play(connection, request, session)
                return
            case "PAUSE" if session is not None:
                session.pause()
                self._tell("pause", session)
                response = _ok(request, ("Session", session.id))
            case "TEARDOWN" if session is not None:
                self._tell("teardown", session)
                self._end(session)
                response = _ok(request)
            case "GET_PARAMETER":
                response = Response.to(request, 454)
                if session is not None or "Session" not in request.headers:
                    response = _ok(request, *([("Session", session.id)] if session else []))
            case "SET_PARAMETER":
                response = Response.to(request, 451, ("Server", SERVER))
            case _:
                response = Response.to(request, 454)
        connection.respond(response)

    def _refusal(self, connection: ServerConnection, request: Request, path: str, manners: Manners) -> Response | None:
        """What is wrong with the request before it is looked at; None: nothing."""
        known = ("OPTIONS", "DESCRIBE", "SETUP", "PLAY", "PAUSE", "GET_PARAMETER", "SET_PARAMETER", "TEARDOWN")
        if request.version != "1.0":
            return Response.to(request, 505)
        if request.cseq is None:
            return Response.to(request, 400)
        if request.method in manners.refused:
            return Response.to(request, 501)
        if request.method not in known:
            return Response.to(request, 405, ("Allow", ", ".join(manners.methods)))
        gate = self._provider.gate(path)
        if gate is None or request.method == "OPTIONS":
            return None
        verdict = gate.verify(request.headers.get("Authorization") or None, request.method, request.uri)
        if verdict.accepted:
            return None
        if verdict.outcome is Outcome.REFUSED and self._on_event:
            viewer = Viewer(connection.peer, printable(verdict.user, 64))
            self._on_event(ServerEvent("refused", path, viewer))
        return Response.to(request, 401, *gate.challenge_headers(stale=verdict.outcome is Outcome.STALE))

    async def _describe(self, connection: ServerConnection, request: Request, path: str, manners: Manners) -> Response:
        if manners.redirect:
            return Response.to(request, 302, ("Location", manners.redirect))
        accept = request.headers.get("Accept", "application/sdp").lower()
        if "application/sdp" not in accept and "*/*" not in accept:
            return Response.to(request, 406)
        offer = await self._provider.describe(path)
        if offer is None:
            return Response.to(request, 404)
        base = _base(connection, request, path)
        body = sdp_of(offer, connection.local[0], base if manners.absolute_control else "")
        headers = [("Content-Type", "application/sdp")]
        if manners.content_base:
            headers.append(("Content-Base", base))
        response = _ok(request, *headers)
        return replace(response, body=body)

    async def _setup(
        self,
        connection: ServerConnection,
        request: Request,
        path: str,
        track: int | None,
        *,
        manners: Manners,
        session: Session | None,
    ) -> Response:
        offer = await self._provider.describe(path)
        if offer is None or (track or 0) >= len(offer.tracks):
            return Response.to(request, 404)
        track = track or 0
        if "Session" in request.headers and session is None:
            return Response.to(request, 454)
        if session is not None and (session.path != path or track in session.outlets or session.playback):
            return Response.to(request, 455)
        chosen = next(
            (t for t in parse_transport(request.headers.get("Transport")) if t.kind in manners.transports), None
        )
        if chosen is None:
            return Response.to(request, 461)
        if session is None:
            here = sum(1 for s in self.sessions.values() if s.path == path)
            if len(self.sessions) >= self._limits.sessions or (manners.max_sessions and here >= manners.max_sessions):
                return Response.to(request, 453)
        if session is None:
            gate = self._provider.gate(path)
            given = request.headers.get("Authorization") or None
            user = gate.verify(given, request.method, request.uri).user if gate else ""
            viewer = Viewer(connection.peer, printable(user, 64), new_session_id())
            session = Session(path, viewer, manners, connection)
            self.sessions[session.id] = session
        try:
            outlet, value = await self._open(connection, session, chosen, offer, track)
        except OSError as error:
            log.warning("no UDP ports for an RTSP client: %s", error)
            return Response.to(request, 453)
        if session.id not in self.sessions or connection.transport.is_closing():
            outlet.wire.close()
            return Response.to(request, 454)
        session.outlets[track] = outlet
        timeout = round(self._limits.session_timeout_s)
        return _ok(request, ("Transport", value), ("Session", f"{session.id};timeout={timeout}"))

    async def _open(
        self, connection: ServerConnection, session: Session, spec: TransportSpec, offer: Offer, track: int
    ) -> tuple[Outlet, str]:
        """The outlet for one track and the Transport header that says where it goes."""
        config = offer.tracks[track]
        payload_type = payload_type_of(config, track)
        limit = self._limits.write_buffer_bytes
        if spec.kind == "tcp":
            shift = session.manners.channel_shift
            first = spec.first + shift if spec.first >= 0 else 2 * track + shift
            second = spec.second + shift if spec.first >= 0 else first + 1
            wire = InterleavedWire(connection.transport, first, second)
            outlet = Outlet(wire, config, payload_type, limit)
            parts = ["unicast", f"interleaved={first}-{second}"]
            name = "RTP/AVP/TCP"
        else:
            rtp, rtcp, port = await open_port_pair(connection.local[0], connection.peer, session.rtcp)
            udp = UdpWire(rtp, rtcp, (connection.peer, spec.first), (connection.peer, spec.second))
            outlet = Outlet(udp, config, payload_type, limit)
            session.over_udp = True
            ports = f"client_port={spec.first}-{spec.second}", f"server_port={port}-{port + 1}"
            parts = ["unicast", *ports, f"source={connection.local[0]}"]
            name = "RTP/AVP"
        if offer.ssrcs:
            outlet.ssrc = offer.ssrcs[track]
        ssrc = f"ssrc={outlet.ssrc:08X}"
        return outlet, ";".join([name, ssrc, *parts] if session.manners.ssrc_first else [name, *parts, ssrc])

    def _play(self, connection: ServerConnection, request: Request, session: Session) -> None:
        if session.playback is not None:  # PLAY while playing is a keep-alive to some clients
            connection.respond(_ok(request, ("Session", session.id)))
            return
        session.connection = connection
        playback = self._provider.play(session.path, session.outlets, session.viewer)
        if playback is None:
            connection.respond(Response.to(request, 404))
            return
        base = _base(connection, request, session.path)
        info = ",".join(
            f"url={base}{_TRACK}{track};seq={start.sequence}"
            + (f";rtptime={start.timestamp}" if start.timestamp is not None else "")
            for track, start in sorted(playback.starts().items())
        )
        headers = [("Session", session.id), ("Range", "npt=now-")]
        connection.respond(_ok(request, *headers, *([("RTP-Info", info)] if info else [])))
        session.playback = playback
        self._tell("play", session)
        playback.begin()

    def _end(self, session: Session) -> None:
        if self.sessions.pop(session.id, None) is not None:
            session.close()

    def _reap(self) -> None:
        """Once a second: end what has not been heard of."""
        now = time.monotonic()
        for session in list(self.sessions.values()):
            if session.until_mono is not None:
                if now >= session.until_mono:
                    self._end(session)
            elif now - session.seen_mono > self._limits.session_timeout_s * 1.25:
                self._tell("timeout", session)
                self._end(session)
        busy = {s.connection for s in self.sessions.values()}
        for connection in list(self._connections):
            if connection not in busy and now - connection.seen_mono > self._limits.session_timeout_s:
                connection.transport.abort()
        self._reaper = asyncio.get_running_loop().call_later(_REAP_SECONDS, self._reap)

    def _tell(self, kind: str, session: Session) -> None:
        if self._on_event:
            self._on_event(ServerEvent(kind, session.path, session.viewer))


def split_uri(uri: str) -> tuple[str, int | None]:
    """Path without slashes at its ends, and the track if the URI ends in one. Anything else in a URI is ignored."""
    try:
        path = unquote(urlsplit(uri).path)
    except ValueError:
        path = ""
    path, _, last = path.strip("/").rpartition("/") if _TRACK in uri else (path.strip("/"), "", "")
    number = last.removeprefix(_TRACK)
    if last and (number == last or not number.isascii() or not number.isdigit() or len(number) > 3):
        return f"{path}/{last}".strip("/"), None
    return path, int(number) if last else None


def payload_type_of(config: CodecConfig, track: int) -> int:
    """Static types of RFC 3551 where there is one, else dynamic ones from 96 on."""
    static = _STATIC_TYPES.get(config.codec)
    return static if static is not None and config.clock_hz == 8000 and config.channels <= 1 else 96 + track


def sdp_of(offer: Offer, address: str, absolute_base: str = "") -> bytes:
    """The body of a DESCRIBE answer. `absolute_base` makes the control URLs absolute."""
    media = tuple(
        describe(config, payload_type_of(config, track), f"{absolute_base}{_TRACK}{track}")
        for track, config in enumerate(offer.tracks)
    )
    control = absolute_base or "*"
    body = build_sdp(SessionDescription(media, control, "npt=now-", offer.name or SERVER, address=address))
    return offer.edit_sdp(body) if offer.edit_sdp else body


def _base(connection: ServerConnection, request: Request, path: str) -> str:
    """The URL below which tracks lie: as the client called us, so that it works through address translation."""
    address = f"{connection.local[0]}:{connection.local[1]}"
    try:
        split = urlsplit(request.uri)
    except ValueError:  # as `split_uri` takes it
        return f"rtsp://{address}/{path}/"
    return f"{split.scheme or 'rtsp'}://{split.netloc.rpartition('@')[2] or address}/{path}/"


def _ok(request: Request, *pairs: tuple[str, str]) -> Response:
    response = Response.to(request, 200, *pairs)
    return replace(response, headers=Headers((*response.headers.items, ("Server", SERVER))))
