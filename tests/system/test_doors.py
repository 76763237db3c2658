"""The listening sockets of a running site: one public door behind which nothing is had without signing in, and no other (S-03)."""

from __future__ import annotations

import json
import os
import re
import socket
import stat
import struct
from pathlib import Path

import aiohttp
import pytest
from aiortc import RTCSessionDescription

from tests.support.live_viewers import AiortcViewer
from tests.support.live_viewers import Door as GatewayDoor
from tests.support.open_doors import Door, doors
from tests.support.vms_process import until
from tests.support.whole_site import WholeSite, whole_site
from web.api.app import OPEN
from web.api.openapi import FILE

pytestmark = [
    pytest.mark.network,
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root sees the descriptors of processes that hide their memory"),
]

UP, WEB, LIVE = "vms.cli", "web.api.process", "web.live.process"
HOST, WORKER, ARCHIVER, ALARMS = "recorder.host", "recorder.worker", "storage.archive_process", "vms.cli.alarm_watch"
# Everything that may listen. Who adds a door says here what it is, and below why it may be there.
PUBLIC, METRICS, MEDIA = "the public door", "the metrics page", "media of a viewer"
EXPECTED = {
    UP: {PUBLIC, METRICS},  # it holds the public door open over the web process's replacements
    WEB: {PUBLIC, "run/web.metrics"},
    LIVE: {MEDIA, "run/live.sock", "run/live.metrics"},
    HOST: {"run/feed.sock", "run/recorder-host.metrics"},
    WORKER: {"run/recorder-0.sock", "run/recorder-0.metrics"},
    ARCHIVER: {"run/archiver.metrics"},
    ALARMS: {"run/alarms.metrics"},
}


async def test_a_site_listens_where_it_says_and_nowhere_else(tmp_path: Path) -> None:
    async with whole_site(tmp_path) as site:
        operator = await site.operator()
        async with GatewayDoor(site.site.live_socket) as door, AiortcViewer(door) as viewer:
            answer = await operator.watch(site.cameras[0], offer=await viewer.offer())
            assert answer.status == 201, answer.text
            await viewer.pc.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
            await viewer.pictures(5)
            await until("all doors open", lambda: {r: n for r, n in _named(site).items() if n} == EXPECTED)
            media = [d for found in _of_roles(site).values() for d in found if d.kind == "udp"]
            await _strangers_hear_nothing(media, viewer)
        _only_ours(site)
        await _the_public_door_asks_who_you_are(site)
        await _the_metrics_page_is_all_there_is(site)


def _of_roles(site: WholeSite) -> dict[str, set[Door]]:
    lines = site.processes()
    found: dict[str, set[Door]] = {}
    for pid, open_ones in doors(lines).items():
        match = re.search(r" -m (\S+)", lines[pid])
        found.setdefault(match[1] if match else lines[pid], set()).update(open_ones)
    return found


def _named(site: WholeSite) -> dict[str, set[str]]:
    """By role, what its doors are called; one that has no name is called by its address, and so is in no list."""
    return {role: {_name(site, door) for door in found} for role, found in _of_roles(site).items()}


def _name(site: WholeSite, door: Door) -> str:
    if door.kind == "unix" and door.place.startswith(f"{site.site.path}/"):
        return door.place.removeprefix(f"{site.site.path}/")
    if door.kind == "tcp" and door.is_loopback and f"http://{door.place}" == site.base:
        return PUBLIC
    if door.kind == "tcp" and door.is_loopback and f"http://{door.place}/metrics" in site.up.out:
        return METRICS
    return MEDIA if door.kind == "udp" and door.is_loopback else f"{door.kind} {door.place}"


def _only_ours(site: WholeSite) -> None:
    """Unix sockets, and the folders on the way to them, are for the site's own user."""
    for found in _of_roles(site).values():
        for door in found:
            if door.kind == "unix":
                assert not stat.S_IMODE(os.stat(door.place).st_mode) & 0o177, door
    for folder in (site.site.path, site.site.run):
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700


async def _the_public_door_asks_who_you_are(site: WholeSite) -> None:
    """Each path of the interface, by each method, without signing in and with a made-up token."""
    described = json.loads(FILE.read_text())["paths"]
    for client in (await site.nobody(), await site.nobody(bearer="stroz_" + "x" * 43)):
        for path, operations in described.items():
            concrete = re.sub(r"\{\w+\}", "00000000-0000-0000-0000-000000000000", path)
            for method in operations:
                if (method, path) not in OPEN:
                    answer = await client(method.upper(), concrete)
                    assert (answer.status, answer.code) == (401, "not_signed_in"), (method, path, answer.text)
        async with client.session.ws_connect(f"{site.base}/api/v1/ws", headers={"Origin": site.base}) as socket:
            assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
            assert socket.close_code == 4401
        for path in (
            "/api/v1/openapi.json",
            "/api/v1/metrics",
            "/health/x",
            "/docs.json",
            "/../site.toml",
            "/site.key",
        ):
            async with client.session.get(site.base + path) as answered:
                assert answered.status == 404, path
        for method in ("TRACE", "OPTIONS", "PUT", "DELETE"):
            async with client.session.request(method, f"{site.base}/") as answered:
                assert answered.status in (404, 405), method
        shown = "".join([(await client(m.upper(), p)).text for m, p in sorted(OPEN)])
        assert not [secret for secret in (*site.canaries, site.cameras[0].name) if secret in shown]


async def _the_metrics_page_is_all_there_is(site: WholeSite) -> None:
    (place,) = re.findall(r"metrics: (http://\S+)/metrics", site.up.out)
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{place}/metrics") as page:
            text = await page.text()
            assert page.status == 200
        for path in ("/", "/metrics/", "/debug", "/../site.toml", "/api/v1/cameras"):
            async with session.get(place + path) as answered:
                assert answered.status == 404, path
        async with session.post(f"{place}/metrics", data=b"x") as answered:
            assert answered.status == 501
    assert not [secret for secret in site.canaries if secret in text]


async def _strangers_hear_nothing(media: list[Door], viewer: AiortcViewer) -> None:
    """Datagrams of nobody's session get no answer, of whatever kind they are, and cost its viewer nothing."""
    assert media
    request = struct.pack("!HHI", 1, 0, 0x2112A442) + bytes(12)  # a STUN binding request without credentials
    hello = b"\x16\xfe\xff" + bytes(8) + struct.pack("!H", 40) + b"\x01" + bytes(39)
    rtp, rtcp = b"\x80\x60" + bytes(60), b"\x80\xc9\x00\x01" + bytes(4)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.setblocking(False)
        for door in media:
            for datagram in (b"", b"x", b"GET / HTTP/1.1\r\n\r\n", request, hello, rtp, rtcp, bytes(1400)):
                stranger.sendto(datagram, (door.host, door.port))
        await viewer.pictures(25)  # the gateway has long read what came before these
        with pytest.raises(BlockingIOError):
            stranger.recvfrom(2048)
