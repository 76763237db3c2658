"""Recorder and archiver as processes apart, as their own units run them: each serves the metrics of its own."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import urllib.request
from pathlib import Path

import pytest

from tests.support.vms_process import Running, until, vms, vms_running
from vms.cli.running import metrics_page
from vms.errors import UserError
from vms.site import Site

pytestmark = pytest.mark.timeout(90)


async def fetch(running: Running) -> str:
    address = re.search(r"metrics: (http://\S+)", running.out)
    if not address:
        return ""
    with await asyncio.to_thread(urllib.request.urlopen, address[1], timeout=10) as page:
        found: str = page.read().decode()
    return found


@pytest.mark.slow
async def test_each_serves_the_metrics_of_its_own_processes(tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert (await vms("--data", data, "migrate")).code == 0
    (data / "site.toml").write_text("[recorder]\nworkers = 1\n")
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(data / "run" / "recorder-7.metrics"))
    left.close()  # as a killed process leaves it
    async with (
        vms_running(tmp_path / "recorder", "--data", data, "recorder") as recorder,
        vms_running(tmp_path / "archiver", "--data", data, "archiver") as archiver,
    ):

        async def all_answer() -> bool:
            of_recorder, of_archiver = await fetch(recorder), await fetch(archiver)
            return 'process_up{process="recorder-0"} 1.0' in of_recorder and "stroz_spool_free" in of_archiver

        await until("both pages are whole", all_answer)
        of_recorder, of_archiver = await fetch(recorder), await fetch(archiver)
        pattern = r'^stroz_process_up\{process="([\w-]+)"\} 1.0$'
        assert re.findall(pattern, of_recorder, re.MULTILINE) == ["recorder-0", "recorder-host"]
        assert re.findall(pattern, of_archiver, re.MULTILINE) == ["archiver"]
        assert "recorder-7" not in of_recorder
        assert "stroz_spool_free_bytes" not in of_recorder
        assert [code for code, _ in (await recorder.stop(), await archiver.stop())] == [0, 0]


def free_neighbours() -> int:
    """A port that is free, and so is the next."""
    for _ in range(50):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", 0)) as one:
            port: int = one.getsockname()[1]
            with socket.create_server(("127.0.0.1", port + 1)):
                return port
    raise AssertionError("no two free ports side by side")


def test_a_recorder_alone_takes_the_next_port(tmp_path: Path) -> None:
    port = free_neighbours()
    site = Site.create(tmp_path / "data", {"VMS_METRICS_LISTEN": f"127.0.0.1:{port}"})
    with metrics_page(site, ("archiver",)) as one, metrics_page(site, ("recorder",), next_port=True) as two:
        assert one is not None
        assert two is not None
        assert (one.port, two.port) == (port, port + 1)
        with pytest.raises(UserError, match=r"metrics\.listen"), metrics_page(site):
            pass


@pytest.mark.parametrize(("settings", "says"), [({"VMS_METRICS_LISTEN": "127.0.0.1:65535"}, "there is none")])
def test_no_port_after_the_last(tmp_path: Path, settings: dict[str, str], says: str) -> None:
    site = Site.create(tmp_path / "data", settings)
    with pytest.raises(UserError, match=says), metrics_page(site, ("recorder",), next_port=True):
        pass


def test_without_metrics_there_is_no_page(tmp_path: Path) -> None:
    site = Site.create(tmp_path / "data", {"VMS_METRICS_ENABLED": "false"})
    with metrics_page(site) as listen:
        assert listen is None
