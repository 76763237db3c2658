"""Deterministic faults: which packets are lost and how late units are, from the seed, the camera and the unit's number.

Pure: the same camera with the same seed loses the same packets of the same units, whoever is connected and whenever.
"""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Faults:
    """`loss` is the chance of each RTP packet; `jitter_ns` bounds the delay of each unit. Order is always kept."""

    key: str  # seed, camera and stream
    loss: float = 0.0
    jitter_ns: int = 0

    def lost_packets(self, index: int, packets: int) -> frozenset[int]:
        """Positions of lost packets among the `packets` of unit `index`."""
        if self.loss <= 0.0:
            return frozenset()
        rng = random.Random(f"{self.key}:loss:{index}")  # noqa: S311 - wanted: the same every time
        return frozenset(p for p in range(packets) if rng.random() < self.loss)

    def delay_ns(self, index: int) -> int:
        """How much later than due unit `index` leaves."""
        if self.jitter_ns <= 0:
            return 0
        return random.Random(f"{self.key}:jitter:{index}").randrange(self.jitter_ns)  # noqa: S311 - as above
