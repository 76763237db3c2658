"""The live gateway among people and packets that mean it no good: each is told what is wrong, and costs nobody else anything."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from tests.support.live_packets import PacketViewer, offer_text
from tests.support.live_site import LiveSite, camera, eventually, eventually_sync, live_site
from tests.support.live_viewers import Door
from vms.simulate import prepare_small

pytestmark = [pytest.mark.network, pytest.mark.slow]

MOST = 12


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSite]:
    """One camera that is recorded, one that nobody can reach, and the gateway with room for few."""
    folder = tmp_path_factory.getbasetemp().parent / "footage-cache"
    folder.mkdir(exist_ok=True)
    settings = f"[live]\nmax_sessions = {MOST}\n"
    with live_site(prepare_small(folder, pattern=True)[:1], ["Rynek"], settings=settings, sub=False) as live:
        live.start("live", "web.live.process")
        asyncio.run(live.live())
        live.cameras.append(camera(9, "Nikt", "rtsp://127.0.0.1:1/nowhere"))
        live.assign()
        asyncio.run(live.client.reload())
        eventually_sync((live.site.run / "live.sock").exists, 15, "the gateway's door")
        yield live
        print(live.log("live").read_text()[-8000:])


@pytest.fixture
async def door(live: LiveSite) -> AsyncIterator[Door]:
    async with Door(live.site.run / "live.sock") as door:
        yield door
        await clear(door)


async def test_each_wrong_request_is_told_what_is_wrong(live: LiveSite, door: Door) -> None:
    good = live.stream(0)
    assert await code_of(door, good, "Ala ma kota") == (400, "offer_malformed")
    assert await code_of(door, good, "v=0\r\n" * 5000) == (400, "offer_malformed")
    vp8 = offer_text(codecs=(("96 VP8/90000", "96 x=1"),))
    assert await code_of(door, good, vp8) == (406, "codec_unsupported")
    assert await code_of(door, uuid4(), offer_text()) == (404, "unknown_stream")
    for body in (b"", b"{", b"[]", b"null", b'{"id": 1}', b"\xff\xfe", b'{"id": "x", "stream": "y", "offer": "z"}'):
        status, problem = await door.ask("POST", "/v1/sessions", data=body)
        assert (status, problem["code"]) == (400, "bad_request"), body
        assert problem["detail"]
    assert (await door.ask("POST", "/v1/sessions", data=b"x" * 300_000))[0] == 413
    assert (await door.ask("PUT", f"/v1/sessions/{uuid4()}/stream", json={"stream": "x"}))[0] == 400
    assert (await door.ask("PUT", "/v1/sessions/x/stream", json={"stream": str(good)}))[0] == 400
    assert await door.delete(uuid4()) == 204
    assert (await door.ask("DELETE", "/v1/sessions/x"))[0] == 400
    assert await door.sessions() == {}


async def test_a_camera_that_is_not_received_is_told_at_once(live: LiveSite, door: Door) -> None:
    dead = live.stream(1)
    await eventually(lambda: known(live, dead), 10, "the recorder's knowing of the dead camera")
    began = time.monotonic()
    status, problem = await door.offer(dead, offer_text())
    assert (status, problem["code"]) == (409, "source_not_live")
    assert problem["retry_after"] >= 1
    assert time.monotonic() - began < 2
    status, given = await door.offer(dead, offer_text(), fallbacks=[live.stream(0)])
    assert (status, given["stream"], given["why"]) == (201, str(live.stream(0)), "source_not_live")


async def test_a_stream_that_was_away_is_shown_in_the_same_session_once_it_is_back(live: LiveSite, door: Door) -> None:
    away, found = live.stream(1), live.cameras[1].streams
    await eventually(lambda: known(live, away), 10, "the recorder's knowing of the dead camera")
    async with PacketViewer(door) as packets:
        given = await packets.open(away, fallbacks=(live.stream(0),))
        assert (given["stream"], given["why"]) == (str(live.stream(0)), "source_not_live")
        await packets.marked(10)
        status, problem = await door.switch(packets.id, away)
        assert (status, problem["code"]) == (409, "source_not_live")
        assert problem["retry_after"] >= 1
        await packets.marked(10)  # the refusal cost no picture
        try:
            url = live.cameras[0].streams[0].url
            live.change(1, streams=tuple(replace(s, url=url) for s in found))

            async def switched() -> bool:
                return (await door.switch(packets.id, away))[0] == 204

            await eventually(switched, 20, "the switch to the stream that is back")
            await packets.marked(10)
            assert (await door.sessions())[packets.id]["stream"] == str(away)
        finally:
            live.change(1, streams=found)


async def known(live: LiveSite, stream: UUID) -> bool:
    return stream in await live.states()


async def test_an_id_is_for_one_session(live: LiveSite, door: Door) -> None:
    async with PacketViewer(door) as packets:
        await packets.open(live.stream(0))
        status, problem = await door.offer(live.stream(0), offer_text(), session=packets.id)
        assert (status, problem["code"]) == (409, "conflict")
        await packets.marked(5)


async def test_a_flood_of_offers_and_clients_that_never_answer_hurt_nobody(live: LiveSite, door: Door) -> None:
    async with PacketViewer(door) as packets:
        await packets.open(live.stream(0))
        await packets.marked(10)
        answers = await asyncio.gather(*(door.offer(live.stream(0), offer_text()) for _ in range(60)))
        assert sorted({status for status, _ in answers}) == [201, 503]
        assert sum(status == 201 for status, _ in answers) == MOST - 1
        for status, problem in answers:
            if status == 503:
                assert problem["code"] == "too_many_sessions"
                assert problem["retry_after"] >= 1
        await whole(packets, 30)
        await eventually(lambda: alone(door), 12, "the end of who never came")
        assert packets.id in await door.sessions()
        await whole(packets, 10)
        assert await code_of(door, live.stream(0), offer_text()) == (201, "")


async def test_strangers_datagrams_are_not_heeded(live: LiveSite, door: Door) -> None:
    async with PacketViewer(door) as packets:
        await packets.open(live.stream(0))
        await packets.marked(10)
        port = packets.media.ice_candidates[0].port
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.bind(("127.0.0.1", 0))
            for datagram in forged(packets):
                for _ in range(20):
                    stranger.sendto(datagram, ("127.0.0.1", port))
        await whole(packets, 30)
        assert (await door.sessions())[packets.id]["state"] == "live"


async def test_nonsense_from_the_viewer_itself_ends_nothing(live: LiveSite, door: Door) -> None:
    async with PacketViewer(door) as packets, PacketViewer(door) as neighbour:
        await neighbour.open(live.stream(0))
        await packets.open(live.stream(0))
        await packets.marked(10)
        for datagram in forged(packets):
            for _ in range(20):
                await packets.ice._connection.send(datagram)
        await packets.nack(list(range(0, 65_536, 300)))
        for _ in range(50):
            await packets.pli()
        await packets.dtls._send_rtp(b"\x81\xce\x00\x01\x00\x00\x00\x01")  # feedback cut off
        await packets.dtls._send_rtp(b"\x80\x66" + os.urandom(100))  # a picture for us
        await whole(packets, 30)
        await whole(neighbour, 5)


def forged(packets: PacketViewer) -> list[bytes]:
    """What should do nothing: nothing at all, one byte, too long a datagram, and each kind of packet, made up."""
    binding = b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12)
    named = b"\x00\x01\x00\x0c\x21\x12\xa4\x42" + bytes(12) + b"\x00\x06\x00\x08" + b"abcd:xyz"
    hello = b"\x16\xfe\xff" + bytes(10) + b"\x01" + bytes(60)
    alert = b"\x15\xfe\xfd\x00\x01" + bytes(6) + b"\x00\x02\x02\x50"
    rtp = b"\x80\x66" + packets.packets[-1][2:12] + os.urandom(200)
    goodbye = b"\x81\xcb\x00\x01" + packets.ssrc.to_bytes(4, "big") + os.urandom(14)
    return [
        b"",
        b"\x80",
        b"\x16",
        b"\x80" * 1600,
        b"\x16" * 1600,
        binding,
        named,
        hello,
        alert,
        rtp,
        goodbye,
        os.urandom(600),
    ]


async def test_a_viewer_that_is_gone_without_a_word_is_noticed_within_ten_seconds(live: LiveSite, door: Door) -> None:
    async with PacketViewer(door) as packets:
        await packets.open(live.stream(0))
        await packets.marked(5)
        for protocol in packets.ice._connection._protocols:
            protocol.transport.abort()
        began = time.monotonic()
        await eventually(lambda: empty(door), 10.5, "the end of a session whose viewer is gone")
        assert time.monotonic() - began > 2


async def test_a_deleted_session_ends_and_says_so(live: LiveSite, door: Door) -> None:
    async with PacketViewer(door) as packets:
        await packets.open(live.stream(0))
        await packets.marked(5)
        assert await door.delete(packets.id) == 204
        assert await door.sessions() == {}
        await packets.until(lambda: any(type(r).__name__ == "RtcpByePacket" for r in packets.reports), 5)


async def test_one_slow_viewer_harms_no_other(live: LiveSite, door: Door) -> None:
    async with PacketViewer(door) as slow, PacketViewer(door) as quick:
        await slow.open(live.stream(0))
        await quick.open(live.stream(0))
        await slow.marked(10)
        for n in range(12):
            await slow.report(n * 55, n * 60)  # nine of ten packets do not come through
            await quick.report(0, n * 60)
            await quick.marked(8)
        facts = await door.sessions()
        assert facts[slow.id]["drops"] > 10
        assert facts[quick.id]["drops"] == 0
        await whole(quick, 10)


async def whole(packets: PacketViewer, pictures: int) -> None:
    """So many more pictures come, and no packet is missing."""
    before = len(packets.packets)
    await packets.marked(pictures)
    ours = [p for p in packets.packets[before:] if int.from_bytes(p[8:12], "big") == packets.ssrc]
    numbers = [int.from_bytes(p[2:4], "big") for p in ours]
    assert all((b - a) & 0xFFFF == 1 for a, b in itertools.pairwise(numbers))
    assert packets.failures.count == 0


async def code_of(door: Door, stream: UUID, offer: str) -> tuple[int, str]:
    status, answer = await door.offer(stream, offer)
    return status, answer.get("code", "")


async def alone(door: Door) -> bool:
    return len(await door.sessions()) == 1


async def empty(door: Door) -> bool:
    return not await door.sessions()


async def clear(door: Door) -> None:
    for session in await door.sessions():
        assert await door.delete(session) == 204


async def test_a_gateway_that_was_killed_serves_again(live: LiveSite, door: Door) -> None:
    async with PacketViewer(door) as packets:
        await packets.open(live.stream(0))
        live.processes["live"].kill()
        live.processes.pop("live").wait()
    live.start("live", "web.live.process")
    async with Door(live.site.run / "live.sock") as again:
        await eventually(lambda: answers(again), 15, "the gateway's answer")
        async with PacketViewer(again) as packets:
            await packets.open(live.stream(0))
            await packets.marked(10)


async def answers(door: Door) -> bool:
    try:
        return await door.sessions() == {}
    except OSError:
        return False
