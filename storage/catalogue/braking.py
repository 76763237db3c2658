"""The brake on deletions as a row: engaged since when and by how much, and what a person confirmed.

Decides nothing (`storage.retention.brake` does); it only remembers, so that every process shows the same state.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, delete, select, update

from storage.catalogue.engine import Database, upsert
from storage.catalogue.tables import brake
from vms.errors import UserError


@dataclass(frozen=True, slots=True)
class BrakeState:
    """Deletion is stopped, or was until confirmed: `footage_ns` were to go in one day, `limit_ns` may."""

    engaged_ns: int
    footage_ns: int
    limit_ns: int
    confirmed_ns: int | None = None
    confirmed_by: str | None = None


class Braking:
    """The state of the brake."""

    _db: Database

    async def brake_state(self) -> BrakeState | None:
        """None: nothing stops deletion. With `confirmed_ns` set a person let it go on."""

        def work(conn: Connection) -> BrakeState | None:
            row = conn.execute(select(brake)).one_or_none()
            if row is None:
                return None
            return BrakeState(row.engaged_ns, row.footage_ns, row.limit_ns, row.confirmed_ns, row.confirmed_by)

        return await self._db.read(work)

    async def engage_brake(self, *, at_ns: int, footage_ns: int, limit_ns: int) -> None:
        """Note that a plan was stopped. Engaging again renews the figures, keeps since when, and asks anew."""

        def work(conn: Connection) -> None:
            figures = {"footage_ns": footage_ns, "limit_ns": limit_ns, "confirmed_ns": None, "confirmed_by": None}
            statement = upsert(conn, brake).values(key=1, engaged_ns=at_ns, **figures)
            conn.execute(statement.on_conflict_do_update(index_elements=["key"], set_=figures))

        await self._db.write(work)

    async def confirm_brake(self, *, at_ns: int, by: str, footage_ns: int | None = None) -> BrakeState:
        """Allow the amount that was shown. Raises UserError if the brake is not engaged or nobody is named.

        `footage_ns`: what the person was shown; refused when it has become another amount meanwhile.
        """
        if not by.strip():
            raise UserError("say who confirms the deletion")

        def work(conn: Connection) -> BrakeState:
            shown = select(brake.c.footage_ns).with_for_update()
            amount = conn.scalar(shown)
            if None not in (amount, footage_ns) and amount != footage_ns:
                raise UserError("the amount has changed meanwhile; nothing was confirmed, look again")
            row = conn.execute(update(brake).values(confirmed_ns=at_ns, confirmed_by=by).returning(brake)).one_or_none()
            if row is None:
                raise UserError("nothing stops deletion; there is nothing to confirm")
            return BrakeState(row.engaged_ns, row.footage_ns, row.limit_ns, row.confirmed_ns, row.confirmed_by)

        return await self._db.write(work)

    async def release_brake(self) -> None:
        """Forget the brake: the plan is within its limits again, or the confirmed one was carried out."""

        def work(conn: Connection) -> None:
            conn.execute(delete(brake))

        await self._db.write(work)
