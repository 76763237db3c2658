"""A whole site under `vms up`, as a city runs it: simulated cameras, every process, people who can sign in, planted secrets.

`CANARIES` are the secrets: in cameras, in the store's settings, of users. Nobody but their owners should ever have them.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID, uuid4

import aiohttp

from storage.camera_registry import CameraRegistry, follow_legal_settings, refresh_assignment
from storage.catalogue import Catalogue, migrate
from tests.support.vms_process import Running, descendants, until, vms_running
from tests.support.web_site import CHEAP, TESTER, Client
from vms.model import Camera, SourceKind, Stream, StreamKind
from vms.simulate import CameraScript, SimulatorOptions, prepare_small, running
from vms.site import Site
from web.identity.access import Act, Role
from web.identity.passwords import Passwords
from web.identity.people import create_token, create_user

OF_CAMERA, OF_STORE, OF_USER = "kanarekKamery-4f1b", "kanarekSkladu-9c20", "kanarekOsoby-77ae"
SETTINGS = """[recorder]
workers = 1
segment_seconds = 4
[spool]
reserve_bytes = 67108864
[web]
listen = '127.0.0.1:0'
[metrics]
listen = '127.0.0.1:0'
"""
START_S = 90.0


@dataclass
class WholeSite:
    """`cameras` are received when this is given. `canaries`: every planted secret."""

    site: Site
    up: Running
    base: str
    cameras: list[Camera]
    canaries: tuple[str, ...]
    clients: AsyncExitStack

    async def nobody(self, *, bearer: str = "") -> Client:
        client = Client(self.base, bearer=bearer)
        self.clients.push_async_callback(client.close)
        return client

    async def operator(self) -> Client:
        client = await self.nobody()
        answer = await client.sign_in("anna", OF_USER)
        assert answer.status == 200, answer.text
        return client

    def processes(self) -> dict[int, str]:
        """Command lines of everything that runs, by process id."""
        return descendants(self.up.process.pid)

    def pid_of(self, module: str) -> int | None:
        """The process that runs this module; the first one, where there are several."""
        return min((p for p, line in self.processes().items() if f" -m {module} " in f"{line} "), default=None)

    async def receives(self) -> bool:
        """Whether every camera is received now, by what people are shown."""
        try:
            shown = await (await self.operator())("GET", "/cameras")
        except (aiohttp.ClientError, OSError):
            return False
        return shown.status == 200 and [c["state"] for c in shown.json["items"]] == ["live"] * len(self.cameras)


@asynccontextmanager
async def whole_site(
    folder: Path,
    *,
    settings: str = "",
    sources: Sequence[SourceKind] = (SourceKind.RTSP,),
    env: Mapping[str, str] | None = None,
    through: Sequence[str] = (),
) -> AsyncIterator[WholeSite]:
    """One camera for each of `sources`, whose passwords are canaries. `settings` are more sections of site.toml."""
    data = folder / "data"
    data.mkdir(mode=0o700, parents=True)
    (data / "site.toml").write_text(SETTINGS + settings)
    site = Site.create(data, {})
    footage = await asyncio.to_thread(prepare_small)
    script = CameraScript(auth=f"stroz:{OF_CAMERA}")
    simulated = SimulatorOptions(tuple(footage[:1]), cameras=len(sources), port=0, default=script)
    async with AsyncExitStack() as undo:
        simulator = await undo.enter_async_context(running(simulated))
        urls = [simulator.url(f"cam{i}") for i in range(len(sources))]
        cameras, token = await _registered(site, list(zip(urls, sources, strict=True)))
        environ = {"VMS_WEB_ENABLED": "true", **(env or {})}
        up = await undo.enter_async_context(
            vms_running(folder / "up", "--data", data, "up", env=environ, through=through)
        )

        def address() -> re.Match[str] | None:
            assert up.process.returncode is None, up.out + up.err
            return re.search(r"^open (http://\S+)$", up.out, re.MULTILINE)

        base = (await until("the site's address", address, START_S))[1]
        clients = await undo.enter_async_context(AsyncExitStack())
        found = WholeSite(site, up, base, cameras, (OF_CAMERA, OF_STORE, OF_USER, token), clients)
        await until("every camera received", found.receives, START_S)
        yield found


async def _registered(site: Site, addresses: Sequence[tuple[str, SourceKind]]) -> tuple[list[Camera], str]:
    """Cameras, an operator named anna, an administrator, and the secret of the latter's token."""
    await migrate(site.catalogue_url)
    now_ns, passwords, made = time.time_ns(), Passwords(CHEAP), []
    async with Catalogue(site.catalogue_url, site.sealer) as catalogue:
        profile = await follow_legal_settings(catalogue, site.settings.legal)
        registry = CameraRegistry(site, catalogue, by=TESTER)
        for number, (url, source) in enumerate(addresses, 1):
            made.append(await registry.add(_camera(number, url, source, profile.id)))
        await refresh_assignment(site, catalogue)
        for name, role in (("anna", Role.OPERATOR), ("szef", Role.ADMINISTRATOR)):
            user, _ = await create_user(catalogue, passwords, TESTER, now_ns, name=name, role=role)
            changes = {"password_hash": await passwords.hash(OF_USER), "must_change_password": False}
            await catalogue.change_user(user.id, changes, record=TESTER.does("change_user", now_ns))
        _, secret = await create_token(
            catalogue, TESTER, now_ns, user, name="t", acts=[Act.VIEW_LIVE, Act.READ_HEALTH], days=1
        )
    return made, secret


def _camera(number: int, url: str, source: SourceKind, profile_id: UUID) -> Camera:
    camera_id = uuid4()
    stream = Stream(uuid4(), camera_id, StreamKind.MAIN, url, record=True)
    plain = Camera(camera_id, number, f"Rynek {number}", profile_id, (stream,), source=source)
    return replace(plain, username="stroz", password=OF_CAMERA)
