"""What ended sessions leave until the collector comes."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc

from tests.support.rtsp_watch import Collected
from vms.rtsp.client import RtspSession
from vms.rtsp.options import RtspOptions
from vms.rtsp.transport import BUFFER_BYTES
from vms.rtsp.turns import ReadTurns
from vms.simulate import SimulatorOptions, prepare_small, running

SESSIONS = 12


async def once(url: str, turns: ReadTurns) -> None:
    session = RtspSession.open(url, options=RtspOptions(turns=turns))
    async with session:
        await session.setup(session.description.media[0], Collected())
        await session.play()


async def test_an_ended_session_gives_its_buffer_back_though_nothing_was_collected() -> None:
    footage = await asyncio.to_thread(prepare_small)
    async with running(SimulatorOptions(tuple(footage[:1]), cameras=1, port=0)) as simulator:
        turns = ReadTurns()
        await once(simulator.url("cam0"), turns)
        gc.collect()
        gc.disable()
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for _ in range(SESSIONS):
                await once(simulator.url("cam0"), turns)
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            gc.enable()
    assert after - before < SESSIONS * BUFFER_BYTES // 2
