"""The database stops under a running site, and comes back: no recorder notices, and afterwards the catalogue has it all.

`make database-away` lets it be away for ten minutes.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.servers import PostgresServer, postgres_programs, temporary_folder
from tests.support.vms_process import processes_of, until, vms, vms_running
from vms.localtime import format_utc
from vms.simulate import SimulatorOptions, prepare_small, running
from vms.site import Site
from vms.status.site_status import gather_status
from vms.status.status_json import status_json

AWAY_SECONDS = float(os.environ.get("AWAY_SECONDS", "8"))
pytestmark = [pytest.mark.network, pytest.mark.slow, pytest.mark.timeout(240 + AWAY_SECONDS)]
CAMERAS = 3


async def status(data: Path, env: dict[str, str]) -> dict[str, Any]:
    return status_json(await gather_status(Site.open(data, env)))


async def test_the_database_away_is_not_noticed_by_any_recorder(tmp_path: Path) -> None:
    programs = postgres_programs()
    if programs is None:
        pytest.skip("PostgreSQL's server programs are not installed")
    footage = await asyncio.to_thread(prepare_small)
    with temporary_folder("away") as folder, temporary_folder("pg") as place:
        server = await asyncio.to_thread(PostgresServer, programs, place)
        data = folder / "data"
        env = {
            "VMS_CATALOGUE_URL": server.url,
            "VMS_RECORDER_SEGMENT_SECONDS": "2",
            "VMS_SPOOL_RESERVE_BYTES": str(64 << 20),
        }
        await asyncio.to_thread(server.start)
        try:
            async with running(SimulatorOptions(tuple(footage[:1]), cameras=CAMERAS, port=0)) as simulator:
                answer = await vms("--data", data, "migrate", env=env)
                assert answer.code == 0, answer.err
                for i in range(CAMERAS):
                    answer = await vms("--data", data, "camera", "add", f"Rynek {i}", simulator.url(f"cam{i}"), env=env)
                    assert answer.code == 0, answer.err
                async with vms_running(tmp_path / "up", "--data", data, "up", env=env) as up:

                    async def archived() -> bool:
                        found = await status(data, env)
                        going = [s for s in found["streams"] if s["state"] == "recording" and s["segments"]]
                        return len(going) == CAMERAS and bool(found["store"].get("uploaded_segments"))

                    await until("all are recorded and archived", archived, 90)
                    before = processes_of(data)
                    away = format_utc(time.time_ns())
                    await asyncio.to_thread(server.stop)

                    async def told() -> bool:
                        return bool((await status(data, env))["archiver"]["catalogue_error"])

                    await until("the status says that the database is away", told, 30)
                    end = time.monotonic() + AWAY_SECONDS
                    while time.monotonic() < end:  # watched all the while: nobody's state may change for a moment
                        shown = await status(data, env)
                        assert {s["state"] for s in shown["streams"]} == {"recording"}
                        await asyncio.sleep(0.3)
                    assert set(before) <= set(processes_of(data)), "a process died of the database"
                    await asyncio.to_thread(server.start)

                    async def caught_up() -> bool:
                        return not (await status(data, env))["archiver"]["catalogue_error"]

                    await until("the archiver has caught up", caught_up, 60 + AWAY_SECONDS)
                    back = format_utc(time.time_ns())
                    shown = await status(data, env)
                    assert all(s["gaps_by_reason"] == {"recorder_restart": 1} for s in shown["streams"]), shown
                    code, _ = await up.stop()
                    assert code == 0
                for camera in range(1, CAMERAS + 1):
                    within = ("--from", away, "--to", back, "--json")
                    shown = (await vms("--data", data, "timeline", camera, *within, env=env)).json
                    assert shown["gaps"] == []
                    assert any(r["start"] <= away and back <= r["end"] for r in shown["recorded"]), shown["recorded"]
                checked = await vms("--data", data, "check", "--depth", "digest", env=env)
                assert checked.code == 0, checked.out + checked.err
                assert "Traceback" not in up.err
        finally:
            await asyncio.to_thread(server.stop)
