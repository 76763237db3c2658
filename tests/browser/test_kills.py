"""Gateway, web process and recorder worker killed under `vms up` while nine tiles play: what the tiles say, and every picture.

How soon is told of the page's own journal, from the moment of the kill; held loosely where other tests run beside it. What was
recorded is compared with what the cameras sent, bit for bit.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.conftest import OPERATOR
from tests.support import tile_watch
from tests.support.alone import limit
from tests.support.browser_site import BrowserSite, apart, await_words, browser_site, desk, lay
from tests.support.kill_figures import Figures, Kill, judge, note_stored
from tests.support.recorder_site import AccountedSite
from tests.support.sent import SentLog
from tests.support.stored import leftovers
from vms.assignment import read_assignment
from vms.simulate import Footage
from web.identity.access import Role

pytestmark = [pytest.mark.network, pytest.mark.slow, pytest.mark.timeout(240), pytest.mark.xdist_group("browser")]

NINE = dict.fromkeys(range(1, 10), "live")
NOT_LIVE = ("checking", "lost", "reconnecting")
SAID_MS = 3000
BACK_MS = limit(10_000, beside=25_000)
BLIND_MS = 3000
ANSWERS = """async () => {
    for (;;) {
        try {
            if ((await fetch("/api/v1/session")).ok) return Date.now();
        } catch {}
        await new Promise((then) => setTimeout(then, 50));
    }
}"""
GOP_NS = 1_000_000_000
BUSY_NS = 15_000_000_000  # until a worker records again, where other tests run beside this one


@dataclass
class Watched:
    """The site, its account of pictures, the page, and which worker was killed when."""

    site: BrowserSite
    recorded: AccountedSite
    page: Page
    kills: list[Kill] = field(default_factory=list)

    def kill(self, module: str) -> float:
        """SIGKILL to the process that runs this module; when that was, in ms."""
        pid = self.recorded.pid_of(f"-m {module} ")
        assert pid is not None, self.site.log("up")[-4000:]
        at_ns = time.time_ns()
        os.kill(pid, signal.SIGKILL)
        if module == "recorder.worker":
            self.kills.append(Kill(0, at_ns, settled=True))
        return at_ns / 1e6

    def report(self, what: str, since_ms: float) -> tuple[float, float]:
        """After how many ms every tile had said that it is not live, and all were live again."""
        seen = tile_watch.looks(self.page)
        said, back = tile_watch.first_ms(seen, since_ms, NOT_LIVE), tile_watch.last_ms(seen, since_ms, "live")
        assert said is not None
        assert back is not None
        assert tile_watch.same_document(self.page)
        print(f"{what} killed: every tile said so after {said:.0f} ms, all live again after {back:.0f} ms")
        return said, back


@pytest.fixture(scope="module")
def watched(browser: Browser, small_footage: list[Footage]) -> Iterator[Watched]:
    sent, names = SentLog(), [f"Rynek {n}" for n in range(1, 10)]
    with contextlib.ExitStack() as undo:
        people: dict[str, Role | None] = {OPERATOR: Role.OPERATOR}
        site = undo.enter_context(browser_site(small_footage, names, people, supervised=True, sent=sent))
        undo.callback(lambda: print(site.log("up")[-8000:]))
        assigned = read_assignment(site.site.assignment_file, site.site.sealer).cameras
        recorded = AccountedSite(
            site.site, sorted(assigned, key=lambda c: c.number), site.simulator, processes=site.processes
        )
        recorded.log_of_sent, recorded.workers = sent, 1
        apart(recorded.recording(range(9)))
        at = undo.enter_context(desk(browser, site))
        tile_watch.keep_peers(at.context)
        page = at.sign_in(OPERATOR)
        lay(page, "3x3", None, [str(camera.id) for camera in site.cameras])
        await_words(page, NINE, 30)
        tile_watch.watch(page)
        yield Watched(site, recorded, page)
        assert at.foreign == []
        assert at.complaints == []


@pytest.fixture
def nine(watched: Watched) -> Watched:
    await_words(watched.page, NINE, 30)
    return watched


def says_so_and_comes_back(nine: Watched, what: str, module: str) -> None:
    at_ms = nine.kill(module)
    await_words(nine.page, dict.fromkeys(NINE, NOT_LIVE), SAID_MS / 1000)
    await_words(nine.page, NINE, BACK_MS / 1000)
    said, back = nine.report(what, at_ms)
    assert said <= SAID_MS
    assert back <= BACK_MS


def test_a_killed_gateway(nine: Watched) -> None:
    says_so_and_comes_back(nine, "gateway", "web.live.process")


def test_a_killed_web_process(nine: Watched) -> None:
    """Pictures go on, in the same sessions. Where it is not back by then, the console says that it hears nothing, and
    every tile doubts."""
    sessions = tile_watch.peers_made(nine.page)
    at_ms = nine.kill("web.api.process")
    answered_ms = nine.page.evaluate(ANSWERS) - at_ms
    nine.page.locator("[data-banner=blind]").wait_for(state="hidden", timeout=BACK_MS)
    await_words(nine.page, NINE, BACK_MS / 1000)
    since = [look for look in tile_watch.looks(nine.page) if look.at_ms > at_ms]
    print(f"web process killed: it answered again after {answered_ms:.0f} ms")
    if answered_ms > BLIND_MS:
        (blind, *_) = [look for look in since if look.blind]
        assert blind.at_ms - at_ms <= BLIND_MS
        said, _ = nine.report("web process", at_ms)
        assert said <= BLIND_MS
    assert answered_ms <= BACK_MS
    assert {word for look in since for word in look.words} <= {"live", "checking"}
    assert tile_watch.peers_made(nine.page) == sessions, "no tile lost its pictures"


def test_a_killed_recorder_worker(nine: Watched) -> None:
    says_so_and_comes_back(nine, "recorder worker", "recorder.worker")
    nothing_is_missing_but_a_moment_before_the_workers_death(nine)


def nothing_is_missing_but_a_moment_before_the_workers_death(nine: Watched) -> None:
    """Of nine cameras over all kills of this site: one outage each, for the worker, told as it was."""
    nine.recorded.stop("up")
    accounts, stored = apart(lambda: nine.recorded.accounts(range(9), decode=lambda n: n % 9 == 0))
    figures = Figures(kills=1, cameras=9)
    judge(figures, accounts, nine.kills, workers=1, gop_ns=GOP_NS, most_silent_ns=BUSY_NS)
    note_stored(figures, stored, leftovers(nine.site.site))
    print(figures)
    assert figures.problems == []
    assert figures.outages == 9
    assert figures.worst_tail_ms <= 1000
    assert figures.undecodable == 0
    assert figures.pictures > 9 * 25 * 10
