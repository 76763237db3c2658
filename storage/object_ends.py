"""What a segment in a store says of itself, read from its two ends: a few kilobytes of an object of many megabytes.

Owns which ranges are fetched. Format and strictness are the segment reader's; nothing is recomputed here.
"""

from __future__ import annotations

import asyncio

from storage.objects.base import ObjectStore
from vms.errors import MalformedError
from vms.media.segment_reader import SegmentReader

HEAD_BYTES = 16 << 10  # sample entry and head take two or three
TAIL_BYTES = 48 << 10  # index and trailer of a minute take five to ten
MORE_BYTES = 64 << 10  # what is fetched at least where that was not enough
MOST_FETCHES = 8  # a file without an end would have to be read whole
MOST_BYTES = 40 << 20  # the largest index, trailer and movie box there can be


class Wanted(Exception):
    """Bytes that are not at hand."""

    def __init__(self, offset: int, length: int) -> None:
        super().__init__(f"bytes {offset} to {offset + length}")
        self.offset, self.length = offset, length


class HeldRanges:
    """A `ByteSource` over those parts of an object that were fetched; reading others raises `Wanted`."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.held_bytes = 0
        self._parts: list[tuple[int, bytes]] = []

    def hold(self, offset: int, data: bytes) -> None:
        self._parts.append((offset, data))
        self.held_bytes += len(data)

    def read(self, offset: int, length: int) -> bytes:
        end = min(offset + length, self.size)
        for start, data in self._parts:
            if start <= offset and end <= start + len(data):
                return data[offset - start : end - start]
        raise Wanted(offset, end - offset)


async def read_ends(store: ObjectStore, key: str, size_bytes: int) -> SegmentReader:
    """The opened segment, of which head, trailer and index may be asked. Raises StoreError and MalformedError."""
    held = HeldRanges(size_bytes)
    if size_bytes <= HEAD_BYTES + TAIL_BYTES:
        held.hold(0, await store.read(key, 0, size_bytes) if size_bytes else b"")
    else:
        at = size_bytes - TAIL_BYTES
        head, tail = await asyncio.gather(store.read(key, 0, HEAD_BYTES), store.read(key, at, TAIL_BYTES))
        held.hold(0, head)
        held.hold(at, tail)
    for _ in range(MOST_FETCHES):
        try:
            return SegmentReader(held)
        except Wanted as wanted:
            if held.held_bytes + wanted.length > MOST_BYTES:
                break
            length = min(max(wanted.length, MORE_BYTES), size_bytes - wanted.offset)
            data = await store.read(key, wanted.offset, length)
            if len(data) < wanted.length:
                raise MalformedError("segment", "is shorter than its store says", wanted.offset) from wanted
            held.hold(wanted.offset, data)
    raise MalformedError("segment", "has no end: it was cut off, or is none")
