"""Random histories of a camera's, a network's and a recorder's clocks, and the clock mapping's way through them.

A history is drawn from a seed; `events` tells it as pictures, ticks and sender reports in order of their being read.
`play` feeds it to the real unwrapping of RTP time and the real clock mapping as `recorder.track` does, and keeps for
every picture where it was placed, what the recorder's clock said when it was taken and how far the two may be apart just
now. The truth is known, so nothing here has to guess. `tests.support.clock_run` judges.

Time within a history: nanoseconds of true time since the connection was made.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from recorder.clockmap import ClockMap
from vms.media.reception import MediaTime
from vms.model import ClockMapping, RunClock, SenderReport
from vms.rtsp.turns import PERIOD_S

S = 1_000_000_000
MS = 1_000_000
HZ = 90_000
BEGINNINGS = tuple(
    round(datetime(*when, tzinfo=UTC).timestamp()) * S
    for when in (
        (2026, 9, 21, 14, 13, 20),
        (2026, 10, 25, 0, 59, 0),  # a minute before the clocks of Warsaw go back
        (2027, 3, 28, 0, 59, 0),  # and forward
        (2028, 6, 30, 23, 59, 0),  # before where a leap second would be
    )
)
MONO = 5_000 * S
TICK = S // 2
HURRY_NS = 2 * S  # a connection is read as its bytes come for so long (`vms.rtsp.turns`)
BOUND = 100 * MS
NOTICED = 2 * S + TICK  # what changed is known after a tick, a bucket of the envelope and some jitter
FORGOTTEN = 36 * S  # delay that rose is believed once the window of the envelope has passed


@dataclass(frozen=True, slots=True)
class History:
    """What happens. Times in ns since the connection; `steps` and `jumps` are (when, by how much)."""

    seed: int
    wall_ns: int = BEGINNINGS[0]
    seconds: int = 120
    fps: float = 25.0
    gop: int = 50
    drift_ppm: int = 0  # of the camera's crystal
    first_ticks: int = 0
    cached_s: float = 0.0  # of pictures from before, sent in a burst at the start
    delay_ms: int = 2  # of the network at its best
    jitter_ms: int = 0  # on top of that, exponentially distributed, at most 200
    stalls: tuple[tuple[int, int], ...] = ()  # (when, how long)
    jumps: tuple[tuple[int, int], ...] = ()  # of RTP time, in ticks
    steps: tuple[tuple[int, int], ...] = ()  # of the recorder's wall clock, in ns
    smear_ppm: float = 0.0  # the wall clock gains on the monotonic clock: a leap smear, a virtual machine
    slews: tuple[tuple[int, int, int], ...] = ()  # (from, until, ppm): both clocks are slewed, as NTP does it
    turn_ms: float = 0.0  # pictures are read in turns so far apart; 0: as they come
    camera_offset_ns: int = 0
    trust: bool = False
    cut_s: int = 60


def draw(seed: int) -> History:
    """A history in which anything may happen, the same for the same seed."""
    r = random.Random(seed)
    fps = r.choice([30.0, 25.0, 25.0, 20.0, 15.0, 12.5, 10.0, 8.0, 5.0, 4.0, 2.0, 1.0])
    seconds = r.randint(60, 150)

    def moment() -> int:
        return r.randint(3 * S, seconds * S)

    def step() -> int:
        size = r.choice([MS, 20 * MS, 80 * MS, 200 * MS, 2 * S, 60 * S, 3600 * S, 86_400 * S, 3 * 365 * 86_400 * S])
        return r.choice([-1, 1]) * r.randint(size // 2, size)

    steps = [(moment(), r.choice([step(), -3600 * S, 3600 * S, -S])) for _ in range(r.choice([0, 0, 1, 1, 2, 3]))]
    if steps and r.random() < 0.5:
        steps.append((moment(), -steps[0][1]))  # and put right again, or wrong twice
    jumps = [
        (moment(), r.choice([-1, 1]) * r.choice([HZ // 5, HZ, 3 * HZ // 2, 30 * HZ, 3600 * HZ, 2**31 - 4 * HZ]))
        for _ in range(r.choice([0, 0, 0, 1, 1, 2]))
    ]
    begin = moment()
    trust = r.random() < 0.1
    if trust:  # its clock and ours are within a day of each other, and so is media time
        steps, jumps = [(at, by) for at, by in steps if abs(by) <= 3600 * S], []
    return History(
        seed=seed,
        wall_ns=BEGINNINGS[seed % len(BEGINNINGS)],
        seconds=seconds,
        fps=fps,
        gop=max(1, round(fps * r.choice([0.5, 1, 2, 4]))),
        drift_ppm=r.randint(-100, 100),
        first_ticks=r.choice([0, r.randrange(2**32), 2**32 - r.randint(1, seconds * HZ)]),
        cached_s=r.choice([0.0, 0.0, 0.0, 0.5, 2.0, 9.0]),
        delay_ms=r.randint(0, 5),
        jitter_ms=r.choice([0, 2, 10, 40]),
        stalls=tuple((moment(), r.choice([S // 2, 2 * S, 4 * S])) for _ in range(r.choice([0, 0, 1, 2]))),
        jumps=tuple(sorted(jumps)),
        steps=tuple(sorted(steps)),
        smear_ppm=r.choice([0.0, 0.0, 11.6, -11.6]),
        slews=((begin, begin + 60 * S, r.choice([-500, 500])),) if r.random() < 0.2 else (),
        turn_ms=r.choice([0.0, 0.0, 101.0, PERIOD_S * 1000]),
        camera_offset_ns=r.choice([0, 40 * MS, -7 * 60 * S, 2 * 3600 * S]),
        trust=trust,
        cut_s=r.choice([10, 60]),
    )


@dataclass(slots=True)
class Placed:
    """A picture where it was placed. `apart_ns`: from what the recorder's clock said; `allowed_ns` of that just now."""

    run: int
    segment: int
    at_ns: int  # of its being read
    capture_ns: int
    apart_ns: int
    allowed_ns: int
    wall_error_ns: int  # of the recorder's clock when it was read


@dataclass(slots=True)
class Outcome:
    """How a history went."""

    placed: list[Placed]
    mappings: list[tuple[int, ClockMapping]]  # (run, mapping) of every segment
    run_clocks: list[RunClock]
    clock: ClockMap
    shown: int  # pictures that came
    skipped: int  # before the first random-access picture of a run
    held: int  # at the end, of a run that was about to begin
    camera_error_ns: int | None  # of the measured camera offset, less its stated uncertainty
    at_ns: int  # of the end


class Clocks:
    """The recorder's two clocks over true time."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._step_times = [at for at, _ in history.steps]
        sums, total = [0], 0
        for _, by in history.steps:
            total += by
            sums.append(total)
        self._step_sums = sums

    def mono_ns(self, at: int) -> int:
        slewed = sum(
            (min(at, until) - since) * ppm // 1_000_000 for since, until, ppm in self._history.slews if at > since
        )
        return MONO + at + slewed

    def offset_ns(self, at: int) -> int:
        """Wall less monotonic."""
        stepped = self._step_sums[bisect_right(self._step_times, at)]
        return self._history.wall_ns - MONO + stepped + round(at * self._history.smear_ppm / 1e6)


def arrivals(history: History) -> Iterator[tuple[int, int, int]]:
    """(taken, RTP timestamp, arrived) of every picture, in order."""
    r = random.Random(history.seed ^ 0x5EED)
    last = added = 0
    jumps = list(history.jumps)
    for i in range(round((history.seconds + history.cached_s) * history.fps)):
        taken = round((i / history.fps - history.cached_s) * S)
        while jumps and taken >= jumps[0][0]:
            added += jumps.pop(0)[1]
        ticks = taken * HZ // S
        ticks += ticks * history.drift_ppm // 1_000_000
        late = min(200.0, r.expovariate(1 / history.jitter_ms)) if history.jitter_ms else 0.0
        arrived = max(taken, 0) + history.delay_ms * MS + round(late * MS)
        for at, length in history.stalls:
            if at <= arrived < at + length:
                arrived = at + length + i % 7 * MS // 10
        last = max(last, arrived)
        yield taken, (history.first_ticks + ticks + added) % 2**32, last


@dataclass(frozen=True, slots=True)
class Loose:
    """Since something happened pictures may be further off, until the first key after `until` or a run that knows."""

    since: int
    until: int
    more_ns: int
    by_wall: bool = False  # known to a run that begins after the next tick
    lasting: bool = False  # not even known to a new run: delay that rose


@dataclass(slots=True)
class _Player:
    """What `recorder.track` does with units and ticks, reduced to time."""

    history: History
    clocks: Clocks
    clock: ClockMap
    media: MediaTime
    placed: list[Placed] = field(default_factory=list)
    mappings: list[tuple[int, ClockMapping]] = field(default_factory=list)
    run_clocks: list[RunClock] = field(default_factory=list)
    held: list[tuple[int, int]] = field(default_factory=list)  # (pts, taken)
    recording: bool = False
    skipped: int = 0
    due_cut: int = 0
    loose: list[Loose] = field(default_factory=list)

    def unit(self, index: int, taken: int, timestamp: int, at: int) -> None:
        clock, mono = self.clock, self.clocks.mono_ns(at)
        key = index % self.history.gop == 0
        pts = self.media.pts(timestamp, mono, reorders=False)
        shift = clock.observe(pts, mono)
        if key and clock.misfit and self.recording:
            clock.end_run()
            self.recording = False
            self.held.clear()
        if not self.recording:
            shift = clock.shift
            self._hold(pts + shift, taken, at, key=key)
            return
        if key and pts + shift >= self.due_cut:
            self._cut(pts + shift)
        if key:
            self._settle(at)
        self._place(pts + shift, taken, at)

    def _hold(self, pts: int, taken: int, at: int, *, key: bool) -> None:
        clock = self.clock
        if clock.misfit and clock.mapping is None and self.held:
            self.skipped += len(self.held)
            self.held.clear()
        if not self.held and not key:
            self.skipped += 1
            return
        clock.misfit = ""
        self.held.append((pts, taken))
        if clock.settled(self.clocks.mono_ns(at)):
            self._start(at)

    def tick(self, at: int) -> None:
        mono = self.clocks.mono_ns(at)
        self.clock.set_wall(self.clocks.offset_ns(at) + mono, mono)
        if not self.recording and self.held and self.clock.settled(mono):
            self._start(at)

    def _start(self, at: int) -> None:
        held, self.held = self.held, []
        self.run_clocks.append(self.clock.start_run())
        self.recording = True
        # What the wall clock did before the last tick is known to the new run, and so is RTP time when it goes on.
        self.loose = [one for one in self.loose if not one.by_wall or at - one.since < TICK]
        self._cut(held[0][0])
        for pts, taken in held:
            self._place(pts, taken, at)
        self.loose = [one for one in self.loose if one.lasting or at - one.since < TICK]

    def _cut(self, pts: int) -> None:
        self.mappings.append((len(self.run_clocks), self.clock.begin_segment(pts)))
        self.due_cut = pts + self.history.cut_s * HZ

    def _settle(self, at: int) -> None:
        """A random-access picture at which no run ended although it could: what is over by then fits again."""
        self.loose = [one for one in self.loose if at < one.until]

    def _place(self, pts: int, taken: int, at: int) -> None:
        mapping = self.mappings[-1][1]
        capture = mapping.capture_ns(pts)
        said = self.clocks.mono_ns(taken) + self.clocks.offset_ns(at)
        true_ns = self.history.wall_ns + taken
        error = said - true_ns
        if self.run_clocks[-1] is RunClock.CAMERA:
            said, error = true_ns + self.history.camera_offset_ns, self.history.camera_offset_ns
        allowed = BOUND + sum(one.more_ns for one in self.loose)
        self.placed.append(
            Placed(len(self.run_clocks), len(self.mappings), at, capture, capture - said, allowed, error)
        )


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of `taken`, read at `at`."""

    index: int
    taken: int
    timestamp: int
    at: int


@dataclass(frozen=True, slots=True)
class Tick:
    """The recorder looks at its clocks."""

    at: int


@dataclass(frozen=True, slots=True)
class Report:
    """A sender report about the picture of `timestamp`, which was taken at `ntp_ns` by the camera's clock."""

    timestamp: int
    ntp_ns: int
    at: int


def events(history: History, clocks: Clocks, hurried: Callable[[int], bool]) -> Iterator[Picture | Tick | Report]:
    """`hurried` says of a monotonic time whether the connection is to be read as its bytes come."""
    r = random.Random(history.seed ^ 0x7042)
    turn = round(history.turn_ms * MS)
    next_turn, in_turns = turn, False
    next_tick, next_report = TICK, S
    for index, (taken, timestamp, arrived) in enumerate(arrivals(history)):
        while turn and next_turn < arrived:
            in_turns = not (hurried(clocks.mono_ns(next_turn)) or next_turn < HURRY_NS)
            next_turn += turn + r.randint(0, 300_000)
        at = next_turn if in_turns else arrived
        while next_tick <= at:
            yield Tick(next_tick)
            next_tick += TICK
        yield Picture(index, taken, timestamp, at)
        if taken >= next_report:
            next_report += 5 * S
            yield Report(timestamp, history.wall_ns + taken + history.camera_offset_ns, at)
    yield Tick(at)


def play(history: History) -> Outcome:
    """The whole history, and where every picture was placed."""
    clocks = Clocks(history)
    clock = ClockMap(HZ, history.wall_ns, MONO, trust_camera=history.trust)
    player = _Player(history, clocks, clock, MediaTime(HZ))
    steps, jumps = list(history.steps), list(history.jumps)
    shown = at = 0
    for event in events(history, clocks, clock.hurried):
        at = event.at
        if isinstance(event, Tick):
            player.tick(at)
        elif isinstance(event, Report):
            pts = player.media.peek(event.timestamp)
            if pts is not None:
                clock.on_report(SenderReport(pts, event.ntp_ns, clocks.mono_ns(at)))
        else:
            shown += 1
            while steps and steps[0][0] <= at:
                when, by = steps.pop(0)
                player.loose.append(Loose(when, when + NOTICED, abs(by), by_wall=True))
            while jumps and jumps[0][0] <= event.taken:
                player.loose.append(_after_jump(history, at, jumps.pop(0)[1]))
            player.unit(event.index, event.taken, event.timestamp, at)
    camera, error = clock.camera_offset, None
    if camera is not None:
        true_offset = history.wall_ns + history.camera_offset_ns + at - clocks.offset_ns(at) - clocks.mono_ns(at)
        error = abs(camera.offset_ns - true_offset) - camera.uncertainty_ns
    return Outcome(
        player.placed, player.mappings, player.run_clocks, clock, shown, player.skipped, len(player.held), error, at
    )


def _after_jump(history: History, at: int, by: int) -> Loose:
    # RTP time that jumps goes on by the arrival of two pictures, one of which may have come late.
    late = round((200 if history.jitter_ms else 0) + history.turn_ms + history.delay_ms) * MS
    late += sum(length for _, length in history.stalls) + min(abs(by) * S // HZ, S)
    slow = history.fps <= 5  # its pictures' places within a turn take some seconds to go round
    if by < 0:  # media time may seem late from now on, which shows as delay that rose
        return Loose(at, at + FORGOTTEN * (2 if slow else 1), late, lasting=True)
    return Loose(at, at + NOTICED + (10 * S if slow and history.turn_ms else 0), late)
