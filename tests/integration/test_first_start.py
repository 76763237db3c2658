"""A camera that is registered before its recorder ever ran: the time until then is missing for a reason."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.support.stack import SECOND, running_stack
from vms.model import GapReason
from vms.simulate import SimulatorOptions, prepare_small, running

pytestmark = [pytest.mark.network, pytest.mark.timeout(60)]


async def test_the_time_before_the_recorders_first_start_has_its_reason() -> None:
    options = SimulatorOptions((prepare_small()[0],), cameras=1, port=0)
    async with running(options) as simulator, running_stack() as stack:
        await stack.add("Rynek", simulator.url("cam0"))
        added_ns = time.time_ns()
        await asyncio.sleep(1)  # time passes in which nothing records
        started_ns = time.time_ns()
        await stack.start()
        await stack.recorded_for(1, "Rynek")
        (gap,) = await stack.gaps("Rynek")
        assert gap.reason is GapReason.RECORDER_RESTART
        assert added_ns - SECOND < gap.start_ns <= added_ns
        assert gap.end_ns is not None
        assert gap.end_ns > started_ns
        assert {m.reason for m in (await stack.timeline("Rynek")).missing} == {GapReason.RECORDER_RESTART}
        await stack.stop()
        assert await stack.catalogue.awaited() == {}  # so that a later start does not reckon from then again
        assert all(m.reason is not GapReason.UNKNOWN for m in (await stack.timeline("Rynek")).missing)
