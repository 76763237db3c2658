"""Cameras as commands change and show them. Pure: values in, values out.

Owns the checks of single fields that people type, what a change is called, and the camera's JSON.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

from vms.camera_url import CameraUrl, check_placeholders
from vms.errors import UserError
from vms.localtime import format_utc
from vms.model import Camera, LegalProfile, SourceKind, Stream, StreamKind
from vms.sentences import Sentence, say

_SHOWN = {
    "number": "number", "name": "name", "enabled": "enabled", "source": "source", "transport": "transport",
    "street": "street", "lat": "lat", "lon": "lon", "azimuth_deg": "azimuth", "angle_deg": "angle", "group": "group",
    "trust_clock": "trust clock", "certificate_pin": "certificate pin", "username": "user",
}  # fmt: skip


def find_profile(profiles: Sequence[LegalProfile], name: str) -> LegalProfile:
    """The legal profile with this name; UserError names those there are."""
    found = next((p for p in profiles if p.name.casefold() == name.strip().casefold()), None)
    if found is None:
        raise UserError(f'there is no legal profile "{name}"; known are {", ".join(p.name for p in profiles)}')
    return found


def check_name(text: str) -> str:
    """A camera's name as typed; UserError unless one line of 1 to 120 characters."""
    name = check_text(text)
    if not name:
        raise UserError(say("name_text"))
    return name


def check_text(text: str) -> str:
    """A street, group or user name as typed, or nothing; UserError unless one line of up to 120 characters of UTF-8."""
    line = text.strip()
    if len(line) > 120 or re.search(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", line):
        raise UserError(say("text_utf8"))
    return line


def check_pin(text: str) -> str:
    """A SHA-256 fingerprint in hex, with or without colons."""
    pin = text.replace(":", "").strip().lower()
    if pin and not re.fullmatch(r"[0-9a-f]{64}", pin):
        raise UserError(say("pin_form"))
    return pin


def parse_degrees(text: str, least: int, most: int) -> float:
    """Decimal degrees with point or comma, within bounds."""
    if not re.fullmatch(r"-?[0-9]{1,3}([.,][0-9]{1,12})?", text.strip()):
        raise UserError(say("degrees_form"))
    value = float(text.strip().replace(",", "."))
    if not least <= value <= most:
        raise UserError(say("degrees_range", least=least, most=most))
    return value


def parse_stream_url(text: str, source: SourceKind) -> CameraUrl:
    """A stream address from the command line. A password in it is refused: it would stand in the process list."""
    url = CameraUrl.parse(text, source)
    check_placeholders(url)
    if url.password:
        raise UserError(
            "leave the password out of the address: it would stand in the process list and the shell's history. "
            f"Write {url}, give --user, and --password-file or type it when asked"
        )
    return url


def with_stream_url(camera: Camera, kind: StreamKind, url: str | None, *, record: bool | None = None) -> Camera:
    """The camera with that stream's address set (its id kept), or with `url` None without that stream.

    A new main stream is recorded, a new sub-stream only relayed, unless `record` says otherwise.
    """
    order = list(StreamKind)
    others = [s for s in camera.streams if s.kind is not kind]
    if url is not None:
        before = next((s for s in camera.streams if s.kind is kind), None)
        if before is None:
            before = Stream(uuid4(), camera.id, kind, url, kind is not StreamKind.SUB)
        others.append(replace(before, url=url, record=before.record if record is None else record))
    return replace(camera, streams=tuple(sorted(others, key=lambda s: order.index(s.kind))))


def hosts_of(camera: Camera) -> frozenset[str]:
    """The hosts that the camera's streams are received from."""
    return frozenset(CameraUrl.parse(s.url, SourceKind.LIBAV).host.lower() for s in camera.streams)


def takes_password_along(before: Camera, after: Camera) -> bool:
    """Whether a stored password would go to a host it was not given for: whoever answers there would have it."""
    return bool(before.password) and after.password == before.password and not hosts_of(after) <= hosts_of(before)


def changes_between(before: Camera, after: Camera) -> list[Sentence]:
    """What differs; secrets are only said to have changed."""
    changes = [
        say("changed", field=label, before=str(getattr(before, name)), after=str(getattr(after, name)))
        for name, label in _SHOWN.items()
        if getattr(before, name) != getattr(after, name)
    ]
    if before.profile_id != after.profile_id:
        changes.append(say("changed_profile"))
    if before.password != after.password:
        changes.append(say("changed_password"))
    streams = {s.kind: s for s in before.streams}
    for s in after.streams:
        was = streams.pop(s.kind, None)
        if was is None:
            changes.append(say("stream_added", stream=s.kind.value, url=s.url))
        elif was.url != s.url:
            changes.append(say("stream_moved", stream=s.kind.value, before=was.url, after=s.url))
        if was is not None and was.record != s.record:
            changes.append(say("stream_recorded" if s.record else "stream_not_recorded", stream=s.kind.value))
    return changes + [say("stream_removed", stream=kind.value) for kind in streams]


def likenesses(cameras: Iterable[Camera]) -> dict[UUID, tuple[Sentence, ...]]:
    """Which of the cameras share name or main address with another one, by camera id. Nothing forbids it."""
    names, addresses = defaultdict(list), defaultdict(list)
    for camera in cameras:
        names[camera.name.casefold()].append(camera)
        if url := main_url(camera):
            parsed = CameraUrl.parse(url, SourceKind.LIBAV)
            addresses[parsed.host.lower(), parsed.effective_port, parsed.path].append(camera)
    found: dict[UUID, list[Sentence]] = defaultdict(list)
    for code, groups in (("same_name", names.values()), ("same_address", addresses.values())):
        for group in groups:
            for camera, other in zip(group, group[1:] + group[:1], strict=True):
                if camera is not other:
                    found[camera.id].append(say(code, number=other.number))
    return {camera_id: tuple(said) for camera_id, said in found.items()}


def camera_json(camera: Camera, profiles: Sequence[LegalProfile]) -> dict[str, Any]:
    """A camera as `--json` shows it; the password is only said to be there."""
    profile = next((p.name for p in profiles if p.id == camera.profile_id), None)
    return {
        "id": str(camera.id),
        "number": camera.number,
        "name": camera.name,
        "enabled": camera.enabled,
        "source": camera.source.value,
        "transport": camera.transport,
        "profile": profile,
        "street": camera.street,
        "lat": camera.lat,
        "lon": camera.lon,
        "azimuth_deg": camera.azimuth_deg,
        "angle_deg": camera.angle_deg,
        "group": camera.group,
        "trust_clock": camera.trust_clock,
        "certificate_pin": camera.certificate_pin,
        "username": camera.username,
        "has_password": bool(camera.password),
        "retired": None if camera.retired_ns is None else format_utc(camera.retired_ns),
        "streams": [{"id": str(s.id), "kind": s.kind.value, "url": s.url, "record": s.record} for s in camera.streams],
    }


def main_url(camera: Camera) -> str:
    """The main stream's address, for lists."""
    return next((s.url for s in camera.streams if s.kind is StreamKind.MAIN), "")
