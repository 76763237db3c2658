"""Fuzz target: offers of browsers, what is chosen from them for every kind of stream, and the answers, read again."""

from __future__ import annotations

from aiortc import sdp
from aiortc.rtcdtlstransport import RTCDtlsFingerprint, RTCDtlsParameters
from aiortc.rtcicetransport import RTCIceCandidate, RTCIceParameters

from vms.model import Codec, CodecConfig
from web.live.negotiation import Choice, Side, answer, choose, read_offer
from web.live.refusals import Refusal

CONFIGS = (
    CodecConfig(Codec.H264, parameter_sets=(bytes.fromhex("6742c01e"),), rfc6381="avc1.42c01e"),
    CodecConfig(Codec.H264, parameter_sets=(bytes.fromhex("67640028"),), rfc6381="avc1.640028"),
    CodecConfig(Codec.H264, rfc6381="", reorder_depth=2),
    CodecConfig(Codec.H265, rfc6381="hvc1.1.6.L120.B0"),
    CodecConfig(Codec.H265, rfc6381="hev1.A2.4.H153.90"),
)
SIDE = Side(
    ice=RTCIceParameters(usernameFragment="wxyz", password="b" * 22),
    candidates=(RTCIceCandidate(1, "f", "127.0.0.1", 50_000, 1, "udp", "host"),),
    dtls=RTCDtlsParameters([RTCDtlsFingerprint("sha-256", "AB:CD")], "client"),
    cname="stroz",
    ssrc=1,
    rtx_ssrc=2,
)


def fuzz(data: bytes) -> None:
    try:
        offer = read_offer(data.decode("utf-8", "replace"), loopback=bool(len(data) & 1))
    except Refusal:
        return
    for config in CONFIGS:
        choice = choose(offer, config)
        if isinstance(choice, Choice):
            text = answer(offer, choice, SIDE)
            assert "\na=sendonly\r" in text
            sdp.SessionDescription.parse(text)


def seeds() -> list[bytes]:
    from tests.support.live_packets import H264, H265, offer_text

    return [
        offer_text().encode(),
        offer_text(codecs=(H264, H265), candidates=("1 1 udp 1 10.0.0.7 5000 typ host",), setup="active").encode(),
        offer_text().replace("m=video", "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:a\r\nm=video").encode(),
    ]
