"""Who may do what with which camera: the one function that every route, message and media session goes through.

Pure: grants, a camera and an instant go in, `Access` comes out. Owns the roles and what each may do. Knows no users,
sessions or HTTP; whoever is switched off has no grants (`web.identity.callers`).

A grant gives a role over all cameras, a group or one camera, until it expires. Acts that belong to no camera (`camera`
None) need a grant over all cameras, but for those of `ANYWHERE`, whose answers are cut to what the asker may see. More
grants never give less, and never more than each of them: what is added up are acts, and of footage the single ways of seeing
it (`Sight`), so that one role's look back is not another's rendition. A purpose is asked for only where no grant gives the
act without one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from uuid import UUID

from vms.model import Camera


class Act(StrEnum):
    """What can be done. The words of the interface and of the audit log."""

    VIEW_LIVE = "view_live"
    VIEW_RECORDED = "view_recorded"
    EXPORT = "export"
    PLACE_HOLD = "place_hold"
    RELEASE_HOLD = "release_hold"
    MANAGE_CAMERAS = "manage_cameras"
    MANAGE_USERS = "manage_users"
    READ_AUDIT = "read_audit"
    READ_HEALTH = "read_health"
    MANAGE_LAYOUTS = "manage_layouts"


class Role(StrEnum):
    """What a person is here."""

    OPERATOR = "operator"
    SHIFT_LEAD = "shift_lead"
    EVIDENCE_OFFICER = "evidence_officer"
    DATA_PROTECTION_OFFICER = "data_protection_officer"
    AUDITOR = "auditor"
    TECHNICIAN = "technician"
    VEHICLE_CREW = "vehicle_crew"
    RECIPIENT = "recipient"
    ADMINISTRATOR = "administrator"


class Scope(StrEnum):
    """Over which cameras a grant gives its role."""

    ALL = "all"
    GROUP = "group"
    CAMERA = "camera"


class Rendition(StrEnum):
    """Which picture: as the camera sent it, or with what must not be seen covered."""

    ORIGINAL = "original"
    MASKED = "masked"


@dataclass(frozen=True, slots=True)
class RoleRights:
    """`purposeful`: acts that need a stated purpose each time."""

    acts: frozenset[Act]
    purposeful: frozenset[Act] = frozenset()
    renditions: frozenset[Rendition] = frozenset()


LEAST_PURPOSE_CHARS = 3
FOOTAGE = frozenset({Act.VIEW_LIVE, Act.VIEW_RECORDED, Act.EXPORT})
ANYWHERE = frozenset({Act.READ_HEALTH, Act.MANAGE_LAYOUTS})  # any scope will do for them
OF_A_CAMERA = FOOTAGE | {Act.PLACE_HOLD, Act.RELEASE_HOLD, Act.MANAGE_CAMERAS, Act.READ_HEALTH}
_ORIGINAL = frozenset({Rendition.ORIGINAL})

ROLES: dict[Role, RoleRights] = {
    Role.OPERATOR: RoleRights(
        frozenset({Act.VIEW_LIVE, Act.VIEW_RECORDED, Act.PLACE_HOLD, Act.READ_HEALTH, Act.MANAGE_LAYOUTS}),
        frozenset({Act.VIEW_RECORDED}),
        _ORIGINAL,
    ),
    Role.SHIFT_LEAD: RoleRights(
        FOOTAGE | {Act.PLACE_HOLD, Act.RELEASE_HOLD, Act.READ_HEALTH, Act.MANAGE_LAYOUTS},
        frozenset({Act.VIEW_RECORDED, Act.EXPORT}),
        _ORIGINAL,
    ),
    Role.EVIDENCE_OFFICER: RoleRights(FOOTAGE | {Act.PLACE_HOLD, Act.RELEASE_HOLD}, FOOTAGE, _ORIGINAL),
    Role.DATA_PROTECTION_OFFICER: RoleRights(frozenset({Act.READ_AUDIT})),
    Role.AUDITOR: RoleRights(frozenset({Act.READ_AUDIT, Act.READ_HEALTH})),
    Role.TECHNICIAN: RoleRights(frozenset({Act.MANAGE_CAMERAS, Act.READ_HEALTH})),
    Role.VEHICLE_CREW: RoleRights(
        frozenset({Act.VIEW_LIVE, Act.PLACE_HOLD, Act.MANAGE_LAYOUTS}), frozenset(), _ORIGINAL
    ),
    Role.RECIPIENT: RoleRights(
        frozenset({Act.VIEW_RECORDED}), frozenset({Act.VIEW_RECORDED}), frozenset({Rendition.MASKED})
    ),
    Role.ADMINISTRATOR: RoleRights(
        frozenset(
            {
                Act.VIEW_LIVE, Act.MANAGE_CAMERAS, Act.MANAGE_USERS, Act.READ_AUDIT, Act.READ_HEALTH,
                Act.MANAGE_LAYOUTS,
            }
        ),
        frozenset({Act.VIEW_LIVE}),
        _ORIGINAL,
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Grant:
    """A role over some cameras. `expires_ns` None: until taken away. `back_ns` None: footage of any age."""

    role: Role
    scope: Scope = Scope.ALL
    group: str = ""  # for scope GROUP
    camera_id: UUID | None = None  # for scope CAMERA
    expires_ns: int | None = None
    back_ns: int | None = None

    def covers(self, camera: Camera) -> bool:
        if self.scope is Scope.GROUP:
            return bool(self.group) and camera.group == self.group
        return self.scope is Scope.ALL or camera.id == self.camera_id


@dataclass(frozen=True, slots=True)
class Sight:
    """A way of seeing footage: by this act, in this rendition, so far back (None: as far as there is; live: not at all)."""

    act: Act
    rendition: Rendition
    back_ns: int | None = 0


@dataclass(frozen=True, slots=True)
class Access:
    """What may be done, in which ways footage is seen, each of which reaches furthest of its kind, and what needs a purpose."""

    acts: frozenset[Act] = frozenset()
    sights: frozenset[Sight] = frozenset()
    purpose_required: frozenset[Act] = frozenset()

    def may(self, act: Act) -> bool:
        return act in self.acts

    def sees(self, act: Act, rendition: Rendition) -> bool:
        """Whether footage of some age may be seen by this act in this rendition."""
        return any(sight.act is act and sight.rendition is rendition for sight in self.sights)


NO_ACCESS = Access()


def access(grants: Iterable[Grant], camera: Camera | None, now_ns: int) -> Access:
    """What these grants allow now with `camera`, or with what belongs to no camera."""
    acts: set[Act] = set()
    freely: set[Act] = set()
    reach: dict[tuple[Act, Rendition], int | None] = {}
    for grant in grants:
        if grant.expires_ns is not None and grant.expires_ns <= now_ns:
            continue
        rights = ROLES[grant.role]
        if camera is None:
            given = rights.acts if grant.scope is Scope.ALL else rights.acts & ANYWHERE
        elif grant.covers(camera):
            given = rights.acts & OF_A_CAMERA
        else:
            continue
        if camera is not None and camera.retired_ns is not None:
            given -= {Act.VIEW_LIVE}  # there is nothing to see; what it recorded stays
        acts |= given
        freely |= given - rights.purposeful
        for way in product(given & FOOTAGE, rights.renditions):
            back_ns = 0 if way[0] is Act.VIEW_LIVE else grant.back_ns
            reach[way] = _longer(reach.get(way, 0), back_ns)
    sights = frozenset(Sight(act, rendition, back_ns) for (act, rendition), back_ns in reach.items())
    return Access(frozenset(acts), sights, frozenset(acts - freely))


def _longer(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else max(one, other)


def narrowed(allowed: Access, acts: frozenset[Act]) -> Access:
    """`allowed` cut down to `acts`, as the scopes of an API token do."""
    sights = frozenset(sight for sight in allowed.sights if sight.act in acts)
    return Access(allowed.acts & acts, sights, allowed.purpose_required & acts)


def is_purpose(text: str) -> bool:
    """Whether a stated purpose says anything."""
    return len(text.strip()) >= LEAST_PURPOSE_CHARS


def roles_in_force(grants: Iterable[Grant], now_ns: int) -> list[Role]:
    """The roles that grants give now, in the order of `Role`."""
    held = {g.role for g in grants if g.expires_ns is None or g.expires_ns > now_ns}
    return [role for role in Role if role in held]
