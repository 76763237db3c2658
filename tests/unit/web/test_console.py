"""What a page is told of those that its server depends on, at once when they do not answer, and of cameras' clocks."""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn

import pytest

from tests.support.web_site import WebSite, until
from vms.errors import SourceError
from vms.model import GapReason, StreamKind
from web.api.websocket import CONSOLE_BEATS
from web.identity.access import Role
from web.identity.refusals import Code, Refusal


async def next_console(socket: Any) -> tuple[dict[str, Any], int]:
    """The next of its messages, and how many beats came before it."""
    beats = 0
    while (message := await socket.receive_json())["t"] != "console":
        beats += message["t"] == "beat"
    return message, beats


async def silent(*_args: object) -> NoReturn:
    raise SourceError(GapReason.RECORDER_RESTART, "nobody answers")


async def test_a_recorder_that_falls_silent_is_told_at_once_and_its_return_too(
    web_site: WebSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    await web_site.camera(1)
    client = await web_site.signed_in("anna", Role.OPERATOR)
    async with client.session.ws_connect(web_site.base + "/api/v1/ws") as socket, asyncio.timeout(30):
        message, _ = await next_console(socket)
        assert message["recorder"] is True
        with monkeypatch.context() as patch:
            patch.setattr(web_site.parts.feed, "states", silent)
            message, beats = await next_console(socket)
            assert (message["recorder"], message["recording"], message["recorded"]) == (False, 0, 0)
            assert beats < CONSOLE_BEATS - 1, "not with the next counts, which were due after that"
        while message["recorder"] is not True:
            message, _ = await next_console(socket)


async def test_a_camera_s_state_says_whose_time_its_pictures_bear(web_site: WebSite) -> None:
    camera = await web_site.camera(1)
    for stream in camera.streams:
        web_site.feed.states[stream.id]["run_clock"] = "camera" if stream.kind is StreamKind.MAIN else "arrival"
    await web_site.parts.watch.look()
    client = await web_site.signed_in("anna", Role.OPERATOR)
    async with client.session.ws_connect(web_site.base + "/api/v1/ws") as socket, asyncio.timeout(30):
        while (message := await socket.receive_json())["t"] != "cameras":
            pass
        assert message["items"][0]["clocks"] == {"main": "camera", "sub": "server"}


async def away() -> NoReturn:
    raise Refusal(Code.GATEWAY_AWAY)


async def test_a_gateway_that_is_away_is_told_at_once_and_its_return_too(
    web_site: WebSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await web_site.signed_in("anna", Role.OPERATOR)
    await until(lambda: web_site.parts.views.gateway_answers is True)
    async with client.session.ws_connect(web_site.base + "/api/v1/ws") as socket, asyncio.timeout(30):
        message, _ = await next_console(socket)
        assert message["gateway"] is True
        with monkeypatch.context() as patch:
            patch.setattr(web_site.parts.gateway, "sessions", away)
            message, beats = await next_console(socket)
            assert message["gateway"] is False
            assert beats < CONSOLE_BEATS - 1
        while message["gateway"] is not True:
            message, _ = await next_console(socket)
