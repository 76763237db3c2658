import asyncio
import itertools
import json
import subprocess
import time
from collections import defaultdict

import pytest

from tests.support.raw_rtsp import RawClient
from vms.errors import UserError
from vms.simulate import QUIRKS, CameraScript, SimulatorOptions, running
from vms.simulate.footage import read_clip
from vms.simulate.options import scripts_of

pytestmark = pytest.mark.network


def port_of(sim, camera="cam0"):
    return int(sim.url(camera).split(":")[2].split("/")[0])


async def ffprobe(url, transport):
    process = await asyncio.create_subprocess_exec(
        *("ffprobe", "-v", "error", "-rtsp_transport", transport, "-show_entries", "stream=codec_name,width,height"),
        *("-of", "csv=p=0", url),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(), 30)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return out.decode().strip()


@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_ffprobe_finds_codec_and_size(small_footage, transport):
    options = SimulatorOptions(
        small_footage, cameras=3, port=0, default=CameraScript(auth="jan:haslo", restart_on_play=True)
    )
    async with running(options) as sim:
        urls = [sim.url(f"cam{i}", credentials=True) for i in range(3)] + [sim.url("cam0", sub=True, credentials=True)]
        found = await asyncio.gather(*(ffprobe(u, transport) for u in urls))
    assert found == ["h264,320,180", "hevc,320,180", "h264,320,180", "h264,160,90"]


async def test_log_matches_what_was_received(make_options, tmp_path):
    path = tmp_path / "sent.jsonl"
    records = []
    options = make_options(loss=0.1, seed=5)
    options = SimulatorOptions(**{f: getattr(options, f) for f in options.__slots__} | {"log": path})
    async with running(options, on_record=records.append) as sim, RawClient(port_of(sim)) as client:
        _, play = await client.start("cam0")
        packets = await client.receive(80)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines == records
    units = [r for r in records if "index" in r]
    received = defaultdict(list)
    for packet in packets:
        received[packet.timestamp].append(packet)
    clip = read_clip(options.footage[0].main)
    by_digest = {u.sha256: u for u in clip.units}
    assert any(u["lost"] for u in units)
    last = packets[-1].timestamp
    for unit in units:
        if unit["rtp"] == last:
            break
        sent = received.get(unit["rtp"], [])
        if unit["lost"]:
            continue
        data = b"".join(p.payload for p in sent)
        assert by_digest[unit["sha256"]].nals[-1][-40:] == data[-40:]
        assert sent[-1].marker
    assert f"seq={packets[0].sequence};" in play.header("RTP-Info") or units[0]["lost"]


async def test_sequence_and_time_go_on_over_the_loop(make_options):
    async with running(make_options()) as sim, RawClient(port_of(sim)) as client:
        await client.start("cam0")
        packets = await client.receive(140)  # over four seconds: the footage began anew
    numbers = [p.sequence for p in packets]
    assert all((b - a) & 0xFFFF == 1 for a, b in itertools.pairwise(numbers))
    steps = {(b.timestamp - a.timestamp) & 0xFFFFFFFF for a, b in itertools.pairwise(packets)}
    assert steps <= {0, 3600}
    assert (packets[-1].timestamp - packets[0].timestamp) & 0xFFFFFFFF > 4 * 90_000


async def test_same_seed_loses_the_same(make_options):
    async def lost(seed):
        records = []
        options = make_options(loss=0.2, seed=seed)
        async with running(options, on_record=records.append) as sim, RawClient(port_of(sim)) as client:
            await client.start("cam0")
            await client.receive(25)
        units = [r for r in records if "index" in r][:20]
        return [(r["index"], r["rtp"], r["lost"]) for r in units]

    first, again, other = await asyncio.gather(lost(1), lost(1), lost(2))
    assert first == again != other


async def test_stall_then_burst(make_options):
    async with running(make_options()) as sim, RawClient(port_of(sim)) as client:
        await client.start("cam0")
        await client.receive(10)
        sim.stall("cam0", 1.0)
        began = time.monotonic()
        seen = len([c for c, _ in client.frames if c == 0])
        packets = await client.receive(seen + 25)
        assert 0.8 < time.monotonic() - began < 3
    numbers = [p.sequence for p in packets]
    assert all((b - a) & 0xFFFF == 1 for a, b in itertools.pairwise(numbers))


async def test_losing_packets_for_a_while(make_options):
    records = []
    async with running(make_options(), on_record=records.append) as sim, RawClient(port_of(sim)) as client:
        await client.start("cam0")
        await client.receive(10)
        sim.lose("cam0", 1.0, 0.6)
        seen = len([c for c, _ in client.frames if c == 0])
        packets = await client.receive(seen + 15)
    units = [r for r in records if "index" in r]
    lost = [r["index"] for r in units if r["lost"]]
    assert 8 <= len(lost) <= 18
    assert lost == list(range(lost[0], lost[0] + len(lost)))
    assert [r["index"] for r in units if not r["lost"]][-1] > lost[-1]
    steps = [((b.timestamp - a.timestamp) & 0xFFFFFFFF) // 3600 for a, b in itertools.pairwise(packets)]
    assert max(steps) == len(lost) + 1


async def test_disconnect_stop_and_start(make_options):
    async with running(make_options(cameras=2)) as sim:
        async with RawClient(port_of(sim)) as client:
            await client.start("cam0")
            assert sim.disconnect("cam0") == 1
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await client.receive(10_000)
        await sim.stop_camera("cam0")
        async with RawClient(port_of(sim)) as client:
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await client.ask("DESCRIBE", "cam0")
        async with RawClient(port_of(sim)) as client:
            assert (await client.ask("DESCRIBE", "cam1")).status == 200
        await sim.start_camera("cam0")
        await sim.stop_camera("cam1", missing=True)
        async with RawClient(port_of(sim)) as client:
            assert (await client.ask("DESCRIBE", "cam0")).status == 200
            assert (await client.ask("DESCRIBE", "cam1")).status == 404


@pytest.mark.parametrize(
    ("offered", "asked"), [("tcp", "RTP/AVP;unicast;client_port=5000-5001"), ("udp", "RTP/AVP/TCP;interleaved=0-1")]
)
async def test_the_other_transport_is_461(make_options, offered, asked):
    async with running(make_options(transport=offered)) as sim, RawClient(port_of(sim)) as client:
        assert (await client.ask("SETUP", "cam0/trackID=0", Transport=asked)).status == 461


async def test_clock_offset_is_in_sender_reports(make_options):
    async with running(make_options(clock_offset=100.0)) as sim, RawClient(port_of(sim)) as client:
        await client.start("cam0")
        await client.receive(3)
        report = next(raw for channel, raw in client.frames if channel == 1)
    assert abs(int.from_bytes(report[8:12], "big") - 2_208_988_800 - time.time() - 100) < 5


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"quirks": ("zly",)}, "no quirk"), ({"quirks": ("aud@cam9",)}, "no camera cam9"), ({"cameras": 0}, "between 1")],
)
def test_bad_options_are_told(make_options, changes, words):
    options = make_options()
    options = SimulatorOptions(**{f: getattr(options, f) for f in options.__slots__} | changes)
    with pytest.raises(UserError, match=words):
        scripts_of(options)


def test_every_quirk_explains_itself():
    assert all(q.summary.endswith(".") and name == q.name for name, q in QUIRKS.items())
