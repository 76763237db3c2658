"""The RTSP 1.0 client (RFC 2326): one session with one camera, from connecting to TEARDOWN.

    async with RtspSession.open(url, username=…, password=…) as session:
        await session.setup(session.description.media[0], sink)
        await session.play()
        await session.run()  # ends only by raising

Owns the order of methods, redirects, choice of transport, keep-alive, the watch over stalled media, receiver reports,
and lingering sessions. Does not own bytes (`transport`, `udp`), answers (`connection`), media (`track`), nor retries:
one session is one attempt. Invariants: every end is a SourceError with the reason a gap will state (an exception of a
sink passes as it is); nothing is sent to another host than the one in the URL; no message holds a credential.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import replace
from types import TracebackType
from typing import NoReturn, Self

from vms.camera_url import CameraUrl
from vms.clock import ABSENT_NS
from vms.errors import MalformedError, SourceError
from vms.media.sdp import MediaDescription, SessionDescription, codec_of, parse_sdp
from vms.media.sink import UnitSink
from vms.model import GapReason, SourceKind
from vms.rtsp.connection import RtspConnection
from vms.rtsp.headers import (
    TransportHeader,
    base_url,
    control_url,
    parse_public,
    parse_session,
    parse_transport,
    redirect_target,
)
from vms.rtsp.message import Response, printable
from vms.rtsp.options import RtspOptions, SessionStore
from vms.rtsp.track import Track
from vms.rtsp.udp import UdpPair
from vms.sentences import Sentence, say

log = logging.getLogger(__name__)

REDIRECTS = frozenset((301, 302, 303, 305, 307, 308))
MAX_LINGERING = 8  # session ids ended at one start

__all__ = ["RtspOptions", "RtspSession", "SessionStore"]


class RtspSession:
    """A session; make it with `open` and use it as an async context manager. Attributes are set on entering."""

    description: SessionDescription
    server: str  # the camera's Server header, printable, may be empty

    def __init__(  # noqa: PLR0917 - called by `open` alone
        self, url: CameraUrl, username: str, password: str, transport: str, pin: str, options: RtspOptions
    ) -> None:
        self.tracks: list[Track] = []
        self._url = url
        self._store_key = str(url)  # stays the same when the camera redirects
        self._username, self._password, self._pin = username, password, pin
        self._udp = transport == "udp"
        self._options = options
        self._connection: RtspConnection
        self._public: frozenset[str] = frozenset()
        self._base = ""
        self._session_id = ""
        self._session_seconds = 60
        self._play_mono_ns = 0
        self._awake_mono_ns = 0  # since when this process has run without a stop

    @classmethod
    def open(
        cls,
        url: str,
        *,
        username: str = "",
        password: str = "",
        transport: str = "tcp",
        pin: str = "",
        options: RtspOptions | None = None,
    ) -> RtspSession:
        """A session yet to be entered. Credentials in `url` serve when none are given apart; UserError for a bad URL."""
        if transport not in ("tcp", "udp"):
            raise ValueError(f"transport is tcp or udp, not {transport!r}")
        parsed = CameraUrl.parse(url, SourceKind.RTSP)
        if not username:
            username, password = parsed.username, password or parsed.password
        clean = replace(parsed, username="", password="")
        return cls(clean, username, password, transport, pin, options or RtspOptions())

    @property
    def transport(self) -> str:
        """ "tcp" or "udp": what is in use, or would be tried first."""
        return "udp" if self._udp else "tcp"

    @property
    def camera(self) -> str:
        """ "host:port" for messages."""
        return f"{self._url.host}:{self._url.effective_port}"

    async def __aenter__(self) -> Self:
        await self._end_lingering()
        for _ in range(self._options.max_redirects + 1):
            self._connection = await self._connect()
            try:
                redirect = await self._describe()
            except BaseException:
                await self._connection.close()
                raise
            if redirect is None:
                return self
            await self._connection.close()
            self._url = redirect
        raise SourceError(GapReason.REFUSED, say("redirects_in_circles", camera=self.camera))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def setup(self, media: MediaDescription, sink: UnitSink) -> Track:
        """Set up one track whose access units go to `sink`; before `play`. SourceError when it cannot be had."""
        if codec_of(media) is None:
            what = printable(media.encoding or f"payload type {media.payload_type}", 40)
            raise SourceError(GapReason.UNSUPPORTED_CODEC, f"{self.camera} sends {media.kind} as {what}")
        try:
            url = control_url(self._base, media.control or self.description.control or "*")
            track = await self._set_up_either_way(url, media, sink)
        except MalformedError as error:
            raise self._malformed("SETUP", error) from error
        self.tracks.append(track)
        return track

    async def play(self) -> None:
        """Start all tracks set up."""
        pairs = [("Session", self._session_id)] if self._session_id else []
        response = await self._request("PLAY", self._aggregate(), *pairs, ("Range", "npt=0.000-"))
        if response.status == 457:  # a live source that knows no time
            response = await self._request("PLAY", self._aggregate(), *pairs)
        if not 200 <= response.status < 300:
            raise self._connection.refusal("PLAY", response)
        self._play_mono_ns = time.monotonic_ns()
        wire, turns = self._connection.wire, self._options.turns
        if turns is not None and wire.transport is not None and self.transport == "tcp":
            hurried = self._options.hurried
            wire.turn_ended = self._options.turn_ended
            turns.join(wire, lambda: hurried() or any(track.by_arrival for track in self.tracks))
        for track in self.tracks:
            track.punch()

    async def run(self) -> NoReturn:
        """Keep the session alive and watch it until it ends, by raising: SourceError, or what a sink raised."""
        connection = self._connection
        keeper = asyncio.create_task(self._keep_alive(), name=f"keep-alive {self.camera}")
        ended = asyncio.create_task(connection.ended.wait(), name=f"wire {self.camera}")
        report_ns = round(self._options.report_interval * 1e9)
        report_due = self._play_mono_ns + report_ns
        flush = True
        try:
            while True:
                now = time.monotonic_ns()
                if now >= report_due:
                    for track in self.tracks:
                        track.report(now)
                    report_due = now + report_ns
                # A short sleep shows by its end whether this process slept, too: stopped for five seconds, one that was to
                # wake after four would be no more than late.
                due = min(self._check_stall(now), report_due, now + ABSENT_NS)
                seconds = (due - now) / 1e9 + 0.001
                done, _ = await asyncio.wait({keeper, ended}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
                if time.monotonic_ns() - due > ABSENT_NS:
                    self._awake_mono_ns = time.monotonic_ns()
                if ended in done:
                    assert connection.failure is not None
                    raise connection.failure
                if keeper in done:
                    keeper.result()
        except (SourceError, asyncio.CancelledError):
            raise
        except BaseException:
            flush = False  # a sink failed: it gets nothing more
            raise
        finally:
            for task in (keeper, ended):
                task.cancel()
            await asyncio.gather(keeper, ended, return_exceptions=True)
            if flush:
                if self._options.turns is not None:
                    self._options.turns.catch_up(connection.wire)
                for track in self.tracks:
                    track.flush()

    async def close(self) -> None:
        """TEARDOWN, answered or not within `teardown_timeout`; then nothing is open any more. Idempotent."""
        connection = self._connection
        try:
            if self._session_id and not connection.wire.ended:
                with contextlib.suppress(SourceError):
                    await self._tear_down(connection, self._session_id, self._options.teardown_timeout)
        finally:
            self._session_id = ""
            for track in self.tracks:
                track.close()
            await connection.close()

    def _address(self) -> str:
        """What stands in requests: for the camera's ears only. A redirect may bring the path's credentials itself."""
        url = self._url
        return url.filled(url.username or self._username, url.password or self._password)

    async def _connect(self) -> RtspConnection:
        return await RtspConnection.connect(
            self._url,
            username=self._username,
            password=self._password,
            pin=self._pin,
            opener=self._options.opener,
            user_agent=self._options.user_agent,
            timeout=self._options.connect_timeout,
        )

    async def _request(self, method: str, uri: str, *pairs: tuple[str, str]) -> Response:
        return await self._connection.request(method, uri, *pairs, seconds=self._options.request_timeout)

    async def _describe(self) -> CameraUrl | None:
        """OPTIONS and DESCRIBE on a fresh connection; where to go instead when the camera redirects."""
        uri = self._address()
        options = await self._request("OPTIONS", uri)
        if options.status == 401 and self._username:
            raise self._connection.refusal("OPTIONS", options)  # a second wrong try might lock us out
        self._public = parse_public(options.headers)
        response = await self._request("DESCRIBE", uri, ("Accept", "application/sdp"))
        self.server = self._connection.scrub(response.headers.get("Server") or options.headers.get("Server"))
        try:
            if response.status in REDIRECTS:
                return self._redirected(response)
            if not 200 <= response.status < 300:
                raise self._connection.refusal("DESCRIBE", response)
            if "Content-Length" not in response.headers:
                raise MalformedError("RTSP DESCRIBE", "the answer has no Content-Length")
            self._base = base_url(uri, response.headers)
            self.description = parse_sdp(response.body)
        except MalformedError as error:
            raise self._malformed("DESCRIBE", error) from error
        return None

    def _redirected(self, response: Response) -> CameraUrl:
        try:
            return redirect_target(self._url, response.headers.get("Location"))
        except MalformedError as error:
            said = say("redirects_away", camera=self.camera).noted(self._connection.scrub(error.problem))
            raise SourceError(GapReason.REFUSED, said) from error

    def _malformed(self, method: str, error: MalformedError) -> SourceError:
        problem = self._connection.scrub(f"{error.where}: {error.problem}")
        said = say("answer_unreadable", camera=self.camera, method=method).noted(problem)
        return SourceError(GapReason.REFUSED, said)

    def _aggregate(self) -> str:
        """The URL of PLAY, keep-alive and TEARDOWN: the session's own control, else the base."""
        with contextlib.suppress(MalformedError):
            return control_url(self._base, self.description.control or "*")
        return self._base

    async def _set_up_either_way(self, url: str, media: MediaDescription, sink: UnitSink) -> Track:
        """SETUP with the transport in use; with the other one when the camera does not support it (461)."""
        for udp in (self._udp, not self._udp):
            pair = UdpPair.bind(self._local_host()) if udp else None
            try:
                response, transport = await self._set_up(url, pair)
                if response is not None:
                    continue
                self._udp = udp and not transport.tcp
                track = Track(media, sink, transport.ssrc, self._on_bye)
                if self._udp and pair is not None:
                    await track.receive_udp(pair, self._peer_host(), transport, self._connection.fail)
                    pair = None
                else:
                    self._receive_interleaved(track, transport)
            finally:
                if pair is not None:
                    pair.close()
            return track
        raise SourceError(GapReason.REFUSED, say("no_transport", camera=self.camera))

    async def _set_up(self, url: str, pair: UdpPair | None) -> tuple[Response | None, TransportHeader]:
        """One SETUP: the transport agreed on, or the answer of a camera that does not support the one asked for."""
        if pair is not None:
            wanted = f"RTP/AVP;unicast;client_port={pair.ports[0]}-{pair.ports[1]}"
        else:
            first = self._free_channel()
            wanted = f"RTP/AVP/TCP;unicast;interleaved={first}-{first + 1}"
        pairs = [("Session", self._session_id)] if self._session_id else []
        response = await self._request("SETUP", url, ("Transport", wanted), *pairs)
        if response.status == 461:
            return response, parse_transport(wanted)
        if not 200 <= response.status < 300:
            raise self._connection.refusal("SETUP", response)
        if "Session" in response.headers:
            session_id, self._session_seconds = parse_session(response.headers.get("Session"))
            if session_id != self._session_id:
                self._session_id = session_id
                self._remember(session_id)
        transport = parse_transport(response.headers.get("Transport") or wanted)
        if transport.multicast:
            raise MalformedError("RTSP Transport", "multicast was not asked for")
        if pair is None and not transport.tcp and transport.server_port is not None:
            return response, transport
        if (pair is None or transport.tcp) and transport.interleaved is None:
            transport = replace(parse_transport(wanted), ssrc=transport.ssrc)
        return None, transport

    def _receive_interleaved(self, track: Track, transport: TransportHeader) -> None:
        if transport.interleaved is None:
            raise MalformedError("RTSP Transport", "interleaved channels are missing")
        try:
            track.receive_interleaved(self._connection.wire, transport.interleaved)
        except ValueError as error:
            raise MalformedError("RTSP Transport", str(error)) from error

    def _free_channel(self) -> int:
        channels = self._connection.wire.channels
        for first in range(0, 255, 2):
            if channels[first] is None and channels[first + 1] is None:
                return first
        raise SourceError(GapReason.REFUSED, f"{self.camera}: more tracks than channels")

    def _local_host(self) -> str:
        return self._socket_address("sockname")

    def _peer_host(self) -> str:
        return self._socket_address("peername")

    def _socket_address(self, which: str) -> str:
        transport = self._connection.wire.transport
        address = transport.get_extra_info(which) if transport is not None else None
        if not address:
            raise SourceError(GapReason.REFUSED, f"{self.camera}: UDP is not possible through a tunnel")
        return str(address[0])

    def _on_bye(self, reason: str) -> None:
        said = say("session_ended", camera=self.camera).noted(self._connection.scrub(f"BYE {reason}".strip()))
        self._connection.farewell(SourceError(GapReason.UNREACHABLE, said))

    def _check_stall(self, now_mono_ns: int) -> int:
        """When to look again, in monotonic ns. Video is watched, for sound may be silent; without video, all tracks."""
        tracks = [t for t in self.tracks if t.media.kind == "video"] or self.tracks
        stall_ns = round(self._options.stall_timeout * 1e9)
        due = now_mono_ns + stall_ns
        for track in tracks:
            last = max(track.last_unit_mono_ns, self._play_mono_ns, self._awake_mono_ns)
            if now_mono_ns - last >= stall_ns:
                raise SourceError(GapReason.STALLED, self._stalled(track, (now_mono_ns - last) / 1e9))
            due = min(due, last + stall_ns)
        return due

    def _stalled(self, track: Track, seconds: float) -> Sentence:
        camera, facts = self.camera, track.facts
        if facts.packets == facts.malformed == facts.ignored == 0:
            code = "sends_nothing_udp" if self._udp else "sends_nothing_tcp"
            return say(code, camera=camera, media=track.media.kind, seconds=seconds)
        if facts.units == 0:
            return say("no_whole_picture", camera=camera, seconds=seconds, packets=facts.lost)
        return say("stopped_sending", camera=camera, media=track.media.kind, seconds=seconds)

    async def _keep_alive(self) -> NoReturn:
        """Ask for something twice within the server's time limit. An answer that does not come is the watch's business."""
        method = "GET_PARAMETER" if "GET_PARAMETER" in self._public else "OPTIONS"
        while True:
            await asyncio.sleep(max(self._session_seconds / 2, 0.5))
            status = await self._keep_alive_once(method)
            if method != "OPTIONS" and status not in (0, 401, 403, 454) and not 200 <= status < 300:
                log.info("%s advertises %s but refuses it (%d): OPTIONS from now on", self.camera, method, status)
                method = "OPTIONS"
                await self._keep_alive_once(method)

    async def _keep_alive_once(self, method: str) -> int:
        """The status of the answer; 0 when there was none and the connection stands."""
        session = [("Session", self._session_id)] if self._session_id else []
        try:
            response = await self._request(method, self._aggregate(), *session)
        except SourceError:
            if self._connection.wire.ended:
                raise
            return 0  # some never answer while they stream
        if response.status in (401, 403, 454):
            raise self._connection.refusal(method, response)
        return response.status

    async def _end_lingering(self) -> None:
        """TEARDOWN for sessions of an earlier life of ours, on a connection of its own: cameras may close it."""
        store = self._options.session_store
        pending = store.pending(self._store_key)[:MAX_LINGERING] if store is not None else []
        if not pending:
            return
        limit = self._options.lingering_timeout
        connection = None
        try:
            async with asyncio.timeout(limit):
                connection = await self._connect()
                for session_id in pending:
                    await self._tear_down(connection, session_id, limit)
        except (SourceError, TimeoutError) as error:
            log.info("%s: sessions left from before could not be ended: %s", self.camera, error)
        finally:
            if connection is not None:
                await connection.close()

    async def _tear_down(self, connection: RtspConnection, session_id: str, seconds: float) -> None:
        """TEARDOWN; any answer means that the camera knows the session no more. SourceError when there is none."""
        url = self._aggregate() if self._base else self._address()
        try:
            async with asyncio.timeout(seconds):
                await connection.request("TEARDOWN", url, ("Session", session_id), seconds=seconds)
        except TimeoutError as error:
            said = say("answer_timeout", camera=self.camera, method="TEARDOWN", seconds=seconds)
            raise SourceError(GapReason.UNREACHABLE, said) from error
        if self._options.session_store is not None:
            self._options.session_store.forgotten(self._store_key, session_id)

    def _remember(self, session_id: str) -> None:
        if self._options.session_store is not None:
            self._options.session_store.remember(self._store_key, session_id)
