"""The oddities of real cameras by name: what each is for people, and which parts of the simulator it bends.

A quirk only states facts; the bytes are bent in `packets.py` (access units), `bending.py` (packets), `sdp_edits.py` and
`camera.py` (sessions, time, footage). Names are stable: tests and the command line use them. `MALICE` has what no honest
camera does: it is for what such a camera may cost its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from vms.errors import UserError
from vms.model import Codec
from vms.simulate.footage import Recoding
from vms.simulate.recipes import RandomAccess

ACCESS_UNITS = "access units"
PARAMETER_SETS = "parameter sets"
RANDOM_ACCESS = "random access"
TIME = "time"
SESSIONS = "sessions"
HARM = "harm"


@dataclass(frozen=True, slots=True)
class Quirk:
    """`shapes`: changes how units become packets. `bends`: changes packets of each session, so nothing can be shared.

    `recode`: the footage is encoded anew; with `turns` it alternates with the original every GOP or every half loop.
    `manners`: fields of `vms.rtsp.provider.Manners`.
    """

    name: str
    group: str
    summary: str
    shapes: bool = False
    bends: bool = False
    recode: Recoding | None = None
    turns: str = ""  # "gop" or "half"
    manners: MappingProxyType[str, Any] = field(default_factory=lambda: MappingProxyType({}))


def _manners(**fields: Any) -> MappingProxyType[str, Any]:
    return MappingProxyType(fields)


_ALL = (
    Quirk("marker_everywhere", ACCESS_UNITS, "The last packet of every NAL unit carries the marker bit.", shapes=True),
    Quirk("marker_never", ACCESS_UNITS, "No packet carries the marker bit.", shapes=True),
    Quirk(
        "marker_on_sets", ACCESS_UNITS, "SPS, PPS and SEI carry the marker bit, as well as the picture.", shapes=True
    ),
    Quirk(
        "pictureless_units",
        ACCESS_UNITS,
        "Parameter sets and SEI come as a unit of their own, marked, 1 ms before the picture's timestamp.",
        shapes=True,
    ),
    Quirk("several_slices", ACCESS_UNITS, "Every picture has four slices.", recode=Recoding("slices", slices=4)),
    Quirk(
        "annexb_in_fu",
        ACCESS_UNITS,
        "All NAL units of an access unit, joined by Annex B start codes, are fragmented as if they were one.",
        shapes=True,
    ),
    Quirk("aud", ACCESS_UNITS, "Every access unit begins with an access unit delimiter.", shapes=True),
    Quirk("sets_only_in_sdp", PARAMETER_SETS, "Parameter sets are in the SDP and never in band.", shapes=True),
    Quirk("sets_absent_from_sdp", PARAMETER_SETS, "The SDP has no parameter sets; they come in band."),
    Quirk("sets_wrong_in_sdp", PARAMETER_SETS, "The SDP has another picture size's parameter sets than the stream."),
    Quirk("sprop_garbage", PARAMETER_SETS, "The sprop parameters of the SDP are not base64."),
    Quirk(
        "two_sets_in_turn",
        PARAMETER_SETS,
        "Two different parameter sets of the same size alternate from GOP to GOP.",
        recode=Recoding("plain", plain=True),
        turns="gop",
    ),
    Quirk(
        "size_change",
        PARAMETER_SETS,
        "The picture size halves in the middle of the footage and comes back at its start.",
        recode=Recoding("half", size_percent=50),
        turns="half",
    ),
    Quirk(
        "cra_rasl",
        RANDOM_ACCESS,
        "H.265 with CRA pictures followed by RASL pictures; IDR only at the footage's start.",
        recode=Recoding("cra", codec=Codec.H265, b_frames=4, access=RandomAccess.OPEN_GOP),
    ),
    Quirk(
        "recovery_point",
        RANDOM_ACCESS,
        "H.264 with recovery-point SEI before plain I pictures; IDR only at the footage's start.",
        recode=Recoding("recovery", codec=Codec.H264, b_frames=1, access=RandomAccess.OPEN_GOP),
    ),
    Quirk(
        "intra_refresh",
        RANDOM_ACCESS,
        "H.264 without I pictures: a wave of intra blocks with recovery-point SEI; IDR only at the footage's start.",
        recode=Recoding("refresh", codec=Codec.H264, access=RandomAccess.INTRA_REFRESH),
    ),
    Quirk(
        "long_gop",
        RANDOM_ACCESS,
        "A smart codec: one key picture, at PLAY, then none for two minutes.",
        recode=Recoding("long", gop_seconds=120),
    ),
    Quirk("mid_gop_start", RANDOM_ACCESS, "PLAY begins at once, in the middle of a GOP."),
    Quirk("rtptime_zero", TIME, "RTP-Info says rtptime=0 while timestamps start anywhere."),
    Quirk("constant_timestamps", TIME, "Every packet has the same timestamp.", bends=True),
    Quirk("timestamp_per_nal", TIME, "Every NAL unit has a timestamp of its own, 15 ticks apart.", shapes=True),
    Quirk("backward_timestamps", TIME, "One unit of forty is stamped half a second early.", bends=True),
    Quirk("slow_delivery", TIME, "25 fps announced in SDP and VUI, 21 of them delivered a second.", bends=True),
    Quirk("reports_jump", TIME, "Every other sender report is an hour ahead."),
    Quirk("clock_hours_off", TIME, "The camera's clock is seven hours ahead."),
    Quirk("b_frames", TIME, "B-frames: presentation times are not in sending order.", recode=Recoding("b", b_frames=2)),
    Quirk(
        "near_wrap", TIME, "Sequence numbers and timestamps wrap within seconds of the simulator's start.", bends=True
    ),
    Quirk(
        "ssrc_change",
        SESSIONS,
        "Every hundred units the SSRC changes, and sequence and timestamp start anew.",
        bends=True,
    ),
    Quirk("sequence_reset", SESSIONS, "Every hundred units the sequence number starts anew.", bends=True),
    Quirk("foreign_packets", SESSIONS, "After every unit comes a packet of another session's source.", bends=True),
    Quirk(
        "wrong_channels",
        SESSIONS,
        "Interleaved channels are four above those asked for.",
        manners=_manners(channel_shift=4),
    ),
    Quirk(
        "ssrc_first", SESSIONS, "Transport has ssrc= before its other parameters.", manners=_manners(ssrc_first=True)
    ),
    Quirk(
        "keepalive_refused",
        SESSIONS,
        "OPTIONS advertises GET_PARAMETER, which is then answered 501.",
        manners=_manners(refused=("GET_PARAMETER",)),
    ),
    Quirk(
        "lingering_sessions",
        SESSIONS,
        "One session at a time, and one that was not torn down counts for a minute.",
        manners=_manners(max_sessions=1, linger_seconds=60.0),
    ),
    Quirk("udp_reorder", SESSIONS, "Over UDP each two packets of a unit come in the wrong order.", bends=True),
    Quirk("rtp_padding", SESSIONS, "Every RTP packet has four bytes of padding.", bends=True),
    Quirk("rtp_extension", SESSIONS, "Every RTP packet has a header extension (ONVIF's 0xABAC).", bends=True),
    Quirk("stray_bytes", SESSIONS, "CRLF stands between interleaved frames.", bends=True),
    Quirk(
        "absolute_control", SESSIONS, "Control URLs in the SDP are absolute.", manners=_manners(absolute_control=True)
    ),
    Quirk("no_content_base", SESSIONS, "DESCRIBE answers without Content-Base.", manners=_manners(content_base=False)),
    Quirk("redirect", SESSIONS, "DESCRIBE is redirected to another path of the same camera."),
    Quirk(
        "redirect_away",
        SESSIONS,
        "DESCRIBE is redirected to another host.",
        manners=_manners(redirect="rtsp://192.0.2.1/"),
    ),
    Quirk("stale_nonce", SESSIONS, "With authentication: a nonce is stale after one second."),
    Quirk("garbage_sdp", SESSIONS, "The SDP is noise."),
    Quirk("unsupported_codec", SESSIONS, "The SDP offers a codec nobody records (MP4V-ES)."),
    Quirk("sends_nothing", SESSIONS, "PLAY is answered and nothing follows."),
)

_HARMFUL = (
    Quirk("flood", HARM, "A hundred Mbit/s: half a megabyte of filler data follows every picture.", True, True),
    Quirk("garbage_payloads", HARM, "RTP headers are right and every payload is noise.", bends=True),
    Quirk("garbage_stream", HARM, "Noise stands between interleaved frames.", bends=True),
    Quirk(
        "size_every_gop",
        HARM,
        "The picture size changes with every GOP.",
        recode=Recoding("half", size_percent=50),
        turns="gop",
    ),
    Quirk("drops_after_play", HARM, "The connection is cut as soon as PLAY was answered."),
    Quirk(
        "ten_minute_gop",
        HARM,
        "One key picture, at PLAY, then none for ten minutes.",
        recode=Recoding("ten-minutes", gop_seconds=600),
    ),
)

QUIRKS: dict[str, Quirk] = {q.name: q for q in _ALL}
MALICE: dict[str, Quirk] = {q.name: q for q in _HARMFUL}
KNOWN = MappingProxyType(QUIRKS | MALICE)


def parse_quirks(texts: Iterable[str]) -> dict[str, frozenset[str]]:
    """`NAME` and `NAME@CAMERA` to quirk names by camera; those for all cameras under "". Raises `UserError`."""
    found: dict[str, set[str]] = {}
    for text in texts:
        name, _, camera = text.partition("@")
        if name not in KNOWN:
            near = ", ".join(sorted(n for n in QUIRKS if name and (name in n or n in name)) or sorted(QUIRKS))
            raise UserError(f"There is no quirk “{name}”. Known: {near}")
        found.setdefault(camera, set()).add(name)
    return {camera: frozenset(names) for camera, names in found.items()}
