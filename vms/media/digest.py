"""Digests version 1: of an access unit, of a group of units, and the seal of a segment. Pure.

docs/reference/segment.md states them so that somebody else can reckon them; change neither without the other, and then
under a new version. Digests cover samples, not the container: a remuxed file can be checked against them.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Mapping
from uuid import UUID

from vms.model import Origin

VERSION = 1
DIGEST_BYTES = 32
DIGEST_HZ = 90_000

_PTS = struct.Struct(">q")


def canonical_json(document: Mapping[str, object]) -> bytes:
    """UTF-8 JSON with sorted keys, no white space, no escapes but those JSON demands. Numbers are integers."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True)
    return text.encode()


def to_digest_clock(ticks: int, clock_hz: int) -> int:
    """Ticks of `clock_hz` in 90 kHz, to the nearest, halves upward: ⌊ticks · 90000 / clock_hz + ½⌋."""
    if clock_hz == DIGEST_HZ:
        return ticks
    return (2 * ticks * DIGEST_HZ + clock_hz) // (2 * clock_hz)


def unit_digest(pts_90k: int, data: bytes) -> bytes:
    """SHA-256 over the PTS relative to the group's first unit (8 bytes, signed, big-endian) and the unit's data."""
    digest = hashlib.sha256(_PTS.pack(pts_90k))
    digest.update(data)
    return digest.digest()


def group_digest(unit_digests: Iterable[bytes]) -> bytes:
    """SHA-256 over the digests of the group's units in decoding order."""
    return hashlib.sha256(b"".join(unit_digests)).digest()


def first_seal(stream_id: UUID, host: str, epoch: int, origin: Origin, run_id: UUID) -> bytes:
    """What stands for the previous seal in a run's first segment."""
    facts = {"epoch": epoch, "host": host, "origin": str(origin), "run": str(run_id), "stream": str(stream_id)}
    return hashlib.sha256(canonical_json(facts)).digest()


def seal(previous: bytes, head_json: bytes, trailer_json: bytes, group_digests: Iterable[bytes]) -> bytes:
    """SHA-256 over the previous seal, both documents as they stand in the file, and the group digests."""
    digest = hashlib.sha256(previous)
    digest.update(head_json)
    digest.update(trailer_json)
    for group in group_digests:
        digest.update(group)
    return digest.digest()


class GroupDigests:
    """Groups the units of one segment and reckons their digests as they come.

    A group begins at the segment's first unit; in video at each random-access picture; in audio, which can be entered
    anywhere, at each unit at least a second after the group's first.
    """

    __slots__ = ("_clock_hz", "_first_pts", "_units", "_video", "digests", "sizes")

    def __init__(self, clock_hz: int, video: bool) -> None:
        self.digests: list[bytes] = []  # of the groups that are complete
        self.sizes: list[int] = []  # how many units each of them has
        self._clock_hz = clock_hz
        self._video = video
        self._first_pts = 0
        self._units: list[bytes] = []

    def add(self, pts: int, data: bytes, key: bool) -> None:
        """The next unit in decoding order. `pts` in ticks of the stream's clock."""
        begins = key if self._video else pts - self._first_pts >= self._clock_hz
        if begins or not self._units:
            self.close()
            self._first_pts = pts
        self._units.append(unit_digest(to_digest_clock(pts - self._first_pts, self._clock_hz), data))

    def close(self) -> None:
        """End the current group, if one was begun."""
        if self._units:
            self.digests.append(group_digest(self._units))
            self.sizes.append(len(self._units))
            self._units.clear()
