"""The feed: access units, camera states and spool ranges between a recorder host and its readers, over HTTP.

Owns the framing of access units and the client. The recorder serves it (`recorder.feed_server`) on a Unix socket that
only its own user may open, or over TLS to holders of the site's token. Readers get access units and never see RTP.

A stream of frames is the body of a chunked response. Each frame: 1 byte kind, 4 bytes length (big-endian), payload.

    C  codec configuration, JSON; comes before the first unit and whenever it changes
    U  access unit: pts int64, capture UTC ns int64, flags uint8 (1 key, 2 damaged), data
    D  units were dropped because this reader was slow: count uint32; the next unit is a key unit
    S  state of the stream changed, JSON {"state", "reason"}; also sent every second, so silence means a dead feed
    E  end of a finite range

A frame longer than `LONGEST_FRAME_BYTES`, which is what the largest unit needs, an unknown kind or a unit before its
configuration is `MalformedError`.
"""

from __future__ import annotations

import base64
import hmac
import json
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from ssl import SSLContext
from typing import Any
from uuid import UUID

import aiohttp

from vms.errors import MalformedError, SourceError, UserError
from vms.model import LARGEST_UNIT_BYTES, AccessUnit, Codec, CodecConfig, GapReason, TimedUnit

CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 5.0  # the server sends a state frame each second
LONGEST_REASON_BYTES = 300  # of a refusal that is shown
_TOKEN_CONTEXT = b"stroz feed token 1"

_HEADER = struct.Struct(">cI")
_UNIT = struct.Struct(">qqB")
_COUNT = struct.Struct(">I")
_KEY, _DAMAGED = 1, 2

LONGEST_FRAME_BYTES = _UNIT.size + LARGEST_UNIT_BYTES


@dataclass(frozen=True, slots=True)
class Dropped:
    """This reader was too slow: `units` were left out and the next unit is a key unit."""

    units: int


@dataclass(frozen=True, slots=True)
class StreamState:
    """What the recorder says of the stream. `reason` is that of the open gap, None while recording."""

    state: str
    reason: GapReason | None


@dataclass(frozen=True, slots=True)
class End:
    """A finite range is over."""


FeedEvent = TimedUnit | Dropped | StreamState | End


def encode_config(config: CodecConfig) -> bytes:
    """A C frame."""
    facts = {
        "codec": config.codec.value,
        "clock_hz": config.clock_hz,
        "parameter_sets": [base64.b64encode(s).decode() for s in config.parameter_sets],
        "width": config.width,
        "height": config.height,
        "profile": config.profile,
        "rfc6381": config.rfc6381,
        "reorder_depth": config.reorder_depth,
        "nominal_fps": config.nominal_fps,
        "channels": config.channels,
        "extradata": base64.b64encode(config.extradata).decode(),
    }
    return _frame(b"C", json.dumps(facts, separators=(",", ":")).encode())


def encode_unit(timed: TimedUnit) -> bytes:
    """A U frame."""
    unit = timed.unit
    flags = (_KEY if unit.key else 0) | (_DAMAGED if unit.damaged else 0)
    size = _UNIT.size + len(unit.data)
    return b"".join(
        (_HEADER.pack(b"U", size), _UNIT.pack(unit.pts, timed.capture_ns, flags), unit.data),
    )


def encode_dropped(units: int) -> bytes:
    """A D frame."""
    return _frame(b"D", _COUNT.pack(units))


def encode_state(state: str, reason: GapReason | None) -> bytes:
    """An S frame."""
    return _frame(b"S", json.dumps({"state": state, "reason": reason and reason.value}).encode())


def encode_end() -> bytes:
    """An E frame."""
    return _frame(b"E", b"")


def _frame(kind: bytes, payload: bytes) -> bytes:
    return _HEADER.pack(kind, len(payload)) + payload


class FrameDecoder:
    """Bytes as they come → events. Holds at most one frame."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._config: CodecConfig | None = None

    def feed(self, data: bytes) -> Iterator[FeedEvent]:
        """Every event that `data` completes. Raises MalformedError; the decoder is of no use after that."""
        self._buffer += data
        start = 0
        try:
            while len(self._buffer) - start >= _HEADER.size:
                kind, size = _HEADER.unpack_from(self._buffer, start)
                if size > LONGEST_FRAME_BYTES:
                    raise MalformedError("feed frame", f"{size} bytes is longer than the format allows")
                end = start + _HEADER.size + size
                if len(self._buffer) < end:
                    return
                payload = bytes(self._buffer[start + _HEADER.size : end])
                start = end
                event = self._event(kind, payload)
                if event is not None:
                    yield event
        finally:
            del self._buffer[:start]

    def _event(self, kind: bytes, payload: bytes) -> FeedEvent | None:
        try:
            match kind:
                case b"U":
                    return self._unit(payload)
                case b"C":
                    self._config = _decode_config(json.loads(payload))
                    return None
                case b"D":
                    return Dropped(_COUNT.unpack(payload)[0])
                case b"S":
                    facts = json.loads(payload)
                    reason = facts["reason"]
                    return StreamState(str(facts["state"]), GapReason(reason) if reason else None)
                case b"E":
                    return End()
        except (
            *(ValueError, OverflowError, RecursionError),  # numbers without end, brackets without end
            *(KeyError, TypeError, struct.error, AttributeError),
        ) as error:
            raise MalformedError(f"feed frame {kind!r}", str(error)) from error
        raise MalformedError("feed frame", f"unknown kind {kind!r}")

    def _unit(self, payload: bytes) -> TimedUnit:
        if self._config is None:
            raise MalformedError("feed frame b'U'", "a unit came before any codec configuration")
        pts, capture_ns, flags = _UNIT.unpack_from(payload)
        unit = AccessUnit(
            pts, payload[_UNIT.size :], bool(flags & _KEY), self._config, 0, damaged=bool(flags & _DAMAGED)
        )
        return TimedUnit(unit, capture_ns)


def _decode_config(facts: dict[str, Any]) -> CodecConfig:
    return CodecConfig(
        codec=Codec(facts["codec"]),
        clock_hz=int(facts["clock_hz"]),
        parameter_sets=tuple(base64.b64decode(s, validate=True) for s in facts["parameter_sets"]),
        width=int(facts["width"]),
        height=int(facts["height"]),
        profile=str(facts["profile"]),
        rfc6381=str(facts["rfc6381"]),
        reorder_depth=int(facts["reorder_depth"]),
        nominal_fps=float(facts["nominal_fps"]),
        channels=int(facts["channels"]),
        extradata=base64.b64decode(facts["extradata"], validate=True),
    )


def feed_token(site_key: bytes) -> str:
    """The bearer token of the feed between hosts: HMAC-SHA-256 of a fixed context under the site's key, in hex."""
    return hmac.digest(site_key, _TOKEN_CONTEXT, "sha256").hex()


class FeedClient:
    """Reads the feed of one recorder host. Raises SourceError(UNREACHABLE) when the host does not answer, or answers
    that it cannot now (503); UserError when it refuses (400, 401, 404); MalformedError when it talks nonsense.

    `address` is a Unix socket's path, or an https URL with `token` and the site's CA in `tls`.
    """

    def __init__(self, address: Path | str, *, token: str = "", tls: SSLContext | None = None) -> None:
        if isinstance(address, str) and not address.startswith("https://"):
            raise UserError(f"{address} is not https://…; the feed between hosts goes over TLS only")
        self._address = address
        self._token = token
        self._tls = tls

    async def states(self) -> list[dict[str, Any]]:
        """One JSON object per stream, as documented in docs/reference/feed.md."""
        async with self._request("GET", "/v1/streams") as response:
            answer: list[dict[str, Any]] = await response.json()
            return answer

    async def reload(self) -> None:
        """Have the recorder read its assignment now."""
        async with self._request("POST", "/v1/reload"):
            pass

    async def test_camera(self, request: dict[str, Any]) -> dict[str, Any]:
        """Test a camera from the recorder's network: what it sends, or `reason` and `said` where nothing was received.

        The request is never logged.
        """
        async with self._request("POST", "/v1/cameras/test", json_body=request, seconds=60) as response:
            answer: dict[str, Any] = await response.json()
            return answer

    def units(self, stream_id: UUID) -> AsyncGenerator[FeedEvent, None]:
        """Live units, from the GOP that is under way on. Ends by SourceError; never silently."""
        return self._frames(f"/v1/streams/{stream_id}/units")

    def spool_range(self, stream_id: UUID, start_ns: int, end_ns: int) -> AsyncGenerator[FeedEvent, None]:
        """Units of [start_ns, end_ns) that are in the spool, then End.

        They begin with the key unit before the range and end with what its last pictures refer to: a reader shows only
        those whose capture time lies in the range.
        """
        return self._frames(f"/v1/streams/{stream_id}/spool?start_ns={start_ns}&end_ns={end_ns}")

    async def _frames(self, path: str) -> AsyncGenerator[FeedEvent, None]:
        decoder = FrameDecoder()
        async with self._request("GET", path, seconds=None) as response:
            try:
                async for chunk in response.content.iter_any():
                    for event in decoder.feed(chunk):
                        yield event
            except (TimeoutError, aiohttp.ClientError) as error:
                raise SourceError(GapReason.UNREACHABLE, f"the recorder's feed broke off: {error}") from error
        raise SourceError(GapReason.UNREACHABLE, "the recorder closed the feed")

    @asynccontextmanager
    async def _request(
        self, method: str, path: str, *, json_body: object = None, seconds: float | None = 10
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        local = isinstance(self._address, Path)
        connector = (
            aiohttp.UnixConnector(path=str(self._address)) if local else aiohttp.TCPConnector(ssl=self._tls or True)
        )
        base = "http://recorder" if local else str(self._address).rstrip("/")
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        timeout = aiohttp.ClientTimeout(
            total=seconds, connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS if seconds is None else seconds
        )
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers) as session:
            try:
                response = await session.request(method, base + path, json=json_body)
            except (TimeoutError, aiohttp.ClientError, OSError) as error:
                raise SourceError(
                    GapReason.UNREACHABLE, f"no recorder answers at {self._address}; is `vms up` running?"
                ) from error
            async with response:
                if response.status != 200:
                    said = (await response.content.read(LONGEST_REASON_BYTES)).decode("utf-8", "replace")
                    if response.status == 503:
                        raise SourceError(GapReason.UNREACHABLE, f"the recorder cannot answer now: {said}")
                    raise UserError(f"the recorder refused: {said}")
                yield response
