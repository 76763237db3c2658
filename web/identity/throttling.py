"""Throttling of guesses: slows whoever guesses, and cannot be used to lock anybody out.

A failed attempt is counted with the pair of account and where it came from, and with where it came from alone. Where is the
address's network, or, for a browser that this account has signed in with before, that browser (a *device* cookie, OWASP's
"device cookies"): so guesses at somebody's account from elsewhere, or from the next desk behind the same address, do not
slow the person's own desk down. After `FREE` failures the wait doubles from a second up to `LONGEST_SECONDS`; it is forgotten
after `FORGOTTEN_SECONDS` without one. Nothing counts by account alone: that would hand attackers a switch to lock people
out with. Keeps `MOST_KEYS` counters at most; the least recently touched go first. In memory, for time is on its side.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256

NS = 1_000_000_000
FREE = 5
FREE_OF_NETWORK = 30  # a control room behind one address mistypes more often than one person
LONGEST_SECONDS = 60.0
FORGOTTEN_SECONDS = 900
MOST_KEYS = 50_000


@dataclass(slots=True)
class _Count:
    failures: int = 0
    last_ns: int = 0
    until_ns: int = 0


class Throttle:
    """One for a process. Times are monotonic ns."""

    def __init__(self) -> None:
        self._counts: OrderedDict[tuple[str, ...], _Count] = OrderedDict()

    def wait_seconds(self, keys: tuple[tuple[str, ...], ...], mono_ns: int) -> float:
        """How long until the next attempt is taken; 0: now."""
        until = max((c.until_ns for k in keys if (c := self._counts.get(k)) is not None), default=0)
        return max(0.0, (until - mono_ns) / NS)

    def attempted(self, keys: tuple[tuple[str, ...], ...], mono_ns: int) -> None:
        """Count an attempt as failed before it is known, so that a thousand at once are not one; `succeeded` takes it back."""
        for key in keys:
            count = self._counts.pop(key, None)
            if count is None or mono_ns - count.last_ns > FORGOTTEN_SECONDS * NS:
                count = _Count()
            count.failures, count.last_ns = count.failures + 1, mono_ns
            over = count.failures - (FREE_OF_NETWORK if key[0] == "network" else FREE)
            if over >= 0:
                count.until_ns = mono_ns + int(min(LONGEST_SECONDS, 2.0 ** min(over, 30)) * NS)
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
                if count.failures < FREE_OF_NETWORK:
                    count.until_ns = 0


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
    """Makes and recognises device cookies: a random name bound to an account by a MAC under the site's key."""

    def __init__(self, site_key: bytes) -> None:
        self._key = hmac.digest(site_key, b"stroz device cookie 1", "sha256")

    def issue(self, account: str) -> str:
        name = secrets.token_urlsafe(16)
        return f"{name}.{self._mac(account, name)}"

    def recognise(self, account: str, cookie: str | None) -> str | None:
        """The device's name if this cookie was issued to this account."""
        name, _, mac = (cookie or "").partition(".")
        if not name or not hmac.compare_digest(mac.encode(), self._mac(account, name).encode()):
            return None
        return name

    def _mac(self, account: str, name: str) -> str:
        return hmac.new(self._key, f"{account}\x00{name}".encode(), sha256).hexdigest()
