"""Our client against the simulator: every unit that was sent whole arrives bit for bit, in order, over both transports."""

import asyncio
import hashlib

import pytest

from tests.support.rtsp_watch import Collected
from tests.support.waiting import until
from vms.errors import SourceError
from vms.rtsp.client import RtspSession
from vms.simulate import CameraScript, SimulatorOptions, prepare_small, running

pytestmark = pytest.mark.network
UNITS = 60


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    folder = tmp_path_factory.getbasetemp().parent / "footage-cache"
    folder.mkdir(exist_ok=True)
    return folder, tuple(prepare_small(folder, pattern=True))


async def receive(sim, camera, transport, units=UNITS):
    """A sink with at least `units` units of the camera."""
    sink = Collected()

    async def attempt():
        async with RtspSession.open(sim.url(camera), username="jan", password="haslo", transport=transport) as session:
            await session.setup(session.description.media[0], sink)
            await session.play()
            await session.run()

    task = asyncio.create_task(attempt())
    try:
        await until(lambda: len(sink.units) >= units or task.done(), 20)
        if task.done():
            await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return sink


def check(records, sink, camera):
    """What arrived is what the log says was sent, lost units left out."""
    sent = [r for r in records if r.get("camera") == camera and "index" in r and not r["lost"]]
    got = [hashlib.sha256(u.data).hexdigest() for u in sink.units]
    assert [r["sha256"] for r in sent][: len(got)] == got
    assert [r["key"] for r in sent][: len(got)] == [u.key for u in sink.units]


@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_every_codec_arrives_bit_for_bit(footage, transport):
    cache, files = footage
    script = CameraScript(auth="jan:haslo", restart_on_play=True)
    records = []
    options = SimulatorOptions(files, cameras=3, port=0, default=script, cache_dir=cache)
    async with running(options, on_record=records.append) as sim:
        sinks = await asyncio.gather(*(receive(sim, f"cam{i}", transport) for i in range(3)))
    for i, sink in enumerate(sinks):
        check(records, sink, f"cam{i}")
        assert sink.reports


async def test_refusals(footage):
    cache, files = footage
    options = SimulatorOptions(files, cameras=1, port=0, default=CameraScript(auth="jan:inne"), cache_dir=cache)
    async with running(options) as sim:
        with pytest.raises(SourceError, match=r".") as caught:
            await receive(sim, "cam0", "tcp")
        assert caught.value.reason == "unauthorised"
        await sim.stop_camera("cam0")
        with pytest.raises(SourceError):
            await receive(sim, "cam0", "tcp")
