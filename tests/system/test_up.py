"""`vms up` as a real process: it records, refuses a second one, survives deaths, goes on without store and catalogue, ends in order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from storage.objects.embedded import EmbeddedServer
from tests.support.vms_process import Running, processes_of, until, vms, vms_running
from vms.simulate import Simulator, SimulatorOptions, prepare_small, running

pytestmark = [pytest.mark.network, pytest.mark.slow]

AWAY = {
    "VMS_STORE_KIND": "s3", "VMS_STORE_ENDPOINT": "127.0.0.1:1", "VMS_STORE_BUCKET": "stroz", "VMS_STORE_TLS": "false",
    "VMS_STORE_ACCESS_KEY": "a", "VMS_STORE_SECRET_KEY": "bardzo-tajne",
}  # fmt: skip


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """An H.264 and an H.265 camera."""
    footage = await asyncio.to_thread(prepare_small)
    async with running(SimulatorOptions(tuple(footage[:2]), cameras=2, port=0)) as started:
        yield started


@pytest.fixture
async def data(tmp_path: Path, simulator: Simulator) -> Path:
    """A site with the simulator's cameras, 1 and 2."""
    folder = tmp_path / "data"
    for i in range(2):
        answer = await vms("--data", folder, "camera", "add", f"Rynek {i + 1}", simulator.url(f"cam{i}"))
        assert answer.code == 0, answer.err
    return folder


async def states(data: Path) -> list[str]:
    answer = await vms("--data", data, "status", "--json")
    return [s["state"] for s in answer.json["streams"]] if answer.out else []


async def recording(data: Path, up: Running) -> None:
    async def check() -> bool:
        assert up.process.returncode is None, up.err
        return await states(data) == ["recording", "recording"]

    await until("both cameras recording", check, 40)


def test_ends_in_order() -> None:
    """The budget of an orderly end is what the children are given, and a little."""
    from vms.cli.running import ALARMS_STOP_SECONDS, ARCHIVER_STOP_SECONDS, RECORDER_STOP_SECONDS

    assert RECORDER_STOP_SECONDS > 15  # the host gives its workers so much
    assert ALARMS_STOP_SECONDS + RECORDER_STOP_SECONDS + ARCHIVER_STOP_SECONDS < 30


async def test_records_alone_survives_a_killed_worker_and_ends_in_order(data: Path, tmp_path: Path) -> None:
    async with vms_running(tmp_path / "up", "--data", data, "up") as up:
        await recording(data, up)
        for refused in ("up", "recorder", "archiver"):
            answer = await vms("--data", data, refused)
            assert answer.code == 2, refused
            assert re.search("in use by process|runs already", answer.err), answer.err
            assert "Traceback" not in answer.err
        address = re.search(r"metrics: (http://\S+)", up.out)
        assert address
        with await asyncio.to_thread(urllib.request.urlopen, address[1], timeout=10) as page:
            metrics = page.read().decode()
        assert 'stroz_process_up{process="archiver"} 1.0' in metrics
        assert 'stroz_recording{camera="1",process="recorder-0",stream="main"} 1.0' in metrics

        (worker,) = [
            pid for pid, line in processes_of(data).items() if "recorder.worker" in line and "--index 0" in line
        ]
        os.kill(worker, signal.SIGKILL)
        await until("the death is seen", lambda: "recorder worker 0 ended: killed by SIGKILL" in up.err)
        await recording(data, up)

        code, seconds = await up.stop(signal.SIGINT)
        assert code == 0
        assert seconds < 20
    assert "ended" in up.out
    assert "Traceback" not in up.err
    assert list((data / "spool" / "open").iterdir()) == []
    await until("no process is left", lambda: not processes_of(data), 5)
    shown = await vms("--data", data, "timeline", "1", "--day", "today", "--json")
    assert len(shown.json["segments"]) >= 2
    assert "recorder_restart" in {gap["reason"] for gap in shown.json["gaps"]}
    nobody = await vms("--data", data, "status")
    assert nobody.code == 1
    assert "nothing runs" in nobody.err


async def test_a_store_that_is_away_is_told_and_recording_goes_on(data: Path, tmp_path: Path) -> None:
    async with vms_running(tmp_path / "up", "--data", data, "up", env=AWAY) as up:
        await recording(data, up)
        assert "the store does not answer" in up.out
        assert "recording goes on" in up.out
        answer = await vms("--data", data, "status", "--json", env=AWAY)
        assert answer.code == 0

        async def error() -> str | None:
            shown = (await vms("--data", data, "status", "--json", env=AWAY)).json
            return shown["store"].get("error")  # type: ignore[no-any-return]

        assert "nothing listens" in await until("the archiver says why", error)
        code, seconds = await up.stop()
        assert (code, seconds < 20) == (0, True)
    assert "bardzo-tajne" not in up.out + up.err
    assert list((data / "spool" / "open").iterdir()) == []
    assert list((data / "spool" / "sealed").iterdir())


async def test_a_catalogue_that_is_away_is_told_and_recording_goes_on(data: Path, tmp_path: Path) -> None:
    env = {"VMS_CATALOGUE_URL": "postgresql://stroz:kanarek@127.0.0.1:1/stroz"}
    async with vms_running(tmp_path / "up", "--data", data, "up", env=env) as up:
        await recording(data, up)
        assert "the cameras last assigned are recorded" in up.out
        code, _ = await up.stop()
        assert code == 0
    assert "kanarek" not in up.out + up.err
    assert list((data / "spool" / "sealed").iterdir())


async def test_a_damaged_catalogue_is_told_and_recording_goes_on(data: Path, tmp_path: Path) -> None:
    for file in data.glob("catalogue.db*"):
        file.unlink()
    (data / "catalogue.db").write_bytes(b"kotek" * 4096)
    async with vms_running(tmp_path / "up", "--data", data, "up") as up:
        await recording(data, up)
        assert re.search("damaged: restore it from your backup.*the cameras last assigned are recorded", up.out)
        assert "Nothing was started" not in up.out + up.err
        await until("archiving says that it waits", lambda: "archiving waits" in up.err)
        code, _ = await up.stop()
        assert code == 0
    assert "Traceback" not in up.out + up.err
    assert list((data / "spool" / "sealed").iterdir())


async def test_a_store_that_denies_is_told_and_recording_goes_on(data: Path, tmp_path: Path) -> None:
    """Such as one whose clock is not ours: it answers 403."""
    said = b"<Error><Code>RequestTimeTooSkewed</Code><Message>x</Message></Error>"
    answer = (
        b"HTTP/1.1 403 Forbidden\r\nContent-Type: application/xml\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
    )

    async def deny(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer % (len(said), said))
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(deny, "127.0.0.1", 0)
    async with server:
        env = AWAY | {"VMS_STORE_ENDPOINT": f"127.0.0.1:{server.sockets[0].getsockname()[1]}"}
        async with vms_running(tmp_path / "up", "--data", data, "up", env=env) as up:
            await recording(data, up)
            assert "the store cannot be used" in up.out
            assert "recording goes on into the spool" in up.out
            assert "Nothing was started" not in up.out + up.err
            code, _ = await up.stop()
            assert code == 0
    assert "bardzo-tajne" not in up.out + up.err
    assert list((data / "spool" / "sealed").iterdir())


async def test_credentials_that_the_store_denies_are_refused_where_there_is_nothing_to_record_yet(
    tmp_path: Path, minio: EmbeddedServer
) -> None:
    location = minio.location
    env = AWAY | {"VMS_STORE_ENDPOINT": location.netloc, "VMS_STORE_ACCESS_KEY": location.access_key}
    data = tmp_path / "data"
    answer = await vms("--data", data, "up", env=env)
    assert answer.code == 2
    assert "Nothing was started" in answer.err
    assert "[store]" in answer.err
    assert "bardzo-tajne" not in answer.out + answer.err
    assert "Traceback" not in answer.err
    assert not (data / "catalogue.db").exists()
    assert not (data / "spool").exists()


async def test_a_taken_port_for_metrics_is_refused(tmp_path: Path) -> None:
    server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0)
    async with server:
        taken = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        answer = await vms("--data", tmp_path / "data", "up", env={"VMS_METRICS_LISTEN": taken})
    assert answer.code == 2
    assert "metrics.listen" in answer.err
