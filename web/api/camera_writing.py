"""Changing and testing cameras as the interface does it: the command line's own functions, with a caller's rights.

Owns how JSON fields become those of a camera, that a camera may not be moved to where the caller's rights do not reach, that
only rights over all cameras choose hosts for the recorder to knock at, and that a stored password, which nobody is ever shown,
goes to no other host than the one it was given for.
Every change is put on record with it, and writes the recorder's assignment anew (`storage.camera_registry`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

from storage.camera_registry import CameraRegistry, follow_legal_settings, refresh_assignment, refuse_lost
from vms.camera_url import CameraUrl, check_placeholders
from vms.cameras.camera_edit import (
    check_name,
    check_pin,
    check_text,
    hosts_of,
    likenesses,
    takes_password_along,
    with_stream_url,
)
from vms.errors import ChangedMeanwhile, UserError
from vms.model import Camera, LegalProfile, SourceKind, StreamKind
from vms.sentences import Sentence, say
from web.api import schemas
from web.api.parts import Parts, camera_for
from web.api.shapes import word_of
from web.api.watching import StreamNow
from web.identity.access import Act
from web.identity.callers import Caller
from web.identity.refusals import Code, Refusal, in_words, invalid, not_found, refused

TEST_SECONDS = 45.0
REMOVABLE = {"lat", "lon", "azimuth_deg", "angle_deg"}
Warnings = tuple[Sentence, ...]


@asynccontextmanager
async def writing(parts: Parts, caller: Caller) -> AsyncIterator[CameraRegistry]:
    """The registry for changes by this caller; afterwards the assignment says what the catalogue says."""
    await refuse_lost(parts.site, parts.catalogue)
    await follow_legal_settings(parts.catalogue, parts.site.settings.legal)
    registry = CameraRegistry(parts.site, parts.catalogue, by=caller.actor)
    try:
        yield registry
    finally:
        if registry.changed:
            await asyncio.shield(refresh_assignment(parts.site, parts.catalogue))
            await parts.watch.read_cameras()
            parts.views.wake()


async def add(parts: Parts, caller: Caller, wish: schemas.NewCamera) -> tuple[Camera, Warnings]:
    """A new camera, and what it is suspiciously like. Refusals INVALID, CONFLICT."""
    async with writing(parts, caller) as registry:
        profiles, default = await registry.profiles()
        number = wish.number or await registry.next_number()
        camera = _applied(Camera(uuid4(), number, wish.name, default.id, ()), wish, profiles)
        others = await registry.cameras()
        if any(c.number == camera.number for c in others):
            raise refused(Code.CONFLICT, say("number_taken", number=camera.number), field="number")
        await registry.add(camera)
        return camera, likenesses([*others, camera]).get(camera.id, ())


async def change(
    parts: Parts, caller: Caller, camera_id: UUID, wish: schemas.CameraChange, *, version: int
) -> Warnings:
    """Change a camera; what it is suspiciously like now. Refusals INVALID, CONFLICT, STALE, FORBIDDEN."""
    async with writing(parts, caller) as registry:
        cameras = await registry.cameras()
        before = next((c for c in cameras if c.id == camera_id), None)
        if before is None:
            raise not_found()
        profiles, _ = await registry.profiles()
        after = _applied(before, wish, profiles)
        if not caller.access(after).may(Act.MANAGE_CAMERAS):
            raise refused(Code.FORBIDDEN, say("group_out_of_reach"), field="group")
        _refuse_other_hosts(caller, before, after)
        if not _gives_password(wish) and takes_password_along(before, after):
            raise Refusal(Code.PASSWORD_NEEDED, field="password")
        others = [c for c in cameras if c.id != camera_id]
        if any(c.number == after.number for c in others):
            raise refused(Code.CONFLICT, say("number_taken", number=after.number), field="number")
        try:
            await registry.update(after, replaced=wish.replaced, version=version)
        except ChangedMeanwhile as error:
            raise Refusal(Code.STALE) from error
        return likenesses([*others, after]).get(camera_id, ())


async def retire(parts: Parts, caller: Caller, camera: Camera, *, version: int | None) -> None:
    """Out of service. May be repeated. Refusal STALE where it is no longer of this version."""
    async with writing(parts, caller) as registry:
        try:
            await registry.retire(camera, version=version)
        except ChangedMeanwhile as error:
            raise Refusal(Code.STALE) from error


async def test(parts: Parts, caller: Caller, wish: schemas.CameraTest) -> schemas.CameraTestReport:
    """What the streams send, through the recorder. Refusals NOT_FOUND, INVALID; the recorder away is a SourceError."""
    camera = await _tested(parts, caller, wish)
    streams = [s for s in camera.streams if s.kind is not StreamKind.AUDIO]
    if not streams:
        raise invalid("main_url", say("is_needed"))
    if any(CameraUrl.parse(s.url, SourceKind.LIBAV).scheme not in ("rtsp", "rtsps") for s in streams):
        raise invalid("main_url", say("only_rtsp_tested"))
    record = caller.actor.does("test_camera", parts.clock.wall_ns(), camera.name, streams=[s.url for s in streams])
    await parts.catalogue.audit(record)
    reports = await asyncio.gather(*(_stream_report(parts, camera, s.kind, s.url) for s in streams))
    return schemas.CameraTestReport(streams=list(reports))


async def _tested(parts: Parts, caller: Caller, wish: schemas.CameraTest) -> Camera:
    """The camera to test. Other hosts than those of one's cameras need rights over all, and get no password but a given one."""
    if wish.camera_id is None:
        if not caller.access(None).may(Act.MANAGE_CAMERAS):
            raise Refusal(Code.FORBIDDEN, "an address that is no camera's needs rights over all cameras")
        fields = schemas.CameraFields(**wish.model_dump(exclude={"camera_id", "certificate_pin"}))
        draft = Camera(uuid4(), 1, "a camera", uuid4(), (), **_wire(wish))
        return _with_streams(_with_login(draft, fields), fields)
    camera_for(parts, caller, wish.camera_id, Act.MANAGE_CAMERAS)
    found = await parts.catalogue.camera_and_version(wish.camera_id)
    if found is None:
        raise not_found()
    camera = found[0]
    fields = schemas.CameraFields(**wish.model_dump(exclude_unset=True, exclude={"camera_id", "certificate_pin"}))
    tried = replace(_with_streams(_with_login(camera, fields), fields), **_wire(wish))
    _refuse_other_hosts(caller, camera, tried)
    if not _gives_password(fields) and takes_password_along(camera, tried):
        tried = replace(tried, password="")
    return tried


def _refuse_other_hosts(caller: Caller, before: Camera, after: Camera) -> None:
    """Who manages some cameras only would else have the recorder knock at any address of its network, and tell who answers."""
    if caller.access(None).may(Act.MANAGE_CAMERAS):
        return
    known = hosts_of(before)
    for kind in (StreamKind.MAIN, StreamKind.SUB):
        streams = tuple(s for s in after.streams if s.kind is kind)
        if not hosts_of(replace(after, streams=streams)) <= known:
            detail = "another host than the camera's needs rights over all cameras"
            raise Refusal(Code.FORBIDDEN, detail, field=f"{kind.value}_url")


def _wire(wish: schemas.CameraTest) -> dict[str, Any]:
    """How to connect, where the wish says so; a registered camera is tested by its own way otherwise."""
    given = wish.model_dump(include={"transport", "certificate_pin"}, exclude_unset=True)
    pin = _checked("certificate_pin", given.get("certificate_pin"), check_pin)
    return given if pin is None else given | {"certificate_pin": pin}


async def _stream_report(parts: Parts, camera: Camera, kind: StreamKind, url: str) -> schemas.StreamReport:
    request = {
        "url": url, "username": camera.username, "password": camera.password, "transport": camera.transport,
        "pin": camera.certificate_pin,
    }  # fmt: skip
    try:
        async with asyncio.timeout(TEST_SECONDS):
            facts = await parts.feed.test_camera(request)
    except TimeoutError:
        facts = {"said": say("test_overdue", seconds=TEST_SECONDS).as_json()}
    except UserError as error:
        facts = {"said": say("test_failed").noted(str(error)).as_json()}
    if (failed := facts.get("said")) is not None:
        failure = {"ok": False, "reason": facts.get("reason"), "said": failed, "message": failed["text"]}
        return schemas.StreamReport.model_validate({"stream": word_of(kind), "url": url, **failure})
    offset = facts.pop("clock_offset_ns", None)
    now = StreamNow(codec=facts.get("codec"), reorder=facts.get("b_frames"))
    facts |= {"clock_offset_seconds": None if offset is None else round(offset / 1e9, 3), "browser": now.browser}
    return schemas.StreamReport.model_validate({**facts, "stream": kind.value, "url": url, "ok": True})


def _applied(camera: Camera, wish: schemas.CameraFields, profiles: list[LegalProfile]) -> Camera:
    """The camera with what is wished. Refusal INVALID names the field."""
    plain: dict[str, Any] = {
        "number": wish.number, "lat": wish.lat, "lon": wish.lon, "azimuth_deg": wish.azimuth_deg,
        "angle_deg": wish.angle_deg, "enabled": wish.enabled, "transport": wish.transport, "source": wish.source,
        "trust_clock": wish.trust_clock,
        "name": _checked("name", wish.name, check_name), "street": _checked("street", wish.street, check_text),
        "group": _checked("group", wish.group, check_text),
        "certificate_pin": _checked("certificate_pin", wish.certificate_pin, check_pin),
    }  # fmt: skip
    removed = REMOVABLE & wish.model_fields_set  # null was given, where it was not left out
    camera = replace(camera, **{name: value for name, value in plain.items() if value is not None or name in removed})
    camera = _with_streams(_with_login(camera, wish), wish)
    if wish.profile_id is not None:
        if wish.profile_id not in {p.id for p in profiles}:
            raise invalid("profile_id", say("profile_gone"))
        camera = replace(camera, profile_id=wish.profile_id)
    profile = next((p for p in profiles if p.id == camera.profile_id), None)
    if profile is not None and not profile.audio and any(s.kind is StreamKind.AUDIO for s in camera.streams):
        raise invalid("record_audio", say("profile_no_sound", name=profile.name))
    return camera


def _with_login(camera: Camera, wish: schemas.CameraFields) -> Camera:
    if wish.username is not None:
        camera = replace(camera, username=_checked("username", wish.username, check_text))
    return camera if wish.password is None else replace(camera, password=wish.password)


def _gives_password(wish: schemas.CameraFields) -> bool:
    """Whether a password comes with the wish: an address with one in it gives one too."""
    addresses = [text for text in (wish.main_url, wish.sub_url) if text]
    return wish.password is not None or any(CameraUrl.parse(a, SourceKind.LIBAV).password for a in addresses)


def _with_streams(camera: Camera, wish: schemas.CameraFields) -> Camera:
    for field, kind, text, record in (
        ("main_url", StreamKind.MAIN, wish.main_url, wish.record),
        ("sub_url", StreamKind.SUB, wish.sub_url, wish.record_sub),
    ):
        before = next((s for s in camera.streams if s.kind is kind), None)
        if text == "" and kind is StreamKind.SUB:
            camera = with_stream_url(camera, kind, None)
        elif text is not None:
            url = _address(field, text, camera.source)
            if url.username:
                camera = replace(camera, username=url.username)
            if url.password and wish.password is None:
                camera = replace(camera, password=url.password)
            camera = with_stream_url(camera, kind, str(url), record=record)
        elif record is not None and before is not None:
            camera = with_stream_url(camera, kind, before.url, record=record)
        elif record:
            raise invalid(field, say("nothing_to_record", stream=kind.value))
    main = next((s for s in camera.streams if s.kind is StreamKind.MAIN), None)
    audio = any(s.kind is StreamKind.AUDIO for s in camera.streams)
    if wish.record_audio is False:
        return with_stream_url(camera, StreamKind.AUDIO, None)
    if main is not None and (wish.record_audio or audio):
        return with_stream_url(camera, StreamKind.AUDIO, main.url)  # sound comes in the main stream's session
    return camera


def _address(field: str, text: str, source: SourceKind) -> CameraUrl:
    """A stream's address; user name and password may stand in it and are taken out of it."""

    def parse(given: str) -> CameraUrl:
        url = CameraUrl.parse(given, source)
        check_placeholders(url)
        return url

    url: CameraUrl = _checked(field, text, parse)
    return url


def _checked(field: str, text: str | None, check: Any) -> Any:
    try:
        return None if text is None else check(text)
    except UserError as error:
        raise invalid(field, in_words(error)) from error
