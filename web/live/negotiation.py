"""Offer in, answer out: which codec a viewer gets, and how its packets must look. Pure.

Reads the offer with aiortc's parser and answers with its classes, but chooses by itself: H.264 by packetisation mode
and profile, H.265 where the offer's level suffices, retransmission, and those header extensions we send. Whatever an
offer holds, the outcome is an `Offer` or a `Refusal`.

RFC 8829 (JSEP), RFC 6184 §8.1 and RFC 7798 §7.1 (parameters), RFC 4588 §8 (rtx), draft-ietf-wish-whep.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from aiortc import sdp
from aiortc.rtcdtlstransport import RTCDtlsParameters
from aiortc.rtcicetransport import RTCIceCandidate, RTCIceParameters
from aiortc.rtcrtpparameters import (
    RTCRtcpFeedback,
    RTCRtpCodecParameters,
    RTCRtpHeaderExtensionParameters,
    RTCRtpParameters,
)

from vms.model import Codec, CodecConfig
from web.live.refusals import Refusal

LARGEST_OFFER_CHARS = 64 * 1024
MOST_LINES = 1500
MOST_MEDIA = 8
MOST_CANDIDATES = 16

MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
CAPTURE_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"
PLAYOUT_DELAY = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
EXTENSIONS = (MID, CAPTURE_TIME, PLAYOUT_DELAY)
LARGEST_ONE_BYTE_ID = 14
PAYLOAD_TYPES = frozenset((*range(35, 64), *range(96, 128)))  # dynamic, and no RTCP packet type beside it (RFC 5761 §4)

_ICE_NAME = re.compile(r"[A-Za-z0-9+/]{4,256}")
_ICE_PASSWORD = re.compile(r"[A-Za-z0-9+/]{22,256}")
_MID_TOKEN = re.compile(r"[!#$%&'*+.^_`{|}~A-Za-z0-9-]{1,16}")
_HEVC = re.compile(r"h(?:vc|ev)1\.[A-C]?(\d+)\.[0-9A-Fa-f]+\.([LH])(\d+)")
_HASHES = ("sha-256", "sha-384", "sha-512")


@dataclass(frozen=True, slots=True)
class Offer:
    """What a viewer offers, as far as it concerns us."""

    media: tuple[sdp.MediaDescription, ...]
    video: int  # which of them
    ice: RTCIceParameters
    dtls: RTCDtlsParameters
    candidates: tuple[RTCIceCandidate, ...]
    bundle: tuple[str, ...]

    @property
    def section(self) -> sdp.MediaDescription:
        return self.media[self.video]

    @property
    def codecs(self) -> list[RTCRtpCodecParameters]:
        """Those whose payload type can be used."""
        return _usable(self.section)


@dataclass(frozen=True, slots=True)
class Choice:
    """The codec a viewer is sent, and what goes with it."""

    codec: Codec
    parameters: RTCRtpCodecParameters
    rtx: RTCRtpCodecParameters | None
    extensions: dict[str, int] = field(default_factory=dict)

    @property
    def payload_type(self) -> int:
        assert self.parameters.payloadType is not None
        return self.parameters.payloadType


def read_offer(text: str, *, loopback: bool) -> Offer:
    """The offer. Refusal `offer_malformed` for anything that is none, `codec_unsupported` for one without H.264.

    `loopback`: whether candidates of this machine's own are to be believed.
    """
    if len(text) > LARGEST_OFFER_CHARS or text.count("\n") > MOST_LINES:
        raise Refusal("offer_malformed", "the offer is longer than any browser's")
    try:
        parsed = sdp.SessionDescription.parse(text)
    except (ValueError, AssertionError, LookupError, TypeError, AttributeError, StopIteration) as error:
        raise Refusal("offer_malformed", "the offer is no session description") from error
    if not 1 <= len(parsed.media) <= MOST_MEDIA:
        raise Refusal("offer_malformed", f"the offer has {len(parsed.media)} media sections")
    wanted = [i for i, media in enumerate(parsed.media) if media.kind == "video" and media.port]
    if not wanted:
        raise Refusal("offer_malformed", "the offer asks for no video")
    section = parsed.media[wanted[0]]
    _check(section)
    if not any(c.mimeType.lower() == "video/h264" for c in _usable(section)):
        raise Refusal("codec_unsupported", "the offer has no H.264, which every browser can play")
    assert section.ice is not None
    assert section.dtls is not None
    bundle = next((g for g in parsed.group if g.semantic == "BUNDLE"), None)
    return Offer(
        tuple(parsed.media), wanted[0], section.ice, section.dtls,
        _candidates(section.ice_candidates, loopback=loopback),
        tuple(str(item) for item in bundle.items) if bundle else (),
    )  # fmt: skip


def _usable(section: sdp.MediaDescription) -> list[RTCRtpCodecParameters]:
    return [c for c in section.rtp.codecs if c.payloadType in PAYLOAD_TYPES]


def _check(section: sdp.MediaDescription) -> None:
    ice, dtls = section.ice, section.dtls
    problem = ""
    if section.direction not in ("recvonly", "sendrecv", None):
        problem = "the offer's video section does not receive"
    elif not section.rtcp_mux:
        problem = "the offer does not put RTP and RTCP on one port"
    elif (
        ice is None
        or not _ICE_NAME.fullmatch(ice.usernameFragment or "")
        or not _ICE_PASSWORD.fullmatch(ice.password or "")
    ):
        problem = "the offer has no ICE user name and password"
    elif dtls is None or not any(f.algorithm.lower() in _HASHES for f in dtls.fingerprints):
        problem = "the offer has no fingerprint of a certificate"
    elif not _MID_TOKEN.fullmatch(section.rtp.muxId or "0"):
        problem = "the offer's mid is no short token"
    if problem:
        raise Refusal("offer_malformed", problem)


def _candidates(offered: Iterable[RTCIceCandidate], *, loopback: bool) -> tuple[RTCIceCandidate, ...]:
    """Those that may be asked at all: UDP, a plain address, not a name (mDNS names cannot be resolved here and cost
    seconds), not one that would make us knock at this machine's own doors."""
    kept = []
    for candidate in offered:
        try:
            address = ipaddress.ip_address(candidate.ip)
        except ValueError:
            continue
        usable = candidate.protocol.lower() == "udp" and candidate.component == 1 and 0 < candidate.port < 65_536
        wild = address.is_multicast or address.is_unspecified or address.is_link_local or address.is_reserved
        if usable and not wild and (loopback or not address.is_loopback):
            kept.append(candidate)
    return tuple(kept[:MOST_CANDIDATES])


def choose(offer: Offer, config: CodecConfig) -> Choice | str:
    """How this stream can be sent to that viewer, or in one word why not: `h265`, `b_frames`, `h264_mode`."""
    if config.reorder_depth > 0:
        return "b_frames"
    codecs = offer.codecs
    if config.codec is Codec.H265:
        found = _choose_h265(codecs, config)
        if found is None:
            return "h265"
    else:
        found = _choose_h264(codecs, config)
        if found is None:
            return "h264_mode"
    rtx = next(
        (c for c in codecs if c.mimeType.lower() == "video/rtx" and c.parameters.get("apt") == found.payloadType), None
    )
    extensions: dict[str, int] = {}
    for extension in offer.section.rtp.headerExtensions:
        if extension.uri in EXTENSIONS and 1 <= extension.id <= LARGEST_ONE_BYTE_ID:
            extensions.setdefault(extension.uri, extension.id)
    return Choice(config.codec, found, rtx, extensions)


def _choose_h264(codecs: Sequence[RTCRtpCodecParameters], config: CodecConfig) -> RTCRtpCodecParameters | None:
    """Packetisation mode 1 is a must, for pictures are cut up. The profile offered is the stream's where there is such;
    else the first one: decoders play more than browsers name."""
    usable = [
        c
        for c in codecs
        if c.mimeType.lower() == "video/h264" and str(c.parameters.get("packetization-mode", "0")) == "1"
    ]
    sps = next((s for s in config.parameter_sets if len(s) > 3 and s[0] & 31 == 7), b"")
    ours = _profile(sps[1:4].hex()) if sps else None
    if ours is not None:
        for codec in usable:
            if _profile(str(codec.parameters.get("profile-level-id", "42e01f"))) is ours:
                return codec
    return usable[0] if usable else None


def _profile(level_id: str) -> sdp.H264Profile | None:
    """The profile of a profile-level-id, whatever its level."""
    if not re.fullmatch(r"[0-9A-Fa-f]{6}", level_id):
        return None
    try:
        return sdp.parse_h264_profile_level_id(level_id[:4] + "1f")[0]
    except ValueError:
        return None


def _choose_h265(codecs: Sequence[RTCRtpCodecParameters], config: CodecConfig) -> RTCRtpCodecParameters | None:
    """RFC 7798 §7.1: profile (1 where none is stated), tier (0) and level (93) must cover the stream's."""
    match = _HEVC.match(config.rfc6381)
    if match is None:
        return None
    profile, high_tier, level = int(match[1]), match[2] == "H", int(match[3])
    for codec in codecs:
        if codec.mimeType.lower() != "video/h265":
            continue
        try:
            offered = [
                int(codec.parameters.get(n, d) or d) for n, d in (("profile-id", 1), ("tier-flag", 0), ("level-id", 93))
            ]
        except (TypeError, ValueError):
            continue
        if offered[0] == profile and offered[1] >= high_tier and offered[2] >= level:
            return codec
    return None


@dataclass(frozen=True, slots=True)
class Side:
    """Our side of an answer."""

    ice: RTCIceParameters
    candidates: tuple[RTCIceCandidate, ...]
    dtls: RTCDtlsParameters  # with the role taken: "client" or "server"
    cname: str
    ssrc: int
    rtx_ssrc: int


def answer(offer: Offer, choice: Choice, side: Side) -> str:
    """The answer: one video section that sends, all others refused, every candidate in it."""
    made = sdp.SessionDescription()
    made.origin = "- 1 1 IN IP4 0.0.0.0"
    made.msid_semantic.append(sdp.GroupDescription(semantic="WMS", items=["*"]))
    for i, theirs in enumerate(offer.media):
        made.media.append(_video(theirs, choice, side) if i == offer.video else _refused(theirs, side))
    if offer.section.rtp.muxId in offer.bundle:
        made.group.append(sdp.GroupDescription(semantic="BUNDLE", items=[offer.section.rtp.muxId]))
    return str(made)


def _video(theirs: sdp.MediaDescription, choice: Choice, side: Side) -> sdp.MediaDescription:
    codecs = [_own(choice.parameters)] + ([choice.rtx] if choice.rtx else [])
    first = side.candidates[0]
    ours = sdp.MediaDescription("video", first.port, theirs.profile, [c.payloadType for c in codecs])
    ours.host = first.ip
    ours.direction = "sendonly"
    ours.msid = f"{side.cname} video"
    ours.rtp = RTCRtpParameters(
        codecs=codecs,
        headerExtensions=[RTCRtpHeaderExtensionParameters(id=i, uri=uri) for uri, i in choice.extensions.items()],
        muxId=theirs.rtp.muxId,
    )
    ours.rtcp_host, ours.rtcp_port, ours.rtcp_mux = "0.0.0.0", 9, True  # noqa: S104 - SDP's way to say: see the mux
    ours.ssrc = [sdp.SsrcDescription(ssrc=side.ssrc, cname=side.cname)]
    if choice.rtx:
        ours.ssrc.append(sdp.SsrcDescription(ssrc=side.rtx_ssrc, cname=side.cname))
        ours.ssrc_group = [sdp.GroupDescription(semantic="FID", items=[side.ssrc, side.rtx_ssrc])]
    ours.ice, ours.ice_candidates, ours.ice_candidates_complete = side.ice, list(side.candidates), True
    ours.dtls = side.dtls
    return ours


def _own(theirs: RTCRtpCodecParameters) -> RTCRtpCodecParameters:
    """The codec with the feedback we heed: NACK and PLI, where offered. No transport-wide feedback, no REMB."""
    heeded = (("nack", None), ("nack", "pli"))
    offered = {(f.type, f.parameter) for f in theirs.rtcpFeedback}
    return RTCRtpCodecParameters(
        mimeType=theirs.mimeType,
        clockRate=theirs.clockRate,
        payloadType=theirs.payloadType,
        rtcpFeedback=[RTCRtcpFeedback(type=t, parameter=p) for t, p in heeded if (t, p) in offered],
        parameters=theirs.parameters,
    )


def _refused(theirs: sdp.MediaDescription, side: Side) -> sdp.MediaDescription:
    """Port 0 (RFC 3264 §6). The attributes that clients look for in every section are there all the same."""
    ours = sdp.MediaDescription(theirs.kind, 0, theirs.profile, theirs.fmt[:1])
    ours.direction = "inactive"
    ours.rtp = RTCRtpParameters(codecs=theirs.rtp.codecs[:1], muxId=theirs.rtp.muxId)
    ours.rtcp_port, ours.rtcp_mux = 9, True
    ours.ice, ours.dtls = side.ice, side.dtls
    return ours
