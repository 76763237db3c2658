"""Bringing back what journals state beyond footage: cameras with their profiles, streams, expectations and holds; and
the deletion report.

Invariants: every call may be repeated; nothing is taken away that the catalogue knew better, but for what is given
here; two cameras in service never share a number; passwords already there stay. Locks nothing: a rebuild has the
registry to itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import Connection, delete, exists, func, insert, select, update

from storage import retention
from storage.catalogue import rows
from storage.catalogue.deletions import add_to_day
from storage.catalogue.engine import Database, upsert
from storage.catalogue.facts import insert_gap
from storage.catalogue.registry import Sealer
from storage.catalogue.tables import (
    camera_history,
    cameras,
    deletions,
    expectations,
    gaps,
    hold_streams,
    holds,
    legal_profiles,
    segments,
    streams,
)
from storage.catalogue.values import DeletedSegment, HistoryKind, Hold, StreamAbout
from vms.model import Camera, Gap, GapReason, LegalProfile, StreamKind
from vms.timeline import TimeRange, merge

BY = "vms rebuild"
_BATCH = 500
_POSITIONS = {StreamKind.MAIN: 0, StreamKind.SUB: 1, StreamKind.AUDIO: 2}
_PLAIN = ("name", "enabled", "transport", "street", "lat", "lon", "azimuth_deg", "angle_deg", "trust_clock",
          "certificate_pin", "retired_ns")  # fmt: skip


class Restoring:
    """Registry and deletion reports, as they were stated elsewhere."""

    _db: Database
    _sealer: Sealer | None

    async def bring_back(self, abouts: Sequence[StreamAbout], *, at_ns: int) -> dict[UUID, tuple[int, int]]:
        """Make the registry say of these streams what was stated of them; of two statements the later in order counts.

        Returns camera → (number it had, number it has now), of those whose number another camera in service has: the
        one stated later keeps it.
        """
        return await self._db.write(partial(_bring_back, abouts=abouts, at_ns=at_ns))

    async def expect_what_was_found(self, since_ns: int) -> None:
        """Let streams be expected to have recorded from their first footage or gap on, where that is older than all that
        is known of what was expected of them, or nothing is.

        `since_ns`: when the rebuild began. An expectation that begins then was made up by it: nobody stated another. May
        be repeated.
        """
        await self._db.write(partial(_expect_what_was_found, since_ns=since_ns))

    async def restore_passwords(self, known: Mapping[UUID, tuple[str, str]]) -> int:
        """Camera → user name and password, for cameras that have none. Returns how many took them."""

        def work(conn: Connection) -> int:
            taken = 0
            for camera_id, (username, password) in known.items():
                bare = (cameras.c.username_sealed.is_(None), cameras.c.password_sealed.is_(None))
                values = {
                    f"{name}_sealed": sealer.seal(text.encode(), f"camera {name} {camera_id}") if text else None
                    for name, text in (("username", username), ("password", password))
                }
                if any(values.values()):
                    found = conn.execute(update(cameras).where(cameras.c.id == camera_id, *bare).values(values))
                    taken += found.rowcount
            return taken

        if self._sealer is None:
            return 0
        sealer = self._sealer
        return await self._db.write(work)

    async def restore_deletions(self, lines: Sequence[DeletedSegment]) -> int:
        """Note what was deleted, with its gaps. What is registered is left alone. Returns how many lines were new.

        Raises CatalogueError for a stream that is not registered; lines of runs nobody knows are left out.
        """
        noted = 0
        for start in range(0, len(lines), _BATCH):
            noted += await self._db.write(partial(_restore_deletions, lines=lines[start : start + _BATCH]))
        return noted


def _expect_what_was_found(conn: Connection, *, since_ns: int) -> None:
    mine = expectations.c.stream_key == streams.c.key
    first_row = select(func.min(expectations.c.from_ns)).where(mine).scalar_subquery()
    for key, from_ns in conn.execute(select(streams.c.key, first_row)).all():
        if from_ns is not None and from_ns < since_ns:
            continue
        ends = [
            conn.execute(
                select(func.min(table.c.start_ns), func.max(table.c.end_ns)).where(table.c.stream_key == key)
            ).one()
            for table in (segments, gaps)
        ]
        begins = [start for start, _ in ends if start is not None]
        if not begins or min(begins) >= since_ns:
            continue
        to_ns = from_ns if from_ns is not None else max(end for _, end in ends if end is not None)
        if to_ns > min(begins):
            values = {"stream_key": key, "from_ns": min(begins), "to_ns": to_ns, "suspended": None}
            conn.execute(insert(expectations).values(values))


def _bring_back(conn: Connection, *, abouts: Sequence[StreamAbout], at_ns: int) -> dict[UUID, tuple[int, int]]:
    for profile in {about.profile.id: about.profile for about in abouts}.values():
        _put_profile(conn, profile)
    latest = {about.camera.id: about.camera for about in abouts}
    order = list(dict.fromkeys(about.camera.id for about in reversed(abouts)))
    keys = {camera_id: _put_camera(conn, latest[camera_id], place, at_ns) for place, camera_id in enumerate(order, 1)}
    moved = _number(conn, [(keys[camera_id], latest[camera_id]) for camera_id in order])
    known: dict[UUID, list[tuple[int, Hold]]] = {}
    named = {about.stream.id for about in abouts}
    for about in abouts:
        for other in about.others:
            if other.id not in named:
                _put_stream(conn, StreamAbout(about.camera, other, about.profile), keys[about.camera.id])
        key = _put_stream(conn, about, keys[about.camera.id])
        for hold in about.holds:
            known.setdefault(hold.id, []).append((key, hold))
    for said in known.values():
        _put_hold(conn, said)
    return moved


def _put_profile(conn: Connection, profile: LegalProfile) -> None:
    """A profile of another id but that name gives way while no camera has it; else the newcomer's name says more."""
    name = profile.name
    other = conn.scalar(
        select(legal_profiles.c.id).where(legal_profiles.c.name == name, legal_profiles.c.id != profile.id)
    )
    if other is not None:
        unused = ~exists(select(cameras.c.key).where(cameras.c.profile_id == other))
        if not conn.execute(delete(legal_profiles).where(legal_profiles.c.id == other, unused)).rowcount:
            name = f"{name} ({profile.id.hex[:8]})"
    values = {"name": name, "basis": profile.basis, "days": profile.days, "audio": profile.audio}
    if not conn.execute(update(legal_profiles).where(legal_profiles.c.id == profile.id).values(values)).rowcount:
        conn.execute(insert(legal_profiles).values(id=profile.id, **values))


def _put_camera(conn: Connection, camera: Camera, place: int, at_ns: int) -> int:
    """The camera's row, under a number that nobody has until `_number` gives it its own."""
    values: dict[str, Any] = {name: getattr(camera, name) for name in _PLAIN}
    values |= {"profile_id": camera.profile_id, "source": camera.source.value, "camera_group": camera.group}
    values["number"] = -place
    changed = update(cameras).where(cameras.c.id == camera.id).values(values).returning(cameras.c.key)
    key: int | None = conn.execute(changed).scalar_one_or_none()
    if key is not None:
        return key
    new: int = conn.execute(insert(cameras).values(id=camera.id, **values).returning(cameras.c.key)).scalar_one()
    note = {"at_ns": at_ns, "kind": HistoryKind.ADDED.value, "changes": "{}", "by": BY}
    conn.execute(insert(camera_history).values(camera_key=new, **note))
    return new


def _number(conn: Connection, ordered: Sequence[tuple[int, Camera]]) -> dict[UUID, tuple[int, int]]:
    """Give each camera its number, the first of those that want the same; the others get the next free ones."""
    in_service = select(cameras.c.number).where(cameras.c.retired_ns.is_(None), cameras.c.number > 0)
    taken = set(conn.scalars(in_service))
    moved: dict[UUID, tuple[int, int]] = {}
    clashing = []
    for key, camera in ordered:
        if camera.retired_ns is None and camera.number in taken:
            clashing.append((key, camera))
            continue
        if camera.retired_ns is None:
            taken.add(camera.number)
        conn.execute(update(cameras).where(cameras.c.key == key).values(number=camera.number))
    for key, camera in clashing:
        number = max(taken) + 1
        taken.add(number)
        moved[camera.id] = (camera.number, number)
        conn.execute(update(cameras).where(cameras.c.key == key).values(number=number))
    return moved


def _put_stream(conn: Connection, about: StreamAbout, camera_key: int) -> int:
    stream = about.stream
    values = {
        "camera_key": camera_key, "kind": stream.kind.value, "url": stream.url, "record": stream.record,
        "position": _POSITIONS[stream.kind], "retired_ns": about.retired_ns,
    }  # fmt: skip
    changed = update(streams).where(streams.c.id == stream.id).values(values).returning(streams.c.key)
    key: int | None = conn.execute(changed).scalar_one_or_none()
    if key is None:
        key = conn.execute(insert(streams).values(id=stream.id, **values).returning(streams.c.key)).scalar_one()
    assert key is not None
    if about.expectations:
        conn.execute(delete(expectations).where(expectations.c.stream_key == key))
        wanted = [
            {"stream_key": key, "from_ns": e.from_ns, "to_ns": e.to_ns, "suspended": e.suspended and e.suspended.value}
            for e in about.expectations
        ]
        conn.execute(insert(expectations), wanted)
    return key


def _put_hold(conn: Connection, said: Sequence[tuple[int, Hold]]) -> None:
    """One hold out of what each of its streams' journals states. A release is final, whoever heard of it."""
    hold = said[-1][1]
    released = next((one.released_ns for _, one in said if one.released_ns is not None), None)
    values = {
        "from_ns": hold.range.start_ns, "to_ns": hold.range.end_ns, "basis": hold.basis, "owner": hold.owner,
        "placed_ns": hold.placed_ns, "review_ns": hold.review_ns,
    }  # fmt: skip
    statement = upsert(conn, holds).values(id=hold.id, released_ns=released, **values)
    told = values | {"released_ns": func.coalesce(holds.c.released_ns, released)}
    conn.execute(statement.on_conflict_do_update(index_elements=["id"], set_=told))
    key = conn.scalar(select(holds.c.key).where(holds.c.id == hold.id))
    members = [{"hold_key": key, "stream_key": stream_key} for stream_key in {of for of, _ in said}]
    conn.execute(upsert(conn, hold_streams).on_conflict_do_nothing(), members)


def _restore_deletions(conn: Connection, *, lines: Sequence[DeletedSegment]) -> int:
    stream_keys = rows.stream_keys(conn, {line.stream_id for line in lines})
    run_keys = rows.run_keys(conn, {line.run_id for line in lines})
    named = {(run_keys[line.run_id][0], line.number): line for line in lines if line.run_id in run_keys}
    there: set[tuple[int, int]] = set()
    for table in (deletions, segments):
        query = select(table.c.run_key, table.c.number).where(rows.is_named(conn, table, named))
        there |= {(row.run_key, row.number) for row in conn.execute(query)}
    new = {name: line for name, line in named.items() if name not in there}
    if not new:
        return 0
    conn.execute(
        insert(deletions),
        [
            {
                "run_key": run_key, "number": number, "stream_key": stream_keys[line.stream_id][0],
                "start_ns": line.start_ns, "end_ns": line.end_ns, "size_bytes": line.size_bytes,
                "digest": line.digest, "seal": line.seal, "basis": line.basis, "condemned_ns": line.condemned_ns,
                "deleted_ns": line.deleted_ns, "day": retention.utc_day(line.deleted_ns),
            }
            for (run_key, number), line in new.items()
        ],
    )  # fmt: skip
    _note_what_is_gone(conn, list(new.values()), {stream: key for stream, (key, _) in stream_keys.items()})
    return len(new)


def _note_what_is_gone(conn: Connection, new: Sequence[DeletedSegment], keys: Mapping[UUID, int]) -> None:
    """The gaps `deleted`, and what the brake compares a day's plan with."""
    ranges: dict[tuple[UUID, str], list[TimeRange]] = {}
    moments: dict[int, list[DeletedSegment]] = {}
    for line in new:
        ranges.setdefault((line.stream_id, line.basis), []).append(TimeRange(line.start_ns, line.end_ns))
        moments.setdefault(line.condemned_ns, []).append(line)
    for (stream_id, basis), parts in ranges.items():
        for span in merge(parts):
            name = uuid5(stream_id, f"deleted {span.start_ns} {span.end_ns}")
            gap = Gap(name, stream_id, span.start_ns, span.end_ns, GapReason.DELETED, basis)
            insert_gap(conn, gap, keys[stream_id])
    for at_ns, of in moments.items():
        add_to_day(conn, of, at_ns)
