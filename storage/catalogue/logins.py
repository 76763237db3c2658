"""Logins: sessions of browsers, tokens of programs, what is watched live in them, and the code of the first set-up.

A login is found by the digest of its secret, which is nowhere else. It comes with its user and grants in one reading, so
that what is decided on it is of one instant. A login of a removed user is not found; of a switched-off one it is, for the
caller to judge. Callers say when.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, and_, delete, func, insert, or_, select, true, update

from storage.catalogue.audit_append import Happening, append
from storage.catalogue.engine import Database, upsert
from storage.catalogue.people import grants_of, user_of
from storage.catalogue.people_values import LiveView, Login, StoredSession, StoredToken
from storage.catalogue.tables import cameras
from storage.catalogue.tables_people import api_tokens, live_views, sessions, set_up, users
from vms.errors import CatalogueError, UserError
from vms.sentences import say

Place = tuple[int, UUID]  # when a login was made, and its id: behind it begins the next page


class Logins:
    """Sessions, tokens, live views, set-up code."""

    _db: Database

    async def open_session(self, session: StoredSession, digest: bytes, *, record: Happening) -> None:
        """Note a sign-in: the session, and with the user when and from where. Expired sessions go on the way."""

        def work(conn: Connection) -> None:
            conn.execute(delete(sessions).where(sessions.c.expires_ns <= session.created_ns))
            row = conn.execute(
                update(users)
                .where(users.c.id == session.user_id, users.c.removed_ns.is_(None))
                .values(signed_in_ns=session.created_ns, signed_in_ip=session.ip, failed=0)
                .returning(users.c.key)
            ).one_or_none()
            if row is None:
                raise CatalogueError("the user was removed meanwhile")
            values = {
                "id": session.id, "user_key": row.key, "digest": digest, "ip": session.ip, "agent": session.agent,
                "created_ns": session.created_ns, "seen_ns": session.seen_ns, "expires_ns": session.expires_ns,
                "confirmed_until_ns": session.confirmed_until_ns, "notice": json.dumps(dict(session.notice)),
            }  # fmt: skip
            conn.execute(insert(sessions).values(values))
            append(conn, record)

        await self._db.write(work)

    async def note_failure(self, user_id: UUID, *, record: Happening) -> None:
        """A wrong password was given for this user."""

        def work(conn: Connection) -> None:
            conn.execute(update(users).where(users.c.id == user_id).values(failed=users.c.failed + 1))
            append(conn, record)

        await self._db.write(work)

    async def session_login(self, digest: bytes) -> Login | None:
        def work(conn: Connection) -> Login | None:
            found = _logins(conn, sessions, sessions.c.digest == digest)
            return found[0] if found else None

        return await self._db.read(work)

    async def token_login(self, digest: bytes) -> Login | None:
        def work(conn: Connection) -> Login | None:
            found = _logins(conn, api_tokens, api_tokens.c.digest == digest)
            return found[0] if found else None

        return await self._db.read(work)

    async def logins(self, ids: Collection[UUID]) -> dict[UUID, Login]:
        """Those of these sessions and tokens that are still there."""

        def work(conn: Connection) -> dict[UUID, Login]:
            found = [
                *_logins(conn, sessions, sessions.c.id.in_(ids)),
                *_logins(conn, api_tokens, api_tokens.c.id.in_(ids)),
            ]
            return {login.id: login for login in found}

        return await self._db.read(work) if ids else {}

    async def touch_session(
        self,
        session_id: UUID,
        *,
        seen_ns: int,
        confirmed_until_ns: int | None = None,
        record: Happening | None = None,
    ) -> None:
        """Note that a session was used, and with `confirmed_until_ns` that its password was given again."""
        values: dict[str, Any] = {"seen_ns": seen_ns}
        if confirmed_until_ns is not None:
            values["confirmed_until_ns"] = confirmed_until_ns

        def work(conn: Connection) -> None:
            conn.execute(update(sessions).where(sessions.c.id == session_id).values(values))
            if record is not None:
                append(conn, record)

        await self._db.write(work)

    async def touch_token(self, token_id: UUID, *, used_ns: int) -> None:
        def work(conn: Connection) -> None:
            conn.execute(update(api_tokens).where(api_tokens.c.id == token_id).values(used_ns=used_ns))

        await self._db.write(work)

    async def open_sessions(
        self, *, now_ns: int, user_id: UUID | None = None, before: Place | None = None, limit: int | None = None
    ) -> list[Login]:
        """Sessions that have not expired, the newest first; of one user if given, behind `before` if given."""

        def work(conn: Connection) -> list[Login]:
            return _newest(conn, sessions, sessions.c.expires_ns > now_ns, user_id=user_id, before=before, limit=limit)

        return await self._db.read(work)

    async def end_session(self, session_id: UUID, *, record: Happening) -> bool:
        """False: it was not there, and nothing is put on record."""

        def work(conn: Connection) -> bool:
            if not conn.execute(delete(sessions).where(sessions.c.id == session_id)).rowcount:
                return False
            append(conn, record)
            return True

        return await self._db.write(work)

    async def add_token(self, token: StoredToken, digest: bytes, *, most: int, record: Happening) -> None:
        """Keep a token. UserError when its user has `most` in force already, CatalogueError when the user is gone."""

        def work(conn: Connection) -> None:
            owner = select(users.c.key).where(users.c.id == token.user_id, users.c.removed_ns.is_(None))
            key = conn.scalar(owner.with_for_update())  # one at a time, so that none is counted past another
            if key is None:
                raise CatalogueError("the token's user was removed meanwhile")
            in_force = select(func.count()).where(
                api_tokens.c.user_key == key, api_tokens.c.revoked_ns.is_(None), api_tokens.c.expires_ns > token.created_ns
            )  # fmt: skip
            if (conn.scalar(in_force) or 0) >= most:
                raise UserError(say("tokens_full", most=most))
            values = {
                "id": token.id, "user_key": key, "digest": digest, "name": token.name,
                "acts": " ".join(sorted(token.acts)), "created_ns": token.created_ns, "created_by": token.created_by,
                "expires_ns": token.expires_ns,
            }  # fmt: skip
            conn.execute(insert(api_tokens).values(values))
            append(conn, record)

        await self._db.write(work)

    async def tokens(
        self, *, user_id: UUID | None = None, before: Place | None = None, limit: int | None = None
    ) -> list[Login]:
        """Tokens with their users, the newest first; of one user if given, behind `before` if given."""

        def work(conn: Connection) -> list[Login]:
            return _newest(conn, api_tokens, true(), user_id=user_id, before=before, limit=limit)

        return await self._db.read(work)

    async def revoke_token(self, token_id: UUID, *, at_ns: int, record: Happening) -> bool:
        """False: not there, or revoked before."""

        def work(conn: Connection) -> bool:
            revoked = update(api_tokens).where(api_tokens.c.id == token_id, api_tokens.c.revoked_ns.is_(None))
            if not conn.execute(revoked.values(revoked_ns=at_ns)).rowcount:
                return False
            append(conn, record)
            return True

        return await self._db.write(work)

    async def put_set_up_code(self, digest: bytes, *, at_ns: int) -> bool:
        """Keep the digest of a new code in place of an older one. False: there are users, so nothing is to be set up."""

        def work(conn: Connection) -> bool:
            if conn.scalar(select(users.c.key).limit(1)) is not None:
                return False
            values = {"code_digest": digest, "issued_ns": at_ns}
            statement = upsert(conn, set_up).values(key=1, **values)
            conn.execute(statement.on_conflict_do_update(index_elements=["key"], set_=values))
            return True

        return await self._db.write(work)

    async def set_up_code(self) -> bytes | None:
        """The digest of the code that is in force."""

        def work(conn: Connection) -> bytes | None:
            digest: bytes | None = conn.scalar(select(set_up.c.code_digest))
            return digest

        return await self._db.read(work)

    async def live_views(self) -> list[LiveView]:
        """What is being watched, as far as is known, oldest first."""

        def work(conn: Connection) -> list[LiveView]:
            query = (
                select(live_views, users.c.id.label("user_id"), users.c.name, cameras.c.id.label("camera_id"))
                .join_from(live_views, users)
                .join(cameras, cameras.c.key == live_views.c.camera_key)
                .order_by(live_views.c.key)
            )
            return [
                LiveView(
                    row.id, row.login_id, row.user_id, row.name, row.camera_id, row.stream_id, row.stream,
                    row.purpose, row.started_ns,
                )
                for row in conn.execute(query)
            ]  # fmt: skip

        return await self._db.read(work)

    async def change_live_view(self, view_id: UUID, stream_id: UUID, stream: str, *, record: Happening) -> None:
        """Another stream of the camera is shown from now on."""

        def work(conn: Connection) -> None:
            append(conn, record)
            changed = update(live_views).where(live_views.c.id == view_id)
            conn.execute(changed.values(stream_id=stream_id, stream=stream))

        await self._db.write(work)


def put_live_view(conn: Connection, view: LiveView) -> None:
    """Insert a view inside a transaction of the caller's (`AuditLog.begin_live_view`)."""
    user_key = conn.scalar(select(users.c.key).where(users.c.id == view.user_id))
    camera_key = conn.scalar(select(cameras.c.key).where(cameras.c.id == view.camera_id))
    if user_key is None or camera_key is None:
        raise CatalogueError("the viewer or the camera was removed meanwhile")
    conn.execute(
        insert(live_views).values(
            id=view.id, login_id=view.login_id, user_key=user_key, camera_key=camera_key, stream_id=view.stream_id,
            stream=view.stream, purpose=view.purpose, started_ns=view.started_ns,
        )
    )  # fmt: skip


def _newest(
    conn: Connection, table: Any, where: Any, *, user_id: UUID | None, before: Place | None, limit: int | None
) -> list[Login]:
    """A page of logins, the newest first."""
    made, ident = table.c.created_ns, table.c.id
    if user_id is not None:
        where = where & (users.c.id == user_id)
    if before is not None:
        where = where & or_(made < before[0], and_(made == before[0], ident < before[1]))
    return _logins(conn, table, where, order=(made.desc(), ident.desc()), limit=limit)


def _logins(
    conn: Connection, table: Any, where: Any, *, order: tuple[Any, ...] = (), limit: int | None = None
) -> list[Login]:
    """Logins of users in use, each with all grants of its user."""
    query = (
        select(table, *(c.label(f"person_{c.name}") for c in users.columns))
        .join_from(table, users)
        .where(where, users.c.removed_ns.is_(None))
        .order_by(*order)
        .limit(limit)
    )
    found = conn.execute(query).all()
    owners = {row.person_key for row in found}
    of: dict[UUID, list[Any]] = {}
    for grant in grants_of(conn, users.c.key.in_(owners)) if owners else ():
        of.setdefault(grant.user_id, []).append(grant)
    logins = []
    for row in found:
        user = user_of(_Prefixed(row))  # type: ignore[arg-type]  # reads the same names
        if table is sessions:
            logins.append(Login(user, tuple(of.get(user.id, ())), session=_session(row)))
        else:
            logins.append(Login(user, tuple(of.get(user.id, ())), token=_token(row)))
    return logins


class _Prefixed:
    """The user's columns of a joined row under their own names."""

    def __init__(self, row: Row[Any]) -> None:
        self._row = row

    def __getattr__(self, name: str) -> Any:
        return getattr(self._row, f"person_{name}")


def _session(row: Row[Any]) -> StoredSession:
    return StoredSession(
        row.id, row.person_id, row.ip, row.agent, row.created_ns, row.seen_ns, row.expires_ns, row.confirmed_until_ns,
        json.loads(row.notice),
    )  # fmt: skip


def _token(row: Row[Any]) -> StoredToken:
    return StoredToken(
        row.id, row.person_id, row.name, frozenset(row.acts.split()), row.created_ns, row.created_by, row.expires_ns,
        row.used_ns, row.revoked_ns,
    )  # fmt: skip
