"""A sealed segment's facts and run out of the file itself, for when nothing else knows them any more. Blocks."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vms.media.boxes import FileSource
from vms.media.segment_head import SegmentHead
from vms.media.segment_reader import SegmentReader
from vms.model import RunInfo, SegmentFacts

_HASH_BLOCK_BYTES = 1 << 20


def read_facts(path: Path) -> SegmentFacts:
    """What head and trailer state, with the digest reckoned over the whole file. `MalformedError`, `OSError`."""
    with _opened(path) as fd:
        hasher, offset = hashlib.sha256(), 0
        while block := os.pread(fd, _HASH_BLOCK_BYTES, offset):
            hasher.update(block)
            offset += len(block)
        return SegmentReader(FileSource(fd)).facts(hasher.digest())


def read_run(path: Path) -> RunInfo:
    """The run as the head names it, not ended. `MalformedError`, `OSError`."""
    with _opened(path) as fd:
        return run_of(SegmentReader(FileSource(fd)).head)


def run_of(head: SegmentHead) -> RunInfo:
    """The run that a segment's head names, not ended."""
    start_ns = head.mapping.capture_ns(head.run_start_ticks)
    return RunInfo(head.run_id, head.stream_id, head.origin, head.host, head.epoch, head.clock, start_ns)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
