"""The byte stream under RTSP: connecting it, and cutting what arrives into messages and interleaved frames in place.

Owns `RtspWire`, the protocol object at the end of any byte stream (TCP, TLS; HTTP tunnels are other openers), and
`open_tcp`, which connects one. Does not own what messages mean, nor RTP: a frame goes to the `push` of its channel.

This is the hot path: about 715 frames a megabyte. A frame costs no object but the arguments of `push(buffer, start,
end, arrival_mono_ns)`; the bytes are valid only during the call. One clock reading serves a whole wake-up.

Invariants: the buffer never grows; a frame (65 539 bytes at most) always fits behind whatever is left of the one
before; bytes that are neither message nor plausible frame are skipped, counted, and at MAX_GARBAGE_BYTES in a row
are an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import os
import socket
import ssl
import time
from collections.abc import Callable
from typing import Protocol, cast

from vms.camera_url import CameraUrl
from vms.errors import MalformedError, SourceError, VmsError
from vms.model import GapReason
from vms.rtsp.message import Message, MessageParser, printable
from vms.rtsp.turns import BUFFER_BYTES, READS
from vms.sentences import say

MAX_GARBAGE_BYTES = 256 * 1024  # between two messages or frames that make sense
MAX_UNSENT_BYTES = 256 * 1024  # a peer that reads nothing is not buffered for any further

Push = Callable[[bytearray, int, int, int], object]
PushRun = Callable[[bytearray, memoryview, int, int, int, int], int]

_DOLLAR = 0x24
_STARTS = (
    b"RTSP/",
    b"OPTIONS ",
    b"GET_PARAMETER ",
    b"SET_PARAMETER ",
    b"ANNOUNCE ",
    b"REDIRECT ",
    b"TEARDOWN ",
)
_LONGEST_START = max(len(s) for s in _STARTS)


class WireOwner(Protocol):
    """Who is told what happens on the wire. Calls are synchronous and must not raise."""

    def on_message(self, message: Message) -> None:
        """A whole request or response came."""

    def on_wire_end(self, error: BaseException | None) -> None:
        """Nothing more will come, called once: None is an orderly end of the stream."""


class Opener(Protocol):
    """Connects a byte stream to a camera and hands what arrives to `wire`; the seam for tunnels."""

    async def __call__(self, url: CameraUrl, wire: RtspWire, *, pin: str, timeout: float) -> None:  # noqa: ASYNC109 - named by the caller
        """Connect within `timeout` seconds or raise SourceError."""


class RtspWire(asyncio.BufferedProtocol):
    """One end of an RTSP byte stream, reading side as a client: responses, a server's requests, `$` frames."""

    def __init__(self, owner: WireOwner) -> None:
        self.channels: list[Push | None] = [None] * 256
        self.runs: list[PushRun | None] = [None] * 256  # takes frames in a row of its channel, behind one it was pushed
        self.turn_ended: Callable[[], None] | None = None  # called when a turn's bytes are all handed out; may raise
        self.last_arrival_mono_ns = 0
        self.frames_unassigned = 0  # whole frames on channels nobody asked for
        self.garbage_bytes = 0
        self.bytes_received = 0
        self.transport: asyncio.Transport | None = None
        self._owner = owner
        self._buffer = bytearray(BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._filled = 0
        self._parser = MessageParser()
        self._garbage_in_row = 0
        self._spoke_rtsp = False
        self.ended = False  # nothing more comes and nothing can be sent
        self._closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # event loops' own classes need not derive from it

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        return self._view[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        end = self._filled + nbytes
        self.bytes_received += nbytes
        try:
            position = self._cut(end)
        except VmsError as error:
            self._filled = 0
            self.abort(error)
            return
        left = end - position
        if left and position:
            self._view[:left] = self._view[position:end]
        self._filled = left

    def read_now(self, descriptor: int, view: memoryview) -> None:
        """Take what has come on the paused transport's own socket, past the event loop (`vms.rtsp.turns`).

        `view` is of a bytearray as long as our own, lent for the call: bytes of a frame that is not whole are ours.
        """
        own = self._view
        view[: self._filled] = own[: self._filled]
        self._view, self._buffer = view, cast("bytearray", view.obj)
        try:
            self._read_all(descriptor)
            if self.turn_ended is not None and not self.ended:
                self.turn_ended()
        except VmsError as error:
            self.abort(error)
        finally:
            self._view, self._buffer = own, cast("bytearray", own.obj)
            own[: self._filled] = view[: self._filled]

    def _read_all(self, descriptor: int) -> None:
        transport = self.transport
        for _ in range(READS):
            if transport is None or self.ended:
                return
            room = self._view[self._filled :]
            try:
                nbytes = os.readv(descriptor, (room,))
            except BlockingIOError:
                return
            except OSError as error:
                self.abort(error)
                return
            if not nbytes:
                transport.close()  # the peer has; `connection_lost` says so
                return
            full = nbytes == len(room)
            self.buffer_updated(nbytes)
            if not full:
                return

    def _cut(self, end: int) -> int:
        """Hand out every whole frame and message in the first `end` bytes; the position of what is left."""
        buffer, channels, runs, parser = self._buffer, self.channels, self.runs, self._parser
        now = self.last_arrival_mono_ns = time.monotonic_ns()
        position = 0
        sense = False  # whether a frame went out since garbage was last looked at
        while position < end:
            # The common case, frame after frame. 0x24 is "$"; a literal spares a look-up.
            last_head = end - 4 if parser.idle else -1
            while position <= last_head and buffer[position] == 0x24:
                stop = position + 4 + (buffer[position + 2] << 8 | buffer[position + 3])
                push = channels[buffer[position + 1]]
                if push is not None and stop <= end:
                    push(buffer, position + 4, stop, now)
                    channel = buffer[position + 1]
                    run = runs[channel]
                    position = stop if run is None else run(buffer, self._view, stop, end, channel, now)
                    sense = True
                    continue
                after = position if push is not None else self._skip_unassigned(position, stop, end)
                if after == position:
                    return self._leave(position, sense)
                position = after
            if sense:
                sense = False
                self._garbage_in_row = 0
            before = position
            position = self._cut_slowly(position, end)
            if position == before:
                break
        return self._leave(position, sense)

    def _leave(self, position: int, sense: bool) -> int:
        if sense:
            self._garbage_in_row = 0
        return position

    def _cut_slowly(self, position: int, end: int) -> int:
        """Advance over one message or part of it, padding, or garbage. The same position: more bytes are needed."""
        parser = self._parser
        if parser.idle:
            while position < end and self._buffer[position] in b"\r\n\0 \t":
                position += 1
            if position == end or self._buffer[position] == _DOLLAR:
                return position
            head = bytes(self._buffer[position : min(end, position + _LONGEST_START)])
            if self._spoke_rtsp and not head.startswith(_STARTS):
                if any(s.startswith(head) for s in _STARTS):
                    return position  # cut off too early to be told from garbage
                return self._skip_garbage(position, end)
        position = parser.feed(self._view, position, end)
        message = parser.take()
        if message is not None:
            self._spoke_rtsp = True
            self._garbage_in_row = 0
            if not self.ended:
                self._owner.on_message(message)
        return position

    def _skip_garbage(self, position: int, end: int) -> int:
        """Go to the next place where a message or a plausible frame may begin."""
        at = position + 1
        while at < end:
            byte = self._buffer[at]
            if byte == _DOLLAR and self._plausible(at, end):
                break
            if byte == 0x52 and self._buffer.startswith(b"RTSP/"[: end - at], at, end):
                break
            at += 1
        self._count_garbage(at - position)
        return at

    def _skip_unassigned(self, position: int, stop: int, end: int) -> int:
        """Pass over a frame on a channel nobody asked for, unless it does not look like RTP: then its length lies."""
        if not self._plausible(position, end):
            return self._skip_garbage(position, end)
        if stop > end:
            return position
        self.frames_unassigned += 1
        self._count_garbage(stop - position)
        return stop

    def _plausible(self, at: int, end: int) -> bool:
        """Could a frame begin at `at`? RTP and RTCP begin with version 2, and have at least 8 bytes."""
        if end - at < 5:
            return True
        size = self._buffer[at + 2] << 8 | self._buffer[at + 3]
        return size >= 8 and self._buffer[at + 4] >> 6 == 2

    def _count_garbage(self, count: int) -> None:
        self.garbage_bytes += count
        self._garbage_in_row += count
        if self._garbage_in_row > MAX_GARBAGE_BYTES:
            raise MalformedError("RTSP stream", f"{MAX_GARBAGE_BYTES} bytes that are neither message nor media")

    def write(self, data: bytes) -> bool:
        """Send; False when the stream has ended or the peer reads too slowly, and nothing was sent."""
        transport = self.transport
        if transport is None or transport.is_closing() or transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            return False
        transport.write(data)
        return True

    def write_frame(self, channel: int, payload: bytes) -> bool:
        """Send `payload`, at most 65 535 bytes, as an interleaved frame."""
        return self.write(b"$" + bytes((channel,)) + len(payload).to_bytes(2, "big") + payload)

    def eof_received(self) -> bool:
        return False  # close our side too

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed.set()
        self._end(exc)
        # A session is full of cycles, and the collector comes late; the buffer is most of what it holds.
        self._filled, self._buffer = 0, bytearray()
        self._view = memoryview(self._buffer)

    async def wait_closed(self, seconds: float) -> None:
        """Until the stream below is gone, at most `seconds`; at once when it never was."""
        if self.transport is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._closed.wait()

    def abort(self, error: BaseException | None = None) -> None:
        """Close at once without sending what is unsent; `error` is what the owner hears."""
        self._end(error)
        if self.transport is not None:
            self.transport.abort()

    def _end(self, error: BaseException | None) -> None:
        self.channels = [None] * 256
        self.runs = [None] * 256
        if not self.ended:
            self.ended = True
            self._owner.on_wire_end(error)


async def open_tcp(url: CameraUrl, wire: RtspWire, *, pin: str, timeout: float) -> None:  # noqa: ASYNC109 - the opener's contract
    """Connect over TCP, with TLS for rtsps. `pin`: hex SHA-256 of the certificate (DER) instead of CA verification."""
    loop = asyncio.get_running_loop()
    context = tls_context(pin) if url.scheme == "rtsps" else None
    name = f"{url.host}:{url.effective_port}"
    try:
        async with asyncio.timeout(timeout):
            await loop.create_connection(
                lambda: wire,
                url.host,
                url.effective_port,
                ssl=context,
                server_hostname=url.host if context else None,
            )
    except TimeoutError as error:
        said = say("connect_timeout", camera=name, seconds=timeout)
        raise SourceError(GapReason.UNREACHABLE, said) from error
    except ConnectionRefusedError as error:
        raise SourceError(GapReason.REFUSED, say("connection_refused", camera=name)) from error
    except ssl.SSLCertVerificationError as error:
        seen = await _fingerprint(url, timeout)
        said = say("certificate_unknown", camera=name, pin=seen) if seen else say("certificate_refused", camera=name)
        raise SourceError(GapReason.REFUSED, said.noted(printable(error.verify_message or "", 80))) from error
    except ssl.SSLError as error:
        said = say("tls_failed", camera=name).noted(printable(error.reason or "", 60))
        raise SourceError(GapReason.REFUSED, said) from error
    except (OSError, UnicodeError) as error:
        code = "host_unknown" if isinstance(error, (socket.gaierror, UnicodeError)) else "no_connection"
        problem = printable(getattr(error, "strerror", None) or type(error).__name__, 80)
        raise SourceError(GapReason.UNREACHABLE, say(code, camera=name).noted(problem)) from error
    if pin:
        _check_pin(wire, pin, name)


def tls_context(pin: str) -> ssl.SSLContext:
    """TLS 1.2 or newer; verified by the system's authorities, or not at all when a pin will be compared."""
    context = ssl.create_default_context()
    if pin:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _check_pin(wire: RtspWire, pin: str, name: str) -> None:
    tls = wire.transport.get_extra_info("ssl_object") if wire.transport else None
    if tls is None:
        return  # rtsp: there is no certificate to compare
    seen = hashlib.sha256(tls.getpeercert(binary_form=True) or b"").hexdigest()
    wanted = pin.replace(":", "").replace(" ", "").lower()
    if not hmac.compare_digest(seen.encode(), wanted.encode()):
        error = SourceError(GapReason.REFUSED, say("certificate_changed", camera=name, pin=seen))
        wire.abort(error)
        raise error


async def _fingerprint(url: CameraUrl, timeout: float) -> str:  # noqa: ASYNC109 - the opener's contract
    """SHA-256 of the certificate the server shows, in hex; empty when it cannot be had. Sends nothing."""
    try:
        async with asyncio.timeout(timeout):
            _, writer = await asyncio.open_connection(url.host, url.effective_port, ssl=tls_context("any"))
    except (OSError, TimeoutError):
        return ""
    tls = writer.get_extra_info("ssl_object")
    writer.transport.abort()
    return hashlib.sha256(tls.getpeercert(binary_form=True) or b"").hexdigest() if tls else ""
