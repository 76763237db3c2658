from __future__ import annotations

import pytest
from aiortc import sdp
from aiortc.rtcdtlstransport import RTCDtlsFingerprint, RTCDtlsParameters
from aiortc.rtcicetransport import RTCIceCandidate, RTCIceParameters
from hypothesis import given
from hypothesis import strategies as st

from tests.support.encoded import video
from tests.support.live_packets import H264, H265, offer_text
from vms.model import Codec
from web.live.negotiation import CAPTURE_TIME, MID, PLAYOUT_DELAY, Choice, Side, answer, choose, read_offer
from web.live.refusals import Refusal

BASELINE = video(Codec.H264, 2)[0].config
HEVC = video(Codec.H265, 2)[0].config
B_FRAMES = video(Codec.H264, 10, b_frames=2)[0].config
SIDE = Side(
    ice=RTCIceParameters(usernameFragment="wxyz", password="b" * 22),
    candidates=(RTCIceCandidate(1, "f", "127.0.0.1", 50_000, 1, "udp", "host"),),
    dtls=RTCDtlsParameters([RTCDtlsFingerprint("sha-256", "AB:CD")], "client"),
    cname="stroz",
    ssrc=1234,
    rtx_ssrc=5678,
)


def h264(kind: int, profile: str, mode: int = 1) -> tuple[str, str]:
    return (
        f"{kind} H264/90000",
        f"{kind} level-asymmetry-allowed=1;packetization-mode={mode};profile-level-id={profile}",
    )


def refusal_of(text: str) -> Refusal:
    with pytest.raises(Refusal) as caught:
        read_offer(text, loopback=False)
    return caught.value


@pytest.mark.parametrize("kind", [0, 34, 64, 72, 95, 128, 300])
def test_payload_types_that_rtp_has_no_room_for_are_passed_over(kind: int) -> None:
    offered = (h264(kind, "42e01f"), h264(110, "42e01f"))
    text = offer_text(codecs=offered, rtx=False).replace(f"SAVPF {kind}", "SAVPF 110")
    choice = choose(read_offer(text, loopback=False), BASELINE)
    assert isinstance(choice, Choice)
    assert choice.payload_type == 110
    alone = offer_text(codecs=offered[:1], rtx=False).replace(f"SAVPF {kind}", "SAVPF 110")
    assert refusal_of(alone).code == "codec_unsupported"


def test_an_offer_of_chromium_is_answered() -> None:
    offer = read_offer(offer_text(), loopback=False)
    choice = choose(offer, BASELINE)
    assert isinstance(choice, Choice)
    assert choice.extensions == {CAPTURE_TIME: 3, MID: 4, PLAYOUT_DELAY: 5}
    made = sdp.SessionDescription.parse(answer(offer, choice, SIDE))
    (media,) = made.media
    assert (media.kind, media.direction, media.rtp.muxId, media.port) == ("video", "sendonly", "0", 50_000)
    assert [(c.mimeType, c.payloadType) for c in media.rtp.codecs] == [("video/H264", 102), ("video/rtx", 103)]
    assert media.rtp.codecs[1].parameters == {"apt": 102}
    assert [(f.type, f.parameter) for f in media.rtp.codecs[0].rtcpFeedback] == [("nack", None), ("nack", "pli")]
    assert {e.uri: e.id for e in media.rtp.headerExtensions} == choice.extensions
    assert [s.ssrc for s in media.ssrc] == [1234, 5678]
    assert str(media.ssrc_group[0]) == "FID 1234 5678"
    assert media.rtcp_mux
    assert media.ice_candidates_complete
    assert media.dtls is not None
    assert media.dtls.role == "client"
    assert [str(g) for g in made.group] == ["BUNDLE 0"]


def test_sections_we_do_not_send_are_refused_and_keep_their_place() -> None:
    video_lines = offer_text().replace("a=group:BUNDLE 0", "a=group:BUNDLE a 0")
    head, _, rest = video_lines.partition("m=video")
    audio = (
        "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:a\r\na=recvonly\r\na=rtcp-mux\r\n"
        f"a=ice-ufrag:abcd\r\na=ice-pwd:{'a' * 22}\r\na=fingerprint:sha-256 AB:CD\r\na=setup:actpass\r\n"
        "a=rtpmap:111 opus/48000/2\r\n"
    )
    offer = read_offer(head + audio + "m=video" + rest, loopback=False)
    choice = choose(offer, BASELINE)
    assert isinstance(choice, Choice)
    made = sdp.SessionDescription.parse(answer(offer, choice, SIDE))
    assert [(m.kind, m.port == 0, m.direction) for m in made.media] == [
        ("audio", True, "inactive"), ("video", False, "sendonly"),
    ]  # fmt: skip
    assert [str(g) for g in made.group] == ["BUNDLE 0"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "offer_malformed"),
        ("v=0", "offer_malformed"),
        ("Ala ma kota", "offer_malformed"),
        ("m=video", "offer_malformed"),
        (offer_text().replace("m=video 9", "m=video x"), "offer_malformed"),
        (offer_text().replace("m=video 9", "m=video 0"), "offer_malformed"),
        (offer_text().replace("m=video", "m=audio").replace("H264/90000", "opus/48000"), "offer_malformed"),
        (offer_text().replace("a=recvonly", "a=sendonly"), "offer_malformed"),
        (offer_text().replace("a=rtcp-mux", "a=x"), "offer_malformed"),
        (offer_text(ufrag="a"), "offer_malformed"),
        (offer_text(password="short"), "offer_malformed"),
        (offer_text(fingerprint="md5 AB"), "offer_malformed"),
        (offer_text().replace("a=setup:actpass", "a=setup:both"), "offer_malformed"),
        (offer_text().replace("a=mid:0", "a=mid:" + "x" * 40), "offer_malformed"),
        (offer_text() + "a=x\r\n" * 2000, "offer_malformed"),
        (offer_text() + "a=x:" + "y" * 70_000, "offer_malformed"),
        (offer_text() + "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n" * 9, "offer_malformed"),
        (offer_text(codecs=(("96 VP8/90000", "96 x=1"),)), "codec_unsupported"),
        (offer_text(codecs=(H265,)), "codec_unsupported"),
    ],
)
def test_what_is_no_offer_for_us_is_refused_in_words(text: str, code: str) -> None:
    refusal = refusal_of(text)
    assert refusal.code == code
    assert refusal.detail


@given(st.text(max_size=300))
def test_any_text_is_an_offer_or_a_refusal(text: str) -> None:
    assert refusal_of(text).code == "offer_malformed"


@given(st.integers(0, 2**32), st.data())
def test_any_change_of_an_offer_is_an_offer_or_a_refusal(seed: int, data: st.DataObject) -> None:
    lines = offer_text(codecs=(H264, H265), candidates=("1 1 udp 1 10.0.0.1 5 typ host",)).split("\r\n")
    at = seed % len(lines)
    lines[at] = data.draw(
        st.sampled_from([lines[at][: seed % 30], lines[at] * 2, lines[at].replace("0", "-"), "a=", "m="])
    )
    try:
        offer = read_offer("\r\n".join(lines), loopback=False)
    except Refusal:
        return
    for config in (BASELINE, HEVC, B_FRAMES):
        choice = choose(offer, config)
        if isinstance(choice, Choice):
            assert answer(offer, choice, SIDE)


def test_names_other_protocols_and_our_own_doors_are_no_candidates() -> None:
    text = offer_text(
        candidates=(
            "1 1 udp 1 5e0b3c9d-1111-2222-3333-444455556666.local 5000 typ host",
            "2 1 tcp 1 10.0.0.7 9 typ host tcptype active",
            "3 1 udp 1 127.0.0.1 5000 typ host",
            "4 1 udp 1 224.0.0.1 5000 typ host",
            "5 1 udp 1 169.254.169.254 80 typ host",
            "6 1 udp 1 0.0.0.0 5000 typ host",
            "7 1 udp 1 10.0.0.7 5000 typ host",
            "8 2 udp 1 10.0.0.7 5001 typ host",
            "9 1 udp 1 10.0.0.7 0 typ host",
            "10 1 udp 1 fe80::1 5000 typ host",
        )
    )
    assert [c.foundation for c in read_offer(text, loopback=False).candidates] == ["7"]
    assert [c.foundation for c in read_offer(text, loopback=True).candidates] == ["3", "7"]
    many = offer_text(candidates=tuple(f"{n} 1 udp 1 10.0.0.{n} 5000 typ host" for n in range(1, 100)))
    assert len(read_offer(many, loopback=False).candidates) == 16


def test_the_profile_of_the_stream_is_taken_where_it_is_offered() -> None:
    assert BASELINE.rfc6381.startswith("avc1.42c0")  # constrained baseline
    offered = (
        h264(96, "42001f"),
        h264(98, "4d001f"),
        h264(100, "42e01f", mode=0),
        h264(102, "42e01f"),
        h264(104, "64001f"),
    )
    choice = choose(read_offer(offer_text(codecs=offered), loopback=False), BASELINE)
    assert isinstance(choice, Choice)
    assert choice.payload_type == 102
    high = video(Codec.H264, 3, options=(("cabac", "1"), ("8x8dct", "1")))[0].config
    assert high.rfc6381.startswith("avc1.64")
    choice = choose(read_offer(offer_text(codecs=offered), loopback=False), high)
    assert isinstance(choice, Choice)
    assert choice.payload_type == 104
    choice = choose(read_offer(offer_text(codecs=offered[:4]), loopback=False), high)  # Chromium names no high profile
    assert isinstance(choice, Choice)
    assert choice.payload_type == 96


def test_single_nal_mode_alone_is_not_enough() -> None:
    offer = read_offer(offer_text(codecs=(h264(96, "42e01f", mode=0),)), loopback=False)
    assert choose(offer, BASELINE) == "h264_mode"


def test_b_frames_count_as_a_codec_that_browsers_cannot_take() -> None:
    assert B_FRAMES.reorder_depth > 0
    assert choose(read_offer(offer_text(), loopback=False), B_FRAMES) == "b_frames"


@pytest.mark.parametrize(
    ("fmtp", "taken"),
    [
        ("level-id=180;profile-id=1;tier-flag=0;tx-mode=SRST", True),
        ("level-id=186;profile-id=1;tier-flag=1", True),
        ("level-id=29;profile-id=1;tier-flag=0", False),
        ("level-id=180;profile-id=2;tier-flag=0", False),
        ("level-id=x;profile-id=1", False),
    ],
)
def test_h265_where_the_offer_covers_it(fmtp: str, taken: bool) -> None:
    text = offer_text(codecs=(H264, ("104 H265/90000", f"104 {fmtp}")))
    choice = choose(read_offer(text, loopback=False), HEVC)
    assert isinstance(choice, Choice) == taken
    if not taken:
        assert choice == "h265"
    assert choose(read_offer(offer_text(), loopback=False), HEVC) == "h265"


def test_extensions_with_numbers_that_need_two_bytes_are_not_used() -> None:
    offer = read_offer(offer_text(extensions=((15, CAPTURE_TIME), (200, MID), (14, PLAYOUT_DELAY))), loopback=False)
    choice = choose(offer, BASELINE)
    assert isinstance(choice, Choice)
    assert choice.extensions == {PLAYOUT_DELAY: 14}
