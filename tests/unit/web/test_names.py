"""An open page hears at once that a name, a number or a right is another, and asks for the list of cameras again."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import aiohttp

from tests.support.web_site import TESTER, Client, WebSite
from web.identity.access import Role, Scope
from web.identity.people import give_role

SOON = 4.0


async def registry_after(socket: aiohttp.ClientWebSocketResponse, before: str = "") -> str:
    async with asyncio.timeout(SOON):
        while True:
            message = json.loads((await socket.receive()).data)
            if message["t"] == "cameras" and message["registry"] != before:
                return str(message["registry"])


async def listed(client: Client, wanted: Callable[[dict[str, Any]], bool]) -> bool:
    return any(wanted(camera) for camera in (await client("GET", "/cameras")).json["items"])


async def test_a_new_name_a_new_right_and_a_removal_are_told_and_found_in_the_list(web_site: WebSite) -> None:
    camera, other = await web_site.camera(1), await web_site.camera(2)
    await web_site.parts.watch.look()
    client = await web_site.signed_in("anna", (Role.TECHNICIAN, {"scope": Scope.ALL}))
    anna = await web_site.catalogue.user_named("anna")
    async with client.session.ws_connect(web_site.base + "/api/v1/ws") as socket:
        first = await registry_after(socket)

        renamed = replace(camera, name="Dworzec", number=71)
        await web_site.catalogue.update_camera(renamed, at_ns=time.time_ns())
        second = await registry_after(socket, first)
        assert await listed(client, lambda c: (c["name"], c["number"]) == ("Dworzec", 71))

        grant = await give_role(
            web_site.catalogue, TESTER, time.time_ns(), anna, role=Role.OPERATOR, scope=Scope.CAMERA, camera_id=other.id
        )
        third = await registry_after(socket, second)
        assert await listed(client, lambda c: c["id"] == str(other.id) and "view_live" in c["acts"])

        await web_site.catalogue.remove_grant(grant.id, record=TESTER.does("take_role", time.time_ns()))
        assert await registry_after(socket, third) == second

        await web_site.catalogue.retire_camera(other.id, at_ns=time.time_ns())
        await registry_after(socket, second)
        assert not await listed(client, lambda c: c["id"] == str(other.id))


async def test_a_page_that_connects_anew_and_missed_nothing_need_not_ask(web_site: WebSite) -> None:
    await web_site.camera(1)
    await web_site.parts.watch.look()
    client = await web_site.signed_in("anna", Role.OPERATOR)
    told = set()
    for _ in range(2):
        async with client.session.ws_connect(web_site.base + "/api/v1/ws") as socket:
            told.add(await registry_after(socket))
    assert len(told) == 1
