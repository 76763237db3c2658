"""`vms rebuild` on a data folder whose catalogue was lost, and the person who lets deletion go on."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from uuid import UUID

import pytest

from storage.archiver import Archiver
from storage.catalogue import Catalogue
from storage.objects import open_store
from storage.spool import Spool
from storage.stores import object_store_info, spool_info
from tests.support.footage_rows import HOUR
from tests.support.sealed import Site as Footage
from tests.unit.cli.conftest import Vms
from vms.cli.output import progress_text
from vms.cli.prepare import prepare_catalogue
from vms.errors import UserError
from vms.model import GapReason
from vms.settings import local_host_name
from vms.site import Site


@pytest.fixture
def lost(vms: Vms, data: Path, tmp_path: Path) -> UUID:
    """A site with two cameras, of which one has archived footage, and no catalogue any more."""
    password = tmp_path / "password"
    password.write_text("tajne\n")
    added = vms("camera", "add", "Rynek", "rtsp://10.0.0.5/x", "--user", "stroz", "--password-file", password)
    assert added.exit_code == 0, added.output
    assert vms("camera", "add", "Dworzec", "rtsp://10.0.0.6/x").exit_code == 0
    stream = UUID(json.loads(vms("camera", "list", "--json").stdout)[0]["streams"][0]["id"])

    async def work() -> None:
        site = Site.open(data)
        host = local_host_name()
        store, spool = open_store(site.settings.store), Spool(site.spool)
        spool.prepare()
        await store.check()
        async with Catalogue(site.catalogue_url, site.sealer) as catalogue:
            footage = Footage(spool, catalogue, stream)
            start_ns = time.time_ns() // HOUR * HOUR - 5 * HOUR
            run = footage.run(start_ns=start_ns, host=host, end_ns=start_ns + 120 * 10**9, end_reason=GapReason.STALLED)
            await footage.seal(run, range(2))
            archiver = Archiver(
                spool, catalogue, store, host=host, spool_store=spool_info(host),
                object_store=object_store_info(site.settings.store),
            )  # fmt: skip
            await archiver.register_sealed()
            await archiver.upload_pending()
            await archiver.write_journals()
        await spool.close()
        await store.close()

    asyncio.run(work())
    for path in data.glob("catalogue.db*"):
        path.unlink()
    return stream


def test_cameras_footage_and_passwords_come_back(vms: Vms, lost: UUID, data: Path) -> None:
    assert vms("migrate").exit_code == 0  # a new, empty catalogue in its place
    refused = vms("camera", "add", "Nowa", "rtsp://10.0.0.7/x")
    assert refused.exit_code == 2
    assert "the catalogue was lost" in refused.stderr
    assert "vms rebuild" in refused.stderr
    with pytest.raises(UserError, match="the catalogue was lost"):
        asyncio.run(prepare_catalogue(Site.open(data)))

    answer = vms("rebuild", "--json")
    assert answer.exit_code == 0, answer.output
    facts = json.loads(answer.stdout)
    assert (facts["segments"]["new"], facts["cameras"], facts["passwords"], facts["deletion_off"]) == (2, 2, 1, True)
    assert (facts["unreadable"], facts["lost"], facts["spool_set_aside"], facts["resumed"]) == ([], [], 0, False)
    cameras = json.loads(vms("camera", "list", "--json").stdout)
    assert [(c["name"], c["number"], c["username"], c["has_password"]) for c in cameras] == [
        ("Rynek", 1, "stroz", True),
        ("Dworzec", 2, "", False),
    ]
    assert cameras[0]["streams"][0]["id"] == str(lost)
    asyncio.run(prepare_catalogue(Site.open(data)))
    shown = json.loads(vms("timeline", "1", "--from", "-1d", "--to", "now", "--json").stdout)
    assert [s["location"] for s in shown["segments"]] == ["store", "store"]
    for name in facts:
        assert "tajne" not in str(facts[name])


@pytest.mark.parametrize("emptied", [False, True])
def test_a_lost_catalogue_is_called_lost_by_whatever_needs_it(
    vms: Vms, lost: UUID, data: Path, tmp_path: Path, emptied: bool
) -> None:
    if emptied:
        assert vms("migrate").exit_code == 0
    for words in (
        ("timeline", "1", "--day", "today"),
        ("export", "1", "--day", "today", "-o", tmp_path / "k.mp4", "--reason", "sprawa"),
        ("camera", "list"),
        ("camera", "add", "Nowa", "rtsp://10.0.0.7/x"),
        ("check",),
    ):
        answer = vms(*words)
        assert answer.exit_code == 2, words
        assert answer.stderr.startswith("vms: the catalogue was lost: "), words
        assert "backup" in answer.stderr
        assert "vms rebuild" in answer.stderr
    assert (data / "catalogue.db").exists() is emptied
    (data / "assignment.sealed").unlink()
    assert "was lost" not in vms("camera", "list").stderr


def test_deletion_stays_off_until_it_is_confirmed(vms: Vms, lost: UUID, data: Path) -> None:
    assert vms("rebuild", "--confirm", "--yes").exit_code == 2  # there is no catalogue yet
    answer = vms("rebuild")
    assert answer.exit_code == 0, answer.output
    assert "vms rebuild --confirm" in answer.stderr
    assert "OFF since" in vms("retention").stdout
    off = json.loads(vms("retention", "--json").stdout)["rebuild"]
    assert (off["deletion_off"], off["confirmed_by"], off["finished"] is not None) == (True, None, True)

    asked = vms("rebuild", "--confirm")
    assert asked.exit_code == 2
    assert "2 cameras in service and 0 holds" in asked.stderr
    assert "--yes" in asked.stderr
    confirmed = vms("rebuild", "--confirm", "--yes", "--json")
    assert confirmed.exit_code == 0, confirmed.output
    assert json.loads(confirmed.stdout)["deletion_off"] is False
    logged = [json.loads(line) for line in (data / "access.log").read_text().splitlines()]
    assert [line["what"] for line in logged] == ["confirm rebuild"]
    assert "deletion" not in vms("retention").stdout.split("brake")[0]
    again = vms("rebuild", "--confirm", "--yes")
    assert again.exit_code == 2
    assert "nothing to confirm" in again.stderr


def test_whoever_confirms_is_told_that_holds_may_be_older(vms: Vms, lost: UUID, data: Path) -> None:
    for journal in (data / "store").glob("journals/**/*.json"):
        newer = journal.with_name(f"{journal.stem}.1.json")
        newer.write_bytes(journal.read_bytes()[:-9])
    answer = vms("rebuild")
    assert answer.exit_code == 1  # it cannot be read
    assert "newest journal cannot be read" in answer.stderr
    asked = vms("rebuild", "--confirm", "--yes", "--json")
    assert "camera 1 Rynek, main: its newest journal cannot be read, holds are those of 20" in asked.stderr
    assert "compare the holds" in asked.stderr
    (older,) = json.loads(asked.stdout)["older"]
    assert older["stream_id"] == str(lost)
    assert older["unreadable"].endswith(".1.json")


def test_a_store_that_is_not_mounted_is_not_empty(vms: Vms, lost: UUID, data: Path) -> None:
    (data / "store").rename(data / "elsewhere")
    answer = vms("rebuild")
    assert answer.exit_code == 2
    assert "not mounted" in answer.stderr
    assert not (data / "catalogue.db").exists()


def test_what_is_lost_is_said_and_fails(vms: Vms, lost: UUID, data: Path) -> None:
    objects = sorted((data / "store" / "segments").rglob("*.mp4"))
    objects[0].unlink()
    objects[1].write_bytes(b"nic")
    answer = vms("rebuild")
    assert answer.exit_code == 1
    assert objects[1].name in answer.stderr
    assert objects[1].exists()
    facts = json.loads(vms("rebuild", "--json").stdout)
    assert (facts["lost_count"], facts["unreadable_count"]) == (1, 1)
    assert facts["lost"][0]["stream_id"] == str(lost)


def test_one_archiver_at_a_time(vms: Vms, lost: UUID, data: Path) -> None:
    with Site.open(data).hold("archiver") as try_to_take:
        assert try_to_take()
        answer = vms("rebuild")
    assert answer.exit_code == 2
    assert "runs already" in answer.stderr


def test_progress_says_how_fast_and_how_long_still() -> None:
    assert progress_text(500, 2000, 10.0, "objects") == "500 of 2000 objects, 50 a second, 30.0 s left"
    assert progress_text(0, 2000, 0.0, "objects") == "0 of 2000 objects, 0.0 a second"
