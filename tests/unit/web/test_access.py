"""The one function that decides who may do what: what must hold for every set of grants, and the roles as a table."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vms.model import Camera
from web.identity.access import (
    ANYWHERE,
    FOOTAGE,
    NO_ACCESS,
    OF_A_CAMERA,
    ROLES,
    Access,
    Act,
    Grant,
    Rendition,
    Role,
    Scope,
    Sight,
    access,
    narrowed,
    roles_in_force,
)

NOW = 1_800_000_000_000_000_000
CAMERAS = [UUID(int=i) for i in range(1, 5)]
GROUPS = ["", "Centrum", "Praga"]

cameras = st.builds(
    Camera,
    id=st.sampled_from(CAMERAS), number=st.integers(1, 9), name=st.just("x"), profile_id=st.just(uuid4()),
    streams=st.just(()), group=st.sampled_from(GROUPS), retired_ns=st.sampled_from([None, NOW - 1]),
)  # fmt: skip
grants = st.builds(
    Grant,
    role=st.sampled_from(Role), scope=st.sampled_from(Scope), group=st.sampled_from(GROUPS),
    camera_id=st.sampled_from(CAMERAS), expires_ns=st.sampled_from([None, NOW - 1, NOW, NOW + 1]),
    back_ns=st.sampled_from([None, 0, 3600, 7200]),
)  # fmt: skip
many = st.lists(grants, max_size=5)
anything = st.one_of(st.none(), cameras)


def no_less(less: Access, more: Access) -> bool:
    """Whether `more` gives everything that `less` does, as freely."""
    asked = more.purpose_required & less.acts <= less.purpose_required
    return less.acts <= more.acts and asked and all(any(reaches(m, s) for m in more.sights) for s in less.sights)


def reaches(far: Sight, near: Sight) -> bool:
    """Whether `far` is the same way of seeing footage, and reaches as far back."""
    back = far.back_ns is None or (near.back_ns is not None and near.back_ns <= far.back_ns)
    return (far.act, far.rendition) == (near.act, near.rendition) and back


@given(many, grants, anything)
def test_one_more_grant_never_gives_less(held: list[Grant], one: Grant, camera: Camera | None) -> None:
    assert no_less(access(held, camera, NOW), access([*held, one], camera, NOW))


@given(many, anything)
def test_roles_together_give_no_more_than_one_of_them(held: list[Grant], camera: Camera | None) -> None:
    """Each way of seeing footage, its look back and whether a purpose is asked for, is some single grant's."""
    together = access(held, camera, NOW)
    alone = [access([one], camera, NOW) for one in held]
    for sight in together.sights:
        freely = sight.act not in together.purpose_required
        assert any(sight in one.sights and freely == (sight.act not in one.purpose_required) for one in alone)


@given(many, anything, st.randoms())
def test_the_order_of_grants_does_not_matter(held: list[Grant], camera: Camera | None, rng: object) -> None:
    shuffled = held[:]
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    assert access(held, camera, NOW) == access(shuffled, camera, NOW)
    assert access(held, camera, NOW) == access(held * 2, camera, NOW)


@given(many, anything)
def test_what_has_expired_counts_for_nothing(held: list[Grant], camera: Camera | None) -> None:
    valid = [g for g in held if g.expires_ns is None or g.expires_ns > NOW]
    assert access(held, camera, NOW) == access(valid, camera, NOW)
    assert no_less(access(held, camera, NOW + 10), access(held, camera, NOW))
    assert roles_in_force(held, NOW) == [r for r in Role if any(g.role is r for g in valid)]


@given(many, cameras)
def test_a_grant_over_others_says_nothing_of_this_camera(held: list[Grant], camera: Camera) -> None:
    reach = [
        g
        for g in held
        if g.scope is Scope.ALL
        or (g.scope is Scope.CAMERA and g.camera_id == camera.id)
        or (g.scope is Scope.GROUP and g.group and g.group == camera.group)
    ]
    assert access(held, camera, NOW) == access(reach, camera, NOW)
    assert access(held, camera, NOW).acts <= OF_A_CAMERA


@given(many)
def test_what_is_the_sites_needs_a_grant_over_all_of_it(held: list[Grant]) -> None:
    narrow = [g for g in held if g.scope is not Scope.ALL]
    assert access(narrow, None, NOW).acts <= ANYWHERE


@given(many, cameras)
def test_a_camera_out_of_service_shows_nothing_live(held: list[Grant], camera: Camera) -> None:
    assert Act.VIEW_LIVE not in access(held, replace(camera, retired_ns=NOW - 1), NOW).acts


@given(many, anything)
def test_footage_is_seen_in_some_way_each_way_once(held: list[Grant], camera: Camera | None) -> None:
    found = access(held, camera, NOW)
    assert {sight.act for sight in found.sights} == found.acts & FOOTAGE
    assert len({(sight.act, sight.rendition) for sight in found.sights}) == len(found.sights)
    assert all(sight.back_ns == 0 for sight in found.sights if sight.act is Act.VIEW_LIVE)
    assert found.purpose_required <= found.acts


@given(many, anything, st.frozensets(st.sampled_from(Act)))
def test_a_token_gives_what_both_it_and_its_user_may(
    held: list[Grant], camera: Camera | None, acts: frozenset[Act]
) -> None:
    whole = access(held, camera, NOW)
    cut = narrowed(whole, acts)
    assert cut.acts == whole.acts & acts
    assert no_less(cut, whole)
    assert narrowed(whole, frozenset(Act)).acts == whole.acts


@given(st.sampled_from([Role.TECHNICIAN, Role.AUDITOR, Role.DATA_PROTECTION_OFFICER]), cameras)
def test_roles_without_footage_have_none(role: Role, camera: Camera) -> None:
    found = access([Grant(role)], camera, NOW)
    assert not found.acts & FOOTAGE
    assert not found.sights


def test_nobody_may_anything() -> None:
    assert access([], None, NOW) == NO_ACCESS == Access()


@pytest.mark.parametrize("role", Role)
def test_every_role_is_in_the_table_and_asks_a_purpose_only_for_what_it_gives(role: Role) -> None:
    rights = ROLES[role]
    assert rights.acts
    assert rights.purposeful <= rights.acts & FOOTAGE
    assert bool(rights.renditions) == bool(rights.acts & FOOTAGE)


def test_only_the_administrator_changes_people_and_nobody_looks_unasked_who_is_not_to() -> None:
    assert [r for r in Role if Act.MANAGE_USERS in ROLES[r].acts] == [Role.ADMINISTRATOR]
    assert [r for r in Role if Act.READ_AUDIT in ROLES[r].acts] == [
        Role.DATA_PROTECTION_OFFICER, Role.AUDITOR, Role.ADMINISTRATOR,
    ]  # fmt: skip
    assert Act.VIEW_LIVE in ROLES[Role.ADMINISTRATOR].purposeful
    assert ROLES[Role.RECIPIENT].renditions == {Rendition.MASKED}
    assert all(Act.VIEW_RECORDED in ROLES[r].purposeful for r in Role if Act.VIEW_RECORDED in ROLES[r].acts)


def test_the_longest_look_back_counts_and_none_is_without_end() -> None:
    camera = Camera(CAMERAS[0], 1, "x", uuid4(), (), group="Centrum")

    def backs(*held: Grant) -> set[tuple[Rendition, int | None]]:
        found = access(held, camera, NOW).sights
        return {(s.rendition, s.back_ns) for s in found if s.act is Act.VIEW_RECORDED}

    near, far = Grant(Role.OPERATOR, back_ns=10), Grant(Role.OPERATOR, back_ns=20)
    assert backs(near, far) == {(Rendition.ORIGINAL, 20)}
    assert backs(near, Grant(Role.OPERATOR)) == {(Rendition.ORIGINAL, None)}
    assert backs(near, Grant(Role.TECHNICIAN)) == {(Rendition.ORIGINAL, 10)}
    assert backs(near, Grant(Role.RECIPIENT)) == {(Rendition.ORIGINAL, 10), (Rendition.MASKED, None)}
    assert backs(Grant(Role.VEHICLE_CREW), Grant(Role.RECIPIENT)) == {(Rendition.MASKED, None)}
