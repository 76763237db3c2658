"""ISO base media boxes (ISO/IEC 14496-12 §4.2): build them, walk them in memory, find them in a file by their headers.

Owns box framing only: what a box means stands with whoever reads or writes it. Invariants: whatever the bytes, walking
ends after at most one step per 8 bytes, reads nothing outside the range it was given, never recurses by itself, and
either yields boxes that lie whole within that range or raises MalformedError.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from vms.errors import MalformedError

HEADER = struct.Struct(">I4s")
_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")

UUID_HEADER_BYTES = 24  # size, 'uuid', 16 bytes of extended type


class ByteSource(Protocol):
    """Random access to a file's bytes: a local file, a buffer, an object in a store."""

    @property
    def size(self) -> int:
        """Bytes there are now; a file that is being written grows."""

    def read(self, offset: int, length: int) -> bytes:
        """The bytes from `offset` on, fewer than `length` only at the end."""


class BytesSource:
    """A file that is in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def size(self) -> int:
        return len(self._data)

    def read(self, offset: int, length: int) -> bytes:
        return self._data[offset : offset + length]


class FileSource:
    """An open local file. Does not own the descriptor, keeps no position and may be shared between threads."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @property
    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def read(self, offset: int, length: int) -> bytes:
        parts = []
        while length > 0:
            part = os.pread(self._fd, length, offset)
            if not part:
                break
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


@dataclass(frozen=True, slots=True)
class Box:
    """Where a box stands: its header begins at `start`, its payload at `body`, and it ends before `end`."""

    type: bytes
    start: int
    body: int
    end: int


def box(kind: bytes, *parts: bytes) -> bytes:
    """A box around `parts`. `kind` is the four-character type."""
    size = 8 + sum(map(len, parts))
    return b"".join((HEADER.pack(size, kind), *parts))


def full_box(kind: bytes, version: int, flags: int, *parts: bytes) -> bytes:
    """A box with version and flags (§4.2.2)."""
    return box(kind, _U32.pack(version << 24 | flags), *parts)


def uuid_box(extended_type: bytes, *parts: bytes) -> bytes:
    """A box of type `uuid` (§4.2.2, `usertype`)."""
    return box(b"uuid", extended_type, *parts)


def parse_header(data: bytes, at: int, offset: int, limit: int) -> Box:
    """The box whose header is `data[at:at + 16]` and whose place in the file is `offset`; it must end by `limit`."""
    available = len(data) - at
    if available < 8 or limit - offset < 8:
        raise MalformedError("box", "the header is cut off", offset)
    size, kind = HEADER.unpack_from(data, at)
    body = offset + 8
    if size == 1:
        if available < 16 or limit - offset < 16:
            raise MalformedError("box", "the 64-bit size is cut off", offset)
        size = _U64.unpack_from(data, at + 8)[0]
        body = offset + 16
    elif size == 0:
        size = limit - offset  # §4.2.2: it extends to the end of the file
    if size < body - offset or size > limit - offset:
        raise MalformedError(f"box {kind!r}", f"size {size} does not fit into {limit - offset} bytes", offset)
    return Box(kind, offset, body, offset + size)


def children(data: bytes, start: int, end: int) -> Iterator[Box]:
    """The boxes that fill `data[start:end]` exactly."""
    while start < end:
        found = parse_header(data, start, start, end)
        yield found
        start = found.end


def only_child(data: bytes, parent: Box, kind: bytes, skip: int = 0) -> Box:
    """The one child of `parent` with this type; `skip` bytes of fields stand before the children."""
    found = [b for b in children(data, parent.body + skip, parent.end) if b.type == kind]
    if len(found) != 1:
        raise MalformedError(f"box {parent.type!r}", f"has {len(found)} {kind!r} where one belongs", parent.start)
    return found[0]


def box_at(source: ByteSource, offset: int, limit: int) -> Box:
    """The box at `offset` of a file whose readable part ends at `limit`. Costs one small read."""
    return parse_header(source.read(offset, min(16, limit - offset)), 0, offset, limit)


def read_exactly(source: ByteSource, start: int, end: int) -> bytes:
    """Bytes [start, end) of the file; MalformedError when it is shorter than it says."""
    data = source.read(start, end - start)
    if len(data) != end - start:
        raise MalformedError("file", f"ends before byte {end}", start + len(data))
    return data


class Fields:
    """A reading position over one box's payload; every read is checked against the payload's end."""

    __slots__ = ("_at", "_data", "_end", "_where")

    def __init__(self, data: bytes, start: int, end: int, where: str) -> None:
        self._data = data
        self._at = start
        self._end = end
        self._where = where

    @property
    def at(self) -> int:
        return self._at

    @property
    def left(self) -> int:
        return self._end - self._at

    def take(self, length: int) -> bytes:
        """The next `length` bytes."""
        if length > self._end - self._at:
            raise MalformedError(self._where, f"needs {length} bytes more than it has", self._at)
        part = self._data[self._at : self._at + length]
        self._at += length
        return part

    def uint(self, length: int) -> int:
        """The next `length` bytes as a big-endian unsigned integer."""
        return int.from_bytes(self.take(length), "big")

    def version(self, highest: int) -> int:
        """The version of a full box, which must be at most `highest`; its flags are passed over."""
        version = self.uint(4) >> 24
        if version > highest:
            raise MalformedError(self._where, f"version {version} is not known", self._at - 4)
        return version
