"""Access units of H.264 and H.265 from RTP packets. The hot path: about 700 packets a megabyte go through `push`.

Where one access unit ends (ITU-T H.264 §7.4.1.2.3, H.265 §7.4.2.4.4) is read from the NALs, because cameras get
everything else wrong:
- a slice with the first-slice flag begins a new picture; one without it goes on with the present picture, whatever its
  timestamp, as long as no packet is missing;
- NALs that can only stand before a picture (SEI, parameter sets, AUD) wait behind the present picture until the next
  slice, or a new timestamp, says whose they are; a unit without a picture thus attaches to the next one;
- the marker bit is a hint. It says at a loss whether the picture under way was whole, unless it has been caught lying (a
  further slice of a picture came after it). And it closes a unit at once, a frame interval sooner than the next
  packet would, when it was right at the last `PROVEN` borders in a row; markers on NALs without a picture mean nothing.

Invariants: a unit that is handed on has its first slice and no sequence number missing in it; its NALs are those
received, bit for bit. At most `MAX_UNIT_BYTES` are held.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

from vms.errors import MalformedError
from vms.media import h264, h265
from vms.media.parameter_sets import ParameterSets
from vms.media.reception import IGNORE, RESET, MediaTime, SourceGate
from vms.media.rtcp import ReportBlock
from vms.media.rtp import payload_bounds
from vms.media.sink import UnitSink
from vms.model import AccessUnit, Codec, CodecConfig, SenderReport

MAX_UNIT_BYTES = 16 << 20
MAX_WAITING_SETS = 64
PROVEN = 3
SCANNED_PICTURES = 64
MAX_SPLIT = 512
MAX_REFRESH_FRAMES = 300  # a longer gradual refresh is no random access worth the name

_BAD, _SLICE, _PREFIX, _SET, _DROP, _SUFFIX, _AGGREGATE, _FRAGMENT = range(8)
_START_CODE = re.compile(rb"\x00\x00+\x01")
_HEADER = struct.Struct("!BBHII")
_U16 = struct.Struct("!H")
_U32 = struct.Struct("!I")


def _kinds(codec: Codec) -> bytes:
    """What to do with a NAL or packet, by its first byte."""
    if codec is Codec.H264:
        by_type = dict.fromkeys((1, 2, 3, 4, 5), _SLICE) | dict.fromkeys((6, 14, 16, 17, 18), _PREFIX)
        by_type |= dict.fromkeys((7, 8, 13, 15), _SET) | {9: _PREFIX, 12: _DROP, 24: _AGGREGATE, 28: _FRAGMENT}
        by_type |= dict.fromkeys((10, 11, 19, 20, 21, 22, 23), _SUFFIX)
        return bytes(by_type.get(first & 0x1F, _BAD) for first in range(256))
    by_type = dict.fromkeys((*range(10), *range(16, 24)), _SLICE) | dict.fromkeys((32, 33, 34), _SET)
    by_type |= dict.fromkeys((35, 39, 41, 42, 43, 44), _PREFIX) | {38: _DROP, 48: _AGGREGATE, 49: _FRAGMENT}
    by_type |= dict.fromkeys((36, 37, 40, 45, 46, 47), _SUFFIX)
    return bytes(by_type.get(first >> 1 & 0x3F, _BAD) for first in range(256))


_B_SLICES = frozenset(b for b in range(256) if b & 0xF0 == 0xA0 or b & 0xFC == 0x9C)
"""First byte of an H.264 slice header with first_mb 0 and slice_type 1 or 6: bits 1 010 or 1 00111."""


class VideoDepacketiser:
    """See `vms.media.depacketise.Depacketiser`. `skipped` counts leading pictures left out at a decoding start."""

    def __init__(self, config: CodecConfig, payload_type: int, sink: UnitSink, ssrc: int | None = None) -> None:
        self.packets = 0
        self.lost = 0
        self.malformed = 0
        self.ignored = 0
        self.skipped = 0
        self._sink = sink
        self._gate = SourceGate(ssrc)
        self._time = MediaTime(config.clock_hz)
        self._sets = ParameterSets(config)
        self._h264 = config.codec is Codec.H264
        self._kind_of = _kinds(config.codec)
        self._nal_header = 1 if self._h264 else 2
        self._payload_type = payload_type

        self._skip_bytes = 14 if self._h264 else 15  # RTP header and fragment header
        self._unpack: Callable[..., tuple[int, int, bytes]] = struct.Struct(
            "!HH10s" if self._h264 else "!HH11s"
        ).unpack_from
        self._plain = 0x8000 | payload_type
        self._middle: bytes | None = (
            None  # timestamp, SSRC and payload headers of the next middle fragment, if one is due
        )
        self._seq = -1
        self._arrival_ns = 0

        self._data = bytearray()
        self._nal_at = -1  # where the length of the NAL under way stands
        self._nal_kind = _BAD
        self._nal_first = 0
        self._waiting_sets: list[bytes] = []  # came after a picture: for the next one
        self._scanned = 0  # pictures searched for start codes and found without; -1: search for ever
        self._early = False  # the last unit was closed by its marker
        self._trust = 0  # borders in a row that the marker announced; negative: it lied
        self._damaged = True
        self._seen_true_key = False
        self._leading_from: int | None = (
            None  # decoding began at a picture of this time: what is output before is left out
        )
        self._after_end = False
        self._report: tuple[int, int, int] | None = None
        self._begin_unit(broken=True)

    def _begin_unit(self, *, broken: bool) -> None:
        self._data = bytearray()
        self._nal_at = -1
        self._middle = None
        self._broken = broken  # slices are left out until a first slice
        self._picture = False
        self._marked = False  # the last packet with a slice had the marker
        self._idr = False
        self._irap = False
        self._rasl = False
        self._recovery: int | None = None
        self._picture_ts = 0
        self._slice_ts = 0
        self._tail_at = -1  # where NALs begin that may belong to the next unit
        self._tail_ts = 0
        self._tail_recovery: int | None = None
        self._field: bool | None = None
        for nal in self._waiting_sets:
            self._take_set(nal)
        self._waiting_sets.clear()

    @property
    def ssrc(self) -> int | None:
        return self._gate.ssrc

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
                if len(data) > MAX_UNIT_BYTES:
                    self._spoil()
                return
        elif end - start < 12:
            self.malformed += 1
            return
        self._push_any(buf, start, end, arrival_mono_ns)

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
                self._take_payload(buf, at, end, timestamp, second >= 0x80, ssrc, arrival_ns)
            except MalformedError:
                self.malformed += 1
                self._spoil()
        self._arrival_ns = arrival_ns

    def _lose(self, missing: int, timestamp: int) -> None:
        """Packets are missing before one with `timestamp`. What the marker called whole is handed on, the rest is lost."""
        moved_on = timestamp != self._picture_ts or self._time.frozen
        if self._marked and self._nal_at < 0 and self._trust >= 0 and moved_on and self._picture:
            self._hand_on(len(self._data) if self._tail_at < 0 else self._tail_at)
        self._begin_unit(broken=True)
        self._early = False
        self._damaged = True
        self.lost += missing
        self._sink.on_loss(max(1, missing))

    def _spoil(self) -> None:
        """The unit under way cannot be saved, though no packet is missing."""
        self._begin_unit(broken=True)
        self._early = False
        self._damaged = True
        self._sink.on_loss(1)

    def _take_payload(
        self, buf: bytearray | memoryview, at: int, end: int, timestamp: int, marker: bool, ssrc: int, arrival_ns: int
    ) -> None:
        first = buf[at]
        kind = self._kind_of[first]
        if kind == _FRAGMENT:
            self._take_fragment(buf, at, end, timestamp, ssrc)
        else:
            if self._nal_at >= 0:
                self._end_nal(timestamp)  # its last fragment lacked the end bit; nothing is missing
            if kind == _AGGREGATE:
                self._take_aggregate(buf, at, end, timestamp)
            elif first == 0 and bytes(buf[at : at + 4]).startswith((b"\0\0\1", b"\0\0\0\1")):
                self._take_annex_b(bytes(buf[at:end]), timestamp)
            elif kind == _BAD:
                raise MalformedError("RTP payload", f"type {first:#x}")
            else:
                self._take_nal(buf, at, end, timestamp)
        if marker and self._picture and self._nal_at < 0 and self._nal_kind in (_SLICE, _SUFFIX, _DROP):
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
            if self._h264:
                header = bytes((buf[at] & 0xE0 | flags & 0x1F,))
                middle = _HEADER.pack(buf[at], flags & 0x1F, 0, timestamp, ssrc)
                middle = middle[4:] + middle[:2]
            else:
                header = bytes((buf[at] & 0x81 | (flags & 0x3F) << 1, buf[at + 1]))
                middle = _U32.pack(timestamp) + _U32.pack(ssrc) + bytes((buf[at], buf[at + 1], flags & 0x3F))
            kind = self._kind_of[header[0]]
            if kind in (_BAD, _AGGREGATE, _FRAGMENT):
                raise MalformedError("RTP payload", f"fragment of type {header[0]:#x}")
            self._nal_kind = kind
            if not self._begin_nal(header[0], buf, body, end, timestamp):
                return
            self._nal_at = len(self._data)
            self._data += b"\0\0\0\0" + header
            self._middle = middle
        elif self._nal_at < 0:
            if not self._broken:
                raise MalformedError("RTP payload", "fragment without a start")
            return
        self._data += buf[body:end]
        if flags & 0x40:
            self._end_nal(timestamp)
        elif len(self._data) > MAX_UNIT_BYTES:
            self._spoil()

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
        for nal in _START_CODE.split(stream):
            if nal:
                self._take_nal(nal, 0, len(nal), timestamp)

    def _take_nal(self, buf: bytes | bytearray | memoryview, at: int, end: int, timestamp: int) -> None:
        """A whole NAL in buf[at:end]."""
        kind = self._kind_of[buf[at]]
        if kind in (_BAD, _AGGREGATE, _FRAGMENT):
            raise MalformedError("RTP payload", f"NAL of type {buf[at]:#x}")
        self._nal_kind = kind
        if self._begin_nal(buf[at], buf, at + self._nal_header, end, timestamp):
            self._nal_at = len(self._data)
            self._data += b"\0\0\0\0"
            self._data += buf[at:end]
            self._end_nal(timestamp)

    def _begin_nal(self, first: int, buf: bytes | bytearray | memoryview, body: int, end: int, timestamp: int) -> bool:
        """A NAL begins whose payload starts at `body`. Closes the unit before it where it is the border.

        False: the NAL is to be left out.
        """
        kind = self._nal_kind
        if kind == _SLICE:
            if body >= end:
                raise MalformedError("RTP payload", "slice without a header")
            if self._begins_picture(first, buf[body]):
                if not self._is_second_field(first, buf, body, end, timestamp):
                    self._begin_picture(first, buf, body, end, timestamp)
            elif not self._go_on_with_picture():
                return False
            self._slice_ts = timestamp
            self._note_slice(first)
        elif kind in (_PREFIX, _SET) and self._picture:
            if timestamp != self._slice_ts:
                self._border(timestamp)
            elif self._tail_at < 0:
                self._tail_at, self._tail_ts = len(self._data), timestamp
        elif kind == _SUFFIX and not self._picture:
            self._after_end = self._after_end or (not self._h264 and first >> 1 in (36, 37))
            return False  # its picture is lost or was handed on
        return True

    def _begins_picture(self, first: int, slice_byte: int) -> bool:
        if self._h264 and first & 0x1F in (3, 4):
            return False  # data partitions B and C follow their A
        return slice_byte >= 0x80  # first_mb_in_slice 0 as Exp-Golomb, or first_slice_segment_in_pic_flag

    def _go_on_with_picture(self) -> bool:
        """A slice that is not its picture's first. False when there is no such picture."""
        if self._marked:
            self._trust = -1
            self._marked = False
        if not self._picture:
            if self._early:
                self._trust = -1  # the unit handed on lacked this slice; from now on the marker closes nothing
                self._damaged = True
                self._early = False
                self._sink.on_loss(1)
            self._begin_unit(broken=True)
            return False
        self._tail_at = -1
        if self._tail_recovery is not None:
            self._recovery, self._tail_recovery = self._tail_recovery, None
        return True

    def _is_second_field(
        self, first: int, buf: bytes | bytearray | memoryview, body: int, end: int, timestamp: int
    ) -> bool:
        """The second field of an interlaced frame stays with the first: they share timestamp and sample."""
        sps = self._sets.interlaced if self._h264 else None
        if sps is None:
            return False
        header = h264.parse_slice_header(bytes((first,)) + bytes(buf[body : min(end, body + 31)]), sps)
        paired = (
            self._picture
            and timestamp == self._slice_ts
            and self._field is not None
            and header.bottom_field is not None
            and header.bottom_field != self._field
        )
        self._field = None if paired else header.bottom_field
        if paired and self._marked:
            self._trust, self._marked = -1, False
        return paired

    def _begin_picture(
        self, first: int, buf: bytes | bytearray | memoryview, body: int, end: int, timestamp: int
    ) -> None:
        if self._picture:
            field = self._field
            self._border(timestamp)
            self._field = field
        self._picture, self._broken, self._early = True, False, False
        self._picture_ts = timestamp
        sets = self._sets
        if self._h264 and first & 0x1F == h264.NAL_SLICE and buf[body] in _B_SLICES and sets.asks_for_b:
            sets.saw_b()
        if sets.several_sps:
            head = bytes(buf[body : min(end, body + 24)])
            try:
                if self._h264:
                    sets.use_pps(h264.parse_slice_header(bytes((first,)) + head).pps_id)
                else:
                    sets.use_pps(h265.slice_pps_id(bytes((first, 1)) + head))
            except MalformedError:
                self.malformed += 1  # the slice is kept as it is: a decoder may know better

    def _note_slice(self, first: int) -> None:
        if self._h264:
            self._idr = self._idr or first & 0x1F == h264.NAL_IDR
            return
        kind = first >> 1 & 0x3F
        if kind >= h265.NAL_BLA_W_LP:
            self._irap = True
            self._idr = kind in (h265.NAL_IDR_W_RADL, h265.NAL_IDR_N_LP)
        elif kind in (h265.NAL_RASL_N, h265.NAL_RASL_R):
            self._rasl = True

    def _border(self, timestamp: int) -> None:
        """The present unit ends; a tail that is the next one's goes over to it."""
        cut, recovery = len(self._data), None
        if self._tail_at >= 0:
            # NALs with the old picture's timestamp, before a marker and with the next picture at another time, are its own.
            own = not self._marked and self._tail_ts == self._slice_ts and timestamp != self._tail_ts
            if not own:
                cut, recovery = self._tail_at, self._tail_recovery
        if self._trust >= 0:
            self._trust = self._trust + 1 if self._marked else 0
        tail = self._data[cut:]
        self._hand_on(cut)
        self._begin_unit(broken=False)
        self._data += tail
        self._recovery = recovery

    def _end_nal(self, timestamp: int) -> None:
        """The NAL under way is complete: state its length, or take it out."""
        data, at, kind = self._data, self._nal_at, self._nal_kind
        self._nal_at, self._middle = -1, None
        if len(data) > MAX_UNIT_BYTES:
            self._spoil()
            return
        # Searching costs as much as all the rest. Cameras that leave start codes in do so at every picture or in
        # front of a parameter set or SEI, so slices are searched only in the first pictures, and then on if that hit.
        if (kind != _SLICE or self._scanned < SCANNED_PICTURES) and data.find(b"\0\0\1", at + 4) >= 0:
            self._split_nal(at, timestamp)
            return
        if kind in (_SLICE, _SUFFIX):
            _U32.pack_into(data, at, len(data) - at - 4)
            if not self._h264 and data[at + 4] >> 1 in (36, 37):
                self._after_end = True
        elif kind == _SET:
            nal = bytes(data[at + 4 :])
            del data[at:]
            if not self._picture:
                self._take_set(nal)
            elif len(self._waiting_sets) < MAX_WAITING_SETS:
                self._waiting_sets.append(nal)
        elif kind == _DROP or self._is_aud(data[at + 4]):
            del data[at:]
        else:
            _U32.pack_into(data, at, len(data) - at - 4)
            self._note_sei(memoryview(data)[at + 4 :])

    def _is_aud(self, first: int) -> bool:
        return first & 0x1F == h264.NAL_AUD if self._h264 else first >> 1 & 0x3F == h265.NAL_AUD

    def _split_nal(self, at: int, timestamp: int) -> None:
        """A NAL that holds start codes: several that the camera did not tell apart."""
        self._scanned = -1
        first, *others = _START_CODE.split(bytes(self._data[at + 4 :]), maxsplit=MAX_SPLIT)
        if len(others) == MAX_SPLIT:
            raise MalformedError("RTP payload", "start codes without end")
        del self._data[at:]
        if first:
            self._nal_at = at
            self._data += b"\0\0\0\0" + first
            self._end_nal(timestamp)
        for nal in others:
            if nal:
                self._take_nal(nal, 0, len(nal), timestamp)

    def _take_set(self, nal: bytes) -> None:
        try:
            self._sets.take(nal)
        except MalformedError:
            self.malformed += 1

    def _note_sei(self, nal: memoryview) -> None:
        if self._h264 and nal[0] & 0x1F == h264.NAL_SEI:
            recovery = h264.recovery_frame_count(nal)
        elif not self._h264 and nal[0] >> 1 & 0x3F == h265.NAL_PREFIX_SEI:
            recovery = h265.recovery_picture_count(nal)
        else:
            return
        if recovery is not None:
            if self._tail_at >= 0:
                self._tail_recovery = recovery
            else:
                self._recovery = recovery

    def _is_key(self, config: CodecConfig) -> bool:
        """Whether decoding may begin at the present unit: its parameter sets must be known.

        A recovery point at once (count 0) counts always: some cameras never send another IDR than their first. A
        gradual one counts while no better picture has come, as the only way into such a stream.
        """
        if not config.width:
            return False
        if self._idr or self._irap:
            self._seen_true_key = True
            return True
        if self._recovery is None:
            return False
        if self._recovery == 0:
            self._seen_true_key = True
            return True
        return 0 < self._recovery <= MAX_REFRESH_FRAMES and not self._seen_true_key

    def _hand_on(self, size: int) -> None:
        """Give data[:size], a whole unit, to the sink, unless it is a leading picture nobody can decode."""
        if self._broken or not self._picture:
            return
        if 0 <= self._scanned < SCANNED_PICTURES:
            self._scanned += 1
        config = self._sets.config
        data = bytes(self._data) if size == len(self._data) else bytes(self._data[:size])
        reorders = config.reorder_depth > 0 or not config.width
        pts = self._time.pts(self._picture_ts, self._arrival_ns, reorders=reorders)
        key = self._is_key(config)
        if key:
            starts = (self._damaged or self._after_end) and not self._idr
            self._leading_from = pts if starts else None
            self._damaged = self._after_end = False
        elif self._leading_from is not None:
            if self._rasl or (self._h264 and pts < self._leading_from):
                self.skipped += 1
                return
            if self._h264:
                self._leading_from = None
        self._sink.on_unit(AccessUnit(pts, data, key, config, self._arrival_ns, self._damaged))
        if self._report is not None:
            report, self._report = self._report, None
            self.sender_report(*report)

    def flush(self) -> None:
        if self._nal_at < 0 and self._marked and self._trust >= 0:
            self._hand_on(len(self._data) if self._tail_at < 0 else self._tail_at)
        self._begin_unit(broken=True)
        self._damaged = True

    def sender_report(self, rtp_timestamp: int, ntp_ns: int, arrival_mono_ns: int) -> None:
        self._gate.note_sender_report(ntp_ns, arrival_mono_ns)
        pts = self._time.peek(rtp_timestamp)
        if pts is None:
            self._report = None if self._time.frozen else (rtp_timestamp, ntp_ns, arrival_mono_ns)
        elif ntp_ns:
            self._sink.on_sender_report(SenderReport(pts, ntp_ns, arrival_mono_ns))

    def report_block(self, now_mono_ns: int | None = None) -> ReportBlock | None:
        return self._gate.report_block(self.packets, self.lost, now_mono_ns)
