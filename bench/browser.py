"""What an operator waits for, in Chromium against a whole site: how old pictures are, and how soon they come.

Usage: python -m bench.browser [--seconds 75] [--openings 20] [--walls 5] [--selections 20]

Sixteen simulated cameras (1080p25, 4 Mbit/s, and a sub-stream of 640×360) are recorded and shown by recorder, live gateway
and web process; the page is the product's own, in headless Chromium. A number burned into every picture is read off the
page, and the simulator knows when it sent that number (`bench.burned_in`). Chromium decodes and draws in software here,
on the same processors as everything else.
"""

# ruff: noqa: RUF002 - tables are typeset

from __future__ import annotations

import argparse
import math
import shutil
import statistics
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from playwright.sync_api import Page
from rich.table import Table

from bench.burned_in import SCRIPT, Loop, Sendings, loops_of, numbered
from bench.live import ask
from bench.measure import met, verdict, write_results
from bench.processes import BenchError, busy_share, console, require_quiet, run
from tests.support.browser_site import BrowserSite, browser_site, chromium, desk, lay
from vms.simulate import Footage
from vms.simulate.footage import cached
from vms.simulate.materials import default_cache
from vms.simulate.recipes import CAMERAS
from web.identity.access import Role
from web.live.source import LINGER_SECONDS

OPERATOR = "anna.nowak"
WALL = 16
SIZE = (1920, 1080)
PATIENCE_SECONDS = 20.0
SETTLE_SECONDS = 5.0
BADGES = 50
MOST_BADGE_MS, MOST_AGE_MS, MOST_SERVER_MS, MOST_PICTURE_MS, MOST_LAST_MS, MOST_SPOT_MS = 100, 333, 300, 1000, 2000, 700


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that so large a share does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def spread(values: Sequence[float]) -> dict[str, Any]:
    """For the results: with every figure."""
    if not values:
        raise BenchError("nothing was measured")
    return {
        "count": len(values),
        "p50": round(statistics.median(values), 1),
        "p95": round(percentile(values, 0.95), 1),
        "max": round(max(values), 1),
        "raw": [round(v, 1) for v in values],
    }


def age_of(found: dict[str, Any], sent: Sendings, camera: str, kind: str) -> dict[str, Any]:
    """From what the page saw of a tile: how old its pictures were on the screen, and how far its badge was from that. ms.

    `arrival`: when the last packet of a picture had come.
    """
    ages = sent.ages_ms(camera, kind, found["pictures"])
    arrival = [
        age - (displayed - received)
        for age, (_, _, displayed, received, _) in zip(ages, found["pictures"], strict=True)
        if age is not None
    ]
    read = [age for age in ages if age is not None]
    if len(read) < 0.5 * len(ages):
        raise BenchError(f"only {len(read)} of {len(ages)} numbers could be read off the screen as their own")
    badges = [(said, age) for said, i in found["badges"] if i >= 0 and (age := ages[i]) is not None]
    return {
        "stream": kind,
        "width": found["width"],
        "pictures": len(ages),
        "dropped": found["dropped"],
        "age": spread(read),
        "arrival": spread(arrival),
        "badge": spread([abs(said - age) for said, age in badges[:BADGES]]) if badges else None,
    }


class Station:
    """The operator's page, and what is measured on it."""

    def __init__(self, site: BrowserSite, page: Page, loops: dict[str, Loop]) -> None:
        self._site, self._page, self._loops = site, page, loops
        self._ids = [str(camera.id) for camera in site.cameras]
        self._of_stream = {str(s.id): str(camera.id) for camera in site.cameras for s in camera.streams}

    def age(self, tiles: int, seconds: float) -> dict[str, Any]:
        """How old the pictures of camera 1 are while so many tiles are shown."""
        self._lay(tiles)
        self._open(tiles)
        self._page.wait_for_timeout(1000 * SETTLE_SECONDS)
        with ThreadPoolExecutor(1) as thread:
            busy = thread.submit(busy_share, seconds)
            found = self._page.evaluate("([t, s]) => burnedIn.watch(t, s)", ['.tile[data-camera="1"]', seconds])
        kind = "main" if tiles == 1 else "sub"
        sent = Sendings(list(self._site.simulator.journal), self._loops)
        return {"tiles": tiles, "busy": round(busy.result(), 2), **age_of(found, sent, "cam0", kind)}

    def openings(self, tiles: int, times: int) -> dict[str, Any]:
        """How soon so many tiles show pictures, with nothing of it being watched before; once more than is counted."""
        self._lay(tiles)
        found = [self._open(tiles) for _ in range(times + 1)][1:]
        return {
            "tiles": tiles,
            "openings": times,
            "server": spread([ms for one in found for ms in one["server"]]),
            "answer": spread([ms for one in found for ms in one["answer"]]),
            "handshake": spread([ms for one in found for ms in one["handshake"]]),
            "sent": spread([ms for one in found for ms in one["sent"]]),
            "queued": spread([ms for one in found for ms in one["queued"]]),
            "picture": spread([ms for one in found for ms in one["picture"]]),
            "last": spread([max(one["picture"]) for one in found]),
            "live": spread([ms for one in found for ms in one["live"]]),
            "widths": sorted({width for one in found for width in one["widths"]}),
        }

    def spot(self, times: int) -> dict[str, Any]:
        """How soon the spot tile shows the main stream of what was selected, twelve sub-streams beside it."""
        page = self._page
        lay(page, "1+12", 0, [None, *self._ids[:12]])
        page.locator('.shell__rail a[href="/"]').click()
        page.locator(".tile[data-word=live]").nth(11).wait_for()
        page.wait_for_timeout(1000 * SETTLE_SECONDS)
        named, pictures = [], []
        for i in range(times):
            number = i % 12 + 2
            page.keyboard.press("Escape")
            page.evaluate(
                "([n, w, s]) => { window.asked = burnedIn.spot(n, w, s); }",
                [f"{number:03}", SIZE[0], PATIENCE_SECONDS],
            )
            for key in (*str(number), "Enter"):
                page.keyboard.press(key)
            found = page.evaluate("() => window.asked")
            if found["picture"] is None:
                raise BenchError(f"the spot tile showed no picture of camera {number}: {found}")
            named.append(found["named"])
            pictures.append(found["picture"])
            page.wait_for_timeout(1500)
        return {"selections": times, "named": spread(named), "picture": spread(pictures)}

    def _lay(self, tiles: int) -> None:
        self._site.simulator.journal.clear()  # a line for every picture of every camera
        self._page.goto(self._site.url + "/about")
        spot, grid = (0, "1") if tiles == 1 else (None, "4x4")
        lay(self._page, grid, spot, [*self._ids[:tiles]])

    def _open(self, tiles: int) -> dict[str, list[float]]:
        """From a page without pictures, once the gateway reads no stream any more: a click, and what came of it. ms."""
        page = self._page
        page.locator('.shell__rail a[href="/about"]').click()
        page.locator(".tile").first.wait_for(state="detached")
        page.wait_for_timeout(1000 * (LINGER_SECONDS + 1))
        page.evaluate("([n, s]) => { window.asked = burnedIn.opening(n, s); }", [tiles, PATIENCE_SECONDS])
        page.locator('.shell__rail a[href="/"]').click()
        found = page.evaluate("() => window.asked")
        if len(found["pictures"]) < tiles or len(found["live"]) < tiles:
            raise BenchError(
                f"of {tiles} tiles {len(found['pictures'])} showed a picture, {len(found['live'])} are live"
            )
        with ThreadPoolExecutor(1) as thread:  # a loop of its own: Playwright's is running in this thread
            sessions = thread.submit(ask, self._site.site.run / "live.sock").result()
        at = {
            self._of_stream[s["stream"]]: (int(s["keys_ns"]) / 1e6, int(s["first_ns"]) / 1e6)
            for s in sessions
            if s["state"] == "live"
        }
        steps = [(post["sentAt"], post["answeredMs"], *at[post["camera"]]) for post in found["posts"]]
        return {
            "server": [answered + first - keys for _, answered, keys, first in steps],
            "answer": [answered for _, answered, _, _ in steps],
            "handshake": [keys - sent - answered for sent, answered, keys, _ in steps],
            "sent": [first - sent for sent, _, _, first in steps],
            "queued": [post["queuedMs"] for post in found["posts"]],
            "picture": list(found["pictures"].values()),
            "live": list(found["live"].values()),
            "widths": list(found["widths"].values()),
        }


def judge(ages: Sequence[dict[str, Any]], openings: Sequence[dict[str, Any]], spot: dict[str, Any]) -> list[str]:
    """The goals, and whether each is met. Pure."""

    def line(what: str, is_ms: float, most_ms: float) -> str:
        return f"{what}: {is_ms:.0f} ms; at most {most_ms}: {verdict(is_ms <= most_ms)}"

    goals = [line(f"age on the screen, {a['tiles']} tiles, p95", a["age"]["p95"], MOST_AGE_MS) for a in ages]
    for badge in (a["badge"] for a in ages if a["badge"]):
        what = f"badge beside the truth, median of {badge['count']}"
        enough = badge["count"] >= BADGES
        goals.append(
            line(what, badge["p50"], MOST_BADGE_MS) if enough else f"{what}, which are not {BADGES}: {verdict(False)}"
        )
    for o in openings:
        goals += [
            line(
                f"the server's part without the handshake, {o['tiles']} tiles, p95", o["server"]["p95"], MOST_SERVER_MS
            ),
            line(f"click to first picture, {o['tiles']} tiles, p95", o["picture"]["p95"], MOST_PICTURE_MS),
            line(f"click to the last tile's picture, {o['tiles']} tiles", o["last"]["max"], MOST_LAST_MS),
        ]
    return [*goals, line("selection to main stream, p95", spot["picture"]["p95"], MOST_SPOT_MS)]


def table_of(ages: Sequence[dict[str, Any]], openings: Sequence[dict[str, Any]], spot: dict[str, Any]) -> Table:
    table = Table(title="Milliseconds in Chromium")
    for heading in ("what", "tiles", "p50", "p95", "max", "of"):
        table.add_column(heading, justify="left" if heading == "what" else "right")

    def row(what: str, tiles: object, found: dict[str, Any] | None) -> None:
        if found:
            table.add_row(what, str(tiles), *(f"{found[k]:.0f}" for k in ("p50", "p95", "max")), str(found["count"]))

    for a in ages:
        row(f"age on the screen, {a['stream']}", a["tiles"], a["age"])
        row("  of it until the last packet came", a["tiles"], a["arrival"])
        row("badge beside the truth", a["tiles"], a["badge"])
    for o in openings:
        row("click to picture", o["tiles"], o["picture"])
        row("  last tile", o["tiles"], o["last"])
        row("  to LIVE", o["tiles"], o["live"])
        row("  POST waits in the browser", o["tiles"], o["queued"])
        row("  POST to answer", o["tiles"], o["answer"])
        row("  answer to keys, both sides", o["tiles"], o["handshake"])
        row("  server's part with the handshake", o["tiles"], o["sent"])
        row("  server's part without it", o["tiles"], o["server"])
    row("selection to name in the spot tile", 13, spot["named"])
    row("selection to main stream", 13, spot["picture"])
    return table


def bench(arguments: argparse.Namespace) -> bool:
    if shutil.which("chromium") is None:
        raise BenchError("Chromium is not installed (Debian: chromium)")
    require_quiet(force=arguments.force)
    cache = default_cache()
    pair = CAMERAS[0]
    assert pair.sub is not None
    footage = numbered(Footage(cached(pair.main, cache), cached(pair.sub, cache)), cache)
    names = [f"Kamera {i + 1}" for i in range(WALL)]
    with (
        browser_site([footage], names, {OPERATOR: Role.OPERATOR}) as site,
        chromium() as browser,
        desk(browser, site, size=SIZE) as found,
    ):
        found.context.add_init_script(SCRIPT)
        station = Station(site, found.sign_in(OPERATOR, "/about"), loops_of(footage))
        ages = [station.age(tiles, arguments.seconds) for tiles in (1, WALL)]
        openings = [station.openings(1, arguments.openings), station.openings(WALL, arguments.walls)]
        spot = station.spot(arguments.selections)
        version = browser.version
    goals = judge(ages, openings, spot)
    results = {"forced": arguments.force, "chromium": version, "ages": ages, "openings": openings, "spot": spot}
    path = write_results("browser", {**results, "goals": goals})
    console.print(table_of(ages, openings, spot))
    for line in goals:
        console.print(line)
    console.print(f"written: {path.name}")
    return met(goals)


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.browser", description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=75.0, help="that the age of pictures is measured")
    parser.add_argument("--openings", type=int, default=20, help="of one tile")
    parser.add_argument("--walls", type=int, default=5, help=f"openings of {WALL} tiles")
    parser.add_argument("--selections", type=int, default=20, help="for the spot tile")
    parser.add_argument("--force", action="store_true", help="run although the machine is busy")
    arguments = parser.parse_args()
    if min(arguments.seconds, arguments.openings, arguments.walls, arguments.selections) < 1:
        parser.error("at least one of each")
    return run(lambda: bench(arguments))


if __name__ == "__main__":
    raise SystemExit(main())
