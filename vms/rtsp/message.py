"""RTSP 1.0 messages (RFC 2326 §4 to §7): values, a serialiser, and an incremental parser that is bounded in memory.

Owns the text of requests and responses, both directions. Does not own sockets, interleaved `$` frames (a transport
looks at the first byte while the parser is idle), sequence numbers or authentication.

Invariants: header text is UTF-8 with bytes that are not UTF-8 kept by `surrogateescape`, so that what came can be
echoed and hashed bit for bit, but for a CR or NUL inside of a line, which is read as a space (RFC 9112 §2.2), so that
whatever was parsed can be sent on; a message is never parsed from more than MAX_HEADER_BYTES of header and MAX_BODY_BYTES
of body; `encode` never lets a value bring its own line break.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from vms.errors import MalformedError

MAX_HEADER_BYTES = 64 * 1024  # start line, headers and line ends of one message
MAX_HEADERS = 256
MAX_BODY_BYTES = 1024 * 1024

REASONS: Mapping[int, str] = {
    100: "Continue",
    200: "OK",
    301: "Moved Permanently",
    302: "Moved Temporarily",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    408: "Request Timeout",
    413: "Request Entity Too Large",
    451: "Parameter Not Understood",
    453: "Not Enough Bandwidth",
    454: "Session Not Found",
    455: "Method Not Valid in This State",
    457: "Invalid Range",
    459: "Aggregate Operation Not Allowed",
    461: "Unsupported Transport",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "RTSP Version Not Supported",
}

_RESPONSE_LINE = re.compile(r"RTSP/([0-9]\.[0-9])[ \t]+([1-9][0-9]{2})(?:[ \t]+(.*))?")
_REQUEST_LINE = re.compile(r"([A-Z][A-Z_]{2,31})[ \t]+(\S+)[ \t]+RTSP/([0-9]\.[0-9])[ \t]*")
_PADDING = frozenset(b"\r\n\0 \t")
_NO_BREAKS = bytes.maketrans(b"\r\0", b"  ")


def printable(text: str, limit: int = 120) -> str:
    """`text` from outside made safe for a message or a log: one line, ASCII control and stray bytes shown as `?`."""
    shown = "".join(c if c.isprintable() and not "\ud800" <= c <= "\udfff" else "?" for c in text[: limit + 1])
    return shown if len(text) <= limit else shown[:limit] + "…"


@dataclass(frozen=True, slots=True)
class Headers:
    """Header fields in order. Names compare without case; a name may come more than once (`WWW-Authenticate`)."""

    items: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, *pairs: tuple[str, str] | None) -> Headers:
        """Headers from pairs; None is left out, so that an optional header can stand in line."""
        return cls(tuple(p for p in pairs if p is not None))

    def get(self, name: str, default: str = "") -> str:
        """The first value of `name`, or `default`."""
        lower = name.lower()
        return next((v for n, v in self.items if n.lower() == lower), default)

    def get_all(self, name: str) -> list[str]:
        lower = name.lower()
        return [v for n, v in self.items if n.lower() == lower]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and any(n.lower() == name.lower() for n, _ in self.items)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def plus(self, *pairs: tuple[str, str]) -> Headers:
        """These and `pairs` after them."""
        return Headers(self.items + pairs)


@dataclass(frozen=True, slots=True)
class Request:
    """A request. `encode` adds Content-Length when there is a body. The body and secrets in headers stay out of `repr`."""

    method: str
    uri: str
    headers: Headers = field(default=Headers(), repr=False)
    body: bytes = field(default=b"", repr=False)
    version: str = "1.0"

    @property
    def cseq(self) -> int | None:
        return _cseq(self.headers)

    def encode(self) -> bytes:
        """The bytes on the wire. ValueError when a value holds a line break (it would become a header of its own)."""
        return _encode(f"{self.method} {self.uri} RTSP/{self.version}", self.headers, self.body)


@dataclass(frozen=True, slots=True)
class Response:
    """A response; `reason` is the server's phrase, `Response.to` builds the answer to a request."""

    status: int
    reason: str = ""
    headers: Headers = field(default=Headers(), repr=False)
    body: bytes = field(default=b"", repr=False)
    version: str = "1.0"

    @classmethod
    def to(cls, request: Request, status: int, *pairs: tuple[str, str], body: bytes = b"") -> Response:
        """The answer to `request`: its CSeq echoed as it came, the standard phrase, then `pairs`."""
        cseq = request.headers.get("CSeq")
        head = (("CSeq", cseq),) if cseq else ()
        return cls(status, REASONS.get(status, ""), Headers(head + pairs), body)

    @property
    def cseq(self) -> int | None:
        return _cseq(self.headers)

    def encode(self) -> bytes:
        """The bytes on the wire. ValueError when a value holds a line break."""
        return _encode(f"RTSP/{self.version} {self.status} {self.reason}", self.headers, self.body)


Message = Request | Response


class MessageParser:
    """Takes bytes as they come and gives messages, one at a time.

    `feed` never keeps a reference to the buffer. After MalformedError the parser must not be used again: where the
    next message begins is not known. CR, LF, NUL, space and tab between messages are skipped. Lines end with CRLF or
    LF; a header line without a colon is ignored; a line that begins with white space goes on the one before.
    """

    def __init__(self) -> None:
        self._head = bytearray()
        self._body = bytearray()
        self._body_left = 0
        self._start: Message | None = None
        self._done: Message | None = None
        self._scanned = 0
        self._start_checked = False

    @property
    def idle(self) -> bool:
        """Between messages: nothing of the next one has come, so a `$` here begins an interleaved frame."""
        return not self._head and self._start is None

    def feed(self, data: bytes | bytearray | memoryview, start: int = 0, end: int | None = None) -> int:
        """Take from `data[start:end]` up to the end of one message; the position after what was taken.

        `take()` gives the message once it is whole; the caller feeds the rest after that. Between messages this
        returns in front of a `$`, having taken the padding before it.
        """
        end = len(data) if end is None else end
        if self._done is not None:
            return start
        position = start
        if self.idle:
            while position < end and data[position] in _PADDING:
                position += 1
            if position == end or data[position] == 0x24:
                return position
        if self._start is None:
            position = self._feed_head(data, position, end)
        if self._start is not None:
            wanted = min(self._body_left, end - position)
            self._body += data[position : position + wanted]
            self._body_left -= wanted
            position += wanted
            if not self._body_left:
                self._finish()
        return position

    def take(self) -> Message | None:
        """The message that is whole, once; None while there is none."""
        done, self._done = self._done, None
        return done

    def _feed_head(self, data: bytes | bytearray | memoryview, position: int, end: int) -> int:
        """Take header bytes; sets `_start` when the empty line has come. The position after what was taken."""
        before = len(self._head)
        self._head += data[position : min(end, position + MAX_HEADER_BYTES + 1 - before)]
        stop = _end_of_head(self._head, max(0, self._scanned - 2))
        if stop < 0:
            if len(self._head) > MAX_HEADER_BYTES:
                raise MalformedError("RTSP header", f"longer than {MAX_HEADER_BYTES} bytes")
            self._scanned = len(self._head)
            self._refuse_early()
            return position + len(self._head) - before
        if stop > MAX_HEADER_BYTES:
            raise MalformedError("RTSP header", f"longer than {MAX_HEADER_BYTES} bytes")
        self._start = _parse_head(bytes(self._head[:stop]))
        self._body_left = _content_length(self._start.headers)
        self._head.clear()
        self._scanned = 0
        self._start_checked = False
        return position + stop - before

    def _refuse_early(self) -> None:
        """A start line that is none is refused when it is whole, not when an empty line comes some day."""
        line_end = -1 if self._start_checked else self._head.find(b"\n")
        if line_end >= 0:
            _parse_start(bytes(self._head[:line_end]), Headers())
            self._start_checked = True

    def _finish(self) -> None:
        start, body = self._start, bytes(self._body)
        self._start, self._body = None, bytearray()
        if isinstance(start, Request):
            self._done = Request(start.method, start.uri, start.headers, body, start.version)
        elif start is not None:
            self._done = Response(start.status, start.reason, start.headers, body, start.version)


def parse_message(data: bytes) -> Message:
    """One whole message that is all of `data`. MalformedError when it is not."""
    parser = MessageParser()
    taken = parser.feed(data)
    message = parser.take()
    if message is None or taken != len(data):
        raise MalformedError("RTSP message", "not whole" if message is None else "bytes after its end", taken)
    return message


def _end_of_head(head: bytearray, since: int) -> int:
    """Position after the empty line, or -1. Both CRLF and LF end lines, also mixed."""
    at = head.find(b"\n", since)
    while at >= 0:
        if head.startswith(b"\n", at + 1):
            return at + 2
        if head.startswith(b"\r\n", at + 1):
            return at + 3
        at = head.find(b"\n", at + 1)
    return -1


def _parse_head(head: bytes) -> Message:
    first, *lines = head.split(b"\n")
    pairs: list[tuple[str, str]] = []
    for raw in lines:
        line = _text(raw)
        if not line.strip():
            continue
        if line[0] in " \t" and pairs:
            name, value = pairs[-1]
            pairs[-1] = (name, f"{value} {line.strip()}")
            continue
        name, colon, value = line.partition(":")
        if colon and name.strip():
            pairs.append((name.strip(), value.strip()))
        if len(pairs) > MAX_HEADERS:
            raise MalformedError("RTSP header", f"more than {MAX_HEADERS} fields")
    return _parse_start(first, Headers(tuple(pairs)))


def _text(line: bytes) -> str:
    """A line of the head without its end."""
    return line.rstrip(b"\r").translate(_NO_BREAKS).decode("utf-8", "surrogateescape")


def _parse_start(raw: bytes, headers: Headers) -> Message:
    line = _text(raw)
    if match := _RESPONSE_LINE.fullmatch(line):
        return Response(int(match[2]), (match[3] or "").strip(), headers, b"", match[1])
    if match := _REQUEST_LINE.fullmatch(line):
        return Request(match[1], match[2], headers, b"", match[3])
    raise MalformedError("RTSP start line", f"not RTSP: “{printable(line, 60)}”")


def _content_length(headers: Headers) -> int:
    lengths = {v.strip() for v in headers.get_all("Content-Length")}
    if not lengths:
        return 0
    text = lengths.pop()
    if lengths or not text.isascii() or not text.isdigit():
        raise MalformedError("RTSP Content-Length", f"not one number: “{printable(text, 40)}”")
    if len(text) > 9 or int(text) > MAX_BODY_BYTES:
        raise MalformedError("RTSP Content-Length", f"{printable(text, 24)} is more than {MAX_BODY_BYTES} bytes")
    return int(text)


def _cseq(headers: Headers) -> int | None:
    text = headers.get("CSeq").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else None


def _encode(start: str, headers: Iterable[tuple[str, str]], body: bytes) -> bytes:
    pairs = [(n, v) for n, v in headers if not (body and n.lower() == "content-length")]
    if body:
        pairs.append(("Content-Length", str(len(body))))
    lines = [start, *(f"{n}: {v}" for n, v in pairs)]
    for line in lines:
        if "\r" in line or "\n" in line or "\0" in line:
            raise ValueError(f"line break in RTSP {printable(line.split(':', 1)[0], 60)}")
    return "\r\n".join((*lines, "", "")).encode("utf-8", "surrogateescape") + body
