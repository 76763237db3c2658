"""What a viewer's network lets through, from its receiver reports. Pure.

Random loss is repaired by retransmission and says nothing about room, and of few packets many may be lost by chance. Only
heavy loss among many packets, twice in a row, means that more is sent than goes through: then what got through is the
limit, to be raised again step by step while little is lost. The stream is not encoded anew for one viewer: within its
limit it gets whole groups of pictures or their beginnings, never a picture without the one it refers to.
"""

from __future__ import annotations

HEAVY_LOSS = 0.15
LIGHT_LOSS = 0.03
LEAST_PACKETS = 100  # are judged at once; of so many, a network that loses 5 % loses 15 once in 7000 times
SHARE = 0.85  # of what got through is sent
RISE = 1.1
LOWEST_LIMIT = 8_000  # bytes a second
LONGEST_DEBT_S = 4.0  # at the limit: however large a key picture was, the next one is sent after so long
SHORTEST_S, LONGEST_S = 0.5, 5.0  # of reports gathered: a viewer that is sent little is judged by little


class RateLimit:
    """`bytes_per_s` is None while nothing says that there is too little room."""

    __slots__ = ("_bytes", "_expected", "_heavy", "_lost", "_seconds", "bytes_per_s")

    def __init__(self) -> None:
        self.bytes_per_s: float | None = None
        self._heavy = 0
        self._expected, self._lost, self._bytes, self._seconds = 0, 0, 0.0, 0.0

    def report(
        self, *, expected: int, lost: int, packet_bytes: float, seconds: float, wanted_bytes_per_s: float
    ) -> None:
        """Since the last call so many packets were expected by the viewer's own count, and so many did not come.

        `packet_bytes`: their mean size; `wanted…`: what the whole stream takes.
        """
        self._expected += expected
        self._lost += lost
        self._bytes += max(0, expected - lost) * packet_bytes
        self._seconds += seconds
        enough = self._expected >= LEAST_PACKETS and self._seconds >= SHORTEST_S
        if not enough and (self.bytes_per_s is None or self._seconds < LONGEST_S):
            return
        loss = self._lost / self._expected if self._expected else 0.0
        through = self._bytes / self._seconds
        self._expected, self._lost, self._bytes, self._seconds = 0, 0, 0.0, 0.0
        if loss >= HEAVY_LOSS and enough:
            self._heavy += 1
            if self._heavy >= 2 or self.bytes_per_s is not None:
                limit = max(LOWEST_LIMIT, through * SHARE)
                self.bytes_per_s = limit if self.bytes_per_s is None else min(limit, self.bytes_per_s)
            return
        self._heavy = 0
        if self.bytes_per_s is not None and loss <= LIGHT_LOSS:
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
        debt = max(self._bytes, -limit * LONGEST_DEBT_S)
        self._bytes = min(limit, debt + limit * (mono_ns - self._mono_ns) / 1e9)
        self._mono_ns = mono_ns
        return self._bytes >= 0

    def take(self, size: int) -> None:
        self._bytes -= size
