"""Our client against our server: what goes in on one side comes out on the other, bit for bit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace

import pytest

from tests.support.rtsp_watch import QUICK, Collected
from tests.support.scripted_rtsp import PPS, SPS
from tests.support.waiting import until
from vms.errors import SourceError
from vms.media import h264
from vms.model import AccessUnit, CodecConfig, GapReason
from vms.rtsp.auth import ServerAuth
from vms.rtsp.client import RtspOptions, RtspSession
from vms.rtsp.outlet import Outlet
from vms.rtsp.probe import probe
from vms.rtsp.provider import PROPER, Manners, Offer, Start, Viewer
from vms.rtsp.server import RtspServer

CONFIG = h264.make_config([SPS, PPS])


def unit(number: int) -> AccessUnit:
    key = number % 10 == 0
    size = 20_000 if key else 2_000  # over several packets
    nal = (b"\x65\x88\x84\x00" if key else b"\x41\x9a\x21\x00") + bytes((i * 7 + number) % 250 + 1 for i in range(size))
    return AccessUnit(number * 3600, len(nal).to_bytes(4, "big") + nal, key, CONFIG, 0)


class Film:
    """A provider of one short film, all of it at once."""

    def __init__(self, manners: Manners = PROPER, auth: ServerAuth | None = None, units: int = 40) -> None:
        self._manners = manners
        self._auth = auth
        self._units = units

    async def describe(self, path: str) -> Offer | None:
        return Offer((CONFIG,)) if path == "film" else None

    def play(self, path: str, outlets: Mapping[int, Outlet], viewer: Viewer) -> Showing:
        return Showing(next(iter(outlets.values())), self._units)

    def manners(self, path: str) -> Manners:
        return self._manners

    def gate(self, path: str) -> ServerAuth | None:
        return self._auth


class Showing:
    """One viewer's film."""

    def __init__(self, outlet: Outlet, units: int) -> None:
        self._outlet = outlet
        self._units = units
        self._number = 0
        self._timer: asyncio.TimerHandle | None = None

    def starts(self) -> Mapping[int, Start]:
        return {}

    def begin(self) -> None:
        self._next()

    def _next(self) -> None:
        if self._number < self._units:
            self._outlet.send_unit(unit(self._number), time.time_ns())
            self._number += 1
            self._timer = asyncio.get_running_loop().call_later(0.002, self._next)

    def stop(self) -> None:
        if self._timer:
            self._timer.cancel()


PASSWORD = "hasło z odstępem"


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize("scheme", ["", "SHA-256", "MD5", "Basic"])
@pytest.mark.parametrize(
    "manners",
    [
        PROPER,
        Manners(channel_shift=4, ssrc_first=True, absolute_control=True, content_base=False),
        Manners(transports=("tcp",)),
        Manners(transports=("udp",)),
    ],
)
async def test_what_is_sent_is_received(transport: str, scheme: str, manners: Manners) -> None:
    auth = ServerAuth("Kamera", {"u": PASSWORD}.get, schemes=[scheme]) if scheme else None
    server = RtspServer(Film(manners, auth))
    await server.start()
    sink = Collected()
    try:
        async with RtspSession.open(
            f"rtsp://127.0.0.1:{server.port}/film",
            username="u",
            password=PASSWORD,
            transport=transport,
            options=QUICK,
        ) as session:
            await session.setup(session.description.media[0], sink)
            await session.play()
            await until(lambda: len(sink.units) == 40)
            assert session.transport in manners.transports
        await until(lambda: not server.sessions)
    finally:
        await server.close()
    expected = [unit(n) for n in range(40)]
    assert sink.lost == 0
    assert [u.data for u in sink.units] == [u.data for u in expected]
    assert [u.key for u in sink.units] == [u.key for u in expected]
    assert [u.pts - sink.units[0].pts for u in sink.units] == [u.pts for u in expected]
    assert sink.reports


async def test_refusals_of_our_server() -> None:
    server = RtspServer(Film(auth=ServerAuth("r", {"u": "p"}.get)))
    await server.start()
    try:
        for path, user, reason in (("film", "x", GapReason.UNAUTHORISED), ("nic", "u", GapReason.REFUSED)):
            session = RtspSession.open(
                f"rtsp://127.0.0.1:{server.port}/{path}", username=user, password="p", options=QUICK
            )
            with pytest.raises(SourceError) as caught:
                await session.__aenter__()
            assert caught.value.reason is reason
    finally:
        await server.close()


async def test_a_probe_of_our_server() -> None:
    server = RtspServer(Film(units=400))
    await server.start()
    try:
        options: RtspOptions = replace(QUICK, stall_timeout=5.0)
        report = await probe(f"rtsp://127.0.0.1:{server.port}/film", seconds=0.3, options=options)
    finally:
        await server.close()
    config: CodecConfig = CONFIG
    assert (report.width, report.height, report.profile) == (config.width, config.height, config.profile)
    assert report.gop_units == 10
    assert report.clock_offset_ns is not None
    assert abs(report.clock_offset_ns) < 1_000_000_000


async def test_what_comes_after_the_end_was_asked_for_is_not_handed_on() -> None:
    """Between the last flush and the answer to TEARDOWN units still come; they would seem to follow a loss."""
    server = RtspServer(Film(units=10_000))
    await server.start("127.0.0.1", 0)
    sink = Collected()
    async with RtspSession.open(f"rtsp://127.0.0.1:{server.port}/film", options=QUICK) as session:
        await session.setup(session.description.media[0], sink)
        await session.play()
        running = asyncio.create_task(session.run())
        await until(lambda: len(sink.units) > 20)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        ended = len(sink.units)
        await until(lambda: session.tracks[0].facts.units > ended + 5)
        assert len(sink.units) == ended
    await server.close()
    assert not any(received.damaged for received in sink.units[1:])
