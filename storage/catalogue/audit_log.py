"""The audit log: entries that are only ever appended, and the Merkle tree over them (RFC 6962).

Owns reading, proofs and verification; how an entry is written is `storage.catalogue.audit_append`'s. An entry's number is its
leaf's position, from 0, without a hole. Nothing here changes or removes an entry; that somebody else did is what
`verify_audit` finds. Signing and reading permission are `web.identity`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, delete, insert, select

from storage.catalogue.audit_append import STORED_LEVELS, Happening, append, leaf_input, unpack
from storage.catalogue.engine import Database
from storage.catalogue.logins import put_live_view
from storage.catalogue.people_values import AuditEntry, LiveView, StoredCheckpoint
from storage.catalogue.tables_people import (
    audit_checkpoints,
    audit_entries,
    audit_head,
    audit_nodes,
    live_views,
    users,
)
from vms.errors import CatalogueError
from vms.merkle import Frontier, consistency_path, frontier_of, inclusion_path, leaf_hash, node_hash

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class LogHead:
    """How long the log is and the head of its tree."""

    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Verified:
    """What `verify` found. `problem` empty: every entry is there as it was written."""

    size: int
    root: bytes
    checkpoints: int
    problem: str = ""


class AuditLog:
    """Entries, their tree, its signed heads; and live views, whose beginning and end are entries."""

    _db: Database

    async def audit(self, *happenings: Happening) -> list[AuditEntry]:
        """Put on record, in this order and all or none."""
        return await self._db.write(lambda conn: [append(conn, h) for h in happenings])

    async def begin_live_view(self, view: LiveView, happening: Happening) -> None:
        """Note a view and put it on record, both or neither. CatalogueError when viewer or camera is gone."""

        def work(conn: Connection) -> None:
            put_live_view(conn, view)
            append(conn, happening)

        await self._db.write(work)

    async def end_live_views(self, ends: Mapping[UUID, Happening]) -> int:
        """Forget these views and put the end of each on record, all at once; how many there were, for others have none."""

        def work(conn: Connection) -> int:
            ended = 0
            for view_id, happening in ends.items():
                if conn.execute(delete(live_views).where(live_views.c.id == view_id)).rowcount:
                    append(conn, happening)
                    ended += 1
            return ended

        return await self._db.write(work)

    async def audit_entries(
        self,
        *,
        before: int | None = None,
        limit: int = 100,
        user: str = "",
        user_id: UUID | None = None,
        act: str = "",
        camera_id: UUID | None = None,
    ) -> list[AuditEntry]:
        """Entries from the newest on, those with numbers below `before`, by user, act and camera.

        `user` is a name, without regard to case where it is a user's; who removed users were tells `user_id`.
        """

        def work(conn: Connection) -> list[AuditEntry]:
            query = select(audit_entries).order_by(audit_entries.c.number.desc()).limit(limit)
            if before is not None:
                query = query.where(audit_entries.c.number < before)
            if user:
                of_users = conn.scalars(select(users.c.name).where(users.c.name_folded == user.casefold()))
                query = query.where(audit_entries.c.user_name.in_({user, *of_users}))
            if user_id is not None:  # a user keeps the name for ever, and there is an index of names
                name = select(users.c.name).where(users.c.id == user_id).scalar_subquery()
                query = query.where(audit_entries.c.user_name == name, audit_entries.c.user_id == user_id)
            if act:
                query = query.where(audit_entries.c.act == act)
            if camera_id is not None:
                query = query.where(audit_entries.c.camera_id == camera_id)
            return [_entry(row) for row in conn.execute(query)]

        return await self._db.read(work)

    async def audit_from(self, number: int, limit: int = _PAGE) -> list[AuditEntry]:
        """Entries in order, from this one on."""

        def work(conn: Connection) -> list[AuditEntry]:
            query = select(audit_entries).where(audit_entries.c.number >= number).order_by(audit_entries.c.number)
            return [_entry(row) for row in conn.execute(query.limit(limit))]

        return await self._db.read(work)

    async def audit_head(self) -> LogHead:
        def work(conn: Connection) -> LogHead:
            found = _frontier(conn)
            return LogHead(found.size, found.root())

        return await self._db.read(work)

    async def audit_inclusion(self, number: int, size: int) -> tuple[AuditEntry, LogHead, list[bytes]]:
        """The entry, the head at `size`, and the path between them. ValueError for numbers the log does not have."""

        def work(conn: Connection) -> tuple[AuditEntry, LogHead, list[bytes]]:
            _require_size(conn, size)
            node = _nodes(conn)
            path = inclusion_path(number, size, node)
            row = conn.execute(select(audit_entries).where(audit_entries.c.number == number)).one_or_none()
            if row is None:
                raise CatalogueError(f"entry {number} of the audit log is gone")
            return _entry(row), LogHead(size, frontier_of(size, node).root()), path

        return await self._db.read(work)

    async def audit_consistency(self, first: int, size: int) -> tuple[LogHead, LogHead, list[bytes]]:
        """Both heads and the proof that the second grew from the first. ValueError for sizes the log never had."""

        def work(conn: Connection) -> tuple[LogHead, LogHead, list[bytes]]:
            _require_size(conn, size)
            node = _nodes(conn)
            path = consistency_path(first, size, node)
            heads = [LogHead(n, frontier_of(n, node).root()) for n in (first, size)]
            return heads[0], heads[1], path

        return await self._db.read(work)

    async def put_checkpoint(self, checkpoint: StoredCheckpoint) -> bool:
        """Keep a signed head. False: there is one of this size already, which stays."""

        def work(conn: Connection) -> bool:
            taken = conn.scalar(select(audit_checkpoints.c.size).where(audit_checkpoints.c.size == checkpoint.size))
            if taken is not None:
                return False
            conn.execute(
                insert(audit_checkpoints).values(
                    size=checkpoint.size, at_ns=checkpoint.at_ns, root=checkpoint.root, note=checkpoint.note
                )
            )
            return True

        return await self._db.write(work)

    async def checkpoints(self, *, last: int | None = None) -> list[StoredCheckpoint]:
        """Signed heads by size; the `last` so many if given."""

        def work(conn: Connection) -> list[StoredCheckpoint]:
            query = select(audit_checkpoints).order_by(audit_checkpoints.c.size.desc())
            found = conn.execute(query if last is None else query.limit(last)).all()
            return [StoredCheckpoint(row.size, row.at_ns, row.root, row.note) for row in reversed(found)]

        return await self._db.read(work)

    async def verify_audit(
        self, is_signed: Callable[[StoredCheckpoint], bool], witnessed: Sequence[StoredCheckpoint] = ()
    ) -> Verified:
        """Read the whole log and compare: numbers, leaves, tree, every signed head. The first difference is told.

        `witnessed`: heads that were kept elsewhere, where whoever owns this database could not change them.
        """
        heads = {
            c.size: c for c in (*await self.checkpoints(), *witnessed)
        }  # a witness is believed before the database
        tree, seen = Frontier(), 0
        while entries := await self.audit_from(tree.size):
            for entry in entries:
                if problem := _wrong(entry, tree.size):
                    return Verified(tree.size, tree.root(), seen, problem)
                tree, _ = tree.append(entry.leaf)
                head = heads.get(tree.size)
                if head is None:
                    continue
                seen += 1
                if head.root != tree.root():
                    return Verified(
                        tree.size, tree.root(), seen, f"the log is not the one signed at {head.size} entries"
                    )
                if not is_signed(head):
                    return Verified(tree.size, tree.root(), seen, f"the checkpoint at {head.size} entries is not ours")
        head_now = await self.audit_head()
        if cut := [size for size in heads if size > tree.size]:
            problem = f"the log was signed with {max(cut)} entries and has {tree.size}: its end was cut off"
        elif head_now.size < tree.size or (head_now.size == tree.size and head_now.root != tree.root()):
            problem = "the kept head of the tree is not that of the entries"
        elif head_now.size > tree.size and not await self.audit_from(tree.size, 1):
            problem = f"the log had {head_now.size} entries and has {tree.size}: its end was cut off"
        else:
            problem = ""
        return Verified(tree.size, tree.root(), seen, problem)


def _wrong(entry: AuditEntry, number: int) -> str:
    if entry.number != number:
        return f"entry {number} is gone: after {number - 1} comes {entry.number}"
    return "" if leaf_hash(leaf_input(entry)) == entry.leaf else f"entry {number} was changed after it was written"


def _frontier(conn: Connection) -> Frontier:
    head = conn.execute(select(audit_head).where(audit_head.c.key == 1)).one()
    return unpack(head.size, head.frontier)


def _require_size(conn: Connection, size: int) -> None:
    if size > (there := _frontier(conn).size):
        raise ValueError(f"the log has {there} entries, not {size}")


def _nodes(conn: Connection) -> Callable[[int, int], bytes]:
    """`node` of `vms.merkle` over the tables: from kept roots where there are some, else from those below."""
    known: dict[tuple[int, int], bytes] = {}

    def node(level: int, position: int) -> bytes:
        if (level, position) not in known:
            load(level, position)
        return known[level, position]

    def load(level: int, position: int) -> None:
        """Read the row of kept hashes right below (or at) this level, and join them."""
        base = level - level % STORED_LEVELS
        if base == level and level:
            where = (audit_nodes.c.level == level) & (audit_nodes.c.position == position)
            found = conn.scalar(select(audit_nodes.c.hash).where(where))
            if found is None:
                raise CatalogueError("a part of the audit log's tree is gone; run: vms audit verify")
            known[level, position] = found
            return
        first, count = position << (level - base), 1 << (level - base)
        if base:
            column = audit_nodes.c.position
            query = select(column, audit_nodes.c.hash).where(audit_nodes.c.level == base)
        else:
            column = audit_entries.c.number
            query = select(column, audit_entries.c.leaf)
        rows = conn.execute(query.where(column >= first, column < first + count).order_by(column)).all()
        if len(rows) != count:
            raise CatalogueError("a part of the audit log is gone; run: vms audit verify")
        hashes = [row[1] for row in rows]
        for i, value in enumerate(hashes):
            known[base, first + i] = value
        for step in range(base + 1, level + 1):
            hashes = [node_hash(hashes[i], hashes[i + 1]) for i in range(0, len(hashes), 2)]
            start = first >> (step - base)
            known.update({(step, start + i): value for i, value in enumerate(hashes)})

    return node


def _entry(row: Row[Any]) -> AuditEntry:
    return AuditEntry(
        row.number, row.at_ns, row.user_id, row.user_name, row.ip, row.act, row.object, row.camera_id, row.detail,
        row.purpose, row.leaf,
    )  # fmt: skip
