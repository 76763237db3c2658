"""Which camera a person means, and how expectations are kept."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.catalogue import find_camera
from tests.support.footage_rows import camera
from vms.errors import UserError
from vms.model import Camera

PROFILE = uuid4()
RYNEK = camera(1, PROFILE, "Rynek Główny")
PLANTY = camera(2, PROFILE, "Planty")
PLANTY_TOO = camera(3, PROFILE, "planty ")
NAMED_TWO = camera(4, PROFILE, "2")
OLD = replace(camera(1, PROFILE, "Stary Kleparz"), retired_ns=5)
ALL = [RYNEK, PLANTY, PLANTY_TOO, NAMED_TWO, OLD]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("1", RYNEK),  # in service goes before retired
        ("2", PLANTY),  # a number goes before a name
        (" 4 ", NAMED_TWO),
        (str(OLD.id), OLD),
        (str(RYNEK.id).upper(), RYNEK),
        ("RYNEK GŁÓWNY", RYNEK),
        ("stary kleparz", OLD),
    ],
    ids=["in service", "number first", "spaces", "id", "upper-case id", "case", "retired"],
)
def test_whole_matches_count(text: str, meant: Camera) -> None:
    assert find_camera(ALL, text) is meant


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("planty", "2 cameras match 'planty': 2 'Planty', 3 'planty '; use the number"),
        ("rynek", "did you mean 1 'Rynek Główny'?"),
        ("Rynek Glowny", "did you mean 1 'Rynek Główny'?"),
        ("77", "`vms camera list` shows them all"),
        (str(UUID(int=0)), "`vms camera list` shows them all"),
        ("", "say which camera"),
        ("²", "no camera"),
        ("9" * 5000, "no camera"),
    ],
)
def test_anything_else_is_refused_with_candidates(text: str, says: str) -> None:
    with pytest.raises(UserError) as refused:
        find_camera(ALL, text)
    assert says in str(refused.value)


def test_retired_cameras_of_one_number_are_told_apart_by_id() -> None:
    older = replace(camera(1, PROFILE, "Inny"), retired_ns=3)
    with pytest.raises(UserError, match="use the id") as refused:
        find_camera([OLD, older], "1")
    assert str(older.id) in str(refused.value)


@given(st.text(max_size=30))
def test_any_text_finds_or_is_refused(text: str) -> None:
    try:
        assert find_camera(ALL, text) in ALL
    except UserError as error:
        assert str(error)
