"""A site's web process in the test's own event loop: real server, real catalogue, people who sign in.

The gateway and the recorder's feed are at their Unix sockets, as another process would be. Passwords are hashed cheaply, for
what they cost is not what is tested.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID, uuid4

import aiohttp
from aiohttp import web
from argon2 import PasswordHasher

from storage.camera_registry import follow_legal_settings, refresh_assignment
from storage.catalogue import Actor, migrate
from tests.support import waiting
from tests.support.inner_gateway import OFFER, InnerGateway, serving
from vms.clock import SystemClock
from vms.metrics import Metrics
from vms.model import Camera, Stream, StreamKind
from vms.sentences import say
from vms.settings import Listen
from vms.site import Site
from web.api import process
from web.api.parts import Parts
from web.identity.access import Role, Scope
from web.identity.passwords import Passwords
from web.identity.people import create_user, give_role

PASSWORD = "Krowa-na-rynku-7"
TESTER = Actor("the test")
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@dataclass
class Feed:
    """The recorder's feed: `states` by stream id as it tells them, `tested` what it was asked to test."""

    states: dict[UUID, dict[str, Any]] = field(default_factory=dict)
    tested: list[dict[str, Any]] = field(default_factory=list)

    def application(self) -> web.Application:
        app = web.Application()
        app.add_routes([web.get("/v1/streams", self._streams), web.post("/v1/cameras/test", self._test)])
        return app

    async def _streams(self, _request: web.Request) -> web.Response:
        return web.json_response([{"stream_id": str(i), **facts} for i, facts in self.states.items()])

    async def _test(self, request: web.Request) -> web.Response:
        asked = await request.json()
        self.tested.append(asked)
        if "lost" in asked["url"]:
            said = say("no_connection", camera="10.0.0.5:554").noted("No route to host")
            return web.json_response({"reason": "camera_unreachable", "said": said.as_json()})
        if "broken" in asked["url"]:
            raise web.HTTPInternalServerError
        return web.json_response(
            {"url": asked["url"], "server": "", "transport": "tcp", "codec": "h264", "profile": "High", "width": 1920,
             "height": 1080, "fps_measured": 25.0, "b_frames": False, "clock_offset_ns": 1_500_000_000, "audio": [],
             "advice": [say("rare_keyframes", seconds=4.0).as_json()]}
        )  # fmt: skip


@dataclass
class Answer:
    status: int
    headers: Any
    text: str
    json: Any

    @property
    def code(self) -> str:
        return str(self.json["code"])


class Client:
    """A browser that has signed in, or nobody."""

    def __init__(self, base: str, *, bearer: str = "") -> None:
        self.base = base
        self.session = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))
        self.csrf, self._bearer = "", bearer
        self.user_id: UUID | None = None

    async def __call__(self, method: str, path: str, **options: Any) -> Answer:
        headers = {"X-CSRF-Token": self.csrf} if self.csrf else {}
        headers |= {"Authorization": f"Bearer {self._bearer}"} if self._bearer else {}
        headers |= options.pop("headers", {})
        whole = path if path.startswith(("/health/", "/api/")) else f"/api/v1{path}"
        async with self.session.request(
            method, self.base + whole, headers={k: v for k, v in headers.items() if v is not None}, **options
        ) as response:
            content = await response.read()
            text = content.decode("utf-8", "replace")
            kind = response.headers.get("Content-Type", "")
            return Answer(
                response.status,
                response.headers,
                text,
                await response.json(content_type=None) if "json" in kind else None,
            )

    async def sign_in(self, name: str, password: str = PASSWORD) -> Answer:
        answer = await self("POST", "/session", json={"name": name, "password": password})
        if answer.status == 200:
            self.csrf, self.user_id = answer.json["csrf"], UUID(answer.json["user"]["id"])
        return answer

    async def watch(self, camera: Camera, query: str = "", offer: str = OFFER) -> Answer:
        return await self(
            "POST", f"/whep/{camera.id}{query}", data=offer, headers={"Content-Type": "application/sdp"}
        )  # fmt: skip

    async def close(self) -> None:
        await self.session.close()


class WebSite:
    """A running site. `cameras` as added."""

    def __init__(self, parts: Parts, base: str, gateway: InnerGateway, feed: Feed) -> None:
        self.parts, self.base, self.gateway, self.feed = parts, base, gateway, feed
        self.undo = AsyncExitStack()

    @property
    def catalogue(self) -> Any:
        return self.parts.catalogue

    async def camera(self, number: int, *, group: str = "", sub: bool = True, **fields: Any) -> Camera:
        """A camera that is live."""
        profile = (await self.catalogue.profiles())[0]
        camera_id = uuid4()
        streams = [Stream(uuid4(), camera_id, StreamKind.MAIN, f"rtsp://10.0.0.{number}/main", record=True)]
        if sub:
            streams.append(Stream(uuid4(), camera_id, StreamKind.SUB, f"rtsp://10.0.0.{number}/sub", record=False))
        camera = Camera(
            camera_id, number, fields.pop("name", f"Kamera {number}"), profile.id, tuple(streams), group=group, **fields
        )
        await self.catalogue.add_camera(camera, at_ns=time.time_ns())
        await refresh_assignment(self.parts.site, self.catalogue)
        for stream in streams:
            self.feed.states[stream.id] = state_of(stream)
        await self.parts.watch.look()
        return camera

    async def user(self, name: str, *roles: Role | tuple[Role, dict[str, Any]], password: str = PASSWORD) -> UUID:
        """Somebody with these roles (over all cameras, or as the dictionary says) whose password is theirs already."""
        now_ns = time.time_ns()
        user, _ = await create_user(self.catalogue, self.parts.identity.passwords, TESTER, now_ns, name=name)
        changes = {
            "password_hash": await self.parts.identity.passwords.hash(password), "must_change_password": False
        }  # fmt: skip
        await self.catalogue.change_user(user.id, changes, record=TESTER.does("change_user", now_ns))
        for wanted in roles:
            role, how = wanted if isinstance(wanted, tuple) else (wanted, {})
            await give_role(self.catalogue, TESTER, now_ns, user, role=role, **how)
        return user.id

    async def nobody(self, *, bearer: str = "") -> Client:
        client = Client(self.base, bearer=bearer)
        self.undo.push_async_callback(client.close)
        return client

    async def signed_in(self, name: str, *roles: Role | tuple[Role, dict[str, Any]]) -> Client:
        """A browser of a new user."""
        await self.user(name, *roles)
        client = await self.nobody()
        answer = await client.sign_in(name)
        assert answer.status == 200, answer.text
        return client

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.undo.aclose()


def state_of(stream: Stream, **facts: Any) -> dict[str, Any]:
    """What the feed says of a stream whose picture is well."""
    return {
        "state": "recording" if stream.record else "relaying", "reason": None, "detail": "", "codec": "h264",
        "width": 1920, "height": 1080, "fps": 25.0, "reorder_depth": 0, "last_unit_wall_ns": time.time_ns() + 60 * 10**9,
    } | facts  # fmt: skip


def over(group: str) -> dict[str, Any]:
    return {"scope": Scope.GROUP, "group": group}


async def migrated(path: Path) -> None:
    """A data folder with an empty catalogue, to be copied for each test."""
    site = Site.create(path, {})
    await migrate(site.catalogue_url)
    from storage.catalogue import Catalogue

    async with Catalogue(site.catalogue_url, site.sealer) as catalogue:
        await follow_legal_settings(catalogue, site.settings.legal)


@contextlib.asynccontextmanager
async def running(template: Path, folder: Path) -> AsyncIterator[WebSite]:
    """A copy of the template, served."""
    shutil.copytree(template, folder, ignore=shutil.ignore_patterns("*.sock"))
    site = Site.open(folder, {})
    gateway, feed = InnerGateway(), Feed()
    async with AsyncExitStack() as undo:
        await undo.enter_async_context(serving(gateway.application(), site.live_socket))
        await undo.enter_async_context(serving(feed.application(), site.settings.feed.socket))
        listening = undo.enter_context(process.open_socket(Listen("127.0.0.1", 0)))
        parts = await process.build(site, SystemClock(), Metrics.create(), undo, tls=False)
        parts.identity.passwords = Passwords(CHEAP)
        await parts.watch.look()
        async with asyncio.TaskGroup() as tasks:
            server = process._Server(process.server_config(parts, None))
            running_tasks = [
                tasks.create_task(process.serve(server, listening)),
                tasks.create_task(parts.watch.run()),
                tasks.create_task(parts.views.run()),
            ]
            await until(lambda: server.started)
            try:
                async with WebSite(parts, process.address_of(listening, tls=False), gateway, feed) as web_site:
                    yield web_site
            finally:
                for task in running_tasks:
                    task.cancel()


async def until(true: Callable[[], bool | Awaitable[bool]], seconds: float = 20.0) -> float:
    """Wait for it; gives how long it took."""
    began = time.monotonic()
    await waiting.until(true, seconds)
    return time.monotonic() - began
