"""What single RTSP headers say: Transport, Session, Public, and the URLs a client builds from Content-Base and SDP.

Owns leniency towards cameras' spelling of these. Pure; knows no sockets. Values from outside parse or raise
MalformedError.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from vms.camera_url import RTSP_SCHEMES, CameraUrl
from vms.errors import MalformedError, UserError
from vms.model import SourceKind
from vms.rtsp.message import Headers, printable

DEFAULT_SESSION_SECONDS = 60  # RFC 2326 §12.37
MAX_SESSION_SECONDS = 3600  # a server that says more is asked sooner all the same
_RANGE = re.compile(r"(\d{1,5})(?:\s*-\s*(\d{1,5}))?")
_SESSION_ID = re.compile(r"[!-:<-~]{1,256}")


@dataclass(frozen=True, slots=True)
class TransportHeader:
    """One transport of a Transport header (RFC 2326 §12.39). Ranges are (first, second); None when not stated."""

    tcp: bool
    interleaved: tuple[int, int] | None = None
    client_port: tuple[int, int] | None = None
    server_port: tuple[int, int] | None = None
    ssrc: int | None = None
    multicast: bool = False


def parse_transport(value: str) -> TransportHeader:
    """The first transport in `value`. Parameters may come in any order, `ssrc=` before the protocol included."""
    fields: dict[str, str] = {}
    words: set[str] = set()
    for part in value.split(",", 1)[0].split(";"):
        name, equals, text = part.strip().partition("=")
        if equals:
            fields.setdefault(name.strip().lower(), text.strip().strip('"'))
        else:
            words.add(name.upper())
    interleaved = _pair("interleaved", fields, 255)
    ssrc = fields.get("ssrc", "")
    return TransportHeader(
        tcp=interleaved is not None or any(w.endswith("/TCP") for w in words),
        interleaved=interleaved,
        client_port=_pair("client_port", fields, 65535),
        server_port=_pair("server_port", fields, 65535),
        ssrc=int(ssrc, 16)
        if re.fullmatch(r"[0-9A-Fa-f]{1,8}", ssrc)
        else None,  # some write it in decimal: a hint only
        multicast="MULTICAST" in words,
    )


def _pair(name: str, fields: dict[str, str], largest: int) -> tuple[int, int] | None:
    text = fields.get(name, "")
    if not text:
        return None
    match = _RANGE.fullmatch(text)
    if match is None:
        raise MalformedError("RTSP Transport", f"{name}={printable(text, 40)} is not a range")
    first = int(match[1])
    second = int(match[2]) if match[2] else first + 1
    if first > largest or second > largest:
        raise MalformedError("RTSP Transport", f"{name}={printable(text, 40)} is out of range")
    return first, second


def parse_session(value: str) -> tuple[str, int]:
    """(id, timeout in seconds) of a Session header (RFC 2326 §12.37), with spaces wherever cameras put them."""
    session_id, _, rest = value.partition(";")
    session_id = session_id.strip()
    if not _SESSION_ID.fullmatch(session_id):
        raise MalformedError("RTSP Session", f"not a session id: “{printable(session_id, 40)}”")
    match = re.search(r"timeout\s*=\s*\"?(\d{1,9})", rest, re.IGNORECASE)
    seconds = int(match[1]) if match else DEFAULT_SESSION_SECONDS
    return session_id, min(seconds, MAX_SESSION_SECONDS) or DEFAULT_SESSION_SECONDS


def parse_public(headers: Headers) -> frozenset[str]:
    """The methods an answer to OPTIONS advertises; empty when it says nothing."""
    values = headers.get_all("Public") or headers.get_all("Allow")
    return frozenset(m for v in values for m in re.split(r"[\s,]+", v.upper()) if m)


def base_url(request_url: str, headers: Headers) -> str:
    """What relative control URLs are relative to: Content-Base, Content-Location, the request's (RFC 2326 §C.1.1)."""
    for name in ("Content-Base", "Content-Location"):
        value = headers.get(name)
        if is_absolute(value) and re.fullmatch(r"[!-~]{1,2048}", value) and _can_be_split(value):
            return without_credentials(value)
    return request_url


def _can_be_split(url: str) -> bool:
    try:
        urlsplit(url)
    except ValueError:  # an address in brackets that is none
        return False
    return True


def control_url(base: str, control: str) -> str:
    """The URL of a track or of the aggregate from an `a=control` value.

    A relative control is appended to the base after a slash, query or not, as cameras mean it; RFC 1808 resolution,
    which would replace the last part of the path, is what none of them do.
    """
    control = control.strip()
    if control in ("", "*"):
        return base
    if not re.fullmatch(r"[!-~]{1,2048}", control):
        raise MalformedError("SDP a=control", f"not a URL: “{printable(control, 60)}”")
    if is_absolute(control):
        return without_credentials(control)
    parts = urlsplit(base)
    path = parts.path.rstrip("/")
    if path and control.startswith(path + "/"):
        return f"{parts.scheme}://{parts.netloc}{control}"
    return base.rstrip("/") + "/" + control.lstrip("/")


def is_absolute(url: str) -> bool:
    return url.lower().startswith(("rtsp://", "rtsps://"))


def without_credentials(url: str) -> str:
    """`url` with what stands before an @ in its authority left out."""
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}"


def redirect_target(current: CameraUrl, location: str) -> CameraUrl:
    """Where a 3xx answer leads. MalformedError unless it stays on the same host and does not drop TLS."""
    if "://" not in location:
        location = f"{str(current).removesuffix(current.path)}/{location.lstrip('/')}"
    try:
        target = CameraUrl.parse(without_credentials(location), SourceKind.RTSP)
    except UserError as error:
        raise MalformedError("RTSP Location", str(error)) from error
    if target.host != current.host:
        raise MalformedError("RTSP Location", f"leads to another host, {printable(target.host, 60)}")
    if RTSP_SCHEMES[target.scheme] != RTSP_SCHEMES[current.scheme] and target.scheme == "rtsp":
        raise MalformedError("RTSP Location", "leads from rtsps to rtsp")
    return target
