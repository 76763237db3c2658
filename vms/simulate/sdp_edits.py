"""What quirks do to the SDP of a camera. Pure: bytes in, bytes out."""

from __future__ import annotations

import base64
import re

from vms.model import Codec

# Parameter sets of other pictures than any footage has: 176x144 (RFC 6184's example) and 64x64.
WRONG_H264 = (base64.b64decode("Z0IACpZTBYmI"), base64.b64decode("aMljiA=="))
WRONG_H265 = (
    bytes.fromhex("40010c01ffff01600000030090000003000003003cba0240"),
    bytes.fromhex("42010101600000030090000003000003003ca020810596e92930b9a020000003002000000300a1"),
    bytes.fromhex("4401c073c089"),
)
NOISE = bytes(range(128, 256)) + b"\r\n=\0m=\r\na=:\xff\r\n"
_SPROP = re.compile(rb";?\s*sprop-[a-z-]+=[^;\r\n]*")


def edit(body: bytes, codec: Codec, quirks: frozenset[str]) -> bytes:
    """The body of DESCRIBE as a camera with these quirks sends it."""
    if "garbage_sdp" in quirks:
        return NOISE
    if "sets_absent_from_sdp" in quirks:
        body = _replace_sprop(body, b"")
    if "sprop_garbage" in quirks:
        names = [b"parameter-sets"] if codec is Codec.H264 else [b"vps", b"sps", b"pps"]
        body = _replace_sprop(body, b"".join(b";sprop-" + n + b"=%%%,!?=" for n in names))
    if "sets_wrong_in_sdp" in quirks:
        body = _replace_sprop(body, _wrong(codec))
    if "unsupported_codec" in quirks:
        body = re.sub(rb"a=rtpmap:(\d+) H26[45]/", rb"a=rtpmap:\1 MP4V-ES/", body)
    if "slow_delivery" in quirks:
        body = body.rstrip(b"\r\n") + b"\r\na=framerate:25.0\r\n"
    return body


def _replace_sprop(body: bytes, by: bytes) -> bytes:
    """Every fmtp line without its sprop parameters, and with `by` at its end instead."""
    lines = body.split(b"\r\n")
    for i, line in enumerate(lines):
        if line.startswith(b"a=fmtp:"):
            stripped = _SPROP.sub(b"", line)
            lines[i] = re.sub(rb"^(a=fmtp:\d+) ;\s*", rb"\1 ", stripped + by)
    return b"\r\n".join(line for line in lines if not re.fullmatch(rb"a=fmtp:\d+\s*", line))


def _wrong(codec: Codec) -> bytes:
    if codec is Codec.H264:
        return b";sprop-parameter-sets=" + b",".join(base64.b64encode(s) for s in WRONG_H264)
    return b"".join(
        b";sprop-" + name + b"=" + base64.b64encode(s)
        for name, s in zip((b"vps", b"sps", b"pps"), WRONG_H265, strict=True)
    )
