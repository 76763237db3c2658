"""The group of pictures under way, for whoever begins to watch: from the open segment's file, or from memory.

A recorded stream keeps only what is not yet in its file (half a second); a relayed one keeps its group, within bounds.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass

from storage.spool_files import OpenSegment
from vms.errors import MalformedError
from vms.media.boxes import FileSource
from vms.media.segment_reader import SegmentReader
from vms.model import TimedUnit

MAX_MEMORY_BYTES = 8 << 20
MAX_FILE_BYTES = 32 << 20


class MemoryGop:
    """Units since the last key; given up until the next key when they grow beyond bounds."""

    def __init__(self, max_bytes: int = MAX_MEMORY_BYTES) -> None:
        self._units: list[TimedUnit] = []
        self._bytes = 0
        self._max_bytes = max_bytes

    def add(self, timed: TimedUnit) -> None:
        if timed.unit.key:
            self._units.clear()
            self._bytes = 0
        elif not self._units:
            return
        self._bytes += len(timed.unit.data)
        self._units.append(timed)
        if self._bytes > self._max_bytes:
            self.clear()

    def units(self) -> tuple[TimedUnit, ...]:
        return tuple(self._units)

    def clear(self) -> None:
        self._units.clear()
        self._bytes = 0


@dataclass(frozen=True, slots=True)
class _Whole:
    """A file up to a size, whatever is appended meanwhile."""

    source: FileSource
    size: int

    def read(self, offset: int, length: int) -> bytes:
        return self.source.read(offset, max(0, min(length, self.size - offset)))


@dataclass(slots=True)
class GopStart:
    """Units from the last key on. `fd` ≥ 0: `tail` follows what `read` finds in that file; it must be read or closed."""

    tail: tuple[TimedUnit, ...] = ()
    fd: int = -1
    size_bytes: int = 0
    key_pts: int = 0
    key_offset: int = 0

    @classmethod
    def of_file(cls, segment: OpenSegment, key_pts: int, key_offset: int, tail: tuple[TimedUnit, ...]) -> GopStart:
        """The group that begins with the fragment at `key_offset`; keeps its own handle, for the file may be sealed."""
        return cls(tail, os.dup(segment.fd), segment.size_bytes, key_pts, key_offset)

    def read(self) -> list[TimedUnit]:
        """All units, the file's first. Blocks shortly; call it in a thread, once."""
        if self.fd < 0:
            return list(self.tail)
        try:
            if self.size_bytes - self.key_offset > MAX_FILE_BYTES:
                return []
            with contextlib.suppress(MalformedError):
                reader = SegmentReader(_Whole(FileSource(self.fd), self.size_bytes))
                capture_ns = reader.head.mapping.capture_ns
                units = [TimedUnit(u, capture_ns(u.pts)) for u in reader.units(self.key_pts)]
                return [*units, *self.tail]
            return []
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the file. May be repeated."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            with contextlib.suppress(OSError):
                os.close(fd)
