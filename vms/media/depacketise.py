"""RTP payloads to access units: the door of the hot path.

`make_depacketiser` gives the depacketiser of a medium; `ReorderBuffer` stands before it where packets come over UDP.
Nothing raises for what a camera sends: bad packets are counted and cost their access unit.
"""

from __future__ import annotations

import struct
from typing import Protocol

from vms.media.audio_units import AudioDepacketiser
from vms.media.rtcp import ReportBlock
from vms.media.rtp import MAX_DROPOUT, sequence_delta
from vms.media.sdp import MediaDescription, initial_config
from vms.media.sink import UnitSink
from vms.media.video_units import VideoDepacketiser

_SEQUENCE = struct.Struct("!H4xI")  # from byte 2: sequence number, SSRC


class Depacketiser(Protocol):
    """Receives the RTP packets of one medium in order and hands access units to its sink.

    `packets` counts accepted packets, `lost` packets missing by sequence number, `malformed` those that made no sense,
    `ignored` duplicates and packets of another SSRC or payload type, `ssrc` the source received (None before the
    first packet).
    """

    packets: int
    lost: int
    malformed: int
    ignored: int

    @property
    def ssrc(self) -> int | None:
        """The synchronisation source now received."""

    def push(self, buf: bytearray | memoryview, start: int, end: int, arrival_mono_ns: int) -> None:
        """Take the RTP packet in buf[start:end]. Never raises for its contents; `buf` is not kept."""

    def flush(self) -> None:
        """The session ends: deliver the access unit under way if it is whole, forget it otherwise."""

    def sender_report(self, rtp_timestamp: int, ntp_ns: int, arrival_mono_ns: int) -> None:
        """An RTCP sender report of this source came: hand it on with its time unwrapped like the units' `pts`."""

    def report_block(self, now_mono_ns: int | None = None) -> ReportBlock | None:
        """Reception for an RTCP receiver report, counted since the last call; None before the first packet.

        With the time of sending, the delay since the last sender report is filled in.
        """


def make_depacketiser(media: MediaDescription, sink: UnitSink, ssrc: int | None = None) -> Depacketiser:
    """The depacketiser for `media`. `ssrc` is what SETUP's Transport announced, if anything: a hint, cameras lie.

    Raises ValueError when `sdp.codec_of(media)` is None.
    """
    config = initial_config(media)
    if config is None:
        raise ValueError(f"no depacketiser for {media.encoding or 'an unnamed encoding'}")
    if config.codec.is_video:
        return VideoDepacketiser(config, media.payload_type, sink, ssrc)
    return AudioDepacketiser(config, media, sink, ssrc)


class ReorderBuffer:
    """Puts UDP packets back in order within bounds, then pushes them into a depacketiser.

    Packets ahead of a missing one are copied and held until it comes, until `max_packets` wait, or until the oldest has
    waited `max_wait_ns`; what is missing then is left for the depacketiser to count as lost. Call `expire` now and
    then (every 50 ms or so) so that a hole at the end of a burst does not hold the rest. Only the source that the
    depacketiser receives is put in order; others go straight to it, to be ignored or adopted.
    """

    def __init__(self, depacketiser: Depacketiser, max_packets: int = 128, max_wait_ns: int = 100_000_000) -> None:
        self._target = depacketiser
        self._max_packets = max_packets
        self._max_wait_ns = max_wait_ns
        self._next = -1
        self._ssrc: int | None = None
        self._held: dict[int, tuple[bytearray, int]] = {}  # sequence → packet, arrival; oldest arrival first

    def push(self, buf: bytearray | memoryview, start: int, end: int, arrival_mono_ns: int) -> None:
        """Take a datagram; same contract as `Depacketiser.push`."""
        if end - start < 12 or buf[start] >> 6 != 2:
            self._target.push(buf, start, end, arrival_mono_ns)
            return
        sequence, ssrc = _SEQUENCE.unpack_from(buf, start + 2)
        if ssrc != self._ssrc:
            self._target.push(buf, start, end, arrival_mono_ns)
            if self._target.ssrc == ssrc:
                self._held.clear()  # of the source before
                self._ssrc, self._next = ssrc, (sequence + 1) & 0xFFFF
            return
        ahead = sequence_delta(sequence, self._next)
        if ahead == 0:
            self._target.push(buf, start, end, arrival_mono_ns)
            self._next = (sequence + 1) & 0xFFFF
            if self._held:
                self._release_row()
        elif abs(ahead) >= MAX_DROPOUT:
            self._release_all()  # a jump: whether it is a new sequence is the depacketiser's to judge
            self._target.push(buf, start, end, arrival_mono_ns)
            self._next = (sequence + 1) & 0xFFFF
        elif ahead < 0:
            self._target.push(buf, start, end, arrival_mono_ns)  # too late: counted there
        elif sequence not in self._held:
            self._held[sequence] = (bytearray(buf[start:end]), arrival_mono_ns)
            if len(self._held) > self._max_packets:
                self._skip_hole()
        if self._held:
            self.expire(arrival_mono_ns)

    def expire(self, now_mono_ns: int) -> None:
        """Release what has waited too long by `now_mono_ns`."""
        while self._held and now_mono_ns - next(iter(self._held.values()))[1] >= self._max_wait_ns:
            self._skip_hole()

    def flush(self) -> None:
        """Release all and flush the depacketiser."""
        self._release_all()
        self._target.flush()

    def _skip_hole(self) -> None:
        """Give up what is missing before the first held packet."""
        self._next = min(self._held, key=lambda sequence: sequence_delta(sequence, self._next))
        self._release_row()

    def _release_row(self) -> None:
        while (held := self._held.pop(self._next, None)) is not None:
            self._target.push(held[0], 0, len(held[0]), held[1])
            self._next = (self._next + 1) & 0xFFFF

    def _release_all(self) -> None:
        while self._held:
            self._skip_hole()
