"""One bad camera, one crash, one hang: what it costs the others is nothing (R-06, S-12).

Real sockets and processes; every picture of the others is accounted for by what the simulator says it sent. The long form
of cameras that harm is `make neighbours`; the database that goes away is in `tests/system/test_database_away.py`.
"""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.support.neighbours_run import BAD, run_beside
from tests.support.recorder_site import AccountedSite, recorder_site
from tests.support.waiting import until
from vms.model import SourceKind
from vms.simulate import prepare_small

pytestmark = [pytest.mark.network, pytest.mark.slow, pytest.mark.timeout(120), pytest.mark.xdist_group("neighbours")]

BACK_S = 10.0
BLOCKER = """
import signal, sys, time
def block(*_):
    time.sleep(600)
if "recorder.worker" in " ".join(sys.orig_argv):
    signal.signal(signal.SIGUSR2, block)
"""


@pytest.mark.parametrize("together", [sorted(set(BAD) - {"flood"}), ["flood"]], ids=["all but the flood", "flood"])
def test_cameras_that_harm_cost_no_other_a_picture(together: list[str]) -> None:
    figures = run_beside(together, 10, 8.0)
    assert figures.problems == []
    assert figures.lost == 0
    assert figures.pictures > 10 * 25 * 10


def test_a_crash_in_libav_costs_its_camera_seconds_and_the_others_nothing() -> None:
    with recorder_site(prepare_small()[:1], 4, fields={0: {"source": SourceKind.LIBAV}}) as site:

        async def crash() -> float:
            await site.recording(range(4))
            await asyncio.sleep(2.0)
            worker = site.worker_pid(0)
            (child,) = Path(f"/proc/{worker}/task/{worker}/children").read_text().split()
            assert "libav_child" in Path(f"/proc/{child}/cmdline").read_text()
            os.kill(int(child), signal.SIGSEGV)
            await out_of_recording(site, 0)
            return await site.recording([0])

        back_s = asyncio.run(crash())
        asyncio.run(asyncio.sleep(1.0))
        site.stop("host")
        others_lost_nothing(site, [1, 2, 3])
    assert back_s <= BACK_S


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGUSR2], ids=["stopped", "blocked"])
def test_a_worker_that_hangs_is_replaced_and_the_others_do_not_notice(number: signal.Signals, tmp_path: Path) -> None:
    """Its stacks are in the log, also where it was stopped."""
    (tmp_path / "sitecustomize.py").write_text(BLOCKER)
    with recorder_site(prepare_small()[:1], 4, workers=2, environment={"PYTHONPATH": str(tmp_path)}) as site:

        async def hang() -> tuple[float, float]:
            await site.recording(range(4))
            loop = asyncio.get_running_loop()
            pid = site.worker_pid(0)
            assert pid is not None
            began = loop.time()
            os.kill(pid, number)
            await until(lambda: site.worker_pid(0) not in (pid, None), 30, "another worker")
            replaced_s = loop.time() - began
            await site.recording([0, 2])
            await asyncio.sleep(1.0)
            return replaced_s, loop.time() - began

        replaced_s, _ = asyncio.run(hang())
        site.stop("host")
        log = site.log("host").read_text(errors="replace")
        others_lost_nothing(site, [1, 3])
    assert replaced_s <= BACK_S
    assert "dumping its stacks" in log
    assert "most recent call first" in log


async def out_of_recording(site: AccountedSite, index: int) -> None:
    async def noticed() -> bool:
        return (await site.states()).get(site.stream_of(index), {}).get("state") != "recording"

    async with asyncio.timeout(BACK_S):
        while not await noticed():
            await asyncio.sleep(0.05)


def others_lost_nothing(site: AccountedSite, indices: list[int]) -> None:
    accounts, stored = site.accounts(indices)
    for account in accounts.values():
        assert account.problems == []
        assert account.outages == []
        assert account.stored > 50
    assert stored.undecodable == []
