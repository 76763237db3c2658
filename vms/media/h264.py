"""H.264 (ITU-T H.264): NAL unit types, parameter sets and the few slice-header facts that receiving needs.

Pure and bounded: every function looks at the first 4 KiB of a NAL at most. Bytes that do not parse raise MalformedError.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from vms.errors import MalformedError
from vms.media.bits import BitReader, find_sei, unescape
from vms.model import Codec, CodecConfig

NAL_SLICE = 1
NAL_IDR = 5
NAL_SEI = 6
NAL_SPS = 7
NAL_PPS = 8
NAL_AUD = 9
NAL_FILLER = 12

MAX_PARAMETER_SET_BYTES = 64 * 1024
MAX_SIDE = 16_384

_PROFILES = {
    44: "CAVLC 4:4:4 Intra", 66: "Baseline", 77: "Main", 88: "Extended", 100: "High", 110: "High 10",
    122: "High 4:2:2", 244: "High 4:4:4 Predictive",
}  # fmt: skip
_WITH_CHROMA_FORMAT = {44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244}
# Table A-1: MaxDpbMbs by level_idc.
_MAX_DPB_MBS = {
    9: 396, 10: 396, 11: 900, 12: 2376, 13: 2376, 20: 2376, 21: 4752, 22: 8100, 30: 8100, 31: 18000, 32: 20480,
    40: 32768, 41: 32768, 42: 34816, 50: 110400, 51: 184320, 52: 184320, 60: 696320, 61: 696320, 62: 696320,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sps:
    """Sequence parameter set (§7.3.2.1.1)."""

    id: int
    profile_idc: int
    constraints: int  # the byte of constraint_set flags
    level_idc: int
    width: int  # cropped
    height: int
    frame_mbs_only: bool
    frame_num_bits: int
    separate_colour_plane: bool
    pic_order_cnt_type: int
    max_num_ref_frames: int
    reorder_depth: int | None  # None: the stream does not say and B pictures are allowed
    fps: float  # 0 when unknown

    @property
    def profile(self) -> str:
        if self.profile_idc == 66 and self.constraints & 0x40:
            return "Constrained Baseline"
        return _PROFILES.get(self.profile_idc, f"profile {self.profile_idc}")

    @property
    def rfc6381(self) -> str:
        return f"avc1.{self.profile_idc:02x}{self.constraints:02x}{self.level_idc:02x}"

    @property
    def guessed_depth(self) -> int:
        """Reorder depth of a stream that shows B pictures and has no bitstream restriction.

        The DPB's size is the legal bound, but would give 4 to 16 where cameras use 1 or 2: encoders hold one reference
        ahead, two with a pyramid, and a pyramid needs a third reference frame.
        """
        mbs = max(1, -(-self.width // 16) * -(-self.height // 16))
        dpb = _MAX_DPB_MBS.get(self.level_idc, 32768) // mbs
        return max(1, min(2, dpb, self.max_num_ref_frames - 1))


def parse_sps(nal: bytes) -> Sps:
    """Parse a whole SPS NAL. A VUI that is cut off (cameras do that) is taken as far as it goes."""
    if len(nal) > MAX_PARAMETER_SET_BYTES:
        raise MalformedError("H.264 SPS", f"{len(nal)} bytes")
    if len(nal) < 5 or nal[0] & 0x1F != NAL_SPS:
        raise MalformedError("H.264 SPS", "not an SPS")
    r = BitReader(unescape(nal), "H.264 SPS", skip_bytes=1)
    profile_idc, constraints, level_idc = r.u(8), r.u(8), r.u(8)
    sps_id = r.ue_max(31, "seq_parameter_set_id")
    chroma, separate = _parse_chroma(r) if profile_idc in _WITH_CHROMA_FORMAT else (1, False)
    frame_num_bits = r.ue_max(12, "log2_max_frame_num_minus4") + 4
    poc_type = _parse_poc_type(r)
    ref_frames = r.ue_max(16, "max_num_ref_frames")
    r.skip(1)
    width = (r.ue_max(MAX_SIDE // 16, "pic_width_in_mbs") + 1) * 16
    map_units = r.ue_max(MAX_SIDE // 16, "pic_height_in_map_units") + 1
    frame_mbs_only = r.flag()
    fields = 1 if frame_mbs_only else 2
    height = map_units * 16 * fields
    if not frame_mbs_only:
        r.skip(1)
    r.skip(1)
    if r.flag():
        left, right, top, bottom = r.ue(), r.ue(), r.ue(), r.ue()
        array_type = 0 if separate else chroma
        width -= (left + right) * (2 if array_type in (1, 2) else 1)
        height -= (top + bottom) * (2 if array_type == 1 else 1) * fields
    if width <= 0 or height <= 0:
        raise MalformedError("H.264 SPS", "nothing left after cropping")
    fps, reorder = _parse_vui(r)
    # §E.2.1: max_num_reorder_frames is inferred 0 for intra-only profiles with constraint_set3; Baseline has no B slices,
    # and pic_order_cnt_type 2 forbids output order to differ from decoding order (§8.2.1.3).
    intra_only = profile_idc in (44, 86, 100, 110, 122, 244) and bool(constraints & 0x10)
    if poc_type == 2 or profile_idc == 66 or intra_only:
        reorder = 0
    return Sps(
        id=sps_id,
        profile_idc=profile_idc,
        constraints=constraints,
        level_idc=level_idc,
        width=width,
        height=height,
        frame_mbs_only=frame_mbs_only,
        frame_num_bits=frame_num_bits,
        separate_colour_plane=separate,
        pic_order_cnt_type=poc_type,
        max_num_ref_frames=ref_frames,
        reorder_depth=reorder,
        fps=fps,
    )


def _parse_chroma(r: BitReader) -> tuple[int, bool]:
    """chroma_format_idc and separate_colour_plane_flag; bit depths and scaling lists are passed over."""
    chroma = r.ue_max(3, "chroma_format_idc")
    separate = chroma == 3 and r.flag()
    r.ue_max(6, "bit_depth_luma_minus8")
    r.ue_max(6, "bit_depth_chroma_minus8")
    r.skip(1)
    if r.flag():
        for i in range(8 if chroma != 3 else 12):
            if r.flag():
                _skip_scaling_list(r, 16 if i < 6 else 64)
    return chroma, separate


def _parse_poc_type(r: BitReader) -> int:
    """pic_order_cnt_type; what follows it is passed over."""
    poc_type = r.ue_max(2, "pic_order_cnt_type")
    if poc_type == 0:
        r.ue_max(12, "log2_max_pic_order_cnt_lsb_minus4")
    elif poc_type == 1:
        r.skip(1)
        r.se()
        r.se()
        for _ in range(r.ue_max(255, "num_ref_frames_in_pic_order_cnt_cycle")):
            r.se()
    return poc_type


def _skip_scaling_list(r: BitReader, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + r.se()) % 256
        last = following or last


def _parse_vui(r: BitReader) -> tuple[float, int | None]:
    """(fps, max_num_reorder_frames) of §E.1.1, each unknown when the VUI ends before it."""
    fps = 0.0
    reorder: int | None = None
    try:
        if not r.flag():
            return fps, reorder
        if r.flag() and r.u(8) == 255:
            r.skip(32)
        if r.flag():
            r.skip(1)
        if r.flag():
            r.skip(4)
            if r.flag():
                r.skip(24)
        if r.flag():
            r.ue()
            r.ue()
        if r.flag():
            units, scale = r.u(32), r.u(32)
            r.skip(1)
            fps = scale / (2 * units) if units and scale and scale <= 2000 * units else 0.0
        nal_hrd = r.flag()
        if nal_hrd:
            _skip_hrd(r)
        vcl_hrd = r.flag()
        if vcl_hrd:
            _skip_hrd(r)
        if nal_hrd or vcl_hrd:
            r.skip(1)
        r.skip(1)
        if r.flag():
            r.skip(1)
            for _ in range(4):
                r.ue()
            reorder = r.ue_max(16, "max_num_reorder_frames")
    except MalformedError:
        pass
    return fps, reorder


def _skip_hrd(r: BitReader) -> None:
    count = r.ue_max(31, "cpb_cnt_minus1") + 1
    r.skip(8)
    for _ in range(count):
        r.ue()
        r.ue()
        r.skip(1)
    r.skip(20)


def parse_pps(nal: bytes) -> tuple[int, int]:
    """(pic_parameter_set_id, seq_parameter_set_id) (§7.3.2.2)."""
    if len(nal) < 2 or nal[0] & 0x1F != NAL_PPS or len(nal) > MAX_PARAMETER_SET_BYTES:
        raise MalformedError("H.264 PPS", f"not a PPS ({len(nal)} bytes)")
    r = BitReader(unescape(nal, 32), "H.264 PPS", skip_bytes=1)
    return r.ue_max(255, "pic_parameter_set_id"), r.ue_max(31, "seq_parameter_set_id")


@dataclass(frozen=True, slots=True)
class SliceHeader:
    """The start of a slice header (§7.3.3)."""

    first_mb: int
    slice_type: int  # 0 P, 1 B, 2 I, 3 SP, 4 SI
    pps_id: int
    bottom_field: bool | None  # None: a frame


def parse_slice_header(nal: bytes | bytearray | memoryview, sps: Sps | None = None) -> SliceHeader:
    """The first fields; those about fields of interlaced pictures only with the active SPS."""
    r = BitReader(unescape(nal, 32), "H.264 slice header", skip_bytes=1)
    first_mb, slice_type, pps_id = r.ue(), r.ue_max(9, "slice_type") % 5, r.ue_max(255, "pic_parameter_set_id")
    bottom = None
    if sps is not None and not sps.frame_mbs_only:
        r.skip(sps.frame_num_bits + (2 if sps.separate_colour_plane else 0))
        if r.flag():
            bottom = r.flag()
    return SliceHeader(first_mb, slice_type, pps_id, bottom)


def recovery_frame_count(nal: bytes | bytearray | memoryview) -> int | None:
    """recovery_frame_cnt of the recovery-point SEI in this SEI NAL (§D.1.8), or None."""
    payload = find_sei(unescape(nal), 1, 6)
    if not payload:
        return None
    try:
        return BitReader(payload, "recovery point").ue()
    except MalformedError:
        return None


def make_config(nals: Iterable[bytes], sps_id: int | None = None, *, shows_b: bool = False) -> CodecConfig:
    """The configuration of parameter sets in any order; those that do not parse are left out.

    `sps_id` names the SPS now in use (default: the first). `shows_b` says that B slices were seen, which settles the
    reorder depth where the SPS leaves it open; until then such a stream counts as without reordering, because nearly
    all cameras are, and a wrong guess upwards would delay every unit.
    """
    sets: dict[tuple[int, int], bytes] = {}
    parsed: dict[int, Sps] = {}
    for nal in nals:
        try:
            if nal and nal[0] & 0x1F == NAL_SPS:
                sps = parse_sps(nal)
                parsed[sps.id], sets[0, sps.id] = sps, bytes(nal)
            elif nal and nal[0] & 0x1F == NAL_PPS:
                sets[1, parse_pps(nal)[0]] = bytes(nal)
        except MalformedError:
            continue
    active = parsed.get(sps_id) if sps_id is not None else None
    active = active or (parsed[min(parsed)] if parsed else None)
    ordered = tuple(sets[key] for key in sorted(sets))
    if active is None:
        return CodecConfig(Codec.H264, parameter_sets=ordered)
    depth = active.reorder_depth
    if depth is None:
        depth = active.guessed_depth if shows_b else 0
    return CodecConfig(
        codec=Codec.H264,
        parameter_sets=ordered,
        width=active.width,
        height=active.height,
        profile=active.profile,
        rfc6381=active.rfc6381,
        reorder_depth=depth,
        nominal_fps=active.fps,
    )
