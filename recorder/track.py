"""One stream while it is received: units in, segments, runs, gaps and live units out.

Owns the order of things for a unit: clock map → segmenter → spool → subscribers. Synchronous and on the event loop; only
sealing goes elsewhere. Does not own the connection, retries, or when to give up (`recorder.recording`).

Invariants: a run begins with a random-access picture once the clock map has settled, and ends at one when media time no
longer fits; its units stand in exactly one place; while it lasts no gap is open. What the disk refuses ends the attempt
by `SpoolError`; the part file stays and is salvaged.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from uuid import UUID, uuid4

from recorder.clockmap import ClockMap
from recorder.gaps import GapBook
from recorder.gop import GopStart, MemoryGop
from recorder.holes import Hole
from recorder.relay import Relay, Subscription
from recorder.segmenter import Action, Begin, Finish, Fragment, Segmenter, SegmentPolicy, Skipped
from recorder.untold import left_out, lost_on_the_way
from storage.facts import RunFact
from storage.spool import Spool
from storage.spool_files import OpenSegment
from vms.clock import Clock
from vms.errors import SpoolError
from vms.media.segment_head import ClockState
from vms.model import (
    AccessUnit,
    Anchor,
    ClockMapping,
    CodecConfig,
    GapReason,
    Origin,
    RunInfo,
    SegmentFacts,
    SenderReport,
    TimedUnit,
    hole_gap_id,
)
from vms.ntp import HostClock

log = logging.getLogger(__name__)

SECOND_NS = 1_000_000_000
ANCHOR_NS = 600 * SECOND_NS
MAX_ANCHORS = 288
MAX_HELD_BYTES = 32 << 20  # while the clock map settles
LOSS_NEAR_NS = 2 * SECOND_NS
REMAP_NS = 60 * SECOND_NS  # of a stream that is only relayed


@dataclass(frozen=True, slots=True)
class Host:
    """Who records."""

    name: str
    boot_id: str
    epoch: int = 0
    policy: SegmentPolicy = field(default_factory=SegmentPolicy)
    digests: bool = True


@dataclass(slots=True)
class Counters:
    """What came, since start."""

    units: int = 0
    bytes: int = 0
    key_units: int = 0
    damaged_units: int = 0
    lost_packets: int = 0
    skipped_units: int = 0
    runs: int = 0
    segments: int = 0
    last_mono_ns: int = 0


class Track:
    """A `UnitSink` that records and relays one stream. `record` False: relay only."""

    def __init__(
        self,
        stream_id: UUID,
        host: Host,
        spool: Spool,
        clock: Clock,
        *,
        record: bool = True,
        trust_clock: bool = False,
        host_clock: Callable[[], HostClock] = HostClock,
        since_ns: int = 0,
    ) -> None:
        """`host_clock` tells whether this machine's own clock is right; without it that is not known. `since_ns`: since
        when a stream that was never recorded is expected; 0: not known."""
        self.stream_id, self.since_ns, self.record = stream_id, since_ns, record
        self.withheld = False  # the spool has no room for it: runs that begin now are relayed and not recorded
        self.counters = Counters()
        self.relay = Relay()
        self.gaps = GapBook(stream_id, spool.put_gap)
        self.config: CodecConfig | None = None
        self.clock_map: ClockMap | None = None
        self.run: RunInfo | None = None
        self.failure: SpoolError | None = None  # of a seal; ends the attempt
        self.left_behind = False  # a part file that the disk did not let be finished; whoever salvages it says False
        self.attempt_units = 0
        self.first_mono_ns = 0  # of the attempt
        self.key_mono_ns = 0  # when its last key came; 0: none did
        self._host, self._spool, self._clock = host, spool, clock
        self._trust_clock, self._host_clock = trust_clock, host_clock
        self._segmenter: Segmenter | None = None
        self._held: list[AccessUnit] = []
        self._held_bytes = 0
        self._anchors: list[Anchor] = []
        self._open: OpenSegment | None = None
        self._begun: Begin | None = None
        self._gop: tuple[int, int] | None = None  # (media time, offset) of the last fragment that begins with a key
        self._tail: list[AccessUnit] = []  # given to the segmenter and not yet in the file
        self._memory = MemoryGop()
        self._capture: Callable[[int], int] = lambda _pts: 0
        self._written_pts: int | None = None  # the latest in the open segment's file, until it is known where it ends
        self._taken_pts = 0  # of the last unit of the run
        self._last_end_ns: int | None = None
        self._sealed_end_ns: int | None = None  # of the run
        self._losses: deque[int] = deque(maxlen=256)
        self._remap_pts = 0
        self._broken = False  # the disk refused a write of this run
        self._stated = False  # the run has a fact file
        self._sealing: set[asyncio.Task[None]] = set()

    # UnitSink

    def on_unit(self, unit: AccessUnit) -> None:
        """Raises `SpoolError` when the disk refuses."""
        counters = self.counters
        counters.units += 1
        counters.bytes += len(unit.data)
        counters.last_mono_ns = mono_ns = unit.arrival_mono_ns
        self.attempt_units += 1
        if unit.config is not self.config:
            self._change_config(unit.config, mono_ns)
        clock_map = self.clock_map
        assert clock_map is not None
        shift = clock_map.observe(unit.pts, mono_ns)
        if unit.damaged:
            counters.damaged_units += 1
        if unit.key:
            counters.key_units += 1
            self.key_mono_ns = mono_ns
            if clock_map.misfit and self.run is not None:
                self.end_run(None, clock_map.misfit, next_pts=unit.pts + shift)
            elif self.run is not None and self._segmenter is None and self.record and not self.withheld:
                self.end_run(None, "it is recorded again")
        if self.run is None:
            shift = clock_map.shift  # that of the run that has ended holds no more
        if shift:
            unit = unit._replace(pts=unit.pts + shift)
        if self.run is None:
            self._hold(unit)
        else:
            self._take(unit)

    def end_turn(self) -> None:
        """Nothing more comes for a while (`vms.rtsp.turns`). Raises `SpoolError` when the disk refuses."""
        if self._segmenter is not None and not self._broken:
            self._carry_out_all(self._segmenter.end_turn())

    def on_loss(self, packets: int) -> None:
        self.counters.lost_packets += packets
        if self._begun is not None or self._tail:
            self._losses.append(self._taken_pts)
        elif self._held:
            self._losses.append(self._held[-1].pts)

    def on_sender_report(self, report: SenderReport) -> None:
        if self.clock_map is not None:
            self.clock_map.on_report(report)

    # Attempts

    def begin_attempt(self) -> None:
        """A new connection: nothing measured on the old one holds."""
        self.end_run(GapReason.INTERNAL_ERROR)  # if a bug kept the last attempt from ending it
        self.attempt_units = self.key_mono_ns = 0
        self.failure = self.config = self.clock_map = None
        self._losses.clear()
        self._held.clear()
        self._held_bytes = 0

    def tick(self, wall_ns: int, mono_ns: int) -> None:
        """About twice a second: clocks, settling, failures of sealing. Raises `SpoolError`."""
        if self.failure is not None:
            raise self.failure
        clock_map = self.clock_map
        if clock_map is not None:
            clock_map.set_wall(wall_ns, mono_ns)
            if self.run is None and self._held and clock_map.settled(mono_ns):
                self._start_run()

    def end_run(self, reason: GapReason | None, detail: str = "", next_pts: int | None = None) -> None:
        """Finish the run, if there is one. `reason` None: another run follows on the same connection (`detail` says why).

        What the disk refuses now stays in the part file for salvage.
        """
        run, segmenter = self.run, self._segmenter
        self._held.clear()
        self._held_bytes = 0
        if run is None:
            return
        try:
            if segmenter is None:
                if not self.record:
                    self._last_end_ns = self._capture(self._remap_pts)
            else:
                self._carry_out_all(segmenter.flush(next_pts))
        except SpoolError as error:
            log.error("stream %s: the end of a segment could not be written: %s", self.stream_id, error)
        finally:
            self._drop_open()
            if self.clock_map is not None:
                self.clock_map.end_run()
            self.run = self._segmenter = None
            self._begun = self._gop = None
            stated, self._stated = self._stated, False
            self._broken = False
            self._tail.clear()
            self._losses.clear()  # media time of another run says nothing of where these were
            self._memory.clear()
        if stated:
            ended = replace(run, end_ns=self.last_end_ns(run.start_ns), end_reason=reason)
            self._spool.put_run(RunFact(ended, tuple(self._anchors)))
        if detail:
            log.info("stream %s: run %s ended: %s", self.stream_id, run.id, detail)

    def last_end_ns(self, default_ns: int) -> int:
        """Where the recording ended last, as far as this process knows."""
        return default_ns if self._last_end_ns is None else max(self._last_end_ns, default_ns)

    @property
    def settling(self) -> bool:
        """Whether a run is about to begin."""
        return bool(self._held)

    @property
    def recording(self) -> bool:
        """Whether units go to the disk now."""
        return self._segmenter is not None

    @property
    def recorded_to_ns(self) -> int | None:
        return self._last_end_ns

    async def sealed(self) -> None:
        """Wait until every finished segment is sealed."""
        while self._sealing:
            await asyncio.gather(*self._sealing, return_exceptions=True)

    # Live

    def join(self) -> tuple[GopStart, Subscription]:
        """The group of pictures under way and, without a unit missing or doubled, what follows it."""
        tail = tuple(TimedUnit(u, self._capture(u.pts)) for u in self._tail)
        if self._open is not None and self._gop is not None and self._open.fd >= 0:
            start = GopStart.of_file(self._open, *self._gop, tail)
            return start, self.relay.subscribe(joined=True)
        units = self._memory.units() or (tail if tail and tail[0].unit.key else ())
        return GopStart(units), self.relay.subscribe(joined=bool(units))

    # The way of a unit

    def _take(self, unit: AccessUnit) -> None:
        if self._broken:
            return  # the attempt is about to end
        if self._segmenter is not None:
            self._taken_pts = unit.pts
            self._tail.append(unit)
            self._carry_out_all(self._segmenter.push(unit))
            if self.relay.subscriptions:
                self.relay.publish(TimedUnit(unit, self._capture(unit.pts)))
            return
        clock_map = self.clock_map
        assert clock_map is not None
        if unit.key and unit.pts - self._remap_pts >= REMAP_NS * clock_map.clock_hz // SECOND_NS:
            self._remap(unit.pts)
        timed = TimedUnit(unit, self._capture(unit.pts))
        self._memory.add(timed)
        if self.relay.subscriptions:
            self.relay.publish(timed)

    def _hold(self, unit: AccessUnit) -> None:
        """Keep units from a key on until the clock map has settled."""
        clock_map = self.clock_map
        assert clock_map is not None
        if clock_map.misfit and clock_map.mapping is None and self._held:
            self._held.clear()  # media time jumped before the run began
            self._losses.clear()
            self._held_bytes = 0
        if not self._held and not unit.key and unit.config.codec.is_video:
            self.counters.skipped_units += 1
            return
        clock_map.misfit = ""
        self._held.append(unit)
        self._held_bytes += len(unit.data)
        if clock_map.settled(unit.arrival_mono_ns) or self._held_bytes > MAX_HELD_BYTES:
            self._start_run()

    def _start_run(self) -> None:
        clock_map = self.clock_map
        assert clock_map is not None
        held, self._held, self._held_bytes = self._held, [], 0
        first = min(u.pts for u in held[:17])  # leading pictures precede the first one in output order
        kind = clock_map.start_run()
        self.run = RunInfo(
            id=uuid4(),
            stream_id=self.stream_id,
            origin=Origin.LIVE,
            host=self._host.name,
            epoch=self._host.epoch,
            clock=kind,
            start_ns=clock_map.estimate_ns(first),
        )
        self.counters.runs += 1
        if clock_map.note:
            log.warning("stream %s: %s", self.stream_id, clock_map.note)
        # Subscribers get the first units before the segmenter asks for the first mapping, which is this one.
        self._capture = ClockMapping(first, self.run.start_ns, clock_map.clock_hz, clock_map.base_rate_ppb).capture_ns
        self._anchors = [clock_map.anchor(self._host.boot_id)]
        if self.record and not self.withheld:
            self._segmenter = Segmenter(
                self.run,
                self._map_segment,
                policy=self._host.policy,
                clock_state=self._clock_state,
                digests=self._host.digests,
            )
        else:
            self._remap(first)
        for unit in held:
            self._take(unit)

    def _map_segment(self, pts: int) -> ClockMapping:
        clock_map = self.clock_map
        assert clock_map is not None
        mapping = clock_map.begin_segment(pts)
        self._capture = mapping.capture_ns
        return mapping

    def _remap(self, pts: int) -> None:
        self._map_segment(pts)
        self._remap_pts = pts

    def _clock_state(self) -> ClockState:
        clock_map, ours = self.clock_map, self._host_clock()
        camera = None if clock_map is None else clock_map.camera_offset
        return ClockState(
            ntp_synchronised=ours.synchronised,
            ntp_source=ours.source,
            ntp_offset_ns=ours.offset_ns,
            camera_offset_ns=None if camera is None else camera.offset_ns,
            uncertainty_ns=None if clock_map is None else clock_map.uncertainty_ns,
        )

    def _change_config(self, config: CodecConfig, mono_ns: int) -> None:
        before = self.config
        if before is not None and before.clock_hz != config.clock_hz:
            self.end_run(None, "the clock rate of the stream changed")
            before = None
        self.config = config
        if self.attempt_units == 1:
            self.first_mono_ns = mono_ns
        if before is None or self.clock_map is None:
            wall = self._clock.wall_ns() - self._clock.mono_ns() + mono_ns
            self.clock_map = ClockMap(config.clock_hz, wall, mono_ns, trust_camera=self._trust_clock)

    # Actions of the segmenter

    def _carry_out_all(self, actions: list[Action]) -> None:
        """Holes are noted also when the disk has refused what came before them. Raises the first `SpoolError`."""
        refused = None
        for action in actions:
            if isinstance(action, Hole):
                self._note_hole(action)
            elif not self._broken:
                try:
                    self._carry_out(action)
                except SpoolError as error:
                    self._drop_open()
                    refused = error
        if refused is not None:
            raise refused

    def _carry_out(self, action: Action) -> None:
        if isinstance(action, Fragment):
            assert self._open is not None
            self._spool.write(self._open, action.buffers)
            latest = max(unit.pts for unit in self._tail[: action.units])
            self._written_pts = latest if self._written_pts is None else max(latest, self._written_pts)
            del self._tail[: action.units]
            if action.key:
                self._gop = (action.first_pts, action.offset)
        elif isinstance(action, Begin):
            self._begin(action)
        elif isinstance(action, Finish):
            self._finish(action)
        elif isinstance(action, Skipped):
            self.counters.skipped_units += action.units

    def _begin(self, action: Begin) -> None:
        run, clock_map = self.run, self.clock_map
        assert run is not None
        assert clock_map is not None
        head = action.head
        self._open = self._spool.open_segment(self.stream_id, run.id, head.number)
        self._begun = action
        self._gop = None
        self._written_pts = None
        self._spool.write(self._open, action.buffers)
        start_ns = head.mapping.capture_ns(head.start_ticks)
        if head.number == 0:
            self._begin_recording(start_ns)
        last = self._anchors[-1]
        anchor = clock_map.anchor(self._host.boot_id)
        if anchor.mono_ns - last.mono_ns >= ANCHOR_NS and len(self._anchors) < MAX_ANCHORS:
            self._anchors.append(anchor)
            self._spool.put_run(RunFact(run, tuple(self._anchors), self._sealed_end_ns))

    def _begin_recording(self, start_ns: int) -> None:
        """The first segment of a run: the gap before it ends. Between two runs of a connection time may be missing too."""
        run = self.run
        assert run is not None
        self.run = replace(run, start_ns=start_ns)
        self._stated = True
        self._sealed_end_ns = None
        self._spool.put_run(RunFact(self.run, tuple(self._anchors)))
        if self.gaps.current is not None:
            self.gaps.recorded(start_ns)
        elif self._last_end_ns is not None and start_ns > self._last_end_ns:
            self.gaps.lost(self._last_end_ns, start_ns, GapReason.UNKNOWN, "the clocks were corrected between two runs")
        self._last_end_ns = start_ns  # so far

    def _finish(self, action: Finish) -> None:
        segment = self._open
        assert segment is not None
        self._last_end_ns = action.facts.end_ns  # every unit is in the file, even if this write is refused
        self._written_pts = None
        self._spool.write(segment, action.buffers)
        self._open = None
        self._gop = None
        self.counters.segments += 1
        task = asyncio.get_running_loop().create_task(
            self._seal(segment, action.facts), name=f"seal {segment.path.name}"
        )
        self._sealing.add(task)
        task.add_done_callback(self._sealing.discard)

    async def _seal(self, segment: OpenSegment, facts: SegmentFacts) -> None:
        try:
            await self._spool.seal(segment, facts)
        except SpoolError as error:
            log.error("stream %s: segment %d was not sealed: %s", self.stream_id, facts.number, error)
            self.failure = error
            return
        run = self.run
        if run is not None and run.id == facts.run_id:  # the file may soon be archived and gone: the fact tells of it
            self._sealed_end_ns = max(facts.end_ns, self._sealed_end_ns or facts.end_ns)
            self._spool.put_run(RunFact(run, tuple(self._anchors), self._sealed_end_ns))

    def _drop_open(self) -> None:
        """After a failure: leave the part file for salvage, and nothing more to be written in this run."""
        segment, self._open = self._open, None
        self._broken = True
        if segment is None:
            return
        self.left_behind = True
        self._spool.abandon(segment)
        written = self._written_pts
        if self._tail and written is not None and self._begun is not None and self._segmenter is not None:
            next_pts = min(unit.pts for unit in self._tail[:17])  # that is not in the file, in output order
            self._last_end_ns = self._begun.head.mapping.capture_ns(self._segmenter.end_after(written, next_pts))

    def _note_hole(self, hole: Hole) -> None:
        clock_map, run = self.clock_map, self.run
        assert clock_map is not None
        assert run is not None
        near = LOSS_NEAR_NS * clock_map.clock_hz // SECOND_NS
        if self._broken and (end_ns := self._last_end_ns) is not None:  # the gap that follows says why from there on
            hole = Hole(tuple(span for span in hole.spans if self._capture(span[1]) <= end_ns))
            if not hole.spans:
                return
        start_ns, end_ns = self._capture(hole.start_pts), self._capture(hole.end_pts)
        lost = any(hole.start_pts - near <= pts <= hole.end_pts for pts in self._losses)
        why = lost_on_the_way(hole, clock_map.clock_hz) if lost else left_out(hole, clock_map.clock_hz)
        if why is not None:
            self.gaps.lost(start_ns, end_ns, *why, hole_gap_id(run.id, hole.start_pts))
