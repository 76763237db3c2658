"""Passwords: hashed with argon2id, checked at one pace whether or not the user exists, and made for first use.

Owns the cost of a guess (RFC 9106 §4, second choice: 64 MiB, 3 passes, 4 lanes), what makes a password too weak (NIST SP
800-63B §3.1.1: length and the obvious, no rules of composition) and how many are hashed at once, so that a flood of
sign-ins takes neither all memory nor all processors. Keeps nothing.
"""

from __future__ import annotations

import asyncio
import secrets
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from web.identity.refusals import Code, Refusal

T = TypeVar("T")

LEAST_CHARS = 12
MOST_CHARS = 256
AT_ONCE = 2
WAITING = 64  # sign-ins that may stand in line; more are told to come back
_ONE_TIME = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that is read wrong from paper
_OBVIOUS = (
    "password", "haslo", "qwerty", "qwertz", "admin", "123456", "zaq12wsx", "straz", "monitoring", "polska", "stroz",
    "letmein", "welcome", "111111", "000000", "abcdef",
)  # fmt: skip


class Passwords:
    """One for a process. Use from one event loop."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher(time_cost=3, memory_cost=65_536, parallelism=4)
        self._nobody = ""  # made when first needed: commands that only hash need not wait for it
        self._lanes = {known: _Lane(asyncio.Semaphore(AT_ONCE)) for known in (False, True)}

    async def hash(self, password: str) -> str:
        """The encoded argon2id hash, salted."""
        return await self._in_turn(lambda: self._hasher.hash(_normalised(password)), known=True)

    async def matches(self, encoded: str | None, password: str, *, known: bool = False) -> bool:
        """Whether it is the password; for nobody's hash (None or empty) as slow, and never.

        `known`: asked by a browser the account was signed in with before; a flood of strangers does not stand in its way.
        """
        given = _normalised(password)[:MOST_CHARS]

        def verify() -> bool:
            self._nobody = self._nobody or self._hasher.hash(secrets.token_hex(16))
            try:
                return self._hasher.verify(encoded or self._nobody, given) and bool(encoded)
            except (VerificationError, InvalidHashError):
                return False

        return await self._in_turn(verify, known=known)

    async def _in_turn(self, work: Callable[[], T], *, known: bool) -> T:
        lane = self._lanes[known]
        if lane.waiting >= WAITING:
            raise Refusal(Code.SLOW_DOWN, "too many sign-ins at once", retry_after=2)
        lane.waiting += 1
        try:
            async with lane.turns:
                return await asyncio.to_thread(work)
        finally:
            lane.waiting -= 1


@dataclass(slots=True)
class _Lane:
    turns: asyncio.Semaphore
    waiting: int = 0


def check_strength(password: str, *, name: str) -> None:
    """Refusal WEAK_PASSWORD unless long enough, not one repeated, and more than what everybody tries first."""
    given = _normalised(password)
    if not LEAST_CHARS <= len(given) <= MOST_CHARS:
        raise Refusal(Code.WEAK_PASSWORD, f"a password has {LEAST_CHARS} to {MOST_CHARS} characters", field="password")
    plain = _plain(given)
    left = plain
    for word in sorted((*_OBVIOUS, *filter(None, (_plain(name),))), key=len, reverse=True):
        left = left.replace(word, "")
    if len(set(plain)) < 5 or len(left) < LEAST_CHARS // 2:
        raise Refusal(
            Code.WEAK_PASSWORD, "this is among the first passwords that anybody tries; take another", field="password"
        )


def one_time_password() -> str:
    """A password for the first sign-in: 70 bits, easy to read out."""
    return "-".join("".join(secrets.choice(_ONE_TIME) for _ in range(5)) for _ in range(3))


def _normalised(password: str) -> str:
    return unicodedata.normalize("NFKC", password)


def _plain(text: str) -> str:
    folded = unicodedata.normalize("NFKD", text.casefold()).replace("ł", "l")
    return "".join(c for c in folded if not unicodedata.combining(c))
