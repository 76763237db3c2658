"""One simulated camera: its streams, who watches them, and when each unit leaves.

Owns time and faults; bytes come ready from `packets.py`, or bent from `bending.py`. Everything runs in callbacks of the
event loop; nothing waits. A stream nobody watches costs nothing.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

from vms.model import VIDEO_CLOCK_HZ
from vms.rtsp.outlet import Outlet
from vms.rtsp.provider import Start, Viewer
from vms.simulate.bending import SLOW, Bender
from vms.simulate.faults import Faults
from vms.simulate.journal import Journal
from vms.simulate.packets import Cut, Reel
from vms.simulate.quirks import KNOWN
from vms.simulate.wheel import Wheel
from vms.timeline import SECOND_NS

REPORT_INTERVAL_NS = 5_000_000_000
MAX_BACKLOG_UNITS = 2_000  # of a stalled listener: over a minute at 25 fps
HOURS_OFF_NS = 7 * 3_600_000_000_000
JUMP_NS = 3_600_000_000_000
NOISE_BYTES = 5_000


@dataclass(frozen=True, slots=True)
class CameraScript:
    """What one camera does wrong. Seconds and fractions as people type them; the defaults are a flawless camera."""

    loss: float = 0.0  # of RTP packets
    jitter_ms: float = 0.0
    stall_every: float = 0.0  # seconds from one stall to the next; 0: never
    stall_seconds: float = 8.0
    stall_drops: bool = False  # False: what waited comes in a burst; True: it is gone
    disconnect_every: float = 0.0
    disconnect_seconds: float = 5.0
    clock_offset: float = 0.0  # seconds, of sender reports
    auth: str = field(default="", repr=False)  # "user:password"
    auth_scheme: str = "digest"  # "basic", "digest" (both hashes), "digest-md5", "digest-sha256"
    transport: str = "both"  # "tcp" or "udp": the other is answered 461
    quirks: frozenset[str] = frozenset()
    restart_on_play: bool = False  # the first viewer finds the start of the footage


@dataclass(slots=True)
class Counters:
    """What a stream sent, over all its listeners."""

    units: int = 0
    lost_units: int = 0
    dropped_units: int = 0  # the client was too slow
    packets: int = 0
    media_bytes: int = 0


class Stream:
    """`main` or `sub` of a camera: walks through its reel in real time while somebody listens."""

    def __init__(
        self, camera: str, kind: str, reel: Reel, script: CameraScript, *, seed: str, phase: Fraction, wheel: Wheel
    ) -> None:
        self.camera = camera
        self.kind = kind
        self.reel = reel
        self.script = script
        self.counters = Counters()
        self._quirks = script.quirks
        rate = VIDEO_CLOCK_HZ / SLOW if "slow_delivery" in self._quirks else Fraction(VIDEO_CLOCK_HZ)
        self._ticks, self._per_ns = rate.numerator, rate.denominator * SECOND_NS  # of media time
        self._wheel = wheel
        self._faults = Faults(f"{seed}:{camera}:{kind}", script.loss, round(script.jitter_ms * 1_000_000))
        self._lossy = self._faults  # instead, for a while
        self._lossy_until_ns = 0
        self._origin_ns = time.monotonic_ns()  # when media time was `_phase`
        self._phase = int(phase * reel.clip.duration)
        self._key = f"{seed}:{camera}:{kind}"
        self.bender = Bender(reel, self._quirks, self._key, reel.index_at(self._phase))
        self.bends = any(KNOWN[q].bends for q in self._quirks)
        self._listeners: list[Listener] = []
        self._next = 0
        self._last_due_ns = 0
        self._scheduled = False
        self.stalled_until_ns = 0

    def position(self, now_ns: int) -> int:
        """Media ticks of the file's loops at a monotonic time."""
        return self._phase + (now_ns - self._origin_ns) * self._ticks // self._per_ns

    def due_ns(self, index: int) -> int:
        """When unit `index` leaves: in order, and late by its jitter."""
        ticks = self.reel.dts(index) - self._phase
        return self._origin_ns - (-ticks * self._per_ns // self._ticks) + self._faults.delay_ns(index)

    def first_index(self) -> int:
        """The unit a viewer who comes now gets first: a key picture, unless the camera does not care."""
        now = time.monotonic_ns()
        if not self._listeners and (self.script.restart_on_play or self._quirks & {"long_gop", "ten_minute_gop"}):
            loops = self.position(now) // self.reel.clip.duration + 1
            self._phase, self._origin_ns = loops * self.reel.clip.duration, now
            self.bender = Bender(self.reel, self._quirks, self._key, self.reel.index_at(self._phase))
        index = self._next if self._scheduled else self.reel.index_at(self.position(now))
        return index if "mid_gop_start" in self._quirks else self.reel.key_at_or_after(index)

    def add(self, listener: Listener) -> None:
        self._listeners.append(listener)
        if not self._scheduled:
            self._next = listener.first
            self._scheduled = True
            self._last_due_ns = self.due_ns(self._next)
            self._wheel.add(self._last_due_ns, self)

    def remove(self, listener: Listener) -> None:
        if listener in self._listeners:
            self._listeners.remove(listener)

    def run(self, now_ns: int) -> int | None:
        """Send what is due (`wheel.Due`)."""
        if now_ns < self.stalled_until_ns and self.script.stall_drops:
            self._next = max(self._next, self.reel.index_at(self.position(self.stalled_until_ns)))
            return self.stalled_until_ns
        while self._listeners:
            due = max(self._last_due_ns, self.due_ns(self._next))
            if due > now_ns:
                return due
            self._last_due_ns = due
            for listener in tuple(self._listeners):
                listener.take(self._next, now_ns)
            self._next += 1
        self._scheduled = False
        return None

    def stall(self, seconds: float) -> None:
        """Keep connections and send nothing."""
        until = time.monotonic_ns() + round(seconds * 1e9)
        self.stalled_until_ns = max(self.stalled_until_ns, until)

    def lose(self, share: float, seconds: float) -> None:
        """Lose so many of the packets for so long."""
        self._lossy = replace(self._faults, loss=share)
        self._lossy_until_ns = time.monotonic_ns() + round(seconds * 1e9)

    def lost(self, index: int, packets: int, now_ns: int) -> frozenset[int]:
        faults = self._lossy if now_ns < self._lossy_until_ns else self._faults
        return faults.lost_packets(index, packets)


class Listener:
    """One viewer of one stream (`vms.rtsp.provider.Playback`)."""

    def __init__(self, stream: Stream, outlet: Outlet, viewer: Viewer, journal: Journal) -> None:
        self._stream = stream
        self._outlet = outlet
        self._session = viewer.session
        self._journal = journal
        self._waiting: deque[int] = deque()
        self._reported_ns = 0
        self._reports = 0
        self._plain = outlet.wire.takes_blobs and not stream.bends
        self._clock_offset_ns = round(stream.script.clock_offset * 1e9)
        if "clock_hours_off" in stream.script.quirks:
            self._clock_offset_ns += HOURS_OFF_NS
        self._jumps = "reports_jump" in stream.script.quirks
        self.first = stream.first_index()

    def starts(self) -> Mapping[int, Start]:
        bender = self._stream.bender
        timestamp = 0 if "rtptime_zero" in self._stream.script.quirks else bender.timestamp(self.first)
        return {0: Start(bender.numbering(self.first).sequence & 0xFFFF, timestamp)}

    def begin(self) -> None:
        if "sends_nothing" not in self._stream.script.quirks:
            self._stream.add(self)

    def stop(self) -> None:
        self._stream.remove(self)

    def take(self, index: int, now_ns: int) -> None:
        """Unit `index` is due. While the camera stalls it waits."""
        if index < self.first:
            return
        if now_ns < self._stream.stalled_until_ns:
            self._waiting.append(index)
            if len(self._waiting) > MAX_BACKLOG_UNITS:
                self._note(self._waiting.popleft(), lost=True)
            return
        while self._waiting:
            self._send(self._waiting.popleft(), now_ns)
        self._send(index, now_ns)

    def _send(self, index: int, now_ns: int) -> None:
        stream, outlet = self._stream, self._outlet
        cut = stream.reel.cut(index)
        lost = stream.lost(index, len(cut.pieces), now_ns)
        key = cut.unit.key
        if now_ns - self._reported_ns >= REPORT_INTERVAL_NS:
            self._report(index, now_ns)
        if self._plain and not lost:
            sent = outlet.send_blob(stream.reel.framed(index), len(cut.pieces), cut.octets, key=key)
        elif stream.bends:
            sent = self._send_bent(index, lost, key=key)
        else:
            packets = [p for i, p in enumerate(stream.reel.packets(index)) if i not in lost]
            sent = outlet.send_packets(packets, key=key)
        self._count(cut, sent, len(lost))
        if self._journal.enabled:
            self._note(index, lost=bool(lost) or not sent)

    def _send_bent(self, index: int, lost: frozenset[int], *, key: bool) -> bool:
        stream, outlet = self._stream, self._outlet
        udp = not outlet.wire.interleaved
        packets = [p for i, p in enumerate(stream.bender.packets(index)) if i not in lost]
        packets = stream.bender.mixed(index, packets, udp=udp)
        if "garbage_stream" in stream.script.quirks and not udp:
            outlet.wire.write(random.Random(index).randbytes(NOISE_BYTES))  # noqa: S311 - noise
        if "stray_bytes" not in stream.script.quirks or udp:
            return outlet.send_packets(packets, key=key)
        for number, packet in enumerate(packets):
            if number == 0:
                if not outlet.send_packets([packet], key=key):
                    return False
            else:
                outlet.wire.send([packet])
            outlet.wire.write(b"\r\n")
        return True

    def _count(self, cut: Cut, sent: bool, lost: int) -> None:
        counters = self._stream.counters
        counters.units += sent
        counters.dropped_units += not sent
        counters.lost_units += lost > 0
        if sent:
            counters.packets += len(cut.pieces) - lost
            counters.media_bytes += cut.octets

    def _report(self, index: int, now_ns: int) -> None:
        """A sender report: the picture taken now, at the camera's own idea of the time."""
        stream = self._stream
        self._reported_ns = now_ns
        utc_ns = time.time_ns() + self._clock_offset_ns
        if self._jumps and self._reports % 2:
            utc_ns += JUMP_NS
        self._reports += 1
        numbering = stream.bender.numbering(index)
        ticks = stream.position(now_ns) - stream.reel.delay_ticks
        timestamp = numbering.offset + stream.bender.stretch(ticks) & 0xFFFFFFFF
        self._outlet.send_report(utc_ns, timestamp, numbering.ssrc)

    def _note(self, index: int, *, lost: bool) -> None:
        stream = self._stream
        unit = stream.reel.cut(index).unit
        self._journal.write(
            {
                "camera": stream.camera,
                "stream": stream.kind,
                "session": self._session,
                "index": index,
                "pts": stream.bender.stretch(stream.reel.pts(index)),
                "rtp": stream.bender.timestamp(index),
                "utc_ns": time.time_ns(),
                "key": unit.key,
                "bytes": unit.size_bytes,
                "sha256": unit.sha256,
                "lost": lost,
            }
        )
