"""Signed S3 requests over kept connections: what the SDK cannot do, or does at several times the cost.

Owns `S3Location`, the pool of HTTP/1.1 connections and the blocking exchange of one request. Calls run in threads of
the caller; a `Call` lets the event loop break one off. Signing is the SDK's (`minio.signer.sign_v4_s3`); the payload's
hash is the digest the caller already has, so a body is hashed by nobody here and leaves by `sendfile` on plain HTTP.

Invariants: every wait on the network ends within `STEP_TIMEOUT_S`; a connection goes back to the pool only after its
answer was read to the end; nothing raised from here carries a header.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import select
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from urllib.parse import SplitResult, urlsplit

from minio.credentials.credentials import Credentials
from minio.helpers import DictType
from minio.signer import sign_v4_s3

from storage.objects.base import BLOCK_BYTES
from vms.errors import UserError

CONNECT_TIMEOUT_S = 5.0
STEP_TIMEOUT_S = 30.0  # one send or receive; SeaweedFS needs up to 24 s to come back after a crash
IDLE_S = 20.0  # connections unused for longer are not trusted: servers and firewalls drop them silently
ERROR_BODY_BYTES = 64 * 1024  # of an error document, at most; what is longer is not read
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class S3Location:
    """Where a bucket is and with which credentials. `repr` shows none of them.

    `endpoint` is `http://host[:port]` or `https://host[:port]`; addressing is always path-style. `ca_file`: PEM of the
    certificate authority for https; None: the system's. Raises `UserError` for what cannot be an S3 location.
    """

    endpoint: str
    bucket: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    region: str = "us-east-1"
    ca_file: Path | None = None

    def __post_init__(self) -> None:
        try:
            url = urlsplit(self.endpoint)
            port_fits = url.port is None or url.port > 0
        except ValueError:
            raise UserError("The store's endpoint is not a URL; write it as https://host:port.") from None
        if url.username is not None or url.password is not None:
            raise UserError("The store's endpoint must not hold credentials; give them as access key and secret key.")
        plain = url.scheme in ("http", "https") and url.hostname and port_fits
        if not plain or url.path not in ("", "/") or url.query or url.fragment:
            raise UserError(
                f"The store's endpoint {self.endpoint!r} is not http(s)://host[:port] and nothing after it."
            )
        if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", self.bucket):
            raise UserError(
                f"{self.bucket!r} is not a bucket name: 3 to 63 lower-case letters, digits, dots and hyphens."
            )
        if not self.access_key or not self.secret_key:
            raise UserError("The store needs an access key and a secret key; set both in the settings.")

    @property
    def secure(self) -> bool:
        return self.endpoint.startswith("https:")

    @property
    def netloc(self) -> str:
        return urlsplit(self.endpoint).netloc


def tls_context(location: S3Location) -> ssl.SSLContext | None:
    """Trust for https, None for plain HTTP. Raises `UserError` for a CA file that cannot be used."""
    if not location.secure:
        return None
    try:
        return ssl.create_default_context(cafile=location.ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise UserError(f"The store's CA file {location.ca_file} cannot be used: {error.strerror}.") from error


@dataclass(frozen=True, slots=True)
class Body:
    """What a put sends: `size_bytes` bytes of an open regular file, or bytes."""

    source: int | bytes
    size_bytes: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked. `path` is the bucket's and the key, which need no quoting."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Body | None = None


class Call:
    """One exchange under way, so that another thread can break it off."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._aborted = False

    def use(self, connected: socket.socket) -> None:
        """From now on `abort` breaks this socket."""
        with self._lock:
            self._socket = connected
            if self._aborted:
                raise ConnectionAbortedError("broken off")

    def abort(self) -> None:
        with self._lock:
            self._aborted = True
            if self._socket is not None:
                try:
                    self._socket.shutdown(socket.SHUT_RDWR)
                except OSError:
                    return  # already gone


@dataclass(slots=True)
class Answer:
    """Status and headers (lower case). `body` holds an error's document; a success of GET is read with `Wire.block`."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    left_bytes: int = 0  # of a GET's body, not yet read
    response: http.client.HTTPResponse | None = None
    connection: http.client.HTTPConnection | None = None


class _Lines:
    """A file that remembers the last line it gave."""

    def __init__(self, file: Any) -> None:
        self.file, self.last = file, b""

    def readline(self, limit: int = -1) -> bytes:
        self.last = self.file.readline(limit)
        return self.last

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


class _WholeHead(http.client.HTTPResponse):
    """An answer whose head came to its end.

    `http.client` takes what came before a connection broke for all of it: a size without its last digits for the size,
    a digest that did not come for none.
    """

    def begin(self) -> None:
        this = cast("Any", self)
        lines = this.fp = _Lines(self.fp)
        super().begin()
        if this.fp is lines:
            this.fp = lines.file
        if lines.last not in (b"\r\n", b"\n"):
            self.close()
            raise ConnectionResetError("the head of the answer broke off")


class Wire:
    """Keeps at most `keep` idle connections to one endpoint. Thread-safe; every method blocks."""

    def __init__(self, location: S3Location, keep: int) -> None:
        self._location = location
        self._credentials = Credentials(location.access_key, location.secret_key)
        self._keep = keep
        self._lock = threading.Lock()
        self._idle: list[tuple[http.client.HTTPConnection, float]] = []  # and when it was last used; the newest last
        self._closed = False
        self._tls = tls_context(location)

    def exchange(self, call: Call, request: Request) -> Answer:
        """Send one request and read its answer, for GET up to the body.

        A kept connection that turns out dead is replaced once: every request made here may be repeated. Raises what
        `s3_errors.FOREIGN` lists.
        """
        while True:
            connection, fresh = self._connection()
            try:
                return self._attempt(call, connection, request)
            except (ConnectionError, ssl.SSLEOFError, http.client.BadStatusLine):
                connection.close()
                if fresh:
                    raise
            except BaseException:
                connection.close()
                raise

    def block(self, answer: Answer) -> bytes:
        """The next piece of a GET's body, b"" at its end. Raises `ConnectionError` when it breaks off."""
        if not answer.left_bytes or answer.response is None:
            return b""
        piece = answer.response.read(min(BLOCK_BYTES, answer.left_bytes))
        if not piece:
            raise ConnectionResetError("the body broke off")
        answer.left_bytes -= len(piece)
        if not answer.left_bytes and answer.connection is not None:
            self._keep_open(answer.connection, answer.response)
            answer.connection = None
        return piece

    def leave(self, answer: Answer) -> None:
        """Give up a body that was not read to its end."""
        if answer.connection is not None:
            answer.connection.close()
            answer.connection = None

    def close(self) -> None:
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection, _ in idle:
            connection.close()

    def _attempt(self, call: Call, connection: http.client.HTTPConnection, request: Request) -> Answer:
        method, body = request.method, request.body
        if connection.sock is None:
            connection.connect()
        sock: socket.socket = connection.sock
        sock.settimeout(STEP_TIMEOUT_S)
        call.use(sock)
        connection.putrequest(method, request.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self._signed(request).items():
            connection.putheader(name, value)
        unsent = True
        try:
            connection.endheaders()
            if body is not None:
                _send(sock, body)
            unsent = False
            response = connection.getresponse()
        except (ConnectionError, ssl.SSLEOFError) as error:
            if not unsent or body is None:
                raise
            # A server that refuses early closes early; its answer may stand in our receive buffer all the same.
            try:
                response = connection.getresponse()
            except ssl.SSLError:
                raise ConnectionResetError("closed while it was sent to") from error
        return self._answer(connection, response, method, reusable=not unsent)

    def _answer(
        self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse, method: str, *, reusable: bool
    ) -> Answer:
        answer = Answer(response.status, {name.lower(): value for name, value in response.getheaders()})
        if method == "GET" and response.status in (200, 206):
            if response.length is None:
                raise http.client.HTTPException("a body without a length")
            answer.response, answer.left_bytes = response, response.length
            if answer.left_bytes:
                answer.connection = connection
                return answer
        else:
            answer.body = response.read(ERROR_BODY_BYTES)
        response.read(0)  # closes a response whose end has been reached
        if reusable and response.isclosed():
            self._keep_open(connection, response)
        else:
            connection.close()
        return answer

    def _signed(self, request: Request) -> dict[str, str]:
        body = request.body
        now = datetime.now(UTC)
        content_sha256 = body.digest.hex() if body is not None else EMPTY_SHA256
        signed = {
            "Host": self._location.netloc,
            "x-amz-date": now.strftime("%Y%m%dT%H%M%SZ"),
            "x-amz-content-sha256": content_sha256,
            **request.headers,
        }
        if body is not None:
            signed["Content-Length"] = str(body.size_bytes)
        url = SplitResult("https" if self._location.secure else "http", self._location.netloc, request.path, "", "")
        # It adds the Authorization header to the dictionary it is given.
        sign_v4_s3(
            method=request.method,
            url=url,
            region=self._location.region,
            headers=cast("DictType", signed),
            credentials=self._credentials,
            content_sha256=content_sha256,
            date=now,
        )
        return signed

    def _connection(self) -> tuple[http.client.HTTPConnection, bool]:
        """A kept connection that still looks alive, or a new one (True), not yet connected."""
        while True:
            with self._lock:
                if self._closed:
                    raise ConnectionAbortedError("the store was closed")
                kept = self._idle.pop() if self._idle else None
            if kept is None:
                break
            connection, last_used = kept
            if time.monotonic() - last_used < IDLE_S and not _readable(connection.sock):
                return connection, False
            connection.close()
        url = urlsplit(self._location.endpoint)
        host = url.hostname or ""
        if self._tls is not None:
            new: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, url.port, timeout=CONNECT_TIMEOUT_S, context=self._tls
            )
        else:
            new = http.client.HTTPConnection(host, url.port, timeout=CONNECT_TIMEOUT_S)
        new.response_class = _WholeHead
        return new, True

    def _keep_open(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        response.close()
        with self._lock:
            if not self._closed and connection.sock is not None and len(self._idle) < self._keep:
                self._idle.append((connection, time.monotonic()))
                return
        connection.close()


def _readable(sock: socket.socket | None) -> bool:
    """Whether an idle connection has something to say: only its end, so it is of no more use."""
    if sock is None:
        return True
    waiting = select.poll()  # select() itself cannot watch descriptors above 1023
    waiting.register(sock, select.POLLIN)
    return bool(waiting.poll(0))


def _send(sock: socket.socket, body: Body) -> None:
    """Bytes go as they are; a file by `sendfile`, or in blocks where TLS must see them."""
    if isinstance(body.source, bytes):
        sock.sendall(body.source)
        return
    if isinstance(sock, ssl.SSLSocket):
        buffer = memoryview(bytearray(BLOCK_BYTES))
        offset = 0
        while offset < body.size_bytes:
            count = os.preadv(body.source, [buffer[: body.size_bytes - offset]], offset)
            if not count:
                raise http.client.HTTPException("the file to send has shrunk")
            sock.sendall(buffer[:count])
            offset += count
        return
    with open(body.source, "rb", buffering=0, closefd=False) as file:
        file.seek(0)
        if body.size_bytes and sock.sendfile(file, 0, body.size_bytes) != body.size_bytes:
            raise http.client.HTTPException("the file to send has shrunk")
