"""A camera on a simulated clock that fails as it is told: the list of its outages is the truth that gaps are held against.

Its pictures lie on one grid for ever, whoever is connected: picture n is taken at `began_ns` + n frames and has the media
time n. What befalls it is a list of `Outage`, in order and apart; what befalls the recorder is played by the test.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from recorder.sources import LIVE_PATIENCE_S, TrackSinks
from tests.support.encoded import made_up, small_config
from vms.clock import SimulatedClock
from vms.errors import SourceError
from vms.model import VIDEO_CLOCK_HZ, GapReason, SourceKind

SECOND_NS = 1_000_000_000
LOST_PACKETS = 7


class Kind(StrEnum):
    """What happens. Those of the second row happen to the recorder, not to the camera."""

    HANGS_UP, REFUSES, LOCKS_OUT, STALLS, PAUSES, LOSES, NO_KEYS = (
        "hangs up", "refuses", "locks out", "stalls", "pauses", "loses", "no keys",
    )  # fmt: skip
    STOPS, DIES, DISABLED, DISK_FULL, GIVEN_UP = "stops", "dies", "disabled", "disk full", "given up"


REASONS = {
    Kind.HANGS_UP: GapReason.UNREACHABLE,
    Kind.REFUSES: GapReason.REFUSED,
    Kind.LOCKS_OUT: GapReason.UNAUTHORISED,
    Kind.STALLS: GapReason.STALLED,
    Kind.PAUSES: GapReason.STALLED,
    Kind.LOSES: GapReason.PACKET_LOSS,
    Kind.NO_KEYS: GapReason.UNREACHABLE,  # it hangs up first; what follows has its own reason
    Kind.STOPS: GapReason.RECORDER_RESTART,
    Kind.DIES: GapReason.RECORDER_RESTART,
    Kind.DISABLED: GapReason.DISABLED,
    Kind.DISK_FULL: GapReason.SPOOL_FULL,
    Kind.GIVEN_UP: GapReason.SPOOL_FULL,
}
LASTS_S = {  # shortest and longest
    Kind.PAUSES: (2.5, 3.5),  # shorter is a camera's own pace, longer ends the connection
    Kind.LOSES: (0.08, 3.0),
    Kind.STALLS: (6.0, 12.0),
    Kind.NO_KEYS: (14.0, 20.0),
}
BY_HAND = frozenset({Kind.STOPS, Kind.DIES, Kind.DISABLED, Kind.DISK_FULL, Kind.GIVEN_UP})
AWAY = frozenset({Kind.HANGS_UP, Kind.REFUSES, Kind.LOCKS_OUT})


@dataclass(frozen=True, slots=True)
class Injected:
    """From `start_ns` on for `lasts_ns`, in UTC."""

    kind: Kind
    start_ns: int
    lasts_ns: int

    @property
    def end_ns(self) -> int:
        return self.start_ns + self.lasts_ns


def plan(seed: int, count: int, began_ns: int, seconds: int, frame_ns: int) -> list[Injected]:
    """`count` outages of all kinds in turn, each at a random moment of its own share of the time, on the grid."""
    rng = random.Random(seed)
    kinds = [list(Kind)[n % len(Kind)] for n in range(count)]
    rng.shuffle(kinds)
    share_ns = seconds * SECOND_NS // count
    found = []
    for n, kind in enumerate(kinds):
        shortest, longest = LASTS_S.get(kind, (1.0, 20.0))
        lasts = round(rng.uniform(shortest, longest) * SECOND_NS / frame_ns) * frame_ns
        latest = share_ns - 50 * SECOND_NS  # so that everybody is back, and settled, before the next
        at = n * share_ns + 10 * SECOND_NS + rng.randrange(max(1, latest + 10 * SECOND_NS))
        found.append(Injected(kind, began_ns + at // frame_ns * frame_ns, lasts))
    return found


class FailingCamera:
    """A `PacketSource`. `delivered`: the numbers of the pictures that a recorder was given."""

    kind: SourceKind = SourceKind.RTSP
    why: str = ""

    def __init__(self, clock: SimulatedClock, outages: Sequence[Injected], *, frame: int, gop: int) -> None:
        """`frame`: ticks of one picture; `gop`: pictures from one key to the next."""
        self.patience_s = LIVE_PATIENCE_S
        self.began_ns = clock.wall_ns()
        self.frame, self.gop = frame, gop
        self.frame_ns = frame * SECOND_NS // VIDEO_CLOCK_HZ
        self.delivered: set[int] = set()
        self._clock, self._config = clock, small_config()
        self._outages = [o for o in outages if o.kind not in BY_HAND]
        self._hung_up: set[Injected] = set()

    def taken_ns(self, number: int) -> int:
        return self.began_ns + number * self.frame_ns

    async def run(self, sinks: TrackSinks) -> None:
        number = -(-(self._clock.wall_ns() - self.began_ns) // self.frame_ns)
        lost = None
        while True:
            self._fail_if_away(self._clock.wall_ns())
            wait_ns = self.taken_ns(number) - self._clock.wall_ns()
            if wait_ns > 0:
                await self._clock.sleep(wait_ns / 1e9)
            outage = self._now(self.taken_ns(number))
            self._fail_if_away(self.taken_ns(number))
            kind = None if outage is None else outage.kind
            if kind is Kind.LOSES and lost is not outage:
                lost = outage
                sinks.video.on_loss(LOST_PACKETS)
            if kind not in (Kind.LOSES, Kind.STALLS, Kind.PAUSES):
                key = number % self.gop == 0 and kind is not Kind.NO_KEYS
                unit = made_up(number * self.frame, key=key, config=self._config)
                sinks.video.on_unit(unit._replace(arrival_mono_ns=self._clock.mono_ns()))
                self.delivered.add(number)
            number += 1

    def _now(self, at_ns: int) -> Injected | None:
        return next((o for o in self._outages if o.start_ns <= at_ns < o.end_ns), None)

    def _fail_if_away(self, at_ns: int) -> None:
        outage = self._now(at_ns)
        if outage is None:
            return
        if outage.kind in AWAY:
            raise SourceError(REASONS[outage.kind], f"the camera {outage.kind.value}")
        if outage.kind is Kind.NO_KEYS and outage not in self._hung_up:
            self._hung_up.add(outage)
            raise SourceError(GapReason.UNREACHABLE, "the camera hangs up, and has no keys afterwards")


async def let_pass(clock: SimulatedClock, until_ns: int, step_ns: int) -> None:
    """Advance step by step, so that everybody does what is due."""
    while clock.wall_ns() < until_ns:
        clock.advance(min(step_ns, until_ns - clock.wall_ns()))
        for _ in range(6):
            await asyncio.sleep(0)
