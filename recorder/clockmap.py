"""Media time → capture time of a live stream: pure, fed with what happened, reading no clock itself.

A camera's clock is not believed (unless its profile says so) and the network delays but never hastens. So capture time
is media time laid on the recorder's clock by the *lower envelope* of (arrival - media time): the least over the last
30 s. A stalled sender's backlog arrives late and therefore never moves it. What remains unknown is the delay of the
fastest way through camera and network.

- The first second of a run is held back by the caller (`settled`), because a server that bursts a cached GOP makes the
  first estimate too late; likewise where the estimate fell, so that it rests on the few pictures since. A camera of a
  few pictures a second is given a little longer.
- Every segment has one linear mapping (`begin_segment`). It starts where the mapping before it ends, so the segments
  of a run neither overlap nor leave holes, and its rate takes the error to the estimate away within a minute: drift as
  learned from the segments before plus error / 60 s, within ±0.2 % of the run's own rate. Crystals are off by at most
  0.01 %; 0.2 % is invisible in playback and removes 120 ms a minute, more than jitter leaves after settling.
- `misfit` says why the run should end at the next random-access picture: the estimate left the mapping by over 80 ms
  (a wall-clock step, a first estimate that was too late, delay that rose for good), media time jumped, or it runs at a
  rate that is simply false ("25 fps" delivered as 21). In the last case the next run begins with the measured rate.
- After a jump no footage is lost: `observe` returns ticks to add to media time so that units go on at their arrival's
  pace in the old mapping until the run ends.
- Media time that jumps again and again lets no run begin. After `GIVE_UP_NS` of that it is unusable for as long as the
  connection lasts (`by_arrival`): media time is then derived from arrival, as it is for timestamps that stand still.

Invariants: the mappings of a run are continuous at their borders and strictly rising; nothing here allocates per unit.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from statistics import median_low

from vms.model import Anchor, ClockMapping, RunClock, SenderReport

SECOND_NS = 1_000_000_000
SETTLE_NS = SECOND_NS
SETTLE_UNITS = 8  # among so few one came without much delay
APART_NS = 5_000_000  # what comes closer together is a burst, and one piece of knowledge
SETTLE_AT_MOST_NS = 4 * SECOND_NS
SILENT_NS = 2 * SECOND_NS  # nothing more is to be learned of a camera that fell silent before the attempt ends
LEARN_NS = 2 * SECOND_NS  # after media time began anew, from which its place on our clock is told
BUCKET_NS = SECOND_NS
WINDOW_BUCKETS = 30
TOLERANCE_NS = 80_000_000  # 20 ms short of what is promised: the estimate lags behind a clock that is being slewed
FALL_NS = 40_000_000  # of the estimate at once: jitter and reading in turns do less
JUMP_NS = SECOND_NS
GIVE_UP_NS = 5 * SECOND_NS
GIVE_UP_JUMPS = 3
DECAY_NS = 60 * SECOND_NS
MAX_CORRECTION_PPB = 2_000_000
LEARN_AFTER_NS = 20 * SECOND_NS  # a shorter segment says nothing about drift
SLOPE_STEPS = (11, 28)  # rises or falls in a row: soon for what is far off, later for little
SLOPE_STEP_NS = 10_000_000
SLOPE_TOTAL_NS = 400_000_000  # more than reading in turns can feign: its period, before the phase begins anew
MAX_RATE_PPB = 500_000_000
REPORTS = 9
CAMERA_LIMIT_NS = 86_400 * SECOND_NS  # a camera a day off has lost its clock, whatever its profile says


@dataclass(frozen=True, slots=True)
class CameraOffset:
    """The camera's wall clock less ours at the same media time: the median of the last sender reports."""

    offset_ns: int
    uncertainty_ns: int
    reports: int


class ClockMap:
    """The clock of one stream for as long as its connection lasts; it outlives runs."""

    def __init__(self, clock_hz: int, wall_ns: int, mono_ns: int, *, trust_camera: bool = False) -> None:
        self.clock_hz = clock_hz
        self.misfit = ""
        self.mapping: ClockMapping | None = None
        self.run_clock = RunClock.ARRIVAL
        self.by_arrival = False
        self._trust_camera = trust_camera
        self._wall_minus_mono = wall_ns - mono_ns
        self._jump_ticks = JUMP_NS * clock_hz // SECOND_NS
        self._shift = 0
        self._jumps = 0  # while no run could begin, and since when
        self._jumping_since = mono_ns
        self._jumped = ""
        self._base_ppb = 0
        self._next_base_ppb = 0
        self._drift_ppb = 0
        self._last_border: tuple[int, int] | None = None  # (ticks, error there in ns)
        self._first_mono: int | None = None
        self._reset(0, 0)
        self._first_mono = None

    def _reset(self, pts: int, arrival_mono_ns: int) -> None:
        """Forget everything measured: media time begins anew at `pts`."""
        self._origin = pts
        self._last_pts = pts
        self._last_mono = arrival_mono_ns
        self._first_mono = arrival_mono_ns
        self._learn_anew(arrival_mono_ns)
        self._unit_ns = SECOND_NS + self._base_ppb  # nanoseconds of our clock per second of media time
        self._low = arrival_mono_ns  # least (arrival - media) of the current bucket, and where it was
        self._low_pts = pts
        self._low_mono = arrival_mono_ns
        self._bucket_end = arrival_mono_ns + BUCKET_NS
        self._lows: deque[tuple[int, int]] = deque(maxlen=WINDOW_BUCKETS)  # (least, arrival of it) per bucket
        self._window_low = arrival_mono_ns
        self._reports: deque[tuple[int, int]] = deque(maxlen=REPORTS)  # (ntp - media, media)

    def observe(self, pts: int, arrival_mono_ns: int) -> int:
        """Take note of a unit. Returns ticks to add to its media time within the present run (0 unless it jumped)."""
        if self._first_mono is None:
            self._reset(pts, arrival_mono_ns)
        if arrival_mono_ns - self._last_mono > APART_NS:
            self._learned_units += 1
        if self.by_arrival:
            pts = self._derived(pts, arrival_mono_ns)
        else:
            step = pts - self._last_pts
            if step > self._jump_ticks or step < -self._jump_ticks:
                self._check_jump(pts, step, arrival_mono_ns)
        delay = arrival_mono_ns - (pts - self._origin) * self._unit_ns // self.clock_hz
        if arrival_mono_ns >= self._bucket_end:
            self._roll(arrival_mono_ns, delay, pts)
        elif delay < self._low:
            self._low, self._low_pts, self._low_mono = delay, pts, arrival_mono_ns
        self._last_pts = pts
        self._last_mono = arrival_mono_ns
        return self._shift

    def set_wall(self, wall_ns: int, mono_ns: int) -> None:
        """Both clocks now; call it about once a second. A step shows as misfit at once."""
        stepped_ns = wall_ns - mono_ns - self._wall_minus_mono
        self._wall_minus_mono = wall_ns - mono_ns
        if self.mapping is not None and self.run_clock is RunClock.ARRIVAL:
            self._check_fall()
            if self._check_fit() < 0 and abs(stepped_ns) < FALL_NS:
                self._learn_anew(self._last_mono)

    def on_report(self, report: SenderReport) -> None:
        """A sender report of this stream. Measured always, believed only where the camera is trusted."""
        if self._first_mono is None or self.by_arrival:
            return
        media = self._media_ns(report.pts)
        self._reports.append((report.ntp_ns - media, media))
        if not self._trust_camera or self.mapping is None or self.misfit:
            return
        if self.run_clock is RunClock.ARRIVAL:
            if self._camera_base() is not None:
                self.misfit = "the camera's clock became known"
        else:
            self._check_fit()

    def settled(self, mono_ns: int) -> bool:
        """Whether enough of this connection was seen to begin a run."""
        if self.by_arrival or self._first_mono is None:
            return self.by_arrival
        learned_ns = mono_ns - self._learning_since
        enough = self._learned_units >= SETTLE_UNITS or mono_ns - self._last_mono >= SILENT_NS
        return learned_ns >= (SETTLE_NS if enough else SETTLE_AT_MOST_NS)

    def hurried(self, mono_ns: int) -> bool:
        """Whether arrival must be known to the picture, so that the connection is not to be read in turns just now."""
        return self.by_arrival or not self.settled(mono_ns) or mono_ns - self._learning_since < LEARN_NS

    def start_run(self) -> RunClock:
        """Begin a run with what is known now. Segments before and after it are mapped independently."""
        self.end_run()
        if self._next_base_ppb != self._base_ppb:
            self._rebase()
        camera = self._trust_camera and self._camera_base() is not None
        self.run_clock = RunClock.CAMERA if camera else RunClock.ARRIVAL
        return self.run_clock

    def end_run(self) -> None:
        """The run is over; what was measured stays."""
        self.misfit = ""
        self.mapping = None
        self._last_border = None
        self._jumps = 0
        if not self.by_arrival:
            self._shift = 0

    def begin_segment(self, pts: int) -> ClockMapping:
        """The mapping of the segment whose first media time in output order is `pts` (shifted as `observe` said)."""
        before = self.mapping
        if before is None:
            self._drift_ppb = 0
            self._last_border = (pts, 0)
            self.mapping = ClockMapping(pts, self.estimate_ns(pts), self.clock_hz, self._base_ppb)
        elif self.misfit:
            self.mapping = ClockMapping(pts, before.capture_ns(pts), self.clock_hz, before.rate_ppb)
        else:
            start_ns = before.capture_ns(pts)
            error = self.estimate_ns(pts) - start_ns
            self._learn(pts, error, before.rate_ppb)
            correction = self._drift_ppb + error * SECOND_NS // DECAY_NS
            correction = max(-MAX_CORRECTION_PPB, min(MAX_CORRECTION_PPB, correction))
            self.mapping = ClockMapping(pts, start_ns, self.clock_hz, self._base_ppb + correction)
        return self.mapping

    def estimate_ns(self, pts: int) -> int:
        """The best present guess of the capture time of media time `pts`, without a mapping's continuity."""
        if self.run_clock is RunClock.CAMERA:
            base = self._camera_base()
            if base is not None:
                return base + self._media_ns(pts)
        return self._wall_minus_mono + self._envelope() + self._media_ns(pts)

    @property
    def base_rate_ppb(self) -> int:
        """The rate about which the mappings of the run are corrected: 0 unless the camera's media time is false."""
        return self._base_ppb

    @property
    def shift(self) -> int:
        """What to add to the media time of the unit observed last, now that its run may have ended."""
        return self._shift

    @property
    def jumping(self) -> str:
        """Why no run can begin, for people; empty when that is not media time's fault."""
        if self.by_arrival or self._jumps < 2:
            return ""
        return f"media time keeps jumping, last by {self._jumped}: no run can begin yet"

    @property
    def note(self) -> str:
        """What people should know of the times while recording goes on; empty when nothing is odd."""
        return "media time is unusable; arrival time is used" if self.by_arrival else ""

    @property
    def camera_offset(self) -> CameraOffset | None:
        """How far the camera's clock is ahead of ours; None until it has sent a report."""
        base = self._reports_median()
        if base is None:
            return None
        spread = max(abs(offset - base) for offset, _ in self._reports)
        ours = self._wall_minus_mono + self._envelope()
        return CameraOffset(base - ours, max(spread, self.uncertainty_ns), len(self._reports))

    @property
    def uncertainty_ns(self) -> int:
        """Half the spread of the envelope over the last seconds."""
        recent = [low for low, _ in list(self._lows)[-10:]] or [self._low]
        return (max(recent) - min(recent)) // 2

    def anchor(self, boot_id: str) -> Anchor:
        """The present tie between media time and the clocks, at the least delayed unit of the current bucket."""
        base = self._reports_median()
        return Anchor(
            ticks=self._low_pts,
            arrival_ns=self._wall_minus_mono + self._low_mono,
            mono_ns=self._low_mono,
            boot_id=boot_id,
            source_ns=None if base is None else base + self._media_ns(self._low_pts),
            uncertainty_ns=self.uncertainty_ns,
        )

    def _media_ns(self, pts: int) -> int:
        return (pts - self._origin) * self._unit_ns // self.clock_hz

    def _envelope(self) -> int:
        return min(self._window_low, self._low)

    def _reports_median(self) -> int | None:
        return median_low(offset for offset, _ in self._reports) if self._reports else None

    def _camera_base(self) -> int | None:
        """UTC of media time's origin as the camera states it, unless it is out of all reason."""
        base = self._reports_median()
        if base is None or abs(base - self._wall_minus_mono - self._envelope()) > CAMERA_LIMIT_NS:
            return None
        return base

    def _roll(self, arrival_mono_ns: int, delay: int, pts: int) -> None:
        """Close the bucket and begin the next one with this unit."""
        self._check_fall()
        self._lows.append((self._low, self._low_mono))
        self._window_low = min(low for low, _ in self._lows)
        self._low, self._low_pts, self._low_mono = delay, pts, arrival_mono_ns
        self._bucket_end += ((arrival_mono_ns - self._bucket_end) // BUCKET_NS + 1) * BUCKET_NS
        if self.mapping is not None and not self.misfit:
            self._check_slope()
            if self._check_fit() < 0:
                self._learn_anew(arrival_mono_ns)

    def _learn_anew(self, mono_ns: int) -> None:
        """What is known rests on the units from now on."""
        self._learning_since = mono_ns
        self._learned_units = 0

    def _check_fall(self) -> None:
        """A unit far earlier than all of the window: media time skipped ahead, or the first estimate was too late.

        What the sender reports tied to media time before it does not hold then, unless the run lives by them.
        """
        if self.mapping is None or self._window_low - self._low <= FALL_NS or self._low_mono <= self._learning_since:
            return
        self._learn_anew(self._low_mono)
        if self.run_clock is RunClock.ARRIVAL:
            self._reports.clear()

    def _check_fit(self) -> int:
        """The misfit just found, in ns; 0: none."""
        mapping = self.mapping
        if mapping is None or self.misfit:
            return 0
        error = self.estimate_ns(self._last_pts) - mapping.capture_ns(self._last_pts)
        if abs(error) <= TOLERANCE_NS:
            return 0
        self.misfit = f"media time and the clock differ by {error // 1_000_000} ms"
        return error

    def _check_slope(self) -> None:
        """Media time that steadily runs faster or slower than ours by over 1.5 % is not drift but a false rate.

        The middle step stands for all of them, so that one stall among them proves nothing.
        """
        for count in SLOPE_STEPS:
            if len(self._lows) > count and self._slopes(list(self._lows)[-count - 1 :]):
                return

    def _slopes(self, lows: list[tuple[int, int]]) -> bool:
        steps = [b[0] - a[0] for a, b in pairwise(lows)]
        total, span = lows[-1][0] - lows[0][0], lows[-1][1] - lows[0][1]
        steady = min(steps) > SLOPE_STEP_NS or max(steps) < -SLOPE_STEP_NS
        contiguous = span < 2 * len(lows) * BUCKET_NS
        proven = abs(median_low(steps)) * len(steps) > SLOPE_TOTAL_NS
        if not (steady and contiguous and proven and span > total):
            return False
        # Media seconds of the present rate passed in `span` of our time: span - total.
        rate = self._unit_ns * span // (span - total) - SECOND_NS
        if abs(rate) <= MAX_RATE_PPB:
            self._next_base_ppb = rate
            self.misfit = f"media time runs at {1e9 / (SECOND_NS + rate):.3f} of real time"
        return True

    def _check_jump(self, pts: int, step: int, arrival_mono_ns: int) -> None:
        """Tell a jump of media time from a pause: after a pause the delay is what it was, after a jump it is not."""
        delay = arrival_mono_ns - self._media_ns(pts)
        if step > 0 and delay > self._envelope() - JUMP_NS:
            return
        elapsed = max(0, arrival_mono_ns - self._last_mono) * self.clock_hz // SECOND_NS
        shift = self._shift + self._last_pts + max(1, elapsed) - pts
        self._base_ppb = self._next_base_ppb = 0
        self._jumped = f"{step / self.clock_hz:+.1f} s"
        if self.mapping is None:
            self._count_jump(arrival_mono_ns)
        self._reset(pts, arrival_mono_ns)
        self._shift = shift if self.mapping is not None else 0
        self.misfit = f"media time jumped by {self._jumped}"

    def _count_jump(self, arrival_mono_ns: int) -> None:
        """One more while no run could begin."""
        if not self._jumps:
            self._jumping_since = self._last_mono if self._first_mono is None else self._first_mono
        self._jumps += 1
        waited_ns = arrival_mono_ns - self._jumping_since
        self.by_arrival = self._jumps >= GIVE_UP_JUMPS and waited_ns >= GIVE_UP_NS

    def _derived(self, pts: int, arrival_mono_ns: int) -> int:
        """Media time by arrival: on the present pace, and strictly rising."""
        passed = (arrival_mono_ns - (self._first_mono or 0)) * self.clock_hz // SECOND_NS
        derived = max(self._last_pts + 1, self._origin + passed)
        self._shift = derived - pts
        return derived

    def _learn(self, pts: int, error: int, rate_ppb: int) -> None:
        """Drift of the camera against the run's rate, from how the error grew over the segment that ends here."""
        last = self._last_border
        self._last_border = (pts, error)
        if last is None:
            return
        span = (pts - last[0]) * SECOND_NS // self.clock_hz
        if span >= LEARN_AFTER_NS:
            seen = rate_ppb - self._base_ppb + (error - last[1]) * SECOND_NS // span
            self._drift_ppb += (seen - self._drift_ppb) // 2
            self._drift_ppb = max(-MAX_CORRECTION_PPB, min(MAX_CORRECTION_PPB, self._drift_ppb))

    def _rebase(self) -> None:
        """Say everything measured in media time of the new rate."""
        old = self._unit_ns
        self._base_ppb = self._next_base_ppb
        new = self._unit_ns = SECOND_NS + self._base_ppb
        self._lows = deque(((t - (t - low) * new // old, t) for low, t in self._lows), maxlen=WINDOW_BUCKETS)
        self._low = self._low_mono - self._media_ns(self._low_pts)
        self._window_low = min((low for low, _ in self._lows), default=self._low)
        self._reports = deque(
            ((base + media - media * new // old, media * new // old) for base, media in self._reports), maxlen=REPORTS
        )
