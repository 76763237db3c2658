"""Live pictures by the whole way: simulated camera, recorder, gateway, web process; a stock WebRTC client that signed in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from uuid import UUID

import pytest
import pytest_asyncio
from aiortc import RTCSessionDescription

from storage.camera_registry import follow_legal_settings
from storage.catalogue import Catalogue, migrate
from tests.support.inner_gateway import InnerGateway
from tests.support.live_site import LiveSite, eventually_sync, live_site
from tests.support.live_viewers import AiortcViewer, Door
from tests.support.web_site import CHEAP, TESTER, Feed, WebSite, until
from vms.clock import SystemClock
from vms.metrics import Metrics
from vms.model import Camera
from vms.settings import Listen
from vms.simulate import prepare_small
from web.api import process
from web.identity.access import Role
from web.identity.passwords import Passwords
from web.identity.people import change_user

pytestmark = [pytest.mark.network, pytest.mark.slow]


@pytest_asyncio.fixture
async def both(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[WebSite, LiveSite, Camera]]:
    folder = tmp_path_factory.getbasetemp().parent / "footage-cache"
    folder.mkdir(exist_ok=True)
    with live_site(
        prepare_small(folder, pattern=True), ["Rynek"], settings='[live]\naddresses = "127.0.0.1"\n'
    ) as live:
        live.start("live", "web.live.process")
        await live.live()
        await asyncio.to_thread(eventually_sync, (live.site.run / "live.sock").exists, 20, "the gateway's door")
        camera = await _registered(live)
        async with AsyncExitStack() as undo:
            listening = undo.enter_context(process.open_socket(Listen("127.0.0.1", 0)))
            parts = await process.build(live.site, SystemClock(), Metrics.create(), undo, tls=False)
            parts.identity.passwords = Passwords(CHEAP)
            await parts.watch.look()
            async with asyncio.TaskGroup() as tasks:
                server = process._Server(process.server_config(parts, None))
                work = (process.serve(server, listening), parts.watch.run(), parts.views.run())
                begun = [tasks.create_task(one) for one in work]
                await until(lambda: server.started)
                base = process.address_of(listening, tls=False)
                async with WebSite(parts, base, InnerGateway(), Feed()) as site:
                    yield site, live, camera
                for task in begun:
                    task.cancel()


async def _registered(live: LiveSite) -> Camera:
    """The recorder's camera in a catalogue too."""
    await migrate(live.site.catalogue_url)
    async with Catalogue(live.site.catalogue_url, live.site.sealer) as catalogue:
        profile = await follow_legal_settings(catalogue, live.site.settings.legal)
        (assigned,) = live.cameras
        camera = Camera(assigned.camera_id, 1, "Rynek", profile.id, assigned.streams)
        return await catalogue.add_camera(camera, at_ns=time.time_ns())


async def test_who_signed_in_sees_the_camera_until_switched_off(both: tuple[WebSite, LiveSite, Camera]) -> None:
    site, live, camera = both
    await until(lambda: site.parts.watch.now[camera.id].state == "live")
    assert {s.browser for s in site.parts.watch.now[camera.id].streams.values()} == {"plays"}
    await site.user("szef", Role.ADMINISTRATOR)
    operator = await site.signed_in("anna", Role.OPERATOR)
    async with Door(live.site.run / "live.sock") as door, AiortcViewer(door) as viewer:
        answer = await operator.watch(camera, offer=await viewer.offer())
        assert answer.status == 201, answer.text
        assert answer.headers["Stroz-Stream"] == "sub"
        await viewer.pc.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
        assert len(await viewer.pictures(10)) >= 10
        view = UUID(answer.headers["Location"].rpartition("/")[2])
        assert view in await door.sessions()
        switched = await operator("PUT", f"/whep/sessions/{view}/stream", json={"stream": "main"})
        assert switched.status == 204, switched.text
        user = await site.catalogue.user_named("anna")
        await change_user(site.catalogue, TESTER, time.time_ns(), user, {"disabled": True})

        async def gone() -> bool:
            return view not in await door.sessions()

        assert await until(gone) < 2.0
    wrong = await (await site.signed_in("ola", Role.OPERATOR)).watch(camera, offer="v=0\r\nnonsense")
    assert (wrong.status, wrong.code) == (400, "offer_malformed")
