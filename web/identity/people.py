"""Changing people: users, their grants and tokens, as the interface and the command line both do it.

Owns the rules: a new user gets a one-time password that must be changed, somebody is always administrator, a token never
gives more than its user has. Each change and its entry in the audit log are one transaction. Who may do it is asked before.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from typing import Any
from uuid import UUID, uuid4

from storage.catalogue import Actor, Catalogue, Detail, StoredGrant, StoredToken, User
from vms.errors import UserError
from vms.localtime import format_utc
from vms.sentences import say
from vms.timeline import SECOND_NS
from web.identity.access import Act, Role, Scope
from web.identity.passwords import Passwords, one_time_password
from web.identity.refusals import Code, Refusal, in_words, invalid, not_found, refused
from web.identity.signing_in import TOKEN_PREFIX, check_name, digest_of

LANGUAGES = ("pl", "en")
HOUR_NS = 3600 * SECOND_NS
MOST_TOKENS = 50  # of one user, in force at the same time


async def create_user(
    catalogue: Catalogue,
    passwords: Passwords,
    actor: Actor,
    now_ns: int,
    *,
    name: str,
    display_name: str = "",
    language: str = "pl",
    role: Role | None = None,
    scope: Scope = Scope.ALL,
    group: str | None = None,
    camera_id: UUID | None = None,
    expires_ns: int | None = None,
    back_hours: int | None = None,
) -> tuple[User, str]:
    """A new user, with a first role if given, as `give_role` gives it, and the one-time password. Refusals INVALID, CONFLICT."""
    check_name(name)
    password = one_time_password()
    user = User(
        uuid4(), name, display_name.strip(), language, await passwords.hash(password), must_change_password=True,
        created_ns=now_ns,
    )  # fmt: skip
    grant: StoredGrant | None = None
    detail: Detail = {}
    if role is not None:
        grant, detail = _grant(
            actor, now_ns, user, role=role, scope=scope, group=group, camera_id=camera_id, expires_ns=expires_ns,
            back_hours=back_hours,
        )  # fmt: skip
    record = actor.does("create_user", now_ns, f"user {name}", **detail)
    try:
        return await catalogue.add_user(user, grant, record=record), password
    except UserError as error:
        if await catalogue.user_named(name) is None:
            raise invalid("camera_id", in_words(error)) from error
        raise refused(Code.CONFLICT, in_words(error), field="name") from error


async def reset_password(catalogue: Catalogue, passwords: Passwords, actor: Actor, now_ns: int, user: User) -> str:
    """A new one-time password; the user's sessions and tokens end. Refusal NOT_FOUND."""
    password = one_time_password()
    changes = {"password_hash": await passwords.hash(password), "must_change_password": True}
    record = actor.does("reset_password", now_ns, f"user {user.name}")
    if await catalogue.change_user(user.id, changes, end_logins=True, record=record) is None:
        raise not_found()
    return password


async def change_user(
    catalogue: Catalogue, actor: Actor, now_ns: int, user: User, wishes: dict[str, Any], *, version: int | None = None
) -> User:
    """`wishes`: display_name, language, disabled. Refusals STALE, CONFLICT for the last administrator."""
    changes: dict[str, Any] = {k: v for k, v in wishes.items() if k in ("display_name", "language")}
    disabling = wishes.get("disabled")
    if disabling is not None:
        changes["disabled_ns"] = (user.disabled_ns or now_ns) if disabling else None
    record = actor.does(
        "change_user", now_ns, f"user {user.name}", display_name=wishes.get("display_name"),
        language=wishes.get("language"), disabled=disabling,
    )  # fmt: skip
    try:
        changed = await catalogue.change_user(
            user.id, changes, version=version, end_logins=bool(disabling), record=record,
            never_without=Role.ADMINISTRATOR.value if disabling else "",
        )  # fmt: skip
    except UserError as error:
        raise refused(Code.CONFLICT, in_words(error)) from error
    if changed is None:
        raise Refusal(Code.STALE)
    return changed


async def remove_user(catalogue: Catalogue, actor: Actor, now_ns: int, user: User) -> None:
    """Out of use for ever. Refusals NOT_FOUND, CONFLICT for the last administrator."""
    record = actor.does("remove_user", now_ns, f"user {user.name}")
    try:
        gone = await catalogue.remove_user(
            user.id, at_ns=now_ns, never_without=Role.ADMINISTRATOR.value, record=record
        )  # fmt: skip
    except UserError as error:
        raise refused(Code.CONFLICT, in_words(error)) from error
    if gone is None:
        raise not_found()


async def give_role(
    catalogue: Catalogue,
    actor: Actor,
    now_ns: int,
    user: User,
    *,
    role: Role,
    scope: Scope = Scope.ALL,
    group: str | None = None,
    camera_id: UUID | None = None,
    expires_ns: int | None = None,
    back_hours: int | None = None,
) -> StoredGrant:
    """A new grant. Refusals INVALID for a scope that does not fit, an end in the past, or an unknown camera."""
    grant, detail = _grant(
        actor, now_ns, user, role=role, scope=scope, group=group, camera_id=camera_id, expires_ns=expires_ns,
        back_hours=back_hours,
    )  # fmt: skip
    record = actor.does("give_role", now_ns, f"user {user.name}", **detail)
    try:
        return await catalogue.add_grant(grant, record=record)
    except UserError as error:
        raise invalid("camera_id", in_words(error)) from error


def _grant(
    actor: Actor, now_ns: int, user: User, *, role: Role, scope: Scope, group: str | None, camera_id: UUID | None,
    expires_ns: int | None, back_hours: int | None,
) -> tuple[StoredGrant, Detail]:  # fmt: skip
    """What is stored, and what goes on record of it."""
    if (scope is Scope.GROUP) != bool(group):
        raise invalid("group", say("grant_group"))
    if (scope is Scope.CAMERA) != (camera_id is not None):
        raise invalid("camera_id", say("grant_camera"))
    if expires_ns is not None and expires_ns <= now_ns:
        raise invalid("expires_at", say("time_over"))
    back_ns = None if back_hours is None else back_hours * HOUR_NS
    grant = StoredGrant(
        uuid4(), user.id, role.value, scope.value, group, camera_id, expires_ns, back_ns, now_ns, actor.name
    )  # fmt: skip
    return grant, {
        "role": role.value, "scope": scope.value, "group": group,
        "camera_id": None if camera_id is None else str(camera_id), "back_hours": back_hours,
        "expires_at": None if expires_ns is None else format_utc(expires_ns),
    }  # fmt: skip


async def take_role(catalogue: Catalogue, actor: Actor, now_ns: int, user: User, grant: StoredGrant) -> None:
    """Take a grant away. Refusals NOT_FOUND, CONFLICT for the last administrator."""
    record = actor.does(
        "take_role", now_ns, f"user {user.name}", role=grant.role, scope=grant.scope, group=grant.camera_group,
        camera_id=None if grant.camera_id is None else str(grant.camera_id),
    )  # fmt: skip
    last = Role.ADMINISTRATOR.value if grant.role == Role.ADMINISTRATOR.value else ""
    try:
        gone = await catalogue.remove_grant(grant.id, never_without=last, record=record)
    except UserError as error:
        raise refused(Code.CONFLICT, in_words(error)) from error
    if gone is None:
        raise not_found()


async def create_token(
    catalogue: Catalogue, actor: Actor, now_ns: int, user: User, *, name: str, acts: Collection[Act], days: int
) -> tuple[StoredToken, str]:
    """A token of a user, cut to `acts`, and its secret, which is shown once. Refusal CONFLICT for one too many."""
    secret = TOKEN_PREFIX + secrets.token_urlsafe(32)
    token = StoredToken(
        uuid4(), user.id, name, frozenset(a.value for a in acts), now_ns, actor.name, now_ns + days * 24 * HOUR_NS,
        None, None,
    )  # fmt: skip
    scopes = sorted(token.acts)
    record = actor.does("create_token", now_ns, f"user {user.name}", token=name, acts=scopes, days=days)
    try:
        await catalogue.add_token(token, digest_of(secret), most=MOST_TOKENS, record=record)
    except UserError as error:
        raise refused(Code.CONFLICT, in_words(error)) from error
    return token, secret


async def revoke_token(catalogue: Catalogue, actor: Actor, now_ns: int, token: StoredToken) -> None:
    """End a token. May be repeated."""
    record = actor.does("revoke_token", now_ns, f"token {token.name}")
    await catalogue.revoke_token(token.id, at_ns=now_ns, record=record)
