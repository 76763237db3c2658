"""NAL units of H.264 and H.265 put together to access units; `vms.media.video_units` takes them out of RTP packets.

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
received, bit for bit. At most `LARGEST_UNIT_BYTES` are held, and `MAX_WAITING_SETS` parameter sets of at most
`MAX_SET_BYTES` besides.
"""

from __future__ import annotations

import struct

from vms.errors import MalformedError
from vms.media import h264, h265
from vms.media.parameter_sets import MAX_SET_BYTES, ParameterSets
from vms.media.reception import MediaTime
from vms.media.sink import UnitSink
from vms.model import LARGEST_UNIT_BYTES, AccessUnit, Codec, CodecConfig, SenderReport

MAX_WAITING_SETS = 64
PROVEN = 3
SCANNED_PICTURES = 25
MAX_SPLIT = 512
MAX_REFRESH_FRAMES = 300  # a longer gradual refresh is no random access worth the name

BAD, SLICE, PREFIX, SET, DROP, SUFFIX, AGGREGATE, FRAGMENT = range(8)
_U32 = struct.Struct("!I")


def _kinds(codec: Codec) -> bytes:
    """What to do with a NAL or packet, by its first byte."""
    if codec is Codec.H264:
        by_type = dict.fromkeys((1, 2, 3, 4, 5), SLICE) | dict.fromkeys((6, 14, 16, 17, 18), PREFIX)
        by_type |= dict.fromkeys((7, 8, 13, 15), SET) | {9: PREFIX, 12: DROP, 24: AGGREGATE, 28: FRAGMENT}
        by_type |= dict.fromkeys((10, 11, 19, 20, 21, 22, 23), SUFFIX)
        return bytes(by_type.get(first & 0x1F, BAD) for first in range(256))
    by_type = dict.fromkeys((*range(10), *range(16, 24)), SLICE) | dict.fromkeys((32, 33, 34), SET)
    by_type |= dict.fromkeys((35, 39, 41, 42, 43, 44), PREFIX) | {38: DROP, 48: AGGREGATE, 49: FRAGMENT}
    by_type |= dict.fromkeys((36, 37, 40, 45, 46, 47), SUFFIX)
    return bytes(by_type.get(first >> 1 & 0x3F, BAD) for first in range(256))


_B_SLICES = frozenset(b for b in range(256) if b & 0xF0 == 0xA0 or b & 0xFC == 0x9C)
"""First byte of an H.264 slice header with first_mb 0 and slice_type 1 or 6: bits 1 010 or 1 00111."""


def between_start_codes(stream: bytes) -> list[bytes]:
    """What stands between start codes (zeros, two or more, and a one): `MAX_SPLIT` + 1 parts at most.

    Linear whatever a camera sends; a regular expression tries every zero of a long row anew.
    """
    *parts, last = stream.split(b"\0\0\1", MAX_SPLIT)
    return [*(part.rstrip(b"\0") for part in parts), last]


class UnitAssembly:
    """Takes NALs in order of reception and hands whole units to the sink.

    `malformed` counts NALs that made no sense, `skipped` leading pictures left out at a decoding start.
    """

    def __init__(self, config: CodecConfig, sink: UnitSink) -> None:
        self.malformed = 0
        self.skipped = 0
        self._sink = sink
        self._time = MediaTime(config.clock_hz)
        self._sets = ParameterSets(config)
        self._h264 = config.codec is Codec.H264
        self._kind_of = _kinds(config.codec)
        self._nal_header = 1 if self._h264 else 2
        self._arrival_ns = 0

        self._data = bytearray()
        self._middle: bytes | None = None  # how the next middle fragment begins, if one is due; reset with the NAL
        self._last: bytes | None = None  # how its last fragment begins
        self._nal_at = -1  # where the length of the NAL under way stands
        self._nal_kind = BAD
        self._limit = LARGEST_UNIT_BYTES  # of `_data` while a NAL comes in fragments
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

    def _begin_unit(self, *, broken: bool, headless: bool = False) -> None:
        self._data = bytearray()
        self._nal_at = -1
        self._middle = self._last = None
        self._broken = broken  # slices are left out until a first slice
        self._headless = headless  # what stands before that slice may be missing
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

    def _spoil(self) -> None:
        """The unit under way cannot be saved, though no packet is missing."""
        self._begin_unit(broken=True, headless=True)
        self._early = False
        self._damaged = True
        self._sink.on_loss(1)

    def _overflow(self) -> None:
        """The NAL under way, in fragments, went over `_limit`."""
        data, at = self._data, self._nal_at
        if len(data) <= LARGEST_UNIT_BYTES and data.find(b"\0\0\1", at + 4) >= 0:
            self._limit = LARGEST_UNIT_BYTES  # several NALs that the camera did not tell apart, a set first
            return
        self.malformed += 1
        self._spoil()

    def _take_nal(self, buf: bytes | bytearray | memoryview, at: int, end: int, timestamp: int) -> None:
        """A whole NAL in buf[at:end]."""
        kind = self._kind_of[buf[at]]
        if kind in (BAD, AGGREGATE, FRAGMENT):
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
        if kind == SLICE:
            if body >= end:
                raise MalformedError("RTP payload", "slice without a header")
            if self._begins_picture(first, buf[body]):
                if self._sets.interlaced and self._is_second_field(first, buf, body, end, timestamp):
                    self._keep_tail()
                else:
                    self._begin_picture(first, buf, body, end, timestamp)
            elif not self._go_on_with_picture():
                return False
            self._slice_ts = timestamp
            self._note_slice(first)
        elif kind in (PREFIX, SET) and self._picture:
            if timestamp != self._slice_ts:
                self._border(timestamp)
            elif self._tail_at < 0:
                self._tail_at, self._tail_ts = len(self._data), timestamp
        elif kind == SUFFIX:
            if self._marked or self._early:
                self._trust, self._marked = -1, False  # the marker lied: its picture goes on
            if not self._picture:
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
        self._keep_tail()
        return True

    def _keep_tail(self) -> None:
        """What stood behind the present picture stands within it: the picture goes on."""
        self._tail_at = -1
        if self._tail_recovery is not None:
            self._recovery, self._tail_recovery = self._tail_recovery, None

    def _is_second_field(
        self, first: int, buf: bytes | bytearray | memoryview, body: int, end: int, timestamp: int
    ) -> bool:
        """The second field of an interlaced frame stays with the first: they share timestamp and sample."""
        sps = self._sets.interlaced
        assert sps is not None
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
        self._nal_at, self._middle, self._last = -1, None, None
        if len(data) > LARGEST_UNIT_BYTES:
            self._spoil()
            return
        # Searching costs as much as all the rest. Cameras that leave start codes in do so at every picture or in
        # front of a parameter set or SEI, so slices are searched only in the first pictures, and then on if that hit.
        if (kind != SLICE or self._scanned < SCANNED_PICTURES) and data.find(b"\0\0\1", at + 4) >= 0:
            self._split_nal(at, timestamp)
            return
        if kind in (SLICE, SUFFIX):
            _U32.pack_into(data, at, len(data) - at - 4)
            if not self._h264 and data[at + 4] >> 1 in (36, 37):
                self._after_end = True
        elif kind == SET:
            nal = bytes(data[at + 4 : at + 5 + MAX_SET_BYTES])
            del data[at:]
            if len(nal) > MAX_SET_BYTES:
                self.malformed += 1
            elif not self._picture:
                self._take_set(nal)
            elif len(self._waiting_sets) < MAX_WAITING_SETS:
                self._waiting_sets.append(nal)
        elif kind == DROP or self._is_aud(data[at + 4]):
            del data[at:]
        else:
            _U32.pack_into(data, at, len(data) - at - 4)
            self._note_sei(memoryview(data)[at + 4 :])

    def _is_aud(self, first: int) -> bool:
        return first & 0x1F == h264.NAL_AUD if self._h264 else first >> 1 & 0x3F == h265.NAL_AUD

    def _split_nal(self, at: int, timestamp: int) -> None:
        """A NAL that holds start codes: several that the camera did not tell apart."""
        self._scanned = -1
        first, *others = between_start_codes(bytes(self._data[at + 4 :]))
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
        key, damaged = self._is_key(config), self._damaged
        if key:
            starts = (damaged or self._after_end) and not self._idr
            self._leading_from = pts if starts else None
            self._damaged = self._after_end = False
            damaged = self._headless
        elif self._leading_from is not None:
            if self._rasl or (self._h264 and pts < self._leading_from):
                self.skipped += 1
                return
            if self._h264:
                self._leading_from = None
        self._sink.on_unit(AccessUnit(pts, data, key, config, self._arrival_ns, damaged))
        if self._report is not None:
            report, self._report = self._report, None
            self._give_report(*report)

    @property
    def by_arrival(self) -> bool:
        """Whether units get their times from when they come, the stream's own being of no use."""
        return self._time.frozen

    def flush(self) -> None:
        if self._nal_at < 0 and self._marked and self._trust >= 0:
            self._hand_on(len(self._data) if self._tail_at < 0 else self._tail_at)
        self._begin_unit(broken=True)
        self._damaged = True

    def _give_report(self, rtp_timestamp: int, ntp_ns: int, arrival_mono_ns: int) -> None:
        """Hand a sender report on, or keep it until there is a media time to state it in."""
        pts = self._time.peek(rtp_timestamp)
        if pts is None:
            self._report = None if self._time.frozen else (rtp_timestamp, ntp_ns, arrival_mono_ns)
        elif ntp_ns:
            self._sink.on_sender_report(SenderReport(pts, ntp_ns, arrival_mono_ns))
