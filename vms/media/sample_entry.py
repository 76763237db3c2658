"""Sample entries of an MP4 track (ISO/IEC 14496-12 §8.5.2): CodecConfig → bytes, and back.

Video: avc1/avc3 with avcC (ISO/IEC 14496-15 §5), hvc1/hev1 with hvcC (§8). Audio: mp4a with esds (ISO/IEC 14496-14 §5.6),
alaw and ulaw, Opus with dOps ("Encapsulation of Opus in ISO Base Media File Format"). NAL lengths have four bytes.

What no sample entry can say (reorder depth, plain profile name) is not recovered here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from vms.errors import MalformedError
from vms.media import h264, h265
from vms.media.bits import BitReader, unescape
from vms.media.boxes import Box, Fields, box, full_box, only_child
from vms.model import Codec, CodecConfig

_MAX_SETS = 256
_VISUAL_BYTES = 78  # of a VisualSampleEntry before its boxes
_AUDIO_BYTES = 28
_HIGH_PROFILES = frozenset({100, 110, 122, 144})  # whose avcC says more: ISO/IEC 14496-15 §5.3.3.1.2
_VIDEO_ENTRIES = {b"avc1": Codec.H264, b"avc3": Codec.H264, b"hvc1": Codec.H265, b"hev1": Codec.H265}
_AUDIO_ENTRIES = {b"mp4a": Codec.AAC, b"alaw": Codec.PCMA, b"ulaw": Codec.PCMU, b"Opus": Codec.OPUS}
_OPUS_PRE_SKIP = 312  # RFC 7845 §4.2 advises 3840; a live stream is joined in the middle and skips what libopus adds


@dataclass(frozen=True, slots=True)
class SampleEntry:
    """What a sample entry says."""

    kind: bytes
    codec: Codec
    parameter_sets: tuple[bytes, ...] = ()
    width: int = 0
    height: int = 0
    channels: int = 0
    extradata: bytes = b""

    @property
    def in_band(self) -> bool:
        """Whether samples may carry parameter sets."""
        return self.kind in (b"avc3", b"hev1")


def is_parameter_set(codec: Codec, nal: bytes) -> bool:
    """Whether a NAL unit is a set that belongs into a sample entry: SPS, PPS, SPS extension; VPS, SPS, PPS."""
    if not nal:
        return False
    if codec is Codec.H264:
        return nal[0] & 0x1F in (7, 8, 13)
    return nal[0] >> 1 & 0x3F in (h265.NAL_VPS, h265.NAL_SPS, h265.NAL_PPS)


def in_band_config(config: CodecConfig, sets: tuple[bytes, ...]) -> CodecConfig:
    """The configuration once `sets` came in band into a stream of `config`. Raises MalformedError.

    The reorder depth stays: a segment in which it changes is never written.
    """
    made = h264.make_config(sets) if config.codec is Codec.H264 else h265.make_config(sets)
    return replace(made, parameter_sets=sets, reorder_depth=config.reorder_depth)


def take_sets(data: bytes, config: CodecConfig) -> tuple[bytes, CodecConfig]:
    """The sample without the parameter sets at its beginning, and the configuration they make."""
    sets = []
    at = 0
    while len(data) - at > 4:
        end = at + 4 + int.from_bytes(data[at : at + 4], "big")
        nal = data[at + 4 : end]
        if end > len(data):
            raise MalformedError("sample", "a NAL unit ends after it")
        if not is_parameter_set(config.codec, nal):
            break
        sets.append(nal)
        at = end
    if sets and tuple(sets) != config.parameter_sets:
        config = in_band_config(config, tuple(sets))
    return data[at:] if at else data, config


def sample_entry(config: CodecConfig, *, in_band: bool = False) -> bytes:
    """The sample entry box. Raises MalformedError when the parameter sets are not ones."""
    match config.codec:
        case Codec.H264:
            return _visual(b"avc3" if in_band else b"avc1", config, box(b"avcC", _avcc(config.parameter_sets)))
        case Codec.H265:
            return _visual(b"hev1" if in_band else b"hvc1", config, box(b"hvcC", _hvcc(config.parameter_sets, in_band)))
        case Codec.AAC:
            return _audio(b"mp4a", config, _esds(config.extradata))
        case Codec.PCMA:
            return _audio(b"alaw", config)
        case Codec.PCMU:
            return _audio(b"ulaw", config)
        case Codec.OPUS:
            # Version 0, channel count, pre-skip, input sample rate, output gain, mapping family 0.
            dops = struct.pack(">BBHIhB", 0, config.channels or 2, _OPUS_PRE_SKIP, config.clock_hz, 0, 0)
            return _audio(b"Opus", config, box(b"dOps", dops))


def _visual(kind: bytes, config: CodecConfig, configuration: bytes) -> bytes:
    fields = struct.pack(
        ">6xH16xHHIIIH32sHh", 1, config.width, config.height, 0x480000, 0x480000, 0, 1, b"", 24, -1
    )  # data reference 1, 72 dpi, one frame per sample, no compressor name, depth 24
    return box(kind, fields, configuration)


def _audio(kind: bytes, config: CodecConfig, *extension: bytes) -> bytes:
    rate = config.clock_hz << 16 if config.clock_hz < 1 << 16 else 0  # 16.16; what does not fit stands in the timescale
    return box(kind, struct.pack(">6xH8xHH4xI", 1, config.channels or 1, 16, rate), *extension)


def _avcc(sets: tuple[bytes, ...]) -> bytes:
    sps = [s for s in sets if s and s[0] & 0x1F == 7]
    pps = [s for s in sets if s and s[0] & 0x1F == 8]
    ext = [s for s in sets if s and s[0] & 0x1F == 13]
    if not sps or len(sps[0]) < 4 or not 0 < len(sps) < 32 or len(pps) > 255 or len(ext) > 255:
        raise MalformedError("avcC", "needs 1 to 31 sequence parameter sets and at most 255 others")
    out = [bytes((1, sps[0][1], sps[0][2], sps[0][3], 0xFF, 0xE0 | len(sps)))]
    out += [_counted(s) for s in sps]
    out += [bytes((len(pps),)), *(_counted(s) for s in pps)]
    if sps[0][1] in _HIGH_PROFILES:
        bits = BitReader(unescape(sps[0]), "H.264 SPS", 4)
        bits.ue()  # seq_parameter_set_id
        chroma = bits.ue()
        if chroma == 3:
            bits.u(1)
        luma_depth, chroma_depth = bits.ue(), bits.ue()
        out += [bytes((0xFC | chroma & 3, 0xF8 | luma_depth & 7, 0xF8 | chroma_depth & 7, len(ext)))]
        out += [_counted(s) for s in ext]
    return b"".join(out)


def _hvcc(sets: tuple[bytes, ...], in_band: bool) -> bytes:
    by_type = {t: [s for s in sets if s and s[0] >> 1 & 0x3F == t] for t in (h265.NAL_VPS, h265.NAL_SPS, h265.NAL_PPS)}
    if not by_type[h265.NAL_SPS] or any(len(found) > _MAX_SETS for found in by_type.values()):
        raise MalformedError("hvcC", f"needs a sequence parameter set and at most {_MAX_SETS} of a kind")
    bits = BitReader(unescape(by_type[h265.NAL_SPS][0]), "H.265 SPS", 2)
    bits.u(4)  # sps_video_parameter_set_id
    sub_layers = bits.u(3)
    nested = bits.u(1)
    profile_tier_level = bits.u(96).to_bytes(12, "big")
    _skip_sub_layers(bits, sub_layers)
    bits.ue()  # sps_seq_parameter_set_id
    chroma = bits.ue()
    if chroma == 3:
        bits.u(1)
    bits.ue()
    bits.ue()  # width, height
    if bits.u(1):  # conformance window
        for _ in range(4):
            bits.ue()
    luma_depth, chroma_depth = bits.ue(), bits.ue()
    out = [
        b"\x01",
        profile_tier_level,
        b"\xf0\x00\xfc",  # no spatial segmentation, parallelism unknown
        bytes((0xFC | chroma & 3, 0xF8 | luma_depth & 7, 0xF8 | chroma_depth & 7)),
        b"\x00\x00",  # average frame rate unknown
        bytes((sub_layers + 1 << 3 | nested << 2 | 3,)),
    ]
    arrays = [(t, found) for t, found in by_type.items() if found]
    out.append(bytes((len(arrays),)))
    for kind, found in arrays:
        complete = 0 if in_band else 0x80  # §8.3.3.1: in hvc1 all sets are here
        out.append(bytes((complete | kind,)) + len(found).to_bytes(2, "big"))
        out += [_counted(s) for s in found]
    return b"".join(out)


def _skip_sub_layers(bits: BitReader, sub_layers: int) -> None:
    """Pass over what profile_tier_level (H.265 §7.3.3) says of lower temporal layers."""
    present = [(bits.u(1), bits.u(1)) for _ in range(sub_layers)]
    if sub_layers:
        bits.u(2 * (8 - sub_layers))
    for profile, level in present:
        bits.u(88 * profile + 8 * level)


def _counted(nal: bytes) -> bytes:
    if len(nal) > 0xFFFF:
        raise MalformedError("parameter set", f"has {len(nal)} bytes, more than a sample entry can hold")
    return len(nal).to_bytes(2, "big") + nal


def _esds(audio_specific_config: bytes) -> bytes:
    """Elementary stream descriptor (ISO/IEC 14496-1 §7.2.6.5) of AAC."""
    if len(audio_specific_config) > 64:
        raise MalformedError("AudioSpecificConfig", f"has {len(audio_specific_config)} bytes")
    specific = bytes((5, len(audio_specific_config))) + audio_specific_config
    # Object type 0x40 (ISO/IEC 14496-3), stream type audio; buffer size and bit rates unknown.
    decoder = bytes((0x40, 0x15)) + bytes(11) + specific
    descriptor = b"\x00\x00\x00" + bytes((4, len(decoder))) + decoder + b"\x06\x01\x02"
    return full_box(b"esds", 0, 0, bytes((3, len(descriptor))) + descriptor)


def parse_sample_entry(data: bytes, found: Box) -> SampleEntry:
    """The sample entry that stands at `found` in `data`. Raises MalformedError, also for a kind we never write."""
    fields = Fields(data, found.body, found.end, f"sample entry {found.type!r}")
    if found.type in _VIDEO_ENTRIES:
        codec = _VIDEO_ENTRIES[found.type]
        fields.take(24)
        width, height = fields.uint(2), fields.uint(2)
        fields.take(_VISUAL_BYTES - 28)
        record = only_child(data, found, b"avcC" if codec is Codec.H264 else b"hvcC", _VISUAL_BYTES)
        record_fields = Fields(data, record.body, record.end, str(record.type, "ascii"))
        sets = _parse_avcc(record_fields) if codec is Codec.H264 else _parse_hvcc(record_fields)
        return SampleEntry(found.type, codec, sets, width, height)
    if found.type in _AUDIO_ENTRIES:
        fields.take(16)
        channels = fields.uint(2)
        fields.take(_AUDIO_BYTES - 18)
        extradata = b""
        if found.type == b"mp4a":
            esds = only_child(data, found, b"esds", _AUDIO_BYTES)
            extradata = _parse_esds(Fields(data, esds.body, esds.end, "esds"))
        return SampleEntry(found.type, _AUDIO_ENTRIES[found.type], channels=channels, extradata=extradata)
    raise MalformedError("stsd", f"sample entry {found.type!r} is not one of ours", found.start)


def _parse_avcc(fields: Fields) -> tuple[bytes, ...]:
    if fields.uint(1) != 1 or fields.take(4)[3] & 3 != 3:
        raise MalformedError("avcC", "not version 1 with NAL lengths of four bytes", fields.at)
    sets = [fields.take(fields.uint(2)) for _ in range(fields.uint(1) & 0x1F)]
    sets += [fields.take(fields.uint(2)) for _ in range(fields.uint(1))]
    if fields.left >= 4:
        fields.take(3)
        sets += [fields.take(fields.uint(2)) for _ in range(fields.uint(1))]
    return tuple(sets)


def _parse_hvcc(fields: Fields) -> tuple[bytes, ...]:
    if fields.uint(1) != 1 or fields.take(21)[20] & 3 != 3:
        raise MalformedError("hvcC", "not version 1 with NAL lengths of four bytes", fields.at)
    sets: list[bytes] = []
    for _ in range(fields.uint(1)):
        fields.take(1)
        count = fields.uint(2)
        if count + len(sets) > 3 * _MAX_SETS:
            raise MalformedError("hvcC", f"has {count} sets of a kind", fields.at)
        sets += [fields.take(fields.uint(2)) for _ in range(count)]
    return tuple(sets)


def _parse_esds(fields: Fields) -> bytes:
    fields.version(0)
    _descriptor(fields, 3)
    if fields.take(3)[2] & 0xE0:
        raise MalformedError("esds", "has optional fields", fields.at)
    _descriptor(fields, 4)
    fields.take(13)
    return fields.take(_descriptor(fields, 5))


def _descriptor(fields: Fields, tag: int) -> int:
    """Pass the header of a descriptor and give its length (ISO/IEC 14496-1 §8.3.3: seven bits a byte)."""
    if fields.uint(1) != tag:
        raise MalformedError("esds", f"descriptor {tag} is missing", fields.at)
    length = 0
    for _ in range(4):
        byte = fields.uint(1)
        length = length << 7 | byte & 0x7F
        if byte < 0x80:
            break
    return length
