"""H.265 (ITU-T H.265): NAL unit types, parameter sets and the few slice-header facts that receiving needs.

Pure and bounded: every function looks at the first 4 KiB of a NAL at most. Bytes that do not parse raise MalformedError.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from vms.errors import MalformedError
from vms.media.bits import BitReader, find_sei, unescape
from vms.model import Codec, CodecConfig

NAL_RASL_N = 8
NAL_RASL_R = 9
NAL_BLA_W_LP = 16
NAL_IDR_W_RADL = 19
NAL_IDR_N_LP = 20
NAL_CRA = 21
NAL_VPS = 32
NAL_SPS = 33
NAL_PPS = 34
NAL_AUD = 35
NAL_EOS = 36
NAL_FILLER = 38
NAL_PREFIX_SEI = 39
NAL_SUFFIX_SEI = 40

MAX_PARAMETER_SET_BYTES = 64 * 1024
MAX_SIDE = 16_384

_PROFILES = {1: "Main", 2: "Main 10", 3: "Main Still Picture", 4: "Range Extensions", 9: "Screen Content"}


@dataclass(frozen=True, slots=True)
class Sps:
    """Sequence parameter set (§7.3.2.2)."""

    id: int
    vps_id: int
    profile_space: int
    tier: bool  # high tier
    profile_idc: int
    compatibility: int  # 32 flags, first one the highest bit
    constraints: bytes  # 6 bytes of general constraint flags
    level_idc: int
    width: int  # cropped to the conformance window
    height: int
    reorder_depth: int  # sps_max_num_reorder_pics of the highest sub-layer
    fps: float  # 0 when unknown

    @property
    def profile(self) -> str:
        return _PROFILES.get(self.profile_idc, f"profile {self.profile_idc}")

    @property
    def rfc6381(self) -> str:
        """ISO/IEC 14496-15 annex E.3."""
        flags = int(f"{self.compatibility:032b}"[::-1], 2)
        parts = [
            "hvc1",
            ("", "A", "B", "C")[self.profile_space] + str(self.profile_idc),
            f"{flags:X}",
            f"{'H' if self.tier else 'L'}{self.level_idc}",
        ]
        parts += [f"{byte:X}" for byte in self.constraints.rstrip(b"\0")]
        return ".".join(parts)


def nal_type(nal: bytes | bytearray | memoryview) -> int:
    """nal_unit_type of a NAL of at least one byte."""
    return nal[0] >> 1 & 0x3F


def parse_sps(nal: bytes) -> Sps:
    """Parse a whole SPS NAL. What cannot be parsed after the reorder depth only costs the frame rate."""
    if len(nal) > MAX_PARAMETER_SET_BYTES:
        raise MalformedError("H.265 SPS", f"{len(nal)} bytes")
    if len(nal) < 15 or nal_type(nal) != NAL_SPS:
        raise MalformedError("H.265 SPS", "not an SPS")
    r = BitReader(unescape(nal), "H.265 SPS", skip_bytes=2)
    vps_id = r.u(4)
    sub_layers = r.u(3)  # sps_max_sub_layers_minus1
    r.skip(1)
    space, tier, profile_idc = r.u(2), r.flag(), r.u(5)
    compatibility, constraints, level_idc = r.u(32), r.u(48).to_bytes(6, "big"), r.u(8)
    _skip_sub_layers(r, sub_layers)
    sps_id = r.ue_max(15, "sps_seq_parameter_set_id")
    chroma = r.ue_max(3, "chroma_format_idc")
    separate = chroma == 3 and r.flag()
    width = r.ue_max(MAX_SIDE, "pic_width_in_luma_samples")
    height = r.ue_max(MAX_SIDE, "pic_height_in_luma_samples")
    if r.flag():
        left, right, top, bottom = r.ue(), r.ue(), r.ue(), r.ue()
        array_type = 0 if separate else chroma
        width -= (left + right) * (2 if array_type in (1, 2) else 1)
        height -= (top + bottom) * (2 if array_type == 1 else 1)
    if width <= 0 or height <= 0:
        raise MalformedError("H.265 SPS", "no picture size")
    r.ue_max(8, "bit_depth_luma_minus8")
    r.ue_max(8, "bit_depth_chroma_minus8")
    poc_bits = r.ue_max(12, "log2_max_pic_order_cnt_lsb_minus4") + 4
    reorder = 0
    for _ in range(0 if r.flag() else sub_layers, sub_layers + 1):
        r.ue_max(15, "sps_max_dec_pic_buffering_minus1")
        reorder = r.ue_max(15, "sps_max_num_reorder_pics")
        r.ue()
    try:
        fps = _parse_fps(r, poc_bits)
    except MalformedError:
        fps = 0.0
    return Sps(
        id=sps_id,
        vps_id=vps_id,
        profile_space=space,
        tier=tier,
        profile_idc=profile_idc,
        compatibility=compatibility,
        constraints=constraints,
        level_idc=level_idc,
        width=width,
        height=height,
        reorder_depth=reorder,
        fps=fps,
    )


def _skip_sub_layers(r: BitReader, sub_layers: int) -> None:
    """The sub-layer part of profile_tier_level (§7.3.3)."""
    present = [(r.flag(), r.flag()) for _ in range(sub_layers)]
    if sub_layers:
        r.skip(2 * (8 - sub_layers))
    for profile, level in present:
        r.skip((88 if profile else 0) + (8 if level else 0))


def _parse_fps(r: BitReader, poc_bits: int) -> float:
    """From log2_min_luma_coding_block_size_minus3 up to the VUI's timing (§7.3.2.2.1, §E.2.1)."""
    for _ in range(6):
        r.ue()
    if r.flag() and r.flag():
        _skip_scaling_lists(r)
    r.skip(2)
    if r.flag():
        r.skip(8)
        r.ue()
        r.ue()
        r.skip(1)
    _skip_short_term_sets(r)
    if r.flag():
        for _ in range(r.ue_max(32, "num_long_term_ref_pics_sps")):
            r.skip(poc_bits + 1)
    r.skip(2)
    if not r.flag():
        return 0.0
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
    r.skip(3)
    if r.flag():
        for _ in range(4):
            r.ue()
    if not r.flag():
        return 0.0
    units, scale = r.u(32), r.u(32)
    return scale / units if units and scale and scale <= 1000 * units else 0.0


def _skip_scaling_lists(r: BitReader) -> None:
    """scaling_list_data (§7.3.4)."""
    for size in range(4):
        for _ in range(0, 6, 3 if size == 3 else 1):
            if not r.flag():
                r.ue()
                continue
            if size > 1:
                r.se()
            for _ in range(min(64, 1 << (4 + (size << 1)))):
                r.se()


def _skip_short_term_sets(r: BitReader) -> None:
    """The st_ref_pic_sets of an SPS (§7.3.7); the number of pictures in each is needed to read the next."""
    pictures = 0
    for index in range(r.ue_max(64, "num_short_term_ref_pic_sets")):
        if index and r.flag():
            r.skip(1)
            r.ue()
            kept = 0
            for _ in range(pictures + 1):
                if r.flag() or r.flag():  # used_by_curr_pic_flag, else use_delta_flag
                    kept += 1
            pictures = kept
        else:
            negative, positive = r.ue_max(16, "num_negative_pics"), r.ue_max(16, "num_positive_pics")
            pictures = negative + positive
            for _ in range(pictures):
                r.ue()
                r.skip(1)


def parse_vps_id(nal: bytes) -> int:
    """vps_video_parameter_set_id (§7.3.2.1)."""
    if len(nal) < 4 or nal_type(nal) != NAL_VPS or len(nal) > MAX_PARAMETER_SET_BYTES:
        raise MalformedError("H.265 VPS", f"not a VPS ({len(nal)} bytes)")
    return nal[2] >> 4


def parse_pps(nal: bytes) -> tuple[int, int]:
    """(pps_pic_parameter_set_id, pps_seq_parameter_set_id) (§7.3.2.3.1)."""
    if len(nal) < 3 or nal_type(nal) != NAL_PPS or len(nal) > MAX_PARAMETER_SET_BYTES:
        raise MalformedError("H.265 PPS", f"not a PPS ({len(nal)} bytes)")
    r = BitReader(unescape(nal, 32), "H.265 PPS", skip_bytes=2)
    return r.ue_max(63, "pps_pic_parameter_set_id"), r.ue_max(15, "pps_seq_parameter_set_id")


def slice_pps_id(nal: bytes | bytearray | memoryview) -> int:
    """slice_pic_parameter_set_id (§7.3.6.1)."""
    r = BitReader(unescape(nal, 32), "H.265 slice header", skip_bytes=2)
    r.skip(1)
    if 16 <= nal_type(nal) <= 23:
        r.skip(1)
    return r.ue_max(63, "slice_pic_parameter_set_id")


def recovery_picture_count(nal: bytes | bytearray | memoryview) -> int | None:
    """recovery_poc_cnt of the recovery-point SEI in this prefix SEI NAL (§D.2.8), or None."""
    payload = find_sei(unescape(nal), 2, 6)
    if not payload:
        return None
    try:
        return BitReader(payload, "recovery point").se()
    except MalformedError:
        return None


def make_config(nals: Iterable[bytes], sps_id: int | None = None) -> CodecConfig:
    """The configuration of parameter sets in any order; those that do not parse are left out.

    `sps_id` names the SPS now in use (default: the first).
    """
    sets: dict[tuple[int, int], bytes] = {}
    parsed: dict[int, Sps] = {}
    for nal in nals:
        kind = nal_type(nal) if nal else -1
        try:
            if kind == NAL_VPS:
                sets[0, parse_vps_id(nal)] = bytes(nal)
            elif kind == NAL_SPS:
                sps = parse_sps(nal)
                parsed[sps.id], sets[1, sps.id] = sps, bytes(nal)
            elif kind == NAL_PPS:
                sets[2, parse_pps(nal)[0]] = bytes(nal)
        except MalformedError:
            continue
    active = parsed.get(sps_id) if sps_id is not None else None
    active = active or (parsed[min(parsed)] if parsed else None)
    ordered = tuple(sets[key] for key in sorted(sets))
    if active is None:
        return CodecConfig(Codec.H265, parameter_sets=ordered)
    return CodecConfig(
        codec=Codec.H265,
        parameter_sets=ordered,
        width=active.width,
        height=active.height,
        profile=active.profile,
        rfc6381=active.rfc6381,
        reorder_depth=active.reorder_depth,
        nominal_fps=active.fps,
    )
