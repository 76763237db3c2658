"""People: users and their grants, walls they laid out.

Owns that names are unique among users in use (without regard to case), that a removed user stays named in what is on
record and may do nothing, and that some role may never be held by nobody. Knows neither what roles mean nor how passwords
are hashed. Callers say when.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, delete, func, insert, or_, select, update

from storage.catalogue.audit_append import Happening, append, lock_log
from storage.catalogue.engine import Database
from storage.catalogue.people_values import StoredGrant, StoredLayout, User
from storage.catalogue.tables import cameras
from storage.catalogue.tables_people import api_tokens, grants, layouts, sessions, set_up, users
from vms.errors import UserError
from vms.sentences import say

_USER = (
    "id", "name", "display_name", "language", "password_hash", "must_change_password", "created_ns", "disabled_ns",
    "signed_in_ns", "signed_in_ip", "failed", "version",
)  # fmt: skip
_CHANGEABLE = frozenset({"display_name", "language", "disabled_ns", "password_hash", "must_change_password"})


class People:
    """Users, grants, layouts."""

    _db: Database

    async def has_users(self) -> bool:
        """Whether anybody was ever made a user."""

        def work(conn: Connection) -> bool:
            return conn.scalar(select(users.c.key).limit(1)) is not None

        return await self._db.read(work)

    async def add_user(
        self, user: User, grant: StoredGrant | None = None, *, only_first: bool = False, record: Happening
    ) -> User:
        """Add a user, with a first grant if given. UserError when the name is taken, or `only_first` and there is one."""

        def work(conn: Connection) -> User:
            if only_first:
                lock_log(conn)  # of two first users at once the second must see the first
                if conn.scalar(select(users.c.key).limit(1)) is not None:
                    raise UserError("the site has been set up already")
            if _find(conn, users.c.name_folded == user.name.casefold()) is not None:
                raise UserError(say("user_exists", name=user.name))
            values: dict[str, Any] = {name: getattr(user, name) for name in _USER}
            row = insert(users).values(name_folded=user.name.casefold(), **values).returning(users.c.key)
            key = conn.execute(row).scalar_one()
            if grant is not None:
                conn.execute(insert(grants).values(_grant_values(conn, grant, key)))
            conn.execute(delete(set_up))
            append(conn, record)
            return user

        return await self._db.write(work)

    async def users(self, *, after: str = "", limit: int = 100, search: str = "") -> list[User]:
        """Users in use by name, those behind the name `after`; `search`: part of either name."""

        def work(conn: Connection) -> list[User]:
            query = select(users).where(users.c.removed_ns.is_(None), users.c.name_folded > after.casefold())
            if search:
                part = search.casefold()
                query = query.where(
                    or_(
                        users.c.name_folded.contains(part, autoescape=True),
                        func.lower(users.c.display_name).contains(part, autoescape=True),
                    )
                )
            return [user_of(row) for row in conn.execute(query.order_by(users.c.name_folded).limit(limit))]

        return await self._db.read(work)

    async def user(self, user_id: UUID) -> User | None:
        """The user in use with this id."""

        def work(conn: Connection) -> User | None:
            row = _find(conn, users.c.id == user_id)
            return None if row is None else user_of(row)

        return await self._db.read(work)

    async def user_named(self, name: str) -> User | None:
        """The user in use with this name, without regard to case."""

        def work(conn: Connection) -> User | None:
            row = _find(conn, users.c.name_folded == name.casefold())
            return None if row is None else user_of(row)

        return await self._db.read(work)

    async def change_user(
        self,
        user_id: UUID,
        changes: dict[str, Any],
        *,
        version: int | None = None,
        never_without: str = "",
        end_logins: bool = False,
        keep_session: UUID | None = None,
        record: Happening,
    ) -> User | None:
        """Change columns of a user. None: not there, or no longer of `version`.

        `never_without`: a role that somebody who may sign in must hold for all cameras afterwards, else UserError. `end_logins`: sessions and tokens end, but for the session `keep_session`.
        """
        assert changes.keys() <= _CHANGEABLE

        def work(conn: Connection) -> User | None:
            query = update(users).where(users.c.id == user_id, users.c.removed_ns.is_(None))
            if version is not None:
                query = query.where(users.c.version == version)
            row = conn.execute(query.values(version=users.c.version + 1, **changes).returning(users)).one_or_none()
            if row is None:
                return None
            if never_without:
                require_holder(conn, never_without)
            if end_logins:
                _end_logins(conn, row.key, keep_session)
            append(conn, record)
            return user_of(row)

        return await self._db.write(work)

    async def remove_user(
        self, user_id: UUID, *, at_ns: int, never_without: str = "", record: Happening
    ) -> User | None:
        """Take a user out of use for ever; the name is free again. None: not there. Grants, sessions and tokens go."""

        def work(conn: Connection) -> User | None:
            row = _find(conn, users.c.id == user_id)
            if row is None:
                return None
            conn.execute(update(users).where(users.c.key == row.key).values(removed_ns=at_ns, password_hash=""))
            conn.execute(delete(grants).where(grants.c.user_key == row.key))
            _end_logins(conn, row.key, None)
            if never_without:
                require_holder(conn, never_without)
            append(conn, record)
            return user_of(row)

        return await self._db.write(work)

    async def grants(self, user_id: UUID) -> list[StoredGrant]:
        """A user's grants, expired ones too, oldest first."""

        def work(conn: Connection) -> list[StoredGrant]:
            return grants_of(conn, users.c.id == user_id)

        return await self._db.read(work)

    async def all_grants(self) -> list[StoredGrant]:
        """Every grant of users in use."""

        def work(conn: Connection) -> list[StoredGrant]:
            return grants_of(conn, users.c.removed_ns.is_(None))

        return await self._db.read(work)

    async def add_grant(self, grant: StoredGrant, *, record: Happening) -> StoredGrant:
        """Give a user a role. UserError for an unknown user or camera."""

        def work(conn: Connection) -> StoredGrant:
            row = _find(conn, users.c.id == grant.user_id)
            if row is None:
                raise UserError("there is no such user")
            conn.execute(insert(grants).values(_grant_values(conn, grant, row.key)))
            append(conn, record)
            return grant

        return await self._db.write(work)

    async def grant(self, grant_id: UUID) -> StoredGrant | None:
        def work(conn: Connection) -> StoredGrant | None:
            found = grants_of(conn, grants.c.id == grant_id)
            return found[0] if found else None

        return await self._db.read(work)

    async def remove_grant(self, grant_id: UUID, *, never_without: str = "", record: Happening) -> StoredGrant | None:
        """Take a grant away. None: not there. `never_without` as in `change_user`."""

        def work(conn: Connection) -> StoredGrant | None:
            found = grants_of(conn, grants.c.id == grant_id)
            if not found:
                return None
            conn.execute(delete(grants).where(grants.c.id == grant_id))
            if never_without:
                require_holder(conn, never_without)
            append(conn, record)
            return found[0]

        return await self._db.write(work)

    async def layouts(self, user_id: UUID) -> list[StoredLayout]:
        """The user's own layouts and everybody's shared ones, by name."""

        def work(conn: Connection) -> list[StoredLayout]:
            query = _layouts().where(or_(users.c.id == user_id, layouts.c.shared))
            return [_layout(row) for row in conn.execute(query.order_by(layouts.c.name, layouts.c.key))]

        return await self._db.read(work)

    async def layout(self, layout_id: UUID) -> StoredLayout | None:
        def work(conn: Connection) -> StoredLayout | None:
            row = conn.execute(_layouts().where(layouts.c.id == layout_id)).one_or_none()
            return None if row is None else _layout(row)

        return await self._db.read(work)

    async def put_layout(self, layout: StoredLayout, *, version: int | None, record: Happening) -> StoredLayout | None:
        """Make a layout (`version` None), or change the one of that version. None: there is another one meanwhile."""
        values = {
            "name": layout.name, "shared": layout.shared, "author": layout.author, "body": layout.body,
            "updated_ns": layout.updated_ns,
        }  # fmt: skip

        def work(conn: Connection) -> StoredLayout | None:
            if version is None:
                row = _find(conn, users.c.id == layout.user_id)
                taken = conn.scalar(select(layouts.c.key).where(layouts.c.id == layout.id))
                if row is None or taken is not None:
                    return None
                conn.execute(insert(layouts).values(id=layout.id, user_key=row.key, version=1, **values))
            else:
                query = update(layouts).where(layouts.c.id == layout.id, layouts.c.version == version)
                if not conn.execute(query.values(version=version + 1, **values)).rowcount:
                    return None
            append(conn, record)
            return _layout(conn.execute(_layouts().where(layouts.c.id == layout.id)).one())

        return await self._db.write(work)

    async def remove_layout(self, layout_id: UUID, *, record: Happening) -> bool:
        def work(conn: Connection) -> bool:
            if not conn.execute(delete(layouts).where(layouts.c.id == layout_id)).rowcount:
                return False
            append(conn, record)
            return True

        return await self._db.write(work)


def user_of(row: Row[Any]) -> User:
    return User(**{name: getattr(row, name) for name in _USER})


def grants_of(conn: Connection, where: Any) -> list[StoredGrant]:
    query = (
        select(grants, users.c.id.label("user_id"), cameras.c.id.label("camera_id"))
        .join_from(grants, users)
        .outerjoin(cameras, cameras.c.key == grants.c.camera_key)
        .where(where)
        .order_by(grants.c.key)
    )
    return [
        StoredGrant(
            row.id, row.user_id, row.role, row.scope, row.camera_group, row.camera_id, row.expires_ns, row.back_ns,
            row.created_ns, row.created_by,
        )
        for row in conn.execute(query)
    ]  # fmt: skip


def require_holder(conn: Connection, role: str) -> None:
    """UserError unless somebody who may sign in holds `role` for all cameras, and without an end."""
    query = (
        select(grants.c.key)
        .join_from(grants, users)
        .where(grants.c.role == role, grants.c.scope == "all", users.c.removed_ns.is_(None))
        .where(users.c.disabled_ns.is_(None), grants.c.expires_ns.is_(None))
        .limit(1)
    )
    if conn.scalar(query) is None:
        raise UserError(say("last_holder", role=role))


def _find(conn: Connection, where: Any) -> Row[Any] | None:
    return conn.execute(select(users).where(where, users.c.removed_ns.is_(None))).one_or_none()


def _end_logins(conn: Connection, user_key: int, keep_session: UUID | None) -> None:
    ended = delete(sessions).where(sessions.c.user_key == user_key)
    conn.execute(ended if keep_session is None else ended.where(sessions.c.id != keep_session))
    conn.execute(delete(api_tokens).where(api_tokens.c.user_key == user_key))


def _grant_values(conn: Connection, grant: StoredGrant, user_key: int) -> dict[str, Any]:
    camera_key = None
    if grant.camera_id is not None:
        camera_key = conn.scalar(select(cameras.c.key).where(cameras.c.id == grant.camera_id))
        if camera_key is None:
            raise UserError(say("camera_gone"))
    return {
        "id": grant.id, "user_key": user_key, "role": grant.role, "scope": grant.scope,
        "camera_group": grant.camera_group, "camera_key": camera_key, "expires_ns": grant.expires_ns,
        "back_ns": grant.back_ns, "created_ns": grant.created_ns, "created_by": grant.created_by,
    }  # fmt: skip


def _layouts() -> Any:
    return select(layouts, users.c.id.label("user_id")).join_from(layouts, users)


def _layout(row: Row[Any]) -> StoredLayout:
    return StoredLayout(
        row.id, row.user_id, row.name, row.shared, row.version, row.author, row.body, row.updated_ns
    )  # fmt: skip
