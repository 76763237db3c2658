"""Who asks: a login of the catalogue turned into grants and limits, and whether it still holds.

Pure but for values it is given. Owns what ends a login (time, idleness, being switched off, revocation), what a one-time
password keeps from doing, and under which name a caller's acts are put on record. What may be done is `web.identity.access`'s.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from storage.catalogue import Actor, Login, StoredGrant
from vms.model import Camera
from vms.timeline import SECOND_NS
from web.identity.access import NO_ACCESS, OF_A_CAMERA, ROLES, Access, Act, Grant, Role, Scope, access, narrowed

SESSION_SECONDS = 13 * 3600  # a shift of twelve hours and its handing over
IDLE_SECONDS = 2 * 3600  # without a request; an open page makes one at least every minute
CONFIRMED_SECONDS = 10 * 60


@dataclass(frozen=True, slots=True)
class Caller:
    """A login that holds, at one instant. Every decision on a request is asked of this."""

    login: Login
    grants: tuple[Grant, ...]
    now_ns: int
    ip: str = ""
    csrf: str = ""  # what unsafe requests must show; empty for tokens, which no browser sends by itself

    @property
    def id(self) -> UUID:
        return self.login.user.id

    @property
    def actor(self) -> Actor:
        user, token = self.login.user, self.login.token
        via = "" if token is None else token.name
        if token is not None and token.created_by != user.name:
            via += f", made by {token.created_by}"
        return Actor(user.name, user.id, self.ip, via)

    def access(self, camera: Camera | None) -> Access:
        """What this caller may do with `camera`, or with what belongs to none."""
        found = access(self.grants, camera, self.now_ns)
        token = self.login.token
        return found if token is None else narrowed(found, frozenset(Act(a) for a in token.acts if a in set(Act)))

    def acts_somewhere(self) -> list[Act]:
        """Everything that may be done with some camera or without one, for menus."""
        found = set(self.access(None).acts)
        for grant in self.grants:
            if grant.expires_ns is None or grant.expires_ns > self.now_ns:
                found |= ROLES[grant.role].acts & OF_A_CAMERA
        token = self.login.token
        return [a for a in Act if a in found and (token is None or a in token.acts)]

    @property
    def confirmed(self) -> bool:
        """Whether the password was given within the last minutes. A token confirms nothing."""
        session = self.login.session
        return session is not None and (session.confirmed_until_ns or 0) > self.now_ns


def caller_of(login: Login, now_ns: int, *, ip: str = "", csrf: str = "") -> Caller | None:
    """The caller behind a login; None when it no longer holds."""
    if not holds(login, now_ns):
        return None
    return Caller(login, grants_of(login.grants), now_ns, ip, csrf)


def holds(login: Login, now_ns: int) -> bool:
    """Whether a session or token still opens anything."""
    if login.user.disabled_ns is not None:
        return False
    if (session := login.session) is not None:
        return session.expires_ns > now_ns and session.seen_ns + IDLE_SECONDS * SECOND_NS > now_ns
    token = login.token
    return token is not None and token.revoked_ns is None and token.expires_ns > now_ns


def grants_of(stored: Iterable[StoredGrant]) -> tuple[Grant, ...]:
    """Rows as grants. A role or scope of a newer version gives nothing here."""
    return tuple(
        Grant(Role(g.role), Scope(g.scope), g.camera_group or "", g.camera_id, g.expires_ns, g.back_ns)
        for g in stored
        if g.role in set(Role) and g.scope in set(Scope)
    )


def access_of(login: Login | None, camera: Camera | None, now_ns: int) -> Access:
    """What a login allows now; nothing where there is none or it no longer holds."""
    caller = None if login is None else caller_of(login, now_ns)
    if caller is None or caller.login.user.must_change_password:
        return NO_ACCESS
    return caller.access(camera)
