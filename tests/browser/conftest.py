"""One site, one browser for all tests of the client; each test has a desk of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.browser_site import BrowserSite, Desk, browser_site, chromium, desk, say
from vms.simulate import Footage, prepare_small
from web.identity.access import Role
from web.identity.refusals import TITLES, Code

NAMES = ("Rynek, płyta", "Krótka / Niska", "Dworzec, perony", "Łódzka 12", "Park Miejski", "Szkoła nr 6")
OPERATOR, ADMINISTRATOR, TECHNICIAN = "anna.nowak", "adam.wilk", "tomasz.kos"
ENGLISH = {title.lower() for title in TITLES.values()}
CODES = {code.value for code in Code if "_" in code.value} | {"server_away", "answer_malformed"}


@pytest.fixture(scope="session")
def small_footage(tmp_path_factory: pytest.TempPathFactory) -> list[Footage]:
    folder = tmp_path_factory.getbasetemp().parent / "footage-cache"
    folder.mkdir(exist_ok=True)
    return prepare_small(folder, pattern=True)[:1]


@pytest.fixture(scope="module")
def site(small_footage: list[Footage]) -> Iterator[BrowserSite]:
    people = {OPERATOR: Role.OPERATOR, ADMINISTRATOR: Role.ADMINISTRATOR, TECHNICIAN: Role.TECHNICIAN}
    with browser_site(small_footage, NAMES, people) as found:
        yield found
        for name in ("web", "live", "recorder"):
            print(f"--- {name}\n{found.log(name)[-4000:]}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Not for the session: while it is open, no test with an event loop of its own can run in this process."""
    with chromium() as found:
        yield found


@pytest.fixture
def at_desk(browser: Browser, site: BrowserSite) -> Iterator[Desk]:
    """A desk whose page asked nothing of other hosts and complained of nothing, which is checked at the end."""
    with desk(browser, site) as found:
        yield found
        assert found.foreign == []
        assert found.complaints == []


@pytest.fixture(scope="module")
def page(browser: Browser, site: BrowserSite) -> Iterator[Page]:
    """One page lives through all tests of a module, as an operator's does."""
    with desk(browser, site) as found:
        yield found.sign_in(OPERATOR)
        assert found.foreign == []
        assert found.complaints == []


@pytest.fixture(params=["pl", "en"])
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def at(browser: Browser, site: BrowserSite, language: str) -> Iterator[Desk]:
    with desk(browser, site, language=language) as found:
        yield found
        assert found.foreign == []
        assert found.complaints == []


def says(page: Page, language: str, key: str, **facts: object) -> None:
    """Some alert of the page says these words, and nothing on the page is a code or, in Polish, the server's English."""
    words = say(language, key, **facts)
    expect(page.get_by_role("alert").filter(has_text=re.compile(re.escape(words), re.IGNORECASE)).first).to_be_visible()
    is_clean(page, language)


def is_clean(page: Page, language: str) -> None:
    shown = page.locator("body").inner_text().lower()
    assert [code for code in CODES if re.search(rf"\b{code}\b", shown)] == []
    if language == "pl":
        assert [title for title in ENGLISH if title in shown] == []
