"""What a viewer's network lets through, from its receiver reports. Pure.

Random loss is repaired by retransmission and says nothing about room. Only heavy loss, in two reports in a row, means
that more is sent than goes through: then what got through is the limit, to be raised again step by step while nothing
is lost. The stream is not encoded anew for one viewer: within its limit it gets whole groups of pictures or their
beginnings, never a picture without the one it refers to.
"""

from __future__ import annotations

HEAVY_LOSS = 26  # of 256: a tenth
LIGHT_LOSS = 6  # of 256: what Wi-Fi loses on a good day
SHARE = 0.85  # of what got through is sent
RISE = 1.1  # a report
LOWEST_LIMIT = 8_000  # bytes a second
SHORTEST_REPORT_S = 0.2  # loss over less says little


class RateLimit:
    """`bytes_per_s` is None while nothing says that there is too little room."""

    __slots__ = ("_heavy", "bytes_per_s")

    def __init__(self) -> None:
        self.bytes_per_s: float | None = None
        self._heavy = 0

    def report(self, lost_of_256: int, sent_bytes: int, seconds: float, wanted_bytes_per_s: float) -> None:
        """A receiver report: of what was sent in `seconds`, so much was lost. `wanted`: what the whole stream takes."""
        if seconds < SHORTEST_REPORT_S:
            return
        if lost_of_256 >= HEAVY_LOSS:
            self._heavy += 1
            if self._heavy >= 2 or self.bytes_per_s is not None:
                through = sent_bytes / seconds * (256 - lost_of_256) / 256
                limit = max(LOWEST_LIMIT, through * SHARE)
                self.bytes_per_s = limit if self.bytes_per_s is None else min(limit, self.bytes_per_s)
            return
        self._heavy = 0
        if self.bytes_per_s is not None and lost_of_256 <= LIGHT_LOSS:
            self.bytes_per_s *= RISE
            if self.bytes_per_s > wanted_bytes_per_s:
                self.bytes_per_s = None


class Allowance:
    """Bytes that may be sent now under a limit: filled by time, at most a second's worth, and allowed to go into debt,
    so that a key picture larger than that still goes out now and then."""

    __slots__ = ("_bytes", "_mono_ns")

    def __init__(self) -> None:
        self._bytes = 0.0
        self._mono_ns = 0

    def has_room(self, limit: float | None, mono_ns: int) -> bool:
        if limit is None:
            self._bytes, self._mono_ns = 0.0, mono_ns
            return True
        self._bytes = min(limit, self._bytes + limit * (mono_ns - self._mono_ns) / 1e9)
        self._mono_ns = mono_ns
        return self._bytes >= 0

    def take(self, size: int) -> None:
        self._bytes -= size
