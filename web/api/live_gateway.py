"""The live gateway as the web process speaks to it: JSON over HTTP on its Unix socket (`web.live` serves it).

Owns the client and what the gateway's refusals are called here. The gateway knows no users: whoever calls this has asked
`web.identity.access` before.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from uuid import UUID

import aiohttp

from web.identity.refusals import Code, Refusal

OPEN_SECONDS = 10.0  # an offer is answered once ICE addresses are known; the gateway has its own, shorter limits
ASK_SECONDS = 2.0
MOST_ANSWER_BYTES = 4 << 20
_CODES = {
    "offer_malformed": Code.OFFER_MALFORMED,
    "codec_unsupported": Code.CODEC_UNSUPPORTED,
    "unknown_stream": Code.SOURCE_NOT_LIVE,  # assigned a moment ago, or no longer: it will come, or the camera goes
    "source_not_live": Code.SOURCE_NOT_LIVE,
    "too_many_sessions": Code.TOO_MANY_SESSIONS,
}


@dataclass(frozen=True, slots=True)
class LiveAnswer:
    """What the gateway answered an offer: the session is open."""

    answer: str  # SDP
    stream_id: UUID
    codec: str
    transcoded: bool
    why: str


class GatewayClient:
    """Use from one event loop; close at the end. Every call may refuse with GATEWAY_AWAY."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def open(self, session_id: UUID, stream: UUID, offer: str, fallbacks: Sequence[UUID] = ()) -> LiveAnswer:
        """Begin a session. Refusals as the gateway's codes say."""
        body = {"id": str(session_id), "stream": str(stream), "offer": offer, "fallbacks": [str(f) for f in fallbacks]}
        facts = await self._json("POST", "/v1/sessions", body, seconds=OPEN_SECONDS)
        try:
            return LiveAnswer(
                str(facts["answer"]), UUID(facts["stream"]), str(facts["codec"]), bool(facts["transcoded"]),
                str(facts.get("why", "")),
            )  # fmt: skip
        except (KeyError, ValueError, TypeError) as error:
            raise Refusal(Code.GATEWAY_AWAY, "the gateway answers what cannot be read", retry_after=2) from error

    async def switch(self, session_id: UUID, stream: UUID) -> None:
        """Show another stream of the same camera in that session."""
        await self._json("PUT", f"/v1/sessions/{session_id}/stream", {"stream": str(stream)})

    async def close(self, session_id: UUID) -> None:
        """End a session, also one that is not there."""
        await self._json("DELETE", f"/v1/sessions/{session_id}")

    async def sessions(self) -> dict[UUID, dict[str, Any]]:
        """What is open now, by id."""
        found = await self._json("GET", "/v1/sessions")
        try:
            return {UUID(one["id"]): one for one in found}
        except (KeyError, ValueError, TypeError) as error:
            raise Refusal(Code.GATEWAY_AWAY, "the gateway answers what cannot be read", retry_after=2) from error

    async def _json(self, method: str, path: str, body: object = None, seconds: float = ASK_SECONDS) -> Any:
        async with self._request(method, path, body, seconds) as response:
            said = b""
            async for part in response.content.iter_any():
                said += part
                if len(said) > MOST_ANSWER_BYTES:
                    raise Refusal(Code.GATEWAY_AWAY, "the gateway answers more than is read", retry_after=2)
            status = response.status
        try:
            facts = json.loads(said) if said else None
        except ValueError:
            facts = None
        if status < 300:
            return facts
        raise _refusal(status, facts)

    @asynccontextmanager
    async def _request(
        self, method: str, path: str, body: object, seconds: float
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=str(self._socket), limit=64))
        timeout = aiohttp.ClientTimeout(total=seconds)
        try:
            async with self._session.request(
                method, f"http://live{path}", json=body, timeout=timeout
            ) as response:  # fmt: skip
                yield response
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Refusal(Code.GATEWAY_AWAY, retry_after=1) from error


def _refusal(status: int, facts: Any) -> Refusal:
    said = facts if isinstance(facts, dict) else {}
    code = _CODES.get(str(said.get("code")))
    if code is None and status == 404:
        return Refusal(Code.NOT_FOUND)
    if code is None:
        return Refusal(Code.GATEWAY_AWAY, f"the gateway answered {status}", retry_after=2)
    retry = said.get("retry_after")
    waits = {"retry_after": retry if isinstance(retry, int | float) else 2}
    if code in (Code.OFFER_MALFORMED, Code.CODEC_UNSUPPORTED):
        waits = {}
    return Refusal(code, str(said.get("detail", ""))[:300], **waits)
