"""The registry: legal profiles, cameras with their history, streams, and since when each stream is expected to record.

Owns the rules: a camera has a profile, numbers are unique among cameras in service, removing retires (footage stays),
every change is a dated fact, and expectations follow `enabled`, `record` and retirement. Usernames and passwords are
kept only as blobs of a `Sealer`; they never reach history, messages or plain columns. Knows no settings and no clock:
callers say when.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from sqlalchemy import Connection, Row, func, insert, select, update

from storage.catalogue import expectations
from storage.catalogue.audit_append import Happening, append
from storage.catalogue.engine import Database
from storage.catalogue.finding import find_camera
from storage.catalogue.locks import holds_of_stream, lock_cameras
from storage.catalogue.tables import camera_history, cameras, legal_profiles, streams
from storage.catalogue.values import CameraStream, HistoryEntry, HistoryKind, StreamAbout
from vms.errors import CatalogueError, ChangedMeanwhile, UserError
from vms.model import Camera, LegalProfile, SourceKind, Stream, StreamKind

DEFAULT_PROFILE_NAME = "City guard (default)"
DEFAULT_PROFILE_BASIS = "Ustawa o strażach gminnych, art. 11 ust. 2-3; Dz.U. 2009 nr 220 poz. 1720"
DEFAULT_PROFILE_DAYS = 30  # the city guard's regulation allows 20 to 60

_PLAIN = (
    "number",
    "name",
    "profile_id",
    "enabled",
    "source",
    "transport",
    "street",
    "lat",
    "lon",
    "azimuth_deg",
    "angle_deg",
    "trust_clock",
    "certificate_pin",
)  # fmt: skip - columns that carry a field of the same name
_KINDS = {
    HistoryKind.RENAMED: {"name"},
    HistoryKind.RENUMBERED: {"number"},
    HistoryKind.MOVED: {"street", "lat", "lon", "azimuth_deg", "angle_deg"},
    HistoryKind.PROFILE: {"profile_id"},
    HistoryKind.READDRESSED: {"url"},
}

MEANWHILE = "somebody changed the camera meanwhile; look again"


class Sealer(Protocol):
    """Seals small secrets; `context` says what is sealed and must be the same when it is opened (`vms.sealing`)."""

    def seal(self, plain: bytes, context: str) -> bytes: ...

    def unseal(self, sealed: bytes, context: str) -> bytes: ...


class Registry:
    """Cameras and what belongs to them. Without a `Sealer`, cameras come without username and password."""

    _db: Database
    _sealer: Sealer | None

    async def default_profile(self) -> LegalProfile:
        """The site's default legal profile, created on first use."""
        return await self._db.write(_default_profile)

    async def put_profile(self, profile: LegalProfile) -> LegalProfile:
        """Create or change a profile. Raises UserError for a name already taken or days below 1."""
        if profile.days < 1 or not profile.name.strip():
            raise UserError("a legal profile needs a name and a retention of at least one day")
        values = {"name": profile.name, "basis": profile.basis, "days": profile.days, "audio": profile.audio}

        def work(conn: Connection) -> LegalProfile:
            taken = conn.scalar(select(legal_profiles.c.id).where(legal_profiles.c.name == profile.name))
            if taken not in (None, profile.id):
                raise UserError(f"there is already a legal profile named {profile.name!r}; choose another name")
            changed = conn.execute(update(legal_profiles).where(legal_profiles.c.id == profile.id).values(values))
            if not changed.rowcount:
                conn.execute(insert(legal_profiles).values(id=profile.id, **values))
            return profile

        return await self._db.write(work)

    async def profiles(self) -> list[LegalProfile]:
        """Every legal profile by name."""

        def work(conn: Connection) -> list[LegalProfile]:
            rows = conn.execute(select(legal_profiles).order_by(legal_profiles.c.name))
            return [_profile(row) for row in rows]

        return await self._db.read(work)

    async def add_camera(self, camera: Camera, *, at_ns: int, by: str = "", record: Happening | None = None) -> Camera:
        """Add a camera; `record` is put into the audit log with it, both or neither. Raises UserError if its number, id or a stream's id is taken or the profile is unknown."""
        _check(camera)

        def work(conn: Connection) -> Camera:
            _check_profile(conn, camera.profile_id)
            _check_number(conn, camera)
            if conn.scalar(select(cameras.c.key).where(cameras.c.id == camera.id)) is not None:
                raise UserError(f"camera {camera.name!r} is already registered")
            values = self._columns(camera)
            key = conn.execute(insert(cameras).values(values).returning(cameras.c.key)).scalar_one()
            _put_streams(conn, key, camera, {}, at_ns)
            _note(conn, key, at_ns, HistoryKind.ADDED, changes={"name": ("", camera.name)}, by=by)
            if record is not None:
                append(conn, record)
            return camera

        return await self._db.write(work)

    async def update_camera(
        self,
        camera: Camera,
        *,
        at_ns: int,
        by: str = "",
        replaced: bool = False,
        version: int | None = None,
        record: Callable[[Camera], Happening] | None = None,
    ) -> Camera:
        """Make the camera with this id as given. Streams left out are retired. `replaced`: it is another device now.
        `record` makes of the camera as it was what is put into the audit log, both or neither.

        Raises UserError for an unknown or retired camera, a taken number or an unknown profile, and ChangedMeanwhile
        when it is no longer of the `version` that `camera_and_version` gave.
        """
        _check(camera)

        def work(conn: Connection) -> Camera:
            key = _key_of(conn, camera.id)
            lock_cameras(conn, [key])
            if version is not None and _version(conn, key) != version:
                raise ChangedMeanwhile(MEANWHILE)
            before = self._load(conn, cameras.c.key == key)[0]
            if before.retired_ns is not None:
                raise UserError(f"camera {before.name!r} is retired; add it again as a new camera")
            _check_profile(conn, camera.profile_id)
            _check_number(conn, camera)
            conn.execute(update(cameras).where(cameras.c.key == key).values(self._columns(camera)))
            _put_streams(conn, key, camera, {s.id: s for s in before.streams}, at_ns)
            for kind, changes in _differences(before, camera, sealed=self._sealer is not None):
                _note(conn, key, at_ns, kind, changes=changes, by=by)
            if replaced:
                _note(conn, key, at_ns, HistoryKind.REPLACED, by=by)
            if record is not None:
                append(conn, record(before))
            return camera

        return await self._db.write(work)

    async def retire_camera(
        self, camera_id: UUID, *, at_ns: int, by: str = "", version: int | None = None, record: Happening | None = None
    ) -> Camera:
        """Take a camera out of service. Its number is free again, its footage and history stay. May be repeated; `record`
        is put into the audit log the first time. Raises ChangedMeanwhile when it is in service and no longer of `version`."""

        def work(conn: Connection) -> Camera:
            key = _key_of(conn, camera_id)
            lock_cameras(conn, [key])
            before = self._load(conn, cameras.c.key == key)[0]
            if before.retired_ns is not None:
                return before
            if version is not None and _version(conn, key) != version:
                raise ChangedMeanwhile(MEANWHILE)
            conn.execute(update(cameras).where(cameras.c.key == key).values(retired_ns=at_ns))
            for stream_key in conn.scalars(select(streams.c.key).where(streams.c.camera_key == key)):
                expectations.follow(conn, stream_key, at_ns, recording=False)
            _note(conn, key, at_ns, HistoryKind.RETIRED, by=by)
            if record is not None:
                append(conn, record)
            return replace(before, retired_ns=at_ns)

        return await self._db.write(work)

    async def cameras(self, *, include_retired: bool = False) -> list[Camera]:
        """Cameras by number; retired ones last, by retirement."""

        def work(conn: Connection) -> list[Camera]:
            return self._load(conn, None if include_retired else cameras.c.retired_ns.is_(None))

        return await self._db.read(work)

    async def camera(self, camera_id: UUID) -> Camera:
        """The camera with this id, retired or not. Raises UserError if there is none."""

        def work(conn: Connection) -> Camera:
            found = self._load(conn, cameras.c.id == camera_id)
            if not found:
                raise UserError(f"there is no camera with the id {camera_id}")
            return found[0]

        return await self._db.read(work)

    async def camera_and_version(self, camera_id: UUID) -> tuple[Camera, int] | None:
        """The camera with this id, retired or not, and a number that grows with every change of it."""

        def work(conn: Connection) -> tuple[Camera, int] | None:
            key = conn.scalar(select(cameras.c.key).where(cameras.c.id == camera_id))
            return None if key is None else (self._load(conn, cameras.c.key == key)[0], _version(conn, key))

        return await self._db.read(work)

    async def find(self, text: str, *, include_retired: bool = False) -> Camera:
        """The camera a person means by number, id or name. Raises UserError for none or several, with candidates."""
        return find_camera(await self.cameras(include_retired=include_retired), text)

    async def camera_streams(self, *, recorded_only: bool = False) -> list[CameraStream]:
        """Every stream ever registered and its camera; with `recorded_only` those now to be recorded."""

        def work(conn: Connection) -> list[CameraStream]:
            query = select(streams.c.id, cameras.c.id.label("camera_id"), streams.c.kind).join_from(streams, cameras)
            if recorded_only:
                query = query.where(streams.c.record, streams.c.retired_ns.is_(None), cameras.c.retired_ns.is_(None))
            rows = conn.execute(query.order_by(streams.c.key))
            return [CameraStream(row.id, row.camera_id, StreamKind(row.kind)) for row in rows]

        return await self._db.read(work)

    async def stream_about(self, stream_id: UUID) -> StreamAbout | None:
        """What is registered about a stream, for its journals; no username or password. None: it is not registered."""

        def work(conn: Connection) -> StreamAbout | None:
            row = conn.execute(select(streams).where(streams.c.id == stream_id)).one_or_none()
            if row is None:
                return None
            found = self._load(conn, cameras.c.key == row.camera_key)[0]
            camera = replace(found, username="", password="", streams=())
            others = tuple(s for s in found.streams if s.id != stream_id)
            profile = conn.execute(select(legal_profiles).where(legal_profiles.c.id == camera.profile_id)).one()
            stream = Stream(row.id, camera.id, StreamKind(row.kind), row.url, row.record and row.retired_ns is None)
            wanted = expectations.of_stream(conn, row.key, stream_id)
            held = holds_of_stream(conn, row.key, stream_id)
            return StreamAbout(camera, stream, _profile(profile), wanted, held, row.retired_ns, others)

        return await self._db.read(work)

    async def registry_version(self) -> tuple[int, int]:
        """Differs whenever a camera was changed: how many changes are on record, and the last of them."""

        def work(conn: Connection) -> tuple[int, int]:
            row = conn.execute(select(func.count(camera_history.c.key), func.max(camera_history.c.key))).one()
            return row[0], row[1] or 0

        return await self._db.read(work)

    async def next_number(self) -> int:
        """The lowest number above those of all cameras in service."""

        def work(conn: Connection) -> int:
            return (conn.scalar(select(func.max(cameras.c.number)).where(cameras.c.retired_ns.is_(None))) or 0) + 1

        return await self._db.read(work)

    async def history(self, camera_id: UUID) -> list[HistoryEntry]:
        """What happened to a camera, oldest first."""

        def work(conn: Connection) -> list[HistoryEntry]:
            key = _key_of(conn, camera_id)
            rows = conn.execute(
                select(camera_history)
                .where(camera_history.c.camera_key == key)
                .order_by(camera_history.c.at_ns, camera_history.c.key)
            )
            return [
                HistoryEntry(
                    camera_id,
                    row.at_ns,
                    HistoryKind(row.kind),
                    {field: (old, new) for field, (old, new) in json.loads(row.changes).items()},
                    row.by,
                )
                for row in rows
            ]

        return await self._db.read(work)

    def _columns(self, camera: Camera) -> dict[str, Any]:
        values: dict[str, Any] = {name: getattr(camera, name) for name in _PLAIN}
        values |= {"id": camera.id, "source": camera.source.value, "camera_group": camera.group, "retired_ns": None}
        if self._sealer is not None:
            values["username_sealed"] = self._seal(camera, "username")
            values["password_sealed"] = self._seal(camera, "password")
        elif camera.username or camera.password:
            raise CatalogueError("the catalogue was opened without the site's key and cannot keep a camera's password")
        return values

    def _seal(self, camera: Camera, field: str) -> bytes | None:
        plain: str = getattr(camera, field)
        assert self._sealer is not None
        return self._sealer.seal(plain.encode(), f"camera {field} {camera.id}") if plain else None

    def _unseal(self, camera_id: UUID, field: str, sealed: bytes | None) -> str:
        if sealed is None or self._sealer is None:
            return ""
        return self._sealer.unseal(sealed, f"camera {field} {camera_id}").decode()

    def _load(self, conn: Connection, where: Any) -> list[Camera]:
        query = select(cameras).order_by(cameras.c.retired_ns.is_not(None), cameras.c.retired_ns, cameras.c.number)
        feeds = (
            select(streams, cameras.c.id.label("camera_id"))
            .join_from(streams, cameras)
            .where(streams.c.retired_ns.is_(None))
            .order_by(streams.c.position, streams.c.key)
        )
        if where is not None:
            query, feeds = query.where(where), feeds.where(where)
        of: dict[int, list[Stream]] = {}
        for row in conn.execute(feeds):
            stream = Stream(row.id, row.camera_id, StreamKind(row.kind), row.url, row.record)
            of.setdefault(row.camera_key, []).append(stream)
        found = []
        for row in conn.execute(query):
            fields = {name: getattr(row, name) for name in _PLAIN} | {"source": SourceKind(row.source)}
            found.append(
                Camera(
                    id=row.id,
                    streams=tuple(of.get(row.key, ())),
                    group=row.camera_group,
                    username=self._unseal(row.id, "username", row.username_sealed),
                    password=self._unseal(row.id, "password", row.password_sealed),
                    retired_ns=row.retired_ns,
                    **fields,
                )
            )
        return found


def _profile(row: Row[Any]) -> LegalProfile:
    return LegalProfile(row.id, row.name, row.basis, row.days, row.audio)


def _default_profile(conn: Connection) -> LegalProfile:
    row = conn.execute(select(legal_profiles).where(legal_profiles.c.name == DEFAULT_PROFILE_NAME)).one_or_none()
    if row is not None:
        return _profile(row)
    profile = LegalProfile(uuid4(), DEFAULT_PROFILE_NAME, DEFAULT_PROFILE_BASIS, DEFAULT_PROFILE_DAYS)
    values = {"id": profile.id, "name": profile.name, "basis": profile.basis, "days": profile.days, "audio": False}
    conn.execute(insert(legal_profiles).values(values))
    return profile


def _check(camera: Camera) -> None:
    if camera.number < 1:
        raise UserError(f"a camera's number is 1 or more, not {camera.number}")
    if not camera.name.strip():
        raise UserError("a camera needs a name")
    if camera.retired_ns is not None:
        raise UserError(f"camera {camera.name!r} is retired; remove it instead of editing it so")
    for stream in camera.streams:
        if "@" in urlsplit(stream.url).netloc:
            raise UserError(f"camera {camera.name!r}: give username and password apart from the URL, not inside it")
        if stream.camera_id != camera.id:
            raise CatalogueError(f"stream {stream.id} belongs to another camera")


def _check_profile(conn: Connection, profile_id: UUID) -> None:
    if conn.scalar(select(legal_profiles.c.id).where(legal_profiles.c.id == profile_id)) is None:
        raise UserError("this legal profile does not exist; a camera cannot record without one")


def _check_number(conn: Connection, camera: Camera) -> None:
    other = conn.execute(
        select(cameras.c.id, cameras.c.name).where(
            cameras.c.number == camera.number, cameras.c.retired_ns.is_(None), cameras.c.id != camera.id
        )
    ).first()
    if other is not None:
        raise UserError(f"number {camera.number} belongs to camera {other.name!r}; choose another number")


def _version(conn: Connection, key: int) -> int:
    return conn.scalar(select(func.max(camera_history.c.key)).where(camera_history.c.camera_key == key)) or 0


def _key_of(conn: Connection, camera_id: UUID) -> int:
    key: int | None = conn.scalar(select(cameras.c.key).where(cameras.c.id == camera_id))
    if key is None:
        raise UserError(f"there is no camera with the id {camera_id}")
    return key


def _put_streams(conn: Connection, camera_key: int, camera: Camera, before: dict[UUID, Stream], at_ns: int) -> None:
    kept = {stream.id for stream in camera.streams}
    for gone in before.keys() - kept:
        key = conn.execute(
            update(streams).where(streams.c.id == gone).values(retired_ns=at_ns).returning(streams.c.key)
        ).scalar_one()
        expectations.follow(conn, key, at_ns, recording=False)
    for position, stream in enumerate(camera.streams):
        values = {"kind": stream.kind.value, "url": stream.url, "record": stream.record, "position": position}
        known = conn.execute(select(streams.c.key, streams.c.camera_key).where(streams.c.id == stream.id)).one_or_none()
        if known is None:
            row = insert(streams).values(id=stream.id, camera_key=camera_key, **values).returning(streams.c.key)
            key = conn.execute(row).scalar_one()
        elif known.camera_key != camera_key:
            raise UserError(f"stream {stream.id} is already registered with another camera")
        else:
            key = known.key
            conn.execute(update(streams).where(streams.c.key == key).values(retired_ns=None, **values))
        expectations.follow(conn, key, at_ns, recording=stream.record, enabled=camera.enabled)


def _note(
    conn: Connection,
    key: int,
    at_ns: int,
    kind: HistoryKind,
    *,
    by: str,
    changes: dict[str, tuple[str, str]] | None = None,
) -> None:
    text = json.dumps(changes or {}, ensure_ascii=False, sort_keys=True)
    conn.execute(insert(camera_history).values(camera_key=key, at_ns=at_ns, kind=kind.value, changes=text, by=by))


def _differences(
    before: Camera, after: Camera, *, sealed: bool
) -> list[tuple[HistoryKind, dict[str, tuple[str, str]]]]:
    """What changed, one entry per kind of change. Secrets are only said to have changed."""
    changed: dict[str, tuple[str, str]] = {
        name: (_text(getattr(before, name)), _text(getattr(after, name)))
        for name in (*_PLAIN, "group")
        if getattr(before, name) != getattr(after, name)
    }
    if before.streams != after.streams:
        urls = tuple(" ".join(s.url for s in camera.streams) for camera in (before, after))
        kinds = tuple(
            " ".join(f"{s.kind}{'' if s.record else '-'}" for s in camera.streams) for camera in (before, after)
        )
        if urls[0] != urls[1]:
            changed["url"] = (urls[0], urls[1])
        if kinds[0] != kinds[1]:
            changed["streams"] = (kinds[0], kinds[1])
    if sealed and (before.username, before.password) != (after.username, after.password):
        changed["credentials"] = ("", "changed")
    entries: list[tuple[HistoryKind, dict[str, tuple[str, str]]]] = []
    if changed.pop("enabled", None):
        entries.append((HistoryKind.ENABLED if after.enabled else HistoryKind.DISABLED, {}))
    for kind, fields in _KINDS.items():
        if of_kind := {name: changed.pop(name) for name in fields & changed.keys()}:
            entries.append((kind, of_kind))
    if changed:
        entries.append((HistoryKind.CHANGED, changed))
    return entries


def _text(value: object) -> str:
    return "" if value is None else str(value)
