"""The address of a camera's stream, checked: a stream URL is code to whatever opens it.

Owns which addresses the house will ever open, and the parting of credentials from them. No name is looked up here.
Some cameras want user and password in the path or query (`/user=jan&password=…`): what stands there is taken out like that
before an @, and `{user}` and `{password}` stay in its place until `filled` makes the address for the camera's ears only.
Invariants: `str()` and `repr()` never hold credentials; no control character, space or backslash gets through; a
local file is an address only of the libav source.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit

from vms.errors import UserError
from vms.model import SourceKind
from vms.sentences import say

RTSP_SCHEMES = {"rtsp": 554, "rtsps": 322}
LIBAV_SCHEMES = {"http": 80, "https": 443, "rtmp": 1935, "rtmps": 443, "srt": 0, "file": 0}  # 0: no default port
MAX_CHARS = 2048

_ALLOWED = re.compile(r"[!-\[\]-~]+", re.ASCII)  # printable ASCII without space and backslash (RFC 3986 §2)
_HOST = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?"
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

USER, PASSWORD = "{user}", "{password}"
# NAME=VALUE as cameras write it, between & or within a name with underscores: user=jan_password=x_channel=1
_VALUE = r"=)((?:(?!_[a-z]{1,20}=)[^/?&;])+)"
_PASSWORD_PART = re.compile(
    r"((?:password|passwd|passwort|passphrase|(?:^|[/?&;_=])(?:loginpass?|pass|pwd|psw))" + _VALUE, re.IGNORECASE
)
_USER_PART = re.compile(r"((?:^|[/?&;_=])(?:username|user|usr|loginuse|login)" + _VALUE, re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class CameraUrl:
    """A parsed stream address. `host` has no brackets; `path` keeps its query; for rtsp and rtsps it begins with "/" or is empty.

    Where the camera wants credentials in its path, `path` has `{user}` and `{password}` there.
    """

    scheme: str
    host: str
    port: int | None  # None: the scheme's own
    path: str
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @classmethod
    def parse(cls, text: str, source: SourceKind = SourceKind.AUTO) -> CameraUrl:
        """Parse and check; UserError says what is wrong without ever repeating a password.

        `source` RTSP allows rtsp and rtsps only; LIBAV and AUTO allow `LIBAV_SCHEMES` besides, `file` only LIBAV.
        """
        if len(text) > MAX_CHARS:
            raise UserError(say("url_long", most=MAX_CHARS))
        if not _ALLOWED.fullmatch(text):
            raise UserError(say("url_characters"))
        try:
            parts = urlsplit(text)
            host, port = parts.hostname or "", parts.port
        except ValueError as error:
            # What the library says repeats the wrong part, and that may be a password.
            raise UserError(say("url_malformed")) from error
        scheme = _check_scheme(parts.scheme.lower(), source)
        if parts.fragment:
            raise UserError(say("url_fragment"))
        if scheme == "file":
            return _file_url(parts.netloc, parts.path, bool(parts.query))
        if port == 0:
            raise UserError(say("url_port_0"))
        if scheme == "srt" and port is None:
            raise UserError(say("url_srt_port"))
        userinfo = parts.netloc.rpartition("@")[0]
        username, _, password = userinfo.partition(":")
        username, password = unquote(username), unquote(password)
        root = "/" if scheme in RTSP_SCHEMES else ""  # a camera's tracks are appended to a path
        path = f"{parts.path or root}?{parts.query}" if parts.query else parts.path
        path, username, password = _part(path, username, password)
        if _CONTROL.search(username + password):
            raise UserError(say("url_control"))
        if "[" in parts.netloc and ":" not in host:
            raise UserError(say("url_ipv6"))
        made = cls(scheme, _check_host(host), port, path, username, password)
        if len(str(made)) > MAX_CHARS:
            raise UserError(say("url_long", most=MAX_CHARS))
        return made

    @property
    def effective_port(self) -> int:
        """The port to connect to; 0 where none makes sense (file)."""
        return self.port or {**RTSP_SCHEMES, **LIBAV_SCHEMES}[self.scheme]

    def filled(self, username: str, password: str) -> str:
        """The address with these in the places its path has for them. It may hold the password: never to be shown."""
        text = str(self)
        if self.scheme == "file":
            return text
        return text.replace(USER, quote(username, safe="")).replace(PASSWORD, quote(password, safe=""))

    def __str__(self) -> str:
        """The address without credentials."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + (f":{self.port}" if self.port is not None else "") + self.path


def check_placeholders(url: CameraUrl) -> None:
    """UserError where a person wrote another placeholder than there is, which the camera would get as it stands."""
    others = [name for name in re.findall(r"\{[A-Za-z_]{1,20}\}", url.path) if name not in (USER, PASSWORD)]
    if others:
        raise UserError(say("url_placeholder", name=others[0]))


def _part(path: str, username: str, password: str) -> tuple[str, str, str]:
    """Path without credentials, user name, password. A user name alone is no credential and stays."""
    values = [m[2] for m in _PASSWORD_PART.finditer(path) if m[2] != PASSWORD]
    if any(PASSWORD in value for value in values):
        raise UserError(say("url_placeholder_alone"))
    if not values:
        return path, username, password
    found = [unquote(value) for value in values]
    path = _PASSWORD_PART.sub(lambda m: m[1] + PASSWORD, path)
    users = [unquote(m[2]) for m in _USER_PART.finditer(path) if USER not in m[2]]
    path = _USER_PART.sub(lambda m: m[0] if USER in m[2] else m[1] + USER, path)
    passwords, users = {*found, password} - {""}, [*users, username]
    if len(passwords) > 1 or len({*users} - {""}) > 1:
        raise UserError(say("url_two_logins"))
    return path, max(users), passwords.pop()


def _check_scheme(scheme: str, source: SourceKind) -> str:
    if scheme in RTSP_SCHEMES and source is not SourceKind.LIBAV:
        return scheme
    if scheme == "file" and source is not SourceKind.LIBAV:
        raise UserError(say("url_file_source"))
    allowed = dict(RTSP_SCHEMES) if source is SourceKind.RTSP else {**RTSP_SCHEMES, **LIBAV_SCHEMES}
    if scheme in allowed:
        return scheme
    if source is SourceKind.RTSP and scheme in LIBAV_SCHEMES:
        raise UserError(say("url_source", scheme=scheme))
    raise UserError(say("url_scheme", others=", ".join(LIBAV_SCHEMES)))


def _check_host(host: str) -> str:
    if not host:
        raise UserError(say("url_no_host"))
    if ":" in host:
        try:
            return str(ipaddress.IPv6Address(host))
        except ValueError as error:
            raise UserError(say("url_ipv6")) from error
    if not _HOST.fullmatch(host):
        raise UserError(say("url_host"))
    if re.fullmatch(r"[0-9.]+", host):
        try:
            ipaddress.IPv4Address(host)
        except ValueError as error:
            raise UserError(say("url_ipv4", host=host)) from error
    return host.lower()


def _file_url(netloc: str, path: str, has_query: bool) -> CameraUrl:
    if netloc not in ("", "localhost") or has_query or not path.startswith("/") or path == "/":
        raise UserError(say("url_file"))
    return CameraUrl("file", "", None, path)
