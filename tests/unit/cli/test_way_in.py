"""What whoever starts a site or the demo is told of the way in, with pages and without."""

from __future__ import annotations

from pathlib import Path

import pytest

from vms.cli.demo_site import way_in
from vms.cli.web import introduction
from vms.site import Site
from web.api import client_files

PEOPLE = [("operator", "operator", "raz-i-koniec"), ("admin", "administrator", "tylko-jeden-raz")]
ADDRESS = "http://127.0.0.1:4711"


@pytest.fixture(params=["pages", "no pages"])
def pages(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the web client is built."""
    built, dist = request.param == "pages", tmp_path / "dist"
    dist.mkdir()
    if built:
        (dist / "index.html").touch()
    monkeypatch.setattr(client_files, "DIST", dist)
    return built


def test_the_demo_names_the_page_and_who_may_come_in_or_says_that_there_is_none(pages: bool) -> None:
    *warning, first, operator, administrator = way_in(ADDRESS, PEOPLE)
    assert operator == "  operator (operator)  password raz-i-koniec"
    assert administrator == "  admin (administrator)  password tylko-jeden-raz"
    if pages:
        assert warning == []
        assert first.startswith(f"open {ADDRESS} and sign in;")
    else:
        (said,) = warning
        assert said.startswith("NO PAGES: ")
        assert "run scripts/client" in said
        assert f"{ADDRESS}/api/v1" in first
        assert "open" not in first


def test_a_demo_without_the_web_names_no_address() -> None:
    (said,) = way_in(None, PEOPLE)
    assert "web.enabled is false" in said


async def test_a_site_says_at_its_start_that_there_are_no_pages(pages: bool, data: Path) -> None:
    told = [line for line in await introduction(Site.open(data)) if line.startswith("NO PAGES")]
    assert len(told) == (0 if pages else 1)
