"""Fuzz target: what an S3 server answers, through our wire and through the SDK's listing. First byte: what was asked.

The bytes stand for the whole HTTP answer, or for the body of a listing. Only the house's errors may come of it.
"""

from __future__ import annotations

import http.client
import io
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from minio.datatypes import parse_list_objects

from storage.objects import s3_wire
from storage.objects.s3 import S3Store, _digest_in
from storage.objects.s3_errors import code_in, refused
from storage.objects.s3_wire import Answer, Body, Call, Request, S3Location
from vms.errors import StoreError

_LOCATION = S3Location("http://127.0.0.1:9", "nagrania", "klucz", "tajne")
_STORE = S3Store(_LOCATION)


class _Socket:
    """Says what it is told to, and takes everything."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str, *_: Any, **__: Any) -> io.BytesIO:
        return io.BytesIO(self._data)

    def sendall(self, *_: Any) -> None:
        """Is glad of it."""

    settimeout = close = shutdown = sendall


class _Wire(s3_wire.Wire):
    """A wire whose every connection leads to `answer`."""

    answer = b""

    def _connection(self) -> tuple[http.client.HTTPConnection, bool]:
        connection = http.client.HTTPConnection("127.0.0.1", 9)
        connection.sock = _Socket(self.answer)  # type: ignore[assignment]
        return connection, True


_WIRE = _Wire(_LOCATION, 0)


def _expect(action: Callable[[], Any]) -> Any:
    """Its result, or None for an error of the house."""
    try:
        return _STORE._foreign("ask", action)
    except StoreError as error:
        assert "tajne" not in str(error)
        return None


def fuzz(data: bytes) -> None:
    if not data:
        return
    kind, _WIRE.answer = data[0] % 4, data[1:]
    if kind == 3:
        _expect(lambda: [o.size for o in parse_list_objects(SimpleNamespace(data=data[1:]))[0]])  # type: ignore[arg-type]
        return
    body = Body(b"abc", 3, bytes(32)) if kind == 1 else None
    request = Request(("GET", "PUT", "HEAD")[kind], "/nagrania/x", {}, body)
    answer: Answer | None = _expect(lambda: _WIRE.exchange(Call(), request))
    if answer is None:
        return
    assert len(answer.body) <= s3_wire.ERROR_BODY_BYTES
    taken = 0
    while piece := _expect(lambda: _WIRE.block(answer)):
        taken += len(piece)
    assert taken <= len(data)
    _WIRE.leave(answer)
    _digest_in(answer.headers.get("x-amz-checksum-sha256", ""))
    refused(answer.status, code_in(answer.body), "store", "ask")


def seeds() -> list[bytes]:
    error = b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>"
    listing = (
        b'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>nagrania</Name>'
        b"<IsTruncated>false</IsTruncated><Contents><Key>a</Key><Size>3</Size><ETag>&quot;x&quot;</ETag>"
        b"<LastModified>2026-11-20T10:00:00.000Z</LastModified></Contents></ListBucketResult>"
    )
    digest = b"x-amz-checksum-sha256: 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\r\n"
    return [
        b"\0HTTP/1.1 206 Partial\r\nContent-Length: 3\r\n\r\nabc",
        b"\0HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n" % len(error) + error,
        b"\0HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"\1HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nETag: x\r\n" + digest + b"\r\n",
        b"\2HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n" + digest + b"\r\n",
        b"\3" + listing,
    ]
