"""R-05 as a system: a spool at its budget, and a disk without a byte left. Order, list, alarm, recovery; nothing deleted."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from storage.objects.embedded import EmbeddedServer
from tests.support.servers import temporary_folder
from tests.support.small_disk import fill, small_disk
from tests.support.unreliable_proxy import UnreliableProxy
from tests.support.vms_process import processes_of, until, vms, vms_running
from vms.simulate import Simulator, SimulatorOptions, prepare_small, running
from vms.site import Site
from vms.status.site_status import gather_status
from vms.status.status_json import status_json

pytestmark = [pytest.mark.network, pytest.mark.slow, pytest.mark.timeout(400)]

MB = 1 << 20
ALARM_SECONDS = 30.0
BUDGET = 3 * MB


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    footage = await asyncio.to_thread(prepare_small)
    async with running(SimulatorOptions(tuple(footage[:1]), cameras=3, port=0)) as started:
        yield started


async def status(data: Path, env: dict[str, str]) -> dict[str, Any]:
    """What `vms status --json` prints, without paying for its start."""
    return status_json(await gather_status(Site.open(data, env)))


def states(shown: dict[str, Any]) -> dict[tuple[int, str], str]:
    return {(s["camera"]["number"], s["stream"]): s["state"] for s in shown.get("streams", ())}


async def all_recorded(data: Path, env: dict[str, str]) -> bool:
    found = states(await status(data, env))
    return bool(found) and set(found.values()) <= {"recording", "relaying"}


async def gaps(data: Path, camera: int, env: dict[str, str]) -> list[str]:
    shown = await vms("--data", data, "timeline", str(camera), "--day", "today", "--json", env=env)
    return [gap["reason"] for gap in shown.json["gaps"]]


async def test_streams_are_given_up_in_order_told_and_recorded_again(
    tmp_path: Path, simulator: Simulator, seaweedfs: EmbeddedServer
) -> None:
    data, location = tmp_path / "data", seaweedfs.location
    host, _, port = location.netloc.rpartition(":")
    async with UnreliableProxy(host, int(port)) as proxy:
        env = {
            "VMS_STORE_KIND": "s3", "VMS_STORE_ENDPOINT": f"127.0.0.1:{proxy.port}", "VMS_STORE_TLS": "false",
            "VMS_STORE_BUCKET": f"full-{secrets.token_hex(6)}", "VMS_STORE_ACCESS_KEY": location.access_key,
            "VMS_STORE_SECRET_KEY": location.secret_key, "VMS_SPOOL_BUDGET_BYTES": str(BUDGET),
            "VMS_SPOOL_SHED_FIRST": "2", "VMS_SPOOL_SHED_LAST": "3", "VMS_RECORDER_SEGMENT_SECONDS": "2",
        }  # fmt: skip
        for i in range(3):
            sub = ("--sub", simulator.url("cam0", sub=True), "--record-sub") if i == 0 else ()
            answer = await vms("--data", data, "camera", "add", f"Rynek {i}", simulator.url(f"cam{i}"), *sub)
            assert answer.code == 0, answer.err
        async with vms_running(tmp_path / "up", "--data", data, "up", env=env) as up:
            await until("all recorded", lambda: all_recorded(data, env), 120)
            proxy.away = True

            async def everything_given_up() -> list[dict[str, Any]]:
                shown = await status(data, env)
                return shown["given_up"] if len(shown.get("given_up", ())) == 4 else []

            gone = await until("all streams given up", everything_given_up, 120)
            order = [(g["camera"], g["stream"]) for g in gone]
            assert order == [(1, "sub"), (2, "main"), (1, "main"), (3, "main")], gone
            assert all("the spool is full" in g["why"] for g in gone)
            spool = data / "spool" / "sealed"
            digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in spool.iterdir()}
            assert sum(path.stat().st_size for path in spool.iterdir()) < BUDGET + 4 * 2 * MB
            shown = await vms("--data", data, "status", env=env)
            assert "given up" in shown.out + shown.err
            await asyncio.to_thread(assert_untouched, spool, digests)

            proxy.away = False
            await until("all recorded again", lambda: all_recorded(data, env), 120)
            assert (await status(data, env))["given_up"] == []

            async def archived() -> bool:
                return not set(digests) & {path.name for path in spool.iterdir()}

            await until("what waited is in the store", archived, 60)
            code, _ = await up.stop()
            assert code == 0
        for text in ("streams are given up until it has room", "1 sub", "recorded again"):
            assert text in up.err
        assert "Traceback" not in up.err
        stored: set[str] = set()
        for camera, kind in ((1, "main"), (1, "sub"), (2, "main"), (3, "main")):
            answer = await vms(
                "--data", data, "timeline", str(camera), "--stream", kind, "--day", "today", "--json", env=env
            )
            stored |= {segment["sha256"] for segment in answer.json["segments"]}
            assert "spool_full" in {gap["reason"] for gap in answer.json["gaps"]}, (camera, kind)
        assert set(digests.values()) <= stored  # footage that was not archived yet was never deleted
        checked = await vms("--data", data, "check", "--depth", "digest", env=env)
        assert checked.code == 0, checked.out + checked.err


def assert_untouched(folder: Path, digests: dict[str, str]) -> None:
    """Nothing of what is in the spool goes or changes while it is full."""
    for name, digest in digests.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest


async def test_a_disk_without_a_byte_left(tmp_path: Path, simulator: Simulator) -> None:
    """Spool, catalogue, store and status on 64 MB, all of it taken by somebody else for a while."""
    with temporary_folder("full") as folder, small_disk(folder, 64) as disk:
        data = disk / "data"
        for i in range(2):
            answer = await vms("--data", data, "camera", "add", f"Rynek {i}", simulator.url(f"cam{i}"))
            assert answer.code == 0, answer.err
        env = {"VMS_SPOOL_RESERVE_BYTES": str(4 * MB), "VMS_RECORDER_SEGMENT_SECONDS": "2"}
        async with vms_running(tmp_path / "up", "--data", data, "up", env=env) as up:
            await until("both recorded", lambda: all_recorded(data, env), 120)
            before = set(processes_of(data))
            filler = disk / "filler"
            began = time.monotonic()
            await asyncio.to_thread(fill, filler)

            async def told() -> bool:
                shown = await status(data, env)
                reasons = {s["reason"] for s in shown["streams"] if s["stream"] == "main"}
                return reasons == {"spool_full"} and len(shown["given_up"]) == 2

            await until("the status says why nothing is recorded", told, ALARM_SECONDS)
            assert time.monotonic() - began < ALARM_SECONDS
            await asyncio.to_thread(fill, filler)  # what was freed meanwhile too
            await asyncio.sleep(8)  # several attempts of recorder and archiver on the full disk
            assert up.process.returncode is None
            assert before <= set(processes_of(data)), "a process died of the full disk"
            filler.unlink()
            await until("both recorded again", lambda: all_recorded(data, env), 120)
            # What was half written when the disk ran full is sealed too, without a new connection.
            spool = data / "spool" / "open"
            torn = {path.name for path in spool.iterdir()}
            await until("leftovers are sealed", lambda: not torn & {path.name for path in spool.iterdir()}, 60)

            async def known() -> bool:
                return all(["spool_full" in await gaps(data, camera, env) for camera in (1, 2)])

            await until("the timeline says why", known, 60)
            code, _ = await up.stop()
            assert code == 0
        assert "met a bug" not in up.err
        assert "Traceback" not in up.err
        for camera in (1, 2):
            assert "spool_full" in await gaps(data, camera, env)
        assert list((data / "spool" / "open").iterdir()) == []
        incoming = data / "store" / ".incoming"
        assert list(incoming.iterdir()) == []
        checked = await vms("--data", data, "check", "--depth", "digest", env=env)
        assert checked.code == 0, checked.out + checked.err
