"""Throttling of guesses: slows whoever guesses, and cannot be used to lock anybody out.

A failed attempt is counted with the pair of account and where it came from, and with where it came from alone. Where is the
address's network, or, for a browser that this account has signed in with before, that browser (a *device* cookie, OWASP's
"device cookies", which knows every account that last used the browser): so guesses at somebody's account from elsewhere, or
from the next desk behind the same address, do not slow the person's own desk down. After `FREE` failures of an account from
one place the next attempt waits, a second at first and then twice as long each time, up to `LONGEST_SECONDS`. A browser that
the account knows is refused until its wait is over, for nobody but whoever sits there can make it longer. Others stand in
line: each attempt is held until its turn, as far behind the one before it as the wait is long, and then looked at. So the
right password gets in behind whoever guesses at the account from the same address, after `LONGEST_IN_LINE_SECONDS` at most,
and no more guesses are looked at in a minute than if all but one were refused. Only who comes while the line is longer is
told to come back: nobody can tell the person from so many who guess. A network that failed more than `FREE_OF_NETWORK` times
has each attempt held for some seconds, so that guessing at many accounts is slow, and a neighbour of whoever guesses is let in
after them. Of one network `MOST_IN_LINE` and `MOST_HELD` are held at a time, half of the connections that one address may
have (`web.api.connections`); further ones are told to come back. A browser that the account knows is neither held nor told so.
All is forgotten after `FORGOTTEN_SECONDS` without a failure. Nothing counts by account alone: that would hand attackers a
switch to lock people out with. Keeps `MOST_KEYS` counters at most; the least recently touched go first. In memory, for time
is on its side.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256

from vms.timeline import SECOND_NS

FREE = 5
FREE_OF_NETWORK = 30  # a control room behind one address mistypes more often than one person
LONGEST_SECONDS = 60.0
LONGEST_IN_LINE_SECONDS = 240.0  # browsers give up an answer after five minutes
LONGEST_HELD_SECONDS = 5.0
MOST_HELD = 32  # attempts that are held at a time because their network guesses a lot
MOST_IN_LINE = 96  # attempts from one network, at whatever accounts, that wait for their turn at a time
FORGOTTEN_SECONDS = 900
MOST_KEYS = 50_000
MOST_ACCOUNTS = 20  # that a browser is known to: those of a desk's people, the last ones first


MAC_CHARS = 32
MOST_COOKIE_CHARS = 4096
_PART = re.compile(r"[\w-]{1,40}\.[0-9a-f]{32}", re.ASCII)


@dataclass(slots=True)
class _Count:
    failures: int = 0
    last_ns: int = 0
    until_ns: int = 0


class Throttle:
    """One for a process. Times are monotonic ns."""

    def __init__(self) -> None:
        self._counts: OrderedDict[tuple[str, ...], _Count] = OrderedDict()
        self._held: Counter[tuple[str, ...]] = Counter()  # by network, and of those in line by ("line", network)

    def wait_seconds(self, keys: tuple[tuple[str, ...], ...], mono_ns: int) -> float:
        """How long until the next attempt is taken; 0: now, even if it is held then."""
        line = LONGEST_IN_LINE_SECONDS if _stands_in_line(keys) else 0.0
        return max(0.0, self._turn_seconds(keys, mono_ns) - line)

    def held_seconds(self, keys: tuple[tuple[str, ...], ...], mono_ns: int) -> float:
        """How long an attempt that is taken now is held before anything is looked at."""
        turn = self._turn_seconds(keys, mono_ns)
        counts = [c for k in keys if k[0] == "network" and (c := self._counts.get(k)) is not None]
        over = max((c.failures - FREE_OF_NETWORK for c in counts if not _is_forgotten(c, mono_ns)), default=-1)
        return turn if over < 0 else max(turn, min(LONGEST_HELD_SECONDS, 2.0 ** min(over, 30)))

    def _turn_seconds(self, keys: tuple[tuple[str, ...], ...], mono_ns: int) -> float:
        until = max((c.until_ns for k in keys if (c := self._counts.get(k)) is not None), default=0)
        return max(0.0, (until - mono_ns) / SECOND_NS)

    @contextmanager
    def holding(self, keys: tuple[tuple[str, ...], ...], mono_ns: int) -> Iterator[bool]:
        """While an attempt that is taken now is held. Gives whether there is room for it."""
        in_line = self._turn_seconds(keys, mono_ns) > 0
        places = [("line", *key[1:]) if in_line else key for key in keys if key[0] == "network"]
        self._held.update(places)
        try:
            yield all(self._held[place] <= (MOST_IN_LINE if in_line else MOST_HELD) for place in places)
        finally:
            self._held.subtract(places)
            self._held = +self._held

    def attempted(self, keys: tuple[tuple[str, ...], ...], mono_ns: int) -> None:
        """Count an attempt as failed before it is known, so that a thousand at once are not one; `succeeded` takes it back.

        It has its turn (`wait_seconds` of before), and the next one comes a wait behind it.
        """
        for key in keys:
            count = self._counts.pop(key, None)
            if count is None or _is_forgotten(count, mono_ns):
                count = _Count()
            count.failures, count.last_ns = count.failures + 1, mono_ns
            over = count.failures - FREE
            if over >= 0 and key[0] != "network":
                count.until_ns = max(mono_ns, count.until_ns) + int(
                    min(LONGEST_SECONDS, 2.0 ** min(over, 30)) * SECOND_NS
                )
            self._counts[key] = count
        while len(self._counts) > MOST_KEYS:
            self._counts.popitem(last=False)

    def succeeded(self, keys: tuple[tuple[str, ...], ...]) -> None:
        """Forget the failures of this account from there; those of others in its network stay."""
        for key in keys:
            if key[0] != "network":
                self._counts.pop(key, None)
            elif (count := self._counts.get(key)) is not None:
                count.failures -= 1


def _stands_in_line(keys: tuple[tuple[str, ...], ...]) -> bool:
    return any(key[0] == "network" for key in keys)


def _is_forgotten(count: _Count, mono_ns: int) -> bool:
    return mono_ns - count.last_ns > FORGOTTEN_SECONDS * SECOND_NS


def attempt_keys(account: str, ip: str, device: str | None) -> tuple[tuple[str, ...], ...]:
    """What an attempt is counted with. `device`: the verified name of a browser this account has signed in with."""
    if device is not None:
        return (("device", account, device),)
    where = network_of(ip)
    return (("account", account, where), ("network", where))


def network_of(ip: str) -> str:
    """The address, of IPv6 the /64 that one customer has whole; what is no address counts as itself."""
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return ip[:64]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.IPv6Network((address, 64), strict=False))
    return str(address)


class Devices:
    """Makes and recognises device cookies: for each account a random name, bound to it by a MAC under the site's key."""

    def __init__(self, site_key: bytes) -> None:
        self._key = hmac.digest(site_key, b"stroz device cookie 1", "sha256")

    def issue(self, account: str, cookie: str | None = None) -> str:
        """A cookie by which this account knows the browser, beside those that `cookie` knew it by; this one the first."""
        others = [part for part in _parts(cookie) if self._name_of(account, part) is None]
        name = self.recognise(account, cookie) or secrets.token_urlsafe(16)
        return "~".join([f"{name}.{self._mac(account, name)}", *others][:MOST_ACCOUNTS])

    def recognise(self, account: str, cookie: str | None) -> str | None:
        """The device's name if this cookie was issued to this account."""
        names = (self._name_of(account, part) for part in _parts(cookie))
        return next((name for name in names if name is not None), None)

    def _name_of(self, account: str, part: str) -> str | None:
        name, _, mac = part.partition(".")
        if not name or not hmac.compare_digest(mac.encode(), self._mac(account, name).encode()):
            return None
        return name

    def _mac(self, account: str, name: str) -> str:
        return hmac.new(self._key, f"{account}\x00{name}".encode(), sha256).hexdigest()[:MAC_CHARS]


def _parts(cookie: str | None) -> list[str]:
    """What a cookie may hold of ours: the shape only, for others' parts are not ours to check here."""
    parts = (cookie or "")[:MOST_COOKIE_CHARS].split("~")
    return [part for part in parts if _PART.fullmatch(part)]
