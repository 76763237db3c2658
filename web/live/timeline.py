"""RTP timestamps of one viewer, from the capture time of whatever it is shown.

All streams of a site share one clock, UTC, so that capture time in 90 kHz is continuous over runs, reconnections and a
switch from one stream to another. Where capture time steps (a new run, a corrected mapping, another camera's network),
the viewer's timestamps go on from where they were: they never stand still or run backwards, and never leap further than
time has passed. Pure: the caller says what time it is.
"""

from __future__ import annotations

from collections.abc import Sequence

from vms.media.rtp import TIMESTAMP_MODULUS

TICKS_PER_MS = 90
LEAST_STEP = TICKS_PER_MS  # between two pictures
LARGEST_LEAP = 1000 * TICKS_PER_MS  # more than has passed on our clock


def ticks_of(utc_ns: int) -> int:
    """UTC in 90 kHz, rounded down."""
    return utc_ns * 9 // 100_000


class MediaTimeline:
    """Unwrapped 90 kHz ticks; `& 0xFFFFFFFF` makes the timestamp."""

    __slots__ = ("_last", "_last_mono_ns", "_offset")

    def __init__(self, first_timestamp: int) -> None:
        """`first_timestamp`: where the first picture's timestamp is to lie, as RFC 3550 §5.1 wants it random."""
        self._last: int | None = None
        self._last_mono_ns = 0
        self._offset = first_timestamp

    def next(self, captures_ns: Sequence[int], mono_ns: int) -> list[int]:
        """Ticks of pictures that are sent together, at `mono_ns`.

        The last one gets the time it was captured at. Those before it, the group of pictures a viewer begins with, lie
        just before that: a player that takes timestamps seriously shows them at once instead of lagging for ever.
        """
        before = (len(captures_ns) - 1) * LEAST_STEP
        capture = ticks_of(captures_ns[-1])
        if self._last is None:
            self._offset = (self._offset - capture) % TIMESTAMP_MODULUS
            last = capture + self._offset + before
            self._offset += before
        else:
            passed = ticks_of(mono_ns - self._last_mono_ns)
            last = capture + self._offset
            if not self._last + before + LEAST_STEP <= last <= self._last + passed + before + LARGEST_LEAP:
                last = self._last + before + max(passed, LEAST_STEP)
                self._offset = last - capture
        self._last, self._last_mono_ns = last, mono_ns
        return [last - before + i * LEAST_STEP for i in range(len(captures_ns))]

    def at(self, utc_ns: int) -> int:
        """Where this instant lies, by what was sent last; for sender reports."""
        return ticks_of(utc_ns) + self._offset
