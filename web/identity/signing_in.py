"""Signing in and staying signed in: passwords, session secrets, tokens of programs, confirmation, the first set-up.

Owns the secrets' form and that none is kept: a session's or token's secret is 256 random bits of which the catalogue has the
SHA-256; the CSRF token is derived from the session's secret, so that it is of no use without it. An unknown name costs
what a wrong password costs and gets the same answer; that a known one failed is put on record after it, tried again until the catalogue takes it. Second factors will stand between the password and `open_session`, in `sign_in`. Who may do what
is `web.identity.access`'s; cookies and headers are `web.api`'s.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import random
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from uuid import UUID, uuid4

from storage.catalogue import Actor, Catalogue, Happening, Login, StoredGrant, StoredSession, User, Why
from vms.clock import Clock
from vms.errors import CatalogueError, UserError
from vms.sentences import say
from vms.supervise import Backoff
from vms.timeline import SECOND_NS
from web.identity.access import Role, Scope
from web.identity.callers import CONFIRMED_SECONDS, SESSION_SECONDS, Caller, caller_of
from web.identity.passwords import Passwords, check_strength, one_time_password
from web.identity.refusals import Code, Refusal, invalid
from web.identity.throttling import Devices, Throttle, attempt_keys

log = logging.getLogger(__name__)

TOKEN_PREFIX = "stroz_"  # noqa: S105 - what a token begins with
TOUCH_NS = 60 * SECOND_NS  # how exactly it is known when a login was last used
MOST_AGENT_CHARS = 200
MOST_REMEMBERED = 10_000
NOTED_AFTER_SECONDS = 0.1  # an answer is on its way by then
NOTED_AGAIN = Backoff(first=0.2, longest=5.0)
MOST_NOTED = 1000  # failures that wait for the catalogue; no more come while it is away, for names are asked there
SETTLE_SECONDS = 1.0  # how long a sign-in or the end of the process waits for them
NAME_CHARS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789._-@")


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A session that began. `secret` is for the cookie, `device` for the one that tells this browser from a stranger's."""

    caller: Caller
    secret: str
    device: str


class Identity:
    """Everything about who somebody is. One for a process."""

    def __init__(self, catalogue: Catalogue, site_key: bytes, clock: Clock, passwords: Passwords | None = None) -> None:
        self._catalogue, self._clock = catalogue, clock
        self.passwords = passwords or Passwords()
        self.throttle = Throttle()
        self._devices = Devices(site_key)
        self._noting: dict[asyncio.Task[None], UUID] = {}
        self._sessions_read: OrderedDict[bytes, UUID] = OrderedDict()  # by their secrets' digests

    async def set_up(self, code: str, name: str, password: str, *, display_name: str, language: str, ip: str) -> User:
        """Make the first administrator. Refusals SETUP_DONE, WRONG_CREDENTIALS, SLOW_DOWN, WEAK_PASSWORD, INVALID."""
        if await self._catalogue.has_users():
            raise Refusal(Code.SETUP_DONE)
        keys = await self._attempt("\x00set-up", ip, None)
        digest = await self._catalogue.set_up_code()
        if digest is None or not hmac.compare_digest(digest, code_digest(code)):
            raise Refusal(Code.WRONG_CREDENTIALS, "this is not the set-up code", field="setup_code")
        self.throttle.succeeded(keys)
        check_name(name)
        check_strength(password, name=name)
        now_ns = self._clock.wall_ns()
        user = User(
            uuid4(), name, display_name, language, await self.passwords.hash(password), must_change_password=False,
            created_ns=now_ns,
        )  # fmt: skip
        grant = administrator_grant(user, now_ns, by=name)
        record = Actor(name, user.id, ip).does("set_up", now_ns, f"user {name}")
        try:
            return await self._catalogue.add_user(user, grant, only_first=True, record=record)
        except UserError as error:
            raise Refusal(Code.SETUP_DONE) from error

    async def sign_in(self, name: str, password: str, *, ip: str, agent: str, device: str | None) -> SignedIn:
        """Begin a session. Refusals WRONG_CREDENTIALS, SLOW_DOWN."""
        account = name.casefold()[:256]
        known = self._devices.recognise(account, device)
        keys = await self._attempt(account, ip, known)
        user = await self._catalogue.user_named(name)
        encoded = user.password_hash if user else None
        right = await self.passwords.matches(encoded, password, known=known is not None)
        now_ns = self._clock.wall_ns()
        if user is None or not right or user.disabled_ns is not None:
            if user is not None:
                why: Why = "switched_off" if right else "wrong_password"
                record = Actor(user.name, user.id, ip).does("sign_in_failed", now_ns, f"user {user.name}", why=why)
                self._note_failure(user, record)
            raise Refusal(Code.WRONG_CREDENTIALS)
        self.throttle.succeeded(keys)
        await self.settle(user.id)
        user = await self._catalogue.user(user.id) or user  # with the failures that were noted meanwhile
        secret = secrets.token_urlsafe(32)
        session = StoredSession(
            uuid4(), user.id, ip, agent[:MOST_AGENT_CHARS], now_ns, now_ns, now_ns + SESSION_SECONDS * SECOND_NS,
            now_ns + CONFIRMED_SECONDS * SECOND_NS,
            {"last_ns": user.signed_in_ns, "last_ip": user.signed_in_ip, "failed": user.failed},
        )  # fmt: skip
        record = Actor(user.name, user.id, ip).does("sign_in", now_ns, f"user {user.name}")
        await self._catalogue.open_session(session, digest_of(secret), record=record)
        caller = await self.by_session(secret, ip=ip)
        return SignedIn(caller, secret, self._devices.issue(account, device))

    async def by_session(self, secret: str, *, ip: str = "") -> Caller:
        """The caller behind a session's secret. Refusal NOT_SIGNED_IN."""
        login = await self._catalogue.session_login(digest_of(secret)) if 20 <= len(secret) <= 100 else None
        caller = None if login is None else caller_of(login, self._clock.wall_ns(), ip=ip, csrf=csrf_of(secret))
        if caller is None or (session := caller.login.session) is None:
            raise Refusal(Code.NOT_SIGNED_IN)
        self._sessions_read[digest_of(secret)] = session.id
        self._sessions_read.move_to_end(digest_of(secret))
        if len(self._sessions_read) > MOST_REMEMBERED:
            self._sessions_read.popitem(last=False)
        if caller.now_ns - session.seen_ns > TOUCH_NS:
            await self._catalogue.touch_session(session.id, seen_ns=caller.now_ns)
        return caller

    def as_last_read(self, secret: str, logins: Mapping[UUID, Login], *, ip: str = "") -> Caller:
        """The caller behind a session's secret by `logins`, as they were when the catalogue last answered.

        Refusals NOT_SIGNED_IN when it no longer holds, CATALOGUE_AWAY when it is not among them.
        """
        session_id = self._sessions_read.get(digest_of(secret))
        login = None if session_id is None else logins.get(session_id)
        if login is None:
            raise Refusal(Code.CATALOGUE_AWAY)
        caller = caller_of(login, self._clock.wall_ns(), ip=ip, csrf=csrf_of(secret))
        if caller is None:
            raise Refusal(Code.NOT_SIGNED_IN)
        return caller

    async def by_token(self, bearer: str, *, ip: str = "") -> Caller:
        """The caller behind a program's token. Refusal NOT_SIGNED_IN."""
        well_formed = bearer.startswith(TOKEN_PREFIX) and len(bearer) <= 100
        login = await self._catalogue.token_login(digest_of(bearer)) if well_formed else None
        caller = None if login is None else caller_of(login, self._clock.wall_ns(), ip=ip)
        if caller is None or (token := caller.login.token) is None:
            raise Refusal(Code.NOT_SIGNED_IN)
        if caller.now_ns - (token.used_ns or 0) > TOUCH_NS:
            await self._catalogue.touch_token(token.id, used_ns=caller.now_ns)
        return caller

    async def confirm(self, caller: Caller, password: str) -> Caller:
        """Take the password again, for sensitive acts. Refusals WRONG_CREDENTIALS, SLOW_DOWN, FORBIDDEN to tokens."""
        await self._require_password(caller, password)
        session = _session_of(caller)
        now_ns = self._clock.wall_ns()
        until = now_ns + CONFIRMED_SECONDS * SECOND_NS
        record = caller.actor.does("confirm_password", now_ns, f"user {caller.login.user.name}")
        await self._catalogue.touch_session(session.id, seen_ns=now_ns, confirmed_until_ns=until, record=record)
        return replace(caller, login=replace(caller.login, session=replace(session, confirmed_until_ns=until)))

    async def change_password(self, caller: Caller, old: str, new: str) -> None:
        """The caller's own. Every other session and every token of theirs ends. Refusals as `confirm`, WEAK_PASSWORD."""
        await self._require_password(caller, old)
        check_strength(new, name=caller.login.user.name)
        if hmac.compare_digest(old.encode(), new.encode()):
            raise Refusal(Code.WEAK_PASSWORD, "the new password is the old one", field="new")
        record = caller.actor.does("change_password", self._clock.wall_ns(), f"user {caller.login.user.name}")
        changes = {"password_hash": await self.passwords.hash(new), "must_change_password": False}
        await self._catalogue.change_user(
            caller.id, changes, end_logins=True, keep_session=_session_of(caller).id, record=record
        )

    async def sign_out(self, caller: Caller) -> None:
        """End the caller's session."""
        record = caller.actor.does("sign_out", self._clock.wall_ns(), f"user {caller.login.user.name}")
        await self._catalogue.end_session(_session_of(caller).id, record=record)

    async def _attempt(self, account: str, ip: str, device: str | None) -> tuple[tuple[str, ...], ...]:
        """Count an attempt, and hold it until its turn and where its network guesses a lot. Refusal SLOW_DOWN."""
        keys, now_ns = attempt_keys(account, ip, device), self._clock.mono_ns()
        if wait := self.throttle.wait_seconds(keys, now_ns):
            raise Refusal(Code.SLOW_DOWN, retry_after=round(wait + 0.05, 1))
        held = self.throttle.held_seconds(keys, now_ns)
        with self.throttle.holding(keys, now_ns) as there_is_room:
            if held and not there_is_room:
                raise Refusal(Code.SLOW_DOWN, retry_after=held)
            self.throttle.attempted(keys, now_ns)
            if held:
                await self._clock.sleep(held)
        return keys

    def _note_failure(self, user: User, record: Happening) -> None:
        """Put a failed sign-in on record once it is answered: that takes time, and only for names that there are."""

        async def note() -> None:
            wait, failures, rng = NOTED_AFTER_SECONDS, 0, random.Random()  # noqa: S311 - jitter
            try:
                while True:
                    await self._clock.sleep(wait)
                    try:
                        return await self._catalogue.note_failure(user.id, record=record)
                    except CatalogueError as error:
                        failures += 1
                        wait = NOTED_AGAIN.delay(failures, rng)
                        log.warning("a failed sign-in of %s is not on record yet: %s", user.name, error)
            except asyncio.CancelledError:
                log.error("a failed sign-in of %s could not be put on record", user.name)
                raise

        if len(self._noting) >= MOST_NOTED:
            log.error("a failed sign-in of %s could not be put on record: %d wait for it", user.name, MOST_NOTED)
            return
        task = asyncio.create_task(note(), name="note a failure")
        self._noting[task] = user.id
        task.add_done_callback(self._noting.pop)

    async def settle(self, user_id: UUID | None = None) -> None:
        """Wait until the failures of this user, or all of them, are on record, but not for ever."""
        if waited := [task for task, owner in self._noting.items() if user_id in (None, owner)]:
            await asyncio.wait(waited, timeout=SETTLE_SECONDS)

    async def close(self) -> None:
        """Settle, and say in the log what the catalogue did not take."""
        await self.settle()
        left = list(self._noting)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _require_password(self, caller: Caller, password: str) -> None:
        session = _session_of(caller)
        keys = await self._attempt(f"session {session.id}", caller.ip, str(session.id))
        if not await self.passwords.matches(caller.login.user.password_hash, password, known=True):
            record = caller.actor.does("wrong_password", self._clock.wall_ns(), f"user {caller.login.user.name}")
            await self._catalogue.note_failure(caller.id, record=record)
            raise Refusal(Code.WRONG_CREDENTIALS, "the password is wrong", field="password")
        self.throttle.succeeded(keys)


def check_name(name: str) -> None:
    """Refusal INVALID unless a login name that can be typed anywhere and never be mistaken for another one."""
    if not 2 <= len(name) <= 64 or not name.isascii() or not set(name.lower()) <= NAME_CHARS or not name[0].isalnum():
        raise invalid("name", say("login_name"))


def digest_of(secret: str) -> bytes:
    """What the catalogue has of a secret of 256 random bits: SHA-256, for there is nothing to guess."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


def csrf_of(secret: str) -> str:
    """The token that proves a request was made by a page that could read our answers."""
    return hmac.new(secret.encode("utf-8", "surrogateescape"), b"stroz csrf 1", "sha256").hexdigest()


def code_digest(code: str) -> bytes:
    """Of a set-up code as typed: case, spaces and hyphens do not count."""
    return hashlib.sha256("".join(c for c in code.casefold() if c.isalnum()).encode()).digest()


async def issue_set_up_code(catalogue: Catalogue, now_ns: int) -> str | None:
    """A new set-up code, to be printed once for whoever sits at the server; None when there are users already.

    Only the last one issued is good, and the first user ends it.
    """
    code = one_time_password()
    return code if await catalogue.put_set_up_code(code_digest(code), at_ns=now_ns) else None


def administrator_grant(user: User, now_ns: int, *, by: str) -> StoredGrant:
    return StoredGrant(
        uuid4(), user.id, Role.ADMINISTRATOR.value, Scope.ALL.value, None, None, None, None, now_ns, by
    )  # fmt: skip


def _session_of(caller: Caller) -> StoredSession:
    if caller.login.session is None:
        raise Refusal(Code.FORBIDDEN, "an API token has no password and no session")
    return caller.login.session
