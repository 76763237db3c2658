"""Values of the house as the interface's JSON. Pure: nothing is asked here, and nobody's rights are judged."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Literal
from uuid import UUID

from storage.catalogue import AuditEntry, Login, StoredGrant, StoredLayout, User
from vms.localtime import LATEST_NS, format_utc
from vms.model import Camera, StreamKind
from vms.sentences import Sentence, say
from vms.timeline import SECOND_NS
from web.api import schemas, schemas_audit, schemas_people
from web.api.watching import CameraNow, StreamNow
from web.identity.access import Access, Act, Role, Scope, roles_in_force
from web.identity.callers import Caller, grants_of
from web.identity.people import HOUR_NS
from web.identity.refusals import invalid


def instant(ns: int | None) -> str | None:
    return None if ns is None else format_utc(ns)


def parse_instant(text: str | None, field: str) -> int | None:
    """UTC ns of an RFC 3339 time. Refusal INVALID."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text.upper())
        if found.tzinfo is None:
            raise ValueError
        since = found.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise invalid(field, say("time_form")) from error
    ns = (since.days * 86_400 + since.seconds) * SECOND_NS + since.microseconds * 1000
    if not 0 <= ns <= LATEST_NS:
        raise invalid(field, say("time_range"))
    return ns


def camera(found: Camera, now: CameraNow, allowed: Access, *, has_password: bool | None = None) -> schemas.Camera:
    """`has_password` None: the asker may not know (nor addresses)."""
    streams = [
        _stream(s.id, s.kind, s.record, now.streams.get(s.id, StreamNow()))
        for s in found.streams
        if s.kind is not StreamKind.AUDIO
    ]
    return schemas.Camera(
        id=found.id, number=found.number, name=found.name, street=found.street, lat=found.lat, lon=found.lon,
        azimuth_deg=found.azimuth_deg, angle_deg=found.angle_deg, group=found.group, enabled=found.enabled,
        retired=instant(found.retired_ns),
        state="off" if found.retired_ns is not None else now.state,  # type: ignore[arg-type]  # one of the words
        state_since=instant(now.since_ns), state_reason=now.reason, retry_at=instant(now.retry_ns),
        acts=[a for a in Act if a in allowed.acts], purpose_required=Act.VIEW_LIVE in allowed.purpose_required,
        streams=streams,
        admin=None if has_password is None else camera_admin(found, has_password=has_password),
    )  # fmt: skip


def camera_admin(found: Camera, *, has_password: bool) -> schemas.CameraAdmin:
    urls = {s.kind: s.url for s in found.streams}
    return schemas.CameraAdmin(
        main_url=urls.get(StreamKind.MAIN), sub_url=urls.get(StreamKind.SUB), username=found.username,
        has_password=has_password, profile_id=found.profile_id,
        transport=found.transport,  # type: ignore[arg-type]  # tcp or udp
        source=found.source, certificate_pin=found.certificate_pin, trust_clock=found.trust_clock,
        record_audio=StreamKind.AUDIO in urls,
    )  # fmt: skip


def said(sentence: Sentence) -> schemas.Said:
    return schemas.Said(code=sentence.code, facts=sentence.facts, text=str(sentence), note=sentence.note)


def _stream(stream_id: UUID, kind: StreamKind, record: bool, now: StreamNow) -> schemas.CameraStream:
    return schemas.CameraStream(
        id=stream_id, kind=word_of(kind), codec=now.codec, width=now.width, height=now.height, fps=now.fps,
        reorder=now.reorder, record=record, browser=now.browser,
    )  # fmt: skip


def word_of(kind: StreamKind) -> Literal["main", "sub"]:
    """What the interface calls a video stream."""
    return "main" if kind is StreamKind.MAIN else "sub"


def session(caller: Caller) -> schemas_people.Session:
    login = caller.login
    assert login.session is not None
    confirmed = login.session.confirmed_until_ns
    notice = login.session.notice
    return schemas_people.Session(
        id=login.session.id,
        user=schemas_people.SessionUser(
            id=login.user.id, name=login.user.name, display_name=login.user.display_name,
            language=_language(login.user.language), must_change_password=login.user.must_change_password,
        ),
        roles=roles_in_force(caller.grants, caller.now_ns), acts=caller.acts_somewhere(), csrf=caller.csrf,
        expires_at=format_utc(login.session.expires_ns),
        confirmed_until=instant(confirmed) if confirmed and confirmed > caller.now_ns else None,
        login_notice=schemas_people.LoginNotice(
            last_at=instant(notice.get("last_ns")), last_ip=notice.get("last_ip"), failed_since=notice.get("failed", 0)
        ),
    )  # fmt: skip


def user(found: User, grants: list[StoredGrant], now_ns: int) -> schemas_people.User:
    return schemas_people.User(
        id=found.id, name=found.name, display_name=found.display_name, language=_language(found.language),
        disabled=found.disabled_ns is not None, must_change_password=found.must_change_password,
        created_at=format_utc(found.created_ns), last_sign_in_at=instant(found.signed_in_ns),
        roles=roles_in_force(grants_of(grants), now_ns), version=found.version,
    )  # fmt: skip


def grant(found: StoredGrant) -> schemas_people.Grant:
    return schemas_people.Grant(
        id=found.id, user_id=found.user_id, role=Role(found.role), scope=Scope(found.scope), group=found.camera_group,
        camera_id=found.camera_id, expires_at=instant(found.expires_ns),
        back_hours=None if found.back_ns is None else found.back_ns // HOUR_NS,
        created_at=format_utc(found.created_ns), created_by=found.created_by,
    )  # fmt: skip


def sights(allowed: Access) -> list[schemas_people.Sight]:
    order = list(Act)
    return [
        schemas_people.Sight(
            act=one.act, rendition=one.rendition, back_hours=None if one.back_ns is None else one.back_ns / HOUR_NS
        )
        for one in sorted(allowed.sights, key=lambda one: (order.index(one.act), one.rendition))
    ]


def token(login: Login) -> schemas_people.Token:
    found = login.token
    assert found is not None
    return schemas_people.Token(
        id=found.id, name=found.name, user=login.user.name, acts=[a for a in Act if a in found.acts],
        created_at=format_utc(found.created_ns), expires_at=format_utc(found.expires_ns),
        used_at=instant(found.used_ns), revoked=found.revoked_ns is not None,
    )  # fmt: skip


def layout(found: StoredLayout, caller: Caller) -> schemas.Layout:
    return schemas.Layout.model_validate(
        {
            "id": found.id, "name": found.name, "shared": found.shared, "version": found.version,
            "author": found.author, "mine": found.user_id == caller.id, "updated_at": format_utc(found.updated_ns),
            **json.loads(found.body),
        }
    )  # fmt: skip


def audit_item(entry: AuditEntry) -> schemas_audit.AuditItem:
    return schemas_audit.AuditItem(
        number=entry.number, at=format_utc(entry.at_ns), user=entry.user_name, user_id=entry.user_id, ip=entry.ip,
        act=entry.act, object=entry.object, camera_id=entry.camera_id, detail=json.loads(entry.detail),
        purpose=entry.purpose, leaf=entry.leaf.hex(),
    )  # fmt: skip


def _language(text: str) -> schemas_people.Language:
    return "en" if text == "en" else "pl"
