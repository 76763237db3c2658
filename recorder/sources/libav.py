"""A source through FFmpeg's demuxers, in a process of its own: for cameras that ours cannot talk to.

Owns the child process (`libav_child`): starting it, feeding it its order over stdin, reading its frames, killing it. A
crash, garbage on the pipe or a silent exit of the child is a `SourceError`; at most one frame is held at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys

from recorder.sources import LIVE_PATIENCE_S, SourceTarget, TrackSinks
from vms.camera_url import CameraUrl
from vms.errors import MalformedError, SourceError
from vms.feed import LONGEST_FRAME_BYTES, FrameDecoder
from vms.media.sink import UnitSink
from vms.model import GapReason, SourceKind, TimedUnit

OPEN_SECONDS = 20.0
EXIT_SECONDS = 2.0
SEGMENTED_PATIENCE_S = 30.0  # HLS delivers a segment at a time
_MAX_FRAME = LONGEST_FRAME_BYTES + 64 * 1024


class LibavSource:
    """Receives `target` through PyAV. `command` starts the child; tests give another one."""

    kind: SourceKind = SourceKind.LIBAV

    def __init__(
        self,
        target: SourceTarget,
        *,
        command: tuple[str, ...] = (),
        why: str = "",
        patience_s: float = LIVE_PATIENCE_S,
    ) -> None:
        self.why = why
        self._target = target
        self._command = command or (sys.executable, "-m", "recorder.sources.libav_child")
        scheme = CameraUrl.parse(target.url, SourceKind.LIBAV).scheme
        self.patience_s = max(patience_s, SEGMENTED_PATIENCE_S) if scheme in ("http", "https") else patience_s

    async def run(self, sinks: TrackSinks) -> None:
        try:
            child = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,  # libav's complaints name the address with credentials
                env={
                    k: v for k, v in os.environ.items() if k in ("PATH", "PYTHONPATH", "LANG", "HOME", "SSL_CERT_FILE")
                },
            )
        except OSError as error:
            raise SourceError(
                GapReason.INTERNAL_ERROR, f"the libav process cannot be started: {error.strerror}"
            ) from error
        try:
            await self._converse(child, sinks)
        finally:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()

    async def _converse(self, child: asyncio.subprocess.Process, sinks: TrackSinks) -> None:
        assert child.stdin is not None
        assert child.stdout is not None
        target = self._target
        order = {
            "url": target.url,
            "username": target.username,
            "password": target.password,
            "transport": target.transport,
            "audio": sinks.audio is not None,
        }
        decoders: dict[bytes, tuple[FrameDecoder, UnitSink | None]] = {
            b"v": (FrameDecoder(), sinks.video),
            b"a": (FrameDecoder(), sinks.audio),
        }
        try:
            child.stdin.write(json.dumps(order).encode() + b"\n")
            child.stdin.close()
            async with asyncio.timeout(OPEN_SECONDS):
                head = await child.stdout.readexactly(5)
            while True:
                size = int.from_bytes(head[1:], "big")
                if size > _MAX_FRAME:
                    raise MalformedError("libav process", f"a frame of {size} bytes")
                body = await child.stdout.readexactly(size)
                if head[:1] == b"e":
                    raise _said(body)
                if head[:1] not in decoders:
                    raise MalformedError("libav process", f"an unknown frame {head[:1]!r}")
                deliver(*decoders[head[:1]], body)
                head = await child.stdout.readexactly(5)
        except TimeoutError as error:
            raise SourceError(GapReason.UNREACHABLE, "libav found no stream in time") from error
        except (asyncio.IncompleteReadError, BrokenPipeError, ConnectionResetError) as error:
            raise SourceError(GapReason.INTERNAL_ERROR, await self._obituary(child)) from error
        except MalformedError as error:
            raise SourceError(GapReason.INTERNAL_ERROR, str(error)) from error

    async def _obituary(self, child: asyncio.subprocess.Process) -> str:
        try:
            async with asyncio.timeout(EXIT_SECONDS):
                code = await child.wait()
        except TimeoutError:
            return "the libav process closed its pipe"
        if code < 0:
            with contextlib.suppress(ValueError):
                return f"the libav process was ended by {signal.Signals(-code).name}"
        return f"the libav process ended with code {code}"


def deliver(decoder: FrameDecoder, sink: UnitSink | None, body: bytes) -> None:
    """Hand on the units of one frame from the child; their time of arrival stands where the feed has capture time."""
    for event in decoder.feed(body):
        if isinstance(event, TimedUnit) and sink is not None:
            sink.on_unit(event.unit._replace(arrival_mono_ns=event.capture_ns))


def _said(body: bytes) -> SourceError:
    try:
        facts = json.loads(body)
        return SourceError(GapReason(facts["reason"]), str(facts["message"])[:200])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise MalformedError("libav process", "its last words do not parse") from error
