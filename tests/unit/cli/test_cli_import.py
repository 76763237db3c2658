"""`vms import`: verdicts, bringing in, and what `vms timeline` says of it."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from storage.archiver import Archiver
from storage.catalogue import Catalogue
from storage.objects import open_store
from storage.spool import Spool
from storage.stores import object_store_info, spool_info
from tests.support.footage_rows import HOUR
from tests.support.sealed import Site as Footage
from tests.unit.cli.conftest import Vms
from vms.model import GapReason
from vms.settings import local_host_name
from vms.site import Site


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Another recorder's spool with three minutes of a camera of ours, recorded hours ago."""

    folder: Path
    start_ns: int


def _footage(spool: Spool, catalogue: Catalogue, stream: UUID, start_ns: int, minutes: range) -> None:
    async def work() -> None:
        footage = Footage(spool, catalogue, stream)
        run = footage.run(
            start_ns=start_ns, host="inny", end_ns=start_ns + 60 * 10**9 * minutes.stop, end_reason=GapReason.STALLED
        )
        await footage.seal(run, minutes)

    asyncio.run(work())


def register(data: Path) -> None:
    """What an archiver at work does with the spool."""

    async def work() -> None:
        site = Site.open(data)
        store, spool, host = open_store(site.settings.store), Spool(site.spool), local_host_name()
        async with Catalogue(site.catalogue_url) as catalogue:
            await Archiver(
                spool, catalogue, store, host=host, spool_store=spool_info(host),
                object_store=object_store_info(site.settings.store),
            ).register_sealed()  # fmt: skip
        await store.close()
        await spool.close()

    asyncio.run(work())


@pytest.fixture
def elsewhere(vms: Vms, data: Path, tmp_path: Path) -> Elsewhere:
    assert vms("camera", "add", "Rynek", "rtsp://10.0.0.5/x").exit_code == 0
    stream = UUID(json.loads(vms("camera", "list", "--json").stdout)[0]["streams"][0]["id"])
    start_ns = time.time_ns() // HOUR * HOUR - 3 * HOUR
    spool, mine = Spool(tmp_path / "inny"), Spool(Site.open(data).spool)
    spool.prepare()
    mine.prepare()
    catalogue = Catalogue(Site.open(data).catalogue_url)
    _footage(spool, catalogue, stream, start_ns, range(3))
    _footage(mine, catalogue, stream, start_ns + 30 * 60 * 10**9, range(2))
    asyncio.run(catalogue.close())
    register(data)
    return Elsewhere(tmp_path / "inny", start_ns)


def test_looking_then_bringing_in(vms: Vms, elsewhere: Elsewhere, data: Path) -> None:
    looked = vms("import", elsewhere.folder)
    assert looked.exit_code == 0, looked.output
    assert "3 new" in looked.stderr
    assert "add --commit" in looked.stderr
    facts = json.loads(vms("import", elsewhere.folder, "--commit", "--json").stdout)
    assert (facts["counts"], facts["brought_in"], facts["stopped"], facts["new_streams"]) == ({"new": 3}, 3, None, [])
    register(data)
    assert json.loads(vms("import", elsewhere.folder, "--commit", "--json").stdout)["counts"] == {"known": 3}
    shown = json.loads(vms("timeline", "1", "--from", "-4h", "--to", "now", "--json").stdout)
    assert [(s["origin"], s["late"]) for s in shown["segments"]] == [("import", True)] * 3 + [("live", False)] * 2
    assert [(s["origin"], s["late"], s["damaged"]) for s in shown["recorded"]] == [
        ("import", True, False),
        ("live", False, False),
    ]
    assert "recorded, import, came late" in vms("timeline", "1", "--from", "-4h", "--to", "now").stdout


def test_what_cannot_come_in_is_said_and_fails(vms: Vms, elsewhere: Elsewhere, data: Path) -> None:
    next((elsewhere.folder / "sealed").iterdir()).write_bytes(b"nic")
    answer = vms("import", elsewhere.folder, "--commit")
    assert answer.exit_code == 1
    assert "unsound" in answer.stdout
    assert "2 new, 1 unsound" in answer.stderr


def test_the_recorders_room_is_left_alone(vms: Vms, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VMS_SPOOL_BUDGET_BYTES", "60000")
    answer = vms("import", elsewhere.folder, "--commit", "--json")
    assert answer.exit_code == 1
    facts = json.loads(answer.stdout)
    assert facts["brought_in"] < 3
    assert "run the same command again" in facts["stopped"]


def test_what_is_being_written_is_said(vms: Vms, elsewhere: Elsewhere) -> None:
    spool = Spool(elsewhere.folder)
    opened = spool.open_segment(uuid4(), uuid4(), 0)
    spool.write(opened, [b"begun"])
    answer = vms("import", elsewhere.folder, "--commit")
    spool.abandon(opened)
    assert answer.exit_code == 1
    assert "1 open" in answer.stderr
    assert "run it again" in answer.stderr


def test_refused(vms: Vms, elsewhere: Elsewhere, data: Path, tmp_path: Path) -> None:
    for folder, why in (
        (data / "spool", "own"),
        (data / "spool" / "sealed", "own"),
        (tmp_path / "nie ma", "no folder"),
    ):
        answer = vms("import", folder)
        assert answer.exit_code == 2
        assert why in answer.stderr
    with Site.open(data).hold("import") as try_to_take:
        assert try_to_take()
        assert "under way" in vms("import", elsewhere.folder).stderr
    (tmp_path / "pusty").mkdir()
    assert vms("import", tmp_path / "pusty").exit_code == 0
