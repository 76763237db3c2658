"""What the registry says of a stream, as JSON in its journals: the way back to cameras when only the bucket is left.

Owns the two directions of that form. `about_json` never holds a username or a password. Strictness is the journal's: it
compares what was parsed, written again, with the bytes that were read.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from storage.catalogue.values import Expectation, Hold, StreamAbout
from vms.errors import MalformedError
from vms.model import Camera, GapReason, LegalProfile, SourceKind, Stream, StreamKind
from vms.timeline import TimeRange

MOST_ITEMS = 1000  # expectations, holds
_TEXTS = ("name", "transport", "street", "group", "certificate_pin")
_ANGLES = ("lat", "lon", "azimuth_deg", "angle_deg")


def about_json(about: StreamAbout) -> dict[str, Any]:
    """A JSON object."""
    camera, stream, profile = about.camera, about.stream, about.profile
    return {
        "camera": {name: getattr(camera, name) for name in (*_TEXTS, *_ANGLES)}
        | {
            "id": str(camera.id),
            "number": camera.number,
            "enabled": camera.enabled,
            "source": camera.source.value,
            "trust_clock": camera.trust_clock,
            "retired_ns": camera.retired_ns,
        },
        "stream": _stream_json(stream)
        | ({} if about.retired_ns is None else {"retired_ns": about.retired_ns}),
        "profile": {"name": profile.name, "basis": profile.basis, "days": profile.days, "audio": profile.audio}
        | {"id": str(profile.id)},
        "expectations": [[e.from_ns, e.to_ns, e.suspended.value if e.suspended else None] for e in about.expectations],
        "holds": [
            {
                "id": str(hold.id), "from_ns": hold.range.start_ns, "to_ns": hold.range.end_ns, "basis": hold.basis,
                "owner": hold.owner, "placed_ns": hold.placed_ns, "review_ns": hold.review_ns,
                "released_ns": hold.released_ns,
            }
            for hold in about.holds
        ],
    } | ({"others": [_stream_json(other) for other in about.others]} if about.others else {})  # fmt: skip


def _stream_json(stream: Stream) -> dict[str, Any]:
    return {"id": str(stream.id), "kind": stream.kind.value, "url": stream.url, "record": stream.record}


def parse_about(body: Any) -> StreamAbout:
    """The same back. Raises MalformedError, ValueError, TypeError, KeyError or AttributeError for anything else."""
    camera, stream, profile = body["camera"], body["stream"], body["profile"]
    others = body.get("others", [])
    if max(len(body["expectations"]), len(body["holds"]), len(others)) > MOST_ITEMS:
        raise MalformedError("journal", "states too many expectations, holds or streams")
    plain: dict[str, Any] = {name: _text(camera[name]) for name in _TEXTS}
    plain |= {name: _angle(camera[name]) for name in _ANGLES}
    stream_id, camera_id, profile_id = UUID(stream["id"]), UUID(camera["id"]), UUID(profile["id"])
    found = StreamAbout(
        Camera(
            id=camera_id,
            number=_whole(camera["number"]),
            profile_id=profile_id,
            streams=(),
            enabled=_truth(camera["enabled"]),
            source=SourceKind(camera["source"]),
            trust_clock=_truth(camera["trust_clock"]),
            retired_ns=_instant(camera["retired_ns"]),
            **plain,
        ),
        _stream(camera_id, stream),
        LegalProfile(
            profile_id,
            _text(profile["name"]),
            _text(profile["basis"]),
            _whole(profile["days"]),
            _truth(profile["audio"]),
        ),
        tuple(_expectation(stream_id, item) for item in body["expectations"]),
        tuple(_hold(stream_id, item) for item in body["holds"]),
        _instant(stream.get("retired_ns")),
        tuple(_stream(camera_id, other) for other in others),
    )
    if found.profile.days < 1 or found.camera.number < 1 or not (found.camera.name and found.profile.name):
        raise MalformedError("journal", "states a camera or a legal profile that cannot be")
    return found


def _stream(camera_id: UUID, body: Any) -> Stream:
    kind = StreamKind(body["kind"])
    return Stream(UUID(body["id"]), camera_id, kind, _text(body["url"]), _truth(body["record"]))


def _expectation(stream_id: UUID, item: Any) -> Expectation:
    from_ns, to_ns, suspended = item
    return Expectation(stream_id, _whole(from_ns), _instant(to_ns), None if suspended is None else GapReason(suspended))


def _hold(stream_id: UUID, item: Any) -> Hold:
    return Hold(
        UUID(item["id"]),
        frozenset({stream_id}),
        TimeRange(_whole(item["from_ns"]), _whole(item["to_ns"])),
        _text(item["basis"]),
        _text(item["owner"]),
        _whole(item["placed_ns"]),
        _whole(item["review_ns"]),
        _instant(item["released_ns"]),
    )


def _whole(value: Any) -> int:
    if type(value) is not int or not -(2**63) <= value < 2**63:
        raise ValueError("not a whole number")
    return value


def _instant(value: Any) -> int | None:
    return None if value is None else _whole(value)


def _truth(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError("neither true nor false")
    return value


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError("not a text")
    return value


def _angle(value: Any) -> float | None:
    if value is not None and type(value) is not float:
        raise ValueError("not a number of degrees")
    return value
