"""The outermost layer of every request: headers that all answers carry, bounds on bodies, figures.

Owns nothing of what is asked or answered. Pure ASGI, so that it holds for errors too.
"""

from __future__ import annotations

import time
from collections.abc import MutableMapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vms.metrics import Metrics

MOST_BODY_BYTES = 128 * 1024
MOST_TABLE_BYTES = 8 * 2**20 + 1  # `vms.cameras.csv_table` says what is too much, in words
TABLE_PATH = "/api/v1/cameras/import"
API_POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"permissions-policy": b"camera=(), microphone=(), geolocation=(), payment=(), usb=(), display-capture=()",
    b"content-security-policy": API_POLICY.encode(),
    b"cache-control": b"no-store",
}
STRICT_TRANSPORT = b"max-age=31536000"


class Edge:
    """Wraps the whole application."""

    def __init__(self, app: ASGIApp, metrics: Metrics, *, tls: bool) -> None:
        self._app, self._metrics, self._tls = app, metrics, tls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.monotonic(), 500

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._add_headers(message)
            await send(message)

        try:
            await self._app(scope, _bounded(scope, receive), send_with_headers)
        finally:
            method = scope["method"] if scope["method"] in ("GET", "POST", "PUT", "PATCH", "DELETE") else "other"
            self._metrics.web_requests.labels(method, f"{status // 100}xx").inc()
            self._metrics.web_request_seconds.observe(time.monotonic() - began)

    def _add_headers(self, message: MutableMapping[str, Any]) -> None:
        headers = list(message.get("headers", ()))
        there = {name.lower() for name, _ in headers}
        headers += [(name, value) for name, value in HEADERS.items() if name not in there]
        if self._tls:
            headers.append((b"strict-transport-security", STRICT_TRANSPORT))
        message["headers"] = headers


def _bounded(scope: Scope, receive: Receive) -> Receive:
    most = MOST_TABLE_BYTES if scope["path"] == TABLE_PATH else MOST_BODY_BYTES
    had = 0

    async def receive_bounded() -> Message:
        nonlocal had
        message = await receive()
        had += len(message.get("body", b""))
        if had > most:
            raise HTTPException(413)  # within the application, which makes a problem of it
        return message

    return receive_bounded
