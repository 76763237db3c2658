"""`vms retention` over a real catalogue: what goes next, the brake, its confirmation, and the report of what went."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from uuid import UUID

import pytest

from storage.archive_process import LAST_DELETION
from storage.believed_clock import FILE
from storage.catalogue import Catalogue, sqlite_url
from storage.deleter import Deleter, DeletionRun
from tests.support.footage_rows import DAY, HOUR, STORE, record, run
from tests.unit.cli.conftest import Vms
from vms.localtime import format_utc
from vms.ntp import boot_id
from vms.site import operating_system_user

HOURS = 100


class Emptied:
    """A store in which everything may be deleted."""

    async def delete(self, key: str) -> None:
        assert key


def delete_now(data: Path) -> DeletionRun:
    """What the archiver does every few minutes."""

    async def work() -> DeletionRun:
        async with Catalogue(sqlite_url(data / "catalogue.db")) as catalogue:
            return await Deleter(catalogue, {STORE.name: Emptied()}).run_once()

    return asyncio.run(work())


@pytest.fixture
def expired(vms: Vms, data: Path) -> UUID:
    """A stream of "Rynek" with hours of footage that expired months ago, and one of today."""
    assert vms("camera", "add", "Rynek", "rtsp://10.0.0.5/x").exit_code == 0
    stream = UUID(json.loads(vms("camera", "list", "--json").stdout)[0]["streams"][0]["id"])
    now_ns = time.time_ns()

    async def work() -> None:
        async with Catalogue(sqlite_url(data / "catalogue.db")) as catalogue:
            await catalogue.put_store(STORE)
            await record(catalogue, run(stream, now_ns - 200 * DAY), HOURS, length_ns=HOUR, archived=True)
            await record(catalogue, run(stream, now_ns - 3 * HOUR), 2, length_ns=HOUR, archived=True)

    asyncio.run(work())
    return stream


def test_nothing_to_delete(vms: Vms) -> None:
    answer = vms("retention", "--json")
    facts = json.loads(answer.stdout)
    assert (facts["brake"], facts["streams"], facts["last_run"]) == ({"state": "off"}, [], None)
    assert "brake" in vms("retention").stdout
    refused = vms("retention", "--confirm-brake", "--yes")
    assert (refused.exit_code, "nothing to confirm" in refused.stderr) == (2, True)


def test_the_brake_is_shown_confirmed_and_the_report_read(vms: Vms, data: Path, expired: UUID) -> None:
    assert delete_now(data).brake is not None
    facts = json.loads(vms("retention", "--json").stdout)
    assert (facts["brake"]["state"], facts["brake"]["footage_hours"]) == ("engaged", float(HOURS))
    (stream,) = facts["streams"]
    assert (stream["stream_id"], stream["expired_segments"], stream["days"]) == (str(expired), HOURS, 30)
    people = vms("retention").stdout
    assert "ENGAGED since" in people
    assert "100.0 h of footage would go in one day, by the last days 48.0 h may" in people
    assert "1 Rynek" in people
    assert "due" in people

    asked = vms("retention", "--confirm-brake")  # nobody at a terminal
    assert (asked.exit_code, "--yes" in asked.stderr) == (2, True)
    assert "100.0" in asked.stdout
    assert delete_now(data).condemned_segments == 0

    assert vms("retention", "--confirm-brake", "--yes").exit_code == 0
    assert json.loads(vms("retention", "--json").stdout)["brake"]["state"] == "confirmed"
    again = vms("retention", "--confirm-brake", "--yes")
    assert (again.exit_code, "already" in again.stderr) == (2, True)
    (line,) = [json.loads(text) for text in (data / "access.log").read_text().splitlines()]
    assert "confirm deletion" in line.values()

    assert delete_now(data).condemned_segments == HOURS
    report = json.loads(vms("retention", "--day", "today", "--json").stdout)
    assert len(report["segments"]) == HOURS
    assert set(report["segments"][0]) >= {"camera", "start", "end", "sha256", "seal", "basis", "deleted"}
    assert "100.0" in vms("retention", "--day", "today").stdout
    after = json.loads(vms("retention", "--json").stdout)
    assert list(after["deleted_hours_by_day"].values()) == [float(HOURS)]
    assert after["streams"][0]["expired_segments"] == 0
    assert "due" not in vms("retention").stdout


def test_an_amount_that_nobody_saw_is_not_confirmed(vms: Vms, data: Path, expired: UUID) -> None:
    from vms.errors import UserError

    delete_now(data)

    async def work() -> None:
        async with Catalogue(sqlite_url(data / "catalogue.db")) as catalogue:
            with pytest.raises(UserError, match="changed meanwhile"):
                await catalogue.confirm_brake(at_ns=time.time_ns(), by="Anna", footage_ns=HOUR)
            state = await catalogue.brake_state()
            assert state is not None
            assert state.confirmed_ns is None

    asyncio.run(work())


def test_the_last_run_as_the_archiver_wrote_it(vms: Vms, data: Path) -> None:
    file = data / "run" / "archiver.json"
    written = dict.fromkeys(LAST_DELETION, 7) | {"at_ns": time.time_ns()}
    endless = written | {"condemned_bytes": 10**400}
    contents = [({"deletion": written}, True), ({"deletion": None}, False), ([], False), ({"deletion": endless}, False)]
    for content, known in contents:
        file.write_text(json.dumps(content))
        answer = json.loads(vms("retention", "--json").stdout)["last_run"]
        assert (answer is not None and answer["removed_objects"] == 7) is known
        assert ("7 objects removed" in vms("retention").stdout) is known


def test_who_says_that_the_clock_is_right_is_written_down_first(vms: Vms, data: Path) -> None:
    file, log = data / "run" / FILE, data / "access.log"
    file.parent.mkdir(exist_ok=True)
    now_ns, mono_ns = time.time_ns(), time.monotonic_ns()
    clock = {"boot_id": boot_id(), "wall_ns": now_ns - 2 * HOUR, "mono_ns": mono_ns, "synchronised": True}
    file.write_text(json.dumps(clock))
    log.mkdir()  # it cannot be written
    refused = vms("retention", "--clock-is-right")
    assert (refused.exit_code, "cannot be written" in refused.stderr) == (2, True)
    assert file.exists()
    log.rmdir()
    assert vms("retention", "--clock-is-right").exit_code == 0
    assert not file.exists()
    (line,) = [json.loads(text) for text in log.read_text().splitlines()]
    assert (line["what"], line["who"]) == ("believe clock", operating_system_user())
    assert "+7200 s" in line["reason"]
    assert line["at"][:10] in {format_utc(now_ns)[:10], format_utc(time.time_ns())[:10]}


@pytest.mark.parametrize(
    "args", [("--day", "jutro"), ("--day", "2026-13-01"), ("--day", "today", "--confirm-brake", "--yes")]
)
def test_what_cannot_be_carried_out(vms: Vms, args: tuple[str, ...]) -> None:
    answer = vms("retention", *args)
    assert answer.exit_code == 2
    assert "Traceback" not in answer.stderr
