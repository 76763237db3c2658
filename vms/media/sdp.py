"""SDP (RFC 8866, RFC 2326 appendix C): what a camera's DESCRIBE says, parsed as tolerantly as cameras demand, and built.

Only what receiving needs is kept; unknown lines and attributes are skipped. Bounded: 64 KiB, 64 media. Input that is no
SDP at all raises MalformedError; a line that makes no sense is skipped, and a bad `sprop` is never fatal.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from vms.errors import MalformedError
from vms.media import audio, h264, h265
from vms.model import VIDEO_CLOCK_HZ, Codec, CodecConfig

MAX_SDP_BYTES = 64 * 1024
MAX_MEDIA = 64
MAX_SPROP_BYTES = 16 * 1024

# RFC 3551 tables 4 and 5: encoding, clock, channels.
_STATIC_TYPES = {
    0: ("PCMU", 8000, 1), 3: ("GSM", 8000, 1), 4: ("G723", 8000, 1), 8: ("PCMA", 8000, 1), 9: ("G722", 8000, 1),
    10: ("L16", 44100, 2), 11: ("L16", 44100, 1), 14: ("MPA", 90000, 1), 18: ("G729", 8000, 1),
    26: ("JPEG", 90000, 0), 31: ("H261", 90000, 0), 32: ("MPV", 90000, 0), 33: ("MP2T", 90000, 0), 34: ("H263", 90000, 0),
}  # fmt: skip
_CODECS = {
    "H264": Codec.H264,
    "H265": Codec.H265,
    "HEVC": Codec.H265,
    "PCMA": Codec.PCMA,
    "PCMU": Codec.PCMU,
    "OPUS": Codec.OPUS,
}
_DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
_EMPTY: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class MediaDescription:
    """One `m=` section, reduced to its first payload type that we can name (else simply its first)."""

    kind: str  # "video", "audio", "application", or whatever the camera says
    port: int
    protocol: str  # "RTP/AVP", "RTP/AVP/TCP", "RTP/SAVP" …
    payload_type: int
    encoding: str  # upper case; "" if unknown
    clock_hz: int  # 0 if unknown
    channels: int  # of audio; 0 otherwise
    fmtp: Mapping[str, str] = field(default_factory=lambda: _EMPTY)  # keys in lower case, values as given
    control: str | None = None  # absolute or relative URL, or "*"
    bandwidth: int = 0  # b=AS in kbit/s; 0 if not said
    direction: str = ""  # "sendonly", "recvonly" (as ONVIF back channels say) …; "" if not said


@dataclass(frozen=True, slots=True)
class SessionDescription:
    """A whole description. `range` is the value of `a=range` ("npt=0-", "clock=…")."""

    media: tuple[MediaDescription, ...]
    control: str | None = None
    range: str | None = None
    name: str = ""
    attributes: Mapping[str, str] = field(default_factory=lambda: _EMPTY)  # other session-level a= lines, last one wins
    address: str = ""  # of the session's c= line, without TTL


def parse_sdp(data: bytes) -> SessionDescription:
    """Parse a DESCRIBE body. Lines may end in CRLF, LF or CR; any line may be missing but at least one `m=`."""
    if len(data) > MAX_SDP_BYTES:
        raise MalformedError("SDP", f"{len(data)} bytes, at most {MAX_SDP_BYTES}")
    text = data.decode("utf-8", "replace").replace("\0", "").lstrip("\ufeff")
    session = _Section()
    sections: list[tuple[str, _Section]] = []
    current = session
    for line in text.replace("\r", "\n").split("\n"):
        kind, equals, value = line.strip().partition("=")
        value = value.strip()
        if not equals or len(kind) != 1:
            continue
        if kind == "m":
            if len(sections) >= MAX_MEDIA:
                raise MalformedError("SDP", f"more than {MAX_MEDIA} media")
            current = _Section()
            sections.append((value, current))
        else:
            current.take(kind, value)
    media = tuple(m for value, section in sections if (m := _media(value, section)) is not None)
    if not media:
        raise MalformedError("SDP", "no media description")
    return SessionDescription(
        media=media,
        control=session.attributes.pop("control", None),
        range=session.attributes.pop("range", None),
        name=session.name,
        attributes=MappingProxyType(session.attributes),
        address=session.address,
    )


class _Section:
    """Lines of the session or of one medium, gathered while parsing."""

    __slots__ = ("address", "attributes", "bandwidth", "direction", "fmtp", "name", "rtpmap")

    def __init__(self) -> None:
        self.attributes: dict[str, str] = {}
        self.rtpmap: dict[int, str] = {}
        self.fmtp: dict[int, str] = {}
        self.bandwidth = 0
        self.direction = ""
        self.name = ""
        self.address = ""

    def take(self, kind: str, value: str) -> None:
        if kind == "a":
            name, _, rest = value.partition(":")
            name, rest = name.strip().lower(), rest.strip()
            if name in ("rtpmap", "fmtp"):
                number, _, parameters = rest.partition(" ")
                if number.isascii() and number.isdigit() and len(number) <= 3:
                    target = self.rtpmap if name == "rtpmap" else self.fmtp
                    target.setdefault(int(number), parameters.strip())
            elif name in _DIRECTIONS:
                self.direction = name
            else:
                self.attributes[name] = rest
        elif kind == "b":
            modifier, _, number = value.partition(":")
            if modifier.strip().upper() == "AS":
                self.bandwidth = _number(number)
        elif kind == "s":
            self.name = value
        elif kind == "c":
            self.address = value.rsplit(maxsplit=1)[-1].partition("/")[0] if value else ""


def _media(value: str, section: _Section) -> MediaDescription | None:
    """`m=video 0 RTP/AVP 96 97` and its section; None when the line makes no sense."""
    words = value.split()
    if len(words) < 3:
        return None
    types = [int(w) for w in words[3:64] if w.isascii() and w.isdigit() and int(w[:4]) < 128]
    types = types or sorted(section.rtpmap)[:1]  # some cameras forget the list
    if not types:
        return MediaDescription(words[0].lower(), _number(words[1].partition("/")[0]), words[2], -1, "", 0, 0)
    described = [_describe(words, section, t) for t in types]
    return next((m for m in described if codec_of(m) is not None), described[0])


def _describe(words: list[str], section: _Section, payload_type: int) -> MediaDescription:
    encoding, clock_hz, channels = _STATIC_TYPES.get(payload_type, ("", 0, 0))
    if payload_type in section.rtpmap:
        name, *rest = section.rtpmap[payload_type].split("/")
        encoding = name.strip().upper()
        clock_hz = _number(rest[0]) if rest else 0
        channels = _number(rest[1]) if len(rest) > 1 else 0
    kind = words[0].lower()
    if kind == "audio":
        channels = channels or 1
    elif kind == "video":
        channels = 0
        clock_hz = clock_hz or VIDEO_CLOCK_HZ
    return MediaDescription(
        kind=kind,
        port=_number(words[1].partition("/")[0]),
        protocol=words[2],
        payload_type=payload_type,
        encoding=encoding,
        clock_hz=clock_hz,
        channels=channels,
        fmtp=_parse_fmtp(section.fmtp.get(payload_type, "")),
        control=section.attributes.get("control"),
        bandwidth=section.bandwidth,
        direction=section.direction,
    )


def _parse_fmtp(text: str) -> Mapping[str, str]:
    """`a=1; b=2`, with or without blanks; a value may hold "=" (base64)."""
    pairs = (part.partition("=") for part in text.split(";"))
    return MappingProxyType({key.strip().lower(): value.strip() for key, _, value in pairs if key.strip()})


def _number(text: str) -> int:
    """The decimal number that `text` begins with, at most 9 digits; 0 where there is none."""
    digits = ""
    for char in text.strip()[:9]:
        if char not in "0123456789":
            break
        digits += char
    return int(digits or 0)


def build_sdp(description: SessionDescription) -> bytes:
    """The description as a server sends it: CRLF, `a=control` and `a=range` as given. `parse_sdp` gives it back."""
    address = description.address or "0.0.0.0"  # noqa: S104 - "unspecified", as RFC 2326 appendix C.1.7 asks
    family = "IP6" if ":" in address else "IP4"
    lines = [
        "v=0",
        f"o=- 0 0 IN {family} {address}",
        f"s={description.name or ' '}",
        f"c=IN {family} {address}",
        "t=0 0",
    ]
    attributes = dict(description.attributes)
    if description.control is not None:
        attributes["control"] = description.control
    if description.range is not None:
        attributes["range"] = description.range
    lines += [f"a={name}:{value}" if value else f"a={name}" for name, value in attributes.items()]
    for media in description.media:
        lines.append(f"m={media.kind} {media.port} {media.protocol} {media.payload_type}")
        if media.bandwidth:
            lines.append(f"b=AS:{media.bandwidth}")
        if media.encoding:
            channels = f"/{media.channels}" if media.channels > 1 else ""
            lines.append(f"a=rtpmap:{media.payload_type} {media.encoding}/{media.clock_hz}{channels}")
        if media.fmtp:
            parameters = ";".join(f"{key}={value}" for key, value in media.fmtp.items())
            lines.append(f"a=fmtp:{media.payload_type} {parameters}")
        if media.control is not None:
            lines.append(f"a=control:{media.control}")
        if media.direction:
            lines.append(f"a={media.direction}")
    return "".join(line + "\r\n" for line in lines).encode()


def codec_of(media: MediaDescription) -> Codec | None:
    """The codec, or None when it is none of ours (or AAC in another packing than RFC 3640)."""
    if media.encoding == "MPEG4-GENERIC":
        mode = media.fmtp.get("mode", "AAC-hbr").lower()
        return Codec.AAC if media.kind == "audio" and mode in ("aac-hbr", "aac-lbr") else None
    return _CODECS.get(media.encoding)


def initial_config(media: MediaDescription) -> CodecConfig | None:
    """What the SDP alone says of the codec. None when the codec is not ours.

    Video without usable `sprop` parameters gives a configuration without parameter sets (and without size): they must
    come in band. AAC without a usable `config` likewise has an AudioSpecificConfig made up from clock and channels.
    """
    codec = codec_of(media)
    if codec is None:
        return None
    if codec is Codec.H264:
        return h264.make_config(_sprop(media, "sprop-parameter-sets"))
    if codec is Codec.H265:
        return h265.make_config(_sprop(media, "sprop-vps", "sprop-sps", "sprop-pps"))
    clock_hz, channels = media.clock_hz or 8000, media.channels or 1
    if codec is Codec.AAC:
        try:
            extradata = bytes.fromhex(media.fmtp.get("config", ""))
        except ValueError:
            extradata = b""
        return audio.aac_config(extradata[:64], clock_hz, channels)
    if codec is Codec.OPUS:
        return replace(audio.opus_config(), channels=2 if media.fmtp.get("sprop-stereo") == "1" else 1)
    return audio.g711_config(codec, clock_hz, channels)


def _sprop(media: MediaDescription, *names: str) -> list[bytes]:
    """NAL units of comma-separated base64 parameters; what does not decode is left out."""
    nals = []
    for name in names:
        for word in media.fmtp.get(name, "")[: 4 * MAX_SPROP_BYTES].split(",")[:64]:
            try:
                nal = base64.b64decode(word.strip() + "=" * (-len(word.strip()) % 4))
            except (binascii.Error, ValueError):
                continue
            nal = nal.removeprefix(b"\0\0\0\1").removeprefix(b"\0\0\1")  # Annex B inside base64
            if nal:
                nals.append(nal)
    return nals


def video_fmtp(config: CodecConfig) -> Mapping[str, str]:
    """The `fmtp` that announces a video configuration (RFC 6184 §8.1, RFC 7798 §7.1)."""
    if config.codec is Codec.H264:
        parameters = {"packetization-mode": "1"}
        sps = next((nal for nal in config.parameter_sets if nal[0] & 0x1F == h264.NAL_SPS), b"")
        if len(sps) >= 4:
            parameters["profile-level-id"] = sps[1:4].hex().upper()
            parameters["sprop-parameter-sets"] = _base64(config.parameter_sets)
        return MappingProxyType(parameters)
    by_name: dict[str, list[bytes]] = {"sprop-vps": [], "sprop-sps": [], "sprop-pps": []}
    for nal, name in ((nal, _H265_SPROP.get(nal[0] >> 1 & 0x3F)) for nal in config.parameter_sets):
        if name is not None:
            by_name[name].append(nal)
    return MappingProxyType({name: _base64(nals) for name, nals in by_name.items() if nals})


_H265_SPROP = {h265.NAL_VPS: "sprop-vps", h265.NAL_SPS: "sprop-sps", h265.NAL_PPS: "sprop-pps"}


def _base64(nals: tuple[bytes, ...] | list[bytes]) -> str:
    return ",".join(base64.b64encode(nal).decode() for nal in nals)


def describe(config: CodecConfig, payload_type: int, control: str) -> MediaDescription:
    """The media description under which a server offers a stream of this configuration."""
    encoding = {"h264": "H264", "hevc": "H265", "aac": "MPEG4-GENERIC", "opus": "opus"}.get(config.codec.value)
    if config.codec.is_video:
        fmtp = video_fmtp(config)
    elif config.codec is Codec.AAC:
        fmtp = MappingProxyType(
            {
                "streamtype": "5",
                "profile-level-id": "1",
                "mode": "AAC-hbr",
                "sizelength": "13",
                "indexlength": "3",
                "indexdeltalength": "3",
                "config": config.extradata.hex(),
            }
        )
    else:
        fmtp = _EMPTY
    return MediaDescription(
        kind="video" if config.codec.is_video else "audio",
        port=0,
        protocol="RTP/AVP",
        payload_type=payload_type,
        encoding=encoding.upper() if encoding else ("PCMA" if config.codec is Codec.PCMA else "PCMU"),
        clock_hz=config.clock_hz,
        channels=2 if config.codec is Codec.OPUS else (0 if config.codec.is_video else max(1, config.channels)),
        fmtp=fmtp,
        control=control,
        direction="sendonly",
    )
