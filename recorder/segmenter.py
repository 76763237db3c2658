"""Access units → segments: where to cut, when to write a fragment, what was not there. Pure decisions, no I/O, no clock.

One `Segmenter` serves one run of one stream. It takes units in decoding order and gives actions to carry out in order;
what to do with buffers, holes and skipped units is the caller's business (`recorder.recording`).

Invariants:
- Every unit from the first random-access picture on is in exactly one fragment of one segment, in the order it came.
- Segments of a run never overlap; where nothing is lost one ends at the tick at which the next begins.
- Decoding times never go back within a segment; no segment exceeds the policy's limits but by a single unit that does.
- At most one unit and the reorder depth are held back, plus the fragment being gathered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice

from recorder.holes import JOIN_NS, Hole, HoleFinder
from vms.errors import MalformedError
from vms.media.audio import frame_ticks
from vms.media.digest import first_seal
from vms.media.reorder import DecodeTimes
from vms.media.segment_head import ClockState, SegmentHead
from vms.media.segment_writer import Sample, SegmentWriter
from vms.model import AccessUnit, ClockMapping, CodecConfig, RunInfo, SegmentFacts

SECOND_NS = 1_000_000_000
_RESERVED_BYTES = 64 << 10  # for what follows the last unit of a segment: trailer, index, its own sample row
_GROUP_BYTES = 200  # at most, of a group and a fragment in them
_MAX_FRAGMENT_UNITS = 500
_MAX_FRAGMENT_BYTES = 16 << 20
_DEFAULT_FPS = 25


@dataclass(frozen=True, slots=True)
class SegmentPolicy:
    """When to cut. A segment is cut at the first random-access picture at or after `target_ns`."""

    target_ns: int = 60 * SECOND_NS
    max_ns: int = 300 * SECOND_NS
    max_bytes: int = 256_000_000
    fragment_ns: int = SECOND_NS // 2
    hole_join_ns: int = JOIN_NS
    turn_bytes: int = 64 << 10  # so much is worth a fragment of its own while it is in the processor's cache
    config_changes: int = 4  # more than so many in a minute: parameter sets go in band


@dataclass(frozen=True, slots=True)
class Begin:
    """A new segment; its file begins with `buffers`."""

    head: SegmentHead
    config: CodecConfig
    in_band: bool
    buffers: list[bytes]


@dataclass(frozen=True, slots=True)
class Fragment:
    """One fragment for one `writev`. Times in media time of the run."""

    buffers: list[bytes]
    offset: int  # in the file
    size_bytes: int
    units: int
    key: bool  # begins with a random-access picture
    first_pts: int


@dataclass(frozen=True, slots=True)
class Finish:
    """The segment's last bytes."""

    buffers: list[bytes]
    facts: SegmentFacts


@dataclass(frozen=True, slots=True)
class Skipped:
    """Units before the first random-access picture, which nobody could decode: not written."""

    units: int
    start_pts: int
    end_pts: int


Action = Begin | Fragment | Finish | Hole | Skipped


class Segmenter:
    """Cuts one run. `push` every unit, `flush` at the end; then it is spent."""

    def __init__(
        self,
        run: RunInfo,
        mapping_at: Callable[[int], ClockMapping],
        *,
        policy: SegmentPolicy | None = None,
        clock_state: Callable[[], ClockState] = ClockState,
        digests: bool = True,
    ) -> None:
        """`mapping_at` is asked once per segment for the mapping from its first media time in output order."""
        self._run = run
        self._mapping_at = mapping_at
        self._policy = policy or SegmentPolicy()
        self._clock_state = clock_state
        self._digests = digests
        self._seal = first_seal(run.stream_id, run.host, run.epoch, run.origin, run.id)
        self._number = 0
        self._run_start = 0
        self._end_ticks: int | None = None  # of the segment before
        # What came last:
        self._config: CodecConfig | None = None
        self._video = True
        self._depth = 0
        self._times = DecodeTimes(0)
        self._holes = HoleFinder(0, 0)
        self._changes: deque[int] = deque()  # media times of changed configurations
        self._last_pts: int | None = None
        self._jump_ticks = 0
        self._skipped: Skipped | None = None
        self._held: deque[AccessUnit] = deque()
        self._dts: deque[int] = deque()  # of the units held, as far as known
        self._out: list[Action] = []
        # The segment being written:
        self._writer: SegmentWriter | None = None
        self._segment_config: CodecConfig | None = None  # of the last unit in it
        self._in_band = False
        self._must_cut = False
        self._start = 0
        self._target_dts = 0
        self._limit_pts = 0
        self._max_pts = 0
        self._last_duration = 0
        # The fragment being gathered:
        self._samples: list[Sample] = []
        self._bytes = 0
        self._fragment_end = 0
        self._fragment_ticks = 0

    @property
    def waiting_for_key(self) -> bool:
        """Whether nothing can be recorded yet for want of a random-access picture."""
        return self._last_pts is None

    @property
    def skipped_units(self) -> int:
        """Units before the first random-access picture."""
        return self._skipped.units if self._skipped else 0

    def push(self, unit: AccessUnit) -> list[Action]:
        """The next unit in decoding order.

        Raises MalformedError when media time jumps by more than the longest segment (the caller ends the run long
        before), ValueError when the clock of a unit is not the mapping's.
        """
        out: list[Action] = []
        self._out = out
        pts = unit.pts
        if unit.config is not self._config:
            self._note_config(unit)
        last = self._last_pts
        if last is None:
            if self._video and not unit.key:
                self._skip(pts)
                return out
            if self._skipped is not None:
                out.append(replace(self._skipped, end_pts=max(pts, self._skipped.start_pts)))
        elif not -self._jump_ticks <= pts - last <= self._jump_ticks:
            raise MalformedError("access units", f"media time jumps from {last} to {pts}")
        self._last_pts = pts
        self._holes.add(pts)
        known = self._dts
        known += self._times.push(pts)
        held = self._held
        held.append(unit)
        if len(held) > self._depth + 1:
            dts = known.popleft()
            self._settle(held.popleft(), dts, known[0] - dts)
        out += self._holes.ended()
        return out

    def end_turn(self) -> list[Action]:
        """Nothing more comes for a while: write what was gathered, if that is enough for a fragment."""
        if self._bytes < self._policy.turn_bytes:
            return []
        self._out = []
        self._emit()
        return self._out

    def flush(self, end_pts: int | None = None) -> list[Action]:
        """Write what is held back and finish the segment. `end_pts`: media time of the unit that follows, if known."""
        self._out = []
        self._drain()
        if self._writer is not None:
            self._finish(end_pts)
        self._out += self._holes.flush()
        if self._last_pts is None and self._skipped is not None:
            self._out.append(self._skipped)
        return self._out

    def end_after(self, latest_pts: int, next_pts: int | None) -> int:
        """Where units up to `latest_pts` end: where the next one begins; across a hole, where their own last frame does."""
        frame = self._holes.interval or self._last_duration
        if next_pts is not None and latest_pts < next_pts and 2 * (next_pts - latest_pts) <= 3 * frame:
            return next_pts
        return latest_pts + frame

    def _skip(self, pts: int) -> None:
        so_far = self._skipped or Skipped(0, pts, pts)
        self._skipped = Skipped(so_far.units + 1, min(so_far.start_pts, pts), max(so_far.end_pts, pts))

    def _note_config(self, unit: AccessUnit) -> None:
        """Take over another configuration; if decoding times cannot go on under it, settle everything before it."""
        before, config = self._config, unit.config
        self._config = config
        if before is not None:
            if config == before:
                return
            self._changes.append(unit.pts)
        if before is None or _timing(config) != _timing(before):
            self._drain()
            self._holes.drain()
            self._must_cut = self._writer is not None
            self._video = config.codec.is_video
            self._depth = config.reorder_depth
            self._times = DecodeTimes(config.reorder_depth)
            self._holes = HoleFinder(config.reorder_depth, self._ticks(self._policy.hole_join_ns), self._holes)
            self._fragment_ticks = self._ticks(self._policy.fragment_ns)
            self._jump_ticks = self._ticks(self._policy.max_ns)

    def _ticks(self, ns: int) -> int:
        assert self._config is not None
        return ns * self._config.clock_hz // SECOND_NS

    def _drain(self) -> None:
        """Settle every unit held back; the last one lasts as long as the one before it."""
        known = self._dts
        known += self._times.flush()
        while self._held:
            unit, dts = self._held.popleft(), known.popleft()
            self._settle(unit, dts, known[0] - dts if known else self._last_duration or nominal_duration(unit))

    def _settle(self, unit: AccessUnit, dts: int, duration: int) -> None:
        """Put a unit whose times are known into the segment, having cut where that is due."""
        pts = unit.pts
        starts_here = unit.key or not self._video
        if self._writer is None or self._is_due(unit, dts, duration, starts_here):
            self._cut(unit, dts, starts_here)
        elif unit.key and self._video and self._samples:
            self._emit()
        samples = self._samples
        if not samples:
            self._fragment_end = dts + self._fragment_ticks
        samples.append((unit, dts, duration))
        self._bytes += len(unit.data)
        self._max_pts = max(self._max_pts, pts)
        self._last_duration = duration
        if (
            dts + 2 * duration > self._fragment_end
            or self._bytes > _MAX_FRAGMENT_BYTES
            or len(samples) >= _MAX_FRAGMENT_UNITS
        ):
            self._emit()

    def _is_due(self, unit: AccessUnit, dts: int, duration: int, starts_here: bool) -> bool:
        """Whether a new segment begins with this unit."""
        writer = self._writer
        assert writer is not None
        if self._must_cut or (starts_here and dts >= self._target_dts):
            return True
        if unit.config is not self._segment_config and unit.config != self._segment_config:
            if not self._in_band:
                return True
            self._segment_config = unit.config
        if unit.pts + min(duration, 2 * (self._holes.interval or duration)) > self._limit_pts:
            return True
        overhead = _RESERVED_BYTES + _GROUP_BYTES * (writer.key_units + len(self._samples))
        return writer.size_bytes + self._bytes + len(unit.data) + overhead > self._policy.max_bytes

    def _cut(self, unit: AccessUnit, dts: int, independent: bool) -> None:
        """Finish the segment, if there is one, and begin the next with this unit."""
        first = min([unit.pts, *(later.pts for later in islice(self._held, self._depth))])
        if self._writer is not None:
            self._finish(first)
        start = first if self._end_ticks is None else max(first, self._end_ticks)
        if self._number == 0:
            self._run_start = start
        mapping = self._mapping_at(start)
        config = unit.config
        if mapping.clock_hz != config.clock_hz:
            raise ValueError(f"a mapping of {mapping.clock_hz} Hz for units of {config.clock_hz} Hz")
        while self._changes and self._changes[0] < unit.pts - 60 * config.clock_hz:
            self._changes.popleft()
        self._in_band = self._video and len(self._changes) > self._policy.config_changes
        head = SegmentHead(
            stream_id=self._run.stream_id,
            run_id=self._run.id,
            number=self._number,
            origin=self._run.origin,
            host=self._run.host,
            epoch=self._run.epoch,
            clock=self._run.clock,
            mapping=mapping,
            run_start_ticks=self._run_start,
            base_ticks=dts,
            start_ticks=start,
            independent=independent,
            previous_seal=self._seal,
        )
        self._writer = SegmentWriter(head, config, digests=self._digests, in_band=self._in_band)
        self._out.append(Begin(head, config, self._in_band, self._writer.begin()))
        self._segment_config = config
        self._must_cut = False
        self._number += 1
        self._start = start
        self._target_dts = dts + self._ticks(self._policy.target_ns)
        self._limit_pts = start + self._ticks(self._policy.max_ns)
        self._max_pts = unit.pts

    def _emit(self) -> None:
        """Write the fragment gathered."""
        writer, samples = self._writer, self._samples
        assert writer is not None
        first = samples[0][0]
        offset = writer.size_bytes
        buffers = writer.fragment(samples)
        key = first.key or not self._video
        self._out.append(Fragment(buffers, offset, writer.size_bytes - offset, len(samples), key, first.pts))
        self._samples = []
        self._bytes = 0

    def _finish(self, next_start: int | None) -> None:
        writer = self._writer
        assert writer is not None
        if self._samples:
            self._emit()
        end = self.end_after(self._max_pts, next_start)
        if end != next_start:
            end = min(end, self._limit_pts)
            if next_start is not None and end < next_start:
                self._holes.border(next_start)
        end = max(end, self._start + 1)
        buffers, facts = writer.finish(end, self._clock_state())
        self._out.append(Finish(buffers, facts))
        self._seal = facts.seal
        self._end_ticks = end
        self._writer = None


def nominal_duration(unit: AccessUnit) -> int:
    """What a unit lasts, in ticks, when no other unit can tell."""
    config = unit.config
    if config.codec.is_video:
        return max(1, int(config.clock_hz / (config.nominal_fps if config.nominal_fps >= 1 else _DEFAULT_FPS)))
    return max(1, frame_ticks(config, unit.data))


def _timing(config: CodecConfig) -> tuple[str, int, int]:
    """What decoding times depend on."""
    return config.codec, config.clock_hz, config.reorder_depth
