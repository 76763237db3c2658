"""What the simulator sent, kept small enough for hours: give `SentLog.append` to it as the listener of its journal."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from vms.model import VIDEO_CLOCK_HZ

MASK = 0xFFFFFFFF


@dataclass(slots=True)
class _Lines:
    base: int  # RTP timestamp less media time, modulo 2**32
    pts: array[int] = field(default_factory=lambda: array("q"))
    utc_ns: array[int] = field(default_factory=lambda: array("q"))
    sha256: list[str] = field(default_factory=list)  # each clip's digests once, and many references
    cut: dict[int, str] = field(default_factory=dict)
    sessions: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Sent:
    """One camera's units by media time (90 kHz ticks since the simulator's start of time)."""

    base: int
    utc_ns: dict[int, int]  # when it was first sent whole
    sha256: dict[int, str]
    frame: int  # ticks from one picture to the next
    origin_ns: int  # UTC of media time 0, by the promptest unit
    sessions: int
    cut: dict[int, str]  # units that did not go out whole, and the digest that they had

    def media_time(self, stored_pts: int) -> int:
        """Of a stored unit; within 13 hours of the simulator's start."""
        return stored_pts - self.base & MASK

    def due_ns(self, pts: int) -> int:
        """When a picture was due, sent or not."""
        return self.origin_ns + pts * 1_000_000_000 // VIDEO_CLOCK_HZ


class SentLog:
    """Main streams only."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self._cameras: dict[str, _Lines] = {}

    def append(self, record: dict[str, Any]) -> None:
        if "event" in record:
            self.events.append(record)
            return
        if record["stream"] != "main":
            return
        lines = self._cameras.get(record["camera"])
        if lines is None:
            lines = self._cameras[record["camera"]] = _Lines((record["rtp"] - record["pts"]) & MASK)
        lines.sessions.add(record["session"])
        if record["lost"]:
            lines.cut[record["pts"]] = record["sha256"]
            return
        lines.pts.append(record["pts"])
        lines.utc_ns.append(record["utc_ns"])
        lines.sha256.append(record["sha256"])

    def camera(self, name: str) -> Sent:
        """Everything sent so far. KeyError while that is nothing."""
        lines = self._cameras[name]
        count = len(lines.sha256)  # the simulator may go on meanwhile
        utc_ns: dict[int, int] = {}
        sha256: dict[int, str] = {}
        for pts, at, digest in zip(lines.pts[:count], lines.utc_ns[:count], lines.sha256[:count], strict=True):
            utc_ns.setdefault(pts, at)
            sha256[pts] = digest
        times = sorted(utc_ns)
        steps = [b - a for a, b in pairwise(times[:100])]
        origin = min(at - pts * 1_000_000_000 // VIDEO_CLOCK_HZ for pts, at in utc_ns.items())
        return Sent(lines.base, utc_ns, sha256, min(steps, default=3600), origin, len(lines.sessions), dict(lines.cut))
