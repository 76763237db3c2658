"""`vms check` as people and scripts use it: words, JSON, exit codes, and what a repair leaves."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from storage.archiver import Archiver
from storage.catalogue import Catalogue
from storage.check_findings import INVARIANT, REPAIRABLE, Kind
from storage.facts import RunFact
from storage.objects import FolderStore
from storage.spool import Spool
from storage.stores import object_store_info, spool_info
from tests.support.sealed import segment_of
from tests.unit.cli.conftest import Vms
from vms.localtime import format_local, load_zone, parse_instant
from vms.model import Origin, RunClock, RunInfo
from vms.settings import local_host_name
from vms.site import Site

HOUSE = Path(__file__).resolve().parents[3]
ZONE = load_zone("Europe/Warsaw")
NOTHING = "\N{EN DASH}"


@pytest.fixture
def archived(vms: Vms, data: Path) -> list[Path]:
    """A site whose camera "Rynek" has two segments in the store and one in the spool: the objects."""
    assert vms("camera", "add", "Rynek", "rtsp://10.0.0.5/x").exit_code == 0
    stream = UUID(json.loads(vms("camera", "list", "--json").stdout)[0]["streams"][0]["id"])
    site = Site.open(data)
    host = site.settings.site.host or local_host_name()

    async def work() -> None:
        run = RunInfo(uuid4(), stream, Origin.LIVE, host, 0, RunClock.ARRIVAL, time.time_ns() - 600 * 10**9)
        spool, store = Spool(site.spool), FolderStore(data / "store")
        spool.prepare()
        async with Catalogue(site.catalogue_url) as catalogue:
            archiver = Archiver(
                spool, catalogue, store, host=host, spool_store=spool_info(host),
                object_store=object_store_info(site.settings.store),
            )  # fmt: skip
            for number in range(3):
                opened = spool.open_segment(stream, run.id, number)
                content, facts = segment_of(run, number, frames=4)
                spool.write(opened, [content])
                await spool.seal(opened, facts)
                spool.put_run(RunFact(run))
                await spool.drained()
                await archiver.register_sealed()
                if number < 2:
                    await archiver.upload_pending()
        await spool.close()

    asyncio.run(work())
    return sorted((data / "store" / "segments").rglob("*.mp4"))


def test_a_new_site_is_clean(vms: Vms) -> None:
    answer = vms("check")
    assert (answer.exit_code, "clean: every invariant holds" in answer.stdout) == (0, True)


def test_a_clean_site_says_so(vms: Vms, archived: list[Path]) -> None:
    for depth in ("presence", "size", "digest"):
        answer = vms("check", "--depth", depth)
        assert (answer.exit_code, answer.stderr) == (0, "")
        assert "3 segments, 3 copies, 2 objects" in answer.stdout
        assert f"depth {depth}" in answer.stdout
    facts = json.loads(vms("check", "--json").stdout)
    assert (facts["clean"], facts["complete"], facts["findings"], facts["broken"]) == (True, True, [], {})
    assert [(s["kind"], s["error"], s["unknown_copies"]) for s in facts["stores"]] == [
        ("folder", None, 0),
        ("spool", None, 0),
    ]


def test_a_finding_names_camera_local_time_and_key_uncut_in_one_entry(
    vms: Vms, archived: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = json.loads(vms("timeline", "1", "--from", "-1h", "--to", "now", "--json").stdout)["segments"][0]
    archived[0].unlink()
    monkeypatch.setattr("vms.cli.output.TELL_SECONDS", 0.0)
    answer = vms("check")
    assert "of 3 segments, " in answer.stderr
    first, *below = answer.stdout.splitlines()[:3]
    start = parse_instant(stream["start"], ZONE, 0)
    assert first.startswith("I1 object_missing, I3 segment_lost  1 Rynek, main  ")
    assert format_local(start, ZONE, digits=0) + " to " in first
    assert len(first) < 110
    assert below[0].startswith("    ")
    assert f" segments/{str(archived[0]).partition('segments/')[2]}: " in below[0]
    assert "no sound copy of this segment is left" in below[1]
    assert len(max(answer.stdout.splitlines(), key=len)) < 300
    facts = json.loads(vms("check", "--json").stdout)["findings"]
    assert [f["kind"] for f in facts] == ["object_missing", "segment_lost"]
    assert {f["end"] for f in facts} == {stream["end"]}


def test_what_is_broken_is_named_and_mended_where_that_is_safe(vms: Vms, data: Path, archived: list[Path]) -> None:
    kept = archived[0].read_bytes()
    (sealed,) = (data / "spool" / "sealed").iterdir()
    sealed.rename(data / "elsewhere.mp4")
    archived[0].unlink()
    answer = vms("check")
    assert answer.exit_code == 3
    assert "BROKEN: I1 (1), I3 (3)" in answer.stdout
    assert "1 Rynek, main" in answer.stdout
    assert "there is no such file in the spool" in answer.stdout

    (data / "elsewhere.mp4").rename(sealed)
    archived[0].write_bytes(kept)
    with archived[1].open("r+b") as file:
        file.seek(1000)
        file.write(b"!")
    facts = json.loads(vms("check", "--depth", "digest", "--json").stdout)
    assert facts["broken"] == {"I3": 1, "I6": 1}
    wrong = next(f for f in facts["findings"] if f["kind"] == "wrong_bytes")
    assert (wrong["invariant"], wrong["camera"], wrong["stream"]) == ("I6", {"number": 1, "name": "Rynek"}, "main")
    assert wrong["key"] == str(archived[1].relative_to(data / "store"))
    assert "was sealed" in wrong["detail"]
    assert vms("check").exit_code == 0  # the size is right: that depth sees no more

    orphan = next((data / "store" / "journals").rglob("*"), None)
    assert orphan is None
    stray = data / "store" / "backup" / "monday.tar"
    stray.parent.mkdir()
    stray.write_bytes(b"not ours")
    answer = vms("check", "--repair")
    assert (answer.exit_code, "not a key of this program" in answer.stdout) == (3, True)
    assert stray.exists()


def test_a_repair_says_what_it_did(vms: Vms, data: Path, archived: list[Path]) -> None:
    sealed = next((data / "spool" / "sealed").iterdir())
    name = archived[0].name
    stream = archived[0].relative_to(data / "store").parts[1]
    archived[0].rename(sealed.with_name(f"{stream}_{name}"))
    assert vms("check").exit_code == 3
    facts = json.loads(vms("check", "--repair", "--json").stdout)
    assert (facts["clean"], facts["repaired"]) == (False, 1)
    done = [(f["kind"], f["repaired"], f["repair"]) for f in facts["findings"]]
    assert ("object_missing", True, "uploaded again from the spool") in done
    assert vms("check", "--depth", "digest").exit_code == 0
    assert archived[0].exists()


def test_a_store_that_is_away_is_said_and_its_copies_are_not_called_missing(
    vms: Vms, data: Path, archived: list[Path]
) -> None:
    (data / "store").rename(data / "unmounted")
    answer = vms("check")
    assert answer.exit_code == 4
    assert "NOT LOOKED AT, 2 copies unknown" in answer.stdout
    assert "nothing is broken in what could be looked at" in answer.stdout
    facts = json.loads(vms("check", "--json", "--repair").stdout)
    assert (facts["clean"], facts["complete"], facts["findings"]) == (True, False, [])


def test_made_up_pictures_are_found_by_decoding(vms: Vms, archived: list[Path]) -> None:
    facts = json.loads(vms("check", "--depth", "decode", "--json").stdout)
    assert (facts["broken"], {f["kind"] for f in facts["findings"]}) == ({"I4": 3}, {"undecodable"})


def test_without_a_catalogue_there_is_nothing_to_compare(vms: Vms, data: Path) -> None:
    (data / "catalogue.db").unlink()
    answer = vms("check")
    assert (answer.exit_code, "bring it back from your backup" in answer.stderr) == (2, True)


def documented() -> dict[str, tuple[Any, ...]]:
    """The table of findings in docs/reference/cli.md."""
    text = (HOUSE / "docs" / "reference" / "cli.md").read_text()
    section = text.split("\n## `vms check`")[1].split("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("| `")
    ]
    return {row[0].strip("`"): (row[1], row[3]) for row in rows if len(row) == 4}


def test_the_reference_knows_every_finding() -> None:
    told = documented()
    assert set(told) == {kind.value for kind in Kind}
    for kind in Kind:
        invariant, repair = told[kind.value]
        assert invariant == INVARIANT.get(kind, NOTHING), kind
        assert (repair != NOTHING) == (kind in REPAIRABLE), kind
