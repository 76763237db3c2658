"""The recording of one session: `run` for ever, `run_once` one connection; source → tracks, and what is told about them.

Owns attempts, the watch over a connection (silence, no random access), the opening of gaps, recovery of what an earlier
process left, and the orderly stop. Does not own media (`recorder.track`) or protocols (`recorder.sources`).

Invariants: one attempt at a time; whatever ends it, its segments are finished first and exactly one gap says why nothing
follows; a bug of one stream stays with it (`keep_running`).
"""

from __future__ import annotations

import asyncio
import logging
import random
import sys
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from recorder.gaps import MAX_DETAIL
from recorder.leavings import (
    Leavings,
    ended,
    last_end_ns,
    outlasted,
    read_leavings,
    salvage_stream,
    written_elsewhere,
)
from recorder.sources import PacketSource, TrackSinks
from recorder.track import Track
from recorder.untold import untold_gaps
from storage.facts import RunFact
from storage.spool import Spool
from vms.clock import ABSENT_NS, Clock
from vms.errors import SourceError, SpoolError, UserError
from vms.model import Codec, Gap, GapReason, RunClock, SegmentFacts
from vms.supervise import Backoff, keep_running

log = logging.getLogger(__name__)

SECOND_NS = 1_000_000_000
STOP_SECONDS = 10.0
SALVAGE_AGAIN_NS = 10 * SECOND_NS
RECONNECT = Backoff(first=0.8, longest=15.0, jitter=0.3, after_bug=15.0)


@dataclass(frozen=True, slots=True)
class Limits:
    """Patience in seconds."""

    tick_s: float = 0.5
    first_unit_s: float = 25.0  # from the start of an attempt; sources have shorter limits of their own
    no_keyframe_s: float = 10.0
    grace_s: float = 0.3  # beyond the source's own watch over silence, which knows more
    longest_patience_s: float = 60.0
    rate_window_s: float = 5.0


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """What there is to say about one stream now."""

    stream_id: UUID
    state: str  # "connecting", "waiting", "settling", "no_keyframe", "recording", "relaying" or "stopped"
    reason: GapReason | None
    detail: str
    source: str
    source_why: str
    codec: Codec | None
    width: int
    height: int
    reorder_depth: int | None  # above 0: B-frames; None: nothing was received yet
    fps: float
    bits_per_second: int
    last_unit_mono_ns: int
    last_unit_wall_ns: int | None
    units: int
    bytes: int
    damaged_units: int
    lost_packets: int
    runs: int
    segments: int
    attempts: int
    gap_since_ns: int | None
    gap_today_ns: int
    gaps_by_reason: dict[GapReason, int]
    gap_ns_by_reason: dict[GapReason, int]  # of gaps that have ended
    results: dict[str, int]  # how attempts went: "connected", or the reason they ended before a picture came
    bugs: int
    run_clock: RunClock | None
    camera_offset_ns: int | None
    camera_offset_uncertainty_ns: int | None
    retry_wall_ns: int | None  # when the camera is tried again, while nobody is connected to it


class Recording:
    """One session with a camera: its video, and its audio where that is allowed.

    Set `stop_reason` before cancelling `run` when the stream is to stay off: the gap left open says so.
    """

    def __init__(
        self,
        name: str,
        source: PacketSource,
        spool: Spool,
        clock: Clock,
        *,
        video: Track,
        audio: Track | None = None,
        limits: Limits | None = None,
        backoff: Backoff = RECONNECT,
        rng: random.Random | None = None,
        left: Mapping[UUID, Leavings] | None = None,
    ) -> None:
        """`left`: what is in the spool by stream, if somebody has just read it for many."""
        self.name = name
        self.source = source
        self.video, self.audio = video, audio
        self.attempts = 0
        self.bugs = 0
        self.results: dict[str, int] = {}
        self.stop_reason = GapReason.RECORDER_RESTART
        self.stop_detail = ""
        self._spool, self._clock = spool, clock
        self._limits = limits or Limits()
        self._backoff, self._rng = backoff, rng
        self._state = "waiting"
        self._retry_wall_ns: int | None = None
        self._given_up = ""  # why it is relayed and not recorded
        self._left = left
        self._adopted: set[UUID] = set()
        self._elsewhere: dict[UUID, RunFact] = {}  # runs that another process was still writing
        self._salvage_due_ns: dict[UUID, int] = {}  # stream → when to try again what the disk refused
        self._began_ns = 0
        self._awake_ns = 0  # since when this process has run without a stop
        self._rates: deque[tuple[int, int, int]] = deque()  # (mono, units, bytes) of the video

    @property
    def state(self) -> str:
        """As in `StreamStatus.state`."""
        return self._state

    @property
    def tracks(self) -> list[Track]:
        return [self.video] if self.audio is None else [self.video, self.audio]

    def give_up(self, detail: str) -> None:
        """Relay only, from now on: the spool has no room for it. What is open is sealed; a gap says why."""
        self._given_up = detail[:MAX_DETAIL]
        for track in self.tracks:
            track.withheld = True
            if track.recording:
                track.end_run(GapReason.SPOOL_FULL)
        self._note_given_up(self._clock.wall_ns())

    def take_up(self) -> None:
        """Record again, from the next picture on that a decoder can begin with."""
        self._given_up = ""
        for track in self.tracks:
            track.withheld = False

    @property
    def given_up(self) -> bool:
        return bool(self._given_up)

    async def run(self) -> None:
        """Record until cancelled; then seal what is open and leave a gap that says why."""
        try:
            await keep_running(
                self.name,
                self.run_once,
                backoff=self._backoff,
                clock=self._clock,
                on_error=self._note_failure,
                rng=self._rng,
            )
        finally:
            await self._stop()

    async def run_once(self) -> None:
        """One attempt. Raises `SourceError`, `SpoolError`, or whatever a bug raises."""
        await self._recover()
        self.attempts += 1
        self._began_ns = self._clock.mono_ns()
        self._rates.clear()
        for track in self.tracks:
            track.begin_attempt()
        self._state, self._retry_wall_ns = "connecting", None
        sinks = TrackSinks(self.video, self.audio)
        source = asyncio.create_task(self.source.run(sinks), name=f"source {self.name}")
        watch = asyncio.create_task(self._watch(), name=f"watch {self.name}")
        try:
            done, _ = await asyncio.wait({source, watch}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            raise SourceError(GapReason.UNREACHABLE, "the source ended without saying why")
        finally:
            error = sys.exception()
            for task in (source, watch):
                task.cancel()
            await asyncio.gather(source, watch, return_exceptions=True)
            self._state = "waiting"
            for track in self.tracks:
                track.end_run(self._reason_of(error))
            self._adapt_patience(error)

    # The watch over a connection

    async def _watch(self) -> None:
        while True:
            # At the same moments as every other recording: one waking of the process serves them all.
            pause_s = self._limits.tick_s - self._clock.mono_ns() / 1e9 % self._limits.tick_s
            due_ns = self._clock.mono_ns() + round(pause_s * 1e9)
            await self._clock.sleep(pause_s)
            now = self._clock.mono_ns()
            if now - due_ns > ABSENT_NS:
                self._awake_ns = now
            wall = self._clock.wall_ns()
            for track in self.tracks:
                track.tick(wall, now)
            self._note_rate(now)
            self._judge(now, wall)
            await self._salvage_again(now)

    def _judge(self, now_ns: int, wall_ns: int) -> None:
        """Tell state and raise when the connection is of no use any more."""
        video, limits = self.video, self._limits
        if not video.attempt_units:
            waited = (now_ns - max(self._began_ns, self._awake_ns)) / 1e9
            if waited > max(limits.first_unit_s, self.source.patience_s):
                raise SourceError(GapReason.STALLED, f"connected, but no picture came within {waited:.0f} s")
            return
        silent = (now_ns - max(video.counters.last_mono_ns, self._awake_ns)) / 1e9
        if silent > self.source.patience_s + limits.grace_s:
            raise SourceError(GapReason.STALLED, f"no picture for {silent:.1f} s")
        if self._given_up:
            self._note_given_up(wall_ns)
        if video.run is not None:
            self._state = "recording" if video.recording else "relaying"
        elif video.clock_map is not None and video.clock_map.jumping:
            self._state = "settling"
            if video.record and not self._given_up:
                video.gaps.open(self._gap_start(video, wall_ns), GapReason.UNKNOWN, video.clock_map.jumping)
        elif video.settling:
            self._state = "settling"
        elif (now_ns - (video.key_mono_ns or video.first_mono_ns)) / 1e9 > limits.no_keyframe_s:
            self._state = "no_keyframe"
            if video.record and not self._given_up:
                detail = f"{video.attempt_units} units came, none of which a decoder can begin with"
                if video.key_mono_ns:
                    detail = f"for {limits.no_keyframe_s:.0f} s no picture came that a decoder can begin with"
                video.gaps.open(self._gap_start(video, wall_ns), GapReason.NO_KEYFRAME, detail)
        audio = self.audio
        if audio is not None and audio.run is not None:
            silent = (now_ns - max(audio.counters.last_mono_ns, self._awake_ns)) / 1e9
            if silent > self.source.patience_s + limits.grace_s:
                audio.end_run(GapReason.STALLED)
                audio.gaps.open(self._gap_start(audio, wall_ns), GapReason.STALLED, f"no sound for {silent:.1f} s")

    def _adapt_patience(self, error: BaseException | None) -> None:
        """One or two pictures and then silence may be a camera that sends one every ten seconds."""
        stalled = isinstance(error, SourceError) and error.reason is GapReason.STALLED
        if stalled and 0 < self.video.attempt_units < 3:
            self.source.patience_s = min(self._limits.longest_patience_s, 2 * self.source.patience_s)

    def _note_rate(self, now_ns: int) -> None:
        counters = self.video.counters
        self._rates.append((now_ns, counters.units, counters.bytes))
        while now_ns - self._rates[0][0] > self._limits.rate_window_s * 1e9:
            self._rates.popleft()

    # Gaps

    def _note_failure(self, error: Exception, wait_s: float) -> None:
        reason, wall = self._reason_of(error), self._clock.wall_ns()
        self._retry_wall_ns = wall + round(wait_s * 1e9)
        self.bugs += reason is GapReason.INTERNAL_ERROR
        result = "connected" if self.video.attempt_units else reason.value
        self.results[result] = self.results.get(result, 0) + 1
        detail = str(error) if reason is not GapReason.INTERNAL_ERROR else f"{type(error).__name__}: see the log"
        for track in self.tracks:
            if self._tells(track):
                track.gaps.open(self._gap_start(track, wall), reason, detail)

    def _note_given_up(self, wall_ns: int) -> None:
        """A stream that is not received has another reason for its gap, until it is."""
        for track in self.tracks:
            if self._tells(track) and (track.run is not None or track.gaps.current is None):
                track.gaps.open(self._gap_start(track, wall_ns), GapReason.SPOOL_FULL, self._given_up)

    def _tells(self, track: Track) -> bool:
        """Whether a gap of it may open: not before its leavings are read, for they say since when it is missing."""
        known = track is self.video or track.recorded_to_ns is not None
        return track.record and known and track.stream_id in self._adopted

    def _gap_start(self, track: Track, wall_ns: int) -> int:
        """Where a gap that is noticed now began: where the recording ended, if it did so since the last gap."""
        if track.gaps.current is not None:
            return wall_ns
        return wall_ns if track.recorded_to_ns is None else track.recorded_to_ns

    def _reason_of(self, error: BaseException | None) -> GapReason:
        if isinstance(error, (SourceError, SpoolError)):
            return error.reason
        if isinstance(error, UserError):
            return GapReason.REFUSED  # an address or setting that cannot be carried out
        if isinstance(error, asyncio.CancelledError):
            return self.stop_reason
        return GapReason.INTERNAL_ERROR

    # Start and stop

    async def _recover(self) -> None:
        """Salvage what was left open, and go on with the gaps and runs that facts on disk tell of."""
        for track in self.tracks:
            if not track.record:
                continue
            first = track.stream_id not in self._adopted
            if first or self._elsewhere:
                # Before salvage: what is let go of meanwhile is looked at again by the next attempt.
                busy = await asyncio.to_thread(written_elsewhere, self._spool, track.stream_id)
            found = await self._salvage(track)
            if first or self._elsewhere:
                left = await self._leavings_of(track.stream_id, first=first)
                segments = [*left.segments, *found]
                broken = [f for f in left.runs if first or f.run.id in self._elsewhere]
                await self._tell_untold(track, broken, segments, left.gaps, busy)
                self._end_runs(broken, segments, busy)
                if first:
                    self._adopt(track, left, segments)
                    self._adopted.add(track.stream_id)
        self._left = None

    async def _salvage(self, track: Track) -> list[SegmentFacts]:
        track.left_behind = False
        found, refused = await asyncio.to_thread(salvage_stream, self._spool, track.stream_id)
        if refused:
            self._salvage_due_ns[track.stream_id] = self._clock.mono_ns() + SALVAGE_AGAIN_NS
        else:
            self._salvage_due_ns.pop(track.stream_id, None)
        return found

    async def _salvage_again(self, now_ns: int) -> None:
        """What the disk refused before and may take now; a connection may last for months."""
        for track in self.tracks:
            due_ns = now_ns if track.left_behind else self._salvage_due_ns.get(track.stream_id)
            if due_ns is not None and now_ns >= due_ns and not self._given_up:
                found = await self._salvage(track)
                for fact in await asyncio.to_thread(outlasted, self._spool, found):
                    self._spool.put_run(fact)

    async def _leavings_of(self, stream_id: UUID, *, first: bool) -> Leavings:
        known = self._left
        if known is None or not first:
            known = await asyncio.to_thread(read_leavings, self._spool, stream_id)
        return known.get(stream_id, Leavings())

    async def _tell_untold(
        self, track: Track, facts: list[RunFact], segments: list[SegmentFacts], gaps: list[Gap], busy: set[UUID]
    ) -> None:
        """Before the runs are ended: an open one is what brings us here again after a crash in the midst of it."""
        for fact in facts:
            if fact.run.end_ns is None and fact.run.id not in busy:
                for gap in await asyncio.to_thread(untold_gaps, self._spool, fact.run, segments, gaps):
                    track.gaps.lost(gap.start_ns, gap.end_ns or gap.start_ns, gap.reason, gap.detail, gap.id)

    def _end_runs(self, facts: list[RunFact], segments: list[SegmentFacts], busy: set[UUID]) -> None:
        """End runs that a crash left open, but not those whose writer lives."""
        for fact in facts:
            self._elsewhere.pop(fact.run.id, None)
            if fact.run.end_ns is None and fact.run.id in busy:
                self._elsewhere[fact.run.id] = fact
            elif fact.run.end_ns is None:
                self._spool.put_run(ended(fact, segments))

    def _adopt(self, track: Track, left: Leavings, segments: list[SegmentFacts]) -> None:
        now = self._clock.wall_ns()
        track.gaps.adopt(left.gaps)
        known = last_end_ns(track.stream_id, left.runs, segments)
        if track.gaps.current is None and (track is self.video or known is not None):
            detail = "the recorder started"
            if any(f.run.stream_id == track.stream_id for f in self._elsewhere.values()):
                known, detail = now, "the recorder started while another still wrote"
            elif known is None and track.since_ns:
                known, detail = track.since_ns, "the recorder was not running yet"
            start = now if known is None else min(known, now)
            track.gaps.open(start, GapReason.RECORDER_RESTART, detail)

    async def _stop(self) -> None:
        self._state = "stopped"
        wall = self._clock.wall_ns()
        for track in self.tracks:
            track.end_run(self.stop_reason)
            track.relay.close()
            if self._tells(track):
                track.gaps.open(self._gap_start(track, wall), self.stop_reason, self.stop_detail)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                for track in self.tracks:
                    await track.sealed()
                await self._spool.drained()
        except (TimeoutError, SpoolError) as error:
            log.error("%s: the disk did not take the last facts: %s", self.name, error or "no answer in time")

    # What there is to say

    def status(self, day_start_ns: int | None) -> list[StreamStatus]:
        """One status per track; `day_start_ns` is where "today" began. None: nobody asks about today."""
        return [self._status_of(track, day_start_ns) for track in self.tracks]

    def _status_of(self, track: Track, day_start_ns: int | None) -> StreamStatus:
        now, wall = self._clock.mono_ns(), self._clock.wall_ns()
        counters, gap, clock_map, config = track.counters, track.gaps.current, track.clock_map, track.config
        fps, rate = self._speed() if track is self.video else (0.0, 0)
        camera = None if clock_map is None else clock_map.camera_offset
        last = counters.last_mono_ns
        return StreamStatus(
            stream_id=track.stream_id,
            state=self._state,
            reason=None if gap is None else gap.reason,
            detail=gap.detail if gap is not None else "" if clock_map is None else clock_map.note,
            source=self.source.kind.value,
            source_why=self.source.why,
            codec=None if config is None else config.codec,
            width=0 if config is None else config.width,
            height=0 if config is None else config.height,
            reorder_depth=None if config is None else config.reorder_depth,
            fps=fps,
            bits_per_second=rate,
            last_unit_mono_ns=last,
            last_unit_wall_ns=wall - (now - last) if last else None,
            units=counters.units,
            bytes=counters.bytes,
            damaged_units=counters.damaged_units,
            lost_packets=counters.lost_packets,
            runs=counters.runs,
            segments=counters.segments,
            attempts=self.attempts,
            gap_since_ns=None if gap is None else gap.start_ns,
            gap_today_ns=0 if day_start_ns is None else track.gaps.missing_ns(day_start_ns, wall),
            gaps_by_reason=dict(track.gaps.by_reason),
            gap_ns_by_reason=dict(track.gaps.ns_by_reason),
            results=dict(self.results),
            bugs=self.bugs,
            run_clock=None if track.run is None else track.run.clock,
            camera_offset_ns=None if camera is None else camera.offset_ns,
            camera_offset_uncertainty_ns=None if camera is None else camera.uncertainty_ns,
            retry_wall_ns=self._retry_wall_ns,
        )

    def _speed(self) -> tuple[float, int]:
        """Pictures and bits per second over the last seconds."""
        if len(self._rates) < 2:
            return 0.0, 0
        (t0, units0, bytes0), (t1, units1, bytes1) = self._rates[0], self._rates[-1]
        seconds = max(1, t1 - t0) / 1e9
        return (units1 - units0) / seconds, round(8 * (bytes1 - bytes0) / seconds)
