"""The serving side of the feed (`vms.feed`) in a recorder worker: live units, spool ranges, states, camera tests.

A subscriber that reads too slowly is dropped to the next key unit and told so; the recorder never waits for one. Owns
no recording. A state frame goes out every second, so that silence always means that the feed itself is dead.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import asdict
from typing import Any
from uuid import UUID

from aiohttp import web

from recorder.recording import Recording, StreamStatus
from recorder.relay import Subscription
from recorder.track import Track
from storage.reader import Reader
from vms import feed
from vms.camera_url import CameraUrl
from vms.cameras.probing import said_of
from vms.errors import MalformedError, SourceError, StoreError, UserError
from vms.metrics import Metrics
from vms.model import CodecConfig, SourceKind, TimedUnit
from vms.rtsp.probe import probe
from vms.settings import Listen
from vms.timeline import TimeRange

log = logging.getLogger(__name__)

STATE_SECONDS = 1.0
SEND_SECONDS = 10.0  # a subscriber that takes nothing for this long is gone
LONGEST_RANGE_NS = 24 * 3_600_000_000_000
TEST_SECONDS = 6.0
LARGEST_REQUEST_BYTES = 64 * 1024


class FeedServer:
    """The worker's routes. `tracks` and `states` are asked anew for every request, for the assignment may change."""

    def __init__(
        self,
        *,
        track: Callable[[UUID], tuple[Recording, Track] | None],
        states: Callable[[], list[dict[str, Any]]],
        reload: Callable[[], None],
        reader: Reader,
        metrics: Metrics,
    ) -> None:
        self._track, self._states, self._reload = track, states, reload
        self._reader, self._metrics = reader, metrics
        metrics.feed_subscribers.set(0)

    def application(self) -> web.Application:
        """The routes of docs/reference/feed.md."""
        app = web.Application(client_max_size=LARGEST_REQUEST_BYTES)
        app.add_routes(
            [
                web.get("/v1/streams", self._get_states),
                web.get("/v1/streams/{stream}/units", self._get_units),
                web.get("/v1/streams/{stream}/spool", self._get_spool),
                web.post("/v1/cameras/test", self._test_camera),
                web.post("/v1/reload", self._post_reload),
            ]
        )
        return app

    async def _get_states(self, _request: web.Request) -> web.Response:
        return web.json_response(self._states())

    async def _post_reload(self, _request: web.Request) -> web.Response:
        self._reload()
        return web.json_response({})

    async def _test_camera(self, request: web.Request) -> web.Response:
        try:
            asked = await request.json()
            url = CameraUrl.parse(str(asked["url"]), SourceKind.RTSP)
            report = await probe(
                str(url),
                username=str(asked.get("username", "")),
                password=str(asked.get("password", "")),
                transport=str(asked.get("transport", "tcp")),
                pin=str(asked.get("pin", "")),
                seconds=TEST_SECONDS,
            )
        except (ValueError, KeyError, TypeError, UserError) as error:
            raise web.HTTPBadRequest(text=f"not a camera test: {error}") from error
        except SourceError as error:
            return web.json_response({"reason": error.reason.value, "said": said_of(error).as_json()})
        return web.json_response(asdict(report) | {"advice": [a.as_json() for a in report.advice]})

    async def _get_units(self, request: web.Request) -> web.StreamResponse:
        found = self._track(_stream_of(request))
        if found is None:
            raise web.HTTPNotFound(text="no such stream is recorded or relayed here")
        recording, track = found
        response = await _start(request)
        start, subscription = track.join()
        self._metrics.feed_subscribers.inc()
        try:
            with subscription:
                writer = _FrameWriter(response)
                await writer.state(recording, track)
                begun = await asyncio.to_thread(start.read)
                if not begun:
                    subscription.await_key()
                await writer.units(begun)
                await self._follow(writer, subscription, recording, track)
        except (ConnectionError, TimeoutError):
            pass  # the subscriber left
        finally:
            start.close()
            self._metrics.feed_subscribers.dec()
        return response

    async def _follow(
        self, writer: _FrameWriter, subscription: Subscription, recording: Recording, track: Track
    ) -> None:
        told = asyncio.get_running_loop().time()
        waiting = asyncio.ensure_future(subscription.next())
        try:
            while True:
                await asyncio.wait({waiting}, timeout=STATE_SECONDS)
                now = asyncio.get_running_loop().time()
                if now - told >= STATE_SECONDS:
                    told = now
                    await writer.state(recording, track)
                if not waiting.done():
                    continue
                batch = waiting.result()
                if batch is None:
                    return
                if batch.dropped:
                    self._metrics.feed_dropped_units.inc(batch.dropped)
                    await writer.dropped(batch.dropped)
                await writer.units(batch.units)
                waiting = asyncio.ensure_future(subscription.next())
        finally:
            waiting.cancel()

    async def _get_spool(self, request: web.Request) -> web.StreamResponse:
        stream_id = _stream_of(request)
        try:
            within = TimeRange(int(request.query["start_ns"]), int(request.query["end_ns"]))
        except (KeyError, ValueError) as error:
            raise web.HTTPBadRequest(text="start_ns and end_ns must be whole numbers, end after start") from error
        if within.duration_ns > LONGEST_RANGE_NS:
            raise web.HTTPBadRequest(text="at most a day at a time")
        response = await _start(request)
        writer = _FrameWriter(response)
        try:
            units: AsyncIterator[Any] = self._reader.units(stream_id, within)
            async for _, timed in units:
                await writer.units((timed,))
            await writer.end()
        except (StoreError, MalformedError) as error:
            log.warning("a spool range of stream %s broke off: %s", stream_id, error)
        except (ConnectionError, TimeoutError):
            pass  # the subscriber left
        return response


class _FrameWriter:
    """Frames into one response, the codec configuration before the first unit and whenever it changes."""

    def __init__(self, response: web.StreamResponse) -> None:
        self._response = response
        self._config: CodecConfig | None = None

    async def units(self, units: Sequence[TimedUnit]) -> None:
        frames = []
        for timed in units:
            config = timed.unit.config
            if config is not self._config:
                if config != self._config:
                    frames.append(feed.encode_config(config))
                self._config = config
            frames.append(feed.encode_unit(timed))
        if frames:
            await self._send(b"".join(frames))

    async def dropped(self, units: int) -> None:
        await self._send(feed.encode_dropped(units))

    async def state(self, recording: Recording, track: Track) -> None:
        gap = track.gaps.current
        await self._send(feed.encode_state(recording.state, None if gap is None else gap.reason))

    async def end(self) -> None:
        await self._send(feed.encode_end())

    async def _send(self, data: bytes) -> None:
        async with asyncio.timeout(SEND_SECONDS):
            await self._response.write(data)


async def _start(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/octet-stream", "Cache-Control": "no-store"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    return response


def _stream_of(request: web.Request) -> UUID:
    try:
        return UUID(request.match_info["stream"])
    except ValueError as error:
        raise web.HTTPNotFound(text="a stream is named by its UUID") from error


def state_of(status: StreamStatus, *, camera: str, number: int, name: str, kind: str) -> dict[str, Any]:
    """One object of `GET /v1/streams`."""
    facts = asdict(status) | {"camera_id": camera, "camera_number": number, "camera_name": name, "kind": kind}
    facts["stream_id"] = str(status.stream_id)
    facts["gaps_by_reason"] = {reason.value: count for reason, count in status.gaps_by_reason.items()}
    facts["gap_ns_by_reason"] = {reason.value: ns for reason, ns in status.gap_ns_by_reason.items()}
    return facts


@contextlib.asynccontextmanager
async def serve(app: web.Application, socket_path: str) -> AsyncIterator[None]:
    """Serve on a Unix socket that only this user may open."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    with contextlib.suppress(FileNotFoundError):
        os.unlink(socket_path)
    site = web.UnixSite(runner, socket_path)
    await site.start()
    os.chmod(socket_path, 0o600)
    try:
        yield
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def serve_tls(app: web.Application, listen: Listen, tls: ssl.SSLContext) -> AsyncIterator[int]:
    """Serve over TLS; gives the port got. OSError when it is taken."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, listen.host, listen.port, ssl_context=tls).start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


def bearer(token: str) -> Callable[..., Awaitable[web.StreamResponse]]:
    """A middleware that answers 401 to every request without this bearer token, whatever it asks for."""
    expected = f"Bearer {token}".encode()

    @web.middleware
    async def check(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(given, expected):
            raise web.HTTPUnauthorized(
                text="the site's feed token is needed as bearer token", headers={"WWW-Authenticate": "Bearer"}
            )
        return await handler(request)

    return check
