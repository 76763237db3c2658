from __future__ import annotations

from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.media_streams import encode
from vms.errors import MalformedError
from vms.media import h264, h265, sdp
from vms.media.audio import aac_config, g711_config, opus_config
from vms.media.sdp import MediaDescription, SessionDescription, build_sdp, codec_of, describe, initial_config, parse_sdp
from vms.model import Codec

# Of the kind that fixed cameras send, back channel and metadata included.
CAMERA = """v=0
o=- 1700000000 1 IN IP4 192.0.2.7
s=Media Presentation
e=NONE
b=AS:5100
t=0 0
a=control:rtsp://192.0.2.7/Streaming/Channels/101/
a=range:npt=now-
m=video 0 RTP/AVP 96
c=IN IP4 0.0.0.0/127
b=AS:5000
a=recvonly
a=x-dimensions:1920,1080
a=control:trackID=1
a=rtpmap:96 H264/90000
a=fmtp:96 profile-level-id=420029; packetization-mode=1; sprop-parameter-sets=Z0LAC9oDAz/n,aM48gA==
m=audio 0 RTP/AVP 8
a=control:trackID=2
a=rtpmap:8 PCMA/8000
m=application 0 RTP/AVP 107
a=control:trackID=3
a=rtpmap:107 vnd.onvif.metadata/90000
"""


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r", "\n\n"])
def test_a_camera_s_description(ending: str) -> None:
    session = parse_sdp(CAMERA.replace("\n", ending).encode())
    assert session.control == "rtsp://192.0.2.7/Streaming/Channels/101/"
    assert session.range == "npt=now-"
    video, audio, metadata = session.media
    assert (video.kind, video.payload_type, video.encoding, video.clock_hz) == ("video", 96, "H264", 90_000)
    assert (video.control, video.bandwidth, video.direction, video.protocol) == (
        "trackID=1",
        5000,
        "recvonly",
        "RTP/AVP",
    )
    assert video.fmtp["packetization-mode"] == "1"
    assert codec_of(video) is Codec.H264
    assert (audio.encoding, audio.clock_hz, audio.channels) == ("PCMA", 8000, 1)
    assert metadata.kind == "application"
    assert codec_of(metadata) is None
    assert initial_config(metadata) is None


@pytest.mark.parametrize(("number", "codec"), [(0, Codec.PCMU), (8, Codec.PCMA), (14, None), (26, None)])
def test_static_payload_types(number: int, codec: Codec | None) -> None:
    media = parse_sdp(f"m=audio 0 RTP/AVP {number}\n".encode()).media[0]
    assert media.encoding
    assert codec_of(media) is codec


def test_the_first_payload_type_we_know_is_taken() -> None:
    text = "m=video 0 RTP/AVP 26 97 98\na=rtpmap:97 MP4V-ES/90000\na=rtpmap:98 h265/90000\n"
    assert parse_sdp(text.encode()).media[0].payload_type == 98


@pytest.mark.parametrize(
    "sprop",
    ["", "!!!,???", "AAAA", "Z0LAC9oDAz/n", "Z0LAC9oDAz/n,", ",,,", "Zw==,aA==", "A" * 100_000, "Z0LAC9oDAz/n,aM48gA"],
)
def test_a_bad_sprop_is_never_fatal(sprop: str) -> None:
    text = f"m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=fmtp:96 sprop-parameter-sets={sprop}\n"
    if len(text) > sdp.MAX_SDP_BYTES:
        with pytest.raises(MalformedError):
            parse_sdp(text.encode())
        return
    config = initial_config(parse_sdp(text.encode()).media[0])
    assert config is not None
    assert config.codec is Codec.H264


def test_start_codes_inside_sprop() -> None:
    text = "m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=fmtp:96 sprop-parameter-sets=AAAAAWjOPIA=\n"
    config = initial_config(parse_sdp(text.encode()).media[0])
    assert config is not None
    assert config.parameter_sets == (b"\x68\xce\x3c\x80",)


@pytest.mark.parametrize(
    "text",
    ["", "v=0\n", "hello", "m=\n", "m=video\n", "a=control:x\n", "\0\0\0", "m=v 0 RTP/AVP 96\n" * 65, "\xff" * 10],
)
def test_what_is_no_description_is_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        parse_sdp(text.encode("latin-1"))


def test_too_long_a_description_is_refused() -> None:
    with pytest.raises(MalformedError):
        parse_sdp(b"m=video 0 RTP/AVP 96\n" + b"a=x\n" * 20_000)


@given(st.one_of(st.binary(max_size=400), st.text(alphabet="mabcv=:;/ \r\n0123456789rtpmapfmtpH264", max_size=400)))
def test_any_bytes_parse_or_raise_malformed(data: bytes | str) -> None:
    try:
        session = parse_sdp(data if isinstance(data, bytes) else data.encode())
    except MalformedError:
        return
    for media in session.media:
        initial_config(media)
    assert len(build_sdp(session)) > 0


TEXT = st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789-/.", min_size=1, max_size=20)


@st.composite
def media_descriptions(draw: st.DrawFn) -> MediaDescription:
    kind = draw(st.sampled_from(["video", "audio", "application"]))
    return MediaDescription(
        kind=kind,
        port=draw(st.integers(0, 65_535)),
        protocol=draw(st.sampled_from(["RTP/AVP", "RTP/AVP/TCP"])),
        payload_type=draw(st.integers(96, 127)),
        encoding=draw(st.sampled_from(["H264", "H265", "OPUS", "VND.ONVIF.METADATA"])),
        clock_hz=draw(st.integers(1, 192_000)),
        channels=draw(st.integers(1, 8)) if kind == "audio" else 0,
        fmtp=MappingProxyType(draw(st.dictionaries(TEXT, TEXT, max_size=4))),
        control=draw(st.one_of(st.none(), TEXT)),
        bandwidth=draw(st.integers(0, 99_999)),
        direction=draw(st.sampled_from(["", "sendonly", "recvonly"])),
    )


@given(st.lists(media_descriptions(), min_size=1, max_size=5), st.one_of(st.none(), TEXT), TEXT)
def test_what_is_built_parses_back(media: list[MediaDescription], control: str | None, name: str) -> None:
    session = SessionDescription(tuple(media), control, "npt=0-", name, MappingProxyType({"tool": "x"}), "192.0.2.1")
    assert parse_sdp(build_sdp(session)) == session


@pytest.mark.parametrize("codec", [Codec.H264, Codec.H265])
def test_a_video_configuration_survives_its_description(codec: Codec) -> None:
    make = h264.make_config if codec is Codec.H264 else h265.make_config
    config = make(encode(codec, frames=1).pictures[0][0])
    assert config.width == 192
    text = build_sdp(SessionDescription((describe(config, 96, "track1"),)))
    assert initial_config(parse_sdp(text).media[0]) == config


@pytest.mark.parametrize(
    "config", [aac_config(b"\x11\x90", 48_000, 2), g711_config(Codec.PCMU, 8000, 1), opus_config(1)]
)
def test_an_audio_configuration_survives_its_description(config) -> None:
    text = build_sdp(SessionDescription((describe(config, 97, "track1"),)))
    media = parse_sdp(text).media[0]
    assert codec_of(media) is config.codec
    assert initial_config(media) == config


def test_aac_without_usable_config() -> None:
    text = "m=audio 0 RTP/AVP 97\na=rtpmap:97 mpeg4-generic/16000/2\na=fmtp:97 mode=AAC-hbr; config=zz\n"
    config = initial_config(parse_sdp(text.encode()).media[0])
    assert config is not None
    assert (config.extradata, config.channels, config.clock_hz) == (b"\x14\x10", 2, 16_000)


def test_aac_in_another_packing_is_not_ours() -> None:
    text = "m=audio 0 RTP/AVP 97\na=rtpmap:97 MP4A-LATM/16000\n"
    assert codec_of(parse_sdp(text.encode()).media[0]) is None
