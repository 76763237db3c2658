"""Sends one viewer its packets: protected, paced, repeated when lost, and never at anybody else's cost.

The source calls `push` for every unit, in turn for every viewer; nothing here waits. What does not go out at once (a big
key picture, a full socket) stands in a short queue that a timer empties. A viewer that falls behind, by its socket, its
queue or its receiver reports, loses what is queued and goes on at the next key picture; that is counted. History for
retransmission holds references into the shared arenas, not copies.

A request for a key picture is answered from what was sent before only where the viewer lacks some of it.

Sequence numbers and timestamps run on over a switch to another stream. RFC 3550 §6.4.1 (reports), RFC 4585 §6 (NACK,
PLI), RFC 4588 §4 (retransmission in a stream of its own).
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pylibsrtp

from vms.clock import Clock
from vms.errors import MalformedError
from vms.media.rtp import sequence_delta
from web.live.estimate import Allowance, RateLimit
from web.live.packets import Arena, Layout, LiveUnit, Run
from web.live.srtp import ProtectError, Scratch
from web.live.timeline import MediaTimeline
from web.live.udp_segment import MOST_BYTES, MOST_SEGMENTS, DatagramSender

log = logging.getLogger(__name__)

BURST_BYTES = 64_000  # go out at once
PACE_SECONDS = 0.005
LEAST_PACE_BYTES_PER_S = 6_000_000  # a key picture of 300 KB takes 40 ms of a network this fast
PACE_OVER_STREAM = 12  # times the stream's own rate
LONGEST_QUEUE_NS = 600_000_000  # what has waited longer is no longer live
MOST_QUEUED_BYTES = 20 << 20
HISTORY_PACKETS = 2048
HISTORY_NS = 3_000_000_000
REPEAT_AFTER_NS = 15_000_000  # the same packet is not repeated sooner, and each time after twice as long
REPEAT_SHARE = 0.5  # of the stream's rate, or of what goes through where that is less
LEAST_REPEAT_BYTES_PER_S = 30_000
REPEAT_BURST_BYTES = 100_000  # a lost key picture
LOOK_BYTES = 100  # what asking for a packet that there is not costs of the room for repeats
KEY_REQUEST_NS = 500_000_000  # requests for a key picture are heeded this often, and ever more seldom
LONGEST_KEY_REQUEST_NS = 8_000_000_000
FRESH_NS = 1_000_000_000  # a stream whose last picture went out longer ago has nothing new for anybody
CALM_NS = 10_000_000_000  # without such a request: as at the beginning
RATE_NS = 2_000_000_000  # the stream's rate is measured over at least so long

_U16 = struct.Struct("!H")


class Sent:
    """Packets of one run that went out, for repeating them. `first`: which of the run the first one is.

    Not a dataclass: one is made for each run and viewer, and compiled this costs a tenth of it.
    """

    __slots__ = ("arena", "count", "first", "mono_ns", "run", "sequence", "timestamp")

    def __init__(
        self, arena: Arena, run: Run, *, sequence: int, count: int, first: int, timestamp: int, mono_ns: int
    ) -> None:
        self.sequence, self.count = sequence, count
        self.arena, self.run, self.first = arena, run, first
        self.timestamp, self.mono_ns = timestamp, mono_ns


@dataclass(slots=True)
class Counts:
    """What one viewer was sent. `lost` is the viewer's own statement."""

    packets: int = 0
    bytes: int = 0
    octets: int = 0
    rtx: int = 0
    drops: int = 0  # access units left out
    lost: int = 0
    key_requests: int = 0


@dataclass(frozen=True, slots=True)
class Wire:
    """How a viewer is reached: keys, and where the packets go. `route` gives socket and address, None once it is gone."""

    srtp: pylibsrtp.Session
    route: Callable[[], tuple[socket.socket, Any] | None]


class Sender:
    """One viewer. Make it when the session is negotiated, `open` it when there are keys, `close` it at the end."""

    def __init__(
        self,
        layout: Layout,
        *,
        ssrc: int,
        rtx_ssrc: int,
        rtx_payload_type: int | None,
        first_sequence: int,
        first_timestamp: int,
        clock: Clock,
        scratch: Scratch,
        datagrams: DatagramSender,
    ) -> None:
        self.layout, self.ssrc, self.rtx_ssrc = layout, ssrc, rtx_ssrc
        self.counts = Counts()
        self.limit = RateLimit()
        self.awaits_key = True
        self._rtx_payload_type = rtx_payload_type
        self._sequence, self._rtx_sequence = first_sequence, first_sequence ^ 0x2A5A & 0x7FFF
        self._clock, self._scratch, self._datagrams = clock, scratch, datagrams
        self._timeline = MediaTimeline(first_timestamp)
        self._allowance = Allowance()
        self._wire: Wire | None = None
        self._queue: deque[tuple[Arena, Run, int, int, int]] = deque()  # arena, run, next packet, timestamp, since
        self._queued_bytes = 0
        self._attempted = 0  # packets protected under the next numbers and not sent, or not all
        self._credit, self._credit_ns = float(BURST_BYTES), 0
        self._timer: asyncio.TimerHandle | None = None
        self._history: deque[Sent] = deque()
        self._history_packets = 0
        self._repeated: dict[int, tuple[int, int]] = {}  # sequence number → when it may be repeated next, and the wait
        self._repeat_credit, self._repeat_ns = float(REPEAT_BURST_BYTES), 0
        self._key_heeded_ns, self._key_asked_ns, self._key_wait_ns = 0, 0, KEY_REQUEST_NS
        self._key_sequence = first_sequence  # of the first packet of the last key picture
        self._missed = False  # the viewer said that packets since then did not come
        self._pictured_ns = 0  # when the last picture was taken in
        self._rate = _Rate()
        self._reported: tuple[int, int, int] | None = None  # of the last receiver report: lost, highest, when

    def open(self, wire: Wire) -> None:
        """There are keys and a route: units can be pushed from now on, from a key picture."""
        self._wire = wire

    def close(self) -> None:
        self._wire = None
        self._clear_queue()
        self._history.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # Units

    def begin(self, units: Sequence[LiveUnit]) -> None:
        """Begin, or begin anew, with a group of pictures that is under way: the first unit is a key unit.

        What was queued of before is left out, so that a switch shows the new stream at once. A viewer with little room
        waits for the next key picture: the group would take its room for many seconds.
        """
        if self._wire is None or not units:
            return
        mono_ns = self._clock.mono_ns()
        self._clear_queue()
        if self.limit.bytes_per_s is not None:
            self.awaits_key = True
            return
        self.awaits_key = False
        for unit, ticks in zip(units, self._timeline.next([u.capture_ns for u in units], mono_ns), strict=True):
            self._enqueue(unit, ticks & 0xFFFFFFFF, mono_ns)
        self._flush(mono_ns)

    def push(self, unit: LiveUnit) -> None:
        """The next unit of the stream."""
        if self._wire is None:
            return
        mono_ns = self._clock.mono_ns()
        self._rate.add(unit.size_bytes, mono_ns)
        if self._behind(mono_ns):
            self.drop_to_key()
        if self.awaits_key and not unit.key:
            self.counts.drops += 1
            return
        if not self._allowance.has_room(self.limit.bytes_per_s, mono_ns):
            self.counts.drops += 1
            self.awaits_key = True
            return
        self.awaits_key = False
        (ticks,) = self._timeline.next((unit.capture_ns,), mono_ns)
        self._enqueue(unit, ticks & 0xFFFFFFFF, mono_ns)
        self._flush(mono_ns)

    def drop_to_key(self) -> None:
        """Leave out everything up to the next key picture."""
        self.counts.drops += len({id(entry[0]) for entry in self._queue})
        self._clear_queue()
        self.awaits_key = True

    def _behind(self, mono_ns: int) -> bool:
        if not self._queue:
            return False
        return mono_ns - self._queue[0][4] > LONGEST_QUEUE_NS or self._queued_bytes > MOST_QUEUED_BYTES

    def _enqueue(self, unit: LiveUnit, timestamp: int, mono_ns: int) -> None:
        try:
            arena = unit.arena(self.layout)
        except MalformedError as error:
            log.warning("a unit was left out: %s", error)
            self.counts.drops += 1
            self.awaits_key = True
            return
        if unit.key:
            self._key_sequence = self._sequence + sum(run.count - first for _, run, first, _, _ in self._queue) & 0xFFFF
            self._missed = not self.counts.packets  # browsers count losses from the first packet that comes
        self._pictured_ns = mono_ns
        self._allowance.take(len(arena.data))
        self._queued_bytes += len(arena.data)
        for run in arena.runs:
            self._queue.append((arena, run, 0, timestamp, mono_ns))

    def _clear_queue(self) -> None:
        self._queue.clear()
        self._queued_bytes = 0
        self._sequence = self._sequence + self._attempted & 0xFFFF
        self._attempted = 0

    # Packets

    def _flush(self, mono_ns: int) -> None:
        pace = max(LEAST_PACE_BYTES_PER_S, PACE_OVER_STREAM * self._rate.bytes_per_s)
        self._credit = min(BURST_BYTES, self._credit + pace * (mono_ns - self._credit_ns) / 1e9)
        self._credit_ns = mono_ns
        while self._queue and self._credit > 0:
            arena, run, first, timestamp, since = self._queue[0]
            count = min(run.count - first, MOST_SEGMENTS, MOST_BYTES // run.stride)
            try:
                sent = self._send_run(arena, run, first=first, count=count, timestamp=timestamp, mono_ns=mono_ns)
            except BlockingIOError:
                break  # the socket's buffer is full: again at the next tick
            except (OSError, ProtectError) as error:
                log.debug("packets could not be sent: %s", error)
                self.drop_to_key()
                return
            self._queued_bytes -= sent
            self._credit -= sent
            if first + count == run.count:
                self._queue.popleft()
            else:
                self._queue[0] = (arena, run, first + count, timestamp, since)
        if self._queue and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PACE_SECONDS, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._wire is not None:
            self._flush(self._clock.mono_ns())

    def _send_run(self, arena: Arena, run: Run, *, first: int, count: int, timestamp: int, mono_ns: int) -> int:
        """`count` packets of a run from its packet `first` on; how many bytes went.

        Where that fails, the same packets are tried again under the same numbers, or `_clear_queue` uses these up: no
        number ever protects two different packets.
        """
        assert self._wire is not None
        route = self._wire.route()
        if route is None:
            raise ConnectionError("there is no route to the viewer any more")
        tag, stride = self.layout.tag_bytes, run.stride
        start = run.start + first * stride
        last = run.last_bytes if first + count == run.count else stride - tag
        end = (count - 1) * stride + last
        self._scratch.view[:end] = arena.view[start : start + end]
        self._scratch.protect_run(self._wire.srtp, (self._sequence, timestamp, self.ssrc), stride, end, stride - tag)
        size = end + tag
        self._attempted = count
        self._datagrams.send(route[0], self._scratch.view[:size], stride, route[1])
        self._attempted = 0
        self._remember(
            Sent(arena, run, sequence=self._sequence, count=count, first=first, timestamp=timestamp, mono_ns=mono_ns)
        )
        self._sequence = self._sequence + count & 0xFFFF
        self.counts.packets += count
        self.counts.bytes += size
        self.counts.octets += arena.octets * count // arena.packets
        return size

    def _remember(self, sent: Sent) -> None:
        history = self._history
        history.append(sent)
        self._history_packets += sent.count
        while self._history_packets > HISTORY_PACKETS or sent.mono_ns - history[0].mono_ns > HISTORY_NS:
            self._history_packets -= history.popleft().count

    # Feedback

    def repeat(self, sequences: Sequence[int]) -> None:
        """NACK: send these again, as far as they are still there and there is room for it."""
        if self._wire is None:
            return
        if sequences:  # in order: the last one is the newest
            sent = sequence_delta(self._sequence, self._key_sequence)
            self._missed = self._missed or 0 <= sequence_delta(sequences[-1], self._key_sequence) < sent
        mono_ns = self._clock.mono_ns()
        limit = self.limit.bytes_per_s
        rate = max(LEAST_REPEAT_BYTES_PER_S, REPEAT_SHARE * self._rate.bytes_per_s)
        if limit is not None:
            rate = min(rate, REPEAT_SHARE * limit)
        most = max(REPEAT_BURST_BYTES, rate) if limit is None else rate
        self._repeat_credit = min(most, self._repeat_credit + rate * (mono_ns - self._repeat_ns) / 1e9)
        self._repeat_ns = mono_ns
        if len(self._repeated) > HISTORY_PACKETS:
            self._repeated.clear()
        for sequence in sequences:
            if self._repeat_credit <= 0:
                return
            not_before, wait = self._repeated.get(sequence, (0, REPEAT_AFTER_NS))
            if mono_ns < not_before:
                continue
            found = self._find(sequence)
            if found is None:
                self._repeat_credit -= LOOK_BYTES
                continue
            self._repeated[sequence] = mono_ns + wait, 2 * wait
            try:
                self._repeat_credit -= self._repeat_one(found, sequence)
            except (OSError, ProtectError):
                return

    def _find(self, sequence: int) -> Sent | None:
        if not self._history:
            return None
        oldest = self._history[0].sequence
        at = bisect_right(self._history, sequence - oldest & 0xFFFF, key=lambda s: s.sequence - oldest & 0xFFFF)
        sent = self._history[at - 1]
        return sent if 0 <= sequence_delta(sequence, sent.sequence) < sent.count else None

    def _repeat_one(self, sent: Sent, sequence: int) -> int:
        assert self._wire is not None
        route = self._wire.route()
        if route is None:
            return 0
        index = sent.first + sequence_delta(sequence, sent.sequence)
        at = sent.run.start + index * sent.run.stride
        tag = self.layout.tag_bytes
        size = sent.run.last_bytes if index == sent.run.count - 1 else sent.run.stride - tag
        packet, view = sent.arena.view[at : at + size], self._scratch.view
        if self._rtx_payload_type is None:
            view[:size] = packet
            number, ssrc = sequence, self.ssrc
        else:
            head = head_bytes(packet)
            view[:head] = packet[:head]
            view[1] = packet[1] & 0x80 | self._rtx_payload_type
            _U16.pack_into(view, head, sequence)
            view[head + 2 : size + 2] = packet[head:]
            size += 2
            number, ssrc = self._rtx_sequence, self.rtx_ssrc
            self._rtx_sequence = self._rtx_sequence + 1 & 0xFFFF
        self._scratch.protect_run(self._wire.srtp, (number, sent.timestamp, ssrc), size + tag, size, size)
        self._datagrams.send(route[0], view[: size + tag], size + tag, route[1])
        self._allowance.take(size)
        self.counts.rtx += 1
        return size

    def wants_key(self) -> bool:
        """PLI came: whether the group of pictures under way brings this viewer newer pictures than it has.

        Only where it said, since that group's key picture was last sent, that packets of it did not come, and while
        pictures go out: whoever received everything asks because the camera is silent, and would be shown old pictures
        as if they were new. All others go on with the next key picture, and so does who has little room. Of the first
        group of all a viewer cannot say that packets are missing, so there the request is enough. A viewer that can make
        nothing of what it gets asks without end.
        """
        self.counts.key_requests += 1
        mono_ns = self._clock.mono_ns()
        if mono_ns - self._key_asked_ns > CALM_NS:
            self._key_wait_ns = KEY_REQUEST_NS
        self._key_asked_ns = mono_ns
        limited = self.limit.bytes_per_s is not None
        if limited or self.awaits_key or not self._missed or mono_ns - self._pictured_ns > FRESH_NS:
            return False
        if mono_ns - self._key_heeded_ns < self._key_wait_ns:
            return False
        self._key_heeded_ns = mono_ns
        self._key_wait_ns = min(2 * self._key_wait_ns, LONGEST_KEY_REQUEST_NS)
        return True

    def reported(self, lost: int, highest: int) -> None:
        """A receiver report: packets lost since the beginning, and the highest sequence number with its cycles.

        The fraction lost that it states as well is of no use: browsers send a report with every NACK, and each begins
        anew.
        """
        counts, mono_ns = self.counts, self._clock.mono_ns()
        counts.lost = max(0, lost)
        if self._reported is not None:
            lost_before, highest_before, since_ns = self._reported
            expected = highest - highest_before & 0xFFFFFFFF
            if expected < HISTORY_PACKETS * 100 and counts.packets:
                self.limit.report(
                    expected=expected,
                    lost=lost - lost_before,
                    packet_bytes=counts.bytes / counts.packets,
                    seconds=(mono_ns - since_ns) / 1e9,
                    wanted_bytes_per_s=self._rate.bytes_per_s,
                )
        self._reported = lost, highest, mono_ns

    def media_time(self, utc_ns: int) -> int:
        """The timestamp of this instant, for a sender report."""
        return self._timeline.at(utc_ns) & 0xFFFFFFFF


class _Rate:
    """Bytes a second of the stream as it comes, over the last seconds."""

    __slots__ = ("_bytes", "_since_ns", "bytes_per_s")

    def __init__(self) -> None:
        self.bytes_per_s = 0.0
        self._bytes = 0
        self._since_ns = 0

    def add(self, size: int, mono_ns: int) -> None:
        if not self._since_ns:
            self._since_ns = mono_ns
        self._bytes += size
        passed = mono_ns - self._since_ns
        if passed >= RATE_NS:
            self.bytes_per_s = self._bytes * 1e9 / passed
            self._bytes, self._since_ns = 0, mono_ns


def head_bytes(packet: memoryview) -> int:
    """Header and extension block of a packet of ours: no CSRCs."""
    return 12 if packet[0] == 0x80 else 16 + 4 * (packet[14] << 8 | packet[15])
