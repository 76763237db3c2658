"""Which camera a person means by a number, an id or a name. Pure: takes the cameras, asks nobody.

Only a whole match counts, in this order: the number of a camera in service, an id, a name (case and surrounding space
ignored). Near misses are named in the message, never taken.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from uuid import UUID

from vms.errors import UserError
from vms.model import Camera

_SHOWN = 5


def find_camera(cameras: Sequence[Camera], text: str) -> Camera:
    """The one camera meant by `text`. A camera in service goes before retired ones.

    Raises UserError for none or several, naming candidates.
    """
    wanted = text.strip()
    if not wanted:
        raise UserError("say which camera: its number, name or id")
    for matches in (_by_number(cameras, wanted), _by_id(cameras, wanted), _by_name(cameras, wanted)):
        in_service = [camera for camera in matches if camera.retired_ns is None]
        choice = in_service or matches
        if len(choice) == 1:
            return choice[0]
        if choice:
            raise UserError(f"{len(choice)} cameras match {wanted!r}: {_listed(choice)}; use the {_apart(choice)}")
    near = _near(cameras, wanted)
    hint = f"; did you mean {_listed(near)}?" if near else "; `vms camera list` shows them all"
    raise UserError(f"no camera has the number, name or id {wanted!r}{hint}")


def _by_number(cameras: Sequence[Camera], wanted: str) -> list[Camera]:
    if not (wanted.isascii() and wanted.isdigit() and len(wanted) < 10):
        return []
    return [camera for camera in cameras if camera.number == int(wanted)]


def _by_id(cameras: Sequence[Camera], wanted: str) -> list[Camera]:
    try:
        identity = UUID(wanted)
    except ValueError:
        return []
    return [camera for camera in cameras if camera.id == identity]


def _by_name(cameras: Sequence[Camera], wanted: str) -> list[Camera]:
    folded = wanted.casefold()
    return [camera for camera in cameras if camera.name.strip().casefold() == folded]


def _near(cameras: Sequence[Camera], wanted: str) -> list[Camera]:
    folded = wanted.casefold()
    inside = [camera for camera in cameras if folded in camera.name.casefold()]
    if inside:
        return inside
    names = {camera.name.casefold(): camera for camera in cameras}
    return [names[name] for name in difflib.get_close_matches(folded[:100], names, n=_SHOWN)]


def _apart(cameras: Sequence[Camera]) -> str:
    return "id" if len({camera.number for camera in cameras}) < len(cameras) else "number"


def _listed(cameras: Sequence[Camera]) -> str:
    apart_by_id = _apart(cameras) == "id"
    shown = [
        f"{c.number} {c.name!r}" + (f" ({c.id})" if apart_by_id else "") + (" retired" if c.retired_ns else "")
        for c in cameras[:_SHOWN]
    ]
    more = len(cameras) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
