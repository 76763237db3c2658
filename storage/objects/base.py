"""What the house asks of an object store, and the grammar of its keys.

Owns the `ObjectStore` protocol, `ObjectInfo`, key construction and checking, and `put_once`, the repeatable put.
Knows no server, no catalogue and no segment format.

Invariants: an object is written once and never changed; a put either leaves the whole object under its key or nothing;
no text that a person typed ever becomes part of a key. Nobody reads time from a key.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol
from uuid import UUID

from vms.errors import DigestMismatch, MalformedError, ObjectExists, StoreDenied
from vms.timeline import SECOND_NS

log = logging.getLogger(__name__)

BLOCK_BYTES = 256 * 1024  # what one read or write moves; also the largest piece `get` hands out
MAX_KEY_CHARS = 512

# Folders never contain a dot and objects always do, so no key can be another key's folder: every key that S3 takes can
# also be a file. Lower case only, so that a store on a file system that ignores case holds the same objects.
_FOLDER = r"[a-z0-9][a-z0-9_-]{0,127}"
_KEY = re.compile(rf"(?:{_FOLDER}/){{1,15}}{_FOLDER}(?:\.[a-z0-9]{{1,16}}){{1,3}}")
_ID = r"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"
_DAY = r"(\d{4}/\d\d/\d\d)"
_SEGMENT_KEY = re.compile(rf"segments/{_ID}/{_DAY}/-?\d{{1,19}}-{_ID}-(0|[1-9]\d{{0,8}})\.mp4", re.ASCII)
_JOURNAL_KEY = re.compile(rf"journals/{_ID}/{_DAY}/\d\d-[a-z0-9-]{{1,64}}(?:\.\d{{1,4}})?\.json", re.ASCII)
_PREFIX = re.compile(rf"(?:{_FOLDER}/){{0,15}}(?:[a-z0-9][a-z0-9._-]{{0,180}})?")


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One stored object. `digest` is the SHA-256 of its bytes where the store tells it (always after `put` and `head`
    of objects this house wrote, never while listing); `version` is the store's own name for it, if it keeps versions.
    """

    key: str
    size_bytes: int
    digest: bytes | None = None
    version: str | None = None


class ObjectStore(Protocol):
    """Bytes under keys, written once. Safe for concurrent use on one event loop.

    Every call may raise `StoreUnavailable` (try again later) and `StoreDenied` (trying again will not help). Keys
    outside the grammar raise `MalformedError` before anything is sent.
    """

    @property
    def name(self) -> str:
        """Where this is, for people: a path or a URL, without credentials."""

    async def put(self, key: str, source: Path | bytes, *, digest: bytes, size_bytes: int) -> ObjectInfo:
        """Store exactly `size_bytes` bytes whose SHA-256 is `digest`, durably, under a key not yet taken.

        Raises `ObjectExists` when the key is taken (what is there is not touched) and `DigestMismatch` when the bytes
        are not those named; neither leaves anything behind. An unreadable `source` raises `OSError`.
        """

    async def head(self, key: str) -> ObjectInfo:
        """Size, digest and version. Raises `ObjectMissing`."""

    def get(self, key: str, offset: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """The bytes [offset, offset + length), to the end if None, in pieces of at most `BLOCK_BYTES`.

        What lies beyond the end is left out without an error. Raises `ObjectMissing`, and `StoreUnavailable` when the
        stream breaks off. Use `contextlib.aclosing` to leave early.
        """

    async def read(self, key: str, offset: int, length: int) -> bytes:
        """The same range at once; shorter where the object ends."""

    def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """Every object whose key begins with `prefix`, a page at a time: those of one folder in the order of their
        names, the folders in the store's own order. What is put or deleted meanwhile may or may not be among them.
        """

    async def delete(self, key: str) -> None:
        """Remove the object: all its versions and delete markers. A missing object is no error."""

    async def check(self, *, make: bool = True) -> None:
        """Probe what the store really enforces, creating the bucket or folder if it is not there and `make` says so.

        Where footage was stored before, what is not there is away: `StoreUnavailable`. Returns only if the store is reachable with these credentials, a second put is refused, a wrong digest is
        refused and `head` tells the digest. Otherwise raises `StoreDenied` or `StoreUnavailable` saying what to do.
        """

    async def close(self) -> None:
        """Let go of connections and threads. Calls still under way end with `StoreUnavailable`."""


async def put_once(store: ObjectStore, key: str, source: Path | bytes, *, digest: bytes, size_bytes: int) -> ObjectInfo:
    """`put` that may be repeated at any crash point, and believes only what it reads back.

    The object is there afterwards with this size and digest, whether this call or an earlier one wrote it: the answer
    is the store's own word on HEAD. Raises `DigestMismatch` when other bytes stand under the key.
    """
    with contextlib.suppress(ObjectExists):  # HEAD tells whether it is ours
        await store.put(key, source, digest=digest, size_bytes=size_bytes)
    info = await store.head(key)
    if info.size_bytes != size_bytes or info.digest != digest:
        raise DigestMismatch(
            f"{store.name}: {key} holds {info.size_bytes} bytes with SHA-256 "
            f"{info.digest.hex() if info.digest else 'unknown'}, not {size_bytes} bytes with {digest.hex()}"
        )
    return info


async def probe(store: ObjectStore) -> None:
    """Try on a throw-away object what every other promise rests on; what a store says of itself is not believed.

    Raises `StoreDenied` naming what the store does not do. Leaves nothing behind, unless deleting is not allowed.
    """
    key = f"probes/{secrets.token_hex(16)}.bin"
    body, other = secrets.token_bytes(64), secrets.token_bytes(64)
    digest = hashlib.sha256(body).digest()
    stored = False
    advice = "use MinIO, SeaweedFS 4.48 or another store that passes `docs/reference/object-store.md`"
    try:
        try:
            await store.put(key, body, digest=hashlib.sha256(other).digest(), size_bytes=len(body))
        except DigestMismatch:
            pass
        else:
            stored = True
            raise StoreDenied(f"{store.name} stores bytes without comparing them with their SHA-256; {advice}")
        stored = True  # perhaps, also where it raises and is not a refusal
        await store.put(key, body, digest=digest, size_bytes=len(body))
        try:
            await store.put(key, other, digest=hashlib.sha256(other).digest(), size_bytes=len(other))
        except ObjectExists:
            pass
        else:
            raise StoreDenied(f"{store.name} lets an object be overwritten (If-None-Match is ignored); {advice}")
        info = await store.head(key)
        if (info.size_bytes, info.digest) != (len(body), digest):
            raise StoreDenied(f"{store.name} does not give an object's SHA-256 back on HEAD; {advice}")
        if await store.read(key, 0, len(body)) != body:
            raise StoreDenied(f"{store.name} does not give back the bytes that were written; {advice}")
    finally:
        try:
            await store.delete(key)
        except StoreDenied:
            if stored:
                log.warning("%s: these credentials may not delete; the probe object %s stays", store.name, key)


def segment_key(stream_id: UUID, run_id: UUID, number: int, start_ns: int) -> str:
    """Key of a sealed segment: `segments/<stream>/<yyyy>/<mm>/<dd>/<start ns>-<run>-<number>.mp4`, day in UTC."""
    return f"segments/{stream_id}/{_day(start_ns)}/{start_ns}-{run_id}-{number}.mp4"


@dataclass(frozen=True, slots=True)
class KeyParts:
    """What a key of this house says: of which stream, and `day` ("2026/11/20") as a folder name. Never a time.

    `run_id` and `number` of a segment; None of a journal.
    """

    stream_id: UUID
    day: str
    run_id: UUID | None = None
    number: int | None = None


def parse_key(key: str) -> KeyParts | None:
    """The parts of a segment's or a journal's key; None for any other."""
    if match := _SEGMENT_KEY.fullmatch(key):
        return KeyParts(UUID(match[1]), match[2], UUID(match[3]), int(match[4]))
    if match := _JOURNAL_KEY.fullmatch(key):
        return KeyParts(UUID(match[1]), match[2])
    return None


def journal_key(stream_id: UUID, hour_start_ns: int, host: str, part: int = 0) -> str:
    """Key of a stream's journal of one UTC hour: `journals/<stream>/<yyyy>/<mm>/<dd>/<hh>-<host>[.<part>].json`.

    `host` keeps only letters, digits and hyphens, so a dot always begins a part: 1, 2 … for later journals of the hour.
    """
    hour = datetime.fromtimestamp(hour_start_ns // SECOND_NS, UTC).hour
    safe_host = re.sub(r"[^a-z0-9]+", "-", host.lower()).strip("-")[:64] or "host"
    suffix = f".{part}" if part else ""
    return f"journals/{stream_id}/{_day(hour_start_ns)}/{hour:02d}-{safe_host}{suffix}.json"


def _day(ns: int) -> str:
    return datetime.fromtimestamp(ns // SECOND_NS, UTC).strftime("%Y/%m/%d")


def check_key(key: str) -> str:
    """`key` itself if it follows the grammar, else `MalformedError`. Shuts out "..", absolute and hidden names."""
    if len(key) > MAX_KEY_CHARS or not _KEY.fullmatch(key):
        raise MalformedError("object key", f"{key[:80]!r} does not follow the grammar of keys")
    return key


def check_prefix(prefix: str) -> str:
    """`prefix` itself if keys can begin with it, else `MalformedError`."""
    if len(prefix) > MAX_KEY_CHARS or not _PREFIX.fullmatch(prefix):
        raise MalformedError("object key prefix", f"{prefix[:80]!r} does not follow the grammar of keys")
    return prefix


def check_put(digest: bytes, size_bytes: int) -> None:
    """Refuse what no caller in the house may ask: a bug, not bad input."""
    if len(digest) != 32 or size_bytes < 0:
        raise ValueError("a put needs the 32 bytes of a SHA-256 and a size of at least 0")


def check_range(offset: int, length: int | None) -> None:
    """Refuse backward or empty ranges: a bug, not bad input."""
    if offset < 0 or (length is not None and length < 1):
        raise ValueError(f"not a range of bytes: offset {offset}, length {length}")
