"""The gateway's inner interface: JSON over HTTP on a Unix socket that only the site's own user may open.

The web process is its only caller; it has authenticated and authorised, and this side knows no users. Routes are thin:
parse, call `Viewing` once, shape the answer. What it says is in docs/reference/live.md.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict
from json import JSONDecodeError
from pathlib import Path
from typing import Any

from aiohttp import web

from vms.errors import UserError
from web.live.refusals import Refusal
from web.live.session import facts_of
from web.live.viewing import Viewing, parse_id, parse_wanted

LARGEST_REQUEST_BYTES = 256 * 1024
STATUS = {
    "bad_request": 400,
    "offer_malformed": 400,
    "unknown_stream": 404,
    "not_found": 404,
    "codec_unsupported": 406,
    "source_not_live": 409,
    "conflict": 409,
    "too_many_sessions": 503,
}

_Route = Callable[[web.Request], Awaitable[web.StreamResponse]]


class GatewayApi:
    """The routes."""

    def __init__(self, viewing: Viewing) -> None:
        self._viewing = viewing

    def application(self) -> web.Application:
        app = web.Application(client_max_size=LARGEST_REQUEST_BYTES, middlewares=[_refusals])
        app.add_routes(
            [
                web.get("/health/live", self._live),
                web.get("/v1/sessions", self._list),
                web.post("/v1/sessions", self._create),
                web.put("/v1/sessions/{id}/stream", self._switch),
                web.delete("/v1/sessions/{id}", self._delete),
            ]
        )
        return app

    async def _live(self, _request: web.Request) -> web.Response:
        """That the gateway answers, for whoever wants to know; renews nothing."""
        return web.json_response({"ok": True})

    async def _list(self, _request: web.Request) -> web.Response:
        self._viewing.renew_lease()
        return web.json_response([facts_of(session, stream) for session, stream in self._viewing.sessions()])

    async def _create(self, request: web.Request) -> web.Response:
        given = await self._viewing.create(parse_wanted(await _json(request)))
        return web.json_response(asdict(given) | {"stream": str(given.stream)}, status=201)

    async def _switch(self, request: web.Request) -> web.Response:
        body = await _json(request)
        if not isinstance(body, dict):
            raise UserError("the body must be an object")
        await self._viewing.switch(parse_id(request.match_info["id"], "id"), parse_id(body.get("stream"), "stream"))
        return web.Response(status=204)

    async def _delete(self, request: web.Request) -> web.Response:
        await self._viewing.delete(parse_id(request.match_info["id"], "id"))
        return web.Response(status=204)


async def _json(request: web.Request) -> Any:
    try:
        return await request.json()
    except (JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UserError("the body must be JSON") from error


@web.middleware
async def _refusals(request: web.Request, handler: _Route) -> web.StreamResponse:
    """Refusals as JSON with their code."""
    try:
        return await handler(request)
    except UserError as error:
        refusal = Refusal("bad_request", str(error))
    except Refusal as error:
        refusal = error
    facts: dict[str, Any] = {"code": refusal.code, "detail": refusal.detail}
    if refusal.retry_after is not None:
        facts["retry_after"] = refusal.retry_after
    return web.json_response(facts, status=STATUS[refusal.code])


@contextlib.asynccontextmanager
async def serve(app: web.Application, path: Path) -> AsyncIterator[None]:
    """Serve on a Unix socket that only this user may open. UserError where that cannot be."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            await web.UnixSite(runner, str(path)).start()
            os.chmod(path, 0o600)
        except OSError as error:
            raise UserError(f"the live gateway cannot serve at {path}: {error.strerror or error}") from error
        yield
    finally:
        await runner.cleanup()
