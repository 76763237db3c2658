"""What a site's start makes of a store or catalogue that cannot be used: with cameras it records all the same."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from storage.objects import open_store
from vms.cli import prepare, running
from vms.cli.running import supervised
from vms.errors import StoreDenied, StoreUnavailable, UserError
from vms.processes import ChildSpec
from vms.site import Site
from vms.status.site_status import why_it_waits
from vms.supervise import Backoff

Vms = Callable[..., Any]


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the children that were started, in order; no process is."""
    names: list[str] = []

    async def keep_child(spec: ChildSpec, _state: object) -> None:
        names.append(spec.name)
        await asyncio.Event().wait()

    monkeypatch.setenv("VMS_METRICS_ENABLED", "false")
    monkeypatch.setenv("VMS_WEB_ENABLED", "false")
    monkeypatch.setattr(running, "keep_child", keep_child)
    monkeypatch.setattr(running, "CATALOGUE_PACE", Backoff(first=0.01, longest=0.02))
    return names


@pytest.fixture
def camera(vms: Vms) -> None:
    """Camera 1, so that there is something to record."""
    assert vms("camera", "add", "Rynek", "rtsp://127.0.0.1:9/kam").exit_code == 0


def damaged(data: Path) -> None:
    for file in data.glob("catalogue.db*"):
        file.unlink()
    (data / "catalogue.db").write_bytes(b"kotek" * 4096)


def newer(data: Path) -> None:
    with contextlib.closing(sqlite3.connect(data / "catalogue.db")) as catalogue:
        catalogue.execute("update alembic_version set version_num = '9999'")
        catalogue.commit()
        catalogue.execute("pragma wal_checkpoint(truncate)")


async def eventually(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


class Store:
    """A store whose check raises."""

    name = "magazyn"

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def check(self, *, make: bool = True) -> None:
        raise self.error

    async def close(self) -> None:
        pass


@pytest.mark.usefixtures("camera")
@pytest.mark.parametrize(("harm", "says"), [(damaged, "damaged: restore it from your backup"), (newer, "newer")])
async def test_a_catalogue_that_only_a_person_can_mend_is_told_and_cameras_are_recorded(
    harm: Callable[[Path], None], says: str, data: Path, started: list[str], tmp_path: Path
) -> None:
    whole = tmp_path / "whole.db"
    with (
        contextlib.closing(sqlite3.connect(data / "catalogue.db")) as catalogue,
        contextlib.closing(sqlite3.connect(whole)) as copy,
    ):
        catalogue.backup(copy)
    harm(data)
    told: list[str] = []
    async with supervised(Site.open(data), tell=told.append):
        await eventually(lambda: started == ["recorder", "alarms"])
        said = told[-1]  # before it, the store: not made yet, and nobody can tell whether it should be there
        assert says in said
        assert "the cameras last assigned are recorded" in said
        assert "Nothing was started" not in said
        await eventually(lambda: says in why_it_waits(Site.open(data)))
        for file in data.glob("catalogue.db*"):
            file.unlink()
        shutil.copy(whole, data / "catalogue.db")
        await eventually(lambda: sorted(started) == ["alarms", "archiver", "recorder"])
        assert not why_it_waits(Site.open(data))


@pytest.mark.parametrize(("harm", "says"), [(damaged, "restore it from your backup"), (newer, "newer")])
async def test_without_a_camera_such_a_catalogue_is_refused(
    harm: Callable[[Path], None], says: str, data: Path, started: list[str]
) -> None:
    harm(data)
    with pytest.raises(UserError, match=says + ".*Nothing was started"):
        async with supervised(Site.open(data), tell=lambda _: None):
            pass
    assert started == []


@pytest.mark.usefixtures("camera", "started")
async def test_a_spools_disk_smaller_than_its_reserve_is_told_at_the_start(data: Path) -> None:
    (data / "site.toml").write_text("[spool]\nreserve_bytes = 1125899906842624\n")
    told: list[str] = []
    async with supervised(Site.open(data), tell=told.append):
        assert "nothing can be recorded" in told[0]
        assert "spool.reserve_bytes is 1125.9 TB" in told[0]


@pytest.mark.usefixtures("camera")
async def test_a_catalogue_that_answers_late_does_not_keep_the_recorder_waiting(
    data: Path, started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = asyncio.Event()

    async def prepare_catalogue(_site: Site) -> None:
        await answers.wait()

    monkeypatch.setattr(prepare, "CATALOGUE_SECONDS", 0.05)
    monkeypatch.setattr(prepare, "prepare_catalogue", prepare_catalogue)
    told: list[str] = []
    async with supervised(Site.open(data), tell=told.append):
        await eventually(lambda: started == ["recorder", "alarms"])
        assert "not ready after" in told[0]
        answers.set()
        await eventually(lambda: sorted(started) == ["alarms", "archiver", "recorder"])


@pytest.mark.usefixtures("camera")
@pytest.mark.parametrize(
    "error", [StoreDenied("403 RequestTimeTooSkewed"), StoreUnavailable("silent"), UserError("no CA file")]
)
async def test_whatever_the_store_says_assigned_cameras_are_recorded(
    error: Exception, data: Path, started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "open_store", lambda _settings: Store(error))
    told: list[str] = []
    async with supervised(Site.open(data), tell=told.append):
        await eventually(lambda: len(started) == 3)
    assert sorted(started) == ["alarms", "archiver", "recorder"]
    assert str(error) in told[0]
    assert "recording goes on into the spool" in told[0]


async def test_a_store_that_denies_is_refused_where_there_is_no_camera_yet(
    data: Path, started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "open_store", lambda _settings: Store(StoreDenied("wrong key")))
    before = {file: file.read_bytes() for file in data.iterdir() if file.is_file()}
    with pytest.raises(UserError, match=r"wrong key\. Nothing was started; correct the section \[store\]"):
        async with supervised(Site.open(data), tell=lambda _: None):
            pass
    assert started == []
    assert {file: file.read_bytes() for file in data.iterdir() if file.is_file()} == before
    monkeypatch.setattr(prepare, "open_store", open_store)
    async with supervised(Site.open(data), tell=lambda _: None):
        await eventually(lambda: len(started) == 3)


async def test_an_assignment_that_cannot_be_read_is_waited_for(data: Path, started: list[str]) -> None:
    """It may name cameras, and the catalogue writes it anew."""
    site = Site.open(data)
    site.assignment_file.write_bytes(b"\x01" + bytes(200))
    damaged(data)
    async with supervised(site, tell=lambda _: None):
        await eventually(lambda: started == ["recorder", "alarms"])


async def test_the_door_for_people_is_held_open_for_the_processes_behind_it(
    data: Path, started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VMS_WEB_ENABLED", "true")
    monkeypatch.setenv("VMS_WEB_LISTEN", "127.0.0.1:0")
    async with supervised(Site.open(data), tell=lambda _: None) as site:
        await eventually(lambda: sorted(started) == ["alarms", "archiver", "live", "recorder", "web"])
        assert site.address is not None
        host, port = site.address.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))  # nobody serves yet: who comes waits
        writer.close()
        await writer.wait_closed()
        started.clear()
        with socket.socket() as taken:
            taken.bind((host, 0))
            taken.listen()
            monkeypatch.setenv("VMS_WEB_LISTEN", f"{host}:{taken.getsockname()[1]}")
            other = Site.create(data.parent / "other")
            with pytest.raises(UserError, match=r"set web\.listen"):
                async with supervised(other, tell=lambda _: None):
                    pass
        assert started == []
