"""RTP payloads to access units: the door of the hot path.

`make_depacketiser` gives the depacketiser of a medium; `ReorderBuffer` stands before it where packets come over UDP.
Nothing raises for what a camera sends: bad packets are counted and cost their access unit.
"""

from __future__ import annotations

from typing import Protocol

from vms.media.rtcp import ReportBlock
from vms.media.sdp import MediaDescription
from vms.media.sink import UnitSink


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

    def report_block(self) -> ReportBlock | None:
        """Reception so far for an RTCP receiver report, counted since the last call; None before the first packet."""


def make_depacketiser(media: MediaDescription, sink: UnitSink, ssrc: int | None = None) -> Depacketiser:
    """The depacketiser for `media`. `ssrc` is what SETUP's Transport announced, if anything: a hint, cameras lie.

    Raises ValueError when `sdp.codec_of(media)` is None.
    """
    raise NotImplementedError


class ReorderBuffer:
    """Puts UDP packets back in order within bounds, then pushes them into a depacketiser.

    Packets ahead of a missing one are copied and held until it comes, until `max_packets` wait, or until the oldest has
    waited `max_wait_ns`; what is missing then is left for the depacketiser to count as lost. Call `expire` now and
    then (every 50 ms or so) so that a hole at the end of a burst does not hold the rest.
    """

    def __init__(self, depacketiser: Depacketiser, max_packets: int = 128, max_wait_ns: int = 100_000_000) -> None:
        raise NotImplementedError

    def push(self, buf: bytearray | memoryview, start: int, end: int, arrival_mono_ns: int) -> None:
        """Take a datagram; same contract as `Depacketiser.push`."""

    def expire(self, now_mono_ns: int) -> None:
        """Release what has waited too long by `now_mono_ns`."""

    def flush(self) -> None:
        """Release all and flush the depacketiser."""
