"""Basic and Digest authentication of RTSP (RFC 2326 §14, RFC 2617, RFC 7616): both sides, pure but for random nonces.

Owns challenges and their answers: MD5 and SHA-256, with `-sess`, qop `auth` or none, stale nonces. Does not own
messages or where passwords are kept. Passwords never reach an exception, a `repr` or a log from here.

Quoted values are kept as they stand between their quotes, backslashes included: that is what is hashed (RFC 7616 §3.3,
`unq`), and what cameras with a realm such as `DOMAIN\\user` expect back.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from vms.rtsp.message import Headers

MAX_VALUE_CHARS = 8192  # of one WWW-Authenticate or Authorization value that is looked at
_PARAMETER = re.compile(
    r'[\s,]*(?:([A-Za-z][A-Za-z0-9-]*)\s+)?([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))', re.DOTALL
)
_BARE_SCHEME = re.compile(r"[\s,]*([A-Za-z]+)\s*(?:,|$)")
_HASHES: dict[str, Callable[[bytes], str]] = {
    "MD5": lambda b: hashlib.md5(b, usedforsecurity=False).hexdigest(),
    "SHA-256": lambda b: hashlib.sha256(b).hexdigest(),
}


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge of a `WWW-Authenticate` header. `algorithm` is upper case; `qop` the options offered, may be empty."""

    scheme: str  # "Basic" or "Digest"
    realm: str
    nonce: str = ""
    algorithm: str = "MD5"
    qop: tuple[str, ...] = ()
    opaque: str | None = None
    stale: bool = False

    @property
    def strength(self) -> int:
        """Higher is better; 0 cannot be answered."""
        if self.scheme == "Basic":
            return 1
        base = self.algorithm.removesuffix("-SESS")
        if base not in _HASHES or not self.nonce or (self.qop and "auth" not in self.qop):
            return 0
        return 3 if base == "SHA-256" else 2

    def header(self) -> str:
        """The value of a `WWW-Authenticate` header."""
        if self.scheme == "Basic":
            return f'Basic realm="{self.realm}"'
        parts = [f'realm="{self.realm}"', f'nonce="{self.nonce}"', f"algorithm={self.algorithm}"]
        if self.qop:
            parts.append(f'qop="{",".join(self.qop)}"')
        if self.opaque is not None:
            parts.append(f'opaque="{self.opaque}"')
        if self.stale:
            parts.append("stale=true")
        return "Digest " + ", ".join(parts)


def parse_challenges(values: Iterable[str]) -> list[Challenge]:
    """Every Basic and Digest challenge in these `WWW-Authenticate` values, in order; whatever else is left out."""
    found: list[Challenge] = []
    for scheme, fields in _schemes(values):
        if scheme == "basic":
            found.append(Challenge("Basic", fields.get("realm", "")))
        elif scheme == "digest":
            found.append(
                Challenge(
                    "Digest",
                    fields.get("realm", ""),
                    fields.get("nonce", ""),
                    (fields.get("algorithm") or "MD5").upper(),
                    tuple(q for q in re.split(r"[\s,]+", fields.get("qop", "").lower()) if q),
                    fields.get("opaque"),
                    fields.get("stale", "").lower() == "true",
                )
            )
    return found


def choose(challenges: Iterable[Challenge]) -> Challenge | None:
    """The strongest challenge that can be answered: Digest SHA-256, then MD5, then Basic; None when there is none."""
    best = max(challenges, key=lambda c: c.strength, default=None)
    return best if best is not None and best.strength else None


def authorise(
    challenges: Iterable[Challenge],
    method: str,
    uri: str,
    user: str,
    password: str,
    *,
    nonce_count: int = 1,
    cnonce: str = "",
) -> str | None:
    """The value of an `Authorization` header that answers the strongest of `challenges`; None when none can be answered.

    `uri` must be exactly that of the request. `nonce_count` counts requests with this nonce, from 1; an empty `cnonce`
    is replaced by a random one.
    """
    challenge = choose(challenges)
    if challenge is None:
        return None
    if challenge.scheme == "Basic":
        return "Basic " + base64.b64encode(_bytes(f"{user}:{password}")).decode()
    qop = "auth" if challenge.qop else ""
    cnonce = cnonce or secrets.token_hex(8)
    count = f"{nonce_count:08x}"
    response = _digest(challenge, method, uri, user, password, qop, count, cnonce)
    parts = [
        f'username="{_quotable(user)}"',
        f'realm="{challenge.realm}"',
        f'nonce="{challenge.nonce}"',
        f'uri="{uri}"',
        f'response="{response}"',
        f"algorithm={challenge.algorithm}",
    ]
    if qop:
        parts += ["qop=auth", f"nc={count}", f'cnonce="{cnonce}"']
    elif challenge.algorithm.endswith("-SESS"):
        parts.append(f'cnonce="{cnonce}"')
    if challenge.opaque is not None:
        parts.append(f'opaque="{challenge.opaque}"')
    return "Digest " + ", ".join(parts)


@dataclass(slots=True)
class ClientAuth:
    """A client's state towards one server: the challenge in force and how often its nonce was used."""

    user: str = field(repr=False)
    password: str = field(repr=False)
    _challenges: list[Challenge] = field(default_factory=list)
    _count: int = 0

    @property
    def challenged(self) -> bool:
        return bool(self._challenges)

    def header(self, method: str, uri: str) -> str | None:
        """The `Authorization` value of the next request, None before the first challenge."""
        if not self._challenges:
            return None
        self._count += 1
        return authorise(self._challenges, method, uri, self.user, self.password, nonce_count=self._count)

    def accept(self, headers: Headers) -> bool:
        """Take the challenges of a 401; True when trying again makes sense.

        It does after the first challenge, and after a later one that brings a new nonce: stale, or a server that
        renews its nonces without saying so. The caller bounds how often it tries.
        """
        fresh = parse_challenges(headers.get_all("WWW-Authenticate"))
        chosen, before = choose(fresh), choose(self._challenges)
        if chosen is None:
            return False
        again = before is None or chosen.stale or (chosen.scheme == "Digest" and chosen.nonce != before.nonce)
        self._challenges, self._count = fresh, 0
        return again


class Outcome(StrEnum):
    """What a server makes of an `Authorization` header."""

    ACCEPTED = "accepted"
    MISSING = "missing"
    STALE = "stale"  # right in every way but for an old nonce
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`user` is the name given, also when refused (for the log); empty when there was none that parses."""

    outcome: Outcome
    user: str = ""

    @property
    def accepted(self) -> bool:
        return self.outcome is Outcome.ACCEPTED


class ServerAuth:
    """A server's gate: issues challenges and verifies answers. One per server or per connection; keeps no list of nonces.

    A nonce is its time of issue, random bytes and a MAC over both under a secret of this object, so it needs no
    memory and no other server's nonce is taken. `password_of(user)` gives the password, None for an unknown user.
    `schemes` says what is offered, strongest first: "SHA-256", "MD5", "Basic". `mono_ns` is the monotonic clock.
    """

    def __init__(
        self,
        realm: str,
        password_of: Callable[[str], str | None],
        *,
        schemes: Sequence[str] = ("SHA-256", "MD5"),
        nonce_seconds: float = 300.0,
        mono_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        if '"' in realm or "\\" in realm or not realm.isprintable():
            raise ValueError("a realm has no quotes, backslashes or line breaks")
        if unknown := set(schemes) - {"SHA-256", "MD5", "Basic"}:
            raise ValueError(f"unknown authentication schemes: {sorted(unknown)}")
        self.realm = realm
        self._password_of = password_of
        self._schemes = tuple(schemes)
        self._lifetime_ns = round(nonce_seconds * 1e9)
        self._mono_ns = mono_ns
        self._secret = secrets.token_bytes(32)

    def challenges(self, *, stale: bool = False) -> list[Challenge]:
        """Fresh challenges for a 401, one per scheme offered."""
        nonce = self._nonce(self._mono_ns())
        return [
            Challenge("Basic", self.realm)
            if s == "Basic"
            else Challenge("Digest", self.realm, nonce, s, ("auth",), None, stale)
            for s in self._schemes
        ]

    def challenge_headers(self, *, stale: bool = False) -> list[tuple[str, str]]:
        """`WWW-Authenticate` header pairs for a 401."""
        return [("WWW-Authenticate", c.header()) for c in self.challenges(stale=stale)]

    def verify(self, authorization: str | None, method: str, uri: str) -> Verdict:
        """Judge the `Authorization` value of a request for `uri`.

        The `uri` of a Digest answer may also be a parent of the request's, as clients that hash the presentation's
        URL for every track do. `nc` is not remembered: a replay is possible within `nonce_seconds`.
        """
        if not authorization:
            return Verdict(Outcome.MISSING)
        scheme, _, rest = authorization.strip().partition(" ")
        if scheme.lower() == "basic" and "Basic" in self._schemes:
            return self._verify_basic(rest.strip())
        if scheme.lower() == "digest":
            for name, fields in _schemes([authorization]):
                if name == "digest":
                    return self._verify_digest(fields, method, uri)
        return Verdict(Outcome.REFUSED)

    def _verify_basic(self, credentials: str) -> Verdict:
        try:
            user, _, password = base64.b64decode(credentials, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError, ValueError):
            return Verdict(Outcome.REFUSED)
        known = self._password_of(user)
        right = hmac.compare_digest(_bytes(known or ""), _bytes(password))
        return Verdict(Outcome.ACCEPTED if right and known is not None else Outcome.REFUSED, user)

    def _verify_digest(self, fields: dict[str, str], method: str, uri: str) -> Verdict:
        user = re.sub(r"\\(.)", r"\1", fields.get("username", ""))
        algorithm = (fields.get("algorithm") or "MD5").upper()
        hashed_uri = fields.get("uri", "")
        issued_ns = self._issued_ns(fields.get("nonce", ""))
        qop = fields.get("qop", "").lower()
        if (
            algorithm not in self._schemes
            or fields.get("realm") != self.realm
            or issued_ns is None
            or qop not in ("", "auth")
            or not _covers(hashed_uri, uri)
        ):
            return Verdict(Outcome.REFUSED, user)
        password = self._password_of(user)
        challenge = Challenge("Digest", self.realm, fields["nonce"], algorithm)
        expected = _digest(
            challenge, method, hashed_uri, user, password or "", qop, fields.get("nc", ""), fields.get("cnonce", "")
        )
        if password is None or not hmac.compare_digest(_bytes(expected), _bytes(fields.get("response", "").lower())):
            return Verdict(Outcome.REFUSED, user)
        if self._mono_ns() - issued_ns > self._lifetime_ns:
            return Verdict(Outcome.STALE, user)
        return Verdict(Outcome.ACCEPTED, user)

    def _nonce(self, issued_ns: int) -> str:
        head = issued_ns.to_bytes(8, "big") + secrets.token_bytes(8)
        return (head + hmac.digest(self._secret, head, "sha256")[:16]).hex()

    def _issued_ns(self, nonce: str) -> int | None:
        """When we issued `nonce`; None when we did not."""
        try:
            raw = bytes.fromhex(nonce)
        except ValueError:
            return None
        if len(raw) != 32 or not hmac.compare_digest(hmac.digest(self._secret, raw[:16], "sha256")[:16], raw[16:]):
            return None
        return int.from_bytes(raw[:8], "big")


def _schemes(values: Iterable[str]) -> list[tuple[str, dict[str, str]]]:
    """(scheme in lower case, parameters with names in lower case) of each challenge or answer, in order."""
    found: list[tuple[str, dict[str, str]]] = []
    for value in values:
        text, position = value[:MAX_VALUE_CHARS], 0
        while position < len(text):
            if match := _PARAMETER.match(text, position):
                if match[1]:
                    found.append((match[1].lower(), {}))
                if found:
                    found[-1][1].setdefault(match[2].lower(), match[3] if match[3] is not None else match[4])
            elif match := _BARE_SCHEME.match(text, position):
                found.append((match[1].lower(), {}))
            else:
                break
            position = match.end()
    return found


def _digest(  # noqa: PLR0917 - the order in which the standard joins them
    challenge: Challenge, method: str, uri: str, user: str, password: str, qop: str, count: str, cnonce: str
) -> str:
    """The `response` of RFC 7616 §3.4.1; without qop that of RFC 2069."""
    base = challenge.algorithm.removesuffix("-SESS")
    digest = _HASHES[base]
    first = digest(_bytes(f"{user}:{challenge.realm}:{password}"))
    if challenge.algorithm != base:
        first = digest(_bytes(f"{first}:{challenge.nonce}:{cnonce}"))
    second = digest(_bytes(f"{method}:{uri}"))
    middle = f"{challenge.nonce}:{count}:{cnonce}:{qop}" if qop else challenge.nonce
    return digest(_bytes(f"{first}:{middle}:{second}"))


def _covers(hashed_uri: str, uri: str) -> bool:
    parent = hashed_uri.rstrip("/")
    return bool(parent) and (uri.rstrip("/") == parent or uri.startswith((parent + "/", parent + "?")))


def _quotable(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
