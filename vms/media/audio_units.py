"""Audio frames from RTP packets: AAC in RFC 3640 packing, G.711 and Opus with a packet each. Every frame is a key unit."""

from __future__ import annotations

import struct

from vms.errors import MalformedError
from vms.media.audio import AAC_FRAME_SAMPLES
from vms.media.bits import BitReader
from vms.media.reception import IGNORE, RESET, MediaTime, SourceGate
from vms.media.rtcp import ReportBlock
from vms.media.rtp import payload_bounds
from vms.media.sdp import MediaDescription
from vms.media.sink import UnitSink
from vms.model import AccessUnit, Codec, CodecConfig, SenderReport

MAX_FRAMES = 256  # in one packet
MAX_FRAME_BYTES = 1 << 16

_HEADER = struct.Struct("!BBHII")


class AudioDepacketiser:
    """See `vms.media.depacketise.Depacketiser`."""

    def __init__(self, config: CodecConfig, media: MediaDescription, sink: UnitSink, ssrc: int | None = None) -> None:
        self.packets = 0
        self.lost = 0
        self.malformed = 0
        self.ignored = 0
        self._config = config
        self._sink = sink
        self._payload_type = media.payload_type
        self._gate = SourceGate(ssrc)
        self._time = MediaTime(config.clock_hz)
        self._seq = -1
        self._arrival_ns = 0
        self._report: tuple[int, int, int] | None = None
        # RFC 3640 §4.1; absent lengths are those of AAC-hbr, which is what such cameras then send.
        self._size_bits = _length(media.fmtp.get("sizelength"), 13)
        self._index_bits = _length(media.fmtp.get("indexlength"), 3)
        self._delta_bits = _length(media.fmtp.get("indexdeltalength"), 3)
        self._partial = bytearray()
        self._partial_size = 0  # of the whole frame under way; 0: none
        self._partial_ts = 0

    @property
    def ssrc(self) -> int | None:
        return self._gate.ssrc

    def push(self, buf: bytearray | memoryview, start: int, end: int, arrival_mono_ns: int) -> None:
        if end - start < 12:
            self.malformed += 1
            return
        first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(buf, start)
        try:
            at, end = payload_bounds(buf, start, end, first)
        except MalformedError:
            self.malformed += 1
            return
        if second & 0x7F != self._payload_type:
            self.ignored += 1
            if ssrc == self._gate.ssrc and sequence == self._seq:
                self._seq = (sequence + 1) & 0xFFFF  # comfort noise, DTMF: same sequence, not a loss
            return
        if sequence != self._seq or ssrc != self._gate.ssrc:
            missing = self._gate.judge(ssrc, sequence, self._seq, arrival_mono_ns, self._arrival_ns)
            if missing == IGNORE:
                self.ignored += 1
                return
            if missing == RESET:
                self._gate.note_reset(sequence, self.packets, self.lost)
                self._time.rejoin()
                self._lose(0)
            elif missing and self._seq >= 0:
                self._lose(missing)
        self._seq = (sequence + 1) & 0xFFFF
        self._arrival_ns = arrival_mono_ns
        self.packets += 1
        payload = bytes(buf[at:end])
        if not payload:
            return
        if self._config.codec is not Codec.AAC:
            self._emit(payload, self._time.pts(timestamp, arrival_mono_ns, reorders=False))
            return
        try:
            self._take_aac(payload, timestamp)
        except MalformedError:
            self.malformed += 1
            self._lose(0)

    def _lose(self, missing: int) -> None:
        self._partial_size = 0
        self._partial.clear()
        self.lost += missing
        self._sink.on_loss(max(1, missing))

    def _take_aac(self, payload: bytes, timestamp: int) -> None:
        """AU headers, then frames one after another (RFC 3640 §3.2)."""
        bits = int.from_bytes(payload[:2], "big")
        at = 2 + (bits + 7) // 8
        if len(payload) < 2 or at > len(payload):
            raise MalformedError("AAC payload", "AU headers cut off")
        reader = BitReader(payload[:at], "AU headers", skip_bytes=2)
        sizes: list[int] = []
        while reader.at - 16 + self._size_bits + self._delta_bits <= bits and len(sizes) < MAX_FRAMES:
            sizes.append(reader.u(self._size_bits))
            reader.skip(self._delta_bits if len(sizes) > 1 else self._index_bits)
        if not sizes:
            raise MalformedError("AAC payload", "no AU header")
        if len(sizes) == 1 and sizes[0] > len(payload) - at:
            self._take_aac_part(payload[at:], sizes[0], timestamp)
            return
        if sum(sizes) > len(payload) - at:
            raise MalformedError("AAC payload", "frames cut off")
        if self._partial_size:
            self._lose(0)
        pts = self._time.pts(timestamp, self._arrival_ns, reorders=False)
        for index, size in enumerate(sizes):
            if size:
                self._emit(payload[at : at + size], pts + index * AAC_FRAME_SAMPLES)
            at += size

    def _take_aac_part(self, part: bytes, size: int, timestamp: int) -> None:
        """A fragment of a frame; all of them state the frame's size and have its timestamp (§3.2.3.1)."""
        if size > MAX_FRAME_BYTES:
            raise MalformedError("AAC payload", f"frame of {size} bytes")
        if self._partial_size and (timestamp != self._partial_ts or size != self._partial_size):
            self._lose(0)
        self._partial_size, self._partial_ts = size, timestamp
        self._partial += part
        if len(self._partial) >= size:
            frame = bytes(self._partial[:size])
            self._partial_size = 0
            self._partial.clear()
            self._emit(frame, self._time.pts(timestamp, self._arrival_ns, reorders=False))

    def _emit(self, frame: bytes, pts: int) -> None:
        self._sink.on_unit(AccessUnit(pts, frame, key=True, config=self._config, arrival_mono_ns=self._arrival_ns))
        if self._report is not None:
            report, self._report = self._report, None
            self.sender_report(*report)

    def flush(self) -> None:
        self._partial_size = 0
        self._partial.clear()

    def sender_report(self, rtp_timestamp: int, ntp_ns: int, arrival_mono_ns: int) -> None:
        self._gate.note_sender_report(ntp_ns, arrival_mono_ns)
        pts = self._time.peek(rtp_timestamp)
        if pts is None:
            self._report = None if self._time.frozen else (rtp_timestamp, ntp_ns, arrival_mono_ns)
        elif ntp_ns:
            self._sink.on_sender_report(SenderReport(pts, ntp_ns, arrival_mono_ns))

    def report_block(self, now_mono_ns: int | None = None) -> ReportBlock | None:
        return self._gate.report_block(self.packets, self.lost, now_mono_ns)


def _length(text: str | None, default: int) -> int:
    """A field length in bits from `fmtp`, 0 to 32."""
    if text is None or not (text.isascii() and text.isdigit() and len(text) <= 2):
        return default
    return min(32, int(text))
