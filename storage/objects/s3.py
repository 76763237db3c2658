"""The object store in a bucket of any S3 server that keeps create-only puts and checksums (see `check`).

Owns the bucket's calls: puts, HEAD and ranged GET go over `s3_wire` (measured: a put of 30 MB costs this side a quarter
of the SDK's `put_object`), listings, versions, deletions and the bucket itself through the `minio` SDK. All of it
blocks, so it runs in a small pool of threads of this store; the event loop only waits.

Invariants: a put is `If-None-Match: *` with the segment's own digest as signed payload hash and signed
`x-amz-checksum-sha256`, so the server refuses a second write and other bytes; every call ends within a deadline that
follows from its size; credentials never leave this package.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import os
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TypeVar

import urllib3
from minio import Minio

from storage.objects import s3_wire
from storage.objects.base import ObjectInfo, check_key, check_prefix, check_put, check_range, probe
from storage.objects.s3_errors import FOREIGN, code_in, refused, translated
from storage.objects.s3_wire import Answer, Body, Call, Request, S3Location, Wire
from vms.errors import DigestMismatch, ObjectExists, ObjectMissing, StoreDenied, StoreUnavailable, UserError

THREADS = 8
STREAMS = 32  # GETs open at once; more wait
LIST_PAGE = 1000
CALL_DEADLINE_S = 90.0  # a call without a body, waiting for a thread included
SLOWEST_BYTES_PER_S = 500_000  # a body slower than this is given up

T = TypeVar("T")


class S3Store:
    """An `ObjectStore` in one bucket. Make it inside or outside of the event loop; use it on one loop."""

    def __init__(self, location: S3Location) -> None:
        self._location = location
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="s3")
        self._wire = Wire(location, keep=THREADS)
        self._sdk = _sdk(location)
        self._streams = asyncio.Semaphore(STREAMS)
        self._calls: set[Call] = set()
        self._closed = False

    @property
    def name(self) -> str:
        return f"{self._location.endpoint.rstrip('/')}/{self._location.bucket}"

    def __repr__(self) -> str:
        return f"S3Store({self.name!r})"

    async def put(self, key: str, source: Path | bytes, *, digest: bytes, size_bytes: int) -> ObjectInfo:
        check_put(digest, size_bytes)
        call = Call()
        headers = {
            "Content-Type": "video/mp4" if key.endswith(".mp4") else "application/octet-stream",
            "If-None-Match": "*",
            "x-amz-checksum-sha256": base64.b64encode(digest).decode(),
        }
        path = self._path(key)

        def send() -> Answer:
            fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC) if isinstance(source, Path) else None
            try:
                real = os.fstat(fd).st_size if fd is not None else len(source)  # type: ignore[arg-type]
                if real != size_bytes:
                    raise DigestMismatch(f"{key}: what was given has {real} bytes, not {size_bytes}")
                body = Body(fd if fd is not None else source, size_bytes, digest)  # type: ignore[arg-type]
                return self._foreign(
                    f"put {key}", lambda: self._wire.exchange(call, Request("PUT", path, headers, body))
                )
            finally:
                if fd is not None:
                    os.close(fd)

        try:
            answer = await self._run(f"put {key}", send, call, size_bytes)
        except StoreUnavailable as error:
            # A server may refuse a taken key so early that its answer is lost with the broken connection.
            lost = isinstance(error.__cause__, ConnectionError) and not isinstance(
                error.__cause__, ConnectionRefusedError
            )
            if not lost or not await self._taken(key):
                raise
            raise ObjectExists(f"{self.name}: {key} is taken") from error
        self._require(answer, (200, 201, 204), f"put {key}")
        return ObjectInfo(key, size_bytes, digest, answer.headers.get("x-amz-version-id"))

    async def head(self, key: str) -> ObjectInfo:
        call, path = Call(), self._path(key)
        headers = {"x-amz-checksum-mode": "ENABLED"}
        answer = await self._exchange(f"head {key}", call, Request("HEAD", path, headers))
        self._require(answer, (200,), f"head {key}")
        size = answer.headers.get("content-length", "")
        if not (size.isascii() and size.isdigit()):
            raise StoreUnavailable(f"{self.name}: head {key}: the answer states no size")
        version = answer.headers.get("x-amz-version-id")
        return ObjectInfo(key, int(size), _digest_in(answer.headers.get("x-amz-checksum-sha256", "")), version)

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        check_range(offset, length)
        async with self._streams:
            call, what = Call(), f"get {key}"
            answer = await self._open(call, key, offset, length)
            try:
                while piece := await self._run(
                    what, lambda: self._foreign(what, lambda: self._wire.block(answer)), call
                ):
                    yield piece
            finally:
                self._wire.leave(answer)

    async def read(self, key: str, offset: int, length: int) -> bytes:
        check_range(offset, length)
        call, what = Call(), f"get {key}"
        answer = await self._open(call, key, offset, length)

        def collect() -> bytes:
            return b"".join(iter(lambda: self._wire.block(answer), b""))

        try:
            return await self._run(what, lambda: self._foreign(what, collect), call, length)
        finally:
            self._wire.leave(answer)

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        found = self._sdk.list_objects(self._location.bucket, check_prefix(prefix), recursive=True)
        while page := await self._sdk_call(f"list {prefix}", lambda: tuple(islice(found, LIST_PAGE))):
            for item in page:
                if item.object_name and item.size is not None and not item.is_dir:
                    yield ObjectInfo(item.object_name, item.size)

    async def delete(self, key: str) -> None:
        check_key(key)
        await self._sdk_call(f"delete {key}", lambda: self._delete(key))

    async def check(self, *, make: bool = True) -> None:
        await self._sdk_call("list the bucket", lambda: self._find_bucket(make=make))
        await probe(self)

    async def close(self) -> None:
        self._closed = True
        for call in list(self._calls):
            call.abort()
        self._wire.close()
        await asyncio.to_thread(self._threads.shutdown, wait=True, cancel_futures=True)

    # -- requests -------------------------------------------------------------------------------------------------

    def _path(self, key: str) -> str:
        return f"/{self._location.bucket}/{check_key(key)}"

    async def _open(self, call: Call, key: str, offset: int, length: int | None) -> Answer:
        end = "" if length is None else str(offset + length - 1)
        headers = {"Range": f"bytes={offset}-{end}"} if offset or length is not None else {}
        answer = await self._exchange(f"get {key}", call, Request("GET", self._path(key), headers))
        if answer.status == 416:  # the range begins at or beyond the end
            return answer
        self._require(answer, (206,) if headers else (200,), f"get {key}")
        return answer

    async def _exchange(self, what: str, call: Call, request: Request) -> Answer:
        return await self._run(what, lambda: self._foreign(what, lambda: self._wire.exchange(call, request)), call)

    async def _taken(self, key: str) -> bool:
        try:
            await self.head(key)
        except ObjectMissing:
            return False
        return True

    def _require(self, answer: Answer, wanted: tuple[int, ...], what: str) -> None:
        if answer.status not in wanted:
            self._wire.leave(answer)
            raise refused(answer.status, code_in(answer.body), self.name, what)

    def _foreign(self, what: str, action: Callable[[], T]) -> T:
        """Run `action` in a thread and turn what the wire or the SDK raises into the house's errors."""
        try:
            return action()
        except FOREIGN as error:
            raise translated(error, self.name, what) from error

    async def _sdk_call(self, what: str, action: Callable[[], T]) -> T:
        return await self._run(what, lambda: self._foreign(what, action), Call())

    async def _run(self, what: str, action: Callable[[], T], call: Call, size_bytes: int = 0) -> T:
        """`action` in a thread of this store, broken off at the deadline or when the caller is cancelled."""
        if self._closed:
            raise StoreUnavailable(f"{self.name}: {what}: the store was closed")
        future = asyncio.get_running_loop().run_in_executor(self._threads, action)
        future.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may be left to hear it
        self._calls.add(call)
        try:
            async with asyncio.timeout(CALL_DEADLINE_S + size_bytes / SLOWEST_BYTES_PER_S):
                return await asyncio.shield(future)
        except TimeoutError as error:
            raise StoreUnavailable(f"{self.name}: {what}: no answer in time") from error
        except asyncio.CancelledError as error:
            if future.cancelled():  # by `close`, not our caller
                raise StoreUnavailable(f"{self.name}: {what}: the store was closed") from error
            raise
        finally:
            self._calls.discard(call)
            if not future.done():
                call.abort()
                future.cancel()

    # -- through the SDK, in a thread -----------------------------------------------------------------------------

    def _find_bucket(self, *, make: bool) -> None:
        bucket = self._location.bucket
        try:
            # A listing, not HEAD: its refusal says in words what is wrong with the credentials.
            next(iter(self._sdk.list_objects(bucket, "probes/", recursive=True)), None)
        except FOREIGN as error:
            if getattr(error, "code", "") != "NoSuchBucket":
                raise
            if not make:
                raise StoreUnavailable(f"{self.name} has no bucket {bucket}, in which footage was stored") from error
            try:
                self._sdk.make_bucket(bucket, self._location.region)
            except FOREIGN as creation:
                if getattr(creation, "code", "") == "BucketAlreadyOwnedByYou":
                    return
                if getattr(creation, "code", "") == "AccessDenied":
                    raise StoreDenied(
                        f"{self.name}: there is no bucket {bucket}, and these credentials may not create it; "
                        "create it on the store"
                    ) from creation
                raise

    def _delete(self, key: str) -> None:
        """Every version and marker by its id; then look, because only an empty answer proves it."""
        for version in self._versions(key):
            self._sdk.remove_object(self._location.bucket, key, version_id=version)
        if self._versions(key):
            raise StoreDenied(
                f"{self.name}: {key} is still there after its deletion; look for an object lock, or for another writer"
            )

    def _versions(self, key: str) -> Sequence[str | None]:
        found = self._sdk.list_objects(self._location.bucket, key, recursive=True, include_version=True)
        return [o.version_id for o in found if o.object_name == key]


def _sdk(location: S3Location) -> Minio:
    timeout = urllib3.Timeout(connect=s3_wire.CONNECT_TIMEOUT_S, read=s3_wire.STEP_TIMEOUT_S)
    # One, for a kept connection that died.
    retries = urllib3.Retry(1, connect=0, redirect=0, status=0, other=0, allowed_methods=None)
    try:
        return Minio(
            location.netloc,
            access_key=location.access_key,
            secret_key=location.secret_key,
            secure=location.secure,
            region=location.region,
            http_client=urllib3.PoolManager(
                maxsize=THREADS,
                timeout=timeout,
                retries=retries,
                ssl_context=s3_wire.tls_context(location),
            ),
        )
    except ValueError as error:
        raise UserError(f"The store's endpoint {location.endpoint!r} cannot be used: {error}") from error


def _digest_in(header: str) -> bytes | None:
    """The SHA-256 of a checksum header; None if absent or a composite of parts ("…-7"), which is no digest of bytes."""
    try:
        digest = base64.b64decode(header, validate=True)
    except (binascii.Error, ValueError):
        return None
    return digest if len(digest) == 32 else None
