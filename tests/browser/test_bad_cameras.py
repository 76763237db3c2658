"""Cameras as somebody types or sends them wrong: the page says what it is and what to do, in its language; nothing changes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import TECHNICIAN, is_clean, says
from tests.support.browser_site import BrowserSite, Desk, page_call, say
from tests.support.free_ports import free_port
from vms.sentences import ENGLISH

pytestmark = [pytest.mark.network, pytest.mark.slow, pytest.mark.timeout(240), pytest.mark.xdist_group("browser")]

BAD_URLS = {  # what is typed, and what is said of it, each time something else than before
    "rtsp//10.0.0.5/a": "url_scheme",
    "rtsp://10.0.0.5/a b": "url_characters",
    "gopher://10.0.0.5/a": "url_scheme",
    "rtsp://jan:ha/sło@10.0.0.5/a": "url_characters",
    "rtsp:///a": "url_no_host",
    "rtsp://10.0.0.5:99999/a": "url_malformed",
    "rtsp://300.1.2.3/a": "url_ipv4",
    "rtsp://10.0.0.5/a#b": "url_fragment",
}
BAD_TABLES: dict[str, tuple[bytes, str, dict[str, object]]] = {
    "empty": (b"", "table_empty", {}),
    "only-lines": (b"\r\n\r\n", "table_empty", {}),
    "no-header": (b"1;Rynek;10.0.0.5\r\n2;Most;10.0.0.6\r\n", "table_column_unknown", {"column": "1"}),
    "no-number": (b"nazwa;adres\r\nRynek;10.0.0.5\r\n", "table_no_number", {}),
    "utf-16": ("numer;nazwa;adres\r\n50;Żółta;10.0.0.5\r\n".encode("utf-16"), "table_binary", {}),
    "neither": (b"numer;nazwa;adres\r\n50;\x81\x83;10.0.0.5\r\n", "table_encoding", {"byte": 22}),
    "quotes": (b'numer;nazwa;adres\r\n50;"Rynek;10.0.0.5\r\n', "table_quotes", {"line": 2}),
    "picture": (b"\x89PNG\r\n\x1a\n\x00\x00", "table_binary", {}),
}


def cameras(page: Page) -> Any:
    """All of them, without what changes by itself."""
    found = page_call(page, "GET", "/cameras?limit=1000")["items"]
    return [{k: one[k] for k in ("id", "number", "name", "street", "group", "enabled", "admin")} for one in found]


def words(language: str, code: str, **facts: object) -> str:
    return say(language, f"said.{code}", table=say(language, "said_table.the_table"), **facts)


def stem(text: str) -> str:
    """Up to the first fact that the test does not name."""
    known = text.split("{{", maxsplit=1)[0]
    assert len(known) > 10
    return known


def no_english(page: Page, code: str, language: str) -> None:
    """The server's own sentence is not on a Polish page: not its longest piece between two facts."""
    if language == "pl":
        assert max(re.split(r"\{+.*?\}+", ENGLISH[code]), key=len) not in page.locator("body").inner_text()


@pytest.mark.parametrize("button", ["camera.add", "test.run"])
def test_an_address_that_is_none(at: Desk, language: str, button: str) -> None:
    page = at.sign_in(TECHNICIAN, "/cameras/new")
    before = cameras(page)
    field = page.get_by_label(say(language, "camera.main_url"))
    page.get_by_label(say(language, "camera.name"), exact=False).first.fill("Nowa")
    for typed, code in BAD_URLS.items():
        field.fill(typed)
        page.locator("form").get_by_role("button", name=say(language, button)).click()
        expect(page.locator("form").get_by_text(stem(words(language, code, host="300.1.2.3"))).first).to_be_visible()
        expect(field).to_have_attribute("aria-invalid", "true")
        is_clean(page, language)
        no_english(page, code, language)
        assert page.url.endswith("/cameras/new")
    assert cameras(page) == before


def test_fields_that_do_not_fit(at: Desk, language: str) -> None:
    page = at.sign_in(TECHNICIAN, "/cameras/new")
    before = cameras(page)
    page.get_by_label(say(language, "camera.name"), exact=False).first.fill("Nowa")
    page.get_by_label(say(language, "camera.main_url")).fill("rtsp://10.0.0.5/a")
    for label, typed, code, facts in (
        ("number", "dwa", "not_whole", {}),
        ("number", str(before[0]["number"]), "number_taken", {"number": before[0]["number"]}),
        ("number", "0", "number_small", {"least": 1}),
        ("lat", "91", "number_large", {"most": 90}),
    ):
        field = page.get_by_label(say(language, f"camera.{label}"), exact=True)
        field.fill(typed)
        page.locator("form").get_by_role("button", name=say(language, "camera.add")).click()
        expect(field).to_have_attribute("aria-invalid", "true")
        expect(page.locator("form").get_by_text(words(language, code, **facts)).first).to_be_visible()
        is_clean(page, language)
        field.fill("")
    assert cameras(page) == before


def test_a_camera_that_does_not_answer_its_test(at: Desk, language: str) -> None:
    """What happened and the next step, and not the advice to do what was just done."""
    page = at.sign_in(TECHNICIAN, "/cameras/new")
    before, where = cameras(page), f"127.0.0.1:{free_port()}"
    page.get_by_label(say(language, "camera.main_url")).fill(f"rtsp://{where}/kam")
    page.get_by_role("button", name=say(language, "test.run")).click()
    report = page.get_by_label(say(language, "test.title"))
    expect(report).to_contain_text(say(language, "reason.refused"))
    expect(report).to_contain_text(words(language, "connection_refused", camera=where))
    expect(report).not_to_contain_text(say(language, "todo.refused"))
    is_clean(page, language)
    no_english(page, "connection_refused", language)
    assert cameras(page) == before


@pytest.mark.parametrize("name", BAD_TABLES)
def test_a_table_that_is_none(at: Desk, language: str, name: str, tmp_path: Path) -> None:
    content, code, facts = BAD_TABLES[name]
    page = at.sign_in(TECHNICIAN, "/cameras/import")
    before = cameras(page)
    send(page, tmp_path, content)
    says(page, language, "problem.invalid_said")
    expect(page.get_by_role("alert")).to_contain_text(stem(words(language, code, **facts)))
    no_english(page, code, language)
    expect(page.get_by_role("table")).to_have_count(0)
    assert cameras(page) == before


def test_a_table_as_polish_excel_saves_it_keeps_its_letters(at: Desk, language: str, tmp_path: Path) -> None:
    page = at.sign_in(TECHNICIAN, "/cameras/import")
    before = cameras(page)
    send(page, tmp_path, "numer;nazwa;adres\r\n700;Źródłowa / Żółta;10.0.0.5\r\n".encode("cp1250"))
    expect(page.get_by_role("cell", name="Źródłowa / Żółta")).to_be_visible()
    assert cameras(page) == before


def test_the_template_is_a_table_that_the_page_takes(
    at: Desk, site: BrowserSite, language: str, tmp_path: Path
) -> None:
    page = at.sign_in(TECHNICIAN, "/cameras/import")
    before = cameras(page)
    with page.expect_download() as download:
        page.get_by_role("link", name=say(language, "import.template")).click()
    assert download.value.suggested_filename == "kamery-wzor.csv"
    page.locator("input[type=file]").set_input_files(download.value.path())
    row = page.get_by_role("row").filter(has_text="Rynek, płyta")
    expect(row).to_contain_text(say(language, "verdict.new"))
    expect(row).to_contain_text(str(max(one["number"] for one in before) + 1))
    assert cameras(page) == before


def send(page: Page, folder: Path, content: bytes) -> None:
    file = folder / "kamery.csv"
    file.write_bytes(content)
    page.locator("input[type=file]").set_input_files(file)
