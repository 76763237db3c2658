"""Every screen of the client as pictures, for eyes to judge: `python -m tests.support.screenshots FOLDER`.

One real site in which happens at once what an operator may meet: a camera is away, one comes late, one is switched off,
two send what few browsers show. Each screen is taken in both languages, both themes and two sizes. What could not be taken
is named at the end, and the exit status says so. How a list waits, fails or is refused is shown by holding back or cutting
that one request in the browser.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any
from uuid import uuid4

from playwright.sync_api import Browser, Error, Page, Route

from tests.support.browser_site import (
    PASSWORD,
    BrowserSite,
    Desk,
    await_words,
    browser_site,
    chromium,
    desk,
    lay,
    page_call,
    say,
)  # fmt: skip
from tests.support.city_table import city_table
from tests.support.slow_feed import slow_feed
from vms.errors import UserError
from vms.model import Codec
from vms.simulate import Footage, prepare
from vms.simulate.recipes import Material, Pair, Recipe
from web.identity.access import Role

OPERATOR, ADMINISTRATOR, TECHNICIAN, NEWCOMER = "anna.nowak", "adam.wilk", "tomasz.kos", "ewa.lis"
PLACES = (
    ("Rynek, płyta od ratusza", "Rynek", "Śródmieście"),
    ("Krótka / Niska", "Krótka", "Śródmieście"),
    ("Dworzec, perony", "Kolejowa", "Dworzec"),
    ("al. Armii Krajowej 12", "al. Armii Krajowej", "Śródmieście"),
    ("Park Miejski, fontanna", "Parkowa", "Parki"),
    ("Szkoła Podstawowa nr 6, wejście", "Szkolna", "Szkoły"),
    ("Zalew Lubianka, plaża", "Wodna", "Parki"),
    ("Targowisko, brama A", "Handlowa", "Śródmieście"),
    ("Konstytucji 3 Maja / Borkowskiego", "Konstytucji 3 Maja", "Śródmieście"),
    ("Liceum, boisko", "Szkolna", "Szkoły"),
)
AWAY, LATE, OFF, TRANSCODED, UNSHOWABLE = 2, 3, 7, 8, 9  # numbers of cameras
LEAVES, FOLLOWED = 6, 5  # which goes away while it is watched, and which another window selects
LATE_S = 4.2
SIZES = {1366: (1366, 768), 1920: (1920, 1080)}


@dataclass
class Album:
    """Pictures of one language, theme and size; a screen that cannot be taken costs no other."""

    folder: Path
    language: str
    theme: str
    width: int
    missed: list[str] = field(default_factory=list)

    def take(self, page: Page, name: str) -> None:
        page.mouse.move(2, 700)  # no row or tile is hovered
        page.screenshot(path=self.folder / f"{name}.{self.language}-{self.theme}-{self.width}.png")

    @contextmanager
    def screen(self, name: str) -> Iterator[None]:
        try:
            yield
        except (Error, AssertionError) as error:
            line = f"{name}.{self.language}-{self.theme}-{self.width}: {str(error).splitlines()[0]}"
            print(line, file=sys.stderr)
            self.missed.append(line)

    def words(self, key: str, **facts: object) -> str:
        return say(self.language, key, **facts)


def footage() -> list[Footage]:
    """Street and pavement, one a camera; the pattern where the material cannot be had."""
    bikes = Recipe("shots-bikes", Material.BIKES, Codec.H264, 640, 360, Fraction(25, 2), 10, 25, 600_000)
    vtest = Recipe("shots-vtest", Material.VTEST, Codec.H264, 0, 0, Fraction(10), 30, 20, 600_000)
    hevc = Recipe("shots-hevc", Material.BIKES, Codec.H265, 640, 360, Fraction(25, 2), 10, 25, 400_000)
    try:
        one, two, three = prepare(None, None, [Pair(bikes, bikes), Pair(vtest, vtest), Pair(hevc, None)])
    except UserError as error:
        print(f"the pattern instead of the street: {error}", file=sys.stderr)
        plain = Recipe("shots-pattern", Material.PATTERN, Codec.H264, 640, 360, Fraction(25, 2), 10, 25, 600_000)
        one = two = prepare(None, None, [Pair(plain, plain)])[0]
        three = prepare(
            None, None, [Pair(Recipe(**{**_facts(plain), "name": "shots-pattern-hevc", "codec": Codec.H265}), None)]
        )[0]
    seen = [one if number % 2 else two for number in range(1, len(PLACES) + 1)]
    seen[TRANSCODED - 1] = seen[UNSHOWABLE - 1] = Footage(three.main, one.sub)
    return seen


def _facts(recipe: Recipe) -> dict[str, Any]:
    return {name: getattr(recipe, name) for name in Recipe.__dataclass_fields__}


def furnish(browser: Browser, site: BrowserSite) -> str:
    """Streets, groups, what is off and unshowable, layouts, a token, a newcomer; returns her one-time password."""
    with desk(browser, site) as at:
        page = at.sign_in(ADMINISTRATOR, "/about")
        for camera, (_, street, group) in zip(site.cameras, PLACES, strict=True):
            change: dict[str, Any] = {"street": street, "group": group, "enabled": camera.number != OFF}
            if camera.number in (TRANSCODED, UNSHOWABLE):
                change["sub_url"] = ""
            page_call(page, "PATCH", f"/cameras/{camera.id}", change)
        made = page_call(page, "POST", "/users", {"name": NEWCOMER, "display_name": "Ewa Lis", "language": "pl"})
        page_call(page, "POST", "/tokens", {"name": "Tablica wyników", "acts": ["read_health"], "days": 90})
    with desk(browser, site) as at:
        page = at.sign_in(OPERATOR, "/about")
        ids = [str(camera.id) for camera in site.cameras]
        for name, grid, tiles in (("Śródmieście", "2x2", ids[:4]), ("Szkoły i parki", "1+5", [None, *ids[4:9]])):
            wish = {"name": name, "shared": True, "grid": grid, "spot": 0 if grid == "1+5" else None, "tiles": tiles}
            page_call(page, "POST", "/layouts", wish)
    return str(made["password"])


def entry(at: Desk, album: Album) -> None:
    page = at.page()
    with album.screen("server-away"):
        page.route("**/api/v1/site", lambda route: route.abort())
        page.goto(at.site.url)
        page.get_by_role("alert").wait_for()
        album.take(page, "server-away")
    page.unroute_all()
    with album.screen("sign-in"):
        page.goto(at.site.url)
        page.locator("input[name=username]").wait_for()
        album.take(page, "sign-in")
        page.locator("input[name=username]").fill("anna.nowak")
        page.locator("input[name=password]").fill("nie-to-hasło")
        page.keyboard.press("Enter")
        page.get_by_role("alert").wait_for()
        album.take(page, "sign-in-refused")
        page.get_by_role("button", name=album.words("about.declaration")).click()
        page.get_by_role("dialog").wait_for()
        album.take(page, "declaration")


def newcomer(at: Desk, album: Album, one_time: str) -> None:
    page = at.page()
    with album.screen("new-password"):
        page.goto(at.site.url)
        page.locator("input[name=username]").fill(NEWCOMER)
        page.locator("input[name=password]").fill(one_time)
        page.keyboard.press("Enter")
        page.get_by_role("heading", name=album.words("entry.new_password")).wait_for()
        album.take(page, "new-password")
        fields = page.locator("input[type=password]")
        for index, text in enumerate((one_time, "hasło", "hasło")):
            fields.nth(index).fill(text)
        page.keyboard.press("Enter")
        page.get_by_role("alert").wait_for()
        album.take(page, "new-password-weak")


def first_run(at: Desk, album: Album) -> None:
    page = at.page()
    with album.screen("first-run"):
        page.goto(at.site.url)
        page.get_by_role("heading", name=album.words("entry.first_run")).wait_for()
        album.take(page, "first-run")
        for label, text in (("setup_code", "AAAA-AAAA"), ("administrator_name", ADMINISTRATOR)):
            page.get_by_label(album.words(f"entry.{label}")).fill(text)
        fields = page.locator("input[type=password]")
        fields.nth(0).fill(PASSWORD)
        fields.nth(1).fill(PASSWORD)
        page.keyboard.press("Enter")
        page.get_by_role("alert").wait_for()
        fields.nth(1).fill("inne")
        album.take(page, "first-run-refused")


def wall(at: Desk, album: Album) -> None:
    ids = [str(camera.id) for camera in at.site.cameras]
    page = at.sign_in(OPERATOR)
    settled: dict[int, Any] = {1: "live", LATE: "delayed", AWAY: ("lost", "reconnecting")}

    def laid(grid: str, tiles: list[object]) -> None:
        """Camera 1 is in the spot tile, where there is one; what the page tells of it and of the station was measured."""
        lay(page, grid, 0 if tiles[0] is None else None, tiles)
        await_words(page, {4: "live"} if grid != "1" else {1: "live"}, 60)
        page.keyboard.press("1")
        page.keyboard.press("Enter")
        await_words(page, {1: "live"}, 60)
        page.locator(".shell__foot", has_text=re.compile(r", \d+ ")).wait_for()
        if tiles[0] is None:
            page.locator(".tile[data-spot=true] .tile__figures", has_text=re.compile(r"\d (kl\./s|fps) ")).wait_for()

    with album.screen("wall"):
        laid("1+12", [None, *ids])
        await_words(page, settled, 60)
        album.take(page, "wall")
        page.locator('.tile[data-camera="1"] .tile__menu').last.click()
        page.get_by_role("menu").wait_for()
        page.screenshot(path=album.folder / f"wall-menu.{album.language}-{album.theme}-{album.width}.png")
        page.keyboard.press("Escape")
    with album.screen("find"):
        page.keyboard.press("/")
        page.keyboard.insert_text("szk")
        page.locator(".find__list li").first.wait_for()
        album.take(page, "find")
        page.keyboard.insert_text("qqq")
        page.locator(".find__empty").wait_for()
        album.take(page, "find-none")
        page.keyboard.press("Escape")
    with album.screen("help"):
        page.keyboard.press("?")
        page.get_by_role("dialog").wait_for()
        album.take(page, "help")
        page.keyboard.press("Escape")
    with album.screen("layouts"):
        page.get_by_role("button", name=album.words("wall.layouts")).click()
        page.get_by_role("menu").wait_for()
        album.take(page, "layouts")
        page.get_by_role("menuitem", name=album.words("wall.save_as")).click()
        page.get_by_role("dialog").wait_for()
        album.take(page, "layout-save")
        page.keyboard.press("Escape")
    with album.screen("pick"):
        page.keyboard.press("m")
        page.get_by_role("dialog").wait_for()
        album.take(page, "pick")
        page.keyboard.press("Escape")
        page.locator('.tile[data-camera="1"] .tile__menu').last.click()
        page.get_by_role("menuitem", name=album.words("tile.edit_tour")).click()
        page.get_by_role("dialog").wait_for()
        album.take(page, "tour")
        page.keyboard.press("Escape")
    with album.screen("wall-states"):
        tour = {"tour": [ids[3], ids[4]], "dwell_s": 20}
        of_each = [
            ids[0],
            ids[AWAY - 1],
            ids[LATE - 1],
            ids[OFF - 1],
            ids[UNSHOWABLE - 1],
            ids[TRANSCODED - 1],
            str(uuid4()),
            tour,
            None,
        ]
        lay(page, "3x3", None, of_each)
        await_words(page, settled | {OFF: "off"}, 60)
        page.locator(".tile", has_text=album.words("tile.transcoded")).wait_for(timeout=60_000)
        page.keyboard.press("ArrowRight")
        album.take(page, "wall-states")
    for grid, spot in (("1", None), ("2x2", None), ("4x4", None), ("1+5", 0), ("1+7", 0), ("2+8", 0)):
        with album.screen(f"wall-{grid}"):
            laid(grid, [None, *ids] if spot == 0 else list(ids))
            album.take(page, f"wall-{grid}")
    with album.screen("wall-zoom"):
        page.keyboard.press("Enter")
        for _ in range(4):
            page.keyboard.press("+")
        page.locator(".tile__zoomnote").first.wait_for()
        album.take(page, "wall-zoom")
        page.keyboard.press("z")
        page.keyboard.press("Escape")
    with album.screen("wall-archival"):
        lay(page, "2x2", None, [ids[0], ids[LEAVES - 1], ids[3], ids[4]])
        await_words(page, {1: "live", LEAVES: "live"}, 60)
        at.site.unplug(LEAVES - 1)
        try:
            await_words(page, {LEAVES: ("lost", "reconnecting")}, 30)
            page.get_by_role("button", name=album.words("tile.show_last")).click()
            album.take(page, "wall-archival")
        finally:
            at.site.plug(LEAVES - 1)
        await_words(page, {LEAVES: "live"}, 60)
    with album.screen("no-right"):
        page.goto(at.site.url + "/audit")
        page.get_by_role("alert").wait_for()
        album.take(page, "no-right")
        page.goto(at.site.url + "/nowhere")
        page.get_by_text(album.words("shell.no_such_page")).wait_for()
        album.take(page, "no-such-page")
    with album.screen("second"):
        page.goto(at.site.url)
        laid("1+5", [None, *ids])
        page.goto(at.site.url + "/window")
        await_words(page, {1: "live"}, 30)
        first = at.page()
        first.goto(at.site.url)
        first.locator(".tile").first.wait_for()
        first.keyboard.press(str(FOLLOWED))
        first.keyboard.press("Enter")
        await_words(page, {FOLLOWED: ("live", "delayed")}, 30)
        first.close()
        album.take(page, "second")
    with album.screen("blind"):
        page.goto(at.site.url)
        laid("1+5", [None, *ids])
        at.site.freeze("web")
        try:
            page.locator("[data-banner=blind]").wait_for(timeout=8000)
            await_words(page, {1: "checking"}, 3)
            album.take(page, "blind")
        finally:
            at.site.thaw("web")


def technician(at: Desk, album: Album) -> None:
    with album.screen("wall-nothing"):
        page = at.sign_in(TECHNICIAN)
        page.get_by_text(album.words("wall.nothing")).wait_for()
        album.take(page, "wall-nothing")


def elsewhere(at: Desk, album: Album) -> None:
    """A workstation in another zone, and then with a wrong clock too."""
    with album.screen("zone"):
        page = at.sign_in(OPERATOR, "/health")
        page.locator("[data-banner=zone]").wait_for()
        page.locator("tbody tr").first.wait_for()
        page.locator(".shell__clock", has_text=re.compile(r"\d:\d\d")).wait_for()
        album.take(page, "zone")
        at.context.add_init_script("(() => { const now = Date.now; Date.now = () => now() + 4200; })()")
        page.goto(at.site.url + "/cameras")
        page.locator("[data-banner=clock]").wait_for()
        page.locator("tbody tr").first.wait_for()
        album.take(page, "clock")


def administrator(at: Desk, album: Album) -> None:
    words, site = album.words, at.site
    page = at.sign_in(ADMINISTRATOR)

    def opened(path: str) -> None:
        page.goto(site.url + path)
        page.locator("h1").first.wait_for()
        page.wait_for_load_state("networkidle") if path != "/" else None

    def dialog(name: str, act: Callable[[], None]) -> None:
        act()
        page.get_by_role("dialog").wait_for()
        album.take(page, name)

    with album.screen("wall-purpose"):
        page.locator(".tile").first.wait_for()
        album.take(page, "wall-purpose")
        dialog("purpose", page.get_by_role("button", name=words("tile.state_purpose")).first.click)
    with album.screen("cameras"):
        opened("/cameras")
        page.locator("tbody tr").first.wait_for()
        album.take(page, "cameras")
        page.get_by_label(words("find.label")).last.fill("qqq")
        album.take(page, "cameras-none-found")
    with album.screen("cameras-states"):
        for name, act in (("cameras-loading", lambda route: None), ("cameras-failed", lambda route: route.abort())):
            page.route("**/api/v1/cameras?*", act)
            page.goto(site.url + "/cameras")
            page.locator("h1").first.wait_for()
            page.locator(".state[role=alert]" if name == "cameras-failed" else ".state").first.wait_for()
            album.take(page, name)
            page.unroute_all(behavior="ignoreErrors")
    with album.screen("camera-new"):
        opened("/cameras/new")
        page.get_by_label(words("camera.name"), exact=False).first.fill("Most na Kamiennej")
        page.get_by_label(words("camera.main_url"), exact=False).first.fill("http//10.0.0.1")
        page.locator("form").get_by_role("button", name=words("camera.add")).click()
        page.get_by_role("alert").first.wait_for()
        album.take(page, "camera-new-refused")
    with album.screen("camera"):
        opened(f"/cameras/{site.cameras[0].id}")
        page.locator("form").wait_for()
        album.take(page, "camera")
        page.get_by_role("button", name=words("test.run")).click()
        page.locator(f'section[aria-label="{words("test.title")}"]').wait_for(timeout=60_000)
        album.take(page, "camera-test")
        dialog("camera-retire", page.get_by_role("button", name=words("camera.retire")).click)
        opened(f"/cameras/{site.cameras[AWAY - 1].id}")
        page.get_by_role("button", name=words("test.run")).click()
        page.locator(f'section[aria-label="{words("test.title")}"]').wait_for(timeout=60_000)
        album.take(page, "camera-test-failed")
    with album.screen("import"):
        opened("/cameras/import")
        album.take(page, "import")
        content, _ = city_table()
        page.locator("input[type=file]").set_input_files(
            {"name": "kamery.csv", "mimeType": "text/csv", "buffer": content}
        )
        page.locator("td .loud").first.wait_for()
        album.take(page, "import-judged")
        page.get_by_label(words("import.only_bad")).check()
        album.take(page, "import-bad")
        other = {"name": "obiekty.csv", "mimeType": "text/csv", "buffer": b"obiekt;ulica\nMost;Wodna\n"}
        page.locator("input[type=file]").set_input_files(other)
        page.locator(".note--loud").wait_for()
        album.take(page, "import-refused")
    with album.screen("health"):
        opened("/health")
        page.locator("tbody tr").first.wait_for()
        album.take(page, "health")
    with album.screen("people"):
        opened("/people")
        page.locator("tbody tr").first.wait_for()
        album.take(page, "people")
        page.get_by_role("button", name=OPERATOR).click()
        page.locator(".cols table").nth(1).wait_for()
        album.take(page, "person")
        dialog("grant", page.get_by_role("button", name=words("grant.add")).click)
        page.keyboard.press("Escape")
        dialog("person-remove", page.get_by_role("button", name=words("people.remove"), exact=True).click)
        page.keyboard.press("Escape")
        page.get_by_role("button", name=words("people.roles"), exact=True).click()
        page.get_by_role("dialog").locator("table").wait_for()
        album.take(page, "roles")
        page.keyboard.press("Escape")
        dialog("person-add", page.get_by_role("button", name=words("people.add")).click)
        page.get_by_role("dialog").get_by_role("combobox", name=words("grant.role")).click()
        page.get_by_role("option", name=words("role.operator"), exact=True).click()
        page.get_by_role("dialog").get_by_label(words("people.name")).fill("Ó!")
        page.keyboard.press("Enter")
        page.get_by_role("alert").wait_for()
        album.take(page, "person-add-refused")
        page.get_by_role("dialog").get_by_label(words("people.name")).fill(OPERATOR)
        page.keyboard.press("Enter")
        page.locator(".mantine-InputWrapper-error", has_text=OPERATOR).wait_for()
        album.take(page, "person-add-taken")
        page.get_by_role("dialog").get_by_label(words("people.name")).fill("jan.sowa")
        page.keyboard.press("Enter")
        page.locator(".secret").wait_for()
        album.take(page, "person-added")
        (made,) = [one for one in page_call(page, "GET", "/users")["items"] if one["name"] == "jan.sowa"]
        page_call(page, "DELETE", f"/users/{made['id']}")
    with album.screen("audit"):
        opened("/audit")
        album.take(page, "audit")
        page.get_by_label(words("audit.reason")).fill("kontrola miesięczna")
        page.keyboard.press("Enter")
        page.locator("tbody tr").first.wait_for()
        page.get_by_role("button", name=words("audit.sign")).click()
        page.locator(".note").wait_for()
        album.take(page, "audit-read")
    with album.screen("account"):
        opened("/account")
        page.locator("tbody tr").first.wait_for()
        album.take(page, "account")
        dialog("password-change", page.get_by_role("button", name=words("account.change_password")).click)
        page.keyboard.press("Escape")
        dialog("token-add", page.get_by_role("button", name=words("token.add")).click)
        asked = page.get_by_role("dialog")
        asked.get_by_label(words("token.name")).fill("Kiosk")
        asked.get_by_label(words("acts.view_live")).check()
        asked.locator("button[type=submit]").click()
        page.locator(".secret").wait_for()
        album.take(page, "token-made")
        page.keyboard.press("Escape")
    with album.screen("confirm"):
        page.route("**/api/v1/tokens/*", _confirm)
        dialog("confirm", page.get_by_role("button", name=words("token.end")).first.click)
        page.unroute_all()
    with album.screen("about"):
        opened("/about")
        album.take(page, "about")


def _confirm(route: Route) -> None:
    """What the server says once the password was last typed some minutes ago."""
    route.fulfill(status=403, content_type="application/problem+json", body='{"code": "confirm_password"}')


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.support.screenshots", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--languages", default="pl,en")
    parser.add_argument("--themes", default="noc,dzien")
    parser.add_argument("--widths", default="1366,1920")
    parser.add_argument("--parts", default="entry,wall,administrator,first")
    wanted = parser.parse_args()
    wanted.folder.mkdir(parents=True, exist_ok=True)
    parts = wanted.parts.split(",")
    albums = [
        Album(wanted.folder, language, theme, int(width))
        for language in wanted.languages.split(",")
        for theme in wanted.themes.split(",")
        for width in wanted.widths.split(",")
    ]
    people: dict[str, Role | None] = {OPERATOR: Role.OPERATOR, ADMINISTRATOR: Role.ADMINISTRATOR, TECHNICIAN: Role.TECHNICIAN}  # fmt: skip
    films = footage()
    with chromium() as browser:
        if set(parts) - {"first"}:
            with browser_site(films, [name for name, _, _ in PLACES], people) as site:
                site.start("archiver", "storage.archive_process")
                one_time = furnish(browser, site)
                feed = site.site.run / "slow.sock"
                with slow_feed(site.site.settings.feed.socket, feed) as slow:
                    slow.delay_s, slow.only = LATE_S, frozenset(str(s.id) for s in site.cameras[LATE - 1].streams)
                    site.kill("live")
                    site.start_live(feed)
                    site.unplug(AWAY - 1)
                    for album in albums:
                        _take(browser, site, album, parts, one_time)
                    site.kill("live")
        if "first" in parts:
            with browser_site(films[:1], (), {}, fresh=True) as fresh:
                for album in albums:
                    with _at(browser, fresh, album) as at:
                        first_run(at, album)
    missed = [line for album in albums for line in album.missed]
    print(f"{len(list(wanted.folder.glob('*.png')))} pictures in {wanted.folder}, {len(missed)} missed")
    return 1 if missed else 0


def _take(browser: Browser, site: BrowserSite, album: Album, parts: list[str], one_time: str) -> None:
    with _at(browser, site, album) as at:
        if "entry" in parts:
            entry(at, album)
            newcomer(at, album, one_time)
    if "wall" in parts:
        with _at(browser, site, album) as at:
            wall(at, album)
        with _at(browser, site, album, "America/New_York") as at:
            elsewhere(at, album)
        with _at(browser, site, album) as at:
            technician(at, album)
    if "administrator" in parts:
        with _at(browser, site, album) as at:
            administrator(at, album)


@contextmanager
def _at(browser: Browser, site: BrowserSite, album: Album, zone: str = "Europe/Warsaw") -> Iterator[Desk]:
    with desk(browser, site, language=album.language, theme=album.theme, size=SIZES[album.width], zone=zone) as at:
        yield at


if __name__ == "__main__":
    sys.exit(main())
