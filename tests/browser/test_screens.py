"""Every screen: accessibility by axe in both themes and languages, rights, and a first day from the set-up code on."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import ADMINISTRATOR, NAMES, OPERATOR, TECHNICIAN
from tests.support.browser_site import PASSWORD, BrowserSite, Desk, await_words, browser_site, desk, page_call, say
from tests.support.city_table import city_table
from tests.support.live_site import ROOT
from vms.simulate import Footage
from web.identity.access import Role

pytestmark = [pytest.mark.network, pytest.mark.slow, pytest.mark.timeout(240), pytest.mark.xdist_group("browser")]

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
PATHS = ("/cameras", "/cameras/new", "/cameras/import", "/health", "/people", "/audit", "/account", "/about", "/window")


def violations(page: Page) -> list[str]:
    """What axe finds, one line each."""
    page.evaluate((ROOT / "web/client/node_modules/axe-core/axe.min.js").read_text())
    return page.evaluate(
        """async (rules) => (await axe.run(document, {runOnly: rules})).violations.flatMap((v) =>
            v.nodes.map((n) => `${v.id}: ${n.target.join(' ')} ${n.failureSummary}`))""",
        RULES,
    )  # type: ignore[no-any-return]


@pytest.mark.parametrize("theme", ["noc", "dzien"])
@pytest.mark.parametrize("language", ["pl", "en"])
def test_axe_finds_nothing_on_any_screen(
    browser: Browser, site: BrowserSite, fresh: BrowserSite, language: str, theme: str
) -> None:
    """`fresh` is set up by a later test."""
    found: dict[str, list[str]] = {}
    with desk(browser, site, language=language, theme=theme) as at:
        page = at.page()
        page.goto(site.url)
        page.locator("input[name=username]").wait_for()
        found["sign-in"] = violations(page)
        page.close()
        page = at.sign_in(ADMINISTRATOR)
        page.locator(".tile").first.wait_for()
        found["wall"] = violations(page)
        for path in PATHS:
            page.goto(site.url + path)
            page.locator("h1").first.wait_for()
            expect(page.get_by_text(re.compile("^(Wczytuję|Loading)…$"))).to_have_count(0)
            found[path] = violations(page)
        page.goto(f"{site.url}/cameras/{site.cameras[0].id}")
        page.locator("form").wait_for()
        found["camera"] = violations(page)
        page.goto(site.url + "/people")
        page.get_by_role("button", name=OPERATOR).click()
        page.locator(".cols table").nth(1).wait_for()
        found["person"] = violations(page)
        page.goto(site.url + "/account")
        page.get_by_role("button", name=say(language, "account.change_password")).click()
        page.get_by_role("dialog").locator("form").wait_for()
        found["password change"] = violations(page)
        newcomer = f"ewa.{language}.{theme}"
        made = page_call(page, "POST", "/users", {"name": newcomer, "display_name": "", "language": language})
        assert at.foreign == []
        assert at.complaints == []
    with desk(browser, site, language=language, theme=theme) as at:
        page = at.sign_in(OPERATOR)
        await_words(page, {1: "live", 2: "live"}, 20)
        found["live wall"] = violations(page)
    with desk(browser, site, language=language, theme=theme) as at:
        page = at.page()
        page.goto(site.url)
        page.locator("input[name=username]").fill(newcomer)
        page.locator("input[name=password]").fill(made["password"])
        page.keyboard.press("Enter")
        page.get_by_role("heading", name=say(language, "entry.new_password")).wait_for()
        found["new password"] = violations(page)
    with desk(browser, fresh, language=language, theme=theme) as at:
        page = at.page()
        page.goto(fresh.url)
        page.get_by_role("heading", name=say(language, "entry.first_run")).wait_for()
        found["first run"] = violations(page)
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_a_technician_sees_no_picture_and_only_the_screens_of_the_role(browser: Browser, site: BrowserSite) -> None:
    with desk(browser, site) as at:
        page = at.sign_in(TECHNICIAN)
        expect(page.get_by_text("Nie masz kamer, które możesz oglądać na żywo.")).to_be_visible()
        rail = page.locator(".shell__rail").inner_text()
        assert "Kamery" in rail
        assert "Zdrowie" in rail
        assert "Audyt" not in rail
        for path in ("/audit", "/people"):
            page.goto(site.url + path)
            expect(page.get_by_text("Nie masz prawa do tego ekranu.")).to_be_visible()
        assert at.complaints == []


def test_a_wrong_password_is_told_in_both_languages(browser: Browser, site: BrowserSite) -> None:
    for language, text in (("pl", "Nazwa lub hasło są niepoprawne."), ("en", "Name or password is wrong.")):
        with desk(browser, site, language=language) as at:
            page = at.page()
            page.goto(site.url)
            page.locator("input[name=username]").fill("nobody.here")
            page.locator("input[name=password]").fill("wrong-password")
            page.keyboard.press("Enter")
            expect(page.get_by_role("alert")).to_have_text(text)


@pytest.mark.parametrize("language", ["pl", "en"])
def test_the_log_is_asked_for_an_act_by_its_words_and_answers_in_words(
    browser: Browser, site: BrowserSite, language: str
) -> None:
    with desk(browser, site, language=language) as at:
        page = at.sign_in(ADMINISTRATOR, "/audit")
        act, other = (say(language, f"audit_act.{one}") for one in ("read_audit", "sign_in"))
        for wanted in (other, act):
            page.get_by_label(say(language, "audit.reason")).fill("kontrola")
            page.get_by_label(say(language, "audit.act"), exact=True).first.fill(wanted)
            page.get_by_role("option", name=wanted, exact=True).click()
            page.get_by_role("button", name=say(language, "audit.read"), exact=True).click()
            rows = page.locator("tbody tr")
            expect(rows.first).to_contain_text(wanted)
            expect(rows.filter(has_not_text=wanted)).to_have_count(0)
        expect(rows.first).to_contain_text(f"{say(language, 'audit_asked.act')} {act}")
        assert at.complaints == []


def test_a_saved_camera_says_so_and_what_it_is_like(site: BrowserSite, at: Desk, language: str) -> None:
    page = at.sign_in(TECHNICIAN, f"/cameras/{site.cameras[5].id}")
    saved, name = page.locator("form [role=status]"), page.get_by_label(say(language, "camera.name")).first
    save = page.locator("form").get_by_role("button", name=say(language, "act.save"))
    name.fill(NAMES[4])
    save.click()
    expect(saved).to_have_text(f"{say(language, 'camera.saved')} {say(language, 'said.same_name', number=5)}")
    name.fill(NAMES[5])
    save.click()
    expect(saved).to_have_text(say(language, "camera.saved"))

    page.goto(site.url + "/cameras/new")
    name.fill(NAMES[0])
    page.get_by_label(say(language, "camera.main_url")).fill("rtsp://192.0.2.7/a")
    page.locator("form").get_by_role("button", name=say(language, "camera.add")).click()
    page.wait_for_url(re.compile(r"/cameras/[0-9a-f-]{36}$"))
    try:
        expect(saved).to_have_text(f"{say(language, 'camera.saved')} {say(language, 'said.same_name', number=1)}")
        page.reload()
        expect(save).to_be_visible()
        expect(saved).to_have_count(0)
    finally:
        page_call(page, "DELETE", "/cameras/" + page.url.rsplit("/", 1)[1])


def test_the_browser_names_the_screen(site: BrowserSite, at: Desk, language: str) -> None:
    page = at.sign_in(TECHNICIAN)
    places = {
        "/": "nav.live", "/cameras": "nav.cameras", "/cameras/new": "nav.cameras", "/health": "nav.health",
        "/nowhere": "shell.no_such_page", "/account": "nav.account",
    }  # fmt: skip
    for path, key in places.items():
        page.goto(site.url + path)
        expect(page).to_have_title(f"{say(language, key)} \N{EN DASH} Stróż")
    page.get_by_role("link", name=say(language, "nav.cameras"), exact=True).click()
    expect(page).to_have_title(f"{say(language, 'nav.cameras')} \N{EN DASH} Stróż")
    page.get_by_role("link", name=say(language, "nav.account"), exact=True).click()
    page.get_by_role("button", name=say(language, "account.sign_out")).click()
    expect(page).to_have_title("Stróż")


@pytest.fixture(scope="module")
def fresh(small_footage: list[Footage]) -> Iterator[BrowserSite]:
    with browser_site(small_footage, (), {}, fresh=True) as found:
        yield found


def test_a_first_day(browser: Browser, fresh: BrowserSite) -> None:
    """Set-up code, administrator, a camera tested and added, a table of cameras, a person with a role, who then watches."""
    with desk(browser, fresh) as at:
        page = at.page()
        page.goto(fresh.url)
        page.get_by_label("Kod instalacyjny").fill("wrong-code")
        page.get_by_label("Nazwa administratora").fill("adam.wilk")
        page.get_by_label("Hasło *", exact=True).fill(PASSWORD)
        page.get_by_label("Hasło jeszcze raz").fill(PASSWORD)
        page.get_by_role("button", name="Utwórz administratora").click()
        page.get_by_role("alert").wait_for()
        page.get_by_label("Kod instalacyjny").fill(fresh.setup_code or "")
        page.get_by_role("button", name="Utwórz administratora").click()
        page.locator("input[name=username]").fill("adam.wilk")
        page.locator("input[name=password]").fill(PASSWORD)
        page.keyboard.press("Enter")
        page.locator(".shell__rail").wait_for()

        page.goto(fresh.url + "/cameras")
        expect(page.get_by_text("Nie ma jeszcze kamer.")).to_be_visible()
        page.get_by_role("link", name="Dodaj kamerę").click()
        main, sub = fresh.simulator.call(lambda sim: (sim.url("cam0"), sim.url("cam0", sub=True)))
        page.get_by_label("Nazwa").fill("Rynek, płyta")
        page.get_by_label("Adres strumienia głównego").fill(main)
        page.get_by_label("Adres strumienia pomocniczego").fill(sub)
        page.get_by_role("button", name="Sprawdź kamerę").click()
        expect(page.get_by_role("heading", name="Strumień główny: obraz przychodzi")).to_be_visible(timeout=40_000)
        page.locator("form").get_by_role("button", name="Dodaj kamerę").click()
        expect(page.get_by_role("heading", name="001 Rynek, płyta")).to_be_visible()

        page.goto(fresh.url + "/cameras/import")
        page.locator("input[type=file]").set_input_files(
            {"name": "kamery.csv", "mimeType": "text/csv", "buffer": TABLE.encode()}
        )
        expect(page.get_by_text("2 wiersze z błędem; nie zostaną zapisane.")).to_be_visible()
        assert page.locator("td .loud").count() == 2
        page.get_by_role("button", name="Zapisz 1 dobry wiersz").click()
        expect(page.get_by_text("Zapisano 1 kamerę.")).to_be_visible()

        page.goto(fresh.url + "/people")
        page.get_by_role("button", name="Dodaj osobę").click()
        page.get_by_role("dialog").get_by_label("Nazwa użytkownika").fill("anna.nowak")
        page.get_by_role("dialog").get_by_label("Rola", exact=True).first.click()
        page.get_by_role("option", name="operator", exact=True).click()
        page.get_by_role("dialog").get_by_role("button", name="Dodaj osobę").click()
        confirm = page.get_by_role("dialog", name="Potwierdź hasłem")
        secret = page.locator(".secret")
        expect(confirm.or_(secret)).to_be_visible()
        if confirm.is_visible():
            confirm.locator("input").first.fill(PASSWORD)
            page.keyboard.press("Enter")
        one_time = secret.inner_text()
        page.get_by_role("button", name="Zapisane, zamknij").click()
        seen = page.locator("section", has_text="Co widzi anna.nowak").last
        expect(seen).to_contain_text("oglądanie na żywo")
        expect(seen).not_to_contain_text("eksport")
        page.get_by_role("button", name="Nadaj rolę").click()
        page.get_by_role("dialog").get_by_label("Rola", exact=True).first.click()
        page.get_by_role("option", name="kierownik zmiany", exact=True).click()
        page.get_by_role("button", name="Nadaj", exact=True).click()
        expect(seen).to_contain_text("eksport")

        page.goto(fresh.url + "/audit")
        page.get_by_label("Powód odczytu").fill("kontrola pierwszego dnia")
        page.keyboard.press("Enter")
        expect(page.locator("tbody tr").first).to_contain_text("odczyt rejestru")
        assert at.foreign == []
        assert at.complaints == []
    with desk(browser, fresh) as at:
        page = at.page()
        page.goto(fresh.url)
        page.locator("input[name=username]").fill("anna.nowak")
        page.locator("input[name=password]").fill(one_time)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Nowe hasło")).to_be_visible()
        fields = page.locator("input[type=password]")
        for index, text in enumerate((one_time, PASSWORD, PASSWORD)):
            fields.nth(index).fill(text)
        page.get_by_role("button", name="Ustaw hasło").click()
        page.locator(".shell__rail").wait_for()
        assert at.complaints == []


def test_a_table_of_190_rows_with_7_faults(browser: Browser, small_footage: list[Footage]) -> None:
    """UX check 39 on the page: seven rows and columns are named, the rest goes in, and a second time nothing is to be done."""
    content, faults = city_table()
    people: dict[str, Role | None] = {ADMINISTRATOR: Role.ADMINISTRATOR}
    with browser_site(small_footage, (), people) as city, desk(browser, city) as at:
        city.kill("recorder")  # or it would look for 183 cameras
        page = at.sign_in(ADMINISTRATOR, "/cameras/import")

        def judged() -> dict[int, str]:
            page.locator("input[type=file]").set_input_files(
                {"name": "kamery.csv", "mimeType": "text/csv", "buffer": content}
            )
            expect(page.get_by_text("190 wierszy. 7 wierszy z błędem; nie zostaną zapisane.")).to_be_visible()
            page.get_by_label("Tylko wiersze z błędem").check()
            rows = [row.locator("td").all_inner_texts() for row in page.locator("tbody tr").all()]
            assert all(cells[3].endswith("błąd") and cells[5] for cells in rows), rows
            return {int(cells[0]): cells[4] for cells in rows}

        assert judged() == faults
        assert page_call(page, "GET", "/cameras")["items"] == []
        page.get_by_role("button", name="Zapisz 183 dobre wiersze").click()
        expect(page.get_by_text("Zapisano 183 kamery.")).to_be_visible(timeout=60_000)
        page.goto(city.url + "/cameras")
        expect(page.get_by_text("183 kamery")).to_be_visible()
        written = page_call(page, "GET", "/cameras?limit=500")["items"]
        page.goto(city.url + "/cameras/import")
        assert judged() == faults
        expect(page.get_by_text("183 wiersze bez zmian. Nie ma nic do zapisania.")).to_be_visible()
        expect(page.get_by_role("button", name=re.compile("^Zapisz"))).to_have_count(0)
        assert page_call(page, "GET", "/cameras?limit=500")["items"] == written
        assert len(written) == 183
        assert at.complaints == []


TABLE = """\
numer;nazwa;adres;profil_main
20;Park;192.0.2.7;/a
21;Most;;/a
dwa;Dworzec;192.0.2.9;/a
"""
