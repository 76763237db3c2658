"""Facts of AAC, G.711 and Opus: configurations and how long a frame lasts. Nothing is decoded."""

from __future__ import annotations

from vms.errors import MalformedError
from vms.media.bits import BitReader
from vms.model import Codec, CodecConfig

AAC_FRAME_SAMPLES = 1024
OPUS_CLOCK_HZ = 48_000  # RTP clock of Opus whatever it was sampled with (RFC 7587 §4.1)

# ISO/IEC 14496-3 table 1.18.
SAMPLE_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_OBJECT_NAMES = {1: "AAC Main", 2: "AAC LC", 3: "AAC SSR", 4: "AAC LTP", 5: "HE-AAC", 29: "HE-AAC v2"}
# Opus frame durations in 48 kHz ticks by the two lowest bits of each kind of configuration (RFC 6716 §3.1, table 2).
_SILK_TICKS = (480, 960, 1920, 2880)
_CELT_TICKS = (120, 240, 480, 960)


def parse_audio_specific_config(data: bytes) -> tuple[int, int, int]:
    """(audio object type, sampling frequency, channels) of an AudioSpecificConfig (ISO/IEC 14496-3 §1.6.2.1)."""
    r = BitReader(data[:64], "AudioSpecificConfig")
    kind = r.u(5)
    if kind == 31:
        kind = 32 + r.u(6)
    index = r.u(4)
    if index == 15:
        rate = r.u(24)
    elif index < len(SAMPLE_RATES):
        rate = SAMPLE_RATES[index]
    else:
        raise MalformedError("AudioSpecificConfig", f"sampling frequency index {index}")
    channels = r.u(4)
    if kind == 0 or rate == 0:
        raise MalformedError("AudioSpecificConfig", f"object type {kind}, {rate} Hz")
    return kind, rate, 8 if channels == 7 else channels


def build_audio_specific_config(clock_hz: int, channels: int) -> bytes:
    """An AAC LC AudioSpecificConfig for `channels` 1 to 8 at `clock_hz`."""
    channel_config = 7 if channels >= 7 else max(1, channels)
    if clock_hz in SAMPLE_RATES:
        bits = 2 << 11 | SAMPLE_RATES.index(clock_hz) << 7 | channel_config << 3
        return bits.to_bytes(2, "big")
    bits = 2 << 35 | 15 << 31 | (clock_hz & 0xFFFFFF) << 7 | channel_config << 3
    return bits.to_bytes(5, "big")


def aac_config(extradata: bytes, clock_hz: int, channels: int) -> CodecConfig:
    """`extradata` is the AudioSpecificConfig as the camera gives it; one made up for AAC LC where it does not parse."""
    try:
        kind, _, stated = parse_audio_specific_config(extradata)
    except MalformedError:
        extradata = build_audio_specific_config(clock_hz, channels)
        kind, stated = 2, channels
    return CodecConfig(
        Codec.AAC,
        clock_hz=clock_hz,
        profile=_OBJECT_NAMES.get(kind, f"object type {kind}"),
        rfc6381=f"mp4a.40.{kind}",
        channels=stated or channels,
        extradata=extradata,
    )


def g711_config(codec: Codec, clock_hz: int, channels: int) -> CodecConfig:
    """PCMA or PCMU."""
    name = "alaw" if codec is Codec.PCMA else "ulaw"
    return CodecConfig(codec, clock_hz=clock_hz, profile="G.711", rfc6381=name, channels=channels)


def opus_config(channels: int = 2) -> CodecConfig:
    return CodecConfig(Codec.OPUS, clock_hz=OPUS_CLOCK_HZ, rfc6381="opus", channels=channels)


def frame_ticks(config: CodecConfig, data: bytes) -> int:
    """How long one audio access unit lasts, in ticks of `config.clock_hz`; 0 where its bytes do not say."""
    if config.codec is Codec.AAC:
        return AAC_FRAME_SAMPLES
    if config.codec is Codec.OPUS:
        return _opus_ticks(data)
    return len(data) // max(1, config.channels)


def _opus_ticks(packet: bytes) -> int:
    """RFC 6716 §3.1 and §3.2; at most 120 ms."""
    if not packet:
        return 0
    kind, code = packet[0] >> 3, packet[0] & 3
    if kind < 12:
        ticks = _SILK_TICKS[kind & 3]
    elif kind < 16:
        ticks = _SILK_TICKS[kind & 1]
    else:
        ticks = _CELT_TICKS[kind & 3]
    count = (1, 2, 2, packet[1] & 0x3F if len(packet) > 1 else 0)[code]
    return ticks * count if ticks * count <= 5760 else 0
