"""A whole site for a browser: simulated cameras, recorder, live gateway and web process, each a process as in production.

Users are made as `vms user add` does and have changed their one-time password, unless a test wants it. The page is driven
by Playwright in Debian's Chromium; what it asked of any other host than ours is on record.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from storage.camera_registry import follow_legal_settings
from storage.catalogue import Actor, Catalogue
from storage.catalogue.schema import migrate
from tests.support.free_ports import free_port
from tests.support.live_site import ROOT, SimulatorThread, eventually_sync
from tests.support.sent import SentLog
from vms.assignment import assign, write_assignment
from vms.errors import VmsError
from vms.feed import FeedClient
from vms.model import Camera, SourceKind, Stream, StreamKind
from vms.simulate import Footage, SimulatorOptions
from vms.site import Site
from web.identity.access import Role
from web.identity.passwords import Passwords
from web.identity.people import create_user
from web.identity.signing_in import issue_set_up_code

T = TypeVar("T")
PASSWORD = "czerwony-rower-pod-wiatr"
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--allow-loopback-in-peer-connection", "--autoplay-policy=no-user-gesture-required",
    "--disable-background-networking", "--disable-component-update",
)  # fmt: skip


@dataclass
class BrowserSite:
    """`url` is what operators open. Cameras are numbered from 1 and named as given."""

    site: Site
    url: str
    simulator: SimulatorThread
    cameras: list[Camera] = field(default_factory=list)
    setup_code: str | None = None
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def tls(self) -> bool:
        return self.url.startswith("https:")

    def trust(self) -> ssl.SSLContext | None:
        """For a client that trusts the site's authority and no other; None: plain HTTP. OSError before that is made."""
        return ssl.create_default_context(cafile=self.site.path / "tls" / "ca.pem") if self.tls else None

    def start(self, name: str, module: str, *arguments: str, **environment: str) -> None:
        with (self.site.path / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", module, *arguments, "--data", str(self.site.path)],
                cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env=os.environ | environment,
            )  # fmt: skip

    def start_live(self, feed: Path | None = None) -> None:
        """`feed`: a socket that stands for the recorder's."""
        (self.site.run / "live.sock").unlink(missing_ok=True)
        self.start("live", "web.live.process", **({} if feed is None else {"VMS_FEED_SOCKET": str(feed)}))
        eventually_sync((self.site.run / "live.sock").exists, 20, "the gateway's door")

    def start_web(self) -> None:
        self.start("web", "web.api.process")
        self.await_web()

    def await_web(self) -> None:
        eventually_sync(lambda: self._answers("/health/ready"), 30, "the web process")

    def kill(self, name: str) -> None:
        """As the kernel would, without a word of farewell."""
        process = self.processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)

    def freeze(self, name: str) -> None:
        """The process stands still, its sockets open."""
        os.killpg(self.processes[name].pid, signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        os.killpg(self.processes[name].pid, signal.SIGCONT)

    def stop(self) -> None:
        for name in list(self.processes)[::-1]:
            process = self.processes.pop(name)
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def pid(self, name: str) -> int:
        return self.processes[name].pid

    def log(self, name: str) -> str:
        return (self.site.path / f"{name}.log").read_text(errors="replace")

    def unplug(self, index: int) -> None:
        self.simulator.call(lambda sim: sim.stop_camera(f"cam{index}"))

    def plug(self, index: int) -> None:
        self.simulator.call(lambda sim: sim.start_camera(f"cam{index}"))

    def stall(self, index: int, seconds: float) -> None:
        """The camera stays connected and sends nothing."""
        self.simulator.call(lambda sim: sim.stall(f"cam{index}", seconds))

    def _answers(self, path: str) -> bool:
        for name, process in self.processes.items():
            assert process.poll() is None, self.log(name)[-4000:]
        try:
            with urllib.request.urlopen(self.url + path, timeout=2, context=self.trust()) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@contextmanager
def browser_site(
    footage: Sequence[Footage],
    names: Sequence[str],
    people: dict[str, Role | None],
    *,
    fresh: bool = False,
    supervised: bool = False,
    sent: SentLog | None = None,
    settings: str = "",
    tls: bool = False,
) -> Iterator[BrowserSite]:
    """Everything runs, and every camera is received, when this yields. `fresh`: nobody was ever set up.

    `supervised`: by `vms up`, which replaces what is killed; `sent` learns what the cameras sent; `settings`: further
    sections of the site's; `tls`: beyond loopback, by a certificate of an authority that the site makes for itself.
    """
    needs_client()
    with contextlib.ExitStack() as undo:
        folder = Path(tempfile.mkdtemp(prefix="stroz-browser-"))
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        data = folder / "d"
        data.mkdir(mode=0o700)
        port, host = free_port(), "0.0.0.0" if tls else "127.0.0.1"
        (data / "site.toml").write_text(
            "[site]\nname = 'Straż Miejska'\n[recorder]\nworkers = 1\nsegment_seconds = 4\n[spool]\nreserve_bytes = 67108864\n"
            f"[web]\nlisten = '{host}:{port}'\n[metrics]\nlisten = '127.0.0.1:0'\n{settings}"
        )
        site = Site.create(data, {})
        options = SimulatorOptions(tuple(footage), cameras=max(1, len(names)), port=0)
        simulator = SimulatorThread(options)
        if sent is not None:
            simulator.journal = sent  # type: ignore[assignment]
        undo.enter_context(simulator)
        found = BrowserSite(site, f"http{'s' if tls else ''}://127.0.0.1:{port}", simulator)
        undo.callback(found.stop)
        apart(_register(found, names, people, fresh=fresh))
        if supervised:
            found.start("up", "vms.cli", "up")
            found.await_web()
        else:
            found.start("recorder", "recorder.host")
            found.start_live()
            found.start_web()
        if names:
            eventually_sync(lambda: _all_live(found), 60, "every camera live")
        yield found


def needs_client() -> None:
    """Skips the test where there is no browser, or nothing to show in it."""
    if shutil.which("chromium") is None:
        pytest.skip("Chromium is not installed (Debian: chromium)")
    if not (ROOT / "web/client/dist/index.html").is_file():
        pytest.skip("the web client is not built: run make client")


def apart(work: Coroutine[Any, Any, T] | Callable[[], T]) -> T:
    """In a thread of its own, on a loop of its own: Playwright's is running in this one."""
    with ThreadPoolExecutor(1) as thread:
        return (thread.submit(work) if callable(work) else thread.submit(asyncio.run, work)).result()


async def _register(found: BrowserSite, names: Sequence[str], people: dict[str, Role | None], *, fresh: bool) -> None:
    site = found.site
    await migrate(site.catalogue_url)
    async with Catalogue(site.catalogue_url, site.sealer) as catalogue:
        profile = await follow_legal_settings(catalogue, site.settings.legal)
        for index, name in enumerate(names):
            urls = found.simulator.call(lambda sim, i=index: (sim.url(f"cam{i}"), sim.url(f"cam{i}", sub=True)))
            camera_id = uuid4()
            streams = (
                Stream(uuid4(), camera_id, StreamKind.MAIN, urls[0], True),
                Stream(uuid4(), camera_id, StreamKind.SUB, urls[1], False),
            )
            camera = Camera(camera_id, index + 1, name, profile.id, streams, source=SourceKind.RTSP)
            found.cameras.append(await catalogue.add_camera(camera, at_ns=time.time_ns()))
        profiles = {p.id: p for p in await catalogue.profiles()}
        wanted = assign(await catalogue.cameras(), profiles, await catalogue.awaited())
        write_assignment(site.assignment_file, wanted, site.sealer)
        if fresh:
            found.setup_code = await issue_set_up_code(catalogue, time.time_ns())
            return
        passwords, actor = Passwords(), Actor("tests")
        for name, role in people.items():
            user, _ = await create_user(catalogue, passwords, actor, time.time_ns(), name=name, role=role)
            changes = {"password_hash": await passwords.hash(PASSWORD), "must_change_password": False}
            record = actor.does("change_password", time.time_ns(), f"user {name}")
            await catalogue.change_user(user.id, changes, record=record)


def _all_live(found: BrowserSite) -> bool:
    async def states() -> list[dict[str, Any]]:
        try:
            return list(await FeedClient(found.site.settings.feed.socket).states())
        except VmsError:
            return []

    wanted = {str(stream.id) for camera in found.cameras for stream in camera.streams}
    live = {s["stream_id"] for s in apart(states()) if s["state"] in ("recording", "relaying")}
    return wanted <= live


@contextmanager
def chromium(*flags: str) -> Iterator[Browser]:
    """`flags`: beside ours. One at a time in a process."""
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=[*FLAGS, *flags])
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Desk:
    """One operator's browser: its pages, what they asked of other hosts, and what their policy or scripts complained of."""

    context: BrowserContext
    site: BrowserSite
    foreign: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def page(self) -> Page:
        page = self.context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("console", self._heard)
        return page

    def sign_in(self, name: str, path: str = "/") -> Page:
        page = self.page()
        page.goto(self.site.url + path)
        page.locator("input[name=username]").fill(name)
        page.locator("input[name=password]").fill(PASSWORD)
        page.keyboard.press("Enter")
        page.locator(".shell__rail").wait_for()
        return page

    def _heard(self, message: ConsoleMessage) -> None:
        away = "Failed to load resource" in message.text or message.text.startswith("WebSocket connection to")
        if message.type in ("error", "warning") and not away:
            self.complaints.append(f"{message.type}: {message.text}")


@contextmanager
def desk(
    browser: Browser, site: BrowserSite, *, language: str = "pl", theme: str = "noc", size: tuple[int, int] = (1366, 768),
    zone: str = "Europe/Warsaw",
) -> Iterator[Desk]:  # fmt: skip
    """A fresh profile in which nothing is remembered but the desk's language and theme."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, timezone_id=zone, ignore_https_errors=site.tls
    )
    station = json.dumps({"language": language, "theme": theme})
    context.add_init_script(
        f"localStorage.getItem('stroz.station') ?? localStorage.setItem('stroz.station', '{station}')"
    )
    found = Desk(context, site)
    context.on("request", lambda request: _own(request.url, site.url) or found.foreign.append(request.url))
    try:
        yield found
    finally:
        context.close()


def _own(url: str, own: str) -> bool:
    return url.startswith((own + "/", own.replace("http", "ws", 1) + "/", "blob:", "data:"))


def lay(page: Page, grid: str, spot: int | None, tiles: Sequence[object]) -> None:
    """This window's wall, as it would be found after a reload."""
    facts = {
        "id": None, "version": None, "name": "", "shared": False, "mine": True, "grid": grid, "spot": spot,
        "tiles": list(tiles), "changed": False,
    }  # fmt: skip
    page.evaluate("facts => sessionStorage.setItem('stroz.wall', facts)", json.dumps(facts))
    page.reload()


def say(language: str, key: str, **facts: object) -> str:
    """What the page says under this key of its texts."""
    found: Any = json.loads((ROOT / f"web/client/src/i18n/{language}.json").read_text())
    for part in key.split("."):
        found = found[part]
    for name, fact in facts.items():
        found = found.replace("{{" + name + "}}", str(fact))
    return str(found)


def page_call(page: Page, method: str, path: str, body: object = None) -> Any:
    """A call of the interface as this page's person, with what the page itself would send along."""
    return page.evaluate(
        """async ([method, path, body]) => {
            const { csrf } = await (await fetch("/api/v1/session")).json();
            const headers = { "X-CSRF-Token": csrf, "Content-Type": "application/json" };
            if (method === "PATCH") headers["If-Match"] = (await fetch("/api/v1" + path)).headers.get("ETag");
            const answer = await fetch("/api/v1" + path, { method, headers, ...(body === null ? {} : { body: JSON.stringify(body) }) });
            if (!answer.ok) throw new Error(`${method} ${path}: ${await answer.text()}`);
            return answer.status === 204 ? null : answer.json();
        }""",
        [method, path, body],
    )


def word(page: Page, number: int) -> str | None:
    """What the first tile of this camera says, as its machine-readable word."""
    return page.locator(f'.tile[data-camera="{number}"]').first.get_attribute("data-word")


def await_words(page: Page, words: dict[int, str | Sequence[str]], seconds: float) -> float:
    """Until these cameras' tiles say one of these words; the seconds it took. Times of the page's own clock."""
    wanted = {str(n): [w] if isinstance(w, str) else list(w) for n, w in words.items()}
    took = page.evaluate(
        """([wanted, ms]) => new Promise((resolve) => {
            const start = performance.now();
            const look = () => {
                const said = (n) => [...document.querySelectorAll(`.tile[data-camera="${n}"]`)].map((t) => t.dataset.word);
                const done = Object.entries(wanted).every(([n, words]) => {
                    const tiles = said(n);
                    return tiles.length > 0 && tiles.every((word) => words.includes(word));
                });
                const passed = performance.now() - start;
                if (done || passed > ms) {
                    const now = Object.fromEntries(Object.keys(wanted).map((n) => [n, said(n)]));
                    resolve([done, passed, JSON.stringify(now)]);
                } else setTimeout(look, 20);
            };
            look();
        })""",
        [wanted, seconds * 1000],
    )
    assert took[0], f"not within {seconds} s: wanted {wanted}, tiles say {took[2]}"
    return float(took[1]) / 1000
