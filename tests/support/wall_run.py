"""A wall of sixteen tiles in Chromium for long: no tile is stuck, and neither the page nor the gateway grows.

Usage: python -m tests.support.wall_run --minutes 120 [--json FILE]

Sixteen simulated cameras, each in a tile of its own, over the real recorder, gateway and web process. Every few seconds each
tile's own clock (the capture time of the picture it shows) must have moved; now and then garbage is collected and the page's heap, nodes
and listeners are counted, and the gateway's own memory. Growth is a straight line through all but the first quarter.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, CDPSession, Page

from tests.support import tile_watch
from tests.support.browser_site import BrowserSite, await_words, browser_site, chromium, desk, lay
from tests.support.growth import Sample, Timed, look, slope
from vms.simulate import Footage, prepare_small
from web.identity.access import Role

TILES = 16
OPERATOR = "anna.nowak"
LOOK_S = 5.0
STUCK_S = 10.0  # a tile whose clock stands for so long, whatever it says
MOST_GROWTH_PERCENT = 10.0
MOST_DROPPED_PERCENT = 0.5
MOST_KIB_AN_HOUR = 2048.0  # of the gateway, beyond twice the error
JUDGED_MINUTES = 10.0  # of less, memory and the share of dropped pictures say how the run began
TILES_NOW = """() => [...document.querySelectorAll('.tile[data-camera]')].map((tile) =>
    [tile.dataset.word, tile.querySelector('.tile__time')?.textContent ?? ''])"""


@dataclass(frozen=True, slots=True)
class PageSample:
    """What the page holds, garbage collected."""

    seconds: float
    heap_bytes: int
    nodes: int
    listeners: int


@dataclass(slots=True)
class Figures:
    """What comes out. `growth_percent`: over the last three quarters, of the level there; `error`: its standard error."""

    minutes: float
    tiles: int = TILES
    looks: int = 0
    worst_standing_s: float = 0.0  # a tile's clock
    not_live: int = 0  # tiles, summed over all looks
    sessions: int = 0  # that the page ever began
    pictures: int = 0
    dropped: int = 0
    freezes: int = 0
    packets_lost: int = 0
    growth_percent: dict[str, tuple[float, float]] = field(default_factory=dict)
    levels: dict[str, float] = field(default_factory=dict)
    gateway_own_kib: int = 0
    gateway_kib_an_hour: tuple[float, float] = (0.0, 0.0)
    problems: list[str] = field(default_factory=list)

    @property
    def dropped_percent(self) -> float:
        return 100 * self.dropped / max(1, self.pictures + self.dropped)


class Clocks:
    """Since when each tile's clock stands."""

    def __init__(self) -> None:
        self._since: dict[int, tuple[str, float]] = {}

    def look(self, tiles: Sequence[Sequence[str]], now_s: float) -> list[float]:
        """For how long each has stood."""
        for number, (_, text) in enumerate(tiles):
            if number not in self._since or (text and self._since[number][0] != text):
                self._since[number] = text, now_s
        return [now_s - since for _, since in self._since.values()]


def run_wall(browser: Browser, footage: Sequence[Footage], minutes: float) -> Figures:
    """Open the wall, watch it for so long, judge."""
    names = [f"Kamera {n}" for n in range(1, TILES + 1)]
    people: dict[str, Role | None] = {OPERATOR: Role.OPERATOR}
    with browser_site(footage, names, people) as site, desk(browser, site, size=(1920, 1080)) as at:
        tile_watch.keep_peers(at.context)
        page = at.sign_in(OPERATOR)
        lay(page, "4x4", None, [str(camera.id) for camera in site.cameras])
        await_words(page, dict.fromkeys(range(1, TILES + 1), "live"), 60)
        figures = watch(page, site, minutes)
        figures.problems += [f"the page asked another host: {url}" for url in at.foreign]
        figures.problems += [f"the page complained: {what}" for what in at.complaints[:10]]
    return figures


def watch(page: Page, site: BrowserSite, minutes: float) -> Figures:
    figures, clocks = Figures(minutes), Clocks()
    devtools = page.context.new_cdp_session(page)
    devtools.send("HeapProfiler.enable")
    devtools.send("Performance.enable")
    pages: list[PageSample] = []
    gateway: list[Sample] = []
    count_every = max(1, round(minutes * 60 / LOOK_S / 200))
    began = time.monotonic()
    while (now := time.monotonic()) - began < minutes * 60:
        tiles = page.evaluate(TILES_NOW)
        stood = clocks.look(tiles, now)
        figures.not_live += sum(word != "live" for word, _ in tiles)
        figures.worst_standing_s = max(figures.worst_standing_s, *stood)
        for number, seconds in enumerate(stood):
            if STUCK_S <= seconds < STUCK_S + LOOK_S:
                figures.problems.append(f"tile {number + 1} is stuck after {now - began:.0f} s: {tiles[number][0]}")
        if len(tiles) != TILES:
            figures.problems.append(f"{len(tiles)} tiles after {now - began:.0f} s")
        if figures.looks % count_every == 0:
            pages.append(count_page(devtools, now))
            gateway += look([site.pid("live")]).values()
        figures.looks += 1
        page.wait_for_timeout(max(0.0, LOOK_S - (time.monotonic() - now)) * 1000)
    if any(word != "live" for word, _ in page.evaluate(TILES_NOW)):
        figures.problems.append("a tile is not live at the end")
    note_counts(figures, page)
    judge(figures, pages, gateway)
    return figures


def count_page(devtools: CDPSession, now_s: float) -> PageSample:
    devtools.send("HeapProfiler.collectGarbage")
    heap = devtools.send("Runtime.getHeapUsage")["usedSize"]
    found = {m["name"]: int(m["value"]) for m in devtools.send("Performance.getMetrics")["metrics"]}
    return PageSample(now_s, int(heap), found["Nodes"], found["JSEventListeners"])


def note_counts(figures: Figures, page: Page) -> None:
    """Of the sessions that are open; others end with their tile's fall, which `not_live` tells."""
    counted = tile_watch.counts(page)
    figures.sessions = tile_watch.peers_made(page)
    figures.pictures = sum(c["framesDecoded"] for c in counted)
    figures.dropped = sum(c["framesDropped"] for c in counted)
    figures.freezes = sum(c["freezeCount"] for c in counted)
    figures.packets_lost = sum(c["packetsLost"] for c in counted)


def judge(figures: Figures, pages: Sequence[PageSample], gateway: Sequence[Sample]) -> None:
    quarter_s = figures.minutes * 60 / 4
    bin_s = max(LOOK_S, quarter_s / 30)
    for what in ("heap_bytes", "nodes", "listeners"):
        percent, error, level = growth(pages, what, quarter_s, bin_s)
        figures.growth_percent[what], figures.levels[what] = (round(percent, 2), round(error, 2)), level
        judged = what != "heap_bytes" or figures.minutes >= JUDGED_MINUTES
        if judged and percent - 2 * error > MOST_GROWTH_PERCENT:
            figures.problems.append(f"the page's {what} grow by {percent:.1f} ± {error:.1f} %")
    found = slope({0: gateway}, "own_kib", warm_up_s=quarter_s, bin_s=bin_s)
    figures.gateway_own_kib = gateway[-1].own_kib
    figures.gateway_kib_an_hour = round(found.per_hour, 1), round(found.error, 1)
    if figures.minutes < JUDGED_MINUTES:
        return
    if found.per_hour - 2 * found.error > MOST_KIB_AN_HOUR:
        figures.problems.append(f"the gateway grows by {found.per_hour:.0f} ± {found.error:.0f} KiB an hour")
    if figures.dropped_percent > MOST_DROPPED_PERCENT:
        figures.problems.append(f"{figures.dropped_percent:.2f} % of pictures were dropped")


def growth(samples: Sequence[Timed], what: str, quarter_s: float, bin_s: float) -> tuple[float, float, float]:
    """In percent of the mean after the first quarter, over the three quarters after it, with its error; that mean."""
    later = [float(getattr(s, what)) for s in samples if s.seconds - samples[0].seconds >= quarter_s]
    level = sum(later) / len(later)
    found = slope({0: samples}, what, warm_up_s=quarter_s, bin_s=bin_s)
    share = 100 * 3 * quarter_s / 3600 / level
    return found.per_hour * share, found.error * share, round(level)


def facts(figures: Figures) -> dict[str, Any]:
    return asdict(figures) | {"dropped_percent": round(figures.dropped_percent, 3)}


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.support.wall_run", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--json", type=Path, help="a file for the result")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        figures = run_wall(browser, prepare_small(Path(folder), pattern=True)[:1], arguments.minutes)
    text = json.dumps(facts(figures), indent=1)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")
    return 1 if figures.problems else 0


if __name__ == "__main__":
    sys.exit(main())
