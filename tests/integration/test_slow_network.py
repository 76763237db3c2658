"""A network that delays, jitters, stalls and cuts between camera and recorder: all pictures, and their true times."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.delay_relay import DelayRelay
from tests.support.live_site import SimulatorThread
from tests.support.recorder_site import recorder_site
from vms.camera_url import CameraUrl
from vms.simulate import prepare_small

pytestmark = [pytest.mark.network, pytest.mark.slow, pytest.mark.timeout(120)]

BASE_S, JITTER_S, STALL_S = 0.100, 0.080, 2.0
LEAST_NS = 20_000_000  # what every picture waits at least: no clock of the recorder's can know of it
TRUE_NS = 100_000_000


def test_delay_jitter_and_a_stall_cost_no_picture_and_no_picture_its_time_and_a_cut_is_a_gap() -> None:
    relays: list[DelayRelay] = []

    def through(thread: SimulatorThread, url: str) -> str:
        port = CameraUrl.parse(url).port
        relay = DelayRelay("127.0.0.1", port, base_s=BASE_S, jitter_s=JITTER_S, seed=20261127 + len(relays))
        thread.call(lambda _sim: relay.start())
        relays.append(relay)
        return url.replace(f":{port}/", f":{relay.port}/")

    with recorder_site(prepare_small()[:1], 2, through=through) as site:

        async def disturb() -> None:
            await site.recording(range(2))
            await asyncio.sleep(5.0)
            site.simulator.call(lambda _sim: relays[0].stall(STALL_S))
            site.simulator.call(lambda _sim: relays[1].cut())
            await asyncio.sleep(STALL_S + 4.0)

        asyncio.run(disturb())
        site.stop("host")
        accounts, stored = site.accounts(range(2))
        for relay in relays:
            site.simulator.call(lambda _sim, relay=relay: relay.stop())
    assert stored.undecodable == []
    for account in accounts.values():
        assert account.problems == []
        assert account.worst_capture_error_ns <= TRUE_NS + LEAST_NS
        assert account.stored > 8 * 25
    assert accounts[0].outages == []
    assert len(accounts[1].outages) == 1  # told of as a gap, within 100 ms: `problems` compares
    assert all(relay.pieces > 100 for relay in relays)
