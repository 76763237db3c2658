"""The one WebSocket of a page: camera states as they change, the console's own health, clock sync, revocation.

Owns the messages. Each connection looks at what `Watch` and `LiveViews` read once for all, cut to what its login may see at
that moment; nothing here waits for a slow client, which is cut off instead. The beat every second is what tells a page
that its console is not blind. Only sessions of browsers connect, from our own page.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from fastapi import WebSocket
from pydantic import ValidationError
from starlette.websockets import WebSocketDisconnect

from vms.errors import CatalogueError
from vms.localtime import format_utc
from vms.ntp import ask_kernel, host_clock
from web.api import schemas
from web.api.parts import Parts, ip_of, parts_of, require_same_origin
from web.api.watching import CameraNow
from web.identity.access import Access
from web.identity.callers import Caller, caller_of
from web.identity.refusals import Code, Refusal
from web.identity.signing_in import TOUCH_NS

log = logging.getLogger(__name__)

BEAT_SECONDS = 1.0
SEND_SECONDS = 5.0
CONSOLE_BEATS = (
    5  # the console's counts go out with every so manyth beat, and with the next one when somebody falls silent
)
MOST_MESSAGE_BYTES = 16 * 1024
MOST_MESSAGES_A_BEAT = 50
CLOSED_BINARY = 1003  # RFC 6455 §7.4.1
CLOSED_AWAY = 1013  # try again later
CLOSED_SIGNED_OUT = 4401
CLOSED_POLICY = 4403
CLOSED_SLOW = 4408
CLOSED_NOISY = 4429


async def serve(websocket: WebSocket) -> None:
    """One connection from its handshake to its end.

    Who may not be here is let in and shown out with a code: a handshake that is refused tells a page nothing.
    """
    parts = parts_of(websocket)
    try:
        require_same_origin(websocket)
    except Refusal:
        await websocket.close(CLOSED_POLICY)  # before the handshake: another site's page is told nothing at all
        return
    caller, code = None, CLOSED_POLICY
    try:
        caller = await _caller_of(websocket, parts)
    except Refusal as refusal:
        code = CLOSED_AWAY if refusal.code is Code.CATALOGUE_AWAY else CLOSED_SIGNED_OUT
    await websocket.accept()
    if caller is None or caller.login.user.must_change_password:
        await websocket.close(code)
        return
    parts.metrics.web_sockets.inc()
    try:
        await _Connection(parts, websocket, caller).run()
    finally:
        parts.metrics.web_sockets.dec()


async def _caller_of(websocket: WebSocket, parts: Parts) -> Caller:
    """Who connects; while the catalogue is away, who that was when it last answered."""
    secret, ip = websocket.cookies.get(parts.cookie, ""), ip_of(websocket)
    try:
        return await parts.identity.by_session(secret, ip=ip)
    except CatalogueError:
        return parts.identity.as_last_read(secret, parts.views.logins, ip=ip)


class _Connection:
    def __init__(self, parts: Parts, websocket: WebSocket, caller: Caller) -> None:
        self._parts, self._websocket, self._caller = parts, websocket, caller
        self._told: dict[UUID, CameraNow] = {}
        self._registry = ""
        self._heard = 0
        self._sending = asyncio.Lock()
        self._touched_ns = caller.now_ns
        self._touching: asyncio.Task[None] | None = None
        self._tiles: dict[str, int] = {}
        self._revoked: list[tuple[list[UUID], str]] = []
        self._woken = asyncio.Event()

    async def run(self) -> None:
        stop = self._parts.views.listen(self._caller.login, self._on_revoked)
        hearing = asyncio.create_task(self._hear(), name="websocket in")
        telling = asyncio.create_task(self._tell(), name="websocket out")
        try:
            await asyncio.wait({hearing, telling}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop()
            self._count_tiles({})
            tasks = [task for task in (hearing, telling, self._touching) if task is not None]
            for task in tasks:
                task.cancel()
            for ended in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(ended, Exception) and not isinstance(
                    ended, WebSocketDisconnect | TimeoutError | RuntimeError
                ):
                    raise ended

    def _on_revoked(self, views: list[UUID], code: str) -> None:
        self._revoked.append((views, code))
        self._woken.set()

    async def _tell(self) -> None:
        await self._send({"t": "hello", "server_ns": self._now(), "session": str(self._caller.login.id)})
        beat, answering = 0, self._answering()
        while True:
            if not self._still_signed_in():
                await self._send({"t": "signed_out"})
                await self._close(CLOSED_SIGNED_OUT)
                return
            while self._revoked:
                views, code = self._revoked.pop(0)
                await self._send({"t": "revoked", "sessions": [str(v) for v in views], "code": code})
            await self._cameras()
            before, answering = answering, self._answering()
            if beat % CONSOLE_BEATS == 0 or answering != before:
                await self._send(self._console())
            await self._send({"t": "beat", "server_ns": self._now()})
            self._heard, beat = 0, beat + 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEAT_SECONDS):
                    await self._woken.wait()
            self._woken.clear()

    async def _touch(self, now_ns: int) -> None:
        """Beside the beat: a catalogue that is away or slow makes no console blind."""
        try:
            await self._parts.catalogue.touch_session(self._caller.login.id, seen_ns=now_ns)
        except CatalogueError as error:
            log.debug("that a session is in use could not be noted: %s", error)

    def _still_signed_in(self) -> bool:
        """Take the login as last read; the first reading after the handshake may not have it yet."""
        now_ns = self._parts.clock.wall_ns()
        if now_ns - self._touched_ns > TOUCH_NS:
            self._touched_ns = now_ns
            self._touching = asyncio.create_task(self._touch(now_ns), name="websocket touch")
        login = self._parts.views.logins.get(self._caller.login.id)
        found = None if login is None else caller_of(login, now_ns, ip=self._caller.ip, csrf=self._caller.csrf)
        if found is None:
            return False
        self._caller = found
        return True

    async def _cameras(self) -> None:
        """What changed of the cameras that this caller may see; `gone` are those it no longer may.

        `registry` is another whenever their list may say something else, names and rights included. Nothing is said before
        they were read once: a page would take it for none.
        """
        watch, items = self._parts.watch, []
        if watch.version is None:
            return
        in_service = [c for c in watch.cameras.values() if c.retired_ns is None]
        seen = {c.id: allowed for c in in_service if (allowed := self._caller.access(c)).acts}
        for camera_id in seen:
            now = watch.now.get(camera_id, CameraNow())
            before = self._told.get(camera_id)
            if before is None or _shown(before) != _shown(now):
                items.append({"id": str(camera_id), **_shown(now)})
            self._told[camera_id] = now
        gone = [str(camera_id) for camera_id in self._told.keys() - seen.keys()]
        self._told = {camera_id: now for camera_id, now in self._told.items() if camera_id in seen}
        before_registry, self._registry = self._registry, _registry(watch.version, seen)
        if items or gone or self._registry != before_registry:
            await self._send({"t": "cameras", "items": items, "gone": gone, "registry": self._registry})

    def _answering(self) -> dict[str, bool | None]:
        """Who of those that the console depends on answers; None: not asked yet."""
        watch, views = self._parts.watch, self._parts.views
        return {
            "recorder": watch.recorder_answers,
            "catalogue": watch.catalogue_answers,
            "gateway": views.gateway_answers,
        }

    def _console(self) -> dict[str, Any]:
        watch = self._parts.watch
        seen = [watch.now.get(c.id) for c in watch.cameras.values() if c.id in self._told]
        recorded = [now for now in seen if now is not None and now.state != "off" and now.recording is not None]
        clock = host_clock(ask_kernel())
        return {
            "t": "console",
            "cameras": len(self._told),
            "live": sum(now is not None and now.state == "live" for now in seen),
            "recording": sum(bool(now.recording) for now in recorded),
            "recorded": len(recorded),
            **self._answering(),
            "clock_synchronised": clock.synchronised,
            "clock_offset_ns": None if clock.offset_ns is None else str(clock.offset_ns),
        }

    async def _hear(self) -> None:
        while True:
            heard = await self._websocket.receive()
            if heard["type"] == "websocket.disconnect":
                return
            text = heard.get("text")
            if text is None:
                await self._close(CLOSED_BINARY)
                return
            self._heard += 1
            if self._heard > MOST_MESSAGES_A_BEAT or len(text) > MOST_MESSAGE_BYTES:
                await self._close(CLOSED_NOISY)
                return
            try:
                message = json.loads(text)
                kind = message["t"]
            except (ValueError, RecursionError, KeyError, TypeError):
                continue
            if kind == "ping" and isinstance(message.get("client_ms"), int | float):
                await self._send({"t": "pong", "client_ms": message["client_ms"], "server_ns": self._now()})
            elif kind == "tiles":
                with contextlib.suppress(ValidationError):
                    self._count(schemas.TileReport.model_validate(message))

    def _count(self, report: schemas.TileReport) -> None:
        metrics = self._parts.metrics
        metrics.viewer_freezes.inc(report.frozen)
        metrics.viewer_dropped_frames.inc(report.dropped)
        for ms in report.first_frame_ms:
            metrics.viewer_first_frame_seconds.observe(ms / 1000)
        self._count_tiles({"live": report.live, "delayed": report.delayed, "lost": report.lost})

    def _count_tiles(self, tiles: dict[str, int]) -> None:
        """This page's share of the figures of all pages; none once it is gone."""
        for state in self._tiles.keys() | tiles.keys():
            more = tiles.get(state, 0) - self._tiles.get(state, 0)
            self._parts.metrics.viewer_tiles.labels(state).inc(more)
        self._tiles = tiles

    def _now(self) -> str:
        return str(self._parts.clock.wall_ns())

    async def _send(self, message: dict[str, Any]) -> None:
        async with self._sending:
            try:
                async with asyncio.timeout(SEND_SECONDS):
                    await self._websocket.send_text(json.dumps(message, separators=(",", ":")))
            except TimeoutError:
                await self._close(CLOSED_SLOW)
                raise

    async def _close(self, code: int) -> None:
        with contextlib.suppress(RuntimeError, TimeoutError):
            async with asyncio.timeout(SEND_SECONDS):
                await self._websocket.close(code)


def _registry(version: tuple[int, int], seen: Mapping[UUID, Access]) -> str:
    """The same from every process, so that a page that connects anew need not ask."""
    rights = sorted((str(camera), sorted(a.acts), sorted(a.purpose_required)) for camera, a in seen.items())
    return hashlib.sha256(repr((version, rights)).encode()).hexdigest()[:16]


def _shown(now: CameraNow) -> dict[str, Any]:
    return {
        "state": now.state,
        "since": None if now.since_ns is None else format_utc(now.since_ns),
        "reason": now.reason,
        "retry_at": None if now.retry_ns is None else format_utc(now.retry_ns),
        "clocks": dict(now.clocks),
    }
