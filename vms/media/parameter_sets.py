"""The parameter sets of one video stream, kept by id, and the configuration that follows from them.

Sets in band replace those of the SDP with the same id. A set that does not parse is refused, so that a bad SDP or a
broken NAL never displaces a good one. The configuration object changes identity only when its content does; contents
seen before give the same object again, so two sets in turn do not make new ones without end. All sets of a stream together
have at most `MAX_SETS_BYTES`.
"""

from __future__ import annotations

from dataclasses import replace

from vms.errors import MalformedError
from vms.media import h264, h265
from vms.model import Codec, CodecConfig

MAX_SET_BYTES = 0xFFFF  # its length has 16 bits where a segment states it (ISO/IEC 14496-15 §5.3.3.1, §8.3.3.1)
MAX_SETS_BYTES = 1 << 20
_REMEMBERED = 16


class ParameterSets:
    """`config` is the present configuration; `take`, `use_pps` and `saw_b` may change it.

    What every picture asks is kept as attributes: `several_sps`; `asks_for_b`, whether a B slice would settle the reorder
    depth; `interlaced`, the active SPS where it allows field pictures.
    """

    __slots__ = (
        "_h264", "_known", "_past", "_pps", "_sets", "_shows_b", "_sps", "_sps_id", "asks_for_b", "config", "interlaced",
        "several_sps",
    )  # fmt: skip

    def __init__(self, initial: CodecConfig) -> None:
        self._h264 = initial.codec is Codec.H264
        self._sets: dict[tuple[int, int], bytes] = {}
        self._known: set[bytes] = set()
        self._pps: dict[int, int] = {}  # PPS id → SPS id
        self._sps: dict[int, h264.Sps | h265.Sps] = {}
        self._sps_id: int | None = None
        self._shows_b = False
        self.several_sps = False
        self.asks_for_b = False
        self.interlaced: h264.Sps | None = None
        self.config = replace(initial, parameter_sets=())
        self._past: list[CodecConfig] = []
        for nal in initial.parameter_sets:
            try:
                self.take(nal)
            except MalformedError:
                continue

    def take(self, nal: bytes) -> None:
        """Take a parameter set NAL. Raises MalformedError when it does not parse; nothing has changed then."""
        if nal in self._known:
            return
        if len(nal) > MAX_SET_BYTES or sum(map(len, self._sets.values())) + len(nal) > MAX_SETS_BYTES:
            raise MalformedError("parameter set", f"{len(nal)} bytes more are too many")
        key = self._parse_h264(nal) if self._h264 else self._parse_h265(nal)
        if key is None:
            return
        self._known.discard(self._sets.get(key, b""))
        self._sets[key] = nal
        self._known.add(nal)
        self._rebuild()

    def _parse_h264(self, nal: bytes) -> tuple[int, int] | None:
        if nal[0] & 0x1F == h264.NAL_SPS:
            sps = h264.parse_sps(nal)
            self._sps[sps.id] = sps
            return 1, sps.id
        if nal[0] & 0x1F == h264.NAL_PPS:
            pps_id, self_sps = h264.parse_pps(nal)
            self._pps[pps_id] = self_sps
            return 2, pps_id
        return None  # extensions for layers that we do not have

    def _parse_h265(self, nal: bytes) -> tuple[int, int] | None:
        kind = h265.nal_type(nal)
        if kind == h265.NAL_SPS:
            sps = h265.parse_sps(nal)
            self._sps[sps.id] = sps
            return 1, sps.id
        if kind == h265.NAL_PPS:
            pps_id, self_sps = h265.parse_pps(nal)
            self._pps[pps_id] = self_sps
            return 2, pps_id
        return 0, h265.parse_vps_id(nal)

    def use_pps(self, pps_id: int) -> None:
        """A random-access picture refers to this PPS: its SPS is the one in use."""
        sps_id = self._pps.get(pps_id)
        if sps_id is not None and sps_id in self._sps and sps_id != self._sps_id:
            self._sps_id = sps_id
            self._rebuild()

    def saw_b(self) -> None:
        """A B slice was seen in a stream whose SPS leaves the reorder depth open."""
        self._shows_b = True
        self._rebuild()

    def _active(self) -> h264.Sps | h265.Sps | None:
        if self._sps_id in self._sps:
            return self._sps[self._sps_id]
        return self._sps[min(self._sps)] if self._sps else None

    def _rebuild(self) -> None:
        sps = self._active()
        self.several_sps = len(self._sps) > 1
        self.asks_for_b = not self._shows_b and isinstance(sps, h264.Sps) and sps.reorder_depth is None
        self.interlaced = sps if isinstance(sps, h264.Sps) and not sps.frame_mbs_only else None
        nals = [self._sets[key] for key in sorted(self._sets)]
        if self._h264:
            fresh = h264.make_config(nals, self._sps_id, shows_b=self._shows_b)
        else:
            fresh = h265.make_config(nals, self._sps_id)
        fresh = replace(fresh, clock_hz=self.config.clock_hz)
        if fresh == self.config:
            return
        self.config = next((old for old in self._past if old == fresh), fresh)
        if self.config is fresh:
            self._past = [*self._past[-_REMEMBERED + 1 :], fresh]
