"""H.264 and H.265 out of RTP packets: RFC 6184 and RFC 7798 payloads. The hot path, about 750 packets a megabyte.

What the NALs then make up is `vms.media.unit_assembly`'s. Nothing raises for what a packet contains.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from vms.errors import MalformedError
from vms.media.parameter_sets import MAX_SET_BYTES
from vms.media.reception import IGNORE, RESET, SourceGate
from vms.media.rtcp import ReportBlock
from vms.media.rtp import payload_bounds
from vms.media.sink import UnitSink
from vms.media.unit_assembly import (
    AGGREGATE,
    BAD,
    DROP,
    FRAGMENT,
    PROVEN,
    SET,
    SLICE,
    SUFFIX,
    UnitAssembly,
    between_start_codes,
)
from vms.model import LARGEST_UNIT_BYTES, CodecConfig

_HEADER = struct.Struct("!BBHII")
_U16 = struct.Struct("!H")
_U32 = struct.Struct("!I")


class VideoDepacketiser(UnitAssembly):
    """See `vms.media.depacketise.Depacketiser`."""

    def __init__(self, config: CodecConfig, payload_type: int, sink: UnitSink, ssrc: int | None = None) -> None:
        super().__init__(config, sink)
        self.packets = 0
        self.lost = 0
        self.ignored = 0
        self._gate = SourceGate(ssrc)
        self._payload_type = payload_type
        self._plain = 0x8000 | payload_type  # first two bytes of a packet without marker and extras
        self._marked_plain = 0x8080 | payload_type
        self._seq = -1
        self._skip_bytes = 14 if self._h264 else 15  # RTP header and fragment header
        # First two bytes, sequence number, and the rest up to the fragment header, which middle fragments share.
        rest = "10s" if self._h264 else "11s"
        self._unpack: Callable[..., tuple[int, int, bytes]] = struct.Struct(f"!HH{rest}").unpack_from
        # The same behind "$", channel and length of an interleaved frame.
        self._unpack_frame: Callable[..., tuple[int, int, int, int, bytes]] = struct.Struct(f"!HHHH{rest}").unpack_from

    @property
    def ssrc(self) -> int | None:
        return self._gate.ssrc

    @property
    def in_doubt(self) -> bool:
        """Whether what came last is another source's, which may soon be believed: time is then joined by arrival."""
        return self._gate.stranger_ns > self._arrival_ns

    def push(self, buf: bytearray | memoryview, start: int, end: int, arrival_mono_ns: int) -> None:
        if end - start > self._skip_bytes:
            # Nearly every packet is a middle fragment of the NAL under way: one unpack and three comparisons know it.
            head, sequence, rest = self._unpack(buf, start)
            if rest == self._middle and sequence == self._seq and head == self._plain:
                data = self._data
                data += buf[start + self._skip_bytes : end]
                self._seq = (sequence + 1) & 0xFFFF
                self._arrival_ns = arrival_mono_ns
                self.packets += 1
                if len(data) > self._limit:
                    self._overflow()
                return
            if rest == self._last and sequence == self._seq and head | 0x80 == self._marked_plain:
                self._data += buf[start + self._skip_bytes : end]
                self._seq = (sequence + 1) & 0xFFFF
                self.packets += 1
                self._take_end(int(_U32.unpack_from(rest)[0]), head & 0x80, arrival_mono_ns)
                return
        elif end - start < 12:
            self.malformed += 1
            return
        self._push_any(buf, start, end, arrival_mono_ns)

    def push_run(  # noqa: PLR0917 - the wire calls it by position, for speed
        self, buf: bytearray, view: memoryview, at: int, end: int, channel: int, arrival_mono_ns: int
    ) -> int:
        """Take interleaved frames (RFC 2326 §10.12) from `at` on, as long as they are whole, of `channel`, and middle
        fragments in a row of the NAL under way: most of all packets. Gives the position of the first that is not.

        `view` is of `buf`; neither is kept. One call and one copy serve a dozen packets.
        """
        middle = self._middle
        if middle is None or self._limit != LARGEST_UNIT_BYTES:  # sets are looked at packet by packet
            return at
        unpack, plain, skip = self._unpack_frame, self._plain, self._skip_bytes
        begin, lead, sequence = at, 0x2400 | channel, self._seq
        last = end - skip - 5  # a frame with at least one byte behind its headers may begin here
        parts = []
        while at <= last:
            dollar, size, head, number, rest = unpack(buf, at)
            if rest != middle or number != sequence or head != plain or dollar != lead:
                break
            stop = at + 4 + size
            if stop > end or size <= skip:
                break
            parts.append(view[at + 4 + skip : stop])
            sequence = sequence + 1 & 0xFFFF
            at = stop
        if at == begin:
            return at
        data = self._data
        data += b"".join(parts)
        self._seq = sequence
        self._arrival_ns = arrival_mono_ns
        self.packets += len(parts)
        if len(data) > self._limit:
            self._overflow()
        return at

    def _take_end(self, timestamp: int, marker: int, arrival_ns: int) -> None:
        """The NAL under way is complete; the picture may be too."""
        try:
            self._end_nal(timestamp)
            if marker and self._picture and self._nal_kind in (SLICE, SUFFIX, DROP):
                self._take_marker(arrival_ns)
        except MalformedError:
            self.malformed += 1
            self._spoil()
        self._arrival_ns = arrival_ns

    def _push_any(self, buf: bytearray | memoryview, start: int, end: int, arrival_ns: int) -> None:
        first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(buf, start)
        at = start + 12
        if first != 0x80:
            try:
                at, end = payload_bounds(buf, start, end, first)
            except MalformedError:
                self.malformed += 1
                return
        if second & 0x7F != self._payload_type:
            self.ignored += 1
            if ssrc == self._gate.ssrc and sequence == self._seq:
                self._seq = (sequence + 1) & 0xFFFF  # another payload type in the same sequence: not a loss
            return
        if sequence != self._seq or ssrc != self._gate.ssrc:
            missing = self._gate.judge(ssrc, sequence, self._seq, arrival_ns, self._arrival_ns)
            if missing == IGNORE:
                self.ignored += 1
                return
            if missing == RESET:
                self._gate.note_reset(sequence, self.packets, self.lost)
                self._time.rejoin()
                self._trust = self._scanned = 0
                self._lose(0, timestamp)
            elif missing and self._seq >= 0:
                self._lose(missing, timestamp)
        self._seq = (sequence + 1) & 0xFFFF
        self.packets += 1
        if at < end:
            try:
                self._take_payload(buf, at, end, timestamp, ssrc)
                if second >= 0x80 and self._picture and self._nal_at < 0 and self._nal_kind in (SLICE, SUFFIX, DROP):
                    self._take_marker(arrival_ns)
            except MalformedError:
                self.malformed += 1
                self._spoil()
        self._arrival_ns = arrival_ns

    def _lose(self, missing: int, timestamp: int) -> None:
        """Packets are missing before one with `timestamp`. What the marker called whole is handed on, the rest is lost."""
        moved_on = timestamp != self._picture_ts or self._time.frozen
        if self._marked and self._nal_at < 0 and self._trust >= 0 and moved_on and self._picture:
            self._hand_on(len(self._data) if self._tail_at < 0 else self._tail_at)
        self._begin_unit(broken=True, headless=True)
        self._early = False
        self._damaged = True
        self.lost += missing
        self._sink.on_loss(max(1, missing))

    def _take_payload(self, buf: bytearray | memoryview, at: int, end: int, timestamp: int, ssrc: int) -> None:
        first = buf[at]
        kind = self._kind_of[first]
        if kind == FRAGMENT:
            self._take_fragment(buf, at, end, timestamp, ssrc)
        else:
            if self._nal_at >= 0:
                self._end_nal(timestamp)  # its last fragment lacked the end bit; nothing is missing
            if kind == AGGREGATE:
                self._take_aggregate(buf, at, end, timestamp)
            elif first == 0 and bytes(buf[at : at + 4]).startswith((b"\0\0\1", b"\0\0\0\1")):
                self._take_annex_b(bytes(buf[at:end]), timestamp)
            elif kind == BAD:
                raise MalformedError("RTP payload", f"type {first:#x}")
            else:
                self._take_nal(buf, at, end, timestamp)

    def _take_marker(self, arrival_ns: int) -> None:
        """A packet with the marker ended a NAL of the present picture."""
        self._marked = True
        if self._trust >= PROVEN and not self._broken:
            self._arrival_ns = arrival_ns
            self._hand_on(len(self._data))
            self._begin_unit(broken=False)
            self._early = True

    def _take_fragment(self, buf: bytearray | memoryview, at: int, end: int, timestamp: int, ssrc: int) -> None:
        """FU-A (RFC 6184 §5.8) or FU (RFC 7798 §4.4.3)."""
        body = at + self._nal_header + 1
        if body >= end:
            raise MalformedError("RTP payload", "empty fragment")
        flags = buf[body - 1]
        if flags & 0x80:
            if self._nal_at >= 0:
                self._end_nal(timestamp)
            header = bytes((self._fragmented(buf[at], flags),))
            if self._h264:
                middle = _HEADER.pack(buf[at], flags & 0x1F, 0, timestamp, ssrc)
                middle = middle[4:] + middle[:2]
            else:
                header += bytes((buf[at + 1],))
                middle = _U32.pack(timestamp) + _U32.pack(ssrc) + bytes((buf[at], buf[at + 1], flags & 0x3F))
            kind = self._kind_of[header[0]]
            if kind in (BAD, AGGREGATE, FRAGMENT):
                raise MalformedError("RTP payload", f"fragment of type {header[0]:#x}")
            self._nal_kind = kind
            if not self._begin_nal(header[0], buf, body, end, timestamp):
                return
            self._nal_at = len(self._data)
            self._limit = self._nal_at + 4 + MAX_SET_BYTES if kind == SET else LARGEST_UNIT_BYTES
            self._data += b"\0\0\0\0" + header
            self._middle = middle
            self._last = middle[:-1] + bytes((middle[-1] | 0x40,))
        elif self._nal_at < 0:
            if not self._broken:
                raise MalformedError("RTP payload", "fragment without a start")
            if self._kind_of[self._fragmented(buf[at], flags)] == SLICE:
                self._headless = False  # the loss ended within a picture that is left out
            return
        self._data += buf[body:end]
        if flags & 0x40:
            self._end_nal(timestamp)
        elif len(self._data) > self._limit:
            self._overflow()

    def _fragmented(self, first: int, flags: int) -> int:
        """The first byte of the NAL that comes in fragments."""
        return first & 0xE0 | flags & 0x1F if self._h264 else first & 0x81 | (flags & 0x3F) << 1

    def _take_aggregate(self, buf: bytearray | memoryview, at: int, end: int, timestamp: int) -> None:
        """STAP-A (RFC 6184 §5.7.1) or AP (RFC 7798 §4.4.2)."""
        at += self._nal_header
        while at < end:
            if at + 2 > end:
                raise MalformedError("RTP payload", "aggregate cut off")
            size = int(_U16.unpack_from(buf, at)[0])
            at += 2
            if at + size > end:
                raise MalformedError("RTP payload", "aggregate cut off")
            if size:
                self._take_nal(buf, at, at + size, timestamp)
            at += size

    def _take_annex_b(self, stream: bytes, timestamp: int) -> None:
        for nal in between_start_codes(stream):
            if nal:
                self._take_nal(nal, 0, len(nal), timestamp)

    def sender_report(self, rtp_timestamp: int, ntp_ns: int, arrival_mono_ns: int) -> None:
        self._gate.note_sender_report(ntp_ns, arrival_mono_ns)
        self._give_report(rtp_timestamp, ntp_ns, arrival_mono_ns)

    def report_block(self, now_mono_ns: int | None = None) -> ReportBlock | None:
        return self._gate.report_block(self.packets, self.lost, now_mono_ns)
