"""What every depacketiser needs besides payloads: which packets are ours, and a media time that can be used.

`SourceGate` judges SSRC and sequence number of packets that are not simply the next one. `MediaTime` turns RTP
timestamps, which cameras freeze, reset and turn back, into a presentation time that only goes back where B pictures do.
"""

from __future__ import annotations

from vms.media.rtcp import ReportBlock, utc_ns_to_ntp
from vms.media.rtp import MAX_DROPOUT, MAX_MISORDER, timestamp_delta

IGNORE = -1
RESET = -2
QUIET_NS = 500_000_000  # another SSRC takes over only when ours has been silent for so long
WINDOW_NS = 2_500_000_000  # of arrivals: ten turns of reading, of which one comes right after a picture
LATE_NS = 250_000_000  # what waiting for its turn to be read delays a picture; by more it was late indeed
LATE_RUN = 64  # so many "late" packets in perfect order are a sequence that was reset by a little
MAX_BACKWARD_S = 2  # further back than this no B picture goes


class SourceGate:
    """Decides about a packet that does not follow on. Probation as in RFC 3550 appendix A.1.

    A new sequence of the same source is believed at its second packet in order; another source only when the present
    one has been silent for `QUIET_NS` too, because cameras interleave packets of other sessions.
    """

    __slots__ = (
        "_base", "_candidate", "_hint", "_next", "_reported", "_run", "_since_ns", "_sr", "ssrc", "stranger_ns",
    )  # fmt: skip

    def __init__(self, hint: int | None = None) -> None:
        self.ssrc: int | None = None
        self._hint = hint
        self._since_ns: int | None = None
        self._candidate: int | None = None
        self._next = -1
        self._run = 0
        self._base = 0
        self._reported = (0, 0)
        self._sr = (0, 0)
        self.stranger_ns = 0  # arrival of the last packet of another source

    def judge(self, ssrc: int, sequence: int, expected: int, arrival_ns: int, last_ns: int) -> int:
        """Packets missing before this one (0 or more), IGNORE, or RESET: take it as the first of a new sequence."""
        if ssrc != self.ssrc:
            return self._judge_stranger(ssrc, sequence, arrival_ns, last_ns)
        delta = (sequence - expected) & 0xFFFF
        if delta < MAX_DROPOUT:
            self._run = 0
            return delta
        self._run = self._run + 1 if sequence == self._next else 1
        self._next = (sequence + 1) & 0xFFFF
        late = delta >= 0x10000 - MAX_MISORDER
        if self._run < (LATE_RUN if late else 2):
            return IGNORE
        self._run = 0
        return RESET

    def _judge_stranger(self, ssrc: int, sequence: int, arrival_ns: int, last_ns: int) -> int:
        if self.ssrc is None:
            if self._hint is None or ssrc == self._hint:
                self.ssrc, self._base = ssrc, sequence
                return 0
            if self._since_ns is None:
                self._since_ns = arrival_ns
            last_ns = self._since_ns
        self.stranger_ns = arrival_ns
        in_order = ssrc == self._candidate and sequence == self._next
        self._run = self._run + 1 if in_order else 1
        self._candidate, self._next = ssrc, (sequence + 1) & 0xFFFF
        if self._run < 2 or arrival_ns - last_ns < QUIET_NS:
            return IGNORE
        self.ssrc, self._candidate, self._run = ssrc, None, 0
        return RESET

    def note_reset(self, sequence: int, packets: int, lost: int) -> None:
        """`sequence` follows on what was counted so far, so that the extended number keeps growing."""
        self._base = sequence - packets - lost

    def note_sender_report(self, ntp_ns: int, arrival_mono_ns: int) -> None:
        self._sr = (utc_ns_to_ntp(ntp_ns) >> 16 & 0xFFFFFFFF if ntp_ns else 0, arrival_mono_ns)

    def report_block(self, packets: int, lost: int, now_mono_ns: int | None) -> ReportBlock | None:
        """RFC 3550 §6.4.1 since the last call. Jitter is not reckoned: no camera we know of looks at it."""
        if self.ssrc is None:
            return None
        expected = packets - self._reported[0] + lost - self._reported[1]
        fraction = (lost - self._reported[1]) * 256 // expected if expected > 0 else 0
        self._reported = (packets, lost)
        last_sr, came = self._sr
        delay = (now_mono_ns - came) * 65536 // 1_000_000_000 if last_sr and now_mono_ns is not None else 0
        return ReportBlock(
            ssrc=self.ssrc,
            fraction_lost=min(255, fraction),
            lost=lost,
            highest_sequence=(self._base + packets + lost - 1) & 0xFFFFFFFF,
            last_sr=last_sr,
            delay_since_last_sr=max(0, min(0xFFFFFFFF, delay)),
        )


class MediaTime:
    """Unwrapped presentation time of one medium, one call per access unit.

    - A timestamp equal to the one before is frozen: the time then goes on by arrival, from where it stood.
    - A timestamp that goes back without B pictures, or further than they reach, or the first after a reset unless it
      goes on as if there had been none, is joined to the highest time so far by the time that passed since that was
      due: it may have come late. When the next one goes on where the time was before, the lone one was a slip, and
      nothing is moved.
    - Jumps forward are passed on: whether media time still fits the clock is the clock mapping's to judge.
    """

    __slots__ = (
        "_anchor", "_arrival_ns", "_frozen", "_highest", "_hz", "_joining", "_offset", "_raw", "_slipped", "_soonest",
        "_soonest_before", "_step", "_ts", "_window_end_ns",
    )  # fmt: skip

    def __init__(self, clock_hz: int) -> None:
        self._hz = clock_hz
        self._ts = -1
        self._raw = 0
        self._offset = 0
        self._highest = 0
        self._arrival_ns = 0
        self._frozen = False
        self._joining = False
        self._slipped = False  # the last timestamp went back, and may have been a lone one
        self._step = 0  # between the last two times
        self._anchor = (0, 0)
        self._soonest = 0  # least (arrival - time) of the window under way, in ns, and of the one before
        self._soonest_before = 0
        self._window_end_ns = 0

    @property
    def frozen(self) -> bool:
        """The timestamps stand still just now."""
        return self._frozen

    def rejoin(self) -> None:
        """The source was reset: the next timestamp has nothing to do with the last."""
        self._joining = self._ts >= 0

    def pts(self, timestamp: int, arrival_ns: int, *, reorders: bool) -> int:
        """Presentation time in ticks of the unit with this RTP timestamp; strictly rising unless it `reorders`."""
        if self._ts < 0:
            self._ts, self._raw, self._highest = timestamp, timestamp, timestamp
            self._note_arrival(timestamp, arrival_ns)
            return timestamp
        delta = timestamp_delta(timestamp, self._ts)
        if delta == 0 and not self._joining:
            if not self._frozen:
                self._frozen, self._anchor = True, (self._highest, self._arrival_ns)
            pts = max(self._highest + 1, self._anchor[0] + (arrival_ns - self._anchor[1]) * self._hz // 1_000_000_000)
        else:
            pts = self._raw + delta + self._offset
            passed = self._highest + max(1, (arrival_ns - self._due_ns()) * self._hz // 1_000_000_000)
            lowest = self._highest - MAX_BACKWARD_S * self._hz if reorders else self._highest + 1
            astray = self._frozen and abs(pts - passed) > self._hz // 2
            if pts < lowest and not (self._joining or astray or self._slipped):
                self._slipped = True
                pts = self._highest + max(1, self._step)
            else:
                self._raw += delta
                self._ts = timestamp
                goes_on = abs(pts - passed) * 1_000_000_000 <= LATE_NS * self._hz  # only the numbering began anew
                if (self._joining and not goes_on) or pts < lowest or astray:
                    self._offset += passed - pts
                    pts = passed
                self._slipped = False
            self._frozen = self._joining = False
            if pts > self._highest:
                self._step = pts - self._highest
        self._highest = max(self._highest, pts)
        self._note_arrival(pts, arrival_ns)
        return pts

    def _note_arrival(self, pts: int, arrival_ns: int) -> None:
        self._arrival_ns = arrival_ns
        delay_ns = arrival_ns - pts * 1_000_000_000 // self._hz
        if arrival_ns >= self._window_end_ns:
            self._soonest_before = self._soonest if self._window_end_ns else delay_ns
            self._soonest, self._window_end_ns = delay_ns, arrival_ns + WINDOW_NS
        elif delay_ns < self._soonest:
            self._soonest = delay_ns

    def _due_ns(self) -> int:
        """When the highest time would have arrived, had it come as promptly as the promptest of late."""
        prompt_ns = min(self._soonest, self._soonest_before) + self._highest * 1_000_000_000 // self._hz
        return max(prompt_ns, self._arrival_ns - LATE_NS)

    def peek(self, timestamp: int) -> int | None:
        """The presentation time that `timestamp` stands for, or None while that is not known."""
        if self._ts < 0 or self._frozen or self._joining:
            return None
        return self._raw + timestamp_delta(timestamp, self._ts) + self._offset
