"""The live gateway over a real recorder and simulated cameras, watched by stock aiortc."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import av
import pytest
from aiortc.rtp import RtcpSrPacket

from tests.support import live_viewers
from tests.support.live_packets import H264, H265, PacketViewer
from tests.support.live_site import LiveSite, eventually, eventually_sync, live_site
from tests.support.live_viewers import Door, viewer
from tests.support.rtp_received import Picture, pictures_of
from vms.media.rtp import parse_rtp, timestamp_delta
from vms.model import Codec, StreamKind
from vms.simulate import prepare_small
from web.live.ice import own_addresses

pytestmark = [pytest.mark.network, pytest.mark.slow]
OWN = [address for address in own_addresses() if ":" not in address]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSite]:
    """Cameras with H.264, H.265 and B-frames, each with a sub-stream of H.264, recorded and relayed; and the gateway."""
    folder = tmp_path_factory.getbasetemp().parent / "footage-cache"
    folder.mkdir(exist_ok=True)
    addresses = ", ".join(["127.0.0.1", *OWN[:1]])
    settings = f'[live]\naddresses = "{addresses}"\nudp_ports = "42000-42999"\n'
    with live_site(prepare_small(folder, pattern=True), ["Rynek", "H.265", "B"], settings=settings) as live:
        live.start("live", "web.live.process")
        asyncio.run(live.live())
        eventually_sync((live.site.run / "live.sock").exists, 15, "the gateway's door")
        yield live
        print(live.log("live").read_text()[-8000:])


@pytest.fixture
async def door(live: LiveSite) -> AsyncIterator[Door]:
    async with Door(live.site.run / "live.sock") as door:
        yield door


async def test_a_stock_viewer_sees_the_camera(live: LiveSite, door: Door) -> None:
    stream = live.stream(0)
    async with viewer(door, stream) as seeing:
        assert (seeing.answer["stream"], seeing.answer["codec"], seeing.answer["transcoded"], seeing.answer["why"]) == (
            str(stream), "h264", False, "",
        )  # fmt: skip
        pictures = await seeing.pictures(30)
        assert {(p.width, p.height) for p in pictures} == {(320, 180)}
        (facts,) = (await door.sessions()).values()
        assert (facts["id"], facts["stream"], facts["state"]) == (str(seeing.id), str(stream), "live")
        assert facts["packets"] > 30


async def test_every_packet_that_was_sent_decrypts_at_a_stock_client(live: LiveSite, door: Door) -> None:
    async with PacketViewer(door) as packets:
        await packets.open(live.stream(0))
        await packets.marked(75)
        sent = (await door.sessions())[packets.id]["packets"]
        await packets.until(lambda: len(packets.packets) >= sent)
        assert packets.failures.count == 0
        numbers = [int.from_bytes(p[2:4], "big") for p in packets.packets]
        assert all((b - a) & 0xFFFF == 1 for a, b in itertools.pairwise(numbers))
        whole = packets.packets[: max(i for i, p in enumerate(packets.packets) if p[1] & 0x80) + 1]
        pictures = pictures_of(Codec.H264, whole)
        assert [n[0] & 31 for n in pictures[0].nals[:2]] == [7, 8]  # SPS and PPS come first
        assert 5 in [n[0] & 31 for n in pictures[0].nals]
        for picture in pictures:
            kinds = [n[0] & 31 for n in picture.nals]
            assert (5 in kinds) == (7 in kinds) == (8 in kinds)


async def test_packets_say_when_they_were_captured_and_reports_agree(live: LiveSite, door: Door) -> None:
    async with PacketViewer(door) as packets:
        await packets.open(live.stream(0))
        await packets.until(lambda: any(isinstance(r, RtcpSrPacket) for r in packets.reports))
        await packets.marked(10)
        report = next(r for r in packets.reports if isinstance(r, RtcpSrPacket))
        last = packets.packets[-1]
        assert last[16] == 0x37
        captured = int.from_bytes(last[17:25], "big")
        assert abs((captured >> 32) - 2_208_988_800 - time.time()) < 3
        ticks = timestamp_delta(int.from_bytes(last[4:8], "big"), report.sender_info.rtp_timestamp)
        seconds = (captured - report.sender_info.ntp_timestamp) / 2**32
        assert abs(ticks / 90_000 - seconds) < 0.002


async def test_lost_packets_come_again(live: LiveSite, door: Door) -> None:
    async with PacketViewer(door, lose=lambda n: n % 7 == 0) as packets:
        await packets.open(live.stream(0))
        await packets.marked(40)
        packets.packets.clear()
        await packets.marked(25)
        have = {int.from_bytes(p[2:4], "big") for p in packets.media_packets()}
        first, last = min(have), max(have)
        lost = [n for n in range(first, last) if n not in have]
        assert len(lost) >= 3
        packets.lose = lambda _n: False
        await packets.nack(lost)

        def repeated() -> set[int]:
            found = [p for p in packets.packets if p[1] & 0x7F == 103]
            return {int.from_bytes(p[parse_rtp(p).payload_start :][:2], "big") for p in found}

        await packets.until(lambda: set(lost) <= repeated())
        assert (await door.sessions())[packets.id]["rtx"] == len(lost)


async def test_a_viewer_that_lost_its_picture_gets_a_key_picture(live: LiveSite, door: Door) -> None:
    async with PacketViewer(door, rtx=False) as packets:
        await packets.open(live.stream(0))
        await packets.until(lambda: keys(packets.packets[-2:]), 5)  # a second until the next one
        await packets.marked(3)
        before = len(packets.packets)
        await packets.nack(numbers_of(packets.packets[-1:]))
        await packets.pli()
        await packets.until(lambda: any(keys(packets.packets[before:])), 0.6)
        numbers = [n for n, _ in itertools.groupby(numbers_of(packets.packets[before + 1 :]))]
        assert all((b - a) & 0xFFFF == 1 for a, b in itertools.pairwise(numbers))


async def test_a_silent_cameras_pictures_are_not_shown_again(live: LiveSite, door: Door) -> None:
    """A viewer that has them all asks for a key picture, as browsers do when nothing comes, and loses nothing by it."""
    async with PacketViewer(door) as packets:
        await packets.open(live.stream(0))
        await packets.marked(30)
        live.simulator.call(lambda sim: sim.stall("cam0", 2.0))
        for _ in range(8):
            await asyncio.sleep(0.25)
            await packets.pli()
        await packets.marked(30)
        captured = [int.from_bytes(p[17:25], "big") for p in packets.packets]
        begun = [c for c, _ in itertools.groupby(captured)]
        assert begun == sorted(set(begun)), "a picture came again"
        numbers = numbers_of(packets.packets)
        assert all((b - a) & 0xFFFF == 1 for a, b in itertools.pairwise(numbers))


def numbers_of(packets: list[bytes]) -> list[int]:
    return [int.from_bytes(p[2:4], "big") for p in packets]


def keys(packets: list[bytes]) -> list[bytes]:
    """Packets that begin a picture from which one can begin: they hold an SPS."""
    found = []
    for packet in packets:
        payload = packet[parse_rtp(packet).payload_start :]
        if payload[0] & 31 == 24 and payload[3] & 31 == 7:
            found.append(packet)
    return found


async def test_a_switch_shows_the_other_stream_within_the_same_track(live: LiveSite, door: Door) -> None:
    main, sub = live.stream(0), live.stream(0, StreamKind.SUB)
    async with viewer(door, sub) as seeing, PacketViewer(door) as packets:
        await packets.open(sub)
        small = (await seeing.pictures(10))[-1]
        assert await door.switch(seeing.id, main) == (204, None)
        assert await door.switch(packets.id, main) == (204, None)
        assert {s["stream"] for s in (await door.sessions()).values()} == {str(main)}
        big = (await seeing.pictures(30))[-1]
        assert big.width > small.width
        times = [s.time for s in seeing.seen]
        assert all(0 < b - a < 1 for a, b in itertools.pairwise(times))
        await packets.marked(30)
        numbers = [int.from_bytes(p[2:4], "big") for p in packets.packets]
        assert all((b - a) & 0xFFFF == 1 for a, b in itertools.pairwise(numbers))
        stamps = [int.from_bytes(p[4:8], "big") for p in packets.packets]
        assert all(0 <= timestamp_delta(b, a) < 90_000 for a, b in itertools.pairwise(stamps))
        assert (await door.switch(seeing.id, live.stream(1)))[0] == 406
        assert (await door.switch(seeing.id, uuid4()))[0] == 404
        assert (await door.switch(uuid4(), main))[0] == 404
        await seeing.pictures(5)


async def test_addresses_and_ports_are_those_of_the_settings(live: LiveSite, door: Door) -> None:
    async with PacketViewer(door) as packets:
        await packets.open(live.stream(0))
        offered = [(c.ip, c.port) for c in packets.media.ice_candidates]
        assert [ip for ip, _ in offered] == ["127.0.0.1", *OWN[:1]]
        assert all(42_000 <= port < 43_000 for _, port in offered)
        assert packets.media.ice_candidates[0].priority > packets.media.ice_candidates[-1].priority or not OWN


async def test_h265_goes_to_who_offers_it(live: LiveSite, door: Door) -> None:
    async with PacketViewer(door, codecs=(H264, H265)) as packets:
        answer = await packets.open(live.stream(1))
        assert (answer["codec"], answer["why"]) == ("hevc", "")
        assert packets.media.rtp.codecs[0].mimeType == "video/H265"
        await packets.marked(30)
        whole = packets.packets[: max(i for i, p in enumerate(packets.packets) if p[1] & 0x80) + 1]
        pictures = pictures_of(Codec.H265, whole)
        assert [n[0] >> 1 & 63 for n in pictures[0].nals[:3]] == [32, 33, 34]
        assert decoded("hevc", pictures) >= 25


@pytest.mark.parametrize(("camera", "why"), [(1, "h265"), (2, "b_frames")])
async def test_what_a_browser_cannot_play_gives_way_to_the_sub_stream(
    live: LiveSite, door: Door, camera: int, why: str
) -> None:
    sub = live.stream(camera, StreamKind.SUB)
    async with viewer(door, live.stream(camera), fallbacks=[uuid4(), sub]) as seeing:
        assert (seeing.answer["stream"], seeing.answer["codec"], seeing.answer["why"]) == (str(sub), "h264", why)
        await seeing.pictures(10)


@pytest.mark.parametrize(("camera", "why"), [(1, "h265"), (2, "b_frames")])
async def test_without_a_sub_stream_one_stream_is_transcoded(live: LiveSite, door: Door, camera: int, why: str) -> None:
    async with viewer(door, live.stream(camera)) as seeing, PacketViewer(door) as packets:
        answer = seeing.answer
        assert (answer["stream"], answer["codec"], answer["transcoded"], answer["why"]) == (
            str(live.stream(camera)), "h264", True, why,
        )  # fmt: skip
        await seeing.pictures(20)
        await packets.open(live.stream(camera))  # the same one again costs nothing
        await packets.marked(20)
        captured = int.from_bytes(packets.packets[-1][17:25], "big")
        assert abs((captured >> 32) - 2_208_988_800 - time.time()) < 3
        other = live.stream(3 - camera)
        status, problem = await door.offer(other, packets.offer())
        assert (status, problem["code"]) == (406, "codec_unsupported")
    if camera == 1:
        await eventually(lambda: transcoders(live, 0), 15, "the transcoder's end")


async def transcoders(live: LiveSite, count: int) -> bool:
    """Whether so many transcoders run under this gateway."""
    pid = live.processes["live"].pid
    children = await asyncio.to_thread(Path(f"/proc/{pid}/task/{pid}/children").read_text)
    return len(children.split()) == count


def decoded(name: str, pictures: list[Picture]) -> int:
    """How many pictures PyAV makes of these."""
    decoder = av.CodecContext.create(name, "r")
    assert isinstance(decoder, av.VideoCodecContext)
    count = 0
    for picture in pictures:
        count += len(decoder.decode(av.Packet(b"".join(b"\0\0\0\1" + nal for nal in picture.nals))))
    return count + len(decoder.decode(None))


async def test_gstreamers_webrtcbin_sees_the_camera(live: LiveSite, door: Door) -> None:
    """Its ICE uses no loopback. Its certificate is RSA."""
    if not OWN:
        pytest.skip("this machine has no address but loopback")
    probe = "import gi; gi.require_version('GstWebRTC', '1.0'); gi.require_version('GstSdp', '1.0')"
    if subprocess.run(["/usr/bin/python3", "-c", probe], capture_output=True, check=False).returncode:
        pytest.skip("GStreamer's WebRTC is not installed (Debian: gstreamer1.0-nice, gir1.2-gst-plugins-bad-1.0)")
    program = Path(live_viewers.__file__).with_name("gst_webrtc_viewer.py")
    child = await asyncio.create_subprocess_exec(
        "/usr/bin/python3", str(program), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        async with asyncio.timeout(30):
            offer = json.loads(await child.stdout.readline())["offer"]
            status, given = await door.offer(live.stream(0), offer)
            assert status == 201, given
            child.stdin.write(json.dumps({"answer": given["answer"]}).encode() + b"\n")
            seen = {"pictures": 0}
            while seen["pictures"] < 50:
                seen = json.loads(await child.stdout.readline())
            assert (seen["width"], seen["height"]) == (320, 180)
    finally:
        child.kill()
        await child.communicate()
