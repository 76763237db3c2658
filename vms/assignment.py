"""The assignment: what one recorder host must record, as one sealed file.

Owns the file's format. The registry's side writes it after every change; the recorder starts and records from it alone,
without a catalogue. It holds camera passwords, so it is sealed with the site's key and never exists in clear on disk.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

from vms.durable import write_atomically
from vms.errors import MalformedError
from vms.model import Camera, LegalProfile, SourceKind, Stream, StreamKind

FORMAT = 1
CONTEXT = "assignment"
LARGEST_BYTES = 16 * 1024 * 1024  # 10 000 cameras need about 5 MB


class SealsBytes(Protocol):
    """The part of `vms.sealing.Sealer` used here."""

    def seal(self, plain: bytes, context: str) -> bytes: ...

    def unseal(self, sealed: bytes, context: str) -> bytes: ...


@dataclass(frozen=True, slots=True)
class CameraAssignment:
    """One camera as its recorder needs it. `audio` only where the legal profile allows it (L-06).

    `since_ns`: stream id → since when it is to be recorded, for streams that have not been yet; UTC in ns. It says why
    time is missing and not what to do, so cameras that differ in nothing else are equal.
    """

    camera_id: UUID
    number: int
    name: str
    enabled: bool
    source: SourceKind
    transport: str
    certificate_pin: str
    trust_clock: bool
    audio: bool
    streams: tuple[Stream, ...]
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    since_ns: Mapping[UUID, int] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Assignment:
    """Everything one recorder host has to do."""

    cameras: tuple[CameraAssignment, ...] = ()


def assign(
    cameras: Iterable[Camera], profiles: Mapping[UUID, LegalProfile], awaited: Mapping[UUID, int] | None = None
) -> Assignment:
    """The assignment that the registry's cameras in service ask for. `awaited`: `Catalogue.awaited`."""
    since = awaited or {}
    return Assignment(
        tuple(
            CameraAssignment(
                camera_id=c.id,
                number=c.number,
                name=c.name,
                enabled=c.enabled,
                source=c.source,
                transport=c.transport,
                certificate_pin=c.certificate_pin,
                trust_clock=c.trust_clock,
                audio=profiles[c.profile_id].audio,
                streams=c.streams,
                username=c.username,
                password=c.password,
                since_ns={s.id: since[s.id] for s in c.streams if s.id in since},
            )
            for c in sorted(cameras, key=lambda c: c.number)
            if c.retired_ns is None
        )
    )


def write_assignment(path: Path, assignment: Assignment, sealer: SealsBytes) -> None:
    """Replace the file in one step; a reader sees the old assignment or the new one."""
    clear = json.dumps({"format": FORMAT, "cameras": [_to_json(c) for c in assignment.cameras]}).encode()
    write_atomically(path, sealer.seal(clear, CONTEXT))


def read_assignment(path: Path, sealer: SealsBytes) -> Assignment:
    """What the file says; an absent file is an empty assignment. MalformedError when it cannot be unsealed or read."""
    try:
        sealed = path.read_bytes()
    except FileNotFoundError:
        return Assignment()
    if len(sealed) > LARGEST_BYTES:
        raise MalformedError("assignment", f"{len(sealed)} bytes is too large")
    try:
        facts = json.loads(sealer.unseal(sealed, CONTEXT))
        if facts["format"] != FORMAT:
            raise MalformedError("assignment", f"format {facts['format']} is not ours ({FORMAT})")
        return Assignment(tuple(_from_json(c) for c in facts["cameras"]))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise MalformedError("assignment", f"{type(error).__name__} while reading it") from error


def _to_json(camera: CameraAssignment) -> dict[str, Any]:
    return {
        "id": str(camera.camera_id),
        "number": camera.number,
        "name": camera.name,
        "enabled": camera.enabled,
        "source": camera.source.value,
        "transport": camera.transport,
        "certificate_pin": camera.certificate_pin,
        "trust_clock": camera.trust_clock,
        "audio": camera.audio,
        "username": camera.username,
        "password": camera.password,
        "streams": [
            {"id": str(s.id), "kind": s.kind.value, "url": s.url, "record": s.record}
            | ({"since_ns": camera.since_ns[s.id]} if s.id in camera.since_ns else {})
            for s in camera.streams
        ],
    }


def _from_json(facts: dict[str, Any]) -> CameraAssignment:
    camera_id = UUID(facts["id"])
    return CameraAssignment(
        camera_id=camera_id,
        number=int(facts["number"]),
        name=str(facts["name"]),
        enabled=bool(facts["enabled"]),
        source=SourceKind(facts["source"]),
        transport=str(facts["transport"]),
        certificate_pin=str(facts["certificate_pin"]),
        trust_clock=bool(facts["trust_clock"]),
        audio=bool(facts["audio"]),
        username=str(facts["username"]),
        password=str(facts["password"]),
        streams=tuple(
            Stream(UUID(s["id"]), camera_id, StreamKind(s["kind"]), str(s["url"]), bool(s["record"]))
            for s in facts["streams"]
        ),
        since_ns={UUID(s["id"]): _instant(s["since_ns"]) for s in facts["streams"] if "since_ns" in s},
    )


def _instant(value: Any) -> int:
    if not isinstance(value, int) or not 0 <= value < 2**63:
        raise ValueError("not a time")
    return value
